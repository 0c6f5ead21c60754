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
from pipeline.errors import PipelineError
from pipeline.mqtt.reasons import Refusal
from pipeline.reference import put
from pipeline.source import GAP, Call, calls, trees

__all__ = ["BEGIN", "END", "ERRORS", "METRICS", "Count", "Saying", "counts", "errors_page", "metrics_page", "sayings"]

METRICS = Path(__file__).parent / "METRICS.md"
ERRORS = Path(__file__).parent / "ERRORS.md"

BEGIN = "<!-- made by `python -m pipeline.inventory` -->"
END = "<!-- /made -->"
_COUNTED = {"counter": "counter", "gauge": "gauge", "histogram": "histogram"}
_READ = {"read_counter": "counter", "read_gauge": "gauge"}
_FAMILIES = {"CounterMetricFamily": "counter", "GaugeMetricFamily": "gauge"}
_UNITS = {"_seconds": "seconds", "_bytes": "bytes", "_ms": "milliseconds"}
_FILE = {"Finding": 1, "add": 1, "MismatchError": 0, "Mishap": 2, "report": 2, "_report": 2, "_fail": 2}
"""What speaks of mistakes in a graph file, with the place of the message among its arguments; the hint is the next."""
_IN_CONFIG = {"tell": 2, "_tell": 1}
"""The same of functions whose names mean something else elsewhere."""
_UNFIT = "ValueError"
_PARTS = {"reason": 0, "detail": 1, "advice": 2}
_UNFIT_MEANS = (
    "A text or value is not what it has to be. Said with the option in a mistake of a graph file, with the option of a "
    "command, or as a tag's reason in `bad`."
)
_COLUMNS = {2, 3}


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


@dataclass(frozen=True, order=True)
class Saying:
    """Something that the code can say is wrong.

    Attributes:
        kind: the exception's name; "" for mistakes in a graph file.
        where: the operator, or the part of the engine.
        text: what is said.
        hint: what to do, where it is not in the text.
        warning: the graph runs all the same.
    """

    kind: str
    where: str
    text: str
    hint: str
    warning: bool = False


# metrics


def counts() -> list[Count]:
    """All metrics, by name; of one that several parts count, all meanings."""
    found: dict[str, Count] = {}
    for call in calls():
        kind = {**_COUNTED, **_READ, **_FAMILIES}.get(call.name, "")
        first = call.argument(0)
        if not kind or not isinstance(first, ast.Constant) or len(call.call.args) < 2:  # noqa: PLR2004 - name and text
            continue
        name = str(first.value).removesuffix("_total") + "_total" if kind == "counter" else str(first.value)
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
    if call.name in _READ:
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


def sayings() -> list[Saying]:
    """All that the code can say is wrong, by kind, place and text; each once."""
    found = {*_tabled(), *_bounds(), *(saying for call in calls() if (saying := _saying(call)))}
    return sorted(saying for saying in found if saying.text.strip(f"{GAP} :;.'"))


def _bounds() -> Iterator[Saying]:
    """What is said of values beyond their bounds: the texts that `pipeline.config.convert.bounds` yields."""
    tree = trees()["pipeline/config/convert"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.JoinedStr):
            reader = Call("pipeline/config/convert", ast.Call(node.value, [], [], lineno=node.lineno), (tree,))
            yield Saying("", "config", reader.text(node.value), "")


def _kinds() -> dict[str, type[PipelineError]]:
    """The tree's exceptions by name, from its root on."""
    return {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, PipelineError) and kind is not PipelineError
    }


def _saying(call: Call) -> Saying | None:
    where, kinds = _where(call.module), _kinds()
    first = {**_FILE, **(_IN_CONFIG if where == "config" else {})}.get(call.name, -1)
    if first >= 0 and (call.name != "add" or "roblems" in ast.unparse(call.call.func)):
        warning = any("Severity.WARNING" in ast.unparse(each) for each in (*call.call.args, *call.call.keywords))
        text, hint = call.text(call.argument(first, "message")), call.text(call.argument(first + 1, "hint"))
        return Saying("", where, text, hint, warning)
    if call.name == "__init__" and call.module == "pipeline/errors":
        return _built(call)
    if call.name == Refusal.__name__:
        return Saying(call.name, where, call.text(call.argument(0)), call.text(call.argument(2, "advice")))
    if call.name in kinds and issubclass(kinds[call.name], errors.ReadError | errors.LinkError):
        reason, detail, advice = (call.text(call.argument(place, name)) for name, place in _PARTS.items())
        return Saying(call.name, where, f"{reason}: {detail}" if detail else reason, advice)
    return Saying(call.name, where, call.text(call.argument(0)), "") if call.name in {*kinds, _UNFIT} else None


def _built(call: Call) -> Saying | None:
    """The text that an exception of the tree makes of its data."""
    for node in ast.walk(trees()["pipeline/errors"]):
        if isinstance(node, ast.ClassDef) and node.name in _kinds() and call.call in ast.walk(node):
            text = call.text(call.argument(0))
            return Saying(node.name, "journal" if "journal" in text else "", text, "")
    return None


def _tabled() -> Iterator[Saying]:
    """Tables of (reason, detail, advice) or (reason, advice), beside the functions that make errors of them."""
    for module, tree in trees().items():
        made = next((name for name in ("LinkError", "Refused", "ReadError") if _imports(tree, name)), "")
        tables = [node.value for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign) and node.value]
        for each in (each for table in tables if made for each in ast.walk(table) if isinstance(each, ast.Tuple)):
            reader = Call(module, ast.Call(each, [], [], lineno=each.lineno), (tree,))
            parts = [reader.text(part) for part in each.elts]
            if len(parts) in _COLUMNS and parts[0] and all(part != GAP for part in parts):
                yield Saying(made, _where(module), ": ".join(filter(None, parts[:-1])), parts[-1])


def _imports(tree: ast.Module, name: str) -> bool:
    taken = (node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "pipeline.errors")
    return any(alias.name == name for node in taken for alias in node.names)


def _where(module: str) -> str:
    """`sinks/mqtt` for an operator, `s7` or `config` for a part of the engine, `tap` for a command."""
    parts = module.split("/")
    if parts[0] == "operators":
        return "/".join(parts[1:])
    return parts[2].rstrip("_") if parts[1] == "commands" and len(parts) > 2 else parts[1]  # noqa: PLR2004 - a file in it


def errors_page() -> str:
    """All sayings as Markdown: mistakes in graph files, then each kind of error."""
    everything = sayings()
    parts = ["## Mistakes in a graph file", _table([each for each in everything if not each.kind])]
    for name, kind in _kinds().items():
        if rows := [each for each in everything if each.kind == name]:
            end = "ends the graph" if kind.fatal else "the part is tried again, ever less often"
            if issubclass(kind, errors.UsageError):
                end = "nothing was started"
            doc = (inspect.getdoc(kind) or "").partition("\n")[0]
            parts += [f"## {name}", f"{doc} Exit code {kind.exit_code}; {end}.", _table(rows)]
    parts += [f"## {_UNFIT}", _UNFIT_MEANS, _table([each for each in everything if each.kind == _UNFIT])]
    doc = (inspect.getdoc(Refusal) or "").partition("\n")[0]
    parts += [f"## {Refusal.__name__}", doc, _table([each for each in everything if each.kind == Refusal.__name__])]
    return "\n\n".join(parts)


def _table(rows: Iterable[Saying]) -> str:
    lines = ["| where | what is said | what to do |", "|---|---|---|"]
    for row in rows:
        text, hint = row.text, row.hint
        if not hint.strip(GAP) and "; " in text:
            text, _, hint = text.partition("; ")
        shown = "warning: " if row.warning else ""
        lines.append(f"| {row.where} | {shown}{_cell(text)} | {_cell(hint.strip(GAP) and hint)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def main() -> None:
    """Write both pages anew, between their marks."""
    for path, made in ((METRICS, metrics_page()), (ERRORS, errors_page())):
        path.write_text(put(path.read_text(encoding="utf-8"), made, BEGIN, END), encoding="utf-8")


if __name__ == "__main__":
    main()
