"""One CPU that is read by symbols: reachable, its lock opened, the blocks that the graph names in its program."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import replace

from pipeline.diagnosis import Diagnosis, Mark
from pipeline.errors import ReadError
from pipeline.s7plus.browse import symbols
from pipeline.s7plus.link import Door
from pipeline.s7plus.symbols import parse_symbol
from pipeline.units import Secret

__all__ = ["diagnose_symbols"]


async def diagnose_symbols(part: str, door: Door, password: Secret, names: Collection[str]) -> AsyncIterator[Diagnosis]:
    """Find what stands in the way of reading a CPU by symbols.

    Args:
        part: what the PLC is called.
        door: the way in, but for the password.
        password: of the CPU.
        names: blocks and PLC tags that the graph names.
    """
    start = time.perf_counter()
    try:
        opened = replace(door, password=await asyncio.to_thread(password.reveal))
        found = await symbols(opened, asyncio.to_thread, names)
    except ReadError as error:
        yield Diagnosis.of("connection", error, part)
        return
    except OSError as error:
        text = f"a file can't be read: {error.strerror}"
        yield Diagnosis(what="connection", mark=Mark.PROBLEM, found=text, advice="check path and rights", part=part)
        return
    taken = time.perf_counter() - start
    yield Diagnosis(
        what="connection", mark=Mark.GOOD, found=f"answers at {found.address}, logged in", part=part, seconds=taken
    )
    tags = {parse_symbol(each.symbol)[0] for each in found.symbols if each.db is None}
    for name in names:
        if name in tags:
            continue
        mark, advice = Mark.PROBLEM, ""
        if name in found.blocks:
            mark, said = Mark.GOOD, f"{name} is DB{found.blocks[name]}"
        elif name in found.locked:
            said = f"{name} does not show its symbols"
            advice = "it is protected, or not accessible from HMI: change that in its properties, compile and load"
        else:
            said = f"the program has no {name}"
            advice = "was it renamed? pipeline browse --s7plus lists what there is"
        yield Diagnosis(what="block", mark=mark, found=said, advice=advice, part=part)
