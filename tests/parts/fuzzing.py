"""What fuzzers share: how long they search, and how good input is made bad.

    @fuzzed(0.1)                                  # a tenth of the examples: each is slow
    @given(damaged([ANSWER]))
    def test_…

A mutation is data, so that hypothesis shrinks a finding to the few that matter.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

__all__ = ["chunks", "damaged", "fuzzed", "rewritten", "worded"]

examples = 0
"""Of each test, as `--fuzz-examples` says; 0 is the short session of CI."""
_SHORT = 200
_FEWEST = 3
_EDGES = [0, 1, 2, 3, 4, 7, 0x10, 0x20, 0x40, 0x7F, 0x80, 0xFE, 0xFF]
_LONGEST = 1 << 16


def fuzzed(share: float = 1.0) -> Callable[[Any], Any]:
    """Settings of a fuzz test: `share` of the examples. The long session is random, and keeps what it finds."""
    count = max(_FEWEST, int((examples or _SHORT) * share))
    more: dict[str, Any] = {"derandomize": False} if examples else {}
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), **more)


def damaged(good: Sequence[bytes], most: int = 6) -> st.SearchStrategy[bytes]:
    """Bytes of `good` (at times none of them: any bytes), changed in up to `most` places."""
    mutations = st.lists(st.tuples(st.integers(0, 7), _places, _places, st.binary(max_size=12)), max_size=most)
    known = st.builds(_damage, st.sampled_from(good), st.sampled_from(good), mutations)
    return st.one_of(known, known, known, st.binary(max_size=64))


def worded(error: Exception, words: str = "") -> None:
    """It says something, these words among it, that can be written down."""
    assert str(error).encode()
    assert words in str(error)


_places = st.one_of(st.integers(0, 40), st.integers(0, _LONGEST), st.integers(-40, -1))


def _damage(data: bytes, other: bytes, mutations: list[tuple[int, int, int, bytes]]) -> bytes:
    for kind, first, second, more in mutations:
        data = _DAMAGES[kind](data, first % len(data), second, more or other) if data else more
    return data


_DAMAGES: list[Callable[[bytes, int, int, bytes], bytes]] = [
    lambda data, at, n, _: data[:at] + bytes([data[at] ^ 1 << (n & 7)]) + data[at + 1 :],
    lambda data, at, n, _: data[:at] + bytes([_EDGES[n % len(_EDGES)]]) + data[at + 1 :],
    lambda data, at, _, more: data[:at] + more + data[at:],
    lambda data, at, n, _: data[:at] + data[at + abs(n) % 48 + 1 :],
    lambda data, at, n, _: data[: at + abs(n) % 48 + 1] + data[at:],
    lambda data, at, *_: data[:at],
    lambda data, at, _, more: data[:at] + more + data[at + len(more) :],
    lambda data, at, n, more: data[:at] + more[n % (len(more) + 1) :],
]
"""What is done to data at a place: bits, bytes, insertions, gaps, repetitions, ends, other bytes, another one's end."""


def chunks(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The data as a network may deliver it: cut at some places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


def rewritten(good: Sequence[str], tokens: Sequence[str], most: int = 6) -> st.SearchStrategy[str]:
    """Texts of `good`, changed in up to `most` places: lines moved, doubled, indented, words replaced by `tokens`."""
    piece = st.one_of(st.sampled_from(tokens), st.sampled_from(tokens), st.text(max_size=8))
    mutations = st.lists(st.tuples(st.integers(0, 8), _places, _places, piece), min_size=1, max_size=most)
    return st.builds(_rewrite, st.sampled_from(good), mutations)


def _rewrite(text: str, mutations: list[tuple[int, int, int, str]]) -> str:
    for kind, first, second, piece in mutations:
        lines = text.split("\n")
        at = first % len(lines)
        lines[at : at + 1] = _REWRITES[kind](lines, at, second, piece)
        text = "\n".join(lines)
    return text


def _indented(lines: list[str], at: int, n: int, _: str) -> list[str]:
    return [" " * (abs(n) % 9) + lines[at].lstrip(" ")]


def _inserted(lines: list[str], at: int, n: int, piece: str) -> list[str]:
    column = n % (len(lines[at]) + 1)
    return [lines[at][:column] + piece + lines[at][column:]]


def _shortened(lines: list[str], at: int, n: int, _: str) -> list[str]:
    column = n % (len(lines[at]) + 1)
    return [lines[at][:column] + lines[at][column + 1 :]]


def _valued(lines: list[str], at: int, _: int, piece: str) -> list[str]:
    return ["{}{} {}".format(*lines[at].partition(":")[:2], piece)]


def _worded(lines: list[str], at: int, n: int, piece: str) -> list[str]:
    words = lines[at].split(" ")
    words[n % len(words)] = piece
    return [" ".join(words)]


_REWRITES: list[Callable[[list[str], int, int, str], list[str]]] = [
    lambda *_: [],
    lambda lines, at, *_: [lines[at], lines[at]],
    lambda lines, at, n, _: [lines[at], lines[n % len(lines)]],
    lambda lines, at, n, _: [lines[at], *lines[n % len(lines) :][: abs(n) % 9]],
    _indented,
    _inserted,
    _shortened,
    _valued,
    _worded,
]
"""What becomes of a line: gone, doubled, with others behind it, indented, with words inserted, left out, replaced."""
