"""The typed graph: nodes, edges, order; as text, Mermaid and DOT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import Problem
from pipeline.operator import NodeKind, Operator, Options, Scope

if TYPE_CHECKING:
    from pipeline.config.layouts import Layout
    from pipeline.config.http import Http

__all__ = ["Graph", "Node"]


@dataclass(frozen=True, kw_only=True)
class Node:
    """One declared part.

    Attributes:
        name: unique in the graph, whatever the section.
        kind: its section.
        operator: what its `type:` names.
        options: typed and checked.
        inputs: names of the nodes it takes from; () for sources and services.
        enabled: a disabled node is checked and left out.
        line: where it stands in the file.
    """

    name: str
    kind: NodeKind
    operator: Operator[Any]
    options: Options
    inputs: tuple[str, ...] = ()
    enabled: bool = True
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A checked graph file.

    Attributes:
        name: the file's `name:`, or the file's own name without ending.
        path: the file.
        http: where page, metrics and API listen; None when nowhere.
        layouts: by name.
        nodes: all nodes by name, services first, then in data order: each node after those it takes from.
        warnings: what the user should know though the graph runs.
    """

    name: str
    path: Path
    http: Http | None = None
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()

    def running(self) -> list[Node]:
        """The enabled nodes, in data order."""
        return [node for node in self.nodes.values() if node.enabled]

    def of(self, kind: NodeKind) -> list[Node]:
        """The enabled nodes of one section, in data order."""
        return [node for node in self.running() if node.kind is kind]

    def downstream(self, name: str) -> set[str]:
        """Every enabled node that frames of `name` can reach."""
        reached = {name}
        for node in self.running():
            if not reached.isdisjoint(node.inputs):
                reached.add(node.name)
        return reached - {name}

    def scope(self, node: Node) -> Scope:
        """What this node's options are judged against."""
        return Scope(graph=self.name, node=node.name, layouts=self.layouts, folder=self.path.parent)

    def edges(self) -> Iterable[tuple[Node, Node]]:
        """Pairs (giver, taker) of enabled nodes."""
        for node in self.running():
            for giver in node.inputs:
                if self.nodes[giver].enabled:
                    yield self.nodes[giver], node
