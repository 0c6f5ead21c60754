"""One clock for everything: ticks, back-off, time-outs, commits and Rx schedulers.

Production runs on a real asyncio loop (uvloop where it exists); tests and replays at full speed run on a
`VirtualLoop`, whose time and network are simulated and which never advances while executor work is pending.
"""

from __future__ import annotations

import asyncio
import errno
import math
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

__all__ = ["Clock", "MemoryServer", "MemoryTransport", "Ticker", "VirtualLoop", "run_virtual", "virtual_clock"]

T = TypeVar("T")
_JOB_POLL = 0.05
"""Real seconds after which a virtual loop looks again whether an executor job has ended; its end wakes it at once."""


class Clock:
    """The time of one loop.

    Attributes:
        loop: the loop whose timers everything uses.
        late: told with each tick by how many seconds the loop came late to it.
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
        self.late: Callable[[float], object] = lambda _: None
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
            ticker = self._tickers[key] = Ticker(self, *key)
        return ticker.add(callback)

    def next_tick(self, every: float, phase: float = 0.0) -> float:
        """Loop time of the next tick of a period that somebody waits for."""
        return self._tickers[every, phase % every].due


class Ticker:
    """The ticks of one period: one timer, any number of callbacks, no drift."""

    def __init__(self, clock: Clock, every: float, phase: float) -> None:
        self._clock = clock
        self._loop = clock.loop
        self._every = every
        self._phase = phase
        self._callbacks: list[Callable[[int], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._start = 0.0
        self._count = 0

    @property
    def due(self) -> float:
        """Loop time of the next tick."""
        return self._start + self._count * self._every

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
        self._clock.late(round(max(0.0, now - self.due), 6))
        self._count = max(due, math.floor((now - self._start) / self._every + 1e-6)) + 1
        self._timer = self._loop.call_at(self.due, self._tick)
        missed = self._count - 1 - due
        for callback in tuple(self._callbacks):
            callback(missed)


class _VirtualSelector(selectors.DefaultSelector):
    """Turns waiting into advancing, unless executor work is pending: that is waited for in real time."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What the loop calls to wait for `timeout` seconds."""
        if timeout == 0:
            return super().select(0)
        if self.loop.pending_jobs:
            return super().select(_JOB_POLL)
        if timeout is not None and self.loop.speed < math.inf:
            return self._pass(timeout)
        events = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("virtual time stands still: every task waits and no timer is set")
            self.loop.advance(timeout)
        return events

    def _pass(self, timeout: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait in real time, for as long as the loop's speed makes of it."""
        began = time.perf_counter()
        events = super().select(timeout / self.loop.speed)
        waited = (time.perf_counter() - began) * self.loop.speed
        self.loop.advance(min(timeout, waited) if events else timeout)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only by waiting, and whose connections stay in memory.

    `create_server` and `create_connection` join asyncio protocols on this loop by (host, port), so that a scripted PLC
    or broker is a plain `asyncio.Protocol`. TLS arguments are ignored. A day passes in seconds.

    Attributes:
        pending_jobs: executor jobs not yet done; while there are any, time stands still.
        latency: seconds from a write to its arrival.
        speed: simulated seconds in a real one; infinite unless told: waiting takes no time.
        mute: addresses that accept no connection and give no answer: connecting to one waits for ever.
        connections: living connections, as pairs (client transport, server transport).
    """

    def __init__(self) -> None:
        selector = _VirtualSelector()
        selector.loop = self
        self._now = 0.0
        self.pending_jobs = 0
        self.latency = 0.0
        self.speed = math.inf
        self.mute: set[tuple[str, int]] = set()
        self.connections: list[tuple[MemoryTransport, MemoryTransport]] = []
        self._servers: dict[tuple[str, int], Callable[[], asyncio.BaseProtocol]] = {}
        super().__init__(selector)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Simulated seconds since the loop was made."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let simulated time pass."""
        self._now += seconds

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run on a real thread; time stands still until it is done."""
        self.pending_jobs += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, _: asyncio.Future[Any]) -> None:
        self.pending_jobs -= 1

    async def shutdown_default_executor(self, *arguments: Any) -> None:
        """Wait for the executor's threads in real time, as for any of its jobs."""
        self.pending_jobs += 1
        try:
            await super().shutdown_default_executor(*arguments)
        finally:
            self.pending_jobs -= 1

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, **_: Any
    ) -> MemoryServer:
        """Listen in memory."""
        self._servers[host, port] = protocol_factory
        return MemoryServer(self._servers, (host, port))

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, **_: Any
    ) -> tuple[MemoryTransport, asyncio.BaseProtocol]:
        """Connect in memory.

        Raises:
            ConnectionRefusedError: nobody listens there.
        """
        if (host, port) in self.mute:
            await self.create_future()
        if self.latency:
            await asyncio.sleep(self.latency)
        factory = self._servers.get((host, port))
        if factory is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed ('{host}', {port})")
        client, server = MemoryTransport(self, (host, port)), MemoryTransport(self, ("client", 0))
        client.peer, server.peer = server, client
        self.connections.append((client, server))
        protocol = protocol_factory()
        server.start(factory())
        client.start(protocol)
        return client, protocol

    async def start_tls(  # type: ignore[override]
        self, transport: MemoryTransport, protocol: asyncio.BaseProtocol, sslcontext: Any, **_: Any
    ) -> MemoryTransport:
        """Go on as it is: nothing is encrypted in memory."""
        del protocol, sslcontext
        return transport


class MemoryServer:
    """The listening end of a simulated address."""

    def __init__(
        self, servers: dict[tuple[str, int], Callable[[], asyncio.BaseProtocol]], address: tuple[str, int]
    ) -> None:
        self._servers = servers
        self._address = address

    def close(self) -> None:
        """Refuse further connections; those that live stay."""
        self._servers.pop(self._address, None)

    async def wait_closed(self) -> None:
        """Nothing to wait for."""


class MemoryTransport(asyncio.Transport):
    """One end of a simulated connection.

    Attributes:
        peer: the other end.
        muted: what is written here vanishes, as on a half-open connection.
    """

    peer: MemoryTransport

    def __init__(self, loop: VirtualLoop, address: tuple[str, int]) -> None:
        super().__init__({"peername": address, "sockname": ("virtual", 0)})
        self._loop = loop
        self._protocol: asyncio.Protocol | None = None
        self._closing = False
        self._paused: list[bytes] | None = None
        self._in_flight = 0
        self.muted = False

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """Give this end its protocol."""
        self._protocol = cast(asyncio.Protocol, protocol)
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send; the peer gets it after the loop's latency, in order."""
        if self._closing or self.muted or not data:
            return
        self._in_flight += len(data)
        self._later(self._arrive, bytes(data))

    def _arrive(self, data: bytes) -> None:
        self._in_flight -= len(data)
        self.peer.receive(data)

    def receive(self, data: bytes) -> None:
        """Bytes have arrived for this end's protocol."""
        if self._paused is not None:
            self._paused.append(data)
        elif self._protocol is not None and not self._closing:
            self._protocol.data_received(data)

    def _later(self, callback: Callable[..., object], *arguments: Any) -> None:
        if self._loop.latency:
            self._loop.call_later(self._loop.latency, callback, *arguments)
        else:
            self._loop.call_soon(callback, *arguments)

    def close(self) -> None:
        """Close in order: what was written still arrives."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose, None)
            if not self.muted:
                self._later(self.peer.hang_up, None)

    def abort(self) -> None:
        """Close at once; the peer sees a reset."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose, None)
            if not self.muted:
                self._later(self.peer.hang_up, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def hang_up(self, error: Exception | None) -> None:
        """The peer has closed."""
        if not self._closing:
            self._closing = True
            if error is None and self._protocol is not None:
                self._protocol.eof_received()
            self._loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        protocol, self._protocol = self._protocol, None
        self._loop.connections = [pair for pair in self._loop.connections if self not in pair]
        if protocol is not None:
            protocol.connection_lost(error)

    def is_closing(self) -> bool:
        """True once either end has closed."""
        return self._closing

    def pause_reading(self) -> None:
        """Keep what arrives until `resume_reading`."""
        self._paused = [] if self._paused is None else self._paused

    def resume_reading(self) -> None:
        """Hand over what was kept."""
        kept, self._paused = self._paused or [], None
        for data in kept:
            self.receive(data)

    def is_reading(self) -> bool:
        """False while paused."""
        return self._paused is None

    def get_write_buffer_size(self) -> int:
        """Bytes under way."""
        return self._in_flight

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Memory is wide; nothing to set."""

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol of this end."""
        return cast(asyncio.BaseProtocol, self._protocol)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Change the protocol of this end."""
        self._protocol = cast(asyncio.Protocol, protocol)


def virtual_clock(loop: VirtualLoop, start_wall: float = 1_731_800_000.0) -> Clock:
    """The clock of a virtual loop; its wall time begins at `start_wall` (seconds since 1970)."""
    return Clock(loop, wall=lambda: start_wall + loop.time(), monotonic=loop.time)


def run_virtual(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run `main(loop)` in virtual time to its end; tasks that are left over are cancelled."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))
