"""The flight recorder: bounded memory, files that can be replayed, written when something leaves `running`."""

import asyncio
import errno
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from pipeline.actor import Actor, State
from pipeline.clock import run_virtual, virtual_clock
from pipeline.config.recorder import RecorderOptions
from pipeline.errors import PartFailed, ReadError
from pipeline.operator import NodeKind
from pipeline.recording.flight import FlightRecorder, flight_recorder
from pipeline.recording.format import Event, read
from pipeline.units import Duration, Size
from tests.parts.engine import make_graph
from tests.parts.recording import TEXT, graph

GRANT = b"granted"


def flying(scenario, folder, **options):
    """Run `scenario(loop, recorder, actors)` with a recorder that watches a source and a sink; the recordings."""

    async def main(loop):
        clock = virtual_clock(loop)
        recorder = FlightRecorder(make_graph(), clock, RecorderOptions(**options), folder, "01JD")
        log = structlog.get_logger()
        actors = {
            name: Actor(name, kind, clock, log)
            for name, kind in (("press/one", NodeKind.SOURCE), ("out", NodeKind.SINK), ("beat", NodeKind.TRANSFORM))
        }
        task = loop.create_task(recorder.run(actors))
        await scenario(loop, recorder, actors)
        await asyncio.sleep(2)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run_virtual(main)
    return [read(path) for path in sorted(folder.glob("*.rec"))]


async def answers(recorder, seconds, each=0.1, size=100):
    """Let a witness tell answers; the first connection comes first."""
    witness = recorder.witness("press/one")
    witness.opened(recorder.clock.wall(), b"setup", GRANT)
    for number in range(int(seconds / each)):
        await asyncio.sleep(each)
        witness.answered(recorder.clock.wall(), bytearray(b"asked"), number.to_bytes(4, "big") * (size // 4))
    return witness


def test_it_remembers_the_latest_minutes_and_what_they_need(tmp_path):
    """Older answers are given up; the connection on which the others came is told, however old it is."""

    async def scenario(_, recorder, __):
        await answers(recorder, 300)
        await recorder.snapshot("test")

    (found,) = flying(scenario, tmp_path, keep=Duration(60))
    opened, *rest = found.records
    assert (opened.event, opened.answer, opened.at) == (Event.OPENED, GRANT, 0.0)
    assert {record.event for record in rest} == {Event.ANSWERED}
    assert 59.9 <= found.end - rest[0].at <= 62
    assert found.header.begin == rest[0].at
    assert (found.header.why, found.header.boot, found.damage) == ("test", "01JD", "")


def test_its_memory_is_bounded(tmp_path):
    """By bytes too; the newest stay."""

    async def scenario(_, recorder, __):
        await answers(recorder, 600, each=0.01, size=400)
        assert recorder.size <= 100_000
        await recorder.snapshot("test")

    (found,) = flying(scenario, tmp_path, max_size=Size(100_000))
    numbers = [int.from_bytes(record.answer[:4], "big") for record in found.records[1:]]
    assert numbers == list(range(60_000 - len(numbers), 60_000))
    assert 50 < len(numbers) <= 100_000 / 640


def test_it_writes_when_a_part_leaves_running_and_not_again_at_once(tmp_path):
    """A source that flaps, a sink that follows it: one file until the pause is over, and why it was written."""

    async def scenario(_, recorder, actors):
        await answers(recorder, 5)
        actors["press/one"].become(State.BACKING_OFF, "refused: never ran")
        for name in ("press/one", "out", "beat"):
            actors[name].become(State.RUNNING)
        await asyncio.sleep(3)
        actors["press/one"].become(State.BACKING_OFF, "timeout: no answer")
        actors["press/one"].become(State.RUNNING)  # between two looks
        await asyncio.sleep(3)
        actors["out"].become(State.BACKING_OFF, "lost")
        await asyncio.sleep(100)
        actors["out"].become(State.RUNNING)
        await asyncio.sleep(3)
        actors["out"].become(State.DEGRADED, "slow")
        await asyncio.sleep(3)

    found = flying(scenario, tmp_path, pause=Duration(60))
    assert [each.header.why for each in found] == [
        "press/one left running: timeout: no answer",
        "out left running: slow",
    ]


def test_an_end_in_order_is_no_failure(tmp_path):
    """Whoever stops without a reason has done its work."""

    async def scenario(_, __, actors):
        for name in ("press/one", "out"):
            actors[name].become(State.RUNNING)
        await asyncio.sleep(3)
        actors["out"].become(State.STOPPED)
        await asyncio.sleep(3)

    assert flying(scenario, tmp_path) == []


def test_it_writes_when_asked(tmp_path):
    """By a signal, however often; it keeps the newest files and no others."""

    async def scenario(_, recorder, __):
        witness = await answers(recorder, 1)
        for number in range(5):
            witness.lost(recorder.clock.wall(), ReadError("timeout", str(number)))
            recorder.ask()
            await asyncio.sleep(3)

    found = flying(scenario, tmp_path, files=2)
    assert [each.header.why for each in found] == ["asked for by a signal"] * 2
    assert [each.records[-1].answer for each in found] == [b'["timeout","3",""]', b'["timeout","4",""]']
    assert not list(tmp_path.glob("*.part"))


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path):
    """It is told, and recording goes on; who asks for a file gets the reason."""
    (tmp_path / "file").write_text("in the way")

    async def scenario(_, recorder, __):
        recorder.ask()
        await asyncio.sleep(3)
        with pytest.raises(PartFailed, match="can't be written: Not a directory"):
            await recorder.snapshot("test")

    with capture_logs() as logs:
        flying(scenario, tmp_path / "file" / "folder")
    assert [line["event"] for line in logs] == ["nothing recorded"]


def test_a_full_disk_is_not_filled_with_what_could_not_be_written(tmp_path, monkeypatch):
    """What was begun is taken away, also what a process that was killed has left."""
    left = tmp_path / "test-20241116T000000.000Z.part"
    left.write_text("left")

    def write(writer, _):
        writer._file.write(b"some")
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario(_, recorder, __):
        await answers(recorder, 5)
        with pytest.raises(PartFailed, match="No space left"):
            await recorder.snapshot("test")

    monkeypatch.setattr("pipeline.recording.format.Writer.write", write)
    flying(scenario, tmp_path)
    assert not list(tmp_path.iterdir())


def test_recordings_of_another_graph_are_not_its_own(tmp_path):
    """In one folder, a name may begin like another."""
    other = tmp_path / "test-2-20241116T000000.000Z.rec"
    other.write_text("another's")

    async def scenario(_, recorder, __):
        for _ in range(2):
            await answers(recorder, 1)
            await recorder.snapshot("test")
        assert other.read_text() == "another's"
        other.unlink()

    assert len(flying(scenario, tmp_path, files=1)) == 1


def test_a_graph_has_one_unless_it_is_switched_off(monkeypatch):
    """Its folder is under DATA_DIR, or where the graph says."""
    monkeypatch.setenv("DATA_DIR", "/var/lib/x")

    async def main(loop):
        clock, loaded = virtual_clock(loop), graph()
        made = flight_recorder(loaded, clock, "01JD")
        assert made._folder == Path("/var/lib/x/line/recordings")
        text = "recorder: {enabled: false, folder: here}\n"
        assert flight_recorder(graph(text + TEXT), clock, "01JD") is None
        assert flight_recorder(graph(text.replace("false", "true") + TEXT), clock, "01JD")._folder == Path("here")

    run_virtual(main)
