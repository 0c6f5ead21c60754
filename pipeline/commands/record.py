"""`record FILE -o x.rec`: keeps what the PLCs of a graph answer, for `replay`; nothing is published."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline import log
from pipeline.actor import Mailbox
from pipeline.cli import graph_file
from pipeline.clock import Clock
from pipeline.codecs import CODECS
from pipeline.commands.replay import write_expected
from pipeline.config import load
from pipeline.errors import PartFailed, UsageError
from pipeline.graph import Graph
from pipeline.operator import Context, NodeKind, RunSink
from pipeline.process import new_loop, stop_on_signals
from pipeline.recording.format import read
from pipeline.recording.recorder import FileRecorder
from pipeline.recording.replay import playable, synthetic
from pipeline.runtime import Runtime
from pipeline.testing.recorded import Asked, without_secrets, write_test
from pipeline.units import Duration

__all__ = ["command", "record"]


@click.command(name="record")
@click.argument("file")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The recording; it must not be there yet.")
@click.option("--for", "span", metavar="DURATION", help="How long, such as 10m; without it until Ctrl-C.")
@click.option("--frames", type=click.Path(path_type=Path), help="The sources' frames too, JSON lines, in a new file.")
@click.option(
    "--as-test",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the recording, its graph, the frames that it gives and a test of them into a new folder.",
)
@click.option(
    "--from",
    "recording",
    type=click.Path(path_type=Path),
    metavar="X.REC",
    help="With --as-test: make the test of this recording, also one of the flight recorder; nothing is connected to.",
)
def command(
    *,
    file: str,
    output: Path | None,
    span: str | None,
    frames: Path | None,
    as_test: Path | None,
    recording: Path | None,
) -> None:
    """Record what the PLCs of a graph answer, as it comes. Services and sources run, transforms and sinks don't.

    Each PLC needs a free connection: a pipeline that runs already has its own. Only sources of type s7 can be recorded:
    of s7plus and mqtt nothing is kept.

    \b
    Examples:
      pipeline record configs/line1.yaml -o line1.rec --for 10m
      pipeline record configs/demo.yaml --as-test tests/recordings/demo --for 30s
      pipeline record configs/line1.yaml --as-test tests/stop --from line1-20261122T101500.000Z.rec
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    log.configure(os.environ.get("LOG_LEVEL", "warning"))
    try:
        seconds = Duration.parse(span) if span else math.inf
    except ValueError as error:
        raise UsageError(f"--for: {error}") from error
    if recording is not None and (as_test is None or output is not None or span or frames is not None):
        raise UsageError("--from makes a test of a recording that is there: give it --as-test DIR and nothing else")
    path = graph_file(file)
    asked = Asked(os.environ)
    graph = load(path, asked)
    if as_test is not None:
        if output is not None:
            raise UsageError("--as-test names the recording itself: leave -o out")
        _make_test(graph, as_test, environment=asked.found, recording=recording, seconds=seconds, frames=frames)
        return
    if output is None:
        raise UsageError(f"where to? Name the recording: -o {graph.name}.rec")
    answers = record(graph, output, seconds, frames)
    click.echo(f"{output}: {answers} answers", err=True)


def _make_test(
    graph: Graph,
    folder: Path,
    *,
    environment: Mapping[str, str],
    recording: Path | None,
    seconds: float,
    frames: Path | None,
) -> None:
    """Record, or take what was recorded, and write the test of it."""
    text, hidden = without_secrets(graph)
    answers = folder / "answers.rec"
    if frames is not None and frames.resolve().parent == folder.resolve():
        raise UsageError(f"'{folder}' gets the frames that are expected by itself: leave --frames out")
    if recording is not None:
        playable(graph, read(recording))
    for name in ("graph.test.yaml", "graph.yaml"):
        if (folder / name).exists():
            raise UsageError(f"'{folder / name}' is there already, and is not written over; name another folder")
    if answers.exists() and not (recording and recording.samefile(answers)):
        raise UsageError(
            f"'{answers}' is there already; a recording is never written over: name another folder, "
            f"or make the test of it: --as-test {folder} --from {answers}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if recording is None:
            click.echo(f"{answers}: {record(graph, answers, seconds, frames)} answers", err=True)
        elif not answers.exists():
            shutil.copyfile(recording, answers)
        (folder / "graph.yaml").write_text(text, encoding="utf-8")
        count = write_expected(graph, answers, folder / "frames.jsonl")
        write_test(folder / "graph.test.yaml", environment, answers.name, "frames.jsonl")
    except OSError as error:
        raise UsageError(f"'{folder}' can't be written: {error.strerror or error}") from error
    if hidden:
        lines = ", ".join(map(str, hidden))
        click.echo(f"{folder / 'graph.yaml'}: no secret of the graph is in it; changed: line {lines}", err=True)
    click.echo(f"{count} frames are expected of it; next: pipeline test {folder}", err=True)


def record(graph: Graph, output: Path, seconds: float = math.inf, frames: Path | None = None) -> int:
    """Record until a signal, or for so long; the number of answers.

    Raises:
        UsageError: a file is there already, or the graph has no source that can be recorded.
        PipelineError: a part failed for good, the file can't be written, or nothing came.
    """
    if output.exists():
        raise UsageError(f"'{output}' is there already; a recording is never written over")
    if frames is not None:
        _check_new(frames, output)
    sources = graph.of(NodeKind.SOURCE)
    if not any(node.operator.is_playable for node in sources):
        types = ", ".join(dict.fromkeys(node.operator.name for node in sources)) or "none"
        raise UsageError(f"graph '{graph.name}' has no source whose answers can be recorded (its types: {types})")
    nodes = {node.name: node for node in (*graph.of(NodeKind.SERVICE), *sources)}
    if frames is not None:
        for source in sources:
            name = f"frames of {source.name}"
            nodes[name] = synthetic(NodeKind.SINK, name, _lines(frames, source.name), source.name)
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        answers = runner.run(_record(replace(graph, http=None, nodes=nodes), output, seconds))
    if not output.exists():
        raise PartFailed(f"nothing came in that time, so there is no '{output}'; record for longer")
    return answers


def _check_new(frames: Path, output: Path) -> None:
    """Make sure, before anything starts, that the file of the frames is a new one and can be made."""
    if frames.resolve() == output.resolve():
        raise UsageError(f"-o and --frames both name '{output}'; give each a file of its own")
    try:
        with frames.open("xb"):
            frames.unlink()
    except FileExistsError as error:
        raise UsageError(f"'{frames}' is there already, and is not written over; name another file") from error
    except OSError as error:
        raise UsageError(f"'{frames}' can't be written: {error.strerror}; name a file that can be") from error


async def _record(graph: Graph, output: Path, seconds: float) -> int:
    loop = asyncio.get_running_loop()
    runtime = Runtime(graph, Clock(loop))
    recorder = runtime.recorder = FileRecorder(graph, runtime.clock, output)
    stop, over = asyncio.Event(), asyncio.Event()
    stop_on_signals(loop, stop)
    if seconds < math.inf:
        loop.call_later(seconds, stop.set)
    writing = loop.create_task(recorder.run(runtime.boot, over))
    writing.add_done_callback(lambda _: stop.set())
    try:
        await runtime.run(stop)
    finally:
        over.set()
        await writing
    return recorder.answers


def _lines(path: Path, node: str) -> Callable[[Any, Context], RunSink]:
    """The factory of a sink that appends the frames of one node to a file, as JSON lines that name the node."""
    tail = b"," + msgspec.json.encode({"node": node})[1:] + b"\n"
    encode = CODECS["full"].encode

    def append(lines: list[bytes]) -> None:
        with path.open("ab") as file:
            file.write(b"".join(lines))

    def build(_: Any, context: Context) -> RunSink:
        async def run(mailbox: Mailbox) -> None:
            async for frames in mailbox.batches():
                try:
                    await context.blocking(append, [encode(frame)[:-1] + tail for frame in frames])
                except OSError as error:
                    raise PartFailed(f"'{path}' can't be written: {error.strerror or error}") from error

        return run

    return build
