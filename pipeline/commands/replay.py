"""`replay x.rec FILE`: runs a graph on a recording; touches nothing outside unless a sink is named."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import queue
import sys
import threading
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from reactivex import Observable

from pipeline import log
from pipeline.cli import graph_file
from pipeline.clock import Clock
from pipeline.codecs import CODECS
from pipeline.config import load
from pipeline.errors import PartFailed, PipelineError, UsageError, nearest
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
_WAITING = 5000
"""Frames that may wait for a sink's receiver before the graph waits too."""
_PATIENCE = 0.1
_HEAD = 64
"""Bytes by which a file tells what it is."""
_SOON = 2.0


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
            is_recording = not file.read(_HEAD).removeprefix(BOM_UTF8).lstrip().startswith((b'{"ts"', b'{"ip"'))
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
        PipelineError: the sink failed for good, has not got all, or the recording can't be played.
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
        finally:
            with contextlib.suppress(Enough):
                take(None)

    # Another name gives another client and status topic: the pipeline that runs at the machine is left alone.
    given = replace(graph, name=f"{graph.name}-replay", http=None, recorder=None)
    thread = threading.Thread(target=body, name="replay")
    thread.start()
    try:
        with asyncio.Runner(loop_factory=new_loop()) as runner:
            runner.run(_Delivered(sink, frames).run(given))
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]


class _Delivered:
    """One run of a sink on what a queue holds, until its receiver has all of it."""

    def __init__(self, sink: Node, frames: queue.Queue[list[Frame] | None]) -> None:
        self._name = sink.name
        self._queue = frames
        source = synthetic(NodeKind.SOURCE, "replay", self._source)
        self._nodes = {source.name: source, sink.name: replace(sink, inputs=(source.name,))}
        self._played = False

    async def run(self, graph: Graph) -> None:
        """Run to the end, or until a signal.

        Raises:
            PipelineError: the sink failed for good, or has not got all.
        """
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        stop_on_signals(loop, stop)
        self._runtime = runtime = Runtime(replace(graph, nodes=self._nodes), Clock(loop))
        await runtime.run(stop)
        lacks = [] if self._played else ["the recording was not played to its end"]
        if count := runtime.waiting(self._name):
            lacks.append(f"{count} frames wait{self._where()}; the next replay into it sends them first")
        if drops := runtime.actors[self._name].drops:
            lacks.append("given up: " + ", ".join(f"{count} ({reason})" for reason, count in drops.items()))
        if lacks:
            raise PartFailed(f"sink '{self._name}' has not got all: {'; '.join(lacks)}")

    def _where(self) -> str:
        letters = self._runtime.letters.get(self._name)
        return f" in '{letters.folder}'" if letters is not None else ""

    def _source(self, _: Any, context: Context) -> Observable[Frame]:
        """A source that gives what the queue holds, as fast as the sink's receiver takes it."""

        def get() -> list[Frame] | None:
            try:
                return self._queue.get(timeout=_PATIENCE)
            except queue.Empty:
                return []

        async def run(emit: Emit) -> None:
            waiting, actor = partial(self._runtime.waiting, self._name), self._runtime.actors[self._name]
            while (batch := await context.blocking(get)) is not None:
                for frame in batch:
                    emit(frame)
                while context.paused or waiting() > _WAITING:  # noqa: ASYNC110 - flags, which tell nobody
                    await asyncio.sleep(_PATIENCE)
            self._played = True
            tell = asyncio.get_running_loop().time() + _SOON
            while count := waiting():
                if tell <= asyncio.get_running_loop().time():
                    tell = math.inf
                    reason = f" ({actor.reason})" if actor.reason else ""
                    click.echo(f"{count} frames still wait for sink '{self._name}'{reason}; Ctrl-C ends", err=True)
                await asyncio.sleep(_PATIENCE)

        return context.observable(run)
