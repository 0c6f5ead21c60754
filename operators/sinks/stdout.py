"""Writes frames to standard output: JSON lines for programs, a readable table on a terminal.

Ordering: kept. Delivery: at most once, to whoever reads; the log goes to standard error. Memory: 10,000 frames wait for
a slow reader, then the oldest are dropped and counted. On disconnect: when the reader has gone (`… | head`), the graph
ends in order with exit code 0. A reader that stands still (`… | less`) holds up nothing, not even the graph's end.
"""

from __future__ import annotations

import os
import select
import sys
from bisect import bisect_right
from collections.abc import Iterable
from enum import StrEnum
from itertools import accumulate
from typing import Annotated

from msgspec import Meta

from pipeline.actor import Mailbox, State
from pipeline.codecs import FrameJson
from pipeline.errors import PartFailed, PipelineError
from pipeline.frame import Frame
from pipeline.operator import Claim, Context, Options, Overflow, RunSink, Scope, sink
from pipeline.table import Table

__all__ = ["Format", "Stdout", "stdout"]

_CHUNK = getattr(select, "PIPE_BUF", 4096)
"""Bytes that a pipe takes without blocking once it says that it takes any."""
_SLICE = 4 * _CHUNK
"""Bytes handed to a thread at once, so that it is back soon whatever the reader does."""
_PATIENCE = 0.2
"""Seconds that a thread waits for the reader."""


class Format(StrEnum):
    """How frames are written."""

    AUTO = "auto"
    JSON = "json"
    TABLE = "table"


class Stdout(Options):
    """Options of `stdout`."""

    format: Annotated[Format, Meta(description="json, table, or auto: a table on a terminal, else JSON lines")] = (
        Format.AUTO
    )


@sink(capacity=10_000, overflow=Overflow.DROP_OLDEST)
def stdout(options: Stdout, context: Context) -> RunSink:
    """A writer to the process's standard output."""

    async def run(mailbox: Mailbox) -> None:
        if sys.stdout is None:
            raise PartFailed("there is no standard output; remove this node, or write to a file")
        output = _Output(sys.stdout.fileno(), context)
        as_table = options.format is Format.TABLE or (options.format is Format.AUTO and sys.stdout.isatty())
        render = Table().render if as_table else _json_line
        context.actor.become(State.RUNNING)
        async for frames in mailbox.batches():
            if not await output.write([render(frame) for frame in frames], mailbox):
                return

    return run


@stdout.claims
def _claims(_options: Stdout, _scope: Scope) -> Iterable[Claim]:
    yield Claim(what="standard output", key="stdout", path=("type",))


def _json_line(frame: Frame) -> bytes:
    return FrameJson().encode(frame) + b"\n"


class _Output:
    """Standard output, written from a thread in pieces that never block it for long."""

    def __init__(self, descriptor: int, context: Context) -> None:
        self._descriptor = descriptor
        self._context = context
        self._written = context.metrics.counter(
            "plc_publish_ok", "frames given to the receiver", mode="stdout", node=context.node
        )

    async def write(self, lines: list[bytes], mailbox: Mailbox) -> bool:
        """Write lines, one a frame, as fast as the reader takes them; False when there is no use in going on.

        Raises:
            PipelineError: standard output can't be written, for another reason than that its reader has gone.
        """
        data, written = memoryview(b"".join(lines)), 0
        actor = self._context.actor
        try:
            while written < len(data):
                part = data[written : written + _SLICE]
                taken = await self._context.blocking(_write, self._descriptor, part)
                written += taken
                if taken:
                    actor.become(State.RUNNING)
                elif mailbox.closed:
                    lost = _unwritten(lines, written)
                    actor.drop("stopped", lost)  # the engine counts what waits in the mailbox
                    lost += len(mailbox)
                    self._context.log.warning("the graph ends before its frames could be written", lost=lost)
                    return False
                else:
                    actor.become(State.DEGRADED, "the reader of standard output stands still; frames wait for it")
        except BrokenPipeError:
            actor.drop("reader_gone", _unwritten(lines, written))
            self._context.log.info("the reader of standard output has gone, the graph ends")
            self._context.stop()
            return False
        except OSError as error:
            actor.drop("unwritable", _unwritten(lines, written))
            raise PipelineError(f"standard output can't be written: {error.strerror}") from error
        self._written.n += len(lines)
        return True


def _write(descriptor: int, data: memoryview) -> int:
    """Write what the reader takes; the number of bytes. Runs on a thread."""
    written = 0
    while written < len(data) and _takes(descriptor):
        written += os.write(descriptor, data[written : written + _CHUNK])
    return written


def _takes(descriptor: int) -> bool:
    """Whether a chunk can be written without blocking. Windows knows that of sockets only."""
    return sys.platform == "win32" or bool(select.select([], [descriptor], [], _PATIENCE)[1])


def _unwritten(lines: list[bytes], written: int) -> int:
    return len(lines) - bisect_right(list(accumulate(map(len, lines))), written)
