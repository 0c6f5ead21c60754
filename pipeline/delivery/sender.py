"""Hands records to a connection: the window, the in-flight table, and when to look again.

The in-flight table is the truth of what the receiver was given over this connection. Sending happens by plain calls:
when frames come, when answers come, when the disk has given something, and by one timer for retries, pace and breaker.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

from pipeline.clock import Clock
from pipeline.delivery.breaker import Breaker
from pipeline.delivery.commits import Commits
from pipeline.delivery.lanes import Lanes
from pipeline.delivery.ledger import Ledger
from pipeline.journal.records import Record

__all__ = ["Send", "Sender"]

Send = Callable[[Sequence[Record]], int]


class Sender:
    """The sending end of one delivery.

    Attributes:
        flight: records handed to the connection and not answered, by ordinal, oldest first.
        replaying: how many of them come from the backlog.
        connected: there is a connection.
    """

    def __init__(self, clock: Clock, lanes: Lanes, ledger: Ledger, commits: Commits, breaker: Breaker) -> None:
        """Make a sender without a connection.

        Args:
            clock: the one clock.
            lanes: what is sent next.
            ledger: the records.
            commits: the disk, asked for the backlog.
            breaker: may hold everything back.
        """
        self.flight: dict[int, Record] = {}
        self.replaying = 0
        self.connected = False
        self._clock = clock
        self._lanes = lanes
        self._ledger = ledger
        self._commits = commits
        self._breaker = breaker
        self._send: Send | None = None
        self._window = 0
        self._busy = False
        self._settling: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def connect(self, send: Send, window: int) -> None:
        """Begin to send over a new connection; see `Delivery.connected`."""
        self._send, self._window, self.connected = send, max(1, window), True
        self._settling = None
        self._commits.connected = True
        self._lanes.connect(self._clock.monotonic(), self._commits.next)
        self.pump()

    def disconnect(self) -> None:
        """The connection is gone, and what was in flight with it."""
        self._send, self.connected = None, False
        for record in self.flight.values():
            record.held = False
        self.flight.clear()
        self.replaying = 0
        self._lanes.lose()
        self._ledger.lose()
        self._commits.connected = False
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, math.inf
        self.answered()

    def land(self, n: int) -> Record | None:
        """Take a record out of the in-flight table; None when it is not there."""
        record = self.flight.pop(n, None)
        if record is not None:
            self.replaying -= record.replayed
        return record

    def answered(self) -> None:
        """Some answers were dealt with: send on."""
        if self._settling is not None and not self.flight and not self._settling.done():
            self._settling.set_result(None)
        self.pump()

    async def settle(self, grace: float) -> bool:
        """Begin no more of the backlog, wait until nothing is in flight; False when that took too long."""
        self._settling = self._clock.loop.create_future()
        if self.flight:
            await asyncio.wait((self._settling,), timeout=grace)
        return not self.flight

    def oldest(self) -> float | None:
        """Seconds since the oldest record in flight was sent; None when nothing is in flight."""
        for record in self.flight.values():
            return self._clock.monotonic() - record.sent
        return None

    def pump(self) -> None:
        """Send what window, lanes and breaker allow; plan what comes later."""
        if self._send is None or self._busy:
            return
        self._busy = True
        try:
            while self._step():
                pass
        finally:
            self._busy = False
        if self._lanes.unread() is not None:
            self._commits.poke()
        self._plan()

    def _step(self) -> bool:
        """One call of `send`; True when another may follow."""
        lanes, flight = self._lanes, self.flight
        while not self._commits.committed() and (unread := lanes.unread()) is not None:
            # Nothing is on disk: what waits for its commit needs no detour.
            lanes.exhaust(self._ledger.waiting(*unread))
        now = self._clock.monotonic()
        room = self._room(now) - len(flight)
        if room <= 0 or self._send is None:
            return False
        # With `live_first` a quarter of the window stays free of the backlog, so that live frames find room at once.
        share = max(1, self._window - self._window // 4) - self.replaying
        records = lanes.take(room, max(0, share), now, self._commits.next)
        if not records:
            return False
        for record in records:
            record.sent = now
            flight[record.n] = record
            if record.replayed:
                self.replaying += 1
        took = 0
        try:
            took = self._send(records)
        finally:
            # Answers, refusals or the end of the connection may have come inside of `send`.
            back = [record for record in records[took:] if flight.pop(record.n, None) is not None]
            self.replaying -= sum(record.replayed for record in back)
            lanes.give_back(back)
        return took == len(records) and (took == room or lanes.unread() is not None)

    def _room(self, now: float) -> int:
        """Records that may be in flight now."""
        if self._settling is not None and self._lanes.backlogged:
            return 0
        return self._breaker.room(self._window, now)

    def _plan(self) -> None:
        """Come back when a retry, the pace or the breaker says so."""
        now = self._clock.monotonic()
        due = self._breaker.until if self._breaker.until > now else self._lanes.due(now)
        # What is due already waits for room or for the socket: an answer or `wake` goes on with it.
        if now < due < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            self._timer = self._clock.loop.call_later(max(0.001, due - now), self._wake)

    def _wake(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self.pump()
