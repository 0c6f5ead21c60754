"""Judges a value by levels: over 30 it is `CRITICO`, else `Normal`.

A level is a condition such as `> 30`, `<= 5.5`, `== 3`, or some of them joined by `and` or `or` (`and` binds tighter).
The verdict is the first level, in the order of the file, that holds; `otherwise` when none does. `hysteresis` is how
far a value must come back over a limit until its level ends. A level begins once its condition has been true for
`hold`, and ends once it has been false for `release`, by the frames' own time; a failed read interrupts both.

`into: frame` makes a frame of each verdict: `measurement`, the source's tags, the time of the frame that was judged,
and nothing else passes, so that `from: [press, verdicts]` has everything once. A verdict that stands is repeated when
its series has had none for `every`, with the time of that moment, while its last reading is, by its own time, no older
than `recent`: what a backlog brings is judged, and nothing of it is repeated as if it were now. `into: values` adds the
verdict to the data frames, and all frames pass.

A frame without the value has no verdict; one whose value is bad, or no number, has a bad verdict with the reason.
Booleans are 1 and 0. Where `field` is a pattern, each value that matches is judged by itself, and the worst level is
the verdict. A frame that is older than one before it (from a backlog) is judged alone, without hysteresis and hold.

Ordering: kept. Delivery: each frame with the value gives its verdict. Memory: two numbers for each level of a series.
Disconnects: see above. After a restart levels begin anew: what has to hold for a time is counted from the first frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

from msgspec import Meta
from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from pipeline.counters import number_of
from pipeline.errors import Finding, Severity
from pipeline.frame import Frame, Kind, Origin
from pipeline.framewise import Step, framewise
from pipeline.identifiers import check_measurement
from pipeline.levels import Condition, Levels, shadowed
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.patterns import chooser, unmatched
from pipeline.series import Series
from pipeline.straight import Straight
from pipeline.units import Duration
from pipeline.verdict import Into, Measurement, Verdicts, check_results, why_bad

__all__ = ["Threshold", "threshold"]

_TAGS = 150
"""Bytes of a frame without values, about."""
_TICKS = 10
"""So often within `every` it is looked what is to be repeated; half of such a step early is in time."""


class Threshold(Options):
    """Options of `threshold`."""

    field: Annotated[str, Meta(description="name or pattern (AI_*) of the value that is judged", min_length=1)]
    levels: Annotated[
        dict[str, Condition], Meta(description='condition ("> 30") by level, the worst level first', min_length=1)
    ]
    otherwise: Annotated[str, Meta(description="the verdict when no level holds", min_length=1)] = "Normal"
    hysteresis: Annotated[
        float, Meta(description="how far back over its limit a value must go until its level ends", ge=0)
    ] = 0.0
    hold: Annotated[
        Duration, Meta(description="a condition must be true for this time until its level begins", ge=0)
    ] = Duration(0)
    release: Annotated[Duration, Meta(description="and false for this time until it ends", ge=0)] = Duration(0)
    into: Annotated[Into, Meta(description="frame: verdicts only; values: all frames, verdicts in the data frames")] = (
        Into.FRAME
    )
    measurement: Measurement = "insights"
    result: Annotated[str, Meta(description="name of the verdict's value")] = "status_calculado"
    every: Annotated[
        Duration, Meta(description="with into: frame, a series without a new verdict repeats its last; 0s: never", ge=0)
    ] = Duration(0)
    recent: Annotated[
        Duration, Meta(description="no repeating once the last reading is older, by its own time", gt=0)
    ] = Duration(300)

    def check(self, scope: Scope) -> Iterable[Finding]:  # noqa: ARG002 - the contract's argument
        """A field like a list, a result without a usable name, a level as good as none, repeating what is no frame."""
        if "," in self.field:
            hint = "write one pattern that matches them all, such as temp*, or a node for each"
            message = f"'{self.field}' is one name with a comma in it, no list"
            yield Finding(path=("field",), message=message, hint=hint, severity=Severity.WARNING)
        yield from check_results([self.result], ("result",))
        yield from check_measurement(self.measurement, ("measurement",))
        if self.otherwise in self.levels:
            yield Finding(
                path=("levels", self.otherwise),
                message="is also the verdict when no level holds",
                hint="rename one of them",
            )
        for index, is_never in shadowed(tuple(self.levels.values())).items():
            path = ("levels", tuple(self.levels)[index])
            if is_never:
                yield Finding(
                    path=path, message="can never be true", hint="correct its limits", severity=Severity.WARNING
                )
            else:
                message = "never counts: one before it holds whenever this does"
                hint = "the first that holds counts: write the worst first"
                yield Finding(path=path, message=message, hint=hint, severity=Severity.WARNING)
        if self.every and self.into is Into.VALUES:
            yield Finding(path=("every",), message="only frames can be repeated", hint="remove it, or set into: frame")


@transform
def threshold(options: Threshold, context: Context) -> Transform:
    """Give verdicts."""
    if options.into is Into.FRAME:
        return _frames(options, context)

    def start() -> Step:
        judge = _Judge(options, context)

        def step(frame: Frame) -> Frame:
            level, reason = judge.step(frame)
            if level is not None:
                return frame.replace(values={**frame.values, options.result: level})
            return frame.replace(bad={**(frame.bad or {}), options.result: reason}) if reason else frame

        return step

    return framewise(start)


@threshold.predict
def _predict(options: Threshold, _: Scope, inflow: Flow) -> Forecast:
    """A text beside the data, or alone."""
    added = len(options.result) + max(map(len, (*options.levels, options.otherwise))) + len('"":"",')
    if options.into is Into.VALUES:
        names, size = inflow.names | {options.result}, inflow.size + added
    else:
        names, size = frozenset({options.result}), min(inflow.size, _TAGS) + added
    flow = replace(inflow, size=size, names=names, partial=inflow.partial and options.into is Into.VALUES)
    warnings = tuple(replace(each, path=("field",)) for each in unmatched([options.field], inflow.names, ()))
    return Forecast(flow=flow, warnings=warnings)


class _Judge:
    """The levels of all series, in one subscription."""

    def __init__(self, options: Threshold, context: Context) -> None:
        self._chosen = chooser({options.field: True})
        self._conditions = tuple(options.levels.values())
        self._names = (*options.levels, options.otherwise)
        self._times = (options.hysteresis, options.hold, options.release)
        self._series: Series[dict[str, Levels]] = Series(dict, context.clock.monotonic)
        self.is_late = False
        """Whether the last frame came from a backlog."""

    def step(self, frame: Frame) -> tuple[str | None, str | None]:
        """The verdict on a frame, or why it is bad; neither where there is nothing to judge."""
        if frame.kind is Kind.FAILURE:
            for levels in self._series.of(frame.origin).values():
                levels.interrupt()
        if frame.kind is not Kind.DATA:
            return None, None
        of_series = self._series.at(frame)
        self.is_late = of_series is None
        worst, reason = len(self._names), None
        for name, value in frame.values.items():
            if self._chosen(name):
                number = number_of(value)
                if number is None:
                    reason = f"{name}: {why_bad(value)}"
                else:
                    worst = min(worst, self._levels(of_series, name).step(frame.ts, number))
        if worst < len(self._names):
            return self._names[worst], None
        return None, next((f"{name}: {why}" for name, why in (frame.bad or {}).items() if self._chosen(name)), reason)

    def _levels(self, of_series: dict[str, Levels] | None, name: str) -> Levels:
        if of_series is None:
            return Levels(self._conditions, 0, 0, 0)
        return of_series.get(name) or of_series.setdefault(name, Levels(self._conditions, *self._times))


class _Standing:
    """The verdict that stands for a series, when its reading was made, and when it was told last; monotonic seconds."""

    __slots__ = ("about", "level", "read", "told")

    about: Origin

    def __init__(self) -> None:
        self.level: str | None = None
        self.read = self.told = 0.0

    def is_due(self, now: float, options: Threshold) -> bool:
        """Whether the verdict is to be told again."""
        early = options.every / _TICKS / 2
        return now - self.told >= options.every - early and now - self.read <= options.recent + early


def _frames(options: Threshold, context: Context) -> Transform:
    """Frames of verdicts, and those that stand repeated."""

    def build(frames: Observable[Frame]) -> Observable[Frame]:
        def subscribe(
            observer: abc.ObserverBase[Frame], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            judge = _Judge(options, context)
            verdicts = Verdicts(options.measurement)
            standing: Series[_Standing] = Series(_Standing, context.clock.monotonic)

            def on_next(frame: Frame) -> None:
                level, reason = judge.step(frame)
                if level is None and reason is None:
                    return
                if options.every and not judge.is_late:
                    known = standing.of(frame.origin)
                    known.about, known.level = frame.origin, level
                    known.told = context.clock.monotonic()
                    known.read = known.told - max(0.0, context.clock.wall() - frame.ts)
                values = {} if level is None else {options.result: level}
                bad = None if reason is None else {options.result: reason}
                observer.on_next(verdicts.frame(frame.origin, frame.ts, values, bad))

            def repeat(missed: int) -> None:
                del missed
                now = context.clock.monotonic()
                for known in standing.states():
                    if known.level is not None and known.is_due(now, options):
                        known.told = now
                        values = {options.result: known.level}
                        observer.on_next(verdicts.frame(known.about, context.clock.wall(), values))

            subscription = frames.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)
            if not options.every:
                return subscription
            return CompositeDisposable(Disposable(context.clock.tick(options.every / _TICKS, repeat)), subscription)

        return Straight(subscribe)

    return build
