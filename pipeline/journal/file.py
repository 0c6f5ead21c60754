"""The journal's file: the LMDB environment that keeps batches of records, dead letters and the counters.

Four tables. `log`: unacknowledged batches (and acknowledged ones that are kept), key = ordinal of the first record
(big-endian). `kept`: key of an acknowledged batch → the journal's age then. `dead`: records refused for good. `state`:
the counters with a checksum, which each transaction carries with it; damaged ones are counted anew from the other
tables. Everything here blocks and belongs to one thread.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from pipeline.journal.records import (
    VERSION,
    DeadLetter,
    Header,
    Record,
    count_of,
    decode_batch,
    decode_header,
    encode_batch,
)

__all__ = ["State", "Store", "cost"]

DEAD_RECORDS = 10_000
DEAD_BYTES = 16 * 1024 * 1024

_KEY = struct.Struct(">Q")
_AGE = struct.Struct(">d")
_SEAL = b"\xa3crc\xce"
_CRC = struct.Struct(">I")
_PAGE = 4096
_INLINE = 2000
_SLACK = 64 * 1024 * 1024
_FIRST_MAP = 16 * 1024 * 1024


class State(msgspec.Struct):
    """The journal's counters, written with each commit.

    Attributes:
        version: of the format.
        next: ordinal of the next record.
        age: seconds that the journal has been open, ever; no wall clock in it.
        frames: records in unacknowledged batches.
        bytes: disk space of all batches, counted in whole pages where LMDB does so.
        kept_bytes: the part of `bytes` that acknowledged batches take.
        dead: number of dead letters.
        dead_bytes: their size.
        dead_next: key of the next dead letter.
        receiver: who the frames are for.
    """

    version: int = VERSION
    next: int = 0
    age: float = 0.0
    frames: int = 0
    bytes: int = 0
    kept_bytes: int = 0
    dead: int = 0
    dead_bytes: int = 0
    dead_next: int = 0
    receiver: str = ""


def _sealed(state: State) -> bytes:
    """The counters as a msgpack map, with the CRC-32 of all before it as one more entry, which format 1 passes over."""
    raw = msgspec.msgpack.encode(state)
    sealed = bytes((raw[0] + 1,)) + raw[1:] + _SEAL
    return sealed + _CRC.pack(zlib.crc32(sealed))


def _unsealed(stored: bytes) -> State:
    """Counters as they were stored; earlier versions stored them without a checksum.

    Raises:
        ValueError: they are damaged.
    """
    if stored[0] != 0x80 | len(State.__struct_fields__):
        end = len(stored) - _CRC.size
        if not stored.endswith(_SEAL, 0, end) or _CRC.pack(zlib.crc32(stored[:end])) != stored[end:]:
            raise ValueError("damaged counters")
    try:
        return msgspec.msgpack.decode(stored, type=State)
    except msgspec.MsgspecError as error:
        raise ValueError("damaged counters") from error


def cost(size: int) -> int:
    """Disk space of a batch of `size` bytes: LMDB puts values above half a page into whole pages."""
    return size + 24 if size <= _INLINE else -(-(size + 16) // _PAGE) * _PAGE + 24


class Store:
    """One LMDB environment. Every change is one transaction that carries the counters with it.

    Attributes:
        state: the counters as of the last commit.
        recounted: the stored ones were damaged: `state` is what the tables have, for no receiver in particular.
    """

    def __init__(self, folder: Path, max_size: int = 0, *, readonly: bool = False, sync: bool = True) -> None:
        """Open or create.

        Args:
            folder: where `data.mdb` is.
            max_size: bytes of batches it is meant for; the map grows by itself up to twice that and slack.
            readonly: beside a process that writes.
            sync: False leaves fsync to a call of `sync()`.

        Raises:
            lmdb.Error: the file can't be opened.
        """
        file = folder / "data.mdb"
        size = file.stat().st_size if file.exists() else 0
        self._limit = max(2 * max_size + _SLACK, 2 * size)
        self.env: Any = lmdb.open(
            str(folder),
            map_size=min(self._limit, max(_FIRST_MAP, -(-2 * size // _PAGE) * _PAGE)),
            max_dbs=4,
            readonly=readonly,
            sync=sync,
            create=not readonly,
        )
        try:
            self._open_tables(readonly=readonly)
        except BaseException:
            self.env.close()
            raise

    def _open_tables(self, *, readonly: bool) -> None:
        names = (b"log", b"kept", b"dead", b"state")
        if readonly:
            # Not inside a transaction of ours: handles from a read-only one would end with it.
            tables = [self.env.open_db(name, create=False) for name in names]
        else:
            # In one transaction, so that a power cut leaves all tables or none.
            with self.env.begin(write=True) as txn:
                tables = [self.env.open_db(name, txn=txn) for name in names]
        self._log, self._kept, self._dead, self._state = tables
        self._low = 0
        self.recounted = False
        with self.env.begin() as txn:
            stored = txn.get(b"state", db=self._state)
            try:
                self.state = _unsealed(stored) if stored else State()
            except ValueError:
                self.state, self.recounted = self._counted(txn), True

    def _counted(self, txn: Any) -> State:
        """Counters made of what the tables have."""
        state = State()
        kept = {key for key, _ in self.kept(txn)}
        last = (-1, b"")
        for key, value in self.read(txn, 0, float("inf"), kept=True):
            size, last = cost(len(value)), (key, value)
            state.bytes += size
            state.kept_bytes += size if key in kept else 0
            state.frames += 0 if key in kept else count_of(value)
            with contextlib.suppress(ValueError):
                state.age = max(state.age, decode_header(value).age)
        records = decode_batch(*last)[0]
        state.next = records[-1].n + 1 if records else last[0] + 1
        for packed, value in txn.cursor(db=self._dead):
            state.dead += 1
            state.dead_bytes += len(value)
            state.dead_next = _KEY.unpack(packed)[0] + 1
        return state

    def close(self) -> None:
        """Close; may be called again."""
        self.env.close()

    def sync(self) -> None:
        """Force everything to the disk."""
        self.env.sync(True)

    @contextlib.contextmanager
    def write(self) -> Iterator[Any]:
        """A write transaction, with the counters: both count when the block ends well, neither otherwise."""
        saved, low = msgspec.structs.replace(self.state), self._low
        try:
            with self.env.begin(write=True) as txn:
                yield txn
                txn.put(b"state", _sealed(self.state), db=self._state)
        except BaseException:
            self.state, self._low = saved, low
            raise

    def grow(self) -> bool:
        """Double the map, up to its limit; False when it is there."""
        size = self.env.info()["map_size"]
        if size >= self._limit:
            return False
        self.env.set_mapsize(min(self._limit, 2 * size))
        return True

    def widen(self) -> None:
        """Make the map as large as it may get, for who can't repeat a transaction that was too large."""
        while self.grow():
            pass

    # --- the log

    def append(self, txn: Any, records: Sequence[Record], age: float, wall: float, *, compress: bool) -> None:
        """Write one batch behind all others."""
        self.insert(txn, records[0].n, records, age, wall, compress=compress, append=True)

    def insert(
        self,
        txn: Any,
        key: int,
        records: Sequence[Record],
        age: float,
        wall: float,
        *,
        compress: bool,
        append: bool = False,
    ) -> None:
        """Write one batch anywhere."""
        value = encode_batch(key, records, age, wall, compress=compress)
        if not txn.put(_KEY.pack(key), value, db=self._log, append=append, overwrite=False):
            raise lmdb.KeyExistsError(f"a batch at or behind ordinal {key} is there already")
        self.state.frames += len(records)
        self.state.bytes += cost(len(value))
        self.state.next = max(self.state.next, records[-1].n + 1)

    def delete(self, txn: Any, key: int) -> int:
        """Remove a batch, acknowledged or not; the records it held, 0 when it is not there any more."""
        packed = _KEY.pack(key)
        value = txn.pop(packed, db=self._log)
        if value is None:
            return 0
        kept = txn.delete(packed, db=self._kept)
        self.state.bytes -= cost(len(value))
        if kept:
            self.state.kept_bytes -= cost(len(value))
            return count_of(value)
        return self._discount(txn, value)

    def get(self, txn: Any, key: int) -> bytes | None:
        """One batch, None when it is not there."""
        value: bytes | None = txn.get(_KEY.pack(key), db=self._log)
        return value

    def keep(self, txn: Any, key: int, age: float) -> None:
        """Mark a batch as acknowledged but kept."""
        packed = _KEY.pack(key)
        value = txn.get(packed, db=self._log)
        if value is not None and txn.put(packed, _AGE.pack(age), db=self._kept, overwrite=False):
            self.state.kept_bytes += cost(len(value))
            self._discount(txn, value)

    def kept(self, txn: Any) -> Iterator[tuple[int, float]]:
        """Keys of the kept batches, oldest first, with the journal's age when they were acknowledged."""
        for packed, age in txn.cursor(db=self._kept):
            yield _KEY.unpack(packed)[0], _AGE.unpack(age)[0]

    def unacknowledged(self, txn: Any) -> Iterator[tuple[int, Header, int]]:
        """Key, header and cost of the batches that wait for their acknowledgement, oldest first."""
        cursor = txn.cursor(db=self._log)
        found = cursor.set_range(_KEY.pack(self._low))
        first = True
        while found:
            packed = cursor.key()
            if txn.get(packed, db=self._kept) is None:
                key = _KEY.unpack(packed)[0]
                if first:
                    # Nothing below is unacknowledged, and nothing will be: search from here next time.
                    self._low, first = key, False
                value = cursor.value()
                yield key, self.header(value), cost(len(value))
            found = cursor.next()

    def read(self, txn: Any, start: int, stop: float, *, kept: bool = False) -> Iterator[tuple[int, bytes]]:
        """Keys and values of batches that may hold records of [start, stop), oldest first.

        Args:
            txn: any transaction.
            start: the first ordinal wanted.
            stop: ends before this ordinal.
            kept: also those that are acknowledged and kept.
        """
        cursor = txn.cursor(db=self._log)
        if not kept:
            start = max(start, self._low)
        found = cursor.set_range(_KEY.pack(start))
        if not found or cursor.key() != _KEY.pack(start):
            # The batch before may reach beyond `start`.
            found = cursor.prev() or cursor.first() if found else cursor.last()
        while found:
            packed = cursor.key()
            key = _KEY.unpack(packed)[0]
            if key >= stop:
                return
            if kept or txn.get(packed, db=self._kept) is None:
                yield key, cursor.value()
            found = cursor.next()

    def header(self, value: bytes) -> Header:
        """A batch's header, or one that goes on with it as well as may be."""
        try:
            return decode_header(value)
        except ValueError:
            # Damaged: as old as the newest, so that it is read, and reported, before its age ends it.
            return Header(0, 1, len(value), self.state.age, 0.0, compressed=False)

    def rewrite(self, txn: Any, key: int, old: bytes, records: Sequence[Record], *, compress: bool) -> int:
        """Replace a damaged batch by its sound records, or remove it without any; how many records are lost by it."""
        if not records:
            return self.delete(txn, key)
        header = self.header(old)
        # The key stays, since it names the batch, even when its first record is the damaged one.
        value = encode_batch(key, records, header.age, header.wall, compress=compress)
        txn.put(_KEY.pack(key), value, db=self._log)
        self.state.bytes += cost(len(value)) - cost(len(old))
        return self._discount(txn, old, len(records))

    def _discount(self, txn: Any, old: bytes, left: int = 0) -> int:
        """Count off an unacknowledged batch that has been changed or is gone; how many records are gone by it.

        Args:
            txn: the transaction, in which the tables are as they will be.
            old: the batch as it was.
            left: records that it still has.
        """
        before = self.state.frames
        try:
            self.state.frames -= decode_header(old).count - left
        except ValueError:
            # Nobody knows how many it held: what is there now is counted.
            self.state.frames = self._counted(txn).frames
        return max(0, before - self.state.frames)

    # --- dead letters

    def bury(self, txn: Any, letter: DeadLetter) -> None:
        """Add a dead letter; the oldest make room beyond the limits."""
        value = msgspec.msgpack.encode(letter)
        txn.put(_KEY.pack(self.state.dead_next), value, db=self._dead, append=True)
        self.state.dead_next += 1
        self.state.dead += 1
        self.state.dead_bytes += len(value)
        cursor = txn.cursor(db=self._dead)
        while (self.state.dead > DEAD_RECORDS or self.state.dead_bytes > DEAD_BYTES) and cursor.first():
            self._forget(cursor)

    def dead_letters(self, txn: Any) -> Iterator[tuple[int, DeadLetter]]:
        """All dead letters by key, oldest first."""
        for packed, value in txn.cursor(db=self._dead):
            yield _KEY.unpack(packed)[0], msgspec.msgpack.decode(value, type=DeadLetter)

    def forget(self, txn: Any, keys: Iterable[int]) -> int:
        """Remove dead letters; how many there were."""
        count = 0
        cursor = txn.cursor(db=self._dead)
        for key in keys:
            if cursor.set_key(_KEY.pack(key)):
                self._forget(cursor)
                count += 1
        return count

    def _forget(self, cursor: Any) -> None:
        self.state.dead -= 1
        self.state.dead_bytes -= len(cursor.value())
        cursor.delete()
