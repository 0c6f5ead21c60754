"""The samples behind sparklines and charts: right values, bounded memory, whatever a device sends."""

import math

import pytest

from pipeline.web.history import History
from tests.parts.engine import data, origin
from tests.parts.web import NOW, Watched


def sampled(view, history, where, rows):
    """Let a block give these rows of values, a second each, and sample each."""
    for row in rows:
        view.wall += 1
        view.latest[where] = data(where, view.wall, **row)
        history.sample()


def values(history, where, name, **more):
    """The samples without their times."""
    return [value for _, value in history.samples(where, name, **more)]


def test_every_number_comes_back_as_it_was():
    """REALs as they are, doubles and counters with all their digits, bits as 0 and 1, with the time of the frame."""
    view = Watched()
    view.latest.clear()
    history, where = History(view), origin()
    real, double, count = 4.25, 0.1 + 1e-12, 2**40 + 1
    sampled(view, history, where, [{"r": real, "d": double, "n": count, "b": True, "s": "text"}])
    assert [values(history, where, name) for name in "rdnb"] == [[real], [double], [count], [1]]
    assert list(history.samples(where, "r")) == [(NOW + 1, real)]
    assert values(history, where, "s") == []
    assert history.names(where) == ["r", "d", "n", "b"]


def test_values_may_be_absent_new_or_of_another_type():
    """A bad or infinite value leaves a gap, a new name begins, an integer may become a fraction; nothing raises."""
    view = Watched()
    view.latest.clear()
    history, where = History(view), origin()
    rows = [{"a": True, "n": 1}, {"n": 2}, {"a": False, "n": 3, "new": 0.5}, {"a": 700, "n": "x", "new": 1e300}]
    rows.append({"a": 700, "new": math.inf})
    sampled(view, history, where, rows)
    assert values(history, where, "a") == [1, None, 0, 700, 700]
    assert values(history, where, "n") == [1, 2, 3, None, None]
    assert values(history, where, "new") == [None, None, 0.5, 1e300, None]


def test_a_number_that_looked_like_a_real_at_first_keeps_all_its_digits():
    """Meters and scaled values begin with 0.0 too; also where more of them do than a block may change its layout."""
    view = Watched()
    view.latest.clear()
    history, where = History(view), origin()
    meters = [{f"m{n}": 123456789.123 if n < risen else 0.0 for n in range(80)} for risen in range(81)]
    sampled(view, history, where, meters)
    for n in (0, 40, 79):
        assert values(history, where, f"m{n}") == [0.0] * (n + 1) + [123456789.123] * (80 - n)


def test_a_frame_is_sampled_once():
    """A PLC that is silent leaves a gap, no straight line."""
    view = Watched()
    history = History(view)
    for _ in range(5):
        history.sample()
    assert len(values(history, view.press, "contador_bom")) == 1


def test_messages_that_overtake_one_another_are_in_the_order_of_their_times():
    """Whatever room is left; none is lost that is not older than all that is kept."""
    view = Watched()
    view.latest.clear()
    history, where = History(view, span=4.0), origin()
    for n in (0, 5, 2, 4, 3, 1, 6):
        view.latest[where] = data(where, NOW + n, n=n)
        history.sample()
    assert values(history, where, "n") == [3, 4, 5, 6]


def test_a_clock_that_is_set_back_takes_what_it_was_ahead_with_it():
    """What comes now is the latest, and is found by its time."""
    view = Watched()
    view.latest.clear()
    history, where = History(view, memory=20_000, span=800.0), origin()
    sampled(view, history, where, [{"n": n} for n in range(100)])
    view.wall = NOW + 49.5
    sampled(view, history, where, [{"n": n} for n in range(1000, 1003)])
    assert values(history, where, "n")[-4:] == [49, 1000, 1001, 1002]
    assert values(history, where, "n", since=NOW + 50, latest=60) == [1000, 1001, 1002]


def test_the_time_asked_for_is_what_comes():
    """After `since`, before `until`, or the newest."""
    view = Watched()
    view.latest.clear()
    history, where = History(view), origin()
    sampled(view, history, where, [{"n": n} for n in range(10)])
    assert values(history, where, "n", since=NOW + 4, until=NOW + 7) == [4, 5]
    assert values(history, where, "n", latest=3) == [7, 8, 9]


def test_memory_is_bounded_and_old_samples_are_thinned_out_not_lost():
    """A day into little memory: few rows, the newest of them dense, the oldest as old as was promised."""
    view = Watched()
    view.latest.clear()
    history, where = History(view, memory=20_000, span=8000.0), origin()
    sampled(view, history, where, [{"n": n, "m": 0.5} for n in range(20_000)])
    kept = list(history.samples(where, "n"))
    assert len(kept) * 70 <= 20_000
    assert values(history, where, "n", latest=5) == [*range(19_995, 20_000)]
    assert kept == sorted(kept)
    assert 6000 < kept[-1][0] - kept[0][0] <= 8100
    assert history.dense < 8000


@pytest.mark.parametrize(("blocks", "period"), [(1, 1), (19, 1), (21, 2), (100, 5)])
def test_large_graphs_are_sampled_by_turns(blocks, period):
    """200 values a block: each has its turn, none is left out."""
    view = Watched()
    view.latest = {}
    history = History(view)
    places = [origin(f"press{number}") for number in range(blocks)]
    row = {f"t{n}": n * 0.5 for n in range(200)}
    for _ in range(40):
        view.wall += 1
        for place in places:
            view.latest[place] = data(place, view.wall, **row)
        history.sample()
    assert history.period == period
    taken = [len(values(history, place, "t7")) for place in places]
    assert min(taken) >= math.floor(38 / period) - 1
