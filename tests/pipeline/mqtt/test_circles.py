"""Graphs whose messages would come back to them by a broker."""

from pathlib import Path

import pytest

from pipeline.config import load_text
from pipeline.errors import ConfigurationError
from pipeline.operator import Channel

GRAPH = """\
sources:
  in: {{type: mqtt, host: {host}, port: 1883, topics: [{topics}], tls: {{enabled: false}}}}
transforms:
  slow: {{type: rate_limit, from: in, every: 1s}}
sinks:
  out: {{type: mqtt, from: slow, host: 127.0.0.1, port: {port}, topic: "{topic}", tls: {{enabled: false}}}}
"""


def problems(text: str) -> list[str]:
    """What the loader says."""
    try:
        return [str(warning) for warning in load_text(text, Path("g.yaml"), {}).warnings]
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]


@pytest.mark.parametrize(
    ("topics", "topic", "changes", "refused"),
    [
        ("plc/#", "plc/{tenant_id}/{plc_id}", {}, True),
        ("plc/+/press1", "plc/{tenant_id}/{plc_id}", {}, True),
        ("a/b", "a/b", {}, True),
        ("$share/centre/plc/#", "plc/acme/x", {}, True),
        ("'mov/#', 'plc/+/+'", "plc/acme/{plc_id}", {"host": "localhost"}, True),
        ("plc/#", "plc", {}, True),
        ("plc/+", "plc/{tenant_id}/{plc_id}", {}, False),
        ("plc/#", "verdict/{tenant_id}/{plc_id}", {}, False),
        ("plc/+/press1", "plc/{tenant_id}/verdict", {}, False),
        ("plc/#", "plc/{tenant_id}/{plc_id}", {"port": 1884}, False),
        ("plc/#", "plc/{tenant_id}/{plc_id}", {"host": "broker.plant"}, False),
    ],
)
def test_a_sink_must_not_publish_where_a_source_before_it_subscribes(topics, topic, changes, refused):
    """Wildcards, fields and names of this machine count; another broker, port or topic is no circle."""
    found = problems(GRAPH.format(**{"topics": topics, "topic": topic, "host": "127.0.0.1", "port": 1883, **changes}))
    told = [each for each in found if "frames would go round for ever" in each]
    assert bool(told) is refused, found
    assert all("node 'out' (mqtt): topic: publishes " in each and "in -> slow -> out" in each for each in told)


def test_a_circle_through_two_sinks_is_found_and_a_sink_beside_is_none():
    """What one half publishes the other subscribes; a source of its own may feed a topic that the graph reads."""
    two = """\
sources:
  a: {type: mqtt, host: b, topics: [x]}
  b: {type: mqtt, host: b, topics: [y], client_id: other}
sinks:
  to_y: {type: mqtt, from: a, host: b, topic: y}
  to_x: {type: mqtt, from: b, host: b, topic: %s}
"""
    assert len([each for each in problems(two % "x") if "go round" in each]) == 1
    assert problems(two % "z") == []


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [("a/+", "+/b", True), ("a/b/c", "a/#", True), ("a", "a/b", False), ("a/+/c", "a/b/d", False), ("#", "a", True)],
)
def test_channels_meet_when_one_message_may_pass_both(one, other, meet):
    """In both directions."""
    first, second = (Channel(server="b", levels=tuple(text.split("/")), path=()) for text in (one, other))
    assert (first.meets(second), second.meets(first)) == (meet, meet)
