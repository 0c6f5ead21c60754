"""Who keeps what devices say. Here the recorder that writes all of it to a file, as it comes.

A witness is called once for each answer, so it does next to nothing: what it is told waits as a tuple, and becomes
bytes in a batch on a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from pipeline.clock import Clock
from pipeline.errors import PartFailed, ReadError, UsageError
from pipeline.graph import Graph
from pipeline.operator import NodeKind
from pipeline.recording.format import Event, Header, Writer

__all__ = ["Entry", "FileRecorder", "Recorder", "Witness"]

Entry = tuple[float, float, str, int, bytes | bytearray, bytes]
"""A `Record` before it is one. Its event is a plain number: tuples of what can't refer to anything else are no business
of the garbage collector, which would stop everything for as long as it takes to walk through half a million of them."""

_FLUSH = 1.0
_OPENED, _ANSWERED, _LOST = Event.OPENED.value, Event.ANSWERED.value, Event.LOST.value


class Witness:
    """Told what one actor's device says; see `pipeline.operator.Witness`."""

    def __init__(self, actor: str, keep: Callable[[Entry], None], now: Callable[[], float], origin: float) -> None:
        self._actor = actor
        self._keep = keep
        self._now = now
        self._origin = origin

    def opened(self, wall: float, asked: bytes, answer: bytes) -> None:
        """The device granted a connection."""
        self._keep((self._now() - self._origin, wall, self._actor, _OPENED, asked, answer))

    def answered(self, wall: float, asked: bytes | bytearray, answer: bytes) -> None:
        """The device answered."""
        self._keep((self._now() - self._origin, wall, self._actor, _ANSWERED, asked, answer))

    def lost(self, wall: float, error: ReadError) -> None:
        """The connection is gone, or can't be had."""
        told = msgspec.json.encode([error.reason, error.detail, error.advice])
        self._keep((self._now() - self._origin, wall, self._actor, _LOST, b"", told))


class Recorder:
    """Makes the witnesses of a running graph, one for each actor of a source, and gathers what they are told.

    Attributes:
        graph: what runs.
        clock: the one clock.
    """

    def __init__(self, graph: Graph, clock: Clock) -> None:
        self.graph = graph
        self.clock = clock
        self._origin = 0.0
        self._started = 0.0
        self._fresh: list[Entry] = []

    def witness(self, actor: str) -> Witness:
        """The witness of an actor. With the first one, just before the sources start, the recording does."""
        if not self._started:
            self._origin, self._started = self.clock.monotonic(), self.clock.wall()
        return Witness(actor, self._fresh.append, self.clock.monotonic, self._origin)

    def _take(self) -> tuple[Entry, ...]:
        """What was told since the last call."""
        fresh = tuple(self._fresh)
        self._fresh.clear()
        return fresh

    def header(self, boot: str, begin: float = 0.0, why: str = "") -> Header:
        """What the file begins with."""
        return Header(
            graph=self.graph.name,
            boot=boot,
            started=self._started or self.clock.wall(),
            begin=begin,
            sources={node.name: node.operator.name for node in self.graph.of(NodeKind.SOURCE)},
            why=why,
        )


class FileRecorder(Recorder):
    """Writes everything to a file, at most a second late.

    Attributes:
        answers: recorded so far.
    """

    def __init__(self, graph: Graph, clock: Clock, path: Path) -> None:
        super().__init__(graph, clock)
        self.answers = 0
        self._path = path

    async def run(self, boot: str, stop: asyncio.Event) -> None:
        """Write until `stop` is set, and then what waits. Where nothing was told, no file is left.

        Raises:
            UsageError: the file is there already.
            PartFailed: it can't be written.
        """
        loop = asyncio.get_running_loop()
        try:
            writer = await loop.run_in_executor(None, Writer, self._path, self.header(boot))
            try:
                while not stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_FLUSH):
                            await stop.wait()
                    entries = self._take()
                    self.answers += sum(entry[3] == _ANSWERED for entry in entries)
                    await loop.run_in_executor(None, writer.write, entries)
            finally:
                writer.close()
                if writer.is_empty:
                    self._path.unlink()
        except FileExistsError as error:
            raise UsageError(f"'{self._path}' is there already; a recording is never written over") from error
        except OSError as error:
            raise PartFailed(f"recording '{self._path}' can't be written: {error.strerror or error}") from error
