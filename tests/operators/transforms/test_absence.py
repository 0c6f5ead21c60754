"""Silence: who is told, when, and who is back."""

import pytest

from operators.transforms.absence import Absence, Expected, absence
from pipeline.frame import Frame, Kind
from pipeline.operator import Flow, NodeKind, Scope
from pipeline.units import Duration
from tests.parts.engine import data, origin
from tests.parts.stream import END, mistakes, play, play_twice

PRESS, SAW = origin("press", tags={"area": "linha1"}), origin("saw")
MINUTE = Absence(after=Duration(60))


def said(options, script, until=1000.0):
    """When who was found what, and how long it was silent."""
    return [
        (when, frame.origin.plc_id, frame.values["status_dados"], frame.values["silent_seconds"])
        for when, frame in play(absence, options, script, until)
    ]


def test_silence_is_told_once_and_so_is_the_return():
    """Exactly when the time is over; each series by itself."""
    script = [
        *[(float(n), data(PRESS, n=n)) for n in range(0, 100, 10)],
        (95.0, data(SAW)),
        (300.0, data(PRESS)),
        (301.0, data(PRESS)),
    ]
    assert said(MINUTE, script) == [
        (150.0, "press", "AUSENTE", 60.0),
        (155.0, "saw", "AUSENTE", 60.0),
        (300.0, "press", "Normal", 210.0),
        (361.0, "press", "AUSENTE", 60.0),
    ]


def test_the_verdict_has_the_tags_of_the_series_and_the_time_of_the_clock():
    """And nothing of its data."""
    (_, frame), *_ = play(absence, MINUTE, [(1, data(PRESS, ts=5.0, n=1))])
    assert (frame.kind, frame.ts, frame.bad) == (Kind.DATA, 1_731_800_061, None)
    assert (frame.origin.measurement, frame.origin.plc_id, frame.origin.db) == ("insights", "press", 1)
    assert frame.origin.tags == {"area": "linha1"}


def test_only_data_counts():
    """A PLC that is off has heartbeats and failures; an old time stamp is data all the same."""
    script = [(0, data(PRESS)), (30, Frame.heartbeat(PRESS, 30)), (50, Frame.failure(PRESS, 50, "timeout"))]
    assert said(MINUTE, script, until=100) == [(60.0, "press", "AUSENTE", 60.0)]
    script = [(0, data(PRESS)), (30, data(PRESS, ts=1.0))]
    assert said(MINUTE, script, until=100) == [(90.0, "press", "AUSENTE", 60.0)]
    assert said(MINUTE, [(0, Frame.failure(PRESS, 0, "timeout"))]) == []


def test_a_series_that_is_fed_is_never_silent():
    """However long it runs; a frame at each 59.999 s is enough."""
    assert said(MINUTE, [(n * 59.999, data(PRESS)) for n in range(16)], until=950) == []


def test_what_is_expected_is_told_even_if_it_never_came():
    """From the start on; what matches an entry is one series under the entry's own tags."""
    options = Absence(
        after=Duration(60),
        expect=[Expected(plc_id="press"), Expected(plc_id="saw", tags={"area": "x"}), Expected(plc_id="drill", db=7)],
    )
    other = origin("press", db=2)
    script = [(30, data(PRESS)), (50, data(other)), (70, data(origin("saw", tags={"area": "x", "y": "1"})))]
    assert said(options, script, until=125) == [
        (60.0, "saw", "AUSENTE", 60.0),
        (60.0, "drill", "AUSENTE", 60.0),
        (70.0, "saw", "Normal", 70.0),
        (110.0, "press", "AUSENTE", 60.0),
    ]
    seen = [frame.origin for _, frame in play(absence, options, script, 65)]
    assert [(found.plc_id, found.db, found.ip, found.tags) for found in seen] == [
        ("saw", None, "", {"area": "x"}),
        ("drill", 7, "", {}),
    ]


def test_what_is_not_expected_is_watched_unless_told():
    """By default whatever comes."""
    for only, expected in ((False, ["press", "saw"]), (True, ["press"])):
        options = Absence(after=Duration(60), expect=[Expected(plc_id="press")], only_expected=only)
        assert [plc for _, plc, *_ in said(options, [(0, data(PRESS)), (1, data(SAW))])] == expected


def test_a_verdict_of_silence_is_repeated_when_asked():
    """With the growing time, until it is back; then the next silence is as punctual as the first."""
    options = Absence(after=Duration(60), every=Duration(600))
    assert said(options, [(0, data(PRESS)), (700, data(PRESS))], until=770) == [
        (60.0, "press", "AUSENTE", 60.0),
        (660.0, "press", "AUSENTE", 660.0),
        (700.0, "press", "Normal", 700.0),
        (760.0, "press", "AUSENTE", 60.0),
    ]


def test_a_source_that_was_restarted_goes_on_as_the_same_series():
    """Another origin that says the same."""
    again = origin("press", tags={"area": "linha1"})
    assert said(MINUTE, [(0, data(PRESS)), (50, data(again)), (109, data(PRESS))], until=165) == []


def test_ends_pass_and_end_the_watch():
    """Completion and error go through, and no verdict follows them or the disposal."""
    error = ValueError("x")
    assert play(absence, MINUTE, [(0, data(PRESS)), (1, END)]) == [(1, END)]
    assert play(absence, MINUTE, [(0, data(PRESS)), (1, error)]) == [(1, error)]
    assert play(absence, MINUTE, [(0, data(PRESS))], until=30) == []


def test_a_new_subscription_knows_nobody():
    """Data makes no verdict by itself."""
    assert play_twice(absence, MINUTE, data(PRESS)) == ([], [])


def test_the_forecast_says_what_silence_costs():
    """Three blocks silent, a verdict of each in 10 min."""
    options = Absence(after=Duration(60), every=Duration(600))
    forecast = absence.forecast(options, Scope(graph="g", node="n"), Flow(frames=9, size=99, blocks=3))
    assert (forecast.flow.frames, forecast.flow.names) == (0.005, {"status_dados", "silent_seconds"})
    quiet = absence.forecast(MINUTE, Scope(graph="g", node="n"), Flow(frames=9, size=99, blocks=3))
    assert quiet.flow.frames == 0


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{type: absence, from: press}", "after: is required and missing"),
        ("{type: absence, from: press, after: 0s}", "after: must be > 0s"),
        ("{type: absence, from: press, after: 60}", "after: '60' is not a duration"),
        ("{type: absence, from: press, after: 60s, expect: [{}]}", "expect[0]: names nothing; give plc_id, tags"),
        ("{type: absence, from: press, after: 60s, expect: [press1]}", "expect[0]: must be a mapping"),
        ("{type: absence, from: press, after: 60s, only_expected: true}", "only_expected: nothing is expected"),
        ("{type: absence, from: press, after: 60s, level: Normal}", "level: 'Normal' is also the verdict"),
        ("{type: absence, from: press, after: 60s, result: boot}", "result: 'boot' is reserved"),
    ],
)
def test_bad_options_are_told(node, said):
    """Each mistake names node, option, what was found and what is allowed."""
    (problem,) = mistakes(NodeKind.TRANSFORM, node)
    assert problem.startswith("node 'node' (absence): ")
    assert said in problem


def test_good_options_from_text():
    """What the documentation shows loads without a word."""
    node = "{type: absence, from: press, after: 60s, every: 10m, expect: [{plc_id: press1}, {tags: {area: linha1}}]}"
    assert mistakes(NodeKind.TRANSFORM, node) == []
