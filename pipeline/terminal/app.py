"""The live overview: blocks, sinks, parts and events of a running pipeline, with keys to sort, filter and look closer.

A lost connection is told, what is shown is dimmed, and it comes back by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Header, Input, Static

from pipeline.errors import PipelineError
from pipeline.table import cell, printable
from pipeline.terminal.overview import Block, Overview, Part
from pipeline.terminal.words import (
    BLOCKS,
    PARTS,
    SINKS,
    age,
    block_row,
    event_line,
    part_row,
    sink_row,
)

__all__ = ["TopApp"]

Look = Callable[[], Overview]
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
_LONGEST_PAUSE = 8.0
_SORTS: dict[str, Callable[[Block], tuple[float, float]]] = {
    "PLC": lambda _: (0, 0),
    "state": lambda block: (("failing", "stale", "fresh").index(block.state), 0),
    "age": lambda block: (0, -(float("inf") if block.age is None else block.age)),
    "latency": lambda block: (0, -(block.latency_ms or 0.0)),
    "reads/s": lambda block: (0, -(block.rate or 0.0)),
}


class _Table(DataTable[Text]):
    """A table whose rows have a colour each, with a cursor where it has the focus."""

    DEFAULT_CSS = """
    _Table > .datatable--cursor { background: transparent; text-style: none; }
    _Table:focus > .datatable--cursor { background: $primary 40%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "look closer")]

    def __init__(self, name: str, head: Sequence[str]) -> None:
        super().__init__(id=name, cursor_type="row", cursor_foreground_priority="renderable")
        for title in head:
            self.add_column(title, key=title)


class TopApp(App[None]):
    """Blocks above, sinks and parts below them, the latest events at the bottom."""

    TITLE = "top"
    CSS = """
    #said { height: 1; padding: 0 1; color: $text-muted; }
    #said.lost { background: $error; color: $text; text-style: bold; }
    .lost DataTable, .lost #events { opacity: 50%; }
    DataTable { height: auto; max-height: 100%; }
    #blocks { height: 2fr; }
    #sinks { height: auto; max-height: 8; border-top: solid $primary; }
    #parts { height: 1fr; min-height: 4; border-top: solid $primary; }
    #events { height: 7; border-top: solid $primary; padding: 0 1; }
    #filter { display: none; height: 3; }
    #filter.asking { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "next", "next table", show=False, priority=True),
        Binding("s", "sort", "sort"),
        Binding("slash", "filter", "filter"),
        Binding("space", "pause", "pause"),
        Binding("escape", "clear", "clear filter", show=False),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    def __init__(self, name: str, look: Look, first: Overview, every: float) -> None:
        """Prepare the app.

        Args:
            name: where the pipeline is.
            look: gives a look, or fails; called on a thread.
            first: the look to begin with.
            every: seconds between two.
        """
        super().__init__()
        self.sub_title = f"{first.graph} at {name}"
        self.overview = first
        self.lost = ""
        self.sorted_by = "PLC"
        self.wanted = ""
        self._look = look
        self._every = every
        self._paused = False

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield Header()
        yield Static(id="said")
        for name, head in (("blocks", BLOCKS), ("sinks", SINKS), ("parts", PARTS)):
            yield _Table(name, head)
        with VerticalScroll(id="events", can_focus=False):
            yield Static(id="happened")
        yield Input(id="filter", placeholder="part of a PLC's, block's or part's name, of a state or an error")
        yield Footer()

    def on_mount(self) -> None:
        """Show the first look, and begin to look again."""
        self.query_one("#blocks", _Table).focus()
        self.show_overview()
        self.watch_pipeline()

    @work
    async def watch_pipeline(self) -> None:
        """Look again and again; after failures less and less often."""
        pause = self._every
        since = 0.0
        while True:
            await asyncio.sleep(pause)
            if self._paused:
                continue
            try:
                self.overview = await asyncio.to_thread(self._look)
                self.lost, pause = "", self._every
            except PipelineError as error:
                since = since if self.lost else time.monotonic()
                self.lost = f"without connection for {age(time.monotonic() - since)}: {printable(str(error))}"
                pause = min(max(pause * 2, self._every), max(_LONGEST_PAUSE, self._every))
            self.show_overview()

    # what is shown

    def show_overview(self) -> None:
        """Show the newest look, on this screen and on the one above it."""
        base = self.screen_stack[0]
        base.set_class(bool(self.lost), "lost")
        said = base.query_one("#said", Static)
        said.set_class(bool(self.lost), "lost")
        said.update(Text(self.lost or self._summary(), no_wrap=True, overflow="ellipsis"))
        look = self.overview
        blocks = sorted(look.blocks, key=_SORTS[self.sorted_by])
        self._fill("blocks", [(f"{n.plc} {n.block}", block_row(n)) for n in blocks])
        self._fill("sinks", [(sink.name, sink_row(sink)) for sink in look.sinks])
        self._fill("parts", [(part.name, part_row(part, look.now)) for part in look.parts])
        lines = Text()
        for event in look.events:
            if self._matches(event.who, event.what):
                lines.append(event_line(event) + "\n", style="red" if event.bad else "green")
        base.query_one("#happened", Static).update(lines or Text("no trouble, no change", style="dim"))
        if isinstance(self.screen, _Closer):
            self.screen.show()

    def _summary(self) -> str:
        look = self.overview
        failing = sum(block.state != "fresh" for block in look.blocks)
        words = [
            f"up {age(max(0.0, look.now - look.started))}",
            f"blocks: {len(look.blocks)}" + (f", {failing} not fresh" if failing else ", all fresh"),
            f"frames that wait: {sum(sink.backlog or 0 for sink in look.sinks)}",
            f"sorted by {self.sorted_by}",
        ]
        words += [f"filter '{self.wanted}'"] if self.wanted else []
        return " · ".join(words + (["paused: space goes on"] if self._paused else []))

    def _matches(self, *texts: str) -> bool:
        return not self.wanted or any(self.wanted.lower() in text.lower() for text in texts)

    def _fill(self, name: str, rows: Rows) -> None:
        """Bring a table up to date: cells that changed where the rows are the same, else all of it."""
        shown = _unique([(key, cells) for key, cells in rows if name == "sinks" or self._matches(*cells)])
        if self.lost:  # what was fresh then may be anything now; the state is the third cell of each
            shown = [(key, (*cells[:2], "unknown", *cells[3:])) for key, cells in shown]
        fill(self.screen_stack[0].query_one(f"#{name}", _Table), shown)

    # what the user does

    def action_next(self) -> None:
        """Go to the next table."""
        tables = [self.query_one(f"#{name}", _Table) for name in ("blocks", "sinks", "parts")]
        at = next((number for number, table in enumerate(tables) if table.has_focus), -1)
        tables[(at + 1) % len(tables)].focus()

    def action_sort(self) -> None:
        """Sort the blocks by the next of the ways."""
        ways = list(_SORTS)
        self.sorted_by = ways[(ways.index(self.sorted_by) + 1) % len(ways)]
        self.show_overview()

    def action_filter(self) -> None:
        """Ask for what the rows shall have."""
        self.query_one("#filter", Input).add_class("asking")
        self.query_one("#filter", Input).focus()

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self.wanted = event.value.strip()
        self.show_overview()

    @on(Input.Submitted, "#filter")
    def _filter_given(self) -> None:
        self.query_one("#filter", Input).remove_class("asking")
        self.query_one("#blocks", _Table).focus()

    def action_clear(self) -> None:
        """Show all rows again."""
        self.query_one("#filter", Input).value = ""
        self._filter_given()

    def action_pause(self) -> None:
        """Hold what is shown, or go on."""
        self._paused = not self._paused
        self.show_overview()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Sorting and filtering are for the overview only."""
        del parameters
        return not (action in {"sort", "filter", "next", "clear"} and isinstance(self.screen, _Closer))

    @on(DataTable.RowSelected)
    def _look_closer(self, event: DataTable.RowSelected) -> None:
        """Look closer at the row: a block's values, or all that a part tells."""
        key = event.row_key.value
        if key is None or isinstance(self.screen, _Closer):
            return
        if event.data_table.id == "blocks":
            self.push_screen(_Closer(key, lambda: self._values(key)))
        else:
            self.push_screen(_Closer(key, lambda: self._facts(key)))

    def _values(self, key: str) -> Rows:
        found = [block for block in self.overview.blocks if key == f"{block.plc} {block.block}"]
        return [row for block in found[:1] for row in _value_rows(block)]

    def _facts(self, key: str) -> Rows:
        found = [part for part in self.overview.parts if part.name == key]
        return [row for part in found for row in _fact_rows(part)]


class _Closer(Screen[None]):
    """One block's values, or one part's facts, live."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,backspace", "app.pop_screen", "back", key_display="esc")]

    def __init__(self, title: str, rows: Callable[[], Rows]) -> None:
        super().__init__()
        self._title = title
        self._rows = rows

    def compose(self) -> ComposeResult:
        yield Header()
        yield Static(printable(self._title), id="whose")
        yield _Table("values", ("name", "value", "unit", "quality"))
        yield Footer()

    def on_mount(self) -> None:
        self.show()

    def show(self) -> None:
        """Bring the values up to date."""
        lost = self.app.lost if isinstance(self.app, TopApp) else ""
        self.query_one("#whose", Static).update(Text(lost or self._title, style="bold red" if lost else "bold"))
        fill(self.query_one("#values", _Table), _unique(self._rows()))


def _value_rows(block: Block) -> Iterable[tuple[str, tuple[str, ...]]]:
    quality = "good" if block.state == "fresh" else block.state
    yield " read", ("(read)", f"{age(block.age) or 'never'} ago" if block.age is not None else "never", "", block.state)
    if block.error:
        yield " error", ("(error)", printable(block.error), "", "")
    for name in dict.fromkeys((*block.values, *block.bad)):
        bad = block.bad.get(name, "")
        shown = cell(block.values[name]) if name in block.values else ""
        yield name, (printable(name), shown, block.units.get(name, ""), f"bad: {printable(bad)}" if bad else quality)


def _fact_rows(part: Part) -> Iterable[tuple[str, tuple[str, ...]]]:
    facts: dict[str, object] = {
        "section": part.section,
        "type": part.type,
        "state": part.state,
        "reason": part.reason,
        "last error": part.last_error,
        "errors": part.errors,
        **{f"given up: {reason}": count for reason, count in part.drops.items()},
        **part.details,
    }
    for name, found in facts.items():
        if isinstance(found, dict):
            yield from ((f"{name} {key}", (f"{name} {key}", cell(each), "", "")) for key, each in found.items())
        elif found not in ("", None):
            yield name, (printable(name), cell(found), "", "")


def fill(table: DataTable[Text], rows: Rows) -> None:
    """Bring a table up to date: cells that changed where the rows are the same, else all of it."""
    columns = list(table.columns)
    if [key.value for key in table.rows] == [key for key, _ in rows]:
        for key, cells in rows:
            old = table.get_row(key)
            for column, cell, before in zip(columns, cells, old, strict=True):
                if before.plain != cell:
                    table.update_cell(key, column, _cell(cell), update_width=True)
        return
    at = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value if table.row_count else None
    table.clear()
    for key, cells in rows:
        table.add_row(*map(_cell, cells), key=key)
    if at is not None and at in table.rows:
        table.move_cursor(row=table.get_row_index(at), animate=False)


def _cell(text: str) -> Text:
    return Text(text, style=_COLOURS.get(text.partition(":")[0], ""), no_wrap=True)


def _unique(rows: Rows) -> Rows:
    """Rows whose keys differ, as a table wants them."""
    return list({key: (key, cells) for key, cells in rows}.values())
