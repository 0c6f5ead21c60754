"""What an operator's own tests need: a context without a runtime, small graphs of functions, played transforms.

Generated tests use it (`pipeline new operator`), in this project and in packages of others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from reactivex import Subject
from reactivex.scheduler.eventloop import AsyncIOScheduler

from pipeline.actor import Actor
from pipeline.clock import Clock, VirtualLoop, run_virtual, virtual_clock
from pipeline.config import load_text
from pipeline.errors import ConfigurationError
from pipeline.frame import Frame, Kind, Origin
from pipeline.graph import Graph, Node
from pipeline.metrics import Metrics
from pipeline.operator import Context, NodeKind, Operator, Options, RunSink
from pipeline.recording.replay import taking
from pipeline.runtime import Runtime

__all__ = [
    "END",
    "Event",
    "NoOptions",
    "collector",
    "data",
    "make_context",
    "make_graph",
    "mistakes",
    "node",
    "origin",
    "play",
    "play_twice",
    "run_graph",
    "states",
]

END = "completed"
"""Stands for completion in a script and in what came out."""

Event = Frame | Exception | str
_GRAPH = """\
services:
{services}
sources:
  press: {{type: s7, address: 192.0.2.1, every: 1s, tags: {{AI_Corrente: "DB1.DBD2:REAL"}}}}
{sources}
transforms:
{transforms}
sinks:
{sinks}
  last: {{type: mqtt, from: {last}, host: 127.0.0.1, tls: {{enabled: false}}}}
"""


class NoOptions(Options):
    """Options of an operator that has none."""


def make_context(
    loop: asyncio.AbstractEventLoop, *, node: str = "node", kind: NodeKind = NodeKind.SINK, clock: Clock | None = None
) -> Context:
    """A context as the runtime would make it, for an operator tested alone."""
    if clock is None:
        clock = virtual_clock(loop) if isinstance(loop, VirtualLoop) else Clock(loop)
    log = structlog.get_logger().bind(node=node)
    context = Context(
        graph="test",
        node=node,
        boot="01JD8Z0000000000000000BOOT",
        clock=clock,
        scheduler=AsyncIOScheduler(loop),
        layouts={},
        folder=Path(),
        metrics=Metrics(),
        log=log,
        actor=Actor(node, kind, clock, log),
    )

    def make_part(parent: Context, part: str) -> Context:
        child = make_context(loop, node=f"{node}/{part}", kind=kind, clock=clock)
        child.metrics = parent.metrics
        child.is_paused = parent.is_paused
        return child

    context.make_part = make_part
    return context


def origin(plc_id: str = "press1", db: int | None = 1, **others: Any) -> Origin:
    """An origin as the S7 source makes it."""
    return Origin(measurement=f"s7_db{db}", ip="192.168.0.121", db=db, tenant_id="acme", plc_id=plc_id, **others)


def data(origin: Origin, ts: float = 1_731_800_000.123, **values: Any) -> Frame:
    """A data frame."""
    return Frame(Kind.DATA, ts, origin, values)


def node(
    kind: NodeKind, name: str, build: Callable[[Any, Context], Any], *inputs: str, options: Options | None = None
) -> Node:
    """A node made of a factory."""
    options = options or NoOptions()
    operator: Operator[Any] = Operator(kind=kind, name=name, options=type(options), build=build)
    return Node(name=name, kind=kind, operator=operator, options=options, inputs=inputs)


def make_graph(*nodes: Node) -> Graph:
    """A graph of nodes, which must come in data order."""
    return Graph(name="test", path=Path("test.yaml"), nodes={each.name: each for each in nodes})


async def run_graph(loop: VirtualLoop, graph: Graph, seconds: float) -> Runtime:
    """Run a graph for some virtual seconds and stop it in order."""
    runtime = Runtime(graph, virtual_clock(loop))
    stop = asyncio.Event()
    loop.call_later(seconds, stop.set)
    await runtime.run(stop)
    return runtime


def collector(into: list[Frame]) -> Callable[[Any, Context], RunSink]:
    """A sink's factory that keeps all frames."""
    return taking(into.extend)


def states(runtime: Runtime) -> Mapping[str, str]:
    """State by actor name."""
    return {name: actor.state.value for name, actor in runtime.actors.items()}


def play(
    operator: Operator[Any], options: Options, script: Sequence[tuple[float, Event]], until: float = 1000.0
) -> list[tuple[float, Event]]:
    """Give a transform frames, an error or the end at their times (s); what came out, until it was disposed."""

    async def main(loop: VirtualLoop) -> list[tuple[float, Event]]:
        frames: Subject[Frame] = Subject()
        seen: list[tuple[float, Event]] = []
        subscription = frames.pipe(operator.build(options, make_context(loop, kind=NodeKind.TRANSFORM))).subscribe(
            lambda frame: seen.append((round(loop.time(), 6), frame)),
            lambda error: seen.append((round(loop.time(), 6), error)),
            lambda: seen.append((round(loop.time(), 6), END)),
        )
        for when, event in script:
            loop.call_at(when, _send, frames, event)
        await asyncio.sleep(until)
        subscription.dispose()
        for _, event in script:
            _send(frames, event)
        await asyncio.sleep(1000)
        return seen

    return run_virtual(main)


def play_twice(operator: Operator[Any], options: Options, *frames: Frame) -> tuple[list[Frame], list[Frame]]:
    """What two subscribers of one transform get of these frames; the second comes once the first has seen them all."""

    async def main(loop: VirtualLoop) -> tuple[list[Frame], list[Frame]]:
        source: Subject[Frame] = Subject()
        piped = source.pipe(operator.build(options, make_context(loop, kind=NodeKind.TRANSFORM)))
        first: list[Frame] = []
        second: list[Frame] = []
        with piped.subscribe(first.append):
            for frame in frames:
                source.on_next(frame)
        with piped.subscribe(second.append):
            for frame in frames:
                source.on_next(frame)
        return first, second

    return run_virtual(main)


def _send(frames: Subject[Frame], event: Event) -> None:
    if isinstance(event, Frame):
        frames.on_next(event)
    elif isinstance(event, Exception):
        frames.on_error(event)
    else:
        frames.on_completed()


def mistakes(kind: NodeKind, node: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """What the loader says of a node written as `{type: …}`; without file and line.

    A transform or sink takes from `press`, an S7 source.
    """
    last = {NodeKind.SOURCE: "[press, node]", NodeKind.TRANSFORM: "node"}.get(kind, "press")
    text = _GRAPH.format(**{each.value: f"  node: {node}" if each is kind else "" for each in NodeKind}, last=last)
    try:
        problems = list(load_text(text, Path("line.yaml"), environ or {}).warnings)
    except ConfigurationError as error:
        problems = error.problems
    return [str(problem).partition(": ")[2] for problem in problems]
