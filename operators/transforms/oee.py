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

Time goes by the frames' own time stamps, so that a backlog that a broker or journal brings after an outage, in order,
counts as if it had come at once: for `grace` the clock waits for it. What has not come by then is missing, and what
comes later still counts as parts only. Until then a silent machine has no new result, unless its last frame is a failed
read: then somebody is there, and the clock goes on at once. With `grace: 0s` it never waits.

Ordering: kept. Delivery: frames become results. Memory: 60 sums for each machine. Disconnects: see above. When the
graph is loaded anew the windows go on, unless options of this node have changed. With `state` they go on after a
restart of the process, too: that file is written each `every` and at the end, so a killed process misses no more than
that, and the time until it is back; parts made meanwhile count. Without it the part of a window that has passed is
missing, and `coverage` says so.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from pipeline.counters import MOST, Counter, CounterState, Most, Pulses, Wrap, number_of
from pipeline.effectiveness import Line, LineState, Missing, Parts, Report, Window
from pipeline.errors import Finding, Severity
from pipeline.frame import Frame, Kind, Origin
from pipeline.identifiers import check_measurement
from pipeline.operator import Claim, Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.patterns import unmatched
from pipeline.s7.wanted import check_timezone
from pipeline.series import Series
from pipeline.shifts import Calendar, Shift, check_shifts
from pipeline.state_file import Writer, load
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
    grace: Annotated[
        Duration, Meta(description="time that frames of a backlog are waited for; 0s: the clock goes on at once", ge=0)
    ] = Duration(3600)
    every: Annotated[Duration, Meta(description="time between two results of a machine", gt=0)] = Duration(60)
    state: Annotated[
        str, Meta(description="file of what outlives a restart of the process; empty: windows begin anew then")
    ] = ""
    measurement: Measurement = "oee"

    def check(self, scope: Scope) -> Iterable[Finding]:  # noqa: ARG002 - the contract's argument
        """What is counted, and when."""
        if bool(self.good) is bool(self.total):
            message = "gives both good and total" if self.good else "gives neither good nor total"
            yield Finding(path=(), message=message, hint="give one of them: the other follows")
        if self.window is Window.SHIFT and not self.shifts:
            yield Finding(path=("shifts",), message="window: shift needs them", hint="[{from: 06:00, to: 14:00}]")
        yield from self._check_most()
        yield from check_measurement(self.measurement, ("measurement",))
        yield from check_timezone(self.timezone)
        yield from check_shifts(self.shifts, ("shifts",))

    def _check_most(self) -> Iterable[Finding]:
        for name, signal in self.signals.items():
            if signal.most < self.ideal_rate:
                message = f"in a minute {self.ideal_rate:g} parts may come, and no more than {signal.most} are believed"
                path = (name, "most") if isinstance(getattr(self, name), Count) else (name,)
                hint = f"write {name}: {{field: {signal.field}, most: {math.ceil(2 * self.ideal_rate)}}}"
                yield Finding(path=path, message=message, hint=hint, severity=Severity.WARNING)

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
            judge.resume()
            return CompositeDisposable(
                Disposable(context.clock.tick(options.every, judge.tick)),
                frames.subscribe(judge.on_next, observer.on_error, judge.on_completed, scheduler=scheduler),
            )

        return Straight(subscribe)

    return build


@oee.claims
def _claims(options: Oee, _: Scope) -> Iterable[Claim]:
    if options.state:
        yield Claim(what="state file", key=str(Path(options.state).resolve()), path=("state",))


@oee.predict
def _predict(options: Oee, _: Scope, inflow: Flow) -> Forecast:
    """A result of each machine a period; the ends of windows hardly count."""
    fields = {"running": options.running, **{name: signal.field for name, signal in options.signals.items()}}
    warnings = [
        replace(finding, path=(option,))
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
    after = f"windows go on from {options.state}" if options.state else "windows begin anew; see `state`"
    return Forecast(flow=flow, lines=(("after a restart", after),), warnings=tuple(warnings))


class _Saved(msgspec.Struct):
    """One machine in the state file: where its frames come from, and what is known of it.

    Attributes:
        newest: time of its latest frame, seconds since 1970.
        fails: that frame was a failed read.
    """

    measurement: str
    ip: str
    db: int | None
    tenant_id: str
    plc_id: str
    tags: dict[str, str]
    newest: float
    fails: bool
    line: LineState
    counters: dict[str, CounterState]


class _File(msgspec.Struct):
    """The state file.

    Attributes:
        options: a digest of the node's options; with others, what it holds means something else.
        machines: all of them.
    """

    options: str
    machines: list[_Saved]


class _Judge:
    """All machines of one subscription."""

    def __init__(self, options: Oee, context: Context, observer: abc.ObserverBase[Frame]) -> None:
        self._options = options
        self._context = context
        self._observer = observer
        self._verdicts = Verdicts(options.measurement)
        self._digest = hashlib.sha256(repr(msgspec.structs.replace(options, state="")).encode()).hexdigest()[:16]
        self._file: Writer | None = None
        if options.state:  # one for all graphs of this process, so that two never write at once
            self._file = context.kept.setdefault(options.state, Writer(Path(options.state), context.log))
        self._machines: Series[_Machine] = Series(lambda: _Machine(options, context), context.clock.monotonic)

    def resume(self) -> None:
        """Go on where the node of this name was before the graph was loaded anew, or the last process."""
        before = self._context.kept.pop(_KEPT, None)
        if before is not None:
            if before[0] == self._options:
                self._machines = before[1]
            return
        for saved in self._load() if self._options.state else ():
            about = Origin(
                measurement=saved.measurement,
                ip=saved.ip,
                db=saved.db,
                tenant_id=saved.tenant_id,
                plc_id=saved.plc_id,
                tags=saved.tags,
            )
            self._machines.resume(about, saved.newest).resume(about, saved)

    def on_next(self, frame: Frame) -> None:
        """Take a reading; tell the results of windows that ended before it."""
        if (machine := self._machines.at(frame)) is not None:
            self._tell(frame.origin, machine.take(frame))

    def tick(self, _: int) -> None:
        """Tell the result of each machine until now."""
        now = self._context.clock.wall()
        for machine in self._machines.states():
            if machine.about is not None:
                self._tell(machine.about, machine.until(now))
        self._save()

    def on_completed(self) -> None:
        """Leave the windows to whom comes next."""
        self._context.kept[_KEPT] = (self._options, self._machines)
        self._save()
        self._observer.on_completed()

    def _tell(self, about: Origin, reports: Iterable[Report]) -> None:
        for report in reports:
            self._observer.on_next(self._verdicts.frame(about, report.ts, report.values, report.bad))

    def _load(self) -> Iterable[_Saved]:
        """What the last process has left."""
        try:
            found, trouble = load(Path(self._options.state), _File)
        except OSError as error:
            found, trouble = None, f"{self._options.state} can't be read ({error.strerror})"
        if trouble:
            self._context.log.error("state file is of no use", reason=trouble, advice="windows begin anew")
        return found.machines if found is not None and found.options == self._digest else ()

    def _save(self) -> None:
        machines = [saved for machine in self._machines.states() if (saved := machine.save()) is not None]
        if self._file is not None and machines:
            self._file.put(self._context.clock.loop, msgspec.json.encode(_File(self._digest, machines)))


class _Machine:
    """One machine's readings.

    Attributes:
        about: where they come from; None before the first that has the signals.
    """

    def __init__(self, options: Oee, context: Context) -> None:
        self.about: Origin | None = None
        self._newest = self._told = -math.inf
        self._fails = False
        self._running = options.running
        self._signals = options.signals
        self._grace = float(options.grace)
        self._log = context.log
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
        if self.about is None and (frame.kind is not Kind.DATA or self._running not in frame.values):
            return ()
        self._newest = frame.ts
        self._fails = frame.kind is Kind.FAILURE
        if self._fails:
            return self._line.fail(frame.ts)
        if frame.kind is Kind.HEARTBEAT:
            return self._line.advance(frame.ts)
        self.about = frame.origin
        running = frame.values.get(self._running)
        number = None if running is None else number_of(running)
        counted = {name: self._count(name, frame) for name in self._signals}
        scrap = counted.get("scrap", 0.0)
        good = counted["good"] if "good" in counted else counted["total"] - scrap
        return self._line.read(frame.ts, None if number is None else bool(number), Parts(good, scrap))

    def until(self, now: float) -> Iterable[Report]:
        """The results of windows that have ended by now, then that of the present one, unless it was told already."""
        yield from self._line.advance(now if self._fails else now - self._grace)
        present = self._line.report()
        if present is not None and present.ts != self._told:
            self._told = present.ts
            yield present

    def save(self) -> _Saved | None:
        """What outlives a restart; None while there is nothing."""
        about = self.about
        if about is None:
            return None
        counters = {name: counter.save() for name, counter in self._counters.items()}
        return _Saved(
            measurement=about.measurement,
            ip=about.ip,
            db=about.db,
            tenant_id=about.tenant_id,
            plc_id=about.plc_id,
            tags=dict(about.tags),
            newest=self._newest,
            fails=self._fails,
            line=self._line.save(),
            counters=counters,
        )

    def resume(self, about: Origin, saved: _Saved) -> None:
        """Go on where another process was."""
        self.about, self._newest, self._fails = about, saved.newest, saved.fails
        self._line.resume(saved.line)
        for name, state in saved.counters.items():
            self._counters[name] = self._made(self._signals[name], pulses=state.pulses)
            self._counters[name].resume(state)

    def _count(self, name: str, frame: Frame) -> float:
        """What a signal has counted; nothing while it can't be read, and then all at once."""
        signal = self._signals[name]
        value = frame.values.get(signal.field)
        number = None if value is None else number_of(value)
        if number is None:
            return 0.0
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = self._made(signal, pulses=isinstance(value, bool))
        counted = counter.step(number, frame.ts)
        if counter.jumped:
            reason = f"{number:.15g} is more than `most` beyond the reading before; nothing is counted"
            self._log.warning("counter jumped", plc=frame.origin.plc_id, value=signal.field, reason=reason)
        return counted

    @staticmethod
    def _made(signal: Count, *, pulses: bool) -> Counter | Pulses:
        return Pulses() if pulses else Counter(signal.wrap, signal.most)
