"""One connection to one PLC: handshake, requests in flight up to what is granted, one deadline for each.

Requests go out and answers come in by plain calls: no task, future or timer for a read. Answers are matched by sequence
number; one that belongs to no open request is dropped, so a late or foreign answer is never taken for the current one.
Anything that shakes the trust in the stream (time-out, framing error, disconnect) ends the connection for good; the
owner opens another one.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Protocol

from pipeline.clock import Clock
from pipeline.errors import ReadError, Refused
from pipeline.operator import Witness
from pipeline.s7.plan import Request
from pipeline.s7.wire import (
    CC,
    DR,
    SEQUENCE_AT,
    USUAL_DATA_AT,
    Grant,
    Stream,
    Tsaps,
    connect_request,
    is_userdata,
    parse_setup,
    refused,
    sequence,
    setup_request,
)

__all__ = ["Question", "Reader", "Session", "connect", "unreachable"]

_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}


@dataclass(frozen=True, slots=True, eq=False)
class Question(Request):
    """A request about the PLC itself; it reads no items, and its answer's whole PDU is handed over as the only one.

    Attributes:
        reply: type and group of the answer, the sixth byte of its parameters: 0x84 for SZL, 0x87 for the clock.
    """

    reply: int

    def is_answered(self, pdu: bytes) -> bool:
        """Whether a PDU of this number is the answer. A refusal may name another group: python-snap7's server does."""
        kind, at = pdu[_REPLY_AT : _REPLY_AT + 1], 10 + int.from_bytes(pdu[6:8], "big")
        refusal = kind[:1] > b"\x7f" and pdu[at : at + 1] not in {b"", b"\xff"}
        return kind == bytes([self.reply]) or refusal


class Reader(Protocol):
    """Who asked. Its calls may queue further requests."""

    def answered(self, request: Request, items: list[bytes | int]) -> None:
        """Each item's bytes, or its return code."""

    def refused(self, error: Refused) -> None:
        """The PLC refused a request as a whole; the connection lives."""


async def connect(
    clock: Clock, address: str, port: int, tsaps: Tsaps, *, patience: float, witness: Witness | None = None
) -> Session:
    """Open a session, handshake included, within `patience` seconds, which is also the deadline of each answer.

    Raises:
        ReadError: the PLC can't be reached, or (`Refused`) says no.
    """
    session = Session(clock, tsaps, patience, witness)
    try:
        async with asyncio.timeout(patience):
            await clock.loop.create_connection(lambda: session, address, port)
            await session.ready
    except TimeoutError as error:
        raise ReadError("timeout", session.stage, session.advice) from error
    except OSError as error:
        raise unreachable(error) from error
    finally:
        if not session.is_open:
            session.close()
            if not session.ready.cancelled():
                session.ready.exception()  # nobody may have waited for it
    return session


def unreachable(error: OSError) -> ReadError:
    """What an operating system's error means for a PLC that can't be reached."""
    numbers = {error.errno} if error.errno else {int(number) for number in re.findall(r"Errno (\d+)", str(error))}
    if isinstance(error, socket.gaierror):
        return ReadError("name not found", str(error), "correct `address`, or the name service")
    if numbers == {errno.ECONNREFUSED}:
        advice = "the host is there, but nothing listens on this port: correct `address` or `port`, or start the PLC"
        return ReadError("connection refused", "", advice)
    if numbers and numbers <= _UNREACHABLE:
        return ReadError("unreachable", str(error), "no way to this address: check cable, network and `address`")
    return ReadError("connection lost", str(error))


class Session(asyncio.Protocol):
    """One connection.

    Attributes:
        ready: done when the handshake is; fails with the reason why not.
        ended: done when an open session has ended by itself, with the reason.
        grant: what the PLC granted; meaningful once `ready`.
        stage: what was being waited for, for messages.
        stale: answers that belonged to no open request.
        moment: wall clock of the latest answer, seconds: what the witness is told, and what the answer's frames bear.
    """

    def __init__(self, clock: Clock, tsaps: Tsaps, patience: float, witness: Witness | None = None) -> None:
        self.ready: asyncio.Future[None] = clock.loop.create_future()
        self.ended: asyncio.Future[ReadError] = clock.loop.create_future()
        self.grant = Grant(0, 0)
        self.stage = "waiting for the TCP connection"
        self.advice = "check that the PLC is on, and cable, network and `address`"
        self.stale = 0
        self.is_open = False
        self.moment = 0.0
        self._wall = clock.wall
        self._loop = clock.loop
        self._time = clock.loop.time
        self._tsaps = tsaps
        self._patience = patience
        self._witness = witness
        self._stream = Stream()
        self._sequence = 0
        self._queue: deque[tuple[Request, Reader]] = deque()
        self._pending: dict[int, tuple[Request, Reader | None, float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._closed = False

    # requests

    def read(self, requests: Sequence[Request], reader: Reader) -> None:
        """Queue requests; as many as are granted leave at once, in one write."""
        for request in requests:
            self._queue.append((request, reader))
        self._send()

    def forget(self, reader: Reader) -> None:
        """Drop what this reader still waits for; answers to what has left are dropped when they come."""
        self._queue = deque(entry for entry in self._queue if entry[1] is not reader)
        for number, (request, owner, deadline) in self._pending.items():
            if owner is reader:
                self._pending[number] = (request, None, deadline)

    def close(self) -> None:
        """End the connection in order. Nobody is told."""
        self._quit()
        if self._transport is not None:
            self._transport.close()

    def _send(self) -> None:
        queue, pending = self._queue, self._pending
        if not queue or self._transport is None or self._closed:
            return
        deadline = self._time() + self._patience
        frames = []
        while queue and len(pending) < self.grant.jobs:
            request, reader = queue.popleft()
            number = self._sequence = self._sequence % 0xFFFF + 1
            _write_number(request.frame, SEQUENCE_AT, number)
            pending[number] = (request, reader, deadline)
            frames.append(bytes(request.frame))
        if frames:
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
            if self._timer is None:
                self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        """Check the oldest request. The timer is not moved at each request: it finds out here how far it is."""
        self._timer = None
        if not self._pending:
            return
        deadline = next(iter(self._pending.values()))[2]
        if deadline <= self._time() + 1e-3:  # uvloop's timers have a resolution of 1 ms
            self._fail(ReadError("timeout", f"no complete answer within {self._patience:g} s"))
        else:
            self._timer = self._loop.call_at(deadline, self._expire)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is there: ask for the COTP connection."""
        self._transport = transport  # type: ignore[assignment]  # asyncio types it for datagrams too
        if self._closed:
            transport.close()
            return
        self.stage = "the host answers, but does not confirm the connection"
        self.advice = refused("unconfirmed").advice
        self._transport.write(connect_request(self._tsaps))  # type: ignore[union-attr]  # set above

    def data_received(self, data: bytes) -> None:
        """Bytes came: whole frames go where they belong, the rest is kept."""
        if not self._usual(data):
            self._cut(data)
        if self._queue:
            self._send()

    def _cut(self, data: bytes) -> None:
        try:
            for code, pdu in self._stream.feed(data):
                if self._closed:
                    return
                if self.is_open and code not in {CC, DR}:
                    self._answer(pdu)
                else:
                    self._handshake(code, pdu)
        except ReadError as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """TCP is gone."""
        if self.is_open:
            end = exc if isinstance(exc, ReadError) else ReadError("connection lost", str(exc or "closed by the PLC"))
            self._fail(end)
        elif isinstance(exc, OSError) and exc.errno not in {errno.ECONNRESET, errno.EPIPE}:
            self._fail(unreachable(exc))
        else:
            self._fail(refused("closed" if self.stage == _SETTING_UP else "disconnect", self.stage))

    # answers

    def _usual(self, data: bytes) -> bool:
        """Hand over the answer that nearly every answer is: whole, alone, good and of one item. False for any other.

        Every byte is compared, as parsing would, only at once.
        """
        if len(data) <= USUAL_DATA_AT or not self._stream.empty:
            return False
        number = data[SEQUENCE_AT] << 8 | data[_LOW_BYTE_AT]
        request, reader, _ = self._pending.get(number, _NOBODY)
        if request is None or request.usual is None:
            return False
        before, after, length = request.usual
        if len(data) != length or data[:SEQUENCE_AT] != before or data[SEQUENCE_AT + 2 : USUAL_DATA_AT] != after:
            return False
        self.moment = self._wall()
        if self._witness is not None:
            self._witness.answered(self.moment, request.frame, data[_PDU_AT:])
        del self._pending[number]
        if reader is not None:
            reader.answered(request, [data[USUAL_DATA_AT:]])
        return True

    def _answer(self, pdu: bytes) -> None:
        if is_userdata(pdu):
            self._answer_question(pdu)
            return
        request, reader, _ = self._pending.pop(sequence(pdu), _NOBODY)
        if request is None:
            self.stale += 1
            return
        self._record(request, pdu)
        try:
            items = request.answer(pdu)
        except Refused as error:
            if reader is not None:
                reader.refused(error)
            return
        if reader is not None:
            reader.answered(request, items)

    def _answer_question(self, pdu: bytes) -> None:
        """Hand over the answer to a question; what else the PLC says came unasked and is dropped."""
        number = sequence(pdu)
        request, reader, _ = self._pending.get(number, _NOBODY)
        if isinstance(request, Question) and request.is_answered(pdu):
            del self._pending[number]
            self._record(request, pdu)
            if reader is not None:
                reader.answered(request, [pdu])

    def _record(self, request: Request, pdu: bytes) -> None:
        self.moment = self._wall()
        if self._witness is not None:
            self._witness.answered(self.moment, request.frame, pdu)

    def _handshake(self, code: int, pdu: bytes) -> None:
        if code == DR:
            if self.is_open:
                raise ReadError("connection lost", "disconnected by the PLC")
            raise refused("disconnect", self.stage)
        if code == CC:
            if self.stage == _SETTING_UP or self.is_open:
                raise ReadError("invalid answer", "the connection was confirmed twice")
            self.stage = _SETTING_UP
            self.advice = refused("closed").advice
            self._transport.write(setup_request())  # type: ignore[union-attr]  # data comes from a transport
            return
        if self.stage != _SETTING_UP:
            raise ReadError("invalid answer", "data before the connection was confirmed")
        if is_userdata(pdu) or sequence(pdu) != _SETUP_NUMBER or self.ready.cancelled():
            return  # of no use, or too late: who waited for it has just given up
        self.grant = parse_setup(pdu)
        self._stream.pdu = self.grant.pdu
        self._sequence = _SETUP_NUMBER
        self.is_open = True
        if self._witness is not None:
            self._witness.opened(self._wall(), setup_request(), pdu)
        self.ready.set_result(None)

    # the end

    def _fail(self, error: ReadError) -> None:
        """End the connection and tell why, once."""
        if self._closed:
            return
        if not self.ready.done():
            self.ready.set_exception(error)
        elif not self.ended.done():
            self.ended.set_result(error)
        self._quit()
        if self._transport is not None:
            self._transport.abort()

    def _quit(self) -> None:
        self._closed = True
        self.is_open = False
        self._queue.clear()
        self._pending.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.ready.done():
            self.ready.cancel()


_SETTING_UP = "the connection is confirmed, but the setup of the communication is not answered"
_SETUP_NUMBER = int.from_bytes(setup_request()[SEQUENCE_AT : SEQUENCE_AT + 2], "big")
_LOW_BYTE_AT = SEQUENCE_AT + 1
_write_number = Struct(">H").pack_into
_REPLY_AT = 15
_PDU_AT = 7
_NOBODY = (None, None, 0.0)
