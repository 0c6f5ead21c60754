"""Files that grow line by line: rotation by size and time, torn lines, full disks, numbers."""

import errno
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.rotation import RotatingFile, Rotation, Sync


class Disk:
    """The module's `os`, with room for so many bytes and a list of what was forced to the medium."""

    def __init__(self) -> None:
        self.room = 10**9
        self.synced: list[str] = []

    def __getattr__(self, name):
        return getattr(os, name)

    def write(self, descriptor, data):
        """As a disk that gets full does: first a part, then nothing."""
        taken = min(len(data), self.room)
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= taken
        return os.write(descriptor, data[:taken])

    def fsync(self, descriptor):
        """Remember which file it was."""
        self.synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)


@pytest.fixture
def disk(monkeypatch):
    """A disk of our own."""
    made = Disk()
    monkeypatch.setattr(sys.modules[RotatingFile.__module__], "os", made)
    return made


@pytest.fixture
def make(tmp_path):
    """Make the file again, as another process would; the clock is a list of one number."""

    def start(clock=None, **rotation):
        rotation = {"max_size": 100, "every": 0.0, "keep": 3, "sync": Sync.NONE, **rotation}
        return RotatingFile(tmp_path / "frames.jsonl", Rotation(**rotation), lambda: (clock or [0.0])[0])

    return start


def put(target, *lines, head=b""):
    """Append all, in as many calls as it takes."""
    rest = [f"{line}\n".encode() for line in lines]
    while rest:
        del rest[: target.append(rest, head)]


def texts(folder):
    """Contents by name, the newest finished file last."""
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def test_lines_that_would_go_beyond_the_size_begin_a_new_file(make, tmp_path):
    """No file is bigger, no line is split, and no file is finished before it must be."""
    put(make(max_size=10), "1234", "1234", "12345", "1234")
    assert texts(tmp_path) == {
        "frames-000001.jsonl": "1234\n1234\n",
        "frames-000002.jsonl": "12345\n",
        "frames.jsonl": "1234\n",
    }


def test_a_line_longer_than_a_file_gets_one_of_its_own(make, tmp_path):
    """It is not lost."""
    put(make(max_size=10), "a", "b" * 50, "c")
    assert list(texts(tmp_path).values()) == ["a\n", "b" * 50 + "\n", "c\n"]


def test_the_oldest_go_and_numbers_go_on(make, tmp_path):
    """Three stay beside the current one, also after a restart; files of others are left alone."""
    (tmp_path / "frames-old.jsonl").write_text("mine")
    (tmp_path / "frames-2.jsonl").write_text("of another series, whose name ends in a number")
    for n in range(6):
        put(make(max_size=4), f"{n}")
        put(make(max_size=4), f"{n}b")
    names = list(texts(tmp_path))
    assert names == [
        "frames-000009.jsonl",
        "frames-000010.jsonl",
        "frames-000011.jsonl",
        "frames-2.jsonl",
        "frames-old.jsonl",
        "frames.jsonl",
    ]


def test_numbers_beyond_six_digits_stay_in_order(make, tmp_path):
    """They are compared as numbers."""
    for number in (999_998, 999_999, 1_000_000):
        (tmp_path / f"frames-{number:06d}.jsonl").write_text("x")
    target = make(max_size=4)
    put(target, "123", "456")
    assert [path.name for path in target.finished()] == [
        "frames-999999.jsonl",
        "frames-1000000.jsonl",
        "frames-1000001.jsonl",
    ]


def test_a_file_holds_one_period(make, tmp_path):
    """Of UTC, not of the process: midnight is where the date changes; nothing is written, nothing is finished."""
    clock = [86399.0]
    target = make(clock, every=86400.0)
    put(target, "a")
    clock[0] = 86400.0
    put(target, "b", "c")
    clock[0] = 5 * 86400.0
    put(target, "d")
    assert list(texts(tmp_path).values()) == ["a\n", "b\nc\n", "d\n"]


def test_after_a_restart_the_period_is_that_of_the_last_line(make, tmp_path):
    """The file's own time tells."""
    put(make([1000.0], every=86400.0), "a")
    os.utime(tmp_path / "frames.jsonl", (1000.0, 1000.0))
    put(make([86399.0], every=86400.0), "b")
    os.utime(tmp_path / "frames.jsonl", (1000.0, 1000.0))
    put(make([86400.0], every=86400.0), "c")
    assert list(texts(tmp_path).values()) == ["a\nb\n", "c\n"]


def test_each_file_begins_with_the_head(make, tmp_path):
    """Another head finishes the file, the same one goes on, also after a restart."""
    put(make(max_size=14), "123", "456", "789", head=b"a,b,c\n")
    target = make(max_size=14)
    assert target.head() == b"a,b,c\n"
    put(target, "0", head=b"a,b,c\n")
    put(target, "x", head=b"other\n")
    assert list(texts(tmp_path).values()) == ["a,b,c\n123\n456\n", "a,b,c\n789\n0\n", "other\nx\n"]


@pytest.mark.parametrize("left", ["", "one\n", "one\ntwo\n"])
@pytest.mark.parametrize("torn", ["", "5", "\0" * 70_000, "x" * 200_000])
def test_a_torn_line_is_cut_off(make, tmp_path, left, torn):
    """As a kill or a power cut leaves it: half a line, or zeros; whole lines stay."""
    (tmp_path / "frames.jsonl").write_text(left + torn)
    put(make(max_size=10**6), "new")
    assert texts(tmp_path) == {"frames.jsonl": f"{left}new\n"}


def test_a_file_that_was_taken_away_is_made_anew(make, tmp_path):
    """With its head: log rotation from outside, or a person who moves it, loses nothing."""
    target = make()
    put(target, "a", head=b"h\n")
    (tmp_path / "frames.jsonl").rename(tmp_path / "taken")
    put(target, "b", head=b"h\n")
    assert texts(tmp_path) == {"frames.jsonl": "h\nb\n", "taken": "h\na\n"}


@pytest.mark.parametrize("room", range(12))
def test_a_full_disk_leaves_no_torn_line(make, tmp_path, disk, room):
    """Whatever fitted is cut off before the next attempt, so that every line is there once."""
    target = make()
    put(target, "first", head=b"h\n")
    disk.room = room
    with pytest.raises(OSError, match="No space"):
        put(target, "second", "third", head=b"h\n")
    disk.room = 10**9
    put(target, "second", "third", head=b"h\n")
    assert texts(tmp_path) == {"frames.jsonl": "h\nfirst\nsecond\nthird\n"}


def test_a_disk_that_is_full_from_the_start_leaves_an_empty_file_that_gets_its_head(make, tmp_path, disk):
    """The head is a line like all others."""
    target = make()
    disk.room = 1
    with pytest.raises(OSError, match="No space"):
        put(target, "a", head=b"head\n")
    disk.room = 100
    put(target, "a", head=b"head\n")
    assert texts(tmp_path) == {"frames.jsonl": "head\na\n"}


@pytest.mark.parametrize(
    ("sync", "expected"),
    [
        (Sync.NONE, []),
        (Sync.ROTATE, ["frames.jsonl", "folder"]),
        (Sync.BATCH, ["frames.jsonl", "frames.jsonl", "folder", "frames.jsonl"]),
    ],
)
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to see which file was meant")
def test_what_is_forced_to_the_medium(make, tmp_path, disk, sync, expected):
    """Nothing; finished files and their new names; each batch too."""
    put(make(max_size=4, sync=sync), "123", "456")
    assert [name.replace(tmp_path.name, "folder") for name in disk.synced] == expected


@given(
    batches=st.lists(st.lists(st.text("ab", max_size=8), min_size=1, max_size=5), max_size=12),
    rooms=st.lists(st.integers(0, 30), max_size=12),
    max_size=st.integers(4, 40),
)
def test_any_line_is_there_once_and_in_order(tmp_path_factory, batches, rooms, max_size):
    """Whatever sizes lines and files have and whenever the disk is full; restarts in between."""
    folder = tmp_path_factory.mktemp("any")
    disk = Disk()
    module = sys.modules[RotatingFile.__module__]
    rotation = Rotation(max_size=max_size, every=0, keep=10**6, sync=Sync.NONE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "os", disk)
        for number, batch in enumerate(batches):
            target = RotatingFile(folder / "f.txt", rotation, lambda: 0.0)
            disk.room = rooms[number] if number < len(rooms) else 10**9
            rest = [f"{line}\n".encode() for line in batch]
            while rest:
                try:
                    del rest[: target.append(rest, b"h\n")]
                except OSError:
                    disk.room = 10**9
    files = [*RotatingFile(folder / "f.txt", rotation, lambda: 0.0).finished(), folder / "f.txt"]
    contents = [path.read_text().splitlines() for path in files if path.exists()]
    assert [content[0] for content in contents] == ["h"] * len(contents)
    assert [line for content in contents for line in content[1:]] == [line for batch in batches for line in batch]
