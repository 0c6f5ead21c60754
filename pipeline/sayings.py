"""All that the code can say is wrong, read from the source: mistakes, errors, notes, what is not as a test expects.

Each text stands as it is written in the code; what it is filled with is `…`. Where a text has no hint of its own, since
it is a part of a message, or only a reason that is shown, `pipeline.advice` has what to do.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline import errors
from pipeline.advice import advice
from pipeline.errors import PipelineError
from pipeline.mqtt.reasons import Refusal
from pipeline.source import GAP, Call, calls, trees

__all__ = ["UNFIT", "Form", "Saying", "kinds", "sayings"]


class Form(StrEnum):
    """What is said that is no exception."""

    MISTAKE = "mistake"
    NOTE = "note"
    TEST = "test"


_FILE = {"Finding": 1, "add": 1, "MismatchError": 0, "Mishap": 2, "report": 2, "_report": 2, "_fail": 2}
"""What speaks of mistakes in a graph file, with the place of the message among its arguments; the hint is the next."""
_IN_CONFIG = {"tell": 2, "_tell": 1, "_add": 1}
"""The same of functions whose names mean something else elsewhere."""
_IN_IMPORTS = {"Note": 1, "_Unplaceable": 0, "miss": 0}
_TOLD_TO = {"program": 2, "_program": 2, "notes": 0}
"""What `tell` belongs to, with the place of its text; else it is the second."""
_IN_TESTS = ("testing", "recording")
_ASKS = re.compile(
    r"[:;,?] ((?:[Ww]rite|[Gg]ive|[Cc]hoose|[Uu]se|[Nn]ame|[Ss]ay|[Pp]ut|leave|set|replay|take|rename|pip install) .*)"
)
"""Where a text goes over into what to do."""
UNFIT = "ValueError"
_PARTS = {"reason": 0, "detail": 1, "advice": 2}
_COLUMNS = {2, 3}


@dataclass(frozen=True, order=True)
class Saying:
    """Something that the code can say.

    Attributes:
        kind: the exception's name, or the form.
        where: the operator, or the part of the engine.
        text: what is said.
        hint: what to do; "" only for notes.
        warning: the graph runs all the same.
    """

    kind: str
    where: str
    text: str
    hint: str
    warning: bool = False


def sayings() -> list[Saying]:
    """All that the code can say is wrong, by kind, place and text; each once, with what to do."""
    found = {
        *_tabled(),
        *_bounds(),
        *_patterns(),
        *_pairs(),
        *_verdicts(),
        *(saying for call in calls() for saying in _said(call)),
    }
    worded = (_worded(saying) for saying in found if saying.text.strip(f"{GAP} :;.'"))
    return sorted({(each.kind, each.where, each.text): each for each in sorted(worded)}.values())


def _worded(saying: Saying) -> Saying:
    """With its hint apart from its text, or else with what there is to do about such a text."""
    text, hint = saying.text, saying.hint
    if saying.kind != Form.NOTE and not hint.strip(GAP) and "; " in text:
        text, _, hint = text.partition("; ")
    elif saying.kind != Form.NOTE and not hint.strip(GAP) and (ask := _ASKS.search(text)):
        text, hint = text[: ask.start()], ask[1]
    if not hint.strip(f"{GAP}' ") and saying.kind != Form.NOTE:
        hint = advice(saying.kind, saying.where, text)
    return replace(saying, text=text, hint=hint)


def kinds() -> dict[str, type[PipelineError]]:
    """The tree's exceptions by name, from its root on."""
    return {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, PipelineError) and kind is not PipelineError
    }


def _bounds() -> Iterator[Saying]:
    """What is said of values beyond their bounds: the texts that `pipeline.config.convert.bounds` yields."""
    module = "pipeline/config/convert"
    for node in ast.walk(trees()[module]):
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.JoinedStr):
            text = Call.beside(module, node.value).text(node.value)
            if not text.startswith(GAP):
                yield Saying(Form.MISTAKE, "config", text, "")


def _patterns() -> Iterator[Saying]:
    """What texts must be by their patterns, in words."""
    for module, tree in trees().items():
        for node in ast.walk(tree):
            for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
                words = str(value.value) if isinstance(value, ast.Constant) else ""
                if isinstance(key, ast.Constant) and key.value == "patternErrorMessage" and "must" in words:
                    yield Saying(Form.MISTAKE, _where(module), f"{words}, got '{GAP}'", "")


def _pairs() -> Iterator[Saying]:
    """Mistakes that functions of the loader yield as (option, message)."""
    for module, tree in trees().items():
        if _where(module) != "config":
            continue
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.returns):
            if ast.unparse(function.returns or function) != "Iterator[tuple[str, str]]":
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
                    texts = Call.beside(module, node.value, function).texts(node.value.elts[1])
                    yield from (Saying(Form.MISTAKE, "config", text, "") for text in texts)


def _said(call: Call) -> Iterator[Saying]:
    where, errors_of_tree = _where(call.module), kinds()
    first = {**_FILE, **(_IN_CONFIG if where == "config" else {})}.get(call.name, -1)
    if first >= 0 and (call.name != "add" or "roblems" in ast.unparse(call.call.func)):
        warning = any("Severity.WARNING" in ast.unparse(each) for each in (*call.call.args, *call.call.keywords))
        parts = call.argument(first, "message"), call.argument(first + 1, "hint")
        yield from _with_hint(call, Form.MISTAKE, *parts, warning)
    elif where == "importing":
        yield from _noted(call)
    elif where in _IN_TESTS and call.name == "append" and ast.unparse(call.call.func) == "told.append":
        yield from _with_hint(call, Form.TEST, call.argument(0), None)
    if call.name == "__init__" and call.module == "pipeline/errors":
        yield from _built(call)
    elif call.name == Refusal.__name__:
        yield from _with_hint(call, call.name, call.argument(0), call.argument(2, "advice"))
    elif call.name in errors_of_tree and issubclass(errors_of_tree[call.name], errors.ReadError | errors.LinkError):
        reason, detail, told = (call.text(call.argument(place, name)) for name, place in _PARTS.items())
        yield Saying(call.name, where, f"{reason}: {detail}" if detail else reason, told)
    elif call.name in {*errors_of_tree, UNFIT}:
        yield from _with_hint(call, call.name, call.argument(0), None)


def _with_hint(
    call: Call, kind: str, message: ast.expr | None, hint: ast.expr | None, warning: bool = False
) -> Iterator[Saying]:
    """What a call says in all its variants, each with its hint: by pairs where both are chosen together."""
    texts, hints = call.texts(message), call.texts(hint)
    if not (isinstance(message, ast.Name) and isinstance(hint, ast.Name) and len(texts) == len(hints)):
        hints = [next((each for each in hints if each.strip(GAP)), "")] * len(texts)
    for text, told in zip(texts, hints, strict=True):
        yield Saying(kind, _where(call.module), text, told, warning)


def _noted(call: Call) -> Iterator[Saying]:
    """What an import tells of its files."""
    place = _IN_IMPORTS.get(call.name)
    if call.name == "tell" and isinstance(call.call.func, ast.Attribute):
        place = _TOLD_TO.get(ast.unparse(call.call.func.value).rpartition(".")[2], 1)
    said = call.argument(place, "text") if place is not None else None
    if call.name == "append" and isinstance(pair := call.argument(0), ast.Tuple):
        said = pair.elts[-1] if [ast.unparse(each) for each in pair.elts[:-1]] == ["line"] else None
    if said is not None:
        yield from (Saying(Form.NOTE, "import", text, "") for text in call.texts(said))


def _verdicts() -> Iterator[Saying]:
    """What a test says of what is not as expected: the texts in the lists that its judge gives."""
    module = "pipeline/testing/judge"
    for function in (node for node in trees()[module].body if isinstance(node, ast.FunctionDef)):
        for node in ast.walk(function):
            told: list[ast.expr] = []
            if isinstance(node, ast.Return | ast.Assign) and node.value is not None:
                told = [each for part in ast.walk(node.value) if isinstance(part, ast.List) for each in part.elts]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "details.append":
                told = node.args
            elif isinstance(node, ast.Yield) and isinstance(node.value, ast.JoinedStr):
                told = [node.value]
            for each in told:
                texts = Call.beside(module, each, function).texts(each)
                yield from (Saying(Form.TEST, "testing", text, "") for text in texts)


def _built(call: Call) -> Iterator[Saying]:
    """The text that an exception of the tree makes of its data."""
    for node in ast.walk(trees()["pipeline/errors"]):
        if isinstance(node, ast.ClassDef) and node.name in kinds() and call.call in ast.walk(node):
            text = call.text(call.argument(0))
            yield Saying(node.name, "journal" if "journal" in text else "", text, "")


def _tabled() -> Iterator[Saying]:
    """Tables of (reason, detail, advice) or (reason, advice), beside the functions that make errors of them."""
    for module, tree in trees().items():
        made = next((name for name in ("LinkError", "Refused", "ReadError") if _imports(tree, name)), "")
        tables = [node.value for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign) and node.value]
        for each in (each for table in tables if made for each in ast.walk(table) if isinstance(each, ast.Tuple)):
            reader = Call.beside(module, each)
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
