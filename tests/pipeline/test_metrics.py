"""Counters and gauges: their names, their numbers."""

import pytest
from prometheus_client import generate_latest

from pipeline.metrics import Metrics


@pytest.mark.parametrize("name", ["edge_udp_sent", "edge_udp_sent_total"])
def test_a_counter_ends_in_total_once_however_it_was_named(name):
    """Also the one that is asked for its samples; the same counter by both names."""
    metrics = Metrics()
    metrics.counter(name, "frames sent", node="a").n += 3
    metrics.counter("edge_udp_sent", "frames sent", node="a").n += 1
    metrics.read_counter(name, "frames sent", lambda: [({"node": "b"}, 7.0)])
    assert metrics.value("edge_udp_sent_total", node="a") == 4
    assert metrics.value("edge_udp_sent_total", node="b") == 7
    text = generate_latest(metrics).decode()
    assert "# TYPE edge_udp_sent_total counter" in text
    assert 'edge_udp_sent_total{node="a"} 4.0' in text
    assert "total_total" not in text
