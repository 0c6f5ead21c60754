"""How many bits it takes to describe a course of values: the shorter the description, the better the reading of bytes.

A course is described by its first value, by which samples differ from the one before, and by how they differ. Numbers
that mean something move in small or few steps; halves of a number, or two neighbours read as one, do not. This is the
principle of minimum description length (J. Rissanen, 1978).
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise

__all__ = ["course_of_integers", "course_of_reals", "integer", "positions", "real"]

_IMPLAUSIBLE = 40.0
_ODD = 6.0
_MANTISSA = 23
_MEASURED = (1e-4, 1e7)
"""Sizes of what machines measure, in any unit."""
_CONCEIVABLE = (1e-9, 1e12)


def integer(value: int) -> float:
    """Bits of a whole number that may be of any size: small ones are cheap, negative ones one more."""
    return 1.5 * math.log2(abs(value) + 1) + 2 + (value < 0)


def positions(samples: int, changes: int) -> float:
    """Bits that say which samples differ from the one before."""
    if not changes:
        return 1.0
    steps = samples - 1
    ways = math.lgamma(steps + 1) - math.lgamma(changes + 1) - math.lgamma(steps - changes + 1)
    return ways / math.log(2) + math.log2(samples)


def course_of_integers(values: Sequence[int], width: int) -> float:
    """Bits of a whole number's course.

    Args:
        values: one for each sample.
        width: bits that it has; steps are counted on the circle that it can count.
    """
    circle, half = 1 << width, 1 << width - 1
    steps = [(after - before + half) % circle - half for before, after in pairwise(values) if after != before]
    first = integer(values[0])
    if not steps:
        return first + 1
    described = min(
        _spread(steps, width),
        _within(steps, len(steps)),
        _few(steps),
        _few([after for before, after in pairwise(values) if after != before]),
        _within(values, len(steps)),
    )
    return first + positions(len(values), len(steps)) + described


def course_of_reals(values: Sequence[float]) -> float:
    """Bits of a REAL's course. What no machine measures is expensive."""
    taken = [after for before, after in pairwise(values) if _pattern(before) != _pattern(after)]
    if not taken:
        return real(values[0]) + 1
    first = real(values[0]) + positions(len(values), len(taken))
    return first + min(_few_reals(values[0], taken), _wandering(values))


def _few_reals(first: float, taken: Sequence[float]) -> float:
    """Few values, such as a setpoint's: each once, then which of them."""
    patterns = [_pattern(value) for value in taken]
    new = {pattern: value for pattern, value in zip(patterns, taken, strict=True) if pattern != _pattern(first)}
    return _entropy(patterns) + sum(real(value) for value in new.values())


def _wandering(values: Sequence[float]) -> float:
    """Steps among the numbers that a REAL can be; from and to 0 it jumps, since machines are switched off."""
    total, steps = 0.0, []
    seen = {_pattern(values[0])}
    for before, after in pairwise(values):
        pattern = _pattern(after)
        if pattern == _pattern(before):
            continue
        new = pattern not in seen
        seen.add(pattern)
        if before and after:
            steps.append(_ordered(after) - _ordered(before))
            total += _oddity(after) if new else 0.0
        else:
            total += real(after) if after and new else 2.0
    if not steps:
        return total
    places = [_ordered(value) for value in values if value]
    return total + min(_spread(steps, 32), _within(steps, len(steps)), _few(steps), _within(places, len(steps)))


def real(value: float) -> float:
    """Bits of a REAL: round numbers of usual size are cheap."""
    if not value:
        return 2.0
    pattern = int.from_bytes(struct.pack(">f", value), "big") & (1 << _MANTISSA) - 1 if math.isfinite(value) else 0
    zeros = (pattern & -pattern).bit_length() - 1 if pattern else _MANTISSA
    return 8.0 + _MANTISSA - zeros + _oddity(value)


def _oddity(value: float) -> float:
    """What is added for a value that no machine measures."""
    size = abs(value)
    if not value or _MEASURED[0] <= size <= _MEASURED[1]:
        return 0.0
    return _ODD if _CONCEIVABLE[0] <= size <= _CONCEIVABLE[1] else _IMPLAUSIBLE


def _pattern(value: float) -> int:
    """A REAL's bits, as a signed number: unlike its value they are equal to themselves."""
    return int(struct.unpack(">i", struct.pack(">f", value))[0])


def _ordered(value: float) -> int:
    """A REAL as the number of its place among all REALs."""
    pattern = _pattern(value)
    return pattern if pattern >= 0 else -(pattern & 0x7FFFFFFF)


def _spread(steps: Sequence[int], width: int) -> float:
    """Steps of a typical size (Laplace): that size once, each step relative to it."""
    typical = sum(map(abs, steps)) / len(steps)
    return len(steps) * min(width, math.log2(2 * math.e * typical)) + 2 * math.log2(1 + typical)


def _within(values: Sequence[int], changes: int) -> float:
    """Values, or steps, anywhere in a range: the range once, then the place in it."""
    width = math.log2(max(values) - min(values) + 1)
    return integer(min(values, key=abs)) + 2 * width + changes * width


def _few(numbers: Sequence[int]) -> float:
    """Steps of few sizes, such as a counter's, or few values, such as a selector's: each once, then which of them."""
    return _entropy(numbers) + sum(map(integer, set(numbers)))


def _entropy(symbols: Sequence[Hashable]) -> float:
    count = len(symbols)
    return sum(-times * math.log2(times / count) for times in Counter(symbols).values())
