"""`browse` as a user calls it: report, JSON, a first graph that runs, and each wrong call told in one line."""

import json
from functools import partial

import pytest

from pipeline.config import load
from pipeline.operator import NodeKind
from tests.parts.plc import StrictPlc, plc_thread

LINE = """
layouts:
  press: {size: 14, fields: {contador_bom: INT @ 10}}
sources:
  press:
    type: s7
    plcs:
      - {plc_id: a, address: 127.0.0.1, port: PORT, slot: 2}
      - {plc_id: b, address: 127.0.0.1, port: 1}
    every: 1s
    connection_type: op
    timezone: America/Sao_Paulo
    blocks: [{db: 1, layout: press}, {db: 2, layout: press}]
sinks:
  out: {type: stdout, from: press}
"""


@pytest.fixture
def plc():
    """A PLC with a block that can be read and one that can't."""
    with plc_thread(StrictPlc({1: bytearray(14), 3: bytearray(100), 5: bytearray(2)})) as plc:
        plc.codes = {(0x84, 5): 0x0A}
        yield plc


@pytest.fixture
def run(run):
    """Calls `browse`."""
    return partial(run, "browse")


def test_the_report_of_an_address(run, plc):
    """Who it is, what it has, what to change."""
    code, out, err = run(f"127.0.0.1:{plc.port}", "--rate", 1000)
    assert (code, err) == (0, "")
    for words in (f"PLC 127.0.0.1:{plc.port}", "6ES7 315-2EH14-0AB0", "RUN", "DB1          14 bytes", "cannot be read"):
        assert words in out
    assert "Advice:\n  - DB5: switch off 'Optimized block access'" in out


def test_the_plc_of_a_graph_as_json(run, plc, tmp_path):
    """Its own access and zone are used; the layout that doesn't fit is told."""
    file = tmp_path / "line.yaml"
    file.write_text(LINE.replace("PORT", str(plc.port)))
    code, out, _ = run(file, "press", "--plc", "a", "--rate", 1000, "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["name"], told["access"]["slot"], told["connections"]["op"]) == ("a", 2, 1)
    assert told["clock"]["time"].endswith("-03:00")
    assert [(block["db"], block["size"], block["readable"]) for block in told["dbs"]] == [
        (1, 14, True),
        (3, 100, True),
        (5, 2, False),
    ]
    assert "the graph reads DB2, which was not found" in told["advice"]


def test_the_first_graph_is_right_and_reads_what_was_found(run, plc, tmp_path):
    """`check` takes it; blocks that can't be read are named in a comment."""
    file = tmp_path / "new press.yaml"
    code, out, err = run(f"127.0.0.1:{plc.port}", "--rate", 1000, "--slot", 2, "-o", file)
    assert code == 0
    assert "6ES7" in out
    assert f"pipeline check '{file}'" in err
    graph = load(file, {})
    (source,) = graph.of(NodeKind.SOURCE)
    assert [block.db for block in source.options.blocks] == [1, 3]
    assert (source.options.slot, graph.name, graph.layouts["db3"].size) == (2, "new_press", 100)
    assert graph.warnings == ()
    assert "# DB5 is left out: object does not exist." in file.read_text()
    assert run(f"127.0.0.1:{plc.port}", "-o", file)[0] == 1


def test_tsaps_are_taken_as_they_are(run, plc):
    """Raw ones instead of rack and slot, in the graph too."""
    plc.tsaps = {b"\x03\x01"}
    code, out, _ = run(f"127.0.0.1:{plc.port}", "--tsap", "10.00/03.01", "--graph", "--rate", 1000)
    assert code == 0
    assert "tsap: {local: '10.00', remote: '03.01'}" in out
    code, _, err = run(f"127.0.0.1:{plc.port}", "--tsap", "03.02", "--timeout", "1s")
    assert code == 2
    assert "refused by the PLC" in err or "no free connection" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no such"], "neither a graph file nor an address"),
        (["10.0.0.1:99999"], "neither a graph file nor an address"),
        (["10.0.0.1", "press"], "no sources to choose from"),
        (["10.0.0.1", "--graph", "new.yaml"], "'new.yaml' stands where a source's name does; to write"),
        (["10.0.0.1", "--dbs", "0"], "--dbs"),
        (["10.0.0.1", "--tsap", "0301"], "'0301' is none"),
        (["10.0.0.1", "--tsap", "03.01", "--slot", "2"], "goes without --rack"),
        (["10.0.0.1", "--timeout", "2"], "--timeout"),
        (["10.0.0.1", "--json", "--graph"], "-o"),
        (["LINE"], "press --plc a; press --plc b"),
        (["LINE", "pres"], "did you mean 'press'"),
        (["LINE", "--plc", "c"], "no PLC 'c'"),
        (["LINE", "--slot", "2"], "the graph file has these"),
        (["missing.yaml"], "there is no graph file"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(run, tmp_path, arguments, said):
    """Exit code 1, nothing connected, no stack trace."""
    file = tmp_path / "line.yaml"
    file.write_text(LINE.replace("PORT", "1"))
    code, out, err = run(*(str(file) if argument == "LINE" else argument for argument in arguments))
    assert (code, out) == (1, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1
