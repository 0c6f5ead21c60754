"""From samples of a block to its fields: the readings that describe together, in the fewest bits, what was seen.

Every byte belongs to exactly one reading. The best division is found byte by byte from both ends, so that each reading
also gets what the whole would cost with it: its score tells how far it is from the best.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.frame import Scalar
from pipeline.probing.guess import Guess, guess
from pipeline.probing.readings import WIDEST, Reading, bits_of, readings, texts, values_of
from pipeline.probing.samples import Sample, activities

__all__ = ["Analysis", "Candidate", "analyse"]

_ODD_BYTE = 12.0
"""Bits in an odd byte whose neighbour has none are rare: STEP 7 lets BOOLs begin at even bytes."""
_HALVED = 6.0
"""So many bits more, and a reading is half as good."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What some bytes may be.

    Attributes:
        reading: type and place.
        score: 1 for what belongs to the best division of the block; less, the more it spoils that.
        chosen: it belongs to the best division.
        value: the latest.
        guess: what it seems to be.
    """

    reading: Reading
    score: float
    chosen: bool
    value: Scalar | None
    guess: Guess


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is known of a block.

    Attributes:
        size: its bytes.
        candidates: by place, the best first.
    """

    size: int
    candidates: tuple[Candidate, ...]

    def at(self, byte: int) -> list[Candidate]:
        """What begins at a byte, the best first."""
        return [each for each in self.candidates if each.reading.byte == byte]

    def over(self, byte: int) -> Candidate | None:
        """The chosen field that a byte belongs to; of several bits the first."""
        return next((each for each in self.chosen if each.reading.byte <= byte < each.reading.end), None)

    @property
    def chosen(self) -> list[Candidate]:
        """The fields of the best division, by place."""
        return [each for each in self.candidates if each.chosen]


@dataclass(frozen=True, slots=True)
class _Segment:
    """Neighbouring bytes that are read together: one reading, or the bits of a byte."""

    begin: int
    end: int
    bits: float
    parts: tuple[Reading, ...]


def analyse(samples: Sequence[Sample], pinned: Collection[Reading] = ()) -> Analysis:
    """Find the fields of a block.

    Args:
        samples: at least one; all of one length.
        pinned: fields that are known, without overlap; they belong to the division whatever they cost.
    """
    if not samples:
        return Analysis(0, ())
    size = len(samples[0].data)
    moving = [each.changes > 0 for each in activities(samples)]
    # What never changes is judged by its first sample: the same costs, and large blocks mostly stand still.
    segments = [
        list(_segments(samples if any(moving[at : at + WIDEST]) else samples[:1], samples, at, pinned))
        for at in range(size)
    ]
    before, after = _from_left(segments, size), _from_right(segments, size)
    best = before[size]
    chosen = _division(segments, before, size)
    found = []
    for at in range(size):
        for segment in segments[at]:
            more = before[at] + segment.bits + after[segment.end] - best
            score = round(2 ** (-max(0.0, more) / _HALVED), 2)
            taken = chosen.get(at) is segment
            found += [_candidate(part, 1.0 if taken else min(score, 0.99), taken, samples) for part in segment.parts]
    found.sort(key=lambda each: (each.reading.byte, -each.score, each.reading.bit))
    return Analysis(size, tuple(found))


def _candidate(reading: Reading, score: float, taken: bool, samples: Sequence[Sample]) -> Candidate:
    values = values_of(reading, samples)
    return Candidate(reading, score, taken, values[-1], guess(reading, values, samples))


def _segments(
    samples: Sequence[Sample], every: Sequence[Sample], at: int, pinned: Collection[Reading]
) -> Iterator[_Segment]:
    """What may begin at a byte; what is known costs nothing, and what contradicts it is left out."""
    bits = bits_of(samples, at)
    known = [each for each in pinned if each.byte == at]
    if known and known[0].type != "BOOL":
        yield _Segment(at, known[0].end, 0.0, (replace(known[0], bits=0.0),))
    elif known:
        places = {each.bit for each in known}
        all_bits = [*(replace(each, bits=0.0) for each in known), *(each for each in bits if each.bit not in places)]
        all_bits.sort(key=lambda each: each.bit)
        yield _Segment(at, at + 1, sum(each.bits for each in all_bits), tuple(all_bits))
    else:
        found = [*readings(samples, at), *texts(every, at)]
        free = [_Segment(each.byte, each.end, each.bits, (each,) * bool(each.type)) for each in found]
        if bits:
            lonely = at % 2 and not any(sample.data[at - 1] for sample in every)
            free.append(_Segment(at, at + 1, sum(each.bits for each in bits) + 1 + lonely * _ODD_BYTE, tuple(bits)))
        for segment in free:
            if not any(each.byte < segment.end and at < each.end for each in pinned):
                yield segment


def _from_left(segments: Sequence[Sequence[_Segment]], size: int) -> list[float]:
    """The cheapest description of the bytes before each."""
    cheapest = [0.0] + [float("inf")] * size
    for at in range(size):
        for segment in segments[at]:
            cheapest[segment.end] = min(cheapest[segment.end], cheapest[at] + segment.bits)
    return cheapest


def _from_right(segments: Sequence[Sequence[_Segment]], size: int) -> list[float]:
    """The cheapest description of the bytes from each on."""
    cheapest = [float("inf")] * size + [0.0]
    for at in reversed(range(size)):
        cheapest[at] = min((segment.bits + cheapest[segment.end] for segment in segments[at]), default=float("inf"))
    return cheapest


def _division(segments: Sequence[Sequence[_Segment]], before: Sequence[float], size: int) -> dict[int, _Segment]:
    """The segments of the cheapest description, by their first bytes."""
    ends: dict[int, _Segment] = {}
    for at in range(size):
        for segment in segments[at]:
            if before[at] + segment.bits == before[segment.end]:
                ends.setdefault(segment.end, segment)
    found: dict[int, _Segment] = {}
    end = size
    while end:
        segment = ends[end]
        found[segment.begin] = segment
        end = segment.begin
    return found
