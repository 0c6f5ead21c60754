"""The references of metrics and errors, read from the source: what the code counts, and all that it can say is wrong.

`python -m pipeline.inventory` writes both pages. A text in the code stands in the page as it is written there; what it
is filled with shows as `…`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import ProcessCollector

from pipeline import errors
from pipeline.mqtt.reasons import Refusal
from pipeline.reference import MADE, metric_name, put
from pipeline.sayings import UNFIT, Form, Saying, kinds, sayings
from pipeline.source import Call, calls

__all__ = ["BEGIN", "END", "ERRORS", "METRICS", "Count", "counts", "errors_page", "metrics_page"]

METRICS = Path(__file__).parent / "METRICS.md"
ERRORS = Path(__file__).parent / "ERRORS.md"

BEGIN = "<!-- made by `python -m pipeline.inventory` -->"
END = "<!-- /made -->"
_FAMILIES = {"CounterMetricFamily": "counter", "GaugeMetricFamily": "gauge"}
_UNITS = {"_seconds": "seconds", "_bytes": "bytes", "_ms": "milliseconds"}
_UNFIT_MEANS = (
    "A text or value is not what it has to be. Said with the option in a mistake of a graph file, with the option of a "
    "command, or as a tag's reason in `bad`."
)
_TESTS_MEAN = (
    "Differences between what a test (`pipeline test`) expects and what came, with the line of the test file; and what "
    "a recording and a graph that plays it have not in common."
)
_NOTES_MEAN = (
    "`pipeline import` notes, with file and line, what it did not take over, or took otherwise; they also stand at the "
    "head of the graph that it writes. None stops it. `left out`: the graph does not read it; where you need it, "
    "write it by hand, by the rest of the note. `instead`, `is taken`, `counts`: the graph has the value that the note "
    "names; change it there if another is right. `is called`: the name on the wire is the new one; whoever reads the "
    "frames must know it. `set NAME`: a secret or address that is not copied; put it into that environment variable "
    "before the start."
)


@dataclass(frozen=True, order=True)
class Count:
    """A metric.

    Attributes:
        name: as `/metrics` shows it.
        kind: counter, gauge or histogram.
        unit: what its number is of.
        labels: by which its series differ.
        text: what it means.
    """

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    text: str


# metrics


def counts() -> list[Count]:
    """All metrics, by name; of one that several parts count, all meanings."""
    found: dict[str, Count] = {}
    for call in calls():
        kind = {**MADE, **_FAMILIES}.get(call.name, "")
        first = call.argument(0)
        if not kind or not isinstance(first, ast.Constant) or len(call.call.args) < 2:  # noqa: PLR2004 - name and text
            continue
        name = metric_name(str(first.value), kind)
        text, labels = call.text(call.call.args[1]), _labels(call)
        if before := found.get(name):
            text = before.text if text in before.text else f"{before.text}; or {text}"
            labels = tuple(dict.fromkeys((*before.labels, *labels)))
        found[name] = Count(name, kind, _unit(name, kind), labels, text)
    return sorted(found.values())


def _unit(name: str, kind: str) -> str:
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "a count" if kind == "counter" else "")


def _labels(call: Call) -> tuple[str, ...]:
    """Keywords of a counter; keys of the samples of what is read; the list of a family."""
    if call.name in _FAMILIES:
        listed = next((each.value for each in call.call.keywords if each.arg == "labels"), None)
        return tuple(str(each.value) for each in getattr(listed, "elts", ()))
    if call.name.startswith("read_"):
        read: list[ast.AST] = list(call.call.args[2:])
        # A function around it may make the samples of a number.
        read += [scope for scope in ast.walk(call.scopes[-1]) if getattr(scope, "name", "") == call.name]
        return tuple(dict.fromkeys(key for each in read for key in _keys(each)))
    names = []
    for keyword in call.call.keywords:
        if keyword.arg is not None:
            names.append(keyword.arg)
        elif isinstance(keyword.value, ast.Name):
            names += next((list(_keys(value)) for value in call.assigned(keyword.value.id)), [])
    return tuple(names)


def _keys(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Dict):
            yield from (str(key.value) for key in each.keys if isinstance(key, ast.Constant))


def metrics_page() -> str:
    """The table of all metrics as Markdown."""
    rows = [
        f"| `{count.name}` | {count.kind} | {count.unit} | {', '.join(f'`{each}`' for each in count.labels)} "
        f"| {_cell(count.text)} |"
        for count in counts()
    ]
    rows += [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} "
        f"| {_unit(family.name, family.type)} |  | {_cell(family.documentation)} (of this process; on Linux) |"
        for family in ProcessCollector(registry=None).collect()
    ]
    return "\n".join(["| metric | kind | unit | labels | meaning |", "|---|---|---|---|---|", *rows])


# errors


def errors_page() -> str:
    """All sayings as Markdown: mistakes in graph files, each kind of error, notes, what tests say."""
    by_kind: dict[str, list[Saying]] = {}
    for each in sayings():
        by_kind.setdefault(each.kind, []).append(each)
    parts = ["## Mistakes in a graph file", _table(by_kind[Form.MISTAKE])]
    for name, kind in kinds().items():
        if name in by_kind:
            end = "ends the graph" if kind.fatal else "the part is tried again, ever less often"
            if issubclass(kind, errors.UsageError):
                end = "nothing was started"
            doc = (inspect.getdoc(kind) or "").partition("\n")[0]
            parts += [f"## {name}", f"{doc} Exit code {kind.exit_code}; {end}.", _table(by_kind[name])]
    parts += [f"## {UNFIT}", _UNFIT_MEANS, _table(by_kind[UNFIT])]
    doc = (inspect.getdoc(Refusal) or "").partition("\n")[0]
    parts += [f"## {Refusal.__name__}", doc, _table(by_kind[Refusal.__name__])]
    parts += ["## What a test or a replay says", _TESTS_MEAN, _table(by_kind[Form.TEST])]
    notes = [f"| {_cell(each.text + (f'; {each.hint}' if each.hint else ''))} |" for each in by_kind[Form.NOTE]]
    parts += ["## Notes of an import", _NOTES_MEAN, "\n".join(["| note |", "|---|", *notes])]
    return "\n\n".join(parts)


def _table(rows: Iterable[Saying]) -> str:
    lines = ["| where | what is said | what to do |", "|---|---|---|"]
    for row in rows:
        shown = "warning: " if row.warning else ""
        lines.append(f"| {row.where} | {shown}{_cell(row.text)} | {_cell(row.hint)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def main() -> None:
    """Write both pages anew, between their marks."""
    for path, made in ((METRICS, metrics_page()), (ERRORS, errors_page())):
        path.write_text(put(path.read_text(encoding="utf-8"), made, BEGIN, END), encoding="utf-8")


if __name__ == "__main__":
    main()
