"""A graph file as a tree of values with their places. YAML 1.2, one document, offline.

`yes` is text and `010` is ten: scalars follow YAML 1.2's core schema. Anchors, aliases and `<<` merges work; a merged
entry keeps the place where it was written. Mistakes of form are collected, mended in memory where that is beyond
doubt, and reading goes on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.config.lexical import Line, Scan, scan
from pipeline.config.mend import GLUED, Mishap, diagnose, mechanical, missing_space, replace_lines

__all__ = [
    "LONGEST",
    "Entry",
    "Listing",
    "Parsed",
    "Plain",
    "Record",
    "Scalar",
    "Value",
    "decode",
    "locate",
    "parse",
    "read",
    "resolve",
]

Plain = None | bool | int | float | str
"""What a scalar of the core schema can be."""

_CONSTANTS: Mapping[str, Plain] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,4000}")
_BASED = re.compile(r"0o[0-7]{1,4000}|0x[0-9a-fA-F]{1,4000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
LONGEST = 1 << 20
"""Letters of a document; the parser takes seconds for as many."""
_TOO_LONG = Mishap(
    line=1,
    column=1,
    message=f"this file is longer than {LONGEST // 1024} KiB",
    hint="a configuration is short: is it the right file?",
)
_DEEPEST = 64
_STEPS = 100  # mistakes of form that one reading names; each is a new attempt to parse


def resolve(text: str) -> Plain:
    """What a plain scalar means in YAML 1.2's core schema."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


@dataclass(frozen=True, eq=False)
class Scalar:
    """A scalar as written: `plain` is False when it stands in quotes or is a block of text."""

    text: str
    line: int
    column: int
    plain: bool = True


@dataclass(frozen=True, eq=False)
class Listing:
    """A sequence."""

    items: tuple[Value, ...]
    line: int
    column: int


@dataclass(frozen=True, eq=False)
class Entry:
    """An entry of a mapping; line and column are its key's."""

    value: Value
    line: int
    column: int


@dataclass(frozen=True, eq=False)
class Record:
    """A mapping. Keys are text as written."""

    entries: Mapping[str, Entry]
    line: int
    column: int


Value: TypeAlias = Scalar | Listing | Record


def locate(value: Value, path: tuple[str | int, ...]) -> Value:
    """The value at a path of option names and indices, or the innermost one on the way that exists."""
    for step in path:
        inner: Value | None = None
        if isinstance(value, Record) and (entry := value.entries.get(str(step))):
            inner = entry.value
        elif isinstance(value, Listing) and isinstance(step, int) and step < len(value.items):
            inner = value.items[step]
        # A list of one may be written without its brackets: an index then changes nothing.
        elif isinstance(step, int):
            continue
        if inner is None:
            break
        value = inner
    return value


def read(path: Path) -> bytes:
    """The bytes of a file, of one that is too long only so many that this shows.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        return file.read(4 * LONGEST + 1)  # a letter has up to four bytes


def decode(data: bytes) -> tuple[str, Mishap | None]:
    """The text of a file's bytes (UTF-8, with or without byte order mark), or what is wrong with them."""
    if len(data) > 4 * LONGEST:  # may end inside of a letter
        return "", _TOO_LONG
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "", Mishap(line=1, column=1, message="this file is UTF-16", hint="save it as UTF-8")
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        return "", Mishap(
            line=before.count(b"\n") + 1,
            column=column,
            message=f"this file is not UTF-8: byte 0x{data[error.start]:02X} stands here",
            hint="save it as UTF-8",
        )


@dataclass
class Parsed:
    """What reading a text gave.

    Attributes:
        root: the document, None when it is empty or can't be read.
        mishaps: mistakes of form.
        text: the text with everything mended that could be.
        done: line and deed of each mending.
    """

    text: str
    root: Value | None = None
    mishaps: list[Mishap] = field(default_factory=list)
    done: list[tuple[int, str]] = field(default_factory=list)

    def mend(self, *mishaps: Mishap) -> None:
        """Put mended lines into the text; those that share a line share its mending."""
        self.text = replace_lines(self.text, {mishap.line: mishap.mended or "" for mishap in mishaps})
        self.done += [(mishap.line, mishap.done) for mishap in mishaps]


def parse(text: str, *, last: bool = False) -> Parsed:
    """Read a document; never raises. Mends in memory and goes on until nothing more can be mended.

    Args:
        text: of the document.
        last: of keys that stand twice the last counts, as other loaders have it; else the first.
    """
    parsed = Parsed(text)
    if len(text) > LONGEST:
        parsed.mishaps.append(_TOO_LONG)
        return parsed
    for _ in range(_STEPS):
        seen = scan(parsed.text)
        if not _mechanical(parsed, seen):
            break
    else:
        seen = scan(parsed.text)
    if seen.deepest > _DEEPEST:  # the parser's time grows with the square of this
        parsed.mishaps.append(diagnose(RecursionError(), scan("")))
        return parsed
    node = _compose(parsed)
    if node is not None:
        try:
            parsed.root = _Converter(parsed, last=last).value(node)
        except RecursionError as error:
            parsed.mishaps.append(diagnose(error, scan(parsed.text)))
    return parsed


def _compose(parsed: Parsed) -> Node | None:
    """Parse, mending what the parser stops at as long as each mending brings it further."""
    before = parsed.text
    for _ in range(_STEPS):
        try:
            node: Node | None = YAML(typ="safe", pure=True).compose(parsed.text)
        except Exception as error:  # noqa: BLE001 - the parser also fails by IndexError and the like on odd texts
            seen = scan(parsed.text)
            mishap = diagnose(error, seen)
            if any(line.tabs and not line.verbatim for line in seen.lines[: mishap.line]):
                return None  # a tab that could not be mended, which has been told
            if parsed.mishaps and parsed.text != before and mishap.line <= parsed.mishaps[-1].line:
                # The last mending did not help: it was a guess, and what fails now only its consequence.
                parsed.text = before
                parsed.done.pop()
                return None
            parsed.mishaps.append(mishap)
            if mishap.mended is None or mishap.mended == seen.lines[mishap.line - 1].text:
                return None
            before = parsed.text
            parsed.mend(mishap)
        else:
            return node
    return None


def _mechanical(parsed: Parsed, seen: Scan) -> bool:
    """Mend one round of what needs no parser, as its text was seen; True when another round may find more."""
    told = {(mishap.line, mishap.message) for mishap in parsed.mishaps}
    mended: dict[int, list[Mishap]] = {}
    for mishap in mechanical(seen):
        if (mishap.line, mishap.message) not in told:
            told.add((mishap.line, mishap.message))
            parsed.mishaps.append(mishap)
        if mishap.mended is not None:
            same = mended.setdefault(mishap.line, [mishap])
            if same[0] is not mishap and same[0].mended == mishap.mended:
                same.append(mishap)
    if mended:
        parsed.mend(*(mishap for same in mended.values() for mishap in same))
    return bool(mended)


class _Converter:
    """From the parser's nodes to values: merges applied, doubled keys and what a graph file doesn't know told."""

    def __init__(self, parsed: Parsed, *, last: bool) -> None:
        self._parsed = parsed
        self._last = last
        self._text_read = parsed.text
        self._done: dict[int, Value] = {}
        self._open: set[int] = set()
        self._mended: set[int] = set()

    @cached_property
    def _lines(self) -> list[Line]:
        """The lines as the parser read them: seldom needed, and slow to come by."""
        return scan(self._text_read).lines

    def value(self, node: Node, key: Node | None = None) -> Value:
        """The value of a node; an aliased one is converted once and shared. A block stands where its key stands."""
        mark = key.start_mark if key is not None and getattr(node, "flow_style", None) is False else node.start_mark
        line, column = mark.line + 1, mark.column + 1
        if id(node) in self._open:
            self._tell(node, "this alias stands inside of what it points to", "remove it")
            return Scalar("", line, column)
        if id(node) not in self._done:
            self._open.add(id(node))
            self._done[id(node)] = self._convert(node, line, column)
            self._open.discard(id(node))
        return self._done[id(node)]

    def _convert(self, node: Node, line: int, column: int) -> Value:
        tag = str(node.tag)
        if not tag.startswith("tag:yaml.org,2002:"):
            self._tell(
                node, f"a tag ({tag[:40]}) means nothing in a graph file", "put a text that begins with ! in quotes"
            )
        if isinstance(node, MappingNode):
            entries = self._own(node)
            for key, value in node.value:
                if _is_merge(key):
                    for name, entry in self._merged(value):
                        entries.setdefault(name, entry)
            return Record(entries, line, column)
        if isinstance(node, SequenceNode):
            return Listing(tuple(self.value(item) for item in node.value), line, column)
        assert isinstance(node, ScalarNode)  # noqa: S101 - the parser knows three kinds of node
        plain = node.style is None and tag != "tag:yaml.org,2002:str"
        # The parser's own idea of a plain scalar's type is not asked; an explicit !!str looks like quotes.
        plain = plain or (node.style is None and isinstance(resolve(node.value), str))
        return Scalar(self._text(node), line, column, plain)

    def _text(self, node: ScalarNode) -> str:
        """What a scalar says. An escape can name half a letter, which nothing could write."""
        text = str(node.value)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            self._tell(
                node, "an escape here names half a letter", "write the letter itself, or \\U and its eight digits"
            )
            return ""
        return text

    def _own(self, node: MappingNode) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for key, value in node.value:
            if _is_merge(key):
                continue
            if not isinstance(key, ScalarNode):
                self._tell(key, "a key must be a plain name", "put a text that begins with { or [ in quotes")
                continue
            name, entry = self._entry(key, value)
            if name in entries:
                message = f"'{name}' stands twice in one mapping, here and in line {entries[name].line}"
                self._tell(key, message, "keep one, or give the second another name")
                if not self._last:
                    continue
            entries[name] = entry
        return entries

    def _entry(self, key: ScalarNode, value: Node) -> tuple[str, Entry]:
        """An entry; in flow syntax `{db:1}` is a key `db:1` without a value, which is certainly not meant."""
        line, column = key.start_mark.line, key.start_mark.column
        text = self._text(key)
        glued = key.style is None and isinstance(value, ScalarNode) and not value.value and value.style is None
        if glued and text.endswith(":"):  # the parser reads `{db:}` so, too
            return text[:-1], Entry(self.value(value, key), line + 1, column + 1)
        match = GLUED.fullmatch(text) if glued else None
        if match is None:
            return text, Entry(self.value(value, key), line + 1, column + 1)
        mishap = missing_space(self._lines[line], column, match[1])
        self._parsed.mishaps.append(mishap)
        if mishap.mended is not None and line not in self._mended:
            self._mended.add(line)
            self._parsed.mend(mishap)
        return match[1], Entry(Scalar(match[2], line + 1, column + len(match[1]) + 2), line + 1, column + 1)

    def _merged(self, node: Node) -> list[tuple[str, Entry]]:
        sources = node.value if isinstance(node, SequenceNode) else [node]
        found: list[tuple[str, Entry]] = []
        for source in sources:
            value = self.value(source)
            if isinstance(value, Record):
                found.extend(value.entries.items())
            else:
                self._tell(source, "`<<` takes a mapping, or a list of them", "write `<<: *name`")
        return found

    def _tell(self, node: Node, message: str, hint: str) -> None:
        mark = node.start_mark
        self._parsed.mishaps.append(Mishap(line=mark.line + 1, column=mark.column + 1, message=message, hint=hint))


def _is_merge(key: Node) -> bool:
    return isinstance(key, ScalarNode) and key.value == "<<" and key.style is None
