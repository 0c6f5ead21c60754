"""What one call on a journal has to do, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.journal.file import State
from pipeline.journal.records import Batch, DeadLetter, Record

__all__ = ["Loaded", "Outcome", "Work"]


class Loaded(msgspec.Struct):
    """Records read from one batch: those asked for, in order, and how many the whole batch holds."""

    key: int
    count: int
    records: list[Record]


class Work(msgspec.Struct):
    """What one round has to do.

    Attributes:
        age: the journal's age now, seconds.
        wall: seconds since 1970 now.
        next: ordinal that the next accepted record gets.
        puts: records to write, ascending, behind all that are there.
        done: keys of batches whose records are all acknowledged.
        buried: dead letters to write.
        limits: apply the limits though nothing is written.
        read: read batches of the ordinals [start, stop).
        protected: keys of batches with records in memory, which the limits spare.
    """

    age: float
    wall: float
    next: int = 0
    puts: Sequence[Record] = ()
    done: Sequence[int] = ()
    buried: Sequence[DeadLetter] = ()
    limits: bool = False
    read: tuple[int, float] | None = None
    protected: frozenset[int] = frozenset()

    @property
    def writes(self) -> bool:
        """True when a transaction is needed."""
        return bool(self.puts or self.done or self.buried or self.limits)


class Outcome(msgspec.Struct):
    """What became of a round.

    Attributes:
        error: why something failed; None when all went well.
        unwritten: nothing was written.
        unread: nothing was read.
        written: the new batches, in order.
        evicted: key, records and reason of batches that the limits removed.
        loaded: batches read.
        end: the read came to the end of its range.
        damaged: records found damaged, moved to the dead letters.
        oldest: the journal's age when the oldest unacknowledged batch was written, None without one.
        state: the counters after the round.
        mended: what was found wrong with the file and mended, in a sentence; else empty.
        broken: the journal must be closed and opened again, which mends it.
    """

    state: State
    error: Exception | None = None
    unwritten: bool = False
    unread: bool = False
    written: list[Batch] = []
    evicted: list[tuple[int, int, str]] = []
    loaded: list[Loaded] = []
    end: bool = False
    damaged: int = 0
    oldest: float | None = None
    mended: str = ""
    broken: bool = False
