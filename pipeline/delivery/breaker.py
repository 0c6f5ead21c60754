"""Stops sending after many refusals in a row, and lets one record try when a pause is over."""

from __future__ import annotations

import math

from pipeline.retry import Backoff, Retry

__all__ = ["Breaker"]

PASSED_OVER = 1000
"""Records that nobody was asked about and that, after a pause, do not count as its try: as many after each success."""


class Breaker:
    """The breaker of one delivery.

    Attributes:
        until: monotonic seconds when the pause ends; -inf while the breaker is closed.
        reason: what the receiver said last.
    """

    def __init__(self, limit: int, retry: Retry) -> None:
        """Make a closed breaker.

        Args:
            limit: refusals in a row that open it.
            retry: the pauses.
        """
        self.until = -math.inf
        self.reason = ""
        self._limit = limit
        self._refusals = 0
        self._left = PASSED_OVER
        self._backoff = Backoff(retry)

    def __bool__(self) -> bool:
        """True when it is open, or refusals may open it."""
        return self._refusals > 0

    @property
    def text(self) -> str:
        """What an open breaker says to people; empty while it is closed."""
        if self.until == -math.inf:
            return ""
        return f"the receiver refuses: {self.reason}; sending is paused, one frame tries now and then"

    def room(self, window: int, now: float) -> int:
        """Records that may be in flight: none in a pause, one after it, else the window."""
        if self.until == -math.inf:
            return window
        return 0 if now < self.until else 1

    def refuse(self, reason: str, now: float, *, unsent: bool = False) -> None:
        """Count a refusal.

        Args:
            reason: what the receiver said.
            now: monotonic seconds.
            unsent: it was not asked. So many dead letters of one topic, sent again, keep others waiting for one pause;
                where nothing else comes through, most records wait and are no dead letters.
        """
        self.reason = reason
        self._refusals += 1
        if unsent and -math.inf < self.until <= now and self._left:
            self._left -= 1
            return
        if self._refusals >= self._limit and self.until <= now:
            self.until = now + self._backoff.fail()

    def succeed(self) -> None:
        """The receiver takes records."""
        self._refusals = 0
        self._left = PASSED_OVER
        self.until = -math.inf
        self._backoff.succeed()
