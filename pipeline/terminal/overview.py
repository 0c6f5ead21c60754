"""What a running pipeline does, made of two looks at its HTTP interface: blocks, sinks, parts, events.

Three answers make a look: `/api/graph`, `/api/last`, and of `/metrics` what tells of reading. Rates are between looks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from pipeline.errors import UsageError
from pipeline.terminal.look import Block, Event, Overview, Part, Sink, by_trouble
from pipeline.terminal.remote import Remote

__all__ = ["Watcher"]

_WINDOW = 60.0
"""Seconds over which rates are means."""
_EVENTS = 200
_METRICS = ("plc_read_ok_total", "plc_read_latency_ms", "plc_expected_interval_seconds", "plc_publish_ok_total")

Series = dict[str, dict[frozenset[tuple[str, str]], float]]


class _Told(msgspec.Struct):
    ts: float
    reason: str


class _Actor(msgspec.Struct):
    name: str
    state: str
    since: float
    reason: str = ""
    errors: int = 0
    frames: int | None = None
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
    tags: dict[str, str] = {}
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
        except ValueError as error:
            raise UsageError(f"what answers at {self._remote.url} is no pipeline: {error}") from error
        self._remember(graph, series)
        blocks = [self._block(last, name, graph, series) for last, name in zip(lasts, _block_names(lasts), strict=True)]
        parts = [part for node in graph.nodes for part in _parts(node, graph.now)]
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

    def _block(self, last: _Last, name: tuple[str, str], graph: _Graph, series: Series) -> Block:
        labels = {"tenant": last.tenant_id, "plc": last.plc_id or last.ip, "db": "" if last.db is None else last.db}
        key = frozenset((name, str(value)) for name, value in labels.items() if value != "")
        every = series.get("plc_expected_interval_seconds", {}).get(key)
        failing = last.failing
        told = "" if failing is None else failing.advice or failing.error or "failed"
        plc, block = name
        return Block(
            plc=plc,
            block=block,
            state="failing" if failing else "stale" if last.stale else "fresh",
            age=None if last.error is not None else last.age_seconds,
            every=every,
            rate=self._rate("plc_read_ok_total", key, graph.started, 2 * (every or 0.0)),
            latency_ms=series.get("plc_read_latency_ms", {}).get(key) or None,  # 0 before the first
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


def _block_names(lasts: Sequence[_Last]) -> list[tuple[str, str]]:
    """PLC and block of each, no two the same; without PLC and address a device is what its messages carry as tags."""
    names = [
        (
            "/".join(filter(None, (last.tenant_id, last.plc_id or last.ip or " ".join(last.tags.values())))) or "-",
            # A measurement is told only where it is not that of its data block: two blocks of one DB differ by it.
            " ".join(filter(None, ("" if last.db is None else f"DB{last.db}", last.measurement))) or "-",
        )
        for last in lasts
    ]
    often, taken = Counter(names), Counter[tuple[str, str]]()
    for index, (last, (plc, block)) in enumerate(zip(lasts, names, strict=True)):
        if often[plc, block] > 1:
            tags = [f"{tag}={value}" for tag, value in last.tags.items()] if last.plc_id or last.ip else []
            apart = plc, " ".join((block, *tags))
            taken[apart] += 1
            names[index] = apart if taken[apart] == 1 else (plc, f"{apart[1]} ~{taken[apart]}")
    return names


def _parts(node: _Node, now: float) -> Iterable[Part]:
    parts = [_part(node, actor, now) for actor in node.actors]
    if len(parts) > 1:
        worst = min(parts, key=lambda part: by_trouble(part.state))
        wrong = sum(part.state != "running" for part in parts)
        yield Part(
            name=node.name,
            section=node.section,
            type=node.type,
            state="degraded" if 0 < wrong < len(parts) else worst.state,
            seconds=worst.seconds,
            frames=node.frames,
            errors=sum(part.errors for part in parts),
            drops=dict(sum((Counter(part.drops) for part in parts), Counter())),
            reason=f"{wrong} of {len(parts)} not running" if wrong else "",
            last_error="",
            last_error_ts=0.0,
            details={},
        )
    yield from parts


def _part(node: _Node, actor: _Actor, now: float) -> Part:
    latest = max(actor.last_errors, key=lambda told: told.ts, default=None)
    return Part(
        name=actor.name,
        section=node.section,
        type=node.type,
        state=actor.state,
        seconds=max(0.0, now - actor.since),
        frames=node.frames if len(node.actors) == 1 else actor.frames,
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
