"""What tests need of the engine: a context without a runtime, and small graphs made of functions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog
from reactivex.scheduler.eventloop import AsyncIOScheduler

from pipeline.actor import Actor
from pipeline.clock import Clock, VirtualLoop, virtual_clock
from pipeline.frame import Frame, Kind, Origin
from pipeline.graph import Graph, Node
from pipeline.metrics import Metrics
from pipeline.operator import Context, NodeKind, Operator, Options
from pipeline.runtime import Runtime

PLANT = {
    "PLC_IP": "192.0.2.10",
    "MIRROR_IP": "192.0.2.11",
    "HTTP_URL": "https://server.example/ingest",
    "INFLUX_URL": "https://influx.example:8086",
    "INFLUX_TOKEN": "secret",
    "MQTT_BROKER": "broker.example",
    "TENANT_ID": "acme",
    "PLC_ID": "press1",
    "MQTT_USERNAME": "edge",
    "MQTT_PASSWORD": "secret",
}
"""Variables that the shipped graphs ask for, with addresses that nobody has."""


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


def collector(into: list[Frame]) -> Callable[[Any, Context], Any]:
    """A sink's factory that keeps all frames."""

    def build(_: Any, __: Context) -> Any:
        async def run(mailbox: Any) -> None:
            await mailbox.consume(into.extend)

        return run

    return build


def states(runtime: Runtime) -> Mapping[str, str]:
    """State by actor name."""
    return {name: actor.state.value for name, actor in runtime.actors.items()}
