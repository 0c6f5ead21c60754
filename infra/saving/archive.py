"""One backup as one file: `KIND_YYYYMMDD_HHMMSS.tar.gz`, times in UTC, and `manifest.json` in it, its last member.

The manifest has the size and SHA-256 of every other member, and what its maker knows: versions, row counts. A file of
that name is complete: it is written under another one, read back, and renamed only then.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from provision.work import PRIVATE, Work

__all__ = [
    "KINDS",
    "MANIFEST",
    "Archive",
    "Damaged",
    "Member",
    "Writer",
    "archives",
    "check",
    "latest",
    "prune",
    "walk",
    "write",
]

KINDS = ("influxdb", "grafana")
MANIFEST = "manifest.json"
_NAME = re.compile(r"(?P<kind>[a-z]+)_(?P<time>[0-9]{8}_[0-9]{6})\.tar\.gz")
_TIME = "%Y%m%d_%H%M%S"
_FORMAT = 1
_CHUNK = 1 << 18
_QUICK = 1
"""Of gzip's levels: what InfluxDB hands over is packed already."""
_STALE = 86400.0
_AHEAD = 300.0
"""Seconds that an archive may be of the future: clocks are put right by a little."""
_LEAST = 2
_DAY = 86400
_WIDEST = 64 << 20
"""A manifest is small: this much is no manifest, but a file that wants our memory."""


class Damaged(Exception):
    """An archive is not what it was when it was made; the message says which, and what of it."""


@dataclass(frozen=True, order=True)
class Archive:
    """A backup on the disk.

    Attributes:
        made: seconds since 1970, from its name.
        kind: one of `KINDS`.
        path: the file.
    """

    made: float
    kind: str
    path: Path

    @property
    def ahead(self) -> bool:
        """Whether its time is still to come: the clock was wrong when it was made, or is now."""
        return self.made > time.time() + _AHEAD

    @staticmethod
    def of(path: Path) -> Archive | None:
        """What a file's name says of it; None where it is no archive's name."""
        found = _NAME.fullmatch(path.name)
        if found is None or found["kind"] not in KINDS:
            return None
        try:
            made = datetime.strptime(found["time"], _TIME).replace(tzinfo=timezone.utc).timestamp()
        except ValueError:
            return None
        return Archive(made, found["kind"], path)


@dataclass(frozen=True)
class Member:
    """A file inside an archive, while the archive is read.

    Attributes:
        name: with the folders that it lies in.
        size: bytes.
        executable: whether it may be run.
        data: readable once, now.
    """

    name: str
    size: int
    executable: bool
    data: IO[bytes]


class Writer:
    """An archive that is being made.

    Attributes:
        folder: where it is made; large temporary files belong there too, since /tmp may be memory.
    """

    def __init__(self, folder: Path, tar: tarfile.TarFile, made: float) -> None:
        """Nothing is in it yet."""
        self.folder, self._tar, self._made = folder, tar, made
        self._files: dict[str, dict[str, Any]] = {}

    def add(self, name: str, data: IO[bytes], mode: int = PRIVATE, part: tuple[int, int] | None = None) -> None:
        """Add a file, or the part of it between two places."""
        start, end = part or (0, data.seek(0, os.SEEK_END))
        data.seek(start)
        digest, left = hashlib.sha256(), end - start
        while left and (chunk := data.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
        data.seek(start)
        self._put(name, data, end - start, mode)
        self._files[name] = {"size": end - start, "sha256": digest.hexdigest()}

    def finish(self, kind: str, about: dict[str, Any]) -> None:
        """Add the manifest."""
        made = datetime.fromtimestamp(self._made, timezone.utc).isoformat().replace("+00:00", "Z")
        manifest = {"format": _FORMAT, "kind": kind, "made": made, **about, "files": self._files}
        text = json.dumps(manifest, indent=1).encode()  # in ASCII: a file's name may be no text
        self._put(MANIFEST, io.BytesIO(text), len(text), PRIVATE)

    def _put(self, name: str, data: IO[bytes], size: int, mode: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode = size, int(self._made), mode
        self._tar.addfile(entry, data)


def archives(folder: Path, kind: str = "") -> list[Archive]:
    """The backups in a folder, oldest first."""
    found = (Archive.of(path) for path in folder.glob("*.tar.gz"))
    return sorted(each for each in found if each is not None and kind in {"", each.kind})


def latest(folder: Path) -> dict[str, Archive]:
    """The newest of each kind; one of the future is none, whatever the disk has of it."""
    return {each.kind: each for each in archives(folder) if not each.ahead}


def prune(folder: Path, kind: str, days: int) -> None:
    """Remove what is older than so many days, but never the newest two that are good.

    A clock that runs ahead makes everything else old: beside its own archive the one before stays. Archives of the
    future are neither counted nor removed.

    Raises:
        OSError: one can't be removed.
    """
    oldest, kept = time.time() - days * _DAY, 0
    for each in reversed(archives(folder, kind)):
        if each.ahead:
            continue
        if each.made >= oldest or (kept < _LEAST and _good(each.path)):
            kept += 1
        else:
            each.path.unlink()


def _good(path: Path) -> bool:
    try:
        check(path)
    except Damaged:
        return False
    return True


def write(folder: Path, kind: str, fill: Callable[[Writer], dict[str, Any]], work: Work) -> Archive:
    """Make an archive, read it back, and give it its name: before that there is none.

    Args:
        folder: where it goes.
        kind: one of `KINDS`.
        fill: adds the files; what it returns goes into the manifest.
        work: whose the file is.

    Raises:
        OSError: it can't be written.
        Damaged: the disk gives back something else than was written.
        Exception: whatever `fill` raises.
    """
    for old in folder.glob(".*.part"):
        if time.time() - old.stat().st_mtime > _STALE:  # of a run that was killed
            old.unlink()
    made = float(int(time.time()))
    name = f"{kind}_{datetime.fromtimestamp(made, timezone.utc):{_TIME}}.tar.gz"
    part = folder / f".{name}.{os.getpid()}.part"
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=_QUICK, format=tarfile.PAX_FORMAT) as tar:
                writer = Writer(folder, tar, made)
                writer.finish(kind, fill(writer))
            file.flush()
            os.fsync(file.fileno())
        check(part)
        work.take(part)
        part.replace(folder / name)
    finally:
        part.unlink(missing_ok=True)
    return Archive(made, kind, folder / name)


@contextmanager
def walk(path: Path) -> Iterator[Iterator[Member]]:
    """Read an archive's members in their order, the manifest last.

    Raises:
        Damaged: it can't be read, or has something else in it than files.
        OSError: there is no such file.
    """
    try:
        with gzip.open(path) as file:
            with tarfile.open(fileobj=file, mode="r|") as tar:
                yield _members(tar)
            while file.read(_CHUNK):  # to the checksum at its very end
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Damaged(f"{path}: {error or 'it ends too early'}") from None


def check(path: Path) -> dict[str, Any]:
    """Read all of an archive, and compare it with its manifest, which is returned.

    Raises:
        Damaged: with the first thing that is not right.
        OSError: there is no such file.
    """
    found: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] | None = None
    with walk(path) as members:
        for member in members:
            if member.name == MANIFEST:
                manifest = _manifest(path, member)
            else:
                digest = hashlib.sha256()
                while chunk := member.data.read(_CHUNK):
                    digest.update(chunk)
                found[member.name] = {"size": member.size, "sha256": digest.hexdigest()}
    if manifest is None:
        raise Damaged(f"{path}: it has no {MANIFEST}, so it is not whole, or none of ours")
    wanted = manifest["files"]
    for name in sorted({*found, *wanted}):
        if found.get(name) != wanted.get(name):
            what = "is missing" if name not in found else "is not listed" if name not in wanted else "has changed"
            raise Damaged(f"{path}: {name} {what}")
    return manifest


def _members(tar: tarfile.TarFile) -> Iterator[Member]:
    for entry in tar:
        parts = Path(entry.name).parts
        if not entry.isfile() or not parts or ".." in parts or Path(entry.name).is_absolute():
            raise tarfile.ReadError(f"{entry.name!r} has no place in a backup")
        data = tar.extractfile(entry)
        if data is not None:
            with data:
                yield Member(entry.name, entry.size, bool(entry.mode & 0o100), data)


def _manifest(path: Path, member: Member) -> dict[str, Any]:
    try:
        found = json.loads(member.data.read(_WIDEST))
        if found["format"] == _FORMAT and found["kind"] in KINDS and isinstance(found["files"], dict):
            return dict(found)
        raise Damaged(f"{path}: {MANIFEST} is of format {found['format']!r}; this program reads {_FORMAT}")
    except (ValueError, TypeError, KeyError):
        raise Damaged(f"{path}: {MANIFEST} can't be understood") from None
