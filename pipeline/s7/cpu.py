"""The CPU's state and clock: asked on the connection of the blocks, at a slow pace of their own, in nobody's way.

The state is SZL 0x0424, the latest change of the operating mode; the clock is the clock service. SZL 0x001C, which
names the CPU, is never asked here: it has stopped S7-315F and 317F CPUs.

What the CPU refuses is told once and asked again after 10 s to 5 min; the rest flows. A question that it leaves without
any answer costs the connection, since a late answer must not be taken for another one: after two in a row it is not
asked for an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.errors import ReadError, Refused
from pipeline.frame import Frame, Kind, Origin
from pipeline.operator import Context, Emit
from pipeline.s7.plan import Request
from pipeline.s7.session import Question, Session
from pipeline.s7.times import read_date_and_time
from pipeline.s7.userdata import clock_question, content, szl_question

__all__ = ["STATE_SZL", "Cpu", "CpuTags", "read_clock", "read_state"]

_MODES = {
    **dict.fromkeys((0x1, 0x2, 0x3, 0x4), "STOP"),
    **dict.fromkeys((0x5, 0x6, 0x7), "STARTUP"),
    **dict.fromkeys((0x8, 0x9), "RUN"),
    0xA: "HOLD",
    0xB: "LINK-UP",
    0xC: "UPDATE",
    0xD: "DEFECTIVE",
    0xE: "SELF-TEST",
    0xF: "NO POWER",
}
"""Operating modes by the low half of SZL 0x0424's fourth byte (bzu-id), of "System Software for S7-300/400", 33.29."""
STATE_SZL = 0x0424
_RECORD = 12
"""Bytes of an SZL's record that are needed, from the SZL's number on: 8 of its head, 4 of the record."""
_CLOCK_SIZE = 10
_FIRST_RETRY, _LAST_RETRY = 10.0, 300.0
_SILENT, _SILENT_PAUSE = 2, 3600.0


@dataclass(frozen=True, kw_only=True)
class CpuTags:
    """What is wanted of a CPU.

    Attributes:
        origin: of its frames.
        state: name of the value that is RUN, STOP, STARTUP, …; "" asks for none.
        clock: name of the value that is the CPU's date and time; "" asks for none.
        every: seconds between two questions.
        timezone: in which the clock runs; "" gives no offset.
    """

    origin: Origin
    state: str
    clock: str
    every: float
    timezone: str = ""


def read_state(data: bytes) -> str:
    """The operating mode, from the answer's data.

    Raises:
        ValueError: it has none.
    """
    if len(data) < _RECORD or int.from_bytes(data[:2], "big") != STATE_SZL:
        raise ValueError(f"no operating mode: {data[:16].hex()}")
    mode = data[_RECORD - 1] & 0xF
    if mode not in _MODES:
        raise ValueError(f"unknown operating mode {mode}")
    return _MODES[mode]


def read_clock(data: bytes, timezone: str = "") -> str:
    """The clock's date and time in ISO 8601, from the answer's data: two bytes that say nothing, a DATE_AND_TIME.

    Raises:
        ValueError: it is none.
    """
    if len(data) != _CLOCK_SIZE:
        raise ValueError(f"no date and time: {data[:16].hex()}")
    return read_date_and_time(data[2:], timezone)


class _Query:
    """One question, its latest outcome, and when it may be asked again."""

    def __init__(self, name: str, question: Question, read: Callable[[bytes], str], done: Callable[[], None]) -> None:
        self.name = name
        self.question = question
        self.open = False
        self.value = ""
        self.error: Refused | None = None
        self.attempts = 0
        self.silent = 0
        self.retry_at = 0.0
        self._read = read
        self._done = done

    def answered(self, _: Request, items: Sequence[bytes | int]) -> None:
        (pdu,) = items
        assert isinstance(pdu, bytes)  # noqa: S101 - a question has the answer's PDU as its only item
        try:
            self.value, self.error = self._read(content(pdu)), None
            self.attempts = 0
        except Refused as error:
            self.error = error
        except ValueError as error:
            self.error = Refused(str(error))
        self._close()

    def refused(self, error: Refused) -> None:
        self.error = error
        self._close()

    def _close(self) -> None:
        self.open = False
        self.silent = 0
        self._done()


class Cpu:
    """What is asked of one CPU; to its poller it is a group like those of blocks.

    Attributes:
        origin: of its frames.
        every: seconds between two rounds of questions.
        busy: a round is under way.
        requests: what is asked in a round.
        trouble: what can't be had, for people; or "".
        emit: takes its frames.
    """

    def __init__(self, tags: CpuTags, context: Context, finished: Callable[[Cpu], None]) -> None:
        self.origin = tags.origin
        self.every = tags.every
        self.busy = False
        self.trouble = ""
        self.emit: Emit = lambda _: None
        self._clock = context.clock
        self._log = context.log
        self._finished = finished
        self._session: Session | None = None
        self._failing = ""
        self._queries: list[_Query] = []
        self._waiting: list[_Query] = []
        if tags.state:
            self._queries.append(_Query(tags.state, szl_question(STATE_SZL), read_state, self._answered))
        if tags.clock:
            self._queries.append(
                _Query(tags.clock, clock_question(), lambda data: read_clock(data, tags.timezone), self._answered)
            )
        self.requests = tuple(query.question for query in self._queries)

    def connected(self, session: Session, *, afresh: bool = True) -> None:
        """Take a new session. `afresh` asks again what was refused: the PLC may be another one."""
        self._session = session
        for query in self._queries:
            if afresh and not query.silent:
                query.attempts, query.retry_at = 0, 0.0

    def disconnected(self) -> None:
        """The session is gone; a question that was left open until a time-out is remembered."""
        session, self._session = self._session, None
        ended = session.ended if session is not None else None
        timed_out = ended and ended.done() and not ended.cancelled() and ended.result().reason == "timeout"
        for query in self._queries:
            if query.open and timed_out:
                query.silent += 1
                if query.silent >= _SILENT:
                    query.retry_at = self._clock.monotonic() + _SILENT_PAUSE
                    query.error = Refused("no answer", "", "this CPU does not know the question: leave it away")
                    self._tell()
            query.open = False
        self.busy = False

    def read(self) -> bool:
        """Ask; False when there is nothing to ask now: busy, disconnected, or all waits for its next trial."""
        now = self._clock.monotonic()
        asked = [query for query in self._queries if query.retry_at <= now]
        if self._session is None or self.busy or not asked:
            return False
        self.busy = True
        self._waiting = asked[::-1]
        self._ask(self._session)
        return True

    def failed(self, error: ReadError, moment: float) -> None:
        """Nothing can be asked since `moment` (wall clock, seconds): one frame when that begins or is another error."""
        if self._failing != error.reason:
            self._failing = error.reason
            self.emit(Frame.failure(self.origin, self.origin.moments.at(moment), error.reason))

    def _ask(self, session: Session) -> None:
        """One question after the other, so that silence can be laid to the right one."""
        query = self._waiting.pop()
        query.open = True
        session.read((query.question,), query)

    def _answered(self) -> None:
        """A question is closed; with the last one the frame is made."""
        if self._waiting and self._session is not None:
            self._ask(self._session)
            return
        self.busy = False
        now = self._clock.monotonic()
        for query in self._queries:
            if query.error is not None and query.retry_at <= now:
                query.retry_at = now + min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(query.attempts, 16))
                query.attempts += 1
        self._tell()
        moment = self._session.moment if self._session is not None else self._clock.wall()
        refusals = {query.name: query.error for query in self._queries if query.error is not None}
        values = {query.name: query.value for query in self._queries if query.error is None}
        if values:
            self._failing = ""
            bad = {name: error.reason for name, error in refusals.items()} or None
            self.emit(Frame(Kind.DATA, self.origin.moments.at(moment), self.origin, values, bad))
        else:
            self.failed(next(iter(refusals.values())), moment)
        self._finished(self)

    def _tell(self) -> None:
        """Name what can't be had, once."""
        refusals = [f"{query.name}: {query.error}" for query in self._queries if query.error is not None]
        trouble = f"{self.origin.measurement}: {'; '.join(refusals)}" if refusals else ""
        if trouble and trouble != self.trouble:
            self._log.warning("the CPU does not tell", error=trouble)
        self.trouble = trouble
