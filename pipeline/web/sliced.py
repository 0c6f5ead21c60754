"""Long answers, made while they are sent, so that no request holds the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["Sliced"]

# What is made between two turns of the loop: so much work, or as much as one write should carry.
_SLICE_SECONDS = 0.001
_SLICE_SIZE = 65_536


class Sliced(Response):
    """An answer made while it is sent: after each slice of work the loop has its turn, and a slow reader slows us.

    However many ask at once, one slice is made between two turns of the loop: the lock goes round.
    """

    def __init__(self, pieces: Iterable[str], media_type: str, turn: asyncio.Lock) -> None:
        """Prepare an answer.

        Args:
            pieces: the text; each is made in much less than a millisecond.
            media_type: what it is.
            turn: held while a slice is made; one for all answers of an app.
        """
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._pieces = pieces
        self._turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the protocol's
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        slices = _slices(self._pieces if scope["method"] != "HEAD" else ())
        while True:
            async with self._turn:
                part = next(slices, None)
                # As long as a slice takes: else this process, always busy, would wait for its turn when a tick is due.
                await asyncio.sleep(_SLICE_SECONDS if part else 0)
            if part is None:
                break
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _slices(pieces: Iterable[str]) -> Iterator[bytes]:
    part: list[str] = []
    size = 0
    until = time.perf_counter() + _SLICE_SECONDS
    for piece in pieces:
        part.append(piece)
        size += len(piece)
        if size >= _SLICE_SIZE or time.perf_counter() >= until:
            yield "".join(part).encode()
            part.clear()
            size = 0
            until = time.perf_counter() + _SLICE_SECONDS
    if part:
        yield "".join(part).encode()
