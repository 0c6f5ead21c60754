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
from pipeline.units import Secret

__all__ = ["diagnose_symbols"]


async def diagnose_symbols(
    part: str, door: Door, password: Secret, blocks: Collection[str]
) -> AsyncIterator[Diagnosis]:
    """Find what stands in the way of reading a CPU by symbols.

    Args:
        part: what the PLC is called.
        door: the way in, but for the password.
        password: of the CPU.
        blocks: those that the graph names.
    """
    start = time.perf_counter()
    try:
        opened = replace(door, password=await asyncio.to_thread(password.reveal))
        found = await symbols(opened, asyncio.to_thread, blocks)
    except ReadError as error:
        text = f"{error.reason}: {error.detail}" if error.detail else error.reason
        yield Diagnosis(what="connection", mark=Mark.PROBLEM, found=text, advice=error.advice, part=part)
        return
    except OSError as error:
        text = f"a file can't be read: {error.strerror}"
        yield Diagnosis(what="connection", mark=Mark.PROBLEM, found=text, advice="check path and rights", part=part)
        return
    taken = time.perf_counter() - start
    yield Diagnosis(
        what="connection", mark=Mark.GOOD, found=f"answers at {found.address}, logged in", part=part, seconds=taken
    )
    for block in blocks:
        if block in found.blocks:
            yield Diagnosis(what="block", mark=Mark.GOOD, found=f"{block} is DB{found.blocks[block]}", part=part)
        elif block in found.locked:
            advice = "it is protected, or not accessible from HMI: change that in its properties, compile and load"
            yield Diagnosis(
                what="block", mark=Mark.PROBLEM, found=f"{block} does not show its symbols", advice=advice, part=part
            )
        else:
            advice = "was it renamed? pipeline browse --s7plus lists what there is"
            yield Diagnosis(
                what="block", mark=Mark.PROBLEM, found=f"the program has no {block}", advice=advice, part=part
            )
