"""A recording as the device that it was made of: when which connection was there, which answer follows a question.

The graph asks as it did when it was recorded, since it ticks alike; an answer comes at its recorded moment. Where the
two differ (a tick that was skipped then, a pause that was longer) nothing is left out: an answer that is late comes at
once, one that is farther away than anybody waits comes early. The wall clock is always the one of the recorded moment,
so that frames bear the time stamps of their answers.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from pipeline.errors import ReadError
from pipeline.recording.format import Event, Record

__all__ = ["Deliver", "Tape", "WallClock"]

_SLACK = 1.25
"""An open question costs a connection within `patience`; so much longer, since ticks are never quite the same."""

Deliver = Callable[[bytes], bool]
"""Takes an answer as it was recorded; False when nobody is there to take it."""


class WallClock:
    """The wall clock of a replay: that of the latest record, and what has passed since."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wall: float) -> None:
        self._loop = loop
        self._wall = wall
        self._at = loop.time()

    def __call__(self) -> float:
        """Seconds since 1970 (UTC)."""
        return self._wall + (self._loop.time() - self._at)

    def set(self, wall: float) -> None:
        """It is so late now."""
        self._wall, self._at = wall, self._loop.time()


class Tape:
    """What one actor's device said.

    Attributes:
        patience: seconds that a connection, and an answer, may take before its source gives up; set by the player.
        unknown: questions that were asked and have no answer in the recording; see `missed`.
    """

    def __init__(self, records: Iterable[Record], loop: asyncio.AbstractEventLoop, wall: WallClock) -> None:
        self.patience = 1.0
        self.unknown: set[bytes] = set()
        self._loop = loop
        self._wall = wall
        self._records = list(records)
        self._end = self._records[-1].at if self._records else 0.0
        self._lines = deque(record for record in self._records if record.event is not Event.ANSWERED)
        self._answers: dict[bytes, deque[Record]] = {}
        self._granted: Record | None = None
        self._lost: ReadError | None = None

    @property
    def left(self) -> int:
        """Answers that nobody has asked for yet."""
        return sum(map(len, self._answers.values()))

    def index(self, identity: Callable[[bytes], bytes]) -> None:
        """Find answers by what `identity` leaves of a request: all but what differs between two askings."""
        for record in self._records:
            if record.event is Event.ANSWERED:
                self._answers.setdefault(identity(record.asked), deque()).append(record)

    def missed(self, question: bytes) -> None:
        """Note that a question has no answer; one that had some before is only late."""
        if question not in self._answers:
            self.unknown.add(question)

    @property
    def questions(self) -> list[bytes]:
        """What can still be answered."""
        return [question for question, queue in self._answers.items() if queue]

    @property
    def grant(self) -> bytes:
        """The answer that granted the connection, as it was recorded."""
        return self._granted.answer if self._granted else b""

    async def admit(self) -> None:
        """Wait for a connection as the recorded source did.

        Raises:
            ReadError: there was none; with the recorded reason.
        """
        until = self._loop.time() + self.patience
        if self._lines and (self._lines[0].at <= until or not (self._granted or self._lost)):
            record = self._lines.popleft()
            await asyncio.sleep(min(record.at, until) - self._loop.time())
            self._wall.set(record.wall)
            if record.event is Event.LOST:
                self._granted, self._lost = None, _error(record)
                raise self._lost
            self._granted, self._lost = record, None
        elif self._granted is None:
            await asyncio.sleep(self.patience)
            raise self._lost or ReadError("not in the recording", "", "replay it with the graph that it was made with")

    def connected(self, cut: Callable[[ReadError], None]) -> None:
        """A connection stands: call `cut` when the recorded one was lost."""
        if self._lines and self._lines[0].event is Event.LOST:
            record = self._lines[0]

            def lose() -> None:
                if self._lines and self._lines[0] is record:
                    self._lines.popleft()
                    self._granted, self._lost = None, _error(record)
                    self._wall.set(record.wall)
                    cut(self._lost)

            self._loop.call_at(record.at, lose)

    def ask(self, question: bytes, deliver: Deliver) -> bool:
        """Have a question answered in time; False when the recording has no answer to it.

        Args:
            question: what `identity` leaves of the request.
            deliver: called with the answer, unless the connection was lost before it came.
        """
        now = self._loop.time()
        queue = self._answers.get(question)
        lost = self._lines[0].at if self._lines and self._lines[0].event is Event.LOST else math.inf
        if not queue:
            # It was asked, and then the connection was lost, or the recording over.
            return min(lost, self._end) - now < self.patience * _SLACK
        record = queue[0]
        if now < lost < record.at:
            return True
        queue.popleft()
        when = record.at if now < record.at <= now + self.patience else now
        self._loop.call_at(when, self._deliver, queue, record, deliver)
        return True

    def _deliver(self, queue: deque[Record], record: Record, deliver: Deliver) -> None:
        before = self._wall()
        self._wall.set(record.wall)
        if not deliver(record.answer):
            self._wall.set(before)
            queue.appendleft(record)


def _error(record: Record) -> ReadError:
    try:
        reason, detail, advice = msgspec.json.decode(record.answer, type=tuple[str, str, str])
    except (ValueError, RecursionError):
        return ReadError("connection lost", "the recording does not say why")
    return ReadError(reason, detail, advice)
