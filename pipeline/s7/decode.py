"""From a block's bytes to named values, by one function generated for each layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.frame import Scalar
from pipeline.s7.address import Address
from pipeline.s7.types import S7Type

__all__ = ["Decoder", "Leaf", "compile_decoder", "leaves_of"]

Decoder = Callable[[bytes], tuple[dict[str, Scalar], dict[str, str] | None]]
"""From the bytes of the whole block to its values and, by name, why a value is absent (None when none is)."""


@dataclass(frozen=True)
class Leaf:
    """One scalar of a block.

    Attributes:
        name: flat, unique in its block.
        type: what stands there.
        byte: its first byte, counted from the block's start.
        bit: 0 to 7; 0 for all but BOOL.
        size: bytes that it takes.
        length: declared length of a text, else 0.
        unit: for people: "mm/s".
        scale: the number read is multiplied by it.
        offset: and this is added.
        description: for people.
        text: an integer is given as decimal text.
        charset: how a text's bytes are read.
    """

    name: str
    type: S7Type
    byte: int
    bit: int
    size: int
    length: int = 0
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    description: str = ""
    text: bool = False
    charset: str = "latin-1"


def leaves_of(name: str, address: Address, separator: str = "_", first_index: int = 0) -> tuple[Leaf, ...]:
    """The leaf of a single tag, or one for each element when it is an array: `name_0`, `name_1`."""
    places = [address.type.place(address.byte, address.bit, index, address.length) for index in range(address.count)]
    size = address.type.extent(address.length)
    return tuple(
        Leaf(name if len(places) == 1 else f"{name}{separator}{index}", address.type, *place, size, address.length)
        for index, place in enumerate(places, first_index)
    )


def compile_decoder(leaves: Sequence[Leaf]) -> Decoder:
    """Generate the function that decodes these leaves."""
    raise NotImplementedError(leaves)
