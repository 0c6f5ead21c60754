"""A PLC that says what a real one has said: the device's end of connections in a replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from pipeline.clock import MemoryTransport
from pipeline.recording.tape import Tape
from pipeline.s7.server import Connection, PlcServer
from pipeline.s7.wire import is_userdata

__all__ = ["play"]

_IDENTITY_AT = 13
"""Where a request's own bytes begin, behind its sequence number, counted from the TPKT header."""
_PDU_IDENTITY_AT = 6
_MARGIN = 0.9
_SETUP = (0x01, 0xF0)


def play(tape: Tape, timeout: float) -> Callable[[], asyncio.BaseProtocol]:
    """What accepts connections in the name of the recorded PLC.

    Args:
        tape: what it said.
        timeout: seconds after which the source gives a connection or an answer up.
    """
    tape.patience = timeout * _MARGIN
    tape.index(lambda asked: asked[_IDENTITY_AT:])
    plc = _RecordedPlc(tape)
    return lambda: Connection(plc)


class _RecordedPlc(PlcServer):
    """Has no blocks, and knows nothing of itself: what is not on the tape does not exist."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self._tape = tape

    def answer(self, connection: Connection, pdu: bytes) -> bytes | None:
        """The recorded answer, with the sequence number of the question; None when it comes later."""
        if (pdu[1], pdu[10]) == _SETUP:
            connection.jobs = 255
            return _numbered(self._tape.grant, pdu)

        def deliver(answer: bytes) -> bool:
            if connection.transport.is_closing():
                return False
            frame = b"\x03\x00" + (len(answer) + 7).to_bytes(2, "big") + b"\x02\xf0\x80" + _numbered(answer, pdu)
            # At once, since the wall clock is this answer's for this moment only.
            cast("MemoryTransport", connection.transport).peer.receive(frame)
            return True

        if self._tape.ask(pdu[_PDU_IDENTITY_AT:], deliver):
            return None
        if is_userdata(pdu):
            return _unknown(pdu)
        connection.pdu = self.pdu
        return super().answer(connection, pdu)


def _unknown(question: bytes) -> bytes:
    """The answer to a question about the CPU itself that it does not know: error 0xD401 in the parameters, no data."""
    head = b"\x32\x07\x00\x00" + question[4:6] + b"\x00\x0c\x00\x04"
    group, function = question[15] & 0x0F | 0x80, question[16]
    return head + bytes([0, 1, 0x12, 8, 0x12, group, function, 0, 0, 0, 0xD4, 0x01, 0x0A, 0, 0, 0])


def _numbered(answer: bytes, question: bytes) -> bytes:
    return answer[:4] + question[4:6] + answer[6:]
