"""The calls in this project's own source, and the texts that are written in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["GAP", "Call", "calls", "trees"]

GAP = "…"
"""What stands for the part of a text that is only known when it is said."""
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
            nodes = scope.body if isinstance(scope, ast.Module) else ast.walk(scope)
            assigns = [node for node in nodes if isinstance(node, ast.Assign)]
            found = [(node, value) for node in assigns for value in _values_of(node, name)]
            line = self.call.lineno
            found.sort(key=lambda each: (each[0].lineno > line, abs(each[0].lineno - line)))
            yield from (value for _, value in found)

    def text(self, node: ast.expr | None, depth: int = 3) -> str:
        """An expression as text, with `…` for what is only known when it runs."""
        said = GAP
        match node:
            case None:
                said = ""
            case ast.Constant(value=str() as text):
                said = text
            case ast.JoinedStr(values=parts):
                said = "".join(self.text(part, depth) for part in parts)
            case ast.FormattedValue(value=ast.Name(id=name) as constant) if name.isupper():
                said = self.text(constant, depth)
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                said = self.text(left, depth) + self.text(right, depth)
            case ast.IfExp(body=body, orelse=orelse):
                said = self.text(body, depth) or self.text(orelse, depth)
            case ast.Name(id=name) if depth:
                found = (self.text(value, depth - 1) for value in self.assigned(name))
                said = next((text for text in found if text.strip(GAP)), GAP)
        return said


def _values_of(node: ast.Assign, name: str) -> Iterator[ast.expr]:
    """What an assignment sets a name to, also as one of several: `text, node = …, …`."""
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = zip(target.elts, node.value.elts, strict=False)
            yield from (value for each, value in pairs if getattr(each, "id", "") == name)
        elif getattr(target, "id", "") == name:
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
