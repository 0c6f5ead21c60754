"""Back-off with jitter: how long to wait before the next attempt, for whoever attempts."""

from __future__ import annotations

import random
from typing import Annotated

from msgspec import Meta

from pipeline.operator import Options
from pipeline.units import Duration

__all__ = ["Backoff", "Retry"]


class Retry(Options):
    """How attempts are repeated: the pause doubles from `initial` to `max`."""

    initial: Annotated[Duration, Meta(description="pause after the first failure", gt=0)] = Duration(0.5)
    max: Annotated[Duration, Meta(description="longest pause", gt=0)] = Duration(30)
    jitter: Annotated[float, Meta(description="part of the pause that is random, 0 to 1", ge=0, le=1)] = 0.3


class Backoff:
    """The pauses of one retrying part.

    Attributes:
        attempts: failures since the last success.
    """

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self.attempts = 0

    def succeed(self) -> None:
        """Start again from the shortest pause."""
        self.attempts = 0

    def fail(self) -> float:
        """Count a failure; the seconds to wait now, between `(1 - jitter)` and 1 times the nominal pause."""
        nominal = min(self._retry.max, self._retry.initial * 2 ** min(self.attempts, 32))
        self.attempts += 1
        return float(nominal * (1 - self._retry.jitter * random.random()))  # noqa: S311 - spreads load, hides nothing
