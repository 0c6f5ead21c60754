"""The loader with the operators that are installed: their own mistakes are told with the same places."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import pipeline.operator as contract
from pipeline.cli import shipped_graphs
from pipeline.config import load, load_text
from pipeline.config.predict import forecast
from pipeline.config.schema import describe, schema
from pipeline.errors import UsageError
from pipeline.operator import NodeKind, Scope, find, names
from tests.parts.engine import PLANT

CONFIGS = Path(__file__).parents[3] / "configs"
START = """\
layouts:
  press:
    fields: {on: BOOL @ 0.0}
sources:
  press:
    type: s7
    address: 10.0.0.1
    every: 1s
"""
BLOCKS = "    blocks: [{db: 1, layout: press}]\n"
JOURNALS = {"a": "", "b": ", journal: {max_size: 1GiB}", "c": ", journal: {path: elsewhere}"}
END = f"{BLOCKS}sinks:\n  broker: {{type: mqtt, from: press, host: 127.0.0.1}}\n"


@pytest.fixture
def operators():
    """The installed operators stay."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (START + "    tags: {a: DB1.DBX0.9}\n" + END, "9:15: node 'press' (s7): tags.a: 'DB1.DBX0.9': bit 9"),
        (START + END.replace("layout: press", "layout: pres"), "9:30: node 'press' (s7): blocks[0].layout: unknown"),
        (START + "    evry: 1s\n" + END, "9:5: node 'press' (s7): evry: unknown option; did you mean 'every'?"),
        (START.replace("1s", "1ms") + END, "8:12: node 'press' (s7): every: must be >= 10ms, got 1ms"),
        (
            START + END + "  two: {type: mqtt, from: press, host: b, journal: {path: x}}\n"
            "  three: {type: mqtt, from: press, host: b, journal: {path: x}}\n",
            "13:61: node 'three' (mqtt): journal.path: the journal",
        ),
        (
            START + END.replace("sinks:", "  twin: {type: s7, address: 10.0.0.1, every: 1s, tags: {a: M0.0}}\nsinks:"),
            "10:29: node 'twin' (s7): address: the PLC connection",
        ),
    ],
)
def test_mistakes_that_the_operators_find(problems, text, expected):
    """A bad address, an unknown layout, a period too short, one journal or one PLC for two."""
    assert [line for line in problems(text) if line.startswith(expected)], problems(text)


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        ("mqtt", "host: b"),
        ("http", "url: 'https://b/'"),
        ("influx", "url: 'https://b/', org: o, bucket: b, token: '${TOKEN}'"),
    ],
)
def test_a_journal_whose_folder_is_not_told_has_one_of_its_own(name, rest):
    """Graph and node name it, also where other options of the journal are told."""
    nodes = "".join(f"  {node}: {{type: {name}, from: press, {rest}{journal}}}\n" for node, journal in JOURNALS.items())
    graph = load_text(f"name: line\n{START}{BLOCKS}sinks:\n{nodes}", Path("line.yaml"), {"TOKEN": "t"})
    scopes = {node: Scope(graph="line", node=node) for node in JOURNALS}
    claims = [
        claim
        for node, scope in scopes.items()
        for claim in find(NodeKind.SINK, name).claimed(graph.nodes[node].options, scope)
    ]
    folders = [str(Path(claim.key).relative_to(Path.cwd())) for claim in claims if claim.what == "journal"]
    assert folders == ["data/line/a", "data/line/b", "elsewhere"]


@pytest.mark.parametrize("path", shipped_graphs().values(), ids=lambda path: path.name)
def test_shipped_graphs(path):
    """Each loads without a warning, is foretold node by node, and draws itself."""
    graph = load(path, PLANT)
    assert graph.warnings == ()
    assert [node.name for node, _ in forecast(graph)] == [node.name for node in graph.running()]
    assert all(name in graph.as_text() for name in graph.nodes)


def test_every_option_is_in_the_schema_and_described():
    """What `schema` and `operators NAME` show is complete."""
    definitions = schema()["$defs"]
    json.dumps(definitions)
    for kind in NodeKind:
        for name in names(kind):
            options = find(kind, name).options
            top = [line.partition(" ")[0].rstrip(":") for line in describe(options) if not line.startswith(" ")]
            assert set(top) == set(definitions[f"{kind.value}.{name}"]["properties"]) - {"type", "enabled", "from"}


@pytest.fixture
def install(monkeypatch) -> Iterator[Callable[[str, str], None]]:
    """Have an operator of another package: its entry point's name, and where it is."""

    def put(name: str, place: str) -> None:
        entry = EntryPoint(name, place, "pipeline.operators")
        monkeypatch.setattr(contract, "entry_points", lambda **_: [entry])
        contract._locations.cache_clear()

    yield put
    monkeypatch.undo()
    contract._locations.cache_clear()


def test_an_operator_whose_options_are_unknown_says_what_to_write():
    """To its author, when it is imported."""

    def build(options, context):
        """Without annotations."""

    with pytest.raises(TypeError, match="annotate the first parameter of build"):
        contract.transform(build)


def test_operators_of_other_packages_stay_out_of_what_is_the_projects(install):
    """Who has them installed has them in the schema; the one that is committed doesn't change with them."""
    install("sinks.own_sink", "operators.sinks.stdout:stdout")
    assert "own_sink" in contract.names(NodeKind.SINK)
    assert "sinks.own_sink" in schema()["$defs"]
    assert "sinks.own_sink" not in schema(shipped=True)["$defs"]
    assert "own_sink" not in contract.names(NodeKind.SINK, shipped=True)


@pytest.mark.parametrize(
    ("name", "module", "said"),
    [
        ("sinks.own_sink", "nowhere:own_sink", "the sink 'own_sink' can't be loaded: No module named 'nowhere';"),
        (
            "sinks.own_sink",
            "operators.sinks.stdout:own",
            "module 'operators.sinks.stdout' has no attribute 'own'; inst",
        ),
        ("sink.own_sink", "nowhere:own_sink", "a package has the entry point 'sink.own_sink', which names no section"),
    ],
)
def test_a_package_that_is_broken_is_told_in_words(install, name, module, said):
    """Whoever installed it has no use for a stack trace."""
    install(name, module)
    with pytest.raises(UsageError, match=re.escape(said)):
        find(NodeKind.SINK, "own_sink")
