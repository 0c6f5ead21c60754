"""The typed graph: nodes, edges, order; as text, Mermaid and DOT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import Problem
from pipeline.operator import NodeKind, Operator, Options, Scope

if TYPE_CHECKING:
    from pipeline.config.http import Http
    from pipeline.config.layouts import Layout
    from pipeline.config.recorder import RecorderOptions

__all__ = ["Graph", "Node"]


@dataclass(frozen=True, kw_only=True)
class Node:
    """One declared part.

    Attributes:
        name: unique in the graph, whatever the section.
        kind: its section.
        operator: what its `type:` names.
        options: typed and checked; of a disabled node whose variables are missing an empty `Options`.
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
        recorder: the flight recorder; None for a graph that no file declares.
        layouts: by name.
        nodes: all nodes by name, services first, then in data order: each node after those it takes from.
        warnings: what the user should know though the graph runs.
    """

    name: str
    path: Path
    http: Http | None = None
    recorder: RecorderOptions | None = None
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
        return (pair for pair in self._all_edges() if pair[0].enabled and pair[1].enabled)

    def as_text(self) -> str:
        """A tree of who gives to whom. A node that takes from several stands below the first, and is named again."""
        drawn: set[str] = set()
        lines = [f"{self.name} ({self.path})"]
        for node in self.nodes.values():
            if not node.inputs:
                lines.append(self._words(node))
                lines += self._branches(node, "", drawn)
        return "\n".join(lines)

    def _branches(self, giver: Node, margin: str, drawn: set[str]) -> Iterable[str]:
        if giver.name in drawn:
            return
        drawn.add(giver.name)
        takers = [node for node in self.nodes.values() if giver.name in node.inputs]
        for taker in takers:
            last = taker is takers[-1]
            again = "  (above)" if taker.name in drawn and taker.kind is not NodeKind.SINK else ""
            yield f"{margin}{'└─ ' if last else '├─ '}{self._words(taker)}{again}"
            yield from self._branches(taker, margin + ("   " if last else "│  "), drawn)

    def _words(self, node: Node) -> str:
        return f"{node.name} ({node.operator.name}{'' if node.enabled else ', disabled'})"

    def as_mermaid(self) -> str:
        """A Mermaid flow chart; disabled nodes and what leads to them are dashed."""
        # Numbered: names such as `end` are words of Mermaid's own.
        number = {name: f"n{index}" for index, name in enumerate(self.nodes, 1)}
        lines = ["flowchart LR"]
        for node in self.nodes.values():
            left, right = _MERMAID[node.kind]
            style = "" if node.enabled else ":::disabled"
            lines.append(f'  {number[node.name]}{left}"{node.name}<br/>{node.operator.name}"{right}{style}')
        for giver, taker in self._all_edges():
            arrow = "-->" if giver.enabled and taker.enabled else "-.->"
            lines.append(f"  {number[giver.name]} {arrow} {number[taker.name]}")
        if not all(node.enabled for node in self.nodes.values()):
            lines.append("  classDef disabled stroke-dasharray: 5 5,color:#888")
        return "\n".join(lines)

    def as_dot(self) -> str:
        """A Graphviz digraph; disabled nodes and what leads to them are dashed."""
        lines = [f'digraph "{self.name}" {{', "  rankdir=LR", "  node [shape=box]"]
        for node in self.nodes.values():
            style = "" if node.enabled else ", style=dashed, fontcolor=gray"
            lines.append(
                f'  "{node.name}" [label="{node.name}\\n{node.operator.name}", shape={_DOT[node.kind]}{style}]'
            )
        for giver, taker in self._all_edges():
            style = "" if giver.enabled and taker.enabled else " [style=dashed]"
            lines.append(f'  "{giver.name}" -> "{taker.name}"{style}')
        return "\n".join([*lines, "}"])

    def _all_edges(self) -> Iterable[tuple[Node, Node]]:
        return ((self.nodes[giver], taker) for taker in self.nodes.values() for giver in taker.inputs)


_MERMAID = {
    NodeKind.SERVICE: ("[[", "]]"),
    NodeKind.SOURCE: ("([", "])"),
    NodeKind.TRANSFORM: ("[", "]"),
    NodeKind.SINK: ("[/", "/]"),
}
_DOT = {
    NodeKind.SERVICE: "component",
    NodeKind.SOURCE: "oval",
    NodeKind.TRANSFORM: "box",
    NodeKind.SINK: "cds",
}
