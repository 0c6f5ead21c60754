"""The symbols of a CPU as a user asks for them: report, JSON, a graph that is right, each wrong call told in a line."""

import json
from importlib.util import find_spec

import pytest

from pipeline.cli import main
from pipeline.config import load
from tests.parts.needs import IN_CI

if find_spec("s7commplus") is None and not IN_CI:
    pytest.skip("no s7commplus; to have it: pip install '.[s7plus]'", allow_module_level=True)

from tests.parts.s7plus_plc import DTL, SymbolPlc, array, text

INTERFACE = """<BlockInterface><Part Kind="DBSource"><Payload><Root>
<Member ID="51" Name="temperatura" RID="0x02000008" LID="9" />
<Member ID="52" Name="maq" RID="0x92000001" LID="10" SubPartIndex="0" />
</Root></Payload><SubParts>
<Part Kind="DataTypeSource"><Payload><Root><Member ID="60" Name="x" RID="0x02000007" LID="9" /></Root></Payload></Part>
</SubParts></Part></BlockInterface>"""
COMMENTS = """<InterfaceLineComments><Part Kind="Comments">
<Comment Path="51"><DictEntry Language="en-US"></DictEntry><DictEntry Language="pt-BR">óleo,
 quente</DictEntry></Comment>
<Comment Path="52:60"><DictEntry Language="pt-BR">curso</DictEntry></Comment>
</Part></InterfaceLineComments>"""


@pytest.fixture
def plc(port):
    """A CPU with two blocks, PLC tags, comments, and a type that has no value."""
    members = {"temperatura": "REAL", "maq": array(0, 2, {"x": "DINT"}), "nome": text("STRING", 10), "feito": DTL}
    plc = SymbolPlc({"DB_Press": (7, members), "Prensa nº 2": (9, {"ação": "INT", "a.b": "ANY"})})
    plc.tags = {"Botao 1": "BOOL", "db": "INT"}
    plc.download(plc.program)
    plc.documents[0x8A0E0007] = {"IntfDesc": INTERFACE, "LineComm": COMMENTS}
    plc.start("127.0.0.1", port)
    plc.where = f"127.0.0.1:{port}"
    yield plc
    plc.stop()


@pytest.fixture
def run(capsys):
    """Exit code, output and errors of a command in this process."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["browse", "--s7plus", *map(str, arguments)])
        out = capsys.readouterr()
        return end.value.code, out.out, out.err

    return run


def test_the_report_lists_symbols_with_types_and_comments(run, plc):
    """A line each, elements share a comment, names with dots are quoted; what has no value is said."""
    code, out, _ = run(plc.where)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines == [
        f"{plc.where}: 2 data blocks, 9 symbols, access level 1",
        "Botao 1 BOOL",
        "db INT",
        "DB_Press.temperatura REAL óleo, quente",
        "DB_Press.maq[0].x DINT curso",
        "DB_Press.maq[1].x DINT curso",
        "DB_Press.nome STRING[10]",
        "DB_Press.feito DTL",
        "Prensa nº 2.ação INT",
        'Prensa nº 2."a.b" ANY has no value here',
    ]


def test_json_tells_the_same(run, plc):
    """For programs."""
    code, out, _ = run(plc.where, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["blocks"] == {"DB_Press": 7, "Prensa nº 2": 9}
    first = {"symbol": "DB_Press.temperatura", "type": "REAL", "comment": "óleo, quente", "db": 7, "readable": True}
    assert first in found["symbols"]


def test_the_graph_is_right_and_reads_what_was_found(run, plc, tmp_path):
    """`check` has nothing to say of it; a file that is there is not overwritten."""
    path = tmp_path / "press.yaml"
    code, _, err = run(plc.where, "-o", path)
    assert code == 0
    assert "next: pipeline check" in err
    graph = load(path, {})
    assert (graph.name, graph.warnings) == ("press", ())
    chosen = graph.nodes["plc"].options
    assert [(block.symbol, block.db) for block in chosen.blocks] == [("DB_Press", 7), ("Prensa nº 2", 9)]
    assert chosen.tags == {"Botao_1": "Botao 1", "db_": "db"}
    assert "# DB_Press.maq[0].x: DINT, curso" in path.read_text(encoding="utf-8")
    assert run(plc.where, "-o", path)[0] == 1


def test_tags_whose_names_become_one_are_all_in_the_graph(run, plc, tmp_path):
    """Names differ in what a key can't have; each gets one of its own."""
    plc.tags = {"Nivel %": "REAL", "Nivel_": "REAL", "Nivel _": "INT", "seq": "INT", "seq_": "INT"}
    plc.download(plc.program)
    path = tmp_path / "press.yaml"
    assert run(plc.where, "-o", path)[0] == 0
    found = load(path, {}).nodes["plc"].options.tags
    assert sorted(found.values()) == sorted(plc.tags)


def test_names_of_a_program_stay_within_their_line(run, plc, tmp_path):
    """Whatever letters a CPU puts into them: they add no line to a file, and nothing that a terminal obeys."""
    plc.tags = {"tag\n  x: 1": "BOOL"}
    plc.download({"DB\nevil: 1": (7, {"a\nb: 2\x1b[2J": "REAL"})})
    path = tmp_path / "press.yaml"
    code, out, _ = run(plc.where, "-o", path)
    assert (code, len(out.splitlines()), "\x1b" in out) == (0, 3, False)
    found = load(path, {}).nodes["plc"].options
    assert [block.symbol for block in found.blocks] == ["DB\nevil: 1"]
    assert list(found.tags.values()) == ["tag\n  x: 1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["127.0.0.1:1"], "connection refused"),
        (["127.0.0.1:1", "--timeout", "2s"], "connection refused"),
        (["127.0.0.1:1", "--timeout", "2"], "--timeout: "),
        (["line.yaml"], "takes an address, no graph file"),
        (["127.0.0.1", "--fingerprint", "abc"], "this is no SHA-256"),
        (["127.0.0.1", "--username", "x"], "needs --password-file"),
        (["127.0.0.1", "--password-file", "/nowhere"], "can't be read"),
        (["127.0.0.1", "--tls", "--password-file", "/nowhere"], "a password goes to no stranger"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(run, arguments, said):
    """What is wrong, and no stack."""
    code, out, err = run(*arguments)
    assert (code > 0, out) == (True, "")
    assert said in err
    assert "Traceback" not in err


def test_a_password_file_of_another_kind_is_told_without_its_bytes(run, tmp_path):
    """No stack, which would show some of it."""
    path = tmp_path / "password"
    path.write_bytes(b"secret\xff")
    code, _, err = run("127.0.0.1:1", "--password-file", path)
    assert (code, "is not UTF-8" in err) == (1, True)


def test_options_of_symbols_want_the_switch(capsys):
    """`--tls` alone would mean nothing."""
    with pytest.raises(SystemExit):
        main(["browse", "127.0.0.1", "--tls"])
    assert "--tls: only with --s7plus" in capsys.readouterr().err
