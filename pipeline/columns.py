"""Frames as rows of CSV with stable columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime

from pipeline.frame import Frame, Kind, Scalar

__all__ = ["Columns"]

_FIXED = ("ts", "time", "ip", "db", "tenant_id", "plc_id", "heartbeat", "read_failed", "error", "bad")
"""The first columns: the frame's own fields. `time` is `ts` as ISO 8601 in UTC."""


class Columns:
    """The columns of one file: fixed ones, then tags and values by name. Names are only ever added.

    Attributes:
        names: all of them, in order.
    """

    def __init__(self, head: bytes = b"") -> None:
        """Begin anew, or go on with the columns of a file.

        Args:
            head: the file's first line; another one than ours is ignored.
        """
        found = next(csv.reader([head.decode(errors="replace")]), [])
        self.names = found if tuple(found[: len(_FIXED)]) == _FIXED else list(_FIXED)
        self._known = frozenset(self.names)

    def head(self) -> bytes:
        """The names as a line."""
        return _line(self.names)

    def hold(self, frame: Frame) -> bool:
        """Whether each name of the frame has its column."""
        return self._known.issuperset(_named(frame))

    def add(self, frame: Frame) -> None:
        """Give each further name of the frame a column."""
        self.names += [name for name in _named(frame) if name not in self._known]
        self._known = frozenset(self.names)

    def row(self, frame: Frame) -> bytes:
        """The frame as a line; what is absent or bad is empty, and `bad` tells why."""
        origin = frame.origin
        cells: dict[str, Scalar | None] = {
            **_named(frame),
            "ts": f"{frame.ts:.3f}",
            "time": datetime.fromtimestamp(round(frame.ts, 3), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "ip": origin.ip,
            "db": origin.db,
            "tenant_id": origin.tenant_id,
            "plc_id": origin.plc_id,
            "error": frame.error,
            "bad": "; ".join(f"{name}: {reason}" for name, reason in (frame.bad or {}).items()),
        }
        return _line(_text(cells.get(name)) for name in self.names)


def _named(frame: Frame) -> dict[str, Scalar | None]:
    """Tags, values and what is bad, by column. A value that is called like a fixed column gets a longer name."""
    if frame.kind is not Kind.DATA:
        return {**frame.origin.tags, **frame.values}
    named: dict[str, Scalar | None] = {**frame.origin.tags, **frame.values}
    for name in frame.bad or ():
        named.setdefault(name)
    return {f"values.{name}" if name in _FIXED else name: value for name, value in named.items()}


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _text(value: Scalar | None) -> str:
    """A cell without line ends, since a line is what is written and cut as a whole: control characters as escapes."""
    if isinstance(value, bool):
        return str(value).lower()
    text = "" if value is None else str(value)
    return text if text.isprintable() else repr(text)[1:-1]
