"""Arithmetic that takes microseconds whatever it is given: Python's operators on numbers and texts of bounded size.

Integers end at 1024 bits, as floats do, texts at 100,000 characters; `%` is the remainder of numbers, never the format
of a text. What goes beyond raises TypeError or OverflowError with the reason.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, SupportsIndex

__all__ = ["BOUNDED", "bounded_round"]

_BITS = 1024
"""Bits of an integer at most; a larger one is no float either."""
_LONGEST = 100_000
"""Characters of a text at most."""
_DIGITS = 400
"""Digits to which anything is rounded at most; a float has fewer."""
_Work = Callable[[Any, Any], Any]


def _small(value: Any) -> Any:
    """A number with which calculating takes no time."""
    if not isinstance(value, int | float):
        raise TypeError(f"{'a text' if isinstance(value, str) else type(value).__name__} is no number")
    if isinstance(value, int) and value.bit_length() > _BITS:
        raise OverflowError(f"an integer of more than {_BITS} bits")
    return value


def _check_length(length: int) -> None:
    if length > _LONGEST:
        raise OverflowError(f"a text of more than {_LONGEST} characters")


def _of_numbers(work: _Work) -> _Work:
    return lambda left, right: _small(work(_small(left), _small(right)))


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        _check_length(len(left) + len(right))
        return left + right
    return _small(left) + _small(right)


def _multiply(left: Any, right: Any) -> Any:
    for text, times in ((left, right), (right, left)):
        if isinstance(text, str) and isinstance(times, int):
            _check_length(len(text) * times)
            return text * times
    return _small(_small(left) * _small(right))


def _power(base: Any, exponent: Any) -> Any:
    # A number of n bits has at least n - 1 times the exponent: what is no more than twice too long is just worked out.
    if isinstance(base, int) and isinstance(exponent, int) and (abs(base).bit_length() - 1) * exponent > _BITS:
        raise OverflowError(f"an integer of more than {_BITS} bits")
    return _small(_small(base) ** _small(exponent))


def _shift_left(value: Any, by: Any) -> Any:
    if _small(by) > _BITS:
        raise OverflowError(f"an integer of more than {_BITS} bits")
    return _small(_small(value) << by)


BOUNDED: Mapping[type[ast.operator], _Work] = MappingProxyType(
    {
        ast.Add: _add,
        ast.Sub: _of_numbers(operator.sub),
        ast.Mult: _multiply,
        ast.Div: _of_numbers(operator.truediv),
        ast.FloorDiv: _of_numbers(operator.floordiv),
        ast.Mod: _of_numbers(operator.mod),
        ast.Pow: _power,
        ast.LShift: _shift_left,
        ast.RShift: _of_numbers(operator.rshift),
    }
)
"""The operators that could take long, or make much of little."""


def bounded_round(number: float, digits: SupportsIndex | None = None) -> float:
    """Python's `round`, which for -10**9 digits would make a number of as many.

    Raises:
        TypeError: it is no number, or there are more digits than a float has.
    """
    if digits is not None and abs(operator.index(digits)) > _DIGITS:
        raise TypeError(f"nothing is rounded to more than {_DIGITS} digits")
    rounded: float = round(_small(number), digits)
    return rounded
