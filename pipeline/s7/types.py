"""The elementary S7 types as data: one row each, with its size, its `struct` character and, where needed, a converter.

All numbers are big-endian. A new type is a new row (and a converter, when `struct` alone can't read it): nothing else
in addresses, layouts or decoder branches on a type's name. Sources: STEP 7 data types (SIMATIC S7-1200/1500 manual,
"Data types"), measured against python-snap7's converters.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from pipeline.errors import nearest
from pipeline.s7 import texts, times

__all__ = [
    "ALIASES",
    "BLOCK_LIMIT",
    "TYPES",
    "Convert",
    "Revert",
    "S7Type",
    "enum_mistake",
    "find_type",
    "parse_type",
    "split_type",
]

BLOCK_LIMIT = 65536
"""Bytes: where an area or a block with standard access ends at the latest."""

Convert = Callable[[Any, str], int | str]
"""From what `struct` gives and the leaf's charset or zone to a value; a ValueError's text is the reason in `bad`."""
Revert = Callable[[Any, str, int], Any]
"""From a value, charset or zone, and declared length to what `struct` packs; a ValueError says what is wanted."""

_SHAPE = re.compile(r"([^\W\d][\w-]*)((?:\s*\[\s*[0-9]{1,9}\s*\])*)")
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, kw_only=True)
class S7Type:
    """One row of the table.

    Attributes:
        name: in capitals, as STEP 7 writes it.
        size: bytes of one element; of BOOL the byte it lies in; of a text with a declared length its header.
        code: the `struct` character of one element (big-endian), "" for BOOL and for texts with a declared length.
        width: bytes of one character of a text with a declared length, else 0.
        longest: the most characters that may be declared.
        value: what its values are.
        convert: what makes the value of what `struct` gives; None when that is the value.
        revert: the way back; given with `convert`.
        takes: which of a leaf's options they are given: the charset of its bytes, or the zone of the PLC's clock.
    """

    name: str
    size: int
    code: str = ""
    width: int = 0
    longest: int = 0
    value: type[bool | int | float | str] = int
    convert: Convert | None = None
    revert: Revert | None = None
    takes: Literal["", "charset", "timezone"] = ""

    @property
    def is_bit(self) -> bool:
        """True for BOOL, the only type that has an address inside a byte."""
        return not self.code and not self.width

    @property
    def is_number(self) -> bool:
        """True when the value is a number, so that scale and offset make sense."""
        return self.value is int or self.value is float

    @property
    def is_integer(self) -> bool:
        """True for whole numbers, which `as: string` may turn into text."""
        return self.value is int

    def extent(self, length: int = 0) -> int:
        """Bytes of one element with `length` characters: STRING[20] takes 22."""
        return self.size + self.width * length

    def format(self, length: int = 0) -> str:
        """The `struct` format of one element; of a BOOL that of its byte."""
        return self.code or ("B" if self.is_bit else f"{self.extent(length)}s")

    def place(self, byte: int, bit: int, index: int, length: int = 0) -> tuple[int, int]:
        """Byte and bit of element `index` of an array at `byte.bit`.

        Bits follow each other without gap; each text of an array starts at an even distance, as STEP 7 lays them out.
        """
        if self.is_bit:
            return byte + (bit + index) // 8, (bit + index) % 8
        stride = self.extent(length)
        return byte + index * (stride + stride % 2 if self.width else stride), 0

    def span(self, bit: int, count: int, length: int = 0) -> int:
        """Bytes that `count` elements touch, from the byte that the first begins in."""
        last, _ = self.place(0, bit, count - 1, length)
        return last + self.extent(length)


def _text(name: str, size: int, code: str, convert: Convert, revert: Revert, **others: Any) -> S7Type:
    """A row whose values are texts."""
    return S7Type(name=name, size=size, code=code, value=str, convert=convert, revert=revert, **others)


TYPES: Mapping[str, S7Type] = MappingProxyType(
    {
        row.name: row
        for row in (
            S7Type(name="BOOL", size=1, value=bool),
            S7Type(name="BYTE", size=1, code="B"),
            S7Type(name="WORD", size=2, code="H"),
            S7Type(name="DWORD", size=4, code="I"),
            S7Type(name="LWORD", size=8, code="Q"),
            S7Type(name="SINT", size=1, code="b"),
            S7Type(name="USINT", size=1, code="B"),
            S7Type(name="INT", size=2, code="h"),
            S7Type(name="UINT", size=2, code="H"),
            S7Type(name="DINT", size=4, code="i"),
            S7Type(name="UDINT", size=4, code="I"),
            S7Type(name="LINT", size=8, code="q"),
            S7Type(name="ULINT", size=8, code="Q"),
            S7Type(name="REAL", size=4, code="f", value=float),
            S7Type(name="LREAL", size=8, code="d", value=float),
            _text("CHAR", 1, "c", texts.read_char, texts.write_char, takes="charset"),
            _text("WCHAR", 2, "2s", texts.read_wchar, texts.write_wchar),
            _text("STRING", 2, "", texts.read_string, texts.write_string, width=1, longest=254, takes="charset"),
            _text("WSTRING", 4, "", texts.read_wstring, texts.write_wstring, width=2, longest=16382),
            S7Type(name="TIME", size=4, code="i"),
            S7Type(name="LTIME", size=8, code="q"),
            S7Type(name="S5TIME", size=2, code="H", convert=times.read_s5time, revert=times.write_s5time),
            S7Type(name="TIMER", size=2, code="H", convert=times.read_s5time, revert=times.write_s5time),
            S7Type(name="COUNTER", size=2, code="H", convert=times.read_counter, revert=times.write_counter),
            S7Type(
                name="TIME_OF_DAY", size=4, code="I", convert=times.read_time_of_day, revert=times.write_time_of_day
            ),
            S7Type(name="LTOD", size=8, code="Q", convert=times.read_ltod, revert=times.write_ltod),
            _text("DATE", 2, "H", times.read_date, times.write_date),
            _text("DATE_AND_TIME", 8, "8s", times.read_date_and_time, times.write_date_and_time, takes="timezone"),
            _text("LDT", 8, "q", times.read_ldt, times.write_ldt, takes="timezone"),
            _text("DTL", 12, "12s", times.read_dtl, times.write_dtl, takes="timezone"),
        )
    }
)
"""All types by name, in capitals. Units: TIME ms, LTIME ns, and see `times`."""

ALIASES: Mapping[str, S7Type] = MappingProxyType(
    {
        **TYPES,
        "TOD": TYPES["TIME_OF_DAY"],
        "LTIME_OF_DAY": TYPES["LTOD"],
        "DT": TYPES["DATE_AND_TIME"],
        "DATE_AND_LTIME": TYPES["LDT"],
    }
)
"""All types by all their names."""

_USUAL = 254
"""Characters of a text for which none are declared."""


def find_type(name: str) -> S7Type:
    """The type of that name, in any case.

    Raises:
        ValueError: there is none; the message has the nearest name, or all.
    """
    if name.upper() in ALIASES:
        return ALIASES[name.upper()]
    likely = nearest(name, ALIASES)
    raise ValueError(f"unknown type '{name}'; " + (f"did you mean {likely}?" if likely else f"use {', '.join(TYPES)}"))


def split_type(text: str) -> tuple[str, list[int]]:
    """`REAL[5]` as its name and the numbers in brackets: ("REAL", [5]).

    Raises:
        ValueError: it is not written so.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a type; write INT, REAL[5] or STRING[20]")
    return match[1], [int(number) for number in _DIGITS.findall(match[2])]


def parse_type(text: str) -> tuple[S7Type, int, int]:
    """A type as people write it, as (type, elements or 0 when it is no array, declared length of a text).

    `STRING[20]` is one text of up to 20 characters, `STRING` one of up to 254, `STRING[20][5]` five texts.

    Raises:
        ValueError: unknown name, or numbers in brackets that make no sense.
    """
    name, numbers = split_type(text)
    found = find_type(name)
    length = 0
    if found.width:
        length = numbers.pop(0) if numbers else _USUAL
        if not 1 <= length <= found.longest:
            raise ValueError(f"{found.name}[{length}]: the length must be 1 to {found.longest}")
    if len(numbers) > 1:
        raise ValueError(f"'{text}': an array has one dimension here; write {found.name}[{numbers[0] * numbers[1]}]")
    if numbers and not 1 <= numbers[0] <= BLOCK_LIMIT * 8:
        raise ValueError(f"'{text}': an array has 1 to {BLOCK_LIMIT * 8} elements")
    return found, numbers[0] if numbers else 0, length


def enum_mistake(found: S7Type, enum: Mapping[int, str]) -> str:
    """Why these texts can't be those of a type's numbers, "" when they can."""
    if found.value not in {bool, int} or found.convert is not None:
        return f"only whole numbers and bits can have texts, and {found.name} is none"
    for number, text in enum.items():
        try:
            fits = number in {0, 1} if found.is_bit else struct.pack(f">{found.code}", number)
        except struct.error:
            fits = False
        if not fits:
            return f"{found.name} never is {number}"
        if not text:
            return f"the text of {number} is empty"
    return ""
