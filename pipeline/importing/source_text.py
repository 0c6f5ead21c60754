"""Declarations in sources of TIA Portal (`.db`, `.udt`, `.scl`) and STEP 7 (`.awl`): types, blocks, function blocks.

Only what is declared is read; initial values and code are passed over. A declaration with a mistake is told by its
line, and reading goes on behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from pipeline.importing.program import Bound, DataBlock, Member, Named, Program, Record, Shape, key

__all__ = ["read_shape", "read_source"]

_TOKEN = re.compile(
    r"""
    (?P<comment>//[^\n]*|\(\*.*?(?:\*\)|\Z)|\(/\*.*?(?:\*/\)|\Z)|/\*.*?(?:\*/|\Z))
    |(?P<title>TITLE[ \t]*=[^\n]*)
    |(?P<attributes>\{[^}]*(?:\}|\Z))
    |(?P<quoted>"[^"\n]*")
    |(?P<text>'(?:\$.|[^'$\n])*')
    |(?P<word>[^\W\d]\w*)
    |(?P<number>\d+)
    |(?P<mark>:=|\.\.|[^\s\w])
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_OPTIMISED = re.compile(r"S7_Optimized_Access\s*:=\s*'(\w*)'", re.IGNORECASE)
_ENDS = {"TYPE": "END_TYPE", "DATA_BLOCK": "END_DATA_BLOCK", "FUNCTION_BLOCK": "END_FUNCTION_BLOCK"}
_CODE = {"FUNCTION": "END_FUNCTION", "ORGANIZATION_BLOCK": "END_ORGANIZATION_BLOCK"}
_ABOUT = {"AUTHOR", "FAMILY", "NAME", "VERSION"}
_FLAGS = {"NON_RETAIN", "RETAIN", "NO_RETAIN", "KNOW_HOW_PROTECT", "UNLINKED", "READ_ONLY", "STANDARD", "DB_SPECIFIC"}
_SECTIONS = {"VAR_INPUT", "VAR_OUTPUT", "VAR_IN_OUT", "VAR", "VAR_TEMP"}
_DEEPEST = 32
_LONGEST_NUMBER = 9


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int

    @property
    def word(self) -> str:
        """In capitals, "" for anything but a word."""
        return self.text.upper() if self.kind == "word" else ""


class _Mistake(Exception):
    """What can't be understood, with its line."""

    def __init__(self, line: int, text: str) -> None:
        self.line = line
        super().__init__(text)


def read_source(text: str, file: PurePath, program: Program) -> None:
    """Take over what a source declares.

    Args:
        text: the whole source.
        file: its name, for messages.
        program: gets types, blocks and remarks.
    """
    program.classic = program.classic or file.suffix.lower() == ".awl"
    _Reader(text, file, program).read()


def read_shape(text: str) -> Shape:
    """A type as declarations have it: `Array[0..9] of "Motor"`; one that can't be read keeps its text as its name."""
    reader = _Reader(text, PurePath(), Program())
    try:
        return Shape() if text.strip().upper() == "STRUCT" else reader.shape()
    except _Mistake:
        return Shape(name=text, quoted=True)


class _Reader:
    """Reads a source token by token; comments are kept aside, by line."""

    def __init__(self, text: str, file: PurePath, program: Program) -> None:
        self.file = file
        self.program = program
        self.comments: dict[int, str] = {}
        self.tokens = list(self._tokens(text))
        self.at = 0
        self.end = _Token("end", "the end of the file", self.tokens[-1].line if self.tokens else 1)
        self.depth = 0

    def _tokens(self, text: str) -> Iterator[_Token]:
        line, place = 1, 0
        for match in _TOKEN.finditer(text):
            line += text.count("\n", place, match.start())
            place = match.start()
            if match.lastgroup == "comment":
                self.comments.setdefault(line, match[0].removesuffix("*)").removesuffix("*/").lstrip("/(*").strip())
            else:
                yield _Token(match.lastgroup or "", match[0], line)

    # tokens

    @property
    def next(self) -> _Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else self.end

    def take(self) -> _Token:
        token = self.next
        self.at += 1
        return token

    def accept(self, text: str) -> bool:
        """Whether that word or mark stands here; then it is passed."""
        here = self.next.kind in {"word", "mark"} and self.next.text.upper() == text
        self.at += here
        return here

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise _Mistake(self.next.line, f"'{text}' was expected, but here is '{self.next.text[:40]}'")

    def skip_line(self) -> None:
        line = self.next.line
        while self.next.line == line and self.next is not self.end:
            self.at += 1

    def skip_past(self, *words: str) -> None:
        while self.next is not self.end and self.take().word not in words:
            pass

    # declarations

    def read(self) -> None:
        while self.next is not self.end:
            token = self.take()
            if token.word in _CODE:
                self.skip_past(_CODE[token.word])
            elif token.word in _ENDS:
                self.depth = 0
                try:
                    self._declaration(token)
                except _Mistake as mistake:
                    self.program.tell(self.file, mistake.line, f"{mistake}; {token.text} is left out")
                else:
                    self.accept(";")
                    if token.word == "TYPE" and self.next.word != "END_TYPE":
                        self.program.tell(self.file, self.next.line, "END_TYPE is missing")
                        continue
                self.skip_past(_ENDS[token.word])

    def _declaration(self, token: _Token) -> None:
        name = self._name()
        optimised: bool | None = None
        while True:
            here = self.next
            if here.kind == "attributes":
                if match := _OPTIMISED.search(self.take().text):
                    optimised = match[1].upper() == "TRUE"
            elif here.word in _ABOUT:
                self.skip_line()
            elif here.kind == "title" or here.word in _FLAGS or here.text == ":":
                self.at += 1
            else:
                break
        shape = self._body(token, name)
        if token.word == "DATA_BLOCK":
            number = int(key(name)[2:]) if re.fullmatch(r"db\d+", key(name)) else None
            self.program.blocks.append(
                DataBlock(name=name, shape=shape, file=self.file, line=token.line, number=number, optimised=optimised)
            )
        elif shape.record is not None:
            self._declare(
                Named(name=name, record=shape.record, file=self.file, optimised=optimised or False), token.line
            )
        else:
            raise _Mistake(here.line, f"type '{name}' has no STRUCT")

    def _declare(self, named: Named, line: int) -> None:
        first = self.program.types.setdefault(key(named.name), named)
        if first is not named and first.record != named.record:
            self.program.tell(self.file, line, f"'{named.name}' is declared in {first.file} too; that one counts")

    def _name(self) -> str:
        token = self.take()
        if token.kind == "quoted":
            return token.text[1:-1]
        if token.kind != "word":
            raise _Mistake(token.line, f"a name was expected, but here is '{token.text[:40]}'")
        if token.word in {"DB", "FB", "UDT", "SFB"} and self.next.kind == "number":
            return f"{token.text} {self._number(self.take())}"
        return token.text

    def _number(self, token: _Token) -> int:
        if token.kind != "number" or len(token.text) > _LONGEST_NUMBER:
            raise _Mistake(token.line, f"a number was expected, but here is '{token.text[:40]}'")
        return int(token.text)

    def _body(self, token: _Token, name: str) -> Shape:
        """What a declaration consists of: STRUCT, sections of variables, or another's name."""
        here = self.next
        if here.word in _SECTIONS:
            return Shape(record=self._sections())
        if token.word == "FUNCTION_BLOCK":
            return Shape(record=Record(members=(), line=token.line))
        if here.word == "BEGIN" or here.word.startswith("END_") or here is self.end:
            raise _Mistake(token.line, f"nothing is declared in '{name}'")
        return self.shape()

    def _sections(self) -> Record:
        members: list[Member] = []
        line, section = self.next.line, 0
        while self.next.word in _SECTIONS:
            kind, section = self.take().word, section + 1
            constant = self.accept("CONSTANT")
            while self.next.word in _FLAGS and self._after().text != ":":
                self.at += 1
            if constant:
                self._constants()
                continue
            found = self._members("END_VAR", section=section, by_reference=kind == "VAR_IN_OUT")
            members += [] if kind == "VAR_TEMP" else found
            self.accept(";")
        return Record(members=tuple(members), line=line)

    def _after(self) -> _Token:
        return self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else self.end

    def _constants(self) -> None:
        """`LAST : Int := 10;` serves as a bound; others are passed over."""
        while self.next is not self.end and not self.accept("END_VAR"):
            name = self.take().text.strip('"')
            self._pass_to(":=")
            self.accept(":=")
            sign = -1 if self.accept("-") else 1
            if self.next.kind == "number" and len(self.next.text) <= _LONGEST_NUMBER and self._after().text == ";":
                self.program.constants.setdefault(name.lower(), sign * int(self.next.text))
            self._pass_to(";")
            self.accept(";")

    def _pass_to(self, mark: str) -> None:
        while self.next is not self.end and self.next.text != mark and not self.next.word.startswith("END_"):
            self.at += 1

    # members

    def _members(self, end: str, *, section: int = 0, by_reference: bool = False) -> list[Member]:
        found: list[Member] = []
        while not self.accept(end):
            if self.next is self.end or self.next.word == "BEGIN":
                raise _Mistake(self.next.line, f"{end} is missing")
            first = self.next
            names = [self._member_name()]
            while self.accept(","):
                names.append(self._member_name())
            view_of = self._member_name() if self.accept("AT") else ""
            self.expect(":")
            opening = self.next.line
            shape = self.shape()
            if self.accept(":="):
                self._pass_to(";")
            closing = self.next.line
            if not self.accept(";") and shape.record is None:
                self.expect(";")
            comment = self.comments.get(opening if shape.record else closing) or self.comments.get(first.line, "")
            found += [
                Member(
                    name=name,
                    shape=shape,
                    line=first.line,
                    comment=comment,
                    section=section,
                    by_reference=by_reference,
                    view_of=view_of,
                )
                for name in names
            ]
        return found

    def _member_name(self) -> str:
        token = self.take()
        if token.kind not in {"word", "quoted"}:
            raise _Mistake(token.line, f"a name was expected, but here is '{token.text[:40]}'")
        while self.next.kind == "attributes":
            self.at += 1
        return token.text.strip('"')

    def shape(self) -> Shape:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _Mistake(self.next.line, f"records are nested deeper than {_DEEPEST}")
        shape = self._inner_shape()
        self.depth -= 1
        return shape

    def _inner_shape(self) -> Shape:
        while self.next.kind == "attributes":
            self.at += 1
        token = self.next
        if self.accept("STRUCT"):
            return Shape(record=Record(members=tuple(self._members("END_STRUCT")), line=token.line))
        if self.accept("ARRAY"):
            bounds = self._bounds()
            self.expect("OF")
            inner = self.shape()
            if inner.bounds:
                bounds += inner.bounds
            return Shape(name=inner.name, length=inner.length, bounds=bounds, record=inner.record, quoted=inner.quoted)
        name = self._name()
        length: Bound = 0
        if name.upper() in {"STRING", "WSTRING"} and self.accept("["):
            length = self._bound()
            self.expect("]")
        return Shape(name=name, length=length, quoted=token.kind == "quoted")

    def _bounds(self) -> tuple[tuple[Bound, Bound], ...]:
        self.expect("[")
        found: list[tuple[Bound, Bound]] = []
        while True:
            if self.accept("*"):  # of a parameter, which is as long as what is given for it
                found.append((0, "*"))
            else:
                first = self._bound()
                self.expect("..")
                found.append((first, self._bound()))
            if not self.accept(","):
                break
        self.expect("]")
        return tuple(found)

    def _bound(self) -> Bound:
        self.accept("#")
        if self.next.kind in {"word", "quoted"}:
            return self.take().text.strip('"')
        sign = -1 if self.accept("-") else 1
        self.accept("+")
        return sign * self._number(self.take())
