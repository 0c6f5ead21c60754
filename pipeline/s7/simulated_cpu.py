"""What the simulated PLC says of itself: system status lists (SZL) as an S7-300 has them, cut into parts by the PDU.

python-snap7's `Server` answers these questions, but four of its lists lack their heads, the operating mode is missing,
and an answer that is longer than the PDU is sent as it is. Layouts of the lists: see `browse_cpu`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from snap7.server import Server

if TYPE_CHECKING:
    from pipeline.s7.server import PlcServer

__all__ = ["Parts", "SimulatedCpu"]

_ORDER_NUMBER = b"6ES7 315-2EH14-0AB0 "
_NAMES = {
    1: b"SIMULATED PLC",
    2: b"CPU 315-2 PN/DP",
    4: b"Original Siemens Equipment",
    5: b"S SIMULATED",
    7: b"CPU 315-2 PN/DP",
}
_NAMED = (1, 2, 3, 4, 5, 7, 8, 9, 10, 11)
_PARAMETERS = 12
_DATA_AT = 10 + _PARAMETERS + 4
"""Where the content of an answer in USERDATA begins: behind header, parameters, and the content's own four bytes."""
_RECORD = 40


class SimulatedCpu(Server):
    """Answers to questions about a CPU. `mode` is its operating mode: 8 is RUN, 4 STOP."""

    def __init__(self, plc: PlcServer) -> None:
        super().__init__(log=False)
        self.mode = 8
        self._plc = plc

    def _get_szl_data(self, szl_id: int, szl_index: int) -> bytes | None:
        plc = self._plc
        lists: dict[tuple[int, int], Callable[[], list[bytes]]] = {
            (0x0011, 0): _identification,
            (0x001C, 0): _names,
            (0x0131, 1): lambda: [struct.pack(">HHHII26x", 1, plc.pdu, plc.max_clients, 12_000_000, 187_500)],
            (0x0132, 1): lambda: [_connections(plc)],
            (0x0232, 4): lambda: [struct.pack(">6H28x", 4, 1, 0, 1, 2, 0)],
            (0x0424, 0): lambda: [struct.pack(">HBB16x", 0x5144, 0xFF, self.mode)],
        }
        if (szl_id, szl_index) not in lists:
            return None
        found = lists[szl_id, szl_index]()
        return struct.pack(">HH", len(found[0]), len(found)) + b"".join(found)


def _identification() -> list[bytes]:
    """Of module, hardware and firmware: 3.3.0."""
    last = ((1, 0, 1), (6, 0, 1), (7, 0x5603, 0x0300))
    return [struct.pack(">H20sHHH", index, _ORDER_NUMBER, 0xC0, *version) for index, *version in last]


def _names() -> list[bytes]:
    return [struct.pack(">H32s", index, _NAMES.get(index, b"")) for index in _NAMED]


def _connections(plc: PlcServer) -> bytes:
    """Those of programming devices and panels by their TSAPs, all others, and how many are free."""
    kinds = [connection.tsap[:1] for connection in plc.connections]
    pg, op = kinds.count(b"\x01"), kinds.count(b"\x02")
    words = struct.pack(">10H", 1, 0, 0, pg, op, 0, 0, plc.max_clients - len(kinds), 0, 20)
    return words.ljust(_RECORD - 5, b"\0") + struct.pack(">BHH", 0, len(kinds) - pg - op, 0)


class Parts:
    """The rest of a long answer in USERDATA, handed out part by part as it is asked for."""

    def __init__(self) -> None:
        self._rest = b""
        self._head = b""
        self._number = 0

    def is_wanted(self, pdu: bytes) -> bool:
        """Whether a request asks for the next part."""
        return pdu[6:8] == bytes([0, _PARAMETERS]) and pdu[14:15] == b"\x12" and bool(self._rest)

    def first(self, reply: bytes, size: int) -> bytes:
        """The first part of an answer, of at most `size` bytes; mostly it is the whole."""
        self._rest = b""
        if len(reply) <= size:
            return reply
        self._head, self._rest, self._number = reply[:_DATA_AT], reply[_DATA_AT:], self._number % 255 + 1
        return self.next(reply[4:6], size)

    def next(self, sequence: bytes, size: int) -> bytes:
        """The next part, as the answer to the request of this sequence number."""
        room = size - _DATA_AT & ~1
        part, self._rest = self._rest[:room], self._rest[room:]
        head = bytearray(self._head)
        head[4:6] = sequence
        head[8:10] = struct.pack(">H", 4 + len(part))
        head[17:20] = bytes([self._number, 1, bool(self._rest)])
        head[_DATA_AT - 2 : _DATA_AT] = struct.pack(">H", len(part))
        return bytes(head) + part
