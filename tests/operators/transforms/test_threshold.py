"""Levels: which verdict a value gets, when it changes, and what is never judged."""

import itertools
import math

import pytest

from operators.transforms.threshold import Threshold, threshold
from pipeline.frame import Frame, Kind
from pipeline.levels import Condition
from pipeline.operator import Flow, NodeKind, Scope
from pipeline.units import Duration
from pipeline.verdict import Into
from tests.parts.engine import data, origin
from tests.parts.stream import END, mistakes, play, play_twice

PRESS, SAW = origin("press", tags={"area": "linha1"}), origin("saw")
BEGIN = 1_731_800_000
"""Where virtual wall time begins."""
SCOPE = Scope(graph="g", node="n")


def levels(**conditions):
    """Conditions by level."""
    return {name: Condition(text) for name, text in conditions.items()}


SEED = Threshold(field="t", levels=levels(CRITICO="> 30"))
STEPS = levels(ALTO="> 30", ALERTA="> 25", BAIXO="< 5")


def verdicts(options, *values, every=1.0):
    """What each of these values gives, some seconds apart; None is a failed read."""
    script = []
    for index, value in enumerate(values):
        ts = index * every
        frame = Frame.failure(PRESS, ts, "timeout") if value is None else data(PRESS, ts=ts, t=value)
        script.append((ts, frame))
    seen = play(threshold, options, script)
    return [frame.values[options.result] for _, frame in seen if frame.kind is Kind.DATA]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(30.1, "CRITICO"), (30, "Normal"), (30.0, "Normal"), (31, "CRITICO"), (-5, "Normal"), (True, "Normal")],
)
def test_over_the_limit_is_the_level_and_all_else_is_normal(value, expected):
    """The frame of the verdict has the source's tags and its time, and one value."""
    ((when, frame),) = play(threshold, SEED, [(3, data(PRESS, ts=7.5, t=value, other=1))])
    assert (when, frame.ts, frame.kind) == (3, 7.5, Kind.DATA)
    assert (frame.values, frame.bad, frame.raw) == ({"status_calculado": expected}, None, None)
    block = frame.origin
    assert (block.measurement, block.tenant_id, block.plc_id, block.ip, block.db, block.tags) == (
        "insights",
        "acme",
        "press",
        "192.168.0.121",
        1,
        {"area": "linha1"},
    )


@pytest.mark.parametrize(
    ("changes", "values", "expected"),
    [
        ({}, [20, 26, 31, 26, 4, 5], ["Normal", "ALERTA", "ALTO", "ALERTA", "BAIXO", "Normal"]),
        ({"hysteresis": 2}, [31, 29, 28, 27, 23.5, 23, 22.9], ["ALTO", "ALTO", *["ALERTA"] * 3, "Normal", "Normal"]),
        ({"hysteresis": 2}, [4, 6.9, 7, 5], ["BAIXO", "BAIXO", "Normal", "Normal"]),
        ({"hold": Duration(2)}, [31, 31, 31, 20], ["Normal", "Normal", "ALTO", "Normal"]),
        ({"hold": Duration(2)}, [31, 20, 31, 31, 31], ["Normal"] * 4 + ["ALTO"]),
        ({"hold": Duration(2)}, [31, 26, 31, 26], ["Normal", "Normal", "ALERTA", "ALERTA"]),
        ({"hold": Duration(2)}, [31, None, 31, 31, 31], ["Normal"] * 3 + ["ALTO"]),
        ({"release": Duration(2)}, [31, 20, 20, 20], ["ALTO", "ALTO", "ALTO", "Normal"]),
        ({"release": Duration(2)}, [31, None, 31], ["ALTO", "ALTO"]),
    ],
)
def test_levels_with_hysteresis_and_times(changes, values, expected):
    """The first level that holds; a value that swings between two levels has held the milder one all the time."""
    assert verdicts(Threshold(field="t", levels=STEPS, **changes), *values) == expected


def test_each_series_has_its_own_levels():
    """One that holds for a block says nothing of another."""
    options = Threshold(field="t", levels=STEPS, hold=Duration(1))
    script = [(n, data(where, ts=n, t=31)) for n, where in enumerate([PRESS, SAW, PRESS, SAW])]
    seen = [(frame.origin.plc_id, frame.values["status_calculado"]) for _, frame in play(threshold, options, script)]
    assert seen == [("press", "Normal"), ("saw", "Normal"), ("press", "ALTO"), ("saw", "ALTO")]


def test_of_several_values_the_worst_level_counts():
    """Each is judged by itself, with its own hysteresis."""
    options = Threshold(field="t?", levels=STEPS, hysteresis=2)
    script = [(0, data(PRESS, ts=0, t1=31, t2=10)), (1, data(PRESS, ts=1, t1=10, t2=29)), (2, data(PRESS, ts=2, x=99))]
    assert [frame.values["status_calculado"] for _, frame in play(threshold, options, script)] == ["ALTO", "ALERTA"]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (data(PRESS, t="31"), "t: '31' is no number"),
        (data(PRESS, t=math.nan), "t: nan is no finite number"),
        (data(PRESS, t=math.inf), "t: inf is no finite number"),
        (data(PRESS, x=1).replace(bad={"t": "address out of range", "x": "y"}), "t: address out of range"),
    ],
)
def test_what_is_no_number_has_a_bad_verdict_with_the_reason(frame, reason):
    """Neither Normal nor silence; beside the data the other reasons stay."""
    ((_, verdict),) = play(threshold, SEED, [(0, frame)])
    assert (verdict.values, verdict.bad) == ({}, {"status_calculado": reason})
    beside = Threshold(field="t", levels=SEED.levels, into=Into.VALUES)
    ((_, verdict),) = play(threshold, beside, [(0, frame)])
    assert verdict.values == frame.values
    assert verdict.bad == {**(frame.bad or {}), "status_calculado": reason}


def test_frames_of_verdicts_are_all_that_passes():
    """Heartbeats, failures and frames without the value are of the source's stream, not of this."""
    script = [(0, Frame.heartbeat(PRESS, 0)), (1, Frame.failure(PRESS, 1, "x")), (2, data(PRESS, ts=2, other=99))]
    assert play(threshold, SEED, script) == []


def test_beside_the_data_all_frames_pass_and_those_with_the_value_have_the_verdict():
    """Same time, same origin, same bytes; encoded anew."""
    options = Threshold(field="t", levels=SEED.levels, into=Into.VALUES, result="estado")
    first = data(PRESS, t=31, n=1).replace(raw=b"raw")
    first.wire["full"] = b"stale"
    others = [Frame.heartbeat(PRESS, 0), Frame.failure(PRESS, 1, "x"), data(PRESS, n=1)]
    ((_, judged), *rest) = play(threshold, options, [(n, frame) for n, frame in enumerate([first, *others])])
    assert judged.values == {"t": 31, "n": 1, "estado": "CRITICO"}
    assert (judged.origin, judged.raw, judged.wire) == (PRESS, b"raw", {})
    assert [frame for _, frame in rest] == others


def test_frames_of_a_backlog_are_judged_alone_and_change_nothing():
    """What came late gets its verdict with its own time; what holds now goes on holding."""
    options = Threshold(field="t", levels=STEPS, hysteresis=2, hold=Duration(1))
    script = [
        (n, data(PRESS, ts=ts, t=t)) for n, (ts, t) in enumerate([(100, 31), (101, 31), (50, 31), (51, 10), (102, 29)])
    ]
    seen = [(frame.ts, frame.values["status_calculado"]) for _, frame in play(threshold, options, script)]
    assert seen == [(100, "Normal"), (101, "ALTO"), (50, "ALTO"), (51, "Normal"), (102, "ALTO")]


def test_a_standing_verdict_is_repeated_while_its_series_is_not_silent():
    """Every 10 s, with the time of the repetition; one that came in between needs none; silence ends it."""
    options = Threshold(field="t", levels=SEED.levels, every=Duration(10), recent=Duration(30))
    script = [
        (1, data(PRESS, ts=BEGIN + 1, t=31)),
        (25, data(PRESS, ts=BEGIN + 25, t=30)),
        (26, data(SAW, ts=BEGIN + 26, t="x")),
    ]
    seen = play(threshold, options, script, until=200)
    said = [(when, frame.values["status_calculado"]) for when, frame in seen if frame.origin.plc_id == "press"]
    assert said == [(1, "CRITICO"), (11, "CRITICO"), (21, "CRITICO")] + [(n, "Normal") for n in (25, 35, 45, 55)]
    assert seen[1][1].ts == BEGIN + 11
    assert len({frame.origin for _, frame in seen}) == 2
    assert len(seen) == len(said) + 1


def test_a_source_that_starts_anew_leaves_no_verdict_of_before():
    """It may hand out another origin for the same series, of which one verdict stands: the latest."""
    options = Threshold(field="t", levels=SEED.levels, every=Duration(10))
    script = [(0, data(PRESS, ts=BEGIN, t=31)), (5, data(PRESS.replace(), ts=BEGIN + 5, t=30))]
    seen = play(threshold, options, script, until=40)
    assert [frame.values["status_calculado"] for _, frame in seen] == ["CRITICO", *["Normal"] * 4]


@pytest.mark.parametrize(
    ("age", "again"),
    [(40 * 86400, []), (5820, []), (300, []), (20, [10, 20]), (0, [10, 20, 30, 40]), (-5, [10, 20, 30, 40])],
)
def test_what_a_backlog_brings_is_judged_and_not_repeated_as_if_it_were_now(age, again):
    """What counts is how old the reading is, by its own time; one of the future is as good as one of now."""
    options = Threshold(field="t", levels=SEED.levels, every=Duration(10), recent=Duration(40))
    first, *seen = play(threshold, options, [(0, data(PRESS, ts=BEGIN - age, t=99))], until=200)
    assert (first[1].ts, first[1].values) == (BEGIN - age, {"status_calculado": "CRITICO"})
    assert [when for when, _ in seen] == again


@pytest.mark.parametrize("offset", [0.0, 0.04, 0.3, 0.5, 0.96, 4.0, 9.96])
def test_a_repetition_comes_after_the_period_wherever_the_reading_fell(offset):
    """The looks are common to all series; a reading just after one waits no second period."""
    options = Threshold(field="t", levels=SEED.levels, every=Duration(10), recent=Duration(60))
    seen = play(threshold, options, [(offset, data(PRESS, ts=BEGIN + offset, t=31))], until=45)
    times = [when for when, _ in seen]
    assert len(times) >= 4
    assert all(9.4 <= late - early <= 10.6 for early, late in itertools.pairwise(times))


def test_ends_pass_and_subscriptions_are_their_own():
    """Completion and error go through and end repeating; a new subscriber's levels begin anew."""
    error = ValueError("x")
    for options in (SEED, Threshold(field="t", levels=STEPS, every=Duration(10), into=Into.FRAME)):
        assert play(threshold, options, [(1, END)]) == [(1, END)]
        assert play(threshold, options, [(1, error)]) == [(1, error)]
        seen = play(threshold, options, [(1, data(PRESS, t=1)), (2, END)])
        assert [event if event == END else event.kind for _, event in seen] == [Kind.DATA, END]
        assert play(threshold, options, [(9, data(PRESS, t=1))], until=5) == []
    options = Threshold(field="t", levels=STEPS, hysteresis=2, into=Into.VALUES)
    first, second = play_twice(
        threshold, options, data(PRESS, ts=1, t=29), data(PRESS, ts=2, t=31), data(PRESS, ts=3, t=29)
    )
    assert [frame.values["status_calculado"] for frame in first] == ["ALERTA", "ALTO", "ALTO"]
    assert [frame.values["status_calculado"] for frame in second] == ["ALERTA", "ALTO", "ALTO"]


def test_the_forecast_knows_the_result_and_warns_of_a_field_that_never_comes():
    """Beside the data there is a name more, alone there is only the verdict."""
    inflow = Flow(frames=2, size=200, blocks=1, names=frozenset({"temperatura", "n"}))
    forecast = threshold.forecast(Threshold(field="temperatur", levels=STEPS), SCOPE, inflow)
    assert (forecast.flow.frames, forecast.flow.names) == (2, {"status_calculado"})
    assert [(each.path, each.hint) for each in forecast.warnings] == [(("field",), "did you mean 'temperatura'?")]
    forecast = threshold.forecast(Threshold(field="n", levels=STEPS, into=Into.VALUES), SCOPE, inflow)
    assert forecast.flow.names == {"temperatura", "n", "status_calculado"}
    assert forecast.flow.size == 200 + len('"status_calculado":"ALERTA",')
    assert forecast.warnings == ()


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{type: threshold, from: press, field: t}", "levels: is required and missing"),
        ('{type: threshold, from: press, levels: {A: "> 1"}}', "field: is required and missing"),
        ("{type: threshold, from: press, field: t, levels: {}}", "levels: must have at least 1 entries"),
        ('{type: threshold, from: press, field: t, levels: {A: "30"}}', "levels.A: '30' is no condition; write a"),
        ('{type: threshold, from: press, field: t, levels: {A: "> x"}}', "levels.A: '> x' is no condition"),
        ('{type: threshold, from: press, field: t, levels: {A: "> 1e999"}}', "levels.A: '> 1e999' is no condition"),
        (
            '{type: threshold, from: press, field: t, levels: {Normal: "> 1"}}',
            "levels.Normal: is also the verdict when",
        ),
        ('{type: threshold, from: press, field: t, levels: {A: "> 1"}, result: seq}', "result: 'seq' is reserved"),
        ('{type: threshold, from: press, field: t, levels: {A: "> 1"}, hysteresis: -1}', "hysteresis: must be >= 0"),
        ('{type: threshold, from: press, field: t, levels: {A: "> 1"}, measurement: a b}', "measurement: must "),
        (
            '{type: threshold, from: press, field: t, levels: {A: "> 1"}, into: values, every: 10s}',
            "every: only frames can be repeated; remove it, or set into: frame",
        ),
    ],
)
def test_bad_options_are_told(node, said):
    """Each mistake names node, option, what was found and what is allowed."""
    (problem,) = mistakes(NodeKind.TRANSFORM, node)
    assert problem.startswith("node 'node' (threshold): ")
    assert said in problem


def test_a_field_that_looks_like_a_list_is_told():
    """As a warning: a value may have a comma in its name, too."""
    (problem,) = mistakes(NodeKind.TRANSFORM, "{type: threshold, from: press, field: 'a,b', levels: {A: '> 1'}}")
    assert "warning: " in problem
    assert "field: 'a,b' is one name with a comma in it, no list; write one pattern" in problem


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ('{W: "> 30", C: "> 50"}', "levels.C: never counts: one before it holds whenever this does; the first that"),
        ('{W: "< 5 or > 9", C: ">= 4 and < 4.5"}', "levels.C: never counts"),
        ('{A: "> 5", B: "<= 5", C: "== 5"}', "levels.C: never counts"),
        ('{W: "> 5 and < 3"}', "levels.W: can never be true"),
    ],
)
def test_a_level_that_can_never_be_the_verdict_is_told(levels, said):
    """As a warning: the first that holds counts."""
    (problem,) = mistakes(NodeKind.TRANSFORM, f"{{type: threshold, from: press, field: t, levels: {levels}}}")
    assert said in problem


@pytest.mark.parametrize("name", ["prometheus", "internal_x", "ingest_rejected", "_x", r"a\b"])
@pytest.mark.parametrize(
    "node",
    [
        '{type: threshold, from: press, field: t, levels: {A: "> 1"}',
        "{type: absence, from: press, after: 5s",
        "{type: oee, from: press, running: t, good: t, ideal_rate: 30",
    ],
)
def test_a_measurement_that_the_platform_sets_aside_is_told(node, name):
    """As a warning: a sink that writes elsewhere may take it."""
    (problem,) = mistakes(NodeKind.TRANSFORM, f"{node}, measurement: '{name}'}}")
    assert f"measurement: the platform sets frames of measurement '{name}' aside; choose another than" in problem
    assert mistakes(NodeKind.TRANSFORM, f"{node}, measurement: internals}}") == []


@pytest.mark.parametrize(
    "levels",
    ['{C: "> 50", W: "> 30"}', '{A: "== 3", B: "== 4", C: ">= 3"}', '{A: "> 5", B: ">= 5"}', '{A: "!= 0", B: "== 0"}'],
)
def test_levels_that_each_have_a_number_of_their_own_are_well(levels):
    """Be it one alone."""
    assert mistakes(NodeKind.TRANSFORM, f"{{type: threshold, from: press, field: t, levels: {levels}}}") == []


def test_good_options_from_text():
    """What the documentation shows loads without a word; a limit may come from the environment."""
    node = """{type: threshold, from: press, field: AI_Corrente, every: 10s, hysteresis: 0.5, hold: 5s,
    levels: {CRITICO: "> ${LIMIT}", ALERTA: "< 5 or > 25 and <= 30"}}"""
    assert mistakes(NodeKind.TRANSFORM, node, {"LIMIT": "30"}) == []
