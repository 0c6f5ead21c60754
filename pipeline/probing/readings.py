"""The ways to read some bytes: each S7 type that can be recognised, with what a course of its values costs to describe.

All numbers are big-endian. What has two bytes or more begins at an even byte, as STEP 7 lays out blocks with standard
access.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from pipeline.frame import Scalar
from pipeline.probing import cost
from pipeline.probing.samples import Sample
from pipeline.s7.texts import read_string
from pipeline.s7.times import read_date_and_time, read_s5time

__all__ = ["WIDEST", "Reading", "bits_of", "readings", "texts", "values_of"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Some bytes read as a type.

    Attributes:
        type: as a layout writes it: `INT`, `STRING[20]`; "" leaves a byte unread that is always zero.
        byte: the first one.
        bit: of a BOOL; 0 of all others.
        size: bytes; of a BOOL the byte that it lies in.
        bits: what describing its course costs.
    """

    type: str
    byte: int
    size: int
    bits: float
    bit: int = 0

    @property
    def place(self) -> str:
        """As a layout writes it: `10`, `0.1`."""
        return f"{self.byte}.{self.bit}" if self.type == "BOOL" else str(self.byte)

    @property
    def end(self) -> int:
        """The byte behind its last."""
        return self.byte + self.size


_INT, _DINT, _REAL, _WORD, _BYTE, _S5TIME, _TIME, _STRING, _DT = 6.0, 6.0, 7.0, 12.0, 14.0, 16.0, 4.5, 20.0, 14.0
"""What it costs to say that a type stands somewhere: the rarer, the more."""
_BIT, _SET_BIT = 3.0, 5.0
_UNREAD = 0.5
_HALF_USED = 4.0
"""For a DINT whose upper half is always zero: that half may as well be nothing, and the lower an INT."""
_APART = 6.0
"""For each step of a DINT's upper half alone: a number that counts carries over."""
_EMPTY_STRING = 16.0
_SHORTEST_TEXT = 2
_TEXT_LETTER = 5.0
_CLOCK_SLACK = 0.3
_SIGN = 0x8000


def readings(samples: Sequence[Sample], at: int) -> Iterator[Reading]:
    """All readings but STRINGs that begin at byte `at`; those that are impossible are left out."""
    size = len(samples[0].data)
    column = [sample.data[at] for sample in samples]
    if not any(column):
        yield Reading("", at, 1, _UNREAD)
    else:
        yield Reading("BYTE", at, 1, _BYTE + cost.course_of_integers(column, 8))
    if at % 2:
        return
    for length, read in _SIZES:
        if at + length <= size:
            chunks = [sample.data[at : at + length] for sample in samples]
            yield from read(at, chunks, [sample.at for sample in samples])


def bits_of(samples: Sequence[Sample], at: int) -> list[Reading]:
    """The BOOLs of a byte: those that toggle, and those that are set; the first bears what the byte costs."""
    column = [sample.data[at] for sample in samples]
    found = []
    for bit in range(8):
        course = [value >> bit & 1 for value in column]
        changes = sum(before != after for before, after in pairwise(course))
        if changes:
            found.append(Reading("BOOL", at, 1, _BIT + cost.positions(len(course), changes), bit))
        elif course[0]:
            found.append(Reading("BOOL", at, 1, _BIT + _SET_BIT, bit))
    return found


def values_of(reading: Reading, samples: Sequence[Sample]) -> list[Scalar | None]:
    """Its values, one for each sample; None where the bytes are no value of the type."""
    return [_value(reading, sample.data) for sample in samples]


def _value(reading: Reading, data: bytes) -> Scalar | None:
    chunk = data[reading.byte : reading.end]
    name = reading.type.partition("[")[0]
    if name == "BOOL":
        return bool(chunk[0] >> reading.bit & 1)
    try:
        return _DECODERS[name](chunk)
    except (ValueError, struct.error):
        return None


_DECODERS: dict[str, Callable[[bytes], Scalar]] = {
    "": lambda chunk: chunk[0],
    "BYTE": lambda chunk: chunk[0],
    "INT": lambda chunk: int.from_bytes(chunk, "big", signed=True),
    "WORD": lambda chunk: int.from_bytes(chunk, "big"),
    "DINT": lambda chunk: int.from_bytes(chunk, "big", signed=True),
    "TIME": lambda chunk: int.from_bytes(chunk, "big", signed=True),
    "REAL": lambda chunk: float(struct.unpack(">f", chunk)[0]),
    "S5TIME": lambda chunk: read_s5time(int.from_bytes(chunk, "big"), ""),
    "DATE_AND_TIME": lambda chunk: read_date_and_time(chunk, ""),
    "STRING": lambda chunk: read_string(chunk, "latin-1"),
}


def _words(at: int, chunks: Sequence[bytes], _: Sequence[float]) -> Iterator[Reading]:
    raw = [int.from_bytes(chunk, "big") for chunk in chunks]
    if not any(raw):
        return
    signed = [value - (value >= _SIGN) * 2 * _SIGN for value in raw]
    course = cost.course_of_integers(signed, 16)
    yield Reading("INT", at, 2, _INT + course)
    # The same steps unsigned; it is the better reading only where 32767 is passed in small steps.
    passes = any(
        (before < _SIGN) != (after < _SIGN) and abs(before - after) < _SIGN // 2 for before, after in pairwise(raw)
    )
    yield Reading("WORD", at, 2, (_INT - 2 if passes else _WORD) + cost.course_of_integers(raw, 16))
    try:
        times = [read_s5time(value, "") // 10 for value in raw]
    except ValueError:
        return
    if all(not value & _SIGN | value & _SIGN >> 1 for value in raw):
        yield Reading("S5TIME", at, 2, _S5TIME + 2 + cost.course_of_integers(times, 24))


def _double_words(at: int, chunks: Sequence[bytes], moments: Sequence[float]) -> Iterator[Reading]:
    values = [int.from_bytes(chunk, "big", signed=True) for chunk in chunks]
    if not any(values):
        return
    apart = sum(before != after and before & 0xFFFF == after & 0xFFFF for before, after in pairwise(values))
    small = max(values) >> 16 == 0 <= min(values)
    course = cost.course_of_integers(values, 32) + small * _HALF_USED + apart * _APART
    yield Reading("DINT", at, 4, _DINT + course)
    if _runs_like_time(values, moments):
        yield Reading("TIME", at, 4, _TIME + course)
    reals = [struct.unpack(">f", chunk)[0] for chunk in chunks]
    yield Reading("REAL", at, 4, _REAL + cost.course_of_reals(reals))


def _runs_like_time(values: Sequence[int], moments: Sequence[float]) -> bool:
    """Whether most changes are those of a clock in ms, forth or back."""
    changed = matching = 0
    for index in range(1, len(values)):
        change = abs(values[index] - values[index - 1])
        passed = (moments[index] - moments[index - 1]) * 1000
        changed += change > 0
        matching += change > 0 and abs(change - passed) <= _CLOCK_SLACK * passed
    return changed > 3 and matching > changed * 0.8  # noqa: PLR2004 - a few changes prove nothing


def _dates(at: int, chunks: Sequence[bytes], moments: Sequence[float]) -> Iterator[Reading]:
    """DATE_AND_TIME: eight bytes of BCD, of which the last nibble is the day of the week."""
    seconds = []
    for chunk in chunks:
        try:
            moment = datetime.fromisoformat(read_date_and_time(chunk, ""))
        except ValueError:
            return
        if chunk[7] & 0xF != moment.isoweekday() % 7 + 1:
            return
        seconds.append(round(moment.timestamp()))
    drifts = [round(stamp - at_moment) for stamp, at_moment in zip(seconds, moments, strict=True)]
    course = min(cost.course_of_integers(seconds, 64), cost.course_of_integers(drifts, 64))
    yield Reading("DATE_AND_TIME", at, 8, _DT + min(24.0, cost.integer(seconds[0])) + max(0.0, course - 62))


def texts(samples: Sequence[Sample], at: int) -> Iterator[Reading]:
    """STRING at an even byte: the declared length, which never changes, the used one, printable letters."""
    first = samples[0].data
    if at % 2:
        return
    longest = first[at]
    end = at + 2 + longest
    if not 1 <= longest <= 254 or end > len(first):  # noqa: PLR2004 - what STEP 7 permits
        return
    seen: list[str] = []
    before = b""
    for sample in samples:
        used = sample.data[at + 1]
        text = sample.data[at + 2 : at + 2 + used].decode("latin-1")
        if sample.data[at] != longest or used > longest or not text.isprintable():
            return
        if seen and seen[-1] == text and sample.data[at:end] != before:
            return  # who writes a text leaves what stands behind it alone
        seen.append(text)
        before = sample.data[at:end]
    most = max(map(len, seen))
    if most < _SHORTEST_TEXT and (most or any(first[at + 2 : end])):
        return
    changed = sum(before != after for before, after in pairwise(seen))
    letters = sum(map(len, set(seen))) * _TEXT_LETTER + (0 if most else _EMPTY_STRING)
    which = changed * math.log2(len(set(seen))) if changed else 0.0
    behind = sum(_TEXT_LETTER for byte in first[at + 2 + most : end] if byte)
    bits = _STRING + 8 + letters + which + behind + cost.positions(len(samples), changed)
    yield Reading(f"STRING[{longest}]", at, 2 + longest, bits)


WIDEST = 8
"""Bytes of the longest type but STRING."""
_SIZES = ((2, _words), (4, _double_words), (8, _dates))
