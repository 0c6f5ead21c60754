"""Selecting: which values stay, under which names, and what is never selected away."""

import pytest

from operators.transforms.select import Select, select
from pipeline.errors import PartFailed
from pipeline.frame import Frame, Kind
from pipeline.operator import Flow, NodeKind, Scope
from tests.parts.engine import data, origin
from tests.parts.stream import END, mistakes, play, play_twice

PRESS = origin("press", units={"AI_a": "A", "n": "pc"})
VALUES = {"AI_a": 1.5, "AI_b": 2.5, "n": 3, "ok": True}
SCOPE = Scope(graph="g", node="n")


def selected(options, frame):
    """What becomes of one frame; None when it is dropped."""
    seen = play(select, options, [(0, frame)])
    return seen[0][1] if seen else None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Select(keep=["AI_*"]), {"AI_a": 1.5, "AI_b": 2.5}),
        (Select(drop=["AI_*"]), {"n": 3, "ok": True}),
        (Select(keep=["AI_*", "n"], drop=["*_b"]), {"AI_a": 1.5, "n": 3}),
        (Select(rename={"n": "contador", "ghost": "x"}), {"AI_a": 1.5, "AI_b": 2.5, "contador": 3, "ok": True}),
        (Select(rename={"n": "ok", "ok": "n"}), {"AI_a": 1.5, "AI_b": 2.5, "ok": 3, "n": True}),
        (Select(keep=["n"], rename={"n": "ok"}), {"ok": 3}),
        (Select(drop=["ok"], rename={"n": "ok"}), {"AI_a": 1.5, "AI_b": 2.5, "ok": 3}),
    ],
)
def test_values_are_kept_dropped_and_renamed(options, expected):
    """Keep, then drop, then rename: patterns are of the names as they come, and order stays."""
    frame = selected(options, data(PRESS, **VALUES))
    assert list(frame.values.items()) == list(expected.items())


def test_a_frame_without_values_left_is_dropped():
    """There is nothing to send."""
    assert selected(Select(keep=["x*"]), data(PRESS, **VALUES)) is None


def test_where_no_value_is_left_the_end_of_a_failure_is_told():
    """By a heartbeat, once: else a failure is repeated behind this node for ever."""
    frames = [Frame.failure(PRESS, 1, "timeout"), *(data(PRESS, **VALUES).replace(ts=ts) for ts in (2.0, 3.0))]
    seen = [frame for _, frame in play(select, Select(keep=["x*"]), list(enumerate(frames)))]
    assert [(frame.kind, frame.ts) for frame in seen] == [(Kind.FAILURE, 1), (Kind.HEARTBEAT, 2.0)]


def test_a_name_is_good_or_bad_and_never_both():
    """Where a dropped value is bad and another has its name now, that one is good."""
    bad = data(PRESS, AI_a=1.5).replace(bad={"n": "NaN", "z": "not"})
    frame = selected(Select(keep=["AI_a"], rename={"AI_a": "n"}), bad)
    assert (frame.values, frame.bad) == ({"n": 1.5}, {"z": "not"})


def test_heartbeats_failures_and_bad_values_are_never_selected_away():
    """Also where no value is left, and where the bad one is not among the selected."""
    for frame in (Frame.heartbeat(PRESS, 1), Frame.failure(PRESS, 1, "timeout")):
        assert selected(Select(keep=["x*"], drop=["*"]), frame) is frame
    bad = data(PRESS, **VALUES).replace(bad={"n": "why", "z": "not"})
    frame = selected(Select(keep=["x*"], rename={"n": "contador"}), bad)
    assert (frame.kind, frame.values, frame.bad) == (Kind.DATA, {}, {"contador": "why", "z": "not"})


def test_renamed_values_keep_their_units_and_all_frames_of_a_block_their_origin():
    """The origin is made once; without renaming it is the source's own."""
    options = Select(rename={"AI_a": "corrente"})
    frames = [data(PRESS, **VALUES), Frame.heartbeat(PRESS, 1), Frame.failure(PRESS, 2, "x"), data(PRESS, **VALUES)]
    seen = [frame for _, frame in play(select, options, list(enumerate(frames)))]
    assert {id(frame.origin) for frame in seen} == {id(seen[0].origin)}
    assert seen[0].origin.units == {"corrente": "A", "n": "pc"}
    assert [frame.kind for frame in seen] == [frame.kind for frame in frames]
    assert selected(Select(keep=["AI_*"]), frames[0]).origin is PRESS


def test_a_selected_frame_is_encoded_anew_and_keeps_the_rest():
    """Time and raw bytes stay; encoded bytes of the whole frame don't."""
    frame = data(PRESS, **VALUES).replace(raw=b"raw")
    frame.wire["full"] = b"stale"
    chosen = selected(Select(keep=["n"]), frame)
    assert (chosen.ts, chosen.raw, chosen.wire) == (frame.ts, b"raw", {})


def test_two_values_of_one_name_end_the_graph():
    """It can't be known before the first frame, and going on would lose one of them in silence."""
    ((_, error),) = play(select, Select(rename={"n": "AI_a"}), [(0, data(PRESS, **VALUES))])
    assert isinstance(error, PartFailed)
    assert error.fatal
    assert str(error) == "node 'node' (select): rename gives two values one name: AI_a and n as 'AI_a'; drop one"


def test_ends_pass_and_subscriptions_are_their_own():
    """Completion and error go through; nothing comes after disposal; each subscriber has its own origins."""
    options = Select(rename={"n": "m"})
    error = ValueError("x")
    assert play(select, options, [(1, END)]) == [(1, END)]
    assert play(select, options, [(1, error)]) == [(1, error)]
    assert play(select, options, [(9, data(PRESS, n=1))], until=5) == []
    (first,), (second,) = play_twice(select, options, data(PRESS, n=1))
    assert (first.values, second.values) == ({"m": 1}, {"m": 1})
    assert first.origin is not second.origin


def test_the_forecast_knows_names_and_warns_of_collisions_and_misspelt_patterns():
    """Half of the values make half of the bytes; a rename onto a name that stays is told before it ends a graph."""
    inflow = Flow(frames=2, size=200, blocks=2, names=frozenset(VALUES))
    forecast = select.forecast(Select(keep=["AI_*", "AX"], rename={"AI_a": "a"}), SCOPE, inflow)
    assert forecast.flow == Flow(frames=2, size=100, blocks=2, names=frozenset({"a", "AI_b"}))
    assert [finding.path for finding in forecast.warnings] == [("keep", 1)]
    forecast = select.forecast(Select(rename={"AI_a": "AI_b"}), SCOPE, inflow)
    assert [(finding.path, finding.severity) for finding in forecast.warnings] == [(("rename", "AI_a"), "warning")]
    assert "'AI_b' already" in forecast.warnings[0].message
    assert select.forecast(Select(rename={"AI_a": "AI_b", "AI_b": "AI_a"}), SCOPE, inflow).warnings == ()
    assert select.forecast(Select(keep=["x"]), SCOPE, Flow(frames=1, size=9)).flow == Flow(frames=1, size=9)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{type: select, from: press}", "selects nothing; give keep, drop or rename"),
        ("{type: select, from: press, rename: {a: x, b: x}}", "rename.b: 'a' gets the name 'x' too; give each its own"),
        ("{type: select, from: press, rename: {a: db}}", "rename.a: 'db' is reserved"),
        ('{type: select, from: press, rename: {a: ""}}', "rename.a: the new name is empty; to leave a value out"),
        ("{type: select, from: press, keep: AI_*}", "keep: must be a list, found a single value"),
        ("{type: select, from: press, only: [AI_*]}", "only: unknown option; "),
    ],
)
def test_bad_options_are_told(node, said):
    """Each mistake names node, option, what was found and what is allowed."""
    (problem,) = mistakes(NodeKind.TRANSFORM, node)
    assert problem.startswith("node 'node' (select): ")
    assert said in problem


def test_good_options_from_text():
    """What the documentation shows loads without a word."""
    node = "{type: select, from: press, keep: [AI_*], drop: ['*_raw'], rename: {AI_Corrente: corrente}}"
    assert mistakes(NodeKind.TRANSFORM, node) == []
