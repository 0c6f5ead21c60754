"""The live overview: blocks, sinks, parts and events of a running pipeline, with keys to sort, filter and look closer.

A lost connection is told, what is shown is dimmed and grows older, and it comes back by itself. A small terminal shows
one table at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec
from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Footer, Header, Input, Static

from pipeline.errors import PipelineError
from pipeline.table import ending, printable
from pipeline.terminal.closer import Closer, Rows, Table, fact_rows, fill, unique, value_rows
from pipeline.terminal.keys import Keys
from pipeline.terminal.look import Block, Event, Overview, aged, by_trouble
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

_LONGEST_PAUSE = 8.0
_SORTS: dict[str, Callable[[Block], tuple[float, float]]] = {
    "trouble": lambda block: (by_trouble(block.state), not block.bad),
    "PLC": lambda _: (0, 0),
    "age": lambda block: (0, -(float("inf") if block.age is None else block.age)),
    "latency": lambda block: (0, -(block.latency_ms or 0.0)),
    "reads/s": lambda block: (0, -(block.rate or 0.0)),
}


_HERE = "top"
_TABLES = (("blocks", BLOCKS), ("sinks", SINKS), ("parts", PARTS))


class TopApp(App[None]):
    """Blocks above, sinks and parts below them, the latest events at the bottom."""

    TITLE = "top"
    ENABLE_COMMAND_PALETTE = False
    VERTICAL_BREAKPOINTS = [(0, "-low"), (22, "-usual"), (40, "-high")]  # noqa: RUF012 - not a ClassVar in the library
    CSS = """
    #said { height: 1; padding: 0 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    #said.lost { height: auto; max-height: 4; text-wrap: wrap; background: $error; color: $text; text-style: bold; }
    .lost DataTable, .lost #events { opacity: 50%; }
    DataTable { scrollbar-size-horizontal: 0; }
    #blocks { height: 1fr; min-height: 6; }
    #sinks { height: auto; max-height: 4; border-top: solid $primary; }
    #parts { height: 4; border-top: solid $primary; }
    #events { height: 4; border-top: solid $primary; padding: 0 1; }
    .-high #blocks { height: 2fr; }
    .-high #sinks { max-height: 8; }
    .-high #parts { height: 1fr; }
    .-high #events { height: 7; }
    .-low Header, .-low #blocks, .-low #sinks, .-low #parts { display: none; }
    .-low #blocks.chosen, .-low #sinks.chosen, .-low #parts.chosen { display: block; height: 1fr; max-height: 100%; }
    .-low #events { height: 3; }
    #filter { display: none; height: 3; }
    #filter.asking { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("question_mark", "keys", "keys", key_display="?"),
        Binding("tab", "next", "next", key_display="⇥", priority=True),
        Binding("s", "sort", "sort"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("space", "pause", "pause", key_display="␣"),
        Binding("escape", "clear", "clear filter", show=False),
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
        self.shown = first
        self.sorted_by = "trouble"
        self.wanted = ""
        self._look = look
        self._every = every
        self._paused = False
        self._trouble = ""
        self._seen = time.monotonic()
        self._connection: list[Event] = []

    @property
    def lost(self) -> str:
        """Why there is no connection and for how long; "" where there is one."""
        return f"without connection for {age(self._silence)}: {self._trouble}" if self._trouble else ""

    @property
    def _silence(self) -> float:
        return time.monotonic() - self._seen

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield Header()
        yield Static(id="said")
        for name, head in _TABLES:
            yield Table(name, head)
        with VerticalScroll(id="events", can_focus=False):
            yield Static(id="happened")
        yield Input(id="filter", placeholder="part of a PLC's, block's or part's name, of a state or an error")
        yield Footer()

    def on_mount(self) -> None:
        """Show the first look, and begin to look again."""
        self._choose("blocks")
        self.show_overview()
        self.watch_pipeline()
        self.set_interval(1, self._grow_older)

    @work
    async def watch_pipeline(self) -> None:
        """Look again and again; after failures less and less often."""
        pause = self._every
        while True:
            await asyncio.sleep(pause)
            if self._paused:
                continue
            try:
                self.overview = await asyncio.to_thread(self._look)
                if self._trouble:
                    self._connection.append(Event(self.overview.now, _HERE, "the connection is back", bad=False))
                self._trouble, self._seen, pause = "", time.monotonic(), self._every
            except PipelineError as error:
                told = printable(str(error))
                if not self._trouble:
                    self._connection.append(Event(self.overview.now + self._silence, _HERE, told, bad=True))
                self._trouble = told
                pause = min(max(pause * 2, self._every), max(_LONGEST_PAUSE, self._every))
            self.show_overview()

    def _grow_older(self) -> None:
        if self.lost:
            self.show_overview()

    # what is shown

    def show_overview(self) -> None:
        """Show the newest look, on this screen and on the one above it."""
        base, lost = self.screen_stack[0], self.lost
        base.set_class(bool(lost), "lost")
        said = base.query_one("#said", Static)
        said.set_class(bool(lost), "lost")
        said.update(Text(lost or self._summary()))
        look = self._sorted(self.overview)
        look = self.shown = aged(look, self._silence) if lost else look
        self._fill("blocks", [(f"{n.plc} {n.block}", block_row(n)) for n in look.blocks])
        self._fill("sinks", [(sink.name, sink_row(sink)) for sink in look.sinks])
        self._fill("parts", [(part.name, part_row(part, look.now)) for part in look.parts])
        self._show_events([*look.events, *self._connection])
        if isinstance(self.screen, Closer):
            self.screen.show(lost)

    def _sorted(self, look: Overview) -> Overview:
        parts = look.parts
        if self.sorted_by == "trouble":
            parts = sorted(parts, key=lambda part: by_trouble(part.state))
        return msgspec.structs.replace(look, blocks=sorted(look.blocks, key=_SORTS[self.sorted_by]), parts=parts)

    def _show_events(self, events: Sequence[Event]) -> None:
        lines = Text()
        for event in sorted(events, key=lambda event: event.ts, reverse=True):
            if self._matches(event.who, event.what):
                lines.append(event_line(event) + "\n", style="red" if event.bad else "green")
        happened = self.screen_stack[0].query_one("#happened", Static)
        happened.update(lines or Text("no trouble, no change", style="dim"))

    def _summary(self) -> str:
        look = self.overview
        failing = sum(block.state != "fresh" for block in look.blocks)
        words = [
            f"blocks: {len(look.blocks)}" + (f", {failing} not fresh" if failing else ", all fresh"),
            f"frames that wait: {sum(sink.backlog or 0 for sink in look.sinks)}",
            f"by {self.sorted_by}",
            f"up {age(max(0.0, look.now - look.started))}",
        ]
        first = ["paused: space goes on"] if self._paused else []
        return " · ".join([*first, *([f"filter '{self.wanted}'"] if self.wanted else []), *words])

    def _matches(self, *texts: str) -> bool:
        return not self.wanted or any(self.wanted.lower() in text.lower() for text in texts)

    def _fill(self, name: str, rows: Rows) -> None:
        """Bring a table up to date: cells that changed where the rows are the same, else all of it."""
        widest = self.size.width // 3  # else a long name leaves no room for state and age
        shown = unique(
            [
                (key, (ending(cells[0], widest), ending(cells[1], widest), *cells[2:]))
                for key, cells in rows
                if name == "sinks" or self._matches(*cells)
            ]
        )
        fill(self.screen_stack[0].query_one(f"#{name}", Table), shown)

    # what the user does

    def action_next(self) -> None:
        """Go to the next table."""
        names = [name for name, _ in _TABLES]
        at = next((number for number, name in enumerate(names) if self.query_one(f"#{name}").has_focus), -1)
        self._choose(names[(at + 1) % len(names)])

    def _choose(self, name: str) -> None:
        for each, _ in _TABLES:
            self.query_one(f"#{each}").set_class(each == name, "chosen")
        self.query_one(f"#{name}").focus()

    def action_keys(self) -> None:
        """Show the keys, and what some columns mean."""
        self.push_screen(Keys())

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
        self._choose("blocks")

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
        return action not in {"sort", "filter", "next", "clear", "keys"} or len(self.screen_stack) == 1

    @on(DataTable.RowSelected)
    def _look_closer(self, event: DataTable.RowSelected) -> None:
        """Look closer at the row: a block's values, or all that a part tells."""
        key = event.row_key.value
        if key is None or isinstance(self.screen, Closer):
            return
        if event.data_table.id == "blocks":
            self.push_screen(Closer(key, ("name", "value", "unit", "quality"), lambda: self._values(key)))
        else:
            self.push_screen(Closer(key, ("fact", "value"), lambda: self._facts(key)))

    def _values(self, key: str) -> Rows:
        found = [block for block in self.shown.blocks if key == f"{block.plc} {block.block}"]
        return [row for block in found[:1] for row in value_rows(block)]

    def _facts(self, key: str) -> Rows:
        found = [part for part in self.shown.parts if part.name == key]
        return [row for part in found for row in fact_rows(part, self.shown.now)]
