"""The loop's side of a journal: records that wait for their commit, batches on disk, and one round at a time.

A round (one call on the journal's thread) begins when the oldest unacknowledged record has waited 0.8 of the commit
interval, when a read is wanted, or within a second of an acknowledgement that empties a batch. While it runs, what
comes next gathers: the natural group commit. When the disk fails, records stay in memory up to a cap, and rounds are
repeated with back-off until it works again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import msgspec

from pipeline.clock import Clock
from pipeline.journal import Journal, Loaded, Outcome, Work, explain
from pipeline.journal_file import State
from pipeline.journal_options import JournalOptions
from pipeline.records import Batch, DeadLetter, Record
from pipeline.retry import Backoff, Retry
from pipeline.units import Duration

__all__ = ["Commits"]

DUE = 0.8
DONE_WITHIN = 1.0
LIMITS_EVERY = 60.0
PUT_LIMIT = 20_000
MEMORY_LIMIT = 64 * 1024 * 1024
_DISK_RETRY = Retry(initial=Duration(0.5), max=Duration(10))


class Commits:
    """Everything that is accepted and not yet gone, as far as memory knows it.

    Attributes:
        pending: records that are not written, by ordinal, ascending.
        batches: on disk with records in memory, or acknowledged in part; by key.
        dying: refused for good, until that is written.
        state: the journal's counters after the latest round.
        next: ordinal of the next record.
        trouble: why the disk can't be written, in words; empty while it can.
        memory_records: how many records memory may hold while the disk fails.
        wait: seconds that a record may wait for its commit.
        armed: monotonic seconds of the next round that is planned; -inf while one runs.
    """

    def __init__(
        self,
        clock: Clock,
        options: JournalOptions,
        name: str,
        *,
        wants: Callable[[], tuple[int, float] | None],
        release: Callable[[Record], None],
        finished: Callable[[Outcome], None],
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            clock: the one clock.
            options: the journal's.
            name: of the thread.
            wants: the range to read next, None when there is none.
            release: given each record that may be sent from now on, when it had to wait for its commit.
            finished: told the outcome of each round.
        """
        self.pending: dict[int, Record] = {}
        self.batches: dict[int, Batch] = {}
        self.dying: dict[int, tuple[Record, DeadLetter]] = {}
        self.state = State()
        self.next = 0
        self.trouble = ""
        self.memory_records = 0
        self.armed = math.inf
        self.connected = False
        self._clock = clock
        self._options = options
        self._name = name
        self._wants = wants
        self._release = release
        self._finished = finished
        self._keep = options.keep_after_ack > 0
        self.wait = DUE * options.commit_interval
        self._journal: Journal | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._round: asyncio.Future[Outcome] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._backoff = Backoff(_DISK_RETRY)
        self._write_after = -math.inf
        self._read_after = -math.inf
        self._done: dict[int, None] = {}
        self._done_since = math.inf
        self._checked = 0.0
        self._oldest: float | None = None
        self._base = 0.0
        self._opened = 0.0
        self._closing = False

    # --- opening and closing

    async def open(self, receiver: str) -> list[str]:
        """Open the journal for a receiver; what was found wrong and mended, in sentences.

        Raises:
            JournalError: it can't be opened, or belongs to another receiver.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix=f"journal-{self._name}")
        try:
            journal = await self._clock.loop.run_in_executor(
                executor, _open, self._options, receiver, self._clock.wall()
            )
        except BaseException:
            executor.shutdown(wait=False)
            raise
        self._executor, self._journal = executor, journal
        self.state = msgspec.structs.replace(journal.state)
        self.next = max(self.next, self.state.next)
        self._oldest = journal.oldest
        self._base, self._opened = self.state.age, self._clock.monotonic()
        self._checked = self._opened
        self._closing = False
        self.armed = math.inf
        self.poke()
        return journal.found

    async def close(self, grace: float) -> None:
        """Write what waits and close, within `grace` seconds; what could not be written stays in `pending`."""
        if self._journal is None or self._executor is None:
            return
        self._closing = True
        self._disarm()
        deadline = self._clock.loop.time() + grace
        try:
            while self._round is not None or self.pending or self._done or self.dying:
                if self._round is None:
                    self._start(force=True)
                before = self.trouble
                async with asyncio.timeout_at(deadline):
                    await asyncio.wait((self._current(),))
                await asyncio.sleep(0)
                if self.trouble and before:
                    break
            async with asyncio.timeout_at(deadline):
                await self._clock.loop.run_in_executor(self._executor, self._journal.close, self.age())
        except TimeoutError:
            self._executor.submit(self._journal.close, self.age())
        self._executor.shutdown(wait=False)
        self._journal = self._executor = None

    def unacknowledged(self) -> int:
        """Records that are neither acknowledged nor gone, in memory and on disk."""
        waiting = sum(1 for record in self.pending.values() if not record.acked)
        return waiting + self.state.frames - sum(len(batch.acked) for batch in self.batches.values())

    def age(self) -> float:
        """The journal's age: seconds that it has been open, ever."""
        return self._base + self._clock.monotonic() - self._opened

    def oldest_age(self) -> float:
        """Seconds that the oldest unacknowledged record has waited, as far as the journal was open; 0 without one."""
        oldest = 0.0 if self._oldest is None else self.age() - self._oldest
        for record in self.pending.values():
            if not record.acked:
                return max(oldest, self._clock.monotonic() - record.accepted)
        return oldest

    # --- what happens to records

    def settle(self, record: Record) -> None:
        """The record is acknowledged: never write it, or let its batch go when it was the last."""
        batch = record.batch
        if batch is not None:
            self._count_off(batch, record.n)
        elif self._keep:
            record.acked = True
        else:
            self.pending.pop(record.n, None)

    def bury(self, record: Record, reason: str) -> None:
        """The record is refused for good: it leaves the journal in the commit that writes it to the dead letters."""
        letter = DeadLetter(
            reason,
            self._clock.wall(),
            record.n,
            record.topic,
            record.qos,
            record.codec,
            record.plc,
            record.ts,
            record.plain,
        )
        self.dying[record.n] = (record, letter)
        self.poke()

    def give_up(self, count: int) -> int:
        """Forget the oldest records that only memory has; how many there were."""
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

    def committed(self) -> bool:
        """True when there are unacknowledged records on disk, or a commit is on its way."""
        return bool(self.state.frames) or self._round is not None

    def disconnected(self) -> None:
        """Nothing is in memory any more but what waits for its commit: keep only what is known of partial batches."""
        self.connected = False
        self.batches = {key: batch for key, batch in self.batches.items() if batch.acked}

    def _count_off(self, batch: Batch, n: int) -> None:
        batch.acked.add(n)
        if len(batch.acked) >= batch.count:
            self.batches.pop(batch.key, None)
            if not self._done:
                self._done_since = self._clock.monotonic()
            self._done[batch.key] = None
            self.arm(self._done_since + DONE_WITHIN)

    def adopt(self, loaded: Loaded) -> list[Record]:
        """Those records of a batch read from disk that are still to be sent, tied to their batch."""
        if loaded.key in self._done:
            return []
        batch = self.batches.get(loaded.key) or Batch(loaded.key, loaded.count)
        records = [record for record in loaded.records if record.n not in batch.acked and record.n not in self.dying]
        if records:
            self.batches[loaded.key] = batch
        for record in records:
            record.batch = batch
        return records

    # --- rounds

    def arm(self, due: float) -> None:
        """See to it that a round begins at `due` (monotonic seconds) at the latest."""
        if due < self.armed:
            self._disarm()
            self.armed = due
            delay = max(0.0, due - self._clock.monotonic())
            self._timer = self._clock.loop.call_later(delay, self._fire)

    def poke(self) -> None:
        """Begin a round if one is due, else plan the next."""
        if self._round is not None or self._journal is None or self._closing:
            return
        now = self._clock.monotonic()
        due = self._due(now)
        if due <= now:
            self._disarm()
            self._start()
        else:
            self.arm(due)

    def _fire(self) -> None:
        self._timer, self.armed = None, math.inf
        self.poke()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.armed = None, math.inf

    def _due(self, now: float) -> float:
        read = math.inf
        if self._wants() is not None:
            read = max(now, self._read_after)
        due = math.inf
        if self.pending:
            due = next(iter(self.pending.values())).accepted + self.wait
        if self._done:
            due = min(due, self._done_since + DONE_WITHIN)
        if self.dying:
            due = now
        if self.state.frames or self.state.kept_bytes:
            due = min(due, self._checked + LIMITS_EVERY)
        return min(read, max(due, self._write_after))

    def _current(self) -> asyncio.Future[Outcome]:
        assert self._round is not None  # noqa: S101 - just started, or checked
        return self._round

    def _start(self, *, force: bool = False) -> None:
        assert self._journal is not None  # noqa: S101 - poke and close look before
        work, puts = self._work(self._clock.monotonic(), force=force)
        self.armed = -math.inf
        self._round = self._clock.loop.run_in_executor(self._executor, self._journal.round, work)
        self._round.add_done_callback(lambda future: self._end(future, work, puts))

    def _work(self, now: float, *, force: bool) -> tuple[Work, list[Record]]:
        writable = force or self._write_after <= now
        puts: list[Record] = []
        if writable and self.pending:
            oldest = next(iter(self.pending.values())).accepted
            if force or oldest + self.wait <= now:
                fresh = (record for n, record in self.pending.items() if n not in self.dying)
                puts = list(islice(fresh, PUT_LIMIT))
        limits = now - self._checked >= LIMITS_EVERY
        letters = [letter for _, letter in self.dying.values()] if writable else []
        # A deletion alone is not worth an fsync before its time.
        late = now - self._done_since >= DONE_WITHIN
        done = list(self._done) if writable and (puts or letters or limits or force or late) else []
        return Work(
            age=self.age(),
            wall=self._clock.wall(),
            next=self.next,
            puts=puts,
            done=done,
            buried=letters,
            limits=limits and writable,
            read=self._wants() if self._read_after <= now and not force else None,
            protected=frozenset(self.batches) if self.connected else frozenset(),
        ), puts

    def _end(self, future: asyncio.Future[Outcome], work: Work, puts: list[Record]) -> None:
        self._round, self.armed = None, math.inf
        error = future.exception()
        outcome = (
            Outcome(self.state, error=error, unwritten=True, unread=True)
            if isinstance(error, Exception)
            else future.result()
        )
        for record in puts:
            if not record.ready:
                # Also when the commit failed: a frame that is only in memory is not safer for not being sent.
                record.ready = True
                self._release(record)
        if outcome.error is not None:
            self._fail(outcome, outcome.error)
        elif work.writes or self._read_after > -math.inf:
            self._recover()
        if not outcome.unwritten:
            self._absorb(outcome, work, puts)
        self._finished(outcome)
        self.poke()

    def _recover(self) -> None:
        self.trouble = ""
        self._write_after = self._read_after = -math.inf
        self._backoff.succeed()

    def _absorb(self, outcome: Outcome, work: Work, puts: list[Record]) -> None:
        self.state, self._oldest = outcome.state, outcome.oldest
        now = self._clock.monotonic()
        if work.writes:
            self._checked = now
        for key in work.done:
            self._done.pop(key, None)
            self._done_since = now
        for letter in work.buried:
            record, _ = self.dying.pop(letter.n)
            if record.batch is not None:
                # After a lost connection its batch may be another object, or none.
                self._count_off(self.batches.setdefault(record.batch.key, record.batch), record.n)
            else:
                self.pending.pop(record.n, None)
        position = 0
        for batch in outcome.written:
            records = puts[position : position + batch.count]
            position += batch.count
            self._written(batch, records)

    def _written(self, batch: Batch, records: Sequence[Record]) -> None:
        """Records are on disk: forget those that nobody sends now, remember which were acknowledged meanwhile."""
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
            self._count_off(batch, n)

    def _fail(self, outcome: Outcome, error: Exception) -> None:
        later = self._clock.monotonic() + self._backoff.fail()
        if outcome.unwritten:
            self._write_after = later
        if outcome.unread:
            self._read_after = later
        sample = [len(record.plain) + 400 for record in islice(self.pending.values(), 1000)]
        average = sum(sample) / len(sample) if sample else 1000.0
        self.memory_records = int(min(MEMORY_LIMIT, self._options.max_size) / average)
        room = _rounded(max(0, self.memory_records - len(self.pending)))
        self.trouble = f"{explain(error)} ({self._options.path}): frames wait in memory, room for {room} more"


def _open(options: JournalOptions, receiver: str, wall: float) -> Journal:
    journal = Journal(options, wall)
    try:
        journal.claim(receiver)
    except BaseException:
        journal.close(0.0)
        raise
    return journal


def _rounded(number: int) -> int:
    """Two digits, so that a growing backlog is not a new reason with every attempt."""
    unit = int(10 ** max(0, len(str(number)) - 2))
    return number // unit * unit
