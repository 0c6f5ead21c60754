"""Passes at most one data frame of each block per period: the first at once, of all others the newest at its end.

So a change after a pause is not delayed, and the last state always arrives, at the latest when the period is over. The
periods are the clock's, the same for all blocks; the frame that passes at a period's end is the first of the next one.
A failure first releases the frame that its block has waiting, which may be the period's second: what was read before a
failure must not follow it. Failures and heartbeats always pass at once.

Ordering: data and failures of a block keep theirs; a heartbeat may overtake a waiting frame. Delivery: all but the
newest of a period are dropped on purpose; when the stream completes, what waits is passed on. Memory: one frame per
block. Disconnects: see failures.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from reactivex import Observable, abc, create
from reactivex.disposable import CompositeDisposable, Disposable

from pipeline.frame import Frame, Kind, Origin
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.units import Duration

__all__ = ["RateLimit", "rate_limit"]


class RateLimit(Options):
    """Options of `rate_limit`."""

    every: Annotated[Duration, Meta(description="the period in which a block passes one data frame", gt=0)]


@transform
def rate_limit(options: RateLimit, context: Context) -> Transform:
    """Thin out data frames to one a period."""

    def thin(frames: Observable[Frame]) -> Observable[Frame]:
        def subscribe(
            observer: abc.ObserverBase[Frame], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            spent: dict[Origin, Frame | None] = {}  # blocks that have passed a frame in this period, and what waits

            def on_next(frame: Frame) -> None:
                origin = frame.origin
                if frame.kind is not Kind.DATA:
                    if frame.kind is Kind.FAILURE and (waiting := spent.get(origin)) is not None:
                        spent[origin] = None
                        observer.on_next(waiting)
                    observer.on_next(frame)
                elif origin in spent:
                    spent[origin] = frame
                else:
                    spent[origin] = None
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
def _predict(options: RateLimit, scope: Scope, inflow: Flow) -> Forecast:  # noqa: ARG001 - the contract's arguments
    """At most one frame a period of each block."""
    most = inflow.blocks / options.every if inflow.blocks else inflow.frames
    flow = Flow(frames=min(inflow.frames, most), size=inflow.size, blocks=inflow.blocks, names=inflow.names)
    return Forecast(flow=flow)
