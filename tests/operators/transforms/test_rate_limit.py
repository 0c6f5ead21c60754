"""The rate limit: which frame of a period passes, and when."""

import pytest

from operators.transforms.rate_limit import RateLimit, rate_limit
from pipeline.config import load
from pipeline.config.predict import forecast
from pipeline.frame import Frame, Kind
from pipeline.operator import Flow, NodeKind, Scope
from pipeline.units import Duration
from tests.parts.engine import data, origin
from tests.parts.stream import END, mistakes, play, play_twice

PRESS, SAW = origin("press"), origin("saw")
TEN = RateLimit(every=Duration(10))


def limited(*script, options=TEN, until=1000.0):
    """What came out: time and `n`, or the kind of what is no data."""
    return [
        (when, event.values.get("n", event.kind) if isinstance(event, Frame) else event)
        for when, event in play(rate_limit, options, script, until)
    ]


def test_the_first_passes_at_once_and_of_the_rest_the_newest_at_the_end():
    """Twenty frames in two periods give three: the first, and one at the end of each; then it is quiet."""
    assert limited(*[(n + 0.5, data(PRESS, n=n)) for n in range(20)]) == [(0.5, 0), (10, 9), (20, 19)]


def test_a_change_after_a_pause_is_not_delayed_and_the_last_state_arrives():
    """A single frame passes at once; of a burst the last one follows."""
    script = [(3, data(PRESS, n=1)), (53, data(PRESS, n=2)), (54, data(PRESS, n=3)), (55, data(PRESS, n=4))]
    assert limited(*script) == [(3, 1), (53, 2), (60, 4)]


def test_never_more_than_one_in_a_period_and_the_count_is_that_of_the_periods():
    """50 Hz for a minute give one frame a second, each the newest, in order."""
    script = [(n / 50 + 0.01, data(PRESS, n=n)) for n in range(3000)]
    seen = limited(*script, options=RateLimit(every=Duration(1)))
    assert [when for when, _ in seen] == [0.01, *map(float, range(1, 61))]
    assert [n for _, n in seen] == [0, *range(49, 3000, 50)]


def test_each_block_has_its_own_limit():
    """One that talks much takes nothing from the other; what waits leaves together."""
    script = [(n + 0.5, data(origin_, n=n)) for n in range(9) for origin_ in (PRESS, SAW)]
    assert limited(*script) == [(0.5, 0), (0.5, 0), (10, 8), (10, 8)]


def test_failures_and_heartbeats_pass_at_once_and_nothing_older_follows_a_failure():
    """What waits is released before the failure; a heartbeat leaves it waiting; another block's is left alone.

    The first reading after the failure passes too: behind it somebody may wait to hear that it is over.
    """
    script = [
        (1, data(PRESS, n=1)),
        (1.5, data(SAW, n=100)),
        (2, data(PRESS, n=2)),
        (2.5, data(SAW, n=200)),
        (3, Frame.heartbeat(PRESS, 3)),
        (4, Frame.failure(PRESS, 4, "timeout")),
        (5, Frame.failure(PRESS, 5, "timeout")),
        (6, data(PRESS, n=6)),
        (7, data(PRESS, n=7)),
    ]
    assert limited(*script) == [
        (1, 1),
        (1.5, 100),
        (3, Kind.HEARTBEAT),
        (4, 2),
        (4, Kind.FAILURE),
        (5, Kind.FAILURE),
        (6, 6),
        (10, 7),
        (10, 200),
    ]


def test_a_change_of_what_is_bad_passes_at_once_and_nothing_older_follows_it():
    """A value goes bad, for another reason, comes back within one period; the same bad value waits like any other."""
    gone, other = {"a": "timeout"}, {"a": "access denied"}
    script = [
        (1, data(PRESS, n=1)),
        (2, data(PRESS, n=2)),
        (3, data(PRESS, n=3).replace(bad=gone)),
        (3.5, Frame.heartbeat(PRESS, 3.5)),
        (4, data(PRESS, n=4).replace(bad=gone)),
        (5, data(PRESS, n=5).replace(bad=other)),
        (5.5, data(SAW, n=100)),
        (6, data(PRESS, n=6)),
        (7, data(PRESS, n=7).replace(bad={})),
        (18, data(PRESS, n=18).replace(bad=gone)),
    ]
    assert limited(*script) == [
        (1, 1),
        (3, 2),
        (3, 3),
        (3.5, Kind.HEARTBEAT),
        (5, 4),
        (5, 5),
        (5.5, 100),
        (6, 6),
        (10, 7),
        (18, 18),
    ]


def test_completion_releases_what_waits_and_an_error_passes():
    """A graph that stops in order loses nothing that would still have been sent."""
    assert limited((1, data(PRESS, n=1)), (2, data(PRESS, n=2)), (3, END)) == [(1, 1), (3, 2), (3, END)]
    error = ValueError("x")
    assert limited((1, data(PRESS, n=1)), (3, error)) == [(1, 1), (3, error)]


def test_disposal_ends_the_ticks():
    """What waits then is given up."""
    assert limited((1, data(PRESS, n=1)), (2, data(PRESS, n=2)), until=5) == [(1, 1)]


def test_a_new_subscription_begins_a_new_period():
    """It has no frame waiting and passes its first."""
    frame = data(PRESS)
    assert play_twice(rate_limit, TEN, frame, frame) == ([frame], [frame])


@pytest.mark.parametrize(
    ("inflow", "frames"),
    [
        (Flow(frames=50, size=9, blocks=2), 0.2),
        (Flow(frames=0.1, size=9, blocks=2), 0.1),
        (Flow(frames=50, size=9), 50),
    ],
)
def test_the_forecast_is_the_lesser_of_what_comes_and_what_is_allowed(inflow, frames):
    """Where nobody knows how many blocks there are, what comes in."""
    assert rate_limit.forecast(TEN, Scope(graph="g", node="n"), inflow).flow.frames == frames


GRAPH = """
name: line
sources:
  press: {type: s7, address: 192.0.2.10, plc_id: press1, every: 1s, tags: {a: DB1.DBW0, b: DB1.DBW2}}
transforms:
  moved: {type: deadband, from: press, send: %s}
  chosen: {type: select, from: moved, drop: [b]}
  level: {type: threshold, from: chosen, field: a, levels: {high: "> 5"}, into: values}
  tagged: {type: tag, from: level, tags: {area: hall}}
  alive: {type: heartbeat, from: tagged, every: 30s}
  paced: {type: rate_limit, from: %s, every: 5s}
sinks:
  out: {type: stdout, from: [paced, alive]}
"""


@pytest.mark.parametrize(
    ("send", "giver", "count"), [("changed", "moved", 1), ("changed", "alive", 1), ("frame", "alive", 0)]
)
def test_behind_a_deadband_that_sends_only_changes_the_loss_is_told(tmp_path, send, giver, count):
    """Directly or through other transforms; one that sends whole frames is well."""
    (tmp_path / "line.yaml").write_text(GRAPH % (send, giver), encoding="utf-8")
    found = {node.name: each.warnings for node, each in forecast(load(tmp_path / "line.yaml", {}))}
    assert len(found.pop("paced")) == count
    assert not any(found.values())


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{type: rate_limit, from: press}", "every: is required and missing"),
        ("{type: rate_limit, from: press, every: 0s}", "every: must be > 0s, got 0s"),
        ("{type: rate_limit, from: press, every: 10}", "every: '10' is not a duration"),
        ("{type: rate_limit, from: press, every: 1s, per: block}", "per: unknown option; allowed: every"),
    ],
)
def test_bad_options_are_told(node, said):
    """Each mistake names node, option, what was found and what is allowed."""
    (problem,) = mistakes(NodeKind.TRANSFORM, node)
    assert problem.startswith("node 'node' (rate_limit): ")
    assert said in problem


def test_good_options_from_text():
    """What the documentation shows loads without a word."""
    assert mistakes(NodeKind.TRANSFORM, "{type: rate_limit, from: press, every: 1m30s}") == []
