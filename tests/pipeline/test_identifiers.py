"""What names may be: the list that this project keeps is the one by which the platform's ingest stores frames."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import Severity
from pipeline.identifiers import RESERVED, check_measurement, check_name, check_tag, is_stored
from pipeline.messages import LEFT_OUT
from pipeline.s7.wanted import check_fixed
from tests.parts.line import ROOT

SCRIPT = (ROOT / "infra" / "telegraf" / "telegraf.conf").read_text(encoding="utf-8")
OURS = {"heartbeat", "read_failed"}
"""Stored as values, but a value of that name would be taken for ours."""


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names and the judge of the ingest's script; its language is nearly Python."""
    constants = re.findall(r"^(?:INTERNAL|RESERVED|LONGEST) = .*(?:\n +.*)*", SCRIPT, re.MULTILINE)
    found = re.search(r"^def named\(.*\n(?: .*\n)+", SCRIPT, re.MULTILINE)
    assert found
    judge = found[0].replace('type(text) != "string"', "False").replace("text.elem_ords()", "text.encode()")
    names: dict[str, Any] = {}
    exec("\n".join([*constants, judge.replace("len(text)", "len(text.encode())")]), names)  # noqa: S102 - it is ours
    return names


def test_what_the_ingest_keeps_for_itself_is_reserved(script):
    """All of it, and no more than our own beside it."""
    assert script["RESERVED"] | OURS == RESERVED


def test_a_sensors_reading_is_read_without_the_tags_that_the_ingest_leaves_out(script):
    """So that a verdict stands in the series of its reading."""
    assert script["INTERNAL"] == LEFT_OUT


@pytest.mark.parametrize(
    "name",
    [
        "ok",
        "x_",
        "a b",
        "ç#1",
        "",
        "_x",
        "#1",
        "a\\b",
        "a\nb",
        "\x7f",
        *("é" * n for n in (128, 129)),
        "x" * 256,
        "x" * 257,
    ],
)
def test_a_name_is_stored_where_the_ingest_stores_it(script, name):
    """The same verdict on both sides, and a warning that says what to do where it is no."""
    named: Callable[[str], bool] = script["named"]
    assert is_stored(name) == named(name)
    told = name.isprintable() and name != ""
    for findings in (list(check_name(name, ("at",))), told and list(check_measurement(name, ("at",)))):
        assert bool(findings) == (told and not is_stored(name))
        assert all(each.severity is Severity.WARNING and each.hint and each.path == ("at",) for each in findings or ())


@pytest.mark.parametrize("value", ["", "linha 1", "_#", "x" * 256, "C:\\press", "a\nb", "é" * 129])
def test_a_tag_that_is_not_stored_is_warned_of(script, value):
    """The whole frame would be set aside."""
    escaped = re.search(r"^ESCAPED = (\[.*\])$", SCRIPT, re.MULTILINE)
    assert escaped
    stored = len(value.encode()) <= script["LONGEST"] and not any(sign in value for sign in eval(escaped[1]))  # noqa: S307
    assert [each.severity for each in check_tag(value, ())] == [] if stored else [Severity.WARNING]


def test_fixed_tags_are_judged_by_name_and_value():
    """Of a source, a PLC, a block, and the transform."""
    findings = list(check_fixed({"host": "x", "_hall": "C:\\x", "area": "linha1"}, ("tags",)))
    assert [(each.path[-1], each.severity) for each in findings] == [
        *(("host", Severity.ERROR), ("_hall", Severity.WARNING), ("_hall", Severity.WARNING))
    ]


@pytest.mark.parametrize("name", sorted(RESERVED | {"read failed"}))
def test_a_reserved_name_is_a_mistake(name):
    """Blanks count as underscores."""
    (finding,) = check_name(name, ())
    assert (finding.severity, finding.hint) == (Severity.ERROR, "choose another name")
