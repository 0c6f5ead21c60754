"""An HTTP server that tests script: uvicorn's own protocol with a small application behind it.

    receiver = Receiver()
    await receiver.listen(loop)                       # a real loop, port 0: free; a virtual one wants a port
    receiver.answer = lambda post: 503                # status, or (status, headers, body)

It runs on the test's loop, so that on a virtual one hours of back-off cost nothing.
"""

import asyncio
import gzip
import json
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

__all__ = ["Post", "Receiver", "ThreadedReceiver", "receiver_thread"]

Said = int | tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Post:
    """A request as it came.

    Attributes:
        at: loop time.
        path: with query.
        headers: names in lower case.
        raw: the body as it came.
        frames: the frames in it, however they were packed.
    """

    at: float
    path: str
    headers: dict[str, str]
    raw: bytes
    frames: list[dict[str, Any]]

    @property
    def numbers(self) -> list[int]:
        """The value `n` of each frame."""
        return [frame["values"]["n"] for frame in self.frames]


class Receiver:
    """The server.

    Attributes:
        posts: what came, in order, whatever was answered.
        taken: the frames that were answered with 2xx, in order.
        answer: what to say to a request; 204 unless told.
        delay: seconds from a request to its answer.
        most: requests that were under way at once.
        port: where it listens.
    """

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.taken: list[dict[str, Any]] = []
        self.answer: Callable[[Post], Said] = lambda _: 204
        self.delay = 0.0
        self.most = 0
        self.host, self.port = "127.0.0.1", 0
        self.connections = 0
        self._under_way = 0
        self._state = ServerState()
        self._config = Config(
            self._app, log_config=None, interface="asgi3", lifespan="off", access_log=False, timeout_keep_alive=600
        )
        self._config.load()
        self._server: Any = None

    async def listen(self, loop: asyncio.AbstractEventLoop, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections, again on the same port after `close`."""

        def connection() -> H11Protocol:
            self.connections += 1
            return H11Protocol(self._config, self._state, {}, _loop=loop)

        self._server = await loop.create_server(connection, self.host, self.port, ssl=tls)
        if not self.port:
            self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset all connections, requests under way among them."""
        for connection in tuple(self._state.connections):
            connection.transport.abort()

    def kill(self) -> None:
        """Go away: nobody listens any more."""
        self._server.close()
        self.cut()

    @property
    def numbers(self) -> list[int]:
        """The value `n` of each frame that was taken."""
        return [frame["values"]["n"] for frame in self.taken]

    async def _app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            body, more = body + event["body"], event["more_body"]
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        query = scope["query_string"].decode()
        path = scope["path"] + (f"?{query}" if query else "")
        post = Post(asyncio.get_running_loop().time(), path, headers, body, _frames(headers, body))
        self.posts.append(post)
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        try:
            if self.delay:
                await asyncio.sleep(self.delay)
        finally:
            self._under_way -= 1
        said = self.answer(post)
        status, extra, text = said if isinstance(said, tuple) else (said, {}, b"")
        if 200 <= status < 300:
            self.taken += post.frames
        length = [(b"content-length", str(len(text)).encode())] if status != 204 else []
        more_headers = [(name.encode(), value.encode()) for name, value in extra.items()]
        await send({"type": "http.response.start", "status": status, "headers": [*length, *more_headers]})
        await send({"type": "http.response.body", "body": text})


def _frames(headers: dict[str, str], body: bytes) -> list[dict[str, Any]]:
    text = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
    kind = headers.get("content-type", "")
    if kind == "application/x-ndjson":
        return [json.loads(line) for line in text.splitlines()]
    if kind.startswith("text/plain"):
        return [_point(line) for line in text.decode().splitlines() if line]
    found = json.loads(text)
    return found if isinstance(found, list) else [found]


def _point(line: str) -> dict[str, Any]:
    """A point of line protocol whose names and values have no blanks, and the line itself."""
    series, fields, ts = line.split(" ")
    measurement, *tags = series.split(",")
    pairs = [field.split("=") for field in fields.split(",")]
    return {
        "line": line,
        "measurement": measurement,
        "tags": dict(tag.split("=") for tag in tags),
        "values": {name: json.loads(text.removesuffix("i")) for name, text in pairs},
        "ts": int(ts) / 1000,
    }


class ThreadedReceiver(Receiver):
    """The same, killed and revived from another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop

    def kill(self) -> None:
        """Go away; returns when that is done."""
        self._call(self._kill())

    def revive(self) -> None:
        """Listen again, on the same port."""
        self._call(self.listen(self._loop))

    async def _kill(self) -> None:
        Receiver.kill(self)

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


@contextmanager
def receiver_thread() -> Iterator[ThreadedReceiver]:
    """A server on a loop and thread of its own, for tests of whole processes."""
    loop = asyncio.new_event_loop()
    receiver = ThreadedReceiver(loop)
    loop.run_until_complete(receiver.listen(loop))
    thread = threading.Thread(target=loop.run_forever, name="receiver")
    thread.start()
    try:
        yield receiver
    finally:
        receiver.kill()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
