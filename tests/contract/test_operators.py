"""What holds for every operator that the engine finds, and for every shipped graph: nobody keeps a list of them."""

import ast
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from ruamel.yaml import YAML

from pipeline.cli import shipped_graphs
from pipeline.commands.test import run_job
from pipeline.config import load
from pipeline.operator import NodeKind, Operator, Options, find, names
from pipeline.reference import example
from pipeline.testing.cast import check_job
from pipeline.testing.load import load_jobs
from tests.parts.engine import PLANT

ROOT = Path(__file__).parents[2]
OPERATORS = [(kind, name) for kind in NodeKind for name in names(kind)]
CONFIGS = list(shipped_graphs().values())

each_operator = pytest.mark.parametrize(("kind", "name"), OPERATORS, ids=[f"{kind}/{name}" for kind, name in OPERATORS])
each_config = pytest.mark.parametrize("path", CONFIGS, ids=[path.name for path in CONFIGS])


def option_classes(found: type[Options]) -> Iterator[type[msgspec.Struct]]:
    """The class of an operator's options, and those nested in it."""
    seen: set[type] = set()
    waiting: list[object] = [found]
    while waiting:
        current = waiting.pop()
        waiting.extend(typing.get_args(current))
        if isinstance(current, type) and issubclass(current, msgspec.Struct) and current not in seen:
            seen.add(current)
            yield current
            waiting.extend(typing.get_type_hints(current, include_extras=True).values())


def descriptions(annotation: object) -> list[str]:
    """The descriptions that a field's annotation carries."""
    metas = [meta for meta in typing.get_args(annotation) if isinstance(meta, msgspec.Meta)]
    return [meta.description for meta in metas if meta.description]


def test_all_four_kinds_are_found():
    """Discovery works: an empty list would make every test here pass."""
    assert {kind for kind, _ in OPERATORS} == set(NodeKind)
    assert {"demo.yaml", "line1.yaml", "db500.yaml"} <= {path.name for path in CONFIGS}


@each_operator
def test_an_operator_is_named_after_its_file_and_has_a_mirrored_test(kind, name):
    """`operators/<kind>/<type>.py` registers `<type>` of that kind, and `tests/operators/…` tests it."""
    operator = find(kind, name)
    assert isinstance(operator, Operator)
    assert (operator.kind, operator.name) == (kind, name)
    assert (ROOT / "operators" / kind / f"{name}.py").is_file()
    assert (ROOT / "tests" / "operators" / kind / f"test_{name}.py").is_file()


@each_operator
def test_an_operator_tells_what_its_user_must_know(kind, name):
    """Its docstring says what it does, then ordering, delivery, memory and what a disconnect does."""
    text = find(kind, name).doc
    first, blank, *_ = text.splitlines()
    assert first.endswith(".")
    assert not blank
    assert [word for word in ("ordering", "delivery", "memory", "disconnect") if word not in text.lower()] == []


@each_operator
def test_options_are_frozen_strict_and_described(kind, name):
    """Nobody changes them, an unknown one is an error, and each field has a description for schema and help."""
    for options in option_classes(find(kind, name).options):
        config = options.__struct_config__
        assert (config.frozen, config.forbid_unknown_fields) == (True, True), options
        assert issubclass(options, Options), options
        hints = typing.get_type_hints(options, include_extras=True)
        assert [field for field, hint in hints.items() if not descriptions(hint)] == [], options


@each_operator
def test_operators_import_the_engine_and_libraries_but_never_each_other(kind, name):
    """What two operators share belongs into the engine."""
    tree = ast.parse((ROOT / "operators" / kind / f"{name}.py").read_text(encoding="utf-8"))
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    imported += [node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [module for module in imported if module.split(".")[0] in {"operators", ""}] == []


def test_the_engine_names_no_operator():
    """`pipeline/` works with whatever it finds: it imports no operator."""
    for path in (ROOT / "pipeline").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert [module for module in modules if module.startswith("operators.")] == [], path


def test_every_operator_has_a_place_in_a_shipped_graph_or_an_example_of_its_own():
    """A newcomer finds it in use, in `configs/` or in its docstring; its page takes its example from there."""
    assert [(kind, name) for kind, name in OPERATORS if not example(find(kind, name), CONFIGS)] == []


@each_config
def test_every_shipped_graph_is_right(path):
    """It loads without a warning, its nodes are reached, and it is named after its file."""
    graph = load(path, PLANT)
    assert graph.name == path.stem
    assert [str(warning) for warning in graph.warnings] == []
    for source in graph.of(NodeKind.SOURCE):
        assert {node.name for node in graph.of(NodeKind.SINK)} & graph.downstream(source.name)


@each_config
def test_every_shipped_graph_that_publishes_to_the_platform_keeps_what_nobody_stores(path):
    """And goes to the common topic of those without a name only as long as a plant allows it."""
    sinks = YAML(typ="safe").load(path).get("sinks", {})
    for sink in sinks.values():
        if sink["type"] == "mqtt" and sink["host"] == "${MQTT_BROKER}":
            assert sink.get("require_subscriber") is True
            assert sink.get("fallback") == "${MQTT_FALLBACK:-allow}"


@each_config
def test_every_shipped_graph_has_tests_that_pass(path):
    """`NAME.test.yaml` stands beside it."""
    jobs = load_jobs(path.with_suffix(".test.yaml"), check_job)
    assert [result.text for result in map(run_job, jobs) if result.failures] == []


@each_config
def test_every_shipped_graph_is_listed_in_their_readme(path):
    """`configs/README.md` says what each is."""
    assert f"`{path.name}`" in (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
