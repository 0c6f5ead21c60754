"""The wire forms of a frame. A codec encodes a frame once; what is per sink is spliced into the shared bytes.

`full` is the first seed's JSON with our additions; `seed` is that JSON and nothing more. `line` and `line_seed` are the
same two as InfluxDB's line protocol, with the points that the platform's ingest makes of the JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import msgspec

from pipeline.frame import Frame, Kind, Origin, Scalar, Stamp

__all__ = ["CODECS", "LINES", "Codec", "Envelope", "FrameJson", "LineProtocol", "SeedJson", "decode"]

_encode = msgspec.json.Encoder().encode
# As Telegraf's serializer escapes: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
_ESCAPED = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ ", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"})
_UNWRITABLE = re.compile(r"^$|\\(?=[,= ]|$)")


class Envelope(StrEnum):
    """How a sink writes frames, by the codec's name: ours, or exactly as the first system wrote them."""

    FULL = "full"
    SEED = "seed"


class Codec(Protocol):
    """A wire form.

    Attributes:
        name: what journal records and caches call it.
        content_type: the MIME type of one encoded frame.
    """

    name: str
    content_type: str

    def encode(self, frame: Frame) -> bytes:
        """The frame's bytes without what is per sink; kept in `frame.wire`."""

    def stamp(self, body: bytes, seq: int, boot: bytes) -> bytes:
        """The body with a sink's `seq` (from 0 per PLC and boot) and `boot` (ASCII ULID) in it."""

    def mark_replayed(self, body: bytes) -> bytes:
        """The stamped body with the mark that it comes from the backlog."""


class FrameJson:
    """The first seed's JSON object, keys in its order, then `tags`, `measurement`, `bad`, `seq`, `boot`, `replayed`.

    `ts` has three decimals. `measurement` is named only where it is not `s7_db<db>`.
    """

    name = "full"
    content_type = "application/json"

    def encode(self, frame: Frame) -> bytes:
        """See `Codec.encode`."""
        body = frame.wire.get("full")
        if body is None:
            origin = frame.origin
            parts = origin.cache.get("full")
            if parts is None:
                parts = origin.cache["full"] = (_head(origin), _tail(origin))
            body = b'{"ts":%.3f%b,"values":%b%b%b%b}' % (
                frame.ts,
                parts[0],
                _encode(frame.values),
                b"" if frame.error is None else b',"error":%b' % _encode(frame.error),
                parts[1],
                b',"bad":%b' % _encode(frame.bad) if frame.bad else b"",
            )
            frame.wire["full"] = body
        return body

    def stamp(self, body: bytes, seq: int, boot: bytes) -> bytes:
        """See `Codec.stamp`."""
        return b'%b,"seq":%d,"boot":"%b"}' % (body[:-1], seq, boot)

    def mark_replayed(self, body: bytes) -> bytes:
        """See `Codec.mark_replayed`."""
        return body[:-1] + b',"replayed":true}'


class SeedJson:
    """The first seed's JSON object and nothing more: no `seq`, no `boot`, no marks."""

    name = "seed"
    content_type = "application/json"

    def encode(self, frame: Frame) -> bytes:
        """See `Codec.encode`."""
        body = frame.wire.get("seed")
        if body is None:
            origin = frame.origin
            head = origin.cache.get("seed")
            if head is None:
                head = origin.cache["seed"] = _head(origin)
            body = b'{"ts":%.3f%b,"values":%b%b}' % (
                frame.ts,
                head,
                _encode(frame.values),
                b"" if frame.error is None else b',"error":%b' % _encode(frame.error),
            )
            frame.wire["seed"] = body
        return body

    def stamp(self, body: bytes, seq: int, boot: bytes) -> bytes:  # noqa: ARG002 - the contract's arguments
        """The seed's form carries no `seq` and no `boot`."""
        return body

    def mark_replayed(self, body: bytes) -> bytes:
        """The seed's form carries no mark."""
        return body


class LineProtocol:
    """A point of InfluxDB: `s7_db1,ip=…,db=1 contador_bom=5014,seq=812i,boot="01JD8Z…" 1731800000123`.

    Measurement and tags are the origin's; fields are the values, then `error`, `bad` (its JSON as text), `seq`, `boot`
    and `replayed`. All numbers are floats, so that 5 and 5.5 agree for ever; only `seq` is an integer. Time is in
    milliseconds. A frame that another process has stamped keeps those numbers; its body ends in a newline, which says
    that none are to be added (lines that are empty count for nothing).
    """

    content_type = "text/plain; charset=utf-8"

    def __init__(self, name: str, *, stamped: bool) -> None:
        """Make one.

        Args:
            name: of the codec.
            stamped: with `seq`, `boot` and `replayed`.
        """
        self.name = name
        self._stamped = stamped

    def encode(self, frame: Frame) -> bytes:
        """See `Codec.encode`.

        Raises:
            ValueError: the frame has no field, which a point must have.
        """
        body = frame.wire.get(self.name)
        if body is None:
            fields = _fields(frame.values)
            if frame.error is not None:
                fields["error"] = _quoted(frame.error)
            if frame.bad:
                fields["bad"] = _quoted(_encode(frame.bad).decode())
            stamp = frame.stamp if self._stamped else None
            if stamp is not None:
                fields |= {"seq": f"{stamp.seq}i", "boot": _quoted(stamp.boot)}
                fields |= {"replayed": "true"} if stamp.replayed else {}
            if not fields:
                raise ValueError("a point needs a field")
            text = ",".join(f"{name}={value}" for name, value in fields.items())
            end = "" if stamp is None else "\n"
            body = f"{self._series(frame.origin)} {text} {_milliseconds(frame.ts)}{end}".encode()
            frame.wire[self.name] = body
        return body

    def stamp(self, body: bytes, seq: int, boot: bytes) -> bytes:
        """See `Codec.stamp`."""
        if not self._stamped or body.endswith(b"\n"):
            return body
        fields, _, ts = body.rpartition(b" ")
        return b'%b,seq=%di,boot="%b" %b' % (fields, seq, boot, ts)

    def mark_replayed(self, body: bytes) -> bytes:
        """See `Codec.mark_replayed`; the later of two marks counts for InfluxDB."""
        if not self._stamped:
            return body
        fields, _, ts = body.rpartition(b" ")
        return b"%b,replayed=true %b" % (fields, ts)

    def _series(self, origin: Origin) -> str:
        series: str | None = origin.cache.get("line")
        if series is None:
            db = "" if origin.db is None else str(origin.db)
            own = {"ip": origin.ip, "db": db, "tenant_id": origin.tenant_id, "plc_id": origin.plc_id}
            tags = {**origin.tags, **{name: value for name, value in own.items() if value}}
            pairs = [(_key(name), _key(value)) for name, value in sorted(tags.items())]
            written = "".join(f",{name}={value}" for name, value in pairs if name and value)
            series = origin.cache["line"] = _key(origin.measurement).replace("\\=", "=") + written
        return series


class _Written(msgspec.Struct):
    """A frame as `FrameJson` writes it, with the node that it left where somebody wrote that too."""

    ts: float
    values: dict[str, Scalar]
    ip: str = ""
    db: int | None = None
    tenant_id: str = ""
    plc_id: str = ""
    error: str | None = None
    tags: dict[str, str] = {}
    measurement: str = ""
    bad: dict[str, str] | None = None
    node: str = ""
    seq: int | None = None
    boot: str = ""
    replayed: bool = False


_read = msgspec.json.Decoder(_Written).decode


def decode(body: bytes | str, origins: dict[object, Origin]) -> tuple[str, Frame]:
    """The frame that `FrameJson` has written, and its `node` ("" where it has none). Units and bytes are not in it.

    Args:
        body: one JSON object.
        origins: those met so far, to be handed in again: frames of one block share theirs.

    Raises:
        ValueError: it is no such object, or not UTF-8.
        RecursionError: it is nested too deeply.
    """
    found = _read(body)
    measurement = found.measurement or ("s7_tags" if found.db is None else f"s7_db{found.db}")
    key = (measurement, found.ip, found.db, found.tenant_id, found.plc_id, tuple(found.tags.items()))
    origin = origins.get(key)
    if origin is None:
        origin = origins[key] = Origin(
            measurement=measurement,
            ip=found.ip,
            db=found.db,
            tenant_id=found.tenant_id,
            plc_id=found.plc_id,
            tags=found.tags,
        )
    if found.error is not None:
        kind = Kind.FAILURE
    else:
        kind = Kind.HEARTBEAT if found.values == {"heartbeat": 1} else Kind.DATA
    stamp = None if found.seq is None else Stamp(found.seq, found.boot, found.replayed)
    return found.node, Frame(kind, found.ts, origin, found.values, found.bad, error=found.error, stamp=stamp)


def _head(origin: Origin) -> bytes:
    fields: dict[str, object] = {"ip": origin.ip}
    if origin.db is not None:
        fields["db"] = origin.db
    if origin.tenant_id:
        fields["tenant_id"] = origin.tenant_id
    if origin.plc_id:
        fields["plc_id"] = origin.plc_id
    return b"," + _encode(fields)[1:-1]


def _tail(origin: Origin) -> bytes:
    fields: dict[str, object] = {}
    if origin.tags:
        fields["tags"] = origin.tags
    if origin.measurement != f"s7_db{origin.db}":
        fields["measurement"] = origin.measurement
    return b"," + _encode(fields)[1:-1] if fields else b""


def _fields(values: Mapping[str, Scalar]) -> dict[str, str]:
    """Values as line protocol writes them, by escaped name; a number that is none is absent."""
    fields: dict[str, str] = {}
    for given, value in values.items():
        name = _key(given)
        if not name:
            continue
        if isinstance(value, bool):
            fields[name] = "true" if value else "false"
        elif isinstance(value, str):
            fields[name] = _quoted(value)
        elif math.isfinite(value):
            fields[name] = repr(value)
    return fields


def _milliseconds(ts: float) -> int:
    """Rounded as JSON's three decimals are, so that both forms tell the same moment."""
    return int(f"{ts:.3f}".replace(".", ""))


def _quoted(text: str) -> str:
    """A text field. Line breaks may stand in it as they are."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _key(text: str) -> str:
    """A tag's name or value, or a field's name: escaped; "" where it can't be written and is left out.

    Nothing is no name, and a backslash escapes what follows it, whatever was meant.
    """
    return "" if _UNWRITABLE.search(text) else text.translate(_ESCAPED)


LINES: dict[Envelope, LineProtocol] = {
    Envelope.FULL: LineProtocol("line", stamped=True),
    Envelope.SEED: LineProtocol("line_seed", stamped=False),
}
"""Line protocol by envelope."""
_ALL: tuple[Codec, ...] = (FrameJson(), SeedJson(), *LINES.values())
CODECS: dict[str, Codec] = {codec.name: codec for codec in _ALL}
