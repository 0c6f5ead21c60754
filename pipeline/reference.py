"""The reference of this project's operators as Markdown, made of what they say of themselves.

An operator's example is the YAML block of its docstring, or else its first node in a graph that ships.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.actor import State
from pipeline.config.schema import OptionRow, option_rows
from pipeline.operator import NodeKind, Operator, find, names
from pipeline.source import GAP, Call, trees

__all__ = ["BEGIN", "END", "MADE", "example", "metric_name", "put", "reference"]

BEGIN = "<!-- operators: made by `python -m pipeline operators --update operators/README.md` -->"
END = "<!-- /operators -->"
_FIRST = ("demo", "line1")
"""Graphs whose nodes are the first choice for an example: they are explained best."""
_BLOCK = re.compile(r"(?:\A|\n)\n((?:    [^\n]*(?:\n|$)|\n(?=    ))+)")
_SECTION = re.compile(r"    (?:services|sources|transforms|sinks):")
MADE = {"counter": "counter", "gauge": "gauge", "histogram": "histogram"}
MADE |= {"read_counter": "counter", "read_gauge": "gauge"}
"""Kinds of metrics by the method that makes one."""
_HEAD = """\
## Reference

Every operator, by section of the graph file. `python -m pipeline operators NAME` tells the same at the terminal. Each
node also has `type` and `enabled` (false: it is checked and left out), transforms and sinks `from`: a node or a list.

Sources, sinks and services have a state, which page, `/api/graph` and `edge_node_state{node,state}` show with its
reason and what to do: `starting`, `running`, `degraded` (it works, but not as it should), `backing_off` (it failed and
is tried again) and `stopped`. `edge_frames_dropped_total{node,reason}` counts what a node gives up, and why."""


def reference(graphs: Iterable[Path]) -> str:
    """The Markdown between the marks, without them.

    Args:
        graphs: the graph files that ship, where examples come from.
    """
    nodes = _nodes(tuple(graphs))
    parts = [_HEAD]
    for kind in NodeKind:
        parts.append(f"### {kind.value.capitalize()}")
        parts += [_page(find(kind, name), nodes) for name in names(kind, shipped=True)]
    return "\n\n".join(parts)


def put(text: str, made: str, begins: str = BEGIN, ends: str = END) -> str:
    """A page with the reference between its marks.

    Raises:
        ValueError: the page doesn't have the marks, once and in order.
    """
    before, begin, rest = text.partition(begins)
    _, end, after = rest.partition(ends)
    if not begin or not end:
        raise ValueError(f"the page has no place for it; write '{begins}' and '{ends}' where it belongs")
    return f"{before}{begin}\n\n{made}\n\n{end}{after}"


def example(operator: Operator[Any], graphs: Iterable[Path]) -> str:
    """An operator's example; "" where it has none."""
    return _example(operator, _nodes(tuple(graphs)))


def _page(operator: Operator[Any], nodes: dict[tuple[str, str], str]) -> str:
    parts = [f"#### `{operator.name}`", _prose(operator.doc)]
    if rows := list(option_rows(operator.options)):
        parts.append(_table(rows))
    used = _used(operator)
    if states := [state for state in State if any(_names_state(each, state) for each in used)]:
        parts.append("States that it tells by itself: " + ", ".join(f"`{state.value}`" for state in states) + ".")
    if reasons := sorted({reason for each in used if each.name == "drop" and (reason := _text(each, 0))}):
        parts.append(
            "Frames are given up, among other reasons, as " + ", ".join(f"`{reason}`" for reason in reasons) + "."
        )
    made = [each for each in used if each.name in MADE and _text(each, 0)]
    if metrics := {metric_name(_text(each, 0), MADE[each.name]): _text(each, 1) for each in made}:
        lines = [f"- `{name}`" + (f": {text}" if text else "") for name, text in sorted(metrics.items())]
        parts.append("Metrics:\n\n" + "\n".join(lines))
    if text := _example(operator, nodes):
        parts.append(f"```yaml\n{text}\n```")
    return "\n\n".join(parts)


def _prose(doc: str) -> str:
    """A docstring without its example; other indented blocks stay as they are."""
    return re.sub(_BLOCK, lambda match: "\n" if _SECTION.match(match[1]) else match[0], doc).strip()


def _table(rows: Iterable[OptionRow]) -> str:
    lines = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        default = "**required**" if row.required else f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.name}` | {_cell(row.kind)} | {_cell(default)} | {_cell(row.meaning)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|")


# examples


def _example(operator: Operator[Any], nodes: dict[tuple[str, str], str]) -> str:
    for match in _BLOCK.finditer(operator.doc):
        if _SECTION.match(match[1]):
            return textwrap.dedent(match[1]).strip()
    return nodes.get((operator.kind.value, operator.name), "")


@cache
def _nodes(graphs: tuple[Path, ...]) -> dict[tuple[str, str], str]:
    """The first node of each section and type, as it is written, below its section."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted(graphs, key=lambda path: (path.stem not in _FIRST, path.stem)):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        document = YAML().load(text)
        for kind in NodeKind:
            section: Any = document.get(kind.value) or {}
            for name, node in section.items():
                line, column = section.lc.key(name)
                written = "\n".join([f"{kind.value}:", *_lines(lines, line, column)])
                found.setdefault((kind.value, node["type"]), written)
    return found


def _lines(lines: list[str], first: int, column: int) -> list[str]:
    """A node's lines: from its name to what is not farther in, without the comments that follow."""
    last = first + 1
    for number in range(first + 1, len(lines)):
        stripped = lines[number].lstrip()
        if stripped and not stripped.startswith("#") and len(lines[number]) - len(stripped) <= column:
            break
        if stripped and (not stripped.startswith("#") or len(lines[number]) - len(stripped) > column):
            last = number + 1
    return lines[first:last]


# states, reasons, metrics


def _used(operator: Operator[Any]) -> list[Call]:
    """The calls in the operator's module, and in what it uses of the engine's functions and classes, and so on."""
    found: list[Call] = []
    seen: set[tuple[str, str]] = set()
    module = operator.build.__module__.replace(".", "/")
    waiting = [(module, name) for name in _definitions(module)]
    while waiting:
        place, name = waiting.pop()
        definition = _definitions(place).get(name)
        if (place, name) in seen or definition is None:
            continue
        seen.add((place, name))
        nodes = list(ast.walk(definition))
        scopes = (definition, trees()[place])
        found += [Call(place, node, scopes) for node in nodes if isinstance(node, ast.Call)]
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        waiting += [(place, name) for name in used]
        waiting += [origin for name, origin in _imports(place).items() if name in used]
    return found


def _names_state(call: Call, state: State) -> bool:
    """Whether a part gets this state by it."""
    return call.name == "become" and any(
        isinstance(node, ast.Attribute) and node.attr == state.name and getattr(node.value, "id", "") == "State"
        for node in ast.walk(call.call)
    )


def metric_name(name: str, kind: str) -> str:
    """A metric's name as `/metrics` shows it."""
    return f"{name.removesuffix('_total')}_total" if kind == "counter" else name


def _text(call: Call, position: int) -> str:
    """An argument where it is a text that is written out, else ""."""
    text = call.text(call.argument(position))
    return "" if GAP in text else text


@cache
def _definitions(module: str) -> dict[str, ast.stmt]:
    """The functions and classes of a module, by name."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name: node for node in trees()[module].body if isinstance(node, kinds)}


@cache
def _imports(module: str) -> dict[str, tuple[str, str]]:
    """What a module takes from the engine: module and name by the name that it has here."""
    return {
        alias.asname or alias.name: (place, alias.name)
        for node in trees()[module].body
        if isinstance(node, ast.ImportFrom) and (place := (node.module or "").replace(".", "/")) in trees()
        for alias in node.names
    }
