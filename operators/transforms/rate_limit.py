"""Passes at most one data frame of each block per period: the first at once, of all others the newest at its end.

So a change after a pause is not delayed, and the last state always arrives, at the latest when the period is over. The
periods are the clock's, the same for all blocks; the frame that passes at a period's end is the first of the next one.
Failures and heartbeats always pass at once, and so do a block's first data frame after a failure and a frame whose bad
values are others than those of its last one: one went bad, came back, or is bad for another reason. Such a frame first
releases the one that its block has waiting: what was read before must not follow it, and a period may then pass more
than one frame.

Behind `deadband` with `send: changed` the frames that are dropped take with them values that do not come again: put
`rate_limit` before that node. `check` warns of it.

Ordering: data and failures of a block keep theirs; a heartbeat may overtake a waiting frame. Delivery: all but the
newest of a period are dropped on purpose; when the stream completes, what waits is passed on. Memory: of each block,
one frame and the names of bad values. Disconnects: see failures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from msgspec import Meta
from reactivex import Observable, abc, create
from reactivex.disposable import CompositeDisposable, Disposable

from pipeline.errors import Finding, Severity
from pipeline.frame import Frame, Kind, Origin
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.units import Duration

__all__ = ["RateLimit", "rate_limit"]


class RateLimit(Options):
    """Options of `rate_limit`."""

    every: Annotated[Duration, Meta(description="the period in which a block passes one data frame", gt=0)]


_ALL = {"": "the read failed"}
"""What is bad while a block's reads fail."""


@transform
def rate_limit(options: RateLimit, context: Context) -> Transform:
    """Thin out data frames to one a period."""

    def thin(frames: Observable[Frame]) -> Observable[Frame]:
        def subscribe(
            observer: abc.ObserverBase[Frame], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            spent: dict[Origin, Frame | None] = {}  # blocks that have passed a frame in this period, and what waits
            bad: dict[Origin, Mapping[str, str]] = {}  # of each block's last frame

            def on_next(frame: Frame) -> None:
                origin, failed = frame.origin, frame.kind is Kind.FAILURE
                if frame.kind is Kind.HEARTBEAT:
                    observer.on_next(frame)
                    return
                faults = _ALL if failed else frame.bad or {}
                news = failed or faults != bad.get(origin, {})
                if origin in spent and not news:
                    spent[origin] = frame
                    return
                if (waiting := spent.get(origin)) is not None:
                    observer.on_next(waiting)
                spent[origin], bad[origin] = None, faults
                observer.on_next(frame)

            def release(_: int = 0) -> None:
                waiting = [frame for frame in spent.values() if frame is not None]
                spent.clear()
                spent.update((frame.origin, None) for frame in waiting)
                for frame in waiting:
                    observer.on_next(frame)

            def on_completed() -> None:
                release()
                observer.on_completed()

            return CompositeDisposable(
                Disposable(context.clock.tick(options.every, release)),
                frames.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler),
            )

        return create(subscribe)

    return thin


@rate_limit.predict
def _predict(options: RateLimit, _: Scope, inflow: Flow) -> Forecast:
    """At most one frame a period of each block."""
    most = inflow.blocks / options.every if inflow.blocks else inflow.frames
    flow = replace(inflow, frames=min(inflow.frames, most))
    if not inflow.partial:
        return Forecast(flow=flow)
    message = "values get lost: what comes in carries only changed values, and this node drops frames"
    hint = "put it before the `deadband` that says `send: changed`, or set `send: frame` there"
    return Forecast(flow=flow, warnings=(Finding(path=(), message=message, hint=hint, severity=Severity.WARNING),))
