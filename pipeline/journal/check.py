"""Checks a journal's file in a process of its own, since a damaged map can kill by signal whoever reads it.

`check` starts such a process before a journal is opened. It walks all batches and compares them with the counters; the
CRC of each record is checked later, when it is read. `salvage` copies what can still be read into a new file: by the
file's structure until the damage stops it, then by searching its bytes for batches. The search may also find batches
that were acknowledged not long ago: better sent twice than lost.
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import lmdb
import msgspec

import pipeline
from pipeline.journal.file import State, Store, cost
from pipeline.journal.records import VERSION, decode_batch, decode_header, find_batches

__all__ = ["check", "salvage"]

Entry = TypeVar("Entry")

_SECONDS = 60.0
_BYTES_PER_SECOND = 10_000_000
_ENDED_WELL = 0
_DAMAGED = 3
_UNREADABLE = 4
_KILLED = {-signal.SIGTERM, -signal.SIGINT, -getattr(signal, "SIGKILL", signal.SIGTERM)}
_NOT_THE_FILE = (lmdb.DiskError, lmdb.LockError, lmdb.ReadonlyError, lmdb.MemoryError, lmdb.ReadersFullError, OSError)


def check(folder: Path, *, thorough: bool = True) -> str:
    """Say what is wrong with the journal in `folder`, in words; empty when it is sound.

    Args:
        folder: where it is.
        thorough: read every page; else the structure, and the first and the last page of each batch.

    Raises:
        OSError: it can't be told: no right to read it, the disk too slow, no memory.
    """
    data = folder / "data.mdb"
    if not data.is_file():
        return "it is no file"
    size = data.stat().st_size
    if not size:
        return ""  # the power went before LMDB had written its first page
    code, output = _child("check" if thorough else "look", str(folder), size=size)
    if code == _ENDED_WELL:
        return ""
    if code is None:
        raise TimeoutError(f"the disk is too slow: reading the journal took more than {_seconds(size):.0f} s")
    _raise_unfinished(code, output)
    return output if code == _DAMAGED and output else f"reading it ended with code {code}"


def salvage(source: Path, target: Path) -> int:
    """Copy what can be read of the journal in `source` into a new one in `target`; the records that were saved.

    Raises:
        OSError: it is not all that can be read: the disk is full, or who copied it was killed.
    """
    data = source / "data.mdb"
    if not data.is_file():
        return 0
    size = data.stat().st_size
    target.mkdir(parents=True, exist_ok=True)
    code, _ = _child("walk", str(source), str(target), size=size)
    if code != _ENDED_WELL:
        code, output = _child("search", str(source), str(target), size=size)
        _raise_unfinished(code, output)
    try:
        store = Store(target)
    except lmdb.Error:
        return 0
    store.sync()
    store.close()
    return store.state.frames


def _raise_unfinished(code: int | None, output: str) -> None:
    """Raise OSError where it was not the file that ended a child."""
    if code is not None and code in {_UNREADABLE, *_KILLED}:
        raise OSError(output or f"who read it was ended by signal {-code}")


def _seconds(size: int) -> float:
    return _SECONDS + size / _BYTES_PER_SECOND


def _child(*arguments: str, size: int) -> tuple[int | None, str]:
    """Exit code (negative for a signal, None when it was too slow) and what it said."""
    root = str(Path(pipeline.__file__).parents[1])
    paths = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, this module
            [sys.executable, "-m", "pipeline.journal.check", *arguments],
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_seconds(size),
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout.strip()


def _check(folder: Path, *, thorough: bool) -> str:
    """In the child: what is wrong, or nothing."""
    with lmdb.open(str(folder), readonly=True) as env:
        if env.info()["last_pgno"] <= 1 and not env.stat()["entries"]:
            return ""  # made and never written
    store = Store(folder, readonly=True)
    state = store.state
    if state.version != VERSION:
        return ""  # a newer version counts in its own way; opening tells
    frames = size = 0
    counted = True
    with store.env.begin(buffers=True) as txn:
        kept = {key for key, _ in _ascending(store.kept(txn))}
        for key, value in _ascending(store.read(txn, 0, float("inf"), kept=True)):
            zlib.crc32(value if thorough else value[-1:])  # touches every page, or the last
            size += cost(len(value))
            try:
                count = decode_header(value).count
            except ValueError:
                counted = False  # reading it mends that
            else:
                frames += 0 if key in kept else count
        dead = sum(1 for _ in _ascending(store.dead_letters(txn)))
    found, said = (frames, size, dead), (state.frames if counted else frames, state.bytes, state.dead)
    return "" if found == said else f"counters say {said} (records, bytes, dead letters), the file has {found}"


def _ascending(entries: Iterable[tuple[int, Entry]]) -> Iterator[tuple[int, Entry]]:
    """The same, as long as their keys ascend: pages that lead in a circle never end."""
    last = -1
    for key, value in entries:
        if key <= last:
            raise ValueError(f"entry {key} follows entry {last}")
        last = key
        yield key, value


def _walk(source: Path, target: Path) -> None:
    """In the child: counters and marks first, then batches from the oldest, then dead letters."""
    old, new = Store(source, readonly=True), _new(source, target)
    with new.write():
        new.state = State(next=old.state.next, age=old.state.age, receiver=old.state.receiver)
    with old.env.begin() as txn:
        kept = dict(old.kept(txn))
        for key, value in old.read(txn, 0, float("inf"), kept=True):
            _copy(new, key, value, kept.get(key))
        for _, letter in old.dead_letters(txn):
            with new.write() as into:
                new.bury(into, letter)


def _search(source: Path, target: Path) -> None:
    """In the child: batches wherever they lie in the file, as far as they are not there already."""
    new = _new(source, target)
    with new.env.begin() as txn:
        have = {key for key, _ in new.read(txn, 0, float("inf"), kept=True)}
    with (source / "data.mdb").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for header, value in find_batches(data):
            new.state.age = max(new.state.age, header.age)
            if header.key not in have and _copy(new, header.key, value, None):
                have.add(header.key)


def _new(source: Path, target: Path) -> Store:
    """The file to copy into, which may become as large as the old one."""
    store = Store(target, (source / "data.mdb").stat().st_size, sync=False)
    store.widen()
    return store


def _copy(new: Store, key: int, value: bytes, kept: float | None) -> bool:
    """Each batch is a commit of its own, so that a signal takes nothing with it that was read before."""
    records, _, _ = decode_batch(key, value)
    if not records:
        return False
    header = new.header(value)
    with new.write() as txn:
        new.insert(txn, key, records, header.age, header.wall, compress=header.compressed)
        if kept is not None:
            new.keep(txn, key, kept)
    return True


def _main(action: str, *folders: str) -> int:
    paths = [Path(folder) for folder in folders]
    try:
        if action in {"check", "look"}:
            wrong = _check(paths[0], thorough=action == "check")
        else:
            wrong = ""
            {"walk": _walk, "search": _search}[action](paths[0], paths[1])
    except (lmdb.Error, OSError, ValueError, msgspec.MsgspecError, MemoryError, struct.error) as error:
        wrong = f"{type(error).__name__}: {error}"
        # A class of LMDB's own speaks of the file, the plain one passes on what the system said.
        if (type(error) is lmdb.Error or isinstance(error, _NOT_THE_FILE)) and os.strerror(errno.EIO) not in wrong:
            sys.stdout.write(str(error))
            return _UNREADABLE
    sys.stdout.write(wrong)
    return _DAMAGED if wrong else _ENDED_WELL


if __name__ == "__main__":
    raise SystemExit(_main(*sys.argv[1:]))
