"""Counters of a PLC as what was counted: through overflows, resets and hours without a read.

A counter that grows has counted the difference, when that is at most `most`, or as much for each minute of the time
between two readings that are farther apart: what was made during an outage counts. One that has fallen, or has grown by
more than that, has passed its end, was set back, or was read wrongly:

- an INT goes from 32767 to -32768 where the program simply adds, or to 0 where it guards; a UINT from 65535, a DINT
  from 2147483647, a UDINT from 4294967295;
- it passed its end when the way over that end is at most `most`; the shortest such way counts;
- when it goes on from what it showed before the last such jump, that jump was one wrong reading, and what was counted
  since then counts;
- else it was set back to 0, and what it shows now was counted since, when that is at most `most`;
- else somebody has set it to another number, and nothing was counted.

So nothing is invented: a jump never counts more than `most`, or what was counted since the reading before it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.frame import Scalar

__all__ = ["MOST", "Counter", "CounterState", "Most", "Pulses", "Wrap", "number_of"]

MOST = 1000
Most = Annotated[
    int,
    Meta(
        description="the most that a counter can count between two frames; a minute, where they are farther apart", ge=1
    ),
]
"""The option that tells counting, overflow and reset from wrong readings, and from numbers that somebody has set."""


class Wrap(StrEnum):
    """Where a counter ends: at the largest number of its type; `auto`: at any of them; `none`: nowhere."""

    AUTO = "auto"
    INT = "int"
    UINT = "uint"
    DINT = "dint"
    UDINT = "udint"
    NONE = "none"


_ENDS: dict[Wrap, tuple[tuple[int, int], ...]] = {
    Wrap.INT: ((1 << 15, -1 << 15), (1 << 15, 0)),
    Wrap.UINT: ((1 << 16, 0),),
    Wrap.DINT: ((1 << 31, -1 << 31), (1 << 31, 0)),
    Wrap.UDINT: ((1 << 32, 0),),
    Wrap.NONE: (),
}
_ENDS[Wrap.AUTO] = tuple(end for ends in tuple(_ENDS.values()) for end in ends)
"""(one past the largest number, the number that follows it)."""


class CounterState(msgspec.Struct):
    """What outlives a restart; see `Counter`.

    Attributes:
        last: value and time of the last reading.
        before: those before the latest jump.
        pulses: it is a bit.
    """

    last: tuple[float, float] | None
    before: tuple[float, float] | None = None
    pulses: bool = False


class Counter:
    """What one counter has counted.

    Attributes:
        last: what it showed last, and when, seconds; None before the first time.
        before: the same of the reading before the latest jump, when that was the last reading or the one before it.
        jumped: whether the last reading was more than could have been counted, so that nothing was.
    """

    __slots__ = ("_ends", "_most", "before", "jumped", "last")

    def __init__(self, wrap: Wrap = Wrap.AUTO, most: int = MOST) -> None:
        self.last: tuple[float, float] | None = None
        self.before: tuple[float, float] | None = None
        self.jumped = False
        self._ends = _ENDS[wrap]
        self._most = most

    def step(self, value: float, ts: float) -> float:
        """What was counted since the last time, 0 the first time.

        Args:
            value: what it shows now.
            ts: when, in seconds.
        """
        last, self.last = self.last, (float(value), ts)
        self.jumped = False
        if last is None:
            return 0
        before, self.before = self.before, None
        if self._counts(last, value, ts):
            return value - last[0]
        shown = last[0]
        way = min(
            (top - shown + value - floor for top, floor in self._ends if top > shown >= value >= floor), default=None
        )
        if way is not None and way <= self._most:
            return way
        if before is not None and self._counts(before, value, ts):
            return value - before[0]
        self.before = last
        if 0 <= value <= self._most:
            return value
        self.jumped = value > shown
        return 0

    def save(self) -> CounterState:
        """What outlives a restart."""
        return CounterState(self.last, self.before)

    def resume(self, state: CounterState) -> None:
        """Go on where another counter was."""
        self.last, self.before = state.last, state.before

    def _counts(self, since: tuple[float, float], value: float, ts: float) -> bool:
        """Whether it may simply have counted since a reading."""
        most = self._most * max(1.0, (ts - since[1]) / 60)
        if since[0] < 0 <= value <= self._most:
            most = self._most  # else a reset of an INT that has passed its end
        return 0 <= value - since[0] <= most


class Pulses:
    """What a bit has counted that is set for a moment with each part: how often it went from false to true."""

    __slots__ = ("last",)
    jumped = False

    def __init__(self) -> None:
        self.last: tuple[float, float] | None = None

    def step(self, value: float, ts: float) -> float:
        """1 when the bit has just been set, else 0; a bit that is set at first sight may have been so for long."""
        last, self.last = self.last, (float(value), ts)
        return 1 if value and last is not None and not last[0] else 0

    def save(self) -> CounterState:
        """What outlives a restart."""
        return CounterState(self.last, pulses=True)

    def resume(self, state: CounterState) -> None:
        """Go on where another was."""
        self.last = state.last


def number_of(value: Scalar) -> float | None:
    """A value as a number, a boolean as 1 or 0; None for texts and what is no finite number."""
    if isinstance(value, str) or value - value != 0:  # infinities and NaN differ from themselves by NaN
        return None
    return value
