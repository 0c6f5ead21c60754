"""What the journal costs, and how fast it empties: `append`, `write_ahead`, `drain`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.loads import PRESS, Load
from tests.benchmarks.measure import Usage, Watch, percentile
from tests.benchmarks.results import Figure, Row, Spread
from tests.benchmarks.stage import Effort, Measured, Stage, graph, measure
from tests.benchmarks.timing import latencies, proxied
from tests.parts.line import Line
from tests.parts.waiting import wait_until

__all__ = ["append", "drain", "write_ahead"]

_LOAD = Load(20, 50, PRESS)


def append(effort: Effort) -> Row:
    """20 PLCs at 50 Hz: a while with the broker, then a minute without; plain and compressed."""
    rounds = [{name: _append(effort, name) for name in ("none", "zstd")} for _ in range(effort.times(3))]

    def spread(name: str, what: str) -> Spread:
        return Spread.of([each[name][what] for each in rounds])

    figures = [
        Figure("away_cpu", spread("none", "ratio"), "x", 2),
        Figure("disk", spread("none", "disk"), "x", 1.5),
        Figure("disk_zstd", spread("zstd", "disk"), "x", 1),
        Figure("cpu", spread("none", "healthy"), "us"),
        Figure("cpu_away", spread("none", "away"), "us"),
        Figure("cpu_away_zstd", spread("zstd", "away"), "us"),
        Figure("written", spread("none", "written"), "x"),
    ]
    return Row("append", figures, len(rounds))


def _append(effort: Effort, compression: str) -> dict[str, float]:
    with Stage(_LOAD) as stage, stage.subscribe() as subscriber:
        document, journal = _journal(stage, compression=compression)
        with stage.pipeline(document) as line:
            healthy = measure(line.pid, subscriber, _LOAD, effort.pick(15, 3), effort.pick(3, 1))
            stage.broker.kill()
            time.sleep(effort.pick(5, 1))
            usage, frames = _away(line, effort.pick(60, 4))
            stored = line.metric("edge_backlog_size")
            time.sleep(1)  # a commit takes what stands in memory yet
            size = stored * healthy.size / healthy.frames
            return {
                "healthy": healthy.cpu,
                "away": 1e6 * usage.cpu / frames,
                "ratio": 1e6 * usage.cpu / frames / healthy.cpu,
                "disk": _disk(journal) / size,
                "written": usage.written / (frames * healthy.size / healthy.frames),
            }


def _away(line: Line, seconds: float) -> tuple[Usage, float]:
    """What the process uses without a broker, and the frames that it stores meanwhile."""
    watch, before = Watch(line.pid), line.metric("plc_read_ok_total")
    time.sleep(seconds)
    return watch.read(), line.metric("plc_read_ok_total") - before


def write_ahead(effort: Effort) -> Row:
    """20 PLCs at 50 Hz: on disk before it is sent and kept afterwards, beside the default."""
    modes: dict[str, dict[str, str]] = {"default": {}, "ahead": {"commit_interval": "0s", "keep_after_ack": "1h"}}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in modes}
    for _ in range(effort.times(3)):
        for name, options in modes.items():
            found[name].append(_write(effort, options))
    figures = [
        Figure(f"{what}_{name}", Spread.of([each[what] for each in found[name]]), unit)
        for what, unit in (("cpu", "us"), ("latency_50", "ms"), ("latency_99", "ms"), ("written_kB", "kB/s"))
        for name in modes
    ]
    return Row("write_ahead", figures, effort.times(3))


def _write(effort: Effort, options: dict[str, str]) -> dict[str, float]:
    with Stage(_LOAD) as stage, proxied(stage) as (port, times), stage.subscribe(keep=True) as subscriber:
        with stage.pipeline(_journal(stage, port, **options)[0]) as line:
            measured = measure(line.pid, subscriber, _LOAD, effort.pick(20, 3), effort.pick(5, 1))
            kept = subscriber.kept[-measured.frames :]
        found = latencies(kept, times)
    return {
        "cpu": measured.cpu,
        "latency_50": percentile(found, 50),
        "latency_99": percentile(found, 99),
        "written_kB": measured.usage.written / 1e3 / measured.usage.seconds,
    }


def drain(effort: Effort) -> Row:
    """1,000,000 frames in the journal, the broker returns, 20 PLCs at 50 Hz go on."""
    wanted = round(effort.pick(1_000_000, 10_000))
    with Stage(_LOAD) as stage:
        journal = stage.folder / "journal"
        backlog = _fill(stage, journal, wanted)
        with proxied(stage) as (port, times):
            beside_backlog = graph(stage, plc_port=port, path=str(journal), order="live_first")
            with _returning(stage, beside_backlog, keep=True) as (line, subscriber):
                time.sleep(effort.pick(30, 3))
                kept = subscriber.kept[:]
                assert line.metric("edge_backlog_size"), "the backlog was gone too soon"
        live = [each for each in kept if b'"replayed"' not in each[1]]
        beside = latencies(live, times)
        with _returning(stage, graph(stage, path=str(journal))) as (line, subscriber):
            began, left = time.monotonic(), line.metric("edge_backlog_size")
            before, watch = subscriber.count, Watch(line.pid)
            wait_until(lambda: line.metric("edge_backlog_size") < _LOAD.rate, "the journal drains", 600)
            drained = Measured(subscriber.count - before, 0, watch.read(), 1)
            seconds = time.monotonic() - began
    figures = [
        Figure("drain_rate", _one(drained.frames / seconds), "/s", 15_000, None, True),
        Figure("live_99", _one(percentile(beside, 99)), "ms", 100),
        Figure("live_50", _one(percentile(beside, 50)), "ms"),
        Figure("cpu", _one(drained.cpu), "us"),
        Figure("core", _one(drained.usage.share), "%"),
        Figure("own_memory", _one(drained.usage.own / 1e6), "MB"),
    ]
    return Row("drain", figures, 1, detail={"backlog": backlog, "drained": left, "seconds": seconds})


def _fill(stage: Stage, journal: Path, wanted: int) -> float:
    """Read a hundred PLCs without a broker until the journal holds so many frames; how many it holds."""
    stage.broker.kill()
    with Stage(Load(100, 100, PRESS)) as many:
        document = graph(many, path=str(journal), max_size="4GiB")
        document["sinks"]["broker"]["port"] = stage.broker.plain_port  # a journal is for one broker
        with many.pipeline(document) as line:
            wait_until(lambda: line.metric("edge_backlog_size") >= wanted, f"{wanted} frames are stored", 600)
            held = line.metric("edge_backlog_size")
            assert line.terminate() == 0
    return held


@contextmanager
def _returning(stage: Stage, document: dict[str, Any], *, keep: bool = False) -> Iterator[tuple[Line, Any]]:
    """The pipeline started without a broker, which comes when the sources read; the first frames have passed."""
    stage.broker.kill()
    with stage.pipeline(document) as line:
        wait_until(lambda: line.metric("plc_read_ok_total") > _LOAD.rate, "the sources read")
        stage.broker.start()
        with stage.subscribe(keep=keep) as subscriber:
            wait_until(lambda: subscriber.count, "the first frame passes")
            yield line, subscriber


def _journal(stage: Stage, plc_port: int = 0, **options: str) -> tuple[dict[str, Any], Path]:
    """A graph whose journal is at a known place."""
    journal = Path(tempfile.mkdtemp(dir=stage.folder)) / "journal"
    return graph(stage, plc_port=plc_port, **{"path": str(journal), "max_size": "4GiB", **options}), journal


def _disk(folder: Path) -> int:
    """Bytes that a folder takes on disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def _one(value: float) -> Spread:
    return Spread(value, value, value)
