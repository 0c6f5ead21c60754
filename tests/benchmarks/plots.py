"""The plots of the results, as SVG, each with a digest of the rows that it was drawn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.benchmarks.results import Results, Row, digest

__all__ = ["draw"]

_OURS, _THEIRS = "#1a7f5a", "#b0b7bf"
mpl.rcParams.update(
    {
        "svg.hashsalt": "figures",  # the same bytes for the same rows
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


def draw(results: Results, folder: Path) -> None:
    """Draw what there are rows for."""
    rows = {row.name: row for row in results.rows}
    compared = [rows[name] for name in ("frame", "dense", "wide") if name in rows]
    if compared:
        _save(_cpu(compared), compared, folder / "cpu.svg")
    if "fleet" in rows:
        _save(_fleet(rows["fleet"]), [rows["fleet"]], folder / "fleet.svg")
    if "top" in rows:
        _save(_top(rows["top"]), [rows["top"]], folder / "top.svg")


def _cpu(rows: list[Row]) -> Figure:
    """Microseconds of CPU a frame, with the spread of the rounds; a panel each, since they differ tenfold."""
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    for axes, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
        found = {each.what: each.value for each in row.figures}
        for place, (what, name, colour) in enumerate((("cpu", "ours", _OURS), ("telegraf_cpu", "Telegraf", _THEIRS))):
            value = found[what]
            spread = [[value.median - value.low], [value.high - value.median]]
            axes.bar(place, value.median, 0.6, yerr=spread, color=colour, capsize=3)
            axes.annotate(f"{value.median:.0f}", (place, value.median / 2), ha="center", va="center")
            axes.text(place, 0, f"\n{name}", ha="center", va="top")
        axes.set_xticks([])
        axes.set_title(row.name, fontsize=10)
    figure.supylabel("CPU a frame, µs", fontsize=9)
    return figure


def _fleet(row: Row) -> Figure:
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    sizes = sorted(map(int, row.detail))
    panels: Any = figure.subplots(1, 2)
    for axes, what, label in zip(panels, ("core", "memory"), ("% of a core", "MB"), strict=True):
        axes.plot(sizes, [row.detail[str(size)][what] for size in sizes], "o-", color=_OURS)
        axes.set(xlabel="PLCs, 50 tags, 1 Hz", ylabel=label, xlim=0, ylim=0)
    return figure


def _top(row: Row) -> Figure:
    figure = Figure(figsize=(5, 2.8), layout="constrained")
    axes: Any = figure.subplots()
    found = sorted(row.detail.values(), key=lambda each: each["nominal"])
    nominal = [each["nominal"] for each in found]
    axes.plot(nominal, nominal, "--", color=_THEIRS, label="asked for")
    axes.plot(nominal, [each["rate"] for each in found], "o-", color=_OURS, label="acknowledged")
    axes.set(xlabel="frames/s asked for", ylabel="frames/s", ylim=0)
    axes.legend(frameon=False)
    return figure


def _save(figure: Figure, rows: list[Row], file: Path) -> None:
    figure.savefig(file, format="svg", metadata={"Date": None, "Description": digest(rows)})
