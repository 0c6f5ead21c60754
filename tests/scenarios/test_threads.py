"""A running graph is one thread of ours, beside the executors that are named for their work."""

from __future__ import annotations

import asyncio
import re
import sys
import threading

from pipeline.clock import Clock
from pipeline.config import load
from pipeline.runtime import Runtime
from tests.parts.line import ROOT
from tests.parts.waiting import eventually, free_port

NAMED = re.compile(r"MainThread|pipeline-io_\d+|journal-\w+_\d+")


def test_a_running_graph_has_one_thread_of_ours(tmp_path) -> None:
    """Simulator, broker, source, transform, sink and journal on one loop: every other thread has an executor's name."""
    if sys.platform == "win32":
        loop_factory = None
    else:
        import uvloop  # noqa: PLC0415 - not there on Windows

        loop_factory = uvloop.new_event_loop

    async def main() -> set[str]:
        environment = {
            "DEMO_S7_PORT": str(free_port()),
            "DEMO_MQTT_PORT": str(free_port()),
            "METRICS_PORT": str(free_port()),
            "DATA_DIR": str(tmp_path),
        }
        runtime = Runtime(load(ROOT / "configs" / "demo.yaml", environment), Clock(asyncio.get_running_loop()))
        stop = asyncio.Event()
        running = asyncio.get_running_loop().create_task(runtime.run(stop))
        delivered = lambda: runtime.metrics.value("plc_publish_ok_total", mode="mqtt", node="publish")  # noqa: E731
        await eventually(lambda: (delivered() or 0) >= 3, "three frames are acknowledged")
        threads = {thread.name for thread in threading.enumerate()}
        stop.set()
        await running
        return threads

    before = {thread.name for thread in threading.enumerate()}
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        threads = runner.run(main()) - before
    assert {name for name in threads if not NAMED.fullmatch(name)} == set()
