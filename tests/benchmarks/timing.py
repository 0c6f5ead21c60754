"""How soon: `latency`, `start`, `scrape`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from pathlib import Path

import msgspec

from tests.benchmarks.loads import PRESS, REALS, Load
from tests.benchmarks.measure import alone, percentile
from tests.benchmarks.proxy import LIMIT, number_of
from tests.benchmarks.results import Figure, Row, Spread
from tests.benchmarks.stage import Effort, Stage, graph
from tests.benchmarks.subscriber import Subscriber
from tests.parts.line import Line
from tests.parts.waiting import free_port, wait_until

__all__ = ["latencies", "latency", "proxied", "scrape", "start"]


@contextmanager
def proxied(stage: Stage) -> Iterator[tuple[int, Path]]:
    """A proxy before the stage's PLCs: its port, and the file of its times."""
    port, times = free_port(), stage.folder / "times"
    options = {"addresses": stage.load.addresses, "port": port, "plc_port": stage.plc_port, "times": str(times)}
    command = [sys.executable, "-m", "tests.benchmarks.proxy", json.dumps(options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield port, times
        finally:
            process.stdin.close()


def latencies(kept: list[tuple[float, bytes]], times: Path) -> list[float]:
    """Milliseconds from the proxy to the subscriber, of all data frames."""
    sent = array("d")
    with times.open("rb") as file:
        sent.fromfile(file, LIMIT)
    frames = ((at, msgspec.json.decode(body)["values"]) for at, body in kept)
    return [1e3 * (at - sent[number_of(values)]) for at, values in frames if "contador_bom" in values]


def latency(effort: Effort) -> Row:
    """20 PLCs at 50 Hz: from the answer as a proxy saw it to a subscriber."""
    load = Load(20, 50, PRESS)
    rounds: list[list[float]] = []
    for _ in range(effort.times(3)):
        with Stage(load) as stage, proxied(stage) as (port, times), stage.subscribe(keep=True) as subscriber:
            with stage.pipeline(graph(stage, plc_port=port)) as line:
                line.wait_ready()
                time.sleep(effort.pick(5, 1))
                subscriber.kept.clear()
                time.sleep(effort.pick(60, 3))
                kept = subscriber.kept[:]
            rounds.append(latencies(kept, times))
    marks = {"p50": (None, None), "p99": (5.0, None), "p99.9": (None, 5.0), "p100": (None, None)}
    figures = [
        Figure(
            "latency_" + name.removeprefix("p").replace(".", "_"),
            Spread.of([percentile(each, float(name[1:])) for each in rounds]),
            "ms",
            reach if reach is not None else beyond,
            beyond,
        )
        for name, (reach, beyond) in marks.items()
    ]
    return Row("latency", figures, len(rounds), detail={"frames": [len(each) for each in rounds]})


def start(effort: Effort) -> Row:
    """From the process's start to its first frame at the subscriber; the broker acknowledges it as it passes it on."""
    found: list[float] = []
    with Stage(Load(1, 1, PRESS)) as stage:
        for _ in range(effort.times(10)):
            with stage.subscribe() as subscriber:
                began = time.monotonic()
                with stage.pipeline():
                    wait_until(partial(_any, subscriber), "the first frame")
                    found.append(time.monotonic() - began)
    return Row("start", [Figure("first_frame", Spread.of(found), "s", 1, 0.5)], len(found))


def scrape(effort: Effort) -> Row:
    """20,000 series of `plc_last_value`, scraped without a pause beside a PLC that is read at 50 Hz."""
    probe, big = Load(1, 50, PRESS), Load(10, 1 / 3600, REALS[2000])
    answers: dict[str, list[float]] = {}
    ticks: dict[str, float] = {}
    with Stage(probe) as stage, Stage(big) as others, stage.subscribe(keep=True) as subscriber:
        document = graph(stage)
        document["layouts"]["big"] = big.block.layout
        document["sources"]["big"] = {
            **graph(others)["sources"]["plcs"],
            "plcs": [
                {"plc_id": f"big{number}", "address": address, "port": others.plc_port}
                for number, address in enumerate(big.addresses)
            ],
            "every": "1h",
            "blocks": [{"db": 1, "layout": "big"}],
        }
        document["transforms"]["frames"]["from"] = ["plcs", "big"]
        with stage.pipeline(document) as line:
            line.wait_ready()
            answer = line.get("/metrics")[1]
            series = sum(row.startswith("plc_last_value{") for row in answer.splitlines())
            for name in ("quiet", "scraped"):
                with alone(line.pid), _scraping(line.url) if name == "scraped" else _nothing() as scrapes:
                    time.sleep(1)
                    before = _late(line)
                    subscriber.kept.clear()
                    time.sleep(effort.pick(30, 3))
                    ticks[name] = _bound(before, _late(line))
                    answers[name] = _lateness(subscriber.kept[:], 1 / probe.hertz)
    if series < 20_000:
        raise AssertionError(f"only {series} series")
    figures = [
        Figure("late_max", _one(ticks["scraped"]), "ms", 5),
        Figure("late_max_quiet", _one(ticks["quiet"]), "ms"),
        Figure("answer_max", _one(max(answers["scraped"])), "ms"),
        Figure("answer_max_quiet", _one(max(answers["quiet"])), "ms"),
        Figure("scrape_time", Spread.of(scrapes), "ms"),
    ]
    return Row("scrape", figures, 1, detail={"series": series, "bytes": len(answer), "scrapes": len(scrapes)})


def _any(subscriber: Subscriber) -> bool:
    return subscriber.count > 0


@contextmanager
def _nothing() -> Iterator[list[float]]:
    yield []


@contextmanager
def _scraping(url: str) -> Iterator[list[float]]:
    """Scrape as fast as answers come, on a thread: the milliseconds that each took."""
    took: list[float] = []
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            began = time.monotonic()
            with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:  # noqa: S310 - our own server
                answer.read()
            took.append(1e3 * (time.monotonic() - began))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


def _late(line: Line) -> list[tuple[float, float]]:
    """Milliseconds, and how many of the pipeline's ticks were late by at most so many."""
    rows = line.get("/metrics?name[]=edge_tick_late_seconds")[1].splitlines()
    found = (re.match(r'edge_tick_late_seconds_bucket{le="(.+)"} (.+)', row) for row in rows)
    return [(1e3 * float(each[1]), float(each[2])) for each in found if each]


def _bound(before: list[tuple[float, float]], after: list[tuple[float, float]]) -> float:
    """The smallest of the histogram's bounds that no tick between exceeded."""
    counts = [(bound, count - earlier) for (bound, count), (_, earlier) in zip(after, before, strict=True)]
    bound = next(bound for bound, count in counts if count == counts[-1][1])
    assert bound < inf, "the machine stood still: a tick was more than a second late"
    return bound


def _lateness(kept: list[tuple[float, bytes]], period: float) -> list[float]:
    """Milliseconds by which readings came after their tick's usual moment, by their own time stamps."""
    stamps = [frame["ts"] for frame in (msgspec.json.decode(body) for _, body in kept) if frame["plc_id"] == "plc0"]
    phases = [stamp - stamps[0] - period * round((stamp - stamps[0]) / period) for stamp in stamps]
    usual = percentile(phases, 50)
    return [max(0.0, 1e3 * (phase - usual)) for phase in phases]


def _one(value: float) -> Spread:
    return Spread(value, value, value)
