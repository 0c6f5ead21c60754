"""Rows as a Markdown table, which is the terminal's too."""

from __future__ import annotations

from tests.benchmarks.results import Figure, Results, Row
from tests.benchmarks.words import FIGURES, LOADS, Language

__all__ = ["show", "table", "verdict"]

_HEADS = (
    ("benchmark", "load", "measured", "to reach", "reached"),
    ("medição", "carga", "medido", "meta", "alcançada"),
)
_VERDICTS = {"beyond": ("yes, and beyond", "sim, e além"), "yes": ("yes", "sim"), "no": ("**no**", "**não**")}


def table(results: Results, language: Language = 0, *, brief: bool = False) -> str:
    """All rows with their figures.

    Args:
        results: what was measured.
        language: of the words.
        brief: only figures with a mark, and of rows without any the first two.
    """
    lines = [list(_HEADS[language])]
    for row in results.rows:
        figures = [each for each in row.figures if each.reach is not None] or row.figures[:2] if brief else row.figures
        for number, figure in enumerate(figures):
            head = [f"`{row.name}`", LOADS[row.name][language]] if number == 0 else ["", ""]
            measured = f"{FIGURES[figure.what][language]}: {show(figure)}"
            lines.append([*head, measured, _mark(figure), verdict(row, figure, language)])
    return _aligned(lines)


def show(figure: Figure) -> str:
    """The value with its unit, and the spread of the rounds where there is one."""
    value, unit = figure.value, figure.unit if figure.unit in {"x", "%", ""} else f" {figure.unit}"
    text = f"{_number(value.median)}{unit}"
    if value.low != value.high:
        text += f" ({_number(value.low)} to {_number(value.high)})"
    return text


def verdict(row: Row, figure: Figure, language: Language = 0) -> str:
    """Whether the mark is reached; why the row is void, where it is; empty without a mark."""
    if figure.reach is None:
        return ""
    if row.void:
        return f"void: {row.void}" if language == 0 else "nula"
    key = "beyond" if figure.meets(figure.beyond) else "yes" if figure.meets(figure.reach) else "no"
    return _VERDICTS[key][language]


def _mark(figure: Figure) -> str:
    if figure.reach is None:
        return ""
    sign = "≥" if figure.at_least else "≤"
    return f"{sign} {_number(figure.reach)}" + (
        figure.unit if figure.unit in {"x", "%"} else f" {figure.unit}".rstrip()
    )


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rows = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rows.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(rows)
