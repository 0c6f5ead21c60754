"""What was found in a PLC, for people: a report, and advice on the settings that stand in the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.frame import Extent
from pipeline.s7.browse import Found
from pipeline.s7.browse_blocks import FoundBlock
from pipeline.s7.browse_cpu import Protection

__all__ = ["advice", "report"]

_LEVELS = {
    1: "1: reading and writing need no password",
    2: "2: writing needs the password, reading does not",
    3: "3: reading and writing need the password",
    4: "4: everything needs the password",
}
_READ_LOCKED = 3
_DENIED, _MISSING = 0x03, 0x0A
_SLOW_CLOCK = 60.0
_UNTOLD = "the CPU does not tell"


def report(found: Found, place: str, declared: Sequence[Extent] = ()) -> Iterator[str]:
    """The lines of a report.

    Args:
        found: what was found.
        place: how the PLC is called.
        declared: what a graph reads of it.
    """
    yield f"PLC {place}"
    for name, value in _cpu(found):
        yield f"  {name:<15} {value}"
    yield ""
    source = "as the CPU lists them" if found.dbs_from == "block list" else f"found by {found.dbs_from}"
    yield f"Data blocks, {source}:" if found.dbs else f"No data block was found ({found.dbs_from or found.no_reading})."
    for block in found.dbs:
        size = "?" if block.size is None else str(block.size)
        yield f"  {f'DB{block.db}':<8} {size:>6} bytes{'' if block.readable else f'   cannot be read: {block.reason}'}"
    notes = list(advice(found, declared))
    if notes:
        yield ""
        yield "Advice:"
        yield from (f"  - {note}" for note in notes)


def advice(found: Found, declared: Sequence[Extent] = ()) -> Iterator[str]:
    """What to change, or to know, in sentences."""
    if found.no_reading:
        yield f"no data block can be read: {found.no_reading}"
    yield from _blocks_advice(found)
    yield from _declared_advice(found, declared)
    level = found.protection.level if found.protection else 0
    if level >= _READ_LOCKED:
        yield (
            f"protection level {level}: reading needs the password, which S7 reads without one never give; "
            "set 'read access' or 'full access' in the CPU's protection settings"
        )
    if found.connections is not None and not found.connections.free:
        yield (
            "all connections of the CPU are taken: the next program is refused; end one that is not needed, or choose "
            "`connection_type: op` or `basic` at the source"
        )
    if found.state is not None and found.state != "RUN":
        yield f"the CPU is in {found.state}: its values stand still"
    if found.clock is not None and abs(found.clock.difference) > _SLOW_CLOCK:
        yield (
            f"the CPU's clock differs from this machine's by {_span(found.clock.difference)}: frames carry this "
            "machine's time, dates in data blocks the CPU's; set it, or say where it runs with `timezone:`"
        )


def _blocks_advice(found: Found) -> Iterator[str]:
    by_code: dict[int, list[FoundBlock]] = {}
    for block in found.dbs:
        if not block.readable and not found.no_reading:
            by_code.setdefault(block.code, []).append(block)
    for code, blocks in by_code.items():
        names = ", ".join(f"DB{block.db}" for block in blocks[:8]) + (" and more" if len(blocks) > 8 else "")  # noqa: PLR2004
        if code == _MISSING:
            yield f"{names}: switch off 'Optimized block access' in the block's properties, compile and load it"
        elif code == _DENIED:
            yield f"{names}: access denied; permit PUT/GET access, or lower the protection of block and CPU"
        else:
            yield f"{names}: {blocks[0].reason}"
    if found.dbs_from and not found.dbs and not found.no_reading:
        yield (
            "blocks with 'Optimized block access' (the default of S7-1200/1500) don't show here: switch it off for "
            "those that are to be read, and permit PUT/GET access in the CPU's protection settings"
            + ("" if found.dbs_from == "block list" else "; or try other numbers with --dbs")
        )


def _declared_advice(found: Found, declared: Sequence[Extent]) -> Iterator[str]:
    blocks = {block.db: block for block in found.dbs}
    for extent in declared:
        block = blocks.get(extent.db)
        if found.no_reading:
            return
        if block is None:
            yield f"the graph reads DB{extent.db}, which was not found"
        elif block.size is not None and block.size < extent.start + extent.size:
            yield f"the graph reads {extent}, and DB{extent.db} has {block.size} bytes: compare layout and TIA/STEP 7"


def _cpu(found: Found) -> Iterator[tuple[str, str]]:
    identity, names = found.identity, found.names
    yield "order number", _told(found, "order number", identity.order_number if identity else "")
    yield "firmware", _told(found, "order number", identity.firmware if identity else "")
    yield "type", _told(found, "names", names.type if names else "")
    yield "module", _told(found, "names", ", ".join(filter(None, (names.module, names.plant))) if names else "")
    yield "serial number", _told(found, "names", names.serial if names else "")
    yield "state", _told(found, "state", found.state or "")
    clock = found.clock
    yield "clock", _told(found, "clock", f"{clock.time}, {_span(clock.difference)} this machine's" if clock else "")
    yield "protection", _told(found, "protection", _protection(found.protection) if found.protection else "")
    yield "connections", _connections(found)
    yield "PDU", f"{found.pdu} bytes, {found.jobs} request{'s' * (found.jobs != 1)} at once"


def _protection(protection: Protection) -> str:
    selector = f"; selector at {protection.selector}" if protection.selector else ""
    return _LEVELS.get(protection.level, str(protection.level)) + selector


def _connections(found: Found) -> str:
    used, most = found.connections, found.connections_most
    if used is None:
        text = _told(found, "connections", "")
        return f"{most} in all; taken and free: {text}" if most else text
    kinds = {"PG": used.pg, "OP": used.op, "S7": used.s7, "basic": used.basic, "other": used.others}
    taken = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return (
        f"{used.free} free, {used.taken} taken" + (f" ({taken})" if taken else "") + (f", {most} in all" * bool(most))
    )


def _told(found: Found, what: str, text: str) -> str:
    return text or (f"{_UNTOLD}: {found.not_told[what]}" if what in found.not_told else _UNTOLD)


def _span(seconds: float) -> str:
    """`0.3 s behind`, `3 h 0 min ahead of`."""
    span, direction = abs(seconds), "ahead of" if seconds > 0 else "behind"
    if span < 120:  # noqa: PLR2004 - from two minutes on, seconds say little
        return f"{span:.1f} s {direction}"
    minutes = round(span / 60)
    days, hours = divmod(minutes // 60, 24)
    parts = ((days, "d"), (hours, "h"), (minutes % 60, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) + f" {direction}"
