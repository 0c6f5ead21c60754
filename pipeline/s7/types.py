"""The elementary S7 types as data: one row each, with its size, its `struct` character and, where needed, a converter.

All numbers are big-endian. A new type is a new row (and a converter, when `struct` alone can't read it): nothing else
in addresses, layouts or decoder branches on a type's name. Sources: STEP 7 data types (SIMATIC S7-1200/1500 manual,
"Data types"), measured against python-snap7's converters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pipeline.errors import nearest

__all__ = ["BLOCK_LIMIT", "TYPES", "Convert", "S7Type", "find_type", "parse_type", "split_type"]

BLOCK_LIMIT = 65536
"""Bytes: where an area or a block with standard access ends at the latest."""

Convert = Callable[[Any, str], bool | int | float | str]
"""From what `struct` gives and the leaf's charset to a value; a ValueError's text is the reason in `bad`."""

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
        longest: the most characters that may be declared, which is also what STEP 7 takes when none are.
        convert: what makes the value of what `struct` gives; None when that is the value.
    """

    name: str
    size: int
    code: str = ""
    width: int = 0
    longest: int = 0
    convert: Convert | None = None

    @property
    def is_bit(self) -> bool:
        """True for BOOL, the only type that has an address inside a byte."""
        return not self.code and not self.width

    @property
    def is_number(self) -> bool:
        """True when the value is a number, so that scale and offset make sense."""
        return bool(self.code) and self.convert is None

    @property
    def is_integer(self) -> bool:
        """True for whole numbers, which `as: string` may turn into text."""
        return self.is_number and self.code not in "fd"

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


def _decode(raw: bytes, charset: str) -> str:
    try:
        return raw.decode(charset)
    except UnicodeDecodeError as error:
        raise ValueError(f"not {charset}: byte 0x{raw[error.start]:02x}") from error


def _string(raw: bytes, charset: str) -> str:
    """A STRING: byte 0 the declared maximum, byte 1 the length in use, then the characters.

    A maximum of 0 is a text that the program never wrote, but one longer than its maximum is not a text at all.
    """
    length, limit = raw[1], min(raw[0], len(raw) - 2)
    if length > limit:
        raise ValueError(f"string length {length} exceeds {limit}")
    return _decode(raw[2 : 2 + length], charset)


TYPES: Mapping[str, S7Type] = MappingProxyType(
    {
        row.name: row
        for row in (
            S7Type(name="BOOL", size=1),
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
            S7Type(name="REAL", size=4, code="f"),
            S7Type(name="LREAL", size=8, code="d"),
            S7Type(name="CHAR", size=1, code="c", convert=_decode),
            S7Type(name="STRING", size=2, width=1, longest=254, convert=_string),
        )
    }
)
"""All types by name, in capitals."""


def find_type(name: str) -> S7Type:
    """The type of that name, in any case.

    Raises:
        ValueError: there is none; the message has the nearest name, or all.
    """
    if name.upper() in TYPES:
        return TYPES[name.upper()]
    likely = nearest(name, TYPES)
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
        length = numbers.pop(0) if numbers else found.longest
        if not 1 <= length <= found.longest:
            raise ValueError(f"{found.name}[{length}]: the length must be 1 to {found.longest}")
    if len(numbers) > 1:
        raise ValueError(f"'{text}': an array has one dimension here; write {found.name}[{numbers[0] * numbers[1]}]")
    if numbers and not 1 <= numbers[0] <= BLOCK_LIMIT * 8:
        raise ValueError(f"'{text}': an array has 1 to {BLOCK_LIMIT * 8} elements")
    return found, numbers[0] if numbers else 0, length
