"""A CPU with optimised blocks: the emulator of `s7commplus` and what that lacks: symbols, login, news, faults.

`SymbolPlc.start(host, port)` listens with real TCP on the emulator's threads; `wire` is a protocol for a loop, also a
virtual one, which asks the same emulator. Messages of the program (types, names, addresses) are built here from the
package's own parsers' formats; sessions, framing, TLS and value encodings are the package's.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from s7commplus import Server
from s7commplus.catalog import _WIRE_TYPES
from s7commplus.codec import decode_pvalue_to_bytes, encode_header, encode_pvalue_typed, encode_typed_value
from s7commplus.legitimation import build_legacy_response
from s7commplus.protocol import DataType, ElementID, FunctionCode, Ids, LegitimationId, ObjectId, ProtocolVersion
from s7commplus.typeinfo import Softdatatype, datatype_size
from s7commplus.vlq import decode_uint32_vlq, encode_uint32_vlq, encode_uint64_vlq
from s7commplus.zlib_dicts import ZLIB_DICT_IDENTITIES, ZLIB_DICTIONARIES

__all__ = ["DTL", "SymbolPlc", "array", "text"]

NOT_THERE = 0x8020AB001992FFF4
"""What a CPU says of an object that it does not have: code -12."""
PIECE = 1000
"""Bytes after which `wire` goes on in another frame, as CPUs do."""
CHALLENGE = bytes(range(20))
DTL = {
    "YEAR": "UINT",
    **dict.fromkeys(("MONTH", "DAY", "WEEKDAY", "HOUR", "MINUTE", "SECOND"), "USINT"),
    "NANOSECOND": "UDINT",
}


@dataclass(frozen=True)
class array:  # noqa: N801 - reads as in a declaration
    """`array(1, 3, "REAL")` is Array[1..3] of Real; elements may be records; more dimensions in `more`."""

    first: int
    count: int
    of: Any
    more: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class text:  # noqa: N801 - reads as in a declaration
    """`text("STRING", 20)`."""

    kind: str
    length: int


@dataclass
class _Type:
    """A type object: elements, names."""

    rid: int
    elements: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


class SymbolPlc(Server):  # type: ignore[misc]
    """A CPU.

    Attributes:
        program: block name to (number, members); a member is a type's name, `text`, `array` or a dict of members.
        tags: PLC tags of the M area.
        memory: bytes by address; `put` writes by the symbol's text.
        refuses: error code by address.
        level: access level of a session, before the password.
        password: "" where none is asked.
        grants: the CPU grants subscriptions.
        sends: and sends what changes.
        loses: as many notifications as are lost next.
        version: the modification time of all types.
        reads: multi-reads, by number of items.
        documents: XML by kind (`IntfDesc`, `LineComm`) by a block's object.
        limit: items that a request may have; more are refused as a whole.
        fault: "", "silent" (no answer), "half" (half an answer), "close" (hangs up), "garbage".
        gate: number of answers before the fault begins.
        sessions: living connections of `wire`.
    """

    def __init__(self, program: Mapping[str, tuple[int, Mapping[str, Any]]], **options: Any) -> None:
        super().__init__(**options)
        self.tags: dict[str, Any] = {}
        self.memory: dict[tuple[int, ...], bytes] = {}
        self.refuses: dict[tuple[int, ...], int] = {}
        self.level, self.password = 1, ""
        self.grants, self.sends, self.loses = False, True, 0
        self.version = 1
        self.reads: list[int] = []
        self.limit = 1000
        self.documents: dict[int, dict[str, str]] = {}
        self.fault, self.gate, self.delay = "", 0, 0.0
        self.sessions: list[_Wire] = []
        self.requests = 0
        self._subscribed: dict[int, list[tuple[int, ...]]] = {}
        self._sent: dict[int, list[bytes]] = {}
        self._counts: dict[int, int] = {}
        self.download(program)

    # the program

    def download(self, program: Mapping[str, tuple[int, Mapping[str, Any]]]) -> None:
        """Load a program: its symbols get addresses, which hold zeros."""
        self.program = dict(program)
        self.version += 1
        self.memory.clear()
        self.addresses: dict[str, tuple[int, ...]] = {}
        self.kinds: dict[tuple[int, ...], Softdatatype] = {}
        self._types: dict[int, _Type] = {}
        self._declare(0x90030000, self.tags, (Ids.NATIVE_THE_M_AREA_RID,), "")
        for name, (number, members) in self.program.items():
            area = Ids.DB_ACCESS_AREA_BASE | number
            self._declare(0x91000000 | number, members, (area,), name)
            self.memory[area, 1] = struct.pack(">I", 0x91000000 | number)

    def put(self, symbol: str, raw: bytes) -> None:
        """Write a value, big-endian, as the CPU's memory has it; a text with its lengths, without its padding."""
        self.memory[self.addresses[symbol]] = raw

    def _declare(self, rid: int, members: Mapping[str, Any], base: tuple[int, ...], path: str) -> None:
        kind = self._types.setdefault(rid, _Type(rid))
        fresh = not kind.elements
        for lid, (name, member) in enumerate(members.items(), 9):
            where = f"{path}.{name}" if path else name
            element = self._member(rid, lid, member, (*base, lid), where)
            if fresh:
                kind.elements.append(element)
                kind.names.append(name)

    def _member(self, rid: int, lid: int, member: Any, at: tuple[int, ...], path: str) -> bytes:
        """Give a member its addresses; its element of the type's list."""
        if isinstance(member, dict):
            inner = (rid & 0x00FFFF00) << 4 | 0x92000000 | rid << 8 & 0xFF00 | lid
            self._declare(inner, member, at, path)
            soft = Softdatatype.DTL if member == DTL else Softdatatype.STRUCT
            return _element(lid, soft, 12, struct.pack("<HHIII4I", 0, 0, 0, 0, inner, 0, 0, 0, 0))
        if isinstance(member, array):
            return self._array(rid, lid, member, at, path)
        soft, length = _kind(member)
        self._leaf(at, path, soft, length)
        if length:
            return _element(lid, soft, 9, struct.pack("<HHII", length, 0, 0, 0))
        return _element(lid, soft, 8, struct.pack("<HH", 0, 0))

    def _array(self, rid: int, lid: int, member: array, at: tuple[int, ...], path: str) -> bytes:
        record = isinstance(member.of, dict)
        inner = 0x93000000 | (rid & 0xFFFF) << 8 | lid
        soft, length = (Softdatatype.STRUCT, 0) if record else _kind(member.of)
        if record and member.of == DTL:
            soft = Softdatatype.DTL
        for number, label in enumerate(_labels(member)):
            if record:
                self._declare(inner, member.of, (*at, number, 1), f"{path}[{label}]")
            else:
                self._leaf((*at, number), f"{path}[{label}]", soft, length)
        total = member.count
        for _, count in member.more:
            total *= count
        head = struct.pack("<HHIIiI", length, 0, 0, 0, member.first, total)
        if member.more:
            # The last dimension of a declaration runs fastest and stands first.
            dimensions = [*reversed(member.more), (member.first, member.count)]
            bounds = [first for first, _ in dimensions] + [0] * (6 - len(dimensions))
            counts = [count for _, count in dimensions] + [0] * (6 - len(dimensions))
            head += struct.pack("<6i6I", *bounds, *counts)
        tail = struct.pack("<III4I", 0, 0, inner, 0, 0, 0, 0) if record else b""
        return _element(lid, soft, (14 if record else 11) if member.more else (13 if record else 10), head + tail)

    def _leaf(self, at: tuple[int, ...], path: str, soft: Softdatatype, length: int) -> None:
        self.addresses[path] = at
        self.kinds[at] = soft
        size = int(datatype_size(soft))
        self.memory[at] = bytes([length, 0]) if soft is Softdatatype.STRING else (
            struct.pack(">HH", length, 0) if soft is Softdatatype.WSTRING else bytes(size)
        )  # fmt: skip

    # requests

    def _process_request(self, data: bytes, session_id: int, *counters: int) -> tuple[bytes | None, bool]:
        self.requests += 1
        function, sequence = struct.unpack_from(">H", data, 7)[0], struct.unpack_from(">H", data, 11)[0]
        if function == FunctionCode.SET_VARIABLE:
            answer = self._build_response_header(function, sequence) + self._set_variable(data[18:])
            if self._protocol_version >= ProtocolVersion.V2:
                answer += encode_uint32_vlq(counters[1])
            return answer, False
        answer: tuple[bytes | None, bool] = super()._process_request(data, session_id, *counters)
        return answer

    def _handle_create_object(self, seq_num: int, request_data: bytes) -> bytes:
        if self._public_key_fingerprint is not None:
            return bytes(super()._handle_create_object(seq_num, request_data))
        head: bytes = self._build_response_header(FunctionCode.CREATE_OBJECT, seq_num)
        if struct.unpack_from(">I", request_data)[0] != ObjectId.OBJECT_SERVER_SESSION_CONTAINER:
            return head + self._subscribe(request_data)
        self._next_session_id += 1
        session = self._next_session_id
        body = encode_uint32_vlq(0) + b"\x02" + encode_uint32_vlq(session) + encode_uint32_vlq(session + 0x70000000)
        body += bytes([ElementID.START_OF_OBJECT]) + struct.pack(">I", 1) + bytes(3) + bytes([ElementID.ATTRIBUTE])
        paom = b"1;6ES7 512-1CK01-0AB0;V2.9"
        version = bytes([0, DataType.STRUCT]) + struct.pack(">I", 314) + encode_uint32_vlq(319)
        version += bytes([0, DataType.WSTRING, len(paom)]) + paom + b"\x00"
        body += encode_uint32_vlq(ObjectId.SERVER_SESSION_VERSION) + version
        return head + body + bytes([ElementID.TERMINATING_OBJECT]) + bytes(4)

    def _handle_get_var_substreamed(self, seq_num: int, session_id: int, request_data: bytes) -> bytes:  # noqa: ARG002 - the emulator's arguments
        address, _ = decode_uint32_vlq(request_data, 7)
        head: bytes = self._build_response_header(FunctionCode.GET_VAR_SUBSTREAMED, seq_num) + b"\x00\x00"
        if address == Ids.EFFECTIVE_PROTECTION_LEVEL:
            return head + bytes([0]) + encode_typed_value(DataType.UDINT, self.level)
        return head + bytes([0x10, DataType.USINT, len(CHALLENGE)]) + CHALLENGE

    def _set_variable(self, body: bytes) -> bytes:
        address, size = decode_uint32_vlq(body, 5)
        if address == LegitimationId.SERVER_SESSION_RESPONSE:
            given, _ = decode_pvalue_to_bytes(body, 5 + size)
            if given != build_legacy_response(self.password, CHALLENGE):
                return encode_uint64_vlq(0x8020AB001992FFFE)
            self.level = 1
        return encode_uint64_vlq(0) + bytes(4)

    def _handle_explore(self, seq_num: int, session_id: int, request_data: bytes) -> bytes:  # noqa: ARG002 - the emulator's arguments
        head: bytes = self._build_response_header(FunctionCode.EXPLORE, seq_num)
        target = struct.unpack_from(">I", request_data)[0]
        if target == Ids.NATIVE_THE_PLC_PROGRAM_RID:
            blocks = (self._block(name, number) for name, (number, _) in self.program.items())
            return head + encode_uint32_vlq(0) + b"".join(blocks) + bytes(4)
        if target == Ids.OBJECT_OMS_TYPE_INFO_CONTAINER:
            inside = b"".join(self._type(kind) for kind in self._types.values())
            return head + encode_uint32_vlq(0) + _object(target, 534, inside) + bytes(4)
        if target in self.documents:
            return head + encode_uint32_vlq(0) + _object(target, Ids.DB_CLASS_RID, self._documents(target)) + bytes(4)
        if target in self._types:
            return head + encode_uint32_vlq(0) + self._type(self._types[target]) + bytes(4)
        return head + encode_uint64_vlq(NOT_THERE) + bytes(8)

    def _block(self, name: str, number: int) -> bytes:
        raw = name.encode()
        inside = bytes([ElementID.ATTRIBUTE]) + encode_uint32_vlq(Ids.OBJECT_VARIABLE_TYPE_NAME)
        inside += bytes([0, DataType.WSTRING]) + encode_uint32_vlq(len(raw)) + raw
        return _object(Ids.DB_ACCESS_AREA_BASE | number, Ids.DB_CLASS_RID, inside)

    def _documents(self, target: int) -> bytes:
        inside = b""
        for kind, document in self.documents[target].items():
            adler = next(each.adler for each in ZLIB_DICT_IDENTITIES.values() if each.kind == kind)
            packer = zlib.compressobj(zdict=ZLIB_DICTIONARIES[adler])
            raw = packer.compress(document.encode()) + packer.flush()
            inside += bytes([ElementID.ATTRIBUTE]) + encode_uint32_vlq(Ids.DATA_INTERFACE_LINE_COMMENTS)
            inside += bytes([0, DataType.BLOB, 0]) + encode_uint32_vlq(len(raw)) + raw
        return inside

    def _type(self, kind: _Type) -> bytes:
        inside = bytes([ElementID.ATTRIBUTE]) + encode_uint32_vlq(Ids.VARIABLE_TYPE_STRUCT_MODIFICATION_TIME)
        inside += bytes([0]) + encode_typed_value(DataType.ULINT, self.version)
        elements = [struct.pack("<I", 0) + kind.elements[0], *kind.elements[1:]] if kind.elements else []
        inside += b"\xab" + b"".join(struct.pack(">H", len(each)) + each for each in elements) + bytes(2)
        names = [bytes([len(name.encode())]) + name.encode() + b"\0" for name in kind.names]
        inside += b"\xac" + b"".join(struct.pack(">H", len(each)) + each for each in names) + bytes(2)
        return _object(kind.rid, 511, inside)

    def _handle_get_multi_variables(self, seq_num: int, session_id: int, request_data: bytes) -> bytes:  # noqa: ARG002 - the emulator's arguments
        head: bytes = self._build_response_header(FunctionCode.GET_MULTI_VARIABLES, seq_num)
        items = _addresses(request_data)
        self.reads.append(len(items))
        if len(items) > self.limit:
            return head + encode_uint64_vlq(0x8020AB001992FFEF) + bytes(2)
        values, errors = b"", b""
        for number, at in enumerate(items, 1):
            raw = self.memory.get(at)
            if raw is None or at in self.refuses or self.level > 3:
                errors += encode_uint32_vlq(number) + encode_uint64_vlq(self.refuses.get(at, NOT_THERE))
            else:
                values += encode_uint32_vlq(number) + self._value(at, raw)
        return head + encode_uint64_vlq(0) + values + b"\0" + errors + b"\0" + b"\0" * (self._protocol_version < 2)

    def _value(self, at: tuple[int, ...], raw: bytes) -> bytes:
        soft = self.kinds.get(at)
        if soft is None:  # the block's type
            return bytes([0, DataType.RID]) + raw
        if soft is Softdatatype.STRING:
            return bytes([0x10, DataType.USINT]) + encode_uint32_vlq(len(raw)) + raw
        if soft is Softdatatype.WSTRING:
            return bytes([0x10, DataType.UINT]) + encode_uint32_vlq(len(raw) // 2) + raw
        return bytes(encode_pvalue_typed(_WIRE_TYPES[soft], raw))

    # subscriptions

    def _subscribe(self, request: bytes) -> bytes:
        if not self.grants:
            return encode_uint64_vlq(0x8020AB001992FFEE) + b"\0" + bytes(4)
        mark = bytes([ElementID.ATTRIBUTE]) + encode_uint32_vlq(Ids.SUBSCRIPTION_REFERENCE_LIST)
        at = request.index(mark + bytes([0x20, DataType.UDINT])) + len(mark) + 2
        numbers = []
        count, size = decode_uint32_vlq(request, at)
        for _ in range(count):
            at += size
            number, size = decode_uint32_vlq(request, at)
            numbers.append(number)
        items: dict[int, tuple[int, ...]] = {}
        rest = numbers[3:]
        while rest:
            lids = (rest[0] & 0xFFFF) - 1
            items[rest[1]] = (rest[3], *rest[6 : 6 + lids])
            rest = rest[6 + lids :]
        identity = 0x7100 + len(self._subscribed)
        self._subscribed[identity] = list(items.values())
        self._references = items
        self._change = numbers[0] >> 16 & 0xFF
        self._sent[identity] = [b""] * len(items)
        self._counts[identity] = 0
        return encode_uint64_vlq(0) + b"\x01" + encode_uint32_vlq(identity) + bytes(4)

    def news(self) -> Iterator[bytes]:
        """Notifications that are due: what has changed since the last one."""
        for identity, sent in self._sent.items() if self.sends else ():
            changed = b""
            for index, (reference, at) in enumerate(self._references.items()):
                raw = self.memory.get(at, b"")
                if raw != sent[index]:
                    sent[index] = raw
                    changed += b"\x92" + struct.pack(">I", reference) + self._value(at, raw)
            if changed:
                self._counts[identity] += 1
                if self.loses:
                    self.loses -= 1
                    continue
                number = self._counts[identity]
                body = b"\x33" + struct.pack(">I", identity) + bytes(6) + bytes([number % 256])
                yield body + encode_uint32_vlq(number) + bytes([self._change]) + changed + b"\0"

    # on a loop

    def wire(self) -> asyncio.Protocol:
        """The CPU's end of one connection, for `create_server`."""
        return _Wire(self)

    def hang_up(self) -> None:
        """Reset all connections of `wire`."""
        for session in tuple(self.sessions):
            session.transport.abort()


class _Wire(asyncio.Protocol):
    """TPKT, COTP and S7CommPlus frames of one connection, without TLS."""

    def __init__(self, plc: SymbolPlc) -> None:
        self.plc = plc
        self.rest = b""
        self.session = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.plc.sessions.append(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.plc._subscribed.clear()
        self.plc._sent.clear()
        with contextlib.suppress(ValueError):
            self.plc.sessions.remove(self)

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while len(self.rest) >= 4 and len(self.rest) >= (length := int.from_bytes(self.rest[2:4], "big")):
            frame, self.rest = self.rest[:length], self.rest[length:]
            if frame[5] == 0xE0:
                self.transport.write(bytes.fromhex("0300000b06d00001000100"))
            else:
                self.answer(frame[7:])

    def answer(self, data: bytes) -> None:
        plc = self.plc
        if plc.fault == "deaf":
            return
        answer, _ = plc._process_request(data, self.session, 0, 0)
        wants_none = struct.unpack_from(">H", data, 7)[0] == FunctionCode.SET_VARIABLE and data[17] == 0x74  # credits
        if answer is None or wants_none:
            return
        self.session = self.session or 1
        for news in plc.news():
            self.send(news)
        if plc.fault and plc.gate <= 0:
            self.misbehave(answer)
        else:
            plc.gate -= 1
            self.send(answer)

    def misbehave(self, answer: bytes) -> None:
        fault = self.plc.fault
        if fault == "close":
            self.transport.close()
        elif fault == "half":
            self.send(answer, cut=6)
        elif fault == "garbage":
            self.transport.write(b"\x03\x00\x00\x20\x02\xf0\x80" + b"\xa5" * 25)

    def send(self, body: bytes, cut: int = 0) -> None:
        pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
        frames = [encode_header(ProtocolVersion.V1, len(piece)) + piece for piece in pieces]
        frames[-1] += struct.pack(">BBH", 0x72, 1, 0)
        whole = b"".join(struct.pack(">BBH", 3, 0, 7 + len(frame)) + b"\x02\xf0\x80" + frame for frame in frames)
        whole = whole[: len(whole) - cut]
        if self.plc.delay:
            asyncio.get_running_loop().call_later(self.plc.delay, self.transport.write, whole)
        else:
            self.transport.write(whole)


def _kind(member: Any) -> tuple[Softdatatype, int]:
    return (Softdatatype[member.kind], member.length) if isinstance(member, text) else (Softdatatype[member], 0)


def _labels(member: array) -> list[str]:
    labels = [str(member.first + n) for n in range(member.count)]
    for first, count in member.more:
        labels = [f"{label},{first + n}" for label in labels for n in range(count)]
    return labels


def _element(lid: int, soft: Softdatatype, form: int, info: bytes) -> bytes:
    return struct.pack("<II", lid, 0) + bytes([soft]) + struct.pack(">H", form << 12) + b"\0" + info


def _object(rid: int, kind: int, inside: bytes) -> bytes:
    head = bytes([ElementID.START_OF_OBJECT]) + struct.pack(">I", rid) + encode_uint32_vlq(kind) + bytes(2)
    return head + inside + bytes([ElementID.TERMINATING_OBJECT])


def _addresses(request: bytes) -> list[tuple[int, ...]]:
    at = 4
    count, size = decode_uint32_vlq(request, at)
    at += size
    _, size = decode_uint32_vlq(request, at)
    at += size
    found = []
    for _ in range(count):
        head = []
        for _ in range(4):  # CRC, area, number of ids, sub-area
            number, size = decode_uint32_vlq(request, at)
            head.append(number)
            at += size
        lids = []
        for _ in range(head[2] - 1):
            number, size = decode_uint32_vlq(request, at)
            lids.append(number)
            at += size
        found.append((head[1], *lids))
    return found
