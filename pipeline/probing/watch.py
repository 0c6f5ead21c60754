"""Reads a data block again and again: the samples that are analysed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pipeline.clock import Clock
from pipeline.errors import UsageError
from pipeline.probing.samples import Sample
from pipeline.s7.address import Area
from pipeline.s7.browse_blocks import measure
from pipeline.s7.browse_line import Line
from pipeline.s7.plan import Range
from pipeline.s7.wire import refused

__all__ = ["block_size", "watch"]


async def block_size(line: Line, db: int, size: int | None) -> int:
    """The bytes to look at: as told, else the whole block, found by reading.

    Raises:
        Refused: the block can't be read.
        UsageError: it is shorter than told.
        ReadError: no answer.
    """
    await _read(line, db, 0, 1)
    length = await measure(line, db)
    if size is not None and size > length:
        raise UsageError(f"--size: DB{db} has {length} bytes, not {size}")
    return size or length


async def watch(line: Line, clock: Clock, db: int, size: int, every: float) -> AsyncIterator[Sample]:
    """A sample each period; one that takes longer delays the next.

    Raises:
        Refused: the block can't be read any more.
        ReadError: no answer; the connection is gone, and the next call opens another one.
    """
    due = clock.monotonic()
    while True:
        data = await _read(line, db, 0, size)
        now = clock.monotonic()
        yield Sample(now, data)
        due = max(due + every, now)
        await asyncio.sleep(due - clock.monotonic())


async def _read(line: Line, db: int, start: int, size: int) -> bytes:
    (answer,) = (await line.look([Range(Area.DB.value, db, start, size)])).values()
    if isinstance(answer, int):
        raise refused(answer, f"DB{db}")
    return answer
