"""Rows of an overview as words: the same in the live view and in the table for scripts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from pipeline.table import cell, printable
from pipeline.terminal.look import Block, Event, Overview, Part, Sink

__all__ = [
    "BLOCKS",
    "PARTS",
    "SINKS",
    "age",
    "block_row",
    "event_line",
    "fact",
    "part_row",
    "sink_row",
    "size",
    "table",
]

BLOCKS = ("PLC", "block", "state", "age", "every", "reads/s", "latency", "bad", "error")
SINKS = ("sink", "type", "state", "acked/s", "backlog", "bytes", "oldest", "headroom", "in flight", "dead", "dropped")
PARTS = ("part", "type", "state", "for", "frames", "errors", "dropped", "reason or last error")

_UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0))
_KIB = 1024
_FEW = 10
_MANY = 100


def block_row(block: Block) -> tuple[str, ...]:
    """The cells below `BLOCKS`."""
    return (
        printable(block.plc),
        printable(block.block),
        block.state,
        age(block.age),
        "" if block.every is None else age(block.every),
        _number(block.rate),
        "" if block.latency_ms is None else f"{block.latency_ms:.1f} ms",
        str(len(block.bad) or ""),
        printable(block.error),
    )


def sink_row(sink: Sink) -> tuple[str, ...]:
    """The cells below `SINKS`."""
    return (
        sink.name,
        sink.type,
        sink.state,
        _number(sink.rate),
        _count(sink.backlog),
        "" if sink.backlog_bytes is None else size(sink.backlog_bytes),
        age(sink.oldest_age),
        age(sink.headroom),
        _count(sink.in_flight),
        _count(sink.dead),
        str(sink.dropped or ""),
    )


def part_row(part: Part, now: float) -> tuple[str, ...]:
    """The cells below `PARTS`."""
    told = part.reason
    if not told and part.last_error:
        told = f"{age(max(0.0, now - part.last_error_ts))} ago: {part.last_error}"
    return (
        printable(part.name),
        part.type,
        part.state,
        age(part.seconds),
        _count(part.frames),
        str(part.errors or ""),
        str(sum(part.drops.values()) or ""),
        printable(told),
    )


def fact(name: str, value: object) -> tuple[str, str]:
    """A detail of a part as people read it: `backlog_bytes`, 2048 is `backlog`, `2.0 KiB`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        for unit, words in _DETAILS.items():
            if name.endswith(unit):
                return printable(name.removesuffix(unit)), words(value)
    return printable(name), cell(value)


def event_line(event: Event) -> str:
    """An event in a line."""
    moment = time.strftime("%H:%M:%S", time.localtime(event.ts))
    return f"{moment}  {printable(event.who)}  {printable(event.what)}"


def table(overview: Overview) -> Iterator[str]:
    """The whole look as lines."""
    up = age(max(0.0, overview.now - overview.started))
    yield f"{overview.graph}, up {up}, boot {overview.boot}"
    yield from _aligned(BLOCKS, [block_row(block) for block in overview.blocks])
    yield from _aligned(SINKS, [sink_row(sink) for sink in overview.sinks])
    yield from _aligned(PARTS, [part_row(part, overview.now) for part in overview.parts])
    if overview.events:
        yield ""
        yield from (event_line(event) for event in overview.events[:_FEW])


def _aligned(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    whole = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    yield ""
    for row in whole:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def age(seconds: float | None) -> str:
    """A time span as people read it: `0.4 s`, `12 s`, `3.5 min`; "" for None."""
    if seconds is None:
        return ""
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds < _FEW else f"{seconds:.0f} s"


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _KIB:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIB
    return f"{count:.1f} TiB"


_DETAILS: dict[str, Callable[[float], str]] = {
    "_seconds": age,
    "_bytes": size,
    "_ms": lambda found: f"{found:.1f} ms",
}


def _number(found: float | None) -> str:
    if found is None:
        return ""
    return f"{found:.0f}" if found >= _MANY else f"{found:.1f}" if found >= 1 else f"{found:.2g}"


def _count(found: int | None) -> str:
    return "" if found is None else str(found)
