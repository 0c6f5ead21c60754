"""An HTTP server that a test scripts: it notes what is posted, and answers as it is told."""

from __future__ import annotations

import asyncio
import gzip
from typing import cast

import h11

from pipeline.testing.options import Fault, Given
from pipeline.testing.stage import Message, Stage

__all__ = ["ServerStage"]

_STATUS = {Fault.BUSY: 503, Fault.DENIED: 401, Fault.REJECTED: 400}
_GOOD = 204


class ServerStage(Stage):
    """A server at an address. Each line of a body is a message of its own.

    Attributes:
        mute: it answers nothing.
        status: what it answers.
    """

    faults = frozenset({Fault.AWAY, Fault.TIMEOUT, *_STATUS})

    def __init__(self, host: str, port: int, part: str = "") -> None:
        super().__init__(host, port, part)
        self.mute = False
        self.status = _GOOD
        self._connections: dict[_Connection, None] = {}  # ordered, so that a test is the same each time
        self._server: asyncio.Server | None = None

    def join(self, other: Stage) -> None:
        """One server has any number of clients."""

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen."""
        self._server = await loop.create_server(lambda: _Connection(self, self._connections), self.host, self.port)

    async def fail(self, given: Given, *, on: bool) -> None:
        """Go away, fall silent, refuse; or be well again."""
        if given.fault is Fault.TIMEOUT:
            self.mute = on
        elif given.fault is not Fault.AWAY:
            self.status = _STATUS[cast(Fault, given.fault)] if on else _GOOD
        elif not on:
            await self.open(asyncio.get_running_loop())
        elif self._server is not None:
            self._server.close()
            for connection in tuple(self._connections):
                connection.transport.abort()

    def take(self, path: str, body: bytes) -> None:
        """Note what was posted."""
        at = asyncio.get_running_loop().time()
        lines = [line for line in body.splitlines() if line.strip()]
        self.messages += [Message(at=at, topic=path, body=line) for line in lines]


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: ServerStage, connections: dict[_Connection, None]) -> None:
        self._server = server
        self._connections = connections
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self.transport = cast("asyncio.Transport", transport)
        self._connections[self] = None

    def connection_lost(self, _: Exception | None) -> None:
        """It has gone."""
        self._connections.pop(self, None)

    def data_received(self, data: bytes) -> None:
        """Take requests apart and answer them."""
        self._http.receive_data(data)
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._request, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage) and self._request is not None:
                self._answer(self._request)
            else:
                return

    def _answer(self, request: h11.Request) -> None:
        server = self._server
        if server.mute:
            return
        packed = dict(request.headers).get(b"content-encoding") == b"gzip"
        if server.status == _GOOD:
            server.take(request.target.decode(), gzip.decompress(self._body) if packed else self._body)
        headers = [] if server.status == _GOOD else [("content-length", "0")]
        self.transport.write(self._http.send(h11.Response(status_code=server.status, headers=headers)) or b"")
        self.transport.write(self._http.send(h11.EndOfMessage()) or b"")
        self._http.start_next_cycle()
