"""States of series: shared by equal origins, begun anew when the clock was set back."""

from pipeline.series import Series
from tests.parts.engine import data, origin

PRESS = origin("press", tags={"a": "1", "b": "2"})


def make_series():
    """States that are lists, and the time that they read."""
    now = [0.0]
    return Series(list, lambda: now[0]), now


def test_equal_origins_share_a_state_and_others_have_their_own():
    """A source that was restarted hands out another origin for the same block; the order of tags says nothing."""
    series, _ = make_series()
    state = series.of(PRESS)
    assert series.at(data(PRESS, ts=1)) is state
    assert series.at(data(origin("press", tags={"b": "2", "a": "1"}), ts=2)) is state
    for other in (origin("saw"), origin("press"), origin("press", db=2, tags={"a": "1", "b": "2"})):
        assert series.at(data(other, ts=0)) is not state


def test_a_late_frame_has_no_state_and_others_are_not_late():
    """Its series has had a younger one; the same time again is not late, another series has its own time."""
    series, _ = make_series()
    state = series.at(data(PRESS, ts=10))
    assert series.at(data(PRESS, ts=9)) is None
    assert series.at(data(PRESS, ts=10)) is state
    assert series.at(data(origin("saw"), ts=9)) is not None


def test_a_clock_that_was_set_back_begins_anew_after_a_minute():
    """A minute of nothing but late frames; one that is not late among them shows that they come from a backlog."""
    series, now = make_series()
    state = series.at(data(PRESS, ts=1000))
    for now[0], ts in ((0.0, 100), (59.0, 159), (59.5, 1060), (60.0, 160), (119.0, 219)):
        assert series.at(data(PRESS, ts=ts)) is (state if ts > 1000 else None)
    now[0] = 120.0
    anew = series.at(data(PRESS, ts=220))
    assert anew == []
    assert anew is not state
    assert series.at(data(PRESS, ts=221)) is anew
