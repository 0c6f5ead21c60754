"""A plant for one scenario: PLCs that count, a Mosquitto, the referee, and the pipeline between them as a process."""

import random
import re
import tempfile
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, Self

import msgspec

from pipeline.journal import tools as journal_tools
from tests.parts.counting_plc import CountingPlcs, Event, block_layout
from tests.parts.line import Line
from tests.parts.mosquitto import PASSWORDS, Mosquitto
from tests.parts.netns import FAR, Link
from tests.parts.waiting import wait_until
from tests.scenarios.delivery.referee import Kill, Referee, Verdict, judge, recovery

__all__ = ["DURABLE", "SAVED", "Plant", "pass_time"]

DURABLE = "persistence true\nautosave_on_changes true\nautosave_interval 1\n"
"""Mosquitto writes its database after every change, as far as its loop comes around to it."""
SAVED = "persistence true\nautosave_interval 0\n"
"""It writes its database when it is told to end."""
_LISTENER = 1883
_COUNT = re.compile(rb'"plc_id":"plc(\d+)","values":\{"count":(\d+)')
_QUEUE = "max_queued_messages 10000000\n"
"""For its clients: with 0, no limit, Mosquitto 2.0.11 hangs up after a refused message."""
_MEMORY = Path("/dev/shm")  # noqa: S108 - no file of ours has a guessable name there


def pass_time(seconds: float) -> None:
    """Let the plant run: the length of a scenario, never a way to wait for something."""
    time.sleep(seconds)


class Plant:
    """All parts of a scenario; everything ends with it.

    Attributes:
        folder: all files.
        broker: Mosquitto.
        referee: see there.
        plcs: see there.
        line: the pipeline.
        journal: the journal's folder.
        chance: seeded.
        kills: what the verdict has to allow for.
        healed: when each fault was over.
        dropped: frames given up with a counted reason, by reason, of the boots that were asked.
    """

    def __init__(
        self,
        folder: Path,
        *,
        plcs: int = 20,
        every: str = "20ms",
        size: int = 14,
        seed: int = 1,
        broker: str = "",
        source: Mapping[str, Any] | None = None,
        sink: Mapping[str, Any] | None = None,
        journal: Mapping[str, Any] | None = None,
        plc: Mapping[str, int] | None = None,
        large: Container[int] = (),
        link: Link | None = None,
        environment: Mapping[str, str] | None = None,
        wrapper: Callable[[Path], Sequence[str]] = lambda _: (),
    ) -> None:
        """Describe it; `with` starts all but the pipeline.

        Args:
            folder: an empty one.
            plcs: their number.
            every: the period of their reads.
            size: bytes of their block.
            seed: of everything that comes by chance.
            broker: lines for Mosquitto's configuration.
            source: more options of the source.
            sink: more options of the sink.
            journal: more options of its journal.
            plc: more options of the PLCs.
            environment: more of the pipeline's.
            link: the broker and the referee are at its far end; whoever uses the plant is at the near one.
            large: PLCs whose frames are larger than those of the others.
            wrapper: makes what runs the pipeline (see `Line`), given a folder for its files.
        """
        self.folder = folder
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self.kills: list[Kill] = []
        self.healed: list[float] = []
        self.dropped: dict[str, int] = {}
        self.journal = folder / "journal"
        self._every, self._size, self._large = every, size, large
        self._source, self._sink, self._options = dict(source or {}), dict(sink or {}), dict(journal or {})
        self._wrapper = wrapper(folder / "trace")
        files = folder / "mosquitto"
        files.mkdir()
        self._stack = ExitStack()
        # Mosquitto writes its whole database at each change. In memory that is fast enough; nobody cuts its power.
        database = self._stack.enter_context(tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None))
        self._link = link
        self._environment = dict(environment or {})
        options = f"{_QUEUE}{broker}persistence_location {database}/\n"
        if link is not None:
            options += f"listener {_LISTENER} {FAR}\n"
            self._sink |= {"host": FAR, "port": _LISTENER}
        self.broker = Mosquitto(files, fast=True, options=options)
        self.plcs = CountingPlcs(folder, plcs, size=size, seed=seed, **(plc or {}))

    def __enter__(self) -> Self:
        self._stack.callback(self.broker.close)
        with self._link.at("far") if self._link else nullcontext():
            self.broker.start()
            self.referee = Referee(self.broker)
        self._stack.callback(self.referee.leave)
        self._stack.enter_context(self.plcs)
        self.line = Line(self._write(), self.environment, self.folder, self._wrapper)
        self._stack.callback(self._end_line)
        self._begun = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """Of the pipeline."""
        return {"MQTT_PASSWORD": PASSWORDS["edge"], **self._environment}

    def graph(self) -> dict[str, Any]:
        """The pipeline's graph: heartbeat, page, QoS 1, journal."""
        every = enumerate(self.plcs.addresses)
        plcs = [
            {"plc_id": f"plc{number}", "address": address, "port": self.plcs.port}
            | ({"tags": {"note": 1000 * "x"}} if number in self._large else {})
            for number, address in every
        ]
        source = {"type": "s7", "plcs": plcs, "tenant_id": "acme", "every": self._every}
        source |= {"blocks": [{"db": 1, "layout": "block"}], "retry": {"max": "500ms"}}
        sink = {"type": "mqtt", "from": "frames", "host": "127.0.0.1", "port": self.broker.plain_port}
        sink |= {"username": "edge", "password": "${MQTT_PASSWORD}", "tls": {"enabled": False}}
        sink |= {"retry": {"max": "500ms"}, "journal": {"path": str(self.journal), **self._options}}
        return {
            "name": "delivery",
            "http": {"listen": "127.0.0.1:${METRICS_PORT}"},
            "layouts": {"block": block_layout(self._size)},
            "sources": {"plcs": source | self._source},
            "transforms": {"frames": {"type": "heartbeat", "from": "plcs", "every": "30s"}},
            "sinks": {"broker": sink | self._sink},
        }

    def _write(self) -> Path:
        file = self.folder / "graph.yaml"
        file.write_bytes(msgspec.json.encode(self.graph()))  # JSON is YAML
        return file

    def route(self, port: int) -> None:
        """Send frames through a proxy; before the start."""
        self._sink["port"] = port
        self._write()

    def _end_line(self) -> None:
        if self.line.exit_code is None and self.running:
            self.line.kill()

    @property
    def running(self) -> bool:
        """Whether the pipeline's process is there."""
        return self.line.running

    # --- what a scenario does

    def start(self) -> None:
        """Start the pipeline; it is ready when this returns."""
        self.line.start()
        self.line.wait_ready()

    def flow(self, frames: int = 200) -> None:
        """Wait until more frames have arrived."""
        before = len(self.referee.arrivals)
        wait_until(lambda: len(self.referee.arrivals) >= before + frames, f"{frames} more frames", 60)

    def restart_broker(self) -> None:
        """Start the broker again; returns when the referee has subscribed, which is when a fault is over."""
        before = self.referee.connections
        self.broker.start()
        self.referee.wait_connected(before)
        self.heal()

    def kill(self, window: float) -> None:
        """`kill -9` of the pipeline.

        Args:
            window: seconds of intake before it that may be lost.
        """
        self.kills.append(Kill(time.monotonic(), window))
        self.line.kill()

    def heal(self) -> None:
        """Say that a fault is over now."""
        self.healed.append(time.monotonic())

    def backlog(self) -> float:
        """Frames that the pipeline keeps."""
        return self.line.metric("edge_backlog_size")

    def count_drops(self) -> None:
        """Ask the pipeline what it has given up; before its end."""
        for line in self.line.get("/metrics")[1].splitlines():
            if line.startswith("edge_frames_dropped_total{"):
                reason = line.partition('reason="')[2].partition('"')[0]
                self.dropped[reason] = self.dropped.get(reason, 0) + int(float(line.rpartition(" ")[2]))

    def stop(self) -> float:
        """SIGTERM; seconds until the exit, whose code must be 0."""
        self.count_drops()
        begin = time.monotonic()
        code = self.line.terminate()
        assert code == 0, f"exit code {code}:\n{self.line.log[-3000:]}"
        return time.monotonic() - begin

    def finish(self) -> None:
        """Stop; what is left on disk is sent by one more run, which reads nothing."""
        if self.running:
            wait_until(lambda: self.backlog() < 50, "the backlog is sent", 120)
            self.stop()
        self.plcs.power(False)
        if journal_tools.summary(str(self.journal)).frames:
            self.line.start()
            wait_until(lambda: self.line.exit_code is not None or self.drained(), "the rest is sent", 120)
            self.line.terminate()
        self.referee.wait_silence()

    def drained(self) -> bool:
        """Connected, and nothing left."""
        return self.line.metric("edge_connects_total") > 0 and self.backlog() == 0

    def verdict(self, *, retried: bool = False) -> Verdict:
        """Compare truth and arrivals; see `judge`."""
        dropped = sum(self.dropped.values())
        arrivals = list(self.referee.arrivals)
        return judge(self.plcs.entries(), arrivals, kills=self.kills, dropped=dropped, retried=retried)

    def blame_broker(self, acknowledged: Iterable[bytes]) -> None:
        """What is missing though the broker acknowledged it was lost by the broker: count it so.

        Args:
            acknowledged: payloads that it took.
        """
        taken = {(int(match[1]), int(match[2])) for body in acknowledged for match in _COUNT.finditer(body)}
        own = sum((plc, count) in taken for plc, count, _ in self.verdict(retried=True).missing)
        if own:
            self.dropped["by the broker after its PUBACK"] = own

    def late_taken(self) -> int:
        """Answers that came after their time-out, and were published all the same."""
        late = {(entry.plc, entry.count) for entry in self.plcs.entries() if entry.event is Event.LATE}
        return sum((arrival.plc, arrival.count) in late for arrival in self.referee.arrivals)

    def recovered(self) -> float:
        """See `recovery`."""
        return recovery(self.plcs.entries(), list(self.referee.arrivals), self.healed)

    def rate(self) -> float:
        """Reads answered a second, over those tenths of a second in which there were any."""
        entries = self.plcs.entries()
        return len(entries) / (0.1 * len({int(entry.at * 10) for entry in entries}))
