"""Frames of one period over whatever session there is: requests, answers, subscriptions, what is isolated."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.clock import Clock
from pipeline.errors import Refused
from pipeline.frame import Origin
from pipeline.s7.poller import Meters
from pipeline.s7plus.explain import Denied
from pipeline.s7plus.link import Address, Link, Request
from pipeline.s7plus.program import Program
from pipeline.s7plus.scan import Scan
from pipeline.s7plus.wanted import WantedSymbols

__all__ = ["Group", "Watched"]

_COUNTS = 8
"""Bytes by which a request's counts may grow with its items."""


class Watched:
    """A frame's worth of symbols through all sessions.

    Attributes:
        wanted: what it is.
        origin: of its frames.
        meters: its numbers.
        scan: what it is on the current program; there once a session has read that.
        failing: why it is failing now, or "".
        known_bad: reason by name, as last told.
        doubted: names that once had bytes which are no value, such as NaN.
    """

    scan: Scan

    def __init__(self, wanted: WantedSymbols, origin: Origin, meters: Meters) -> None:
        self.wanted = wanted
        self.origin = origin
        self.meters = meters
        self.failing = ""
        self.known_bad: dict[str, str] = {}
        self.doubted: set[str] = set()


class Group:
    """Frames that are read together.

    Attributes:
        every: seconds between two reads.
        watched: its frames.
        busy: a reading is under way.
        started: monotonic time of the latest reading's start.
        requests: the current plan.
        subscribing: the CPU sends what changes.
        refusal: why it does not, though it was asked to; or "".
    """

    def __init__(self, every: float, watched: Sequence[Watched], clock: Clock) -> None:
        self.every = every
        self.watched = tuple(watched)
        self.busy = False
        self.started = 0.0
        self.requests: list[Request] = []
        self.subscribing = False
        self.refusal = ""
        self._monotonic = clock.monotonic
        self._parts: list[Address] = []
        self._latest: list[bytes | int] = []
        self._limit = 0
        self._sizes: dict[tuple[Address, ...], int] = {}
        self._missed = 0
        self._heard = False
        self._fresh = False

    def meet(self, link: Link, program: Program) -> None:
        """Take a session and what its program declares."""
        self._limit = link.max_items_per_request
        self._sizes.clear()
        for watched in self.watched:
            watched.scan = Scan(watched.wanted, program)
        self.plan(link)

    def plan(self, link: Link) -> None:
        """Encode the requests anew: as many items as the CPU takes, a value's parts never apart."""
        scans = [watched.scan for watched in self.watched]
        self._parts = [part for scan in scans for part in scan.parts]
        self._latest = []
        self.requests = []
        if self.subscribing:
            self.subscribing = False
            self.refusal = "ended: what is read has changed; polled until the next connection"
        bare = len(link.request(()).payload)
        room = link.room() - bare - _COUNTS
        chunk: list[Address] = []
        size = 0
        for parts in (value.symbol.parts for scan in scans for value in scan.asked):
            more = self._sizes.get(parts) or len(link.request(parts).payload) - bare
            self._sizes[parts] = more
            if chunk and (len(chunk) + len(parts) > self._limit or size + more > room):
                self.requests.append(link.request(chunk))
                chunk, size = [], 0
            chunk += parts
            size += more
        if chunk:
            self.requests.append(link.request(chunk))

    def leave(self) -> None:
        """The session is gone, and what was subscribed with it."""
        self.busy = self.subscribing = self._fresh = False
        self.refusal = ""

    def heal(self, link: Link) -> None:
        """Ask again for what was refused, when its pause is over."""
        now = self._monotonic()
        healed = [watched.scan.heal(now) for watched in self.watched]
        if any(healed):
            self.plan(link)

    # reading

    async def read(self, link: Link) -> list[bytes | int]:
        """Bytes or error code of every part that is asked, from the PLC's memory now.

        Raises:
            ReadError: the connection has ended.
        """
        self.started = self._monotonic()
        if self.subscribing and self._latest and not self._fresh:
            return await self._listen(link)
        self._fresh = False
        found: list[bytes | int] = []
        for request in self.requests:
            try:
                values = await link.read(request)
            except Denied as error:
                parts = self._parts[len(found) : len(found) + request.count]
                values = await self._halve(link, parts, error)
            if self.subscribing:  # what came meanwhile is newer than what was read before, and older than this answer
                await self._hear(link, found)
            found += values
        if self.subscribing and self._latest and not self._heard and self._latest != found:
            self.subscribing = False
            self.refusal = "granted, but changes did not come"
        self._heard = False
        self._latest = found
        return found

    async def _halve(self, link: Link, parts: Sequence[Address], error: Denied) -> list[bytes | int]:
        """A request was refused as a whole: who of its items is it? Ask halves until it stands alone."""
        if len(parts) == 1:
            return [error.code]
        found: list[bytes | int] = []
        clean = True
        for half in (parts[: len(parts) // 2], parts[len(parts) // 2 :]):
            try:
                found += await link.read(link.request(half))
            except Denied as again:
                clean = False
                found += await self._halve(link, half, again)
        if clean:  # no item is to blame: there were too many
            self._limit = max(8, len(parts) // 2)
            self.plan(link)
        return found

    # subscriptions

    async def subscribe(self, link: Link) -> None:
        """Let the CPU send what changes, where it grants that; after a first read.

        Raises:
            ReadError: the connection has ended.
        """
        if self.refusal or self.subscribing or not self._latest:
            return
        if any(watched.scan.is_partial for watched in self.watched):
            self.refusal = "not asked for: some symbols are refused"
            return
        try:
            await link.subscribe(self._parts, self.every)
        except Refused as error:
            self.refusal = str(error)
        else:
            self.subscribing, self._missed, self._heard = True, link.missed, False

    def verify(self) -> None:
        """Read the next time all of it: what the CPU sends is not believed for ever."""
        self._fresh = True

    async def _listen(self, link: Link) -> list[bytes | int]:
        """One small question proves that the connection lives; what was sent before its answer has come by then."""
        (probe,) = await link.read(link.request(self._parts[:1]))
        await self._hear(link, self._latest)
        self._latest[0] = probe
        if link.missed != self._missed or any(isinstance(part, int) for part in self._latest):
            self._missed, self._fresh = link.missed, True
            return await self.read(link)
        return list(self._latest)

    async def _hear(self, link: Link, into: list[bytes | int]) -> None:
        """Take over what the CPU has sent of the parts that are in this list."""
        for news in await link.ask(link.notifications()):
            self._heard = True
            found: dict[int, bytes | int] = {**news.values, **news.errors}
            for reference, value in found.items():
                if 1 <= reference <= len(into):
                    into[reference - 1] = value
