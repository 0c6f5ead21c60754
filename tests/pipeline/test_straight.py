"""Observables without a wrapper keep the rules of Rx."""

from __future__ import annotations

import pytest
from reactivex import Observer, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable

from pipeline.frame import Frame
from pipeline.straight import Straight
from tests.parts.engine import data, origin

PRESS = origin()


def _number(frame: Frame) -> object:
    return frame.values["n"]


class Script:
    """A stream that a test plays, and what became of its subscriptions."""

    def __init__(self) -> None:
        self.observers: list[abc.ObserverBase[Frame]] = []
        self.ended = 0
        self.seen: list[object] = []
        self.stream = Straight(self._start)

    def _start(self, observer: abc.ObserverBase[Frame], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        self.observers.append(observer)
        return Disposable(self._end)

    def _end(self) -> None:
        self.ended += 1

    def subscribe(self) -> abc.DisposableBase:
        """Note what comes."""
        return self.stream.subscribe(
            lambda frame: self.seen.append(frame.values["n"]),
            lambda error: self.seen.append(str(error)),
            lambda: self.seen.append("completed"),
        )


@pytest.mark.parametrize("end", ["completed", "broken", "disposed"])
def test_nothing_follows_the_end_which_is_told_once(end: str) -> None:
    """Completion, failure and disposal end the subscription and what feeds it, once."""
    script = Script()
    subscription = script.subscribe()
    (observer,) = script.observers
    observer.on_next(data(PRESS, n=1))
    ends = {
        "completed": observer.on_completed,
        "broken": lambda: observer.on_error(ValueError("broken")),
        "disposed": subscription.dispose,
    }
    ends[end]()
    observer.on_next(data(PRESS, n=2))
    observer.on_completed()
    observer.on_error(ValueError("late"))
    assert script.seen == [1] if end == "disposed" else [1, end]
    assert script.ended == 1


def test_subscriptions_are_their_own_and_operators_and_observers_fit() -> None:
    """Two subscribers have a start each; operators of Rx stand behind it; an Observer may stand for functions."""
    script = Script()
    got: list[object] = []
    script.stream.pipe(ops.map(_number)).subscribe(Observer(got.append))
    script.stream.subscribe(Observer(got.append))
    for observer in script.observers:
        observer.on_next(data(PRESS, n=1))
    assert got[0] == 1
    assert len(got) == len(script.observers) == 2


def test_a_stream_may_end_or_fail_while_it_is_subscribed() -> None:
    """What ends at once is disposed at once; a start that raises is an error of the stream."""
    seen: list[str] = []
    resources: list[str] = []

    def at_once(observer: abc.ObserverBase[Frame], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        observer.on_completed()
        return Disposable(lambda: resources.append("gone"))

    def failing(_: abc.ObserverBase[Frame], __: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        raise ValueError("no start")

    for start in (at_once, failing):
        Straight(start).subscribe(None, lambda error: seen.append(str(error)), lambda: seen.append("completed"))
    assert seen == ["completed", "no start"]
    assert resources == ["gone"]


def test_an_exception_of_the_subscriber_reaches_whoever_gives_the_frame() -> None:
    """So that a port can isolate it."""
    script = Script()

    def broken(_: Frame) -> None:
        raise KeyError

    script.stream.subscribe(broken)
    with pytest.raises(KeyError):
        script.observers[0].on_next(data(PRESS, n=1))
