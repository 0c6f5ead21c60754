"""The heartbeat transform."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from reactivex import Subject

from operators.transforms.heartbeat import Heartbeat, heartbeat
from pipeline.clock import VirtualLoop, run_virtual
from pipeline.frame import Frame, Kind
from pipeline.operator import NodeKind
from pipeline.units import Duration
from tests.parts.engine import data, make_context, origin

PRESS, SAW = origin("press"), origin("saw")


def run(
    script: Callable[[Subject[Frame], list[object]], list[tuple[float, Callable[[], None]]]], until: float
) -> list[object]:
    """Play a script of (time, action) against the transform; what came out as (time, frame or end)."""

    async def main(loop: VirtualLoop) -> list[object]:
        context = make_context(loop, kind=NodeKind.TRANSFORM)
        frames: Subject[Frame] = Subject()
        seen: list[object] = []
        subscription = frames.pipe(heartbeat.build(Heartbeat(every=Duration(30)), context)).subscribe(
            lambda frame: seen.append((loop.time(), frame.origin.plc_id, frame.kind, frame.error)),
            lambda error: seen.append(repr(error)),
            lambda: seen.append("completed"),
        )
        for when, action in script(frames, seen):
            loop.call_at(when, action)
        await asyncio.sleep(until)
        subscription.dispose()
        await asyncio.sleep(100)
        return seen

    return run_virtual(main)


def test_data_passes_and_every_known_block_beats() -> None:
    """Beats come each period from the first frame of a block on, for each block; disposal ends them."""
    seen = run(lambda s, _: [(1, lambda: s.on_next(data(PRESS))), (31, lambda: s.on_next(data(SAW)))], 61)
    assert seen == [
        (1, "press", Kind.DATA, None),
        (30, "press", Kind.HEARTBEAT, None),
        (31, "saw", Kind.DATA, None),
        (60, "press", Kind.HEARTBEAT, None),
        (60, "saw", Kind.HEARTBEAT, None),
    ]


def test_a_failure_passes_at_once_then_repeats_each_period_until_data_comes() -> None:
    """The same reason waits for the period, another one passes; recovery is one data frame, then beats."""
    seen = run(
        lambda s, _: [
            (1, lambda: s.on_next(Frame.failure(PRESS, 1, "timeout"))),
            (2, lambda: s.on_next(Frame.failure(PRESS, 2, "timeout"))),
            (3, lambda: s.on_next(Frame.failure(PRESS, 3, "connection refused"))),
            (40, lambda: s.on_next(data(PRESS))),
        ],
        61,
    )
    assert seen == [
        (1, "press", Kind.FAILURE, "timeout"),
        (3, "press", Kind.FAILURE, "connection refused"),
        (30, "press", Kind.FAILURE, "connection refused"),
        (40, "press", Kind.DATA, None),
        (60, "press", Kind.HEARTBEAT, None),
    ]


def test_a_heartbeat_of_the_source_ends_a_failure_too() -> None:
    """It says that the block is read again, though no value of it comes here."""
    seen = run(
        lambda s, _: [
            (1, lambda: s.on_next(Frame.failure(PRESS, 1, "timeout"))),
            (10, lambda: s.on_next(Frame.heartbeat(PRESS, 10))),
        ],
        31,
    )
    assert [(when, kind) for when, _, kind, _ in seen] == [
        (1, Kind.FAILURE),
        (10, Kind.HEARTBEAT),
        (30, Kind.HEARTBEAT),
    ]


@pytest.mark.parametrize("end", ["completed", "ValueError('x')"])
def test_ends_pass_and_stop_the_beats(end: str) -> None:
    """Completion and errors of the source go through; nothing follows."""

    def script(frames: Subject[Frame], _: list[object]) -> list[tuple[float, Callable[[], None]]]:
        stop = frames.on_completed if end == "completed" else lambda: frames.on_error(ValueError("x"))
        return [(1, lambda: frames.on_next(data(PRESS))), (2, stop)]

    assert run(script, 100) == [(1, "press", Kind.DATA, None), end]


def test_a_beat_and_a_reading_of_one_millisecond_stay_two() -> None:
    """Before or behind one another, they get times of their own: a database would take them for one."""

    async def main(loop: VirtualLoop) -> list[float]:
        context = make_context(loop, kind=NodeKind.TRANSFORM)
        press, frames, seen = origin("press"), Subject[Frame](), []
        frames.pipe(heartbeat.build(Heartbeat(every=Duration(30)), context)).subscribe(seen.append)

        def read() -> None:
            frames.on_next(Frame(Kind.DATA, press.moments.at(context.clock.wall()), press, {"x": 1}))

        for when in (1.0, 30.0, 60.0, 90.0 + 1e-5):
            loop.call_at(when, read)
        await asyncio.sleep(100)
        assert [frame.kind for frame in seen].count(Kind.HEARTBEAT) == 3
        return [frame.ts for frame in seen]

    times = run_virtual(main)
    assert len({round(ts * 1000) for ts in times}) == len(times) == 7


def test_while_the_sources_pause_nothing_beats() -> None:
    """A full journal with `when_full: pause` is not filled further by heartbeats and repeated failures."""

    async def main(loop: VirtualLoop) -> list[float]:
        context = make_context(loop, kind=NodeKind.TRANSFORM)
        context.is_paused = lambda: 45 < loop.time() < 95
        frames: Subject[Frame] = Subject()
        seen: list[float] = []
        frames.pipe(heartbeat.build(Heartbeat(every=Duration(30)), context)).subscribe(
            lambda _: seen.append(loop.time())
        )
        frames.on_next(data(PRESS))
        await asyncio.sleep(125)
        return seen

    assert run_virtual(main) == [0, 30, 120]


def test_two_subscriptions_keep_their_own_state() -> None:
    """State is made on subscribe: a second subscriber doesn't inherit the first one's blocks."""

    async def main(loop: VirtualLoop) -> tuple[int, int]:
        context = make_context(loop, kind=NodeKind.TRANSFORM)
        frames: Subject[Frame] = Subject()
        piped = frames.pipe(heartbeat.build(Heartbeat(), context))
        first: list[Frame] = []
        second: list[Frame] = []
        piped.subscribe(first.append)
        frames.on_next(data(PRESS))
        piped.subscribe(second.append)
        await asyncio.sleep(31)
        return len(first), len(second)

    assert run_virtual(main) == (2, 0)
