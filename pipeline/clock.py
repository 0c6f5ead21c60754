"""One clock for everything: ticks, back-off, time-outs, commits and Rx schedulers.

Production runs on a real asyncio loop (uvloop where it exists); tests, `pipeline test` and `replay --speed max` run on a
`VirtualLoop`, whose time and network are simulated and which never advances while executor work is pending.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

__all__ = ["Clock", "Ticker"]


class Clock:
    """The time of one loop.

    Attributes:
        loop: the loop whose timers everything uses.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.loop = loop
        self.wall = wall
        self.monotonic = monotonic
        self._tickers: dict[tuple[float, float], Ticker] = {}

    wall: Callable[[], float]
    """Seconds since 1970 (UTC); may jump."""
    monotonic: Callable[[], float]
    """Seconds since some moment; never jumps, finer than the loop's own time."""

    def tick(self, every: float, callback: Callable[[int], None], phase: float = 0.0) -> Callable[[], None]:
        """Call `callback(missed)` every `every` seconds, in the same loop turn as all others of that period.

        Args:
            every: the period in seconds.
            callback: gets the number of ticks that the loop was too late for.
            phase: seconds by which this callback's ticks follow the period's common ones.

        Returns:
            A function that ends the ticks.
        """
        key = (every, phase % every)
        ticker = self._tickers.get(key)
        if ticker is None:
            ticker = self._tickers[key] = Ticker(self.loop, *key)
        return ticker.add(callback)


class Ticker:
    """The ticks of one period: one timer, any number of callbacks, no drift."""

    def __init__(self, loop: asyncio.AbstractEventLoop, every: float, phase: float) -> None:
        self._loop = loop
        self._every = every
        self._phase = phase
        self._callbacks: list[Callable[[int], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._start = 0.0
        self._count = 0

    def add(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Join the ticks; the first comes within one period. Returns the way out."""
        self._callbacks.append(callback)
        if self._timer is None:
            now = self._loop.time()
            self._start = now + self._phase
            self._count = 0
            self._timer = self._loop.call_at(self._start, self._tick)

        def leave() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)
            if not self._callbacks and self._timer is not None:
                self._timer.cancel()
                self._timer = None

        return leave

    def _tick(self) -> None:
        due = self._count
        now = self._loop.time()
        # uvloop's clock has a resolution of 1 ms: a timer may fire that much early.
        self._count = max(due, math.floor((now - self._start) / self._every + 1e-6)) + 1
        self._timer = self._loop.call_at(self._start + self._count * self._every, self._tick)
        missed = self._count - 1 - due
        for callback in tuple(self._callbacks):
            callback(missed)
