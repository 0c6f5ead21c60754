"""The routes: page, metrics, API, health. Long answers are made in slices, so that no request holds the loop."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from functools import cache
from itertools import chain
from pathlib import Path

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.codecs import CODECS
from pipeline.config.http import Http
from pipeline.errors import PartFailed
from pipeline.recording.flight import FlightRecorder
from pipeline.web.access import Guard
from pipeline.web.exposition import Exposition
from pipeline.web.page import language, page
from pipeline.web.tap import Taps
from pipeline.web.view import Block, Running, blocks, described, unready

__all__ = ["LONGEST_HEAD", "make_app"]

LONGEST_HEAD = 16_384
"""Bytes of address and headers that a request may have."""

# What is made between two turns of the loop: so much work, or as much as one write should carry.
_SLICE_SECONDS = 0.001
_SLICE_SIZE = 65_536
_JSON = "application/json"
_STATIC = Path(__file__).parent / "static"
_TYPES = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def make_app(http: Http, running: Running, *, loopback: bool) -> ASGIApp:
    """The whole web side of one graph: headers, access, routes.

    Args:
        http: the graph's `http:` section.
        running: what to show.
        loopback: True when only this machine can reach the socket.
    """
    views = _Views(running, Exposition(running, http.last_values), has_login=bool(http.token or http.users))
    routes = [
        Route("/", views.page),
        Route("/metrics", views.metrics),
        Route("/api/last", views.last),
        Route("/api/graph", views.graph),
        Route("/api/tap/{node}", Taps(running).answer),
        Route("/api/snapshot", views.snapshot, methods=["POST"]),
        Route("/healthz", views.alive),
        Route("/readyz", views.ready),
        Route("/static/{name}", _static),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return _Hardened(Guard(app, http, loopback=loopback, monotonic=running.clock.monotonic))


class _Views:
    """One method a route."""

    def __init__(self, running: Running, exposition: Exposition, *, has_login: bool) -> None:
        self._running = running
        self._has_login = has_login
        self._exposition = exposition
        self._turn = asyncio.Lock()

    async def page(self, request: Request) -> Response:
        chosen = language(request.headers.get("accept-language", ""))
        versions = {name: _file(name)[1] for name in _TYPES}
        response = _Sliced(page(self._running, chosen, versions), "text/html; charset=utf-8", self._turn)
        response.headers["Content-Language"] = chosen
        response.headers["Vary"] = "Accept-Language"
        return response

    async def metrics(self, _: Request) -> Response:
        return _Sliced(self._exposition.text(), CONTENT_TYPE_PLAIN_0_0_4, self._turn)

    async def last(self, _: Request) -> Response:
        return _Sliced(_array(map(_last, blocks(self._running))), _JSON, self._turn)

    async def graph(self, _: Request) -> Response:
        return Response(_json(described(self._running)), media_type=_JSON)

    async def alive(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def snapshot(self, request: Request) -> Response:
        """Have the flight recorder write: only who has logged in, and no foreign page in a browser that has."""
        recorder = self._running.recorder
        if not self._has_login:
            why = "without a login nobody may write to this machine's disk: set http.token or http.users"
            return PlainTextResponse(f"{why}; on the machine itself `kill -USR1 {os.getpid()}` does it\n", 403)
        if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            return PlainTextResponse("asked for by another site\n", 403)
        if not isinstance(recorder, FlightRecorder):
            return PlainTextResponse("the flight recorder is switched off: recorder.enabled\n", 409)
        try:
            path = await recorder.snapshot("asked for over HTTP")
        except PartFailed as error:
            return PlainTextResponse(f"{error}\n", 507)
        return Response(_json({"recording": str(path)}), 201, media_type=_JSON)

    async def ready(self, _: Request) -> Response:
        reasons = unready(self._running)
        body = {"ready": not reasons, "reasons": reasons}
        return Response(_json(body), 503 if reasons else 200, media_type=_JSON)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _TYPES:
        return PlainTextResponse("Not Found", 404)
    content, version = _file(name)
    # The page asks with the version in the address, so a browser may keep what it has.
    kept = "private, max-age=31536000, immutable" if request.query_params.get("v") == version else "no-cache"
    return Response(content, headers={"Cache-Control": kept, "Content-Type": _TYPES[name]})


@cache
def _file(name: str) -> tuple[bytes, str]:
    content = (_STATIC / name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:12]


class _Sliced(Response):
    """An answer made while it is sent: after each slice of work the loop has its turn, and a slow reader slows us.

    However many ask at once, one slice is made between two turns of the loop: the lock goes round.
    """

    def __init__(self, pieces: Iterable[str], media_type: str, turn: asyncio.Lock) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._pieces = pieces
        self._turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the protocol's
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


class _Hardened:
    """Puts the headers on every answer that keep a browser from misusing it, and ends requests that bring a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = {name for name, _ in scope["headers"]}

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers["Date"] = formatdate(usegmt=True)
                headers.setdefault("Cache-Control", "no-store")
                if names & {b"content-length", b"transfer-encoding"}:
                    # No route takes a body, so none is read: the connection ends with the answer.
                    headers["Connection"] = "close"
                message = {**message, "headers": headers.raw}
            await send(message)

        # The server's own limit holds only for a head that comes in several pieces.
        if len(scope["path"]) + len(scope["query_string"]) + sum(map(len, chain(*scope["headers"]))) > LONGEST_HEAD:
            await PlainTextResponse("the request's head is too long\n", 431)(scope, receive, hardened)
        else:
            await self._app(scope, receive, hardened)


def _last(block: Block) -> str:
    """The frame as on the wire, and what only the page needs; a block that has never been read shows its failure."""
    frame = block.frame or block.failure
    if frame is None:
        raise AssertionError("a block has a frame or a failure")
    extra: dict[str, object] = {"age_seconds": round(block.age, 3), "stale": block.stale, "units": block.origin.units}
    if block.failure is not None:
        extra["failing"] = {"error": block.failure.error, "ts": round(block.failure.ts, 3), "advice": block.advice}
    body = CODECS["full"].encode(frame)
    return f"{body[:-1].decode()},{_json(extra)[1:].decode()}"


def _array(items: Iterable[str]) -> Iterator[str]:
    yield "["
    for index, item in enumerate(items):
        yield f",\n{item}" if index else item
    yield "]\n"


def _json(value: object) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)
