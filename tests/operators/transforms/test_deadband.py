"""The deadband: what passes, what is held back, and what a receiver can tell apart."""

import math

import pytest

from operators.transforms.deadband import Band, Deadband, Send, _Gate, deadband
from pipeline.frame import Frame, Kind
from pipeline.operator import Flow, NodeKind, Scope
from pipeline.units import Duration
from tests.parts.engine import data, origin
from tests.parts.stream import END, mistakes, play, play_twice

PRESS, SAW = origin("press"), origin("saw")
BANDS = Deadband(
    fields={
        "contador_*": Band(),
        "AI_*": Band(absolute=0.5),
        "perc": Band(percent=10),
        "both": Band(absolute=2, percent=10),
    }
)


def script(*frames, every=1.0):
    """Frames one after the other."""
    return [(index * every, frame) for index, frame in enumerate(frames)]


def times(options, frames):
    """When something passed."""
    return [when for when, _ in play(deadband, options, frames)]


def passed(name, *values, options=BANDS):
    """Which of these values of one name, a second apart, pass."""
    frames = [data(PRESS, **({} if value is None else {name: value}), z=1) for value in values]
    return [values[int(when)] for when in times(options, script(*frames))]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("AI_Corrente", [10.0, 10.5, 9.5, 10.6, 10.2], [10.0, 10.6]),
        ("AI_Corrente", [10.0, 10.3, 10.6, 10.9, 11.2], [10.0, 10.6, 11.2]),
        ("AI_Corrente", [-0.2, 0.2, 0.4], [-0.2, 0.4]),
        ("AI_Corrente", [5, 5.5, 6], [5, 6]),
        ("perc", [100.0, 110.0, 90.0, 110.1, 120.0], [100.0, 110.1]),
        ("perc", [-100.0, -109.0, -111.0], [-100.0, -111.0]),
        ("perc", [0.0, 0.0, 1e-9], [0.0, 1e-9]),
        ("both", [100.0, 109.0, 111.0], [100.0, 111.0]),
        ("both", [1.0, 2.9, 3.1], [1.0, 3.1]),
        ("contador_bom", [2**53, 2**53 + 1, 2**53 + 1], [2**53, 2**53 + 1]),
        ("other", [1.0, 1.0, math.nextafter(1.0, 2.0)], [1.0, math.nextafter(1.0, 2.0)]),
        ("AI_flag", [False, False, True, True, False], [False, True, False]),
        ("AI_text", ["a", "a", "b", ""], ["a", "b", ""]),
        ("AI_type", [1, True, "1"], [1, True, "1"]),
    ],
)
def test_a_value_passes_when_it_leaves_its_band(name, values, expected):
    """The band lies around what was last passed on; without one, and for booleans and texts, any difference counts."""
    assert passed(name, *values) == expected


def test_slow_drift_passes_step_by_step():
    """Each step is within the band, but the sum is not: what was last passed on counts, not what was last read."""
    assert passed("AI_Corrente", *[n / 8 for n in range(13)]) == [0.0, 0.625, 1.25]


@pytest.mark.parametrize("send", Send)
def test_appearing_and_vanishing_is_a_change(send):
    """Absent, present, absent; the frame that says so is whole."""
    options = Deadband(send=send)
    assert passed("AI_Corrente", 1.0, None, None, 1.0, options=options) == [1.0, None, 1.0]
    frames = script(data(PRESS, a=1, b=1), data(PRESS, a=1))
    assert play(deadband, options, frames)[1][1].values == {"a": 1}


def test_nan_and_infinity_are_values_of_their_own():
    """NaN that stays is no change; NaN to a number is one, and so is infinity, whatever the band."""
    values = passed("AI_Corrente", math.nan, float("nan"), 1.0, math.nan)
    assert [repr(value) for value in values] == ["nan", "1.0", "nan"]
    wide = Deadband(fields={"*": Band(percent=50)})
    assert passed("x", math.inf, math.inf, 1.0, math.inf, options=wide) == [math.inf, 1.0, math.inf]


def test_a_frame_passes_whole_and_its_values_are_the_new_reference():
    """When one value moves, the others are sent as read, and their bands move with them."""
    frames = script(
        data(PRESS, AI_a=0.0, n=1), data(PRESS, AI_a=0.4, n=2), data(PRESS, AI_a=0.8, n=2), data(PRESS, AI_a=1.0, n=2)
    )
    seen = play(deadband, BANDS, frames)
    assert [(when, frame.values) for when, frame in seen] == [
        (0, {"AI_a": 0.0, "n": 1}),
        (1, {"AI_a": 0.4, "n": 2}),
        (3, {"AI_a": 1.0, "n": 2}),
    ]
    assert seen[1][1] is frames[1][1]


def test_only_the_changed_values_when_asked():
    """The first, the refreshing, the one after a failure are whole; the reference of what stayed stays."""
    options = Deadband(fields=BANDS.fields, send=Send.CHANGED, refresh=Duration(5))
    frames = [
        (0, data(PRESS, AI_a=0.0, n=1)),
        (1, data(PRESS, AI_a=0.4, n=2)),
        (2, data(PRESS, AI_a=0.6, n=2)),
        (3, data(PRESS, AI_a=0.6, n=2)),
        (5, data(PRESS, AI_a=0.6, n=2)),
        (6, Frame.failure(PRESS, 6, "timeout")),
        (7, data(PRESS, AI_a=0.6, n=2)),
    ]
    seen = [(when, frame.values) for when, frame in play(deadband, options, frames) if frame.kind is Kind.DATA]
    whole = {"AI_a": 0.6, "n": 2}
    assert seen == [(0, {"AI_a": 0.0, "n": 1}), (1, {"n": 2}), (2, {"AI_a": 0.6}), (5, whole), (7, whole)]


def test_refresh_passes_the_newest_frame_as_read():
    """Same but fresh: at the first frame after the time, counted from the last that passed, in each block by itself."""
    options = Deadband(refresh=Duration(60))
    frames = [(float(n), data(PRESS, ts=n, n=n >= 30)) for n in range(151)]
    frames += [(n + 0.5, data(SAW, n=1)) for n in range(100)]
    seen = play(deadband, options, frames)
    assert [(when, frame.ts) for when, frame in seen if frame.origin is PRESS] == [(n, n) for n in (0, 30, 90, 150)]
    assert [when for when, frame in seen if frame.origin is SAW] == [0.5, 60.5]


def test_heartbeats_failures_and_what_follows_a_failure_pass():
    """So silence, failure and an unchanged value are three different things; a heartbeat changes nothing."""
    same = data(PRESS, n=1)
    frames = script(
        same,
        Frame.heartbeat(PRESS, 1),
        same,
        Frame.failure(PRESS, 3, "timeout"),
        Frame.failure(PRESS, 4, "timeout"),
        same,
        same,
        Frame.failure(SAW, 7, "timeout"),
        same,
    )
    assert times(Deadband(), frames) == [0, 1, 3, 4, 5, 7]


def test_frames_that_name_a_bad_value_pass_every_time():
    """And the value's return is a change."""
    bad = data(PRESS, n=1).replace(bad={"AI_a": "DB1.DBD2: address out of range"})
    frames = script(data(PRESS, n=1, AI_a=1.0), bad, bad, data(PRESS, n=1, AI_a=1.0), data(PRESS, n=1, AI_a=1.0))
    assert times(Deadband(), frames) == [0, 1, 2, 3]


def test_ends_pass():
    """Completion and the source's error go through; nothing comes out after disposal."""
    error = ValueError("x")
    first = data(PRESS)
    assert play(deadband, Deadband(), [(0, first), (1, END)]) == [(0, first), (1, END)]
    assert play(deadband, Deadband(), [(0, first), (1, error)]) == [(0, first), (1, error)]
    assert play(deadband, Deadband(), [(0, first), (9, data(PRESS, n=2))], until=5) == [(0, first)]


def test_a_new_subscription_knows_nothing_of_the_last():
    """Its first frame passes."""
    same = data(PRESS, n=1)
    assert play_twice(deadband, Deadband(), same, same) == ([same], [same])


def test_memory_is_one_set_of_values_a_block():
    """A thousand frames of two blocks leave two entries, which hold no frame and no raw bytes."""
    gate = _Gate(Deadband(), lambda _: None, lambda: 0.0)
    for n in range(1000):
        assert gate.step(data([PRESS, SAW][n % 2], n=n).replace(raw=bytes(14))) is not None
    assert {block: each.values for block, each in gate._passed.items()} == {PRESS: {"n": 998}, SAW: {"n": 999}}


def test_the_forecast_says_what_rest_costs_and_which_patterns_match_nothing():
    """Two blocks at rest: two frames a refresh; the flow stays that of values that always move."""
    inflow = Flow(frames=2, size=200, blocks=2, names=frozenset({"AI_a", "n"}))
    options = Deadband(fields={"AI_*": Band(absolute=1), "AX_*": Band(absolute=1)}, refresh=Duration(20))
    forecast = deadband.forecast(options, Scope(graph="g", node="n"), inflow)
    assert forecast.flow == inflow
    assert deadband.forecast(Deadband(send=Send.CHANGED), Scope(graph="g", node="n"), inflow).flow.partial
    assert forecast.lines == (("frames at rest", "0.1/s; at most what comes in"),)
    assert [finding.path for finding in forecast.warnings] == [("fields", "AX_*")]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{type: deadband, from: press, refresh: 0s}", "refresh: must be > 0s, got 0s"),
        ("{type: deadband, from: press, fields: {AI_*: {absolute: -1}}}", "fields.AI_*.absolute: must be >= 0"),
        (
            "{type: deadband, from: press, fields: {AI_*: {percent: 5%}}}",
            "percent: must be a number, found the text '5%'",
        ),
        ("{type: deadband, from: press, fields: {AI_*: {width: 1}}}", "fields.AI_*.width: unknown option; allowed"),
        ("{type: deadband, from: press, send: change}", "must be one of frame, changed, found the text 'change'"),
        ("{type: deadband, from: press, fields: [AI_*]}", "fields: must be a mapping"),
    ],
)
def test_bad_options_are_told(node, said):
    """Each mistake names node, option, what was found and what is allowed."""
    (problem,) = mistakes(NodeKind.TRANSFORM, node)
    assert problem.startswith("node 'node' (deadband): ")
    assert said in problem


def test_good_options_from_text():
    """What the documentation shows loads without a word."""
    node = "{type: deadband, from: press, refresh: 60s, send: changed, fields: {contador_*: {}, AI_*: {absolute: 0.1}}}"
    assert mistakes(NodeKind.TRANSFORM, node) == []
