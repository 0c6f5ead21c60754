"""The packets of a subscriber: SUBSCRIBE out, SUBACK and PUBLISH in, PUBACK out.

Integers are big-endian; lengths are MQTT's variable byte integers. Sections are those of the MQTT 5 standard.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["encode_pubacks", "encode_subscribe", "parse_publish", "parse_suback"]

_KEEP_RETAINED = 0x10
"""Retain Handling 1: retained messages come with a new subscription, not with each connection."""
_MORE = 0x80


def encode_subscribe(topics: Sequence[str], qos: int, mid: int, *, v5: bool) -> bytes:
    """A SUBSCRIBE packet (section 3.8) for these filters, all with one quality of service."""
    options = qos | _KEEP_RETAINED if v5 else qos
    body = mid.to_bytes(2, "big") + (b"\0" if v5 else b"")
    for topic in topics:
        name = topic.encode()
        body += len(name).to_bytes(2, "big") + name + bytes((options,))
    size, length = len(body), b""
    while size >= _MORE:
        length += bytes((size & 0x7F | _MORE,))
        size >>= 7
    return b"\x82" + length + bytes((size,)) + body


def encode_pubacks(mids: Iterable[int]) -> bytes:
    """PUBACK packets (section 3.4) without reason: all is well."""
    return b"".join(b"\x40\2" + mid.to_bytes(2, "big") for mid in mids)


def parse_publish(kind: int, body: bytes, *, v5: bool) -> tuple[str, bytes, int]:
    """Topic, payload and packet identifier (0 with QoS 0) of a PUBLISH (section 3.3).

    Args:
        kind: the packet's first byte.
        body: what follows its length.
        v5: MQTT 5, with properties; otherwise 3.1.1.

    Raises:
        ValueError: it is no PUBLISH of QoS 0 or 1.
        IndexError: it ends too early.
    """
    end = 2 + int.from_bytes(body[:2], "big")
    topic = body[2:end].decode()
    mid = 0
    if quality := kind >> 1 & 3:
        if quality > 1:
            raise ValueError("a message of QoS 2, which was not asked for")
        mid = int.from_bytes(body[end : end + 2], "big")
        end += 2
    if v5:
        end = _skip_properties(body, end)
    if end > len(body):
        raise IndexError("a message that ends too early")
    return topic, body[end:], mid


def parse_suback(body: bytes, *, v5: bool) -> list[int]:
    """The reason codes of a SUBACK (section 3.9), one for each filter.

    Raises:
        IndexError: it ends too early.
    """
    return list(body[_skip_properties(body, 2) if v5 else 2 :])


def _skip_properties(body: bytes, position: int) -> int:
    size = 0
    for index in range(4):
        byte = body[position + index]
        size |= (byte & 0x7F) << 7 * index
        if byte < _MORE:
            return position + index + 1 + size
    raise ValueError("a length of more than four bytes")
