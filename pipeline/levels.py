"""Levels of a number: conditions as people write them (`> 30`), and which holds, with hysteresis and hold times."""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections.abc import Callable, Sequence

__all__ = ["Condition", "Levels", "shadowed"]

_COMPARISON = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")
_OPERATORS: dict[str, tuple[Callable[[float, float], bool], int]] = {
    ">": (operator.gt, -1),
    ">=": (operator.ge, -1),
    "<": (operator.lt, 1),
    "<=": (operator.le, 1),
    "==": (operator.eq, 0),
    "!=": (operator.ne, 0),
}
"""What a comparison does, and to which side hysteresis moves its limit while its level holds."""


class Condition:
    """A condition on a number: `> 30`, `< 5 or > 9`, `>= 5 and <= 9`.

    Attributes:
        text: as it was written.
    """

    __slots__ = ("_ways", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._ways = [[_comparison(part, text) for part in way.split(" and ")] for way in text.split(" or ")]

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition.

        Raises:
            ValueError: it is none; the message shows one.
        """
        return cls(text)

    def __str__(self) -> str:
        """As it was written."""
        return self.text

    @property
    def limits(self) -> set[float]:
        """The numbers that it compares with: between two of them it is true of all numbers or of none."""
        return {limit for way in self._ways for _, limit, _ in way}

    def holds(self, value: float, slack: float = 0.0) -> bool:
        """Whether it is true of a number, with its limits moved outwards by `slack`."""
        for way in self._ways:
            for compare, limit, side in way:
                if not compare(value, limit + side * slack):
                    break
            else:
                return True
        return False


def _comparison(part: str, text: str) -> tuple[Callable[[float, float], bool], float, int]:
    match = _COMPARISON.fullmatch(part)
    if match is None or not math.isfinite(limit := float(match[2])):
        raise ValueError(
            f'\'{text}\' is no condition; write a comparison with a number, such as "> 30" or "< 5 or > 9"'
        )
    compare, side = _OPERATORS[match[1]]
    return compare, limit, side


def shadowed(conditions: Sequence[Condition]) -> dict[int, bool]:
    """Conditions that are never the first to hold, whatever the number, by index; True: they never hold at all."""
    limits = sorted({limit for condition in conditions for limit in condition.limits})
    between = [low / 2 + high / 2 for low, high in itertools.pairwise(limits)]
    samples = (-math.inf, *limits, *between, math.inf)
    held = [{value for value in samples if condition.holds(value)} for condition in conditions]
    found: dict[int, bool] = {}
    before: set[float] = set()
    for index, values in enumerate(held):
        if values <= before:
            found[index] = not values
        before |= values
    return found


class Levels:
    """Which of some conditions hold for a number that changes."""

    __slots__ = ("_changing", "_conditions", "_hold", "_holding", "_release", "_slack")

    def __init__(self, conditions: Sequence[Condition], slack: float, hold: float, release: float) -> None:
        """Begin with none of them.

        Args:
            conditions: the worst first.
            slack: how far back over its limit a number must go until a condition that holds ends.
            hold: seconds for which a condition must be true until it holds.
            release: seconds for which it must be false until it ends.
        """
        self._conditions = conditions
        self._slack = slack
        self._hold = hold
        self._release = release
        self._holding = [False] * len(conditions)
        self._changing: list[float | None] = [None] * len(conditions)

    def step(self, ts: float, value: float) -> int:
        """The index of the first condition that holds now; their number when none does.

        Args:
            ts: seconds, never less than before.
            value: the number at that moment.
        """
        first = len(self._conditions)
        for index, condition in enumerate(self._conditions):
            holding = self._holding[index]
            if condition.holds(value, self._slack if holding else 0.0) is holding:
                self._changing[index] = None
            else:
                since = self._changing[index]
                if since is None:
                    since = self._changing[index] = ts
                if ts - since >= (self._release if holding else self._hold):
                    self._holding[index] = holding = not holding
                    self._changing[index] = None
            if holding and index < first:
                first = index
        return first

    def interrupt(self) -> None:
        """Nobody knows what the number is: what was about to change has to begin anew."""
        self._changing = [None] * len(self._conditions)
