"""The live grid of a block's bytes: what moves, what it may be, and fields that the user accepts, names and exports.

The only module that needs Textual. Samples come from a function that is called again when it fails; analysis runs on a
thread, and never more than a quarter of the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import DataTable, Footer, Header, Input, Static

from pipeline.errors import PipelineError
from pipeline.probing.analysis import Analysis, Candidate, analyse
from pipeline.probing.grid import ByteGrid, heat
from pipeline.probing.layout import Named, name_mistake, named, seen
from pipeline.probing.report import short
from pipeline.probing.samples import Sample, activities, seconds

__all__ = ["ProbeApp"]

Watch = Callable[[], AsyncIterator[Sample]]
Save = Callable[[Sequence[Named]], str]

_KEPT = 2000
"""Samples that are analysed."""
_AGAIN = 2.0
"""Seconds before a block that could not be read is tried again."""
_SHARE = 4
_SHOWN = 200
"""Most characters of a message."""


class ProbeApp(App[None]):
    """Grid on the left, what the byte under the cursor may be on the right, accepted fields below."""

    TITLE = "probe"
    CSS = """
    #left { width: 60; padding: 0 1; }
    #right { width: 1fr; padding: 0 1; }
    .-narrow #main { layout: vertical; }
    .-narrow #left { width: 100%; height: 10; }
    .-narrow #right { width: 100%; height: 1fr; }
    #byte { height: 4; }
    #candidates { height: 1fr; min-height: 5; }
    #fields { height: 2fr; border-top: solid $primary; padding: 0 1; }
    #name { display: none; dock: bottom; }
    #name.asking { display: block; }
    #status { height: 1; color: $text-muted; padding: 0 1; }
    #legend { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "other", "grid/candidates", show=False, priority=True),
        Binding("enter", "accept", "accept", priority=False),
        Binding("a", "accept", "accept, name"),
        Binding("A", "accept_all", "accept all guesses"),
        Binding("d", "drop", "drop field"),
        Binding("space", "pause", "pause"),
        Binding("r", "forget", "forget samples"),
        Binding("e", "export", "export"),
        Binding("q", "quit", "quit"),
        Binding("escape", "cancel", "cancel", show=False),
    ]

    def __init__(self, title: str, watch: Watch, save: Save, span: float) -> None:
        """Prepare the app.

        Args:
            title: what is looked at.
            watch: gives samples until it fails.
            save: exports fields and says what it did.
            span: seconds after which it ends by itself.
        """
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
        self.sub_title = title
        self.samples: list[Sample] = []
        self.analysis = Analysis(0, ())
        self.fields: dict[tuple[int, int], Named] = {}
        self._watch = watch
        self._save = save
        self._span = span
        self._paused = False
        self._candidate: Candidate | None = None
        self._shown: list[Candidate] = []
        self._analysing = False
        self._next = 0.0

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield Header()
        with Horizontal(id="main"):
            with Vertical(id="left"):
                with VerticalScroll(can_focus=False):
                    yield ByteGrid(id="grid")
                yield Static(_legend(), id="legend")
            with Vertical(id="right"):
                yield Static(id="byte")
                table: DataTable[Text] = DataTable(id="candidates", cursor_type="row", zebra_stripes=True)
                table.add_columns("place", "type", "now", "seems to be", "score")
                yield table
                with VerticalScroll(id="fields", can_focus=False):
                    yield Static(id="accepted")
        yield Input(id="name", placeholder="name of the field, then Enter; Escape cancels")
        yield Static("waiting for the first sample", id="status")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one(ByteGrid).focus()
        self.look()
        if self._span < float("inf"):
            self.set_timer(self._span, self.exit)

    # samples

    @work(exclusive=True)
    async def look(self) -> None:
        """Take samples for as long as the app lives."""
        while True:
            try:
                async for sample in self._watch():
                    self._take(sample)
            except PipelineError as error:
                self._say(f"{error}; trying again", "error")
            await asyncio.sleep(_AGAIN)

    def _take(self, sample: Sample) -> None:
        if self._paused:
            return
        self.samples.append(sample)
        del self.samples[:-_KEPT]
        self.query_one(ByteGrid).show(sample.data, activities(self.samples))
        self._say(
            f"{len(self.samples)} samples in {seconds(self.samples):.0f} s; the more moves, the surer the guesses"
        )
        now = time.monotonic()
        if not self._analysing and now >= self._next:
            self._analysing = True
            self.analyse()

    @work(thread=True)
    def analyse(self) -> None:
        """Find the fields, on a thread: a large block takes a while."""
        begun = time.monotonic()
        pinned = [field.reading for field in self.fields.values()]
        analysis = analyse(list(self.samples), pinned)
        took = time.monotonic() - begun
        self.call_from_thread(self._analysed, analysis, took)

    def _analysed(self, analysis: Analysis, took: float) -> None:
        self._analysing = False
        self._next = time.monotonic() + max(0.5, took * _SHARE)
        self.analysis = analysis
        self._show_byte()

    # what is shown

    @on(ByteGrid.Moved)
    def _show_byte(self) -> None:
        """The byte under the cursor and what it may be."""
        grid = self.query_one(ByteGrid)
        if not self.samples:
            return
        at = grid.cursor
        active = activities([Sample(each.at, each.data[at : at + 1]) for each in self.samples])[0]
        value = active.value
        bits = Text(" ".join(str(value >> bit & 1) for bit in range(7, -1, -1)))
        for bit in range(8):
            if active.toggled >> bit & 1:
                bits.stylize("bold reverse", (7 - bit) * 2, (7 - bit) * 2 + 1)
        owner = self._owner(at)
        text = Text(f"byte {at}   0x{value:02X}   {value}   bits 7 to 0: ").append_text(bits)
        text.append(f"\n{active.changes} changes, {active.per_minute:g} a minute, {active.distinct} different values")
        text.append(
            f"\nfield: {owner.name} ({owner.reading.type} @ {owner.reading.place})" if owner else "\nno field yet"
        )
        self.query_one("#byte", Static).update(text)
        self._show_candidates(at)
        self._show_fields()

    def _show_candidates(self, at: int) -> None:
        table = self.query_one("#candidates", DataTable)
        marked = self._marked()
        over = self.analysis.over(at)
        self._shown = self.analysis.at(at)
        if over is not None and over not in self._shown:
            self._shown.insert(0, over)
        table.clear()
        for each in self._shown:
            style = "bold" if each.chosen else ""
            cells = (each.reading.place, each.reading.type, short(each.value), str(each.guess), f"{each.score:.2f}")
            table.add_row(*(Text(cell, style=style) for cell in cells))
        # The mark stays on what it stood on: an analysis that ends before Enter may bring another order.
        rows = [each.reading for each in self._shown]
        if marked is not None and marked.reading in rows:
            table.move_cursor(row=rows.index(marked.reading))

    def _marked(self) -> Candidate | None:
        row = self.query_one("#candidates", DataTable).cursor_row
        return self._shown[row] if row < len(self._shown) else None

    def _show_fields(self) -> None:
        lines = Text(f"Accepted fields: {len(self.fields)}\n", style="bold")
        for _, field in sorted(self.fields.items()):
            place = f"{field.reading.type} @ {field.reading.place}"
            lines.append(f"{field.name:<20} {place:<16} ", style="green")
            lines.append(f"{seen(field.reading, self.samples)}\n", style="not bold")
        self.query_one("#accepted", Static).update(lines)
        self.query_one(ByteGrid).mark({at for field in self.fields.values() for at in _bytes(field)})

    def _owner(self, at: int) -> Named | None:
        return next((field for _, field in sorted(self.fields.items()) if at in _bytes(field)), None)

    def _say(self, text: str, style: str = "") -> None:
        self.query_one("#status", Static).update(Text(text[:_SHOWN], style="bold red" if style else ""))

    # what the user does

    def action_other(self) -> None:
        """Go from the grid to the candidates, or back."""
        table, grid = self.query_one("#candidates", DataTable), self.query_one(ByteGrid)
        (grid if table.has_focus else table).focus()

    def action_accept(self) -> None:
        """Ask for the name of the candidate that is marked."""
        self._candidate = self._marked()
        if self._candidate is None:
            self.notify("nothing begins at this byte: it has always been zero")
            return
        reading = self._candidate.reading
        old = self.fields.get((reading.byte, reading.bit))
        box = self.query_one("#name", Input)
        box.value = old.name if old else named(self._candidate, self.analysis, self.samples).name
        box.add_class("asking")
        box.focus()

    @on(DataTable.RowSelected)
    def _selected(self) -> None:
        self.action_accept()

    @on(Input.Submitted, "#name")
    def _name_given(self, event: Input.Submitted) -> None:
        """Accept the candidate under this name; what overlaps it is dropped."""
        candidate = self._candidate
        if candidate is None:
            return
        reading = candidate.reading
        others = {place: field for place, field in self.fields.items() if not _overlap(field, candidate)}
        mistake = name_mistake(event.value.strip(), [field.name for field in others.values()])
        if mistake:
            self.notify(mistake, severity="error")
            return
        others[reading.byte, reading.bit] = named(candidate, self.analysis, self.samples, event.value.strip())
        self.fields = others
        self._next = 0.0
        self.action_cancel()
        self._show_byte()

    def action_cancel(self) -> None:
        """Back to the grid."""
        self._candidate = None
        self.query_one("#name", Input).remove_class("asking")
        self.query_one(ByteGrid).focus()

    def action_accept_all(self) -> None:
        """Accept all guesses that no accepted field contradicts, under the names that they get by themselves."""
        for each in self.analysis.chosen:
            if not any(_overlap(field, each) for field in self.fields.values()):
                place = (each.reading.byte, each.reading.bit)
                self.fields[place] = named(each, self.analysis, self.samples)
        self._show_byte()

    def action_drop(self) -> None:
        """Drop the accepted field under the cursor."""
        if owner := self._owner(self.query_one(ByteGrid).cursor):
            self.fields = {place: field for place, field in self.fields.items() if field is not owner}
            self._show_byte()

    def action_pause(self) -> None:
        """Take no more samples, or go on."""
        self._paused = not self._paused
        self._say("paused; space goes on" if self._paused else "going on")

    def action_forget(self) -> None:
        """Begin anew, for instance after the machine has started."""
        self.samples.clear()

    def action_export(self) -> None:
        """Write the accepted fields, or all guesses where none is accepted."""
        fields = [field for _, field in sorted(self.fields.items())]
        fields = fields or [named(each, self.analysis, self.samples) for each in self.analysis.chosen]
        if not fields:
            self.notify("there is nothing to export yet", severity="warning")
            return
        self.notify(self._save(fields), timeout=10)


def _bytes(field: Named) -> range:
    return range(field.reading.byte, field.reading.end)


def _overlap(field: Named, candidate: Candidate) -> bool:
    mine, other = field.reading, candidate.reading
    if mine.type == other.type == "BOOL":
        return (mine.byte, mine.bit) == (other.byte, other.bit)
    return mine.byte < other.end and other.byte < mine.end


def _legend() -> Text:
    text = Text("changes: ")
    for share, words in ((0.0, "never"), (0.02, "seldom"), (0.3, "often"), (1.0, "always")):
        text.append(f" {words} ", style=heat(share))
    return text.append("  field ", style="underline")
