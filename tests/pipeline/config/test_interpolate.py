"""`${…}` is filled in once, from the environment or a default, and never parsed again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.interpolate import SubstitutionError, escape, interpolate

ENVIRON = {"A": "1", "B": "${A}", "EMPTY": "", "BRACE": "x}y"}


@pytest.mark.parametrize(
    ("text", "result", "missing"),
    [
        ("no variables, $A {A} $$", "no variables, $A {A} $$", ()),
        ("${A}-${A}", "1-1", ()),
        ("${B}", "${A}", ()),
        ("${BRACE}", "x}y", ()),
        ("${NO}", "", ("NO",)),
        ("${NO} ${EMPTY}", " ", ("NO", "EMPTY")),
        ("${EMPTY:-d}", "d", ()),
        ("${NO:-}", "", ()),
        ("${A:-${NO}}", "1", ()),
        ("${NO:-${EMPTY}}", "", ("EMPTY",)),
        ("${NO:-plc/{tenant_id}/{plc_id}}/x", "plc/{tenant_id}/{plc_id}/x", ()),
        ("${NO:-a:-b}", "a:-b", ()),
        ("${NO:-${EMPTY:-${A}}}", "1", ()),
        ("$${A} ${A}", "${A} 1", ()),
        ("${NO:-$${A}}", "${A}", ()),
        ("$$${A}", "$${A}", ()),
    ],
)
def test_substitution(text, result, missing):
    """Values, defaults with braces and variables of their own, and the literal form."""
    found = interpolate(text, ENVIRON)
    assert (found.text, found.missing) == (result, missing)


@pytest.mark.parametrize(
    ("text", "given_by"), [("${A}", True), ("${NO:-x}", False), ("${NO:-${A}}", True), ("a", False)]
)
def test_what_the_environment_gave(text, given_by):
    """A default is not from the environment, unless a variable within it is."""
    assert interpolate(text, ENVIRON).from_environment is given_by


@pytest.mark.parametrize("text", ["${", "${}", "${1}", "${A", "${A-b}", "${A:b}", "${NO:-${}}", "${ A }", "${á}"])
def test_what_is_no_substitution(text):
    """It is refused, with how to write it."""
    with pytest.raises(SubstitutionError, match=r"write \$\{NAME\} or \$\{NAME:-default\}"):
        interpolate(text, ENVIRON)


def test_a_secret_in_a_default_is_not_shown():
    """The message holds nothing from behind the colon."""
    with pytest.raises(SubstitutionError) as caught:
        interpolate("${A B:-hunter2}", ENVIRON)
    assert "hunter2" not in str(caught.value)


def test_endless_nesting_is_refused():
    """Defaults nest a few times, not for ever."""
    with pytest.raises(SubstitutionError):
        interpolate("${NO:-" * 500 + "}" * 500, {})


@given(st.text())
def test_an_escaped_text_comes_back(text):
    """Whatever it holds."""
    assert interpolate(escape(text), ENVIRON).text == text


@given(st.text(min_size=1))
def test_a_value_is_put_in_as_it_is(value):
    """No value is looked at again."""
    assert interpolate("<${X}>", {"X": value}).text == f"<{value}>"


@given(st.text(alphabet=st.sampled_from("${}:-AB"), max_size=40))
def test_any_text_gives_a_result_or_a_refusal(text):
    """Nothing else comes out."""
    try:
        found = interpolate(text, ENVIRON)
    except SubstitutionError:
        return
    assert found.found or "${" not in text.replace("$${", "_")
