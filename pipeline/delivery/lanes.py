"""Which record is sent next: the live lane, the backlog, what is still unread on disk, and what is tried again later.

`fifo` has one queue for both lanes; `live_first` sends the live one first and the backlog beside it. A record is either
held here (or in flight), or its ordinal lies in an unread range: [start, stop) of what must be read from the journal,
or from the records that wait for their commit. While the last range is open (no stop), every new record belongs to it.
Plain data: no clock, no disk.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable

from pipeline.codecs import CODECS
from pipeline.journal.options import Order
from pipeline.journal.records import Record

__all__ = ["Lanes", "mark_replayed"]

HELD_LIMIT = 2048
READ_BELOW = 1024
LIVE_FIRST_RATE = 2000.0
_BURST = 0.1


class Lanes:
    """The queues of one delivery.

    Attributes:
        connected: records are being sent.
        open: new records go to the last unread range, not to memory.
    """

    def __init__(self, order: Order, rate: float) -> None:
        """Make empty lanes that take everything below as unread.

        Args:
            order: see `Order`.
            rate: frames a second from the backlog; 0 for the order's default.
        """
        self.connected = False
        self.open = True
        self._fifo = order is Order.FIFO
        self._rate = rate or (math.inf if self._fifo else LIVE_FIRST_RATE)
        self._live: deque[Record] = deque()
        self._backlog = self._live if self._fifo else deque()
        self._unread: deque[list[float]] = deque([[0, math.inf]])
        self._retries: list[tuple[float, int, Record]] = []
        self._tokens = 0.0
        self._counted = 0.0
        self._fresh = True

    def __len__(self) -> int:
        """Records held in memory."""
        return len(self._live) + (0 if self._fifo else len(self._backlog)) + len(self._retries)

    def connect(self, now: float, ordinal: int) -> None:
        """Sending begins.

        Args:
            now: monotonic seconds.
            ordinal: of the next record.
        """
        self.connected = True
        self._tokens, self._counted = 0.0, now
        if not self._fifo:
            self._close(ordinal)

    def lose(self) -> None:
        """Sending ends: everything that is unacknowledged becomes unread, from the oldest on, in order."""
        for record in (*self._live, *self._backlog, *(record for _, _, record in self._retries)):
            record.held = False
        self._live.clear()
        self._backlog.clear()
        self._retries.clear()
        self._unread = deque([[0, math.inf]])
        self.connected, self.open, self._fresh = False, True, False

    def add(self, record: Record) -> None:
        """A new record that may be sent; behind an open range it is not held."""
        if self._unread and record.n < self._unread[-1][1]:
            return
        record.held = True
        self._live.append(record)
        if len(self._live) >= HELD_LIMIT:
            self.open = True
            self._unread.append([record.n + 1, math.inf])

    def unread(self) -> tuple[int, float] | None:
        """The range to read next, None when enough is in memory."""
        if not self.connected or not self._unread or len(self._backlog) >= READ_BELOW:
            return None
        return self.first()

    def first(self) -> tuple[int, float] | None:
        """The first unread range, None without one."""
        return (int(self._unread[0][0]), self._unread[0][1]) if self._unread else None

    @property
    def backlogged(self) -> bool:
        """True while something of the backlog is unread or comes next."""
        return bool(self._unread or (self._backlog and self._backlog[0].replayed))

    def load(self, records: Iterable[Record], upto: int) -> None:
        """Take what was read of the first unread range; the range goes on from ordinal `upto`."""
        self._fresh = False
        for record in records:
            self._hold(record)
        self._unread[0][0] = upto

    def exhaust(self, records: Iterable[Record]) -> None:
        """The first unread range has no more on disk; `records` are those of it that wait for their commit."""
        for record in records:
            if self._fresh:
                # Accepted while the very first connection was made, and never written: as live as can be.
                record.held = True
                self._live.append(record)
            else:
                self._hold(record)
        _, stop = self._unread.popleft()
        if stop == math.inf:
            self.open = False

    def _hold(self, record: Record) -> None:
        record.held = True
        mark_replayed(record)
        self._backlog.append(record)

    def retry(self, record: Record, due: float) -> None:
        """Try a refused record again at `due` (monotonic seconds), in the replay lane."""
        mark_replayed(record)
        heapq.heappush(self._retries, (due, record.n, record))

    def take(self, room: int, share: int, now: float, ordinal: int) -> list[Record]:
        """Remove the records to send now.

        Args:
            room: how many at most.
            share: how many of them may be of the backlog, with `live_first`.
            now: monotonic seconds.
            ordinal: of the next record.
        """
        taken: list[Record] = []
        while self._retries and self._retries[0][0] <= now and len(taken) < room:
            taken.append(heapq.heappop(self._retries)[2])
        if len(self._retries) >= HELD_LIMIT:
            return taken
        live = self._live
        if self._fifo:
            count = min(room - len(taken), len(live))
            if self._rate != math.inf:
                count = self._paced(count, now)
            _move(live, count, taken)
            return taken
        _move(live, min(room - len(taken), len(live)), taken)
        if self._backlog:
            count = self._paced(min(room - len(taken), share, len(self._backlog)), now)
            _move(self._backlog, count, taken)
        if self.open and len(live) <= HELD_LIMIT // 2:
            self._close(ordinal)
        return taken

    def give_back(self, records: Iterable[Record]) -> None:
        """Put records that were taken and not sent where they came from; `records` in the order of `take`."""
        for record in reversed(list(records)):
            (self._backlog if record.replayed else self._live).appendleft(record)

    def due(self, now: float) -> float:
        """Monotonic seconds when more may be taken without anything else happening; infinity when that is never."""
        due = self._retries[0][0] if self._retries else math.inf
        queue = self._backlog
        if self._rate != math.inf and queue and queue[0].replayed:
            # In pieces of 20 ms: a timer for each frame would cost more than the frame.
            wanted = max(1.0, self._rate * 0.02)
            due = min(due, now + max(0.0, wanted - self._tokens) / self._rate)
        return due

    def _paced(self, count: int, now: float) -> int:
        """How many of the next `count` records the rate allows; live ones in a `fifo` queue cost nothing."""
        self._tokens = min(self._tokens + (now - self._counted) * self._rate, max(1.0, self._rate * _BURST))
        self._counted = now
        allowed = 0
        for record in self._backlog:
            if allowed == count or (record.replayed and self._tokens < 1.0):
                break
            self._tokens -= record.replayed
            allowed += 1
        return allowed

    def _close(self, ordinal: int) -> None:
        """What comes from now on is live."""
        if self.open:
            self.open = False
            self._unread[-1][1] = ordinal


def _move(queue: deque[Record], count: int, taken: list[Record]) -> None:
    """Take so many from a queue's front; nearly always all there are."""
    if count == len(queue):
        taken.extend(queue)
        queue.clear()
    else:
        taken.extend([queue.popleft() for _ in range(count)])


def mark_replayed(record: Record) -> None:
    """Mark a record as one of the backlog, also in the body that is sent."""
    if not record.replayed:
        record.replayed = True
        codec = CODECS.get(record.codec)
        record.body = codec.mark_replayed(record.plain) if codec else record.plain
