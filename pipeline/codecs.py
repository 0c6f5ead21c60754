"""The wire forms of a frame. A codec encodes a frame once; what is per sink is spliced into the shared bytes.

`full` is the first seed's JSON with our additions; `seed` is that JSON and nothing more.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from pipeline.frame import Frame, Kind, Origin, Scalar

__all__ = ["CODECS", "Codec", "Envelope", "FrameJson", "SeedJson", "decode"]

_encode = msgspec.json.Encoder().encode


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


_read = msgspec.json.Decoder(_Written).decode


def decode(body: bytes | str, origins: dict[object, Origin]) -> tuple[str, Frame]:
    """The frame that `FrameJson` has written, and its `node` ("" where it has none). Units and bytes are not in it.

    Args:
        body: one JSON object.
        origins: those met so far, to be handed in again: frames of one block share theirs.

    Raises:
        msgspec.MsgspecError: it is no such object.
    """
    found = _read(body)
    measurement = found.measurement or f"s7_db{found.db}"
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
    return found.node, Frame(kind, found.ts, origin, found.values, found.bad, error=found.error)


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


CODECS: dict[str, Codec] = {codec.name: codec for codec in (FrameJson(), SeedJson())}
