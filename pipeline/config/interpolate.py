"""`${NAME}` and `${NAME:-default}` in texts that YAML has already parsed: substituted once, never parsed again.

- An empty variable counts as unset.
- A default may hold balanced braces (`${TOPIC:-plc/{tenant_id}}`) and substitutions of its own.
- `$${` is a literal `${`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Substituted", "SubstitutionError", "escape", "interpolate"]

_PART = re.compile(r"\$\$\{|\$\{")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(:-)?")
_DEPTH = 8


class SubstitutionError(ValueError):
    """A `${…}` that can't be understood; says how to write it."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"'{text}' is no substitution; write ${{NAME}} or ${{NAME:-default}}, and $${{ where ${{ itself is meant"
        )


@dataclass(frozen=True, kw_only=True)
class Substituted:
    """A text with its variables filled in.

    Attributes:
        text: the result.
        found: it holds at least one `${…}`.
        from_environment: a variable of the environment gave part of it; a default doesn't count.
        missing: variables that are unset or empty and have no default, in order.
    """

    text: str
    found: bool = False
    from_environment: bool = False
    missing: tuple[str, ...] = ()


def escape(text: str) -> str:
    """A text that `interpolate` turns into this one."""
    return text.replace("${", "$${")


def interpolate(text: str, environ: Mapping[str, str], depth: int = 0) -> Substituted:
    """Fill in variables.

    Args:
        text: with `${…}`.
        environ: the variables.
        depth: how many defaults this text is nested in.

    Raises:
        SubstitutionError: a `${` is not closed, has no valid name, or nests too deeply.
    """
    parts: list[str] = []
    missing: list[str] = []
    found = used = False
    position = 0
    while match := _PART.search(text, position):
        parts.append(text[position : match.start()])
        if match[0] == "$${":
            parts.append("${")
            position = match.end()
            continue
        found = True
        name, inner, end = _variable(text, match)
        if depth >= _DEPTH:
            raise SubstitutionError(match[0] + name)
        default = None if inner is None else interpolate(inner, environ, depth + 1)
        if environ.get(name):
            parts.append(environ[name])
            used = True
        elif default is not None:
            parts.append(default.text)
            missing.extend(default.missing)
            used = used or default.from_environment
        else:
            missing.append(name)
        position = end + 1
    parts.append(text[position:])
    return Substituted(text="".join(parts), found=found, from_environment=used, missing=tuple(missing))


def _variable(text: str, match: re.Match[str]) -> tuple[str, str | None, int]:
    """Name, default (None without one) and the place of the closing brace of the substitution that begins here."""
    end = _closing(text, match.end())
    inner = text[match.end() : end]
    name = _NAME.match(inner)
    if end < 0 or name is None or (name[2] is None and name.end() != len(inner)):
        # Shown without a default: it may be a secret.
        raise SubstitutionError(text[match.start() :].partition(":")[0][:40])
    return name[1], inner[name.end() :] if name[2] else None, end


def _closing(text: str, start: int) -> int:
    """The place of the `}` that closes a brace opened before `start`, -1 when there is none."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    return -1
