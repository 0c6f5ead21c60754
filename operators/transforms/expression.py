"""Adds values that are calculated from a frame's others: `potencia: "AI_Corrente * 380 * 1.732"`.

Expressions are Python's operators on numbers, texts and booleans (`+ - * / // % **`, comparisons, `and or not`, `a if b
else c`) and `abs min max round int float`; `%` is the remainder of numbers, and texts are written `f"{temp:.1f}"`.
Names are the frame's values, its tags, and `ts`, `ip`, `db`, `tenant_id`, `plc_id`, `measurement`; `values["a b"]`
reaches a name that is no word. They are worked out in the order of the file, so that one may use the results before it;
one that has the name of a value takes its place.

A number is always given as a float, so that a result never changes its type; comparisons give booleans. What can't be
worked out (a value is missing or bad, a division by zero, no finite number) is absent and named in `bad` with the
reason. So is what would take long or much: integers end at 1024 bits, texts at 100,000 characters.

Ordering: kept. Delivery: every frame passes. Memory: one origin per block where `units` are given. Disconnects:
failures and heartbeats pass. Nothing is remembered, so a restart changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pipeline.errors import Finding, Severity, nearest
from pipeline.expression import OF_FRAME, Expression, names_of
from pipeline.frame import Frame, Kind, Scalar
from pipeline.framewise import Origins, Step, framewise
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.verdict import check_results

__all__ = ["Calculation", "expression"]


class Calculation(Options):
    """Options of `expression`."""

    set: Annotated[dict[str, str], Meta(description="expression by the name of its result", min_length=1)]
    units: Annotated[dict[str, str], Meta(description="unit by result, for the page; never on the wire")] = (
        msgspec.field(default_factory=dict)
    )

    def check(self, scope: Scope) -> Iterable[Finding]:  # noqa: ARG002 - the contract's argument
        """Texts that are no expressions, names that can't be used, units of nothing."""
        yield from check_results(self.set, ("set",), keyed=True)
        for name, text in self.set.items():
            try:
                Expression(text)
            except ValueError as error:
                yield Finding(path=("set", name), message=str(error))
        for name in self.units.keys() - self.set.keys():
            yield Finding(path=("units", name), message="is no result", hint=f"there are {', '.join(self.set)}")


@transform
def expression(options: Calculation, context: Context) -> Transform:  # noqa: ARG001 - every operator gets a context
    """Add calculated values to data frames."""
    parsed = {name: Expression(text) for name, text in options.set.items()}

    def start() -> Step:
        origins = Origins(lambda origin: origin.replace(units={**origin.units, **options.units}))

        def step(frame: Frame) -> Frame:
            origin = origins[frame.origin] if options.units else frame.origin
            if frame.kind is not Kind.DATA:
                return frame if origin is frame.origin else frame.replace(origin=origin)
            values = dict(frame.values)
            bad = dict(frame.bad or {})
            names = names_of(frame)
            for name, each in parsed.items():
                values.pop(name, None)
                bad.pop(name, None)
                try:
                    values[name] = names[name] = _evaluate(each, names)
                except ValueError as error:
                    bad[name] = _reason(each, names, bad, error)
                    names.pop(name, None)
            return frame.replace(origin=origin, values=values, bad=bad or None)

        return step

    return framewise(start)


@expression.predict
def _predict(options: Calculation, _: Scope, inflow: Flow) -> Forecast:
    """The results beside the data, and names that look like a value's but are none."""
    known = {*inflow.names, *OF_FRAME}
    warnings = []
    for name, text in options.set.items() if inflow.names else ():
        for wanted in sorted(Expression(text).names - known):
            if similar := nearest(wanted, inflow.names):
                message, hint = f"no value '{wanted}' comes here", f"did you mean '{similar}'?"
                path = ("set", name)
                warnings.append(Finding(path=path, message=message, hint=hint, severity=Severity.WARNING))
        known.add(name)
    size = inflow.size + sum(len(name) + 12 for name in options.set)
    names = inflow.names.union(options.set) if inflow.names else inflow.names
    flow = replace(inflow, size=size, names=names)
    return Forecast(flow=flow, warnings=tuple(warnings))


def _evaluate(each: Expression, names: Mapping[str, Any]) -> Scalar:
    value: Scalar = each.evaluate(names)
    if isinstance(value, bool | str):
        return value
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"'{each.text}': gives no finite number")
    return number


def _reason(each: Expression, names: Mapping[str, Any], bad: Mapping[str, str], error: ValueError) -> str:
    """Why there is no result: what is missing, if anything is, else what the evaluator says."""
    lacking = sorted(each.names - names.keys())
    told = [f"{name}: {bad[name]}" if name in bad else f"{name} is missing" for name in lacking]
    return "; ".join(told) or str(error)
