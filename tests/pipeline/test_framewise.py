"""Transforms made of a function of one frame."""

import pytest
from reactivex import Subject

from pipeline.frame import Frame
from pipeline.framewise import Origins, framewise
from tests.parts.engine import data, origin

PRESS = origin()


def every_second():
    """Passes each second frame."""
    count = 0

    def step(frame):
        nonlocal count
        count += 1
        return None if count % 2 else frame

    return step


def test_what_the_function_returns_passes_and_each_subscription_begins_anew():
    """None holds a frame back; two subscribers count for themselves; a disposed one gets no more."""
    frames: Subject[Frame] = Subject()
    first, second = [], []
    piped = frames.pipe(framewise(every_second))
    subscription = piped.subscribe(lambda frame: first.append(frame.values["n"]))
    frames.on_next(data(PRESS, n=0))
    piped.subscribe(lambda frame: second.append(frame.values["n"]))
    for n in (1, 2):
        frames.on_next(data(PRESS, n=n))
    subscription.dispose()
    frames.on_next(data(PRESS, n=3))
    assert (first, second) == ([1], [2])


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda frames: frames.on_completed(), "completed"),
        (lambda frames: frames.on_error(ValueError("x")), "x"),
        (lambda frames: frames.on_next(data(PRESS)), "'n'"),
    ],
)
def test_ends_pass_and_an_exception_is_an_end(end, expected):
    """Completion, the source's error and the function's own reach the subscriber."""
    frames: Subject[Frame] = Subject()
    ends = []
    piped = frames.pipe(framewise(lambda: lambda frame: frame.values["n"] and frame))
    piped.subscribe(lambda _: None, lambda error: ends.append(str(error)), lambda: ends.append("completed"))
    end(frames)
    assert ends == [expected]


def test_origins_are_made_once():
    """Sinks key on identity."""
    origins = Origins(lambda found: found.replace(tags={"hall": "2"}))
    assert origins[PRESS] is origins[PRESS]
    assert origins[PRESS].tags == {"hall": "2"}
    assert origins[origin()] is not origins[PRESS]
