"""What an open page is told: one stream of server-sent events, with what has changed, at most twice a second.

A page says which blocks are in sight and what else it shows; only that is looked at and sent. A page that reads slowly
gets fewer events, never older ones. Without a page nothing is computed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from pipeline import log
from pipeline.actor import Actor, State
from pipeline.frame import Frame
from pipeline.graph import Node
from pipeline.operator import NodeKind
from pipeline.web.board import Board, Place
from pipeline.web.history import History
from pipeline.web.view import Running, actors_of, details_of, troubles

__all__ = ["SHOWN", "Live"]

SHOWN = 8
"""Values on a card; the block's own view shows all."""

_FIRST = 12
"""Blocks whose values come with the document itself."""
_MOST = 16
"""Pages at once."""
_SERIES = 12
"""Charts' lines of one page."""
_PAUSE = 0.5
"""Seconds between two looks; twice as long where nothing is read more often than once a second."""
_AFTER = 0.25
"""Seconds after the ticks of the sources, so that a look finds what they have read."""
_LEAST = 0.05
_QUIET = 4.0
"""Seconds after which a page is told that nothing has changed."""
_SPARKS = 60
"""Samples of a sparkline."""
_SLOW = 1.0
"""Seconds between two looks at what isn't a value."""
_RANK = (State.BACKING_OFF, State.DEGRADED, State.STOPPED, State.STARTING, State.RUNNING)

_encode = msgspec.json.Encoder(enc_hook=str).encode


@dataclass
class _Sight:
    """A block in sight of a page."""

    place: Place
    names: list[str]
    frame: Frame | None = None
    counted: int = -1
    sent: list[object] = field(default_factory=list)
    bad: Mapping[str, str] | None = None


class _Page:
    """One open page: what it shows, and what it knows already."""

    def __init__(self, running: Running, board: Board, history: History) -> None:
        self.id = secrets.token_urlsafe(9)
        self.wake = asyncio.Event()
        self._running = running
        self._board = board
        self._history = history
        self._version = -1
        self._sights: list[_Sight] = []
        self._states: list[object] = []
        self._troubles: list[object] = []
        self._shows: frozenset[str] = frozenset()
        self._nodes: dict[str, object] = {}
        self._noted = 0
        self._series: dict[str, tuple[Place, str, float]] = {}
        self._spoken = -math.inf
        self._looked = -math.inf

    def show(self, asked: QueryParams) -> list[int] | None:
        """Show something else from now on; the blocks that are searched for, None for all.

        `w`: numbers of blocks in sight, `o`: the one that is shown whole, `q`: part of a name, `v`: `nodes`, `log`,
        `c`: `key|name` of a line in a chart with `key|name|ts` of its last sample.
        """
        places, text = self._board.places, asked.get("q", "").strip().lower()
        whole = asked.get("o", "")
        before = {id(sight.place): sight for sight in self._sights}
        self._sights = []
        for number in dict.fromkeys((*asked.get("w", "").split(","), whole)):
            if number.isascii() and number.isdigit() and int(number) < len(places):
                place = places[int(number)]
                names = _shown(place, "" if number == whole else text, None if number == whole else SHOWN)
                known = before.get(id(place))
                goes_on = known is not None and known.names == names and number != whole
                self._sights.append(known if known and goes_on else _Sight(place, names))
        shows = frozenset(asked.get("v", "").split(","))
        self._nodes = self._nodes if "nodes" in shows & self._shows else {}
        self._noted = self._noted if "log" in shows & self._shows else 0
        self._shows = shows
        self._series = dict(self._lines(asked.getlist("c")[:_SERIES]))
        self._looked = -math.inf
        self.wake.set()
        return [place.number for place in places if _matches(place, text)] if text else None

    def _lines(self, asked: Iterable[str]) -> Iterator[tuple[str, tuple[Place, str, float]]]:
        for line in asked:
            key, _, rest = line.partition("|")
            name, _, since = rest.rpartition("|")
            place = self._board.find(key)
            try:
                if place is not None:
                    yield f"{key}|{name}", (place, name, float(since))
            except ValueError:
                continue

    def news(self) -> dict[str, object] | None:
        """What the next event tells; None when there is nothing to tell."""
        running, board = self._running, self._board
        board.refresh()
        told: dict[str, object] = {}
        if board.version != self._version:
            self._version, self._sights, self._states = board.version, [], []
            told["blocks"] = [{**place.described(), "r": min(SHOWN, len(place.name()))} for place in board.places]
        states: list[object] = [place.state for place in board.places]
        if states != self._states:
            old = self._states or [None] * len(states)
            told["states"] = [[n, *new] for n, (new, was) in enumerate(zip(states, old, strict=True)) if new != was]  # type: ignore[misc]
            self._states = states
        if seen := [change for sight in self._sights if (change := self._change(sight))]:
            told["seen"] = seen
        wanting: list[object] = [(actor.name, actor.state.value, actor.reason) for actor in troubles(running)]
        if wanting != self._troubles or self._spoken == -math.inf:
            told["troubles"] = self._troubles = wanting
        moment = running.clock.monotonic()
        if moment - self._looked >= _SLOW * 0.9:
            self._looked = moment
            told.update(self._slow())
        if not told and moment - self._spoken < _QUIET:
            return None
        self._spoken = moment
        told["t"] = round(running.clock.wall(), 3)
        return told

    def _slow(self) -> Iterator[tuple[str, object]]:
        if "nodes" in self._shows:
            now = {node.name: _node(self._running, node) for node in self._running.graph.running()}
            if changed := [facts for name, facts in now.items() if self._nodes.get(name) != facts]:
                yield "nodes", changed
            self._nodes = dict(now)
        if "log" in self._shows and (events := log.recent(self._noted)):
            self._noted = events[-1].n
            yield "log", events
        lines = []
        for line, (place, name, since) in self._series.items():
            if samples := list(self._history.samples(place.origin, name, since, latest=_SPARKS)):
                self._series[line] = (place, name, samples[-1][0])
                lines.append([line, samples])
        if lines:
            yield "lines", lines

    def _change(self, sight: _Sight) -> dict[str, object] | None:
        """What is new of a block: all of it at first, then its values by their place among the names."""
        frame = sight.place.frame
        if frame is None or frame is sight.frame:
            return None
        first = sight.frame is None
        sight.frame = frame
        if first:
            return self._whole(sight, frame)
        get = frame.values.get
        values: list[object] = [get(name) for name in sight.names]
        change: dict[str, object] = {"i": sight.place.number, "ts": round(frame.ts, 3)}
        if values != sight.sent:
            change["d"] = [
                item
                for n, (new, was) in enumerate(zip(values, sight.sent, strict=True))
                if new != was or type(new) is not type(was)
                for item in (n, new)
            ]
            sight.sent = values
        if frame.bad != sight.bad:
            sight.bad = frame.bad
            change["bad"] = _reasons(sight.names, frame)
        return change

    def _whole(self, sight: _Sight, frame: Frame) -> dict[str, object]:
        origin, names = sight.place.origin, sight.names
        sight.sent = [frame.values.get(name) for name in names]
        sight.bad = frame.bad
        sparks = {}
        for number, name in enumerate(names):
            if not isinstance(sight.sent[number], str):
                samples = list(self._history.samples(origin, name, latest=_SPARKS))
                sparks[number] = [value for _, value in samples]
        return {
            "i": sight.place.number,
            "ts": round(frame.ts, 3),
            "n": names,
            "of": len(sight.place.name()),
            "u": [origin.units.get(name, "") for name in names],
            "v": sight.sent,
            "bad": _reasons(names, frame),
            "sparks": sparks,
        }


class Live:
    """The routes `/api/live` and `/api/live/{id}` of one running graph."""

    def __init__(self, running: Running, board: Board, history: History, hello: Mapping[str, object]) -> None:
        """Prepare; nothing runs until a page is open.

        Args:
            running: what to show.
            board: its blocks.
            history: for sparklines and charts.
            hello: what every page is told at first.
        """
        self._running = running
        self._board = board
        self._history = history
        self._hello = hello
        self._pages: dict[str, _Page] = {}

    async def stream(self, request: Request) -> Response:
        """The events of one page, for as long as it is open."""
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if len(self._pages) >= _MOST:
            return PlainTextResponse(f"{_MOST} pages are open already; close one\n", 503)
        return StreamingResponse(self._events(), media_type="text/event-stream")

    def first(self) -> bytes:
        """What a page shows until its stream is open, as that stream's first events would tell it, without the past."""
        page = _Page(self._running, self._board, self._history)
        told = page.news() or {}
        page.show(QueryParams(w=",".join(map(str, range(_FIRST)))))
        told |= page.news() or {}
        told["seen"] = [{**seen, "sparks": {}} for seen in cast("list[dict[str, object]]", told.get("seen", []))]
        return _encode({"hello": self._greeting(""), **told})

    async def show(self, request: Request) -> Response:
        """The page shows something else."""
        page = self._pages.get(request.path_params["id"])
        if page is None:
            return PlainTextResponse("no such page is open\n", 404)
        return Response(_encode({"found": page.show(request.query_params)}), media_type="application/json")

    def _pause(self) -> float:
        """Seconds until the next look: where all sources of one period tick together, shortly after them."""
        clock = self._running.clock
        pace = _PAUSE if self._board.shortest < _SLOW else _SLOW
        with contextlib.suppress(KeyError):
            return (clock.next_tick(self._board.shortest) + _AFTER - clock.loop.time() - _LEAST) % pace + _LEAST
        return pace

    def _greeting(self, page: str) -> dict[str, object]:
        running, period = self._running, self._history.period
        return {**self._hello, "id": page, "boot": running.boot, "started": running.started, "period": period}

    async def _events(self) -> AsyncIterator[bytes]:
        page = _Page(self._running, self._board, self._history)
        self._pages[page.id] = page
        hello = {"hello": self._greeting(page.id), "t": self._running.clock.wall()}
        try:
            yield b"retry: 1000\ndata: " + _encode(hello) + b"\n\n"
            while True:
                if news := page.news():
                    yield b"data: " + _encode(news) + b"\n\n"
                page.wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await page.wake.wait()
        finally:
            del self._pages[page.id]


def _matches(place: Place, text: str) -> bool:
    return text in place.key.lower() or any(text in name.lower() for name in place.name())


def _shown(place: Place, text: str, most: int | None) -> list[str]:
    """The names to show: those that are searched for, else the first."""
    names = list(place.name())
    found = [name for name in names if text in name.lower()] if text else names
    return (found or names)[:most]


def _reasons(names: list[str], frame: Frame) -> dict[int, str]:
    bad = frame.bad or {}
    return {number: bad[name] for number, name in enumerate(names) if name in bad}


def _node(running: Running, node: Node) -> dict[str, object]:
    """A node's state and counters, with its parts taken together."""
    actors = actors_of(running, node.name)
    worst = min(actors, key=lambda actor: _RANK.index(actor.state), default=None)
    counts: dict[str, int] = {}
    for actor in actors:
        counts[actor.state.value] = counts.get(actor.state.value, 0) + 1
    port = running.ports.get(node.name)
    facts: dict[str, object] = {
        "n": node.name,
        "state": worst.state.value if worst else State.STARTING.value,
        "reason": worst.reason if worst else "",
        "parts": counts,
        "frames": port.frames if port else None,
        "errors": sum(actor.errors for actor in actors),
        "drops": _drops(actors),
    }
    if node.kind is NodeKind.SINK:
        facts["details"] = details_of(running.details, node.name)
        facts["acknowledged"] = running.metrics.value("plc_publish_ok_total", **_publishing(running, node))
    return facts


def _publishing(running: Running, node: Node) -> dict[str, str]:
    return next(
        (labels for labels, _ in running.metrics.samples("plc_publish_ok_total") if labels.get("node") == node.name),
        {"node": node.name},
    )


def _drops(actors: list[Actor]) -> dict[str, int]:
    drops: dict[str, int] = {}
    for actor in actors:
        for reason, count in actor.drops.items():
            drops[reason] = drops.get(reason, 0) + count
    return drops
