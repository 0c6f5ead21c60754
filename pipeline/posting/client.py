"""Posts bodies to one URL over connections that are kept open; no redirects, no proxies, no cookies.

httpcore does HTTP/1.1, TLS and keep-alive, and nothing else: a megabyte of memory, on the running loop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpcore

from pipeline.errors import LinkError
from pipeline.hosts import is_host
from pipeline.posting.answers import Answer, explain_failure, retry_after
from pipeline.posting.streams import Streams

__all__ = ["Access", "Client", "Url"]

T = TypeVar("T")
_BODY = 4096
"""Bytes of an answer that are read; a longer one costs its connection."""
_SHOWN = 200
_IDLE = 60.0
"""Seconds after which an unused connection is closed."""


@dataclass(frozen=True)
class Url:
    """An address of the web. `str()` leaves the query out, which may hold a secret.

    Attributes:
        text: the whole.
        host: without brackets.
        port: as written, or its scheme's.
        secure: https.
        path: from the slash on, without query.
    """

    text: str
    host: str
    port: int
    secure: bool
    path: str

    @classmethod
    def parse(cls, text: str) -> Url:
        """Read an address.

        Raises:
            ValueError: it is none that can be posted to; the message says why.
        """
        if not text.isascii() or any(letter.isspace() for letter in text):
            raise ValueError("blanks and letters outside of ASCII must be written as %20 and the like")
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("write http://host/path or https://host/path")
        if parts.username is not None or parts.password is not None:
            raise ValueError("user and password in it would show in logs; use `token` or `headers`")
        if parts.fragment:
            raise ValueError("what follows # never reaches a server; leave it away")
        if not is_host(parts.hostname):
            raise ValueError("the host is neither a name nor an IP address")
        secure = parts.scheme == "https"
        try:
            port = parts.port or (443 if secure else 80)
        except ValueError:
            # Python's message shows the text, which may be part of a password.
            raise ValueError("the port is not a number up to 65535") from None
        return cls(text, parts.hostname, port, secure, parts.path or "/")

    @property
    def server(self) -> str:
        """`https://host:port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"

    def __str__(self) -> str:
        return self.server + self.path


@dataclass(frozen=True, kw_only=True)
class Access:
    """How to reach a server.

    Attributes:
        url: where to post.
        headers: sent with each request, secrets among them; LinkError where one can't be.
        tls: for https.
        connections: how many at most.
        timeout: seconds for a request, from the connection to the end of its answer.
        wall: the clock, seconds since 1970.
    """

    url: Url
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None
    connections: int
    timeout: float
    wall: Callable[[], float]

    def __post_init__(self) -> None:
        try:
            "".join(self.headers.values()).encode("latin-1")
        except UnicodeEncodeError:
            raise _unfit() from None


def _unfit() -> LinkError:
    """What is said of headers; an error's own words would show the value, which may be a secret."""
    return LinkError("headers", "one has characters that HTTP does not allow", "correct token or headers")


class Client:
    """Some connections to one server."""

    def __init__(self, access: Access) -> None:
        """Prepare; connections are opened by the first requests."""
        self._access = access
        self._headers = [(name.encode(), value.encode("latin-1")) for name, value in access.headers.items()]
        self._answered = False
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=access.tls,
            max_connections=access.connections,
            keepalive_expiry=_IDLE,
            network_backend=Streams(),
        )

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post a body; the server's answer, whatever it is.

        Args:
            body: what is sent.
            headers: of this request, beside those of all.

        Raises:
            LinkError: there was no answer; reason and advice tell why and what to do.
        """
        own = [(name.encode(), value.encode()) for name, value in headers.items()]
        answer = await self._within(self._send(body, [*self._headers, *own]))
        self._answered = True
        return answer

    async def reach(self) -> None:
        """Open a connection, with TLS where the address asks for it, and close it again: nothing is asked.

        Raises:
            LinkError: it can't be opened; reason and advice tell why and what to do.
        """
        await self._within(self._connect())

    async def _within(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self._access.timeout):
                return await work
        except httpcore.LocalProtocolError:
            raise _unfit() from None
        except (
            TimeoutError,
            OSError,
            httpcore.TimeoutException,
            httpcore.NetworkError,
            httpcore.ProtocolError,
        ) as error:
            raise explain_failure(error, self._access.url.host, self._access.url.port) from error

    async def _connect(self) -> None:
        url = self._access.url
        stream = await Streams().connect_tcp(url.host, url.port)
        try:
            if url.secure and self._access.tls is not None:
                await stream.start_tls(self._access.tls, url.host)
        finally:
            await stream.aclose()

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def _send(self, body: bytes, headers: list[tuple[bytes, bytes]]) -> Answer:
        try:
            return await self._exchange(body, headers)
        except (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError):
            if not self._answered:
                raise
            # Servers close idle connections, sometimes in the moment of the next request: a new one tells.
            self._answered = False
            return await self._exchange(body, headers)

    async def _exchange(self, body: bytes, headers: list[tuple[bytes, bytes]]) -> Answer:
        text = bytearray()
        async with self._pool.stream("POST", self._access.url.text, headers=headers, content=body) as response:
            async for chunk in response.aiter_stream():
                text += chunk
                if len(text) > _BODY:
                    break
        found = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        return Answer(
            status=response.status,
            text=" ".join(text.decode("utf-8", "replace").split())[:_SHOWN],
            pause=retry_after(found.get(b"retry-after", ""), self._access.wall()),
            location=found.get(b"location", ""),
        )
