"""Compares what was expected with what came, field by field."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ABSENT", "Difference", "differences", "shown"]

ANY = "*"
_CLOSE = 1e-6
_MOST = 1e-3
_LONGEST = 200
_NOTHING = "nothing"


class _Absent:
    """What stands where nothing is."""


ABSENT = _Absent()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field that is not as expected.

    Attributes:
        path: where: `values.contador_bom`, `[2].ts`; "" is the whole.
        expected: see `shown`.
        got: see `shown`.
    """

    path: str
    expected: str
    got: str

    @property
    def is_missing(self) -> bool:
        """Nothing came where something was expected."""
        return self.got == _NOTHING

    def __str__(self) -> str:
        """One line."""
        return f"{self.path + ': ' if self.path else ''}expected {self.expected}, got {self.got}"


def shown(value: Any) -> str:
    """A value as a person reads it, shortened."""
    if isinstance(value, _Absent):
        return _NOTHING
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def differences(expected: Any, got: Any, *, exact: bool = False, path: str = "") -> Iterator[Difference]:
    """Each field in which the two differ.

    A REAL may be written as people do: numbers are equal within a millionth, but never more than 0.001, or when they
    are the same REAL. Whole numbers are the same or not. `"*"` is anything but nothing.
    Lists have the same length.

    Args:
        expected: what was written.
        got: what came.
        exact: mappings have no further keys, and a text is the same as the other; else it may stand within it.
        path: where the two stand.
    """
    if not exact and isinstance(expected, str) and isinstance(got, str) and expected in got:
        return
    yield from _walk(expected, got, exact, path)


def _walk(expected: Any, got: Any, exact: bool, path: str) -> Iterator[Difference]:
    if expected == ANY and not isinstance(got, _Absent):
        return
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        for key in dict.fromkeys([*expected, *(got if exact else ())]):
            inner = f"{path}.{key}".removeprefix(".")
            yield from _walk(expected.get(key, ABSENT), got.get(key, ABSENT), exact, inner)
    elif _is_list(expected) and _is_list(got) and len(expected) == len(got):
        for index, (mine, theirs) in enumerate(zip(expected, got, strict=True)):
            yield from _walk(mine, theirs, exact, f"{path}[{index}]")
    elif not _is_same(expected, got):
        yield Difference(path=path, expected=shown(expected), got=shown(got))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_same(expected: Any, got: Any) -> bool:
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, float) or isinstance(got, float):
        numbers = isinstance(expected, int | float) and isinstance(got, int | float)
        return numbers and (expected == got or _is_close(float(expected), float(got)))
    return bool(expected == got)


def _is_close(expected: float, got: float) -> bool:
    """Whether one is the other with the digits that a REAL has, and never more than a millisecond of a time stamp."""
    if abs(expected - got) <= min(_CLOSE * abs(expected), _MOST):
        return True
    try:
        return bool(struct.unpack("f", struct.pack("f", expected))[0] == got)
    except OverflowError:
        return False
