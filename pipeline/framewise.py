"""Transforms that look at one frame at a time: a function from a frame to a frame, or to None to hold it back."""

from __future__ import annotations

from collections.abc import Callable

from reactivex import Observable, abc

from pipeline.frame import Frame, Origin
from pipeline.operator import Transform
from pipeline.straight import Straight

__all__ = ["Origins", "Step", "framewise"]

Step = Callable[[Frame], Frame | None]


def framewise(start: Callable[[], Step]) -> Transform:
    """A transform that passes each frame through a function.

    Args:
        start: called once for each subscription, so that what the function remembers belongs to that subscription.
            What the function raises ends the stream with that error.
    """

    def build(frames: Observable[Frame]) -> Observable[Frame]:
        def subscribe(
            observer: abc.ObserverBase[Frame], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            step = start()

            def on_next(frame: Frame) -> None:
                try:
                    result = step(frame)
                except Exception as error:  # noqa: BLE001 - told downstream, as Rx does; the engine starts afresh
                    observer.on_error(error)
                    return
                if result is not None:
                    observer.on_next(result)

            return frames.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Straight(subscribe)

    return build


class Origins(dict[Origin, Origin]):
    """The origins that a transform gives its frames: made once for each that comes in, since sinks key on identity."""

    def __init__(self, make: Callable[[Origin], Origin]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, origin: Origin) -> Origin:
        made = self[origin] = self._make(origin)
        return made
