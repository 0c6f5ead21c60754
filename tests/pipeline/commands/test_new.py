"""`new` as its user meets it: what it writes is right, and nothing is written over."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from pipeline.config import load
from pipeline.operator import NodeKind
from tests.parts.line import ROOT

KINDS = [kind.value.removesuffix("s") for kind in NodeKind]
FIELDS = "# of the press\nligada: BOOL @ 0.2\ncorrente: {type: REAL, at: 2, unit: A}   # of the motor\n"


def python(folder, *arguments):
    """What a Python in this folder says, with its exit code."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_a_new_operator_of_each_kind_passes_its_tests_and_the_contract(tmp_path):
    """In a copy of the project: what is generated keeps every rule that the shipped operators keep."""
    for folder in ("pipeline", "operators", "tests", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "recordings"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for kind in KINDS:
        code, said = python(tmp_path, "pipeline", "new", "operator", kind, f"my_own_{kind}")
        assert code == 0, said
        for made in ("operators/README.md", "configs/graph.schema.json", "pipeline/ERRORS.md"):
            assert f"{made} knows it now" in said
    tests = [f"tests/operators/{kind}s/test_my_own_{kind}.py" for kind in KINDS]
    contract = [
        "tests/contract/test_operators.py",
        "tests/contract/test_reference.py",
        "tests/contract/test_schema.py",
        "tests/contract/test_inventory.py",
        "-k",
        "my_own or place or committed or shipped_schema or every_option or means",
    ]
    code, said = python(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", *tests, *contract)
    assert code == 0, said
    assert "skipped" not in said
    code, said = python(tmp_path, "pipeline", "operators", "my_own_sink")
    assert (code, "Appends frames" in said) == (0, True), said


def test_outside_of_the_project_it_becomes_a_package_that_registers_it(tmp_path, run, monkeypatch):
    """Once installed it is found by its type, and its tests pass; a second operator joins the package."""
    monkeypatch.chdir(tmp_path)
    code, _, err = run("new", "operator", "sink", "own_sink")
    assert code == 0, err
    package = tmp_path / "own_sink"
    names = ["README.md", "own_sink.py", "pyproject.toml", "test_own_sink.py"]
    assert sorted(path.name for path in package.iterdir()) == names
    assert "The sink `own_sink`" in (package / "README.md").read_text()
    code, _, err = run("new", "operator", "source", "own_source", "--dir", package)
    assert (code, '"sources.own_source" = "own_source:own_source"' in err) == (0, True)
    # What an installer makes of pyproject.toml.
    info = package / "pipeline_own_sink-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pipeline-own-sink\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(
        "[pipeline.operators]\nsinks.own_sink = own_sink:own_sink\nsources.own_source = own_source:own_source\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{package}{os.pathsep}{ROOT}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["operator", "sink", "My-Sink"], "'My-Sink' can't be a type: write a small letter"),
        (["operator", "sink", "class"], "'class' can't be a type: it is a word of Python itself; choose another"),
        *(
            (["operator", "sink", name], f"'{name}' can't be a type: pytest would take its module for tests")
            for name in ("test_x", "x_test")
        ),
        (["operator", "sink", "a" * 80], "a type of 80 characters is too long: 41 at most"),
        *(
            (["operator", "sink", name], f"Python has a module '{name}' already, and one of them would not be found")
            for name in ("json", "asyncio", "pipeline", "operators", "msgspec")
        ),
        (["operator", "sink", "options"], "'Options' means something else in its module; choose another name"),
        (["operator", "source", "str"], "'str' means something else in its module; choose another name"),
        (["operator", "sink", "frames"], "'frames' means something else in its module; choose another name"),
        (["operator", "sink", "mqtt"], "there is a sink 'mqtt' already"),
        (["operator", "zink", "mine"], "'zink' is not one of"),
        (["operator", "sink", "there"], "there.py' is there already; choose another name"),
        (["graph", "--plc", "10.0.0.1", "--db", "1"], "how long is the block? --size 14, or --layout FILE"),
        (["graph", "--plc", "a b", "--db", "1", "--size", "4"], "'a b' is neither a graph file nor an address"),
        (["graph", "--plc", "10.0.0.1", "--db", "1", "--layout", "none"], "'none' can't be read: No such file"),
        (["graph", "--plc", "10.0.0.1", "--db", "1", "--layout", "bad"], "these layouts make no graph:\nnew.yaml:"),
        (
            ["graph", "--plc", "10.0.0.1", "--db", "1", "--layout", "all:pres"],
            "'all' has no layout 'pres'; it has press",
        ),
        (["graph", "--plc", "10.0.0.1", "--db", "1", "--size", "4", "-o", "all"], "'all' is there already"),
    ],
)
def test_mistakes_are_told(arguments, said, tmp_path, run, monkeypatch):
    """What, where, what to do; nothing is written over."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "there.py").write_text("mine")
    (tmp_path / "bad").write_text("ligada: BOLL @ 0.2\n")
    (tmp_path / "all").write_text("layouts:\n  press: {fields: {on: BOOL @ 0.0}}\n")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run("new", *arguments)
    assert (code, out) == (1, "")
    assert said in err
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there" / "there.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--db", "1", "--db", "7", "--size", "14"], {1: 14, 7: 14}),
        (["--db", "1", "--layout", "fields"], {1: 6}),
        (["--db", "500", "--layout", str(ROOT / "configs" / "db500.yaml")], {500: 330}),
        (["--db", "5", "--slot", "2", "--layout", f"{ROOT / 'configs' / 'db500.yaml'}:maquina"], {5: 66}),
    ],
)
def test_a_new_graph_is_one_that_check_accepts(arguments, names, tmp_path, run, monkeypatch):
    """Blocks of bytes, of fields, of layouts that nest; comments stay; to a file or to standard output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fields").write_text(FIELDS)
    code, _, err = run("new", "graph", "--plc", "10.0.0.1:1102", *arguments, "-o", "press.yaml")
    assert code == 0, err
    assert run("check", "press.yaml")[0] == 0
    graph = load(tmp_path / "press.yaml", {})
    source = graph.nodes["plc"].options
    assert (source.address, source.port) == ("10.0.0.1", 1102)
    assert {block.db: graph.layouts[block.layout].size for block in source.blocks} == names
    text = (tmp_path / "press.yaml").read_text()
    assert len(re.findall(r"^ *#", text, re.MULTILINE)) >= 5
    assert ("# of the motor" in text) is ("fields" in arguments)
    first, _, text = text.partition("\n")
    assert first == f"# yaml-language-server: $schema={ROOT / 'configs' / 'graph.schema.json'}"
    assert run("new", "graph", "--plc", "10.0.0.1:1102", *arguments)[1] == text.replace(
        "name: press", "name: new"
    ).replace("data/press/", "data/new/")


def test_what_comes_next_can_be_pasted_whatever_the_file_is_called(tmp_path, run, monkeypatch):
    """Names with blanks are quoted; a graph's name has its letters without marks."""
    monkeypatch.chdir(tmp_path)
    code, _, err = run("new", "graph", "--plc", "10.0.0.1", "--db", "1", "--size", "4", "-o", "prensa nº 1 São.yaml")
    assert code == 0
    assert "next: pipeline check 'prensa nº 1 São.yaml'" in err
    assert "\nname: prensa_no_1_Sao" in (tmp_path / "prensa nº 1 São.yaml").read_text(encoding="utf-8")
    code, _, err = run("new", "operator", "sink", "my_own_sink", "--dir", "a b")
    assert (code, "next: pip install -e 'a b'; python -m pytest 'a b/test_my_own_sink.py'" in err) == (0, True)
