"""Calculated values: what they are, of which type, and what is named bad instead."""

import math

import pytest

from operators.transforms.expression import Calculation, expression
from pipeline.frame import Frame
from pipeline.operator import Flow, NodeKind, Scope
from tests.parts.engine import data, origin
from tests.parts.stream import END, mistakes, play, play_twice

PRESS = origin("press", tags={"area": "linha1"}, units={"AI_Corrente": "A"})


def calculated(text, bad=None, **values):
    """What becomes of a frame with one more value, `r`."""
    ((_, frame),) = play(expression, Calculation(set={"r": text}), [(0, data(PRESS, **values).replace(bad=bad))])
    return frame


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("AI_Corrente * 380 * 1.732", {"AI_Corrente": 10.0}, 6581.6),
        ("n + 1", {"n": 5}, 6.0),
        ("round(t, 1)", {"t": 30.26}, 30.3),
        ("round(t)", {"t": 30.26}, 30.0),
        ("abs(min(a, b)) + max(a, b)", {"a": -2, "b": 1}, 3.0),
        ("good / (good + bad_parts) * 100", {"good": 98, "bad_parts": 2}, 98.0),
        ("t > 30 and ligada", {"t": 31, "ligada": True}, True),
        ("'quente' if t > 30 else 'fria'", {"t": 31}, "quente"),
        ("n if ligada else 0", {"n": 7, "ligada": False}, 0.0),
        ("values['a b'] * 2", {"a b": 2}, 4.0),
        ("area + '/' + plc_id", {}, "linha1/press"),
        ("ligada + 0", {"ligada": True}, 1.0),
    ],
)
def test_results_stand_beside_the_values_and_numbers_are_floats(text, values, expected):
    """The others stay, and so does the frame's time; a comparison is a boolean."""
    frame = calculated(text, **values)
    result = frame.values["r"]
    assert type(result) is type(expected)
    assert result == pytest.approx(expected) if isinstance(expected, float) else result == expected
    assert {name: value for name, value in frame.values.items() if name != "r"} == values
    assert (frame.bad, frame.origin) == (None, PRESS)


@pytest.mark.parametrize(
    ("text", "values", "bad", "reason"),
    [
        ("a * b", {"a": 1}, None, "b is missing"),
        ("a * b", {}, {"a": "address out of range"}, "a: address out of range; b is missing"),
        ("a / b", {"a": 1, "b": 0}, None, "'a / b': division by zero"),
        ("a + b", {"a": 1, "b": "x"}, None, "'a + b': a text is no number"),
        ("a * 1e308", {"a": 1e10}, None, "'a * 1e308': gives no finite number"),
        ("a * 10", {"a": 10**400}, None, "'a * 10': an integer of more than 1024 bits"),
        ("a", {"a": 10**400}, None, "'a': gives no finite number"),
        ("a + 1", {"a": math.nan}, None, "'a + 1': gives no finite number"),
        ("a ** 9 ** 9", {"a": 9}, None, "'a ** 9 ** 9': "),
        ("values", {}, None, "'values': gives neither number, text nor boolean"),
        ("r + 1", {"r": 1}, None, None),
    ],
)
def test_what_has_no_result_is_absent_and_named_with_the_reason(text, values, bad, reason):
    """Never silent; what was bad before is still named."""
    frame = calculated(text, bad, **values)
    if reason is None:
        assert (frame.values, frame.bad) == ({"r": 2.0}, None)
        return
    assert "r" not in frame.values
    assert frame.bad["r"].startswith(reason)
    assert {name: why for name, why in frame.bad.items() if name != "r"} == (bad or {})


def test_later_expressions_use_earlier_results_and_may_replace_values():
    """In the order of the file; where one has failed, the later one says so, and what it would replace is gone."""
    options = Calculation(set={"kw": "AI_Corrente * 0.66", "n": "kw + n"}, units={"kw": "kW"})
    script = [(0, data(PRESS, AI_Corrente=10, n=1)), (1, data(PRESS, n=1))]
    first, second = [frame for _, frame in play(expression, options, script)]
    assert first.values == {"AI_Corrente": 10, "kw": pytest.approx(6.6), "n": pytest.approx(7.6)}
    assert (second.values, second.bad) == ({}, {"kw": "AI_Corrente is missing", "n": "kw: AI_Corrente is missing"})
    assert first.origin is second.origin
    assert first.origin.units == {"AI_Corrente": "A", "kw": "kW"}


def test_a_result_heals_what_was_bad_under_its_name():
    """A value that the source could not give is replaced by a calculated one."""
    frame = calculated("a + 1", {"r": "refused"}, a=1)
    assert (frame.values, frame.bad) == ({"a": 1, "r": 2.0}, None)


@pytest.mark.parametrize("units", [{}, {"r": "W"}])
def test_heartbeats_and_failures_pass(units):
    """With the origin of their block's data; they are not calculated."""
    frames = [Frame.heartbeat(PRESS, 1), Frame.failure(PRESS, 2, "x"), data(PRESS, a=1)]
    seen = [frame for _, frame in play(expression, Calculation(set={"r": "a"}, units=units), list(enumerate(frames)))]
    assert {id(frame.origin) for frame in seen} == {id(seen[0].origin)}
    assert [(frame.kind, frame.values, frame.error) for frame in seen[:2]] == [
        (frame.kind, frame.values, frame.error) for frame in frames[:2]
    ]
    assert (seen[0] is frames[0]) is not units


def test_ends_pass_and_subscriptions_are_their_own():
    """Completion and error go through; nothing comes after disposal; nothing is remembered but origins."""
    options = Calculation(set={"r": "n"}, units={"r": "W"})
    error = ValueError("x")
    assert play(expression, options, [(1, END)]) == [(1, END)]
    assert play(expression, options, [(1, error)]) == [(1, error)]
    assert play(expression, options, [(9, data(PRESS, n=1))], until=5) == []
    (first,), (second,) = play_twice(expression, options, data(PRESS, n=1))
    assert first.values == second.values
    assert first.origin is not second.origin


def test_the_forecast_knows_the_results_and_warns_of_misspelt_names():
    """A tag may be called anything, so only what looks like a value's name is told."""
    inflow = Flow(frames=1, size=100, blocks=1, names=frozenset({"AI_Corrente"}))
    options = Calculation(set={"kw": "AI_Corente * 2", "b": "kw + area + ts"})
    forecast = expression.forecast(options, Scope(graph="g", node="n"), inflow)
    assert forecast.flow.names == {"AI_Corrente", "kw", "b"}
    assert [(each.path, each.hint) for each in forecast.warnings] == [(("set", "kw"), "did you mean 'AI_Corrente'?")]
    unknown = expression.forecast(options, Scope(graph="g", node="n"), Flow(frames=1, size=9))
    assert (unknown.flow.names, unknown.warnings) == (frozenset(), ())


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{type: expression, from: press}", "set: is required and missing"),
        ("{type: expression, from: press, set: {}}", "set: must have at least 1 entries"),
        ("{type: expression, from: press, set: {a: '1 +'}}", "set.a: '1 +' is no expression: invalid syntax"),
        ("{type: expression, from: press, set: {a: 'sqrt(2)'}}", "set.a: 'sqrt(2)': there is no function sqrt()"),
        ("{type: expression, from: press, set: {seq: '1'}}", "set.seq: 'seq' is reserved"),
        ("{type: expression, from: press, set: {a: '1'}, units: {b: W}}", "units.b: is no result; there are a"),
    ],
)
def test_bad_options_are_told(node, said):
    """Each mistake names node, option, what was found and what is allowed."""
    (problem,) = mistakes(NodeKind.TRANSFORM, node)
    assert problem.startswith("node 'node' (expression): ")
    assert said in problem


def test_good_options_from_text():
    """What the documentation shows loads without a word."""
    node = '{type: expression, from: press, set: {potencia: "AI_Corrente * 380 * 1.732"}, units: {potencia: W}}'
    assert mistakes(NodeKind.TRANSFORM, node) == []
