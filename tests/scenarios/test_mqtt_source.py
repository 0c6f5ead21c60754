"""From a real broker through the source `mqtt` into a journal and on: whatever is killed, nothing is lost between."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.parts.line import Line
from tests.parts.mosquitto import PASSWORDS, Mosquitto, mosquitto
from tests.parts.receiver import ThreadedReceiver, receiver_thread
from tests.parts.waiting import wait_until

pytestmark = [pytest.mark.real("mosquitto", "openssl"), pytest.mark.timeout(180)]

GRAPH = """\
http: {{listen: "127.0.0.1:${{METRICS_PORT}}"}}
sources:
  central:
    type: mqtt
    host: localhost
    port: {port}
    username: monitor
    password: ${{PASSWORD}}
    protocol: {protocol}
    tls: {{ca_file: {ca_file}}}
    topics: [plc/#]
    window: 200
transforms:
  living: {{type: heartbeat, from: central, every: 1h}}
sinks:
  store:
    type: http
    from: living
    url: http://127.0.0.1:{http_port}/
    retry: {{initial: 100ms, max: 500ms}}
    journal: {{path: {folder}/journal, commit_interval: 2s, when_full: {when_full}, max_size: {max_size}}}
"""
PUBLISH = ("mosquitto_pub", "-h", "127.0.0.1", "-q", "1", "-l", "-t", "plc/acme/press1", "-u", "edge")


class Plant:
    """Broker, publisher, pipeline and receiver."""

    def __init__(self, broker: Mosquitto, receiver: ThreadedReceiver, folder: Path, **options: Any) -> None:
        """Make the graph file."""
        self.broker, self.receiver = broker, receiver
        self.sent = 0
        file = folder / "central.yaml"
        given = {"protocol": "5", "when_full": "drop_oldest", "max_size": "1GiB", **options}
        text = GRAPH.format(port=broker.port, ca_file=broker.ca_file, http_port=receiver.port, folder=folder, **given)
        file.write_text(text)
        self.line = Line(file, {"PASSWORD": PASSWORDS["monitor"]}, folder)

    def publish(self, count: int) -> "subprocess.Popen[str]":
        """Begin to publish numbered messages; returns at once."""
        command = [*PUBLISH, "-p", str(self.broker.plain_port), "-P", PASSWORDS["edge"]]
        publisher = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        frame = {"ts": 1731800000, "ip": "192.0.2.1", "db": 1, "tenant_id": "acme", "plc_id": "press1"}
        lines = [json.dumps({**frame, "values": {"n": n}}) for n in range(self.sent, self.sent + count)]
        self.sent += count
        publisher.stdin.write("\n".join(lines) + "\n")
        publisher.stdin.close()
        return publisher

    @property
    def received(self) -> set[int]:
        """The numbers that the receiver has taken."""
        return {frame["values"]["n"] for frame in self.receiver.taken if "n" in frame["values"]}

    def taken(self) -> float:
        """Messages that this process has given to its graph."""
        return self.line.metric("edge_messages_total", outcome="taken")

    def all_arrive(self) -> None:
        """Wait until the receiver has every message."""
        wait_until(lambda: len(self.received) == self.sent, "all messages arrive", 60)


@contextmanager
def plant(folder: Path, *, fast: bool = True, **options: Any) -> Iterator[Plant]:
    """A plant whose pipeline has subscribed; a fast broker has no database on disk."""
    with mosquitto(folder, fast=fast) as broker, receiver_thread() as receiver:
        made = Plant(broker, receiver, folder, **options)
        with made.line:
            wait_until(lambda: '"node": "central", "state": "running"' in made.line.log, "subscribed")
            yield made


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_kills_lose_nothing_between_broker_and_journal(tmp_path, protocol):
    """`kill -9` in the middle of the stream, at times with the receiver away: every message arrives at the end."""
    with plant(tmp_path, protocol=protocol) as on:
        for round_ in range(4):
            if round_ % 2:
                on.receiver.kill()
            publisher = on.publish(1200)
            wait_until(lambda: on.taken() > 300, "in the middle")
            on.line.kill()
            assert publisher.wait(30) == 0
            if round_ % 2:
                on.receiver.revive()
            on.line.start()
        on.all_arrive()
        assert on.received == set(range(4800))


def test_an_orderly_stop_doubles_nothing(tmp_path):
    """What is given is acknowledged before the end, the rest is left to the session."""
    with plant(tmp_path) as on:
        for _ in range(2):
            publisher = on.publish(1500)
            wait_until(lambda: on.taken() > 300, "in the middle")
            assert on.line.terminate() == 0
            assert publisher.wait(30) == 0
            on.line.start()
        on.all_arrive()
        numbers = [frame["values"]["n"] for frame in on.receiver.taken if "n" in frame["values"]]
        assert len(numbers) == len(set(numbers)) == 3000


def test_a_broker_that_is_killed_and_comes_back_loses_nothing_that_it_had(tmp_path):
    """The source connects again by itself, to the same session."""
    with plant(tmp_path, fast=False) as on:
        assert on.publish(200).wait(30) == 0
        on.all_arrive()
        on.broker.stop()
        on.broker.start()
        assert on.publish(200).wait(30) == 0
        on.all_arrive()


def test_a_full_journal_leaves_the_rest_with_the_broker(tmp_path):
    """`when_full: pause` and a receiver that is away: the taking stops, nothing is dropped, all arrives later."""
    with plant(tmp_path, when_full="pause", max_size="64KiB") as on:
        on.receiver.kill()
        publisher = on.publish(4000)
        assert publisher.wait(60) == 0
        wait_until(lambda: "a sink behind is full" in on.line.get("/api/graph")[1], "paused", 60)
        assert on.taken() < 3000
        on.receiver.revive()
        on.all_arrive()
        assert on.line.metric("edge_frames_dropped_total") == 0
