"""Writing values into a block is the decoder's reverse, and touches nothing else."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.s7.decode import Leaf, compile_decoder
from pipeline.s7.encode import write
from pipeline.s7.types import TYPES

LENGTH = 7


def leaf(name: str, **changes) -> Leaf:
    """A leaf of this type at byte 3, bit 0 unless told."""
    found = TYPES[name]
    length = LENGTH if found.width else 0
    return replace(Leaf("value", found, 3, 0, found.extent(length), length), **changes)


@st.composite
def written(draw):
    """Any leaf with a value that it can hold."""
    found = TYPES[draw(st.sampled_from(sorted(TYPES)))]
    if found.is_bit:
        return leaf(found.name, bit=draw(st.integers(0, 7))), draw(st.booleans())
    if found.is_integer:
        bits = 8 * found.size
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if found.code.islower() else (0, (1 << bits) - 1)
        number, text = draw(st.integers(low, high)), draw(st.booleans())
        return leaf(found.name, text=text), str(number) if text else number
    if found.is_number:
        return leaf(found.name), draw(st.floats(width=32, allow_nan=False, allow_infinity=False))
    size = st.integers(0, LENGTH) if found.width else st.just(1)
    return leaf(found.name), draw(
        size.flatmap(lambda n: st.text(st.characters(max_codepoint=255), min_size=n, max_size=n))
    )


@given(written(), st.binary(min_size=20, max_size=20))
def test_what_is_written_is_decoded_and_nothing_else_changes(case, before):
    """Decoding gives the value back; bytes and bits around it are as they were; the block keeps its identity."""
    found, value = case
    block = bytearray(before)
    write(found, block, value)
    assert compile_decoder([found])(bytes(block)) == ({"value": value}, None)
    outside = slice(found.byte + found.size, None)
    assert (block[: found.byte], block[outside]) == (before[: found.byte], before[outside])
    if found.type.is_bit:
        assert (block[3] ^ before[3]) & ~(1 << found.bit) == 0


def test_bytes_are_those_of_the_s7_definition():
    """Big-endian numbers; a STRING with its two length bytes, zeros behind the text."""
    block = bytearray(b"\xee" * 12)
    write(leaf("INT", byte=0), block, -2)
    write(leaf("STRING", byte=2), block, "né")
    assert block == bytes.fromhex("fffe 0702 6ee9 0000000000 ee".replace(" ", ""))


def test_scale_and_offset_are_undone():
    """A value in engineering units becomes the number that the PLC holds."""
    block = bytearray(8)
    write(leaf("INT", scale=0.1, offset=-20.0), block, 3.4)
    assert struct.unpack_from(">h", block, 3) == (234,)


@pytest.mark.parametrize(
    ("found", "value", "wanted"),
    [
        (leaf("BOOL"), 1, "true or false"),
        (leaf("INT"), 40_000, "what INT can hold"),
        (leaf("INT"), True, "a number"),
        (leaf("INT"), float("nan"), "what INT can hold"),
        (leaf("REAL"), "1.5", "a number"),
        (leaf("REAL"), 1e300, "what REAL can hold"),
        (leaf("DINT", text=True), "12x", "digits"),
        (leaf("STRING"), "too long a text", "at most 7 characters"),
        (leaf("STRING"), "€", "text in latin-1"),
        (leaf("CHAR"), "", "one character"),
        (leaf("CHAR"), 65, "text"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(found, value, wanted):
    """The message has field, type, what is wanted and what came; the block is untouched."""
    block = bytearray(20)
    with pytest.raises(ValueError, match=rf"value \({found.type.name}\) must be {wanted}, got "):
        write(found, block, value)
    assert not any(block)
