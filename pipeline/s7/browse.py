"""Looks at a PLC: what its CPU says of itself, and which data blocks it has. Nothing is written.

What the CPU refuses is named and the rest goes on: a CPU that lists no blocks is read. Two questions in a row that it
leaves without any answer end the questions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec

from pipeline.clock import Clock
from pipeline.errors import ReadError, Refused
from pipeline.s7 import browse_cpu
from pipeline.s7.browse_blocks import FoundBlock, find_blocks, judge_blocks, listed_blocks
from pipeline.s7.browse_cpu import Connections, Identity, Names, Protection
from pipeline.s7.browse_line import Line
from pipeline.s7.browse_place import Access, Place
from pipeline.s7.cpu import STATE_SZL, read_clock, read_state
from pipeline.s7.session import Question
from pipeline.s7.userdata import clock_question, szl_question

__all__ = ["CpuClock", "Found", "browse"]

T = TypeVar("T")
Progress = Callable[[str], None]

_SILENT = 2
"""Questions in a row without any answer, after which no more are asked."""


class CpuClock(msgspec.Struct, frozen=True):
    """A CPU's clock.

    Attributes:
        time: ISO 8601, with an offset where the zone is known.
        difference: seconds that it is ahead of this machine, whose zone it is taken to be in unless one is known.
    """

    time: str
    difference: float


class Found(msgspec.Struct, kw_only=True):
    """What was found. A field that is None was not told; `not_told` says why.

    Attributes:
        name: the PLC's name in its graph.
        address: IP address or host name.
        port: TCP port.
        access: how the connection was asked for.
        pdu: the granted PDU, bytes.
        jobs: requests that may be open at once.
        identity: order number and versions.
        names: names and serial number.
        state: RUN, STOP, STARTUP, HOLD, …
        clock: date and time.
        protection: the protection level.
        connections_most: how many connections the CPU has.
        connections: how they are used.
        dbs: the data blocks, by number.
        dbs_from: `block list`, or the numbers that were tried; "" where there were none to try.
        not_told: why something is not known, by what it is.
        no_reading: why no data block can be read at all; "" where they can.
        requests: how many were sent.
    """

    name: str = ""
    address: str
    port: int
    access: Access
    pdu: int = 0
    jobs: int = 0
    identity: Identity | None = None
    names: Names | None = None
    state: str | None = None
    clock: CpuClock | None = None
    protection: Protection | None = None
    connections_most: int | None = None
    connections: Connections | None = None
    dbs: list[FoundBlock] = msgspec.field(default_factory=list)
    dbs_from: str = ""
    not_told: dict[str, str] = msgspec.field(default_factory=dict)
    no_reading: str = ""
    requests: int = 0


async def browse(
    clock: Clock, place: Place, numbers: Sequence[int], *, rate: float = 20, progress: Progress = lambda _: None
) -> Found:
    """Look at a PLC.

    Args:
        clock: the one clock.
        place: where it is.
        numbers: data blocks that are tried where the CPU lists none.
        rate: requests a second at most.
        progress: told what is being done.

    Raises:
        ReadError: the PLC can't be reached, says no, or has gone.
    """
    line = Line(clock, place, rate)
    found = Found(name=place.name, address=place.address, port=place.port, access=place.access)
    try:
        session = await line.open()
        found.pdu, found.jobs = session.grant.pdu, session.grant.jobs
        progress("the CPU")
        await _Cpu(line, found, clock).ask_all()
        await _find(line, found, numbers, progress)
    finally:
        line.close()
    found.requests = line.requests
    return found


class _Cpu:
    """Asks a CPU about itself, and notes what it refuses."""

    def __init__(self, line: Line, found: Found, clock: Clock) -> None:
        self._line = line
        self._found = found
        self._clock = clock
        self._silent = 0

    async def ask_all(self) -> None:
        """All that is known to be harmless: list 001C, the names, is asked of CPUs only that it does no harm to."""
        found = self._found
        found.identity = await self._szl("order number", browse_cpu.IDENTIFICATION, browse_cpu.read_identity)
        number = found.identity.order_number if found.identity else ""
        if browse_cpu.may_ask_names(number):
            found.names = await self._szl("names", browse_cpu.NAMES, browse_cpu.read_names)
        else:
            kind = f"a {number}" if number else "a CPU that tells no order number"
            found.not_told["names"] = f"not asked: the question is known to stop some CPUs, and this is {kind}"
        found.state = await self._szl("state", (STATE_SZL, 0), read_state)
        found.clock = await self._ask("clock", clock_question(), self._read_clock)
        found.protection = await self._szl("protection", browse_cpu.PROTECTION, browse_cpu.read_protection)
        found.connections_most = await self._szl("number of connections", browse_cpu.LIMITS, browse_cpu.read_limits)
        found.connections = await self._szl("connections", browse_cpu.CONNECTIONS, browse_cpu.read_connections)

    async def _szl(self, what: str, number: tuple[int, int], read: Callable[[bytes], T]) -> T | None:
        return await self._ask(what, szl_question(*number), read)

    async def _ask(self, what: str, question: Question, read: Callable[[bytes], T]) -> T | None:
        if self._silent >= _SILENT:
            self._found.not_told[what] = "not asked: the CPU left the questions before without an answer"
            return None
        try:
            told = await self._line.tell(question)
            self._silent = 0
            return read(told)
        except Refused as error:
            self._silent = 0
            self._found.not_told[what] = _why(error)
        except ReadError as error:
            self._silent += 1
            self._found.not_told[what] = _why(error)
            await self._line.open()
        except ValueError as error:
            self._found.not_told[what] = str(error)
        return None

    def _read_clock(self, data: bytes) -> CpuClock:
        zone = self._line.place.timezone
        text = read_clock(data, zone)
        moment = datetime.fromisoformat(text)
        now = datetime.fromtimestamp(self._clock.wall(), ZoneInfo(zone) if zone else None)
        if moment.tzinfo is None:
            now = now.replace(tzinfo=None)
        return CpuClock(time=text, difference=round((moment - now).total_seconds(), 3))


async def _find(line: Line, found: Found, numbers: Sequence[int], progress: Progress) -> None:
    """The data blocks: those that the CPU lists, else those that can be read."""
    try:
        listed: list[int] | None = await listed_blocks(line)
    except ReadError as error:
        listed = None
        found.not_told["block list"] = _why(error)
    tried = sorted({*numbers, *(extent.db for extent in line.place.declared)})
    try:
        if listed is None:
            found.dbs_from = f"reading {numbers_text(tried)}" if tried else ""
            found.dbs = await find_blocks(line, tried, lambda db: progress(f"DB{db} of {tried[-1]}"))
        else:
            found.dbs_from = "block list"
            found.dbs = await judge_blocks(line, listed, lambda db: progress(f"DB{db}"))
    except Refused as error:
        found.no_reading = str(error)
        known = listed or ()
        found.dbs = [FoundBlock(db=db, size=None, readable=False, reason=error.reason) for db in known]


def _why(error: ReadError) -> str:
    """Why the CPU did not tell something."""
    if isinstance(error, Refused):
        return f"{error.reason} ({error.detail})" if error.detail else error.reason
    return "no answer" if error.reason == "timeout" else str(error)


def numbers_text(numbers: Sequence[int]) -> str:
    """Numbers as ranges: `DB1..1000, DB2000`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(f"DB{first}" if first == last else f"DB{first}..{last}" for first, last in ranges)
