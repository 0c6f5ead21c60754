"""Looking whether a journal could be opened changes nothing in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import JournalForeign
from pipeline.journal.probe import probe, waiting
from pipeline.journal.records import Record
from pipeline.journal.tools import add

RECEIVER = "mqtts://broker:8883"


def filled(folder: Path) -> bytes:
    """A journal with one frame that waits; its file."""
    add(str(folder), [Record(0, b"{}", "t", 1, "full", "acme/press1", 1.7e9, b"{}")], RECEIVER)
    return (folder / "data.mdb").read_bytes()


@pytest.mark.parametrize("clean", [True, False])
def test_a_sound_journal_is_judged_by_its_receiver(tmp_path: Path, clean: bool) -> None:
    """After a crash too; TLS or not is one broker. It can be opened again afterwards, and still holds its frame."""
    before = filled(tmp_path)
    if not clean:
        (tmp_path / "clean").unlink()
    probe(tmp_path, "mqtt://broker:8883")
    with pytest.raises(JournalForeign, match="mqtts://broker:8883, but the sink sends to mqtt://other"):
        probe(tmp_path, "mqtt://other:1883")
    assert (tmp_path / "data.mdb").read_bytes() == before
    assert (tmp_path / "clean").exists() is clean
    assert waiting(tmp_path) == 1


@pytest.mark.parametrize("content", [b"", b"\0" * 8192, None], ids=["empty", "zeros", "torn"])
def test_a_damaged_journal_is_no_obstacle(tmp_path: Path, content: bytes | None) -> None:
    """Opening heals it; looking leaves it as it is."""
    before = filled(tmp_path)
    damaged = before[: len(before) // 2] + b"\xff" * 100 if content is None else content
    (tmp_path / "data.mdb").write_bytes(damaged)
    probe(tmp_path, "mqtt://other:1883")
    assert (tmp_path / "data.mdb").read_bytes() == damaged
    assert waiting(tmp_path) == 0
