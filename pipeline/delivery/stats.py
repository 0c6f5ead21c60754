"""What a delivery tells: gauges read at scrape time, the mapping that page and API show, and the intake's rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.delivery.delivery import Delivery
    from pipeline.metrics import Metrics

__all__ = ["Intake", "report", "stats"]

_SAMPLE_EVERY = 5.0
_SAMPLES = 13


class Intake:
    """Bytes that came in, and how many a second over the last minute."""

    def __init__(self) -> None:
        self._bytes = 0
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._next = 0.0

    def count(self, now: float, size: int) -> None:
        """Count what came at `now` (monotonic seconds)."""
        if now >= self._next:
            self._samples.append((now, self._bytes))
            self._next = now + _SAMPLE_EVERY
        self._bytes += size

    def rate(self, now: float) -> float:
        """Bytes a second; 0 before there is something to measure."""
        if not self._samples or now <= self._samples[0][0]:
            return 0.0
        start, size = self._samples[0]
        return (self._bytes - size) / (now - start)


def _headroom(delivery: Delivery, now: float) -> float:
    """Seconds until frames are lost if the receiver stays away: by age, and by size and disk at the present intake.

    While the disk fails, what memory may hold is the end.

    Args:
        delivery: whose; nothing is kept while its journal is not open.
        now: monotonic seconds.
    """
    if not delivery.commits.is_open:
        return 0.0
    options = delivery.options
    by_age = max(0.0, options.max_age - delivery.commits.oldest_age())
    rate = delivery.intake.rate(now)
    if not rate:
        return by_age
    commits, state = delivery.commits, delivery.commits.state
    if commits.trouble:
        room = (commits.memory_records - len(delivery.ledger.pending)) * commits.body_size
    else:
        room = min(options.max_size + state.kept_bytes, commits.room) - state.bytes
    return min(by_age, max(0.0, room) / rate)


def stats(delivery: Delivery, now: float) -> dict[str, object]:
    """What page and API show of a delivery (JSON-able).

    Args:
        delivery: whose.
        now: monotonic seconds.
    """
    commits = delivery.commits
    return {
        "backlog_frames": delivery.backlog,
        "backlog_bytes": commits.state.bytes - commits.state.kept_bytes,
        "backlog_oldest_age_seconds": round(commits.oldest_age(), 3),
        "backlog_headroom_seconds": round(_headroom(delivery, now)),
        "journal_bytes": commits.state.bytes,
        "journal_path": delivery.options.path,
        "in_flight": delivery.in_flight,
        "dead_letters": commits.state.dead,
        "last_seq": dict(delivery.last_seq),
        "trouble": delivery.trouble,
    }


def report(delivery: Delivery, monotonic: Callable[[], float], metrics: Metrics, node: str) -> None:
    """Register the gauges of a delivery, read when asked for.

    Args:
        delivery: whose.
        monotonic: its clock, seconds.
        metrics: where.
        node: the label.
    """

    def read_gauge(name: str, text: str, read: Callable[[], float]) -> None:
        metrics.read_gauge(name, text, lambda: [({"node": node}, read())])

    commits = delivery.commits
    read_gauge(
        "edge_backlog_size",
        "frames accepted and not acknowledged, without those on their first flight",
        lambda: delivery.backlog,
    )
    read_gauge(
        "edge_backlog_bytes",
        "disk space of unacknowledged frames",
        lambda: commits.state.bytes - commits.state.kept_bytes,
    )
    read_gauge(
        "edge_backlog_oldest_age_seconds", "how long the oldest unacknowledged frame has waited", commits.oldest_age
    )
    read_gauge(
        "edge_backlog_headroom_seconds",
        "time until frames are lost if the receiver stays away",
        lambda: _headroom(delivery, monotonic()),
    )
    read_gauge("edge_dead_letters", "frames that the receiver refused for good", lambda: commits.state.dead)
