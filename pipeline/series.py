"""What transforms remember of each series: the frames of one block of one PLC, or of one sensor.

An origin stands for its series by identity. A source that was restarted may hand out another origin for the same
series, so the first frame of each origin is looked up by what the origin says; from then on identity is enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from pipeline.frame import Frame, Origin

__all__ = ["Series", "key_of"]

T = TypeVar("T")
_SET_BACK = 60.0
"""Seconds of nothing but late frames after which the clock that stamps them is taken to have been set."""


class _Entry(Generic[T]):
    """One series."""

    __slots__ = ("late_since", "newest", "state")

    def __init__(self, state: T) -> None:
        self.state = state
        self.newest = -math.inf
        self.late_since: float | None = None


class Series(Generic[T]):
    """States of all series, each made when its first frame comes.

    Memory: one state for each series, and one entry for each origin that it has had.
    """

    def __init__(self, make: Callable[[], T], monotonic: Callable[[], float]) -> None:
        """Begin without any.

        Args:
            make: makes the state of a series.
            monotonic: seconds since some moment; see `Clock`.
        """
        self._make = make
        self._monotonic = monotonic
        self._by_key: dict[Hashable, _Entry[T]] = {}
        self._by_origin: dict[Origin, _Entry[T]] = {}

    def at(self, frame: Frame) -> T | None:
        """The state of the frame's series, None when the series has had a younger frame: this one comes from a backlog.

        When nothing but late frames has come for a minute, the clock that stamps them has been set back, or was ahead
        for a moment: the series begins anew.
        """
        entry = self._by_origin.get(frame.origin) or self._find(frame.origin)
        if frame.ts < entry.newest:
            now = self._monotonic()
            if entry.late_since is None:
                entry.late_since = now
            if now - entry.late_since < _SET_BACK:
                return None
            entry.state = self._make()
        entry.newest = frame.ts
        entry.late_since = None
        return entry.state

    def of(self, origin: Origin) -> T:
        """The state of an origin's series, whatever the time."""
        return (self._by_origin.get(origin) or self._find(origin)).state

    def resume(self, origin: Origin, newest: float) -> T:
        """The state of a series that had frames before a restart; older ones than `newest` come from a backlog."""
        entry = self._find(origin)
        entry.newest = newest
        return entry.state

    def states(self) -> list[T]:
        """All of them."""
        return [entry.state for entry in self._by_key.values()]

    def _find(self, origin: Origin) -> _Entry[T]:
        key = key_of(origin)
        entry = self._by_key.get(key)
        if entry is None:
            entry = self._by_key[key] = _Entry(self._make())
        self._by_origin[origin] = entry
        return entry


def key_of(origin: Origin) -> Hashable:
    """What makes a series: measurement, place and tags."""
    tags = tuple(sorted(origin.tags.items()))
    return (origin.measurement, origin.ip, origin.db, origin.tenant_id, origin.plc_id, tags)
