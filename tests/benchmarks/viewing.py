"""What somebody who looks costs: `page`."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.loads import REALS, Load
from tests.benchmarks.results import Figure, Row, Spread
from tests.benchmarks.stage import Effort, Stage, measure

__all__ = ["page"]

_IN_SIGHT = 12
"""Cards that a screen of 1440 x 900 shows."""


def page(effort: Effort) -> Row:
    """100 PLCs x 200 REALs at 1 Hz: CPU with the overview open against nobody looking, in turns."""
    load = Load(100, 1, REALS[200])
    seconds = effort.pick(45, 3)
    ratios, quiet, told = [], [], []
    with Stage(load) as stage, stage.subscribe() as subscriber, stage.pipeline() as line:
        line.wait_ready()
        for _ in range(effort.times(4)):
            without = measure(line.pid, subscriber, load, seconds)
            with _overview(line.url) as size:
                looked_at = measure(line.pid, subscriber, load, seconds)
            ratios.append(looked_at.cpu / without.cpu)
            quiet.append(without.usage.share)
            told.append(size[0] / 1e3 / looked_at.usage.seconds)
    figures = [
        Figure("page_cpu", Spread.of(ratios), "x", 1.1),
        Figure("core", Spread.of(quiet), "%"),
        Figure("page_told", Spread.of(told), "kB/s"),
    ]
    return Row("page", figures, len(ratios))


@contextmanager
def _overview(url: str) -> Iterator[list[int]]:
    """What the overview asks for in a browser: the document, the stream, the cards in sight; bytes of the stream."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own server
        answer.read()
    size = [0]
    stream = urllib.request.urlopen(f"{url}/api/live", timeout=30)  # noqa: S310 - same
    while not (line := stream.readline()).startswith(b"data:"):
        pass
    number = json.loads(line.removeprefix(b"data:"))["hello"]["id"]
    sight = ",".join(map(str, range(_IN_SIGHT)))
    asked = urllib.request.Request(f"{url}/api/live/{number}?w={sight}", method="POST")  # noqa: S310 - same
    urllib.request.urlopen(asked, timeout=30).close()  # noqa: S310 - same
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            size[0] += len(stream.readline())

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield size
    finally:
        over.set()
        thread.join()
        stream.close()
