"""The arithmetic of OEE: what happened in planned time, window by window, from readings of one machine.

A reading stands until the next one, but at most for `max_gap`; time that no reading stands for is missing. It is
planned time all the same, and never running time. Parts that were counted over missing time count as made, but tell
nothing of the speed, since nobody knows how long the machine ran for them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import msgspec

from pipeline.frame import Scalar
from pipeline.shifts import Calendar, Shift

__all__ = ["Line", "LineState", "Missing", "Parts", "Report", "Sums", "Window"]

_PIECES = 60
"""A rolling window's beginning is exact to this part of it."""

_LONGEST = 8 * 86400.0
"""Seconds without a reading and without a tick after which the clock must have been set: the line begins anew."""


class Window(StrEnum):
    """The time that a result is about; each begins at nothing, but the rolling one."""

    SHIFT = "shift"
    HOUR = "hour"
    DAY = "day"
    ROLLING = "rolling"


class Missing(StrEnum):
    """What time without data counts as in availability: as stopped, or not at all."""

    STOPPED = "stopped"
    EXCLUDED = "excluded"


class Parts(NamedTuple):
    """What was counted between two readings."""

    good: float = 0.0
    scrap: float = 0.0


class Report(NamedTuple):
    """The result of a window, so far or at its end.

    Attributes:
        ts: seconds since 1970: the end of what it is about.
        values: the factors and what they are made of.
        bad: factors that can't be told, and why.
    """

    ts: float
    values: dict[str, Scalar]
    bad: dict[str, str] | None


class Sums(msgspec.Struct):
    """Sums over some time. Seconds, and parts; `timed` are those parts for which the running time is known."""

    planned: float = 0.0
    observed: float = 0.0
    running: float = 0.0
    good: float = 0.0
    scrap: float = 0.0
    timed: float = 0.0

    def add(self, other: Sums) -> None:
        """Take in what another has."""
        self.planned += other.planned
        self.observed += other.observed
        self.running += other.running
        self.good += other.good
        self.scrap += other.scrap
        self.timed += other.timed


class LineState(msgspec.Struct):
    """What outlives a restart; see `Line`.

    Attributes:
        now: until when time was counted, seconds since 1970.
        running: whether the machine ran.
        known_until: how long that stands; None: it does not.
        tally: the present window, or the present piece of a rolling one.
        past: the pieces before it, oldest first.
    """

    now: float
    running: bool | None
    known_until: float | None
    tally: Sums
    past: list[Sums]


class Line:
    """One machine."""

    def __init__(
        self,
        calendar: Calendar,
        *,
        window: Window,
        length: float,
        ideal: float,
        missing: Missing,
        max_gap: float,
    ) -> None:
        """Begin; nothing is known.

        Args:
            calendar: planned time.
            window: what results are about.
            length: seconds of a rolling window.
            ideal: parts per minute at best.
            missing: what time without data counts as.
            max_gap: seconds that a reading stands for at most.
        """
        self._ideal = ideal
        self._calendar = calendar
        self._window = window
        self._length = length
        self._missing = missing
        self._max_gap = max_gap
        self._now = -math.inf
        self._running: bool | None = None
        self._known_until = -math.inf
        self._shift: Shift | None = None
        self._stretch_end = -math.inf
        self._tally = Sums()
        self._tally_end = math.inf
        self._past: deque[Sums] = deque()

    @property
    def now(self) -> float:
        """Until when time was counted, seconds since 1970; -infinity before the first reading."""
        return self._now

    def save(self) -> LineState:
        """What is known; not before the first reading."""
        known = self._known_until if math.isfinite(self._known_until) else None
        return LineState(self._now, self._running, known, self._tally, list(self._past))

    def resume(self, state: LineState) -> None:
        """Go on where another line was; the time since then is missing, but for what its last reading stands for."""
        self._now = state.now
        self._turn()
        self._open()
        self._running = state.running
        self._known_until = -math.inf if state.known_until is None else state.known_until
        self._tally = state.tally
        self._past.extend(state.past)

    def read(self, ts: float, running: bool | None, parts: Parts) -> Iterator[Report]:
        """Take a reading; gives the results of the windows that have ended before it.

        Args:
            ts: its time, seconds since 1970, never less than the last one's. What it tells of time before `now` is not
                made good; its parts count.
            running: whether the machine runs; None where that could not be read.
            parts: what was counted since the last reading.
        """
        yield from self.advance(ts)
        # What lies before `now` has been counted as missing: for how long it ran for these parts nobody knows.
        is_timed = self._now <= ts <= self._known_until
        self._running = running
        self._known_until = ts + self._max_gap if running is not None else -math.inf
        if self._shift is not None:
            self._tally.good += parts.good
            self._tally.scrap += parts.scrap
            self._tally.timed += parts.good + parts.scrap if is_timed else 0.0

    def fail(self, ts: float) -> Iterator[Report]:
        """Nothing could be read at that time: nobody knows what the machine does from now on."""
        yield from self.advance(ts)
        self._known_until = -math.inf

    def advance(self, to: float) -> Iterator[Report]:
        """Let time pass; gives the results of the windows that have ended."""
        if to - self._now > _LONGEST:
            self._begin(to)
        while self._now < to:
            stop = min(to, self._stretch_end, self._tally_end)
            if self._shift is not None:
                self._tally.planned += stop - self._now
                known = max(0.0, min(stop, self._known_until) - self._now)
                self._tally.observed += known
                self._tally.running += known if self._running else 0.0
            self._now = stop
            if stop >= self._tally_end:
                yield from self._close()
            if stop >= self._stretch_end:
                self._turn()

    def report(self, *, final: bool = False) -> Report | None:
        """The result until now; None while no time was planned, and outside of planned time."""
        if self._shift is None and not final:
            return None
        tally = self._tally
        if self._past:
            tally = Sums()
            for piece in (*self._past, self._tally):
                tally.add(piece)
        if not tally.planned:
            return None
        values: dict[str, Scalar] = {}
        bad: dict[str, str] = {}
        parts = tally.good + tally.scrap
        base = tally.planned if self._missing is Missing.STOPPED else tally.observed
        factors = {
            "availability": (tally.running, base, "no data"),
            "performance": (tally.timed, tally.running / 60 * self._ideal, "it did not run"),
            "quality": (tally.good, parts, "no parts were made"),
        }
        oee = 1.0
        for name, (part, whole, reason) in factors.items():
            if whole > 0:
                values[name] = part / whole
                oee *= part / whole
            else:
                bad[name] = reason
        if base > 0:
            values["oee"] = 0.0 if bad else oee
        else:
            bad["oee"] = "no data"
        values.update(
            coverage=tally.observed / tally.planned,
            good=tally.good,
            scrap=tally.scrap,
            running_seconds=tally.running,
            planned_seconds=tally.planned,
            final=final,
        )
        if self._window is Window.SHIFT and self._shift is not None and self._shift.name:
            values["shift"] = self._shift.name
        return Report(self._now, values, bad or None)

    def _begin(self, ts: float) -> None:
        """Start in the middle of whatever it is; what has passed of a window is missing."""
        self._now = ts
        self._known_until = -math.inf
        self._past.clear()
        self._turn()
        start = self._open()
        if self._window is not Window.ROLLING and start < ts:
            self._now = max(start, ts - _LONGEST)
            self._turn()

    def _turn(self) -> None:
        """Look up what is planned from now on."""
        self._shift, _, self._stretch_end = self._calendar.at(self._now)

    def _open(self) -> float:
        """Begin to count anew; the window's own beginning."""
        stretch = self._calendar.at(self._now)
        if self._window is Window.SHIFT:
            start, end = (stretch.start, stretch.end) if stretch.shift else (self._now, stretch.end)
        elif self._window is Window.HOUR:
            start, end = self._calendar.hour(self._now)
        elif self._window is Window.DAY:
            start, end = self._calendar.day(self._now)
        else:
            piece = self._length / _PIECES
            start, end = self._now, (math.floor(self._now / piece) + 1) * piece
        self._tally, self._tally_end = Sums(), end
        return start

    def _close(self) -> Iterator[Report]:
        """End a window, or a piece of a rolling one."""
        if self._window is Window.ROLLING:
            self._past.append(self._tally)
            if len(self._past) >= _PIECES:
                self._past.popleft()
        elif (report := self.report(final=True)) is not None:
            yield report
        self._open()
