"""The keys of the overview, and what some of its columns mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

__all__ = ["Keys"]

_KEYS = """\
Tab     the next table: blocks, sinks, parts
Enter   a block's values, or all that a part tells
s       sorts: trouble, PLC, age, latency, reads/s
/       shows only rows in which a text stands
Esc     shows all rows again; goes back
Space   holds what is shown, and goes on
arrows  scroll, also to columns that don't fit
q       ends

age       since the newest data were read
oldest    how long the oldest frame has waited
headroom  time until frames are lost, receiver away
dead      frames that the receiver has refused for good
errors    how often it got into trouble"""


class Keys(ModalScreen[None]):
    """The keys, above what they are for."""

    DEFAULT_CSS = """
    Keys { align: center middle; }
    Keys > VerticalScroll { width: 64; max-width: 100%; height: auto; max-height: 100%; border: solid $primary; }
    Keys > VerticalScroll { padding: 0 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,enter", "app.pop_screen", "back")]

    def compose(self) -> ComposeResult:
        """The text, with room to scroll."""
        with VerticalScroll():
            yield Static(_KEYS, markup=False)
