"""`configs/line1.yaml` itself through a whole day in virtual time: scripted PLC, scripted broker, exact counts."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from pathlib import Path

import pytest

from pipeline.clock import VirtualLoop, run_virtual, virtual_clock
from pipeline.config import load
from pipeline.runtime import Runtime
from tests.parts.broker import Broker, Published
from tests.parts.line import ROOT
from tests.parts.plc import StrictPlc

HOUR = 3600
DAY = 24 * HOUR
TOPIC = "plc/acme/press1"


def environment(data_dir: Path) -> dict[str, str]:
    """A plant with simulated addresses."""
    return {
        "PLC_IP": "10.0.0.1",
        "MQTT_BROKER": "broker",
        "MQTT_USERNAME": "edge",
        "MQTT_PASSWORD": "secret",
        "TENANT_ID": "acme",
        "PLC_ID": "press1",
        "DATA_DIR": str(data_dir),
    }


def kind(message: Published) -> str:
    """What a frame tells."""
    values = message.json["values"]
    if values.get("read_failed"):
        return f"failure: {message.json['error']}"
    return "heartbeat" if "heartbeat" in values else "data"


@pytest.mark.timeout(300)
def test_a_day_of_line1_loses_nothing(tmp_path: Path) -> None:
    """The broker is away for two hours, the PLC for one; every frame comes, once, in order, and no more than that."""
    block = bytearray(14)

    async def main(loop: VirtualLoop) -> tuple[Broker, Runtime]:
        graph = load(ROOT / "configs" / "line1.yaml", environment(tmp_path))
        runtime = Runtime(graph, virtual_clock(loop))
        broker, stop = Broker(), asyncio.Event()
        server = await broker.listen(loop)
        plc = StrictPlc({1: block}, host="10.0.0.1", port=102)
        await plc.power_on()

        def count_part(_: int) -> None:
            block[10:12] = ((int.from_bytes(block[10:12]) + 1) % 32768).to_bytes(2)

        runtime.clock.tick(1.0, count_part)
        runner = loop.create_task(runtime.run(stop))
        await asyncio.sleep(6 * HOUR + 0.5)
        server.close()
        broker.cut()
        await asyncio.sleep(2 * HOUR)
        await broker.listen(loop)
        await asyncio.sleep(4 * HOUR)
        plc.close()
        await asyncio.sleep(HOUR)
        await plc.power_on()
        await asyncio.sleep(11 * HOUR)
        stop.set()
        await runner
        plc.close()
        return broker, runtime

    broker, runtime = run_virtual(main)
    frames = broker.on(TOPIC)
    kinds = Counter(map(kind, frames))
    seqs = [message.json["seq"] for message in frames]
    assert seqs == sorted(seqs), "ascending"
    assert Counter(seqs) == Counter(range(len(set(seqs)))), "no gap, nothing twice"
    assert {message.json["boot"] for message in frames} == {runtime.boot}

    data = [message.json for message in frames if kind(message) == "data"]
    counters = [frame["values"]["contador_bom"] for frame in data]
    assert len(set(counters)) > 30_000, "no stale data: the PLC's counter moves with every second"
    ts = [frame["ts"] for frame in data]
    gaps = [(a, b) for a, b in itertools.pairwise(ts) if b - a > 1.5]
    assert len(gaps) == 1, "only the PLC's own hour is without data"
    away = gaps[0][1] - gaps[0][0]
    assert HOUR - 1 <= away <= HOUR + 32, "back within one back-off"
    # Ticks come at 0, 1, …, 86400. In the PLC's hour there are none but the read that follows its return at once.
    assert kinds["data"] == DAY + 1 - round(away) + 1
    failures = {name: count for name, count in kinds.items() if name.startswith("failure")}
    # Each of the 120 half minutes of that hour repeats the failure; it also came at once, and again with its second
    # reason: first the connection broke, then nobody listened.
    assert failures == {"failure: connection lost": 1, "failure: connection refused": 121}
    assert kinds["heartbeat"] == DAY / 30 - 120
    assert len(frames) == kinds["data"] + kinds["heartbeat"] + 122

    replayed = [message.json for message in frames if message.json.get("replayed")]
    assert 2 * HOUR * 31 / 30 <= len(replayed) <= 2 * HOUR * 31 / 30 + 40, (
        "what waited for the broker is marked, no more"
    )
    assert runtime.actors["broker"].drops == {}
