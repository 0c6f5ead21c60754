"""Symbols as TIA Portal writes them: paths, their text, and the flat names of values.

A path begins with a block or a PLC tag and goes on with members and indices: `"DB Press".sensores[3].valor`,
`matriz[1,2]`. Quotes are needed where a name has a dot, a bracket, a quote or white space at its ends.
"""

from __future__ import annotations

import re

__all__ = ["Path", "Step", "flat_name", "parse_symbol", "write_symbol"]

Step = str | tuple[int, ...]
Path = tuple[Step, ...]
"""Names, and indices of one to six dimensions; the first step is a name."""

_TOKEN = re.compile(r'\s*(?:"(?P<quoted>[^"]+)"|(?P<plain>[^\s."\[\]][^."\[\]]*))')
_INDEX = re.compile(r"\[\s*(-?\d{1,10}(?:\s*,\s*-?\d{1,10}){0,5})\s*\]\s*", re.ASCII)
_PLAIN = re.compile(r'[^."\[\]\s](?:[^."\[\]]*[^."\[\]\s])?')
_UNFIT = re.compile(r"\W+")


def parse_symbol(text: str) -> Path:
    """The path that a text writes.

    Raises:
        ValueError: it is no symbol; the message shows where it stops to be one.
    """
    steps: list[Step] = []
    at = 0
    while True:
        name = _TOKEN.match(text, at)
        if name is None:
            raise ValueError(f"'{text}' is no symbol: no name at '{text[at:]}'; write \"DB_Press\".sensores[3].valor")
        steps.append(name["quoted"] or name["plain"].rstrip())
        at = name.end()
        while index := _INDEX.match(text, at):
            steps.append(tuple(int(number) for number in index[1].split(",")))
            at = index.end()
        rest = text[at:].lstrip()
        if not rest:
            return tuple(steps)
        if not rest.startswith("."):
            raise ValueError(f"'{text}' is no symbol: a dot was expected at '{rest}'")
        at = len(text) - len(rest) + 1


def write_symbol(path: Path) -> str:
    """The text of a path, quoted where that is needed; `parse_symbol` reads it back."""
    text = ""
    for step in path:
        if isinstance(step, tuple):
            text += f"[{','.join(map(str, step))}]"
        else:
            text += ("." if text else "") + (step if _PLAIN.fullmatch(step) else f'"{step}"')
    return text


def flat_name(path: Path, separator: str) -> str:
    """The name of a value: `sensores[3].valor atual` is `sensores_3_valor_atual`; letters with accents stay."""
    parts = [
        _UNFIT.sub("_", step) if isinstance(step, str) else separator.join(map(str, step)).replace("-", "m")
        for step in path
    ]
    return separator.join(parts)
