"""What `check` foretells of a graph: each node's prediction, made from what flows into it."""

from __future__ import annotations

from pipeline.graph import Graph, Node
from pipeline.operator import Flow, Forecast

__all__ = ["forecast"]


def forecast(graph: Graph) -> list[tuple[Node, Forecast]]:
    """The predictions of all enabled nodes, in data order; what several nodes give one taker adds up."""
    flows: dict[str, Flow] = {}
    predictions: list[tuple[Node, Forecast]] = []
    for node in graph.running():
        inflow = sum((flows[name] for name in node.inputs if name in flows), Flow())
        prediction = node.operator.forecast(node.options, graph.scope(node), inflow)
        flows[node.name] = prediction.flow
        predictions.append((node, prediction))
    return predictions
