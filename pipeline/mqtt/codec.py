"""The two packets that matter at speed: PUBLISH out and PUBACK in. All others are built and read by gmqtt.

Integers are big-endian; lengths are MQTT's variable byte integers. Sections are those of the MQTT 5 standard.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct, unpack

from pipeline.errors import LinkError

__all__ = ["LARGEST", "LONGEST", "MOST", "Unfit", "encode_publish", "find_packet", "good_pubacks", "pack_topic"]

LARGEST = 0xFFFFFFF
"""What a packet can carry after its length."""
LONGEST = 16 << 20
"""Bytes of a packet that are waited for; what promises more would fill the memory."""
MOST = 0xFFFF
"""Packet identifiers, bytes of a topic name, seconds of keep-alive."""
_MORE = 0x80
_PUBLISH, _PUBLISH_ONCE = (b"\x32", b"\x33"), (b"\x30", b"\x31")
"""First bytes of PUBLISH, of QoS 1 and 0, by `retain`."""
_MID = {True: Struct(">Hx").pack, False: Struct(">H").pack}
"""Writers of the packet identifier, for MQTT 5 with the length of no properties behind it."""


class Unfit(ValueError):
    """A message that this broker or MQTT itself would punish with a closed connection."""


def pack_topic(topic: str) -> bytes:
    """Length and UTF-8 of a topic name, as PUBLISH carries it.

    Raises:
        Unfit: empty, longer than 65535 bytes, or with `+`, `#` or NUL, for which brokers close the connection.
    """
    packed = topic.encode()
    if not packed or len(packed) > MOST or any(character in topic for character in "+#\0"):
        raise Unfit("topic refused")
    return len(packed).to_bytes(2, "big") + packed


def encode_publish(packed_topic: bytes, body: bytes, mid: int, *, v5: bool, retain: bool = False) -> bytes:
    """A PUBLISH packet (section 3.3), without properties.

    Args:
        packed_topic: see `pack_topic`.
        body: the payload.
        mid: the packet identifier, 1 to 65535, for QoS 1; 0 makes it QoS 0.
        v5: MQTT 5; otherwise 3.1.1.
        retain: the broker keeps it for later subscribers.

    Raises:
        Unfit: longer than the 256 MiB that MQTT can carry.
    """
    middle = _MID[v5](mid) if mid else b"\0" * v5
    length = _length(len(packed_topic) + len(middle) + len(body))
    kind = (_PUBLISH if mid else _PUBLISH_ONCE)[retain]
    return b"".join((kind, length, packed_topic, middle, body))


@lru_cache(4096)
def _length(size: int) -> bytes:
    """A variable byte integer (section 1.5.5)."""
    if size > LARGEST:
        raise Unfit("packet too large")
    length = bytearray()
    while size >= _MORE:
        length.append(size & 0x7F | _MORE)
        size >>= 7
    length.append(size)
    return bytes(length)


def find_packet(data: bytes, position: int) -> tuple[int, int] | None:
    """Start and end of the body of the packet at `position` (section 2.1), None when more bytes are needed.

    Raises:
        ValueError: the length has more than four bytes.
        LinkError: it is still to come, and longer than `LONGEST`.
    """
    size = 0
    for index, byte in enumerate(data[position + 1 : position + 5]):
        size |= (byte & 0x7F) << 7 * index
        if byte < _MORE:
            start = position + index + 2
            if start + size <= len(data):
                return start, start + size
            if size > LONGEST:
                detail = f"a packet of {-(-size >> 20)} MiB comes, and none of more than {LONGEST >> 20} MiB is taken"
                raise LinkError("protocol", detail, "does something publish so much in one message?")
            return None
    if len(data) >= position + 5:
        raise ValueError("a length of more than four bytes")
    return None


def good_pubacks(data: bytes) -> tuple[int, ...]:
    """The packet identifiers, when all of `data` are PUBACKs without reason code (section 3.4); else none.

    That is how brokers acknowledge what all is well with, many at a time.
    """
    count = len(data) >> 2
    if len(data) & 3 or data[::4] != b"\x40" * count or data[1::4] != b"\2" * count:
        return ()
    return unpack(f">{2 * count}H", data)[1::2]
