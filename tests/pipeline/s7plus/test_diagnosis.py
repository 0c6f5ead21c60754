"""What `doctor` finds in a program: every block and PLC tag that the graph names, however it names it."""

import json
from importlib.util import find_spec

import pytest

from pipeline.cli import main
from tests.parts.needs import IN_CI

if find_spec("s7commplus") is None and not IN_CI:
    pytest.skip("no s7commplus; to have it: pip install '.[s7plus]'", allow_module_level=True)

from tests.parts.s7plus_plc import SymbolPlc

GRAPH = """
name: line
sources:
  plc:
    type: s7plus
    address: 127.0.0.1
    port: {port}
    every: 1s
    blocks: [{{symbol: DB_Press}}, {{symbol: DB_Gone}}]
    tags: {{start: Start, stop: Stop, x: DB_Lost.x}}
sinks:
  screen: {{type: stdout, from: plc}}
"""


def test_whole_blocks_and_plc_tags_are_looked_up(port, tmp_path, capsys):
    """What is there, by its number; what is missing, also where the graph reads all of a block or a lone tag."""
    plc = SymbolPlc({"DB_Press": (7, {"temperatura": "REAL"})})
    plc.tags = {"Start": "BOOL"}
    plc.download(plc.program)
    plc.start("127.0.0.1", port)
    path = tmp_path / "line.yaml"
    path.write_text(GRAPH.format(port=port), encoding="utf-8")
    try:
        with pytest.raises(SystemExit) as end:
            main(["doctor", str(path), "--json"])
    finally:
        plc.stop()
    found = [(each["mark"], each["found"]) for each in json.loads(capsys.readouterr().out) if each["what"] == "block"]
    assert end.value.code == 1
    assert found == [
        ("good", "DB_Press is DB7"),
        *(("problem", f"the program has no {name}") for name in ("DB_Gone", "Stop", "DB_Lost")),
    ]
