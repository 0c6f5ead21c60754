"""A light reading of YAML text by lines: what is content, flow syntax, quote or comment, also where YAML is broken.

The parser stops at the first mistake; this doesn't, so it can say where a tab stands, which siblings a line has, and
which `${…}` lacks its quotes. Lines are counted from 0 here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Line", "Scan", "Span", "scan", "split"]

_BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")
_DASHES = re.compile(r"(?:- +)+")
_PLAIN_END = re.compile(r"[,\[\]{}]|:(?:\s|$)|\s#")
_BLOCK_SCALAR = re.compile(r"(?:^|[:\-?] +|[:\-?] +[&!]\S+ +)[|>][-+0-9]*\s*$")


@dataclass(kw_only=True)
class Line:
    """One line.

    Attributes:
        number: counted from 0.
        text: without its line break.
        end: where its comment begins, else the length of `text`.
        verbatim: it starts inside a block scalar or a quoted text, so its spaces and tabs are content.
        open_end: it ends inside one, so its trailing spaces are content.
        depth: open brackets of flow syntax at its start.
        tabs: columns of tabs outside of content, quotes and comments; also of non-breaking spaces at its start.
    """

    number: int
    text: str
    end: int
    verbatim: bool
    open_end: bool = False
    depth: int
    tabs: list[int] = field(default_factory=list)

    @property
    def indent(self) -> int:
        """Leading spaces."""
        return len(self.text) - len(self.text.lstrip(" "))

    @property
    def column(self) -> int:
        """Where its siblings begin: behind the dash of `- key: value`, else at its indentation."""
        dashes = _DASHES.match(self.text, self.indent)
        return dashes.end() if dashes else self.indent

    @property
    def code(self) -> str:
        """The text without indentation, comment and trailing spaces."""
        return self.text[: self.end].strip()

    @property
    def significant(self) -> bool:
        """True when it carries block structure: no blank, comment, content or continued flow syntax."""
        return bool(self.code) and not self.verbatim and self.depth == 0


@dataclass(frozen=True)
class Span:
    """A stretch of one line: columns from `start` up to `end`."""

    line: int
    start: int
    end: int


@dataclass
class Scan:
    """What was seen.

    Attributes:
        lines: every line.
        unquoted: plain scalars in flow syntax that hold `${`, each to be quoted.
        deepest: most open brackets at once.
        long_quotes: where quoted texts start that run over their line.
    """

    lines: list[Line] = field(default_factory=list)
    unquoted: list[Span] = field(default_factory=list)
    long_quotes: list[Span] = field(default_factory=list)
    deepest: int = 0

    def neighbour(self, number: int, step: int) -> Line | None:
        """The nearest significant line before (`step` -1) or after (1) a line."""
        number += step
        while 0 <= number < len(self.lines):
            if self.lines[number].significant:
                return self.lines[number]
            number += step
        return None

    def enclosing(self, line: Line) -> int | None:
        """The indentation of the nearest line above that is less indented."""
        above = (other.indent for other in reversed(self.lines[: line.number]) if other.significant)
        return next((indent for indent in above if indent < line.indent), None)


def split(text: str) -> tuple[list[str], list[str]]:
    """The lines of a text and the breaks behind them, by YAML's idea of a line break."""
    return _BREAK.split(text), _BREAK.findall(text)


def scan(text: str) -> Scan:
    """Read a text line by line; never fails."""
    reader = _Reader()
    for number, line in enumerate(split(text)[0]):
        reader.line(number, line)
    return reader.result


class _Reader:
    """The state between lines: an open quote, open brackets, an open block scalar."""

    def __init__(self) -> None:
        self.result = Scan()
        self._quote = ""
        self._depth = 0
        self._block: int | None = None  # indentation of the line that opened a block scalar
        self._fresh = True  # a scalar may begin here
        self._start = 0  # where the current plain scalar began

    def line(self, number: int, text: str) -> None:
        """Take the next line."""
        line = Line(number=number, text=text, end=len(text), verbatim=bool(self._quote), depth=self._depth)
        self.result.lines.append(line)
        if self._block is not None:
            if not text.strip() or line.indent > self._block:
                line.verbatim = line.open_end = True
                return
            self._block = None
        if not self._depth and not self._quote:
            self._fresh = True
        position = 0
        while position < len(text):
            position = self._quoted(text, position) if self._quote else self._plain(line, position)
        line.open_end = bool(self._quote)
        if not self._quote and not self._depth and _BLOCK_SCALAR.search(text[: line.end]):
            self._block = line.indent

    def _quoted(self, text: str, position: int) -> int:
        character = text[position]
        if character == "\\" and self._quote == '"':
            return position + 2
        if character == self._quote:
            if character == "'" and text.startswith("''", position):
                return position + 2
            self._quote = ""
        return position + 1

    def _plain(self, line: Line, position: int) -> int:
        text, character = line.text, line.text[position]
        follower = text[position + 1 : position + 2]
        spaced = not follower.strip()
        if character == "#" and (position == 0 or text[position - 1] in " \t"):
            line.end = position
            return len(text)
        if character == "\t" or (character == "\xa0" and not text[:position].strip()):
            line.tabs.append(position)
        elif character == " ":
            pass
        elif character in "[{" and (self._fresh or self._depth):
            self._depth += 1
            self.result.deepest = max(self.result.deepest, self._depth)
            self._fresh = True
        elif character in "]}" and self._depth:
            self._depth -= 1
            self._fresh = False
        elif self._separates(text, position):
            self._fresh = True
        elif self._fresh and not (character in "-?" and spaced):
            return self._scalar(line, position)
        elif character == "$" and follower == "{" and self._depth:
            return self._substitution(line, position)
        return position + 1

    def _separates(self, text: str, position: int) -> bool:
        """A comma of flow syntax, or the colon behind a key."""
        follower = text[position + 1 : position + 2]
        if text[position] == ",":
            return self._depth > 0
        glued = self._depth > 0 and (follower in ",[]{}" or text[position - 1] in "\"'")
        return text[position] == ":" and (not follower.strip() or glued)

    def _scalar(self, line: Line, position: int) -> int:
        """A scalar begins here: quoted, plain, or with an anchor or tag before it."""
        text, character = line.text, line.text[position]
        if character in "&!":
            return next((i for i in range(position, len(text)) if text[i] in " \t"), len(text))
        self._fresh = False
        self._start = position
        if character in "\"'":
            self._quote = character
            if not _closes(text, position):
                self.result.long_quotes.append(Span(line.number, position, len(text)))
        elif character == "$" and text.startswith("${", position) and self._depth:
            return self._substitution(line, position)
        return position + 1

    def _substitution(self, line: Line, position: int) -> int:
        text = line.text
        end = _balanced(text, position + 1)
        stop = _PLAIN_END.search(text, end)
        end = stop.start() if stop else len(text)
        if text.startswith("${", end - 1) and end < len(text):
            return self._substitution(line, end - 1)
        end = len(text[:end].rstrip())
        self.result.unquoted.append(Span(line.number, self._start, end))
        return end


def _closes(text: str, position: int) -> bool:
    """Whether the quoted text that begins here ends on its line."""
    quote = text[position]
    pattern = r'"(?:[^"\\]|\\.)*"' if quote == '"' else r"'(?:[^']|'')*'"
    return re.compile(pattern).match(text, position) is not None


def _balanced(text: str, position: int) -> int:
    """The column behind the `}` that closes the `{` at `position`; the line's end when there is none."""
    depth = 0
    for end in range(position, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return end + 1
    return len(text)
