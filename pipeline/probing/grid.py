"""The grid of bytes: sixteen a row in hexadecimal, coloured by how often each changes, with a cursor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from pipeline.probing.samples import Activity

__all__ = ["ByteGrid", "heat"]

_ROW = 16
_HEAT = ("on grey11", "on dark_blue", "on dark_green", "black on dark_goldenrod", "black on dark_orange", "on red3")
_STEPS = (0.0, 0.02, 0.1, 0.3, 0.6)
_FRESH = 2
"""Samples for which a change is shown bold."""


def heat(share: float) -> str:
    """The style of a byte that changes in this share of the samples."""
    return _HEAT[sum(share > step for step in _STEPS)]


class ByteGrid(Widget, can_focus=True):
    """Bytes with a cursor."""

    DEFAULT_CSS = "ByteGrid { height: auto; width: auto; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "byte", show=False),
        Binding("right", "move(1)", "byte", show=False),
        Binding("up", f"move({-_ROW})", "row", show=False),
        Binding("down", f"move({_ROW})", "row", show=False),
        Binding("pageup", f"move({-_ROW * 16})", "page", show=False),
        Binding("pagedown", f"move({_ROW * 16})", "page", show=False),
        Binding("home", "move(-100000)", "first", show=False),
        Binding("end", "move(100000)", "last", show=False),
    ]

    class Moved(Message):
        """The cursor is at another byte."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.cursor = 0
        self._data = b""
        self._active: Sequence[Activity] = ()
        self._marked: Collection[int] = ()

    def show(self, data: bytes, active: Sequence[Activity]) -> None:
        """Show a sample."""
        grown = len(data) != len(self._data)
        self._data, self._active = data, active
        self.refresh(layout=grown)

    def mark(self, places: Collection[int]) -> None:
        """Underline the bytes that belong to fields."""
        self._marked = places
        self.refresh()

    def action_move(self, by: int) -> None:
        """Move the cursor, and have it seen."""
        if not self._data:
            return
        last = len(self._data) - 1
        self.cursor = max(0, min(last, self.cursor + by))
        self.refresh()
        self.scroll_visible_row(self.cursor // _ROW + 1)
        self.post_message(self.Moved())

    def scroll_visible_row(self, row: int) -> None:
        """Scroll the parent so that a row can be seen."""
        parent = self.parent
        if isinstance(parent, Widget) and not 0 <= row - parent.scroll_offset.y < parent.size.height:
            parent.scroll_to(y=row - parent.size.height // 2, animate=False)

    def render(self) -> Text:
        """All rows, below the head."""
        text = Text("        " + " ".join(f"{at:>2}" for at in range(_ROW)), style="bold")
        for begin in range(0, len(self._data), _ROW):
            text.append(f"\n{begin:>6}  ", style="bold")
            for at in range(begin, min(begin + _ROW, len(self._data))):
                text.append(f"{self._data[at]:02x}", style=self._style(at))
                text.append(" ")
        return text

    def _style(self, at: int) -> str:
        active = self._active[at]
        samples = max(active.quiet + active.changes, 1)
        if at == self.cursor:
            return "bold reverse"
        style = heat(active.changes / samples if active.changes else 0.0)
        fresh = " bold" if active.changes and active.quiet < _FRESH else ""
        return f"{style}{fresh}{' underline' if at in self._marked else ''}"
