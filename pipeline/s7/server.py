"""A PLC made of software, which is as strict as a real one: for the simulator and for tests.

python-snap7's `Server` answers what few clients ask (block lists, clock, start and stop; lists about the CPU come from
`simulated_cpu`). Its transport and its read and write paths are replaced here, since they start a thread for each
connection, take seconds to stop, let two servers share a port, enforce neither PDU nor parallel jobs, answer an unknown
area with bytes of DB 1, and overwrite a whole byte where one bit is written. Everything runs on the asyncio loop that
calls `listen`, real or virtual.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from snap7.datatypes import S7Area
from snap7.type import SrvArea

from pipeline.s7.simulated_cpu import Parts, SimulatedCpu
from pipeline.s7.wire import data_frame, tpkt

__all__ = ["Connection", "Item", "PlcServer", "items_of"]

JOB, ACK_DATA, USERDATA = 0x01, 0x03, 0x07
SETUP, READ, WRITE = 0xF0, 0x04, 0x05
PDU_SIZE = 0x8500
"""Header error: the request, or the answer that it asks for, is longer than the granted PDU."""
FRAME_ERROR = 0x8104
"""Header error: not a request that this PLC understands or permits."""
GOOD, NO_SUCH_RANGE, MISMATCH, NO_SUCH_OBJECT = 0xFF, 0x05, 0x07, 0x0A

BIT = 0x01
_ELEMENT = {BIT: 1, 0x02: 1, 0x03: 1, 0x04: 2, 0x05: 2, 0x06: 4, 0x07: 4, 0x08: 4, 0x1C: 2, 0x1D: 2}
"""Bytes of one element by a request's transport size: BIT, BYTE, CHAR, WORD, INT, DWORD, DINT, REAL, COUNTER, TIMER."""
_ANSWER = {BIT: 0x03, 0x1C: 0x09, 0x1D: 0x09, 0x03: 0x09, 0x05: 0x05, 0x07: 0x05, 0x08: 0x07}
"""Transport size of an answer by that of its request; 0x04 otherwise. 0x03, 0x04 and 0x05 count bits, others bytes."""
_PARAMETERS = 248
"""Bytes of a connection request's parameters: its length, 6 bytes more, is one byte, and 0xFF is reserved."""
_LONGEST = 65_535
"""Bytes of a request, joined from its fragments, that are kept at most."""
_AREAS = {
    S7Area.DB: SrvArea.DB,
    S7Area.MK: SrvArea.MK,
    S7Area.PE: SrvArea.PE,
    S7Area.PA: SrvArea.PA,
    S7Area.CT: SrvArea.CT,
    S7Area.TM: SrvArea.TM,
}
_COUNTED = frozenset({S7Area.CT, S7Area.TM})


@dataclass(frozen=True)
class Item:
    """One range that a request names.

    Attributes:
        area: 0x84 DB, 0x83 M, 0x81 I, 0x82 Q, 0x1C C, 0x1D T; others are answered with 0x0A.
        db: the data block's number, 0 outside of DBs.
        start: first byte.
        bit: 0 to 7.
        size: bytes; 0 when the transport size is unknown.
        transport: transport size of the request.
    """

    area: int
    db: int
    start: int
    bit: int
    size: int
    transport: int

    @classmethod
    def parse(cls, data: bytes) -> Item:
        """Read the 12 bytes of an S7ANY item (big-endian: count, DB, area, bit address or number)."""
        transport, count, db, area = struct.unpack_from(">BHHB", data, 3)
        address = int.from_bytes(data[9:12], "big")
        size = _ELEMENT.get(transport, 0) * count
        if transport in _COUNTED:
            address *= 8 * _ELEMENT[transport]
        return cls(area, db if area == S7Area.DB else 0, address >> 3, address & 7, size, transport)


class PlcServer:
    """A simulated PLC. Blocks are bytearrays that are shared: what is written in place is what the next read sees.

    Attributes:
        pdu: longest PDU that it grants, bytes.
        jobs: most parallel jobs (AmQ) that it grants to a connection.
        max_clients: connections that it holds at once; one more is reset.
        blocks: memory by (area, number).
        delay: seconds from a request to its answer.
        port: where it listens, known after `listen`.
        reads: read requests answered, ever.
        connections: the living ones.
        violations: what clients did that a real PLC doesn't forgive; each ended its connection.
    """

    def __init__(self, *, pdu: int = 960, jobs: int = 8, max_clients: int = 64) -> None:
        self.pdu = pdu
        self.jobs = jobs
        self.max_clients = max_clients
        self.blocks: dict[tuple[int, int], bytearray] = {}
        self.delay = 0.0
        self.host, self.port = "", 0
        self.reads = 0
        self.connections: set[Connection] = set()
        self.violations: list[str] = []
        self._rest = SimulatedCpu(self)
        self._listener: asyncio.Server | None = None

    def register(self, number: int, memory: bytearray, area: S7Area = S7Area.DB) -> None:
        """Give the PLC a data block, or with number 0 the memory of another area."""
        self.blocks[area, number] = memory
        self._rest.register_area(_AREAS[area], number, memory)

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Accept connections on this loop; port 0 takes a free one.

        Raises:
            OSError: the port is taken, or not permitted.
        """
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), host, port, backlog=1024
        )
        self.host, self.port = host, port or self._listener.sockets[0].getsockname()[1]

    def switch(self, mode: int) -> None:
        """Put the CPU into an operating mode: 8 is RUN, 4 STOP."""
        self._rest.mode = mode

    def close(self) -> None:
        """Go away as if the power failed: no farewell, and the port is free again."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in tuple(self.connections):
            connection.transport.abort()

    def admits(self, connection: Connection) -> bool:
        """Whether a connection request is confirmed; here always, whatever its TSAPs (rack and slot) are."""
        return not connection.transport.is_closing()

    def deliver(self, connection: Connection, frame: bytes) -> None:
        """Put an answer's frame (from TPKT on) on the wire."""
        connection.transport.write(frame)

    def answer(self, connection: Connection, pdu: bytes) -> bytes | None:
        """The answer to a request, both S7 PDUs from 0x32 on, or None for silence."""
        sequence = pdu[4:6]
        function = pdu[10] if pdu[1] == JOB and len(pdu) > 10 else None  # noqa: PLR2004 - the header's length
        if function == SETUP:
            return self._setup(connection, pdu)
        if not connection.pdu:
            connection.refuse("a request before the communication was set up")
            return None
        if len(pdu) > connection.pdu:
            return _header(sequence, error=PDU_SIZE)
        if function == READ:
            reply = self._read(sequence, pdu)
        elif function == WRITE:
            reply = self._write(sequence, pdu)
        else:
            return self._told(connection, pdu)
        return reply if len(reply) <= connection.pdu else _header(sequence, error=PDU_SIZE)

    def read(self, item: Item) -> tuple[int, bytes]:
        """Return code and bytes of one item; no bytes unless the code is 0xFF."""
        if (item.area, item.db) not in self.blocks:
            return NO_SUCH_OBJECT, b""
        memory = self.blocks[item.area, item.db]
        if not self._fits(item, memory):
            return NO_SUCH_RANGE, b""
        if item.transport == BIT:
            return GOOD, bytes([memory[item.start] >> item.bit & 1])
        return GOOD, bytes(memory[item.start : item.start + item.size])

    def write(self, item: Item, data: bytes) -> int:
        """Write one item and return its code; a refused one changes nothing."""
        if (item.area, item.db) not in self.blocks:
            return NO_SUCH_OBJECT
        memory = self.blocks[item.area, item.db]
        if not self._fits(item, memory):
            return NO_SUCH_RANGE
        if len(data) != item.size:
            return MISMATCH
        if item.transport == BIT:
            mask = 1 << item.bit
            memory[item.start] = memory[item.start] | mask if data[0] & 1 else memory[item.start] & ~mask
        else:
            memory[item.start : item.start + item.size] = data
        return GOOD

    def _told(self, connection: Connection, pdu: bytes) -> bytes | None:
        """What python-snap7's server answers; a long answer in USERDATA comes in parts."""
        if connection.parts.is_wanted(pdu):
            return connection.parts.next(pdu[4:6], connection.pdu)
        reply: bytes | None = self._rest._process_request(pdu, connection.peer)  # noqa: SLF001 - needs no socket
        return connection.parts.first(reply, connection.pdu) if reply and reply[1] == USERDATA else reply

    @staticmethod
    def _fits(item: Item, memory: bytearray) -> bool:
        """A known size inside the memory; only a single bit may start within a byte."""
        aligned = item.size == 1 if item.transport == BIT else item.bit == 0
        return bool(_ELEMENT.get(item.transport)) and aligned and item.start + item.size <= len(memory)

    def _setup(self, connection: Connection, pdu: bytes) -> bytes:
        if len(pdu) != 18:  # noqa: PLR2004 - header and eight bytes of parameters
            return _header(pdu[4:6], error=FRAME_ERROR)
        caller, callee, size = struct.unpack(">HHH", pdu[12:18])
        connection.jobs = max(1, min(caller, callee, self.jobs))
        connection.pdu = min(size, self.pdu)
        granted = struct.pack(">BBHHH", SETUP, 0, connection.jobs, connection.jobs, connection.pdu)
        return _header(pdu[4:6], granted)

    def _read(self, sequence: bytes, pdu: bytes) -> bytes:
        items = items_of(pdu)
        if not items:
            return _header(sequence, error=FRAME_ERROR)
        data = bytearray()
        for item in items:
            data += b"\0" * (len(data) % 2)
            code, content = self.read(item)
            transport = _ANSWER.get(item.transport, 0x04) if code == GOOD else 0
            data += struct.pack(">BBH", code, transport, len(content) * _units(transport)) + content
        self.reads += 1
        return _header(sequence, bytes([READ, len(items)]), bytes(data))

    def _write(self, sequence: bytes, pdu: bytes) -> bytes:
        items = items_of(pdu)
        contents = list(_contents(pdu[10 + int.from_bytes(pdu[6:8], "big") :]))
        if not items or len(items) != len(contents):
            return _header(sequence, error=FRAME_ERROR)
        codes = bytes(self.write(item, content) for item, content in zip(items, contents, strict=True))
        return _header(sequence, bytes([WRITE, len(items)]), codes)


class Connection(asyncio.Protocol):
    """One client's connection.

    Attributes:
        transport: its socket.
        peer: the client's address.
        tsap: the called TSAP: connection type, then rack * 32 + slot.
        pdu: the granted PDU in bytes, 0 before the communication is set up.
        jobs: the granted parallel jobs.
        parts: what is left of a long answer.
    """

    transport: asyncio.Transport

    def __init__(self, server: PlcServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._fragments = bytearray()
        self._open: deque[bytes] = deque()
        self.parts = Parts()
        self.peer = ("", 0)
        self.tsap = b""
        self.pdu = 0
        self.jobs = 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came; without a free connection it is reset."""
        self.transport = cast("asyncio.Transport", transport)
        self.peer = transport.get_extra_info("peername") or ("", 0)
        if len(self._server.connections) >= self._server.max_clients:
            self.transport.abort()
        else:
            self._server.connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        """The client has gone."""
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take what has come apart into TPKT frames, however the network cut it."""
        self._buffer += data
        while len(self._buffer) >= 4 and not self.transport.is_closing():  # noqa: PLR2004 - the TPKT header's length
            version, length = self._buffer[0], int.from_bytes(self._buffer[2:4], "big")
            if version != 3 or length < 7:  # noqa: PLR2004 - RFC 1006: version 3, the shortest TPDU has 3 bytes
                self.refuse(f"not a TPKT frame: {self._buffer[:4].hex()}")
            elif len(self._buffer) < length:
                return
            else:
                payload = bytes(self._buffer[4:length])
                del self._buffer[:length]
                self._cotp(payload)

    def refuse(self, why: str) -> None:
        """Note what the client did wrong and cut the connection."""
        self._server.violations.append(why)
        self.transport.abort()

    def _cotp(self, payload: bytes) -> None:
        kind = payload[1]
        if kind == 0xE0:  # noqa: PLR2004 - connection request
            self._confirm(payload)
        elif kind == 0xF0:  # noqa: PLR2004 - data
            self._fragments += payload[3:]
            if len(self._fragments) > _LONGEST:
                self.refuse(f"a request of more than {_LONGEST} bytes")
            elif payload[2] & 0x80:
                pdu, self._fragments = bytes(self._fragments), bytearray()
                self._request(pdu)
        elif kind == 0x80:  # noqa: PLR2004 - disconnect request
            self.transport.close()
        else:
            self.refuse(f"not a COTP frame: {payload[:3].hex()}")

    def _confirm(self, payload: bytes) -> None:
        """Confirm a connection: the client's reference, one of ours, and its parameters as they came."""
        parameters = payload[7:]
        if len(parameters) > _PARAMETERS:
            self.refuse(f"a connection request of {len(payload)} bytes")
            return
        self.tsap = _called_tsap(parameters)
        if self._server.admits(self):
            confirm = bytes([6 + len(parameters), 0xD0]) + payload[4:6] + b"\x00\x01\x00" + parameters
            self.transport.write(tpkt(confirm))
        else:
            self.transport.abort()

    def _request(self, pdu: bytes) -> None:
        """Answer later, in order; what is open at once may not exceed the granted jobs."""
        if len(pdu) < 10 or pdu[0] != 0x32 or len(pdu) != _length(pdu):  # noqa: PLR2004 - the S7 header
            self.refuse(f"not an S7 request: {pdu[:10].hex()}")
            return
        self._open.append(pdu)
        if len(self._open) > self.jobs:
            self.refuse(f"{len(self._open)} jobs at once, {self.jobs} granted")
            return
        asyncio.get_running_loop().call_later(self._server.delay, self._answer)

    def _answer(self) -> None:
        pdu = self._open.popleft()
        if self.transport.is_closing():
            return
        reply = self._server.answer(self, pdu)
        if reply is not None:
            self._server.deliver(self, data_frame(reply))


def _header(sequence: bytes, parameters: bytes = b"", data: bytes = b"", error: int = 0) -> bytes:
    """An answer (ACK_DATA) to the request of this sequence number."""
    lengths = struct.pack(">HHH", len(parameters), len(data), error)
    return bytes([0x32, ACK_DATA, 0, 0]) + sequence + lengths + parameters + data


def _called_tsap(parameters: bytes) -> bytes:
    """The parameter 0xC2 of a connection request."""
    while len(parameters) > 1 and parameters[0] != 0xC2:  # noqa: PLR2004 - the called TSAP's code
        parameters = parameters[2 + parameters[1] :]
    return parameters[2 : 2 + parameters[1]] if len(parameters) > 1 else b""


def _length(pdu: bytes) -> int:
    """What the header says of the PDU's length; only answers have the two bytes of an error code."""
    parameters, data = struct.unpack_from(">HH", pdu, 6)
    return int(10 + parameters + data + (2 if pdu[1] in {0x02, ACK_DATA} else 0))


def items_of(pdu: bytes) -> list[Item]:
    """The items of a read or write request; none when their number and the parameters' length disagree."""
    parameters = pdu[10 : 10 + int.from_bytes(pdu[6:8], "big")]
    if len(parameters) < 2 or len(parameters) != 2 + 12 * parameters[1]:  # noqa: PLR2004 - function and count
        return []
    return [Item.parse(parameters[at : at + 12]) for at in range(2, len(parameters), 12)]


def _contents(data: bytes) -> Iterator[bytes]:
    """The bytes to write of each item; odd lengths are padded, except the last."""
    at = 0
    while at + 4 <= len(data):
        size = -(-int.from_bytes(data[at + 2 : at + 4], "big") // _units(data[at + 1]))
        yield data[at + 4 : at + 4 + size]
        at += 4 + size + size % 2


def _units(transport: int) -> int:
    """How many of a data length's units make a byte: 8 where it counts bits (a BIT is one unit), else 1."""
    return 8 if transport in {0x04, 0x05} else 1
