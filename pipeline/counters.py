"""Counters of a PLC as what was counted: through overflows, resets and hours without a read.

A counter that grows has counted the difference. One that has fallen has either passed its end or was set back:

- an INT goes from 32767 to -32768 where the program simply adds, or to 0 where it guards; a UINT from 65535, a DINT
  from 2147483647, a UDINT from 4294967295;
- it passed its end when the way over that end is at most `most`; the shortest such way counts;
- else it was set back to 0, and what it shows now was counted since, when that is at most `most`;
- else somebody has set it to another number, and nothing was counted.

So nothing is invented: a fall never counts more than `most`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from pipeline.frame import Scalar

__all__ = ["MOST", "Counter", "Most", "Pulses", "Wrap", "number_of"]

MOST = 1000
Most = Annotated[
    int,
    Meta(description="when a counter has fallen: the most it can have counted since the frame before", ge=1),
]
"""The option that tells an overflow or reset from a number that somebody has set."""


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


class Counter:
    """What one counter has counted.

    Attributes:
        last: what it showed last; None before the first time.
    """

    __slots__ = ("_ends", "_most", "last")

    def __init__(self, wrap: Wrap = Wrap.AUTO, most: int = MOST) -> None:
        self.last: float | None = None
        self._ends = _ENDS[wrap]
        self._most = most

    def step(self, value: float) -> float:
        """What was counted since the last time, 0 the first time.

        Args:
            value: what it shows now.
        """
        last, self.last = self.last, value
        if last is None or value == last:
            return 0
        if value > last:
            return value - last
        ways = [top - last + value - floor for top, floor in self._ends if top > last and value >= floor]
        way = min(ways, default=self._most + 1)
        if way <= self._most:
            return way
        return value if 0 <= value <= self._most else 0


class Pulses:
    """What a bit has counted that is set for a moment with each part: how often it went from false to true."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last: float | None = None

    def step(self, value: float) -> float:
        """1 when the bit has just been set, else 0; a bit that is set at first sight may have been so for long."""
        last, self.last = self.last, value
        return 1 if value and last is not None and not last else 0


def number_of(value: Scalar) -> float | None:
    """A value as a number, a boolean as 1 or 0; None for texts and what is no finite number."""
    if isinstance(value, str) or value - value != 0:  # infinities and NaN differ from themselves by NaN
        return None
    return value
