"""The recorder of `record`: everything, at most a second late, into a file that only grows."""

import asyncio
import gc

import pytest

from pipeline.clock import run_virtual, virtual_clock
from pipeline.errors import PartFailed, ReadError, UsageError
from pipeline.recording.format import Event, read
from pipeline.recording.recorder import FileRecorder, Witness
from tests.parts.recording import graph


def recording(path, scenario):
    """Run `scenario(recorder)` while it writes."""

    async def main(loop):
        recorder = FileRecorder(graph(), virtual_clock(loop), path)
        stop = asyncio.Event()
        writing = loop.create_task(recorder.run("01JD", stop))
        await scenario(recorder)
        stop.set()
        await writing
        return recorder.answers

    return run_virtual(main)


def test_what_is_told_is_in_the_file_a_second_later(tmp_path):
    """Without waiting for an end: a process that is killed leaves all but the last second."""
    path = tmp_path / "x.rec"

    async def scenario(recorder):
        await asyncio.sleep(5)
        witness = recorder.witness("press/one")
        asked = bytearray(b"asked")
        witness.opened(1.0, b"setup", b"granted")
        witness.answered(2.0, asked, b"came")
        await asyncio.sleep(1.5)
        assert [(record.at, record.event) for record in read(path).records] == [(0.0, 0), (0.0, 1)]
        witness.lost(3.0, ReadError("timeout", "after 2 s", "wait"))

    assert recording(path, scenario) == 1
    found = read(path)
    assert found.header.sources == {"press": "s7"}
    assert found.records[1].asked == b"asked"
    assert (found.records[2].at, found.records[2].wall, found.records[2].event) == (1.5, 3.0, Event.LOST)
    assert found.records[2].answer == b'["timeout","after 2 s","wait"]'


def test_a_long_recording_leaves_nothing_behind_in_memory(tmp_path):
    """Each look at what has come is over when the next one begins."""

    async def scenario(_):
        await asyncio.sleep(5)
        before = len(asyncio.all_tasks())
        await asyncio.sleep(600)
        assert len(asyncio.all_tasks()) == before

    recording(tmp_path / "x.rec", scenario)


def test_a_recording_of_nothing_leaves_no_file(tmp_path):
    """A graph that could not start can be recorded again under the same name."""

    async def scenario(_):
        await asyncio.sleep(3)

    assert recording(tmp_path / "x.rec", scenario) == 0
    assert not (tmp_path / "x.rec").exists()


def test_a_file_that_is_there_or_can_not_be_made_ends_the_recording(tmp_path):
    """With its name, and without touching it."""
    there = tmp_path / "x.rec"
    there.write_text("evidence")

    async def scenario(_):
        await asyncio.sleep(3)

    with pytest.raises(UsageError, match=r"x\.rec' is there already"):
        recording(there, scenario)
    with pytest.raises(PartFailed, match="can't be written: Not a directory"):
        recording(there / "y.rec", scenario)
    assert there.read_text() == "evidence"


def test_what_is_kept_is_no_business_of_the_garbage_collector():
    """Half a million kept answers that it had to walk through would stop everything for tenths of a second."""
    kept = []
    witness = Witness("press/one", kept.append, lambda: 1.5, 0.5)
    witness.opened(1.7e9, b"setup", b"granted")
    witness.answered(1.7e9, bytearray(b"asked"), b"answer")
    witness.lost(1.7e9, ReadError("timeout"))
    gc.collect()
    assert [gc.is_tracked(entry) for entry in kept] == [False, False, False]
