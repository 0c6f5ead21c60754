"""`configs/mirror.yaml` from one C++ S7 server to another, through power cycles of both."""

import asyncio

import pytest

from pipeline.clock import Clock
from pipeline.frame import Extent
from pipeline.s7.exchange import read_extent
from pipeline.s7.session import connect
from pipeline.s7.wire import Tsaps
from tests.parts.line import ROOT
from tests.parts.waiting import wait_until

pytestmark = [pytest.mark.real("native_plc"), pytest.mark.timeout(180)]

MIRROR = ROOT / "configs" / "mirror.yaml"
OTHERS = b"\xee" * 20
FIRST, SECOND, THIRD = bytes(range(14)), bytes(range(100, 114)), bytes(range(200, 214))


def environment(source, target, **more):
    """Where the two are."""
    return {
        "PLC_IP": "127.0.0.1",
        "PLC_PORT": str(source.port),
        "MIRROR_IP": "127.0.0.1",
        "MIRROR_PORT": str(target.port),
        "POLL_INTERVAL": "50ms",
        **more,
    }


def memory(plc):
    """DB101 of a PLC, read over a connection of its own."""

    async def read():
        clock = Clock(asyncio.get_running_loop())
        session = await connect(clock, "127.0.0.1", plc.port, Tsaps.of(3, 0, 1), patience=5)
        try:
            return await read_extent(session, Extent(device="", db=101, start=0, size=len(OTHERS)))
        finally:
            session.close()

    return asyncio.run(read())


def test_a_block_follows_its_origin_through_power_cycles(line, native_plc):
    """Byte for byte, and not one byte beside it; a target that comes back old is brought into step."""
    source, target = native_plc({1: FIRST}), native_plc({101: OTHERS})
    pipeline = line(MIRROR, environment(source, target))
    pipeline.wait_ready()
    wait_until(lambda: memory(target) == FIRST + OTHERS[14:], "the first bytes")
    target.poke(101, 3, b"\x77")
    wait_until(lambda: memory(target) == FIRST + OTHERS[14:], "somebody else's byte is put right")
    target.kill()
    wait_until(lambda: pipeline.metric("edge_node_state", node="copy", state="backing_off"), "noticed")
    source.poke(1, 0, SECOND)
    target.start()
    wait_until(lambda: memory(target) == SECOND + OTHERS[14:], "in step again")
    source.kill()
    wait_until(lambda: "the source can't be read" in pipeline.log, "told")
    target.poke(101, 0, THIRD)
    source.start()
    wait_until(lambda: memory(target) == FIRST + OTHERS[14:], "the source came back with its first bytes")
    assert pipeline.terminate() == 0
    events = [
        word
        for line in pipeline.log.splitlines()
        for word in ("started", "stopped", "resumed")
        if f"mirror {word}" in line
    ]
    assert events[0] == "started"
    assert events[-1] == "resumed"
    assert events.count("stopped") >= 2


def test_a_dry_run_changes_nothing(line, native_plc):
    """It is connected and compares."""
    source, target = native_plc({1: FIRST}), native_plc({101: OTHERS})
    pipeline = line(MIRROR, environment(source, target, MIRROR_DRY_RUN="true"))
    pipeline.wait_ready()
    wait_until(lambda: pipeline.metric("edge_mirror_frames_total", result="dry_run") > 20, "compared")
    assert memory(target) == OTHERS
    assert pipeline.terminate() == 0
