"""Observables whose frames reach their subscriber's function by a plain call.

RxPY puts a function of its own around each subscriber's, at each stage, which costs more than most stages do. What it
sees to, the end of a subscription, is seen to here without touching what passes at every frame.
"""

from __future__ import annotations

from collections.abc import Callable

from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.internal import default_error, noop

from pipeline.frame import Frame

__all__ = ["Straight"]


class _Subscriber(abc.ObserverBase[Frame], abc.DisposableBase):
    """One subscription. Call its `on_next` anew for each frame: after the end it is another function."""

    def __init__(
        self,
        on_next: Callable[[Frame], object],
        on_error: Callable[[Exception], object],
        on_completed: Callable[[], object],
    ) -> None:
        self.on_next = on_next  # type: ignore[assignment,method-assign]  # a plain call is the purpose
        self._on_error = on_error
        self._on_completed = on_completed
        self._over = False
        self._resource: abc.DisposableBase = Disposable()

    def on_next(self, value: Frame) -> None:
        """The subscriber's own function stands here."""

    def on_error(self, error: Exception) -> None:
        """The stream has failed; nothing follows."""
        if not self._over:
            self.dispose()
            self._on_error(error)

    def on_completed(self) -> None:
        """The stream is at its end; nothing follows."""
        if not self._over:
            self.dispose()
            self._on_completed()

    def hold(self, resource: abc.DisposableBase) -> None:
        """What is to be disposed at the end, which may be now."""
        self._resource = resource
        if self._over:
            resource.dispose()

    def dispose(self) -> None:
        """End it: no more frames, and what feeds it is told."""
        self._over = True
        self.on_next = noop  # type: ignore[method-assign]
        self._resource.dispose()


class Straight(Observable[Frame]):
    """An Observable made of a function, as `reactivex.create` makes one, without a wrapper around what is called."""

    def __init__(self, start: abc.Subscription[Frame]) -> None:
        """Make it.

        Args:
            start: called at each subscription with an observer and the scheduler; gives frames to the observer and
                returns what ends that.
        """
        super().__init__()
        self._start = start

    def subscribe(
        self,
        on_next: abc.ObserverBase[Frame] | abc.OnNext[Frame] | None = None,
        on_error: abc.OnError | None = None,
        on_completed: abc.OnCompleted | None = None,
        *,
        scheduler: abc.SchedulerBase | None = None,
    ) -> abc.DisposableBase:
        """As any Observable's. Exceptions of the subscriber go to whoever gives the frames."""
        if isinstance(on_next, abc.ObserverBase):
            on_error, on_completed = on_next.on_error, on_next.on_completed
            on_next = on_next.on_next
        subscriber = _Subscriber(on_next or noop, on_error or default_error, on_completed or noop)
        try:
            subscriber.hold(self._start(subscriber, scheduler))
        except Exception as error:  # noqa: BLE001 - told downstream, as Rx does
            subscriber.on_error(error)
        return subscriber
