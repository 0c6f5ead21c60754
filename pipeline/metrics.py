"""Counters that cost an addition: plain numbers in the hot path, Prometheus families only when they are asked for.

The library's own counters take a lock at each addition and live in globals; its families and its text we use.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import chain, islice
from typing import Any, TypeVar

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric, Sample
from prometheus_client.registry import Collector

__all__ = ["Counter", "Gauge", "Histogram", "Metrics", "hundreds", "parts"]

Labels = tuple[tuple[str, str], ...]
Samples = Callable[[], Iterable[tuple[dict[str, str], float]]]
T = TypeVar("T")
Child = TypeVar("Child", "Counter", "Gauge", "Histogram")

_PART = 100
"""Samples; making and writing so many takes about a millisecond."""


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

    def __init__(self, head: Metric) -> None:
        self.head = head
        self.children: dict[Labels, Any] = {}
        self.readers: list[Samples] = []


class Metrics(Collector):
    """All metrics of one running graph, without globals: two graphs in one process don't meet.

    A label with an empty value means the same as no label, so it is left out.
    """

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}
        self._log = structlog.get_logger()

    def counter(self, name: str, text: str, /, **labels: str) -> Counter:
        """The counter of this name and labels, made when first asked for; shown with `_total` behind its name."""
        return self._child(_counted(name), CounterMetricFamily(name, text), labels, Counter)

    def gauge(self, name: str, text: str, /, **labels: str) -> Gauge:
        """The gauge of this name and labels, made when first asked for."""
        return self._child(name, GaugeMetricFamily(name, text), labels, Gauge)

    def histogram(self, name: str, text: str, bounds: Sequence[float], /, **labels: str) -> Histogram:
        """The histogram of this name and labels, made when first asked for. Bounds are in the name's unit."""
        return self._child(name, HistogramMetricFamily(name, text), labels, lambda: Histogram(bounds))

    def read_gauge(self, name: str, text: str, samples: Samples, /) -> None:
        """A gauge whose samples (labels, value) are asked for at scrape time; several callers may share a name."""
        self._family(name, GaugeMetricFamily(name, text)).readers.append(samples)

    def read_counter(self, name: str, text: str, samples: Samples, /) -> None:
        """A counter, named as with `counter`, whose samples are asked for at scrape time."""
        self._family(_counted(name), CounterMetricFamily(name, text)).readers.append(samples)

    def samples(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Labels and value of each series of a counter (its name with `_total`) or gauge, each series once."""
        family = self._families.get(name)
        if family is not None:
            for labels, value in self._read(name, family):
                yield dict(labels), value

    def value(self, name: str, /, **labels: str) -> float | None:
        """One series of a counter (its name with `_total`) or gauge; None when there is none with these labels."""
        return next((value for found, value in self.samples(name) if _key(found) == _key(labels)), None)

    def collect(self) -> Iterator[Metric]:
        """Every family, in `parts`. May be read over several loop turns."""
        for name, family in tuple(self._families.items()):
            yield from parts(family.head, self._samples(name, family))

    def _family(self, name: str, head: Metric) -> _Family:
        family = self._families.setdefault(name, _Family(head))
        if family.head.type != head.type:
            raise ValueError(f"metric {name} is a {family.head.type} already, so it can't be a {head.type}")
        return family

    def _child(self, name: str, head: Metric, labels: dict[str, str], make: Callable[[], Child]) -> Child:
        children: dict[Labels, Child] = self._family(name, head).children
        key = _key(labels)
        child = children.get(key)
        if child is None:
            child = children[key] = make()
        return child

    def _samples(self, name: str, family: _Family) -> Iterator[Sample]:
        if family.head.type != "histogram":
            for labels, value in self._read(name, family):
                yield Sample(name, dict(labels), value)
            return
        for labels, histogram in tuple(family.children.items()):
            one = HistogramMetricFamily(name, "", labels=[key for key, _ in labels])
            one.add_metric([value for _, value in labels], *histogram.read())
            yield from one.samples

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
                labels = _key(found)
                if labels not in seen:
                    seen.add(labels)
                    yield labels, value


def parts(head: Metric, samples: Iterable[Sample]) -> Iterator[Metric]:
    """A family, one after the other in parts of a hundred samples, so that a big one doesn't hold the loop.

    An empty family is one part. Only the first part's head belongs into a text.

    Args:
        head: the family without samples.
        samples: asked for while the parts are.
    """
    pieces = hundreds(samples)
    for piece in chain([next(pieces, [])], pieces):
        part = copy(head)
        part.samples = piece
        yield part


def hundreds(items: Iterable[T]) -> Iterator[list[T]]:
    """Items by the hundred, asked for while the lists are."""
    left = iter(items)
    return iter(lambda: list(islice(left, _PART)), [])


def _counted(name: str) -> str:
    """A counter's name as it is shown."""
    return f"{name.removesuffix('_total')}_total"


def _key(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted((key, value) for key, value in labels.items() if value))
