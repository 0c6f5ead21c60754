"""Frames as rows of a table, for people at a terminal."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from typing import Any

import click

from pipeline.frame import Frame, Kind

__all__ = ["Table", "cell", "ending", "printable"]

_TIME = 12
"""Characters of the time of a row."""
_ROWS = 30
"""Rows after which the head is repeated."""
_SIX_DIGITS = 999_999.5
_LONG = 1e12


class Table:
    """Frames as rows; the head names the values, and comes again when they are others or it has scrolled away."""

    def __init__(
        self, width: Callable[[], int] = lambda: shutil.get_terminal_size().columns, *, colours: bool = False
    ) -> None:
        self._terminal = width
        self._colours = colours
        self._names: list[str] = []
        self._widths: list[int] = []
        self._rows = 0
        self._who = len("block")

    def render(self, frame: Frame) -> bytes:
        """A row, behind a head where one is due."""
        lines: list[str] = []
        who = ending(_who(frame), max(len("block"), self._terminal() // 2 - _TIME))
        if len(who) > self._who:  # what follows moves to the right, so the head comes again
            self._who, self._rows = len(who), _ROWS
        who = who.ljust(self._who)
        if frame.kind is Kind.DATA:
            titles = self._titles(frame)
            cells = self._cells(frame)
            if titles:
                head = self._cut(f"{'time':12}  {'block'.ljust(self._who)}  {self._joined(titles)}")
                lines.append(self._styled(head, bold=True))
            text = self._joined(cells)
        else:
            text = "heartbeat" if frame.kind is Kind.HEARTBEAT else f"failed: {printable(frame.error or '')}"
        self._rows += 1
        second, millisecond = divmod(round(frame.ts * 1000), 1000)
        moment = f"{time.strftime('%H:%M:%S', time.localtime(second))}.{millisecond:03d}"
        lines.append(self._coloured(self._cut(f"{moment}  {who}  {text}"), frame))
        return "".join(f"{line}\n" for line in lines).encode()

    def _coloured(self, line: str, frame: Frame) -> str:
        """The time is dim; a failure and a bad value are red."""
        if frame.kind is not Kind.DATA:
            return self._styled(line, fg="red" if frame.kind is Kind.FAILURE else "bright_black")
        start = len(line) - len(line[_TIME:].lstrip())
        rest = line[start:]
        if frame.bad:
            rest = re.sub(r"(?<= )bad(?= |$)", self._styled("bad", fg="red", bold=True), rest)
        return self._styled(line[:start], fg="bright_black") + rest

    def _styled(self, text: str, **style: Any) -> str:
        return click.style(text, **style) if self._colours else text

    def _titles(self, frame: Frame) -> list[str]:
        """The values' names with their units, when the head is due; else nothing."""
        names = [*frame.values, *(name for name in frame.bad or () if name not in frame.values)]
        if self._rows < _ROWS and set(names) <= set(self._names):
            return []
        units = frame.origin.units
        titles = [printable(f"{name} [{units[name]}]" if name in units else name) for name in names]
        self._names, self._widths, self._rows = names, [len(title) for title in titles], 0
        return titles

    def _cells(self, frame: Frame) -> list[str]:
        bad = frame.bad or {}
        cells = [
            cell(frame.values[name]) if name in frame.values else "bad" if name in bad else "" for name in self._names
        ]
        self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        return cells

    def _joined(self, cells: list[str]) -> str:
        return "  ".join(cell.rjust(width) for cell, width in zip(cells, self._widths, strict=True))

    def _cut(self, line: str) -> str:
        width = self._terminal()
        return line if len(line) <= width else f"{line[: width - 1]}…"


def _who(frame: Frame) -> str:
    origin = frame.origin
    return printable("/".join(filter(None, (origin.tenant_id, origin.plc_id or origin.ip, origin.measurement))))


def ending(text: str, width: int) -> str:
    """A text in so many characters; of one that is longer its end, since there the names of a plant differ."""
    return text if len(text) <= width else f"…{text[len(text) - width + 1 :]}"


def cell(value: object) -> str:
    """A value as people read it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        # A meter's reading is read to its last unit, not as 1.23457e+08.
        return f"{value:.0f}" if _SIX_DIGITS <= abs(value) < _LONG else f"{value:.6g}"
    return printable(str(value))


def printable(text: str) -> str:
    """What a device sends must not move the cursor or colour the screen."""
    return text if text.isprintable() else repr(text)[1:-1]
