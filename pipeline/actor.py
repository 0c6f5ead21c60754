"""Actors: the running sources, sinks and services. One state, one bounded mailbox, one supervisor each."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from enum import StrEnum

import structlog

from pipeline.clock import Clock
from pipeline.frame import Frame
from pipeline.operator import NodeKind, Overflow

__all__ = ["Actor", "Mailbox", "State"]


_DROPS_EVERY = 60.0
"""Seconds between two log lines about drops of one reason."""
_REASONS_EVERY = 60.0
"""Seconds between two log lines about one reason of a state that lasts."""
_REASONS = 10
"""Reasons of a state that lasts, which are logged within that time."""


class State(StrEnum):
    """What an actor is doing; metrics and page show it."""

    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    BACKING_OFF = "backing_off"
    STOPPED = "stopped"


class Actor:
    """The public face of a running part: what state it is in, since when, why.

    Attributes:
        name: the node's name, for a part of a source `<node>/<part>`.
        kind: which section of the graph it comes from.
        state: see `State`.
        reason: why, when the state is not `running`; what to do, where known.
        since: wall clock, seconds, of the last change.
        was_running: True once it has been running: a source has read, a sink was connected.
        errors: how often it got into trouble, and exceptions of its own code, counted.
        frames: that have left a source, or this part of it; 0 for all others.
        drops: frames given up, by reason.
        last_errors: the latest reasons with their wall clock, oldest first.
    """

    def __init__(self, name: str, kind: NodeKind, clock: Clock, log: structlog.typing.FilteringBoundLogger) -> None:
        self.name = name
        self.kind = kind
        self.state = State.STARTING
        self.reason = ""
        self.since = clock.wall()
        self.was_running = False
        self.errors = 0
        self.frames = 0
        self.drops: dict[str, int] = {}
        self.last_errors: deque[tuple[float, str]] = deque(maxlen=10)
        self._clock = clock
        self._log = log
        self._logged: set[str] = set()
        self._said: dict[str, float] = {}
        self._unsaid = 0

    def become(self, state: State, reason: str = "") -> None:
        """Change the state; each change is one log line, repeating the current one is nothing.

        While only the reason changes, each is logged once a minute, and no more than ten of them.
        """
        if (state, reason) == (self.state, self.reason):
            return
        previous, self.state, self.reason = self.state, state, reason
        self.since = self._clock.wall()
        self.was_running = self.was_running or state is State.RUNNING
        if reason and state is not State.STOPPED:
            self.last_errors.append((self.since, reason))
            self.errors += 1
        if state in {State.DEGRADED, State.BACKING_OFF} or (reason and state is State.STARTING):
            if self._speaks(reason, state is previous):
                suppressed, self._unsaid = {"suppressed": self._unsaid} if self._unsaid else {}, 0
                self._log.warning(
                    "state changed", state=state.value, previous=previous.value, reason=reason, **suppressed
                )
        elif state is not previous:
            self._log.info("state changed", state=state.value, previous=previous.value)

    def _speaks(self, reason: str, lasts: bool) -> bool:
        """Whether the log tells a reason: a receiver that refuses now this, now that would fill it."""
        now = self._clock.loop.time()
        self._said = {said: at for said, at in self._said.items() if now - at < _REASONS_EVERY}
        if lasts and (reason in self._said or len(self._said) >= _REASONS):
            self._unsaid += 1
            return False
        self._said[reason] = now
        return True

    def fail(self, reason: str) -> None:
        """Back off for an error. It counts also when it is the same again, and nothing was well in between."""
        if (State.BACKING_OFF, reason) == (self.state, self.reason):
            self.errors += 1
        self.become(State.BACKING_OFF, reason)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count frames that are given up, by a constant reason; the log tells the first, then at most once a minute."""
        before = self.drops.get(reason, 0)
        self.drops[reason] = before + count
        if count and reason not in self._logged:
            self._log_drops(reason, before)

    def _log_drops(self, reason: str, before: int) -> None:
        """Log what has been dropped since there were `before`, and look again in a minute; end when there was none."""
        total = self.drops[reason]
        if total == before:
            self._logged.discard(reason)
            return
        self._log.warning("frames dropped", reason=reason, count=total - before, total=total)
        self._logged.add(reason)
        self._clock.loop.call_later(_DROPS_EVERY, self._log_drops, reason, total)


class Mailbox:
    """A sink's bounded queue. What one loop turn puts in, one turn takes out, in one batch, without a task a frame.

    Attributes:
        drains: how often all that waited was taken out.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        capacity: int,
        overflow: Overflow,
        dropped: Callable[[str], None],
    ) -> None:
        """Make a mailbox.

        Args:
            loop: the loop that takes the frames out.
            capacity: frames it holds; 1 keeps the latest only, with `DROP_OLDEST`.
            overflow: which frame a full mailbox gives up.
            dropped: told the reason of each frame given up.
        """
        self._loop = loop
        self._capacity = capacity
        self._overflow = overflow
        self._dropped = dropped
        self._frames: deque[Frame] = deque()
        self._closed = asyncio.Event()
        self._notify: Callable[[], None] | None = None
        self._scheduled = False
        self.drains = 0

    def __len__(self) -> int:
        """Frames that wait."""
        return len(self._frames)

    @property
    def closed(self) -> bool:
        """True when no more frames come; those that wait still do."""
        return self._closed.is_set()

    def put(self, frame: Frame) -> None:
        """Add a frame; never blocks. A full mailbox gives one up by its policy."""
        frames = self._frames
        waiting = len(frames)
        if waiting >= self._capacity:
            self._dropped("mailbox_full")
            if self._overflow is Overflow.DROP_NEWEST:
                return
            frames.popleft()
        frames.append(frame)
        if not waiting and self._notify is not None:
            self._notify()

    def close(self) -> None:
        """Say that no more frames come."""
        self._closed.set()
        if self._notify is not None:
            self._notify()

    async def closed_within(self, seconds: float) -> bool:
        """Pause for so long, or until no more frames come; whether that is so. For sinks that wait for a receiver."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        return self.closed

    async def consume(self, handler: Callable[[list[Frame]], None]) -> None:
        """Give each loop turn's frames to `handler` as one list, until the mailbox is closed and empty.

        An exception of the handler ends this call with it; the frames of that call are given up, the rest wait.
        """
        done: asyncio.Future[None] = self._loop.create_future()

        def deliver() -> None:
            self._scheduled = False
            if done.done():
                return
            if self._frames:
                batch = list(self._frames)
                self._frames.clear()
                self.drains += 1
                try:
                    handler(batch)
                except Exception as error:  # noqa: BLE001 - ends consume(), whose supervisor counts and logs it
                    done.set_exception(error)
                    return
            if self.closed:
                done.set_result(None)

        def schedule() -> None:
            if not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(deliver)

        self._listen(schedule)
        try:
            schedule()
            await done
        finally:
            self._notify = None
            self._scheduled = False

    async def batches(self) -> AsyncIterator[list[Frame]]:
        """The same as an async iterator, for sinks that await between batches; the mailbox stays bounded meanwhile."""
        wake = asyncio.Event()
        self._listen(wake.set)
        try:
            while self._frames or not self.closed:
                wake.clear()
                if self._frames:
                    batch = list(self._frames)
                    self._frames.clear()
                    self.drains += 1
                    yield batch
                else:
                    await wake.wait()
        finally:
            self._notify = None

    def _listen(self, notify: Callable[[], None]) -> None:
        if self._notify is not None:
            raise RuntimeError("a mailbox has one consumer")
        self._notify = notify
