"""Expressions over frames: what people write, what is no expression, what must never be done."""

import pytest

from pipeline.expression import Expression, names_of
from pipeline.frame import Frame
from tests.parts.engine import data, origin

PRESS = origin(tags={"area": "linha1"})
FRAME = data(PRESS, AI_Corrente=5.5, contador_bom=7, maquina_ligada=True, texto="ok", **{"two words": 2})


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("AI_Corrente > 5", True),
        ("AI_Corrente > 5.5", False),
        ("5 < AI_Corrente <= 5.5 and maquina_ligada", True),
        ("not maquina_ligada or contador_bom % 2 == 1", True),
        ("texto == 'ok' and area == 'linha1'", True),
        ("plc_id in ('press1', 'press2') and db == 1 and kind == 'data'", True),
        ("values['two words'] == 2", True),
        ("abs(min(contador_bom, -8)) == 8", True),
        ("  round(AI_Corrente) ", True),
        ("missing > 5", False),
        ("texto > 5", False),
        ("contador_bom / 0 > 1", False),
        ("'missing' in values", False),
        ("texto[0:1] == 'o' and round(AI_Corrente * 2 ** 3, 1) == 44", True),
        ("f'{area}/{plc_id}' == 'linha1/press1' and maquina_ligada is True", True),
    ],
)
def test_a_frame_matches_or_not(text, matches):
    """What can't be evaluated doesn't match: a heartbeat has no current."""
    assert Expression(text).matches(FRAME) is matches


def test_a_failure_can_be_looked_for():
    """By kind and reason."""
    failure = Frame.failure(PRESS, 1.0, "timeout")
    assert Expression("kind == 'failure' and error == 'timeout'").matches(failure)
    assert not Expression("AI_Corrente > 5").matches(failure)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no expression"),
        ("AI_Corrente >", "is no expression: invalid syntax"),
        ("a = 1", "is no expression"),
        ("a; b", "is no expression"),
        ("import os", "is no expression"),
        ("open('x')", r"there is no function open\(\); there are abs, "),
        ("-" * 9000 + "1", "is nested too deeply"),
        ("().__class__", "there are no attributes and methods in expressions"),
        ("AI_Corrente.real > 1", "there are no attributes"),
        ("texto.upper()", "there are no attributes|only functions can be called"),
        ("lambda: 1", "there are no functions of your own"),
        ("(lambda: 1)()", "only functions can be called|functions of your own"),
        ("[x for x in (1,)]", "there are no loops"),
        ("AI_Corrente in {n for n in values}", "there are no loops"),
        ("AI_Corrente @ 2", "there are no MatMult"),
        ("9**9**9**9", "^'9"),
        ("maquina_ligada and AI_Corrente > 1 / 0", "division by zero"),
        ("(1, 2)", "gives neither number, text nor boolean"),
    ],
)
def test_what_is_no_expression_is_told_before_any_frame(text, words):
    """With what is wrong."""
    with pytest.raises(ValueError, match=words):
        Expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "().__class__",
        "values.items()",
        "texto.upper()",
        "abs.__self__",
        "9 ** 9 ** 9",
        "'a' * 10 ** 9",
        "1 << 10 ** 9",
        "[n for n in values]",
        "(lambda: 1)()",
        "values",
        "texto[9]",
        "[1, 2][AI_Corrente and 5]",
    ],
)
def test_nothing_but_values_can_be_reached_and_nothing_grows(text):
    """No attributes, no loops, no powers that fill the memory; a value is a number, a text or a boolean."""
    with pytest.raises(ValueError, match=r"^'"):
        Expression(text).evaluate(names_of(FRAME))


def test_names_are_known_before_any_frame():
    """So that a name that nobody has can be told; functions are none."""
    assert Expression("abs(AI_Corrente) > limit and values['x']").names == {"AI_Corrente", "limit", "values"}
