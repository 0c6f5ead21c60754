"""A node's output: hot, shared, and isolating. A subscriber that raises stops neither its siblings nor the producer."""

from __future__ import annotations

from collections.abc import Callable

from reactivex import abc
from reactivex.disposable import Disposable

from pipeline.frame import Frame
from pipeline.straight import Straight

__all__ = ["Port"]

Receive = Callable[[Frame], None]


class Port(Straight):
    """The frames that leave a node, as an Observable for transforms and as plain calls for mailboxes.

    Attributes:
        name: the node's name.
        frames: frames that have left, ever.
    """

    def __init__(self, name: str, failed: Callable[[str, Exception], None]) -> None:
        """Make a port.

        Args:
            name: the node's name.
            failed: told the subscriber's name and its exception whenever one raises.
        """
        super().__init__(self._subscribed)
        self.name = name
        self.frames = 0
        self._failed = failed
        self._receivers: tuple[tuple[str, Receive, Callable[[], None]], ...] = ()

    def push(self, frame: Frame) -> None:
        """Hand a frame to every subscriber, in the order they came."""
        self.frames += 1
        for name, receive, _ in self._receivers:
            try:
                receive(frame)
            except Exception as error:  # noqa: BLE001 - isolation is the port's purpose; the engine counts and logs it
                self._failed(name, error)

    def complete(self) -> None:
        """Tell every subscriber that no more frames come."""
        receivers, self._receivers = self._receivers, ()
        for _, _, completed in receivers:
            completed()

    def connect(self, name: str, receive: Receive, completed: Callable[[], None] = lambda: None) -> Callable[[], None]:
        """Subscribe a plain function under a name; returns the way out."""
        entry = (name, receive, completed)
        self._receivers = (*self._receivers, entry)

        def leave() -> None:
            self._receivers = tuple(other for other in self._receivers if other is not entry)

        return leave

    def _subscribed(
        self, observer: abc.ObserverBase[Frame], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        del scheduler
        return Disposable(self.connect("transform", observer.on_next, observer.on_completed))
