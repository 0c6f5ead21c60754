"""What happened to two simulated PLCs, recorded in virtual time, with the frames that their source gave meanwhile.

`python -m tests.parts.recording` makes the pair in `tests/recordings/bad_day` anew.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.clock import Clock, VirtualLoop, run_virtual
from pipeline.codecs import CODECS
from pipeline.commands.replay import write_expected
from pipeline.config import load_text
from pipeline.frame import Frame
from pipeline.graph import Graph
from pipeline.operator import NodeKind
from pipeline.recording.recorder import FileRecorder
from pipeline.runtime import Runtime
from pipeline.testing.recorded import write_test
from tests.parts import plc as faults
from tests.parts.engine import collector, node
from tests.parts.plc import StrictPlc

__all__ = ["TEXT", "a_bad_day", "a_quiet_day", "graph", "lines", "recorded"]

TEXT = """\
name: line
layouts:
  press: {size: 14, fields: {on: BOOL @ 0.0, current: REAL @ 2, parts: INT @ 12}}
sources:
  press:
    type: s7
    plcs:
      - {plc_id: one, address: 10.0.0.1}
      - {plc_id: two, address: 10.0.0.2}
    every: 1s
    blocks:
      - {db: 1, layout: press}
      - {db: 2, layout: press, every: 5s}
    tags: {pressure: "DB3.DBD4:REAL", there: "M10.3"}
    cpu: {every: 7s, state: mode}
transforms:
  beat: {type: heartbeat, from: press, every: 10s}
sinks:
  out: {type: stdout, from: beat}
  again: {type: file, from: [beat, press], folder: x}
"""
Story = Callable[[dict[str, StrictPlc]], Coroutine[Any, Any, None]]


def graph(text: str = TEXT) -> Graph:
    """The line."""
    return load_text(text, Path("line.yaml"), {})


def lines(frames: list[Frame]) -> list[str]:
    """The frames as on the wire."""
    return [CODECS["full"].encode(frame).decode() for frame in frames]


def recorded(path: Path, story: Story) -> list[Frame]:
    """Record what happens to two PLCs, with latency and living values; the frames that their source gave."""
    seen: list[Frame] = []
    loaded = graph()
    sources = {found.name: found for found in loaded.of(NodeKind.SOURCE)}
    sink = node(NodeKind.SINK, "seen", collector(seen), "press")

    async def main(loop: VirtualLoop) -> None:
        loop.latency = 0.004
        plcs = {}
        for name, address in (("one", "10.0.0.1"), ("two", "10.0.0.2")):
            blocks = {number: bytearray(14) for number in (1, 2)}
            plc = plcs[name] = StrictPlc(blocks, host=address, port=102, jobs=4)
            plc.register(3, bytearray(8))
            await plc.power_on()
        calls = itertools.count()
        # As a real one, it is later at each look.
        clock = Clock(loop, lambda: 1_731_800_000 + loop.time() + next(calls) * 0.0003, loop.time)

        def live(_: int) -> None:
            for step, plc in enumerate(plcs.values(), 1):
                for memory in plc.blocks.values():
                    memory[-1] = (memory[-1] + step) % 256

        clock.tick(0.05, live)
        runtime = Runtime(replace(loaded, nodes={**sources, "seen": sink}), clock)
        recorder = runtime.recorder = FileRecorder(loaded, clock, path)
        stop, over = asyncio.Event(), asyncio.Event()
        writing = loop.create_task(recorder.run(runtime.boot, over))
        running = loop.create_task(runtime.run(stop))
        await story(plcs)
        stop.set()
        await running
        over.set()
        await writing
        for plc in plcs.values():
            plc.close()

    run_virtual(main)
    return seen


async def a_quiet_day(plcs: dict[str, StrictPlc]) -> None:
    """Half a minute of nothing but values."""
    del plcs
    await asyncio.sleep(30.5)


async def a_bad_day(plcs: dict[str, StrictPlc]) -> None:
    """Off and on, silence, garbage, a refused tag."""
    one, two = plcs["one"], plcs["two"]
    await asyncio.sleep(10.2)
    one.close()
    for connection in tuple(one.connections):
        connection.transport.abort()
    await asyncio.sleep(27.3)
    await one.power_on()
    await asyncio.sleep(8)
    two.codes[0x84, 3] = 0x03
    await asyncio.sleep(15.1)
    one.fault = faults.silent
    await asyncio.sleep(9.6)
    one.fault = None
    two.codes.clear()
    await asyncio.sleep(14)
    two.fault = faults.garbage
    await asyncio.sleep(3)
    two.fault = None
    await asyncio.sleep(20.5)


def main() -> None:
    """Make the pair."""
    folder = Path(__file__).parents[1] / "recordings" / "bad_day"
    folder.mkdir(parents=True, exist_ok=True)
    recording = folder / "answers.rec"
    recording.unlink(missing_ok=True)
    random.seed(1)
    recorded(recording, a_bad_day)
    (folder / "graph.yaml").write_text(TEXT, encoding="utf-8")
    write_expected(graph(), recording, folder / "frames.jsonl")
    write_test(folder / "graph.test.yaml", {}, recording.name, "frames.jsonl")


if __name__ == "__main__":
    main()
