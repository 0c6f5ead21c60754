"""One PLC, looked at as `browse` does: reachable, readable, in RUN, its clock, its blocks as the graph has them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from pipeline.diagnosis import Diagnosis, Mark, Situation
from pipeline.errors import ReadError
from pipeline.s7.address import place as named
from pipeline.s7.browse import Found, browse
from pipeline.s7.browse_place import Place
from pipeline.s7.browse_text import advice
from pipeline.s7.exchange import ask
from pipeline.s7.plan import Range, plan
from pipeline.s7.session import connect
from pipeline.s7.wire import refused

__all__ = ["SLOW", "diagnose_plc"]

SLOW = 0.25
"""Seconds of a read above which it counts as slow, as the platform's alert has it."""
_READS = 5


async def diagnose_plc(
    situation: Situation, place: Place, ranges: Sequence[Range], every: float
) -> AsyncIterator[Diagnosis]:
    """Find what stands in the way of reading a PLC.

    Args:
        situation: of the diagnosis.
        place: where the PLC is, and what the graph reads of it.
        ranges: the same, single tags included.
        every: seconds between two reads.
    """
    part = place.name or place.address
    start = time.perf_counter()
    try:
        found = await browse(situation.clock, place, sorted({extent.db for extent in place.declared}))
    except ReadError as error:
        yield Diagnosis.of("connection", error, part)
        return
    said = f"answers at {place.address}:{place.port}, PDU {found.pdu}"
    if found.identity:
        said += f", {found.identity.order_number}"
    yield Diagnosis(what="connection", mark=Mark.GOOD, found=said, part=part, seconds=time.perf_counter() - start)
    if ranges:  # a source may ask for the CPU's own state alone
        async for each in _reading(situation, place, ranges, every, part):
            yield each
    yield _clock(found, part)
    for sentence in advice(found, place.declared):
        if "clock differs" not in sentence:
            yield Diagnosis(what="advice", mark=Mark.WARNING, found=sentence, part=part)


def _clock(found: Found, part: str) -> Diagnosis:
    if found.clock is None:
        reason = found.not_told.get("clock", "it does not tell")
        return Diagnosis(what="clock", mark=Mark.NOTE, found=f"the CPU's clock is not known: {reason}", part=part)
    text = f"the CPU has {found.clock.time}, {found.clock.difference:+.1f} s against this machine"
    if abs(found.clock.difference) <= 5:  # noqa: PLR2004 - seconds that no report notices
        return Diagnosis(what="clock", mark=Mark.GOOD, found=text, part=part)
    hint = "set it, or say where it runs with `timezone:`; frames carry this machine's time, dates in blocks the CPU's"
    return Diagnosis(what="clock", mark=Mark.WARNING, found=text, advice=hint, part=part)


async def _reading(
    situation: Situation, place: Place, ranges: Sequence[Range], every: float, part: str
) -> AsyncIterator[Diagnosis]:
    """What the graph reads, read a few times: does each byte come, how long does it take."""
    try:
        session = await connect(
            situation.clock, place.address, place.port, place.access.tsaps(), patience=place.timeout
        )
    except ReadError as error:
        yield Diagnosis.of("read", error, part)
        return
    spent = []
    try:
        requests = plan(ranges, session.grant.pdu)
        for _ in range(_READS):
            start = time.perf_counter()
            async with asyncio.timeout(place.timeout * 2):
                answers = await ask(session, requests)
            spent.append(time.perf_counter() - start)
    except (ReadError, TimeoutError) as error:
        yield Diagnosis.of("read", error if isinstance(error, ReadError) else ReadError("timeout"), part)
        return
    finally:
        session.close()
    for request, items in answers:
        for item, data in zip(request.items, items, strict=True):
            if isinstance(data, int):
                where = named(item.area, item.db, item.start)
                yield Diagnosis.of("read", refused(data, f"{where}, {item.size} bytes", area=item.area), part)
    yield _speed(sorted(spent)[len(spent) // 2], every, part)


def _speed(spent: float, every: float, part: str) -> Diagnosis:
    text = f"{_READS} reads, {spent * 1000:.1f} ms each (median)"
    if spent > every:
        hint = "ticks are skipped: raise `every`, or read less"
        return Diagnosis(what="read", mark=Mark.PROBLEM, found=text, advice=hint, part=part, seconds=spent)
    if spent > SLOW:
        hint = "network or PLC are slow: look at cable, switch and the CPU's cycle time; raise `every`"
        return Diagnosis(what="read", mark=Mark.WARNING, found=text, advice=hint, part=part, seconds=spent)
    return Diagnosis(what="read", mark=Mark.GOOD, found=text, part=part, seconds=spent)
