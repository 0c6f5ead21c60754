"""Blocks that are read together, and what happens when one of them can't be: isolated, named, retried more slowly.

A block is read in one piece where it can be. When the PLC refuses a range, its cells (the places of its fields) are
read singly once; the bad ones are left out from then on, the others keep flowing, and after a pause that doubles from
10 s to 5 min the whole is tried again. A request that is refused as a whole is repeated after a pause of 1 s to 1 min.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.clock import Clock
from pipeline.errors import Refused
from pipeline.s7.plan import Part, Range, Request, plan
from pipeline.s7.session import Session
from pipeline.s7.wire import refused

__all__ = ["Block", "Cell", "Group", "Report"]

_NO_SUCH_OBJECT = 0x0A
_FIRST_RETRY, _LAST_RETRY = 10.0, 300.0
_FIRST_HOLD, _LAST_HOLD = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Cell:
    """A place that is read or lost as one: a field, or the byte that some BOOLs share.

    Attributes:
        offset: where its bytes stand in the block's.
        area: the area's code on the wire.
        db: the block's number, 0 outside of DBs.
        start: first byte in the PLC.
        size: number of bytes.
    """

    offset: int
    area: int
    db: int
    start: int
    size: int


@dataclass(frozen=True, eq=False)
class Block:
    """What makes one frame.

    Attributes:
        size: number of bytes, reserves included.
        cells: its fields' places, ascending by offset, without overlap.
        whole: where it lies as one stretch of `size` bytes: (area, db, start); None for single tags.
    """

    size: int
    cells: tuple[Cell, ...]
    whole: tuple[int, int, int] | None = None

    def ranges(self, owner: object = None) -> list[Range]:
        """What to ask for while all is readable; the owner of each is (`owner`, offset in its bytes, its cells)."""
        if self.whole is None:
            return self.singles(range(len(self.cells)), owner)
        solid = tuple((cell.offset, cell.size) for cell in self.cells)
        return [Range(*self.whole, self.size, solid, (owner, 0, range(len(self.cells))))]

    def singles(self, cells: Iterable[int], owner: object = None) -> list[Range]:
        """These cells one by one, owned as in `ranges`."""
        found = ((index, self.cells[index]) for index in cells)
        return [
            Range(cell.area, cell.db, cell.start, cell.size, ((0, cell.size),), (owner, cell.offset, (index,)))
            for index, cell in found
        ]


class Report(Protocol):
    """Who is told what was read."""

    def read(self, block: Block, data: bytes, bad: Mapping[int, int], complete: bool) -> None:
        """A block came: its bytes (zeros where nothing was read), return codes by cell, whether all bytes are real."""

    def failed(self, block: Block, error: Refused) -> None:
        """Nothing of a block can be read."""

    def isolated(self, block: Block, bad: Mapping[int, int]) -> None:
        """A block's bad cells, by return code, are others than before; it is read in pieces, even if none is bad."""

    def recovered(self, block: Block) -> None:
        """A block that was isolated is whole again."""

    def finished(self, group: Group) -> None:
        """A reading is over, or was given up after a refusal."""


class _Reading:
    """The state of one block's reading: its last row is of one cycle, the rest stays."""

    __slots__ = (
        *("attempts", "bad", "block", "known", "parts", "retry_at", "split"),
        *("doubtful", "failed", "left", "pieces", "singly", "used"),
    )

    def __init__(self, block: Block) -> None:
        self.block = block
        self.bad: Mapping[int, int] = {}
        self.known: Mapping[int, int] = {}
        self.split = block.whole is None
        self.attempts = 0
        self.retry_at = 0.0
        self.parts = 0
        self.restart()

    def restart(self) -> None:
        self.left = self.parts
        self.pieces: list[tuple[int, bytes]] = []
        self.failed: dict[int, int] = {}
        self.doubtful: set[int] = set()
        self.singly = False
        self.used = False

    def heal(self) -> None:
        """Try the whole again."""
        self.bad = {}
        self.split = self.block.whole is None
        self.retry_at = 0.0

    def ranges(self) -> list[Range]:
        """What to ask for now."""
        if not self.bad and (self.block.whole is None or not self.split):
            return self.block.ranges(self)
        return self.block.singles((index for index in range(len(self.block.cells)) if index not in self.bad), self)

    def refuse(self, part: Part, code: int, alone: bool) -> None:
        """The PLC has no bytes for this part, which shared its item with others unless `alone`."""
        _, base, cells = part.range.owner
        begin = base + part.offset
        places = ((index, self.block.cells[index]) for index in cells)
        hit = [i for i, cell in places if cell.offset < begin + part.size and begin < cell.offset + cell.size]
        if self.singly or code == _NO_SUCH_OBJECT or (alone and len(cells) == 1):
            self.failed.update(dict.fromkeys(hit, code))
        else:
            self.doubtful.update(hit)
            self.split = True

    def data(self) -> bytes:
        """The block's bytes."""
        if len(self.pieces) == 1 and len(self.pieces[0][1]) == self.block.size:
            return self.pieces[0][1]
        joined = bytearray(self.block.size)
        for offset, piece in self.pieces:
            joined[offset : offset + len(piece)] = piece
        return bytes(joined)


class Group:
    """Blocks with one period, over whatever session there is.

    Attributes:
        blocks: what is read.
        every: seconds between two readings, for the owner.
        busy: a reading is under way.
        requests: the current plan.
        started: monotonic time of the latest reading's start.
    """

    def __init__(self, blocks: Iterable[Block], every: float, clock: Clock, report: Report) -> None:
        self.blocks = tuple(blocks)
        self.every = every
        self.busy = False
        self.requests: tuple[Request, ...] = ()
        self.started = 0.0
        self._monotonic = clock.monotonic
        self._report = report
        self._readings = [_Reading(block) for block in self.blocks]
        self._session: Session | None = None
        self._pdu = 0
        self._open = 0
        self._asked: list[_Reading] = []
        self._plain: dict[Request, _Reading] = {}
        self._dirty = True
        self._retry_at = 0.0
        self._refusals = 0
        self._held_until = 0.0

    def connected(self, session: Session, *, afresh: bool = True) -> None:
        """Take a new session. `afresh` forgets what was bad: the PLC may have got another program."""
        self.disconnected()
        self._session = session
        if afresh:
            self._refusals, self._held_until = 0, 0.0
            for reading in self._readings:
                if reading.attempts:
                    reading.attempts = 1
                    reading.heal()
                    self._dirty = True
        if self._dirty or session.grant.pdu != self._pdu:
            self._pdu = session.grant.pdu
            self._plan()

    def disconnected(self) -> None:
        """The session is gone; what was under way is forgotten."""
        self._session = None
        self.busy = False

    def read(self) -> bool:
        """Start a reading; False when there is none: busy, disconnected, or all of it waits for its next trial."""
        if self._session is None or self.busy:
            return False
        now = self._monotonic()
        if self._retry_at and self._retry_at <= now:
            self._heal(now)
        if not self.requests or now < self._held_until:
            return False
        self.started = now
        self.busy = True
        self._open = len(self._asked)
        for reading in self._asked:
            if reading.used:
                reading.restart()
            else:
                reading.left = reading.parts
        self._session.read(self.requests, self)
        return True

    def answered(self, request: Request, items: Sequence[bytes | int]) -> None:
        """Hand each item's bytes to the blocks that want them; a block that is complete is reported."""
        if (plain := self._plain.get(request)) is not None and not isinstance(items[0], int):
            plain.left = 0
            self._report.read(plain.block, items[0], plain.bad, True)
            self._close()
            return
        for item, data in zip(request.items, items, strict=True):
            for part in item.parts:
                reading, base, _ = part.range.owner
                reading.used = True
                if isinstance(data, int):
                    reading.refuse(part, data, len(item.parts) == 1)
                elif part.size == len(data):
                    reading.pieces.append((base + part.offset, data))
                else:
                    reading.pieces.append((base + part.offset, data[part.at : part.at + part.size]))
                reading.left -= 1
                if not reading.left:
                    self._complete(reading)

    def refused(self, error: Refused) -> None:
        """The PLC refuses such requests altogether: give this reading up, and hold the next ones back."""
        if self._session is not None:
            self._session.forget(self)
        self._held_until = self._monotonic() + min(_LAST_HOLD, _FIRST_HOLD * 2 ** min(self._refusals, 16))
        self._refusals += 1
        self.busy = False
        for reading in self._asked:
            if reading.left:
                self._report.failed(reading.block, error)
        self._report.finished(self)

    def _complete(self, reading: _Reading) -> None:
        if reading.doubtful and not reading.singly:
            reading.singly = True
            requests = plan(reading.block.singles(sorted(reading.doubtful), reading), self._pdu, gap=None)
            reading.left = sum(len(item.parts) for request in requests for item in request.items)
            if self._session is not None:
                self._session.read(requests, self)
            return
        if reading.failed or reading.singly:
            self._isolate(reading)
        elif reading.attempts and not reading.bad and reading.split is (reading.block.whole is None):
            self._recover(reading)
        self._deliver(reading)
        self._close()

    def _close(self) -> None:
        """A block has been reported; after the last one the reading is over."""
        self._open -= 1
        if not self._open:
            self.busy = False
            self._refusals = 0
            if self._dirty:
                self._plan()
            self._report.finished(self)

    def _deliver(self, reading: _Reading) -> None:
        block, bad = reading.block, reading.bad
        if bad and len(bad) == len(block.cells):
            index, code = next(iter(bad.items()))
            self._report.failed(block, refused(code, area=block.cells[index].area))
        else:
            self._report.read(block, reading.data(), bad, not reading.split)

    def _isolate(self, reading: _Reading) -> None:
        """Leave out what is bad until its next trial."""
        reading.bad = {**reading.bad, **reading.failed}
        reading.split = True
        pause = min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(reading.attempts, 16))
        reading.attempts += 1
        reading.retry_at = self._monotonic() + pause
        self._dirty = True
        if reading.bad != reading.known or reading.attempts == 1:
            reading.known = reading.bad
            self._report.isolated(reading.block, reading.bad)

    def _recover(self, reading: _Reading) -> None:
        reading.attempts = 0
        reading.known = {}
        self._dirty = True
        self._report.recovered(reading.block)

    def _heal(self, now: float) -> None:
        for reading in self._readings:
            if reading.retry_at and reading.retry_at <= now:
                reading.heal()
        self._plan()

    def _plan(self) -> None:
        """Make the plan anew: after each handshake with another PDU, and when what can be read has changed."""
        ranges = [wanted for reading in self._readings for wanted in reading.ranges()]
        self.requests = plan(ranges, self._pdu)
        for reading in self._readings:
            reading.parts = 0
        for request in self.requests:
            for item in request.items:
                for part in item.parts:
                    part.range.owner[0].parts += 1
        self._asked = [reading for reading in self._readings if reading.parts]
        self._plain = {
            request: request.items[0].parts[0].range.owner[0] for request in self.requests if _is_whole_block(request)
        }
        self._retry_at = min((reading.retry_at for reading in self._readings if reading.retry_at), default=0.0)
        self._dirty = False


def _is_whole_block(request: Request) -> bool:
    """True when its answer's only item is a healthy block and nothing else."""
    (item, *others) = request.items
    (part, *more) = item.parts
    reading, _, _ = part.range.owner
    return not (others or more or reading.attempts or reading.split) and part.size == item.size == reading.block.size
