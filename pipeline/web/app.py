"""The routes: page, metrics, API, health. Long answers are made in slices, so that no request holds the loop."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from functools import cache
from itertools import chain
from pathlib import Path

import msgspec
import structlog
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.codecs import CODECS
from pipeline.config.http import Http
from pipeline.errors import JournalError, PartFailed
from pipeline.recording.flight import FlightRecorder
from pipeline.web import spoken
from pipeline.web.access import Guard
from pipeline.web.board import Board
from pipeline.web.charts import Charts
from pipeline.web.exposition import Exposition
from pipeline.web.history import History
from pipeline.web.inside import checked, described_node
from pipeline.web.live import Live
from pipeline.web.page import language, page
from pipeline.web.portuguese import speaker
from pipeline.web.sliced import Sliced
from pipeline.web.tap import Taps
from pipeline.web.view import (
    Running,
    described,
    details_of,
    in_order,
    is_stale,
    labels_of,
    periods,
    reader_of,
    readiness,
)

__all__ = ["LONGEST_HEAD", "make_app"]

LONGEST_HEAD = 16_384
"""Bytes of address and headers that a request may have."""

_YEAR = 365 * 86400
_LETTERS = 200  # dead letters of one answer, unless it is asked for another number
_MOST_LETTERS = 2000
_BLANK = re.compile(r" ?([{};,]) ?|(?<=:) ")
_JSON = "application/json"
_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def make_app(http: Http, running: Running, *, loopback: bool, history: History | None = None) -> ASGIApp:
    """The whole web side of one graph: headers, access, routes.

    Args:
        http: the graph's `http:` section.
        running: what to show.
        loopback: True when only this machine can reach the socket.
        history: the samples for charts; without it an empty one.
    """
    has_login = bool(http.token or http.users)
    turn = asyncio.Lock()
    history = history or History(running)
    board = Board(running, history)
    hello = {"graph": running.graph.name, "version": _files()[1], "login": has_login}
    live = Live(running, board, history, hello)
    views = _Views(running, history, Exposition(running, http.last_values), live, turn, has_login=has_login)
    charts = Charts(running, board, history, turn)
    routes = [
        Route("/", views.page),
        Route("/api/live", live.stream),
        Route("/api/live/{id}", live.show, methods=["POST"]),
        Route("/api/series", charts.names),
        Route("/api/history", charts.samples),
        Route("/api/node/{name}", views.node),
        Route("/api/config", views.config),
        Route("/api/dead/{node}", views.dead),
        Route("/api/requeue/{node}", views.requeue, methods=["POST"]),
        Route("/metrics", views.metrics),
        Route("/api/last", views.last),
        Route("/api/graph", views.graph),
        Route("/api/tap/{node}", Taps(running).answer),
        Route("/api/snapshot", views.snapshot, methods=["POST"]),
        Route("/healthz", views.alive),
        Route("/readyz", views.ready),
        Route("/static/{version}/{name}", _static),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    guarded = Guard(app, http, loopback=loopback, monotonic=running.clock.monotonic)
    return _Hardened(spoken.Refusals(guarded))


class _Views:
    """One method a route."""

    def __init__(
        self,
        running: Running,
        history: History,
        exposition: Exposition,
        live: Live,
        turn: asyncio.Lock,
        *,
        has_login: bool,
    ) -> None:
        self._running = running
        self._history = history
        self._live = live
        self._has_login = has_login
        self._exposition = exposition
        self._turn = turn

    async def page(self, request: Request) -> Response:
        asked = request.query_params.get("lang", "")
        chosen = language(asked) if asked else spoken.language_of(request)
        theme, first = request.cookies.get("theme", ""), self._live.first(speaker(chosen))
        text = page(self._running, chosen, theme, _files()[1], first)
        headers = {"Content-Language": chosen, "Vary": "Accept-Language, Cookie"}
        response = Response(text, media_type="text/html; charset=utf-8", headers=headers)
        if asked:
            response.set_cookie("lang", chosen, max_age=_YEAR, samesite="strict", httponly=True)
        return response

    async def node(self, request: Request) -> Response:
        node = self._running.graph.nodes.get(request.path_params["name"])
        if node is None or not node.enabled:
            return PlainTextResponse("no such node runs in this graph\n", 404)
        return _answer(spoken.node(described_node(self._running, node), spoken.say_in(request)))

    async def config(self, request: Request) -> Response:
        """The graph file as it is on disk now, checked on a thread."""
        graph = self._running.graph
        try:
            found = await asyncio.get_running_loop().run_in_executor(None, checked, graph)
        except OSError as error:
            return PlainTextResponse(f"{graph.path}: can't be read: {error.strerror or error}\n", 404)
        return _answer(spoken.checked(found, spoken.say_in(request)))

    async def dead(self, request: Request) -> Response:
        """The oldest dead letters of a sink, with the reasons; `limit` of them."""
        letters = self._running.letters.get(request.path_params["node"])
        if letters is None:
            return PlainTextResponse("no such sink with a journal runs in this graph\n", 404)
        asked = request.query_params.get("limit", "")[:9]
        limit = min(int(asked), _MOST_LETTERS) if asked.isascii() and asked.isdigit() else _LETTERS
        return _answer(spoken.letters(await letters.dead(limit), spoken.say_in(request)))

    async def requeue(self, request: Request) -> Response:
        """Send dead letters again: those of `id`, or all; answers how many, and how many remain."""
        if refusal := self._may_change(request, "send frames again", "`pipeline journal requeue` does it"):
            return refusal
        node = request.path_params["node"]
        letters = self._running.letters.get(node)
        if letters is None:
            return PlainTextResponse("no such sink with a journal runs in this graph\n", 404)
        try:
            ids = [int(number) for number in request.query_params.getlist("id")]
            count = await letters.requeue(ids or None)
        except ValueError:
            return PlainTextResponse("id is a number\n", 400)
        except JournalError as error:
            return PlainTextResponse(f"{error}\n", 409)
        structlog.get_logger().info("dead letters requeued over HTTP", node=node, count=count, asked_by=_who(request))
        remaining = details_of(self._running.details, node).get("dead_letters", 0)
        return _answer({"requeued": count, "remaining": remaining})

    def _may_change(self, request: Request, what: str, instead: str) -> Response | None:
        """Why this may not be asked for over HTTP: only by who has logged in, and by no foreign page in a browser."""
        if not self._has_login:
            why = f"without a login nobody may {what}: set http.token or http.users"
            return PlainTextResponse(f"{why}; on the machine itself {instead}\n", 403)
        if _is_foreign(request):
            return PlainTextResponse("asked for by another site\n", 403)
        return None

    async def metrics(self, request: Request) -> Response:
        """All, or as Prometheus' own libraries have it only those of `name[]`."""
        names = frozenset(request.query_params.getlist("name[]"))
        return Sliced(self._exposition.text(names), CONTENT_TYPE_PLAIN_0_0_4, self._turn)

    async def last(self, _: Request) -> Response:
        return Sliced(_array(_lasts(self._running, self._history)), _JSON, self._turn)

    async def graph(self, _: Request) -> Response:
        return _answer(described(self._running))

    async def alive(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def snapshot(self, request: Request) -> Response:
        """Have the flight recorder write: only who has logged in, and no foreign page in a browser that has."""
        recorder = self._running.recorder
        if refusal := self._may_change(request, "write to this machine's disk", f"`kill -USR1 {os.getpid()}` does it"):
            return refusal
        if not isinstance(recorder, FlightRecorder):
            return PlainTextResponse("the flight recorder is switched off: recorder.enabled\n", 409)
        try:
            path = await recorder.snapshot("asked for over HTTP")
        except PartFailed as error:
            return PlainTextResponse(f"{error}\n", 507)
        structlog.get_logger().info("snapshot over HTTP", recording=str(path), asked_by=_who(request))
        return _answer({"recording": str(path)}, 201)

    async def ready(self, _: Request) -> Response:
        is_ready, reasons = readiness(self._running)
        return _answer({"ready": is_ready, "reasons": reasons}, 200 if is_ready else 503)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    files, version = _files()
    if name not in files:
        return PlainTextResponse("Not Found", 404)
    plain, packed = files[name]
    is_packed = "gzip" in request.headers.get("accept-encoding", "")
    # The page asks with the version in the address, so a browser may keep what it has.
    kept = "private, max-age=31536000, immutable" if request.path_params["version"] == version else "no-cache"
    headers = {"Cache-Control": kept, "Content-Type": _TYPES[Path(name).suffix], "Vary": "Accept-Encoding"}
    if is_packed:
        headers["Content-Encoding"] = "gzip"
    return Response(packed if is_packed else plain, headers=headers)


@cache
def _files() -> tuple[dict[str, tuple[bytes, bytes]], str]:
    """The static files by name, plain and compressed, and a version that changes with any of them."""
    found = {path.name: _lean(path) for path in sorted(_STATIC.iterdir()) if path.suffix in _TYPES}
    version = hashlib.sha256(b"".join(found.values())).hexdigest()[:12]
    return {name: (plain, gzip.compress(plain, mtime=0)) for name, plain in found.items()}, version


def _lean(path: Path) -> bytes:
    """A file without what only its readers need: margins, lines that are comments, in styles the blanks round signs."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    text = "".join(f"{line}\n" for line in lines if line and not line.startswith(("//", "/**")))
    return (_BLANK.sub(r"\1", text) if path.suffix == ".css" else text).encode()


def _is_foreign(request: Request) -> bool:
    """Whether another site's page asks. Browsers send `Sec-Fetch-Site` only over TLS and to loopback."""
    headers = request.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site not in {"same-origin", "none"}
    return origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()


def _who(request: Request) -> str:
    """Who asks: the user's name where there is one, and the address."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    user = ""
    if scheme.lower() == "basic":
        user = base64.b64decode(rest).decode().partition(":")[0] + "@"
    return user + (request.client.host if request.client else "")


class _Hardened:
    """Puts the headers on every answer that keep a browser from misusing it, and ends requests that bring a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        lengths = {value for name, value in scope["headers"] if name in {b"content-length", b"transfer-encoding"}}
        has_body = bool(lengths - {b"0"})

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers["Date"] = formatdate(usegmt=True)
                headers.setdefault("Cache-Control", "no-store")
                if has_body:
                    # No route takes a body, so none is read: the connection ends with the answer.
                    headers["Connection"] = "close"
                message = {**message, "headers": headers.raw}
            await send(message)

        # The server's own limit holds only for a head that comes in several pieces.
        if len(scope["path"]) + len(scope["query_string"]) + sum(map(len, chain(*scope["headers"]))) > LONGEST_HEAD:
            await PlainTextResponse("the request's head is too long\n", 431)(scope, receive, hardened)
        else:
            await self._app(scope, receive, hardened)


def _lasts(running: Running, history: History) -> Iterator[str]:
    """The newest frame of each block as on the wire, its failure where it has never been read, and what is made of it.

    `age_seconds` since its answer arrived, 0 without one and never negative, whatever the clocks do; `stale`: no
    data for more than three periods; `failing`, while it does: what its source says, with what to do.
    """
    latest, failures = dict(running.latest), dict(running.failures)
    period_of = periods(running)
    for origin in in_order({**latest, **failures}):
        frame, failure = latest.get(origin), failures.get(origin)
        age = history.age(frame) if frame else 0.0
        stale = frame is not None and is_stale(age, period_of(labels_of(origin)))
        extra: dict[str, object] = {"age_seconds": round(age, 3), "stale": stale, "units": origin.units}
        if failure is not None:
            reader = reader_of(running, origin)
            advice = reader.reason if reader else ""
            extra["failing"] = {"error": failure.error, "ts": round(failure.ts, 3), "advice": advice}
        body = CODECS["full"].encode(frame or failures[origin])
        yield f"{body[:-1].decode()},{_json(extra)[1:].decode()}"


def _array(items: Iterable[str]) -> Iterator[str]:
    yield "["
    for index, item in enumerate(items):
        yield f",\n{item}" if index else item
    yield "]\n"


def _answer(value: object, status: int = 200) -> Response:
    return Response(_json(value), status, media_type=_JSON)


def _json(value: object) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)
