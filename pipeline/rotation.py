"""Text files that only grow, whole line by whole line, and give way to a new one by size and by time. Blocking calls.

The file that is written to keeps its name; finished ones are numbered before the suffix, the highest is the newest:
`frames.jsonl`, `frames-000007.jsonl`, `frames-000006.jsonl`. Numbers, since a clock may be set back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = ["RotatingFile", "Rotation", "Sync"]

_BLOCK = 65536


class Sync(StrEnum):
    """When bytes are forced to the medium, so that they survive a power cut."""

    NONE = "none"
    ROTATE = "rotate"
    BATCH = "batch"


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """When a file is finished, and how many finished ones stay.

    Attributes:
        max_size: bytes; a line that would go beyond them begins a new file.
        every: seconds, counted from 1970 UTC: a file holds lines of one such period; 0: of any time.
        keep: finished files that stay; older ones are deleted.
        sync: see `Sync`.
    """

    max_size: int
    every: float
    keep: int
    sync: Sync


class RotatingFile:
    """One such file. It is opened for each call only: it may be moved away at any time, and many cost nothing."""

    def __init__(self, path: Path, rotation: Rotation, wall: Callable[[], float]) -> None:
        """Describe it; nothing is opened.

        Args:
            path: the file that is written to; its folder exists.
            rotation: see `Rotation`.
            wall: the wall clock, seconds since 1970.
        """
        self.path = path
        self._rotation = rotation
        self._wall = wall
        self._head: bytes | None = None
        self._period: int | None = None
        self._whole: int | None = None  # what follows this many bytes is the rest of an attempt that failed

    def head(self) -> bytes:
        """The file's first line with its end; empty when there is none.

        Raises:
            OSError: it can't be read.
        """
        self._look()
        return self._head or b""

    def append(self, lines: Sequence[bytes], head: bytes = b"") -> int:
        """Write as many of these lines as belong into one file, at least one; how many that were.

        Args:
            lines: each with its end.
            head: a line that each file begins with; a file that begins otherwise is finished first.

        Raises:
            OSError: none of them is written; what of them reached the file is cut off by the next call.
        """
        self._look()
        period = self._now()
        size = self._size()
        if size and (
            period != self._period or size + len(lines[0]) > self._rotation.max_size or (head and head != self._head)
        ):
            self._finish()
            size = 0
        data, count = bytearray(b"" if size else head), 0
        for line in lines:
            if count and size + len(data) + len(line) > self._rotation.max_size:
                break
            data += line
            count += 1
        self._whole = size
        with self.path.open("ab", buffering=0) as opened:
            _write_all(opened.fileno(), data)
            if self._rotation.sync is Sync.BATCH:
                os.fsync(opened.fileno())
        self._whole, self._period = None, period
        self._head = self._head if size else head
        return count

    def _look(self) -> None:
        """Cut off what is torn. The first time: see what an earlier process has left."""
        if self._whole is not None:
            if self._size() > self._whole:
                os.truncate(self.path, self._whole)
            self._whole = None
        if self._head is not None:
            return
        head = b""
        if self._size():
            _cut_torn_line(self.path)
            self._period = self._period_of(self.path.stat().st_mtime)
            with self.path.open("rb") as opened:
                head = opened.readline()
        self._head = head

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _now(self) -> int:
        return self._period_of(self._wall())

    def _period_of(self, moment: float) -> int:
        return int(moment // self._rotation.every) if self._rotation.every else 0

    def finished(self) -> list[Path]:
        """The finished files, oldest first."""
        pattern = re.compile(rf"{re.escape(self.path.stem)}-(\d{{6,}}){re.escape(self.path.suffix)}")
        found = [
            (int(match[1]), path) for path in self.path.parent.iterdir() if (match := pattern.fullmatch(path.name))
        ]
        return [path for _, path in sorted(found)]

    def _finish(self) -> None:
        finished = self.finished()
        number = int(finished[-1].stem.rpartition("-")[2]) + 1 if finished else 1
        if self._rotation.sync is not Sync.NONE:
            _sync(self.path)
        self.path.rename(self.path.with_stem(f"{self.path.stem}-{number:06d}"))
        if self._rotation.sync is not Sync.NONE and os.name == "posix":
            _sync(self.path.parent)
        for old in finished[: max(len(finished) + 1 - self._rotation.keep, 0)]:
            old.unlink(missing_ok=True)


def _write_all(descriptor: int, data: bytes | bytearray) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cut_torn_line(path: Path) -> None:
    """Cut the file behind its last line end: a half line of numbers can look like a whole one with other numbers."""
    with path.open("r+b") as opened:
        end = opened.seek(0, os.SEEK_END)
        position = end
        while position:
            begin = max(position - _BLOCK, 0)
            opened.seek(begin)
            found = opened.read(position - begin).rfind(b"\n")
            if found >= 0:
                position = begin + found + 1
                break
            position = begin
        if position != end:
            opened.truncate(position)
