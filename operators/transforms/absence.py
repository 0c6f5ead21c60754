"""Says which series are silent: a verdict when one has had no data for `after`, and one when it is back.

A verdict is a frame of `measurement` with the tags of the silent series: `result` is `AUSENTE` or `Normal`, and
`silent_seconds` says for how long. Only data counts: a PLC that is off still has heartbeats and failures. What counts
is when frames arrive here, not their time stamps. A series is watched from its first frame on, and those of `expect`
from the start, so that one that never comes is told too. Whatever matches an entry of `expect` is one series, with the
tags that are written there: an entry that names a `plc_id` only is silent when all blocks of that PLC are.

Nothing else passes: `from: [press, silence]` has data and verdicts. With `every`, a verdict of silence is repeated.

Ordering: kept. Delivery: one verdict a change. Memory: one entry per series; one timer for all. Disconnects: that is
what it is for. After a restart, series that are not expected are unknown until they have sent something.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta
from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from pipeline.errors import Finding
from pipeline.frame import Frame, Kind, Origin, Scalar
from pipeline.identifiers import check_measurement
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.series import key_of
from pipeline.straight import Straight
from pipeline.units import Duration
from pipeline.verdict import Measurement, Verdicts, check_results

__all__ = ["Absence", "Expected", "absence"]

_SIZE = 200
"""Bytes of a verdict, about."""
_RESOLUTION = 0.001
"""Seconds that a timer may ring early (uvloop)."""


class Expected(Options):
    """A series that must come. What is not given may be anything."""

    tenant_id: Annotated[str, Meta(description="its tenant")] = ""
    plc_id: Annotated[str, Meta(description="its PLC")] = ""
    ip: Annotated[str, Meta(description="its PLC's address, as the source has it")] = ""
    db: Annotated[int | None, Meta(description="its data block", ge=0)] = None
    measurement: Annotated[str, Meta(description="its measurement; not among the verdict's tags")] = ""
    tags: Annotated[dict[str, str], Meta(description="tags that it has, among others")] = msgspec.field(
        default_factory=dict
    )

    def check(self, scope: Scope) -> Iterable[Finding]:  # noqa: ARG002 - the contract's argument
        """One that says nothing."""
        if self == Expected():
            yield Finding(path=(), message="names nothing", hint="give plc_id, tags or another of its options")

    def matches(self, origin: Origin) -> bool:
        """Whether frames of this origin belong to it."""
        return (
            self.tenant_id in ("", origin.tenant_id)
            and self.plc_id in ("", origin.plc_id)
            and self.ip in ("", origin.ip)
            and self.db in (None, origin.db)
            and self.measurement in ("", origin.measurement)
            and self.tags.items() <= origin.tags.items()
        )

    def origin(self) -> Origin:
        """What its verdicts are about."""
        return Origin(
            measurement=self.measurement,
            ip=self.ip,
            db=self.db,
            tenant_id=self.tenant_id,
            plc_id=self.plc_id,
            tags=self.tags,
        )


class Absence(Options):
    """Options of `absence`."""

    after: Annotated[Duration, Meta(description="a series without data for this time is silent", gt=0)]
    expect: Annotated[list[Expected], Meta(description="series that must come, even if they never have")] = (
        msgspec.field(default_factory=list)
    )
    only_expected: Annotated[bool, Meta(description="true: what comes without being expected is not watched")] = False
    level: Annotated[str, Meta(description="the verdict on a silent series", min_length=1)] = "AUSENTE"
    otherwise: Annotated[str, Meta(description="the verdict when it is back", min_length=1)] = "Normal"
    measurement: Measurement = "insights"
    result: Annotated[str, Meta(description="name of the verdict's value")] = "status_dados"
    every: Annotated[Duration, Meta(description="time after which a verdict of silence is repeated; 0s: never")] = (
        Duration(0)
    )

    def check(self, scope: Scope) -> Iterable[Finding]:  # noqa: ARG002 - the contract's argument
        """A result without a usable name, verdicts that look the same, nothing to watch."""
        yield from check_results([self.result], ("result",))
        yield from check_measurement(self.measurement, ("measurement",))
        if self.level == self.otherwise:
            yield Finding(
                path=("level",),
                message=f"'{self.level}' is also the verdict when it is back",
                hint="rename one of them",
            )
        if self.only_expected and not self.expect:
            yield Finding(path=("only_expected",), message="nothing is expected", hint="give expect, or remove this")


@transform
def absence(options: Absence, context: Context) -> Transform:
    """Turn frames into verdicts on silence."""

    def build(frames: Observable[Frame]) -> Observable[Frame]:
        def subscribe(
            observer: abc.ObserverBase[Frame], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            watch = _Watch(options, context, observer)
            return CompositeDisposable(
                Disposable(watch.end),
                frames.subscribe(watch.on_next, observer.on_error, observer.on_completed, scheduler=scheduler),
            )

        return Straight(subscribe)

    return build


@absence.predict
def _predict(options: Absence, _: Scope, inflow: Flow) -> Forecast:
    """Nothing while all is well."""
    blocks = len(options.expect) if options.only_expected else max(inflow.blocks, len(options.expect))
    frames = blocks / options.every if options.every else 0.0
    names = frozenset({options.result, "silent_seconds"})
    lines = (("verdicts while all are silent", f"{frames:.4g}/s"),)
    return Forecast(flow=Flow(frames=frames, size=_SIZE, blocks=blocks, names=names), lines=lines)


class _Watched:
    """One series: its last data, whether it is silent, and when a verdict on it is due."""

    __slots__ = ("about", "due", "is_silent", "last")

    def __init__(self, about: Origin, now: float, due: float) -> None:
        self.about = about
        self.last = now
        self.is_silent = False
        self.due = due


class _Watch:
    """All series of one subscription."""

    def __init__(self, options: Absence, context: Context, observer: abc.ObserverBase[Frame]) -> None:
        self._options = options
        self._clock = context.clock
        self._observer = observer
        self._verdicts = Verdicts(options.measurement)
        self._timer: asyncio.TimerHandle | None = None
        now = self._clock.monotonic()
        self._expected = [(each, self._begin(each.origin(), now)) for each in options.expect]
        self._series: dict[object, _Watched] = {}
        self._by_origin: dict[Origin, _Watched | None] = {}

    def on_next(self, frame: Frame) -> None:
        """Note that a series has data."""
        if frame.kind is not Kind.DATA:
            return
        now = self._clock.monotonic()
        if frame.origin not in self._by_origin:
            self._by_origin[frame.origin] = self._find(frame.origin, now)
        watched = self._by_origin[frame.origin]
        if watched is None:
            return
        silence, watched.last = now - watched.last, now
        if watched.is_silent:
            watched.is_silent = False
            self._arm(watched, now + self._options.after)
            self._tell(watched, self._options.otherwise, silence)

    def end(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _find(self, origin: Origin, now: float) -> _Watched | None:
        for expected, watched in self._expected:
            if expected.matches(origin):
                return watched
        if self._options.only_expected:
            return None
        key = key_of(origin)
        return self._series.get(key) or self._series.setdefault(key, self._begin(origin, now))

    def _begin(self, about: Origin, now: float) -> _Watched:
        watched = _Watched(about, now, math.inf)
        self._arm(watched, now + self._options.after)
        return watched

    def _arm(self, watched: _Watched, due: float) -> None:
        """Look at a series at that time; the one timer rings for the first of all."""
        watched.due = due
        delay = due - self._clock.monotonic()
        if self._timer is None or self._timer.when() > self._clock.loop.time() + delay:
            self._ring_in(delay)

    def _ring_in(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.loop.call_later(max(delay, _RESOLUTION), self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        everything = [*(watched for _, watched in self._expected), *self._series.values()]
        silent = []
        for watched in everything:
            if not watched.is_silent:
                watched.due = watched.last + self._options.after
            if watched.due <= now + _RESOLUTION:
                watched.is_silent = True
                watched.due = now + self._options.every if self._options.every else math.inf
                silent.append(watched)
        first = min((watched.due for watched in everything), default=math.inf)
        if first < math.inf:
            self._ring_in(first - now)
        for watched in silent:
            self._tell(watched, self._options.level, now - watched.last)

    def _tell(self, watched: _Watched, level: str, silence: float) -> None:
        values: dict[str, Scalar] = {self._options.result: level, "silent_seconds": round(silence, 3)}
        self._observer.on_next(self._verdicts.frame(watched.about, self._clock.wall(), values))
