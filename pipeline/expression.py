"""Expressions over a frame's values, as people write them: `AI_Corrente > 5 and maquina_ligada`.

Python's operators on numbers, texts and booleans, and a few functions; evaluated by simpleeval, which knows no
attributes, no loops and no assignments. Whatever stands in a frame, it takes neither long nor much: sizes are bounded
(`arithmetic.py`), and a format is written out.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from simpleeval import EvalWithCompoundTypes, InvalidExpression

from pipeline.arithmetic import BOUNDED, bounded_round
from pipeline.frame import Frame

__all__ = ["FUNCTIONS", "OF_FRAME", "Expression", "names_of"]

_WIDE = re.compile(r"\d{3}")
"""In a format: 100 places or more."""
FUNCTIONS = MappingProxyType({"abs": abs, "min": min, "max": max, "round": bounded_round, "int": int, "float": float})
"""What an expression may call."""
OF_FRAME = ("ts", "kind", "measurement", "ip", "db", "tenant_id", "plc_id", "error", "values", "tags", "bad")
"""What names mean besides values and tags; `values["a b"]` reaches names that are no words."""
_SIMPLE = (bool, int, float, str)
_REFUSED: dict[type[ast.AST], str] = {
    ast.Attribute: "attributes and methods",
    ast.Lambda: "functions of your own",
    ast.ListComp: "loops",
    ast.GeneratorExp: "loops",
    ast.DictComp: "loops",
    ast.SetComp: "loops",
    ast.NamedExpr: "assignments",
}
"""What Python has and an expression has not, as people call it."""
_KINDS = {
    "str": "a text",
    "int": "a number",
    "float": "a number",
    "bool": "a boolean",
    "dict": "values",
    "list": "a list",
}
_PARTS = (ast.boolop, ast.expr_context)
"""Nodes without a meaning of their own."""


class Expression:
    """A parsed expression.

    Attributes:
        text: as it was written.
        names: what it refers to.
    """

    def __init__(self, text: str) -> None:
        """Parse.

        Raises:
            ValueError: it is no expression, or one that no frame can give a value; the message says why and where.
        """
        self.text = text
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except SyntaxError as error:
            place = f", at character {error.offset}" if error.offset else ""
            raise ValueError(f"'{text}' is no expression: {error.msg}{place}") from None
        except (RecursionError, MemoryError):
            raise ValueError(f"'{text[:40]}…' is nested too deeply") from None
        self._tree = tree.body
        called = {id(call.func) for call in ast.walk(tree) if isinstance(call, ast.Call)}
        found = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        self.names = frozenset(node.id for node in found if id(node) not in called)
        unknown = sorted({node.id for node in found if id(node) in called and node.id not in FUNCTIONS})
        if unknown:
            raise ValueError(f"'{text}': there is no function {unknown[0]}(); there are {', '.join(FUNCTIONS)}")
        self._evaluator = EvalWithCompoundTypes(functions=dict(FUNCTIONS), allowed_attrs={})
        self._evaluator.operators = {**self._evaluator.operators, **BOUNDED}
        for refused in _REFUSED:
            self._evaluator.nodes.pop(refused, None)
        self._refuse(tree.body)
        try:
            if self._is_constant(tree.body, called):
                self.evaluate({})
        except RecursionError:
            raise ValueError(f"'{text[:40]}…' is nested too deeply") from None

    def _refuse(self, body: ast.expr) -> None:
        """Raise for what is Python and can't be evaluated, whatever a frame has."""
        known = (*self._evaluator.nodes, *self._evaluator.operators, *_PARTS)
        for node in ast.walk(body):
            if not isinstance(node, known):
                what = _REFUSED.get(type(node)) or f"{type(node).__name__} (`{ast.unparse(node)}`)"
                raise ValueError(f"'{self.text}': there are no {what} in expressions")  # noqa: TRY004 - of the text
            if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
                raise ValueError(f"'{self.text}': only functions can be called: {', '.join(FUNCTIONS)}")  # noqa: TRY004
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and _is_text(node.left):
                raise ValueError(f"'{self.text}': % is the remainder of two numbers; write texts as f'{{name}}'")
            if isinstance(node, ast.FormattedValue) and node.format_spec and _is_wide(node.format_spec):
                raise ValueError(f"'{self.text}': a format is written out, with fewer than 100 places: {{name:.2f}}")

    def _is_constant(self, node: ast.AST, called: set[int]) -> bool:
        """Whether no frame changes it; raise for a part of that kind that has no value."""
        parts = list(ast.iter_child_nodes(node))
        constant = [part for part in parts if self._is_constant(part, called)]
        if isinstance(node, ast.Name):
            return id(node) in called
        if len(constant) == len(parts):
            return True
        for part in constant:
            if isinstance(part, ast.expr) and id(part) not in called:
                self._value(part, {})
        return False

    def evaluate(self, names: Mapping[str, Any]) -> Any:
        """What it gives.

        Args:
            names: what names mean.

        Raises:
            ValueError: it has no value: a name is missing, types don't fit, a division by zero, or too much work.
        """
        value = self._value(self._tree, names)
        if not isinstance(value, _SIMPLE):
            raise ValueError(f"'{self.text}': gives neither number, text nor boolean")  # noqa: TRY004 - by its value
        return value

    def _value(self, part: ast.expr, names: Mapping[str, Any]) -> Any:
        self._evaluator.names = names
        try:
            return self._evaluator.eval(self.text, previously_parsed=part)
        except TypeError as error:
            raise ValueError(f"'{self.text}': {_mismatch(error, part)}") from error
        except (InvalidExpression, LookupError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"'{self.text}': {error}") from error

    def matches(self, frame: Frame) -> bool:
        """Whether it is true of a frame; without a value it is not."""
        try:
            return bool(self.evaluate(names_of(frame)))
        except ValueError:
            return False


def _mismatch(error: TypeError, part: ast.expr) -> str:
    """Which types don't fit, as people call them; what may be meant where a text stands in the expression."""
    kinds = [_KINDS[name] for name in re.findall(r"'(\w+)'", str(error)) if name in _KINDS]
    if len(kinds) != 2:  # noqa: PLR2004 - what an operator takes
        return str(error)
    names = [node.value for node in ast.walk(part) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    meant = f"; the value of that name is values[{json.dumps(names[0], ensure_ascii=False)}]" if names else ""
    return f"{kinds[0]} and {kinds[1]} don't go together{meant}"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def _is_wide(spec: ast.expr) -> bool:
    """Whether a format comes from a frame, or makes much of little."""
    parts = spec.values if isinstance(spec, ast.JoinedStr) else [spec]
    return any(not isinstance(part, ast.Constant) or _WIDE.search(str(part.value)) for part in parts)


def names_of(frame: Frame) -> dict[str, Any]:
    """What names mean in an expression over a frame: its own fields, its tags, its values; the later win."""
    origin = frame.origin
    fields = {
        "ts": frame.ts,
        "kind": frame.kind.value,
        "measurement": origin.measurement,
        "ip": origin.ip,
        "db": origin.db,
        "tenant_id": origin.tenant_id,
        "plc_id": origin.plc_id,
        "error": frame.error or "",
        "values": frame.values,
        "tags": origin.tags,
        "bad": frame.bad or {},
    }
    return {**fields, **origin.tags, **frame.values}
