"""Live frames of a node, as JSON lines, for as long as the asker reads.

A reader that is too slow loses frames, never the pipeline: each has a bounded queue, and a line that says how many it
has lost. Frames are encoded once, as for the sinks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from pipeline.codecs import CODECS
from pipeline.errors import nearest
from pipeline.frame import Frame
from pipeline.operator import NodeKind
from pipeline.port import Port
from pipeline.web.view import Running, ports_of

__all__ = ["Taps"]

_MOST = 16
"""Readers at once."""
_CAPACITY = 1000
"""Frames that wait for one reader."""
_BATCH = 200
"""Frames of one write."""
_QUIET = 15.0
"""Seconds without a frame after which an empty line tells both sides whether the other is still there."""


class _Tap:
    """What one reader will get."""

    def __init__(self) -> None:
        self.frames: deque[Frame] = deque()
        self.lost = 0
        self.open_ends = 0
        self.wake = asyncio.Event()

    def take(self, frame: Frame) -> None:
        """Let a frame wait; of too many the newest is lost."""
        if len(self.frames) >= _CAPACITY:
            self.lost += 1
        else:
            self.frames.append(frame)
            self.wake.set()

    def complete(self) -> None:
        """One of the tapped ports has no more frames."""
        self.open_ends -= 1
        self.wake.set()

    async def lines(self) -> AsyncIterator[bytes]:
        """The frames as JSON lines, until all ports are complete."""
        encode = CODECS["full"].encode
        while self.frames or self.open_ends:
            batch = [self.frames.popleft() for _ in range(min(len(self.frames), _BATCH))]
            text = b"".join(encode(frame) + b"\n" for frame in batch)
            if self.lost:
                text += msgspec.json.encode({"lost": self.lost}) + b"\n"
                self.lost = 0
            if text:
                yield text
                await asyncio.sleep(0)
                continue
            self.wake.clear()
            try:
                async with asyncio.timeout(_QUIET):
                    await self.wake.wait()
            except TimeoutError:
                yield b"\n"


class Taps:
    """The route `/api/tap/{node}` of one running graph."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._open = 0

    async def answer(self, request: Request) -> Response:
        """Frames of a source or transform; of a sink those that it takes."""
        name = request.path_params["node"]
        ports = ports_of(self._running, name)
        if not ports:
            have = [node.name for node in self._running.graph.running() if node.kind is not NodeKind.SERVICE]
            near = nearest(name, have)
            hint = f"did you mean '{near}'?" if near else f"it has {', '.join(have)}"
            return PlainTextResponse(f"no node '{name}' with frames runs in this graph; {hint}\n", 404)
        if request.method == "HEAD":
            return Response(media_type="application/x-ndjson")
        if self._open >= _MOST:
            return PlainTextResponse(f"{_MOST} readers are there already; close one\n", 503)
        return StreamingResponse(self._stream(ports), media_type="application/x-ndjson")

    async def _stream(self, ports: list[Port]) -> AsyncIterator[bytes]:
        tap = _Tap()
        leave: list[Callable[[], None]] = []
        self._open += 1
        try:
            for port in ports:
                tap.open_ends += 1
                leave.append(port.connect("tap", tap.take, tap.complete))
            yield b"\n"  # the head leaves now, not with the first frame
            async for text in tap.lines():
                yield text
        finally:
            self._open -= 1
            for go in leave:
                go()
