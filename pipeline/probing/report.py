"""What was found in a block, for pipes: a table for people, an object for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.probing.analysis import Analysis, Candidate
from pipeline.probing.layout import seen
from pipeline.probing.samples import Sample, activities, seconds

__all__ = ["as_object", "as_table", "short"]

_ROW = 16
_OTHERS = 3
_WORTH = 0.1
_WIDTH = 14
"""Letters of the column with the latest values."""


def as_table(samples: Sequence[Sample], analysis: Analysis) -> Iterator[str]:
    """The bytes in hexadecimal with what moves, then the fields."""
    data = samples[-1].data
    active = activities(samples)
    yield f"{len(samples)} samples in {seconds(samples):.1f} s. Bytes now; changes a minute below those that move:"
    for begin in range(0, len(data), _ROW):
        row = range(begin, min(begin + _ROW, len(data)))
        yield f"{begin:>6}  " + " ".join(f"{data[at]:02x}".rjust(4) for at in row)
        if any(active[at].changes for at in row):
            yield " " * 8 + " ".join(
                f"{active[at].per_minute:.0f}".rjust(4) if active[at].changes else "    " for at in row
            )
    yield ""
    yield f"{'place':<7} {'type':<14} {'now':<{_WIDTH}} {'seen':<26} {'seems to be':<30} other readings"
    for each in analysis.chosen:
        others = ", ".join(f"{other.reading.type} {other.score:.2f}" for other in _others(each, analysis))
        now, range_ = short(each.value), seen(each.reading, samples)
        now = now if len(now) <= _WIDTH else now[: _WIDTH - 1] + "…"
        place = f"{each.reading.place:<7} {each.reading.type:<14}"
        yield f"{place} {now:<{_WIDTH}} {range_:<26} {each.guess!s:<30} {others}".rstrip()
    if not analysis.chosen:
        yield "nothing: all bytes are zero"


def as_object(db: int, samples: Sequence[Sample], analysis: Analysis) -> dict[str, Any]:
    """Bytes, fields and all candidates, as JSON has them."""
    data = samples[-1].data
    return {
        "db": db,
        "size": len(data),
        "samples": len(samples),
        "seconds": round(seconds(samples), 3),
        "bytes": [
            {"byte": at, "value": each.value, "changes": each.changes, "distinct": each.distinct}
            | {"toggled": each.toggled, "changes_per_minute": each.per_minute}
            for at, each in enumerate(activities(samples))
        ],
        "fields": [_object(each) for each in analysis.chosen],
        "candidates": [_object(each) for each in analysis.candidates],
    }


def _object(each: Candidate) -> dict[str, Any]:
    return {
        "type": each.reading.type,
        "at": each.reading.place,
        "value": each.value,
        "score": each.score,
        "guess": each.guess.what,
        "unit": each.guess.unit,
    }


def _others(chosen: Candidate, analysis: Analysis) -> list[Candidate]:
    """The best other readings that begin at the same byte."""
    if chosen.reading.type == "BOOL":
        return []
    found = [each for each in analysis.at(chosen.reading.byte) if not each.chosen and each.score >= _WORTH]
    return [each for each in found if each.reading.type != "BOOL"][:_OTHERS]


def short(value: object) -> str:
    """A value in a few letters."""
    text = f"{value:.6g}" if isinstance(value, float) else "bad" if value is None else str(value)
    return text if text.isprintable() else repr(text)[1:-1]
