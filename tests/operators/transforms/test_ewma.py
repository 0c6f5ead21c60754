"""Scores of unusual values: against the plain formula, and what is no score."""

import math
from random import Random

import pytest

from operators.transforms.ewma import Ewma, Result, ewma
from pipeline.frame import Frame
from pipeline.operator import Flow, NodeKind, Scope
from pipeline.units import Duration
from tests.parts.engine import data, origin
from tests.parts.stream import END, mistakes, play, play_twice

PRESS, SAW = origin("press"), origin("saw")
ALL = Ewma(fields=["a"], half_life=Duration(60), warm_up=Duration(0), results=list(Result))
SCORE = Ewma(fields=["a"], half_life=Duration(60))


def results(options, *shown):
    """What is added to each reading (ts, a)."""
    script = [(index, data(PRESS, ts=ts, a=value)) for index, (ts, value) in enumerate(shown)]
    return [
        {name.removeprefix("a_"): value for name, value in frame.values.items() if name != "a"}
        for _, frame in play(ewma, options, script)
    ]


def plain(shown, half_life):
    """Mean and standard deviation of what came before each reading, straight from their definition."""
    for index in range(1, len(shown)):
        before = shown[:index]
        weights = [0.5 ** ((before[-1][0] - ts) / half_life) for ts, _ in before]
        mean = math.fsum(w * x for w, (_, x) in zip(weights, before, strict=True)) / math.fsum(weights)
        squares = math.fsum(w * (x - mean) ** 2 for w, (_, x) in zip(weights, before, strict=True))
        yield mean, math.sqrt(squares / math.fsum(weights))


def test_irregular_samples_give_the_weighted_mean_and_deviation():
    """As computed anew from all readings, weighted by 0.5 ** (age / half-life)."""
    random = Random(7)  # noqa: S311 - data for a test, the same each time
    ts, shown = 1000.0, []
    for _ in range(150):
        shown.append((ts, random.gauss(20, 3)))
        ts += random.expovariate(1 / 10)
    first, *seen = results(ALL, *shown)
    assert first == {}
    for found, (mean, std), (_, value) in zip(seen, plain(shown, 60), shown[1:], strict=True):
        assert found["mean"] == pytest.approx(mean)
        assert found["std"] == pytest.approx(std, abs=1e-9)
        assert found["score"] == pytest.approx(min(abs(value - mean) / std, 1000) if std else 1000)


def test_an_outlier_stands_out_and_the_ordinary_does_not():
    """20 within 1 for ten minutes, then 30: a score beyond 5; the values before never came near."""
    random = Random(1)  # noqa: S311 - data for a test, the same each time
    seen = results(SCORE, *[(float(n), random.uniform(19, 21)) for n in range(600)], (600.0, 30.0))
    scores = [found["score"] for found in seen if found]
    assert max(scores[:-1]) < 3
    assert scores[-1] > 5


def test_it_follows_a_new_level_within_some_half_lives():
    """What was an alarm at first is usual later."""
    seen = results(SCORE, *[(float(n), 20.0 + n % 2 + (10 if n > 300 else 0)) for n in range(900)])
    assert seen[301]["score"] > 5
    assert seen[899]["score"] < 2


def test_no_score_until_it_is_warm_and_again_after_a_long_pause():
    """One half-life unless told; a short pause changes nothing, a long one begins the wait anew."""
    shown = [(0.0, 1.0), (30.0, 2.0), (59.0, 1.0), (60.0, 2.0), (119.0, 2.0), (300.0, 1.0), (359.0, 1.0), (360.0, 2.0)]
    assert [bool(found) for found in results(SCORE, *shown)] == [False, False, False, True, True, False, False, True]
    later = Ewma(fields=["a"], half_life=Duration(60), warm_up=Duration(100))
    assert [bool(found) for found in results(later, *shown)] == [False] * 4 + [True] + [False] * 3


def test_a_value_that_never_moves_has_no_score_but_zero_until_it_does():
    """Then it has the most, which is no infinity."""
    seen = results(SCORE, *[(float(n * 10), 5.0) for n in range(10)], (100.0, 5.1))
    assert [found["score"] for found in seen if found] == [0.0] * 4 + [1000.0]


def test_numbers_beyond_all_measure_begin_anew():
    """Nothing becomes NaN or infinite for ever."""
    shown = [(0.0, 1.0), (10.0, 1e200), (20.0, -1e300), (30.0, 1.0), (40.0, 2.0), (50.0, 1.0)]
    seen = results(ALL, *shown)
    assert all(math.isfinite(value) for found in seen for value in found.values())
    assert seen[-1]["mean"] == 2.0


@pytest.mark.parametrize(
    ("value", "bad", "reason"),
    [(None, {"a": "refused"}, "refused"), ("x", None, "'x' is no number"), (math.nan, None, "nan is no finite number")],
)
def test_a_bad_value_has_a_bad_score_and_is_not_learned_from(value, bad, reason):
    """With the value's own reason."""
    usual = [(n, data(PRESS, ts=n * 10, a=n % 2)) for n in range(10)]
    broken = (10, data(PRESS, ts=100, **({} if value is None else {"a": value})).replace(bad=bad))
    after = (11, data(PRESS, ts=110, a=1))
    *_, told, last = [frame for _, frame in play(ewma, SCORE, [*usual, broken, after])]
    assert told.bad == {**(bad or {}), "a_score": reason}
    assert "a_score" not in told.values
    assert last.values["a_score"] == pytest.approx(1, abs=0.2)


def test_each_value_of_each_block_is_judged_by_itself_and_all_else_passes():
    """By pattern; heartbeats, failures and frames of a backlog are neither scored nor learned from."""
    options = Ewma(fields=["a*"], half_life=Duration(60), warm_up=Duration(0))
    frames = [
        data(PRESS, ts=100, a1=1, a2=100, n=1),
        data(SAW, ts=100, a1=50),
        Frame.heartbeat(PRESS, 105),
        Frame.failure(PRESS, 106, "x"),
        data(PRESS, ts=50, a1=1e9),
        data(PRESS, ts=110, a1=1, a2=101, n=2),
        data(SAW, ts=110, a1=50),
    ]
    seen = [frame for _, frame in play(ewma, options, list(enumerate(frames)))]
    assert [frame.values for frame in seen[:5]] == [frame.values for frame in frames[:5]]
    assert seen[5].values == {"a1": 1, "a2": 101, "n": 2, "a1_score": 0.0, "a2_score": 1000.0}
    assert seen[6].values == {"a1": 50, "a1_score": 0.0}


def test_ends_pass_and_subscriptions_are_their_own():
    """Completion and error go through; a new subscriber has to become warm."""
    error = ValueError("x")
    assert play(ewma, SCORE, [(1, END)]) == [(1, END)]
    assert play(ewma, SCORE, [(1, error)]) == [(1, error)]
    assert play(ewma, SCORE, [(9, data(PRESS, a=1))], until=5) == []
    for seen in play_twice(ewma, SCORE, data(PRESS, ts=0, a=1), data(PRESS, ts=60, a=1)):
        assert ["a_score" in frame.values for frame in seen] == [False, True]


def test_the_forecast_knows_the_names_and_warns_where_there_can_be_no_score():
    """Frames each 100 s and a half-life of 60 s: each frame comes after a pause."""
    inflow = Flow(frames=0.02, size=100, blocks=2, names=frozenset({"a", "b"}))
    forecast = ewma.forecast(ALL, Scope(graph="g", node="n"), inflow)
    assert forecast.flow.names == {"a", "b", "a_score", "a_mean", "a_std"}
    assert [finding.path for finding in forecast.warnings] == [("half_life",)]
    often = Flow(frames=2, size=100, blocks=2, names=frozenset({"b"}))
    assert [each.path for each in ewma.forecast(ALL, Scope(graph="g", node="n"), often).warnings] == [("fields", 0)]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{type: ewma, from: press, half_life: 1m}", "fields: is required and missing"),
        ("{type: ewma, from: press, fields: [a]}", "half_life: is required and missing"),
        ("{type: ewma, from: press, fields: [a], half_life: 0s}", "half_life: must be > 0s"),
        (
            "{type: ewma, from: press, fields: [a], half_life: 1m, results: [z]}",
            "results[0]: must be one of score, mean",
        ),
    ],
)
def test_bad_options_are_told(node, said):
    """Each mistake names node, option, what was found and what is allowed."""
    problems = mistakes(NodeKind.TRANSFORM, node)
    assert all(problem.startswith("node 'node' (ewma): ") for problem in problems)
    assert any(said in problem for problem in problems)


def test_good_options_from_text():
    """What the documentation shows loads without a word."""
    node = "{type: ewma, from: press, fields: [AI_Corrente], half_life: 10m, warm_up: 1m, results: [score, mean]}"
    assert mistakes(NodeKind.TRANSFORM, node) == []
