"""What counters have counted: overflows, resets, and what somebody has set."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.counters import Counter, Pulses, Wrap, number_of


def counted(wrap, *shown, most=1000):
    """What each reading after the first has counted."""
    counter = Counter(wrap, most)
    return [counter.step(value) for value in shown][1:]


@pytest.mark.parametrize(
    ("wrap", "shown", "expected"),
    [
        (Wrap.AUTO, [0, 5, 5, 7], [5, 0, 2]),
        (Wrap.AUTO, [32766, 32767, -32768, -32767], [1, 1, 1]),
        (Wrap.AUTO, [-2, 3], [5]),
        (Wrap.AUTO, [32765, 2], [5]),
        (Wrap.AUTO, [65534, 3], [5]),
        (Wrap.AUTO, [2147483646, -2147483647], [3]),
        (Wrap.AUTO, [2147483646, 1], [3]),
        (Wrap.AUTO, [4294967295, 4], [5]),
        (Wrap.AUTO, [65534.0, 3.0], [5]),
        (Wrap.INT, [32765, 2], [5]),
        (Wrap.INT, [32765, -32767], [4]),
        (Wrap.UINT, [65534, 3], [5]),
        (Wrap.DINT, [2147483646, -2147483647], [3]),
        (Wrap.UDINT, [4294967295, 4], [5]),
    ],
)
def test_an_overflow_goes_on_counting(wrap, shown, expected):
    """A program adds to 32767 and gets -32768, or guards it and begins at 0; the other types have their own ends."""
    assert counted(wrap, *shown) == expected


@pytest.mark.parametrize(
    ("wrap", "shown", "expected"),
    [
        (Wrap.AUTO, [5014, 0, 3], [0, 3]),
        (Wrap.AUTO, [5014, 3], [3]),
        (Wrap.AUTO, [20000, 3], [3]),
        (Wrap.UINT, [32765, 2], [2]),
        (Wrap.DINT, [65534, 3], [3]),
        (Wrap.INT, [65534, 3], [3]),
        (Wrap.NONE, [32767, 3], [3]),
        (Wrap.NONE, [32767, -32768, -32767], [0, 1]),
        (Wrap.AUTO, [30000, -30000], [0]),
    ],
)
def test_a_reset_counts_what_is_shown_and_never_a_turn_round_the_type(wrap, shown, expected):
    """Falls that are no plausible overflow; a negative number was not counted from 0."""
    assert counted(wrap, *shown) == expected


def test_a_number_that_somebody_has_set_counts_nothing():
    """5014 corrected to 5000; with a smaller `most` also a smaller number, and with a greater one a longer way."""
    assert counted(Wrap.AUTO, 5014, 5000, 5001) == [0, 1]
    assert counted(Wrap.AUTO, 50, 30, most=20) == [0]
    assert counted(Wrap.INT, 30000, 1000, most=4000) == [3768]


@given(st.lists(st.integers(-(1 << 33), 1 << 33), min_size=1), st.sampled_from(Wrap), st.integers(1, 5000))
def test_a_fall_never_counts_more_than_most_and_nothing_is_ever_negative(shown, wrap, most):
    """Whatever is shown."""
    for (before, after), count in zip(itertools.pairwise(shown), counted(wrap, *shown, most=most), strict=True):
        assert 0 <= count <= (after - before if after >= before else most)


@given(st.integers(0, 70_000), st.lists(st.integers(0, 999), max_size=200), st.sampled_from([Wrap.INT, Wrap.AUTO]))
def test_an_int_that_turns_round_loses_nothing(start, steps, wrap):
    """The sum of what was counted is what was made, through any number of turns."""
    made = start
    shown = [((made + 32768) % 65536) - 32768]
    for step in steps:
        made += step
        shown.append(((made + 32768) % 65536) - 32768)
    assert sum(counted(wrap, *shown)) == made - start


def test_pulses_count_how_often_a_bit_was_set():
    """One that is set at first sight may have been so for long."""
    pulses = Pulses()
    assert [pulses.step(bit) for bit in (True, True, False, True, True, False, False, True)] == [0, 0, 0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), (5.5, 5.5), (True, 1), (False, 0), ("5", None), (math.nan, None), (math.inf, None), (-math.inf, None)],
)
def test_what_is_a_number(value, expected):
    """Texts are none, whatever they say; neither is what can't be compared."""
    assert number_of(value) == expected
