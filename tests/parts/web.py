"""A running graph that is not running, to be looked at, and requests to its web side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import structlog

from pipeline.actor import Actor, State
from pipeline.clock import Clock
from pipeline.config.http import Http
from pipeline.frame import Frame, Origin
from pipeline.metrics import Metrics
from pipeline.operator import NodeKind
from pipeline.port import Port
from pipeline.recording.recorder import Recorder
from pipeline.web.app import make_app
from tests.parts.engine import data, make_graph, node, origin

NOW = 1_731_800_010.0
LOOPBACK = Http(listen="127.0.0.1:0")
READY = {
    "press/press1": (NodeKind.SOURCE, State.RUNNING, ""),
    "frames": (NodeKind.TRANSFORM, State.RUNNING, ""),
    "broker": (NodeKind.SINK, State.RUNNING, ""),
}


class Watched:
    """A view as the engine gives it: one press with one block, a transform, a sink; all well."""

    def __init__(self) -> None:
        self.wall = NOW
        self.time = 0.0
        self._clock = Clock(asyncio.new_event_loop(), lambda: self.wall, lambda: self.time)
        self._clock.loop.close()
        self.graph = make_graph(
            node(NodeKind.SOURCE, "press", lambda *_: None),
            node(NodeKind.TRANSFORM, "frames", lambda *_: None, "press"),
            node(NodeKind.SINK, "broker", lambda *_: None, "frames"),
        )
        self.boot = "01JD8Z0000000000000000BOOT"
        self.started = NOW - 3600
        self.metrics = Metrics()
        self.actors: dict[str, Actor] = {}
        for name, (kind, state, reason) in READY.items():
            self.become(name, state, reason, kind)
        self.ports = {name: Port(name, lambda *_: None) for name in ("press", "frames")}
        self.press = origin(units={"AI_Corrente": "A"})
        self.latest: dict[Origin, Frame] = {
            self.press: data(self.press, NOW - 0.5, AI_Corrente=4.25, contador_bom=5014, maquina_ligada=True)
        }
        self.failures: dict[Origin, Frame] = {}
        self.sources = {self.press: "press"}
        self.recorder: Recorder | None = None
        self.letters: dict[str, Any] = {}
        self.details: Mapping[str, Callable[[], Mapping[str, object]]] = {}

    @property
    def clock(self) -> Clock:
        """The view's own time; it ticks on the loop that runs, if any."""
        with contextlib.suppress(RuntimeError):
            loop = asyncio.get_running_loop()
            if loop is not self._clock.loop:
                self._clock = Clock(loop, lambda: self.wall, lambda: self.time)
        return self._clock

    def become(self, name: str, state: State, reason: str = "", kind: NodeKind = NodeKind.SOURCE) -> Actor:
        """Put an actor into a state, made when it is not there."""
        if name not in self.actors:
            self.actors[name] = Actor(name, kind, self.clock, structlog.get_logger())
        self.actors[name].become(state, reason)
        return self.actors[name]


def ask(
    app: Watched | Any,
    path: str,
    *,
    method: str = "GET",
    http: Http = LOOPBACK,
    address: str = "127.0.0.1",
    **others: Any,
) -> httpx.Response:
    """One request, answered without a socket; an app keeps what it knows of earlier ones, a view gets a new app."""
    if isinstance(app, Watched):
        app = make_app(http, app, loopback=True)

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(address, 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **others)

    return asyncio.run(request())
