"""Scores how unusual a value is: its distance from the usual, in standard deviations, beside it as `<name>_score`.

The usual is mean and standard deviation of what came before, weighted by age: after `half_life` a value counts half. So
frames may come as they like; ten in a second don't outweigh an hour. A score of 3 is rare, 6 is an alarm: `threshold`
on `<name>_score` makes a verdict of it. A value that has never moved and then does has the score 1000, which is the
most.

There is a score once `warm_up` has passed since the first value, or since the first after a pause longer than
`half_life`. A failed read is a pause, nothing more. A bad value's score is bad for the same reason; so is that of a
text or of no number, and none of them counts. Heartbeats and failures pass; a frame that is older than one before it
(from a backlog) passes without a score and is not learned from.

Ordering: kept. Delivery: every frame passes. Memory: five numbers for each value of a block. Disconnects: see above. A
restart begins anew, with `warm_up`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.counters import number_of
from pipeline.errors import Finding, Severity
from pipeline.frame import Frame, Kind, Scalar
from pipeline.framewise import Step, framewise
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.patterns import chooser, matching, unmatched
from pipeline.series import Series
from pipeline.units import Duration
from pipeline.verdict import why_bad

__all__ = ["Ewma", "Result", "ewma"]

_MOST = 1000.0


class Result(StrEnum):
    """What is added to the frame, as `<name>_<result>`."""

    SCORE = "score"
    MEAN = "mean"
    STD = "std"


class Ewma(Options):
    """Options of `ewma`."""

    fields: Annotated[list[str], Meta(description="patterns (AI_*) of the values that are scored", min_length=1)]
    half_life: Annotated[Duration, Meta(description="age at which a value counts half", gt=0)]
    warm_up: Annotated[
        Duration | None, Meta(description="time that is watched before there is a score; unless told, half_life")
    ] = None
    results: Annotated[list[Result], Meta(description="what is added for each value", min_length=1)] = msgspec.field(
        default_factory=lambda: [Result.SCORE]
    )


@transform
def ewma(options: Ewma, context: Context) -> Transform:
    """Add scores to data frames."""
    chosen = chooser(dict.fromkeys(options.fields, True))
    pause = options.half_life if options.warm_up is None else options.warm_up

    def start() -> Step:
        series: Series[dict[str, _Usual]] = Series(dict, context.clock.monotonic)

        def step(frame: Frame) -> Frame:
            if frame.kind is not Kind.DATA or (of_block := series.at(frame)) is None:
                return frame
            values = dict(frame.values)
            bad = dict(frame.bad or {})
            for name, reason in (frame.bad or {}).items():
                if chosen(name):
                    bad.update((f"{name}_{result}", reason) for result in options.results)
            for name, value in frame.values.items():
                if not chosen(name):
                    continue
                number = number_of(value)
                if number is None:
                    bad.update((f"{name}_{result}", why_bad(value)) for result in options.results)
                    continue
                usual = of_block.get(name) or of_block.setdefault(name, _Usual(options.half_life, pause))
                values.update(usual.step(name, frame.ts, number, options.results))
            return frame.replace(values=values, bad=bad or None)

        return step

    return framewise(start)


@ewma.predict
def _predict(options: Ewma, _: Scope, inflow: Flow) -> Forecast:
    """Numbers more for each value; frames that come too seldom never have a score."""
    warnings = list(unmatched(options.fields, inflow.names, ("fields",)))
    between = inflow.blocks / inflow.frames if inflow.frames else 0.0
    if between > options.half_life:
        message = f"frames come each {Duration(between)}, so that there is never a score"
        hint = "half_life must be longer than that"
        warnings.append(Finding(path=("half_life",), message=message, hint=hint, severity=Severity.WARNING))
    added = [f"{name}_{result}" for name in matching(options.fields, inflow.names) for result in options.results]
    size = inflow.size + sum(len(name) + 12 for name in added)
    flow = replace(inflow, size=size, names=inflow.names.union(added))
    return Forecast(flow=flow, warnings=tuple(warnings))


class _Usual:
    """Mean and variance of one value, weighted by age (West's incremental form, with decaying weights)."""

    __slots__ = ("_began", "_half_life", "_last", "_mean", "_squares", "_warm_up", "_weight")

    def __init__(self, half_life: float, warm_up: float) -> None:
        self._half_life = half_life
        self._warm_up = warm_up
        self._weight = 0.0
        self._mean = self._squares = 0.0
        self._began = self._last = 0.0

    def step(self, name: str, ts: float, value: float, results: Iterable[Result]) -> Iterable[tuple[str, Scalar]]:
        """The results for a value, from what was usual before it; then it counts among the usual."""
        passed = ts - self._last
        if not self._weight or passed > self._half_life:
            self._began = ts
        found: list[tuple[str, Scalar]] = []
        if self._weight and ts - self._began >= self._warm_up:
            std = math.sqrt(self._squares / self._weight)
            offset = abs(value - self._mean)
            score = 0.0 if not offset else min(offset / std, _MOST) if std else _MOST
            by_result = {Result.SCORE: score, Result.MEAN: self._mean, Result.STD: std}
            found = [(f"{name}_{result}", by_result[result]) for result in results]
        self._learn(ts, value, 0.5 ** (passed / self._half_life) if self._weight else 0.0)
        return found

    def _learn(self, ts: float, value: float, decay: float) -> None:
        self._last = ts
        self._weight = self._weight * decay + 1
        before = value - self._mean
        self._mean += before / self._weight
        self._squares = self._squares * decay + before * (value - self._mean)
        if not math.isfinite(self._squares):
            self._weight = 0.0
            self._mean = self._squares = 0.0
