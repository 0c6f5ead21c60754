"""A graph knows who gives to whom, and draws itself the same way each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.graph import Graph, Node
from pipeline.operator import NodeKind, Operator, Options


@pytest.fixture
def graph():
    """Two sources, a transform that joins them, two sinks of which one is disabled, a service."""

    def node(name, kind, type_name, *inputs, enabled=True):
        operator = Operator(kind=kind, name=type_name, options=Options, build=lambda *_: None)
        return Node(name=name, kind=kind, operator=operator, options=Options(), inputs=inputs, enabled=enabled)

    nodes = [
        node("end", NodeKind.SERVICE, "mqtt_broker"),
        node("press", NodeKind.SOURCE, "s7"),
        node("oven", NodeKind.SOURCE, "s7"),
        node("frames", NodeKind.TRANSFORM, "heartbeat", "press", "oven"),
        node("broker", NodeKind.SINK, "mqtt", "frames"),
        node("mirror", NodeKind.SINK, "s7_mirror", "press", enabled=False),
    ]
    return Graph(name="line1", path=Path("configs/line1.yaml"), nodes={node.name: node for node in nodes})


def test_what_runs_and_who_is_reached(graph):
    """Disabled nodes neither run nor are reached."""
    assert [node.name for node in graph.running()] == ["end", "press", "oven", "frames", "broker"]
    assert [node.name for node in graph.of(NodeKind.SINK)] == ["broker"]
    assert graph.downstream("press") == {"frames", "broker"}
    assert [(giver.name, taker.name) for giver, taker in graph.edges()] == [
        ("press", "frames"),
        ("oven", "frames"),
        ("frames", "broker"),
    ]
    assert graph.scope(graph.nodes["press"]).folder == Path("configs")


def test_as_text(graph):
    """A tree; what has two givers is drawn once and named again."""
    assert graph.as_text().splitlines() == [
        f"line1 ({Path('configs/line1.yaml')})",
        "end (mqtt_broker)",
        "press (s7)",
        "├─ frames (heartbeat)",
        "│  └─ broker (mqtt)",
        "└─ mirror (s7_mirror, disabled)",
        "oven (s7)",
        "└─ frames (heartbeat)  (above)",
    ]


def test_as_mermaid(graph):
    """Numbered identifiers, since a node may be named `end`; dashed where disabled."""
    lines = graph.as_mermaid().splitlines()
    assert lines[0] == "flowchart LR"
    assert '  n2(["press<br/>s7"])' in lines
    assert '  n6[/"mirror<br/>s7_mirror"/]:::disabled' in lines
    assert "  n2 --> n4" in lines
    assert "  n2 -.-> n6" in lines
    assert lines[-1].startswith("  classDef disabled")


def test_as_dot(graph):
    """Quoted names, one line a node and an edge."""
    lines = graph.as_dot().splitlines()
    assert (lines[0], lines[-1]) == ('digraph "line1" {', "}")
    assert '  "press" [label="press\\ns7", shape=oval]' in lines
    assert '  "mirror" [label="mirror\\ns7_mirror", shape=cds, style=dashed, fontcolor=gray]' in lines
    assert '  "press" -> "mirror" [style=dashed]' in lines
    assert '  "frames" -> "broker"' in lines
