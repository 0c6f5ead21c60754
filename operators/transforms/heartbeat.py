"""Says of every block, once a period, that its source lives, and repeats a failure that lasts.

A heartbeat frame `{"heartbeat": 1}` follows every `every`; while a block's reads fail, the failure frame is repeated in
its place. The first failure passes at once, further ones of the same reason wait for the period. Data passes untouched.
While a full journal has the sources pause, nobody asks whether they live: there is no heartbeat.

Ordering: frames keep theirs; heartbeats come between them. Delivery: nothing is held back but repeated failures.
Memory: one entry per block. Disconnects: a block that has never been seen has no heartbeat.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from pipeline.frame import FAILURE, Frame, Origin
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.straight import Straight
from pipeline.units import Duration

__all__ = ["Heartbeat", "heartbeat"]


class Heartbeat(Options):
    """Options of `heartbeat`."""

    every: Annotated[Duration, Meta(description="time between two heartbeats of a block", gt=0)] = Duration(30)


@transform
def heartbeat(options: Heartbeat, context: Context) -> Transform:
    """Merge heartbeats and repeated failures into a stream of frames."""

    def merge(frames: Observable[Frame]) -> Observable[Frame]:
        def subscribe(
            observer: abc.ObserverBase[Frame], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            failing: dict[Origin, Frame | None] = {}
            began = context.clock.monotonic()

            def on_next(frame: Frame) -> None:
                known = failing.get(frame.origin)
                if frame.kind is FAILURE:
                    failing[frame.origin] = frame
                    if known is not None and known.error == frame.error:
                        return
                elif known is not None or frame.origin not in failing:
                    failing[frame.origin] = None
                observer.on_next(frame)

            def tick(_: int) -> None:
                # The common tick of this period may come right after the subscription.
                if context.paused or context.clock.monotonic() - began < options.every / 2:
                    return
                now = context.clock.wall()
                for origin, failure in failing.items():
                    ts = origin.moments.at(now)
                    observer.on_next(failure.replace(ts=ts) if failure else Frame.heartbeat(origin, ts))

            return CompositeDisposable(
                Disposable(context.clock.tick(options.every, tick)),
                frames.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler),
            )

        return Straight(subscribe)

    return merge


@heartbeat.predict
def _predict(options: Heartbeat, _: Scope, inflow: Flow) -> Forecast:
    """A heartbeat of each block a period, about half as long as its data."""
    return Forecast(flow=inflow + Flow(frames=max(inflow.blocks, 1) / options.every, size=inflow.size / 2))
