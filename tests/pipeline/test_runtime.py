"""Assembly, supervision, draining and stopping, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any
from unittest.mock import Mock

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.disposable import CompositeDisposable, Disposable

from pipeline.actor import Mailbox
from pipeline.clock import VirtualLoop, run_virtual, virtual_clock
from pipeline.errors import PartFailed, PipelineError, UsageError
from pipeline.frame import Frame
from pipeline.operator import Context, NodeKind
from pipeline.runtime import Runtime
from tests.parts.engine import collector, data, make_graph, node, origin, run_graph, states

PRESS = origin()


def counting(_: Any, context: Context) -> Any:
    """A source of one frame a second."""
    return context.ticks(1.0).pipe(ops.map(lambda n: data(PRESS, n=n)))


def numbers(frames: list[Frame]) -> list[object]:
    """What the counting source counted."""
    return [frame.values["n"] for frame in frames]


def test_frames_flow_from_source_to_every_sink_and_all_stop_in_order() -> None:
    """Ten seconds give eleven frames at both sinks; afterwards everybody has stopped."""
    first: list[Frame] = []
    second: list[Frame] = []
    graph = make_graph(
        node(NodeKind.SOURCE, "press", counting),
        node(NodeKind.TRANSFORM, "same", lambda *_: ops.map(lambda frame: frame), "press"),
        node(NodeKind.SINK, "a", collector(first), "same"),
        node(NodeKind.SINK, "b", collector(second), "press", "same"),
    )
    runtime = run_virtual(lambda loop: run_graph(loop, graph, 10.5))
    assert numbers(first) == list(range(11))
    assert sorted(numbers(second)) == sorted([*range(11), *range(11)])
    assert states(runtime) == {"press": "running", "same": "running", "a": "stopped", "b": "stopped"}
    assert runtime.latest[PRESS] is first[-1]
    assert runtime.sources == {PRESS: "press"}


def test_a_raising_transform_loses_one_frame_and_starts_afresh() -> None:
    """The error is counted; state begins anew; the stream goes on."""
    seen: list[Frame] = []

    def stumble(frame: Frame) -> Frame:
        if frame.values["n"] == 5:
            raise ValueError("five")
        return frame

    def build(*_: Any) -> Any:
        return lambda frames: frames.pipe(ops.map(stumble), ops.map_indexed(lambda f, i: f.replace(values={"n": i})))

    graph = make_graph(
        node(NodeKind.SOURCE, "press", counting),
        node(NodeKind.TRANSFORM, "stumble", build, "press"),
        node(NodeKind.SINK, "sink", collector(seen), "stumble"),
    )
    runtime = run_virtual(lambda loop: run_graph(loop, graph, 9.5))
    assert numbers(seen) == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert runtime.actors["stumble"].errors == 1


def test_a_transform_that_raises_while_it_takes_a_frame_is_rebuilt_too() -> None:
    """RxPY tells only errors of its own operators; one that subscribes with a plain function raises at its source."""
    seen: list[Frame] = []
    disposed: list[int] = []

    def build(*_: Any) -> Any:
        def subscribe(frames: Any, observer: Any, scheduler: Any) -> Any:
            count = itertools.count()

            def on_next(frame: Frame) -> None:
                if frame.values["n"] == 5:
                    raise ValueError("five")
                observer.on_next(frame.replace(values={"n": next(count)}))

            inner = frames.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)
            return CompositeDisposable(inner, Disposable(lambda: disposed.append(1)))

        return lambda frames: reactivex.create(lambda o, s=None: subscribe(frames, o, s))

    graph = make_graph(
        node(NodeKind.SOURCE, "press", counting),
        node(NodeKind.TRANSFORM, "stumble", build, "press"),
        node(NodeKind.SINK, "sink", collector(seen), "stumble"),
    )
    runtime = run_virtual(lambda loop: run_graph(loop, graph, 9.5))
    assert numbers(seen) == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert (runtime.actors["stumble"].errors, len(disposed)) == (1, 2)


def test_a_transform_that_fails_whenever_it_begins_is_left_in_peace_after_the_stop() -> None:
    """It is begun anew twice a second until then: a graph that takes its place in the process hears no more of it."""
    begun: list[float] = []

    def build(_: Any, context: Context) -> Any:
        def subscribe(observer: Any, _: Any = None) -> Any:
            begun.append(context.clock.loop.time())
            observer.on_error(ValueError("never"))
            return Disposable()

        return lambda _: reactivex.create(subscribe)

    graph = make_graph(
        node(NodeKind.SOURCE, "press", counting),
        node(NodeKind.TRANSFORM, "never", build, "press"),
        node(NodeKind.SINK, "sink", collector([]), "never"),
    )

    async def main(loop: VirtualLoop) -> None:
        await run_graph(loop, graph, 2.2)
        await asyncio.sleep(10)

    run_virtual(main)
    assert begun == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_a_fatal_error_of_a_transform_ends_the_graph() -> None:
    """What no rebuilding can mend stops everything in order and is raised, once."""
    seen: list[Frame] = []

    def stumble(frame: Frame) -> Frame:
        if frame.values["n"] == 2:
            raise PartFailed("two")
        return frame

    graph = make_graph(
        node(NodeKind.SOURCE, "press", counting),
        node(NodeKind.TRANSFORM, "stumble", lambda *_: ops.map(stumble), "press"),
        node(NodeKind.SINK, "sink", collector(seen), "stumble"),
    )
    with pytest.raises(PartFailed, match="two"):
        run_virtual(lambda loop: run_graph(loop, graph, 9.5))
    assert numbers(seen) == [0, 1]


def test_a_sink_may_end_the_graph_in_order() -> None:
    """Its other sinks get what is under way; nothing is raised."""
    seen: list[Frame] = []

    def build(_: Any, context: Context) -> Any:
        async def run(mailbox: Mailbox) -> None:
            async for frames in mailbox.batches():
                if numbers(frames)[-1] == 3:
                    context.stop()
                    context.stop()
                    return

        return run

    graph = make_graph(
        node(NodeKind.SOURCE, "press", counting),
        node(NodeKind.SINK, "viewer", build, "press"),
        node(NodeKind.SINK, "sink", collector(seen), "press"),
    )
    runtime = run_virtual(lambda loop: run_graph(loop, graph, 60))
    assert numbers(seen) == [0, 1, 2, 3]
    assert (states(runtime)["viewer"], states(runtime)["sink"]) == ("stopped", "stopped")


def test_a_failing_source_backs_off_and_returns() -> None:
    """Each failure waits longer; the reason is shown; data make it run again."""
    seen: list[Frame] = []
    starts: list[float] = []

    def build(_: Any, context: Context) -> Any:
        async def run(emit: Any) -> None:
            starts.append(context.clock.monotonic())
            if len(starts) < 4:
                raise OSError("no such device")
            emit(data(PRESS, n=1))
            await asyncio.sleep(1000)

        return context.observable(run)

    graph = make_graph(node(NodeKind.SOURCE, "press", build), node(NodeKind.SINK, "sink", collector(seen), "press"))
    runtime = run_virtual(lambda loop: run_graph(loop, graph, 60))
    pauses = [b - a for a, b in itertools.pairwise(starts)]
    assert [
        low <= pause <= high for pause, (low, high) in zip(pauses, [(0.35, 0.5), (0.7, 1), (1.4, 2)], strict=True)
    ] == [True] * 3
    assert len(seen) == 1
    assert "no such device" in runtime.actors["press"].last_errors[0][1]
    assert states(runtime)["press"] == "running"
    assert runtime.actors["press"].errors == 3


def test_each_part_of_a_source_counts_its_frames() -> None:
    """Who looks at one PLC of several sees how many it has given; the node's port has the sum."""

    def build(_: Any, context: Context) -> Any:
        every = {"one": 1.0, "two": 2.0}
        return {n: context.part(n).ticks(each).pipe(ops.map(lambda _: data(PRESS))) for n, each in every.items()}

    graph = make_graph(node(NodeKind.SOURCE, "press", build), node(NodeKind.SINK, "sink", collector([]), "press"))
    runtime = run_virtual(lambda loop: run_graph(loop, graph, 9.5))
    frames = {name: actor.frames for name, actor in runtime.actors.items()}
    assert frames == {"press/one": 10, "press/two": 5, "sink": 0}
    assert runtime.ports["press"].frames == 15


@pytest.mark.parametrize(("heals", "reliable"), [(False, True), (True, True), (False, False)])
def test_frames_that_wait_for_a_failing_sink_are_not_forgotten_at_the_stop(heals: bool, reliable: bool) -> None:
    """It is tried once more and at once; what it has not taken then is counted, and an error where it would be kept."""
    seen: list[Frame] = []
    ended: list[float] = []

    def build(_: Any, context: Context) -> Any:
        context.keeper = Mock() if reliable else None

        async def run(mailbox: Mailbox) -> None:
            if not (heals and mailbox.closed):
                raise PipelineError("the disk is read-only")
            await mailbox.consume(seen.extend)

        return run

    async def main(loop: VirtualLoop) -> tuple[Runtime, str]:
        graph = make_graph(node(NodeKind.SOURCE, "press", counting), node(NodeKind.SINK, "sink", build, "press"))
        runtime = Runtime(graph, virtual_clock(loop))
        stop = asyncio.Event()
        loop.call_later(100.5, stop.set)
        error = ""
        try:
            await runtime.run(stop)
        except PartFailed as failure:
            error = str(failure)
        ended.append(loop.time())
        return runtime, error

    runtime, error = run_virtual(main)
    assert ended == [pytest.approx(100.5)]
    assert numbers(seen) == (list(range(101)) if heals else [])
    assert runtime.actors["sink"].drops == ({} if heals else {"stopped": 101})
    wanted = "sink 'sink': 101 frames are lost, since it took none before the stop: the disk is read-only"
    assert error == (wanted if reliable and not heals else "")


def test_a_failing_sink_restarts_and_its_mailbox_keeps_what_came() -> None:
    """Frames of the failing batch are gone and counted as an error; those that came meanwhile are delivered."""
    seen: list[Frame] = []
    attempts = 0

    def build(*_: Any) -> Any:
        async def run(mailbox: Mailbox) -> None:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                raise ConnectionError("away")
            await mailbox.consume(seen.extend)

        return run

    graph = make_graph(node(NodeKind.SOURCE, "press", counting), node(NodeKind.SINK, "sink", build, "press"))
    runtime = run_virtual(lambda loop: run_graph(loop, graph, 5.5))
    assert numbers(seen) == [0, 1, 2, 3, 4, 5]
    assert (runtime.actors["sink"].errors, attempts) == (1, 2)


def test_a_fatal_error_stops_the_graph_in_order_and_is_raised() -> None:
    """The other sink still gets all frames; the caller gets the exception."""
    seen: list[Frame] = []

    def build(*_: Any) -> Any:
        async def run(_: Mailbox) -> None:
            await asyncio.sleep(3.5)
            raise PartFailed("17 frames could not be made safe")

        return run

    graph = make_graph(
        node(NodeKind.SOURCE, "press", counting),
        node(NodeKind.SINK, "bad", build, "press"),
        node(NodeKind.SINK, "good", collector(seen), "press"),
    )
    with pytest.raises(PartFailed, match="17 frames"):
        run_virtual(lambda loop: run_graph(loop, graph, 100))
    assert numbers(seen) == [0, 1, 2, 3]


def test_a_finite_source_ends_the_graph_after_draining() -> None:
    """Completion runs through transforms to the sinks; `run` returns without being told to stop."""
    seen: list[Frame] = []
    graph = make_graph(
        node(NodeKind.SOURCE, "few", lambda *_: reactivex.of(*(data(PRESS, n=n) for n in range(3)))),
        node(NodeKind.TRANSFORM, "last", lambda *_: ops.take_last(1), "few"),
        node(NodeKind.SINK, "sink", collector(seen), "last"),
    )
    runtime = run_virtual(lambda loop: run_graph(loop, graph, 1e9))
    assert numbers(seen) == [2]
    assert runtime.actors["few"].state.value == "stopped"


def test_services_are_ready_before_anything_else_and_stop_last() -> None:
    """Order of life: service started, source started, sink ended, service ended."""
    order: list[str] = []

    def build_service(_: Any, context: Context) -> Any:
        async def run(started: Any) -> None:
            await asyncio.sleep(2)
            order.append("service ready")
            started()
            try:
                await asyncio.sleep(1e9)
            finally:
                order.append("service ended")

        return run

    def build_sink(*_: Any) -> Any:
        async def run(mailbox: Mailbox) -> None:
            order.append("sink started")
            await mailbox.consume(lambda _: None)
            order.append("sink ended")

        return run

    graph = make_graph(
        node(NodeKind.SERVICE, "plc", build_service),
        node(NodeKind.SOURCE, "press", counting),
        node(NodeKind.SINK, "sink", build_sink, "press"),
    )
    run_virtual(lambda loop: run_graph(loop, graph, 5))
    assert order == ["service ready", "sink started", "sink ended", "service ended"]


def test_a_service_that_cannot_start_ends_the_graph_with_its_message() -> None:
    """A taken port is told before anything else runs."""

    def build(*_: Any) -> Any:
        async def run(_: Any) -> None:
            raise UsageError("port 1883 is taken; set DEMO_MQTT_PORT")

        return run

    graph = make_graph(node(NodeKind.SERVICE, "broker", build), node(NodeKind.SOURCE, "press", counting))
    with pytest.raises(UsageError, match="DEMO_MQTT_PORT"):
        run_virtual(lambda loop: run_graph(loop, graph, 5))


def test_a_sink_that_does_not_end_is_cut_off_within_the_grace() -> None:
    """Stopping takes a bounded time whatever a sink does."""

    async def main(loop: VirtualLoop) -> float:
        def build(*_: Any) -> Any:
            async def run(_: Mailbox) -> None:
                await asyncio.sleep(1e9)

            return run

        graph = make_graph(node(NodeKind.SOURCE, "press", counting), node(NodeKind.SINK, "deaf", build, "press"))
        await run_graph(loop, graph, 10)
        return loop.time()

    assert run_virtual(main) < 18


def test_a_pausing_sink_reaches_only_the_sources_before_it() -> None:
    """`pause` shows at the sources that lead to the sink and where all frames are theirs, and ends."""

    async def main(loop: VirtualLoop) -> list[tuple[str, bool]]:
        seen: list[tuple[str, bool]] = []
        contexts: dict[str, Context] = {}

        def build_source(name: str) -> Any:
            def build(_: Any, context: Context) -> Any:
                contexts[name] = context
                return {"one": context.part("one").ticks(1.0).pipe(ops.filter(lambda _: False))}

            return build

        def build_transform(name: str) -> Any:
            def build(_: Any, context: Context) -> Any:
                contexts[name] = context
                return lambda frames: frames

            return build

        def build_sink(_: Any, context: Context) -> Any:
            async def run(mailbox: Mailbox) -> None:
                context.pause(True)
                seen.extend((name, contexts[name].part("one").paused) for name in ("near", "far"))
                seen.extend((name, contexts[name].paused) for name in ("of near", "of both"))
                context.pause(False)
                seen.append(("near", contexts["near"].part("one").paused))
                await mailbox.consume(lambda _: None)

            return run

        graph = make_graph(
            node(NodeKind.SOURCE, "near", build_source("near")),
            node(NodeKind.SOURCE, "far", build_source("far")),
            node(NodeKind.TRANSFORM, "of near", build_transform("of near"), "near"),
            node(NodeKind.TRANSFORM, "of both", build_transform("of both"), "near", "far"),
            node(NodeKind.SINK, "sink", build_sink, "of near"),
            node(NodeKind.SINK, "other", collector([]), "of both"),
        )
        await run_graph(loop, graph, 2)
        return seen

    assert run_virtual(main) == [("near", True), ("far", False), ("of near", True), ("of both", False), ("near", False)]


def test_stopping_while_a_service_starts_is_possible() -> None:
    """A stop during start-up ends at once, without sources."""

    async def main(loop: VirtualLoop) -> float:
        def build(*_: Any) -> Any:
            async def run(_: Any) -> None:
                await asyncio.sleep(1e9)

            return run

        runtime = Runtime(make_graph(node(NodeKind.SERVICE, "slow", build)), virtual_clock(loop))
        stop = asyncio.Event()
        loop.call_later(1, stop.set)
        await runtime.run(stop)
        return loop.time()

    assert run_virtual(main) < 4


def test_the_exception_tree_says_what_ends_a_graph() -> None:
    """Only errors that another attempt can't help are fatal."""
    assert not PipelineError.fatal
    assert UsageError.fatal
    assert (UsageError.exit_code, PartFailed.exit_code) == (1, 2)
