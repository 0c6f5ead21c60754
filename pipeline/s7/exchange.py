"""Reading and writing a stretch of bytes by awaiting it, for what runs now and then beside the poll loop.

All requests of an exchange leave at once, as many as the PLC grants; the first refusal ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pipeline.errors import Refused
from pipeline.frame import Extent
from pipeline.s7.address import Area
from pipeline.s7.plan import Range, Request, plan
from pipeline.s7.session import Session
from pipeline.s7.write import Write, refused_write

__all__ = ["ask", "read_extent", "write_extent"]


async def read_extent(session: Session, extent: Extent) -> bytes:
    """All bytes of an extent that is to be written.

    Raises:
        Refused: by the PLC; the message speaks of a target.
        ReadError: the connection has ended.
    """
    wanted = Range(Area.DB.value, extent.db, extent.start, extent.size, extent.solid)
    data = bytearray(extent.size)
    for request, items in await _ask(session, plan((wanted,), session.grant.pdu)):
        for item, found in zip(request.items, items, strict=True):
            for part in item.parts:
                data[part.offset : part.offset + part.size] = found[part.at : part.at + part.size]
    return bytes(data)


async def write_extent(session: Session, pieces: Sequence[Write]) -> None:
    """Write some pieces, in this order.

    Raises:
        Refused: by the PLC; pieces that were not refused may have been written.
        ReadError: the connection has ended, and what was written is not known.
    """
    await _ask(session, pieces)


async def ask(session: Session, requests: Sequence[Request]) -> list[tuple[Request, list[bytes | int]]]:
    """The answers to some requests: of each item its bytes, or its return code.

    Raises:
        Refused: by the PLC, a request as a whole.
        ReadError: the connection has ended.
    """
    answers = _Answers(asyncio.get_running_loop(), len(requests))
    session.read(requests, answers)
    await asyncio.wait((answers.done, session.ended), return_when=asyncio.FIRST_COMPLETED)
    if not answers.done.done():
        raise session.ended.result()
    if error := answers.done.result():
        session.forget(answers)
        raise error
    return answers.found


async def _ask(session: Session, requests: Sequence[Request]) -> list[tuple[Request, list[bytes]]]:
    """The answers to some requests, all of them good."""
    good: list[tuple[Request, list[bytes]]] = []
    for request, items in await ask(session, requests):
        for item in items:
            if isinstance(item, int):
                raise refused_write(item)
        good.append((request, [item for item in items if isinstance(item, bytes)]))
    return good


class _Answers:
    """Collects the answers to some requests; `done` gets the refusal of one of them as a whole, or None."""

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int) -> None:
        self.done: asyncio.Future[Refused | None] = loop.create_future()
        self.found: list[tuple[Request, list[bytes | int]]] = []
        self._count = count

    def answered(self, request: Request, items: list[bytes | int]) -> None:
        self.found.append((request, items))
        if len(self.found) == self._count and not self.done.done():
            self.done.set_result(None)

    def refused(self, error: Refused) -> None:
        if not self.done.done():
            self.done.set_result(error)
