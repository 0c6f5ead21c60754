"""Planned time: shifts by weekday and local time, and the hours and days of a time zone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from pipeline.errors import Finding
from pipeline.operator import Options

__all__ = ["Calendar", "Shift", "Stretch", "TimeOfDay", "Weekdays", "check_shifts"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES_A_DAY = 24 * 60
_FAR = 8
"""Days within which each shift comes again."""


class Weekdays(frozenset[int]):
    """Days of the week, Monday is 0: `mon-fri`, `mon,wed,fri`, `sat-mon`, `daily`."""

    @classmethod
    def parse(cls, text: str) -> Weekdays:
        """Read days.

        Raises:
            ValueError: a word that is no day.
        """
        if text.strip().lower() == "daily":
            return cls(range(7))
        days: set[int] = set()
        for part in text.lower().split(","):
            first, _, last = (word.strip() for word in part.partition("-"))
            if first not in _DAYS or (last or first) not in _DAYS:
                raise ValueError(f"'{text}' names no days; write mon-fri, or mon,wed,fri, or daily")
            start = _DAYS.index(first)
            days.update((start + n) % 7 for n in range((_DAYS.index(last or first) - start) % 7 + 1))
        return cls(days)


class TimeOfDay(int):
    """A time of a day in minutes since midnight, written `06:00`; `24:00` is the end of the day."""

    @classmethod
    def parse(cls, text: str) -> TimeOfDay:
        """Read a time.

        Raises:
            ValueError: it is none.
        """
        match = re.fullmatch(r"(\d{1,2}):([0-5]\d)", text.strip())
        minutes = int(match[1]) * 60 + int(match[2]) if match else _MINUTES_A_DAY + 1
        if minutes > _MINUTES_A_DAY:
            raise ValueError(f"'{text}' is no time of a day; write it as 06:00")
        return cls(minutes)


class Shift(Options):
    """A planned stretch of time that comes again each week."""

    start: Annotated[TimeOfDay, Meta(description="when it begins, local time: 06:00")] = msgspec.field(name="from")
    end: Annotated[TimeOfDay, Meta(description="when it ends; up to `from`, it ends on the next day")] = msgspec.field(
        name="to"
    )
    days: Annotated[Weekdays, Meta(description="days on which it begins: mon-fri, or mon,wed, or daily")] = Weekdays(
        range(7)
    )
    name: Annotated[str, Meta(description="what it is called in results")] = ""

    @property
    def minutes(self) -> int:
        """How long it takes by the clock on the wall."""
        return (self.end - self.start - 1) % _MINUTES_A_DAY + 1


class Stretch(NamedTuple):
    """A time that is planned, or is not.

    Attributes:
        shift: which shift it is; None where nothing is planned.
        start: seconds since 1970; -infinity where that doesn't matter.
        end: seconds since 1970, not part of it; may be infinite.
    """

    shift: Shift | None
    start: float
    end: float


_ALWAYS = Shift(start=TimeOfDay(0), end=TimeOfDay(_MINUTES_A_DAY))


class Calendar:
    """Shifts in a time zone; none at all means that all time is planned."""

    def __init__(self, shifts: Sequence[Shift], timezone: str) -> None:
        """Make a calendar of shifts that `check_shifts` and `check_timezone` have found right."""
        self._shifts = shifts
        self._zone = ZoneInfo(timezone or "UTC")

    def at(self, ts: float) -> Stretch:
        """What is planned at a moment, and until when; a shift in which the clocks change is longer or shorter."""
        if not self._shifts:
            return Stretch(_ALWAYS, -math.inf, math.inf)
        day = self._local(ts).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        following = math.inf
        for number in range(-1, _FAR + 1):
            date = day + timedelta(days=number)
            for shift in self._shifts:
                if date.weekday() in shift.days:
                    start = self._timestamp(date + timedelta(minutes=shift.start))
                    end = self._timestamp(date + timedelta(minutes=shift.start + shift.minutes))
                    if start <= ts < end:
                        return Stretch(shift, start, end)
                    if ts < start < end:
                        following = min(following, start)
        return Stretch(None, -math.inf, following)

    def hour(self, ts: float) -> tuple[float, float]:
        """Beginning and end of the hour around a moment."""
        start = self._local(ts).replace(minute=0, second=0, microsecond=0).timestamp()
        return start, start + 3600

    def day(self, ts: float) -> tuple[float, float]:
        """Beginning and end of the day around a moment."""
        date = datetime.combine(self._local(ts).date(), time())
        return self._timestamp(date), self._timestamp(date + timedelta(days=1))

    def _local(self, ts: float) -> datetime:
        return datetime.fromtimestamp(ts, UTC).astimezone(self._zone)

    def _timestamp(self, local: datetime) -> float:
        return local.replace(tzinfo=self._zone).timestamp()


def check_shifts(shifts: Sequence[Shift], path: tuple[str | int, ...]) -> Iterator[Finding]:
    """Mistakes in shifts: two at a time, or none of its days."""
    taken: dict[int, int] = {}
    for index, shift in enumerate(shifts):
        minutes = {
            (day * _MINUTES_A_DAY + shift.start + minute) % (7 * _MINUTES_A_DAY)
            for day in shift.days
            for minute in range(shift.minutes)
        }
        clash = min((taken[minute] for minute in minutes & taken.keys()), default=None)
        if clash is not None:
            message = f"is at the same time as {shifts[clash].name or f'{path[-1]}[{clash}]'}"
            yield Finding(path=(*path, index), message=message, hint="a moment belongs to one shift")
        taken.update(dict.fromkeys(minutes, index))
