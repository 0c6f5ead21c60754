"""Hours in minutes: a whole graph on the virtual loop in a process of its own, whose memory is watched.

`python -m tests.scenarios.delivery.compressed '{"folder": …}'` does a `Task` and leaves an `Outcome` in `outcome.json`.
Clock and network are simulated (as in `test_a_day`), the journal is a real file, and so is the memory.
"""

import asyncio
import gc
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

from pipeline.clock import VirtualLoop, run_virtual, virtual_clock
from pipeline.config import load
from pipeline.runtime import Runtime
from tests.parts.broker import Broker, Published
from tests.parts.counting_plc import CountingPlc, Event, block_layout

__all__ = ["Outcome", "Sample", "Task", "run"]

_ROOT = Path(__file__).parents[3]
_HOUR = 3600.0


class Task(msgspec.Struct, kw_only=True):
    """What is done.

    Attributes:
        folder: an empty one.
        plcs: their number.
        every: seconds between two reads of one.
        phases: hours, and whether the broker is there meanwhile.
        journal: more options of the journal.
        sample: hours between two looks at the memory.
    """

    folder: str
    plcs: int = 1
    every: float = 1.0
    phases: list[tuple[float, bool]]
    journal: dict[str, Any] = {}
    sample: float = 1.0


class Sample(msgspec.Struct):
    """The process after so many hours: bytes of its own memory, and of all that is resident, mapped files included."""

    hours: float
    anonymous: int
    resident: int


class Outcome(msgspec.Struct):
    """What came of it.

    Attributes:
        samples: see there.
        answered: reads that the PLCs answered.
        frames: that arrived, each counted once.
        data: of these, with a PLC's values.
        first: the lowest `seq` that arrived.
        gaps: holes in `seq` above 0.
        twice: arrivals beyond a frame's first.
        disorder: frames behind a later one of their lane.
        dropped: by reason.
        skipped: ticks without a read, by reason.
        size: bytes of the journal's file at the end.
    """

    samples: list[Sample]
    answered: int
    frames: int
    data: int
    first: int
    gaps: int
    twice: int
    disorder: int
    dropped: dict[str, int]
    skipped: dict[str, float]
    size: int


def run(task: Task) -> Outcome:
    """Do it in a process of its own."""
    command = [sys.executable, "-m", "tests.scenarios.delivery.compressed", msgspec.json.encode(task).decode()]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return msgspec.json.decode((Path(task.folder) / "outcome.json").read_bytes(), type=Outcome)


class _Counted(list[Published]):
    """Looks at each message and forgets it, or the tester's memory would be what grows."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, bytearray] = defaultdict(bytearray)
        self.latest: dict[tuple[str, bool], int] = {}
        self.twice = self.disorder = self.data = 0

    def append(self, message: Published) -> None:
        if message.topic.endswith("/status"):
            return
        frame = message.json
        plc, seq, lane = frame["plc_id"], frame["seq"], (frame["plc_id"], bool(frame.get("replayed")))
        seen = self.seen[plc]
        seen.extend(bytes(max(0, seq + 1 - len(seen))))
        if seen[seq]:
            self.twice += 1
            return
        seen[seq] = 1
        self.data += "count" in frame["values"]
        self.disorder += seq < self.latest.get(lane, -1)
        self.latest[lane] = max(seq, self.latest.get(lane, -1))


def _graph(task: Task) -> Path:
    plcs = [{"plc_id": f"plc{number}", "address": f"10.0.0.{number + 1}"} for number in range(task.plcs)]
    journal = {"path": f"{task.folder}/journal", **task.journal}
    document = {
        "name": "hours",
        "layouts": {"block": block_layout(14)},
        "sources": {
            "plcs": {
                "type": "s7",
                "plcs": plcs,
                "tenant_id": "acme",
                "every": f"{task.every}s",
                "blocks": [{"db": 1, "layout": "block"}],
            }
        },
        "transforms": {"frames": {"type": "heartbeat", "from": "plcs", "every": "30s"}},
        "sinks": {
            "broker": {
                "type": "mqtt",
                "from": "frames",
                "host": "broker",
                "port": 1883,
                "tls": {"enabled": False},
                "retry": {"max": "5s"},
                "journal": journal,
            }
        },
    }
    file = Path(task.folder) / "graph.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return file


def _sample(hours: float) -> Sample:
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    size = {name: int(status[name].split()[0]) * 1024 for name in ("RssAnon", "VmRSS")}
    return Sample(hours, size["RssAnon"], size["VmRSS"])


async def _play(task: Task, loop: VirtualLoop) -> Outcome:
    answered = dict.fromkeys(range(task.plcs), 0)

    def note(event: Event, plc: int, _: int) -> None:
        answered[plc] += event is Event.ANSWERED

    plcs = [CountingPlc(number, 14, note, host=f"10.0.0.{number + 1}", port=102) for number in range(task.plcs)]
    for plc in plcs:
        await plc.power_on()
    broker, counted = Broker(), _Counted()
    broker.published = counted
    server = await broker.listen(loop, port=1883)
    runtime, stop = Runtime(load(_graph(task), {}), virtual_clock(loop)), asyncio.Event()
    runner = loop.create_task(runtime.run(stop))
    samples, hours, up = [], 0.0, True
    for length, wanted in task.phases:
        if wanted and not up:
            server = await broker.listen(loop, port=1883)
        elif up and not wanted:
            server.close()
            broker.cut()
        up = wanted
        for _ in range(round(length / task.sample)):
            await asyncio.sleep(task.sample * _HOUR)
            hours += task.sample
            samples.append(_sample(hours))
    stop.set()
    await runner
    for plc in plcs:
        plc.close()
    return _outcome(task, runtime, counted, samples, sum(answered.values()))


def _outcome(task: Task, runtime: Runtime, counted: _Counted, samples: list[Sample], answered: int) -> Outcome:
    skipped: dict[str, float] = defaultdict(float)
    for family in runtime.metrics.collect():
        for sample in family.samples:
            if sample.name == "edge_ticks_skipped_total":
                skipped[sample.labels["reason"]] += sample.value
    return Outcome(
        samples=samples,
        answered=answered,
        frames=sum(sum(seen) for seen in counted.seen.values()),
        data=counted.data,
        first=min(seen.index(1) for seen in counted.seen.values()),
        gaps=sum(len(seen) - sum(seen) for seen in counted.seen.values()),
        twice=counted.twice,
        disorder=counted.disorder,
        dropped=runtime.actors["broker"].drops,
        skipped={reason: count for reason, count in skipped.items() if count},
        size=(Path(task.folder) / "journal" / "data.mdb").stat().st_size,
    )


if __name__ == "__main__":
    _TASK = msgspec.json.decode(sys.argv[1], type=Task)
    _OUTCOME = run_virtual(lambda loop: _play(_TASK, loop))
    (Path(_TASK.folder) / "outcome.json").write_bytes(msgspec.json.encode(_OUTCOME))
