"""An HTTP server that a test scripts: it notes what is posted, and answers as it is told."""

from __future__ import annotations

import asyncio
import gzip
from typing import ClassVar

import h11

from pipeline.testing.options import Fault
from pipeline.testing.stage import Connection, Message, ReceiverStage

__all__ = ["ServerStage"]


class ServerStage(ReceiverStage):
    """A server at an address; its codes are statuses. Each line of a body is a message of its own."""

    good = 204
    codes: ClassVar = {Fault.BUSY: 503, Fault.DENIED: 401, Fault.REJECTED: 400}
    faults = frozenset({Fault.AWAY, Fault.TIMEOUT, *codes})

    def connection(self) -> Connection:
        """See `ReceiverStage`."""
        return _Connection(self)

    def take(self, path: str, body: bytes) -> None:
        """Note what was posted."""
        at = asyncio.get_running_loop().time()
        lines = [line for line in body.splitlines() if line.strip()]
        self.messages += [Message(at=at, topic=path, body=line) for line in lines]


class _Connection(Connection):
    def __init__(self, server: ServerStage) -> None:
        super().__init__(server)
        self._server = server
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = b""

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
        if server.code == server.good:
            server.take(request.target.decode(), gzip.decompress(self._body) if packed else self._body)
        headers = [] if server.code == server.good else [("content-length", "0")]
        self.transport.write(self._http.send(h11.Response(status_code=server.code, headers=headers)) or b"")
        self.transport.write(self._http.send(h11.EndOfMessage()) or b"")
        self._http.start_next_cycle()
