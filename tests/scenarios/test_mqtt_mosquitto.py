"""The sink `mqtt` and a real Mosquitto with TLS, passwords and an access list, on a real loop in real time."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from operators.sinks.mqtt import MqttOptions, mqtt
from pipeline.actor import Mailbox, State
from pipeline.frame import Origin
from pipeline.journal import tools as journal_tools
from pipeline.journal.options import JournalOptions
from pipeline.operator import Context, Overflow
from pipeline.retry import Retry
from pipeline.tls import TlsOptions
from pipeline.units import Duration, Secret
from tests.parts.engine import data, make_context, origin
from tests.parts.mosquitto import PASSWORDS, Authority, Mosquitto, Received, mosquitto
from tests.parts.waiting import eventually

pytestmark = pytest.mark.real

TOPIC = "plc/acme/press1"


@dataclass
class Sink:
    """A running sink."""

    context: Context
    mailbox: Mailbox
    task: asyncio.Task[None]
    sent: int = 0
    here: Origin = field(default_factory=origin)

    @property
    def reason(self) -> str:
        """Why it is not connected, or degraded."""
        return self.context.actor.reason

    def put(self, count: int) -> None:
        """Give it frames in one loop turn."""
        for _ in range(count):
            self.mailbox.put(data(self.here, self.context.clock.wall(), n=self.sent))
            self.sent += 1

    async def feed(self, count: int) -> None:
        """Give it frames, a few each turn of a millisecond."""
        for _ in range(0, count, 5):
            self.put(5)
            await asyncio.sleep(0.001)

    async def running(self) -> None:
        """Wait until it is connected."""
        await eventually(lambda: self.context.actor.state is State.RUNNING, "connected")


def play(broker: Mosquitto, folder: Path, script: Callable[[Sink], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run a script beside a sink that publishes over TLS as user `edge`; then end the sink in order."""

    async def main() -> None:
        context = make_context(asyncio.get_running_loop())
        given: dict[str, Any] = {
            "host": broker.host,
            "port": broker.port,
            "username": "edge",
            "password": Secret(PASSWORDS["edge"]),
            "tls": TlsOptions(ca_file=str(broker.ca_file)),
            "journal": JournalOptions(path=str(folder / "journal"), commit_interval=Duration(0.2)),
            "status_topic": "plc/acme/{graph}/status",
            "retry": Retry(initial=Duration(0.1), max=Duration(0.5)),
        }
        mailbox = Mailbox(context.clock.loop, 50_000, Overflow.DROP_NEWEST, context.actor.drop)
        task = asyncio.ensure_future(mqtt.build(MqttOptions(**given | options), context)(mailbox))
        try:
            await script(Sink(context, mailbox, task))
        finally:
            mailbox.close()
            await task

    asyncio.run(main())


def numbers(messages: list[Received]) -> set[int]:
    """Which frames an independent subscriber has got."""
    return {_number(message.body) for message in messages}


@cache
def _number(body: bytes) -> int:
    return json.loads(body)["values"]["n"]


def test_frames_reach_an_independent_subscriber(tmp_path):
    """Over TLS 1.3, with password and access list; retained status before and after."""
    with mosquitto(tmp_path) as broker:
        subscriber = broker.subscribe("plc/#")

        async def script(sink: Sink) -> None:
            await sink.feed(500)
            await eventually(lambda: len(subscriber.on(TOPIC)) == 500, "500 frames")

        play(broker, tmp_path, script)
        bodies = [json.loads(message.body) for message in subscriber.on(TOPIC)]
        assert [body["seq"] for body in bodies] == list(range(500))
        status = subscriber.on("plc/acme/test/status")
        assert [json.loads(message.body)["status"] for message in status] == ["online", "offline"]
        assert json.loads(status[-1].body)["last_seq"] == {"acme/press1": 499}


@pytest.mark.parametrize("kill", [True, False])
def test_a_broker_killed_and_started_again_loses_nothing(tmp_path, kill):
    """Killed or stopped in the middle of the stream, twice: every frame reaches a subscriber that stays."""
    with mosquitto(tmp_path) as broker:
        subscriber = broker.subscribe("plc/#")

        async def script(sink: Sink) -> None:
            for _ in range(2):
                # Until the subscriber is back too: what waits for it would be in the broker's hands alone.
                mark = sink.sent
                await sink.feed(300)
                await eventually(lambda mark=mark: max(numbers(subscriber.on(TOPIC)), default=-1) >= mark, "both back")
                await sink.feed(300)
                (broker.kill if kill else broker.stop)()
                await sink.feed(300)
                broker.start()
            await sink.feed(300)
            await eventually(lambda: numbers(subscriber.on(TOPIC)) == set(range(sink.sent)), "all frames", 60)

        play(broker, tmp_path, script)


def test_a_frozen_broker_is_left_and_what_waited_arrives(tmp_path):
    """SIGSTOP leaves the connection open: the sink ends it by itself, and delivers after SIGCONT."""
    with mosquitto(tmp_path) as broker:
        subscriber = broker.subscribe("plc/#")

        async def script(sink: Sink) -> None:
            await sink.running()
            broker.freeze()
            await sink.feed(300)
            await eventually(lambda: sink.reason.startswith("timeout"), "the silence is noticed")
            broker.thaw()
            await eventually(lambda: numbers(subscriber.on(TOPIC)) == set(range(300)), "all frames")

        play(broker, tmp_path, script, keep_alive=Duration(2), connect_timeout=Duration(2))


def test_a_topic_that_the_access_list_denies_is_said_and_requeued_when_the_list_is_mended(tmp_path):
    """PUBACK 0x87, after which this Mosquitto hangs up: the rest flows, the dead letters wait for `journal requeue`."""
    journal = tmp_path / "journal"
    with mosquitto(tmp_path) as broker:
        subscriber = broker.subscribe("plc/#")

        async def denied(sink: Sink) -> None:
            sink.here = origin(plc_id="")
            sink.put(20)
            sink.here = origin()
            sink.put(20)
            await eventually(lambda: numbers(subscriber.on(TOPIC)) == set(range(20, 40)), "the other PLC's frames")
            await eventually(lambda: sink.context.details()["dead_letters"] == 20, "dead letters")
            assert "plc/db1: not authorised" in sink.context.actor.last_errors[0][1]
            assert "journal requeue" in sink.context.actor.last_errors[0][1]

        async def allowed(sink: Sink) -> None:
            await eventually(lambda: numbers(subscriber.on("plc/db1")) == set(range(20)), "requeued frames")

        play(broker, tmp_path, denied)
        broker.allow("user edge\ntopic write #\nuser monitor\ntopic read #\n")
        assert journal_tools.requeue(str(journal), None) == 20
        play(broker, tmp_path, allowed)


def test_mutual_tls(tmp_path):
    """Without our certificate, or with a foreign one, the reason says so; with the right one frames flow."""
    with mosquitto(tmp_path, tls_options="require_certificate true") as broker:
        good = broker.authority.issue("edge")
        foreign = Authority(tmp_path / "foreign", "foreign").issue("edge")
        ca = str(broker.ca_file)

        async def refused(sink: Sink) -> None:
            await eventually(lambda: sink.context.actor.state is State.BACKING_OFF, "refused")
            assert "cert_file" in sink.reason, sink.reason

        async def flows(sink: Sink) -> None:
            await sink.running()

        play(broker, tmp_path, refused)
        cert_file, key_file = map(str, foreign)
        play(broker, tmp_path, refused, tls=TlsOptions(ca_file=ca, cert_file=cert_file, key_file=key_file))
        cert_file, key_file = map(str, good)
        play(broker, tmp_path, flows, tls=TlsOptions(ca_file=ca, cert_file=cert_file, key_file=key_file))


def test_each_reason_not_to_connect_is_told_with_what_to_do(tmp_path):
    """Foreign authority, none, another name, wrong password, plain and TLS ports mixed up, no file, no broker."""
    with mosquitto(tmp_path) as broker:
        foreign = Authority(tmp_path / "foreign", "foreign").ca_file
        missing = tmp_path / "missing.crt"
        cases: list[tuple[dict[str, Any], str, str]] = [
            ({"tls": TlsOptions(ca_file=str(foreign))}, "tls", "tls.ca_file"),
            ({"tls": TlsOptions()}, "tls", "tls.ca_file"),
            ({"tls": TlsOptions(ca_file=str(missing))}, "tls", f"ca_file '{missing}'"),
            ({"tls": TlsOptions(ca_file=str(tmp_path / "acl"))}, "tls", "not a PEM certificate"),
            ({"host": "127.1"}, "tls", "set host to a name in the certificate"),
            ({"password": Secret("wrong")}, "login", "check username"),
            ({"port": broker.plain_port}, "", "does this port speak TLS?"),
            ({"tls": TlsOptions(enabled=False)}, "", "tls: {enabled: true}"),
            ({"port": 1}, "refused", "is the broker running?"),
            ({"host": "no-such-host.invalid"}, "name", "name server"),
        ]
        for options, reason, advice in cases:

            async def script(sink: Sink, reason: str = reason, advice: str = advice) -> None:
                await eventually(lambda: sink.context.actor.state is State.BACKING_OFF, advice)
                assert sink.reason.startswith(reason), sink.reason
                assert advice in sink.reason

            folder = tmp_path / f"case{cases.index((options, reason, advice))}"
            play(broker, folder, script, **options)
            assert not any(PASSWORDS["edge"] in file.read_text(errors="ignore") for file in folder.rglob("*.log"))


def test_a_second_client_with_the_same_id_is_named(tmp_path):
    """Mosquitto 2.0 throws the first one out without a word: after a few times it is named and not fought."""
    with mosquitto(tmp_path) as broker:

        async def script(sink: Sink) -> None:
            await sink.running()

            async def rival(other: Sink) -> None:
                await eventually(lambda: any(each.reason.startswith("taken over") for each in (sink, other)))

            await asyncio.to_thread(play, broker, tmp_path / "rival", rival, client_id="twin")
            assert broker.log.count("already connected, closing old connection") < 10

        play(broker, tmp_path, script, client_id="twin")
