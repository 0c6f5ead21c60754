"""S7 on the wire: TPKT and COTP frames, the read requests and answers of the poll loop, and refusals in plain words.

Encoding and parsing only; nothing here waits or owns a socket. Setup of the communication is built and parsed by
python-snap7's `S7Protocol`; what runs at every tick is written here for speed. All numbers are big-endian.

Sources: RFC 1006 (TPKT), ISO 8073 class 0 (COTP), and for S7 itself python-snap7 and measurements against its servers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from snap7.error import S7Error
from snap7.s7protocol import S7Protocol

from pipeline.errors import ReadError, Refused

__all__ = [
    "CC",
    "DATA_OVERHEAD",
    "DR",
    "DT",
    "ITEM_OVERHEAD",
    "PDU_ASKED",
    "PDU_LEAST",
    "REFUSALS",
    "SEQUENCE_AT",
    "USUAL_DATA_AT",
    "Grant",
    "Span",
    "Stream",
    "Tsaps",
    "connect_request",
    "data_frame",
    "is_userdata",
    "parse_setup",
    "read_answer",
    "read_request",
    "refused",
    "request_frame",
    "sequence",
    "setup_request",
    "tpkt",
    "usual_answer",
]

CC, DR, DT = 0xD0, 0x80, 0xF0
"""COTP codes: connection confirm, disconnect request, data."""
SEQUENCE_AT = 11
"""Where the two bytes of the sequence number stand in a request frame, counted from the TPKT header."""
PDU_ASKED = 960
PDU_LEAST = 112
USUAL_DATA_AT = 25
"""Where the data of an answer with one item begin, counted from the TPKT header."""
DATA_OVERHEAD = 14
"""Bytes of a read answer before its first item: header 12, function and item count."""
ITEM_OVERHEAD = 4
"""Bytes before each item's data in a read answer: return code, transport size, length."""
_JOBS_ASKED = 8
_SETUP = 0xF0
_READ = 0x04
_TPDU_2048 = 0x0B  # a smaller one limits the PDU that S7-300 and 400 grant
_HEADER = struct.Struct(">BBHHHHH")
_GOOD = 0xFF
_USERDATA = 0x07
_COUNTED = frozenset({0x1C, 0x1D})
"""Areas of counters and timers, whose codes are also those of their transport sizes."""
_COUNTED_IN_BITS = frozenset({0x03, 0x04, 0x05})
_COUNTED_IN_BYTES = frozenset({0x07, 0x09})

_PLACE = "rack, slot or tsap are wrong (S7-300: rack 0 slot 2, S7-1200/1500: slot 1 or 0), or "
_OTHER_TYPE = "choose another connection_type (pg, op, basic), or free one that another program holds"
_PUT_GET = "permit 'PUT/GET access from remote partner' in the CPU's protection settings, and switch off "
_DEFECT = "the read plan does not fit the negotiated PDU, a mistake of this program: please report it"
_LEVEL = "set the CPU's protection level to 'full access' or 'read access' without password"

REFUSALS: Mapping[int | str, tuple[str, str]] = MappingProxyType(
    {
        # Return codes of single items.
        0x01: ("hardware error", "look at the CPU's diagnostic buffer: it reports a fault behind this address"),
        0x03: ("access denied", "lower the block's or CPU's protection, or permit PUT/GET access, for this address"),
        0x05: (
            "address out of range",
            "the block is shorter than the layout or address says: compare it with TIA/STEP 7",
        ),
        0x06: ("type not supported", "the CPU does not give this area by bytes: choose another address"),
        0x07: ("type inconsistent", "the CPU does not give this area by bytes: choose another address"),
        0x0A: (
            "object does not exist",
            "the block is missing in the PLC, or has 'Optimized block access' switched on: load it, or switch that off",
        ),
        # Error codes of a whole answer.
        0x8104: ("not permitted", _PUT_GET + "'Optimized block access' of the block"),
        0x8500: ("PDU exceeded", _DEFECT),
        0xD241: ("protection level", _LEVEL),
        **dict.fromkeys(range(0xD601, 0xD606), ("protection level", _LEVEL)),
        # The handshake.
        "disconnect": ("connection refused by the PLC", f"{_PLACE}all its connections are taken: {_OTHER_TYPE}"),
        "unconfirmed": ("connection refused by the PLC", _PLACE + "something else than an S7 PLC listens there"),
        "closed": ("no free connection", "the PLC's connections are taken: " + _OTHER_TYPE),
        "small": (
            "PDU too small",
            f"the PLC grants less than {PDU_LEAST} bytes per PDU: raise it in its connection settings",
        ),
    }
)
"""Why a PLC says no: a short reason by return code, header error code or step of the handshake; what to change."""
_NOT_THERE = frozenset({0x05, 0x0A})
_OUTSIDE_OF_BLOCKS: Mapping[int, str] = MappingProxyType(
    {
        0x81: "the CPU has no such input byte: correct the address",
        0x82: "the CPU has no such output byte: correct the address",
        0x83: "the CPU has no such byte of bit memory: correct the address",
        0x1C: "the CPU has no such counter: correct the address",
        0x1D: "the CPU has no such timer: correct the address",
    }
)
"""What to change where there is no block that could be missing or too short."""


def refused(code: int | str, detail: str = "", *, area: int = 0x84) -> Refused:
    """The refusal of this code, with what to change where that is known; `area` is that of a single item."""
    if code in REFUSALS:
        reason, advice = REFUSALS[code]
    else:
        reason, advice = "refused", ""
    if code in _NOT_THERE:
        advice = _OUTSIDE_OF_BLOCKS.get(area, advice)
    return Refused(reason, detail or (f"code 0x{code:02X}" if isinstance(code, int) else ""), advice)


def _framing(detail: str) -> ReadError:
    """The stream can't be trusted from here on; the connection must be closed."""
    return ReadError("invalid answer", detail)


class Span(Protocol):
    """Bytes to read: an area's code on the wire, its block (0 outside of DBs), first byte, number of bytes.

    Counter or timer n is bytes 2n and 2n + 1 of its area.
    """

    @property
    def area(self) -> int: ...  # noqa: D102
    @property
    def db(self) -> int: ...  # noqa: D102
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Tsaps:
    """Whom a connection is between: two bytes each. Of a PLC: connection type, then rack * 32 + slot."""

    local: int
    remote: int

    @classmethod
    def of(cls, connection_type: int, rack: int, slot: int) -> Tsaps:
        """Those of a CPU's place; `connection_type` is 1 (PG), 2 (OP) or 3 (basic)."""
        return cls(0x0100, connection_type << 8 | rack << 5 | slot)

    @classmethod
    def parse(cls, local: str, remote: str) -> Tsaps:
        """Those written as STEP 7 does: `10.00` and `03.01`, two hexadecimal bytes."""
        return cls(int(local.replace(".", ""), 16), int(remote.replace(".", ""), 16))


@dataclass(frozen=True)
class Grant:
    """What the PLC granted: bytes of a PDU, and requests that may be open at once."""

    pdu: int
    jobs: int


def connect_request(tsaps: Tsaps) -> bytes:
    """The frame that asks for a COTP connection."""
    parameters = struct.pack(">BBHBBHBBB", 0xC1, 2, tsaps.local, 0xC2, 2, tsaps.remote, 0xC0, 1, _TPDU_2048)
    return tpkt(struct.pack(">BBHHB", 6 + len(parameters), 0xE0, 0, 1, 0) + parameters)


def setup_request() -> bytes:
    """The frame that negotiates PDU and parallel jobs; its sequence number is 1."""
    return data_frame(S7Protocol().build_setup_communication_request(_JOBS_ASKED, _JOBS_ASKED, PDU_ASKED))


def parse_setup(pdu: bytes) -> Grant:
    """What the answer to `setup_request` grants, never more than was asked for.

    Raises:
        Refused: by the PLC, or it grants less than can be worked with.
        ReadError: it is no such answer.
    """
    try:
        answer = S7Protocol().parse_response(pdu)
    except S7Error as error:
        if getattr(error, "error_code", None):
            raise refused(int(error.error_code or 0)) from None
        raise _framing(str(error)) from None
    parameters = answer["parameters"] or {}
    if parameters.get("function_code") != _SETUP:
        raise _framing("not an answer to the setup of the communication")
    size = min(PDU_ASKED, parameters["pdu_length"])
    if size < PDU_LEAST:
        raise refused("small", f"{size} bytes granted")
    return Grant(size, max(1, min(_JOBS_ASKED, parameters["max_amq_caller"], parameters["max_amq_callee"])))


def read_request(spans: Iterable[Span]) -> bytearray:
    """The frame that reads these spans; its sequence number is 0, to be patched at `SEQUENCE_AT`."""
    items = b"".join(map(_item, spans))
    parameters = bytes([_READ, len(items) // 12]) + items
    return request_frame(struct.pack(">BBHHHH", 0x32, 0x01, 0, 0, len(parameters), 0) + parameters)


def _item(span: Span) -> bytes:
    """An S7ANY item: bytes by their bit address, counters and timers (two bytes each) by their number."""
    kind, count, address = 0x02, span.size, span.start * 8
    if span.area in _COUNTED:
        kind, count, address = span.area, span.size // 2, span.start // 2
    return struct.pack(">BBBBHHBBH", 0x12, 0x0A, 0x10, kind, count, span.db, span.area, address >> 16, address & 0xFFFF)


def request_frame(pdu: bytes) -> bytearray:
    """The frame of a request's PDU; its sequence number can be patched at `SEQUENCE_AT`."""
    return bytearray(data_frame(pdu))


def read_answer(pdu: bytes, spans: Sequence[Span]) -> list[bytes | int]:
    """The bytes of each span, or its return code where the PLC has none.

    Args:
        pdu: the answer from 0x32 on, at least 12 bytes.
        spans: what was asked for, in the request's order.

    Raises:
        Refused: the PLC refused the request as a whole; the stream is fine.
        ReadError: the answer contradicts the request or itself; the connection must be closed.
    """
    _, kind, _, _, parameters, length, error = _HEADER.unpack_from(pdu)
    if error and kind in {2, 3}:
        raise refused(error)
    if kind != 3 or parameters != 2 or len(pdu) != DATA_OVERHEAD + length or pdu[12] != _READ:  # noqa: PLR2004 - ACK_DATA
        raise _framing(f"not an answer to a read request: {pdu[:14].hex()}")
    if pdu[13] != len(spans):
        raise _framing(f"{pdu[13]} items answered, {len(spans)} asked for")
    items: list[bytes | int] = []
    at = DATA_OVERHEAD
    for span in spans:
        at += at & 1  # odd lengths are padded, except the last; the header's 14 bytes keep parity
        start = at + ITEM_OVERHEAD
        if start > len(pdu):
            raise _framing("the answer ends inside an item")
        code = pdu[at]
        if code == _GOOD:
            at = start + span.size
            if at > len(pdu) or _item_size(pdu[start - 3], pdu[start - 2] << 8 | pdu[start - 1]) != span.size:
                raise _framing(f"an item of {span.size} bytes is answered with {pdu[start - 4 : start].hex()}")
            items.append(pdu[start:at])
        else:
            items.append(code)  # transport size and length mean nothing here: some send 0, some 4, none sends data
            at = start
    if len(pdu) - at > (at & 1):
        raise _framing(f"{len(pdu) - at} bytes follow the last item")
    return items


def usual_answer(spans: Sequence[Span]) -> tuple[bytes, bytes, int] | None:
    """What nearly all answers to a request of one item are, so that a comparison can take the place of parsing.

    Returns:
        The frame from the TPKT header to the sequence number, from there to the data (of transport size BYTE), and the
        length of the whole; None for more items, and for one that no PDU can carry.
    """
    if len(spans) != 1 or spans[0].size > PDU_ASKED:
        return None
    size = spans[0].size
    item = struct.pack(">BBH", _GOOD, 0x04, size * 8)
    pdu = _HEADER.pack(0x32, 3, 0, 0, 2, ITEM_OVERHEAD + size, 0) + bytes([_READ, 1]) + item
    frame = data_frame(pdu + bytes(size))
    return frame[:SEQUENCE_AT], frame[SEQUENCE_AT + 2 : USUAL_DATA_AT], len(frame)


def _item_size(transport: int, length: int) -> int:
    if transport in _COUNTED_IN_BITS:
        return length + 7 >> 3
    return length if transport in _COUNTED_IN_BYTES else -1


def is_userdata(pdu: bytes) -> bool:
    """True for what a PLC says unasked (alarms, diagnostics), and for answers to questions about itself."""
    return pdu[1:2] == bytes([_USERDATA])


def sequence(pdu: bytes) -> int:
    """The sequence number of an answer.

    Raises:
        ReadError: it is too short to be one.
    """
    if len(pdu) < _HEADER.size:
        raise _framing(f"an answer of {len(pdu)} bytes")
    return pdu[4] << 8 | pdu[5]


def tpkt(payload: bytes) -> bytes:
    """The frame of a TPDU."""
    return struct.pack(">BBH", 3, 0, len(payload) + 4) + payload


def data_frame(pdu: bytes) -> bytes:
    """The frame of an S7 PDU, in one TPDU."""
    return tpkt(b"\x02\xf0\x80" + pdu)


class Stream:
    """Cuts what the network delivers into TPDUs, however it is split or joined; keeps at most one frame.

    Attributes:
        pdu: the longest S7 PDU that may come, bytes.
        empty: no part of a frame is kept.
    """

    __slots__ = ("_fragments", "_rest", "empty", "pdu")

    def __init__(self) -> None:
        self.pdu = PDU_ASKED
        self.empty = True
        self._rest = b""
        self._fragments = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes; the complete TPDUs as (code, S7 PDU; empty for CC and DR).

        COTP fragments are joined, empty data TPDUs left out.

        Raises:
            ReadError: the bytes are no TPKT, COTP or S7 frame, or longer than granted. Don't feed it again.
        """
        if self._rest:
            data = self._rest + data
        found: list[tuple[int, bytes]] = []
        start, end = 0, len(data)
        while start < end:
            if data[start] != 3:  # noqa: PLR2004 - the version of RFC 1006
                raise _framing(f"not a TPKT frame: {data[start : start + 4].hex()}")
            if end - start < 4:  # noqa: PLR2004 - the TPKT header
                break
            length = data[start + 2] << 8 | data[start + 3]
            if not 7 <= length <= self.pdu + 7:  # noqa: PLR2004 - TPKT header and the shortest TPDU
                raise _framing(f"a TPKT frame of {length} bytes, granted are {self.pdu + 7}")
            if end - start < length:
                break
            code = data[start + 5]
            if code == DT and data[start + 4] == 2:  # noqa: PLR2004 - class 0 has no more
                pdu = self._join(data[start + 7 : start + length], last=data[start + 6] >= 0x80)  # noqa: PLR2004 - EOT
                if pdu:
                    found.append((DT, pdu))
            elif code in {CC, DR}:
                found.append((code, b""))
            else:
                raise _framing(f"not a COTP frame: {data[start + 4 : start + 7].hex()}")
            start += length
        self._rest = data[start:]
        self.empty = not self._rest and not self._fragments
        return found

    def _join(self, part: bytes, *, last: bool) -> bytes:
        """The PDU that this part completes, or nothing."""
        if self._fragments or not last:
            part = self._fragments + part
            self._fragments = b"" if last else part
        if len(part) > self.pdu:
            raise _framing(f"a fragmented PDU of {len(part)} bytes, granted are {self.pdu}")
        if part and part[0] != 0x32:  # noqa: PLR2004 - the S7 protocol
            raise _framing(f"not an S7 PDU: {part[:4].hex()}")
        return part if last else b""
