"""Rates of counters: over a window, through overflows, resets and gaps."""

import math

import pytest

from operators.transforms.rate import Per, Rate, _Meter, rate
from pipeline.frame import Frame
from pipeline.operator import Flow, NodeKind, Scope
from pipeline.units import Duration
from tests.parts.engine import data, origin
from tests.parts.stream import END, mistakes, play, play_twice

PRESS, SAW = origin("press"), origin("saw")
AT_ONCE = Rate(fields=["n"], window=Duration(0))
MINUTE = Rate(fields=["n"])


def rates(options, *shown, name="n_per_min"):
    """The rate with each reading (ts, n), None where there is none; n None is a failed read."""
    frames = [
        Frame.failure(PRESS, ts, "timeout") if n is None else data(PRESS, ts=ts, n=n, other=ts) for ts, n in shown
    ]
    return [frame.values.get(name) for _, frame in play(rate, options, list(enumerate(frames)))]


def test_between_two_frames_it_is_the_difference_over_the_true_time():
    """30 in a minute; 1 in 500 ms; nothing in 3 s; the first frame has none."""
    shown = [(0, 100), (60, 130), (60.5, 131), (63.5, 131)]
    assert rates(AT_ONCE, *shown) == [None, 30.0, 120.0, 0.0]


@pytest.mark.parametrize(("per", "expected"), [(Per.SECOND, 0.5), (Per.MINUTE, 30.0), (Per.HOUR, 1800.0)])
def test_the_time_that_it_is_given_for_is_in_its_name(per, expected):
    """The same production in three units."""
    options = Rate(fields=["n"], window=Duration(0), per=per)
    assert rates(options, (0, 0), (2, 1), name=f"n_per_{per.value}") == [None, expected]


def test_over_a_window_a_steady_press_has_a_steady_rate():
    """A part each 2 s, read each 1 s: 30 a minute from the first full minute on, not 0 and 60 in turns."""
    seen = rates(MINUTE, *[(float(n), n // 2) for n in range(200)])
    assert seen[:60] == [None] * 60
    assert {round(value) for value in seen[60:]} == {30}
    assert min(seen[60:]) >= 29.5
    assert max(seen[60:]) <= 30.5


def test_the_window_follows_a_change_within_its_time():
    """It stops at 100 s: 60 s later the rate is 0."""
    seen = rates(MINUTE, *[(float(n), min(n, 100)) for n in range(200)])
    assert seen[100] == 60
    assert seen[130] == pytest.approx(30, abs=1)
    assert seen[161:] == [0] * 39


def test_what_was_counted_during_a_failure_is_kept_and_spread_over_the_whole_gap():
    """600 parts in 20 min without a read: 30 a minute, neither a peak of 600 nor a hole."""
    before = [(float(n), n // 2) for n in range(121)]
    gap = [(121.0, None), (700.0, None)]
    after = [(1320.0 + n, 660 + n // 2) for n in range(60)]
    seen = rates(MINUTE, *before, *gap, *after)[len(before) + len(gap) :]
    assert {round(value) for value in seen} == {30}
    assert rates(AT_ONCE, (0, 0), (1, None), (1200, 600)) == [None, None, 30.0]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([(0, 32767), (60, -32767)], 2),
        ([(0, 32767), (60, 1)], 2),
        ([(0, 65535), (60, 1)], 2),
        ([(0, 5000), (60, 4)], 4),
        ([(0, 5014), (60, 5000)], 0),
    ],
)
def test_overflows_and_resets_are_no_negative_and_no_giant_rate(shown, expected):
    """As `pipeline/counters.py` reads them; each PLC that makes 2 parts a minute has a rate of 2."""
    assert rates(AT_ONCE, *shown) == [None, expected]
    assert rates(MINUTE, *shown) == [None, expected]


def test_the_type_and_the_most_can_be_told():
    """At 32767 a UINT has not ended, and a fall may count more."""
    assert rates(Rate(fields=["n"], window=Duration(0), wrap="uint"), (0, 32767), (60, 1)) == [None, 1]
    assert rates(Rate(fields=["n"], window=Duration(0), most=5000), (0, 30000), (60, 1000)) == [None, 3768]


def test_a_jump_up_has_no_rate_and_its_reason():
    """A wrong reading: neither a peak then nor a fall after; a smaller `most` than the counter counts shows at once."""
    shown = [(0, 100), (10, 20000), (20, 101)]
    frames = [frame for _, frame in play(rate, AT_ONCE, [(ts, data(PRESS, ts=ts, n=n)) for ts, n in shown])]
    assert [frame.values.get("n_per_min") for frame in frames] == [None, None, 6.0]
    assert [frame.bad for frame in frames] == [
        None,
        {"n_per_min": "20000 is more than `most` beyond the reading before"},
        None,
    ]


def test_each_counter_of_each_block_has_its_own():
    """By pattern; other values and other frames stay as they are."""
    options = Rate(fields=["c_*"], window=Duration(0))
    script = [
        (0, data(PRESS, ts=0, c_a=0, c_b=10, t=1.5)),
        (1, data(SAW, ts=30, c_a=100)),
        (2, data(PRESS, ts=60, c_a=6, c_b=11, t=1.5)),
        (3, data(SAW, ts=90, c_a=101)),
    ]
    seen = [frame.values for _, frame in play(rate, options, script)]
    assert seen[:2] == [script[0][1].values, script[1][1].values]
    assert seen[2:] == [
        {"c_a": 6, "c_b": 11, "t": 1.5, "c_a_per_min": 6.0, "c_b_per_min": 1.0},
        {"c_a": 101, "c_a_per_min": 1.0},
    ]


@pytest.mark.parametrize(
    ("value", "bad", "reason"),
    [
        (None, {"n": "address out of range", "x": "y"}, "address out of range"),
        ("7", None, "'7' is no number"),
        (math.nan, None, "nan is no finite number"),
    ],
)
def test_a_bad_counter_has_a_bad_rate_and_goes_on_counting_afterwards(value, bad, reason):
    """With the counter's own reason; what it counted meanwhile is not lost."""
    middle = data(PRESS, ts=30, **({} if value is None else {"n": value})).replace(bad=bad)
    script = [(0, data(PRESS, ts=0, n=0)), (1, middle), (2, data(PRESS, ts=60, n=30))]
    seen = [frame for _, frame in play(rate, AT_ONCE, script)]
    assert seen[1].bad == {**(bad or {}), "n_per_min": reason}
    assert "n_per_min" not in seen[1].values
    assert (seen[2].values["n_per_min"], seen[2].bad) == (30.0, None)


def test_heartbeats_failures_and_late_frames_pass_untouched():
    """A frame of a backlog has no rate, and is no reset for those that follow."""
    frames = [Frame.heartbeat(PRESS, 1), Frame.failure(PRESS, 2, "x"), data(PRESS, ts=5, n=3)]
    script = [(0, data(PRESS, ts=60, n=100)), *enumerate(frames, 1), (4, data(PRESS, ts=120, n=101))]
    first, *seen, last = [frame for _, frame in play(rate, AT_ONCE, script)]
    assert first.values == {"n": 100}
    assert seen == frames
    assert last.values["n_per_min"] == 1.0


def test_memory_does_not_grow_with_the_frames():
    """100 Hz for ten minutes: at most 62 marks of a counter, and a rate as exact as a sixtieth of the window."""
    meter = _Meter(MINUTE, "n")
    found = [meter.step(n / 100, n) for n in range(60_000)]
    assert {round(value) for value in found if value is not None} == {6000}
    assert len(meter._marks) <= 62


def test_ends_pass_and_subscriptions_are_their_own():
    """Completion and error go through; a new subscriber has no rate with its first frame."""
    error = ValueError("x")
    assert play(rate, MINUTE, [(1, END)]) == [(1, END)]
    assert play(rate, MINUTE, [(1, error)]) == [(1, error)]
    assert play(rate, MINUTE, [(9, data(PRESS, n=1))], until=5) == []
    for seen in play_twice(rate, AT_ONCE, data(PRESS, ts=0, n=0), data(PRESS, ts=60, n=5)):
        assert [frame.values.get("n_per_min") for frame in seen] == [None, 5.0]


def test_the_forecast_knows_the_names():
    """And warns of counters that don't come."""
    inflow = Flow(frames=1, size=100, blocks=1, names=frozenset({"n", "m"}))
    forecast = rate.forecast(Rate(fields=["n", "contador"]), Scope(graph="g", node="n"), inflow)
    assert forecast.flow.names == {"n", "m", "n_per_min"}
    assert forecast.flow.size > inflow.size
    assert [finding.path for finding in forecast.warnings] == [("fields", 1)]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{type: rate, from: press}", "fields: is required and missing"),
        ("{type: rate, from: press, fields: []}", "fields: must have at least 1 entries, has 0"),
        ("{type: rate, from: press, fields: n}", "fields: must be a list"),
        ("{type: rate, from: press, fields: [n], per: minute}", "per: must be one of s, min, h, found"),
        (
            "{type: rate, from: press, fields: [n], wrap: word}",
            "wrap: must be one of auto, int, uint, dint, udint, none",
        ),
        ("{type: rate, from: press, fields: [n], most: 0}", "most: must be >= 1"),
        ("{type: rate, from: press, fields: [n], window: -1s}", "window: '-1s' is not a duration"),
    ],
)
def test_bad_options_are_told(node, said):
    """Each mistake names node, option, what was found and what is allowed."""
    problems = mistakes(NodeKind.TRANSFORM, node)
    assert all(problem.startswith("node 'node' (rate): ") for problem in problems)
    assert any(said in problem for problem in problems)


def test_good_options_from_text():
    """What the documentation shows loads without a word."""
    node = "{type: rate, from: press, fields: ['contador_*'], per: h, window: 5m, wrap: int}"
    assert mistakes(NodeKind.TRANSFORM, node) == []
