"""The frame: one immutable observation of one block, and the origin that all frames of a block share."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec

__all__ = ["DATA", "FAILURE", "Extent", "Frame", "Kind", "Moments", "Origin", "Scalar", "Stamp"]

Scalar = bool | int | float | str
"""What a value may be: `values` is flat and scalar, since the ingest loses arrays and merges nested keys."""


class Kind(Enum):
    """What a frame tells: values, that its source lives, or that a read failed."""

    DATA = "data"
    HEARTBEAT = "heartbeat"
    FAILURE = "failure"


DATA, FAILURE = Kind.DATA, Kind.FAILURE
"""For what runs at every frame: before Python 3.12, looking a member up in its enum costs more than most steps."""

_CLOSE = 10
"""Milliseconds by which frames that come too close to one another may run ahead of the clock."""


class Extent(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """A stretch of bytes in a device. `str()` writes it as allow-lists do: `DB101.0..13`.

    Attributes:
        device: where it lies, `address:port` in lower case.
        plc: what people call that device.
        db: number of the data block.
        start: first byte.
        size: number of bytes, at least 1.
        solid: (offset, size) of what belongs together, such as a REAL: ascending, without overlap.
    """

    device: str
    plc: str = ""
    db: int
    start: int
    size: int
    solid: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        return f"DB{self.db}.{self.start}..{self.start + self.size - 1}"

    def covers(self, other: Extent) -> bool:
        """Whether all bytes of `other` are among these; devices are not compared."""
        return self.db == other.db and self.start <= other.start and other.start + other.size <= self.start + self.size

    def overlaps(self, other: Extent) -> bool:
        """Whether the two share a byte of one device."""
        return (
            (self.device, self.db) == (other.device, other.db)
            and self.start < other.start + other.size
            and other.start < self.start + self.size
        )


class Moments:
    """The times of one series' frames: whole milliseconds, none twice.

    Late ticks may be answered within one millisecond, and a heartbeat may come with a reading; a database takes two
    frames of one series and time for one.
    """

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        self._latest = 0

    def at(self, wall: float) -> float:
        """The time, in seconds since 1970, of a frame made at `wall`."""
        now = int(wall * 1000 + 0.5)
        if now <= self._latest < now + _CLOSE:  # further ahead it is the clock that was set back
            now = self._latest + 1
        self._latest = now
        return now / 1000


class Origin(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where frames come from: one block of one PLC. Made once, shared by all its frames, compared by identity.

    Attributes:
        measurement: the name in the time-series database, `s7_db<n>` unless told.
        ip: the PLC's address as configured.
        db: the data block's number, None for tags outside a block.
        tenant_id: empty when unset.
        plc_id: empty when unset.
        tags: the block's own tags, fixed.
        units: unit by value name, for the page; never on the wire.
        extent: which bytes `raw` holds; None where it holds none.
        moments: the times of its frames, whoever makes them.
        cache: constant parts that codecs keep, by codec name.
    """

    measurement: str
    ip: str = ""
    db: int | None = None
    tenant_id: str = ""
    plc_id: str = ""
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    units: Mapping[str, str] = msgspec.field(default_factory=dict)
    extent: Extent | None = None
    moments: Moments = msgspec.field(default_factory=Moments)
    cache: dict[str, Any] = msgspec.field(default_factory=dict)

    def replace(self, **changes: Any) -> Origin:
        """A copy with other attributes and an empty cache. Make it once and keep it: identity is what sinks key on."""
        return msgspec.structs.replace(self, cache={}, **changes)


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """What the sink of another process has stamped on a frame that came over the wire.

    Attributes:
        seq: its number, from 0 for each PLC and process start there.
        boot: that process start.
        replayed: it came from the backlog there.
    """

    seq: int
    boot: str
    replayed: bool = False


class Frame(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One observation.

    Attributes:
        kind: data, heartbeat or failure.
        ts: seconds since 1970 (UTC) when the PLC's answer arrived.
        origin: the block it comes from.
        values: flat, name to scalar; a value that could not be read is absent and named in `bad`.
        bad: reason by name for values that are absent, None when all are well.
        raw: the block's bytes as the PLC sent them (big-endian), None where they are not complete.
        error: the short reason of a failure frame, None otherwise.
        wire: encoded forms by codec name, filled by the codecs: encode once, share the bytes.
        stamp: what another process has stamped on it, None for frames that began here.
    """

    kind: Kind
    ts: float
    origin: Origin
    values: Mapping[str, Scalar]
    bad: Mapping[str, str] | None = None
    raw: bytes | None = None
    error: str | None = None
    wire: dict[str, bytes] = msgspec.field(default_factory=dict)
    stamp: Stamp | None = None

    def replace(self, **changes: Any) -> Frame:
        """A copy with other attributes; its encoded forms are made anew."""
        return msgspec.structs.replace(self, wire={}, **changes)

    @classmethod
    def heartbeat(cls, origin: Origin, ts: float) -> Frame:
        """The source lives: `{"heartbeat": 1}`."""
        return cls(Kind.HEARTBEAT, ts, origin, {"heartbeat": 1})

    @classmethod
    def failure(cls, origin: Origin, ts: float, error: str) -> Frame:
        """A read failed: `{"heartbeat": 1, "read_failed": true}` and the reason."""
        return cls(Kind.FAILURE, ts, origin, {"heartbeat": 1, "read_failed": True}, error=error)
