"""The loop's side of a journal: records that wait for their commit, batches on disk, and one round at a time.

A round (one call on the journal's thread) begins when the oldest unacknowledged record has waited 0.8 of the commit
interval, when those that wait have grown heavy, when a read is wanted, or within a second of an acknowledgement that
empties a batch. While it runs, what comes next gathers: the natural group commit. When the disk fails, records stay in
memory up to a cap, and rounds are repeated with back-off until it works again.
"""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from pipeline.clock import Clock
from pipeline.delivery.ledger import Ledger
from pipeline.errors import JournalError
from pipeline.journal.file import State
from pipeline.journal.folder import explain
from pipeline.journal.journal import Journal
from pipeline.journal.options import JournalOptions
from pipeline.journal.records import Record
from pipeline.journal.work import Outcome, Work
from pipeline.retry import Backoff, Retry
from pipeline.units import Duration

__all__ = ["Commits"]

Answer = TypeVar("Answer")

DUE = 0.8
DONE_WITHIN = 1.0
LIMITS_EVERY = 60.0
LOOK_EVERY = 10.0
PUT_LIMIT = 20_000
MEMORY_LIMIT = 64 * 1024 * 1024
WAIT_LIMIT = 16 * 1024 * 1024
_WEIGH_EVERY = WAIT_LIMIT // 4
_AROUND = 400
"""Bytes that a record takes in memory around its body."""
_DISK_RETRY = Retry(initial=Duration(0.5), max=Duration(10))


class Commits:
    """The journal of one delivery, as its loop sees it.

    Attributes:
        state: the journal's counters after the latest round.
        next: ordinal of the next record.
        trouble: why the disk can't be written, in words; empty while it can.
        lost: frames that the journal held before it was opened and does not any more, as far as that is known.
        broken: why it must be closed and opened again, which mends it; else None.
        memory_records: how many records memory may hold while the disk fails.
        body_size: mean bytes of their bodies.
        wait: seconds that a record may wait for its commit.
        armed: monotonic seconds of the next round that is planned; -inf while one runs.
        connected: records are being sent, so that the limits must spare batches with records in memory.
        room: bytes that the journal's file may reach before its file system is full, as of a few seconds ago; infinite
            where nobody can tell.
    """

    def __init__(
        self,
        clock: Clock,
        options: JournalOptions,
        name: str,
        ledger: Ledger,
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
            ledger: the records.
            wants: the range to read next, None when there is none.
            release: given each record that may be sent from now on, when it had to wait for its commit.
            finished: told the outcome of each round.
        """
        self.state = State()
        self.next = 0
        self.trouble = ""
        self.lost = 0
        self.broken: Exception | None = None
        self.memory_records = 0
        self.body_size = 0.0
        self.armed = math.inf
        self.connected = False
        self.room = math.inf
        self._clock = clock
        self._options = options
        self._name = name
        self._ledger = ledger
        self._wants = wants
        self._release = release
        self._finished = finished
        self.wait = DUE * options.commit_interval
        self._journal: Journal | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._round: asyncio.Future[Outcome] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._backoff = Backoff(_DISK_RETRY)
        self._write_after = -math.inf
        self._read_after = -math.inf
        self._checked = 0.0
        self._heavy = False
        self._unweighed = 0
        self._oldest: float | None = None
        self._base = 0.0
        self._opened = 0.0
        self._closing = False
        self._look: asyncio.Future[float] | None = None
        self._leave: Callable[[], object] = bool

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
        self.lost, self.broken = journal.lost, None
        self._recover()
        if journal.found:
            self._ledger.begin_anew()
        self.next = max(self.next, self.state.next)
        self._oldest = journal.oldest
        self._base, self._opened = self.state.age, self._clock.monotonic()
        self._checked = self._opened
        self._closing = False
        self.armed = math.inf
        self.poke()
        self._look_at_disk(0)
        self._leave = self._clock.tick(LOOK_EVERY, self._look_at_disk)
        return journal.found

    async def close(self, grace: float) -> int:
        """Write what waits and close, within `grace` seconds; what could not be written stays in `pending`.

        Returns:
            Frames that were on disk and are gone with their file; 0 unless somebody took that away.
        """
        if self._journal is None or self._executor is None:
            return 0
        gone = 0
        ledger = self._ledger
        self._closing = True
        self._disarm()
        self._leave()
        deadline = self._clock.loop.time() + grace
        try:
            while self._round is not None or ledger.pending or ledger.done or ledger.dying:
                if self._round is None:
                    self._start(force=True)
                before = self.trouble
                async with asyncio.timeout_at(deadline):
                    await asyncio.wait((self._current(),))
                await asyncio.sleep(0)
                if self.trouble and before:
                    break
            async with asyncio.timeout_at(deadline):
                gone = await self._clock.loop.run_in_executor(self._executor, self._journal.close, self.age())
        except TimeoutError:
            self._executor.submit(self._journal.close, self.age())
        self._executor.shutdown(wait=False)
        self._journal = self._executor = None
        return gone

    async def ask(self, question: Callable[[Journal], Answer]) -> Answer:
        """Ask the journal, on its own thread, between two rounds.

        Raises:
            JournalError: it is not open.
        """
        if self._journal is None or self._executor is None:
            raise JournalError(f"journal '{self._options.path}' is not open")
        return await self._clock.loop.run_in_executor(self._executor, question, self._journal)

    def age(self) -> float:
        """The journal's age: seconds that it has been open, ever."""
        return self._base + self._clock.monotonic() - self._opened

    def oldest_age(self) -> float:
        """Seconds that the oldest unacknowledged record has waited, as far as the journal was open; 0 without one."""
        oldest = 0.0 if self._oldest is None else self.age() - self._oldest
        for record in self._ledger.pending.values():
            if not record.acked:
                return max(oldest, self._clock.monotonic() - record.accepted)
        return oldest

    @property
    def is_open(self) -> bool:
        """The journal is open."""
        return self._journal is not None

    def committed(self) -> bool:
        """True when there are unacknowledged records on disk, or a commit is on its way."""
        return bool(self.state.frames) or self._round is not None

    def _look_at_disk(self, _: int) -> None:
        """Measure the room on the journal's thread: a file system may take its time."""
        if self._look is None:
            self._look = self._clock.loop.run_in_executor(self._executor, _room, Path(self._options.path))
            self._look.add_done_callback(self._looked)

    def _looked(self, look: asyncio.Future[float]) -> None:
        self._look, self.room = None, look.result()

    # --- rounds

    def arm(self, due: float) -> None:
        """See to it that a round begins at `due` (monotonic seconds) at the latest."""
        if due < self.armed:
            self._disarm()
            self.armed = due
            delay = max(0.0, due - self._clock.monotonic())
            self._timer = self._clock.loop.call_later(delay, self._fire)

    def took(self, records: int, size: int) -> None:
        """Records were added, with bodies of `size` bytes in all: what waits in memory has an end before its time."""
        self._unweighed += size + records * _AROUND
        if self._unweighed >= _WEIGH_EVERY:
            self._unweighed = 0
            self._heavy = sum(len(record.plain) + _AROUND for record in self._ledger.pending.values()) >= WAIT_LIMIT
            self.poke()

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
        ledger = self._ledger
        due = ledger.done_since + DONE_WITHIN
        if ledger.pending:
            due = -math.inf if self._heavy else min(due, next(iter(ledger.pending.values())).accepted + self.wait)
        if ledger.dying:
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
        ledger = self._ledger
        writable = force or self._write_after <= now
        puts: list[Record] = []
        if writable and ledger.pending:
            oldest = next(iter(ledger.pending.values())).accepted
            if force or self._heavy or oldest + self.wait <= now:
                puts, self._heavy = ledger.writable(PUT_LIMIT), False
        limits = writable and self._checked + LIMITS_EVERY <= now  # as `_due` has it, to the last bit
        letters = [letter for _, letter in ledger.dying.values()] if writable else []
        # A deletion alone is not worth an fsync before its time.
        late = ledger.done_since + DONE_WITHIN <= now
        done = list(ledger.done) if writable and (puts or letters or limits or force or late) else []
        return Work(
            age=self.age(),
            wall=self._clock.wall(),
            next=self.next,
            puts=puts,
            done=done,
            buried=letters,
            limits=limits,
            read=self._wants() if self._read_after <= now and not force else None,
            protected=frozenset(ledger.batches) if self.connected else frozenset(),
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
        self._ledger.removed(work.done, now)
        self._ledger.buried(work.buried, now)
        position = 0
        for batch in outcome.written:
            self._ledger.written(batch, puts[position : position + batch.count], now)
            position += batch.count

    def _fail(self, outcome: Outcome, error: Exception) -> None:
        if outcome.broken:
            self.broken = error
        later = self._clock.monotonic() + self._backoff.fail()
        if outcome.unwritten:
            self._write_after = later
        if outcome.unread:
            self._read_after = later
        sample = [len(record.plain) for record in islice(self._ledger.pending.values(), 1000)]
        self.body_size = sum(sample) / len(sample) if sample else 600.0
        self.memory_records = int(min(MEMORY_LIMIT, self._options.max_size) / (self.body_size + _AROUND))
        room = _rounded(max(0, self.memory_records - len(self._ledger.pending)))
        reason, path = explain(error, Path(self._options.path)), self._options.path
        self.trouble = f"{reason} ({path}): frames wait in memory, room for {room} more"


def _open(options: JournalOptions, receiver: str, wall: float) -> Journal:
    journal = Journal(options, wall)
    try:
        journal.claim(receiver)
    except BaseException:
        journal.close(0.0)
        raise
    return journal


def _room(folder: Path) -> float:
    """Bytes on the journal's file system that it has taken or may take; infinite where that can't be told."""
    try:
        return shutil.disk_usage(folder).free + (folder / "data.mdb").stat().st_blocks * 512
    except OSError:
        return math.inf


def _rounded(number: int) -> int:
    """Two digits, so that a growing backlog is not a new reason with every attempt."""
    unit = int(10 ** max(0, len(str(number)) - 2))
    return number // unit * unit
