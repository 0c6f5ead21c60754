"""Fields with names, and the lines of a layout made of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.frame import Scalar
from pipeline.identifiers import check_name, is_readable
from pipeline.probing.analysis import Analysis, Candidate
from pipeline.probing.readings import Reading, values_of
from pipeline.probing.samples import Sample
from pipeline.s7.browse_graph import quoted

__all__ = ["Named", "layout_lines", "name_mistake", "named", "seen"]

_PLAIN = re.compile(r"[^\W\d][\w-]*")
"""Names that need no quotes."""
_CLOSE = 0.5
"""Score from which on another reading of the same bytes is worth a word."""


@dataclass(frozen=True, slots=True)
class Named:
    """A field of the layout that is being found.

    Attributes:
        name: its name.
        reading: type and place.
        comment: what it seems to be, and what was seen.
    """

    name: str
    reading: Reading
    comment: str = ""


def named(candidate: Candidate, analysis: Analysis, samples: Sequence[Sample], name: str = "") -> Named:
    """A candidate as a field; without a name it gets one from what it seems to be and its place."""
    reading, guess = candidate.reading, candidate.guess
    place = reading.place.replace(".", "_")
    comment = guess.what + (f" ({guess.unit}?)" if guess.unit else "")
    what = seen(reading, samples)
    if what.startswith("always"):
        comment = what
    elif what:
        comment += f"; {what}"
    if others := _close(candidate, analysis):
        comment += f"; or {', '.join(others)}"
    return Named(name or f"{guess.stem}_{place}", reading, comment)


def seen(reading: Reading, samples: Sequence[Sample]) -> str:
    """The values that were seen, in words: `5000 to 5014`, `always 3`."""
    values = [value for value in values_of(reading, samples) if value is not None]
    if not values:
        return ""
    if len(set(values)) == 1:
        return f"always {_text(values[0])}"
    if reading.type == "BOOL":
        return f"on {100 * sum(map(bool, values)) // len(values)} % of the time"
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) == len(values):
        return f"{_text(min(numbers))} to {_text(max(numbers))}"
    return f"{len(set(values))} values, now {_text(values[-1])}"


def layout_lines(fields: Sequence[Named]) -> list[str]:
    """The lines of `fields:`, by place: `contador_bom: INT @ 10   # counter; 5000 to 5014`."""
    ordered = sorted(fields, key=lambda field: (field.reading.byte, field.reading.bit))
    heads = [f"{field.name if _PLAIN.fullmatch(field.name) else quoted(field.name)}:" for field in ordered]
    width = max(map(len, heads), default=0)
    types = [f"{field.reading.type} @ {field.reading.place}" for field in ordered]
    wide = max(map(len, types), default=0)
    return [
        f"{head:<{width}} {kind:<{wide}}" + (f"   # {field.comment}" if field.comment else "")
        for head, kind, field in zip(heads, types, ordered, strict=True)
    ]


def name_mistake(name: str, taken: Sequence[str]) -> str:
    """Why a name won't do, or ""."""
    if not is_readable(name):
        return "a name has letters, and neither tabs nor line ends"
    for finding in check_name(name, ()):
        return f"{finding.message}; {finding.hint}"
    others = {other.replace(" ", "_") for other in taken}
    return f"'{name}' is another field's name" if name.replace(" ", "_") in others else ""


def _close(candidate: Candidate, analysis: Analysis) -> list[str]:
    """Other readings that begin at the same byte, or end with it, and are nearly as good."""
    mine = candidate.reading
    return [
        f"{each.reading.type} @ {each.reading.place}"
        for each in analysis.candidates
        if not each.chosen
        and each.score > _CLOSE
        and each.reading.type not in {"BOOL", "BYTE", "WORD"}
        and mine.type != "BOOL"
        and (each.reading.byte == mine.byte or each.reading.end == mine.end)
    ]


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    text = f"{value:.5g}" if isinstance(value, float) else str(value)
    return text if text.isprintable() else repr(text)[1:-1]
