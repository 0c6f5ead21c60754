"""Writing values into a block is the decoder's reverse, and touches nothing else."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.s7.decode import Leaf, compile_decoder
from pipeline.s7.encode import write
from pipeline.s7.types import TYPES
from tests.parts.s7_values import values

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
    value = draw(values(found, LENGTH if found.width else 0))
    if found.is_bit:
        return leaf(found.name, bit=draw(st.integers(0, 7))), value
    if found.is_integer and draw(st.booleans()):
        return leaf(found.name, text=True), str(value)
    if found.is_integer and found.convert is None and draw(st.booleans()):
        return leaf(found.name, enum=((value, "it"),)), "it"
    return leaf(found.name), value


@given(written(), st.binary(min_size=24, max_size=24))
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


def test_an_enum_of_a_bit_is_written_as_the_bit():
    """Texts become true and false, and the other bits stay."""
    block = bytearray(b"\xff" * 4)
    write(leaf("BOOL", bit=2, enum=((0, "off"), (1, "on"))), block, "off")
    assert block[3] == 0b11111011


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
        (leaf("WCHAR"), "😀", "one character up to"),
        (leaf("WSTRING"), "😀😀😀😀", "at most 7 characters"),
        (leaf("WSTRING"), "\ud800", "text in UTF-16"),
        (leaf("S5TIME"), 10_010, "0 to 9990000 ms"),
        (leaf("S5TIME"), -10, "0 to 9990000 ms"),
        (leaf("COUNTER"), 1000, "0 to 999"),
        (leaf("TIME_OF_DAY"), 86_400_000, "0 to 86399999"),
        (leaf("LTOD"), -1, "0 to 86399999999999"),
        (leaf("DATE"), "1989-12-31", "a date from 1990-01-01"),
        (leaf("DATE"), 7, "a date from 1990-01-01"),
        (leaf("DATE_AND_TIME"), "2090-01-01T00:00:00", "a date and time without offset.*from 1990 to 2089"),
        (leaf("DATE_AND_TIME"), "2024-01-01T00:00:00.0001", "a date and time .* in whole ms"),
        (leaf("DTL"), "2024-02-30T00:00:00", "a date and time without offset"),
        (leaf("DTL"), "2024-02-29T00:00:00+01:00", "a date and time without offset"),
        (leaf("LDT"), "2262-04-12T00:00:00", "a date and time without offset.*to 2262-04-11"),
        (leaf("INT", enum=((0, "off"), (1, "on"))), 1, "one of off, on"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(found, value, wanted):
    """The message has field, type, what is wanted and what came; the block is untouched."""
    block = bytearray(24)
    with pytest.raises(ValueError, match=rf"value \({found.type.name}\) must be {wanted}.*, got "):
        write(found, block, value)
    assert not any(block)
