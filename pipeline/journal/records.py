"""Records, and how they are written down in batches.

All integers are big-endian. A batch is a header (magic, version, flags, count, length of what follows, key, age of the
journal, wall clock, CRC) and blocks, each with length and CRC-32: first the table of (topic, qos, codec, plc) as
msgpack, then the records (offset from the batch's key, index into the table, `ts`, body). With `zstd` the blocks are
compressed as a whole. A batch describes itself, so that it can be found in a file whose structure is lost. Damage to a
record costs that record; one wrong bit in what describes others (header, table, lengths) is put right.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import struct
import zlib
from collections.abc import Iterator, Sequence

import msgspec
import zstandard

__all__ = [
    "VERSION",
    "Batch",
    "DeadLetter",
    "Header",
    "Record",
    "count_of",
    "decode_batch",
    "decode_header",
    "encode_batch",
    "find_batches",
    "split",
]

VERSION = 1
BATCH_RECORDS = 1000
BATCH_BYTES = 64 * 1024

_MAGIC = b"PJ"
_ZSTD = 1
_START = re.compile(re.escape(_MAGIC + bytes((VERSION,))))
_HEADER = struct.Struct(">2sBBIIQdd")
_CRC = struct.Struct(">I")
_BLOCK = struct.Struct(">II")
_ENTRY = struct.Struct(">IHd")
_HEADER_SIZE = _HEADER.size + _CRC.size
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_RESTORABLE = 2048
_UNPACKED_LIMIT = 256 * 1024 * 1024


class Batch(msgspec.Struct, eq=False, gc=False):
    """What memory knows of a batch on disk that has records in memory, or that is acknowledged in part.

    Attributes:
        key: ordinal of its first record.
        count: records in it.
        acked: ordinals of those that need not be sent again.
    """

    key: int
    count: int
    acked: set[int] = msgspec.field(default_factory=set)


class Record(msgspec.Struct, eq=False, gc=False):
    """An encoded frame under way.

    Attributes:
        n: ordinal in the journal, ascending for ever.
        body: the bytes to send.
        topic: where to.
        qos: 0 or 1.
        codec: name of the codec that made the body.
        plc: `tenant/plc`, whose `seq` the body carries.
        ts: seconds since 1970 when the PLC's answer arrived.
        plain: the bytes to store: the body without the mark of the backlog.
        accepted: monotonic seconds when the journal accepted it; 0 when read from disk.
        answered: monotonic seconds of the PLC's answer; 0 when read from disk.
        sent: monotonic seconds when it was last handed to a connection.
        replayed: it comes from the backlog.
        attempts: transient refusals so far.
        acked: acknowledged, but still to be written since acknowledged frames are kept.
        held: it is in a lane or in flight; what is not held is read again from the journal, or from memory.
        ready: it may be sent; False until its first commit when frames must be on disk before that.
        batch: its batch on disk; None while it is not written.
    """

    n: int
    body: bytes
    topic: str
    qos: int
    codec: str
    plc: str
    ts: float
    plain: bytes
    accepted: float = 0.0
    answered: float = 0.0
    sent: float = 0.0
    replayed: bool = False
    attempts: int = 0
    acked: bool = False
    held: bool = False
    ready: bool = True
    batch: Batch | None = None


class DeadLetter(msgspec.Struct, array_like=True):
    """A record that is not sent any more.

    Attributes:
        reason: what the receiver said, or "damaged".
        wall: seconds since 1970 when it was given up.
        n: its ordinal, for a damaged one its batch's.
        topic: empty for a damaged one, which can't be sent again.
        qos: as the record's.
        codec: as the record's.
        plc: as the record's.
        ts: as the record's.
        body: the record's stored body, or the damaged bytes.
        count: frames in it; more than one when a whole batch is unreadable.
    """

    reason: str
    wall: float
    n: int
    topic: str
    qos: int
    codec: str
    plc: str
    ts: float
    body: bytes
    count: int = 1

    @classmethod
    def of(cls, record: Record, reason: str, wall: float) -> DeadLetter:
        """The dead letter of a record; `wall` is seconds since 1970 now."""
        origin = (record.topic, record.qos, record.codec, record.plc, record.ts)
        return cls(reason, wall, record.n, *origin, record.plain)


class Header(msgspec.Struct):
    """What a batch says of itself: key, records and bytes in it, journal age and wall clock (seconds) when written."""

    key: int
    count: int
    size: int
    age: float
    wall: float
    compressed: bool


def split(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Cut records into batches of bounded count and size, so that reading them back needs bounded memory."""
    start = size = 0
    for index, record in enumerate(records):
        length = len(record.plain) + 24
        if index > start and (size + length > BATCH_BYTES or index - start >= BATCH_RECORDS):
            yield records[start:index]
            start, size = index, 0
        size += length
    if start < len(records):
        yield records[start:]


def encode_batch(key: int, records: Sequence[Record], age: float, wall: float, *, compress: bool) -> bytes:
    """Write records (ascending ordinals, not empty) down as one batch.

    Args:
        key: names the batch; not above the first record's ordinal.
        records: what to write.
        age: the journal's age, seconds.
        wall: seconds since 1970.
        compress: by zstd.
    """
    table: dict[tuple[str, int, str, str], int] = {}
    parts = [b""]
    for record in records:
        index = table.setdefault((record.topic, record.qos, record.codec, record.plc), len(table))
        block = _ENTRY.pack(record.n - key, index, record.ts) + record.plain
        parts.append(_BLOCK.pack(len(block), zlib.crc32(block)))
        parts.append(block)
    names = msgspec.msgpack.encode(list(table))
    parts[0] = _BLOCK.pack(len(names), zlib.crc32(names)) + names
    body = b"".join(parts)
    if compress:
        body = zstandard.ZstdCompressor(write_checksum=True).compress(body)
    header = _HEADER.pack(_MAGIC, VERSION, _ZSTD if compress else 0, len(records), len(body), key, age, wall)
    return header + _CRC.pack(zlib.crc32(header)) + body


def decode_header(value: bytes) -> Header:
    """Read a batch's header; one bit that is wrong in it is put right.

    Raises:
        ValueError: it is damaged.
    """
    header = value[:_HEADER_SIZE]
    if len(header) < _HEADER_SIZE:
        raise ValueError("damaged header")
    if not _is_sound(header):
        header = _restored(header)
    magic, version, flags, count, length, key, age, wall = _HEADER.unpack_from(header)
    if magic != _MAGIC or version != VERSION:
        raise ValueError("foreign header")
    return Header(key, count, _HEADER_SIZE + length, age, wall, bool(flags & _ZSTD))


def _is_sound(data: bytes) -> bool:
    return _CRC.pack(zlib.crc32(data[: -_CRC.size])) == data[-_CRC.size :]


def _restored(data: bytes) -> bytes:
    """What was written, CRC last, when one bit of it is wrong: nothing else with a right CRC is as near.

    Raises:
        ValueError: more than one bit is wrong, or it is too long to try them all.
    """
    bits, size = int.from_bytes(data, "big"), len(data)
    for bit in range(8 * size if size <= _RESTORABLE else 0):
        candidate = (bits ^ 1 << bit).to_bytes(size, "big")
        if _is_sound(candidate):
            return candidate
    raise ValueError("damaged header")


def find_batches(data: bytes | mmap.mmap) -> Iterator[tuple[Header, bytes]]:
    """Whatever looks like a batch in the bytes of a damaged file, be it in use or long deleted."""
    for match in re.finditer(_START, data):
        try:
            header = decode_header(data[match.start() : match.start() + _HEADER_SIZE])
        except ValueError:
            continue
        yield header, data[match.start() : match.start() + header.size]


def decode_batch(key: int, value: bytes) -> tuple[list[Record], list[bytes], int]:
    """Read a batch as far as it is sound. Never raises: whatever the bytes, damage is a result.

    Args:
        key: ordinal of its first record.
        value: the batch.

    Returns:
        The sound records in order, the damaged pieces, and the number of records that are missing.
    """
    try:
        body = _body(value)
        blocks = _blocks(body)
        names, sound = next(blocks)
        names = names if sound else _restored(names + body[_CRC.size : _BLOCK.size])[: -_CRC.size]
        table = msgspec.msgpack.decode(names, type=list[tuple[str, int, str, str]])
    except (ValueError, StopIteration, zstandard.ZstdError, msgspec.MsgspecError):
        return [], [value], count_of(value)
    records: list[Record] = []
    damaged: list[bytes] = []
    for block, sound in blocks:
        record = _record(key, block, table) if sound else None
        if record is None:
            damaged.append(block)
        else:
            records.append(record)
    try:
        count = decode_header(value).count
    except ValueError:
        damaged.append(value[:_HEADER_SIZE])
        count = count_of(value)
    return records, damaged, max(count - len(records), 0)


def _record(key: int, block: bytes, table: Sequence[tuple[str, int, str, str]]) -> Record | None:
    if len(block) < _ENTRY.size:
        return None
    offset, index, ts = _ENTRY.unpack_from(block)
    if index >= len(table):
        return None
    topic, qos, codec, plc = table[index]
    body = block[_ENTRY.size :]
    return Record(key + offset, body, topic, qos, codec, plc, ts, body)


def _blocks(body: bytes) -> Iterator[tuple[bytes, bool]]:
    """Each block with whether its CRC is right; what is left behind a wrong length is one damaged block."""
    position, end = 0, len(body)
    while position < end:
        if position + _BLOCK.size > end:
            yield body[position:], False
            return
        length, crc = _BLOCK.unpack_from(body, position)
        start = position + _BLOCK.size
        block = body[start : start + length]
        sound = zlib.crc32(block) == crc
        if not sound and (found := _of_near_length(body, start, length, crc)) is not None:
            block, sound = found, True
        if not sound and start + length > end:
            yield body[position:], False
            return
        yield block, sound
        position = start + len(block)


def _of_near_length(body: bytes, start: int, length: int, crc: int) -> bytes | None:
    """The block whose length has one wrong bit, so that those behind it can be read."""
    for bit in range(32):
        block = body[start : start + (length ^ 1 << bit)]
        if zlib.crc32(block) == crc:
            return block
    return None


def _body(value: bytes) -> bytes:
    """The blocks of a batch, of which the header need not be sound.

    Raises:
        ValueError: they are damaged as a whole.
        zstandard.ZstdError: same.
    """
    body = value[_HEADER_SIZE:]
    if not body.startswith(_ZSTD_MAGIC):  # as the length of a block that would be 680 MB
        return body
    # A damaged length must not ask for all memory there is.
    if zstandard.frame_content_size(body) > _UNPACKED_LIMIT:
        raise ValueError("damaged length")
    return zstandard.ZstdDecompressor().decompress(body, max_output_size=_UNPACKED_LIMIT)


def count_of(value: bytes) -> int:
    """Records in a batch, as its header says; without a header as many as there are blocks, 1 at least."""
    with contextlib.suppress(ValueError):
        return decode_header(value).count
    with contextlib.suppress(ValueError, zstandard.ZstdError):
        return max(1, sum(1 for _ in _blocks(_body(value))) - 1)
    return 1
