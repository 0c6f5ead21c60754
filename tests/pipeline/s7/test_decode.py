"""The generated decoder against a reader that looks at one leaf at a time."""

import ctypes
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snap7 import util

from pipeline.s7.address import parse_address
from pipeline.s7.decode import Leaf, compile_decoder, leaves_of
from pipeline.s7.types import TYPES, parse_type

NUMBERS = [name for name, kind in TYPES.items() if kind.is_number and kind.convert is None]


def leaf(name, written, byte, bit=0, **options):
    """A leaf of a type as people write it."""
    kind, _, length = parse_type(written)
    return Leaf(name, kind, byte, bit, kind.extent(length), length, **options)


def naive(one, data):
    """One leaf without struct formats, plan or generated code: (value, reason)."""
    raw = data[one.byte : one.byte + one.size]
    match one.type.name:
        case "BOOL":
            value = bool(raw[0] >> one.bit & 1)
        case "CHAR":
            return chr(raw[0]), None
        case "STRING":
            limit = min(raw[0], one.length)
            wrong = raw[1] > limit
            return "".join(map(chr, raw[2 : 2 + raw[1]])), f"string length {raw[1]} exceeds {limit}" if wrong else None
        case name if name in NUMBERS:
            value = naive_number(name, raw)
        case _:  # what these say of which bytes is in test_types.py
            try:
                (read,) = struct.unpack(f">{one.type.format(one.length)}", raw)
                value = one.type.convert(read, "")
            except ValueError as error:
                return None, str(error)
    if one.enum:
        texts = dict(one.enum)
        return texts.get(value), None if value in texts else f"{value:d} has no text"
    if one.text:
        return str(value), None
    value = value if one.scale == 1.0 else value * one.scale
    value = value if one.offset == 0.0 else value + one.offset
    finite = not isinstance(value, float) or math.isfinite(value)
    return value, None if finite else "NaN" if math.isnan(value) else "infinite"


def naive_number(name, raw):
    """A number by its definition."""
    if name == "REAL":
        return ctypes.c_float.from_buffer_copy(raw[::-1]).value
    if name == "LREAL":
        return ctypes.c_double.from_buffer_copy(raw[::-1]).value
    return int.from_bytes(raw, "big", signed=name in ("SINT", "INT", "DINT", "LINT", "TIME", "LTIME"))


@st.composite
def leaves(draw, *, size, most):
    """Leaves anywhere in `size` bytes: overlapping, repeated, in any order, scaled or as text."""
    found = []
    for number in range(draw(st.integers(0, most))):
        kind = TYPES[draw(st.sampled_from(sorted(TYPES)))]
        length = draw(st.integers(1, 20 // kind.width)) if kind.width else 0
        extent = kind.extent(length)
        enum = kind.value in (bool, int) and kind.convert is None and draw(st.booleans())
        scaled = kind.is_number and not enum and draw(st.booleans())
        found.append(
            Leaf(
                f"tag {number}'\"\\",
                kind,
                draw(st.integers(0, size - extent)),
                draw(st.integers(0, 7)) if kind.is_bit else 0,
                extent,
                length,
                scale=draw(st.sampled_from([1.0, 0.1, -2.5, 1e300, 1e-300])) if scaled else 1.0,
                offset=draw(st.sampled_from([0.0, -3.0, 1e308])) if scaled else 0.0,
                text=kind.is_integer and not scaled and not enum and draw(st.booleans()),
                enum=((0, "zero"), (1, "one")) if enum else (),
            )
        )
    return found


@given(st.one_of(leaves(size=24, most=12), leaves(size=64, most=60)), st.data())
def test_any_leaves_of_any_bytes(found, data):
    """Aliases, gaps, every type, scale and text, NaN and broken texts: as the naive reader says, in the given order."""
    block = data.draw(st.binary(min_size=64, max_size=64) | st.binary(min_size=4, max_size=4).map(lambda b: b * 16))
    values, bad = compile_decoder(found)(block)
    expected = {one.name: naive(one, block) for one in found}
    assert list(values.items()) == [(name, value) for name, (value, reason) in expected.items() if reason is None]
    assert (bad or {}) == {name: reason for name, (_, reason) in expected.items() if reason}
    assert bad is None or bad
    for name, value in values.items():
        assert type(value) is type(expected[name][0])


@pytest.mark.parametrize("count", [1, 7, 200, 2000])
@pytest.mark.parametrize(("name", "beside"), [("REAL", ""), ("LREAL", ""), ("REAL", "INT"), ("LREAL", "CHAR")])
def test_one_wrong_float_among_many(name, beside, count):
    """NaN and both infinities are found wherever they stand, named, and take nothing else with them."""
    kind, gap = TYPES[name], TYPES[beside].size if beside else 0
    stride = kind.size + gap
    found = [leaf(f"v{index}", name, index * stride) for index in range(count)]
    others = [leaf(f"o{index}", beside, index * stride + kind.size) for index in range(count)] if beside else []
    decode = compile_decoder(found + others)
    for wrong, reason in ((math.nan, "NaN"), (math.inf, "infinite"), (-math.inf, "infinite")):
        for place in {0, count // 2, count - 1}:
            numbers = [float(index) for index in range(count)]
            numbers[place] = wrong
            values, bad = decode(struct.pack(">" + f"{kind.code}{gap}x" * count, *numbers))
            assert bad == {f"v{place}": reason}
            right = {f"v{index}": float(index) for index in range(count) if index != place}
            assert values == right | dict.fromkeys([one.name for one in others], "\0" if beside == "CHAR" else 0)


def test_infinities_that_cancel_are_both_found():
    """Their sum is NaN, not 0: nothing hides in the check by a sum."""
    decode = compile_decoder([leaf("up", "REAL", 0), leaf("down", "REAL", 4)])
    assert decode(struct.pack(">ff", math.inf, -math.inf)) == ({}, {"up": "infinite", "down": "infinite"})


def test_a_sum_that_overflows_is_no_fault():
    """LREALs near the end of their range are values, though their sum is infinite."""
    decode = compile_decoder([leaf(name, "LREAL", 8 * index) for index, name in enumerate("abc")])
    assert decode(struct.pack(">ddd", 1.7e308, 1.7e308, -1.0)) == ({"a": 1.7e308, "b": 1.7e308, "c": -1.0}, None)


def test_scaling_that_overflows_is_named():
    """A finite reading that scale makes infinite can't be sent: JSON has no such number."""
    decode = compile_decoder([leaf("a", "LREAL", 0, scale=10.0), leaf("b", "INT", 8, scale=1e308)])
    assert decode(struct.pack(">dh", 1.7e308, 2)) == ({}, {"a": "infinite", "b": "infinite"})


def test_types_of_values_do_not_depend_on_the_reading():
    """A scaled integer is always a float, also when it is whole: a name keeps its type for ever."""
    decode = compile_decoder([leaf("a", "INT", 0, scale=0.5), leaf("b", "INT", 0, offset=1.0), leaf("c", "INT", 0)])
    values, _ = decode(b"\x00\x04")
    assert {name: (value, type(value)) for name, value in values.items()} == {
        "a": (2.0, float),
        "b": (5.0, float),
        "c": (4, int),
    }


def test_bits_are_booleans():
    """`true` on the wire, not 4: also where a whole array of bits is read from one byte."""
    decode = compile_decoder([leaf(f"b{index}", "BOOL", index // 8, index % 8) for index in range(40)])
    values, bad = decode(bytes([0b00000100, 0xFF, 0, 0x80, 1]))
    assert bad is None
    assert [name for name, value in values.items() if value is True] == [
        "b2",
        *(f"b{index}" for index in range(8, 16)),
        "b31",
        "b32",
    ]
    assert all(type(value) is bool for value in values.values())


def test_a_broken_text_beside_a_broken_number():
    """Both are named, the rest is there, in order."""
    found = [leaf("s", "STRING[3]", 0), leaf("n", "INT", 6), leaf("r", "REAL", 8), leaf("t", "CHAR", 6)]
    values, bad = compile_decoder(found)(bytes.fromhex("0304414243ff 0041 7fc00000"))
    assert (values, bad) == ({"n": 65, "t": "\0"}, {"s": "string length 4 exceeds 3", "r": "NaN"})
    assert compile_decoder(found)(bytes.fromhex("0303414243ff 0041 3f800000"))[1] is None


def test_digits_past_two_to_the_53():
    """As text every digit stays; as a number it is the receiver's float that loses them."""
    found = [leaf("text", "ULINT", 0, text=True), leaf("number", "ULINT", 0)]
    assert compile_decoder(found)(b"\xff" * 8)[0] == {"text": "18446744073709551615", "number": 2**64 - 1}


def test_an_enum_gives_the_text_of_a_number():
    """A number without a text stays visible in the reason; the type of the value never changes."""
    texts = ((0, "parado"), (1, "rodando"))
    found = [leaf("a", "INT", 0, enum=texts), leaf("b", "BOOL", 3, 0, enum=texts), leaf("c", "SINT", 3, enum=texts)]
    decode = compile_decoder(found)
    assert decode(b"\0\0\0\1") == ({"a": "parado", "b": "rodando", "c": "rodando"}, None)
    assert decode(b"\xff\xfe\0\2") == ({"b": "parado"}, {"a": "-2 has no text", "c": "2 has no text"})


def test_enums_and_dates_among_many_values():
    """What is converted keeps its place among bits and numbers that are filled in by slices."""
    found = [leaf(f"b{bit}", "BOOL", 0, bit, enum=((0, "off"), (1, "on")) if bit == 3 else ()) for bit in range(8)]
    found += [
        leaf(f"n{index}", "INT", 2 + 2 * index, enum=((7, "seven"),) if index == 9 else ()) for index in range(40)
    ]
    values, bad = compile_decoder(found)(bytes([0b1001, 0]) + struct.pack(">40h", *([7] * 40)))
    assert bad is None
    assert list(values) == [one.name for one in found]
    assert (values.pop("b3"), values.pop("n9")) == ("on", "seven")
    assert [name for name, value in values.items() if value is True] == ["b0"]
    assert {value for name, value in values.items() if name[0] == "n"} == {7}


@pytest.mark.parametrize(
    ("zone", "octets", "text"),
    [
        ("", "24 07 01 12 00 00 12 32", "2024-07-01T12:00:00.123"),
        ("America/Sao_Paulo", "24 07 01 12 00 00 12 32", "2024-07-01T12:00:00.123-03:00"),
        ("UTC", "24 07 01 12 00 00 12 32", "2024-07-01T12:00:00.123+00:00"),
        ("Europe/Berlin", "24 10 27 02 30 00 00 01", "2024-10-27T02:30:00.000+02:00"),
        ("Europe/Berlin", "24 10 27 03 30 00 00 01", "2024-10-27T03:30:00.000+01:00"),
    ],
)
def test_the_zone_of_the_clock_gives_the_offset(zone, octets, text):
    """Without a zone no offset is invented; an hour that happens twice has the first one's."""
    decode = compile_decoder([leaf("at", "DT", 0, timezone=zone), leaf("day", "DATE", 0, timezone=zone)])
    values, _ = decode(bytes.fromhex(octets))
    assert values["at"] == text
    assert len(values["day"]) == len("2024-07-01")


def test_scaled_durations_and_broken_ones():
    """S5TIME in seconds; BCD that is none takes nothing else along, also where scaling may overflow."""
    found = [
        leaf("s", "S5TIME", 0, scale=0.001),
        leaf("huge", "S5TIME", 0, scale=1e308),
        leaf("t", "S5TIME", 0, text=True),
    ]
    decode = compile_decoder(found)
    assert decode(b"\x21\x27") == ({"s": 127.0, "t": "127000"}, {"huge": "infinite"})
    assert decode(b"\x21\x2a") == ({}, dict.fromkeys(["s", "huge", "t"], "not BCD: 0x212a"))


def test_charset_of_a_text():
    """Bytes that the charset doesn't know are a reason, not a replacement character."""
    found = [leaf("a", "CHAR", 0, charset="cp1252"), leaf("b", "CHAR", 0, charset="utf-8"), leaf("c", "CHAR", 0)]
    assert compile_decoder(found)(b"\x80") == ({"a": "€", "c": "\x80"}, {"b": "not utf-8: byte 0x80"})


def test_a_block_that_is_too_short_is_refused():
    """Only complete blocks are decoded: missing bytes are never zeros."""
    with pytest.raises(struct.error):
        compile_decoder([leaf("a", "REAL", 4)])(bytes(7))


def test_nothing_to_decode():
    """No leaves, no values."""
    assert compile_decoder([])(b"") == ({}, None)


def test_leaves_of_a_tag():
    """A scalar keeps its name; an array's elements get theirs, bits going on over the byte's end."""
    assert [one.name for one in leaves_of("a", parse_address("DB1.DBW10:INT"))] == ["a"]
    bits = leaves_of("b", parse_address("DB1:3.6:BOOL[3]"), ".", 1)
    assert [(one.name, one.byte, one.bit) for one in bits] == [("b.1", 3, 6), ("b.2", 3, 7), ("b.3", 4, 0)]
    texts = leaves_of("t", parse_address("DB1:4:STRING[3][2]"))
    assert [(one.name, one.byte, one.size, one.length) for one in texts] == [("t_0", 4, 5, 3), ("t_1", 10, 5, 3)]


GETTERS = {name: getattr(util, f"get_{name.lower()}") for name in NUMBERS if "TIME" not in name}


@given(st.binary(min_size=16, max_size=16))
def test_numbers_as_python_snap7_reads_them(block):
    """python-snap7's getters are right for all numbers (and for bits), so the two must agree on any bytes."""
    found = [leaf(name, name, 3) for name in GETTERS] + [leaf(f"bit{bit}", "BOOL", 5, bit) for bit in range(8)]
    values, bad = compile_decoder(found)(block)
    for name, getter in GETTERS.items():
        theirs = getter(bytearray(block), 3)
        if isinstance(theirs, float) and not math.isfinite(theirs):
            assert name in bad
        else:
            assert values[name] == theirs
    for bit in range(8):
        assert values[f"bit{bit}"] is util.get_bool(bytearray(block), 5, bit)


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=20))
def test_texts_as_python_snap7_reads_them(text):
    """Only the length in use counts, whatever stands behind it."""
    block = bytearray(b"\x20" * 30)
    block[2:24] = bytes([20, len(text)]) + text.encode("latin-1").ljust(20)
    assert compile_decoder([leaf("s", "STRING[20]", 2)])(bytes(block)) == ({"s": util.get_string(block, 2)}, None)
