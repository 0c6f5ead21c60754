"""A conversation with a PLC that is asked gently: one request at a time, at a bounded pace, on one connection.

A question that a CPU leaves without an answer costs the connection, since a late answer must not be taken for another
one. The next question opens a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pipeline.clock import Clock
from pipeline.errors import ReadError, Refused
from pipeline.s7.browse_place import Place
from pipeline.s7.exchange import ask
from pipeline.s7.plan import MOST_ITEMS, Item, Range, Request, plan
from pipeline.s7.session import Question, Session, connect
from pipeline.s7.userdata import content, following
from pipeline.s7.wire import PDU_LEAST

__all__ = ["Line"]

_LONGEST = 1 << 18
"""Bytes of an answer in parts that are taken at most: 65,535 blocks with four bytes each."""


class Line:
    """The connection to one PLC.

    Attributes:
        place: where the PLC is.
        requests: how many were sent.
    """

    def __init__(self, clock: Clock, place: Place, rate: float) -> None:
        """Prepare a line; `open` connects.

        Args:
            clock: the one clock.
            place: where the PLC is.
            rate: requests a second at most.
        """
        self.place = place
        self.requests = 0
        self._clock = clock
        self._pause = 1 / rate
        self._free_at = 0.0
        self._session: Session | None = None

    @property
    def items(self) -> int:
        """Bytes that one request can try, once the line is open: each costs 12 in the request, 6 in the answer."""
        pdu = self._session.grant.pdu if self._session is not None else PDU_LEAST
        return min(MOST_ITEMS, (pdu - 12) // 12)

    async def open(self) -> Session:
        """The connection, opened where there is none.

        Raises:
            ReadError: the PLC can't be reached, or (`Refused`) says no.
        """
        if self._session is None:
            place = self.place
            self._session = await connect(
                self._clock, place.address, place.port, place.access.tsaps(), patience=place.timeout
            )
        return self._session

    def close(self) -> None:
        """End the connection in order."""
        if self._session is not None:
            self._session.close()
            self._session = None

    async def tell(self, question: Question) -> bytes:
        """What a CPU says, all parts of it together.

        Raises:
            Refused: it says no.
            ReadError: no answer; the connection is gone.
        """
        told = b""
        part: Question | None = question
        while part is not None:
            _, (pdu,) = await self.ask(part)
            assert isinstance(pdu, bytes)  # noqa: S101 - a question has the answer's PDU as its only item
            said = content(pdu)
            told += said
            part = following(pdu)
            if len(told) > _LONGEST or (part is not None and not said):
                raise Refused("invalid answer", "it has no end")
        return told

    async def look(self, wanted: Sequence[Range]) -> dict[Range, bytes | int]:
        """The bytes of each range, or why it can't be read: its return code.

        Raises:
            Refused: the CPU permits no reading at all.
            ReadError: no answer; the connection is gone.
        """
        session = await self.open()
        found: dict[Range, bytearray | int] = {each: bytearray(each.size) for each in wanted}
        for request in plan(wanted, session.grant.pdu, gap=None):
            _, items = await self.ask(request)
            for item, answer in zip(request.items, items, strict=True):
                _put(item, answer, found)
        return {each: answer if isinstance(answer, int) else bytes(answer) for each, answer in found.items()}

    async def ask(self, request: Request) -> tuple[Request, list[bytes | int]]:
        """One request, when its time has come; raises as `look` does."""
        session = await self.open()
        now = self._clock.monotonic()
        if now < self._free_at:
            await asyncio.sleep(self._free_at - now)
        self._free_at = max(now, self._free_at) + self._pause
        self.requests += 1
        try:
            (answer,) = await ask(session, (request,))
        except Refused:
            raise
        except ReadError:
            self.close()
            raise
        return answer


def _put(item: Item, answer: bytes | int, found: dict[Range, bytearray | int]) -> None:
    """Put what an item brought where it belongs; one refused part refuses its range."""
    for part in item.parts:
        memory = found[part.range]
        if isinstance(answer, int):
            found[part.range] = answer
        elif not isinstance(memory, int):
            memory[part.offset : part.offset + part.size] = answer[part.at : part.at + part.size]
