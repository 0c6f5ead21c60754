"""From a value to a block's bytes: the decoder's reverse, for what plays a PLC."""

from __future__ import annotations

import struct

from pipeline.frame import Scalar
from pipeline.s7.decode import Leaf

__all__ = ["write"]


def write(leaf: Leaf, block: bytearray, value: Scalar) -> None:
    """Write one value into its place, in place: the block keeps its identity and its other bits.

    Args:
        leaf: what stands there; a value is given as the decoder would return it, so scale and offset are undone here.
        block: the whole block, big-endian.
        value: a bool for BOOL, a str for CHAR, STRING and integers that are given as text, else a number.

    Raises:
        ValueError: the value has the wrong kind, is out of the type's range, too long, or not in the leaf's charset.
    """
    if leaf.type.is_bit:
        if not isinstance(value, bool):
            raise _wrong(leaf, value, "true or false")
        mask = 1 << leaf.bit
        block[leaf.byte] = block[leaf.byte] | mask if value else block[leaf.byte] & ~mask
    elif leaf.type.is_number:
        _write_number(leaf, block, value)
    else:
        block[leaf.byte : leaf.byte + leaf.size] = _text(leaf, value)


def _write_number(leaf: Leaf, block: bytearray, value: Scalar) -> None:
    try:
        number = int(value) if leaf.text else value
    except ValueError:
        raise _wrong(leaf, value, "digits") from None
    if isinstance(number, bool | str):
        raise _wrong(leaf, value, "a number")
    if (leaf.scale, leaf.offset) != (1.0, 0.0):
        number = (number - leaf.offset) / leaf.scale
    try:
        struct.pack_into(f">{leaf.type.code}", block, leaf.byte, round(number) if leaf.type.is_integer else number)
    except (struct.error, OverflowError, ValueError):
        raise _wrong(leaf, value, f"what {leaf.type.name} can hold") from None


def _text(leaf: Leaf, value: Scalar) -> bytes:
    """The bytes of a CHAR, or of a STRING: declared length, length in use, characters, zeros to the end."""
    if not isinstance(value, str):
        raise _wrong(leaf, value, "text")
    try:
        raw = value.encode(leaf.charset)
    except UnicodeEncodeError:
        raise _wrong(leaf, value, f"text in {leaf.charset}") from None
    if not leaf.type.width:
        if len(raw) != leaf.size:
            raise _wrong(leaf, value, "one character")
        return raw
    if len(raw) > leaf.length:
        raise _wrong(leaf, value, f"at most {leaf.length} characters")
    return (bytes([leaf.length, len(raw)]) + raw).ljust(leaf.size, b"\0")


def _wrong(leaf: Leaf, value: Scalar, wanted: str) -> ValueError:
    return ValueError(f"{leaf.name} ({leaf.type.name}) must be {wanted}, got {value!r}")
