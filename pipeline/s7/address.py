"""Addresses of single values, in the notations of STEP 7, PLC4X and nodeS7, in any case.

    DB1.DBX0.0  DB1.DBW10:INT  DB2.DBD4:REAL  DB1:10:STRING[20]  DB1:0:REAL[5]      data blocks
    M10.5  MW20:WORD  IW4:INT  Q0.0  E0.0  A0.0  %M10.5:BOOL  M8:LREAL              memory bits, inputs, outputs
    C5  T3  Z5  T0:TIMER[8]                                                         counters and timers
    DB1,X0.0  DB1,I10  DB1,R4  DB1,DI10  DB1,S10.20  DB1,REAL4  QR24                nodeS7

Where no type is told, the size letter decides: X is BOOL, B BYTE, W WORD, D DWORD.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from pipeline.s7.types import ALIASES, BLOCK_LIMIT, TYPES, S7Type, parse_type

__all__ = ["ADDRESS_SCHEMA", "NODES7", "Address", "Area", "parse_address", "place"]

_NOTATION = re.compile(
    r"%?(?:DB(?P<db>\d{1,9})(?P<form>\.DB|:|,)|(?P<area>[MIQEACTZ]))"
    r"(?P<code>[A-Z]*)(?P<byte>-?\d{1,9})(?:\.(?P<extra>-?\d{1,9}))?(?::(?P<type>.+))?",
    re.ASCII | re.IGNORECASE,
)
ADDRESS_SCHEMA = MappingProxyType(
    {
        "pattern": r"^\s*%?(?:[Dd][Bb][0-9]{1,9}(?:\.[Dd][Bb]|[:,])|[MIQEACTZmiqeactz])"
        r"[A-Za-z]*[0-9]{1,9}(?:\.[0-9]{1,9})?(?::.+)?\s*$",
        "patternErrorMessage": "An address names area, size and byte: DB1.DBD4:REAL, DB1.DBX0.0, M10.3, IW4:INT.",
    }
)
"""How addresses look, for editors, which know no option for letters of any case."""
_SIZES = {"X": "BOOL", "B": "BYTE", "W": "WORD", "D": "DWORD"}
NODES7 = {
    **{name: found.name for name, found in ALIASES.items()},
    **_SIZES,
    "C": "CHAR",
    "S": "STRING",
    "WC": "WCHAR",
    "WS": "WSTRING",
    "I": "INT",
    "DI": "DINT",
    "DW": "DWORD",
    "R": "REAL",
    "LI": "LINT",
    "ULI": "ULINT",
    "LW": "LWORD",
    "LR": "LREAL",
}
"""Types by what nodeS7 calls them in addresses, which also knows our names."""
_EXAMPLES = "write DB1.DBD4:REAL, DB1.DBX0.0, DB1:10:STRING[20], M10.3, IW4:INT, C5, T3 or DB1,R4"
_LAST_BIT = 7
_LAST_BLOCK = 65535
_SHOWN = 80
"""Letters of what is no address that a message repeats."""


class Area(Enum):
    """A memory area, by the code it has on the wire."""

    DB = 0x84
    M = 0x83
    I = 0x81  # noqa: E741 - the area's name
    Q = 0x82
    C = 0x1C
    T = 0x1D

    @property
    def counted(self) -> S7Type | None:
        """What stands in an area that is addressed by number, not by byte; None where bytes count."""
        return {Area.C: TYPES["COUNTER"], Area.T: TYPES["TIMER"]}.get(self)


_AREAS = {"M": Area.M, "I": Area.I, "Q": Area.Q, "E": Area.I, "A": Area.Q, "C": Area.C, "Z": Area.C, "T": Area.T}


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a value lies and what it is. `str()` gives the STEP 7 notation, which `parse_address` reads back.

    Attributes:
        area: memory area.
        db: the data block's number, 0 outside of DB.
        byte: first byte, counted from 0; of a counter or timer twice its number, since each takes two.
        bit: 0 to 7; 0 for all but BOOL.
        type: of one element.
        count: elements; 1 is a scalar.
        length: declared length of a text, else 0.
    """

    area: Area
    db: int
    byte: int
    bit: int
    type: S7Type
    count: int = 1
    length: int = 0

    @property
    def size(self) -> int:
        """Bytes that it touches, from `byte` on."""
        return self.type.span(self.bit, self.count, self.length)

    def __str__(self) -> str:
        """`DB2.DBD4:REAL`, `M10.3:BOOL`, and without size letter what has none: `DB1:10:STRING[20]`."""
        letter = "X" if self.type.is_bit else {1: "B", 2: "W", 4: "D"}.get(0 if self.type.width else self.type.size, "")
        numbers = ([self.length] if self.length else []) + ([self.count] if self.count > 1 else [])
        kind = self.type.name + "".join(f"[{number}]" for number in numbers)
        if self.area.counted:
            return f"{self.area.name}{self.byte // self.type.size}:{kind}"
        place = f"{self.byte}.{self.bit}" if self.type.is_bit else f"{self.byte}"
        if self.area is Area.DB:
            return f"DB{self.db}.DB{letter}{place}:{kind}" if letter else f"DB{self.db}:{place}:{kind}"
        return f"{self.area.name}{letter.removeprefix('X')}{place}:{kind}"


def place(area: int, db: int, start: int) -> str:
    """Where a byte is, for people: `DB1 byte 10`, `M byte 3`, `T5`. `area` is the code on the wire."""
    found = Area(area)
    if found.counted:
        return f"{found.name}{start // found.counted.size}"
    return f"{f'DB{db}' if found is Area.DB else found.name} byte {start}"


def parse_address(text: str) -> Address:
    """Read an address in any of the notations above.

    Raises:
        ValueError: it can't be read, its parts contradict each other, or it leaves what S7 can address; the message
            repeats the text, says what is wrong and shows how to write it.
    """
    match = _NOTATION.fullmatch(text.strip())
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    if match is None:
        raise ValueError(f"'{shown}' is not an S7 address; {_EXAMPLES}")
    try:
        return _interpret(match)
    except ValueError as error:
        raise ValueError(f"'{shown}': {error}") from None


def _interpret(match: re.Match[str]) -> Address:
    form, code = match["form"], match["code"].upper()
    if {":": bool(code), ",": not code, ".DB": code not in _SIZES}.get((form or "").upper(), False):
        raise ValueError(f"not an S7 address; {_EXAMPLES}")
    area = Area.DB if form else _AREAS[match["area"].upper()]
    if area.counted:
        return _counted(match, area, area.counted)
    db, byte = int(match["db"] or 0), int(match["byte"])
    extra = None if match["extra"] is None else int(match["extra"])
    kind, count, length = _told(match, code)
    if kind.width and not match["type"]:
        if extra is None:
            raise ValueError(f"the length is missing; write {match[0]}.20 for 20 characters")
        _, _, length = parse_type(f"{kind.name}[{extra}]")
        extra = None
    bit = _bit(kind, byte, extra)
    address = Address(area=area, db=db, byte=byte, bit=bit, type=kind, count=max(count, 1), length=length)
    if code and match["type"]:
        _agree(code, address)
    if area is Area.DB and not 1 <= db <= _LAST_BLOCK:
        raise ValueError(f"a data block has a number from 1 to {_LAST_BLOCK}")
    if byte < 0:
        raise ValueError(f"byte {byte}: bytes are counted from 0")
    if byte + address.size > BLOCK_LIMIT:
        raise ValueError(f"bytes {byte} to {byte + address.size - 1} are not within 0 to {BLOCK_LIMIT - 1}")
    return address


def _counted(match: re.Match[str], area: Area, kind: S7Type) -> Address:
    """The address of a counter or timer, which has a number and nothing else."""
    number = int(match["byte"])
    told, count, _ = parse_type(match["type"]) if match["type"] else (kind, 0, 0)
    if match["code"] or match["extra"] or told is not kind:
        raise ValueError(f"a {kind.name} has a number only; write {area.name}{number}")
    if not 0 <= number <= number + max(count, 1) <= BLOCK_LIMIT // kind.size:
        raise ValueError(f"numbers are counted from 0 to {BLOCK_LIMIT // kind.size - 1}")
    return Address(area=area, db=0, byte=number * kind.size, bit=0, type=kind, count=max(count, 1))


def _told(match: re.Match[str], code: str) -> tuple[S7Type, int, int]:
    """Type, elements and length: from the type, else from the letters, else a lone `.bit` means BOOL."""
    if match["type"]:
        return parse_type(match["type"])
    if not code and (match["extra"] is None or match["form"]):
        bit = "" if match["form"] else f" {match[0]}.0 for a bit, or"
        raise ValueError(f"the type is missing; write{bit} {match[0]}:INT")
    if code and code not in NODES7:
        return parse_type(code)
    kind = TYPES[NODES7[code or "X"]]
    return kind, 0, 0


def _bit(kind: S7Type, byte: int, extra: int | None) -> int:
    """The bit, which BOOL must have and all others must not (`.0` is how TIA shows their offsets)."""
    if not kind.is_bit:
        if extra:
            raise ValueError(f"{kind.name} begins at a whole byte; leave .{extra} away")
        return 0
    if extra is None:
        raise ValueError(f"a BOOL needs its bit, 0 to {_LAST_BIT}; write {byte}.0")
    if not 0 <= extra <= _LAST_BIT:
        raise ValueError(f"bit {extra} does not exist; a byte has bits 0 to {_LAST_BIT}")
    return extra


def _agree(code: str, address: Address) -> None:
    """Refuse letters that say another size than the type: DBW is 2 bytes, a REAL takes 4."""
    said = TYPES.get(NODES7.get(code, ""))
    kind = address.type
    if said is kind or (code == "B" and kind.width):
        return
    if said is None:
        raise ValueError(f"'{code}' is no size; write {address}")
    if code not in _SIZES:
        raise ValueError(f"'{code}' and {kind.name} are two types; write {address}")
    if said.is_bit or kind.is_bit or kind.width or said.size != kind.size:
        size = "a bit" if said.is_bit else f"{said.size} byte{'s' * (said.size > 1)}"
        takes = "is a bit" if kind.is_bit else f"takes {kind.extent(address.length)}"
        raise ValueError(f"{code} is {size}, but {kind.name} {takes}; write {address}")
