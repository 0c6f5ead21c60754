"""The whole of `/metrics`: everybody's counters, then what is read from the running graph itself.

The text is format 0.0.4 (`text/plain`): an OpenMetrics answer would lose the counters in Telegraf.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from copy import copy
from dataclasses import dataclass

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, Sample
from prometheus_client.registry import Collector

from pipeline.actor import State
from pipeline.frame import Origin
from pipeline.lines import dropped
from pipeline.metrics import hundreds, parts
from pipeline.web.view import Running, labels_of

__all__ = ["Exposition", "text"]

_VALUES = GaugeMetricFamily(
    "plc_last_value",
    "Newest value of a tag; true is 1, false is 0, texts are left out.",
    labels=["tenant", "plc", "db", "name", "block"],
)


class Exposition(Collector):
    """The metrics of one running graph."""

    def __init__(self, running: Running, patterns: Sequence[str] = ("*",)) -> None:
        """Make the exposition.

        Args:
            running: the graph.
            patterns: which values `plc_last_value` shows, by name, as in a shell: `AI_*`.
        """
        self._running = running
        self._selected = re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)").match
        self._process = ProcessCollector(registry=None)
        self._series: dict[tuple[Origin, int], tuple[object, list[str]]] = {}

    def collect(self) -> Iterator[Metric]:
        """Every family but `plc_last_value`, in `parts`. May be read over several loop turns."""
        yield from self._running.metrics.collect()
        yield GaugeMetricFamily("edge_up", "1 while the pipeline runs", value=1)
        clock = "this machine's clock, seconds since 1970: whoever asks can compare it with its own"
        yield GaugeMetricFamily("edge_time_seconds", clock, value=self._running.clock.wall())
        given_up = "lines of the log that nobody took in time, or that could not be written"
        yield CounterMetricFamily("edge_log_lines_dropped", given_up, value=dropped())
        yield from self._nodes()
        yield from self._process.collect()

    def _nodes(self) -> Iterator[Metric]:
        actors = tuple(self._running.actors.items())
        states = GaugeMetricFamily(
            "edge_node_state", "1 for the state that a part is in, 0 for the others.", labels=["node", "state"]
        )
        errors = CounterMetricFamily(
            "edge_node_errors", "How often a part got into trouble, and exceptions of its own code.", labels=["node"]
        )
        drops = CounterMetricFamily(
            "edge_frames_dropped", "Frames given up, by the reason why.", labels=["node", "reason"]
        )
        frames = CounterMetricFamily("edge_frames", "Frames that have left a source or transform.", labels=["node"])
        for name, actor in actors:
            for state in State:
                states.add_metric([name, state.value], actor.state is state)
            errors.add_metric([name], actor.errors)
            for reason, count in tuple(actor.drops.items()):
                drops.add_metric([name, reason], count)
        for name, port in tuple(self._running.ports.items()):
            frames.add_metric([name], port.frames)
        for family in (states, errors, drops, frames):
            yield from parts(family, family.samples)

    def text(self, names: Collection[str] = ()) -> Iterator[str]:
        """The text, in pieces, so that it can be sent while it is made.

        Args:
            names: of the metrics that are wanted, as the text has them; none for all.
        """
        yield from text(self, names)
        if not names or _VALUES.name in names:
            yield from self._values()

    def _values(self) -> Iterator[str]:
        """The text of `plc_last_value`, in pieces of a hundred lines. Its series change seldom, so theirs is kept."""
        yield _written(_VALUES)
        latest = tuple(self._running.latest.items())
        labels = _told_apart([origin for origin, _ in latest])
        before, self._series = self._series, {}
        for origin, frame in latest:
            shown = (each for each in frame.values.items() if not isinstance(each[1], str) and self._selected(each[0]))
            for number, piece in enumerate(hundreds(shown)):
                key = (labels[origin], [name for name, _ in piece])
                known, series = before.get((origin, number), (None, []))
                if known != key:
                    series = _series(*key)
                self._series[origin, number] = (key, series)
                # Not as the library writes a number: that takes twice as long and says the same.
                yield "".join([f"{each} {float(value)!r}\n" for each, (_, value) in zip(series, piece, strict=True)])


def text(collector: Collector, names: Collection[str] = ()) -> Iterator[str]:
    """The library's text, a piece for each part that the collector gives, so that it can be sent while it is made."""
    before = None
    for part in collector.collect():
        if names and not {part.name, f"{part.name}_total"}.intersection(names):
            continue
        written = _written(part)
        this = (part.name, part.type)
        # A family has its two lines of head once, before its first part.
        yield written.split("\n", 2)[2] if this == before else written
        before = this


def _series(labels: dict[str, str], names: list[str]) -> list[str]:
    """The lines of some last values without their numbers: `plc_last_value{…}`."""
    family = copy(_VALUES)
    family.samples = [Sample("plc_last_value", {**labels, "name": name}, 0) for name in names]
    return [line.rpartition(" ")[0] for line in _written(family).split("\n")[2:-1]]


def _written(part: Metric) -> str:
    return generate_latest(_Single(part)).decode()


@dataclass(frozen=True)
class _Single(Collector):
    part: Metric

    def collect(self) -> Iterator[Metric]:
        yield self.part


def _told_apart(origins: Sequence[Origin]) -> dict[Origin, dict[str, str]]:
    """The labels of each block; those that would share theirs have `block` too."""
    found = {origin: labels_of(origin) for origin in origins}
    shared = Counter(tuple(labels.items()) for labels in found.values())
    names: Counter[tuple[object, str]] = Counter()
    for origin, labels in found.items():
        same = tuple(labels.items())
        if shared[same] > 1:
            block = " ".join((origin.measurement, *(f"{key}={value}" for key, value in origin.tags.items())))
            names[same, block] += 1
            count = names[same, block]
            labels["block"] = block if count == 1 else f"{block} #{count}"
    return found
