"""Mistakes of YAML's form: said as a beginner understands them, and mended where the mending is beyond doubt.

The loader mends in memory, so that one tab doesn't hide the other mistakes of a file; `check --fix` writes the same
mended text. A mending never adds or removes lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ruamel.yaml.composer import ComposerError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from pipeline.config.indent import misplaced, untabbed
from pipeline.config.lexical import Line, Scan, Span, split

__all__ = ["GLUED", "Mishap", "diagnose", "indented", "mechanical", "missing_space", "replace_lines"]

_KEY = re.compile(r"(?:- +)*[\w.\-]+ *:(?:\s|$)")
GLUED = re.compile(r"([A-Za-z_][\w\-]*):(?![/:])(\S.*)")
"""A key and its value without the space between; `http://…` is none."""
_GLUED_DASH = re.compile(r"-[{\[]")
_BLANKS = " \t\xa0"
_NAME = re.compile(r"\$\{(\w*)")


@dataclass(frozen=True, kw_only=True)
class Mishap:
    """A mistake of form.

    Attributes:
        line: counted from 1.
        column: counted from 1.
        message: what is wrong.
        hint: what to do.
        mended: the whole line as it should be, None when that isn't beyond doubt.
        done: what the mending does: "tab replaced by spaces".
    """

    line: int
    column: int
    message: str
    hint: str = ""
    mended: str | None = None
    done: str = ""


def replace_lines(text: str, mended: Mapping[int, str]) -> str:
    """The text with these lines (by number, from 1) replaced; every break stays as it is."""
    lines, breaks = split(text)
    for number, line in mended.items():
        lines[number - 1] = line
    return "".join(part for pair in zip(lines, [*breaks, ""], strict=True) for part in pair)


def mechanical(seen: Scan) -> Iterator[Mishap]:
    """What is wrong whatever the parser says: tabs, `-{` without a space, and `${…}` without quotes in flow syntax."""
    yield from _tabs(seen)
    for line in seen.lines:
        if line.significant and _GLUED_DASH.match(line.code):
            at = line.text.index("-") + 1
            yield Mishap(
                line=line.number + 1,
                column=at + 1,
                message="a space is missing behind the dash",
                hint="write a space after the dash",
                mended=f"{line.text[:at]} {line.text[at:]}",
                done="space put behind the dash",
            )
    yield from _unquoted(seen)


def _tabs(seen: Scan) -> Iterator[Mishap]:
    step = min((line.indent for line in seen.lines if line.significant and line.indent > 1), default=2)
    wanted = untabbed(seen)
    for line in seen.lines:
        if not line.tabs or line.verbatim:
            continue
        kind, spaces = _kind_of_tab(line), sorted(set(wanted.get(line.number, ())))
        mended: str | None = _untabbed(line, step)
        hint = "replace it by spaces, or let `check --fix` do it"
        if line.number in wanted:  # it is part of the outline, whose other lines show where it belongs
            mended = indented(line, spaces[0]) if len(spaces) == 1 else None
            hint = "indent this line by as many spaces as its siblings have"
            if spaces:
                hint += f": {' or '.join(map(str, spaces))}"
        yield Mishap(
            line=line.number + 1,
            column=line.tabs[0] + 1,
            message=f"a {kind} stands here; YAML takes only spaces",
            hint=hint,
            mended=mended,
            done=f"{kind} replaced by spaces",
        )


def _unquoted(seen: Scan) -> Iterator[Mishap]:
    spans: dict[int, list[Span]] = {}
    for span in seen.unquoted:
        spans.setdefault(span.line, []).append(span)
    for number, found in spans.items():
        text = mended = seen.lines[number].text
        # Inside of a quote that was left open above, what looks bare may be quoted, and quotes would turn it around.
        doubtful = seen.lines[number].verbatim
        for span in reversed(found):  # from right to left, so that columns on the left stay true
            if _quotable(text, span):
                mended = f'{mended[: span.start]}"{mended[span.start : span.end]}"{mended[span.end :]}'
        for span in found:
            match = _NAME.search(text, span.start, span.end)
            name = f"${{{match[1]}}}" if match else "${…}"
            yield Mishap(
                line=number + 1,
                column=span.start + 1,
                message=f"{name} stands without quotes inside of {{…}} or […], where braces are YAML's own",
                hint=f'put quotes around the whole text: "{name}"',
                mended=mended if _quotable(text, span) and not doubtful else None,
                done=f"quotes put around {name}",
            )


def _quotable(text: str, span: Span) -> bool:
    return not set("\"\\'") & set(text[span.start : span.end])


def missing_space(line: Line, column: int, name: str) -> Mishap:
    """`name:value` in flow syntax, or such a line in a block: the space behind the colon is missing."""
    at = column + len(name) + 1
    return Mishap(
        line=line.number + 1,
        column=column + 1,
        message=f"a space is missing behind the colon of '{name}:'",
        hint=f"write `{name}: …`",
        mended=f"{line.text[:at]} {line.text[at:]}" if line.text.startswith(f"{name}:", column) else None,
        done=f"space put behind '{name}:'",
    )


def diagnose(error: Exception, seen: Scan) -> Mishap:
    """What a failure of the parser means, with the mended line where siblings leave no doubt."""
    if isinstance(error, ReaderError):
        return _character(error, seen)
    if isinstance(error, RecursionError):
        return Mishap(
            line=1,
            column=1,
            message="lists or mappings are nested too deeply to be read",
            hint="is a bracket not closed?",
        )
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        text = str(error).partition("\n")[0] if isinstance(error, YAMLError) else type(error).__name__
        return Mishap(line=1, column=1, message=f"this can't be read as YAML: {text}")
    number = min(error.problem_mark.line, len(seen.lines) - 1)
    here = _Here(error, seen.lines[number], error.problem_mark.column, seen)
    for reading in (_composed, _quote, _flow, _glue, _indentation, _start):
        mishap = reading(here)
        if mishap is not None:
            return mishap
    return here.mishap(f"this can't be read as YAML: {error.problem}", error.context or "")


@dataclass(frozen=True)
class _Here:
    """A failure of the parser, and the line and column (from 0) where it stood."""

    error: MarkedYAMLError
    line: Line
    column: int
    seen: Scan

    @property
    def problem(self) -> str:
        return str(self.error.problem or "")

    @property
    def context(self) -> str:
        return str(self.error.context or "")

    def mishap(self, message: str, hint: str = "") -> Mishap:
        return Mishap(line=self.line.number + 1, column=self.column + 1, message=message, hint=hint)

    def at_context(self, message: str, hint: str) -> Mishap:
        mark = self.error.context_mark or self.error.problem_mark
        return Mishap(line=mark.line + 1, column=mark.column + 1, message=message, hint=hint)


def _composed(here: _Here) -> Mishap | None:
    if not isinstance(here.error, ComposerError):
        return None
    if "undefined alias" in here.problem:
        return here.mishap(
            "a text that begins with * points to an anchor, and there is none of this name above",
            "put the text in quotes, or write the anchor (&name) first",
        )
    if "another document" in here.problem:
        return here.mishap("a second document begins here", "one file holds one graph: remove the `---`")
    return None


def _quote(here: _Here) -> Mishap | None:
    swallowed = _swallowing(here)
    if swallowed is not None:
        return Mishap(
            line=swallowed.line + 1,
            column=swallowed.start + 1,
            message="the quote that opens here isn't closed on its line",
            hint="close it",
        )
    if "quoted scalar" in here.context:
        if "end of stream" in here.problem or "document separator" in here.problem:
            return here.at_context("the quote that opens here is never closed", "close it")
        return here.mishap(
            "a backslash in double quotes begins an escape, and this one doesn't exist",
            "write \\\\ for a backslash, or use single quotes",
        )
    if here.problem.endswith("but found '<scalar>'"):
        what = "bracket" if here.line.text[: here.column].rstrip().endswith(("}", "]")) else "quote"
        return here.mishap(f"text follows the closing {what}", "put one pair of quotes around the whole text")
    return None


def _swallowing(here: _Here) -> Span | None:
    """The quote that ran on over lines which look like keys: it was not meant to."""
    for span in here.seen.long_quotes:
        following = here.seen.lines[span.line + 1 : span.line + 2]
        if span.line <= here.line.number and following and _KEY.match(following[0].text.strip()):
            return span
    return None


def _flow(here: _Here) -> Mishap | None:
    mark = here.error.context_mark
    if "flow" not in here.context or mark is None:
        found = here.problem.rpartition("but found ")[2].strip("'")
        if found and found in "}]":
            return here.mishap(f"a closing {found} stands here, and nothing is open", "remove it")
        return None
    bracket, closing = ("{", "}") if "mapping" in here.context else ("[", "]")
    other = "]" if closing == "}" else "}"
    if "stream end" in here.problem or mark.line < here.line.number or f"got '{other}'" in here.problem:
        return here.at_context(f"the {bracket} that opens here isn't closed", f"close it with {closing}")
    if "got '{'" in here.problem or "got '['" in here.problem:
        return here.mishap("a bracket stands inside of a text without quotes", "put quotes around the text")
    return here.mishap(
        f"a comma is missing inside of {bracket}…{closing}",
        "put one between the entries, and quotes around a text that holds `: `",
    )


def _glue(here: _Here) -> Mishap | None:
    """A line of a block mapping that is no `key: value`: the colon, or the space behind it, is missing."""
    line = here.line
    if "simple key" in here.context and here.error.context_mark is not None:
        line = here.seen.lines[here.error.context_mark.line]
    elif "mapping values are not allowed" in here.problem:
        before = here.seen.neighbour(line.number, -1)
        if before is None or _KEY.match(before.code) or before.code.startswith("-"):
            return None
        line = before
    elif "block mapping" not in here.context or _KEY.match(line.code):
        return None
    if not line.significant or line.code.startswith("- "):
        return None
    match = GLUED.fullmatch(line.code)
    if match:
        return missing_space(line, line.indent, match[1])
    return Mishap(
        line=line.number + 1,
        column=line.indent + 1,
        message="this line is no `key: value`: the colon is missing",
        hint="write `key: value`, a space behind the colon",
    )


def _indentation(here: _Here) -> Mishap | None:
    line, seen = here.line, here.seen
    deeper = "mapping values are not allowed" in here.problem
    if deeper and _second_colon(line, here.column):
        return here.mishap("a second `: ` in one line", "put the value in quotes, or its keys on lines of their own")
    if "sequence entries are not allowed" in here.problem:
        return here.mishap("a list entry (`- …`) can't stand here", "begin it on a line of its own, below its key")
    if not deeper and not re.search("<block end>|<document start>", here.problem):
        return None
    before, after = seen.neighbour(line.number, -1), seen.neighbour(line.number, 1)
    if before is None or not line.significant:
        return None
    if line.code.startswith("- ") != before.code.startswith("- ") and line.indent == before.indent:
        return here.mishap("list entries (`- …`) and keys (`key: …`) are mixed in one block", "use one of both")
    odd = misplaced(seen, line.number)
    return _moved(seen.lines[odd[0]], odd[1]) if odd else _doubtful(line, before, after, seen, deeper=deeper)


def _doubtful(line: Line, before: Line, after: Line | None, seen: Scan, *, deeper: bool) -> Mishap:
    """A line that doesn't fit to those around it, where either may be wrong."""
    # A key below `- key: value` is a sibling of that key, not of the dash.
    inside = before.column > before.indent and line.indent > before.indent and not line.code.startswith("- ")
    wanted = before.column if inside else before.indent
    spaces = {wanted, *([after.indent] if after else [])}
    if (
        not (deeper or inside)
        and (outer := seen.enclosing(line)) is not None
        and (after is None or after.indent != before.indent)
    ):
        spaces.add(outer)
    siblings = " or ".join(str(n) for n in sorted(spaces) if n != line.indent) or str(wanted)
    return Mishap(
        line=line.number + 1,
        column=line.indent + 1,
        message=f"this line is indented by {_spaces(line.indent)}, the lines around it by {siblings}",
        hint=f"indent it by {siblings}",
    )


def _moved(line: Line, wanted: int) -> Mishap:
    """The one line that is indented otherwise than the lines around it."""
    return Mishap(
        line=line.number + 1,
        column=line.indent + 1,
        message=f"this line is indented by {_spaces(line.indent)}, the lines around it by {wanted}",
        hint=f"indent it by {wanted}",
        mended=" " * wanted + line.text.lstrip(" "),
        done=f"indented by {wanted} spaces instead of {line.indent}",
    )


def _spaces(count: int) -> str:
    return f"{count} space" if count == 1 else f"{count} spaces"


def _second_colon(line: Line, column: int) -> bool:
    match = _KEY.match(line.text, line.indent)
    return match is not None and column >= match.end()


def _start(here: _Here) -> Mishap | None:
    match = re.search(r"found character (?:'(.)'|\"(')\") that cannot start", here.problem)
    if "block scalar" in here.context:  # `CRITICO: > 30`: alone at the end of its line it would begin a long text
        return here.at_context("a text on one line can't begin with > or |", 'put it in quotes: "> 30"')
    if match is None:
        return None
    return here.mishap(f"a text can't begin with {match[1] or match[2]}", "put the text in quotes")


def _character(error: ReaderError, seen: Scan) -> Mishap:
    position = int(error.position)
    for line in seen.lines:
        if position <= len(line.text):
            break
        position -= len(line.text) + 1
    code = error.character if isinstance(error.character, int) else ord(str(error.character)[:1] or "\0")
    return Mishap(
        line=line.number + 1,
        column=max(position, 0) + 1,
        message=f"a character that YAML forbids stands here (U+{code:04X})",
        hint="remove it",
    )


def _kind_of_tab(line: Line) -> str:
    return "tab" if line.text[line.tabs[0]] == "\t" else "non-breaking space"


def _untabbed(line: Line, step: int) -> str:
    """Tabs of the indentation become `step` spaces each, others one; those in quotes and comments stay."""
    first = len(line.text) - len(line.text.lstrip(" \t"))
    return "".join(
        character if position not in line.tabs else " " * (step if position < first and character == "\t" else 1)
        for position, character in enumerate(line.text)
    )


def indented(line: Line, spaces: int) -> str:
    """The line with this indentation; tabs further on become one space."""
    body = line.text.lstrip(_BLANKS)
    first = len(line.text) - len(body)
    tabs = {position - first for position in line.tabs}
    return " " * spaces + "".join(" " if at in tabs else character for at, character in enumerate(body))
