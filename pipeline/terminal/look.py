"""A look at a running pipeline: its blocks, sinks, parts and latest events at one moment."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Block", "Event", "Overview", "Part", "Sink", "aged", "by_trouble"]

_WORST = ("failing", "stopped", "backing_off", "degraded", "stale", "starting", "running", "fresh")


class Block(msgspec.Struct, frozen=True):
    """One block of one PLC.

    Attributes:
        plc: tenant and PLC: `acme/press1`.
        block: `DB1`, or its measurement.
        state: `fresh`, `stale` or `failing`.
        age: seconds since its newest data were read; None before the first.
        every: seconds between two reads, as configured; None where its source doesn't tell.
        rate: reads a second that succeeded; None where its source doesn't tell.
        latency_ms: of the latest read that succeeded, milliseconds; None before the first.
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
    """One running part: a node, or a PLC of a source. Before the PLCs of one source stands the source as a whole.

    Attributes:
        name: `broker`, `press`, `press/press1`.
        section: sources, transforms, sinks or services.
        type: its operator.
        state: see `pipeline.actor.State`.
        seconds: that it has been in that state.
        frames: that have left it; None for sinks and services.
        errors: how often it got into trouble, and exceptions of its own code.
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


def by_trouble(state: str) -> int:
    """What a state is sorted by where the worst comes first."""
    return _WORST.index(state) if state in _WORST else 0


def aged(overview: Overview, seconds: float) -> Overview:
    """The look as it is so long after it was taken, when nobody answers: everything is older, and no state is known."""
    later = msgspec.structs.replace
    blocks = [
        later(block, state="unknown", rate=None, age=None if block.age is None else block.age + seconds)
        for block in overview.blocks
    ]
    sinks = [
        later(
            sink,
            state="unknown",
            rate=None,
            oldest_age=sink.oldest_age + seconds if sink.backlog and sink.oldest_age else None,
        )
        for sink in overview.sinks
    ]
    parts = [later(part, state="unknown", seconds=part.seconds + seconds) for part in overview.parts]
    return later(overview, now=overview.now + seconds, blocks=blocks, sinks=sinks, parts=parts)
