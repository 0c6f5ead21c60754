"""One block's values or one part's facts, live, with long texts wrapped; and the tables of the overview."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Header, Static

from pipeline.table import cell, printable
from pipeline.terminal.look import Block, Part
from pipeline.terminal.words import age, fact

__all__ = ["Closer", "Rows", "Table", "fact_rows", "fill", "unique", "value_rows"]

Rows = Sequence[tuple[str, tuple[str, ...]]]
"""Key and cells."""

_COLOURS = {
    "fresh": "green",
    "running": "green",
    "stale": "yellow",
    "starting": "yellow",
    "degraded": "yellow",
    "backing_off": "bold red",
    "failing": "bold red",
    "stopped": "red",
    "bad": "bold red",
}
_NARROWEST = 16


class Table(DataTable[Text]):
    """A table whose rows have a colour each, with a cursor where it has the focus."""

    DEFAULT_CSS = """
    Table > .datatable--cursor { background: transparent; text-style: none; }
    Table:focus > .datatable--cursor { background: $primary 40%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "open")]

    def __init__(self, name: str, head: Sequence[str]) -> None:
        """Make an empty one.

        Args:
            name: its id.
            head: the titles of its columns.
        """
        super().__init__(id=name, cursor_type="row", cursor_foreground_priority="renderable")
        for title in head:
            self.add_column(title, key=title)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A row is opened where there is something behind it."""
        del parameters
        return action != "select_cursor" or not isinstance(self.screen, Closer)


class Closer(Screen[None]):
    """One block's values, or one part's facts, live."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,backspace", "app.pop_screen", "back", key_display="esc")]

    def __init__(self, title: str, head: Sequence[str], rows: Callable[[], Rows]) -> None:
        """Prepare it.

        Args:
            title: whose.
            head: the titles of the columns.
            rows: what there is to show now.
        """
        super().__init__()
        self._title = title
        self._head = head
        self._rows = rows
        self._lost = ""

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield Header()
        yield Static(printable(self._title), id="whose")
        yield Table("values", self._head)
        yield Footer()

    def on_mount(self) -> None:
        """Show what there is."""
        self.show("")

    def on_resize(self) -> None:
        """Wrap for the new width."""
        self.show(self._lost)

    def show(self, lost: str) -> None:
        """Bring it up to date.

        Args:
            lost: why nothing new comes; "" when it does.
        """
        self._lost = lost
        whose = Text(printable(self._title), style="bold")
        if lost:
            whose.append(f"\n{lost}", style="bold red")
        self.query_one("#whose", Static).update(whose)
        table = self.query_one("#values", Table)
        space = self.app.size.width - 2 * table.cell_padding * len(self._head) - table.scrollbar_size_vertical
        fill(table, _wrapped(self._head, unique(self._rows()), space))


def value_rows(block: Block) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Key and cells of what is known of a block: name, value, unit, quality."""
    quality = "good" if block.state == "fresh" else block.state
    yield " read", ("(read)", f"{age(block.age)} ago" if block.age is not None else "never", "", block.state)
    if block.error:
        yield " error", ("(error)", printable(block.error), "", "")
    for name in dict.fromkeys((*block.values, *block.bad)):
        bad = block.bad.get(name, "")
        shown = cell(block.values[name]) if name in block.values else ""
        yield name, (printable(name), shown, block.units.get(name, ""), f"bad: {printable(bad)}" if bad else quality)


def fact_rows(part: Part, now: float) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Key and cells of what a part tells: fact and value.

    Args:
        part: the part.
        now: the pipeline's clock.
    """
    facts: dict[str, object] = {
        "section": part.section,
        "type": part.type,
        "state": part.state,
        "for": age(part.seconds),
        "reason": part.reason,
        "last error": part.last_error and f"{age(max(0.0, now - part.last_error_ts))} ago: {part.last_error}",
        "errors": part.errors,
        "frames": part.frames,
        **{f"given up: {reason}": count for reason, count in part.drops.items()},
    }
    for name, found in [*facts.items(), *part.details.items()]:
        if isinstance(found, dict):
            yield from ((f"{name} {key}", fact(f"{name} {key}", each)) for key, each in found.items())
        elif found not in ("", None):
            yield name, fact(name, found)


def fill(table: DataTable[Text], rows: Rows) -> None:
    """Bring a table up to date: cells that changed where the rows are the same, else all of it."""
    columns = list(table.columns)
    before = [(key.value, row.height) for key, row in table.rows.items()]
    if before == [(key, _height(cells)) for key, cells in rows]:
        for key, cells in rows:
            old = table.get_row(key)
            for column, text, known in zip(columns, cells, old, strict=True):
                if known.plain != text:
                    table.update_cell(key, column, _cell(text), update_width=True)
        return
    # The cursor stays with its row; at the top it stays there, where what is worst comes first.
    at = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value if table.cursor_row > 0 else None
    table.clear()
    for key, cells in rows:
        table.add_row(*map(_cell, cells), key=key, height=_height(cells))
    if at is not None and at in table.rows:
        table.move_cursor(row=table.get_row_index(at), animate=False)


def unique(rows: Iterable[tuple[str, tuple[str, ...]]]) -> Rows:
    """Rows whose keys differ, as a table wants them."""
    return list({key: (key, cells) for key, cells in rows}.values())


def _wrapped(head: Sequence[str], rows: Rows, space: int) -> Rows:
    """The rows with the column that needs most made so narrow that all fit into the space, texts in several lines."""
    widths = [max(map(len, column)) for column in zip(head, *(cells for _, cells in rows), strict=True)]
    if sum(widths) <= space:
        return rows
    widest = widths.index(max(widths))
    left = max(_NARROWEST, space - sum(widths) + widths[widest])
    return [
        (key, tuple(_lines(text, left) if number == widest else text for number, text in enumerate(cells)))
        for key, cells in rows
    ]


def _lines(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))


def _height(cells: Sequence[str]) -> int:
    return max(text.count("\n") for text in cells) + 1


def _cell(text: str) -> Text:
    return Text(text, style=_COLOURS.get(text.partition(":")[0], ""), no_wrap=True)
