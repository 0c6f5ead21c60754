"""`import` of a PLC's program: a graph file that `check` accepts, whatever names and files it is made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.config import load_text
from pipeline.graph import Graph

EXAMPLES = Path(__file__).parent / "examples"
PRESS = """\
DATA_BLOCK "Press"
{ S7_Optimized_Access := 'FALSE' }
VERSION : 0.1
   STRUCT
      Run : Bool;   // "runs": ${HOME} # really
      "Counter 1" : Int;
      "null" : Int;
      Motors : Array[1..2] of "Motor";
      error : Int;
   END_STRUCT;
BEGIN
END_DATA_BLOCK
"""
MOTOR = 'TYPE "Motor"\nVERSION : 0.1\n   STRUCT\n      Speed : Real;\n   END_STRUCT;\n\nEND_TYPE\n'
SYMBOLS = '"Press","DB 10","DB 10",""\n"Start","E 0.0","BOOL","go"\n"db","MW 4","INT",""\n"Other","DB 11","DB 11",""\n'


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {"Press.db": PRESS, "Motor.udt": MOTOR, "line.sdf": SYMBOLS}.items():
        Path(name).write_text(text, encoding="utf-8")


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    said = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, said.out, said.err


def graph(text: str, **environment: str) -> Graph:
    """The graph of a text."""
    return load_text(text, Path("line.yaml"), environment)


def test_sources_and_symbols_of_a_plc_become_one_source(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers from the symbol table, names as YAML can have them, comments as descriptions, what was left out told."""
    files = ("Press.db", "Motor.udt", "line.sdf")
    code, out, err = call(capsys, "import", *files, "--address", "192.168.0.121", "-o", "line.yaml")
    assert (code, out) == (0, "")
    told = [
        "Press.db:9: error: is called error_: 'error' is reserved",
        "line.sdf:4: Other: a data block; its fields are in its source, which is not among the files",
        "line.sdf:3: db: is called db_: 'db' is reserved",
    ]
    assert [line[: len(start)] for line, start in zip(err.splitlines(), told, strict=True)] == told
    text = Path("line.yaml").read_text(encoding="utf-8")
    found = graph(text)
    options = found.nodes["plc"].options
    assert (options.address, options.slot, options.naming.first_index) == ("192.168.0.121", 2, 1)
    assert [(each.db, each.layout) for each in options.blocks] == [(10, "Press")]
    assert dict(options.tags) == {"Start": options.tags["Start"], "db_": "MW4:INT"}
    leaves = found.layouts["Press"].leaves(options.naming)
    assert [(leaf.name, leaf.byte) for leaf in leaves] == [
        *(("Run", 0), ("Counter 1", 2), ("null", 4), ("Motors_1_Speed", 6), ("Motors_2_Speed", 10), ("error_", 14)),
    ]
    assert leaves[0].description == '"runs": ${HOME} # really'
    assert call(capsys, "check", "line.yaml")[0] == 0


def test_a_number_that_no_file_says_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """By a variable, or by `--db`; a name that says it is believed and told."""
    code, out, err = call(capsys, "import", "Press.db", "Motor.udt")
    assert code == 0
    assert err.endswith("set before it runs: PLC_IP, DB_PRESS\n")
    options = graph(out, PLC_IP="10.0.0.1", DB_PRESS="33").nodes["plc"].options
    assert (options.slot, [each.db for each in options.blocks]) == (1, [33])
    _, out, err = call(capsys, "import", "Press.db", "Motor.udt", "--db", "press=12", "--address", "10.0.0.1")
    assert "set before" not in err
    assert [each.db for each in graph(out).nodes["plc"].options.blocks] == [12]
    Path("DB7.db").write_text(PRESS.replace('"Press"', '"DB7_Press"'), encoding="utf-8")
    _, out, err = call(capsys, "import", "DB7.db", "Motor.udt")
    assert [each.db for each in graph(out, PLC_IP="a").nodes["plc"].options.blocks] == [7]
    assert "7 is taken from the name, look at it" in err
    Path("DB7.db").write_text(PRESS.replace('"Press"', '"DB7"'), encoding="utf-8")
    for more, number in (((), 7), (("--db", "DB7=99"), 99)):
        _, out, err = call(capsys, "import", "DB7.db", "Motor.udt", *more)
        assert [each.db for each in graph(out, PLC_IP="a").nodes["plc"].options.blocks] == [number]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Press.db", "--db", "Pres=1"), "did you mean Press?"),
        (("Press.db", "--db", "Press=0"), "--db Press=10"),
        (("Press.db", "--db", "Press"), "--db Press=10"),
        (("Motor.udt",), "`--layouts` gives the types alone"),
        (("nowhere.db",), "can't be read"),
        (("config.yaml", "Press.db"), "is imported alone"),
        (("optimised.db",), "optimised.db:1:"),
    ],
)
def test_what_gives_no_graph_is_said_in_words(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, no stack trace, no file."""
    Path("optimised.db").write_text(PRESS.replace("FALSE", "TRUE"), encoding="utf-8")
    code, _, err = call(capsys, "import", *arguments, "-o", "out.yaml")
    assert (code, Path("out.yaml").exists()) == (1, False)
    assert said in err
    assert "Traceback" not in err


def test_names_of_tags_that_change_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A dot, a name that is there, each by its line; a plain name is silent."""
    names = ["a.b", "a_b", "c", "${d", ""]
    rows = [f'"{name}","M 0.{n}","BOOL",""\n' for n, name in enumerate(names)]
    Path("t.sdf").write_text("".join(rows), "utf-8")
    _, out, err = call(capsys, "import", "t.sdf", "--address", "10.0.0.1")
    assert err.splitlines() == [
        "t.sdf:1: a.b: is called a_b, since a dot means a level below",
        "t.sdf:2: a_b: is called a_b_, since a_b is there already",
        "t.sdf:4: ${d: is called $_{d, since '${' begins a variable",
        "t.sdf:5: : is called unnamed, since it has no name",
    ]
    assert list(graph(out).nodes["plc"].options.tags) == ["a_b", "a_b_", "c", "$_{d", "unnamed"]


def test_a_tag_that_stands_in_two_tables_is_taken_once(capsys: pytest.CaptureFixture[str]) -> None:
    """At the same address; at another it is another tag."""
    Path("a.sdf").write_text('"run","M 0.0","BOOL","on"\n"on","M 0.1","BOOL",""\n', "utf-8")
    Path("b.sdf").write_text('"run","M 0.0","BOOL",""\n"on","M 0.2","BOOL",""\n', "utf-8")
    _, out, err = call(capsys, "import", "a.sdf", "b.sdf", "--address", "10.0.0.1")
    assert err.splitlines() == [
        "b.sdf:1: run: stands in a.sdf:1 already, at the same address; taken once",
        "b.sdf:2: on: is called on_, since on is there already",
    ]
    assert list(graph(out).nodes["plc"].options.tags) == ["run", "on", "on_"]


def test_more_than_a_graph_file_holds_is_refused_before_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """With its size and what to do."""
    rows = "".join(f'"{n:0200}","MW {n}","INT",""\n' for n in range(5000))
    Path("big.sdf").write_text(rows, "utf-8")
    code, _, err = call(capsys, "import", "big.sdf", "-o", "line.yaml")
    assert (code, Path("line.yaml").exists()) == (1, False)
    assert "a graph file may have 1024" in err
    assert "import in parts" in err


def test_layouts_alone_are_those_of_all_types(capsys: pytest.CaptureFixture[str]) -> None:
    """To be put into a graph of one's own."""
    code, out, err = call(capsys, "import", "Motor.udt", "--layouts")
    assert (code, err) == (0, "")
    assert out == "# Made from Motor.udt.\n\nlayouts:\n  Motor:\n    size: 4\n    fields:\n      Speed: REAL @ 0\n"


def test_endpoints_of_node_red_become_sources_beside_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    """Each PLC its own source; the frames of all are watched."""
    example = str(EXAMPLES / "node-red-contrib-s7-flow.json")
    _, out, err = call(capsys, "import", example, "Press.db", "Motor.udt")
    assert f"{example}:3: Local SNAP7: is called Local_SNAP7, as the names of nodes and PLCs want it" in err
    assert err.endswith("set before it runs: PLC_IP, DB_PRESS\n")
    found = graph(out, PLC_IP="10.0.0.1", DB_PRESS="1")
    assert found.nodes["Local_SNAP7"].options.plc_id == "Local_SNAP7"
    assert found.nodes["Local_SNAP7"].options.every == 0.5
    assert [node.name for node in found.nodes.values() if node.kind.value == "sources"] == ["plc", "Local_SNAP7"]


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.*")), ids=lambda file: file.name)
def test_every_public_example_gives_a_sound_graph(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Or, where it holds numbers of blocks only, nothing."""
    if file.suffix == ".md":
        return
    code, out, err = call(capsys, "import", str(file))
    if "symtab" in file.name:
        assert (code, "its fields are in its source" in err) == (1, True)
        return
    assert code == 0
    assert graph(out, PLC_IP="10.0.0.1", DB_S7_1200_OUTPUT="1", DB_READ_ONLY="2").nodes
