"""A foreign configuration's mapping, read key by key; what nobody reads is told with its line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pipeline.config.document import Entry, Record, Scalar, resolve

__all__ = ["Note", "Section"]

Number = TypeVar("Number", int, float)
_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "1", "y"), True),
    **dict.fromkeys(("false", "no", "off", "0", "n"), False),
}
_ELSEWHERE = {"destination": "mirroring is a node of its own, see configs/mirror.yaml; left out"}


@dataclass(frozen=True, order=True)
class Note:
    """What a person should know of one line: not taken, or taken otherwise."""

    line: int
    text: str


class Section:
    """A mapping whose keys are ticked off as they are read; what is left at the end is told.

    Attributes:
        entries: of the mapping, as far as they were not moved elsewhere.
        notes: what was told, shared by all sections of a file.
    """

    def __init__(self, record: Record, path: str, notes: list[Note]) -> None:
        self.entries = dict(record.entries)
        self.notes = notes
        self._line = record.line
        self._path = path
        self._read: set[str] = set()

    def tell(self, key: str, text: str, line: int = 0) -> None:
        """Note something of a key, with its line; where it is not there and none is given, with the mapping's."""
        place = self.entries[key].line if key in self.entries else self._line
        # In one line, whatever the file holds: notes become comments.
        self.notes.append(Note(line or place, " ".join(f"{self._path}{key}: {text}".split())))

    def miss(self, text: str) -> None:
        """Note what the mapping as a whole lacks, with its line."""
        self.notes.append(Note(self._line, f"{self._path.rstrip('.')}: {text}"))

    def take(self, key: str) -> Entry | None:
        """The entry, ticked off; None where it is not there, or null."""
        self._read.add(key)
        entry = self.entries.get(key)
        empty = entry is not None and isinstance(entry.value, Scalar) and _plain(entry.value) is None
        return None if empty else entry

    def named(self, *keys: str) -> str:
        """Which of several names of one thing is used, the first where none is; what a second one says is told."""
        used = [key for key in keys if self.take(key) is not None]
        for other in used[1:]:
            self.tell(other, f"left out, since {used[0]} counts")
        return used[0] if used else keys[0]

    def section(self, key: str) -> Section:
        """A mapping below; an empty one where there is none."""
        entry = self.take(key)
        if entry is not None and not isinstance(entry.value, Record):
            self.tell(key, "is no mapping, left out")
        line = self._line if entry is None else entry.line
        record = entry.value if entry is not None and isinstance(entry.value, Record) else Record({}, line, 1)
        return Section(record, f"{self._path}{key}.", self.notes)

    def text(self, key: str, default: str = "") -> str:
        """A text; numbers count as such."""
        entry = self.take(key)
        if entry is None:
            return default
        if not isinstance(entry.value, Scalar):
            self.tell(key, "is no text, left out")
            return default
        return entry.value.text

    def number(self, key: str, default: Number) -> Number:
        """A number of the default's type, also in quotes."""
        entry = self.take(key)
        if entry is None:
            return default
        found = resolve(entry.value.text) if isinstance(entry.value, Scalar) else None
        if isinstance(found, bool) or not isinstance(found, int | type(default)):
            self.tell(key, f"is no number, {default} instead")
            return default
        return type(default)(found)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false, in all of YAML 1.1's words."""
        entry = self.take(key)
        if entry is None:
            return default
        found = _FLAGS.get(entry.value.text.lower()) if isinstance(entry.value, Scalar) else None
        if found is None:
            self.tell(key, f"is neither true nor false, {str(default).lower()} instead")
            return default
        return found

    def close(self) -> None:
        """Tell what nobody has read."""
        for key in self.entries.keys() - self._read:
            self.tell(key, _ELSEWHERE.get(key, "nothing here does this, left out"))


def _plain(value: Scalar) -> object:
    return resolve(value.text) if value.plain else value.text
