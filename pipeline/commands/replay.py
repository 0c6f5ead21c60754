"""`replay x.rec FILE`: runs a graph on a recording; touches nothing outside unless a sink is named."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from reactivex import Observable

from pipeline import log
from pipeline.cli import graph_file
from pipeline.clock import Clock
from pipeline.codecs import CODECS
from pipeline.config import load
from pipeline.errors import PipelineError, UsageError, nearest
from pipeline.frame import Frame
from pipeline.graph import Graph, Node
from pipeline.operator import Context, Emit, NodeKind
from pipeline.process import new_loop, stop_on_signals
from pipeline.recording.format import read
from pipeline.recording.replay import Enough, Take, outlets, play_frames, play_recording, synthetic
from pipeline.runtime import Runtime

__all__ = ["command", "write_expected"]

Play = Callable[[Take], list[str]]
"""Plays to its end; what the user should know."""

_AHEAD = 100
"""Batches that the graph may be ahead of a sink."""
_PATIENCE = 0.1


@click.command(name="replay")
@click.argument("recording", type=click.Path(path_type=Path))
@click.argument("file")
@click.option("--speed", default="max", show_default=True, help="1 as it was, 10 ten times as fast, or max.")
@click.option("--node", "nodes", multiple=True, help="Whose frames; without it those that sinks take.")
@click.option("--sink", help="Give the frames to this sink instead of printing them. It connects for real.")
def command(recording: Path, file: str, speed: str, nodes: tuple[str, ...], sink: str | None) -> None:
    """Run a graph on a recording: its answers as `record` or the flight recorder kept them, or frames as JSON lines.

    The frames bear their original time stamps and go to standard output. No service, PLC or sink is touched; with
    --sink that one alone, and never one that writes into a PLC.

    \b
    Examples:
      pipeline replay line1.rec configs/line1.yaml
      pipeline replay line1.rec configs/line1.yaml --speed 10 --sink broker
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    log.configure(os.environ.get("LOG_LEVEL", "warning"))
    graph = load(graph_file(file), os.environ)
    pace = _speed(speed)
    if sink is not None and nodes:
        raise UsageError("--node chooses what is printed; a sink gets the frames of the nodes that it takes from")
    if sink is not None:
        target = _sink(graph, sink)
        _give(graph, target, _player(graph, recording, list(target.inputs), pace))
        return
    for name in nodes:
        if name not in {node.name for node in (*graph.of(NodeKind.SOURCE), *graph.of(NodeKind.TRANSFORM))}:
            raise UsageError(f"graph '{graph.name}' has no source or transform '{name}'" + _similar(name, graph.nodes))
    for line in _player(graph, recording, list(nodes) or outlets(graph), pace)(_print):
        click.echo(f"warning: {line}", err=True)


def write_expected(graph: Graph, recording: Path, path: Path) -> int:
    """Write the frames that a replay gives, as JSON lines; their number."""
    count = 0
    with path.open("wb") as file:

        def take(frames: list[Frame]) -> None:
            nonlocal count
            count += len(frames)
            file.writelines(CODECS["full"].encode(frame) + b"\n" for frame in frames)

        for line in _player(graph, recording, outlets(graph), math.inf)(take):
            click.echo(f"warning: {line}", err=True)
    return count


def _print(frames: list[Frame]) -> None:
    try:
        sys.stdout.buffer.write(b"".join(CODECS["full"].encode(frame) + b"\n" for frame in frames))
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        # The reader has gone (`| head`). What Python flushes at its end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Enough from error


def _speed(text: str) -> float:
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise UsageError(f"--speed {text}: write max, or how many times as fast: 1, 10, 0.5")
    return speed


def _player(graph: Graph, path: Path, inputs: list[str], speed: float) -> Play:
    """What plays a file: a recording, or frames as JSON lines, which begin with another key."""
    try:
        with path.open("rb") as file:
            is_recording = not file.read(8).startswith((b'{"ts"', b'{"ip"'))
    except OSError as error:
        raise UsageError(f"'{path}' can't be read: {error.strerror or error}") from error
    if not is_recording:
        return lambda take: play_frames(graph, path, take, inputs=inputs, speed=speed)
    recording = read(path)

    def play(take: Take) -> list[str]:
        told = [f"the recording is incomplete: {recording.damage}"] if recording.damage else []
        return [*told, *play_recording(graph, recording, take, inputs=inputs, speed=speed)]

    return play


def _sink(graph: Graph, name: str) -> Node:
    sinks = {node.name: node for node in graph.of(NodeKind.SINK)}
    if name not in sinks:
        have = ", ".join(sinks) or "none"
        raise UsageError(f"graph '{graph.name}' has no enabled sink '{name}'; it has {have}" + _similar(name, sinks))
    if sinks[name].operator.is_copying:
        raise UsageError(f"sink '{name}' writes into a PLC: a replay never does")
    return sinks[name]


def _similar(name: str, allowed: Any) -> str:
    found = nearest(name, allowed)
    return f"; did you mean '{found}'?" if found else ""


def _give(graph: Graph, sink: Node, play: Play) -> None:
    """Run the sink in real time, and the rest of the graph in the time of the recording, on a thread.

    Raises:
        PipelineError: the sink failed for good, or the recording can't be played.
    """
    frames: queue.Queue[list[Frame] | None] = queue.Queue(_AHEAD)
    over = threading.Event()
    failures: list[PipelineError] = []

    def take(batch: list[Frame] | None) -> None:
        while not over.is_set():
            try:
                frames.put(batch, timeout=_PATIENCE)
            except queue.Full:
                continue
            return
        raise Enough

    def body() -> None:
        try:
            for line in play(take):
                click.echo(f"warning: {line}", err=True)
        except PipelineError as error:
            failures.append(error)
        with contextlib.suppress(Enough):
            take(None)

    source = synthetic(NodeKind.SOURCE, "replay", _source(frames), *())
    # Another name gives another client and status topic: the pipeline that runs at the machine is left alone.
    target = replace(sink, inputs=(source.name,))
    given = replace(
        graph, name=f"{graph.name}-replay", http=None, recorder=None, nodes={source.name: source, target.name: target}
    )
    thread = threading.Thread(target=body, name="replay")
    thread.start()
    try:
        with asyncio.Runner(loop_factory=new_loop()) as runner:
            runner.run(_run(given))
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]


async def _run(graph: Graph) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    stop_on_signals(loop, stop)
    await Runtime(graph, Clock(loop)).run(stop)


def _source(frames: queue.Queue[list[Frame] | None]) -> Callable[[Any, Context], Observable[Frame]]:
    """The factory of a source that gives what the queue holds, as fast as the sink permits."""

    def get() -> list[Frame] | None:
        try:
            return frames.get(timeout=_PATIENCE)
        except queue.Empty:
            return []

    def build(_: Any, context: Context) -> Observable[Frame]:
        async def run(emit: Emit) -> None:
            while (batch := await context.blocking(get)) is not None:
                for frame in batch:
                    emit(frame)
                while context.paused:  # noqa: ASYNC110 - a flag of the engine's, which tells nobody when it changes
                    await asyncio.sleep(_PATIENCE)

        return context.observable(run)

    return build
