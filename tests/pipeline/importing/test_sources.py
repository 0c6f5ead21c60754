"""Sources of TIA Portal and STEP 7: what they declare, where it lies, what can't be taken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.config.layouts import Naming
from pipeline.importing.placement import Places, place_program
from pipeline.importing.program import Program
from pipeline.importing.recognise import read_file
from pipeline.importing.settling import settle_layouts
from pipeline.importing.source_text import read_source

EXAMPLES = Path(__file__).parent / "examples"
ASSERTED = re.compile(r"DB[WDB] (\d+) // (?:DB99\.)?(\S+)")
"""A line of an example that says where a member lies."""


def placed(*sources: str, all_types: bool = False) -> tuple[Places, list[str]]:
    """The places of what these sources declare, and the remarks."""
    program = Program()
    for n, source in enumerate(sources, 1):
        read_source(source, Path(f"{n}.db"), program)
    places = place_program(program, all_types=all_types)
    settle_layouts(places, program)
    return places, [str(remark) for remark in program.remarks]


def fields(places: Places, layout: str) -> list[str]:
    """A layout's fields as a graph file has them, its size at the end."""
    found = places.layouts[layout]
    return [*(f"{each.name}: {each.type} @ {each.at}" for each in found.fields), str(found.size)]


def flat(places: Places, layout: str, base: int = 0, before: str = "") -> dict[str, int]:
    """First bytes by name, nested layouts opened, elements of arrays one by one."""
    found: dict[str, int] = {}
    for each in places.layouts[layout].fields:
        kind, _, count = each.type.partition("[")
        at = base + int(each.at.split(".")[0])
        inner = kind in places.layouts
        sizes = {"INT": 2, "DINT": 4, "DWORD": 4, "REAL": 4, "WORD": 2, "BOOL": 0}
        step = places.layouts[kind].size if inner else sizes[kind]
        for n in range(int(count.rstrip("]") or 0) or 1):
            name = f"{before}{each.name}" + (f"_{n + places.first_index}" if count else "")
            found |= flat(places, kind, at + n * step, f"{name}_") if inner else {name: at + n * step}
    return found


def block(body: str, head: str = "{ S7_Optimized_Access := 'FALSE' }\nVERSION : 0.1\nNON_RETAIN\n") -> str:
    """A data block as TIA Portal exports it."""
    return f'DATA_BLOCK "Press"\n{head}   STRUCT\n{body}\n   END_STRUCT;\n\n\nBEGIN\n   x := 1;\n\nEND_DATA_BLOCK\n'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "a : Bool; b : Bool; c : Byte; d : Bool; e : Int;",
            "a: BOOL @ 0.0, b: BOOL @ 0.1, c: BYTE @ 1, d: BOOL @ 2.0, e: INT @ 4, 6",
        ),
        (
            "a : Byte; b : Char; c : SInt; d : USInt; e : DInt;",
            "a: BYTE @ 0, b: CHAR @ 1, c: SINT @ 2, d: USINT @ 3, e: DINT @ 4, 8",
        ),
        (
            "a : Bool; s : String[3]; b : Byte; t : String;",
            "a: BOOL @ 0.0, s: STRING[3] @ 2, b: BYTE @ 8, t: STRING[254] @ 10, 266",
        ),
        ("a : Array[0..9] of Bool; b : Bool;", "a: BOOL[10] @ 0.0, b: BOOL @ 2.0, 4"),
        ("a : Byte; b : Array[0..2] of Byte; c : Byte;", "a: BYTE @ 0, b: BYTE[3] @ 2, c: BYTE @ 6, 8"),
        ("a : Array[-1..1] of Int; b : Int;", "a_-1: INT @ 0, a_0: INT @ 2, a_1: INT @ 4, b: INT @ 6, 8"),
        ("a : Array[0..1, 0..2] of Int;", "a_0: INT[3] @ 0, a_1: INT[3] @ 6, 12"),
        ("a : Array[0..1, 0..2] of Byte;", "a_0: BYTE[3] @ 0, a_1: BYTE[3] @ 3, 6"),
        ("a : Array[0..2, 0..9] of Bool;", "a_0: BOOL[10] @ 0.0, a_1: BOOL[10] @ 2.0, a_2: BOOL[10] @ 4.0, 6"),
        (
            "a : Array[0..1, 2..4] of Bool;",
            (
                "a_0_2: BOOL @ 0.0, a_0_3: BOOL @ 0.1, a_0_4: BOOL @ 0.2, a_1_2: BOOL @ 1.0, "
                "a_1_3: BOOL @ 1.1, a_1_4: BOOL @ 1.2, 2"
            ),
        ),
        ("a : Array[1..2] of String[3];", "a: STRING[3][2] @ 0, 12"),
        (
            "a : DTL; b : LReal; c : WString[2]; d : Date_And_Time; e : LTime_Of_Day;",
            "a: DTL @ 0, b: LREAL @ 12, c: WSTRING[2] @ 20, d: DATE_AND_TIME @ 28, e: LTOD @ 36, 44",
        ),
        (
            "a : HW_IO; b : OB_ANY; c : Time; d : S5Time; e : Date; f : TOD;",
            "a: UINT @ 0, b: INT @ 2, c: TIME @ 4, d: S5TIME @ 8, e: DATE @ 10, f: TIME_OF_DAY @ 12, 16",
        ),
        ("a : Bool; p : Pointer; b : Int; t : TON_TIME; c : Int;", "a: BOOL @ 0.0, b: INT @ 8, c: INT @ 26, 28"),
        (
            '"a b" {ExternalVisible := \'False\'} : Int := 16#7; c AT "a b" : Array[0..15] of Bool; d, e : Int;',
            "a b: INT @ 0, d: INT @ 2, e: INT @ 4, 6",
        ),
    ],
)
def test_members_lie_where_the_rules_of_standard_access_put_them(body: str, expected: str) -> None:
    """Bits, bytes, words, texts, arrays, system types."""
    places, _ = placed(block(body))
    assert ", ".join(fields(places, "Press")) == expected


@pytest.mark.parametrize("name", ["awlsim-udt.awl", "awlsim-struct.awl"])
def test_members_of_public_sources_lie_where_these_say(name: str) -> None:
    """Each line `L DBW 8 // name` of the example holds."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    places, remarks = placed(text)
    ours = flat(places, places.blocks[0].layout)
    said = {re.sub(r"\W+", "_", member).strip("_"): int(byte) for byte, member in ASSERTED.findall(text)}
    checked = {member: byte for member, byte in said.items() if member in ours}
    assert len(checked) >= 8
    assert {member: ours[member] for member in checked} == checked
    assert remarks == []


def test_a_public_source_in_sections_lies_where_its_own_table_says() -> None:
    """Each line `//   12.0    Byte   byte1` of the example holds, and it has no other field."""
    text = (EXAMPLES / "python-snap7-read-only.scl").read_text(encoding="utf-8")
    places, remarks = placed(text)
    said = re.findall(r"(?m)^//\s+(\d+)\.(\d)\s+(\w+)\s+(\w+)", text)
    expected = [f"{name}: {kind.upper()} @ {byte}" + f".{bit}" * (kind == "Bool") for byte, bit, kind, name in said]
    assert len(expected) == 22
    assert (fields(places, "Read_only"), remarks) == ([*expected, "38"], [])


@pytest.mark.parametrize(
    ("name", "blocks", "expected"),
    [
        ("s7datablock-tester.db", "s7_1200_output", "PLC_DQ_4: BOOL @ 0.4, SB_AQ_0: INT @ 2, TIMEFIELD: DTL @ 4, 16"),
        (
            "s7datablock-s7_1200_out.db",
            "s7_1200_output",
            "PLC_DQ_4: BOOL @ 0.4, SB_AQ_0: INT @ 2, TIMEFIELD: DTL @ 4, 16",
        ),
        ("s7datablock-many-bools.db", "s7_1200_output", "B17: BOOL @ 2.0, B18: BOOL @ 2.1, R1: REAL @ 4, 8"),
        ("awlsim-array.awl", "DB 99", "VAR7: BOOL[14] @ 368.0, VAR8: BOOL[3] @ 370.0, VAR9: INT[1] @ 372, 374"),
    ],
)
def test_public_sources_are_taken_whole(name: str, blocks: str, expected: str) -> None:
    """The end of each block, so that all before it counts."""
    program = Program()
    read_file(EXAMPLES / name, program)
    places = place_program(program)
    assert [each.name for each in places.blocks] == [blocks]
    assert ", ".join(fields(places, places.blocks[0].layout)).endswith(expected)
    assert not program.remarks


def test_types_of_other_files_are_nested_and_comments_kept() -> None:
    """Whatever the files' order; a comment with brackets, quotes and semicolons stays as it is."""
    motor = 'TYPE "Motor data"\nVERSION : 0.1\n   STRUCT\n      Speed : Real;   // rpm (shaft); "net"\n'
    motor += "      On : Bool;\n   END_STRUCT;\n\nEND_TYPE\n"
    body = "Run : Bool := TRUE;   // läuft\nInner : Struct   // inside\n   A : Byte;\nEND_STRUCT;\n"
    body += "Motors : Array[1..2] of \"Motor data\";\nName : String[4] := 'a;b';"
    places, remarks = placed(block(body), motor)
    assert fields(places, "Motor_data") == ["Speed: REAL @ 0", "On: BOOL @ 4.0", "6"]
    assert fields(places, "Press") == [
        *("Run: BOOL @ 0.0", "Inner: Press_Inner @ 2", "Motors: Motor_data[2] @ 4", "Name: STRING[4] @ 16", "22")
    ]
    comments = {each.name: each.comment for layout in places.layouts.values() for each in layout.fields}
    assert comments == {
        "Speed": 'rpm (shaft); "net"',
        "Run": "läuft",
        "Inner": "inside",
        **dict.fromkeys(("On", "A", "Motors", "Name"), ""),
    }
    assert (places.first_index, remarks) == (1, [])


def test_an_instance_has_the_sections_of_its_function_block() -> None:
    """Each begins at a word; pointers take six bytes; temporary variables and code are nowhere."""
    source = """\
FUNCTION_BLOCK "Drive"
TITLE = Don't stop { here
VERSION : 0.1
   VAR_INPUT
      start : Bool;
   END_VAR
   VAR_OUTPUT
      done : Bool;
   END_VAR
   VAR_IN_OUT
      count : Int;
      text : String[10];
   END_VAR
   VAR RETAIN
      state : DInt;
   END_VAR
   VAR_TEMP
      t : Int;
   END_VAR
   VAR CONSTANT
      LAST : Int := 3;
   END_VAR
BEGIN
   IF #start THEN #done := TRUE; END_IF;
END_FUNCTION_BLOCK
DATA_BLOCK DB 7
"Drive"
BEGIN
END_DATA_BLOCK
DATA_BLOCK "list"
STRUCT
   a : Array[0.."LAST"] of Int;
END_STRUCT;
BEGIN
END_DATA_BLOCK
"""
    places, remarks = placed(source)
    assert fields(places, "Drive") == [
        *("start: BOOL @ 0.0", "done: BOOL @ 2.0", "count: INT @ 4", "state: DINT @ 12", "16")
    ]
    assert fields(places, "list") == ["a: INT[4] @ 0", "8"]
    assert [(each.name, each.number) for each in places.blocks] == [("DB 7", 7), ("list", None)]
    assert remarks == ["1.db:12: text: only a pointer to it is in the block; left out"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (block("a : Int;", "{ S7_Optimized_Access := 'TRUE' }\n"), r"1\.db:1: .*optimised access.*s7plus.*\"Press\""),
        (block('a : Int;\nb : "Motor";\nc : Int;'), r"1\.db:7: b: its type 'Motor' is not in these files.*left out"),
        (block("a : Int;\nb : TON_TIME;"), r"1\.db:7: b: TON_TIME is no value; left out"),
        (block('a : Int;\nb : Array[0.."MAX"] of Int;'), r"1\.db:7: b: constant 'MAX' is not in these files"),
        (block("a : String[3];\nb : Bool;"), r"1\.db:7: b: follows a text of odd length"),
        (block('a : Int;\nb : Array[0..1] of Struct\nx : Int;\ny : "M";\nEND_STRUCT;'), r"1\.db:7: b: not all of 'b'"),
        (block("a : Int;\nb : Array[0..40000] of Int;"), r"1\.db:7: b: a block ends at byte 65535"),
        (block("a : Int;\nb : Array[3..1] of Int;"), r"1\.db:7: b: an array's last index"),
        (block("a : Int;\nb : String[300];"), r"1\.db:7: b: STRING\[300\]: the length must be 1 to 254"),
        (block("a : Int;\nerror : Int;"), r"1\.db:7: error: is called error_: 'error' is reserved"),
        (block("a : Int;\n_b : Int;"), r"1\.db:7: _b: the platform would not store it by this name; rename it here"),
        (block("a : Array[0..1] of Int;\na_0 : Int;"), r"1\.db:7: a_0: is called a_0_: 'a_0' would name two"),
        (block('"x.y" : Int;'), r"1\.db:6: x\.y: is called x_y, since a dot means a level below"),
        (block('x_y : Int;\n"x.y" : Int;'), r"1\.db:7: x\.y: is called x_y_, since x_y is there already"),
        (block('"x.y" : Int;\nx_y : Int;'), r"1\.db:7: x_y: is called x_y_, since x_y is there already"),
        (block('"a.b" : Array[3..4] of Int;'), r"1\.db:6: a\.b_4: is called a_b_4, since a dot"),
        (
            block("a : Word;\nbits AT a : Array[0..15] of Bool;"),
            r"1\.db:7: bits: shows the bytes of a once more \(AT\)",
        ),
        (block("a Int;"), r"1\.db:6: ':' was expected, but here is 'Int'; DATA_BLOCK is left out"),
        ('DATA_BLOCK "A"\nSTRUCT\na : Int;\n', r"1\.db:3: END_STRUCT is missing"),
        ('DATA_BLOCK "A"\n"B"\nBEGIN\nEND_DATA_BLOCK', r"1\.db:1: 'A' consists of 'B', which is not in these files"),
        ('TYPE "T"\nSTRUCT\na : "T";\nEND_STRUCT;\nEND_TYPE\n' + block('t : "T";'), r"1\.db:3: a: types are nested"),
    ],
)
def test_what_cannot_be_taken_is_told_by_its_line(source: str, said: str) -> None:
    """With the reason; what stands before it is taken."""
    places, remarks = placed(source)
    assert any(re.match(said, remark) for remark in remarks), remarks
    for layout in places.layouts.values():
        assert layout.fields


def test_reading_goes_on_behind_a_mistake() -> None:
    """One block is broken, the next is whole."""
    places, remarks = placed(block("a Int;") + block("b : Int;").replace("Press", "Next"))
    assert [each.name for each in places.blocks] == ["Next"]
    assert len(remarks) == 1


def test_a_block_that_is_declared_twice_counts_once() -> None:
    """The first; blocks of one number are one block."""
    numbered = "DATA_BLOCK DB 1\nSTRUCT\nc : Int;\nEND_STRUCT;\nBEGIN\nEND_DATA_BLOCK"
    places, remarks = placed(block("a : Int;"), block("b : Int;"), numbered)
    assert [each.layout for each in places.blocks] == ["Press", "DB_1"]
    assert remarks == ["2.db:1: 'Press' is declared at 1.db:1 already; that one counts"]


def test_indices_are_those_of_the_program() -> None:
    """Arrays that begin as most do stay arrays; the others are written out."""
    places, _ = placed(block("a : Array[1..3] of Int; b : Array[1..2] of Int; c : Array[0..1] of Int;"))
    assert fields(places, "Press")[:4] == ["a: INT[3] @ 0", "b: INT[2] @ 6", "c_0: INT @ 10", "c_1: INT @ 12"]
    assert Naming(first_index=places.first_index).first_index == 1
