"""From moving bytes back to the layout: random ones, those that ship, the hard cases one by one."""

import struct
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import load
from pipeline.config.layouts import Naming
from pipeline.probing.analysis import analyse
from pipeline.probing.readings import Reading
from pipeline.probing.samples import Sample, activities
from tests.parts.engine import PLANT
from tests.parts.line import ROOT
from tests.pipeline.probing.streams import Stream, simulated


def places(analysis):
    """Type, byte and bit of the chosen fields."""
    return {(each.reading.type, each.reading.byte, each.reading.bit) for each in analysis.chosen}


def moving(fields, samples):
    """Those of some fields whose bytes change."""
    active = activities(samples)

    def moves(kind, byte, bit):
        if kind == "BOOL":
            return active[byte].toggled >> bit & 1
        return any(each.changes for each in active[byte : byte + SIZES.get(kind, 2)])

    return {field for field in fields if moves(*field)}


def course(code, values, before=0):
    """Samples of one number behind some bytes of zero."""
    return [Sample(at / 2, bytes(before) + struct.pack(code, value)) for at, value in enumerate(values)]


SIZES = {"REAL": 4, "DINT": 4, "DATE_AND_TIME": 8}
PARTS = st.one_of(
    st.tuples(st.just("bits"), st.integers(1, 8)),
    st.tuples(st.just("counter"), st.just("INT"), st.integers(0, 20_000), st.floats(0.1, 1)),
    # A DINT that passes a multiple of 65,536; else nothing tells it from two INTs, of which one stands still.
    st.tuples(
        st.just("counter"), st.just("DINT"), st.integers(1, 150).map(lambda n: n * 65536 - 40), st.floats(0.8, 1)
    ),
    st.tuples(st.just("counter"), st.just("DINT"), st.integers(10**5, 10**8), st.just(1.0), st.just(5000)),
    st.tuples(st.just("value"), st.integers(-20_000, 20_000), st.integers(5, 200)),
    st.tuples(st.just("real"), st.floats(0.125, 10_000)),
    st.tuples(st.just("text"), st.integers(8, 20), st.text("ABCDEFGH 0123", min_size=3, max_size=8)),
    st.tuples(st.just("clock")),
    st.tuples(st.just("reserve"), st.integers(1, 6)),
)


@settings(max_examples=120, deadline=None)
@given(parts=st.lists(PARTS, min_size=1, max_size=8), seed=st.integers(0, 2**32))
def test_a_random_layout_comes_back(parts, seed):
    """What moves is found at its place and with its type; nothing is found that isn't there."""
    stream = Stream(Random(seed))  # noqa: S311 - a game
    for name, *arguments in parts:
        getattr(stream, name)(*arguments)
    samples = stream.samples()
    analysis = analyse(samples)
    found = places(analysis)
    lost = moving(stream.fields, samples) - found
    near = {(each.reading.type, each.reading.byte, 0) for each in analysis.candidates if each.score > 0.25}
    # Rarely is another reading as good, in which case the right one is among the first; never are both wrong.
    assert lost <= near, lost - near
    assert len(lost) <= 1
    if not lost:
        assert found <= {*stream.fields}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("name", "layout", "seconds"), [("line1", "press", 120), ("db500", "linha", 60)])
def test_a_shipped_layout_comes_back(name, layout, seconds, seed):
    """The simulated press, and five machines in one block: each field that moved, and no other."""
    found = load(ROOT / "configs" / f"{name}.yaml", PLANT).layouts[layout]
    leaves = found.leaves(Naming())
    fields = {(leaf.type.name, leaf.byte, leaf.bit) for leaf in leaves}
    samples = simulated(leaves, found.size, seconds, seed=seed)
    moved = moving(fields, samples)
    assert places(analyse(samples)) == moved
    assert len(moved) >= 0.8 * len([field for field in fields if field[0] != "BYTE"])


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (course(">h", [32760 + n for n in range(7)]), "INT"),
        (course(">H", [32700 + n for n in range(140)]), "WORD"),
        (course(">h", [n - 50 for n in range(100)]), "INT"),
        (course(">i", [65_500 + n for n in range(100)]), "DINT"),
        (course(">i", [86_400_000 - 500 * n for n in range(100)]), "TIME"),
        (course(">f", [12.5] * 20), "REAL"),
        (course(">f", [0.0] * 10 + [21.5, 22.0] * 20), "REAL"),
        (course(">h", [100] * 20), "INT"),
        (course(">B", [n * 37 % 7 + 100 for n in range(60)]), "BYTE"),
        (course(">B", [n // 9 & 1 for n in range(60)]), "BOOL"),
        (
            course(">H", [0x2000 | (n // 100 % 10) << 8 | (n // 10 % 10) << 4 | n % 10 for n in range(999, 700, -1)]),
            "S5TIME",
        ),
        ([Sample(n, b"\x0a\x05PRESS\0\0\0\0\0") for n in range(5)], "STRING[10]"),
        ([Sample(n, bytes([8, 4]) + (b"ABCD", b"EFGH")[n // 9 % 2] + bytes(4)) for n in range(40)], "STRING[8]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_field_alone(samples, expected):
    """Counters that pass their halves, times, round constants, texts: the type that a person would see."""
    analysis = analyse(samples)
    assert [(each.reading.type, each.reading.byte) for each in analysis.chosen] == [(expected, 0)]
    assert analysis.chosen[0].score == 1


def test_zero_is_nothing_and_a_small_number_behind_it_an_int():
    """Reserved bytes make no field; the DINT that it may be is told as the second best."""
    analysis = analyse(course(">h", [5000 + n for n in range(40)], before=6))
    assert places(analysis) == {("INT", 6, 0)}
    assert next((each.reading.type, each.score > 0.4) for each in analysis.at(4)) == ("DINT", True)
    assert places(analyse([Sample(0, bytes(8))])) == set()
    assert analyse([]).candidates == ()


def test_what_is_known_stays_whatever_it_costs():
    """A field that the user accepted belongs to every division; what overlaps it does not."""
    samples = course(">f", [12 + n % 7 / 10 for n in range(50)], before=2)
    pinned = [Reading("WORD", 4, 2, 0.0), Reading("BOOL", 0, 1, 0.0, 3)]
    analysis = analyse(samples, pinned)
    assert {("WORD", 4, 0), ("BOOL", 0, 3)} <= places(analysis)
    assert not [each for each in analysis.candidates if each.reading.type == "REAL"]


@settings(max_examples=60, deadline=None)
@given(data=st.lists(st.binary(min_size=11, max_size=11), min_size=1, max_size=12))
def test_any_bytes_are_divided(data):
    """Noise, NaN, texts without end: every byte has one owner at most, and every score is between 0 and 1."""
    analysis = analyse([Sample(at, block) for at, block in enumerate(data)])
    owners = [
        at
        for each in analysis.chosen
        for at in range(each.reading.byte, each.reading.end)
        if each.reading.type != "BOOL"
    ]
    assert len(owners) == len(set(owners))
    assert all(0 <= each.score <= 1 for each in analysis.candidates)
    assert all(each.score == 1 for each in analysis.chosen)
