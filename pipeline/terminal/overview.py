"""What a running pipeline does, made of two looks at its HTTP interface: blocks, sinks, parts, events.

Three answers make a look: `/api/graph`, `/api/last`, and of `/metrics` what tells of reading. Rates are between looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from pipeline.errors import UsageError
from pipeline.terminal.remote import Remote

__all__ = ["Block", "Event", "Overview", "Part", "Sink", "Watcher"]

_WINDOW = 60.0
"""Seconds over which rates are means."""
_EVENTS = 200
_METRICS = ("plc_read_ok_total", "plc_read_latency_ms", "plc_expected_interval_seconds", "plc_publish_ok_total")

Series = dict[str, dict[frozenset[tuple[str, str]], float]]


class Block(msgspec.Struct, frozen=True):
    """One block of one PLC.

    Attributes:
        plc: tenant and PLC: `acme/press1`.
        block: `DB1`, or its measurement.
        state: `fresh`, `stale` or `failing`.
        age: seconds since its newest data were read; None before the first.
        every: seconds between two reads, as configured; None where its source doesn't tell.
        rate: reads a second that succeeded; None where its source doesn't tell.
        latency_ms: of the latest read, milliseconds.
        values: of the newest frame.
        bad: reasons by name.
        units: by name.
        error: what the failing read says, and what to do.
    """

    plc: str
    block: str
    state: str
    age: float | None
    every: float | None
    rate: float | None
    latency_ms: float | None
    values: dict[str, Any]
    bad: dict[str, str]
    units: dict[str, str]
    error: str


class Sink(msgspec.Struct, frozen=True):
    """Where frames go. What a sink without a journal doesn't have is None.

    Attributes:
        name: the node.
        type: its operator.
        state: see `pipeline.actor.State`.
        rate: frames a second that the receiver acknowledged.
        backlog: frames accepted and not acknowledged.
        backlog_bytes: on disk.
        oldest_age: seconds that the oldest of them has waited.
        headroom: seconds until frames are lost if the receiver stays away.
        in_flight: frames sent and not acknowledged yet.
        dead: frames that the receiver has refused for good.
        dropped: frames given up.
        reason: why it is in that state.
    """

    name: str
    type: str
    state: str
    rate: float | None
    backlog: int | None
    backlog_bytes: int | None
    oldest_age: float | None
    headroom: float | None
    in_flight: int | None
    dead: int | None
    dropped: int
    reason: str


class Part(msgspec.Struct, frozen=True):
    """One running part: a node, or a PLC of a source.

    Attributes:
        name: `broker`, `press/press1`.
        section: sources, transforms, sinks or services.
        type: its operator.
        state: see `pipeline.actor.State`.
        seconds: that it has been in that state.
        frames: that have left it; None for sinks, services, and one PLC of several.
        errors: exceptions of its own code.
        drops: frames given up, by reason.
        reason: why it is in that state.
        last_error: its latest trouble; empty where it had none.
        last_error_ts: when, seconds since 1970; 0.0 where it had none.
        details: what it tells beside.
    """

    name: str
    section: str
    type: str
    state: str
    seconds: float
    frames: int | None
    errors: int
    drops: dict[str, int]
    reason: str
    last_error: str
    last_error_ts: float
    details: dict[str, Any]


class Event(msgspec.Struct, frozen=True):
    """Something that happened.

    Attributes:
        ts: seconds since 1970, by the pipeline's clock.
        who: the part, or the PLC and block.
        what: in words.
        bad: it is trouble, not its end.
    """

    ts: float
    who: str
    what: str
    bad: bool


class Overview(msgspec.Struct, frozen=True):
    """A look.

    Attributes:
        graph: its name.
        boot: the process start, a ULID.
        started: when, seconds since 1970.
        now: the pipeline's clock.
        blocks: as a person counts.
        sinks: in the order of the file.
        parts: all, in the order of the file.
        events: the latest, newest first.
    """

    graph: str
    boot: str
    started: float
    now: float
    blocks: list[Block]
    sinks: list[Sink]
    parts: list[Part]
    events: list[Event]


class _Told(msgspec.Struct):
    ts: float
    reason: str


class _Actor(msgspec.Struct):
    name: str
    state: str
    since: float
    reason: str = ""
    errors: int = 0
    drops: dict[str, int] = {}
    last_errors: list[_Told] = []
    details: dict[str, Any] = {}


class _Node(msgspec.Struct):
    name: str
    section: str
    type: str
    actors: list[_Actor]
    frames: int | None = None


class _Graph(msgspec.Struct):
    name: str
    boot: str
    started: float
    now: float
    nodes: list[_Node]


class _Failing(msgspec.Struct):
    error: str | None = None
    advice: str = ""


class _Last(msgspec.Struct):
    ts: float
    values: dict[str, Any]
    age_seconds: float
    stale: bool
    ip: str = ""
    db: int | None = None
    tenant_id: str = ""
    plc_id: str = ""
    measurement: str = ""
    error: str | None = None
    bad: dict[str, str] = {}
    units: dict[str, str] = {}
    failing: _Failing | None = None


_graph = msgspec.json.Decoder(_Graph).decode
_lasts = msgspec.json.Decoder(list[_Last]).decode


class Watcher:
    """Looks at a pipeline again and again."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._looks: deque[tuple[float, Series]] = deque()
        self._boot = ""
        self._before: dict[str, tuple[str, str]] = {}
        self._events: dict[Event, None] = {}

    def look(self) -> Overview:
        """What it does now.

        Raises:
            UsageError: nothing answers there, it doesn't let us in, or it is no pipeline.
            PartFailed: the answer ended before it was complete.
        """
        asked = "&".join(f"name[]={name}" for name in _METRICS)
        try:
            graph = _graph(self._remote.get("/api/graph"))
            lasts = _lasts(self._remote.get("/api/last"))
            series = _series(self._remote.get(f"/metrics?{asked}").decode())
        except (ValueError, msgspec.MsgspecError) as error:
            raise UsageError(f"what answers at {self._remote.url} is no pipeline: {error}") from error
        self._remember(graph, series)
        blocks = [self._block(last, graph, series) for last in lasts]
        parts = [_part(node, actor, graph.now) for node in graph.nodes for actor in node.actors]
        sinks = [self._sink(node, graph) for node in graph.nodes if node.section == "sinks" and node.actors]
        self._note(graph, blocks)
        events = sorted(self._events, key=lambda event: event.ts)[-_EVENTS:]
        self._events = dict.fromkeys(events)
        return Overview(graph.name, graph.boot, graph.started, graph.now, blocks, sinks, parts, events[::-1])

    def _remember(self, graph: _Graph, series: Series) -> None:
        """Keep the counters of a minute; another process or graph begins anew."""
        counted = [
            (before.get(key, 0.0), value)
            for name, before in (self._looks[-1][1] if self._looks else {}).items()
            if name.endswith("_total")
            for key, value in series.get(name, {}).items()
        ]
        if graph.boot != self._boot or any(now < before for before, now in counted):
            self._looks.clear()
        self._boot = graph.boot
        self._looks.append((graph.now, series))
        while graph.now - self._looks[0][0] > _WINDOW:
            self._looks.popleft()

    def _rate(self, name: str, key: frozenset[tuple[str, str]], started: float, least: float = 0.0) -> float | None:
        """A counter's growth per second since the oldest look, or since the start where that is too short ago."""
        now, series = self._looks[-1]
        value = series.get(name, {}).get(key)
        if value is None:
            return None
        then, before = self._looks[0]
        if now - then > least:
            return max(0.0, value - before.get(name, {}).get(key, 0.0)) / (now - then)
        return value / (now - started) if now > started else None

    def _block(self, last: _Last, graph: _Graph, series: Series) -> Block:
        labels = {"tenant": last.tenant_id, "plc": last.plc_id or last.ip, "db": "" if last.db is None else last.db}
        key = frozenset((name, str(value)) for name, value in labels.items() if value != "")
        every = series.get("plc_expected_interval_seconds", {}).get(key)
        failing = last.failing
        told = "" if failing is None else failing.advice or failing.error or "failed"
        plc = "/".join(filter(None, (last.tenant_id, last.plc_id or last.ip)))
        # A measurement is told only where it is not that of its data block: two blocks of one DB differ by it.
        block = " ".join(filter(None, ("" if last.db is None else f"DB{last.db}", last.measurement)))
        return Block(
            plc=plc or "-",
            block=block or "-",
            state="failing" if failing else "stale" if last.stale else "fresh",
            age=None if last.error is not None else last.age_seconds,
            every=every,
            rate=self._rate("plc_read_ok_total", key, graph.started, 2 * (every or 0.0)),
            latency_ms=series.get("plc_read_latency_ms", {}).get(key),
            values=last.values if last.error is None else {},
            bad=last.bad,
            units=last.units,
            error=told,
        )

    def _sink(self, node: _Node, graph: _Graph) -> Sink:
        actor = node.actors[0]
        details = actor.details
        mine = [key for key in self._looks[-1][1].get("plc_publish_ok_total", {}) if ("node", node.name) in key]
        rates = [self._rate("plc_publish_ok_total", key, graph.started) for key in mine]
        return Sink(
            name=node.name,
            type=node.type,
            state=actor.state,
            rate=sum(filter(None, rates)) if rates else None,
            backlog=details.get("backlog_frames"),
            backlog_bytes=details.get("backlog_bytes"),
            oldest_age=details.get("backlog_oldest_age_seconds"),
            headroom=details.get("backlog_headroom_seconds"),
            in_flight=details.get("in_flight"),
            dead=details.get("dead_letters"),
            dropped=sum(actor.drops.values()),
            reason=actor.reason or str(details.get("trouble") or ""),
        )

    def _note(self, graph: _Graph, blocks: Iterable[Block]) -> None:
        """Find what has happened since the last look; at the first one, what the parts remember."""
        now: dict[str, tuple[str, str]] = {}
        for actor in (actor for node in graph.nodes for actor in node.actors):
            now[actor.name] = (actor.state, actor.reason)
            for told in actor.last_errors:
                self._events[Event(told.ts, actor.name, told.reason, bad=True)] = None
            if self._before.get(actor.name, now[actor.name])[0] != actor.state and actor.state in _WELL:
                self._events[Event(actor.since, actor.name, actor.state, bad=False)] = None
            for reason, count in actor.drops.items():
                now[f"{actor.name} {reason}"] = (str(count), "")
                more = count - int(self._before.get(f"{actor.name} {reason}", (str(count), ""))[0])
                if more > 0:
                    self._events[Event(graph.now, actor.name, f"{more} frames given up: {reason}", bad=True)] = None
        for block in blocks:
            name = f"{block.plc} {block.block}"
            now[name] = (block.state, "")
            if self._before.get(name, now[name])[0] != block.state:
                text = f"{block.state}: {block.error}" if block.error else block.state
                self._events[Event(graph.now, name, text, bad=block.state != "fresh")] = None
        self._before = now


_WELL = {"running", "stopped"}


def _part(node: _Node, actor: _Actor, now: float) -> Part:
    latest = max(actor.last_errors, key=lambda told: told.ts, default=None)
    return Part(
        name=actor.name,
        section=node.section,
        type=node.type,
        state=actor.state,
        seconds=max(0.0, now - actor.since),
        frames=node.frames if len(node.actors) == 1 else None,
        errors=actor.errors,
        drops=actor.drops,
        reason=actor.reason,
        last_error=latest.reason if latest else "",
        last_error_ts=latest.ts if latest else 0.0,
        details=actor.details,
    )


def _series(text: str) -> Series:
    """The series that are wanted, by name and labels; a pipeline that gives more than asked for is understood too."""
    wanted = [line for line in text.splitlines() if line.partition("{")[0] in _METRICS]
    found: Series = {}
    for family in text_string_to_metric_families("\n".join([*wanted, ""])):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found
