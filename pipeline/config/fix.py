"""`check --fix`: mend the mechanical mistakes of a graph file's text. Everything else survives byte for byte."""

from __future__ import annotations

from pathlib import Path

from pipeline.config.document import LONGEST, parse
from pipeline.config.doubt import settled
from pipeline.config.lexical import scan, split
from pipeline.config.loader import mistakes
from pipeline.config.mend import replace_lines

__all__ = ["fix"]

_ROUNDS = 20


def fix(text: str) -> tuple[str, list[str]]:
    """Mend what is mechanical.

    Tabs, trailing spaces, a missing space behind a colon, quotes around `${…}` in flow syntax, and indentation where
    the lines around show it beyond doubt. Where they don't, a tab is mended as the file has the fewest mistakes.

    Args:
        text: the file's text.

    Returns:
        The mended text, and what was done, one sentence a mending, in the order of lines. Comments, values, line breaks
        and the number of lines stay; mending a mended text changes nothing.
    """
    if len(text) > LONGEST:
        return text, []
    done: list[tuple[int, str]] = []
    before, first = text, parse(text)
    for _ in range(_ROUNDS):
        parsed = parse(text)
        if parsed.text == text:
            break
        text = parsed.text
        done += parsed.done
    ways = settled(text, lambda way: mistakes(way, Path("graph.yaml"), {}))
    if len(ways) == 1:
        pairs = enumerate(zip(split(text)[0], split(ways[0])[0], strict=True), 1)
        done += [(number, "tab replaced by spaces") for number, (old, new) in pairs if old != new]
        text = ways[0]
    after = parse(text)
    if len(after.mishaps) > len(first.mishaps) or (after.root is None and first.root is not None):
        text, done = before, []  # what seemed to be beyond doubt was not
    breaks, bare_lines = split(text)[1], {}
    for line in scan(text).lines:
        bare = line.text.rstrip(" \t")
        # A carriage return, spaces, a line feed are two line breaks; without the spaces they would be one.
        joins = not bare and line.number > 0 and breaks[line.number - 1] == "\r"
        if bare != line.text and not line.open_end and not joins:
            bare_lines[line.number + 1] = bare
            done.append((line.number + 1, "trailing spaces removed"))
    text = replace_lines(text, bare_lines)
    return text, [f"line {number}: {what}" for number, what in sorted(done, key=lambda item: item[0])]
