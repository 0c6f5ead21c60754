"""The file of a recording: what each actor asked its device, and what came, as on the wire.

    {"recording":1,"graph":"line1","started":1731800000.0,…}      one line of JSON: `head -1 x.rec` tells what it is
    zstd frame, zstd frame, …                                     each a MessagePack array of `Record`s

It is only ever appended to, a zstd frame at a time, each with a checksum: after an unclean end it is read up to the
first frame that is incomplete or damaged. What the bytes mean is the protocol's affair.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from pipeline.errors import UsageError

__all__ = ["VERSION", "Event", "Header", "Record", "Recording", "Writer", "read"]

VERSION = 1
_LONGEST_HEADER = 1 << 20
_LONGEST_PART = 256 << 20
"""Bytes of an unpacked part; the recorder writes some hundred kilobytes at a time."""
_PIECE = 4096


class Event(IntEnum):
    """What happened: a connection was opened, a question was answered, the connection was lost or can't be had."""

    OPENED = 0
    ANSWERED = 1
    LOST = 2


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the recording is of.

    Attributes:
        recording: version of the format.
        graph: the graph's name.
        boot: the process start that it comes from.
        started: wall clock, seconds, of the moment that `Record.at` counts from.
        begin: where it begins, as `Record.at`; older records only tell which connections were there.
        sources: type of each recorded source node, by name.
        why: what made somebody write it; "" when it was asked for.
    """

    recording: int = VERSION
    graph: str
    boot: str
    started: float
    begin: float = 0.0
    sources: Mapping[str, str]
    why: str = ""


class Record(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One event.

    Attributes:
        at: seconds since the recording was started, on a clock that never jumps.
        wall: wall clock of the same moment, seconds.
        actor: whose device: `press/press1`.
        event: see `Event`.
        asked: the request as on the wire; `b""` for `LOST`.
        answer: the answer as on the wire; of `LOST` a JSON array of reason, detail and advice.
    """

    at: float
    wall: float
    actor: str
    event: Event
    asked: bytes
    answer: bytes


@dataclass(frozen=True)
class Recording:
    """A file that was read.

    Attributes:
        header: see `Header`.
        records: in the order in which they were written.
        damage: why the rest can't be read, "" when there is no more.
    """

    header: Header
    records: list[Record]
    damage: str

    @property
    def end(self) -> float:
        """`at` of the last record."""
        return max((record.at for record in self.records), default=self.header.begin)


class Writer:
    """Appends to a new file. Its methods block.

    Attributes:
        is_empty: no record has been written.
    """

    def __init__(self, path: Path, header: Header) -> None:
        """Make the file, and its folder.

        Raises:
            FileExistsError: a recording is never written over.
            OSError: it can't be made.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from None
        self._compress = zstandard.ZstdCompressor(write_checksum=True).compress
        self._file = path.open("xb")
        self._file.write(msgspec.json.encode(header) + b"\n")
        self._file.flush()
        self.is_empty = True

    def write(self, records: Sequence[tuple[Any, ...]]) -> None:
        """Append records, given as tuples in the order of `Record`'s fields."""
        if records:
            self.is_empty = False
            self._file.write(self._compress(msgspec.msgpack.encode(records)))
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> Recording:
    """Read a recording, all of it into memory.

    Raises:
        UsageError: it can't be read, is none, or is of a newer format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"recording '{path}' can't be read: {error.strerror or error}") from error
    line, _, rest = content[:_LONGEST_HEADER].partition(b"\n")
    try:
        header = msgspec.json.decode(line, type=Header)
    except (ValueError, RecursionError) as error:  # texts that are not UTF-8 are no errors of msgspec's own
        raise UsageError(f"'{path}' is not a recording; `pipeline record FILE -o {path.name}` makes one") from error
    if header.recording != VERSION:
        raise UsageError(
            f"'{path}' is a recording of format {header.recording}, this program reads {VERSION}: use a newer one"
        )
    records, damage = _records(memoryview(content)[len(line) + 1 :] if rest else memoryview(b""))
    return Recording(header, records, damage)


def _records(content: memoryview) -> tuple[list[Record], str]:
    records: list[Record] = []
    decode = msgspec.msgpack.Decoder(list[Record]).decode
    at = 0
    while at < len(content):
        try:
            part, end = _part(content, at)
            if not end:
                return records, f"it ends inside of a part, {len(content) - at} bytes are left out"
            records += decode(part)
        except (zstandard.ZstdError, ValueError, RecursionError) as error:
            return records, f"damaged from byte {at} of its records on: {error}"
        at = end
    return records, ""


def _part(content: memoryview, at: int) -> tuple[bytes, int]:
    """The unpacked part that begins at `at`, and where it ends; 0 when the content ends before.

    Raises:
        zstandard.ZstdError: it is damaged, or would fill the memory.
    """
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    found: list[bytes] = []
    room = _LONGEST_PART
    while at < len(content) and not unpacker.eof:
        # Piece by piece: a few bytes can unpack to gigabytes.
        found.append(unpacker.decompress(content[at : at + _PIECE]))
        at = min(at + _PIECE, len(content))
        room -= len(found[-1])
        if room < 0:
            raise zstandard.ZstdError(f"a part of more than {_LONGEST_PART >> 20} MiB")
    return b"".join(found), at - len(unpacker.unused_data) if unpacker.eof else 0
