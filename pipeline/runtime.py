"""A running graph: assembles the nodes, supervises the actors, drains and stops in order.

Start: page address, services, sinks, transforms, sources. Stop: sources, transforms, sinks, services; never over 8 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import structlog
from reactivex import Observable, abc
from reactivex.scheduler.eventloop import AsyncIOScheduler
from ulid import ULID

from pipeline.actor import Actor, Mailbox, State
from pipeline.checkpoint import Checkpoint
from pipeline.clock import Clock
from pipeline.delivery.letters import Letters
from pipeline.errors import PartFailed, PipelineError
from pipeline.frame import DATA, FAILURE, Frame, Origin
from pipeline.graph import Graph, Node
from pipeline.metrics import Metrics
from pipeline.numbering import Numbering
from pipeline.operator import Context, NodeKind, RunService, RunSink, Transform
from pipeline.port import Port
from pipeline.recording.recorder import Recorder
from pipeline.retry import Backoff, Retry

__all__ = ["Runtime"]

_SOURCES_GRACE = 1.0
_SINKS_GRACE = 5.0
_SERVICES_GRACE = 1.5
_RESTART = Retry()
_LATE = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds."""


class _Reader:
    """Supervises one part of a source: passes its frames on, subscribes again with back-off when it fails."""

    def __init__(
        self,
        context: Context,
        stream: Observable[Frame],
        port: Port,
        failed: Callable[[Context, Exception, Backoff], float | None],
        ended: Callable[[], None],
    ) -> None:
        self._context = context
        self._actor = context.actor
        self._stream = stream
        self._push = port.push
        self._told = failed
        self._ended = ended
        self._backoff = Backoff(_RESTART)
        self._silent = True
        self._subscription: abc.DisposableBase | None = None
        self._timer: asyncio.TimerHandle | None = None

    def subscribe(self) -> None:
        """Start the part, for the first time or anew."""
        self._silent = True
        self._actor.become(State.STARTING)

        def failed(error: Exception) -> None:
            pause = self._told(self._context, error, self._backoff)
            if pause is not None:
                self._timer = self._context.clock.loop.call_later(pause, self.subscribe)

        def completed() -> None:
            self._actor.become(State.STOPPED)
            self._ended()

        self._subscription = self._stream.subscribe(self._receive, failed, completed, scheduler=self._context.scheduler)

    def _receive(self, frame: Frame) -> None:
        self._actor.frames += 1
        if self._silent and frame.kind is not FAILURE:
            # A source that says nothing of its state runs as soon as it gives data.
            self._silent = False
            self._backoff.succeed()
            if self._actor.state is State.STARTING:
                self._actor.become(State.RUNNING)
        self._push(frame)

    def dispose(self) -> None:
        """End the part; its tasks are cancelled."""
        if self._timer is not None:
            self._timer.cancel()
        if self._subscription is not None:
            self._subscription.dispose()


class Runtime:
    """One graph in one process.

    Attributes:
        graph: what runs.
        boot: ULID of this process start.
        started: wall clock, seconds, when it was made.
        clock: the one clock.
        metrics: everybody's counters.
        actors: by name: `press/press1`, `broker`.
        ports: outputs of sources and transforms by node name.
        latest: the newest data frame of each block.
        failures: the failure frame of each block that fails now.
        sources: the node that reads each block.
        recorder: told what the sources' devices say; None for nobody.
        kept: what nodes keep over a change of the graph, by node name.
        numbering: the numbers of the sinks' frames, which go on over a change.
    """

    def __init__(self, graph: Graph, clock: Clock, before: Runtime | None = None) -> None:
        """Prepare; nothing starts.

        Args:
            graph: what will run.
            clock: the one clock.
            before: what ran in this process until now, and has ended: its `boot`, its start and what its nodes keep
                go on.
        """
        self.graph = graph
        self.clock = clock
        self.boot: str = before.boot if before else str(ULID())
        self.started: float = before.started if before else clock.wall()
        self.kept: dict[str, dict[str, Any]] = before.kept if before else {}
        self.numbering: Numbering = Numbering(before.numbering if before else None)
        self._is_first = before is None
        self.metrics = Metrics()
        clock.late = self.metrics.histogram(
            "edge_tick_late_seconds", "how late the loop came to its ticks: a busy machine shows here first", _LATE
        ).observe
        self.actors: dict[str, Actor] = {}
        self.ports: dict[str, Port] = {}
        self.latest: dict[Origin, Frame] = {}
        self.failures: dict[Origin, Frame] = {}
        self.sources: dict[Origin, str] = {}
        self.recorder: Recorder | None = None
        self._log = structlog.get_logger().bind(graph=graph.name)
        self._scheduler = AsyncIOScheduler(clock.loop)
        self._contexts: dict[str, Context] = {}
        self._mailboxes: dict[str, Mailbox] = {}
        self._pausing: dict[str, set[str]] = {}
        self._readers: list[_Reader] = []
        self._subscriptions: dict[str, abc.DisposableBase] = {}
        self._restarts: dict[str, asyncio.TimerHandle] = {}
        self._tasks: dict[NodeKind, list[asyncio.Task[None]]] = {kind: [] for kind in NodeKind}
        self._living_parts: dict[str, int] = {}
        self._over: asyncio.Future[None] = clock.loop.create_future()

    @property
    def details(self) -> Mapping[str, Callable[[], Mapping[str, object]]]:
        """What operators tell of themselves beside state and counters, by node name."""
        return {name: context.details for name, context in self._contexts.items() if context.details is not None}

    @property
    def letters(self) -> Mapping[str, Letters]:
        """What receivers have refused for good, by the name of the sink."""
        return {name: context.letters for name, context in self._contexts.items() if context.letters is not None}

    @property
    def backlogs(self) -> Mapping[str, int]:
        """Frames that wait in a journal, by the name of the sink."""
        return {name: letters.backlog for name, letters in self.letters.items()}

    def waiting(self, sink: str) -> int:
        """Frames on their way to a sink's receiver: in its mailbox, or taken and not acknowledged."""
        letters = self._contexts[sink].letters
        return len(self._mailboxes[sink]) + (letters.unacknowledged if letters is not None else 0)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set or every source has completed, then stop in order.

        Raises:
            PipelineError: a part failed for good; everything else was stopped in order.
        """
        if self._is_first:
            self.clock.loop.set_default_executor(ThreadPoolExecutor(4, thread_name_prefix="pipeline-io"))
        stopped = self.clock.loop.create_task(stop.wait())
        try:
            await self._start(stopped)
            await asyncio.wait((stopped, self._over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            lost = await self._stop()
        if self._over.done():
            self._over.result()
        if lost is not None:
            raise lost

    # start

    async def _start(self, stopped: asyncio.Task[bool]) -> None:
        for node in self.graph.of(NodeKind.SERVICE):
            ready: asyncio.Future[None] = self.clock.loop.create_future()
            self._spawn(
                node, self._supervise_service(node, node.operator.build(node.options, self._context(node)), ready)
            )
            await asyncio.wait((ready, self._over, stopped), return_when=asyncio.FIRST_COMPLETED)
            if self._over.done() or stopped.done():
                return
        for node in (*self.graph.of(NodeKind.SOURCE), *self.graph.of(NodeKind.TRANSFORM)):
            self.ports[node.name] = Port(node.name, self._receiver_failed)
        for node in self.graph.of(NodeKind.SINK):
            self._start_sink(node)
        for node in self.graph.of(NodeKind.TRANSFORM):
            context, sources = self._context(node), self._sources_of(node)
            context.is_paused = lambda sources=sources: all(map(self._pausing.get, sources))  # type: ignore[misc]
            self._start_transform(node, node.operator.build(node.options, context))
        for node in self.graph.of(NodeKind.SOURCE):
            self._start_source(node)

    def _context(self, node: Node, part: str = "") -> Context:
        name = f"{node.name}/{part}" if part else node.name
        log = structlog.get_logger().bind(node=name)
        actor = Actor(name, node.kind, self.clock, log)
        context = Context(
            graph=self.graph.name,
            node=node.name,
            boot=self.boot,
            clock=self.clock,
            scheduler=self._scheduler,
            layouts=self.graph.layouts,
            folder=self.graph.path.parent,
            metrics=self.metrics,
            log=log,
            actor=actor,
            stop=self._end,
            kept=self.kept.setdefault(name, {}),
            numbering=self.numbering,
            witness=self.recorder.witness(name) if self.recorder and node.kind is NodeKind.SOURCE else None,
        )
        self._contexts[name] = context
        return context

    def _sources_of(self, node: Node) -> list[str]:
        return [
            source.name for source in self.graph.of(NodeKind.SOURCE) if node.name in self.graph.downstream(source.name)
        ]

    def _start_sink(self, node: Node) -> None:
        context = self._context(node)
        self.actors[node.name] = context.actor
        sources = self._sources_of(node)

        def pause(on: bool) -> None:
            for name in sources:
                (self._pausing[name].add if on else self._pausing[name].discard)(node.name)

        for name in sources:
            self._pausing.setdefault(name, set())
        context.pause = pause
        mailbox = Mailbox(self.clock.loop, node.operator.capacity, node.operator.overflow, context.actor.drop)
        self._mailboxes[node.name] = mailbox
        self._connect(node, mailbox.put, mailbox.close)
        self._spawn(node, self._supervise_sink(node, node.operator.build(node.options, context), mailbox))

    def _connect(self, node: Node, receive: Callable[[Frame], None], completed: Callable[[], None]) -> None:
        """Subscribe a node to all that it takes from; `completed` is called at the end of the last of them."""
        inputs = [self.ports[name] for name in node.inputs if self.graph.nodes[name].enabled]
        waiting = len(inputs)

        def ended() -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                completed()

        for port in inputs:
            port.connect(node.name, receive, ended)

    def _start_transform(self, node: Node, build: Transform) -> None:
        actor = self.actors[node.name] = self._contexts[node.name].actor
        actor.become(State.RUNNING)
        port = self.ports[node.name]
        subscribing = False

        def subscribe() -> None:
            nonlocal subscribing
            subscribing = True
            output: Observable[Frame] = joined.pipe(build)
            self._subscriptions[node.name] = output.subscribe(
                port.push, failed, port.complete, scheduler=self._scheduler
            )
            subscribing = False

        def failed(error: Exception) -> None:
            """Rx ends a stream on its first error; the engine counts it and goes on with fresh state."""
            if node.name in self._subscriptions:
                self._subscriptions.pop(node.name).dispose()
            actor.errors += 1
            if isinstance(error, PipelineError) and error.fatal:
                actor.become(State.STOPPED, str(error))
                self._end(error)
                return
            self._contexts[node.name].log.error(
                "transform failed, rebuilt with fresh state", error=str(error), exc_info=error
            )
            if subscribing:
                self._restarts[node.name] = self.clock.loop.call_later(_RESTART.initial, subscribe)
            else:
                subscribe()

        # A port of its own, since an operator that raises while it takes a frame fails as one that tells its error.
        joined = Port(node.name, lambda _, error: failed(error))
        self._connect(node, joined.push, joined.complete)
        subscribe()

    def _start_source(self, node: Node) -> None:
        context = self._context(node)
        pausing = self._pausing.setdefault(node.name, set())
        context.is_paused = lambda: bool(pausing)
        reached = self.graph.downstream(node.name)
        behind = [(box, self._contexts[name]) for name, box in self._mailboxes.items() if name in reached]
        context.checkpoint = partial(Checkpoint, behind)

        def make_part(parent: Context, part: str) -> Context:
            child = self._context(node, part)
            child.is_paused, child.checkpoint = parent.is_paused, parent.checkpoint
            return child

        context.make_part = make_part
        built = node.operator.build(node.options, context)
        streams: Mapping[str, Observable[Frame]] = built if isinstance(built, Mapping) else {"": built}
        self._living_parts[node.name] = len(streams)
        port = self.ports[node.name]
        port.connect("latest", partial(self._remember, node.name))
        for part, stream in streams.items():
            child = context.part(part) if part else context
            self.actors[child.actor.name] = child.actor
            reader = _Reader(child, stream, port, self._failed, lambda name=node.name: self._part_ended(name))  # type: ignore[misc]
            self._readers.append(reader)
            reader.subscribe()

    def _part_ended(self, source: str) -> None:
        self._living_parts[source] -= 1
        if not self._living_parts[source]:
            self.ports[source].complete()
        if not any(self._living_parts.values()):
            self._end()

    def _end(self, error: PipelineError | None = None) -> None:
        """End the graph in order; with an error that `run` raises."""
        if not self._over.done():
            if error is None:
                self._over.set_result(None)
            else:
                self._over.set_exception(error)

    def _remember(self, source: str, frame: Frame) -> None:
        self.sources[frame.origin] = source
        if frame.kind is DATA:
            self.latest[frame.origin] = frame
            if self.failures:
                self.failures.pop(frame.origin, None)
        elif frame.kind is FAILURE:
            self.failures[frame.origin] = frame

    # supervision

    def _spawn(self, node: Node, body: Coroutine[Any, Any, None]) -> None:
        self._tasks[node.kind].append(self.clock.loop.create_task(body, name=node.name))

    async def _supervise_service(self, node: Node, run: RunService, ready: asyncio.Future[None]) -> None:
        context = self._contexts[node.name]
        self.actors[node.name] = context.actor
        backoff = Backoff(_RESTART)

        def started() -> None:
            context.actor.become(State.RUNNING)
            backoff.succeed()
            if not ready.done():
                ready.set_result(None)

        while True:
            try:
                await run(started)
            except Exception as error:  # noqa: BLE001 - supervision is for whatever comes
                pause = self._failed(context, error, backoff)
            else:
                pause = self._failed(context, PipelineError("the service ended by itself"), backoff)
            if pause is None:
                return
            await asyncio.sleep(pause)

    async def _supervise_sink(self, node: Node, run: RunSink, mailbox: Mailbox) -> None:
        context = self._contexts[node.name]
        backoff = Backoff(_RESTART)
        while True:
            try:
                await run(mailbox)
            except Exception as error:  # noqa: BLE001 - supervision is for whatever comes
                pause = self._failed(context, error, backoff)
                if pause is None or mailbox.closed:
                    return
                # The stop comes at once to who waits: one more attempt for the frames that wait.
                await mailbox.closed_within(pause)
            else:
                context.actor.become(State.STOPPED)
                return

    def _failed(self, context: Context, error: Exception, backoff: Backoff) -> float | None:
        """Count and tell an actor's failure; the pause before the next attempt, None when the graph ends by it."""
        if isinstance(error, PipelineError):
            context.log.error("actor failed", error=str(error))
        else:
            context.log.error("actor failed by a defect of its code", error=repr(error), exc_info=error)
        if isinstance(error, PipelineError) and error.fatal:
            context.actor.errors += 1
            context.actor.become(State.STOPPED, str(error))
            self._end(error)
            return None
        context.actor.fail(str(error) or repr(error))
        return backoff.fail()

    def _receiver_failed(self, name: str, error: Exception) -> None:
        context = self._contexts.get(name)
        if context is not None:
            context.actor.errors += 1
        self._log.error("a subscriber raised; the others go on", subscriber=name, error=repr(error), exc_info=error)

    # stop

    async def _stop(self) -> PartFailed | None:
        for reader in self._readers:
            reader.dispose()
        reading = {task for context in self._contexts.values() for task in context.tasks}
        await self._finish(reading, _SOURCES_GRACE, "sources")
        for node in self.graph.of(NodeKind.SOURCE):
            if node.name in self.ports:
                self.ports[node.name].complete()
        for mailbox in self._mailboxes.values():
            mailbox.close()
        await self._finish(set(self._tasks[NodeKind.SINK]), _SINKS_GRACE, "sinks")
        lost = self._give_up_waiting()
        for task in self._tasks[NodeKind.SERVICE]:
            task.cancel()
        await self._finish(set(self._tasks[NodeKind.SERVICE]), _SERVICES_GRACE, "services")
        for restart in self._restarts.values():
            restart.cancel()
        for subscription in self._subscriptions.values():
            subscription.dispose()
        return lost

    def _give_up_waiting(self) -> PartFailed | None:
        """Count what no sink has taken; an error where one would have kept it."""
        error = None
        for name, mailbox in self._mailboxes.items():
            context, left = self._contexts[name], len(mailbox)
            if left:
                context.actor.drop("stopped", left)
            if left and context.keeper is not None:
                reason = f": {context.actor.reason}" if context.actor.reason else ""
                error = PartFailed(f"sink '{name}': {left} frames are lost, since it took none before the stop{reason}")
        return error

    async def _finish(self, tasks: set[asyncio.Task[None]], grace: float, what: str) -> None:
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace)
        for task in late:
            self._log.warning("stopped late, cancelled", part=task.get_name(), group=what, grace=grace)
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)
