"""The store-and-forward log of one reliable sink: opening and healing it, its limits, and its one call per commit.

A `Journal` blocks and belongs to one thread; `Delivery` calls it through an executor. Each `round` writes new records,
removes acknowledged batches, applies the limits (one transaction, one fsync) and reads ahead. At most one process has
a journal open for writing. A child process checks the file first; a damaged one is moved aside, what can be read of it
is taken over, and the journal goes on. So it does when its file is taken away from under it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from pipeline.errors import JournalError, JournalForeign
from pipeline.journal import folder as journal_folder
from pipeline.journal.file import State, Store
from pipeline.journal.options import Compression, JournalOptions, WhenFull, same_receiver
from pipeline.journal.records import Batch, DeadLetter, decode_batch, split
from pipeline.journal.work import Loaded, Outcome, Work

__all__ = ["Journal"]

READ_BYTES = 256 * 1024
_FAILURES = (lmdb.Error, OSError, JournalError)


class Journal:
    """The open journal of one sink.

    Attributes:
        folder: where it is.
        found: what opening it found and did, in sentences; empty when all was well.
        lost: frames that it held before and does not any more, as far as that is known.
        oldest: see `Outcome.oldest`.
    """

    def __init__(self, options: JournalOptions, wall: float) -> None:
        """Lock, heal and open; blocking.

        Args:
            options: the sink's.
            wall: seconds since 1970, to name what is moved aside.

        Raises:
            JournalLocked: another process has it.
            JournalUnwritable: folder or file can't be made or opened.
        """
        self.folder = Path(options.path)
        self.options = options
        self.found: list[str] = []
        self.oldest: float | None = None
        self._data = self.folder / "data.mdb"
        self._compress = options.compression is Compression.ZSTD
        self._store: Store | None = None
        self._sound = True
        self._broken = ""
        self._tally = journal_folder.Tally(self.folder)
        self._wall = wall
        self._lock = journal_folder.lock(self.folder)
        try:
            self._store, self.lost = journal_folder.open_store(self.folder, options.max_size, wall, self.found)
            self._seen = self._data.stat()
            with self._store.env.begin() as txn:
                self._look(txn)
            self._know(self._store.state)
        except BaseException:
            if self._store is not None:
                self._store.close()
            self._lock.release()
            raise

    @property
    def state(self) -> State:
        """The counters as of the last commit."""
        return self._current().state

    def claim(self, receiver: str) -> None:
        """Say who the frames are for; written with the next commit.

        `mqtt://` and `mqtts://` of one host and port are one broker: what differs is how it is reached.

        Raises:
            JournalForeign: it holds frames for another one.
        """
        state = self.state
        if state.receiver and not same_receiver(state.receiver, receiver) and state.frames:
            raise JournalForeign(str(self.folder), state.receiver, receiver)
        state.receiver = receiver

    def round(self, work: Work) -> Outcome:
        """Write, apply the limits, read. Never raises for the disk's sake: `Outcome.error` tells."""
        outcome = Outcome(self._known)
        self._wall = work.wall
        try:
            mended = self._guard()
        except _FAILURES as error:
            broken = bool(self._broken)
            return Outcome(self._known, error=error, unwritten=True, unread=True, oldest=self.oldest, broken=broken)
        try:
            if work.writes:
                outcome = self._write(work)
        except _FAILURES as error:
            outcome = Outcome(self._known, error=error, unwritten=True)
            self._reopen_later()
        try:
            if work.read is not None:
                self._read(work, outcome)
            outcome.state = self._know(self._current().state)
        except _FAILURES as error:
            outcome.error, outcome.unread = outcome.error or error, True
            outcome.loaded, outcome.end = [], False
            self._reopen_later()
        outcome.oldest, outcome.mended = self.oldest, mended
        return outcome

    def close(self, age: float) -> int:
        """Close and, when all went well, mark the end as clean; may be called again.

        Args:
            age: the journal's age now, seconds.

        Returns:
            Frames that were on disk and are gone with their file; 0 unless somebody took that away.
        """
        lost = 0
        try:
            if self._store is not None:
                try:
                    self._guard()
                    self._finish(self._store, age)
                except _FAILURES:
                    lost = 0 if self._broken or self._data.exists() else self._known.frames
                    self._sound = False
                if self._store is not None:
                    self._store.close()
                    self._store = None
                    if self._sound:
                        journal_folder.mark(self.folder)
        finally:
            self._tally.close()
            self._lock.release()
        return lost

    @contextlib.contextmanager
    def write(self) -> Iterator[tuple[Store, Any]]:
        """A write transaction for tools: yields (store, transaction), commits when the block ends well."""
        self._guard()
        store = self._current()
        with store.write() as txn:
            yield store, txn

    @contextlib.contextmanager
    def look(self) -> Iterator[tuple[Store, Any]]:
        """A read transaction: yields (store, transaction).

        Raises:
            JournalError: the file can't be opened or read.
        """
        try:
            self._guard()
            store = self._current()
            with store.env.begin() as txn:
                yield store, txn
        except (lmdb.Error, OSError) as error:
            raise JournalError(f"journal '{self.folder}' can't be read: {error}") from error

    def widen(self) -> None:
        """See `Store.widen`: the one transaction of a tool can't be repeated."""
        self._current().widen()

    # --- one round

    def _guard(self) -> str:
        """Before the file is touched: that it is there, and whole, since a map that ends early kills by signal.

        Returns:
            What was wrong and is mended, in a sentence; else nothing.

        Raises:
            JournalError: it must be opened anew, by whoever checks it then.
        """
        if self._store is None:
            return ""
        try:
            stat = self._data.stat()
        except FileNotFoundError:
            stat = None
        if stat is None or not os.path.samestat(stat, self._seen):
            return self._restore(self._store)
        if stat.st_size < self._seen.st_size:
            self._broken = f"its file '{self._data}' was cut off while it was open"
            self._reopen_later()
            self._current()
        return ""

    def _restore(self, store: Store) -> str:
        """The file is not there any more, but all that was in it still is: write it anew."""
        self._lock.release()
        self._lock = journal_folder.lock(self.folder)
        mended = journal_folder.copy(store, self.folder, self._wall)
        store.close()
        self._store = None
        self._current().sync()
        self._seen = self._data.stat()
        self._tally.close()
        self._know(self._current().state)
        return mended

    def _know(self, state: State) -> State:
        """What is on disk now; a copy, and told to whoever comes after this process."""
        self._known = msgspec.structs.replace(state)
        self._tally.write(state.frames)
        return self._known

    def _current(self) -> Store:
        if self._broken:
            raise JournalError(f"journal '{self.folder}': {self._broken}; it is closed, and mended when it is opened")
        if self._store is None:
            self._store = Store(self.folder, self.options.max_size)
            self._sound = True
        return self._store

    def _reopen_later(self) -> None:
        """After a failed commit LMDB may refuse its environment for good: the next round opens a new one."""
        if self._store is not None:
            self._store.close()
        self._store = None
        self._sound = False

    def _write(self, work: Work) -> Outcome:
        store = self._current()
        while True:
            outcome = Outcome(store.state)
            try:
                with store.write() as txn:
                    self._apply(store, txn, work, outcome)
            except lmdb.MapFullError:
                if not store.grow():
                    raise
            else:
                with contextlib.suppress(OSError):
                    stat = self._data.stat()
                    self._seen = stat if os.path.samestat(stat, self._seen) else self._seen
                return outcome

    def _apply(self, store: Store, txn: Any, work: Work, outcome: Outcome) -> None:
        state = store.state
        state.age = work.age
        state.next = max(state.next, work.next)
        for letter in work.buried:
            store.bury(txn, letter)
        for key in work.done:
            if self.options.keep_after_ack:
                store.keep(txn, key, work.age)
            else:
                store.delete(txn, key)
        for records in split(work.puts):
            store.append(txn, records, work.age, work.wall, compress=self._compress)
            outcome.written.append(Batch(records[0].n, len(records)))
        self._limit(store, txn, work, outcome)
        self._look(txn)

    def _limit(self, store: Store, txn: Any, work: Work, outcome: Outcome) -> None:
        """Kept batches go first, then, by age and size, the oldest that have no records in memory."""
        options, state = self.options, store.state
        while kept := next(store.kept(txn), None):
            if state.bytes <= options.max_size and work.age - kept[1] <= options.keep_after_ack:
                break
            store.delete(txn, kept[0])
        excess = state.bytes - options.max_size if options.when_full is WhenFull.DROP_OLDEST else 0
        fresh = {batch.key for batch in outcome.written}
        victims: list[tuple[int, str]] = []
        for key, header, size in store.unacknowledged(txn):
            old = work.age - header.age > options.max_age
            if not old and excess <= 0:
                break
            if key not in work.protected and key not in fresh:
                victims.append((key, "too_old" if old else "journal_full"))
                excess -= size
        for key, reason in victims:
            outcome.evicted.append((key, store.delete(txn, key), reason))

    def _look(self, txn: Any) -> None:
        oldest = next(self._current().unacknowledged(txn), None)
        self.oldest = None if oldest is None else oldest[1].age

    def _read(self, work: Work, outcome: Outcome) -> None:
        start, stop = work.read or (0, 0)
        store = self._current()
        broken: list[tuple[int, bytes]] = []
        size = 0
        with store.env.begin() as txn:
            for key, value in store.read(txn, start, stop):
                if size >= READ_BYTES:
                    break
                records, damaged, missing = decode_batch(key, value)
                if damaged or missing:
                    broken.append((key, value))
                wanted = [record for record in records if start <= record.n < stop]
                if wanted:
                    outcome.loaded.append(Loaded(key, len(records), wanted))
                size += sum(len(record.plain) for record in wanted)
            else:
                outcome.end = True
        for key, value in broken:
            outcome.damaged += self._mend(store, work, key, value)

    def _mend(self, store: Store, work: Work, key: int, value: bytes) -> int:
        """Take damaged records out of their batch, so that they are told once; their bytes go to the dead letters."""
        records, damaged, _ = decode_batch(key, value)
        with store.write() as txn:
            missing = store.rewrite(txn, key, value, records, compress=self._compress)
            share, rest = divmod(missing, max(len(damaged), 1))
            # Where only the header was damaged, nothing is.
            for index, piece in enumerate(damaged if missing else ()):
                count = share + (rest if index == 0 else 0)
                store.bury(txn, DeadLetter("damaged", work.wall, key, "", 0, "", "", 0.0, piece, count))
        return missing

    def _finish(self, store: Store, age: float) -> None:
        if store.state.frames or store.state.kept_bytes:
            with store.write():
                store.state.age = max(store.state.age, age)
