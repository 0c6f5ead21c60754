"""Performs a test: its graph on its stages, in virtual time; what was seen, for `judge`."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from pipeline.clock import Clock
from pipeline.codecs import CODECS
from pipeline.errors import PipelineError, UsageError
from pipeline.frame import Frame
from pipeline.graph import Graph, Node
from pipeline.journal.options import JournalOptions
from pipeline.operator import Context, NodeKind, Options, RunSink, Scope
from pipeline.recording.replay import TapeLoop, collecting, outlets, synthetic, taking, tell
from pipeline.runtime import Runtime
from pipeline.testing.cast import Cast
from pipeline.testing.load import Job
from pipeline.testing.options import Given
from pipeline.testing.stage import Message, Write
from pipeline.tls import TlsOptions
from pipeline.units import Secret
from pipeline.web.exposition import Exposition

__all__ = ["Seen", "SeenFrame", "perform"]

_BEFORE = 1e-6
"""So much earlier than a tick of the same time something is given."""
_AFTER = 1e-3
"""So much later than what happens at a time it is looked at."""


@dataclass(frozen=True, kw_only=True)
class SeenFrame:
    """A frame that left a node, or came to a sink.

    Attributes:
        at: seconds since the start.
        node: whose.
        frame: the frame.
        is_source: the node is a source.
    """

    at: float
    node: str
    frame: Frame
    is_source: bool

    @property
    def parts(self) -> set[str]:
        """The names of the part of a source that has given it: press/press1, press1."""
        name = self.frame.origin.plc_id or self.frame.origin.ip
        return {name, f"{self.node}/{name}"} if name and self.is_source else set()

    @property
    def json(self) -> dict[str, Any]:
        """As on the wire, with its kind."""
        found: dict[str, Any] = msgspec.json.decode(CODECS["full"].encode(self.frame))
        return {"kind": self.frame.kind.name.lower(), "measurement": self.frame.origin.measurement, **found}


@dataclass(kw_only=True)
class Seen:
    """What was seen of a graph.

    Attributes:
        begin: loop time of the start.
        frames: in the order in which they came.
        taken: the frames that sinks take, in order, each once.
        messages: by sink; "" has all.
        writes: by sink; "" has all.
        metrics: by index of the expectation each series' labels and value; None for a name that no metric has.
        states: state and reason by index of the expectation; None for a node that never was.
        error: why the graph ended by itself; "" where it did not.
        told: what the user should know of the recording.
    """

    begin: float = 0.0
    frames: list[SeenFrame] = field(default_factory=list)
    taken: list[Frame] = field(default_factory=list)
    messages: dict[str, list[Message]] = field(default_factory=dict)
    writes: dict[str, list[Write]] = field(default_factory=dict)
    metrics: dict[int, list[tuple[dict[str, str], float]] | None] = field(default_factory=dict)
    states: dict[int, tuple[str, str] | None] = field(default_factory=dict)
    error: str = ""
    told: list[str] = field(default_factory=list)


def perform(job: Job) -> Seen:
    """Run a case to its end. Files go into a folder that is gone afterwards; nothing outside is touched.

    Raises:
        UsageError: it would write outside of that folder, or its recording does not fit.
    """
    cast = Cast(job)
    inside = _inside(cast.graph)
    with tempfile.TemporaryDirectory(prefix="pipeline-test-") as folder, contextlib.chdir(folder):
        _require_inside(inside, Path(folder))
        state = random.getstate()
        random.seed(job.name)  # pauses before new attempts have a random part
        try:
            return _Performance(job, cast, inside).run()
        finally:
            random.setstate(state)


class _Performance:
    """One run of one case."""

    def __init__(self, job: Job, cast: Cast, graph: Graph) -> None:
        self._case = job.case
        self._cast = cast
        self._seen = Seen()
        self._loop = TapeLoop(math.inf)
        if cast.recording is not None:
            wall: Callable[[], float] = self._loop.load(graph, cast.recording)
            self._end = cast.recording.end - self._loop.time()
        else:
            start, loop = job.case.wall, self._loop
            wall = lambda: start + loop.time()  # noqa: E731 - a clock
            self._end = job.case.seconds
        self._end = job.case.for_ or self._end
        # A recording is over with its last answer: whatever would be asked after that has none.
        self._after = _AFTER if cast.recording is None else 0.0
        self._clock = Clock(self._loop, wall, self._loop.time)
        self._seen.begin = self._loop.time()
        self._graph = self._watched(graph)

    def run(self) -> Seen:
        self._loop.set_exception_handler(self._unhandled)
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._play())
            except PipelineError as error:
                self._seen.error = str(error)
        seen, cast = self._seen, self._cast
        for node in ("", *(node.name for node in self._graph.of(NodeKind.SINK))):
            stages = cast.of(node)
            seen.messages[node] = [message for stage in stages for message in stage.messages]
            seen.writes[node] = [written for stage in stages for written in stage.writes]
        if cast.recording is not None:
            seen.told += tell(self._loop, cast.recording)
        return seen

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._seen.told.append(f"{context['message']}: {error!r}" if error else context["message"])

    async def _play(self) -> None:
        loop, stop, case = self._loop, asyncio.Event(), self._case
        for stage in self._cast.stages:
            loop.staged.add((stage.host, stage.port))
            await stage.open(loop)
        runtime = Runtime(self._graph, self._clock)
        tasks = [self._at(given.at, self._begin, given) for given in case.given]
        tasks += [self._at(given.until, self._over, given) for given in case.given if given.until is not None]
        for index, metric in enumerate(case.expect.metrics):
            self._look(metric.at, lambda i=index, m=metric: self._measure(runtime, i, m.name))  # type: ignore[misc]
        for index, state in enumerate(case.expect.states):
            self._look(state.at, lambda i=index, s=state: self._observe(runtime, i, s.node))  # type: ignore[misc]
        loop.call_at(math.nextafter(self._seen.begin + self._end + self._after, math.inf), stop.set)
        try:
            await asyncio.sleep(0)  # what is given at the start comes first
            await runtime.run(stop)
        finally:
            for task in tasks:
                if not task.cancel() and not task.cancelled():
                    task.result()

    async def _begin(self, given: Given) -> None:
        stage = self._cast.stage(given)
        if given.fault:
            await stage.fail(given, on=True)
        else:
            stage.give(given)

    async def _over(self, given: Given) -> None:
        await self._cast.stage(given).fail(given, on=False)

    def _at(self, at: float, what: Callable[[Given], Awaitable[None]], given: Given) -> asyncio.Task[None]:
        async def later() -> None:
            if at > 0:
                await asyncio.sleep(self._seen.begin + at - _BEFORE - self._loop.time())
            await what(given)

        return self._loop.create_task(later())

    def _look(self, at: float | None, look: Callable[[], None]) -> None:
        moment = self._end if at is None else min(at, self._end)
        self._loop.call_at(self._seen.begin + moment + self._after, look)

    def _measure(self, runtime: Runtime, index: int, name: str) -> None:
        families = list(text_string_to_metric_families("".join(Exposition(runtime).text())))
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        if samples or any(name in {family.name, f"{family.name}_total"} for family in families):
            self._seen.metrics[index] = [(sample.labels, sample.value) for sample in samples]
        else:
            self._seen.metrics[index] = None

    def _observe(self, runtime: Runtime, index: int, name: str) -> None:
        for actor in runtime.actors.values():
            if name in {actor.name, actor.name.partition("/")[0], actor.name.partition("/")[2]}:
                self._seen.states[index] = (actor.state.value, actor.reason)
                return
        self._seen.states[index] = None

    def _watched(self, graph: Graph) -> Graph:
        """The graph with somebody who looks at each node's frames; sinks that nobody can play only take theirs."""
        nodes: dict[str, Node] = {}
        for node in graph.nodes.values():
            nodes[node.name] = node
            if node.kind is NodeKind.SINK and not node.operator.is_staged:
                nodes[node.name] = synthetic(NodeKind.SINK, node.name, self._look_at(node.name), *node.inputs)
            elif node.kind is NodeKind.SINK:
                name = f"frames to {node.name}"
                nodes[name] = synthetic(NodeKind.SINK, name, self._look_at(node.name), *node.inputs)
        for node in (*graph.of(NodeKind.SOURCE), *graph.of(NodeKind.TRANSFORM)):
            name = f"frames of {node.name}"
            nodes[name] = synthetic(NodeKind.SINK, name, self._look_at(node.name), node.name)
        taken = synthetic(NodeKind.SINK, "frames to all sinks", collecting(self._seen.taken.extend), *outlets(graph))
        nodes[taken.name] = taken
        return replace(graph, nodes=nodes)

    def _look_at(self, node: str) -> Callable[[Any, Context], RunSink]:
        is_source = self._cast.graph.nodes[node].kind is NodeKind.SOURCE

        def keep(frames: list[Frame]) -> None:
            at = self._loop.time() - self._seen.begin
            self._seen.frames += [SeenFrame(at=at, node=node, frame=frame, is_source=is_source) for frame in frames]

        return taking(keep)


def _inside(graph: Graph) -> Graph:
    """The graph with its journals in the working folder, without files of TLS, which nobody plays, and of secrets."""
    nodes: dict[str, Node] = {}
    for node in graph.nodes.values():
        changes: dict[str, Any] = {}
        journal, tls = (getattr(node.options, option, None) for option in ("journal", "tls"))
        if isinstance(journal, JournalOptions):
            changes["journal"] = msgspec.structs.replace(journal, path=f"journals/{node.name}")
        if isinstance(tls, TlsOptions):
            changes["tls"] = msgspec.structs.replace(tls, ca_file="", cert_file="", key_file="")
        options = msgspec.structs.replace(node.options, **changes)
        nodes[node.name] = replace(node, options=_without_files(options))
    return replace(graph, nodes=nodes)


def _without_files(value: Any) -> Any:
    """Options whose secrets are known: their files' paths lead elsewhere from the working folder, or are of a plant."""
    if isinstance(value, Secret) and value.in_file:
        with contextlib.suppress(OSError):
            return Secret(value.reveal())
        return Secret("secret")
    if isinstance(value, Options):
        return msgspec.structs.replace(
            value, **{name: _without_files(getattr(value, name)) for name in value.__struct_fields__}
        )
    if isinstance(value, Mapping):
        return {key: _without_files(item) for key, item in value.items()}
    return [_without_files(item) for item in value] if isinstance(value, list) else value


def _require_inside(graph: Graph, folder: Path) -> None:
    for name, key in _files(graph):
        if not Path(key).resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"'{name}' would write to {key}; in its graph write the path with ${{DATA_DIR}}")


def _files(graph: Graph) -> Iterator[tuple[str, str]]:
    """What transforms and staged sinks claim that is a path, by node."""
    staged = [node for node in graph.of(NodeKind.SINK) if node.operator.is_staged]
    for node in (*graph.of(NodeKind.TRANSFORM), *staged):
        scope = Scope(graph=graph.name, node=node.name, layouts=graph.layouts, folder=graph.path.parent)
        for claim in node.operator.claimed(node.options, scope):
            if Path(claim.key).is_absolute():
                yield node.name, claim.key
