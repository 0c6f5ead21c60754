"""Polls one PLC for as long as it is wanted: connects, reads at every tick, makes frames, tells what is wrong.

One connection carries all groups. A tick that can't be followed is skipped and counted with its reason. A failed read
gives one failure frame per block when it starts to fail or fails otherwise, then nothing until it reads again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.actor import State
from pipeline.errors import ReadError, Refused
from pipeline.frame import DATA, Frame, Origin
from pipeline.operator import Context, Emit
from pipeline.retry import Backoff, Retry
from pipeline.s7.address import place
from pipeline.s7.cpu import Cpu, CpuTags
from pipeline.s7.decode import Decoder, Leaf, compile_decoder
from pipeline.s7.group import Block, Group
from pipeline.s7.session import Session, connect
from pipeline.s7.wire import Tsaps, refused

__all__ = ["SOON", "Meters", "Polled", "Poller", "Skipped", "Target"]

SOON = 1.0
"""Seconds: a tick that is farther away than that is not waited for after a connection."""
_LAST_ANSWERS = 0.25
"""Seconds that the end waits for answers."""
_SKIPS = ("late", "paused", "disconnected", "backing_off", "busy")
"""Why a tick is skipped; all are shown from the start, so that the first one is an increase."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A PLC and how to speak with it.

    Attributes:
        name: what metrics call it.
        address: host name or IP address.
        port: TCP port.
        tsaps: see `Tsaps`.
        timeout: seconds for the connection, and for each answer.
        persistent: False opens a connection for each reading.
        retry: pauses between attempts to connect.
        phase: seconds by which its ticks follow the common ones.
    """

    name: str
    address: str
    port: int
    tsaps: Tsaps
    timeout: float
    persistent: bool
    retry: Retry
    phase: float = 0.0


class Polled:
    """A block with what makes frames of it.

    Attributes:
        origin: of its frames.
        block: what is read.
        failing: why it is failing now, or "".
        trouble: what of it can't be read, for people; or "".
        decode: from its bytes to its values.
        bad: reason by name of what the PLC does not give.
        doubted: names that once had bytes which are no value, such as NaN.
    """

    def __init__(self, origin: Origin, block: Block, leaves: Sequence[Leaf]) -> None:
        self.origin = origin
        self.block = block
        self.failing = ""
        self.trouble = ""
        self.decode: Decoder = compile_decoder(leaves)
        self.bad: dict[str, str] = {}
        self.doubted: set[str] = set()
        self._leaves = leaves
        self._whole = self.decode

    def leave_out(self, bad: Mapping[int, int]) -> None:
        """Decode without these cells (index to return code) from now on."""
        self.bad = {name: refused(code).reason for index, code in bad.items() for name in self.names(index)}
        rest = [leaf for leaf in self._leaves if leaf.name not in self.bad]
        self.decode = compile_decoder(rest) if self.bad else self._whole
        self.trouble = ""
        if bad:
            index, code = next(iter(bad.items()))
            self.trouble = (
                f"{self.origin.measurement}: {len(self.bad)} of {len(self._leaves)} values can't be read, "
                f"{self.describe(index)}: {self.refusal(index, code)}"
            )

    def describe(self, index: int) -> str:
        """A cell for people: `contador_bom (DB1 byte 10)`."""
        cell = self.block.cells[index]
        return f"{', '.join(self.names(index))} ({place(cell.area, cell.db, cell.start)})"

    def refusal(self, index: int, code: int) -> Refused:
        """Why the PLC does not give a cell."""
        return refused(code, area=self.block.cells[index].area)

    def names(self, index: int) -> list[str]:
        """The leaves of a cell."""
        cell = self.block.cells[index]
        return [leaf.name for leaf in self._leaves if cell.offset <= leaf.byte < cell.offset + cell.size]


class Meters:
    """The numbers of one block.

    Attributes:
        ok: reads that gave a frame.
        fail: reads that failed.
        latency: ms from the request to the complete answer, the latest.
        bad: values that the PLC does not give.
    """

    def __init__(self, context: Context, plc: str, origin: Origin, every: float) -> None:
        metrics = context.metrics
        labels = {"tenant": origin.tenant_id, "plc": plc, "db": "" if origin.db is None else str(origin.db)}
        self.ok = metrics.counter("plc_read_ok", "reads that gave a frame", **labels)
        self.fail = metrics.counter("plc_read_fail", "reads that failed", **labels)
        self.latency = metrics.gauge("plc_read_latency_ms", "request sent to complete answer, the latest", **labels)
        self.bad = metrics.gauge("plc_bad_tags", "values that the PLC does not give", **labels)
        metrics.gauge("plc_expected_interval_seconds", "time between two reads as configured", **labels).value = every


class Skipped:
    """Counts the ticks of one PLC that no read followed, by their reason."""

    def __init__(self, context: Context, plc: str) -> None:
        text = "ticks that no read followed"
        self._counters = {
            reason: context.metrics.counter("edge_ticks_skipped", text, plc=plc, reason=reason) for reason in _SKIPS
        }
        self._actor = context.actor

    def count(self, reason: str, ticks: int = 1) -> None:
        """Count ticks; none before the first connection, which follows the first tick, however long it takes."""
        if self._actor.state is not State.STARTING:
            self._counters[reason].n += ticks


class Poller:
    """One PLC. `run` is its life; the other public methods are called by its groups."""

    def __init__(
        self,
        context: Context,
        target: Target,
        groups: Sequence[tuple[float, Sequence[Polled]]],
        cpu: CpuTags | None = None,
    ) -> None:
        """Make a poller.

        Args:
            context: of the PLC's actor.
            target: the PLC.
            groups: (seconds between two readings, blocks).
            cpu: what is wanted of the CPU itself.
        """
        self._context = context
        self._clock = context.clock
        self._monotonic = context.clock.monotonic
        self._actor = context.actor
        self._target = target
        block_groups = [Group([each.block for each in blocks], every, self._clock, self) for every, blocks in groups]
        self._polled = {polled.block: polled for _, blocks in groups for polled in blocks}
        self._reads = {
            block: (self._polled[block], Meters(context, target.name, self._polled[block].origin, group.every), group)
            for group in block_groups
            for block in group.blocks
        }
        self._skipped = Skipped(context, target.name)
        self._cpu = [Cpu(cpu, context, self.finished)] if cpu is not None else []
        self._groups: list[Group | Cpu] = [*block_groups, *self._cpu]
        self._backoff = Backoff(target.retry)
        self._session: Session | None = None
        self._emit: Emit = lambda _: None
        self._due: set[Group | Cpu] = set()
        self._reading: set[Group | Cpu] = set()
        self._wake = asyncio.Event()
        self._waits = "disconnected"
        self._settled = False
        context.details = self._details

    async def run(self, emit: Emit) -> None:
        """Poll until cancelled; then what is asked for already is waited for, and the connection closed in order."""
        self._emit = emit
        for cpu in self._cpu:
            cpu.emit = emit
        tick, phase = self._clock.tick, self._target.phase
        ticks = [tick(group.every, partial(self._tick, group), phase) for group in self._groups]
        if not self._target.persistent:
            self._due.update(self._groups)
        once = self._stay_connected if self._target.persistent else self._connect_when_due
        try:
            while True:
                try:
                    await once()
                except ReadError as error:
                    self._hang_up()
                    self._fail(error)
                    await asyncio.sleep(self._backoff.fail())
        finally:
            for leave in ticks:
                leave()
            try:
                await self._last_answers()
            finally:
                self._hang_up()

    # connections

    async def _stay_connected(self) -> None:
        """Hold one connection until it ends, which is an error."""
        session = await self._connect()
        requests = sum(len(group.requests) for group in self._groups)
        self._context.log.info("connected", pdu=session.grant.pdu, jobs=session.grant.jobs, requests=requests)
        self._waits = ""
        for group in self._groups:
            if self._is_far(group) and not self._context.paused:
                group.read()
        raise await session.ended

    async def _connect_when_due(self) -> None:
        """Connect for the groups whose tick has come, read them, and hang up."""
        self._waits = ""
        while not self._due:
            self._wake.clear()
            await self._wake.wait()
        session = await self._connect()
        self._reading, self._due = self._due, set()
        for group in tuple(self._reading):
            if not group.read():
                self._skipped.count("backing_off")
                self._reading.discard(group)
        session.ended.add_done_callback(lambda _: self._wake.set())
        while self._reading:
            if session.ended.done():
                raise session.ended.result()
            self._wake.clear()
            await self._wake.wait()
        self._hang_up()

    async def _connect(self) -> Session:
        target = self._target
        self._session = session = await connect(
            self._clock,
            target.address,
            target.port,
            target.tsaps,
            patience=target.timeout,
            witness=self._context.witness,
        )
        for group in self._groups:
            group.connected(session, afresh=target.persistent)
        return session

    async def _last_answers(self) -> None:
        """Let the readings that are under way become frames; a PLC that is mute is not waited for longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_ANSWERS):
                while any(group.busy for group in self._groups):
                    self._wake.clear()
                    await self._wake.wait()

    def _hang_up(self) -> None:
        session, self._session = self._session, None
        for group in self._groups:
            group.disconnected()
        if session is not None:
            session.close()

    def _fail(self, error: ReadError) -> None:
        """Nothing can be read: tell it of every block."""
        self._waits = "disconnected"
        self._due = {group for group in (*self._due, *self._reading) if self._is_far(group)}
        self._reading = set()
        self._actor.become(State.BACKING_OFF, str(error))
        moment = self._clock.wall()
        if self._context.witness is not None:
            self._context.witness.lost(moment, error)
        for block in self._reads:
            self._failed(block, error, moment)
        for cpu in self._cpu:
            cpu.failed(error, moment)

    # ticks

    def _tick(self, group: Group | Cpu, missed: int) -> None:
        if missed:
            self._skipped.count("late", missed)
        if self._context.is_paused():
            self._skipped.count("paused")
        elif self._waits:
            self._skipped.count(self._waits)
        elif group.busy or group in self._due:
            self._skipped.count("busy")
        elif not self._target.persistent:
            self._due.add(group)
            self._wake.set()
        elif not group.read():
            self._skipped.count("backing_off")

    def _is_far(self, group: Group | Cpu) -> bool:
        """Whether the next tick is too far away to wait for it."""
        pause = self._clock.next_tick(group.every, self._target.phase) - self._clock.loop.time()
        return pause > min(SOON, group.every / 2)

    # what the groups tell

    def read(self, block: Block, data: bytes, bad: Mapping[int, int], complete: bool) -> None:
        """A block came: make its frame."""
        polled, meters, group = self._reads[block]
        values, wrong = polled.decode(data)
        if wrong and not wrong.keys() <= polled.doubted:
            self._doubt(polled, wrong)
        if bad:
            wrong = {**(wrong or {}), **polled.bad}
        meters.ok.n += 1
        meters.latency.value = (self._monotonic() - group.started) * 1e3
        if polled.failing:
            polled.failing = ""
            self._settled = False
        session = self._session
        ts = polled.origin.moments.at(session.moment if session is not None else self._clock.wall())
        self._emit(Frame(DATA, ts, polled.origin, values, wrong, data if complete else None))

    def failed(self, block: Block, error: Refused) -> None:
        """The PLC refuses a block."""
        session = self._session
        self._failed(block, error, session.moment if session is not None else self._clock.wall())

    def _failed(self, block: Block, error: ReadError, moment: float) -> None:
        """A block can't be read: one frame when that begins or its reason changes."""
        polled, meters, _ = self._reads[block]
        meters.fail.n += 1
        self._settled = False
        if isinstance(error, Refused):
            text = "reads that the PLC refused, by reason; `PDU exceeded` is a defect of the read plan"
            self._context.metrics.counter("plc_refused", text, plc=self._target.name, reason=error.reason).n += 1
            if not polled.bad and self._session is not None:
                polled.trouble = str(error)
        if polled.failing != error.reason:
            polled.failing = error.reason
            self._emit(Frame.failure(polled.origin, polled.origin.moments.at(moment), error.reason))

    def isolated(self, block: Block, bad: Mapping[int, int]) -> None:
        """Name what can't be read, once."""
        polled, meters, _ = self._reads[block]
        before = polled.bad
        polled.leave_out(bad)
        meters.bad.value += len(polled.bad) - len(before)
        self._settled = False
        log = self._context.log
        for index, code in bad.items():
            if not before.keys() & polled.names(index):
                log.warning("tag can't be read", tag=polled.describe(index), error=str(polled.refusal(index, code)))
        for name in before.keys() - polled.bad.keys():
            log.info("tag can be read again", tag=name)
        if not before and not bad and block.whole is not None:
            log.warning("block can't be read in one piece, read field by field", measurement=polled.origin.measurement)

    def recovered(self, block: Block) -> None:
        """All of a block can be read in one piece again."""
        if self._polled[block].bad:
            self.isolated(block, {})

    def finished(self, group: Group | Cpu) -> None:
        """A reading is over: the connection works, whatever the PLC said."""
        if self._backoff.attempts:
            self._backoff.succeed()
        if not self._settled or group in self._cpu:
            self._settle()
        self._reading.discard(group)
        self._wake.set()

    def _settle(self) -> None:
        self._settled = True
        for polled in self._polled.values():
            if not polled.failing and not polled.bad:
                polled.trouble = ""
        troubles = [polled.trouble for polled in self._polled.values() if polled.trouble]
        troubles += [cpu.trouble for cpu in self._cpu if cpu.trouble]
        if troubles:
            more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
            self._actor.become(State.DEGRADED, troubles[0] + more)
        else:
            self._actor.become(State.RUNNING)

    def _doubt(self, polled: Polled, wrong: Mapping[str, str]) -> None:
        """Name once what has bytes that are no value."""
        for name in wrong.keys() - polled.doubted:
            self._context.log.warning("tag has no value", tag=name, reason=wrong[name])
        polled.doubted.update(wrong)

    def _details(self) -> dict[str, object]:
        """For page and API."""
        session = self._session
        return {
            "pdu": session.grant.pdu if session else None,
            "jobs": session.grant.jobs if session else None,
            "requests": sum(len(group.requests) for group in self._groups),
            "stale": session.stale if session else 0,
            "bad": {name: why for polled in self._polled.values() for name, why in polled.bad.items()},
        }
