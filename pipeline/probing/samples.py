"""What was seen of a block: its bytes at some moments, and how each byte moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Activity", "Sample", "activities", "seconds"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A block at one moment.

    Attributes:
        at: seconds, on any clock.
        data: its bytes; all samples of a block have as many.
    """

    at: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Activity:
    """How one byte moves.

    Attributes:
        value: the latest.
        changes: samples that differ from the one before.
        distinct: different values.
        toggled: mask of the bits that changed.
        per_minute: changes a minute.
        quiet: samples since the latest change; as many as there are where it never changed.
    """

    value: int
    changes: int
    distinct: int
    toggled: int
    per_minute: float
    quiet: int


def seconds(samples: Sequence[Sample]) -> float:
    """How long was looked."""
    return samples[-1].at - samples[0].at if samples else 0.0


def activities(samples: Sequence[Sample]) -> list[Activity]:
    """How each byte moves; nothing without samples."""
    if not samples:
        return []
    minutes = seconds(samples) / 60
    return [_activity(column, minutes) for column in zip(*(sample.data for sample in samples), strict=True)]


def _activity(column: Sequence[int], minutes: float) -> Activity:
    changes = toggled = 0
    quiet, distinct = len(column), len(set(column))
    for at in range(1, len(column)) if distinct > 1 else ():  # in large blocks most bytes stand still
        if difference := column[at] ^ column[at - 1]:
            changes += 1
            toggled |= difference
            quiet = len(column) - 1 - at
    rate = changes / minutes if minutes else 0.0
    return Activity(column[-1], changes, distinct, toggled, round(rate, 1), quiet)
