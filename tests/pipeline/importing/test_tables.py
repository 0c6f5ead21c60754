"""Tag tables, XML, Kepware, Node-RED: tags with their addresses, and what can't be taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.importing.placement import place_program
from pipeline.importing.program import Program
from pipeline.importing.recognise import read_file

EXAMPLES = Path(__file__).parent / "examples"
HEADER = (
    "Tag Name,Address,Data Type,Respect Data Type,Client Access,Scan Rate,Scaling,Raw Low,Raw High,Scaled Low,"
    "Scaled High,Scaled Data Type,Clamp Low,Clamp High,Eng Units,Description,Negate Value\n"
)
TAGS = """\
<?xml version="1.0" encoding="utf-8"?>
<Document><Engineering version="V17" />
  <SW.Tags.PlcTagTable ID="0"><AttributeList><Name>Line</Name></AttributeList><ObjectList>
    <SW.Tags.PlcTag ID="1" CompositionName="Tags">
      <AttributeList><DataTypeName>Real</DataTypeName><LogicalAddress>%MD20</LogicalAddress><Name>Speed</Name>
      </AttributeList>
      <ObjectList><MultilingualText ID="2" CompositionName="Comment"><ObjectList>
        <MultilingualTextItem ID="3" CompositionName="Items"><AttributeList><Culture>de-DE</Culture><Text />
        </AttributeList></MultilingualTextItem>
        <MultilingualTextItem ID="4" CompositionName="Items"><AttributeList><Culture>en-US</Culture>
        <Text>at &lt;the&gt; shaft</Text></AttributeList></MultilingualTextItem>
      </ObjectList></MultilingualText></ObjectList>
    </SW.Tags.PlcTag>
    <SW.Tags.PlcUserConstant ID="A"><AttributeList><DataTypeName>Int</DataTypeName><Name>MAX</Name><Value>7</Value>
    </AttributeList></SW.Tags.PlcUserConstant>
  </ObjectList></SW.Tags.PlcTagTable>
</Document>
"""
TABLE = """\
<?xml version='1.0' encoding='utf-8'?>
<Tagtable name='Standard'>
  <Tag type='Bool' hmiVisible='True' retain='False' remark='go' addr='%I0.0'>Start</Tag>
  <Tag type='&quot;Motor&quot;' remark='' addr='%M100.0'>Motor</Tag>
  <Tag type='LReal' remark='' addr='%M8.0'>Long</Tag>
  <Tag type='Word' remark='' addr='%IW64:P'>Now</Tag>
  <Constant type='Int' remark='' value='3'>MAX</Constant>
</Tagtable>
"""
BLOCK = """\
<Document>
  <SW.Types.PlcStruct ID="0"><AttributeList><Interface><Sections xmlns="http://www.siemens.com/x/v5">
    <Section Name="None"><Member Name="A" Datatype="Byte" /><Member Name="B" Datatype="Int" /></Section>
  </Sections></Interface><Name>Pair</Name></AttributeList></SW.Types.PlcStruct>
  <SW.Blocks.GlobalDB ID="1"><AttributeList><Interface><Sections xmlns="http://www.siemens.com/x/v5">
    <Section Name="Static">
      <Member Name="Run" Datatype="Bool"><AttributeList>
        <IntegerAttribute Name="Offset" Informative="true" SystemDefined="true">0</IntegerAttribute></AttributeList>
        <Comment><MultiLanguageText Lang="de-DE">rennt</MultiLanguageText></Comment></Member>
      <Member Name="Pairs" Datatype="Array[0..1] of &quot;Pair&quot;"><AttributeList>
        <IntegerAttribute Name="Offset" Informative="true" SystemDefined="true">OFFSET</IntegerAttribute>
        </AttributeList></Member>
      <Member Name="In" Datatype="Struct"><Member Name="X" Datatype="DInt" /></Member>
    </Section>
  </Sections></Interface><MemoryLayout>Standard</MemoryLayout><Name>Data</Name><Number>12</Number>
  </AttributeList></SW.Blocks.GlobalDB>
</Document>
"""


def taken(tmp_path: Path, text: str | bytes, name: str) -> Program:
    """What a file of this content gives."""
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    program = Program()
    read_file(file, program)
    return program


def tags(program: Program) -> dict[str, str]:
    """Addresses by name."""
    return {tag.name: tag.address for tag in program.tags}


def said(program: Program) -> list[str]:
    """Remarks without the file."""
    return [f"{remark.note.line}: {remark.note.text}" for remark in program.remarks]


@pytest.mark.parametrize(
    ("name", "found", "symbols"),
    [
        (
            "awlsim-symbols.asc",
            {"sym_M_0.0": "M0.0:BOOL", "symbolic timer": "T10:TIMER", "symbolic counter": "C10:COUNTER"},
            {"data_1": "db99", "instance db": "db100", "function block": "fb100", "function block 2": "fb101"},
        ),
        ("awlsim-symtab.asc", {}, {"array_db": "db60", "date_and_time_db": "db20", "ctd": "sfb1", "ctu": "sfb0"}),
        ("awlsim-symtab.csv", {}, {"array_db": "db60", "date_and_time_db": "db20", "ctd": "sfb1", "ctu": "sfb0"}),
    ],
)
def test_public_symbol_tables_of_step_7(name: str, found: dict[str, str], symbols: dict[str, str]) -> None:
    """Tags with addresses, blocks with numbers; functions have no data."""
    program = Program()
    read_file(EXAMPLES / name, program)
    assert (tags(program), program.symbols, said(program)) == (found, symbols, [])
    assert program.classic


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            (
                '"Run","%M0.0","Bool","True","True","False","on; off","","True"\n'
                '"Speed","%MD4","Real","True","True","False","","","True"\n'
                '"MAX","CONSTANT","Int","","","","","222",""\n'
            ),
            "tags.sdf",
        ),
        (
            (
                "Name,Path,Data Type,Logical Address,Comment,Hmi Visible\n"
                "Run,Standard,Bool,%M0.0,on; off,True\nSpeed,Standard,Real,%MD4,,True\n"
            ),
            "tags.csv",
        ),
        (
            (
                "Name;Path;Data Type;Logical Address;Comment\r\n"
                'Run;Standard;Bool;%M0.0;"on; off"\r\nSpeed;Standard;Real;%MD4;\r\n'
            ),
            "tags.csv",
        ),
        (
            (
                '"Run                     ","M       0.0 ","BOOL      ","on; off        "\n'
                '"Speed                   ","MD      4   ","REAL      ","               "\n'
            ),
            "tags.sdf",
        ),
        ('Address;Symbol;Data type;Comment\nM 0.0;Run;BOOL;"on; off"\nMD 4;Speed;REAL;\n', "tags.csv"),
        (
            (
                "126,Run                     M       0.0 BOOL      on; off\n"
                "126,Speed                   MD      4   REAL      \n"
            ),
            "tags.asc",
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_tables_of_all_forms_say_the_same(text: str, name: str, encoding: str, tmp_path: Path) -> None:
    """Columns by header or by place, any separator, any encoding."""
    program = taken(tmp_path, text.encode(encoding), name)
    assert tags(program) == {"Run": "M0.0:BOOL", "Speed": "MD4:REAL"}
    assert [tag.comment for tag in program.tags] == ["on; off", ""]
    assert [line for line in said(program) if "is a constant" not in line] == []


@pytest.mark.parametrize(
    ("place", "kind", "address"),
    [
        ("%I0.7", "Bool", "I0.7:BOOL"),
        ("E      0.0", "BOOL", "I0.0:BOOL"),
        ("AW    20", "INT", "QW20:INT"),
        ("%MB3", "Byte", "MB3:BYTE"),
        ("%M8.0", "LReal", "M8:LREAL"),
        ("%M20.0", "String[10]", "M20:STRING[10]"),
        ("%DB5.DBX2.1", "Bool", "DB5.DBX2.1:BOOL"),
        ("%DB5.DBD4", "Real", "DB5.DBD4:REAL"),
        ("%T7", "Timer", "T7:TIMER"),
        ("Z     5", "COUNTER", "C5:COUNTER"),
        ("%IW2", "HW_IO", "IW2:UINT"),
        ("PEW  256", "INT", "the periphery itself"),
        ("%Q0.0:P", "Bool", "the periphery itself"),
        ("%MD4", '"Motor"', "none with a single value"),
        ("XY 3", "INT", "no address of a value"),
    ],
)
def test_addresses_in_german_and_english(place: str, kind: str, address: str, tmp_path: Path) -> None:
    """The declared type decides what is read; what can't be is told."""
    program = taken(
        tmp_path, f"Name\tPath\tData Type\tLogical Address\nx\tS\t{kind.replace(chr(34), '')}\t{place}\n", "t.csv"
    )
    assert address in (tags(program).get("x") or said(program)[0])


@pytest.mark.parametrize(
    ("text", "name", "lines"),
    [
        ('"A","%M0.0","Bool","","","","","",""\n"N","CONSTANT","Int","","","","","7",""\n', "t.sdf", [2]),
        ("Name,Path,Data Type,Value,Comment\nN,S,Int,7,\nPI,S,Real,3.14,\n", "c.csv", [2, 3]),
        (TABLE, "t.xml", [7]),
        (TAGS, "o.xml", [14]),
    ],
)
def test_constants_of_tables_are_told(text: str, name: str, lines: list[int], tmp_path: Path) -> None:
    """They are no values; whole ones serve as bounds."""
    program = taken(tmp_path, text, name)
    told = [
        remark.note for remark in program.remarks if "is a constant, which is no value of the PLC" in remark.note.text
    ]
    assert [note.line for note in told] == lines
    assert [note.text.endswith("left out") for note in told] == [note.text.startswith("PI") for note in told]


def test_of_many_notes_of_one_kind_the_first_are_told(tmp_path: Path) -> None:
    """The last says how many follow, and how far."""
    rows = "".join(f'"N{n}","CONSTANT","Int","","","","","{n}",""\n' for n in range(30))
    told = said(taken(tmp_path, rows, "t.sdf"))
    assert len(told) == 21
    assert told[-1].startswith("21: N20: is a constant")
    assert told[-1].endswith("(and so in 9 more places, up to line 30)")


def test_tags_by_openness_have_comments_and_constants(tmp_path: Path) -> None:
    """The first comment that is not empty."""
    program = taken(tmp_path, TAGS, "Line.xml")
    assert [(tag.name, tag.address, tag.comment, tag.line) for tag in program.tags] == [
        ("Speed", "MD20:REAL", "at <the> shaft", 4)
    ]
    assert program.constants == {"max": 7}


def test_tags_by_the_button_of_the_table(tmp_path: Path) -> None:
    """Records and the periphery are told by their lines."""
    program = taken(tmp_path, TABLE, "Standard.xml")
    assert tags(program) == {"Start": "I0.0:BOOL", "Long": "M8:LREAL"}
    assert [tag.comment for tag in program.tags] == ["go", ""]
    assert program.constants == {"max": 3}
    assert [line.split(":")[0] for line in said(program)] == ["4", "6", "7"]


@pytest.mark.parametrize(("offset", "remarks", "at"), [("16", 0, "2"), ("32", 1, "4"), ("-8", 0, "2")])
def test_blocks_by_openness_are_verified_with_their_offsets(offset: str, remarks: int, at: str, tmp_path: Path) -> None:
    """Bits in the file; where the rules say another place, the file's counts and is told. No place is below 0."""
    program = taken(tmp_path, BLOCK.replace("OFFSET", offset), "Data.xml")
    places = place_program(program)
    (block,) = places.blocks
    assert (block.name, block.number) == ("Data", 12)
    found = {each.name: (each.type, each.at) for each in places.layouts[block.layout].fields}
    assert found["Run"] == ("BOOL", "0.0")
    assert found["Pairs"] == ("Pair[2]", at)
    assert found["In"] == ("Data_In", str(int(at) + 8))
    assert len(said(program)) == remarks


@pytest.mark.parametrize(
    ("row", "address"),
    [
        ("DB1.D0,DWord", "DB1.DBD0:DWORD"),
        ("DB1.DBW2,Short", "DB1.DBW2:INT"),
        ('"DB1,W2",Word', "DB1.DBW2:WORD"),
        ("DB1.DBX0.1,Boolean", "DB1.DBX0.1:BOOL"),
        ('"DB1,X0.1",Boolean', "DB1.DBX0.1:BOOL"),
        ('"DB1,REAL4",Float', "DB1.DBD4:REAL"),
        ('"DB1,DBD8",Float', "DB1.DBD8:REAL"),
        ('"DB1,DINT8",Long', "DB1.DBD8:DINT"),
        ('"DB1,STRING10.20",String', "DB1:10:STRING[20]"),
        ('"DB1,INT40[5]",Short Array', "DB1.DBW40:INT[5]"),
        ('"DB1,INT10[3][4]",Short Array', "DB1.DBW10:INT[12]"),
        ('"DB1,W50.9",Boolean', "DB1.DBX50.1:BOOL"),
        ('"DB1,D50.0",Boolean', "DB1.DBX53.0:BOOL"),
        ('"DB1,B3",Byte', "DB1.DBB3:BYTE"),
        ("DB1.INT2,Word", "DB1.DBW2:WORD"),
        ('"DB1,DINT2",Long', "DB1.DBD2:DINT"),
        ("MX70.1,Boolean", "M70.1:BOOL"),
        ("IX402.0,Boolean", "I402.0:BOOL"),
        ("MBYTE113,Byte", "MB113:BYTE"),
        ("M10.3,Boolean", "M10.3:BOOL"),
        ("MW12,Short", "MW12:INT"),
        ("EW4,Word", "IW4:WORD"),
        ("T3,Long", "T3:TIMER"),
        ("C3,Word", "C3:COUNTER"),
        ("K40001,DWord", "no address of an S7 PLC"),
        ("DB1.DBW2,Float", "of two sizes"),
        ('"DB5,W10",BCD', "BCD, 2 bytes of decimal digits, is none of the types that are read here; left out"),
        ('"DB5,D12",LBCD', "LBCD, 4 bytes of decimal digits, is none"),
        ('"DB5,W10",word', "DB5.DBW10:WORD"),
        ('"DB40,KT10",Long', "DB40.DBW10:S5TIME"),
        ('"DB5,W10",real', "'real' is none of Kepware's data types"),
        ('"DB5,W10[3]",BCD Array', "BCD Array, 2 bytes of decimal digits, is none"),
        ("MB3.9,Boolean", "bit 9 does not exist"),
    ],
)
def test_addresses_of_kepware(row: str, address: str, tmp_path: Path) -> None:
    """Letters say the size, data types what it is."""
    program = taken(tmp_path, f"{HEADER}x,{row},1,R/W,100,,,,,,,,,,,,\n", "kepware.csv")
    assert address in (tags(program).get("x") or said(program)[0])


def test_scaling_units_and_rates_of_kepware(tmp_path: Path) -> None:
    """Linear scaling becomes factor and offset; the rest is told."""
    rows = (
        '"Line.T","DB1.DBW2",Short,1,RO,500,Linear,0,27648,-50,100,Float,1,0,"°C","a, b",\n'
        '"N","DB1.DBW4",Short,1,R/W,500,None,,,,,,,,,,1\n'
        '"S","DB1.DBW6",Short,1,R/W,100,Square Root,0,1,0,1,Float,0,0,,,\n'
        '"W","DB1.DBW8",Short,1,WO,100,,,,,,,,,,,\n'
        '"_System","X",Short,1,RO,100,,,,,,,,,,,\n'
    )
    program = taken(tmp_path, HEADER + rows, "kepware.csv")
    line, negated, root = program.tags
    assert (line.unit, line.comment, line.offset, line.scale) == ("°C", "a, b", -50, pytest.approx(150 / 27648))
    assert (negated.scale, root.scale) == (-1, 1)
    assert program.every == 0.5
    assert [text.split(": ", 2)[:2] for text in said(program)] == [
        *(["2", "Line.T"], ["4", "S"], ["5", "W"]),
        ["1", "scan rates differ (500 ms, 100 ms)"],
    ]


@pytest.mark.parametrize("cell", ["", "abc", "inf"])
def test_a_scaling_without_a_number_is_told_in_plain_words(cell: str, tmp_path: Path) -> None:
    """As what it is; the tag is left out."""
    program = taken(tmp_path, f"{HEADER}x,DB1.DBW2,Short,1,RO,500,Linear,0,{cell},0,100,Float,0,0,,,\n", "kepware.csv")
    assert said(program) == [f"2: x: '{cell}' is no number to scale by; left out"]


@pytest.mark.parametrize("letter", ["\n", "\t", " ", ",", "(*", '"'])
def test_a_long_file_of_nothing_is_refused_at_once(letter: str, tmp_path: Path) -> None:
    """Whatever it repeats: what a file is, is found in one pass."""
    with pytest.raises(UsageError, match="none of the files that can be imported"):
        taken(tmp_path, letter * 300_000, "nothing.csv")


def test_a_public_flow_of_node_red() -> None:
    """The PLC with its rate, all variables."""
    program = Program()
    read_file(EXAMPLES / "node-red-contrib-s7-flow.json", program)
    (station,) = program.stations
    assert (station.name, station.address, station.port, station.slot, station.every) == (
        *("Local SNAP7", "127.0.0.1", 102, 2),
        0.5,
    )
    assert {tag.name: tag.address for tag in station.tags} == {
        "DB1_BOOL1": "DB1.DBX0.0:BOOL",
        "DB1_BOOL2": "DB1.DBX0.1:BOOL",
        "DB1_INT1": "DB1.DBW2:INT",
        "DB1_REAL1": "DB1.DBD4:REAL",
        "DB1_WORD1": "DB1.DBW8:WORD",
        "DB1_CHAR1": "DB1.DBB12:CHAR[6]",
    }


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("DB23,B1", "DB23.DBB1:BYTE"),
        ("DB100,CHAR2", "DB100.DBB2:CHAR"),
        ("DB42,I3", "DB42.DBW3:INT"),
        ("DB13,DI5", "DB13.DBD5:DINT"),
        ("DB19,DW6", "DB19.DBD6:DWORD"),
        ("DB2,S7.10", "DB2:7:STRING[10]"),
        ("DB2,S7.10.3", "DB2:7:STRING[10][3]"),
        ("DB10,INT6.2", "DB10.DBW6:INT[2]"),
        ("DB10,X14.0.8", "DB10.DBX14.0:BOOL[8]"),
        ("E1.0", "I1.0:BOOL"),
        ("AB5", "QB5:BYTE"),
        ("QC8", "QB8:CHAR"),
        ("AI12", "QW12:INT"),
        ("EDI22", "ID22:DINT"),
        ("MR38", "MD38:REAL"),
        ("DB1,DT0", "DB1:0:DATE_AND_TIME"),
        ("DB2,DTLZ12", "DB2:12:DTL"),
        ("DB57,RWORD4", "RWORD"),
        ("PQD4", "the periphery itself"),
    ],
)
def test_addresses_of_node_red(address: str, expected: str, tmp_path: Path) -> None:
    """Those of its documentation; bytes in the order of other makes can't be read."""
    flow = f'[{{"id":"1","type":"s7 endpoint","address":"10.0.0.1","vartable":[\n{{"addr":"{address}","name":"x"}},'
    program = taken(tmp_path, flow + '{"addr":"MB0","name":"y"}]}]', "flows.json")
    (station,) = program.stations
    found = {tag.name: tag.address for tag in station.tags}
    assert expected in (found.get("x") or said(program)[0])
    assert all(remark.note.line == 2 for remark in program.remarks)


def test_endpoints_by_tsap_and_by_other_ways(tmp_path: Path) -> None:
    """A Logo! by its TSAPs; MPI adapters are told."""
    flow = """{"flows": [
{"id": "a", "type": "s7 endpoint", "name": "logo", "address": "10.0.0.2", "connmode": "tsap", "localtsaphi": "1",
 "localtsaplo": "00", "remotetsaphi": "02", "remotetsaplo": "0",
 "vartable": "[{\\"addr\\": \\"M0.0\\", \\"name\\": \\"on\\"}]"},
{"id": "b", "type": "s7 endpoint", "name": "old", "transport": "mpi-s7", "vartable": []}]}"""
    program = taken(tmp_path, flow, "flows.json")
    assert [(station.name, station.tsap) for station in program.stations] == [("logo", ("01.00", "02.00"))]
    assert said(program) == ["5: old: is reached by mpi-s7, not by TCP; left out"]


def test_what_a_flow_did_besides_reading_is_told(tmp_path: Path) -> None:
    """What wrote and where frames went, each by its line; the rest by its kinds; nothing of what is only drawn."""
    flow = """[
{"id": "t", "type": "tab", "label": "Line"},
{"id": "e", "type": "s7 endpoint", "name": "Press 1", "address": "10.0.0.1", "timeout": "1500", "cycletime": "0",
 "vartable": [{"addr": "DB1,X0.0", "name": "Ação"}, {"addr": "PIW0", "name": "p"}]},
{"id": "i", "type": "s7 in", "endpoint": "e"},
{"id": "o", "type": "s7 out", "endpoint": "e", "variable": "Ação", "name": "start"},
{"id": "c", "type": "s7 control", "endpoint": "e"},
{"id": "d1", "type": "debug"}, {"id": "f", "type": "function"},
{"id": "d2", "type": "debug"},
{"id": "b", "type": "mqtt-broker", "name": "plant", "broker": "10.0.0.9", "port": "8883",
 "credentials": {"user": "edge", "password": "hunter2"}}
]"""
    program = taken(tmp_path, flow, "flows.json")
    (station,) = program.stations
    assert (station.timeout, station.every, station.line, station.tags[0].line) == (1.5, 1.0, 3, 4)
    assert said(program) == [
        "4: p: 'PIW0' is the periphery itself, which can't be asked for; its process image can; left out",
        "3: cycletime 0 ms: 1s is taken",
        "6: start: wrote 'Ação' to the PLC, and nothing is written here; left out",
        "7: s7 control: changed the cycle, or asked for one; `every` is fixed here; left out",
        (
            "10: plant: is the broker 10.0.0.9:8883; declare a sink `mqtt` for it, and its user and password as "
            "variables; left out"
        ),
        "8: what the flow does with the values is not taken over: 2 debug, 1 function",
    ]


@pytest.mark.parametrize(("timeout", "expected"), [("", 0.0), ("2000", 2.0), ("1", 0.05), ("600000", 60.0)])
def test_the_patience_of_an_endpoint_is_kept(timeout: str, expected: float, tmp_path: Path) -> None:
    """As far as a source may have it; what is cut is told."""
    flow = f'[{{"type":"s7 endpoint","address":"a","timeout":"{timeout}","vartable":[{{"addr":"MB0","name":"y"}}]}}]'
    program = taken(tmp_path, flow, "flows.json")
    assert program.stations[0].timeout == expected
    assert len(said(program)) == (timeout in {"1", "600000"})


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"PK\x03\x04", "tags.xlsx", "save its sheet as CSV"),
        (b"", "empty.db", "none of the files"),
        (b"SQLite format 3\0\xff\xfe", "amd.db", "none of the files"),
        (b"<a><b></a>", "a.xml", "this is no XML"),
        (b"<html></html>", "a.xml", "is no export of TIA"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "a.xml", "a document type"),
        (b"[1,", "f.json", "is no JSON"),
        (b"[]", "f.json", "no node of type 's7 endpoint'"),
        (b"[" * 100_000, "f.json", "is no JSON"),
        (b"<a>" * 1000, "a.xml", "nested deeper"),
    ],
)
def test_what_is_no_export_is_refused_in_words(content: bytes, name: str, message: str, tmp_path: Path) -> None:
    """With what to do, where there is something."""
    with pytest.raises(UsageError, match=message):
        taken(tmp_path, content, name)
