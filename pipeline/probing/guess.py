"""What a field seems to be, from how its values move: a counter, a running bit, a temperature. Guesses, for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from pipeline.frame import Scalar
from pipeline.probing.readings import Reading
from pipeline.probing.samples import Sample, seconds

__all__ = ["Guess", "guess"]

_RESETS = 0.1
_MOSTLY = 0.5
_RARELY_PER_MINUTE = 6.0
_SLOW = 0.004
"""Part of its size that a temperature changes by from one sample to the next, at most, on average."""
_WARM = (-60.0, 400.0)
_SHAKING = 30.0
_AMPERES = 1000.0
_PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Guess:
    """What a field seems to be.

    Attributes:
        what: in a few words.
        stem: the beginning of a name for it.
        unit: the unit that it may have; "" where nobody can say.
    """

    what: str
    stem: str
    unit: str = ""

    def __str__(self) -> str:
        """`temperature, °C?`."""
        return f"{self.what}, {self.unit}?" if self.unit else self.what


def guess(reading: Reading, values: Sequence[Scalar | None], samples: Sequence[Sample]) -> Guess:
    """Guess from all values that were seen."""
    kind = reading.type.partition("[")[0]
    still = len(set(map(str, values))) == 1
    if kind in {"STRING", "DATE_AND_TIME"}:
        what = "text" if kind == "STRING" else "date" if still else "clock"
        return Guess(what, what)
    if still:
        return _constant(kind, values[0])
    if kind == "BOOL":
        return _bit([bool(value) for value in values], samples)
    numbers = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    if len(numbers) < 2:  # noqa: PLR2004 - a change needs two
        return Guess("no value of this type", kind.lower())
    if kind in {"TIME", "S5TIME"}:
        return Guess("running time", "time", "ms")
    return _measurement(numbers) if kind == "REAL" else _whole(numbers)


def _constant(kind: str, value: Scalar | None) -> Guess:
    if kind == "BOOL":
        return Guess("always on", "on")
    return Guess("constant" if value is not None else "no value of this type", "constant")


def _bit(values: Sequence[bool], samples: Sequence[Sample]) -> Guess:
    changes = sum(before != after for before, after in pairwise(values))
    share = fmean(values)
    minutes = max(seconds(samples) / 60, 1e-9)
    if share >= _MOSTLY and changes / minutes <= _RARELY_PER_MINUTE:
        return Guess("running, or ready", "running")
    if changes / minutes <= _RARELY_PER_MINUTE / 2:
        return Guess("state, or fault", "state")
    what = "pulse" if share < _MOSTLY else "cycle"
    return Guess(what, what)


def _whole(numbers: Sequence[float]) -> Guess:
    steps = [after - before for before, after in pairwise(numbers) if after != before]
    against = sum(step < 0 for step in steps)
    if against <= len(steps) * _RESETS:
        return Guess("counter", "counter")
    if against >= len(steps) * (1 - _RESETS):
        return Guess("countdown", "countdown")
    if len(set(numbers)) <= 8 and max(numbers) < 256:  # noqa: PLR2004 - a step or mode number
        return Guess("step, or mode", "step")
    return Guess("measured value, or setpoint", "value")


def _measurement(numbers: Sequence[float]) -> Guess:
    low, high = min(numbers), max(numbers)
    size = fmean(map(abs, numbers))
    step = fmean(abs(after - before) for before, after in pairwise(numbers))
    rules: tuple[tuple[Callable[[], bool], Guess], ...] = (
        (lambda: len(set(numbers)) <= max(2, len(numbers) // 20), Guess("setpoint", "setpoint")),
        (lambda: all(after >= before for before, after in pairwise(numbers)), Guess("total", "total")),
        (lambda: _WARM[0] <= low and high <= _WARM[1] and size >= 5 and step <= size * _SLOW, _TEMPERATURE),  # noqa: PLR2004
        (lambda: low >= 0 and high <= _AMPERES and low < high / 50 and size >= 6, _CURRENT),  # noqa: PLR2004 - off is 0
        (lambda: low >= 0 and high <= _SHAKING and size < 8, _VIBRATION),  # noqa: PLR2004 - ISO 10816's zones end there
        (lambda: low >= 0 and high <= _PERCENT, Guess("current, level or percentage", "level", "A")),
    )
    return next((found for applies, found in rules if applies()), Guess("measured value", "value"))


_TEMPERATURE = Guess("temperature", "temperature", "°C")
_CURRENT = Guess("current", "current", "A")
_VIBRATION = Guess("vibration", "vibration", "mm/s")
