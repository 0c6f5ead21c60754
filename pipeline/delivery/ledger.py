"""What memory knows of records that are accepted and not yet gone: which wait for a commit, which batches are on disk.

Plain data on the loop's side: no timer, no disk. `Commits` writes down what stands here, `Delivery` tells what the
receiver said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import islice

from pipeline.journal.records import Batch, DeadLetter, Record
from pipeline.journal.work import Loaded

__all__ = ["Ledger"]


class Ledger:
    """The records of one delivery.

    Attributes:
        pending: records that are not written, by ordinal, ascending.
        batches: on disk with records in memory, or acknowledged in part; by key.
        dying: refused for good, until that is written.
        done: keys of batches that are acknowledged and still on disk.
        done_since: monotonic seconds since when there are such; infinity without any.
    """

    def __init__(self, *, keep: bool) -> None:
        """Make an empty ledger.

        Args:
            keep: acknowledged records are written too, and kept.
        """
        self.pending: dict[int, Record] = {}
        self.batches: dict[int, Batch] = {}
        self.dying: dict[int, tuple[Record, DeadLetter]] = {}
        self.done: dict[int, None] = {}
        self.done_since = math.inf
        self._keep = keep

    def unacknowledged(self, on_disk: int) -> int:
        """Records that are neither acknowledged nor gone.

        Args:
            on_disk: records in unacknowledged batches.
        """
        waiting = sum(1 for record in self.pending.values() if not record.acked)
        return waiting + on_disk - sum(len(batch.acked) for batch in self.batches.values())

    def first_unsafe(self) -> int | None:
        """The lowest ordinal that is neither acknowledged nor on disk; None where all are."""
        return next((n for n, record in self.pending.items() if not record.acked), None)

    def settle(self, record: Record, now: float) -> bool:
        """The record is acknowledged: it is never written, or its batch goes when it was the last.

        Args:
            record: which.
            now: monotonic seconds.

        Returns:
            True when a batch is done by it.
        """
        if record.batch is not None:
            return self._count_off(record.batch, record.n, now)
        if self._keep:
            record.acked = True
        else:
            self.pending.pop(record.n, None)
        return False

    def bury(self, record: Record, reason: str, wall: float) -> None:
        """The record is refused for good: it leaves the journal in the commit that writes it to the dead letters."""
        self.dying[record.n] = (record, DeadLetter.of(record, reason, wall))

    def give_up(self, count: int) -> int:
        """Forget the oldest records that only memory has and nobody sends; how many there were."""
        victims = list(islice((n for n, record in self.pending.items() if not record.held), count))
        for n in victims:
            del self.pending[n]
        return len(victims)

    def waiting(self, start: int, stop: float) -> list[Record]:
        """Records of [start, stop) that wait for their commit and may be sent before it."""
        return [
            record
            for n, record in self.pending.items()
            if start <= n < stop and record.ready and not record.acked and n not in self.dying
        ]

    def writable(self, count: int) -> list[Record]:
        """The oldest records that wait for their commit, at most `count`."""
        return list(islice((record for n, record in self.pending.items() if n not in self.dying), count))

    def adopt(self, loaded: Loaded) -> list[Record]:
        """Those records of a batch read from disk that are still to be sent, tied to their batch."""
        if loaded.key in self.done:
            return []
        batch = self.batches.get(loaded.key) or Batch(loaded.key, loaded.count)
        records = [record for record in loaded.records if record.n not in batch.acked and record.n not in self.dying]
        if records:
            self.batches[loaded.key] = batch
        for record in records:
            record.batch = batch
        return records

    def lose(self) -> None:
        """Nothing is held any more: keep only what is known of batches that are acknowledged in part."""
        self.batches = {key: batch for key, batch in self.batches.items() if batch.acked}

    def begin_anew(self) -> None:
        """The journal's file is another one: what was known of its batches says nothing any more."""
        self.batches.clear()
        self.removed(list(self.done), math.inf)

    def evict(self, key: int, count: int) -> int:
        """A batch of `count` records is gone by the limits; how many of them were not acknowledged."""
        batch = self.batches.pop(key, None)
        return count - (len(batch.acked) if batch else 0)

    def written(self, batch: Batch, records: Sequence[Record], now: float) -> None:
        """A batch is on disk: forget those that nobody sends now, remember which were acknowledged meanwhile."""
        held = False
        gone: list[int] = []
        for record in records:
            if self.pending.pop(record.n, None) is None or record.acked:
                gone.append(record.n)
            else:
                record.batch = batch
                held = held or record.held
        if held or gone:
            self.batches[batch.key] = batch
        for n in gone:
            self._count_off(batch, n, now)

    def buried(self, letters: Iterable[DeadLetter], now: float) -> None:
        """Dead letters are on disk: their records leave."""
        for letter in letters:
            record, _ = self.dying.pop(letter.n)
            if record.batch is None:
                self.pending.pop(record.n, None)
            else:
                # After a lost connection its batch may be another object, or none.
                self._count_off(self.batches.setdefault(record.batch.key, record.batch), record.n, now)

    def removed(self, keys: Iterable[int], now: float) -> None:
        """Acknowledged batches have left the disk."""
        for key in keys:
            self.done.pop(key, None)
        self.done_since = now if self.done else math.inf

    def _count_off(self, batch: Batch, n: int, now: float) -> bool:
        batch.acked.add(n)
        if len(batch.acked) < batch.count:
            return False
        self.batches.pop(batch.key, None)
        if not self.done:
            self.done_since = now
        self.done[batch.key] = None
        return True
