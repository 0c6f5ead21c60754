"""Polls the symbols of one PLC for as long as they are wanted: connects, logs in, reads the program, then each tick.

As with classic S7: a tick that can't be followed is skipped and counted with its reason; a failed read gives one
failure frame per block when it starts to fail or fails otherwise; what the PLC refuses is named and left out, the rest
flows. One task does it all, one request after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pipeline.actor import State
from pipeline.errors import ReadError, Refused
from pipeline.frame import Frame, Kind, Origin
from pipeline.operator import Context, Emit
from pipeline.retry import Backoff, Retry
from pipeline.s7.poller import SOON, Meters, Skipped
from pipeline.s7plus.group import Group, Watched
from pipeline.s7plus.link import Door, Link, connect
from pipeline.s7plus.program import has_changed, read_program
from pipeline.s7plus.wanted import WantedSymbols
from pipeline.units import Duration, Secret

__all__ = ["SymbolPoller", "SymbolTarget"]


@dataclass(frozen=True, kw_only=True)
class SymbolTarget:
    """A PLC and how it is read.

    Attributes:
        name: what metrics call it.
        door: how to get in, but for the password.
        password: revealed at each connection.
        retry: pauses between attempts to connect.
        phase: seconds by which its ticks follow the common ones.
        refresh: seconds between two looks whether the program has changed.
        subscribe: ask the CPU to send what changes.
    """

    name: str
    door: Door
    password: Secret
    retry: Retry
    phase: float
    refresh: float
    subscribe: bool


class SymbolPoller:
    """One PLC. `run` is its life."""

    def __init__(self, context: Context, target: SymbolTarget, wanted: Sequence[tuple[WantedSymbols, Origin]]) -> None:
        self._context = context
        self._clock = context.clock
        self._actor = context.actor
        self._target = target
        periods: dict[float, list[Watched]] = {}
        for each, origin in wanted:
            meters = Meters(context, target.name, origin, each.every)
            periods.setdefault(each.every, []).append(Watched(each, origin, meters))
        self._groups = [Group(every, watched, self._clock) for every, watched in periods.items()]
        self._roots = frozenset(root for each, _ in wanted for root in each.roots)
        self._skipped = Skipped(context, target.name)
        self._backoff = Backoff(target.retry)
        self._link: Link | None = None
        self._emit: Emit = lambda _: None
        self._next: dict[Group, float] = {}
        self._due: list[Group] = []
        self._look = False
        self._wake = asyncio.Event()
        self._waits = "disconnected"
        context.details = self._details

    async def run(self, emit: Emit) -> None:
        """Poll until cancelled; then the session is closed in order."""
        self._emit = emit
        tick, phase = self._clock.tick, self._target.phase
        ticks = [tick(group.every, partial(self._tick, group), phase) for group in self._groups]
        ticks.append(tick(self._target.refresh, self._refresh))
        try:
            while True:
                try:
                    await self._stay_connected()
                    self._hang_up()
                except ReadError as error:
                    self._hang_up()
                    self._fail(error)
                    await asyncio.sleep(self._backoff.fail())
        finally:
            for leave in ticks:
                leave()
            if self._link is not None:
                await self._link.close()

    # connections

    async def _stay_connected(self) -> None:
        """Hold one session until it fails, which is an error, or until the PLC has ended an idle one that worked."""
        door = await self._context.blocking(_prepare, self._target)
        self._link = link = await connect(door)
        await self._meet(link)
        far = [group for group in self._groups if self._is_far(group) and not self._context.paused]
        self._due = list(dict.fromkeys((*self._due, *far)))
        self._waits, self._look = "", False
        has_read = False
        while True:
            if has_read and link.is_gone:
                self._context.log.info("session ended by the PLC")
                return
            while self._due:
                await self._read(link, self._due.pop(0))
                has_read = True
            if self._look:
                self._look = False
                if await has_changed(link, self._program, self._roots):
                    self._context.log.info("program changed")
                    await self._meet(link)
                for group in self._groups:
                    group.verify()
            if not self._due and not self._look:
                self._wake.clear()
                await self._wake.wait()

    async def _meet(self, link: Link) -> None:
        """Read the program, and find in it what is wanted."""
        program = await read_program(link, self._roots, self._context.blocking)
        self._program = replace(program, roots={})  # what is wanted of them is found below; the rest is large
        for group in self._groups:
            await self._context.blocking(group.meet, link, program)  # generates decoders: seconds, for many symbols
            for watched in group.watched:
                self._tell(watched)
        log = self._context.log
        requests = sum(len(group.requests) for group in self._groups)
        log.info("connected", tls=link.tls_active, access_level=link.protection_level, requests=requests)

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        for group in self._groups:
            group.leave()
        if link is not None:
            link.drop()

    def _fail(self, error: ReadError) -> None:
        """Nothing can be read: tell it of every block."""
        self._waits = "disconnected"
        self._due = []
        self._actor.become(State.BACKING_OFF, str(error))
        for group in self._groups:
            for watched in group.watched:
                self._failed(watched, error)

    # ticks

    def _tick(self, group: Group, missed: int) -> None:
        self._next[group] = self._clock.loop.time() + group.every
        if missed:
            self._skipped.count("late", missed)
        if self._context.paused:
            self._skipped.count("paused")
        elif self._waits:
            self._skipped.count(self._waits)
        elif group.busy or group in self._due:
            self._skipped.count("busy")
        else:
            self._due.append(group)
            self._wake.set()

    def _refresh(self, _: int) -> None:
        self._look = True
        self._wake.set()

    def _is_far(self, group: Group) -> bool:
        """Whether the next tick is too far away to wait for it."""
        now = self._clock.loop.time()
        return group not in self._next or self._next[group] - now > min(SOON, group.every / 2)

    # reading

    async def _read(self, link: Link, group: Group) -> None:
        group.busy = True
        group.heal(link)
        parts = await group.read(link)
        group.busy = False
        self._backoff.succeed()
        at = 0
        shorter = False
        for watched in group.watched:
            asked = watched.scan.parts
            self._take(link, group, watched, parts[at : at + len(asked)])
            at += len(asked)
            shorter = shorter or watched.scan.parts is not asked
        if shorter:
            group.plan(link)
        if self._target.subscribe and not group.subscribing and not group.refusal:
            await group.subscribe(link)
            if group.refusal:
                self._context.log.warning("polled, not subscribed", reason=group.refusal)
        self._settle()

    def _take(self, link: Link, group: Group, watched: Watched, parts: Sequence[bytes | int]) -> None:
        """Make the frame of what came."""
        scan = watched.scan
        now = self._clock.monotonic()
        refusals = {part: link.refusal(part) for part in parts if isinstance(part, int)}
        values, wrong = scan.take(parts, now, refusals)
        if dict(scan.bad) != watched.known_bad:
            self._tell(watched)
        if scan.failure:
            self._failed(watched, next(iter(refusals.values()), Refused(scan.failure)))
            return
        scan.recovered()
        doubtful = {name: why for name, why in (wrong or {}).items() if name not in watched.known_bad}
        if not doubtful.keys() <= watched.doubted:
            for name in doubtful.keys() - watched.doubted:
                self._context.log.warning("tag has no value", tag=name, reason=doubtful[name])
            watched.doubted.update(doubtful)
        watched.meters.ok.n += 1
        watched.meters.latency.value = (now - group.started) * 1e3
        watched.failing = ""
        self._emit(Frame(Kind.DATA, watched.origin.moments.at(self._clock.wall()), watched.origin, values, wrong))

    def _failed(self, watched: Watched, error: ReadError) -> None:
        """A block can't be read: one frame when that begins or its reason changes."""
        watched.meters.fail.n += 1
        if isinstance(error, Refused):
            text = "reads that the PLC refused, by reason"
            self._context.metrics.counter("plc_refused", text, plc=self._target.name, reason=error.reason).n += 1
        if watched.failing != error.reason:
            watched.failing = error.reason
            self._emit(Frame.failure(watched.origin, watched.origin.moments.at(self._clock.wall()), error.reason))

    def _tell(self, watched: Watched) -> None:
        """Name what can't be read, once."""
        scan = watched.scan
        bad, before = dict(scan.bad), watched.known_bad
        log = self._context.log
        for name in bad.keys() - before.keys():
            log.warning(
                "tag can't be read", tag=name, symbol=scan.symbol(name), reason=scan.explained.get(name, bad[name])
            )
        for name in before.keys() - bad.keys():
            log.info("tag can be read again", tag=name)
        for symbol, why in scan.left_out.items():
            log.warning("symbol left out", symbol=symbol, reason=why)
        scan.left_out = {}
        watched.meters.bad.value += len(bad) - len(before)
        watched.known_bad = bad

    def _settle(self) -> None:
        """Degraded while something wanted is not given."""
        every = [watched for group in self._groups for watched in group.watched]
        troubles = [_trouble(watched) for watched in every if watched.known_bad]
        if troubles:
            more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
            self._actor.become(State.DEGRADED, troubles[0] + more)
        else:
            self._actor.become(State.RUNNING)

    def _subscribed(self) -> dict[str, str]:
        """What became of the wish to be told what changes, by period."""
        return {
            str(Duration(group.every)): "granted" if group.subscribing else group.refusal or "not yet asked"
            for group in self._groups
        }

    def _details(self) -> Mapping[str, object]:
        """For page and API."""
        link = self._link
        certificate = link.peer_certificate_fingerprint() if link else None
        return {
            "tls": link.tls_active if link else None,
            "certificate": certificate.hex() if certificate else None,
            "access_level": link.protection_level if link else None,
            "requests": sum(len(group.requests) for group in self._groups),
            "subscribed": self._subscribed() if self._target.subscribe else {},
            "bad": {
                name: why
                for group in self._groups
                for watched in group.watched
                for name, why in watched.known_bad.items()
            },
        }


def _trouble(watched: Watched) -> str:
    """What of a block can't be read, for people."""
    scan, bad = watched.scan, watched.known_bad
    name = next(iter(bad))
    why = scan.explained.get(name, bad[name])
    count = f"{len(bad)} of {scan.size} values can't be read"
    return f"{watched.origin.measurement}: {count}, {name} ({scan.symbol(name)}): {why}"


def _prepare(target: SymbolTarget) -> Door:
    """The door with its password; files are read anew, so that rotated ones count.

    Raises:
        ReadError: a file can't be read.
    """
    door = target.door
    for option in ("ca_file", "cert_file", "key_file"):
        try:
            if path := getattr(door, option):
                Path(path).read_bytes()
        except OSError as error:
            detail = f"{option} '{getattr(door, option)}' can't be read ({error.strerror})"
            raise ReadError("tls", detail, "check path and rights") from error
    try:
        return replace(door, password=target.password.reveal())
    except OSError as error:
        raise ReadError(
            "login", f"the password's file can't be read ({error.strerror})", "check path and rights"
        ) from error
