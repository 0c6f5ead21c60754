"""Counters that cost an addition: plain numbers in the hot path, turned into Prometheus families at scrape time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["Counter", "Gauge", "Histogram", "Metrics"]

Labels = tuple[tuple[str, str], ...]
Samples = Callable[[], Iterable[tuple[dict[str, str], float]]]


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


class Metrics(Collector):
    """All metrics of one running graph, without globals: two graphs in one process don't meet.

    Attributes:
        registry: what `prometheus_client.generate_latest` takes.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._counters: dict[str, tuple[str, dict[Labels, Counter]]] = {}
        self._gauges: dict[str, tuple[str, dict[Labels, Gauge]]] = {}
        self._histograms: dict[str, tuple[str, dict[Labels, Histogram]]] = {}
        self._read: dict[str, tuple[str, type[Metric], list[Samples]]] = {}
        self.registry.register(self)

    def counter(self, name: str, text: str, /, **labels: str) -> Counter:
        """The counter of this name (without `_total`) and labels, made when first asked for."""
        return self._counters.setdefault(name, (text, {}))[1].setdefault(_key(labels), Counter())

    def gauge(self, name: str, text: str, /, **labels: str) -> Gauge:
        """The gauge of this name and labels, made when first asked for."""
        return self._gauges.setdefault(name, (text, {}))[1].setdefault(_key(labels), Gauge())

    def histogram(self, name: str, text: str, bounds: Sequence[float], /, **labels: str) -> Histogram:
        """The histogram of this name and labels, made when first asked for. Bounds are in the name's unit."""
        return self._histograms.setdefault(name, (text, {}))[1].setdefault(_key(labels), Histogram(bounds))

    def read_gauge(self, name: str, text: str, samples: Samples, /) -> None:
        """A gauge whose samples (labels, value) are asked for at scrape time; several callers may share a name."""
        self._read.setdefault(name, (text, GaugeMetricFamily, []))[2].append(samples)

    def read_counter(self, name: str, text: str, samples: Samples, /) -> None:
        """A counter (name without `_total`) whose samples are asked for at scrape time."""
        self._read.setdefault(name, (text, CounterMetricFamily, []))[2].append(samples)

    def collect(self) -> Iterator[Metric]:
        """Everything, as Prometheus families."""
        for name, (text, counters) in self._counters.items():
            family = CounterMetricFamily(name, text)
            for labels, counter in counters.items():
                family.add_sample(f"{name}_total", dict(labels), counter.n)
            yield family
        for name, (text, gauges) in self._gauges.items():
            gauge_family = GaugeMetricFamily(name, text)
            for labels, gauge in gauges.items():
                gauge_family.add_sample(name, dict(labels), gauge.value)
            yield gauge_family
        for name, (text, histograms) in self._histograms.items():
            histogram_family = HistogramMetricFamily(name, text)
            for labels, histogram in histograms.items():
                buckets, total = histogram.read()
                for bound, count in buckets:
                    histogram_family.add_sample(f"{name}_bucket", {**dict(labels), "le": bound}, count)
                histogram_family.add_sample(f"{name}_count", dict(labels), buckets[-1][1])
                histogram_family.add_sample(f"{name}_sum", dict(labels), total)
            yield histogram_family
        for name, (text, family_type, readers) in self._read.items():
            read_family = family_type(name, text)  # type: ignore[call-arg, arg-type]
            sample = f"{name}_total" if family_type is CounterMetricFamily else name
            for reader in readers:
                for read_labels, value in reader():
                    read_family.add_sample(sample, read_labels, value)
            yield read_family


def _key(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
