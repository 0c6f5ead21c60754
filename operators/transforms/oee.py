"""Overall equipment effectiveness: availability x performance x quality, of a machine's running bit and counters.

    availability = running time / planned time
    performance  = parts made / (running time x ideal rate)
    quality      = good parts / (good parts + scrap)
    oee          = availability x performance x quality

An example: a shift of 8 h (480 min) in which the machine ran for 400 min and made 10584 good parts and 216 of scrap,
where 30 a minute would be ideal. Availability is 400 / 480 = 0.8333, performance 10800 / (400 x 30) = 0.9, quality
10584 / 10800 = 0.98, and oee 0.735.

A frame of `measurement` with the machine's tags gives, each `every` and at the end of each window, `oee`,
`availability`, `performance`, `quality`, `coverage`, `good`, `scrap`, `running_seconds`, `planned_seconds`, `final`
(true for the result of a whole window) and `shift` (its name). Nothing else passes: `from: [press, oee]` has both.
Outside of planned time there is no result, and what is made then counts nowhere.

All signals stand in one block. `running` is a bit, or a number that is not 0. A signal that counts is a counter, read
through overflow and reset as `rate` does, or, where it is a boolean, a bit that goes to true with each part. With
`total` in place of `good`, good parts are those that are no scrap. Without `scrap` quality is 1.

A reading stands until the next, at most for `max_gap`. Time without data is never running time: it counts as stopped,
and `coverage` (time with data / planned time) says how much of a result that is; `missing: excluded` divides by the
time with data instead. Parts counted over a gap are made, but not in the performance: for how long it ran for them
nobody knows. A factor that can't be told is named in `bad`, and oee is 0 then. A performance over 1 says that the ideal
rate is too low.

Ordering: kept. Delivery: frames become results. Memory: 60 sums for each machine. Disconnects: see above. When the
graph is loaded anew the windows go on, unless options of this node have changed. After a restart of the process the
part of a window that has passed is missing, and `coverage` says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta
from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from pipeline.counters import MOST, Counter, Most, Pulses, Wrap, number_of
from pipeline.effectiveness import Line, Missing, Parts, Report, Window
from pipeline.errors import Finding, Severity
from pipeline.frame import Frame, Kind, Origin
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.patterns import unmatched
from pipeline.s7.wanted import check_timezone
from pipeline.series import Series
from pipeline.shifts import Calendar, Shift, check_shifts
from pipeline.straight import Straight
from pipeline.units import Duration
from pipeline.verdict import Measurement, Verdicts

__all__ = ["Count", "Oee", "oee"]

_SIZE = 400
"""Bytes of a result, about."""
_KEPT = "machines"
"""What hands the windows over to the same node of the graph that comes next."""
_FACTORS = ("oee", "availability", "performance", "quality", "coverage")
_NAMES = frozenset((*_FACTORS, "good", "scrap", "running_seconds", "planned_seconds", "final", "shift"))


class Count(Options):
    """A counter, or a bit that is set with each part."""

    field: Annotated[str, Meta(description="name of the value", min_length=1)]
    wrap: Annotated[Wrap, Meta(description="type at whose largest number the counter begins anew")] = Wrap.AUTO
    most: Most = MOST


class Oee(Options):
    """Options of `oee`."""

    running: Annotated[str, Meta(description="name of the value that is true while the machine runs", min_length=1)]
    ideal_rate: Annotated[float, Meta(description="parts per minute at best", gt=0)]
    good: Annotated[str | Count | None, Meta(description="counter or bit of good parts, by name or with options")] = (
        None
    )
    scrap: Annotated[str | Count | None, Meta(description="counter or bit of parts that are scrap")] = None
    total: Annotated[str | Count | None, Meta(description="counter or bit of all parts, where good ones have none")] = (
        None
    )
    window: Annotated[
        Window, Meta(description="what a result is about: a shift, an hour, a day, the latest `length`")
    ] = Window.HOUR
    length: Annotated[Duration, Meta(description="of the rolling window", gt=0)] = Duration(3600)
    shifts: Annotated[list[Shift], Meta(description="planned time; empty: always")] = msgspec.field(
        default_factory=list
    )
    timezone: Annotated[str, Meta(description="zone of shifts, hours and days: America/Sao_Paulo; UTC unless told")] = (
        ""
    )
    missing: Annotated[Missing, Meta(description="what time without data counts as in availability")] = Missing.STOPPED
    max_gap: Annotated[Duration, Meta(description="time that a reading stands for at most", gt=0)] = Duration(10)
    every: Annotated[Duration, Meta(description="time between two results of a machine", gt=0)] = Duration(60)
    measurement: Measurement = "oee"

    def check(self, scope: Scope) -> Iterable[Finding]:  # noqa: ARG002 - the contract's argument
        """What is counted, and when."""
        if (self.good is None) is (self.total is None):
            message = "gives both good and total" if self.good else "gives neither good nor total"
            yield Finding(path=(), message=message, hint="give one of them: the other follows")
        if self.window is Window.SHIFT and not self.shifts:
            yield Finding(path=("shifts",), message="window: shift needs them", hint="[{from: 06:00, to: 14:00}]")
        yield from check_timezone(self.timezone)
        yield from check_shifts(self.shifts, ("shifts",))

    @property
    def signals(self) -> dict[str, Count]:
        """What counts, by its option."""
        given = {"good": self.good, "scrap": self.scrap, "total": self.total}
        return {
            name: Count(field=signal) if isinstance(signal, str) else signal for name, signal in given.items() if signal
        }


@transform
def oee(options: Oee, context: Context) -> Transform:
    """Turn readings of machines into results."""

    def build(frames: Observable[Frame]) -> Observable[Frame]:
        def subscribe(
            observer: abc.ObserverBase[Frame], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            judge = _Judge(options, context, observer)
            return CompositeDisposable(
                Disposable(context.clock.tick(options.every, judge.tick)),
                frames.subscribe(judge.on_next, observer.on_error, judge.on_completed, scheduler=scheduler),
            )

        return Straight(subscribe)

    return build


@oee.predict
def _predict(options: Oee, scope: Scope, inflow: Flow) -> Forecast:  # noqa: ARG001 - the contract's arguments
    """A result of each machine a period; the ends of windows hardly count."""
    fields = {"running": options.running, **{name: signal.field for name, signal in options.signals.items()}}
    warnings = [
        Finding(path=(option,), message=finding.message, hint=finding.hint, severity=finding.severity)
        for option, field in fields.items()
        for finding in unmatched([field], inflow.names, ())
    ]
    between = inflow.blocks / inflow.frames if inflow.frames else 0.0
    if between > options.max_gap:
        message = f"frames come each {Duration(between)}, so that most time is missing"
        warnings.append(
            Finding(path=("max_gap",), message=message, hint="make it longer than that", severity=Severity.WARNING)
        )
    flow = Flow(frames=max(inflow.blocks, 1) / options.every, size=_SIZE, blocks=inflow.blocks, names=_NAMES)
    return Forecast(flow=flow, warnings=tuple(warnings))


class _Judge:
    """All machines of one subscription."""

    def __init__(self, options: Oee, context: Context, observer: abc.ObserverBase[Frame]) -> None:
        self._options = options
        self._context = context
        self._observer = observer
        self._verdicts = Verdicts(options.measurement)
        before = context.kept.pop(_KEPT, None)
        self._machines: Series[_Machine] = (
            before[1]
            if before is not None and before[0] == options
            else Series(lambda: _Machine(options), context.clock.monotonic)
        )

    def on_next(self, frame: Frame) -> None:
        """Take a reading; tell the results of windows that ended before it."""
        if frame.kind is not Kind.HEARTBEAT and (machine := self._machines.at(frame)) is not None:
            self._tell(frame.origin, machine.take(frame))

    def tick(self, _: int) -> None:
        """Tell the result of each machine until now."""
        now = self._context.clock.wall()
        for machine in self._machines.states():
            if machine.about is not None:
                self._tell(machine.about, machine.until(now))

    def on_completed(self) -> None:
        """Leave the windows to whom comes next."""
        self._context.kept[_KEPT] = (self._options, self._machines)
        self._observer.on_completed()

    def _tell(self, about: Origin, reports: Iterable[Report]) -> None:
        for report in reports:
            self._observer.on_next(self._verdicts.frame(about, report.ts, report.values, report.bad))


class _Machine:
    """One machine's readings.

    Attributes:
        about: where they come from; None before the first that has the signals.
    """

    def __init__(self, options: Oee) -> None:
        self.about: Origin | None = None
        self._running = options.running
        self._signals = options.signals
        self._counters: dict[str, Counter | Pulses] = {}
        self._line = Line(
            Calendar(options.shifts, options.timezone),
            window=options.window,
            length=options.length,
            ideal=options.ideal_rate,
            missing=options.missing,
            max_gap=options.max_gap,
        )

    def take(self, frame: Frame) -> Iterable[Report]:
        """Read a frame; gives the results of windows that ended before it."""
        if frame.kind is Kind.FAILURE:
            return self._line.fail(frame.ts) if self.about is not None else ()
        if self.about is None and self._running not in frame.values:
            return ()
        self.about = frame.origin
        running = frame.values.get(self._running)
        number = None if running is None else number_of(running)
        counted = {name: self._count(name, frame) for name in self._signals}
        scrap = counted.get("scrap", 0.0)
        good = counted["good"] if "good" in counted else counted["total"] - scrap
        return self._line.read(frame.ts, None if number is None else bool(number), Parts(good, scrap))

    def until(self, now: float) -> Iterable[Report]:
        """The results of windows that have ended by now, then that of the present one."""
        yield from self._line.advance(now)
        present = self._line.report()
        if present is not None:
            yield present

    def _count(self, name: str, frame: Frame) -> float:
        """What a signal has counted; nothing while it can't be read, and then all at once."""
        signal = self._signals[name]
        value = frame.values.get(signal.field)
        number = None if value is None else number_of(value)
        if number is None:
            return 0.0
        counter = self._counters.get(name)
        if counter is None:
            made = Pulses() if isinstance(value, bool) else Counter(signal.wrap, signal.most)
            counter = self._counters[name] = made
        return counter.step(number, frame.ts)
