"""The read plan: from ranges of bytes to the fewest requests that a negotiated PDU allows.

Near ranges are merged into one item, long ones are cut between fields (never inside one, unless it is longer than a PDU
can carry), and items are packed into requests. A request is encoded once; only its sequence number changes afterwards.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.s7.wire import DATA_OVERHEAD, ITEM_OVERHEAD, read_answer, read_request, usual_answer

__all__ = ["GAP", "MOST_ITEMS", "Item", "Part", "Range", "Request", "cut", "largest_item", "plan"]

GAP = 16
"""Bytes between two ranges that are read along rather than asked for twice: an item costs 12 + 4 bytes by itself."""
MOST_ITEMS = 20
"""Items of one request: older CPUs take no more, whatever the PDU."""
_REQUEST_OVERHEAD = 12
_REQUEST_ITEM = 12


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """Bytes that somebody wants.

    Attributes:
        area: the area's code on the wire.
        db: the block's number, 0 outside of DBs.
        start: first byte.
        size: number of bytes.
        solid: (offset, size) of what belongs together and is never cut, ascending, without overlap; () is cut anywhere.
        owner: whatever the asker wants to find again when the bytes arrive.
    """

    area: int
    db: int
    start: int
    size: int
    solid: tuple[tuple[int, int], ...] = ()
    owner: Any = None


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a range inside an item.

    Attributes:
        range: the range that it belongs to.
        offset: where it stands in that range.
        at: where it stands in the item.
        size: number of bytes.
    """

    range: Range
    offset: int
    at: int
    size: int


@dataclass(slots=True)
class Item:
    """One item of a request: a stretch of memory and the parts it serves."""

    area: int
    db: int
    start: int
    size: int
    parts: list[Part] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """An encoded request.

    Attributes:
        items: what it reads, in order.
        frame: from the TPKT header on; the sequence number is patched in place.
        usual: see `usual_answer`; None where there is none.
    """

    items: tuple[Item, ...]
    frame: bytearray
    usual: tuple[bytes, bytes, int] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Know the usual answer beforehand."""
        object.__setattr__(self, "usual", usual_answer(self.items))

    def answer(self, pdu: bytes) -> list[bytes | int]:
        """Each item's bytes, or its return code; raises as `read_answer` does."""
        return read_answer(pdu, self.items)


def largest_item(pdu: int) -> int:
    """Bytes that one answer of one item can carry."""
    return pdu - DATA_OVERHEAD - ITEM_OVERHEAD


def plan(ranges: Iterable[Range], pdu: int, gap: int | None = GAP) -> tuple[Request, ...]:
    """Plan the reading of all ranges.

    Args:
        ranges: what is wanted; they may touch and overlap.
        pdu: the negotiated PDU in bytes, at least 112.
        gap: unwanted bytes between two ranges that are read along to save an item; None never merges.

    Returns:
        Requests of at most `pdu` bytes, whose answers have at most `pdu` bytes.
    """
    limit = largest_item(pdu)
    parts = sorted(
        (part for wanted in ranges for part in cut(wanted, limit)),
        key=lambda part: (part.range.area, part.range.db, part.range.start + part.offset),
    )
    most = min(MOST_ITEMS, (pdu - _REQUEST_OVERHEAD) // _REQUEST_ITEM)
    return tuple(Request(tuple(items), read_request(items)) for items in _pack(_merge(parts, limit, gap), pdu, most))


def cut(wanted: Range, limit: int) -> Iterator[Part]:
    """Pieces of at most `limit` bytes, cut where nothing solid stands, or where a solid longer than that forces it."""
    starts = [offset for offset, _ in wanted.solid]
    begin = 0
    while wanted.size - begin > limit:
        end = begin + limit
        index = bisect_right(starts, end - 1) - 1
        if index >= 0:
            offset, size = wanted.solid[index]
            if begin < offset < end < offset + size:
                end = offset
        yield Part(wanted, begin, 0, end - begin)
        begin = end
    yield Part(wanted, begin, 0, wanted.size - begin)


def _merge(parts: Sequence[Part], limit: int, gap: int | None) -> list[Item]:
    items: list[Item] = []
    for part in parts:
        area, db, start = part.range.area, part.range.db, part.range.start + part.offset
        last = items[-1] if items else None
        if (
            last is None
            or gap is None
            or (last.area, last.db) != (area, db)
            or start - (last.start + last.size) > gap
            or start + part.size - last.start > limit
        ):
            last = Item(area, db, start, part.size)
            items.append(last)
        last.size = max(last.size, start + part.size - last.start)
        last.parts.append(Part(part.range, part.offset, start - last.start, part.size))
    return items


def _pack(items: Iterable[Item], pdu: int, most: int) -> list[list[Item]]:
    """First fit. The answer's items are padded to even lengths, except the last."""
    room = pdu - DATA_OVERHEAD
    requests: list[tuple[list[Item], int]] = []
    for item in items:
        for index, (taken, used) in enumerate(requests):
            if len(taken) < most and used + ITEM_OVERHEAD + item.size <= room:
                taken.append(item)
                requests[index] = (taken, used + ITEM_OVERHEAD + item.size + item.size % 2)
                break
        else:
            requests.append(([item], ITEM_OVERHEAD + item.size + item.size % 2))
    return [taken for taken, _ in requests]
