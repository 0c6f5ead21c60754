"""Runs a graph on a recording: sources and transforms as ever, in virtual time, their devices played from tapes.

Nothing outside is touched: no service and no sink starts, and every connection ends at a tape.
"""

from __future__ import annotations

import asyncio
import math
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from pipeline.actor import Mailbox
from pipeline.clock import Clock, VirtualLoop
from pipeline.codecs import decode
from pipeline.errors import ReadError, UsageError
from pipeline.frame import Frame, Origin
from pipeline.graph import Graph, Node
from pipeline.operator import Context, Emit, NodeKind, Operator, Options, RunSink
from pipeline.recording.format import Record, Recording
from pipeline.recording.tape import Tape, WallClock
from pipeline.retry import Retry
from pipeline.runtime import Runtime
from pipeline.units import Duration

__all__ = [
    "Enough",
    "TapeLoop",
    "collecting",
    "outlets",
    "play_frames",
    "play_recording",
    "playable",
    "synthetic",
    "taking",
    "tell",
]

Take = Callable[[list[Frame]], None]

_AT_ONCE = Retry(initial=Duration(0.01), max=Duration(0.01), jitter=0)
"""A source's pause between attempts: how long an attempt takes is the tape's affair."""


class Enough(Exception):
    """Raised by who takes the frames: it wants no more, the replay ends."""


class _NoOptions(Options):
    """Options of a node that no file declares."""


class TapeLoop(VirtualLoop):
    """A virtual loop on which an actor's connection ends at its tape. The actor is known by the name of its task."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self.speed = speed
        self.tapes: dict[str, Tape] = {}
        self.staged: set[tuple[str, int]] = set()
        """Addresses where connections end at who listens there, as on any virtual loop."""

    def load(self, graph: Graph, recording: Recording) -> WallClock:
        """Put a tape behind each recorded actor of the graph, and go to where the recording begins; its wall clock."""
        records = list(_apart(recording.records))
        actors = {record.actor for record in records}
        self.advance(recording.header.begin)
        wall = WallClock(self, recording.header.started + recording.header.begin)
        for node in graph.of(NodeKind.SOURCE):
            for actor in sorted(actor for actor in actors if actor.partition("/")[0] == node.name):
                tape = Tape((record for record in records if record.actor == actor), self, wall)
                self.tapes[actor] = tape
                self._servers[actor, 0] = node.operator.player(node.options, tape)
        return wall

    async def create_connection(self, protocol_factory: Any, host: str, port: int, **_: Any) -> Any:  # type: ignore[override]
        """Connect when the recorded source was connected; fail as it failed."""
        task = asyncio.current_task()
        actor = task.get_name() if task else ""
        tape = self.tapes.get(actor)
        if tape is None and (host, port) in self.staged:
            return await super().create_connection(protocol_factory, host, port)
        if tape is None:
            await asyncio.sleep(1.0)
            raise ReadError("not in the recording", f"nothing from {host}:{port} is in it")
        await tape.admit()
        transport, protocol = await super().create_connection(protocol_factory, actor, 0)
        tape.connected(transport.hang_up)
        return transport, protocol


def play_recording(
    graph: Graph, recording: Recording, take: Take, *, inputs: Iterable[str], speed: float = math.inf
) -> list[str]:
    """Run a graph on the answers of a recording.

    Args:
        graph: the graph; its sources must be those of the recording.
        recording: what was recorded.
        take: gets the frames, those of one loop turn at once.
        inputs: the nodes whose frames it gets.
        speed: recorded seconds in a real one.

    Returns:
        What the user should know: what the recording doesn't have, what the graph didn't ask for.

    Raises:
        UsageError: the recording is of other sources.
    """
    graph, told = playable(graph, recording)
    loop = TapeLoop(speed)
    wall = loop.load(graph, recording)
    _run(loop, wall, graph, take, inputs=inputs, end=recording.end)
    return [*told, *tell(loop, recording)]


def tell(loop: TapeLoop, recording: Recording) -> list[str]:
    """What the recording didn't have, and what was not asked for."""
    told: list[str] = []
    left = sum(tape.left for tape in loop.tapes.values())
    unknown = sum(len(tape.unknown) for tape in loop.tapes.values())
    if unknown:
        told.append(f"{unknown} requests of this graph are not in the recording: it read something else")
    if left and loop.time() >= recording.end:
        told.append(f"{left} recorded answers were not asked for: it read something else, or at other times")
    return told


def playable(graph: Graph, recording: Recording) -> tuple[Graph, list[str]]:
    """The graph's recorded sources and its transforms, and what is left out, in words.

    Raises:
        UsageError: the recording is of other sources, or damaged from its beginning on.
    """
    recorded = {record.actor.partition("/")[0] for record in recording.records}
    if recording.damage and not recorded:
        raise UsageError(f"nothing of the recording can be read: {recording.damage}; take another, or record anew")
    return _playable(graph, recorded & set(recording.header.sources))


def play_frames(graph: Graph, path: Path, take: Take, *, inputs: Iterable[str], speed: float = math.inf) -> list[str]:
    """Run a graph's transforms on recorded frames, JSON lines as `record --frames` writes them; else the same.

    Raises:
        UsageError: a line is no frame, or nobody knows from which source it came.
    """
    frames = _frames(path, [node.name for node in graph.of(NodeKind.SOURCE)])
    begin = min((found[0].ts for found in frames.values()), default=0.0)
    nodes = {
        node.name: synthetic(NodeKind.SOURCE, node.name, _emitting(frames[node.name], begin))
        if node.name in frames
        else node
        for node in graph.nodes.values()
    }
    graph, told = _playable(replace(graph, nodes=nodes), set(frames))
    loop = TapeLoop(speed)
    _run(loop, WallClock(loop, begin), graph, take, inputs=inputs, end=math.inf)
    return told


def outlets(graph: Graph) -> list[str]:
    """The nodes whose frames sinks take, or without sinks those that nobody takes from, in data order."""
    givers = [giver.name for giver, taker in graph.edges() if taker.kind is NodeKind.SINK]
    taken = {giver.name for giver, _ in graph.edges()}
    return [
        node.name
        for node in (*graph.of(NodeKind.SOURCE), *graph.of(NodeKind.TRANSFORM))
        if (node.name in givers if givers else node.name not in taken)
    ]


def synthetic(kind: NodeKind, name: str, build: Callable[[Any, Context], Any], *inputs: str) -> Node:
    """A node that no file declares."""
    options = _NoOptions()
    operator: Operator[Any] = Operator(kind=kind, name="replay", options=_NoOptions, build=build)
    return Node(name=name, kind=kind, operator=operator, options=options, inputs=inputs)


def taking(take: Take) -> Callable[[Any, Context], RunSink]:
    """The factory of a sink that hands on what it gets, until whoever takes it has enough."""

    def build(_: Any, context: Context) -> RunSink:
        def hand_on(frames: list[Frame]) -> None:
            try:
                take(frames)
            except Enough:
                context.stop()

        async def run(mailbox: Mailbox) -> None:
            await mailbox.consume(hand_on)

        return run

    return build


def collecting(take: Take) -> Callable[[Any, Context], RunSink]:
    """The same, with each frame once, however many of its inputs bring it."""
    return taking(lambda frames: take(list(dict.fromkeys(frames))))


def _apart(records: Iterable[Record]) -> Iterator[Record]:
    """The records, each later than the one before it: a loop keeps the order of timers only when their times differ."""
    last = -math.inf
    for record in records:
        last = max(record.at, math.nextafter(last, math.inf))
        yield record if record.at == last else msgspec.structs.replace(record, at=last)


def _playable(graph: Graph, recorded: set[str]) -> tuple[Graph, list[str]]:
    """The graph's recorded sources and its transforms, and what is left out."""
    sources = [node.name for node in graph.of(NodeKind.SOURCE)]
    playable = [node for node in graph.of(NodeKind.SOURCE) if node.name in recorded]
    if not playable:
        have = ", ".join(sorted(recorded)) or "nothing"
        raise UsageError(
            f"the recording is of {have}, the graph's sources are {', '.join(sources)}: "
            "replay it with the graph that it was made with"
        )
    told = [f"source '{name}' is not in the recording" for name in sources if name not in recorded]
    nodes: dict[str, Node] = {}
    for node in playable:
        fields = msgspec.structs.fields(type(node.options))
        retries = {field.name: _AT_ONCE for field in fields if isinstance(getattr(node.options, field.name), Retry)}
        nodes[node.name] = replace(node, options=msgspec.structs.replace(node.options, **retries))
    for node in graph.of(NodeKind.TRANSFORM):
        inputs = tuple(name for name in node.inputs if name in nodes)
        if inputs:
            # What a running graph remembers in a file is neither used nor touched.
            changes = {"state": ""} if hasattr(node.options, "state") else {}
            nodes[node.name] = replace(node, inputs=inputs, options=msgspec.structs.replace(node.options, **changes))
    return replace(graph, http=None, recorder=None, nodes=nodes), told


def _run(loop: TapeLoop, wall: WallClock, graph: Graph, take: Take, *, inputs: Iterable[str], end: float) -> None:
    reached = [name for name in inputs if name in graph.nodes]
    sink = synthetic(NodeKind.SINK, "replay", collecting(take), *reached)
    graph = replace(graph, nodes={**graph.nodes, sink.name: sink})

    async def main() -> None:
        stop = asyncio.Event()
        if end < math.inf:
            loop.call_at(math.nextafter(end, math.inf), stop.set)
        await Runtime(graph, Clock(loop, wall, loop.time)).run(stop)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


def _frames(path: Path, sources: list[str]) -> Mapping[str, list[Frame]]:
    found: dict[str, list[Frame]] = {}
    origins: dict[object, Origin] = {}
    for number, line in enumerate(path.read_bytes().removeprefix(BOM_UTF8).splitlines(), 1):
        if not line.strip():
            continue
        try:
            node, frame = decode(line, origins)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"{path}:{number}: not a frame: {error}; give a recording, or what the sink `file` writes"
            ) from error
        if not node and len(sources) != 1:
            raise UsageError(
                f"{path}:{number}: of which source? The graph has {', '.join(sources)}; `record --frames` tells it"
            )
        found.setdefault(node or sources[0], []).append(frame)
    return found


def _emitting(frames: list[Frame], begin: float) -> Callable[[Any, Context], Any]:
    def build(_: Any, context: Context) -> Any:
        async def run(emit: Emit) -> None:
            loop = context.clock.loop
            for frame in frames:
                await asyncio.sleep(max(0.0, frame.ts - begin - loop.time()))
                emit(frame)

        return context.observable(run)

    return build
