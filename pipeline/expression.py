"""Expressions over a frame's values, as people write them: `AI_Corrente > 5 and maquina_ligada`.

Python's operators on numbers, texts and booleans, and a few functions; evaluated by simpleeval, which knows no
attributes, no loops and no assignments, and refuses powers and texts that would fill the memory.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from simpleeval import EvalWithCompoundTypes, InvalidExpression

from pipeline.frame import Frame

__all__ = ["FUNCTIONS", "OF_FRAME", "Expression", "names_of"]

FUNCTIONS = MappingProxyType({"abs": abs, "min": min, "max": max, "round": round, "int": int, "float": float})
"""What an expression may call."""
OF_FRAME = ("ts", "kind", "measurement", "ip", "db", "tenant_id", "plc_id", "error", "values", "tags", "bad")
"""What names mean besides values and tags; `values["a b"]` reaches names that are no words."""
_SIMPLE = (bool, int, float, str)


class Expression:
    """A parsed expression.

    Attributes:
        text: as it was written.
        names: what it refers to.
    """

    def __init__(self, text: str) -> None:
        """Parse.

        Raises:
            ValueError: it is no expression; the message says why and where.
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
        for loop in (ast.ListComp, ast.GeneratorExp, ast.DictComp):
            self._evaluator.nodes.pop(loop, None)

    def evaluate(self, names: Mapping[str, Any]) -> Any:
        """What it gives.

        Args:
            names: what names mean.

        Raises:
            ValueError: it has no value: a name is missing, types don't fit, a division by zero, or too much work.
        """
        self._evaluator.names = names
        try:
            value = self._evaluator.eval(self.text, previously_parsed=self._tree)
        except (InvalidExpression, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"'{self.text}': {error}") from error
        if not isinstance(value, _SIMPLE):
            raise ValueError(f"'{self.text}': gives neither number, text nor boolean")  # noqa: TRY004 - by its value
        return value

    def matches(self, frame: Frame) -> bool:
        """Whether it is true of a frame; without a value it is not."""
        try:
            return bool(self.evaluate(names_of(frame)))
        except ValueError:
            return False


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
