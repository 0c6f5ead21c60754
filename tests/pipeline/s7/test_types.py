"""The type table against the definitions of STEP 7."""

import struct

import pytest

from pipeline.s7.types import TYPES, find_type, parse_type, split_type

EDGES = [
    ("BYTE", "00", 0),
    ("BYTE", "ff", 255),
    ("WORD", "8000", 0x8000),
    ("DWORD", "deadbeef", 0xDEADBEEF),
    ("LWORD", "ffffffffffffffff", 2**64 - 1),
    ("SINT", "80", -128),
    ("SINT", "7f", 127),
    ("USINT", "80", 128),
    ("INT", "8000", -32768),
    ("INT", "7fff", 32767),
    ("INT", "0102", 258),
    ("UINT", "ffff", 65535),
    ("DINT", "80000000", -(2**31)),
    ("UDINT", "ffffffff", 2**32 - 1),
    ("LINT", "8000000000000000", -(2**63)),
    ("ULINT", "8000000000000000", 2**63),
    ("REAL", "3f800000", 1.0),
    ("REAL", "7f7fffff", 3.4028234663852886e38),
    ("REAL", "80000001", -1.401298464324817e-45),
    ("LREAL", "3ff0000000000000", 1.0),
    ("LREAL", "7fefffffffffffff", 1.7976931348623157e308),
    ("CHAR", "41", "A"),
    ("CHAR", "e7", "ç"),
    ("CHAR", "00", "\0"),
    ("STRING", "0503414243ffff", "ABC"),
    ("STRING", "05054142434445", "ABCDE"),
    ("STRING", "0500ffffffffff", ""),
    ("STRING", "00000000000000", ""),
    ("STRING", "fe03e7e3ea0000", "çãê"),
]


@pytest.mark.parametrize(("name", "octets", "value"), EDGES)
def test_edges_of_each_type(name, octets, value):
    """Big-endian, two's complement, IEEE 754, texts by their own length byte; exactly the declared bytes."""
    kind, raw = TYPES[name], bytes.fromhex(octets)
    length = len(raw) - kind.size if kind.width else 0
    assert kind.extent(length) == len(raw)
    (read,) = struct.unpack(">" + kind.format(length), raw)
    assert (kind.convert(read, "latin-1") if kind.convert else read) == value


def test_every_type_has_an_edge_case():
    """A row that is added to the table needs its definition's edge values here."""
    assert {name for name, _, _ in EDGES} | {"BOOL"} == set(TYPES)


@pytest.mark.parametrize(
    ("octets", "charset", "reason"),
    [
        ("0506414243444546", "latin-1", "string length 6 exceeds 5"),
        ("fe14414243", "latin-1", "string length 20 exceeds 3"),
        ("0003414243", "latin-1", "string length 3 exceeds 0"),
        ("0302c3e7ff", "utf-8", "not utf-8: byte 0xc3"),
    ],
)
def test_a_text_that_is_none_says_why(octets, charset, reason):
    """A length beyond the maximum or the declared space, and bytes that the charset doesn't know."""
    with pytest.raises(ValueError, match=reason):
        TYPES["STRING"].convert(bytes.fromhex(octets), charset)


def test_a_text_in_another_charset():
    """The charset reads the characters, not the two length bytes."""
    assert TYPES["STRING"].convert("ç€".encode("cp1252").rjust(3, b"\x02").rjust(4, b"\x09"), "cp1252") == "ç€"


@pytest.mark.parametrize(
    ("text", "name", "count", "length"),
    [
        ("INT", "INT", 0, 0),
        ("real[5]", "REAL", 5, 0),
        (" Bool [ 12 ] ", "BOOL", 12, 0),
        ("STRING", "STRING", 0, 254),
        ("STRING[20]", "STRING", 0, 20),
        ("String[20][5]", "STRING", 5, 20),
        ("REAL[1]", "REAL", 1, 0),
    ],
)
def test_types_as_people_write_them(text, name, count, length):
    """Any case; brackets are elements, but the first ones of a text are its length."""
    assert parse_type(text) == (TYPES[name], count, length)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("REEL", "unknown type 'REEL'; did you mean REAL"),
        ("FLOAT", "unknown type 'FLOAT'; use BOOL, BYTE"),
        ("REAL[0]", "an array has 1 to"),
        ("REAL[2][3]", r"one dimension here; write REAL\[6\]"),
        ("STRING[255]", "the length must be 1 to 254"),
        ("STRING[0]", "the length must be 1 to 254"),
        ("REAL[", "is not a type; write INT"),
        ("REAL[-1]", "is not a type"),
        ("", "is not a type"),
        (f"REAL[{'9' * 5000}]", "is not a type"),
    ],
)
def test_what_is_no_type_is_explained(text, message):
    """With the nearest name where there is one, otherwise with what is allowed."""
    with pytest.raises(ValueError, match=message):
        parse_type(text)


def test_names_are_split_from_brackets():
    """Names of layouts may be in any alphabet; types are found in any case."""
    assert split_type("máquina-2[5]") == ("máquina-2", [5])
    assert find_type("uDint") is TYPES["UDINT"]


@pytest.mark.parametrize(
    ("text", "bit", "places", "span"),
    [
        ("BOOL[10]", 6, {0: (4, 6), 1: (4, 7), 2: (5, 0), 9: (5, 7)}, 2),
        ("INT[3]", 0, {0: (4, 0), 2: (8, 0)}, 6),
        ("STRING[4][3]", 0, {0: (4, 0), 2: (16, 0)}, 18),
        ("STRING[5][3]", 0, {0: (4, 0), 1: (12, 0), 2: (20, 0)}, 23),
    ],
)
def test_elements_of_an_array(text, bit, places, span):
    """Bits go on over the byte's end; texts begin at even distances; the span ends with the last element."""
    kind, count, length = parse_type(text)
    assert {index: kind.place(4, bit, index, length) for index in places} == places
    assert kind.span(bit, count, length) == span
