"""Addresses of single values, in the notations of STEP 7, PLC4X and nodeS7."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pipeline.s7.types import S7Type

__all__ = ["Address", "Area", "parse_address"]


class Area(Enum):
    """A memory area, by the code it has on the wire."""

    DB = 0x84
    M = 0x83
    I = 0x81  # noqa: E741 - the area's name
    Q = 0x82


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a value lies and what it is.

    Attributes:
        area: memory area.
        db: the data block's number, 0 outside of DB.
        byte: first byte, counted from 0.
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


def parse_address(text: str) -> Address:
    """Read an address in any notation.

    Raises:
        ValueError: with a message for people.
    """
    raise NotImplementedError(text)
