"""Turns raw numbers into engineering values: `value * factor + offset`, by patterns of names, with a unit if wanted.

The result is always a float, so that a value never changes its type. Booleans and texts stay as they are. A result that
no float can hold is left out and named in `bad`.

Ordering: kept. Delivery: every frame passes. Memory: one origin per block. Disconnects: failures and heartbeats pass
untouched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Annotated

from msgspec import Meta

from pipeline.errors import Finding
from pipeline.frame import Frame, Kind, Origin, Scalar
from pipeline.framewise import Origins, Step, framewise
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.patterns import chooser, unmatched

__all__ = ["Scale", "Scaling", "scale"]


class Scaling(Options):
    """How one number becomes another."""

    factor: Annotated[float, Meta(description="the number is multiplied by it")] = 1.0
    offset: Annotated[float, Meta(description="added afterwards")] = 0.0
    unit: Annotated[str, Meta(description="the result's unit, for the page; never on the wire")] = ""

    def check(self, scope: Scope) -> Iterable[Finding]:  # noqa: ARG002 - the contract's argument
        """A factor of 0 makes every value the same."""
        if self.factor == 0:
            yield Finding(
                path=("factor",), message="must not be 0: every value would be the offset", hint="1 scales nothing"
            )

    def apply(self, value: float) -> float | None:
        """The scaled number, None when no float can hold it."""
        try:
            result = value * self.factor + self.offset
        except OverflowError:
            return None
        return result if math.isfinite(result) else None


class Scale(Options):
    """Options of `scale`."""

    fields: Annotated[
        dict[str, Scaling],
        Meta(description="scalings by pattern (AI_*); the first that matches a value's name counts", min_length=1),
    ]


@transform
def scale(options: Scale, context: Context) -> Transform:  # noqa: ARG001 - every operator gets a context
    """Scale the numbers of data frames."""
    scaling = chooser(options.fields)

    def start() -> Step:
        untold: dict[Origin, dict[str, str]] = {}  # the units of those whose values have not been seen yet
        origins = Origins(lambda origin: origin.replace(units=untold.setdefault(origin, {})))

        def step(frame: Frame) -> Frame:
            origin = origins[frame.origin]
            if frame.kind is not Kind.DATA:
                return frame.replace(origin=origin)
            if frame.origin in untold:
                untold.pop(frame.origin).update(_units(frame, scaling))
            return _scaled(frame, origin, scaling)

        return step

    return framewise(start)


@scale.predict
def _predict(options: Scale, _: Scope, inflow: Flow) -> Forecast:
    return Forecast(flow=inflow, warnings=tuple(unmatched(options.fields, inflow.names, ("fields",), keyed=True)))


def _scaled(frame: Frame, origin: Origin, scaling: Callable[[str], Scaling | None]) -> Frame:
    values: dict[str, Scalar] = {}
    bad = dict(frame.bad or {})
    for name, value in frame.values.items():
        chosen = scaling(name)
        if chosen is None or isinstance(value, bool | str):
            values[name] = value
        elif (result := chosen.apply(value)) is not None:
            values[name] = result
        else:
            bad[name] = "out of range after scaling"
    return frame.replace(origin=origin, values=values, bad=bad or None)


def _units(frame: Frame, scaling: Callable[[str], Scaling | None]) -> dict[str, str]:
    """The units after scaling. That of the raw number is wrong for the result, so without a new one there is none."""
    units = {name: unit for name, unit in frame.origin.units.items() if scaling(name) is None}
    for name in (*frame.values, *(frame.bad or ())):
        chosen = scaling(name)
        if chosen is not None and chosen.unit:
            units[name] = chosen.unit
    return units
