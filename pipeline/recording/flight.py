"""The flight recorder: the latest minutes of what devices said, in memory, written out when something goes wrong.

It writes when a source or a sink leaves `running`, at most once in `pause`, and whenever it is asked. Its memory is
bounded in bytes and in time; of its files it keeps the newest.
"""

from __future__ import annotations

import asyncio
import contextlib
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

__all__ = ["FlightRecorder"]

_OVERHEAD = 240
"""Bytes of an entry beside its answer: a tuple, two floats, the head of the bytes."""
_SLICE = 2000
"""Records that become bytes at once, during which no other thread runs: about a millisecond."""
_LOOK = 1.0
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
        self._seconds = float(options.keep)
        self._limit = int(options.max_size)
        self._pause = float(options.pause)
        self._files = options.files
        self._folder = folder
        self._boot = boot
        self._ring: deque[Entry] = deque()
        self._lines: dict[str, Entry] = {}
        self._writing = asyncio.Lock()
        self._asked = asyncio.Event()
        self._log = structlog.get_logger().bind(graph=graph.name)

    def keep(self, entry: Entry) -> None:
        """Take one event, and give up what is too old or too much."""
        ring = self._ring
        ring.append(entry)
        self.size += len(entry[5]) + _OVERHEAD
        oldest = entry[0] - self._seconds
        while self.size > self._limit or ring[0][0] < oldest:
            gone = ring.popleft()
            self.size -= len(gone[5]) + _OVERHEAD
            if gone[3] is not Event.ANSWERED:
                # Whether there was a connection, and what it granted, is needed for what is left.
                self._lines[gone[2]] = gone

    async def snapshot(self, why: str) -> Path:
        """Write what the ring holds to a new file; its path.

        Raises:
            PartFailed: it can't be written.
        """
        async with self._writing:
            entries = list(self._ring)
            begin = entries[0][0] if entries else 0.0
            moment = datetime.fromtimestamp(self.clock.wall(), UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
            path = self._folder / f"{self.graph.name}-{moment}Z.rec"
            header = self.header(self._boot, begin, why)
            try:
                await asyncio.get_running_loop().run_in_executor(
                    None, self._write, path, header, [*self._lines.values(), *entries]
                )
            except OSError as error:
                raise PartFailed(f"recording '{path}' can't be written: {error.strerror or error}") from error
        self._log.info("recording written", path=str(path), records=len(entries), why=why)
        return path

    def ask(self) -> None:
        """Have `run` write at once; for signal handlers."""
        self._asked.set()

    async def run(self, actors: Mapping[str, Actor]) -> None:
        """Write whenever one of the actors leaves `running`, or `ask` is called, until cancelled."""
        seen: dict[str, tuple[State, float]] = {}
        written = float("-inf")
        while True:
            left = [actors[name] for name, state in seen.items() if name in actors and _has_left(actors[name], *state)]
            seen = {name: (actor.state, actor.since) for name, actor in actors.items() if actor.kind in _WATCHED}
            if self._asked.is_set():
                self._asked.clear()
                await self._try("asked for by a signal")
            elif left and self.clock.monotonic() - written >= self._pause:
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
        part.unlink(missing_ok=True)
        writer = Writer(part, header)
        try:
            for at in range(0, len(entries), _SLICE):
                writer.write(entries[at : at + _SLICE])
        finally:
            writer.close()
        part.replace(path)
        for old in sorted(self._folder.glob(f"{self.graph.name}-*Z.rec"))[: -self._files]:
            old.unlink(missing_ok=True)


def _has_left(actor: Actor, state: State, since: float) -> bool:
    """Whether an actor that was running at the last look has failed since, even if it runs again."""
    return state is State.RUNNING and bool(actor.last_errors) and actor.last_errors[-1][0] > since
