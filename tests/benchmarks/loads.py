"""What is read: blocks as layouts of a graph file, as fields of Telegraf's `s7comm`, and as bytes in the PLC."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

__all__ = ["MIXED", "PRESS", "REALS", "Block", "Field", "Load", "addresses"]

_CODES = {"REAL": "f", "INT": "h", "DINT": "i", "WORD": "H"}
_LETTERS = {"BOOL": "X", "REAL": "R", "INT": "I", "DINT": "DI", "WORD": "W"}


@dataclass(frozen=True)
class Field:
    """A field of a block; `bit` counts for BOOL only."""

    name: str
    type: str
    byte: int
    bit: int = 0

    @property
    def address(self) -> str:
        """As a layout says it: `REAL @ 2`."""
        return f"{self.type} @ {self.byte}" + (f".{self.bit}" if self.type == "BOOL" else "")

    @property
    def s7(self) -> str:
        """As a single tag: `DB1,R2`."""
        return f"DB1,{_LETTERS[self.type]}{self.byte}" + (f".{self.bit}" if self.type == "BOOL" else "")

    @property
    def telegraf(self) -> str:
        """As Telegraf's `s7comm` says it: `DB1.R2`."""
        return self.s7.replace(",", ".")


@dataclass(frozen=True)
class Block:
    """DB 1 of every PLC."""

    fields: tuple[Field, ...]
    size: int

    @cached_property
    def content(self) -> bytes:
        """Everyday values: REALs with all their digits, small whole numbers, bits at random; the same every time."""
        chance = random.Random(1)  # noqa: S311 - not a secret
        memory = bytearray(self.size)
        for field in self.fields:
            if field.type == "BOOL":
                memory[field.byte] |= chance.getrandbits(1) << field.bit
            else:
                value = chance.uniform(0, 100) if field.type == "REAL" else chance.randrange(5000)
                struct.pack_into(f">{_CODES[field.type]}", memory, field.byte, value)
        return bytes(memory)

    @property
    def layout(self) -> dict[str, object]:
        """For a graph file."""
        return {"size": self.size, "fields": {field.name: field.address for field in self.fields}}


@dataclass(frozen=True)
class Load:
    """So many PLCs, each read so often."""

    plcs: int
    hertz: float
    block: Block

    @property
    def every(self) -> str:
        """The period, as both sides write it."""
        return f"{1000 / self.hertz:g}ms"

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.plcs * self.hertz

    @property
    def addresses(self) -> Sequence[str]:
        """One for each PLC."""
        return addresses(self.plcs)


def addresses(count: int) -> list[str]:
    """So many addresses of this machine."""
    return [f"127.0.{index // 250 + 1}.{index % 250 + 1}" for index in range(count)]


def _reals(count: int) -> Block:
    return Block(tuple(Field(f"sensor_{number}", "REAL", 4 * number) for number in range(count)), 4 * count)


def _mixed() -> Block:
    fields = [Field(f"bit_{number}", "BOOL", number // 8, number % 8) for number in range(20)]
    byte = 4
    for kind, count, size in (("INT", 15, 2), ("WORD", 2, 2), ("REAL", 10, 4), ("DINT", 3, 4)):
        for number in range(count):
            fields.append(Field(f"{kind.lower()}_{number}", kind, byte))
            byte += size
    return Block(tuple(fields), byte)


PRESS = Block(
    (
        Field("pecas_ruim", "BOOL", 0, 0),
        Field("pecas_boas", "BOOL", 0, 1),
        Field("maquina_ligada", "BOOL", 0, 2),
        Field("AI_Corrente", "REAL", 2),
        Field("AI_Vibracao", "REAL", 6),
        Field("contador_bom", "INT", 10),
        Field("contador_ruim", "INT", 12),
    ),
    14,
)
"""The 14 bytes of `configs/line1.yaml`: 7 tags."""
MIXED = _mixed()
"""50 tags."""
REALS = {count: _reals(count) for count in (200, 2000)}
"""By their number."""
