"""What the page shows of a graph's inside: a node's options and parts, the file with what `check` says of it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from enum import Enum
from operator import itemgetter
from typing import Any, cast

import msgspec

from pipeline import log
from pipeline.config import load_text
from pipeline.config.document import decode, read
from pipeline.config.predict import forecast
from pipeline.errors import ConfigurationError, Problem
from pipeline.graph import Graph, Node
from pipeline.units import Duration, Secret, Size
from pipeline.web.view import Running, actors_of, describe_actor, details_of, labels_of

__all__ = ["checked", "described_node", "moving"]

_ERRORS = 8
_PART = ("name", "state", "reason", "since", "errors", "drops")

_KEY = r"""["']?[\w-]*(?:passw(?:or)?d|passphrase|secret|token|authorization|api_?key)[\w-]*["']?"""
_LITERAL = re.compile(
    rf"""(?<!\$\{{)(?<![\w-])(?P<key>{_KEY}\s*:\s*)
        (?P<value>"(?!\$\{{)[^"\n]*"|'(?!\$\{{)[^'\n]*'|(?!\$\{{|["'{{\[&*!|>])[^\s,}}\#][^,}}\#\n]*)""",
    re.IGNORECASE | re.VERBOSE,
)
# A text over several lines, or users a line each; then what such a line says.
_BELOW = re.compile(
    rf"^(?P<margin>[ \t]*)(?:- )?(?:{_KEY}[ \t]*:[ \t]*[|>].*|users[ \t]*:[ \t]*(?:#.*)?)(?:\n(?P=margin)[ \t]+\S.*)+",
    re.IGNORECASE | re.MULTILINE,
)
_LINE = re.compile(r"""(\n[ \t]+(?:[^\s:]+:[ \t]+)?+)(?!["']?\$\{|[{#])\S.*?(?=[ \t]+#|$)""", re.MULTILINE)
_DEFAULT = re.compile(r"(\$\{\w*(?:PASSW|SECRET|TOKEN|KEY)\w*:-)[^}]+(?=\})")
_READING: Mapping[str, tuple[str, Callable[[list[float]], float]]] = {
    "reads": ("plc_read_ok_total", sum),
    "read_failures": ("plc_read_fail_total", sum),
    "slowest_answer_ms": ("plc_read_latency_ms", max),
}
_USERS = re.compile(r"""(?P<key>\busers\s*:\s*)\{(?!\n)[^}]*\}""")


def described_node(running: Running, node: Node) -> dict[str, object]:
    """One node with its options, parts and last errors (JSON-able); secrets are masked."""
    details = running.details
    return {
        "name": node.name,
        "section": node.kind.value,
        "type": node.operator.name,
        "about": node.operator.doc.partition("\n\n")[0],
        "from": list(node.inputs),
        "line": node.line,
        "options": log.mask(None, "", _fields(node.options)),
        "actors": [describe_actor(actor, details_of(details, actor.name)) for actor in actors_of(running, node.name)],
    }


def moving(running: Running, node: Node) -> dict[str, object]:
    """What changes of a node while its panel is open: parts, their latest errors, counters of all parts together."""
    actors = actors_of(running, node.name)
    told = [describe_actor(actor, {}) for actor in actors]
    errors = [{**error, "name": actor["name"]} for actor in told for error in cast("list[Any]", actor["last_errors"])]
    details = details_of(running.details, actors[0].name) if len(actors) == 1 else {}
    return {
        "actors": [{key: actor[key] for key in _PART} for actor in told],
        "errors": sorted(errors, key=itemgetter("ts"), reverse=True)[:_ERRORS],
        "counters": {**_reading(running, node), **details},
    }


def _reading(running: Running, node: Node) -> dict[str, float]:
    """Reads, failures and the slowest latest answer of a source's blocks."""
    blocks = {frozenset(labels_of(origin).items()) for origin, source in running.sources.items() if source == node.name}
    found = {}
    for key, (name, together) in _READING.items():
        samples = running.metrics.samples(name)
        values = [value for labels, value in samples if frozenset(filter(itemgetter(1), labels.items())) in blocks]
        if values:
            found[key] = round(together(values), 2)
    return found


def _fields(options: msgspec.Struct) -> dict[str, Any]:
    """Options that differ from their defaults, as people write them."""
    found = {}
    for spec in msgspec.structs.fields(type(options)):
        value = getattr(options, spec.name)
        default = spec.default
        if spec.default_factory is not msgspec.NODEFAULT:
            default = spec.default_factory()
        if value != default:
            found[spec.encode_name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Secret | Duration | Size):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, msgspec.Struct):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def checked(graph: Graph) -> dict[str, object]:
    """The graph file as it is on disk now, with what `check` says of it (JSON-able); blocking.

    Returns:
        text: the file, secrets masked. good: whether it would run. problems, predictions: each with its line.

    Raises:
        OSError: the file can't be read.
    """
    text, mishap = decode(read(graph.path))
    problems: list[dict[str, object]]
    found: Graph | None = None
    if mishap is not None:
        problems = [{"line": mishap.line, "severity": "error", "message": mishap.message, "hint": mishap.hint}]
    else:
        try:
            found = load_text(text, graph.path, os.environ)
            problems = [_problem(problem) for problem in found.warnings]
        except ConfigurationError as error:
            problems = [_problem(problem) for problem in error.problems]
    predictions = []
    for node, prediction in forecast(found) if found else ():
        flow = prediction.flow
        lines = [list(line) for line in prediction.lines]
        if flow.frames:
            lines.append(["frames", f"{flow.frames:.4g}/s of about {flow.size:.0f} bytes"])
        predictions.append({"node": node.name, "line": node.line, "lines": lines})
        problems += [
            {"line": node.line, "node": node.name, "severity": str(w.severity), "message": w.message, "hint": w.hint}
            for w in prediction.warnings
        ]
    shown = log.mask(None, "", {"problems": problems, "predictions": predictions})
    return {"file": str(graph.path), "text": _masked(text), "good": found is not None, **shown}


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "line": problem.line,
        "node": problem.node,
        "option": problem.option,
        "severity": str(problem.severity),
        "message": problem.message,
        "hint": problem.hint,
    }


def _masked(text: str) -> str:
    """The text without what a secret's key is followed by, and without any secret that is known."""
    text = _USERS.sub(lambda found: found["key"] + "{***" + "\n" * found[0].count("\n", len(found["key"])) + "}", text)
    text = _BELOW.sub(lambda found: _LINE.sub(r"\1***", found[0]), text)
    text = _LITERAL.sub(r"\g<key>***", _DEFAULT.sub(r"\1***", text))
    return "\n".join(str(log.mask(None, "", {"line": line})["line"]) for line in text.split("\n"))
