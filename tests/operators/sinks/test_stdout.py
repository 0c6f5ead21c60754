"""Standard output: lines for programs, a table for people, and readers that are slow or gone."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from operators.sinks.stdout import Format, Stdout, stdout
from pipeline.actor import Mailbox, State
from pipeline.errors import PartFailed, PipelineError
from pipeline.frame import Frame
from pipeline.operator import Context, NodeKind, Overflow
from tests.parts.engine import data, make_context, origin
from tests.parts.line import ROOT
from tests.parts.stream import mistakes
from tests.parts.waiting import eventually

PRESS = origin("press1", units={"AI_Corrente": "A"})


@dataclass
class Pipe:
    """A pipe whose writing end is the process's standard output."""

    reader: int
    writer: Any

    def read(self) -> bytes:
        """All that was written, once the writing end is closed."""
        self.writer.close()
        with os.fdopen(self.reader, "rb") as reader:
            return reader.read()


def put_in_place(monkeypatch: pytest.MonkeyPatch, stream: Any) -> None:
    """Make this the sink's standard output, and leave the log and pytest theirs."""
    seen = SimpleNamespace(stdout=stream, platform=sys.platform)
    monkeypatch.setattr(sys.modules[Stdout.__module__], "sys", seen)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    """Standard output as a pipe."""
    reader, writer = os.pipe()
    opened = os.fdopen(writer, "wb")
    put_in_place(monkeypatch, opened)
    yield Pipe(reader, opened)
    opened.close()


def run(script: Callable[[Mailbox, Context], Any], capacity: int = 10_000, **options: Any) -> Context:
    """A running sink on a real loop, since its pipes are real; after the script its mailbox is closed."""

    async def main() -> Context:
        loop = asyncio.get_running_loop()
        context = make_context(loop)
        stops: list[int] = []
        context.stop = lambda: stops.append(1)
        context.details = lambda: {"stops": len(stops)}
        mailbox = Mailbox(loop, capacity, Overflow.DROP_OLDEST, context.actor.drop)
        task = loop.create_task(stdout.build(Stdout(**options), context)(mailbox))
        await script(mailbox, context)
        mailbox.close()
        await task
        return context

    return asyncio.run(main())


def putting(*frames: Frame) -> Callable[[Mailbox, Context], Any]:
    """A script that puts these frames."""

    async def script(mailbox: Mailbox, _: Context) -> None:
        for frame in frames:
            mailbox.put(frame)

    return script


def test_each_frame_is_a_line_of_json(pipe):
    """In order, complete, of every kind."""
    frames = [
        data(PRESS, n=1).replace(bad={"x": "refused"}),
        Frame.heartbeat(PRESS, 2.0),
        Frame.failure(PRESS, 3.0, "timeout"),
    ]
    run(putting(*frames), format=Format.AUTO)
    lines = [json.loads(line) for line in pipe.read().splitlines()]
    assert [line["values"] for line in lines] == [frame.values for frame in frames]
    assert (lines[0]["bad"], lines[0]["plc_id"], lines[2]["error"]) == ({"x": "refused"}, "press1", "timeout")


def test_a_reader_that_stands_still_delays_neither_the_loop_nor_the_end(pipe):
    """The sink says so, the mailbox drops its oldest; at the end the sink counts its own, the engine the other ten."""

    async def script(mailbox: Mailbox, context: Context) -> None:
        mailbox.put(data(PRESS, text="x" * 100_000))
        await eventually(lambda: context.actor.state is State.DEGRADED)
        for n in range(15):
            mailbox.put(data(PRESS, n=n))

    context = run(script, capacity=10)
    assert context.actor.drops == {"mailbox_full": 5, "stopped": 1}
    written = pipe.read()
    assert written.startswith(b'{"ts":')
    assert b"\n" not in written


def test_a_slow_reader_gets_all_in_the_end(pipe):
    """Degraded while it stands still, running again when it reads; nothing is lost, no line is torn."""
    got = bytearray()

    def read() -> None:
        while got.count(b"\n") < 5000:
            got.extend(os.read(pipe.reader, 65536))

    async def script(mailbox: Mailbox, context: Context) -> None:
        for n in range(5000):
            mailbox.put(data(PRESS, n=n))
        await eventually(lambda: context.actor.state is State.DEGRADED)
        await context.blocking(read)

    context = run(script)
    assert [json.loads(line)["values"]["n"] for line in got.splitlines()] == list(range(5000))
    assert (context.actor.state, context.actor.drops) == (State.RUNNING, {})


def test_a_reader_that_has_gone_ends_the_graph(pipe):
    """Not an error: the graph is asked to stop, once, and what could not be written is counted."""
    os.close(pipe.reader)
    context = run(putting(*[data(PRESS, n=n) for n in range(3)]))
    assert context.details() == {"stops": 1}
    assert context.actor.drops == {"reader_gone": 3}


def test_a_full_disk_behind_it_is_said_without_a_stack_trace(monkeypatch):
    """The supervisor backs off and tries again."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("wb", buffering=0) as full:
        put_in_place(monkeypatch, full)
        with pytest.raises(PipelineError, match="standard output can't be written: No space left"):
            run(putting(data(PRESS)))


def test_without_standard_output_the_graph_ends(monkeypatch):
    """As a service without a console has it."""
    put_in_place(monkeypatch, None)
    with pytest.raises(PartFailed, match="no standard output"):
        run(putting())


def test_two_nodes_cannot_share_standard_output():
    """Their lines would mix."""
    problems = mistakes(NodeKind.SINK, "{type: stdout, from: press}\n  other: {type: stdout, from: press}")
    assert len(problems) == 1
    assert "the standard output 'stdout' is taken by node 'node' too" in problems[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [("format: yaml", "format: must be one of auto, json, table"), ("pretty: true", "pretty: unknown option")],
)
def test_bad_options_are_told(options, said):
    """Each mistake names node, option, what was found and what is allowed."""
    (problem,) = mistakes(NodeKind.SINK, f"{{type: stdout, from: press, {options}}}")
    assert problem.startswith("node 'node' (stdout): ")
    assert said in problem


GRAPH = """\
name: view
services:
  plc: {type: s7_simulator, port: %d, dbs: [{db: 1, layout: press}]}
layouts:
  press: {fields: {n: "INT[200] @ 0"}}
sources:
  press: {type: s7, address: 127.0.0.1, port: %d, every: 10ms, blocks: [{db: 1, layout: press}]}
sinks:
  view: {type: stdout, from: press}
"""


@pytest.fixture
def viewed(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A whole graph as a process, its standard output a pipe."""
    file = tmp_path / "view.yaml"
    file.write_text(GRAPH % (port, port), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    yield process
    process.kill()
    process.communicate()


def test_a_pipeline_into_head_ends_with_exit_code_0(viewed):
    """As `python -m pipeline FILE | head -3` does."""
    lines = [json.loads(viewed.stdout.readline()) for _ in range(3)]
    assert all(line["values"]["n_199"] == 0 for line in lines)
    viewed.stdout.close()
    log = viewed.stderr.read().decode()
    assert viewed.wait(20) == 0
    assert "Traceback" not in log
    assert "the reader of standard output has gone" in log


def test_a_pipeline_into_a_reader_that_stands_still_still_stops(viewed):
    """The pipe is full, nobody reads: SIGTERM ends it nevertheless, within the time that a service manager gives."""
    viewed.stdout.readline()
    while (line := viewed.stderr.readline()) and b"stands still" not in line:
        assert viewed.poll() is None
    viewed.send_signal(signal.SIGTERM)
    assert viewed.wait(20) == 0
