"""Reports by exception: data frames pass only when a value has moved out of its band, and at least once per `refresh`.

The band lies around the value that was last passed on, so that a slow drift passes too. A number moves when it differs
from that by more than its band; without a band, and for booleans and texts, any difference counts, and so does a value
that appears or vanishes. Heartbeats, failures and frames that name a bad value always pass, and so does a block's first
data frame after a failure. A receiver can tell apart: *changed* is a frame before `refresh` is over; *same but fresh* a
frame with the values as just read, once it is over; *no data* is a failure, or no frame for longer than `refresh`.
With `send: changed` no frame can stand for an earlier one, so `rate_limit` must come before this node, not behind it:
`check` warns of that.

Ordering: kept. Delivery: frames within the bands are held back on purpose, never delayed. Memory: of each block, the
values that were last passed on. Disconnects: the failure passes, and so does the next data frame, whatever its values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.frame import Frame, Kind, Origin, Scalar
from pipeline.framewise import framewise
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.patterns import chooser, unmatched
from pipeline.units import Duration

__all__ = ["Band", "Deadband", "Send", "deadband"]


class Send(StrEnum):
    """What a changed frame carries: all values of the block, or only those that have moved."""

    FRAME = "frame"
    CHANGED = "changed"


class Band(Options):
    """How far a number may stray without being reported. With both, the wider one counts."""

    absolute: Annotated[float, Meta(description="in the value's own unit; 0: any change counts", ge=0)] = 0.0
    percent: Annotated[float, Meta(description="of the value that was last passed on", ge=0)] = 0.0

    def holds(self, value: float, last: float) -> bool:
        """Whether `value` is within the band around `last`; never for NaN."""
        width = max(self.absolute, abs(last) * self.percent / 100) if self.percent else self.absolute
        return abs(value - last) <= width < math.inf


class Deadband(Options):
    """Options of `deadband`."""

    fields: Annotated[
        dict[str, Band], Meta(description="bands by pattern (AI_*); the first that matches a value's name counts")
    ] = msgspec.field(default_factory=dict)
    refresh: Annotated[Duration, Meta(description="a block's next frame passes after this time anyway", gt=0)] = (
        Duration(60)
    )
    send: Annotated[Send, Meta(description="frame: all values when one has moved; changed: only those that have")] = (
        Send.FRAME
    )


@transform
def deadband(options: Deadband, context: Context) -> Transform:
    """Hold back data frames in which nothing has moved."""
    band = chooser(options.fields)
    return framewise(lambda: _Gate(options, band, context.clock.monotonic).step)


@deadband.predict
def _predict(options: Deadband, _: Scope, inflow: Flow) -> Forecast:
    """Between a block at rest and one that always moves; what follows is sized for the latter."""
    rest = inflow.blocks / options.refresh
    lines = (("frames at rest", f"{rest:.4g}/s; at most what comes in"),) if inflow.blocks else ()
    warnings = tuple(unmatched(options.fields, inflow.names, ("fields",), keyed=True))
    flow = replace(inflow, partial=inflow.partial or options.send is Send.CHANGED)
    return Forecast(flow=flow, lines=lines, warnings=warnings)


class _Passed:
    """What was last passed on of one block."""

    __slots__ = ("until", "values")

    def __init__(self, values: Mapping[str, Scalar], until: float) -> None:
        self.values = values
        self.until = until


class _Gate:
    """The state of one subscription."""

    def __init__(self, options: Deadband, band: Callable[[str], Band | None], monotonic: Callable[[], float]) -> None:
        self._refresh = options.refresh
        self._whole = options.send is Send.FRAME
        self._band = band
        self._monotonic = monotonic
        self._passed: dict[Origin, _Passed] = {}

    def step(self, frame: Frame) -> Frame | None:
        """The frame as it is passed on, None when it is held back."""
        if frame.kind is not Kind.DATA:
            if frame.kind is Kind.FAILURE:
                self._passed.pop(frame.origin, None)
            return frame
        now = self._monotonic()
        passed = self._passed.get(frame.origin)
        if passed is None or frame.bad or now >= passed.until or len(passed.values) > len(frame.values):
            self._passed[frame.origin] = _Passed(frame.values, now + self._refresh)
            return frame
        moved = _moved(frame.values, passed.values, self._band)
        if self._whole:
            if next(moved, None) is None:
                return None
            passed.values, passed.until = frame.values, now + self._refresh
            return frame
        changed = {name: frame.values[name] for name in moved}
        if not changed:
            return None
        passed.values = {**passed.values, **changed}
        return frame.replace(values=changed)


def _moved(
    values: Mapping[str, Scalar], last: Mapping[str, Scalar], band: Callable[[str], Band | None]
) -> Iterator[str]:
    """The names of the values that differ from the last ones by more than their bands."""
    for name, value in values.items():
        before = last.get(name)
        if value == before:
            if isinstance(value, bool) is not isinstance(before, bool):
                yield name
        elif isinstance(value, bool | str) or before is None or isinstance(before, bool | str):
            yield name
        elif value == value or before == before:  # noqa: PLR0124 - NaN is the only value that differs from itself
            found = band(name)
            if found is None or not found.holds(value, before):
                yield name
