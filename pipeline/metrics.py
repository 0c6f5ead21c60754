"""Counters that cost an addition: plain numbers in the hot path, turned into Prometheus text at scrape time.

The text is format 0.0.4 (`text/plain`): an OpenMetrics answer would lose the counters in Telegraf.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import structlog

__all__ = ["CONTENT_TYPE", "Counter", "Gauge", "Histogram", "Metrics", "header", "line", "number", "selector"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]
Samples = Callable[[], Iterable[tuple[dict[str, str], float]]]
Child = TypeVar("Child", "Counter", "Gauge", "Histogram")

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_EXACT = 2.0**53  # below it a whole float and its integer are the same number


class Counter:
    """A count that only grows: `counter.n += 1`.

    Attributes:
        n: the count.
    """

    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n: float = 0


class Gauge:
    """A value that goes up and down: `gauge.value = 3`.

    Attributes:
        value: the latest value.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0.0


class Histogram:
    """Counts of observations at or below each bound, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative buckets as Prometheus wants them, and the sum."""
        total = 0.0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets, self._sum


class _Family:
    """All children of one name, and the readers asked at scrape time."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text
        self.children: dict[Labels, Any] = {}
        self.readers: list[Samples] = []


class Metrics:
    """All metrics of one running graph, without globals: two graphs in one process don't meet."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}
        self._log = structlog.get_logger()

    def counter(self, name: str, text: str, /, **labels: str) -> Counter:
        """The counter of this name (without `_total`) and labels, made when first asked for."""
        return self._child(f"{name}_total", "counter", text, labels, Counter)

    def gauge(self, name: str, text: str, /, **labels: str) -> Gauge:
        """The gauge of this name and labels, made when first asked for."""
        return self._child(name, "gauge", text, labels, Gauge)

    def histogram(self, name: str, text: str, bounds: Sequence[float], /, **labels: str) -> Histogram:
        """The histogram of this name and labels, made when first asked for. Bounds are in the name's unit."""
        return self._child(name, "histogram", text, labels, lambda: Histogram(bounds))

    def read_gauge(self, name: str, text: str, samples: Samples, /) -> None:
        """A gauge whose samples (labels, value) are asked for at scrape time; several callers may share a name."""
        self._family(name, "gauge", text).readers.append(samples)

    def read_counter(self, name: str, text: str, samples: Samples, /) -> None:
        """A counter (name without `_total`) whose samples are asked for at scrape time."""
        self._family(f"{name}_total", "counter", text).readers.append(samples)

    def samples(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Labels and value of each series of a counter (its name with `_total`) or gauge, each series once."""
        family = self._families.get(name)
        if family is not None:
            for labels, value in self._read(name, family):
                yield dict(labels), value

    def value(self, name: str, /, **labels: str) -> float | None:
        """One series of a counter (its name with `_total`) or gauge; None when there is none with these labels."""
        return next((value for found, value in self.samples(name) if found == labels), None)

    def expose(self) -> Iterator[str]:
        """Everything as lines of Prometheus text, each with its line end. May be read over several loop turns."""
        for name, family in tuple(self._families.items()):
            yield header(name, family.kind, family.text)
            if family.kind == "histogram":
                for labels, histogram in tuple(family.children.items()):
                    yield from _histogram_lines(name, labels, histogram)
            else:
                for labels, value in self._read(name, family):
                    yield line(name, labels, value)

    def _family(self, name: str, kind: str, text: str) -> _Family:
        family = self._families.setdefault(name, _Family(kind, text))
        if family.kind != kind:
            raise ValueError(f"metric {name} is a {family.kind} already, so it can't be a {kind}")
        return family

    def _child(self, name: str, kind: str, text: str, labels: dict[str, str], make: Callable[[], Child]) -> Child:
        children: dict[Labels, Child] = self._family(name, kind, text).children
        key = tuple(sorted(labels.items()))
        child = children.get(key)
        if child is None:
            child = children[key] = make()
        return child

    def _read(self, name: str, family: _Family) -> Iterator[tuple[Labels, float]]:
        """Children, then readers. A series that comes twice would void the whole scrape, so only its first counts."""
        seen: set[Labels] = set()
        for labels, child in tuple(family.children.items()):
            seen.add(labels)
            yield labels, child.n if isinstance(child, Counter) else child.value
        for reader in tuple(family.readers):
            try:
                read = list(reader())
            except Exception as error:  # noqa: BLE001 - one broken reader must not hide all other metrics
                self._log.error("metric can't be read", metric=name, exc_info=error)
                continue
            for found, value in read:
                labels = tuple(sorted(found.items()))
                if labels not in seen:
                    seen.add(labels)
                    yield labels, value


def header(name: str, kind: str, text: str) -> str:
    """The HELP and TYPE lines of a family, by the name its samples have."""
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {escaped}\n# TYPE {name} {kind}\n"


def selector(labels: Labels | Mapping[str, str]) -> str:
    """`{name="value",…}` with the values escaped; empty labels are left out, since they mean the same."""
    pairs = labels.items() if isinstance(labels, Mapping) else labels
    body = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in pairs if value)
    return f"{{{body}}}" if body else ""


def number(value: float) -> str:
    """A value as Prometheus reads it: whole ones without fraction, `+Inf`, `-Inf`, `NaN`."""
    if isinstance(value, int):
        return str(int(value))
    if math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)
    return "NaN" if math.isnan(value) else f"{value:+f}".title()


def line(name: str, labels: Labels | Mapping[str, str], value: float) -> str:
    """One sample's line."""
    return f"{name}{selector(labels)} {number(value)}\n"


def _histogram_lines(name: str, labels: Labels, histogram: Histogram) -> Iterator[str]:
    buckets, total = histogram.read()
    for bound, count in buckets:
        yield line(f"{name}_bucket", (*labels, ("le", bound)), count)
    yield line(f"{name}_count", labels, buckets[-1][1])
    yield line(f"{name}_sum", labels, total)
