"""The whole of `/metrics`: everybody's counters, then what is read from the running graph itself.

`plc_last_value` may have tens of thousands of series: their label text is made once per block and kept.
"""

from __future__ import annotations

import fnmatch
import mmap
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.actor import State
from pipeline.frame import Origin
from pipeline.metrics import header, line, number, selector
from pipeline.web.view import Running, labels_of

__all__ = ["Exposition"]

_STATM = Path("/proc/self/statm")


_Blocks = dict[Origin, tuple[str, dict[str, str]]]
"""By block: the text after a value's name, and by name the whole text before the number, empty where not selected."""


class Exposition:
    """The metrics of one running graph."""

    def __init__(self, running: Running, patterns: Sequence[str] = ("*",)) -> None:
        """Make the exposition.

        Args:
            running: the graph.
            patterns: which values `plc_last_value` shows, by name, as in a shell: `AI_*`.
        """
        self._running = running
        self._selected = re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)").match
        self._blocks: _Blocks = {}

    def lines(self) -> Iterator[str]:
        """All lines, each with its line end. May be read over several loop turns."""
        yield from self._running.metrics.expose()
        yield header("edge_up", "gauge", "1 while the pipeline runs")
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
        blocks = self._known([origin for origin, _ in latest])
        for origin, frame in latest:
            tail, prefixes = blocks[origin]
            for name, value in frame.values.items():
                if isinstance(value, str):
                    continue
                prefix = prefixes.get(name)
                if prefix is None:
                    shown = self._selected(name) is not None
                    prefix = prefixes[name] = f"plc_last_value{selector({'name': name})[:-1]}{tail}" if shown else ""
                if prefix:
                    yield prefix + number(value) + "\n"

    def _known(self, origins: Sequence[Origin]) -> _Blocks:
        """What is kept of each block; made anew, and not changed under another reader, when other blocks are there."""
        if self._blocks.keys() != set(origins):
            self._blocks = {
                origin: (f",{selector(labels)[1:]} " if labels else "} ", {})
                for origin, labels in _told_apart(origins).items()
            }
        return self._blocks


def _told_apart(origins: Sequence[Origin]) -> dict[Origin, dict[str, str]]:
    """The labels of each block; those that would share theirs have `block` too."""
    found = {origin: labels_of(origin) for origin in origins}
    shared = Counter(selector(labels) for labels in found.values())
    names: Counter[str] = Counter()
    for origin, labels in found.items():
        same = selector(labels)
        if shared[same] > 1:
            block = " ".join((origin.measurement, *(f"{key}={value}" for key, value in origin.tags.items())))
            names[same + block] += 1
            count = names[same + block]
            labels["block"] = block if count == 1 else f"{block} #{count}"
    return found


def _process(started: float) -> Iterator[str]:
    yield header("process_start_time_seconds", "gauge", "Start of the pipeline, seconds since 1970.")
    yield line("process_start_time_seconds", {}, started)
    yield header("process_cpu_seconds_total", "counter", "CPU time of this process, user and system.")
    yield line("process_cpu_seconds_total", {}, time.process_time())
    if _STATM.exists():
        yield header("process_resident_memory_bytes", "gauge", "Memory of this process that is in RAM.")
        yield line("process_resident_memory_bytes", {}, int(_STATM.read_text().split()[1]) * mmap.PAGESIZE)
