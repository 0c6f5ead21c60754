"""From a value to a block's bytes: the decoder's reverse, for what plays a PLC."""

from __future__ import annotations

import struct
from typing import Any

from pipeline.frame import Scalar
from pipeline.s7.decode import Leaf

__all__ = ["write"]


def write(leaf: Leaf, block: bytearray, value: Scalar) -> None:
    """Write one value into its place, in place: the block keeps its identity and its other bits.

    Args:
        leaf: what stands there; a value is given as the decoder would return it, so scale and offset are undone here;
            only dates are given without offset.
        block: the whole block, big-endian.
        value: a bool for BOOL, a str for texts, dates, enums and integers that are given as text, else a number.

    Raises:
        ValueError: the value has the wrong kind, is out of the type's range, too long, or not in the leaf's charset.
    """
    if leaf.enum:
        numbers = {text: number for number, text in leaf.enum}
        if value not in numbers:
            raise _wrong(leaf, value, f"one of {', '.join(numbers)}")
        value = bool(numbers[str(value)]) if leaf.type.is_bit else numbers[str(value)]
    if leaf.type.is_bit:
        if not isinstance(value, bool):
            raise _wrong(leaf, value, "true or false")
        mask = 1 << leaf.bit
        block[leaf.byte] = block[leaf.byte] | mask if value else block[leaf.byte] & ~mask
        return
    raw: Any = _number(leaf, value) if leaf.type.is_number else value
    try:
        if leaf.type.revert is not None:
            raw = leaf.type.revert(raw, leaf.option, leaf.length)
    except ValueError as error:
        raise _wrong(leaf, value, str(error)) from None
    try:
        struct.pack_into(f">{leaf.type.format(leaf.length)}", block, leaf.byte, raw)
    except (struct.error, OverflowError):
        raise _wrong(leaf, value, f"what {leaf.type.name} can hold") from None


def _number(leaf: Leaf, value: Scalar) -> int | float:
    """The number that the PLC holds."""
    try:
        number = int(value) if leaf.text else value
    except ValueError:
        raise _wrong(leaf, value, "digits") from None
    if isinstance(number, bool | str):
        raise _wrong(leaf, value, "a number")
    if leaf.is_scaled:
        number = (number - leaf.offset) / leaf.scale
    try:
        return round(number) if leaf.type.is_integer else number
    except (OverflowError, ValueError):
        raise _wrong(leaf, value, f"what {leaf.type.name} can hold") from None


def _wrong(leaf: Leaf, value: Scalar, wanted: str) -> ValueError:
    return ValueError(f"{leaf.name} ({leaf.type.name}) must be {wanted}, got {value!r}")
