"""Ticks, virtual time and the simulated network."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pipeline.clock import VirtualLoop, run_virtual, virtual_clock


def test_ticks_do_not_drift_over_a_day() -> None:
    """A day of 1 s ticks is 86,401 ticks at whole seconds, the first at once."""

    async def main(loop: VirtualLoop) -> list[float]:
        times: list[float] = []
        virtual_clock(loop).tick(1.0, lambda _: times.append(loop.time()))
        await asyncio.sleep(86_400.5)
        return times

    times = run_virtual(main)
    assert len(times) == 86_401
    assert times[-1] == pytest.approx(86_400, abs=1e-6)


def test_callbacks_of_one_period_share_a_loop_turn_and_a_phase_shifts_them() -> None:
    """Two callbacks of a period tick at equal times, one with a phase ticks that much later."""

    async def main(loop: VirtualLoop) -> dict[str, list[float]]:
        clock = virtual_clock(loop)
        times: dict[str, list[float]] = {"a": [], "b": [], "late": []}
        clock.tick(0.1, lambda _: times["a"].append(loop.time()))
        clock.tick(0.1, lambda _: times["late"].append(loop.time()), phase=0.03)
        await asyncio.sleep(0.25)
        clock.tick(0.1, lambda _: times["b"].append(loop.time()))
        await asyncio.sleep(0.2)
        return times

    times = run_virtual(main)
    assert times["b"] == times["a"][3:]
    assert times["late"] == pytest.approx([t + 0.03 for t in times["a"][:5]][: len(times["late"])])


def test_a_late_loop_is_told_how_many_ticks_it_missed() -> None:
    """Blocking for 3.5 periods gives one tick that says 2 were missed and how late it is, then the grid goes on."""
    late: list[float] = []

    async def main(loop: VirtualLoop) -> list[tuple[float, int]]:
        seen: list[tuple[float, int]] = []
        clock = virtual_clock(loop)
        clock.late = late.append

        def tick(missed: int) -> None:
            seen.append((round(loop.time(), 6), missed))
            if len(seen) == 2:
                loop.advance(3.5)

        clock.tick(1.0, tick)
        await asyncio.sleep(6.1)
        return seen

    assert run_virtual(main) == [(0, 0), (1, 0), (4.5, 2), (5, 0), (6, 0)]
    assert [round(each, 6) for each in late] == [0, 0, 2.5, 0, 0]


def test_leaving_ends_the_ticks() -> None:
    """The function that `tick` returns stops its callback and, with the last one, the timer."""

    async def main(loop: VirtualLoop) -> int:
        count = 0

        def tick(_: int) -> None:
            nonlocal count
            count += 1

        leave = virtual_clock(loop).tick(1.0, tick)
        await asyncio.sleep(2.5)
        leave()
        await asyncio.sleep(10)
        return count

    assert run_virtual(main) == 3


def test_virtual_time_waits_for_executor_work() -> None:
    """While a job runs on a thread, no timer fires."""

    async def main(loop: VirtualLoop) -> tuple[float, list[str]]:
        release = threading.Event()
        order: list[str] = []
        loop.call_later(5, order.append, "timer")
        threading.Timer(0.05, release.set).start()
        await loop.run_in_executor(None, release.wait)
        order.append("job")
        at = loop.time()
        await asyncio.sleep(6)
        return at, order

    assert run_virtual(main) == (0.0, ["job", "timer"])


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())  # type: ignore[attr-defined]


class _Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.seen: list[object] = []

    def data_received(self, data: bytes) -> None:
        self.seen.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.seen.append(type(exc).__name__)


@pytest.mark.parametrize(("how", "seen"), [("close", "NoneType"), ("abort", "ConnectionResetError")])
def test_simulated_connections_carry_bytes_and_ends(how: str, seen: str) -> None:
    """Bytes arrive after the latency, in order; a closing peer is seen as such, a resetting one as a reset."""

    async def main(loop: VirtualLoop) -> list[object]:
        loop.latency = 0.25
        await loop.create_server(_Echo, "plc", 102)
        transport, protocol = await loop.create_connection(_Client, "plc", 102)
        transport.write(b"a")
        transport.write(b"b")
        await asyncio.sleep(0.51)
        getattr(loop.connections[0][1], how)()
        await asyncio.sleep(1)
        return protocol.seen  # type: ignore[attr-defined, no-any-return]

    assert run_virtual(main) == [b"A", b"B", seen]


def test_nobody_listening_is_refused_and_a_mute_address_never_answers() -> None:
    """Both kinds of a dead address can be had."""

    async def main(loop: VirtualLoop) -> float:
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(_Client, "plc", 102)
        loop.mute.add(("plc", 102))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.create_connection(_Client, "plc", 102), 30)
        return loop.time()

    assert run_virtual(main) == 30
