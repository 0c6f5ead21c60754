"""What an open page is told: one stream of server-sent events, with what has changed, at most twice a second.

A page says which blocks are in sight and what else it shows; only that is looked at and sent. A page that reads slowly
gets fewer events, never older ones. Without a page nothing is computed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, pairwise
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
from pipeline.web import spoken
from pipeline.web.board import Board, Place, title
from pipeline.web.history import History
from pipeline.web.inside import described_node, moving
from pipeline.web.portuguese import Say
from pipeline.web.view import Running, actors_of, details_of, ports_of, reader_of, troubles

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
_GAP = 5
"""Usual steps without a sample after which a sparkline is broken."""
_FRAMES = 6
"""Frames of the node whose panel is open, in one event."""
_FRAME_VALUES = 12
_EXACT = 2**53
"""Integers beyond this are told as text in a list: a browser's numbers have no more digits."""
_SLOW = 1.0
"""Seconds between two looks at what isn't a value."""
_RANK = (State.BACKING_OFF, State.DEGRADED, State.STOPPED, State.STARTING, State.RUNNING)

_encode = msgspec.json.Encoder(enc_hook=str).encode


@dataclass
class _Sight:
    """A block in sight of a page."""

    place: Place
    text: str
    most: int | None
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
        self._node = ""
        self._passing: deque[Frame] = deque(maxlen=_FRAMES)
        self._leave: list[Callable[[], None]] = []
        self._inside: dict[str, object] = {}
        self._spoken = -math.inf
        self._looked = -math.inf

    def show(self, asked: QueryParams) -> list[int] | None:
        """Show something else from now on; the blocks that are searched for, None for all.

        `w`: numbers of blocks in sight, `m`: values of each, `o`: the one that is shown whole, `q`: part of a name,
        `v`: `nodes`, `log`, `n`: the node whose inside and frames are shown, `c`: `key|name` of a line in a chart with
        `key|name|ts` of its last sample.
        """
        places, text = self._board.places, asked.get("q", "").strip().lower()
        whole, few = asked.get("o", ""), asked.get("m", "")[:9]
        usual = min(SHOWN, int(few)) if few.isascii() and few.isdigit() else SHOWN
        before = {id(sight.place): sight for sight in self._sights}
        known = {str(place.number): place for place in places}
        self._sights = []
        for number in dict.fromkeys((*asked.get("w", "").split(","), whole)):
            if place := known.get(number):
                sought, most = ("", None) if number == whole else (text, usual)
                sight = before.get(id(place))
                if sight is None or (sight.text, sight.most) != (sought, most):
                    sight = _Sight(place, sought, most, _shown(place, sought, most))
                self._sights.append(sight)
        shows = frozenset(asked.get("v", "").split(","))
        self._nodes = self._nodes if "nodes" in shows & self._shows else {}
        self._noted = self._noted if "log" in shows & self._shows else 0
        self._shows = shows
        self._series = dict(self._lines(asked.getlist("c")[:_SERIES]))
        self._look_into(asked.get("n", ""))
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

    def _look_into(self, node: str) -> None:
        if node != self._node:
            self.close()
            self._node = node
            self._leave = [port.connect("page", self._passing.append) for port in ports_of(self._running, node)]

    def close(self) -> None:
        """Look into no node any more."""
        for leave in self._leave:
            leave()
        self._passing.clear()
        self._leave, self._inside = [], {}

    def news(self) -> dict[str, object] | None:
        """What the next event tells; None when there is nothing to tell."""
        running, board = self._running, self._board
        board.refresh()
        told: dict[str, object] = {}
        if board.version != self._version:
            self._version, self._sights, self._states = board.version, [], []
            told["blocks"] = [{**place.described(), "r": min(SHOWN, len(place.names()))} for place in board.places]
        states: list[object] = [place.state for place in board.places]
        if states != self._states:
            old = self._states or [None] * len(states)
            told["states"] = [[n, *new] for n, (new, was) in enumerate(zip(states, old, strict=True)) if new != was]  # type: ignore[misc]
            self._states = states
        if seen := [change for sight in self._sights if (change := self._change(sight))]:
            told["seen"] = seen
        wanting = list(_wanting(running, board))
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
        running = self._running
        if "nodes" in self._shows:
            now = {node.name: _node(running, node) for node in running.graph.running()}
            if changed := [facts for name, facts in now.items() if self._nodes.get(name) != facts]:
                yield "nodes", changed
            self._nodes = dict(now)
        if "log" in self._shows and (events := log.recent(self._noted)):
            self._noted = events[-1].n
            yield "log", events
        if self._passing:
            passing = [self._passing.popleft() for _ in range(len(self._passing))]
            yield "frames", [_passed(frame) for frame in passing]
        if node := running.graph.nodes.get(self._node):
            inside = moving(running, node)
            # At first all of it, then only what has changed: with a hundred parts that is most often a few counters.
            if fresh := {key: value for key, value in inside.items() if value != self._inside.get(key)}:
                yield "node", {"name": node.name, **({} if self._inside else described_node(running, node)), **fresh}
            self._inside = inside
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
        if (frame.bad or {}).keys() != (sight.bad or {}).keys() and sight.most is not None:
            names = _shown(sight.place, sight.text, sight.most)
            first = first or names != sight.names
            sight.names = names
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
                for item in (n, _exact(new))
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
                sparks[number] = _spark(list(self._history.samples(origin, name, latest=_SPARKS)))
        return {
            "i": sight.place.number,
            "ts": round(frame.ts, 3),
            "n": names,
            "of": len(sight.place.names()),
            "u": [origin.units.get(name, "") for name in names],
            "v": [_exact(value) for value in sight.sent],
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
        return StreamingResponse(self._events(spoken.say_in(request)), media_type="text/event-stream")

    def first(self, say: Say) -> bytes:
        """What a page shows until its stream is open, as that stream's first events would tell it, without the past."""
        page = _Page(self._running, self._board, self._history)
        told = page.news() or {}
        page.show(QueryParams(w=",".join(map(str, range(_FIRST)))))
        told |= page.news() or {}
        told["seen"] = [{**seen, "sparks": {}} for seen in cast("list[dict[str, object]]", told.get("seen", []))]
        return _encode({"hello": self._greeting(""), **spoken.told(told, say)})

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

    async def _events(self, say: Say) -> AsyncIterator[bytes]:
        page = _Page(self._running, self._board, self._history)
        self._pages[page.id] = page
        hello = {"hello": self._greeting(page.id), "t": self._running.clock.wall()}
        try:
            yield b"retry: 1000\ndata: " + _encode(hello) + b"\n\n"
            while True:
                if news := page.news():
                    yield b"data: " + _encode(spoken.told(news, say)) + b"\n\n"
                page.wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await page.wake.wait()
        finally:
            page.close()
            del self._pages[page.id]


def _matches(place: Place, text: str) -> bool:
    return text in place.key.lower() or any(text in name.lower() for name in place.names())


def _shown(place: Place, text: str, most: int | None) -> list[str]:
    """The names to show: those that are searched for, else all; where not all have room, those that are bad first."""
    names = list(place.names())
    found = [name for name in names if text in name.lower()] or names
    bad = place.frame.bad if place.frame else None
    if bad and (most is None or len(found) > most):
        found.sort(key=lambda name: name not in bad)
    return found[:most]


def _exact(value: object) -> object:
    return [str(value)] if isinstance(value, int) and abs(value) > _EXACT else value


def _spark(samples: list[tuple[float, float | None]]) -> list[float | None]:
    """The values, with one that is absent where samples are missing."""
    steps = sorted(after[0] - before[0] for before, after in pairwise(samples))
    longest = _GAP * steps[len(steps) // 2] if steps else 0.0
    values = [value for _, value in samples[:1]]
    for before, (ts, value) in pairwise(samples):
        values += [None, value] if ts - before[0] > longest else [value]
    return values


def _passed(frame: Frame) -> dict[str, object]:
    """A frame that has passed a node, in short."""
    origin = frame.origin
    values = [[name, _exact(value)] for name, value in islice(frame.values.items(), _FRAME_VALUES)]
    who = title(origin) if origin.db is None else f"{title(origin)} DB{origin.db}"
    return {"ts": frame.ts, "of": who, "v": values, "n": len(frame.values), "e": frame.error or ""}


def _wanting(running: Running, board: Board) -> Iterator[object]:
    """What needs attention beside blocks: part, state, reason, the blocks of its PLC; sinks that have dead letters."""
    ailing: dict[str, tuple[Actor, list[int]]] = {actor.name: (actor, []) for actor in troubles(running)}
    for place in board.places if ailing else ():
        if (reader := reader_of(running, place.origin)) and reader.name in ailing:
            ailing[reader.name][1].append(place.number)
    for actor, blocks in ailing.values():
        yield (actor.name, actor.state.value, actor.reason, blocks)
    for sink in running.letters:
        if dead := details_of(running.details, sink).get("dead_letters"):
            yield (sink, "dead", dead, [])


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
        counted = running.metrics.samples("plc_publish_ok_total")
        facts["acknowledged"] = next((value for labels, value in counted if labels.get("node") == node.name), None)
    return facts


def _drops(actors: list[Actor]) -> dict[str, int]:
    drops: dict[str, int] = {}
    for actor in actors:
        for reason, count in actor.drops.items():
            drops[reason] = drops.get(reason, 0) + count
    return drops
