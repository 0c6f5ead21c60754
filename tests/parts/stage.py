"""Operators at work: a source of one PLC with what comes out of it, and a sink with what is given to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipeline.actor import Mailbox, State
from pipeline.config.layouts import Layout
from pipeline.frame import Frame, Origin
from pipeline.operator import NodeKind, Operator, Options, Overflow
from tests.parts.engine import data, make_context

__all__ = ["Line", "SinkStage"]


class Line:
    """A running source of the PLC `press1`.

    Attributes:
        frames: what came out of it.
        times: when, in the loop's seconds.
        errors: what ended it.
        paused: whether a sink behind it asks for a pause.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: Operator[Any],
        options: Options,
        layouts: Mapping[str, Layout] = MappingProxyType({}),
    ) -> None:
        self.context = make_context(loop, node="press", kind=NodeKind.SOURCE)
        self.context.layouts = layouts
        self.context.is_paused = lambda: self.paused
        self.frames: list[Frame] = []
        self.times: list[float] = []
        self.errors: list[Exception] = []
        self.paused = False
        self.loop = loop
        (self.stream,) = source.build(options, self.context).values()
        self.part = self.context.part("press1")
        self.subscription = self.stream.subscribe(self.receive, self.errors.append)

    def receive(self, frame: Frame) -> None:
        """Keep a frame."""
        self.frames.append(frame)
        self.times.append(round(self.loop.time(), 6))

    def taken(self) -> list[Frame]:
        """The frames since the last call."""
        frames, self.frames = self.frames, []
        return frames

    def value(self, name: str, **labels: str) -> float | None:
        """A metric of this PLC."""
        return self.context.metrics.value(name, plc="press1", **labels)

    @property
    def state(self) -> str:
        """The actor's state as text."""
        return self.part.actor.state.value


class SinkStage:
    """A running sink.

    Attributes:
        here: where the frames come from that `put` gives it.
        sent: how many those were; each has its number as `n`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sink: Operator[Any], options: Options, here: Origin) -> None:
        self.loop = loop
        self.here = here
        self.sent = 0
        self.context = make_context(loop)
        self.mailbox = Mailbox(loop, 50_000, Overflow.DROP_NEWEST, self.context.actor.drop)
        self.task = asyncio.ensure_future(sink.build(options, self.context)(self.mailbox))

    @property
    def state(self) -> tuple[State, str]:
        """What the sink says of itself."""
        return self.context.actor.state, self.context.actor.reason

    def put(self, count: int = 1, **values: Any) -> None:
        """Give the sink frames, all in one loop turn."""
        for _ in range(count):
            self.mailbox.put(data(self.here, self.context.clock.wall(), n=self.sent, **values))
            self.sent += 1

    async def feed(self, count: int, every: float = 0.1) -> None:
        """Give the sink frames one by one."""
        for _ in range(count):
            self.put()
            await asyncio.sleep(every)

    async def stop(self) -> float:
        """End as the engine does; the seconds that took."""
        start = self.loop.time()
        self.mailbox.close()
        await self.task
        return self.loop.time() - start
