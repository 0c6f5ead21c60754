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
        (
            "'energia|kWh' > 5",
            r"a text and a number don't go together; the value of that name is values\[\"energia\|kWh\"\]",
        ),
        ("(1, 2)", "gives neither number, text nor boolean"),
        ("'%1000000000d' % 5", "% is the remainder of two numbers"),
        ("'%d' % contador_bom", "% is the remainder of two numbers"),
        ("f'{5:900000000d}'", "a format is written out, with fewer than 100 places"),
        ("f'{contador_bom:{texto}}'", "a format is written out"),
        ("round(1, -999999999)", "nothing is rounded to more than 400 digits"),
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("text % 2", "a text is no number"),
        ("text ** text", "a text is no number"),
        ("n ** n", "an integer of more than 1024 bits"),
        ("-n ** 99", "an integer of more than 1024 bits"),
        ("n << n", "an integer of more than 1024 bits"),
        ("n * big", "an integer of more than 1024 bits"),
        ("long * n", "a text of more than 100000 characters"),
        ("long + long", "a text of more than 100000 characters"),
        ("((1, 2) * n) * n == 0", "tuple is no number"),
        ("round(n, -n)", "nothing is rounded to more than 400 digits"),
        ("round(big)", "an integer of more than 1024 bits"),
        ("[n] + [n]", "list is no number"),
    ],
)
def test_nothing_that_a_frame_brings_takes_long_or_much(text, words):
    """Texts that are formats, numbers that make others of millions of digits: no value, and the reason."""
    names = {"text": "%900000000d", "n": 1_999_999, "big": 1 << 5000, "long": "x" * 90_000}
    with pytest.raises(ValueError, match=words):
        Expression(text).evaluate(names)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n % 2", 1),
        ("x % 1", 0.5),
        ("-7 // 2", -4),
        ("2 ** 10", 1024),
        ("2 ** -1", 0.5),
        ("(-1) ** n", -1),
        ("n ** 0.5 > 1414", True),
        ("1 << 4 >> 2", 4),
        ("'ab' * 2 + 'c'", "ababc"),
        ("f'{x:.2f}'", "5.50"),
        ("round(x * 3, 1)", 16.5),
        ("True + True", 2),
        ("'a' in values | tags", True),
    ],
)
def test_arithmetic_is_pythons(text, value):
    """Within the bounds."""
    assert Expression(text).evaluate({"n": 1_999_999, "x": 5.5, "values": {"a": 1}, "tags": {}}) == value


def test_names_are_known_before_any_frame():
    """So that a name that nobody has can be told; functions are none."""
    assert Expression("abs(AI_Corrente) > limit and values['x']").names == {"AI_Corrente", "limit", "values"}
