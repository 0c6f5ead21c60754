"""The JSON Schema that editors use agrees with what the loader takes, on every shipped graph and on wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from pipeline.cli import shipped_graphs
from pipeline.config import load_text
from pipeline.config.schema import schema, schema_text
from pipeline.errors import ConfigurationError

FILE = Path("configs/graph.schema.json")
FIRST = f"# yaml-language-server: $schema={FILE.name}"
GRAPHS = sorted(shipped_graphs().values())
GOOD = """
name: line
x-anchors: {anything: [goes]}
layouts:
  press: {size: "${SIZE:-8}", fields: {a: INT @ 0, b: "BOOL @ 2.1", c: {type: "REAL", at: 4, unit: A, scale: 0.1}}}
sources:
  press:
    type: s7
    address: "${PLC:-10.0.0.1}"
    port: "${PORT:-102}"
    every: "${EVERY:-1s}"
    blocks: [{db: 1, layout: press, every: 1m30s}]
    tags: {t: "DB2.DBD4:REAL", m: M10.3, n: {address: "iw4:INT", unit: K}}
  named: {type: "${KIND:-s7}", address: 10.0.0.2, every: 1s, blocks: [{db: 1, layout: press}]}
transforms:
  frames: {type: heartbeat, from: [press, named], every: 30s}
sinks:
  out: {type: stdout, from: frames, enabled: "${OUT:-true}"}
  kept: {type: file, from: frames, folder: frames, max_size: 64mib, every: 0}
"""
WRONG = [
    ("name: line", "name: a b", "name"),
    ("name: line", "nam: line", ""),
    ("name: line", "name: line\nhttp: {listen: 9108}", "http.listen"),
    ("INT @ 0", "INT 0", "layouts.press.fields.a"),
    ("at: 4,", "at: four,", "layouts.press.fields.c.at"),
    ("at: 4,", "", "layouts.press.fields.c"),
    ("scale: 0.1", "scale: ten", "layouts.press.fields.c.scale"),
    ('"${SIZE:-8}"', "0", "layouts.press.size"),
    ('"${PORT:-102}"', "70000", "sources.press.port"),
    ('"${EVERY:-1s}"', "1 parsec", "sources.press.every"),
    ('"${EVERY:-1s}"', "1", "sources.press.every"),
    ('"${EVERY:-1s}"', "0", "sources.press.every"),
    ("64mib", "64 mb 1 kb", "sinks.kept.max_size"),
    ("64mib", "0", "sinks.kept.max_size"),
    ("1m30s", "1m30", "sources.press.blocks.0.every"),
    ("{db: 1, layout: press, every", "{db: 1, layuot: press, every", "sources.press.blocks.0"),
    ("[{db: 1, layout: press, every: 1m30s}]", "{db: 1, layout: press}", "sources.press.blocks"),
    ('"DB2.DBD4:REAL"', '"DB2 REAL 4"', "sources.press.tags.t"),
    ('"iw4:INT"', "XW4", "sources.press.tags.n.address"),
    ("type: s7\n", "type: s8\n", "sources.press.type"),
    ("    type: s7\n", "", "sources.press"),
    ("from: [press, named], ", "", "transforms.frames"),
    ("from: [press, named]", "from: []", "transforms.frames.from"),
    ("type: stdout", "type: mqtt", "sinks.out"),
    ("type: stdout", "type: stdout, format: xml", "sinks.out.format"),
    ('"${OUT:-true}"', "maybe", "sinks.out.enabled"),
    ("sinks:\n", "sink:\n", ""),
]


def mistakes(text: str) -> list[str]:
    """Where the schema finds something wrong."""
    document = YAML(typ="safe", pure=True).load(text)
    found = list(Draft202012Validator(schema()).iter_errors(document))
    for error in found:  # grows: what is wrong with each of some alternatives
        found += error.context or ()
    return [".".join(str(step) for step in error.absolute_path) for error in found]


def test_the_shipped_schema_is_the_one_of_the_shipped_operators() -> None:
    """Options that change need a new file."""
    made = schema(shipped=True)
    Draft202012Validator.check_schema(made)
    told = "make it anew: python -m pipeline schema --shipped -o configs/graph.schema.json"
    assert FILE.read_text(encoding="utf-8") == schema_text(made), told


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_shipped_graphs_name_the_schema_and_agree_with_it(path: Path) -> None:
    """In the first line, where editors look."""
    text = path.read_text(encoding="utf-8")
    assert text.partition("\n")[0] == FIRST
    assert mistakes(text) == []


def test_all_ways_of_writing_are_taken() -> None:
    """Variables in every place, short and long forms, anchors."""
    load_text(GOOD, Path("line.yaml"), {})
    assert mistakes(GOOD) == []


@pytest.mark.parametrize(("right", "wrong", "place"), WRONG, ids=lambda text: text.strip())
def test_what_the_loader_refuses_an_editor_marks(right: str, wrong: str, place: str) -> None:
    """At the same place."""
    assert GOOD.count(right) >= 1
    text = GOOD.replace(right, wrong, 1)
    with pytest.raises(ConfigurationError):
        load_text(text, Path("line.yaml"), {})
    assert place in mistakes(text)


def test_every_option_is_explained() -> None:
    """An editor shows something for each key, and offers a value where there is a default."""

    def unexplained(part: object, place: str) -> list[str]:
        found = []
        if isinstance(part, dict):
            for name, option in (part.get("properties") or {}).items():
                if name != "type" and not option.get("description"):
                    found.append(f"{place}/{name}")
            for key, inner in part.items():
                if key not in {"if", "default", "enum"}:
                    found += unexplained(inner, f"{place}/{key}")
        elif isinstance(part, list):
            for inner in part:
                found += unexplained(inner, place)
        return found

    assert unexplained(json.loads(schema_text()), "") == []
