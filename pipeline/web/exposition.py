"""The whole of `/metrics`: everybody's counters, then what is read from the running graph itself.

`plc_last_value` may have tens of thousands of series: their label text is made once per block and kept.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.actor import State
from pipeline.frame import Origin
from pipeline.metrics import header, line, number, selector
from pipeline.web.view import Running, labels_of

__all__ = ["Exposition"]

_STATM = Path("/proc/self/statm")
_PAGE = 4096


class Exposition:
    """The metrics of one running graph."""

    def __init__(self, running: Running, patterns: Sequence[str] = ("*",)) -> None:
        """Make the exposition.

        Args:
            running: the graph.
            patterns: which values `plc_last_value` shows, by name, as in a shell: `AI_*`.
        """
        self._running = running
        self._patterns = tuple(patterns)
        self._prefixes: dict[Origin, dict[str, str]] = {}
        self._labels: dict[Origin, dict[str, str]] = {}

    def lines(self) -> Iterator[str]:
        """All lines, each with its line end. May be read over several loop turns."""
        yield from self._running.metrics.expose()
        yield header("edge_up", "gauge", "1 while the pipeline runs.")
        yield line("edge_up", {}, 1)
        yield from self._nodes()
        yield from _process(self._running.started)
        yield from self._values()

    def _nodes(self) -> Iterator[str]:
        actors = tuple(self._running.actors.items())
        yield header("edge_node_state", "gauge", "1 for the state that a part is in, 0 for the others.")
        for name, actor in actors:
            for state in State:
                yield line("edge_node_state", {"node": name, "state": state.value}, actor.state is state)
        yield header("edge_node_errors_total", "counter", "Exceptions of a part's own code.")
        for name, actor in actors:
            yield line("edge_node_errors_total", {"node": name}, actor.errors)
        yield header("edge_frames_dropped_total", "counter", "Frames given up, by the reason why.")
        for name, actor in actors:
            for reason, count in tuple(actor.drops.items()):
                yield line("edge_frames_dropped_total", {"node": name, "reason": reason}, count)
        yield header("edge_frames_total", "counter", "Frames that have left a source or transform.")
        for name, port in tuple(self._running.ports.items()):
            yield line("edge_frames_total", {"node": name}, port.frames)

    def _values(self) -> Iterator[str]:
        yield header("plc_last_value", "gauge", "Newest value of a tag; true is 1, false is 0, texts are left out.")
        latest = tuple(self._running.latest.items())
        self._know(tuple(origin for origin, _ in latest))
        for origin, frame in latest:
            prefixes = self._prefixes[origin]
            for name, value in frame.values.items():
                if isinstance(value, str):
                    continue
                prefix = prefixes.get(name)
                if prefix is None:
                    prefix = prefixes[name] = self._prefix(origin, name)
                if prefix:
                    yield prefix + number(value) + "\n"

    def _know(self, origins: tuple[Origin, ...]) -> None:
        """Labels of each block; two blocks that would share theirs are told apart by `block`."""
        if self._labels.keys() == set(origins):
            return
        labels = {origin: labels_of(origin) for origin in origins}
        shared = Counter(selector(found) for found in labels.values())
        names: Counter[str] = Counter()
        for origin, found in labels.items():
            if shared[selector(found)] > 1:
                block = " ".join((origin.measurement, *(f"{key}={value}" for key, value in origin.tags.items())))
                names[selector(found) + block] += 1
                count = names[selector(found) + block]
                found["block"] = block if count == 1 else f"{block} #{count}"
        self._labels, self._prefixes = labels, {origin: {} for origin in origins}

    def _prefix(self, origin: Origin, name: str) -> str:
        """`plc_last_value{…} `, or an empty string for a value that no pattern selects."""
        if not any(fnmatchcase(name, pattern) for pattern in self._patterns):
            return ""
        return f"plc_last_value{selector({'name': name, **self._labels[origin]})} "


def _process(started: float) -> Iterator[str]:
    yield header("process_start_time_seconds", "gauge", "Start of the pipeline, seconds since 1970.")
    yield line("process_start_time_seconds", {}, started)
    yield header("process_cpu_seconds_total", "counter", "CPU time of this process, user and system.")
    yield line("process_cpu_seconds_total", {}, time.process_time())
    if sys.platform == "linux":
        yield header("process_resident_memory_bytes", "gauge", "Memory of this process that is in RAM.")
        yield line("process_resident_memory_bytes", {}, int(_STATM.read_text().split()[1]) * _PAGE)
