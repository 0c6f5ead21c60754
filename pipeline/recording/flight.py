"""The flight recorder: the latest minutes of what devices said, in memory, written out when something goes wrong.

It writes when a source or a sink leaves `running`, at most once in `pause`, and whenever it is asked. Its memory is
bounded in bytes and in time; of its files it keeps the newest.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import structlog

from pipeline.actor import Actor, State
from pipeline.clock import Clock
from pipeline.config.recorder import RecorderOptions
from pipeline.errors import PartFailed
from pipeline.graph import Graph
from pipeline.operator import NodeKind
from pipeline.recording.format import Event, Header, Writer
from pipeline.recording.recorder import Entry, Recorder

__all__ = ["FlightRecorder", "flight_recorder"]

_OVERHEAD = 240
"""Bytes of an entry beside its answer: a tuple, two floats, the head of the bytes."""
_SLICE = 2000
"""Records that become bytes at once, during which no other thread runs: about a millisecond."""
_LOOK = 1.0
_LINES = 1000
"""Connections made and lost that are remembered of an actor."""
_WATCHED = (NodeKind.SOURCE, NodeKind.SINK)


class FlightRecorder(Recorder):
    """The ring and its files.

    Attributes:
        size: bytes that the ring takes, about.
    """

    def __init__(self, graph: Graph, clock: Clock, options: RecorderOptions, folder: Path, boot: str) -> None:
        """Make a recorder with an empty ring.

        Args:
            graph: what runs.
            clock: the one clock.
            options: the graph's `recorder:` section.
            folder: where its files go; made when it first writes.
            boot: the ULID of this process start.
        """
        super().__init__(graph, clock)
        self.size = 0
        self._options = options
        self._folder = folder
        self._boot = boot
        self._seconds: deque[tuple[int, tuple[Entry, ...]]] = deque()
        self._lines: dict[str, deque[Entry]] = {}
        self._writing = asyncio.Lock()
        self._asked = asyncio.Event()
        self._log = structlog.get_logger().bind(graph=graph.name)

    def turn(self) -> None:
        """Put the latest second to the others, and give up what is too old or too much."""
        fresh, seconds = self._take(), self._seconds
        if fresh:
            size = sum([len(entry[5]) for entry in fresh]) + len(fresh) * _OVERHEAD
            seconds.append((size, fresh))
            self.size += size
        answered = Event.ANSWERED.value
        for entry in [entry for entry in fresh if entry[3] != answered]:
            self._lines.setdefault(entry[2], deque(maxlen=_LINES)).append(entry)
        oldest = self.clock.monotonic() - self._origin - self._options.keep
        while len(seconds) > 1 and (self.size > self._options.max_size or seconds[0][1][-1][0] < oldest):
            self.size -= seconds.popleft()[0]

    async def snapshot(self, why: str) -> Path:
        """Write what the ring holds to a new file; its path.

        Raises:
            PartFailed: it can't be written.
        """
        async with self._writing:
            self.turn()
            entries = [entry for _, second in self._seconds for entry in second]
            begin = entries[0][0] if entries else 0.0
            moment = datetime.fromtimestamp(self.clock.wall(), UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
            path = self._folder / f"{self.graph.name}-{moment}Z.rec"
            header = self.header(self._boot, begin, why)
            try:
                await asyncio.get_running_loop().run_in_executor(
                    None, self._write, path, header, [*self._lines_before(begin), *entries]
                )
            except OSError as error:
                raise PartFailed(f"recording '{path}' can't be written: {error.strerror or error}") from error
        self._log.info("recording written", path=str(path), records=len(entries), why=why)
        return path

    def _lines_before(self, begin: float) -> list[Entry]:
        """What was last heard of each connection: whether it stood, and what was granted."""
        return [
            earlier[-1] for lines in self._lines.values() if (earlier := [entry for entry in lines if entry[0] < begin])
        ]

    def ask(self) -> None:
        """Have `run` write at once; for signal handlers."""
        self._asked.set()

    async def run(self, actors: Mapping[str, Actor]) -> None:
        """Write whenever one of the actors leaves `running`, or `ask` is called, until cancelled."""
        leave = self.clock.tick(_LOOK, lambda _: self.turn())
        try:
            await self._watch(actors)
        finally:
            leave()

    async def _watch(self, actors: Mapping[str, Actor]) -> None:
        seen: dict[str, tuple[State, float]] = {}
        written = float("-inf")
        while True:
            left = [actors[name] for name, state in seen.items() if name in actors and _has_left(actors[name], *state)]
            seen = {name: (actor.state, actor.since) for name, actor in actors.items() if actor.kind in _WATCHED}
            if self._asked.is_set():
                self._asked.clear()
                await self._try("asked for by a signal")
            elif left and self.clock.monotonic() - written >= self._options.pause:
                written = self.clock.monotonic()
                await self._try(f"{left[0].name} left running: {left[0].last_errors[-1][1]}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._asked.wait()

    async def _try(self, why: str) -> None:
        try:
            await self.snapshot(why)
        except PartFailed as error:
            self._log.error("nothing recorded", error=str(error))

    def _write(self, path: Path, header: Header, entries: list[Entry]) -> None:
        part = path.with_suffix(".part")
        for left in self._files("part"):
            left.unlink(missing_ok=True)
        try:
            with contextlib.closing(Writer(part, header)) as writer:
                for at in range(0, len(entries), _SLICE):
                    writer.write(entries[at : at + _SLICE])
        except OSError:
            part.unlink(missing_ok=True)
            raise
        part.replace(path)
        for old in self._files("rec")[: -self._options.files]:
            old.unlink(missing_ok=True)

    def _files(self, suffix: str) -> list[Path]:
        """Those of this graph, the oldest first; another one's name may begin like its own."""
        date = "[0-9]" * 8
        return sorted(self._folder.glob(f"{self.graph.name}-{date}T*Z.{suffix}"))


def flight_recorder(graph: Graph, clock: Clock, boot: str) -> FlightRecorder | None:
    """The recorder that a graph wants; None when it wants none. Without a folder, it is under DATA_DIR."""
    options = graph.recorder
    if options is None or not options.enabled:
        return None
    data = Path(os.environ.get("DATA_DIR") or "data")
    folder = Path(options.folder) if options.folder else data / graph.name / "recordings"
    return FlightRecorder(graph, clock, options, folder, boot)


def _has_left(actor: Actor, state: State, since: float) -> bool:
    """Whether an actor that was running at the last look has failed since, even if it runs again."""
    return state is State.RUNNING and bool(actor.last_errors) and actor.last_errors[-1][0] > since
