"""What editors and newcomers find of test files: their schema, and that the shipped ones agree with it."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from pipeline.cli import shipped_graphs
from pipeline.config.schema import schema_of, schema_text
from pipeline.testing.options import Suite

FILE = Path("configs/test.schema.json")
FIRST = f"# yaml-language-server: $schema={FILE.name}"
SUITES = [path.with_suffix(".test.yaml") for path in shipped_graphs().values()]
CASE = "cases: {a: {given: [{at: 1s, values: {n: 1}}], expect: {frames: [{node: press, at: 1s}]}}}"


def mistakes(text):
    """Where the schema finds something wrong."""
    validator = Draft202012Validator(json.loads(FILE.read_text(encoding="utf-8")))
    return [".".join(map(str, found.absolute_path)) for found in validator.iter_errors(YAML(typ="safe").load(text))]


def test_the_shipped_schema_is_the_one_of_the_options():
    """Options that change need a new file."""
    made = schema_of(Suite, "Tests of a pipeline graph")
    Draft202012Validator.check_schema(made)
    told = "make it anew: python -m pipeline schema --test -o configs/test.schema.json"
    assert FILE.read_text(encoding="utf-8") == schema_text(made), told


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.name)
def test_shipped_test_files_name_the_schema_and_agree_with_it(path):
    """In the first line, where editors look."""
    text = path.read_text(encoding="utf-8")
    assert text.partition("\n")[0] == FIRST
    assert mistakes(text) == []


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ("at: 1s, values", "at: soon, values", "cases.a.given.0.at"),
        ("values: {n: 1}", "fault: gone", "cases.a.given.0.fault"),
        ("node: press", "nod: press", "cases.a.expect.frames.0"),
        ("expect", "expected", "cases.a"),
        ("cases", "case", ""),
    ],
)
def test_an_editor_marks_what_the_command_refuses(right, wrong, place):
    """At the same place."""
    assert mistakes(CASE) == []
    assert place in mistakes(CASE.replace(right, wrong, 1))
