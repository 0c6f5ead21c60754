"""What the engine says, in Brazilian Portuguese: its English texts stay as they are, and only the page shows others.

`portuguese.json` has a line for each text as the code writes it, with `…` where it is filled in; the Portuguese has as
many `…` in the same order, or `{1}`, `{2}` where the order differs. A text that is not there stays English: reasons go
into logs and files as they are, and nothing is lost. What stands in quotes or backticks is a name and stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import count
from pathlib import Path

import msgspec

__all__ = ["GAP", "PHRASES", "Reading", "Say", "read", "say", "speaker"]

Say = Callable[[str], str]
GAP = "…"
"""Stands in the table for what differs from time to time."""
PHRASES = Path(__file__).parent / "portuguese.json"

_REMEMBERED = 2048
"""Texts whose translation is kept."""
_LONGEST = 1000
"""Characters of a text that is looked at; reasons are shorter."""
_MARKS = ("; ", ": ", " (")
_PARTS = 16
"""Marks between parts up to which a text is taken apart: more of them has only what some other program says."""
_PLACE = re.compile(rf"{GAP}|\{{(\d+)\}}")
_NAME = re.compile(r"\S+")
_MORE = re.compile(r"(.+) \(and (\d+) more\)", re.DOTALL)
_FEW = re.compile(rf"\w+ {GAP}|{GAP} \w+")


@dataclass(frozen=True)
class Reading:
    """A text that was understood.

    Attributes:
        text: in Portuguese.
        kept: the parts that stay as they are: names, numbers, and what others say.
    """

    text: str
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Template:
    """A line of the table; `landmark` is its longest piece, without which a text is not compared any further."""

    english: str
    portuguese: str
    landmark: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        # A single word, such as `write …`, says too little to be known by it whatever follows.
        gap = r"(\S+?)" if _FEW.fullmatch(self.english) else "(.+?)"
        return re.compile(gap.join(map(re.escape, self.english.split(GAP))), re.DOTALL)

    def match(self, text: str) -> tuple[str, ...] | None:
        """What fills the gaps."""
        found = self.pattern.fullmatch(text) if self.landmark in text else None
        return found.groups() if found else None

    def is_one(self, parts: tuple[str, ...]) -> bool:
        """Whether it says the whole text, and no gap takes in a reason before it or advice behind it."""
        return not (any("; " in part for part in parts) or (self.english.startswith(GAP) and ": " in parts[0]))

    def fill(self, parts: tuple[str, ...], apart: bool) -> Reading:
        """The Portuguese with its gaps filled; `apart`: with what the engine itself says in them read too."""
        filled: list[str] = []
        kept: list[str] = []
        for before, part in zip(self.english.split(GAP), parts, strict=False):
            found = read(part) if apart and _speaks(before, part) else None
            filled.append(found.text if found else part)
            kept += found.kept if found else (part,)
        numbers = count()

        def place(found: re.Match[str]) -> str:
            return filled[int(found[1]) - 1 if found[1] else next(numbers)]

        return Reading(_PLACE.sub(place, self.portuguese), tuple(kept))


def speaker(language: str) -> Say:
    """The function from a text of the engine to what a page in this language shows."""
    return say if language == "pt-BR" else str


def say(text: str) -> str:
    """A text of the engine in Portuguese; as it is where the table does not know it."""
    found = read(text)
    return found.text if found else text


@lru_cache(maxsize=_REMEMBERED)
def read(text: str) -> Reading | None:
    """Understand a text by the table: as a whole, by its clauses, by what stands behind its colon or in parentheses."""
    if len(text) > _LONGEST or not text:
        return None
    fixed, templates = _table()
    if text in fixed:
        return Reading(fixed[text])
    if text.endswith(" more)") and (more := _MORE.fullmatch(text)) and (head := read(more[1])):
        return Reading(f"{head.text} (e mais {more[2]})", head.kept)
    apart = sum(map(text.count, _MARKS)) <= _PARTS
    matches = [(each, parts) for each in templates if (parts := each.match(text))]
    for template, parts in matches:
        if template.is_one(parts):
            return template.fill(parts, apart)
    if apart and (together := _clauses(text) or _aside(text) or _behind(text)):
        return together
    return next((template.fill(parts, apart) for template, parts in matches), None)


def _clauses(text: str) -> Reading | None:
    """`reason: detail; what to do`: each known, the first as short as it goes."""
    at = text.find("; ")
    while at > 0:
        head = read(text[:at])
        if head and (rest := read(text[at + 2 :])):
            return Reading(f"{head.text}; {rest.text}", head.kept + rest.kept)
        at = text.find("; ", at + 2)
    return None


def _aside(text: str) -> Reading | None:
    """`what is known (what somebody else said)`."""
    head, _, rest = text.partition(" (")
    if rest.endswith(")") and (known := read(head)):
        aside = read(rest[:-1]) or Reading(rest[:-1], (rest[:-1],))
        return Reading(f"{known.text} ({aside.text})", known.kept + aside.kept)
    return None


def _behind(text: str) -> Reading | None:
    """`reason: what is known`, `name: what is known`."""
    head, _, rest = text.partition(": ")
    if rest and (behind := read(rest)):
        if known := read(head):
            return Reading(f"{known.text}: {behind.text}", known.kept + behind.kept)
        if _NAME.fullmatch(head):
            return Reading(f"{head}: {behind.text}", (head, *behind.kept))
    return None


@cache
def _table() -> tuple[Mapping[str, str], list[_Template]]:
    """Texts without a gap, and templates, those first that say most."""
    phrases = msgspec.json.decode(PHRASES.read_bytes(), type=dict[str, str])
    with_gaps = sorted((text for text in phrases if GAP in text), key=lambda text: (-len(text.replace(GAP, "")), text))
    fixed = {text: said for text, said in phrases.items() if GAP not in text}
    return fixed, [_Template(text, phrases[text], max(text.split(GAP), key=len)) for text in with_gaps]


def _speaks(before: str, part: str) -> bool:
    """Whether the engine may say a part itself, behind this: not in quotes; a single word only behind `: ` or `(`."""
    return not before.endswith(("'", '"', "`")) and (" " in part or before.endswith((": ", "(")))
