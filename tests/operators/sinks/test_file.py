"""Files of frames: both formats, rotation, a full disk, restarts and every mistake of the options."""

import asyncio
import csv
import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operators.sinks.file import File, Format, file
from pipeline import rotation
from pipeline.actor import Mailbox, State
from pipeline.clock import VirtualLoop, run_virtual
from pipeline.frame import Frame, Origin
from pipeline.operator import Context, Flow, NodeKind, Overflow, Scope
from pipeline.retry import Retry
from pipeline.units import Duration, Size
from tests.parts.engine import collector, data, make_context, make_graph, node, origin, run_graph
from tests.parts.stream import mistakes
from tests.parts.waiting import eventually

PRESS, SAW = origin("press1"), origin("saw", db=2)
SCOPE = Scope(graph="g", node="n")


def run(options: File, script: Callable[[Mailbox, Context], Any], capacity: int = 10_000) -> Context:
    """A running sink and what is done with it; then its mailbox is closed, and its end awaited."""

    async def main(loop: VirtualLoop) -> Context:
        context = make_context(loop)
        mailbox = Mailbox(loop, capacity, Overflow.DROP_OLDEST, context.actor.drop)
        task = loop.create_task(file.build(options, context)(mailbox))
        await script(mailbox, context)
        mailbox.close()
        await task
        return context

    return run_virtual(main)


def write(options: File, *frames: Frame) -> Context:
    """Frames that all come at once."""

    async def script(mailbox: Mailbox, _: Context) -> None:
        for frame in frames:
            mailbox.put(frame)

    return run(options, script)


def lines(path: Path) -> list[Any]:
    """A file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class FullDisk:
    """The `os` of the writing module, on a disk that can be full."""

    full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, part: memoryview) -> int:
        """Half of it still fits."""
        if self.full and len(part) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, part[: len(part) // 2 + 1] if self.full else part)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    """A disk of our own."""
    made = FullDisk()
    monkeypatch.setattr(rotation, "os", made)
    return made


def test_json_lines_of_all_blocks_are_in_one_file(tmp_path):
    """In order, of every kind, complete; a second run goes on behind them."""
    options = File(folder=tmp_path / "new" / "folder", every=Duration(0))
    frames = [data(PRESS, n=1).replace(bad={"x": "no"}), data(SAW, n=2), Frame.failure(PRESS, 3, "timeout")]
    context = write(options, *frames)
    write(options, Frame.heartbeat(SAW, 4))
    written = lines(options.folder / "frames.jsonl")
    assert [line["values"] for line in written] == [*[frame.values for frame in frames], {"heartbeat": 1}]
    assert [line["plc_id"] for line in written] == ["press1", "saw", "press1", "saw"]
    assert (written[0]["bad"], written[2]["error"]) == ({"x": "no"}, "timeout")
    assert context.details() == {"folder": str(options.folder), "frames": 3}
    assert context.metrics.value("plc_publish_ok_total", mode="file", node="node") == 3
    assert context.actor.was_running


def test_csv_has_a_file_for_each_block_with_stable_columns(tmp_path):
    """A reader of CSV gets each block's values by name; names of files come from tenant, PLC and measurement."""
    options = File(folder=tmp_path, format=Format.CSV, every=Duration(0))
    odd = origin("a b/../c")
    write(options, data(PRESS, n=1, AI=0.5), data(SAW, ok=True), data(PRESS, AI=1.5, n=2), data(odd, n=1))
    write(options, data(PRESS, n=3, AI=2.5), Frame.failure(PRESS, 9, "timeout"))
    assert sorted(re.sub("~[0-9a-f]{8}", "~", path.name) for path in tmp_path.iterdir()) == [
        "acme_a_b_.._c_s7_db1~.csv",
        "acme_press1_s7_db1.csv",
        "acme_saw_s7_db2.csv",
    ]
    with (tmp_path / "acme_press1_s7_db1.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["n"], row["AI"], row["error"]) for row in rows] == [
        ("1", "0.5", ""),
        ("2", "1.5", ""),
        ("3", "2.5", ""),
        ("", "", "timeout"),
    ]


def test_a_further_name_begins_a_new_csv_file_and_columns_never_go_back(tmp_path):
    """A PLC that was off at the start, then a value that comes and goes: two changes, not one a frame."""
    options = File(folder=tmp_path, format=Format.CSV)
    frames = [Frame.failure(PRESS, 1, "timeout"), data(PRESS, n=1), data(PRESS, n=2, late=1), data(PRESS, n=3)]
    write(options, *frames, data(PRESS, n=4, late=2), data(PRESS, n=5))
    heads = [path.read_text().splitlines() for path in sorted(tmp_path.iterdir())]
    assert [(head.split(",")[10:], len(rows)) for head, *rows in heads] == [([], 1), (["n"], 1), (["n", "late"], 4)]


def test_files_rotate_by_size_and_the_oldest_go(tmp_path):
    """Each is below the limit; together with the newest they hold the last frames without a gap."""
    options = File(folder=tmp_path, max_size=Size(4096), keep=3)
    write(options, *[data(PRESS, n=n) for n in range(500)])
    paths = [*sorted(tmp_path.glob("frames-*.jsonl")), tmp_path / "frames.jsonl"]
    assert len(paths) == 4
    assert all(3900 < path.stat().st_size <= 4096 for path in paths[:3])
    numbers = [line["values"]["n"] for path in paths for line in lines(path)]
    assert numbers == list(range(numbers[0], 500))


def test_files_rotate_at_midnight_utc(tmp_path):
    """A day of virtual time with a frame an hour, from 23:33 on."""

    async def script(mailbox: Mailbox, _: Context) -> None:
        for n in range(26):
            mailbox.put(data(PRESS, n=n))
            await asyncio.sleep(3600)

    run(File(folder=tmp_path), script)
    counts = [len(lines(path)) for path in sorted(tmp_path.iterdir())]
    assert counts == [1, 24, 1]


def test_a_full_disk_is_survived_and_told(tmp_path, disk):
    """Degraded with the reason, frames wait; when there is room again, all are there once, and it runs."""

    async def script(mailbox: Mailbox, context: Context) -> None:
        for n in range(100):
            disk.full = 20 <= n < 60
            mailbox.put(data(PRESS, n=n))
            await asyncio.sleep(1)
            if n == 50:
                assert context.actor.state is State.DEGRADED
                assert context.actor.reason.startswith(f"'{tmp_path}' can't be written: No space left on device; ")
        await eventually(lambda: context.actor.state is State.RUNNING)

    context = run(File(folder=tmp_path, retry=Retry(max=Duration(5))), script)
    assert [line["values"]["n"] for line in lines(tmp_path / "frames.jsonl")] == list(range(100))
    assert (context.actor.errors, context.actor.drops) == (1, {})


def test_what_a_full_disk_costs_is_counted(tmp_path, disk):
    """More than the mailbox holds: the oldest go; at the end its own count; the engine counts the other ten."""

    async def script(mailbox: Mailbox, _: Context) -> None:
        disk.full = True
        for n in range(50):
            mailbox.put(data(PRESS, n=n))
            await asyncio.sleep(1)

    context = run(File(folder=tmp_path), script, capacity=10)
    assert context.actor.drops == {"mailbox_full": 39, "stopped": 1}
    disk.full = False
    write(File(folder=tmp_path), data(PRESS, n=99))
    assert [line["values"]["n"] for line in lines(tmp_path / "frames.jsonl")] == [99]


def test_the_end_of_the_graph_is_a_last_attempt_and_does_not_wait(tmp_path, disk):
    """A sink that waits for its disk wakes up; here there is room in the last moment."""

    async def script(mailbox: Mailbox, context: Context) -> None:
        disk.full = True
        mailbox.put(data(PRESS, n=1))
        await eventually(lambda: context.actor.state is State.DEGRADED)
        disk.full = False

    context = run(File(folder=tmp_path, retry=Retry(initial=Duration(1000), max=Duration(1000))), script)
    assert len(lines(tmp_path / "frames.jsonl")) == 1
    assert context.actor.drops == {}


def test_a_folder_that_cannot_be_made_is_a_state_not_a_crash(tmp_path):
    """The reason names the folder; once it can be made, all frames are there."""
    blocking = tmp_path / "taken"
    blocking.write_text("a file")

    async def script(mailbox: Mailbox, context: Context) -> None:
        mailbox.put(data(PRESS, n=1))
        await eventually(lambda: context.actor.state is State.DEGRADED)
        assert (
            "taken' can't be written: a file is in the way of that folder; frames wait; move it away"
            in context.actor.reason
        )
        assert not context.actor.was_running
        blocking.unlink()
        await eventually(lambda: context.actor.state is State.RUNNING)

    run(File(folder=blocking), script)
    assert len(lines(blocking / "frames.jsonl")) == 1


def thirty(_: Any, context: Context) -> Any:
    """A source of thirty frames, one a second."""

    async def feed(emit: Any) -> None:
        for n in range(30):
            emit(data(PRESS, n=n))
            await asyncio.sleep(1)

    return context.observable(feed)


def test_what_a_graph_could_not_write_is_counted_once(tmp_path, disk):
    """What the sink has taken, and what still waits for it."""
    disk.full = True
    graph = make_graph(
        node(NodeKind.SOURCE, "press", thirty),
        node(NodeKind.SINK, "files", file.build, "press", options=File(folder=tmp_path)),
    )
    runtime = run_virtual(lambda loop: run_graph(loop, graph, 100))
    assert runtime.actors["files"].drops == {"stopped": 30}


def test_a_whole_graph_writes_what_its_sources_gave(tmp_path):
    """Beside another sink, which gets the same."""
    seen: list[Frame] = []
    graph = make_graph(
        node(NodeKind.SOURCE, "press", thirty),
        node(NodeKind.SINK, "files", file.build, "press", options=File(folder=tmp_path)),
        node(NodeKind.SINK, "seen", collector(seen), "press"),
    )
    run_virtual(lambda loop: run_graph(loop, graph, 100))
    assert [line["values"]["n"] for line in lines(tmp_path / "frames.jsonl")] == [frame.values["n"] for frame in seen]


def test_the_forecast_is_disk_space():
    """Thirty finished files and the current one, of 64 MiB; CSV has as many of each block."""
    flow = Flow(frames=10, size=200, blocks=2)
    json_lines = dict(file.forecast(File(folder=Path("x")), SCOPE, flow).lines)
    assert json_lines == {"disk space at most": "1.938GiB", "bytes a day": "164.8MiB", "holds the last": "12 days"}
    assert (
        dict(file.forecast(File(folder=Path("x"), every=Duration(3600)), SCOPE, flow).lines)["holds the last"]
        == "1.29 days"
    )
    assert dict(file.forecast(File(folder=Path("x"), format=Format.CSV), SCOPE, flow).lines) == {
        "disk space at most": "3.875GiB"
    }


def test_two_nodes_cannot_share_a_folder(tmp_path):
    """However it is written."""
    first = f"{{type: file, from: press, folder: {tmp_path}/x}}"
    problems = mistakes(NodeKind.SINK, f"{first}\n  other: {{type: file, from: press, folder: {tmp_path}/x/}}")
    assert len(problems) == 1
    assert f"the folder '{tmp_path}/x' is taken by node 'node' too" in problems[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("format: json", "folder: is required and missing"),
        ('folder: ""', "folder: must be a path, found an empty text"),
        ("folder: x, format: xml", "format: must be one of json, csv, found the text 'xml'"),
        ("folder: x, max_size: 1KiB", "max_size: must be >= 4KiB, got 1KiB"),
        ("folder: x, keep: 0", "keep: must be >= 1, got 0"),
        ("folder: x, every: daily", "every: 'daily' is not a duration"),
        ("folder: x, sync: always", "sync: must be one of none, rotate, batch"),
        ("path: x", "path: unknown option"),
    ],
)
def test_bad_options_are_told(options, said):
    """Each mistake names node, option, what was found and what is allowed."""
    problems = mistakes(NodeKind.SINK, f"{{type: file, from: press, {options}}}")
    assert all(problem.startswith("node 'node' (file): ") for problem in problems)
    assert any(said in problem for problem in problems)


def test_good_options_from_text():
    """What the documentation shows loads without a word."""
    node = "{type: file, from: press, folder: data/x, format: csv, max_size: 16MiB, every: 1h, keep: 48, sync: batch}"
    assert mistakes(NodeKind.SINK, node) == []


def test_each_block_has_a_csv_file_of_its_own(tmp_path: Path) -> None:
    """Whatever its name: letters beyond ASCII, a length that no file may have, an end like that of a finished file."""
    names = ["ordem", "ordem-202411", "prensa-á", "prensa-é", "m" * 200]
    blocks = [Origin(measurement=name, tenant_id="t" * 64, plc_id="p" * 64) for name in names]
    for value in range(40):
        write(
            File(folder=tmp_path, format=Format.CSV, max_size=Size(4096), keep=2),
            *[data(block, value, text="x" * 500) for block in blocks],
        )
    files = [path.name for path in tmp_path.iterdir()]
    assert len([name for name in files if "ordem-202411" in name]) == 3
    current = [name for name in files if not re.search(r"-\d{6}\.csv", name)]
    assert len(current) == len(names)
    for name in current:
        with (tmp_path / name).open(encoding="utf-8", newline="") as opened:
            assert list(csv.DictReader(opened))[-1]["ts"].startswith("39")
