"""Makes rates of counters: parts per minute of a number that only grows, beside it as `<name>_per_min`.

The rate is what was counted in the latest `window`, over the true time between the two frames that stand at its ends;
`window: 0s` takes the time between two frames. Until a window has passed since a counter's first frame there is none.
What a counter shows is read as a PLC counts (`pipeline/counters.py`): an overflow goes on counting, a reset begins at
0, and no jump counts more than `most`, down or up, so that one wrong reading counts nothing. What was counted while
reads failed is kept, and spread over the whole time from the last frame before to the first one after, so a gap invents
no production and hides none: `most` holds for each minute of it.

A bad counter's rate is bad for the same reason; so is that of a text or of no number, and of a jump up. Heartbeats and
failures pass. A frame that is older than one before it (from a backlog) passes without a rate.

Ordering: kept. Delivery: every frame passes. Memory: 62 numbers for each counter of a block. Disconnects: see above. A
restart begins anew: what was counted while nobody looked has no rate.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from pipeline.counters import MOST, Counter, Most, Wrap, number_of
from pipeline.frame import Frame, Kind
from pipeline.framewise import Step, framewise
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.patterns import chooser, matching, unmatched
from pipeline.series import Series
from pipeline.units import Duration
from pipeline.verdict import why_bad

__all__ = ["Per", "Rate", "rate"]

_PIECES = 60
"""A window's ends are exact to this part of it."""


class Per(StrEnum):
    """The time that a rate is given for."""

    SECOND = "s"
    MINUTE = "min"
    HOUR = "h"


_SECONDS = {Per.SECOND: 1.0, Per.MINUTE: 60.0, Per.HOUR: 3600.0}


class Rate(Options):
    """Options of `rate`."""

    fields: Annotated[list[str], Meta(description="patterns (contador_*) of the counters", min_length=1)]
    per: Annotated[Per, Meta(description="time that the rate is given for; the result is <name>_per_<per>")] = (
        Per.MINUTE
    )
    window: Annotated[Duration, Meta(description="time that the rate is taken over; 0s: between two frames", ge=0)] = (
        Duration(60)
    )
    wrap: Annotated[Wrap, Meta(description="type at whose largest number the counters begin anew")] = Wrap.AUTO
    most: Most = MOST

    def named(self, name: str) -> str:
        """What the rate of a counter is called."""
        return f"{name}_per_{self.per}"


@transform
def rate(options: Rate, context: Context) -> Transform:
    """Add rates to data frames."""
    chosen = chooser(dict.fromkeys(options.fields, True))

    def start() -> Step:
        meters: Series[dict[str, _Meter]] = Series(dict, context.clock.monotonic)

        def step(frame: Frame) -> Frame:
            if frame.kind is not Kind.DATA or (of_block := meters.at(frame)) is None:
                return frame
            values = dict(frame.values)
            bad = {options.named(name): reason for name, reason in (frame.bad or {}).items() if chosen(name)}
            for name, value in frame.values.items():
                if not chosen(name):
                    continue
                meter = of_block.get(name) or of_block.setdefault(name, _Meter(options, name))
                number = number_of(value)
                if number is None:
                    bad[meter.result] = why_bad(value)
                    continue
                found = meter.step(frame.ts, number)
                if meter.jump:
                    bad[meter.result] = meter.jump
                elif found is not None:
                    values[meter.result] = found
            return frame.replace(values=values, bad={**(frame.bad or {}), **bad} if bad else frame.bad)

        return step

    return framewise(start)


@rate.predict
def _predict(options: Rate, _: Scope, inflow: Flow) -> Forecast:
    """A number more for each counter."""
    added = [options.named(name) for name in matching(options.fields, inflow.names)]
    size = inflow.size + sum(len(name) + 8 for name in added)
    flow = replace(inflow, size=size, names=inflow.names.union(added))
    return Forecast(flow=flow, warnings=tuple(unmatched(options.fields, inflow.names, ("fields",))))


class _Meter:
    """One counter of one series.

    Attributes:
        result: what its rate is called.
        jump: why the latest reading can't have been counted; empty when it can.
    """

    def __init__(self, options: Rate, name: str) -> None:
        self.result = options.named(name)
        self.jump = ""
        self._counter = Counter(options.wrap, options.most)
        self._window = float(options.window)
        self._seconds = _SECONDS[options.per]
        self._total = 0.0
        self._marks: deque[tuple[float, float]] = deque()

    def step(self, ts: float, value: float) -> float | None:
        """The rate at this moment, None while there is none."""
        self._total += self._counter.step(value, ts)
        self.jump = f"{value:.15g} is more than `most` beyond the reading before" if self._counter.jumped else ""
        marks = self._marks
        while len(marks) > 1 and marks[1][0] <= ts - self._window:
            marks.popleft()
        passed = ts - marks[0][0] if marks else 0.0
        found = None
        if passed > 0 and passed >= self._window:
            found = (self._total - marks[0][1]) / passed * self._seconds
        if not marks or ts - marks[-1][0] >= self._window / _PIECES:
            marks.append((ts, self._total))
        return found
