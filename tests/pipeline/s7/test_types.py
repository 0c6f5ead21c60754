"""The type table against the definitions of STEP 7."""

import struct

import pytest

from pipeline.s7.types import TYPES, enum_mistake, find_type, parse_type, split_type

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
    ("WCHAR", "0041", "A"),
    ("WCHAR", "20ac", "€"),
    ("WSTRING", "0003 0002 0041 20ac ffff", "A€"),
    ("WSTRING", "0000 0000 0000 0000", ""),
    ("WSTRING", "3ffe 0002 d83d de00 0000", "😀"),
    ("TIME", "80000000", -(((24 * 24 + 20) * 60 + 31) * 60_000 + 23_648)),
    ("TIME", "7fffffff", ((24 * 24 + 20) * 60 + 31) * 60_000 + 23_647),
    ("TIME", "ffffffff", -1),
    ("LTIME", "8000000000000000", -(2**63)),
    ("LTIME", "ffffffffffffffff", -1),
    ("S5TIME", "0000", 0),
    ("S5TIME", "0001", 10),
    ("S5TIME", "0999", 9990),
    ("S5TIME", "1001", 100),
    ("S5TIME", "2127", 127_000),
    ("S5TIME", "3999", ((2 * 60 + 46) * 60 + 30) * 1000),
    ("S5TIME", "f999", 9_990_000),
    ("TIMER", "1023", 2300),
    ("COUNTER", "0999", 999),
    ("COUNTER", "f000", 0),
    ("TIME_OF_DAY", "00000000", 0),
    ("TIME_OF_DAY", "05265bff", 86_399_999),
    ("LTOD", "00004e94914effff", 86_400 * 10**9 - 1),
    ("DATE", "0000", "1990-01-01"),
    ("DATE", "30bd", "2024-02-29"),
    ("DATE", "ff62", "2168-12-31"),
    ("DATE", "ffff", "2169-06-06"),
    ("DATE_AND_TIME", "9001010000000002", "1990-01-01T00:00:00.000"),
    ("DATE_AND_TIME", "8912312359599997", "2089-12-31T23:59:59.999"),
    ("DATE_AND_TIME", "2402291234561235", "2024-02-29T12:34:56.123"),
    ("DATE_AND_TIME", "2402291234561230", "2024-02-29T12:34:56.123"),
    ("DATE_AND_TIME", "240229123456123f", "2024-02-29T12:34:56.123"),
    ("DTL", "07b2 01 01 05 00 00 00 00000000", "1970-01-01T00:00:00.000000000"),
    ("DTL", "07e8 02 1d 05 17 3b 3b 3b9ac9ff", "2024-02-29T23:59:59.999999999"),
    ("DTL", "09fa 0c 1f 00 17 3b 3b 00000001", "2554-12-31T23:59:59.000000001"),
    ("LDT", "0000000000000000", "1970-01-01T00:00:00.000000000"),
    ("LDT", "7fffffffffffffff", "2262-04-11T23:47:16.854775807"),
]


@pytest.mark.parametrize(("name", "octets", "value"), EDGES)
def test_edges_of_each_type(name, octets, value):
    """Big-endian, two's complement, IEEE 754, texts by their own length byte; exactly the declared bytes."""
    kind, raw = TYPES[name], bytes.fromhex(octets)
    length = (len(raw) - kind.size) // kind.width if kind.width else 0
    assert kind.extent(length) == len(raw)
    (read,) = struct.unpack(">" + kind.format(length), raw)
    option = "latin-1" if kind.takes == "charset" else ""
    assert (kind.convert(read, option) if kind.convert else read) == value


def test_every_type_has_an_edge_case():
    """A row that is added to the table needs its definition's edge values here."""
    assert {name for name, _, _ in EDGES} | {"BOOL"} == set(TYPES)


@pytest.mark.parametrize(
    ("name", "octets", "reason"),
    [
        ("STRING", "0506414243444546", "string length 6 exceeds 5"),
        ("STRING", "fe14414243", "string length 20 exceeds 3"),
        ("STRING", "0003414243", "string length 3 exceeds 0"),
        ("STRING", "0302c3e7ff", "not utf-8: byte 0xc3"),
        ("CHAR", "ff", "not utf-8: byte 0xff"),
        ("WCHAR", "d800", "not UTF-16: half a surrogate pair, 0xd800"),
        ("WCHAR", "dfff", "half a surrogate pair, 0xdfff"),
        ("WSTRING", "0002 0003 0041 0042", "string length 3 exceeds 2"),
        ("WSTRING", "00fe 0003 0041 0042", "string length 3 exceeds 2"),
        ("WSTRING", "0002 0002 0041 d83d", "half a surrogate pair, 0xd83d"),
        ("S5TIME", "0a00", "not BCD: 0x0a00"),
        ("S5TIME", "20f0", "not BCD: 0x20f0"),
        ("TIMER", "000f", "not BCD: 0x000f"),
        ("COUNTER", "fb00", "not BCD: 0xfb00"),
        ("TIME_OF_DAY", "05265c00", "no time of day: 86400000 ms"),
        ("TIME_OF_DAY", "ffffffff", "no time of day: 4294967295 ms"),
        ("LTOD", "00004e94914f0000", "no time of day: 86400000000000 ns"),
        ("DATE_AND_TIME", "0000000000000000", "never set"),
        ("DATE_AND_TIME", "2413010000000000", "no date and time: 2024-13-01 00:00:00"),
        ("DATE_AND_TIME", "2302290000000000", "no date and time: 2023-02-29"),
        ("DATE_AND_TIME", "2401012400000000", "no date and time: 2024-01-01 24:00:00"),
        ("DATE_AND_TIME", "24010100000000a1", "not BCD: 0x24010100000000a1"),
        ("DATE_AND_TIME", "ffffffffffffffff", "not BCD"),
        ("DTL", "000000000000000000000000", "never set"),
        ("DTL", "07e7021d0300000000000000", "no date and time: 2023-02-29"),
        ("DTL", "07b1010101000000 00000000", "no date and time: 07b1"),
        ("DTL", "07e8010101000000 3b9aca00", "no date and time: 07e8"),
        ("DTL", "ffffffffffffffffffffffff", "no date and time"),
        ("LDT", "ffffffffffffffff", "no date and time: -1 ns"),
    ],
)
def test_bytes_that_are_no_value_say_why(name, octets, reason):
    """A length beyond its maximum, characters that are none, BCD that is none, dates and times that don't exist."""
    raw = bytes.fromhex(octets)
    (read,) = struct.unpack(
        ">" + TYPES[name].format(max(0, len(raw) - TYPES[name].size) // (TYPES[name].width or 1)), raw
    )
    with pytest.raises(ValueError, match=reason):
        TYPES[name].convert(read, "utf-8" if TYPES[name].takes == "charset" else "")


def test_dates_in_any_bytes_are_dates_or_reasons():
    """No other exception: each byte of a date takes all its values."""
    for name, valid in (("DATE_AND_TIME", "2402291234561235"), ("DTL", "07e8021d05173b3b3b9ac9ff")):
        for place in range(len(valid) // 2):
            for byte in range(256):
                raw = bytearray.fromhex(valid)
                raw[place] = byte
                try:
                    assert len(TYPES[name].convert(bytes(raw), "")) > len("2024-02-29T12:34:56")
                except ValueError as error:
                    assert str(error).startswith(("no date and time: ", "not BCD: "))  # noqa: PT017 - both are right


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
        ("WSTRING", "WSTRING", 0, 254),
        ("WString[1000][2]", "WSTRING", 2, 1000),
        ("tod", "TIME_OF_DAY", 0, 0),
        ("DT[3]", "DATE_AND_TIME", 3, 0),
        ("LTime_Of_Day", "LTOD", 0, 0),
        ("DATE_AND_LTIME", "LDT", 0, 0),
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
        ("WSTRING[16383]", "the length must be 1 to 16382"),
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
        ("WSTRING[3][2]", 0, {0: (4, 0), 1: (14, 0)}, 20),
        ("DTL[2]", 0, {0: (4, 0), 1: (16, 0)}, 24),
        ("STRING[5][3]", 0, {0: (4, 0), 1: (12, 0), 2: (20, 0)}, 23),
    ],
)
def test_elements_of_an_array(text, bit, places, span):
    """Bits go on over the byte's end; texts begin at even distances; the span ends with the last element."""
    kind, count, length = parse_type(text)
    assert {index: kind.place(4, bit, index, length) for index in places} == places
    assert kind.span(bit, count, length) == span


@pytest.mark.parametrize(
    ("name", "enum", "mistake"),
    [
        ("INT", {0: "parado", -1: "falha"}, ""),
        ("BOOL", {0: "off", 1: "on"}, ""),
        ("TIME", {0: "none"}, ""),
        ("BYTE", {256: "x"}, "BYTE never is 256"),
        ("UINT", {-1: "x"}, "UINT never is -1"),
        ("BOOL", {2: "x"}, "BOOL never is 2"),
        ("INT", {0: ""}, "the text of 0 is empty"),
        ("REAL", {0: "x"}, "only whole numbers and bits can have texts, and REAL is none"),
        ("S5TIME", {0: "x"}, "S5TIME is none"),
        ("DATE", {0: "x"}, "DATE is none"),
    ],
)
def test_texts_of_numbers_must_be_possible(name, enum, mistake):
    """A number that the type never holds is a slip of the pen."""
    assert enum_mistake(TYPES[name], enum).endswith(mistake)
    assert bool(enum_mistake(TYPES[name], enum)) is bool(mistake)
