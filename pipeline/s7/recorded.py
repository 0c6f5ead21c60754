"""A PLC that says what a real one has said: the device's end of connections in a replay.

A request is answered with the recorded answer to the same request. A recording that begins in the middle, or a graph
that was changed since, may ask for other things in one request: then the ranges that a recorded request shares with it
are answered from that one, and what nobody has asked for does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from pipeline.clock import MemoryTransport
from pipeline.errors import Refused
from pipeline.recording.tape import Tape
from pipeline.s7.server import GOOD, JOB, NO_SUCH_OBJECT, READ, SETUP, Connection, Item, PlcServer, items_of
from pipeline.s7.wire import data_frame, is_userdata, read_answer

__all__ = ["play"]

_PDU_AT = 7
"""Where a request's PDU begins, counted from the TPKT header."""
_NUMBER = slice(4, 6)
"""A PDU's sequence number; what is behind it makes a request's identity."""
_MARGIN = 0.9
_NO_LIMIT = 255


def play(tape: Tape, timeout: float) -> Callable[[], asyncio.BaseProtocol]:
    """What accepts connections in the name of the recorded PLC.

    Args:
        tape: what it said.
        timeout: seconds after which the source gives a connection or an answer up.
    """
    tape.patience = timeout * _MARGIN
    tape.index(lambda asked: asked[_PDU_AT + _NUMBER.stop :])
    plc = _RecordedPlc(tape)
    return lambda: Connection(plc)


class _RecordedPlc(PlcServer):
    """Has no blocks of its own, and knows nothing of itself."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self._tape = tape
        self._found: list[tuple[Item, bytes | int]] = []

    def answer(self, connection: Connection, pdu: bytes) -> bytes | None:
        """The recorded answer, with the sequence number of the question; None when it comes later."""
        if (pdu[1], pdu[10]) == (JOB, SETUP):
            connection.jobs, connection.pdu = _NO_LIMIT, self.pdu
            return _numbered(self._tape.grant, pdu)
        question = pdu[_NUMBER.stop :]
        if self._tape.ask(question, lambda answer: _deliver(connection, _numbered(answer, pdu))):
            return None
        if is_userdata(pdu):
            self._tape.missed(question)
            return _unknown(pdu)
        near = self._nearest(_items(question))
        if near and self._tape.ask(
            near, lambda answer: _deliver(connection, self._adapted(connection, answer, near, pdu))
        ):
            return None
        self._tape.missed(question)
        return self._adapted(connection, b"", b"", pdu)

    def read(self, item: Item) -> tuple[int, bytes]:
        """What the answer that is being adapted says of this range."""
        for known, data in self._found:
            if _covers(known, item):
                start = item.start - known.start
                return (data, b"") if isinstance(data, int) else (GOOD, data[start : start + item.size])
        return NO_SUCH_OBJECT, b""

    def _nearest(self, wanted: Sequence[Item]) -> bytes:
        """The recorded question that shares most ranges with these; b"" for none."""
        shared = {
            question: sum(any(_covers(known, item) for known in _items(question)) for item in wanted)
            for question in self._tape.questions
        }
        best = max(shared, key=lambda question: shared[question], default=b"")
        return best if best and shared[best] else b""

    def _adapted(self, connection: Connection, answer: bytes, question: bytes, pdu: bytes) -> bytes:
        """The answer to a request, made of a recorded answer to another question."""
        known = _items(question)
        try:
            self._found = list(zip(known, read_answer(answer, known) if known else [], strict=True))
        except Refused:
            return _numbered(answer, pdu)
        return super().answer(connection, pdu) or b""


def _deliver(connection: Connection, pdu: bytes) -> bool:
    if connection.transport.is_closing():
        return False
    # At once, since the wall clock is this answer's for this moment only.
    cast("MemoryTransport", connection.transport).peer.receive(data_frame(pdu))
    return True


def _numbered(answer: bytes, question: bytes) -> bytes:
    return answer[: _NUMBER.start] + question[_NUMBER] + answer[_NUMBER.stop :]


def _items(question: bytes) -> list[Item]:
    """The ranges of a read request, given from behind its sequence number on; none of another request."""
    head = b"\x32\x01\x00\x00\x00\x00"
    return items_of(head + question) if question[4:5] == bytes([READ]) else []


def _covers(known: Item, item: Item) -> bool:
    same = (known.area, known.db, known.transport) == (item.area, item.db, item.transport)
    return same and known.start <= item.start and item.start + item.size <= known.start + known.size


def _unknown(question: bytes) -> bytes:
    """The answer to a question about the CPU itself that it does not know: error 0xD401 in the parameters, no data."""
    head = b"\x32\x07\x00\x00" + question[_NUMBER] + b"\x00\x0c\x00\x04"
    group, function = question[15] & 0x0F | 0x80, question[16]
    return head + bytes([0, 1, 0x12, 8, 0x12, group, function, 0, 0, 0, 0xD4, 0x01, 0x0A, 0, 0, 0])
