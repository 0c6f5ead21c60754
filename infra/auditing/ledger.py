"""One PLC's day by the numbers of its frames: `seq` goes up by one per frame, PLC and process start (`boot`).

So a number that is not in the database is a frame that was published, or given up at the edge, and is not stored.
Two frames of one block in the same millisecond are one point and count as one missing; the edge avoids that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median

__all__ = ["Hole", "Ledger", "Pause", "Point"]

_SHORTEST_PAUSE = 10.0
_PERIODS = 5
"""Periods without a value that make a pause."""


@dataclass(frozen=True, order=True)
class Point:
    """A frame as it is stored.

    Attributes:
        time: seconds since 1970.
        seq: its number.
        boot: the process start that it belongs to.
        error: why the read failed; "" where it did not.
        has_values: it is neither a heartbeat nor a failure.
        replayed: it came later, from the journal.
    """

    time: float
    seq: int
    boot: str
    error: str = ""
    has_values: bool = True
    replayed: bool = False


@dataclass
class Hole:
    """Numbers that are not stored.

    Attributes:
        boot: of which process start.
        first: the first missing number.
        last: the last one.
        begin: time of the frame before, seconds since 1970; of the day's begin where there is none.
        end: time of the frame behind.
        reasons: why, as far as that is known.
    """

    boot: str
    first: int
    last: int
    begin: float
    end: float
    reasons: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many frames."""
        return self.last - self.first + 1


@dataclass
class Pause:
    """A time without values.

    Attributes:
        begin: the last value before, seconds since 1970; the day's first frame where no value was before.
        end: the first one after; the day's last frame where none came.
        reasons: why, as far as that is known.
    """

    begin: float
    end: float
    reasons: list[str]


class Ledger:
    """The day of one PLC.

    Attributes:
        published: frames by their numbers, missing ones included.
        stored: frames in the database.
        replayed: those of them that came later, from the journal.
        failures: those of them that tell of a failed read.
        restarts: process starts after the first frame.
        holes: what is missing.
        pauses: when there were no values.
    """

    def __init__(self, points: Iterable[Point], before: Point | None, begin: float) -> None:
        """Judge a day.

        Args:
            points: of the day, in any order.
            before: the last frame before the day, if there is one.
            begin: of the day, seconds since 1970.
        """
        ordered = sorted(points)
        boots: dict[str, list[Point]] = {}
        for point in ordered:
            boots.setdefault(point.boot, []).append(point)
        self.stored = len({(point.boot, point.seq) for point in ordered})
        self.replayed = sum(point.replayed for point in ordered)
        self.failures = sum(bool(point.error) for point in ordered)
        known = {*boots} - ({before.boot} if before else set())
        self.restarts = len(known) - (0 if before else min(1, len(known)))
        self.holes = [hole for boot, each in boots.items() for hole in _holes(boot, each, before, begin)]
        self.published = self.stored + sum(hole.count for hole in self.holes)
        self.pauses = list(_pauses(ordered))


def _holes(boot: str, points: list[Point], before: Point | None, begin: float) -> Iterator[Hole]:
    """Where numbers are missing; a process start begins with 0, unless it has begun before the day."""
    same = before is not None and before.boot == boot
    last, when = (before.seq, before.time) if same and before else (-1, begin)
    for point in sorted(points, key=lambda each: each.seq):
        if point.seq > last + 1:
            yield Hole(boot, last + 1, point.seq - 1, when, point.time)
        if point.seq > last:
            last, when = point.seq, point.time


def _pauses(points: list[Point]) -> Iterator[Pause]:
    valued = [point for point in points if point.has_values]
    steps = [after.time - one.time for one, after in zip(valued, valued[1:])]
    longest = max(_SHORTEST_PAUSE, _PERIODS * median(steps)) if steps else _SHORTEST_PAUSE
    marks = [*points[:1], *valued, *points[-1:]]
    for one, after in zip(marks, marks[1:]):
        if after.time - one.time > longest:
            yield Pause(one.time, after.time, list(_why(one, after, points)))


def _why(one: Point, after: Point, points: list[Point]) -> Iterator[str]:
    between = [point for point in points if one.time <= point.time <= after.time and not point.has_values]
    errors = sorted({point.error for point in between if point.error})
    if errors:
        yield f"the PLC did not answer: {', '.join(errors)}"
    if one.boot != after.boot:
        yield "the edge was restarted"
    if not errors and between:
        yield "heartbeats only: no value has changed, or the PLC was silent"
    if not errors and not between and one.boot == after.boot:
        yield "nothing came, and the edge was not restarted"
