"""The calls in this project's own source, and the texts that are written in them."""

from __future__ import annotations

import ast
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["GAP", "Call", "calls", "trees"]

GAP = "…"
"""What stands for the part of a text that is only known when it is said."""
_MOST = 12
"""Variants of one text that are told apart."""
_WORDS = 6
_ROOT = Path(__file__).parent.parent


@cache
def trees() -> dict[str, ast.Module]:
    """All modules by their path: `operators/sinks/mqtt`."""
    files = [path for folder in ("pipeline", "operators") for path in sorted((_ROOT / folder).rglob("*.py"))]
    return {
        path.relative_to(_ROOT).with_suffix("").as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in files
        if "templates" not in path.parts
    }


@dataclass(frozen=True)
class Call:
    """A call, with the functions and the module around it, innermost first."""

    module: str
    call: ast.Call
    scopes: tuple[ast.AST, ...]

    @classmethod
    def beside(cls, module: str, node: ast.expr, *functions: ast.AST) -> Call:
        """What reads the texts of an expression that is no argument of a call, in a function of a module or in none."""
        return cls(module, ast.Call(node, [], [], lineno=node.lineno), (*functions, trees()[module]))

    @property
    def name(self) -> str:
        """What is called, without the object that has it."""
        function = self.call.func
        return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")

    def argument(self, position: int, *keywords: str) -> ast.expr | None:
        """An argument by its place or name."""
        if position < len(self.call.args):
            return self.call.args[position]
        return next((each.value for each in self.call.keywords if each.arg in keywords), None)

    def assigned(self, name: str) -> Iterator[ast.expr]:
        """What a name is set to around the call: the nearest before it first; of a module only its own level."""
        for scope in self.scopes:
            yield from self._assigned_in(scope, name)

    def _assigned_in(self, scope: ast.AST, name: str) -> list[ast.expr]:
        nodes = scope.body if isinstance(scope, ast.Module) else ast.walk(scope)
        assigns = [node for node in nodes if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr)]
        found = [(node, value) for node in assigns for value in _values_of(node, name)]
        line = self.call.lineno
        found.sort(key=lambda each: (each[0].lineno > line, abs(each[0].lineno - line)))
        return [value for _, value in found]

    def text(self, node: ast.expr | None) -> str:
        """An expression as text, with `…` for what is only known when it runs; of several that it may be, the first."""
        return self.texts(node)[0]

    def texts(self, node: ast.expr | None, depth: int = 4) -> list[str]:
        """All that an expression may say: of both branches, of all that its name is set to, of what is returned."""
        said = [GAP]
        match node:
            case None:
                said = [""]
            case ast.Constant(value=str() as text):
                said = [text]
            case ast.JoinedStr(values=parts):
                said = self._joined(parts, depth)
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                found = self._looked_up(value, depth)
                said = found if all(_says(text) for text in found) else [GAP]
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                said = self._joined([left, right], depth)
            case _:
                said = self._looked_up(node, depth)
        return list(dict.fromkeys(said)) or [GAP]

    def _looked_up(self, node: ast.expr, depth: int) -> list[str]:
        """What stands elsewhere: in a branch, a name, a function, a table."""
        said = [GAP]
        match node:
            case ast.IfExp(body=body, orelse=orelse):
                said = [*self.texts(body, depth), *self.texts(orelse, depth)]
                said.sort(key=lambda text: not text)  # the first is the one that says something
            case ast.Name(id=name) if depth:
                said = self._named(name, depth - 1)
            case ast.Call(func=ast.Name(id=name)) if depth:
                said = [text for texts in self._returned(name) for text in texts(depth - 1)]
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="get"), args=[_, rest]) if name.isupper():
                said = [*self._listed(name, depth), *self.texts(rest, depth)]
            case ast.Subscript(value=ast.Name(id=name)) if name.isupper():
                said = self._listed(name, depth)
        return said or [GAP]

    def _joined(self, parts: Sequence[ast.expr], depth: int) -> list[str]:
        """Texts side by side; where they would make too many, the varying ones are gaps."""
        found = [self.texts(part, depth) for part in parts]
        if math.prod(map(len, found)) > _MOST:
            found = [texts if len(texts) == 1 else [GAP] for texts in found]
        return ["".join(each) for each in itertools.product(*found)]

    def _named(self, name: str, depth: int) -> list[str]:
        """What a name may be: all that it is set to in the innermost function that sets it, or in the module."""
        for scope in self.scopes:
            texts = [text for value in self._assigned_in(scope, name) for text in self.texts(value, depth)]
            if texts:
                return [text for text in texts if text.strip(GAP)] or [GAP]
            if not isinstance(scope, ast.Module) and name in _parameters(scope):
                break
        return [GAP]

    def _returned(self, name: str) -> Iterator[Callable[[int], list[str]]]:
        """What a function of this project's returns."""
        module, function = _function(self.module, name)
        if function is None:
            return
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                yield functools.partial(Call.beside(module, node.value, function).texts, node.value)

    def _listed(self, name: str, depth: int) -> list[str]:
        """The texts of a table by its name."""
        tables = (value for value in self.assigned(name) if isinstance(value, ast.Dict))
        return [text for table in tables for value in table.values for text in self.texts(value, depth)]


def _says(text: str) -> bool:
    """Whether a part of a text is known, or is words beside what is only known when it is said."""
    return GAP not in text or len(text.replace(GAP, "").strip(" ',.:;?()")) >= _WORDS


def _parameters(function: ast.AST) -> set[str]:
    return {each.arg for each in ast.walk(getattr(function, "args", function)) if isinstance(each, ast.arg)}


def _function(module: str, name: str) -> tuple[str, ast.FunctionDef | None]:
    """The function that a module means by a name: its own, or one that it imports from this project."""
    for node in trees()[module].body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
            other = (node.module or "").replace(".", "/")
            return _function(other, name) if other in trees() and other != module else (module, None)
    return module, None


def _values_of(node: ast.Assign | ast.AnnAssign | ast.NamedExpr, name: str) -> Iterator[ast.expr]:
    """What an assignment sets a name to, also as one of several: `text, node = …, …`."""
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = zip(target.elts, node.value.elts, strict=False)
            yield from (value for each, value in pairs if getattr(each, "id", "") == name)
        elif getattr(target, "id", "") == name and node.value is not None:
            yield node.value


def calls() -> Iterator[Call]:
    """All calls, with what is around them."""

    def walk(module: str, node: ast.AST, scopes: tuple[ast.AST, ...]) -> Iterator[Call]:
        inner = (node, *scopes) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module) else scopes
        if isinstance(node, ast.Call):
            yield Call(module, node, inner)
        for child in ast.iter_child_nodes(node):
            yield from walk(module, child, inner)

    for module, tree in trees().items():
        yield from walk(module, tree, ())
