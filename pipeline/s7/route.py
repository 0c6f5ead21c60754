"""Where a mirror's blocks go, what it must not write, and how each of them stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.frame import Extent
from pipeline.retry import Backoff, Retry
from pipeline.units import Duration

__all__ = ["Guards", "Route", "Routes"]

_HOLD = Retry(initial=Duration(1), max=Duration(60))
"""Pauses of a range that the target refuses."""


@dataclass(frozen=True, kw_only=True)
class Guards:
    """What holds a mirror back.

    Attributes:
        allow: ranges that may be written.
        max_age: seconds after the source's answer from which on a frame is not written.
        dry_run: compare, and write nothing.
        repeats: how often a write is repeated that reads back otherwise; None doesn't read back.
    """

    allow: Sequence[Extent]
    max_age: float
    dry_run: bool
    repeats: int | None


class Route:
    """One block's way into the target.

    Attributes:
        source: what is read.
        target: where it is written.
        forbidden: it is never written, and why.
        waiting: the latest frame's bytes, and the monotonic time of the source's answer.
        unread: why its source can't be read now, or "".
        reason: why it is not written now; "" while it is.
        started: it has been in step once; in a dry run, compared.
        differs: in a dry run the bytes that would have been written of the latest frame; else 0.
        held_until: monotonic seconds before which the target is not asked again.
    """

    def __init__(self, source: Extent, target: Extent, forbidden: str) -> None:
        self.source = source
        self.target = target
        self.forbidden = forbidden
        self.waiting: tuple[bytes, float] | None = None
        self.unread = ""
        self.reason = ""
        self.started = False
        self.differs = 0
        self.held_until = 0.0
        self.backoff = Backoff(_HOLD)

    def __str__(self) -> str:
        return f"{self.source.plc or self.source.device} {self.source} -> {self.target}"


class Routes:
    """The routes of one mirror, each made when its block's first frame comes."""

    def __init__(self, place: Callable[[Extent], Extent | None], allow: Sequence[Extent]) -> None:
        """Begin without routes.

        Args:
            place: where the bytes of a source's extent belong in the target; None where they are nobody's business.
            allow: ranges that may be written.
        """
        self._place = place
        self._allow = allow
        self._known: dict[Extent, Route | None] = {}

    def __iter__(self) -> Iterator[Route]:
        """All routes, the oldest first."""
        return (route for route in self._known.values() if route is not None)

    def of(self, source: Extent | None) -> Route | None:
        """The route of a block; None for what is not mirrored."""
        if source is None:
            return None
        if source not in self._known:
            target = self._place(source)
            self._known[source] = None if target is None else Route(source, target, self._forbidden(target))
        return self._known[source]

    def _forbidden(self, target: Extent) -> str:
        if not any(allowed.covers(target) for allowed in self._allow):
            return f"{target} is outside of `allow`"
        taken = next((route for route in self if route.target.overlaps(target)), None)
        return f"{taken} has the same target" if taken else ""
