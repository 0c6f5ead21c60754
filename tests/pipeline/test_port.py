"""Ports isolate their subscribers."""

from __future__ import annotations

from pipeline.frame import Frame
from pipeline.port import Port
from tests.parts.engine import data, origin


def test_a_raising_subscriber_stops_neither_its_siblings_nor_the_producer() -> None:
    """The failure is told with the subscriber's name; everyone else gets every frame."""
    failures: list[tuple[str, str]] = []
    seen: list[Frame] = []
    port = Port("press", lambda name, error: failures.append((name, str(error))))

    def bad(_: Frame) -> None:
        raise ValueError("broken")

    port.connect("bad", bad)
    port.connect("good", seen.append)
    port.pipe().subscribe(seen.append)
    frame = data(origin(), a=1)
    port.push(frame)
    port.push(frame)
    assert failures == [("bad", "broken")] * 2
    assert seen == [frame] * 4
    assert port.frames == 2


def test_leaving_and_disposal_end_a_subscription() -> None:
    """Who has left gets nothing more, also when it leaves from inside a frame."""
    seen: list[Frame] = []
    port = Port("press", lambda *_: None)
    leave = port.connect("a", lambda frame: (seen.append(frame), leave()))
    subscription = port.subscribe(seen.append)
    port.push(data(origin()))
    subscription.dispose()
    port.push(data(origin()))
    assert len(seen) == 2


def test_completion_reaches_everyone_once() -> None:
    """Plain and Rx subscribers are told; a second completion tells nobody."""
    done: list[str] = []
    port = Port("press", lambda *_: None)
    port.connect("plain", lambda _: None, lambda: done.append("plain"))
    port.subscribe(on_completed=lambda: done.append("rx"))
    port.complete()
    port.complete()
    assert done == ["plain", "rx"]
