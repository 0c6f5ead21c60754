"""Who plays what in a test: the stages of a graph, by the names that a test file has for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pipeline.errors import Finding, UsageError, nearest
from pipeline.frame import Frame, Kind, Origin
from pipeline.graph import Graph, Node
from pipeline.operator import Context, Emit, NodeKind, Scope
from pipeline.recording.format import Recording, read
from pipeline.recording.replay import playable
from pipeline.testing.load import Job
from pipeline.testing.options import Case, Fault, Given
from pipeline.testing.stage import Stage
from pipeline.units import Duration

__all__ = ["Cast", "FrameStage", "check_job"]

_ROUNDED = 0.1
"""Seconds by which a moment may be after the end of a recording."""


class _Feed:
    """Stands in for a source whose devices nobody can play."""

    def __init__(self) -> None:
        self._early: list[Frame] = []
        self.emit: Emit = self._early.append
        self.wall: Callable[[], float] = lambda: 0.0

    def build(self, _: Any, context: Context) -> Any:
        """The source's factory."""
        self.wall = context.clock.wall

        async def run(emit: Emit) -> None:
            self.emit = emit
            for frame in self._early:
                emit(frame)
            await asyncio.Future()

        return context.observable(run)


class FrameStage(Stage):
    """One device that nobody can play: each entry of the test is a frame."""

    takes = frozenset({"values"})
    faults = frozenset({Fault.AWAY, Fault.TIMEOUT})

    def __init__(self, feed: _Feed, origins: Sequence[Origin], node: str, part: str) -> None:
        """Make one.

        Args:
            feed: what stands in for the source.
            origins: of its frames; at least one.
            node: the source.
            part: the device.
        """
        super().__init__(f"{node}/{part}", 0, part)
        self._feed = feed
        self._origins = origins

    def join(self, other: Stage) -> None:
        """Nobody shares it."""

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing to listen to."""

    def check(self, given: Given) -> Iterator[Finding]:
        """A block that the source does not have, values that are none."""
        for name, value in given.values.items():
            if not isinstance(value, bool | int | float | str):
                message, hint = "must be a single value", "names are flat: machines_0_parts"
                yield Finding(path=("values", name), message=message, hint=hint)
        blocks = [origin.db for origin in self._origins]
        if given.db is not None and given.db not in blocks:
            known = ", ".join(str(block) for block in blocks if block is not None)
            yield Finding(path=("db",), message=f"no frame has db {given.db}", hint=f"there are: {known or 'none'}")

    def give(self, given: Given) -> None:
        """A frame with these values."""
        self._feed.emit(Frame(Kind.DATA, self._now(), self._origin(given), dict(given.values)))

    async def fail(self, given: Given, *, on: bool) -> None:
        """A failure of each block when it begins; nothing when it is over."""
        error = "timeout" if given.fault is Fault.TIMEOUT else "connection refused"
        for origin in (self._origins if given.db is None else [self._origin(given)]) if on else ():
            self._feed.emit(Frame.failure(origin, self._now(), error))

    def _now(self) -> float:
        return round(self._feed.wall(), 3)

    def _origin(self, given: Given) -> Origin:
        return next((origin for origin in self._origins if origin.db == given.db), self._origins[0])


class Cast:
    """The stages of one test.

    Attributes:
        stages: each once.
        recording: what plays PLCs, None where the test scripts them.
        graph: what runs: without services, page and recorder.
    """

    def __init__(self, job: Job) -> None:
        """Make the stages; nothing is opened.

        Raises:
            UsageError: the recording can't be read, or is of other sources.
        """
        self.stages: list[Stage] = []
        self.recording: Recording | None = None
        self._names: dict[str, list[Stage]] = {}
        self._of: dict[str, list[Stage]] = {}
        graph = job.graph
        recorded: set[str] = set()
        if job.case.recording:
            self.recording = read(job.path.parent / job.case.recording)
            played, _ = playable(graph, self.recording)
            recorded = {node.name for node in played.of(NodeKind.SOURCE)}
            graph = replace(graph, nodes={**graph.nodes, **played.nodes})
        nodes = {node.name: node for node in graph.running() if node.kind is not NodeKind.SERVICE}
        for node in nodes.values():
            if node.name not in recorded:
                nodes[node.name] = self._enter(graph, node)
        self.graph = replace(graph, http=None, recorder=None, nodes=nodes)

    def _enter(self, graph: Graph, node: Node) -> Node:
        """Put a node's stages up; the node, or what runs in its place."""
        scope = Scope(graph=graph.name, node=node.name, layouts=graph.layouts, folder=graph.path.parent)
        if node.operator.is_staged:
            for stage in node.operator.staged(node.options, scope):
                self._add(node.name, stage)
        elif node.kind is NodeKind.SOURCE:
            feed = _Feed()
            origins = node.operator.known_origins(node.options, scope) or (Origin(measurement=node.name),)
            for part in dict.fromkeys(origin.plc_id or origin.ip for origin in origins):
                mine = [origin for origin in origins if (origin.plc_id or origin.ip) == part]
                self._add(node.name, FrameStage(feed, mine, node.name, part))
            return replace(node, operator=replace(node.operator, build=feed.build))
        return node

    def _add(self, node: str, stage: Stage) -> None:
        known = next((old for old in self.stages if (old.host, old.port) == (stage.host, stage.port)), None)
        if known is None:
            self.stages.append(stage)
        elif type(known) is not type(stage):
            message = f"'{node}' connects to {stage.host}:{stage.port}, where another kind of receiver is in this test"
            raise UsageError(f"{message}: give it another address by `environment`")
        else:
            known.join(stage)
        one = known or stage
        for name in dict.fromkeys((node, f"{node}/{stage.part}", stage.part) if stage.part else (node,)):
            mine = self._names.setdefault(name, [])
            if one not in mine:
                mine.append(one)
        self._of.setdefault(node, []).append(one)

    def of(self, node: str) -> list[Stage]:
        """The stages of a node; all for ""."""
        return self._of.get(node, []) if node else self.stages

    def stage(self, given: Given) -> Stage:
        """Whom an entry means that `find` has found."""
        found = self.find(given)
        if isinstance(found, Finding):
            raise UsageError(found.message)
        return found

    def find(self, given: Given) -> Stage | Finding:
        """Whom an entry means, or why nobody."""
        what = given.fault or next((name for name in ("values", "bytes", "cpu", "topic") if getattr(given, name)), "")
        names = self._names
        if not given.node:
            sources = [stage for node in self.graph.of(NodeKind.SOURCE) for stage in self.of(node.name)]
            able = [
                stage
                for stage in (self.stages if given.fault else dict.fromkeys(sources))
                if what in stage.takes | stage.faults
            ]
            if len(able) == 1:
                return able[0]
            return Finding(path=(), message="which node is meant?", hint=f"node: one of {', '.join(names) or 'none'}")
        found = names.get(given.node, [])
        if not found:
            likely = nearest(given.node, names)
            hint = f"did you mean '{likely}'?" if likely else f"there are: {', '.join(names) or 'none'}"
            return Finding(path=("node",), message=f"'{given.node}' is nothing that a test plays", hint=hint)
        if len(found) > 1:
            parts = [name for name in names if name.startswith(f"{given.node}/")]
            return Finding(
                path=("node",), message=f"'{given.node}' is several devices", hint=f"say which: {', '.join(parts)}"
            )
        able_to = {*found[0].takes, *found[0].faults}
        if what not in able_to:
            path = ("fault",) if given.fault else (str(what),)
            hint = f"it has {', '.join(sorted(able_to))}"
            return Finding(path=path, message=f"'{given.node}' has no {what}", hint=hint)
        return found[0]

    @property
    def actors(self) -> set[str]:
        """Names of nodes and of their parts."""
        return {*self.graph.nodes, *self._names, *self._recorded}

    @property
    def givers(self) -> list[str]:
        """Names of nodes, and of the parts of sources."""
        stages = [(node.name, stage) for node in self.graph.of(NodeKind.SOURCE) for stage in self.of(node.name)]
        parts = [f"{node}/{stage.part}" for node, stage in stages if stage.part] + self._recorded
        return list(dict.fromkeys((*self.graph.nodes, *parts, *(part.partition("/")[2] or part for part in parts))))

    @property
    def _recorded(self) -> list[str]:
        return list(dict.fromkeys(record.actor for record in self.recording.records)) if self.recording else []


def check_job(job: Job) -> Iterator[Finding]:
    """What in a case does not fit its graph."""
    try:
        cast = Cast(job)
    except UsageError as error:
        yield Finding(path=("recording",) if job.case.recording else (), message=str(error))
        return
    for index, given in enumerate(job.case.given):
        stage = cast.find(given)
        for finding in [stage] if isinstance(stage, Finding) else stage.check(given):
            yield replace(finding, path=("given", index, *finding.path))
    yield from _check_expected(job, cast)
    yield from _check_moments(job.case, cast.recording)


def _check_moments(case: Case, recording: Recording | None) -> Iterator[Finding]:
    """What is to happen, or is expected, when the test is over."""
    if case.for_ is not None:
        end, hint = case.for_, "make `for` longer, or leave it out"
    elif recording is not None:
        end = Duration(recording.end - recording.header.begin + _ROUNDED)
        hint = "the test ends with its recording, or as `for` says"
    else:
        return
    for path, at in case.named():
        if at > end:
            yield Finding(path=path, message=f"is {at}, when the test is over: it takes {end}", hint=hint)


def _check_expected(job: Job, cast: Cast) -> Iterator[Finding]:
    """Nodes that are not there."""
    sinks = [node.name for node in cast.graph.of(NodeKind.SINK) if cast.of(node.name)]
    known: tuple[tuple[str, Iterable[str]], ...] = (
        ("frames", cast.givers),
        ("published", sinks),
        ("writes", sinks),
        ("states", sorted(cast.actors)),
    )
    for section, names in known:
        for index, expected in enumerate(getattr(job.case.expect, section)):
            if expected.node and expected.node not in names:
                likely = nearest(expected.node, names)
                hint = f"did you mean '{likely}'?" if likely else f"there are: {', '.join(names) or 'none'}"
                message = f"'{expected.node}' is no node of which a test sees {section}"
                yield Finding(path=("expect", section, index, "node"), message=message, hint=hint)
