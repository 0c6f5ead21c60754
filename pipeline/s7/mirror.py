"""Keeps blocks of one PLC in step with blocks of others: the latest bytes, compared before they are written.

Each frame's range is read from the target first; what differs is written, in pieces of one PDU (one for most blocks),
never in single bytes: what one PDU carries is of one instant in the target too. Longer blocks are cut between fields.
A newer frame takes the place of one that waits. Every change between writing and not writing is one line of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.actor import Mailbox, State
from pipeline.errors import ReadError, Refused
from pipeline.frame import Extent, Frame, Kind
from pipeline.operator import Context
from pipeline.retry import Backoff, Retry
from pipeline.s7.exchange import read_extent, write_extent
from pipeline.s7.route import Guards, Route, Routes
from pipeline.s7.session import Session, connect
from pipeline.s7.wire import Tsaps
from pipeline.s7.write import writes
from pipeline.units import Duration

__all__ = ["Mirror", "Partner"]


@dataclass(frozen=True, kw_only=True)
class Partner:
    """The PLC that is written to, and how to speak with it.

    Attributes:
        address: host name or IP address.
        port: TCP port.
        tsaps: see `Tsaps`.
        timeout: seconds for the connection, and for each answer.
        retry: pauses between attempts to connect.
    """

    address: str
    port: int
    tsaps: Tsaps
    timeout: float
    retry: Retry


class Mirror:
    """One mirror; `run` is its life."""

    def __init__(
        self, context: Context, partner: Partner, route: Callable[[Extent], Extent | None], guards: Guards
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            context: the sink's.
            partner: the target.
            route: where the bytes of a source's extent belong in the target; None where they are none of its business.
            guards: what must not be written.
        """
        self._context = context
        self._clock = context.clock
        self._partner = partner
        self._guards = guards
        self._routes = Routes(route, guards.allow)
        self._due: dict[Route, None] = {}
        self._wake = asyncio.Event()
        self._session: Session | None = None
        self._backoff = Backoff(partner.retry)
        self._closing = False
        context.details = self._details

    async def run(self, mailbox: Mailbox) -> None:
        """Mirror until the mailbox is closed; what then waits is written if the target answers, else given up."""
        loop = self._clock.loop
        feeding = loop.create_task(mailbox.consume(self._accept))
        writing = loop.create_task(self._stay_connected())
        try:
            await asyncio.wait((feeding, writing), return_when=asyncio.FIRST_COMPLETED)
            self._closing = True
            self._wake.set()
            if self._session is not None:
                await asyncio.wait((writing,), timeout=self._partner.timeout)
            for task in (feeding, writing):
                if task.done():
                    task.result()
        finally:
            for task in (feeding, writing):
                task.cancel()
            await asyncio.wait((feeding, writing))

    # frames in

    def _accept(self, frames: list[Frame]) -> None:
        for frame in frames:
            route = self._routes.of(frame.origin.extent)
            if route is None or frame.kind is Kind.HEARTBEAT:
                continue
            route.unread = f"the source can't be read ({frame.error})" if frame.kind is Kind.FAILURE else ""
            if route.unread:
                self._stop(route, route.unread)
            elif route.forbidden:
                self._give_up(route, "not_allowed", route.forbidden)
            elif frame.raw is None or len(frame.raw) != route.source.size:
                self._give_up(route, "incomplete", "the source reads the block incompletely")
            else:
                if route.waiting is not None:
                    self._context.actor.drop("superseded")
                age = max(0.0, self._clock.wall() - frame.ts)
                route.waiting = (frame.raw, self._clock.monotonic() - age)
                self._due[route] = None
        if self._due:
            self._wake.set()

    # connections

    async def _stay_connected(self) -> None:
        """Connect, and again after each end, until all is written after the mailbox's end."""
        partner = self._partner
        while True:
            try:
                session = await connect(
                    self._clock, partner.address, partner.port, partner.tsaps, patience=partner.timeout
                )
            except ReadError as error:
                failure: ReadError | None = error
            else:
                failure = await self._serve(session)
            if failure is None:
                return
            for route in self._routes:
                self._stop(route, f"no connection to the target ({failure.reason})")
            self._context.actor.become(State.BACKING_OFF, str(failure))
            await asyncio.sleep(self._backoff.fail())

    async def _serve(self, session: Session) -> ReadError | None:
        """Write over a connection until it ends; why it ended, None when there is nothing more to do."""
        self._session = session
        self._context.log.info("connected", pdu=session.grant.pdu, dry_run=self._guards.dry_run)
        self._settle()
        session.ended.add_done_callback(lambda _: self._wake.set())
        try:
            while self._due or not self._closing:
                if session.ended.done():
                    return session.ended.result()
                if self._due:
                    route = next(iter(self._due))
                    del self._due[route]
                    await self._copy(session, route)
                else:
                    self._wake.clear()
                    await self._wake.wait()
        except ReadError as error:
            return error
        finally:
            self._session = None
            session.close()
        return None

    # one block

    async def _copy(self, session: Session, route: Route) -> None:
        """Bring one range into step with its latest frame."""
        waiting, route.waiting = route.waiting, None
        if waiting is None:
            return
        if self._clock.monotonic() < route.held_until:
            self._context.actor.drop("held_back")
            return
        try:
            result, differs = await self._bring(session, route.target, *waiting)
        except Refused as error:
            route.held_until = self._clock.monotonic() + route.backoff.fail()
            self._count("refused")
            self._stop(route, str(error))
            return
        finally:
            if session.is_open:
                self._backoff.succeed()
        if result == "too_old":
            older = f"its frames are older than max_age ({Duration(self._guards.max_age)})"
            self._give_up(route, "too_old", older)
        elif result == "unverified":
            advice = "another program writes there too; find it, or mirror into bytes of your own"
            self._stop(route, f"the target does not keep what is written: {advice}")
        else:
            self._start(route, result, differs)
        self._count(result)

    async def _bring(self, session: Session, target: Extent, data: bytes, answered: float) -> tuple[str, int]:
        """Compare, write, read back; what became of it, and of a dry run how many bytes it would write.

        Raises:
            Refused: by the target.
            ReadError: the connection has to end.
        """
        guards = self._guards
        held = await read_extent(session, target)
        if held == data:
            return "unchanged", 0
        for _ in range((guards.repeats or 0) + 1):
            if self._clock.monotonic() - answered > guards.max_age:
                return "too_old", 0
            pieces = [
                piece
                for piece in writes(target, data, session.grant.pdu)
                if held[piece.at : piece.at + len(piece.data)] != piece.data
            ]
            if guards.dry_run:
                return "dry_run", sum(len(piece.data) for piece in pieces)
            await write_extent(session, pieces)
            if guards.repeats is None:
                return "written", 0
            held = await read_extent(session, target)
            if held == data:
                return "written", 0
        return "unverified", 0

    # what is told

    def _give_up(self, route: Route, reason: str, why: str) -> None:
        self._context.actor.drop(reason)
        self._stop(route, why)

    def _stop(self, route: Route, reason: str) -> None:
        """The route is not written any more, or for another reason."""
        if route.reason != reason:
            route.reason = reason
            self._context.log.warning("mirror stopped", audit=True, route=str(route), reason=reason)
            self._settle()

    def _start(self, route: Route, result: str, differs: int) -> None:
        """The route is in step, or would be but for the dry run, unless its source has failed since."""
        route.backoff.succeed()
        if route.unread:
            self._stop(route, route.unread)
            return
        before, route.differs = route.differs, differs
        told: dict[str, object] = {"audit": True, "route": str(route), "device": route.target.device, "result": result}
        if self._guards.dry_run:
            told["would_write_bytes"] = differs
        if route.reason or not route.started:
            event = "mirror resumed" if route.started else "mirror started"
            route.started, route.reason = True, ""
            self._context.log.info(event, **told)
            self._settle()
        elif bool(before) != bool(differs):
            self._context.log.info("mirror would write" if differs else "mirror would write nothing more", **told)

    def _settle(self) -> None:
        if self._session is None:
            return
        stopped = [route for route in self._routes if route.reason]
        if stopped:
            more = f" (and {len(stopped) - 1} more)" if len(stopped) > 1 else ""
            self._context.actor.become(State.DEGRADED, f"{stopped[0]} is not written: {stopped[0].reason}{more}")
        else:
            self._context.actor.become(State.RUNNING)

    def _count(self, result: str) -> None:
        text = "frames compared with the target, by what became of them"
        self._context.metrics.counter("edge_mirror_frames", text, node=self._context.node, result=result).n += 1

    def _details(self) -> dict[str, object]:
        """For page and API."""
        return {
            "target": f"{self._partner.address}:{self._partner.port}",
            "dry_run": self._guards.dry_run,
            "pdu": self._session.grant.pdu if self._session else None,
            "routes": {str(route): _told(route) for route in self._routes},
        }


def _told(route: Route) -> str:
    """How a route stands, in words."""
    if route.reason or not route.started:
        return route.reason or "waiting"
    return f"would write {route.differs} bytes" if route.differs else "in step"
