"""What counters have counted: overflows, resets, and what somebody has set."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.counters import Counter, Pulses, Wrap, number_of


def counted(wrap, *shown, most=1000, every=1.0):
    """What each reading after the first has counted, with so many seconds between two of them."""
    counter = Counter(wrap, most)
    return [counter.step(value, n * every) for n, value in enumerate(shown)][1:]


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


@pytest.mark.parametrize(
    ("shown", "every", "expected"),
    [
        ([100, 20000, 101, 102], 1, [0, 1, 1]),
        ([100, 20000, 101], 600, [0, 1]),
        ([20000, 0, 20001], 1, [0, 1]),
        ([100, 20000, 20001], 1, [0, 1]),
        ([100, -20000, 101], 1, [0, 1]),
        ([32700, -32536, 0, 5], 600, [300, 0, 5]),
        ([-32536, 0], 36_000, [0]),
        ([-5, 3], 1, [8]),
        ([0, 1000, 2001], 1, [1000, 0]),
        ([100, 14_500], 3600, [14_400]),
        ([100, 14_500], 60, [0]),
    ],
)
def test_a_rise_that_nobody_can_have_made_counts_nothing(shown, every, expected):
    """A wrong reading, a reset of an INT that is negative; what was made in an hour without a read counts."""
    assert counted(Wrap.INT, *shown, every=every) == expected


def test_a_jump_up_is_told():
    """Only that of the latest reading, and only where nothing was counted for it."""
    counter = Counter()
    told = []
    for n, value in enumerate((100, 20000, 20001, 5, 20002, 6)):
        counter.step(value, n)
        told.append(counter.jumped)
    assert told == [False, True, False, False, False, False]


@given(st.lists(st.integers(-(1 << 33), 1 << 33), min_size=1), st.sampled_from(Wrap), st.integers(1, 5000))
def test_a_jump_never_counts_more_than_most_and_nothing_is_ever_negative(shown, wrap, most):
    """Whatever is shown."""
    for (before, after), count in zip(itertools.pairwise(shown), counted(wrap, *shown, most=most), strict=True):
        assert 0 <= count <= most
        assert count == after - before or not 0 <= after - before <= most


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
    bits = (True, True, False, True, True, False, False, True)
    assert [pulses.step(bit, n) for n, bit in enumerate(bits)] == [0, 0, 0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), (5.5, 5.5), (True, 1), (False, 0), ("5", None), (math.nan, None), (math.inf, None), (-math.inf, None)],
)
def test_what_is_a_number(value, expected):
    """Texts are none, whatever they say; neither is what can't be compared."""
    assert number_of(value) == expected
