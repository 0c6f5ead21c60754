"""Scaling of numbers."""

import math

import pytest

from operators.transforms.scale import Scale, Scaling, scale
from pipeline.frame import Frame
from pipeline.operator import Flow, NodeKind, Scope
from tests.parts.engine import data, origin
from tests.parts.stream import END, mistakes, play, play_twice

PRESS = origin("press", units={"AI_a": "A", "n": "pc", "kept": "mm"})
OPTIONS = Scale(
    fields={"AI_a": Scaling(factor=0.5, offset=-1, unit="bar"), "AI_*": Scaling(factor=2), "n": Scaling(offset=1)}
)


def scaled(options=OPTIONS, **values):
    """One frame's result."""
    ((_, frame),) = play(scale, options, [(0, data(PRESS, **values))])
    return frame


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("AI_a", 10.0, 4.0),
        ("AI_a", 10, 4.0),
        ("AI_b", -3, -6.0),
        ("n", 5, 6.0),
        ("kept", 5, 5),
        ("AI_flag", True, True),
        ("AI_text", "7", "7"),
    ],
)
def test_numbers_are_scaled_and_all_else_stays(name, value, expected):
    """The first pattern that matches counts; the result is a float; booleans, texts and other names stay."""
    result = scaled(**{name: value}).values[name]
    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize("value", [1.7e308, 10**400, math.inf, math.nan])
def test_what_no_float_holds_is_named_bad(value):
    """It is absent, like every value that is not one; the others flow on, and other reasons stay."""
    frame = data(PRESS, AI_x=value, n=1).replace(bad={"z": "refused"})
    ((_, result),) = play(scale, OPTIONS, [(0, frame)])
    assert result.values == {"n": 2.0}
    assert result.bad == {"z": "refused", "AI_x": "out of range after scaling"}
    assert scaled(n=1).bad is None


def test_units_follow_the_values_and_all_frames_of_a_block_have_one_origin():
    """A given unit replaces the raw one; without it a scaled value has none; a heartbeat first changes nothing."""
    frames = [Frame.heartbeat(PRESS, 0), data(PRESS, AI_a=1, n=1), Frame.failure(PRESS, 2, "x"), data(PRESS, AI_a=2)]
    seen = [frame for _, frame in play(scale, OPTIONS, list(enumerate(frames)))]
    assert {id(frame.origin) for frame in seen} == {id(seen[0].origin)}
    assert seen[0].origin.units == {"AI_a": "bar", "kept": "mm"}
    assert [frame.values for frame in seen] == [
        frames[0].values,
        {"AI_a": -0.5, "n": 2.0},
        frames[2].values,
        {"AI_a": 0},
    ]
    assert PRESS.units == {"AI_a": "A", "n": "pc", "kept": "mm"}


def test_ends_pass_and_subscriptions_are_their_own():
    """Completion and error go through; nothing comes after disposal; each subscriber has its own origins."""
    error = ValueError("x")
    assert play(scale, OPTIONS, [(1, END)]) == [(1, END)]
    assert play(scale, OPTIONS, [(1, error)]) == [(1, error)]
    assert play(scale, OPTIONS, [(9, data(PRESS))], until=5) == []
    (first,), (second,) = play_twice(scale, OPTIONS, data(PRESS, AI_a=1))
    assert first.origin is not second.origin
    assert first.origin.units == second.origin.units


def test_the_forecast_warns_of_patterns_that_match_nothing():
    """A misspelt one would leave raw numbers, silently."""
    inflow = Flow(frames=1, size=100, blocks=1, names=frozenset({"AI_a", "n"}))
    options = Scale(fields={"AI_*": Scaling(factor=2), "N": Scaling(factor=2)})
    forecast = scale.forecast(options, Scope(graph="g", node="n"), inflow)
    assert forecast.flow == inflow
    assert [(finding.path, finding.hint) for finding in forecast.warnings] == [(("fields", "N"), "did you mean 'n'?")]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{type: scale, from: press}", "fields: is required and missing"),
        ("{type: scale, from: press, fields: {}}", "fields: must have at least 1 entries, has 0"),
        ("{type: scale, from: press, fields: {AI_*: {factor: 0}}}", "fields.AI_*.factor: must not be 0"),
        ("{type: scale, from: press, fields: {AI_*: {factor: 0,1}}}", "unknown option"),
        (
            "{type: scale, from: press, fields: {AI_*: {scale: 2}}}",
            "fields.AI_*.scale: unknown option; allowed: factor",
        ),
        ("{type: scale, from: press, fields: {AI_*: 2}}", "fields.AI_*: must be a mapping, found a single value"),
    ],
)
def test_bad_options_are_told(node, said):
    """Each mistake names node, option, what was found and what is allowed."""
    problems = mistakes(NodeKind.TRANSFORM, node)
    assert all(problem.startswith("node 'node' (scale): ") for problem in problems)
    assert any(said in problem for problem in problems)


def test_good_options_from_text():
    """What the documentation shows loads without a word."""
    node = "{type: scale, from: press, fields: {AI_*: {factor: 0.1, offset: -5, unit: bar}}}"
    assert mistakes(NodeKind.TRANSFORM, node) == []
