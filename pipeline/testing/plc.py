"""A PLC that a test scripts: the simulated one, with the blocks that the graph reads and the faults that are given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from snap7.datatypes import S7Area

from pipeline.errors import Finding, nearest
from pipeline.s7.decode import Leaf
from pipeline.s7.encode import write
from pipeline.s7.server import (
    FRAME_ERROR,
    GOOD,
    NO_SUCH_OBJECT,
    NO_SUCH_RANGE,
    READ,
    WRITE,
    Connection,
    Item,
    PlcServer,
)
from pipeline.s7.wanted import Wanted
from pipeline.testing.options import Fault, Given
from pipeline.testing.stage import Stage, Write

__all__ = ["PlcStage"]

_CODES = {Fault.ACCESS_DENIED: 0x03, Fault.OUT_OF_RANGE: NO_SUCH_RANGE, Fault.MISSING: NO_SUCH_OBJECT}
_MODES = {"RUN": 8, "STOP": 4}
_LONGEST = 65_536
_FUNCTION_AT = 10


class PlcStage(Stage):
    """A PLC at an address."""

    takes = frozenset({"values", "bytes", "cpu"})
    faults = frozenset({Fault.AWAY, Fault.TIMEOUT, Fault.PUT_GET_OFF, *_CODES})

    def __init__(
        self,
        host: str,
        port: int,
        wanted: Sequence[Wanted] = (),
        ranges: Sequence[tuple[int, int]] = (),
        part: str = "",
    ) -> None:
        """Make one; it listens when it is opened.

        Args:
            host: its address.
            port: TCP port.
            wanted: what is read of it.
            ranges: blocks that are written: number, bytes.
            part: the source's name for it.
        """
        super().__init__(host, port, part)
        self.wanted = list(wanted)
        self._ranges = list(ranges)
        self._server = _Server(self)

    def join(self, other: Stage) -> None:
        """Have the blocks of both."""
        assert isinstance(other, PlcStage)  # noqa: S101 - the caller has asked
        self.wanted += other.wanted
        self._ranges += other._ranges  # noqa: SLF001 - one of us

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be there, with zeros in all blocks."""
        del loop
        for area, number, size in self._sizes():
            self._server.register(number, bytearray(size), S7Area(area))
        await self._server.listen(self.host, self.port)

    def check(self, given: Given) -> Iterator[Finding]:
        """Names that nobody reads, values that don't fit, bytes beyond the block."""
        for name, value in given.values.items():
            yield from self._check_value(given, name, value)
        sizes = {number: size for area, number, size in self._sizes() if area == S7Area.DB}
        if given.db is not None and given.db not in sizes:
            hint = f"it reads {', '.join(f'DB{number}' for number in sizes) or 'no blocks'}"
            yield Finding(path=("db",), message=f"the graph has no business with DB{given.db}", hint=hint)
        elif given.db is not None and given.bytes:
            end = given.start + len(bytes.fromhex(given.bytes))
            if end > sizes[given.db]:
                message = f"reach to byte {end - 1}, and the graph knows {sizes[given.db]} bytes of DB{given.db}"
                yield Finding(path=("bytes",), message=message)
        if given.fault in _CODES and given.db is None:
            yield Finding(path=("fault",), message=f"{given.fault} is of one block", hint="name it: db: 1")

    def _check_value(self, given: Given, name: str, value: object) -> Iterator[Finding]:
        path = ("values", name)
        places = self._places(name, given.db)
        if not places:
            known = [leaf.name for wanted in self._of(given.db) for leaf in wanted.leaves]
            likely = nearest(name, known)
            hint = f"did you mean '{likely}'?" if likely else f"there are: {', '.join(known[:20]) or 'none'}"
            yield Finding(path=path, message=f"the graph reads no value '{name}' of this PLC", hint=hint)
        elif len({place[:2] for place in places}) > 1:
            blocks = ", ".join(f"DB{number}" if number else "single tags" for _, number, _ in places)
            yield Finding(path=path, message=f"'{name}' is in several blocks: {blocks}", hint="say which: db: 1")
        elif not isinstance(value, bool | int | float | str):
            yield Finding(path=path, message="must be a single value", hint="names are flat: machines_0_parts")
        else:
            _, _, leaf = places[0]
            try:
                write(leaf, bytearray(leaf.byte + leaf.size), value)
            except ValueError as error:
                yield Finding(path=path, message=str(error))

    def give(self, given: Given) -> None:
        """Put values or bytes into the memory, or switch the CPU."""
        if given.cpu:
            self._server.switch(_MODES[given.cpu])
        for name, value in given.values.items():
            for area, number, leaf in self._places(name, given.db)[:1]:
                write(leaf, self._server.blocks[area, number], value)
        if given.bytes and given.db is not None:
            data = bytes.fromhex(given.bytes)
            self._server.blocks[S7Area.DB, given.db][given.start : given.start + len(data)] = data

    async def fail(self, given: Given, *, on: bool) -> None:
        """Go away, fall silent, refuse; or be well again."""
        server = self._server
        if given.fault is Fault.AWAY:
            if on:
                server.close()
            else:
                await server.listen(self.host, self.port)
        elif given.fault in _CODES:
            if on:
                server.codes[given.db or 0] = _CODES[cast(Fault, given.fault)]
            else:
                server.codes.pop(given.db or 0, None)
        elif given.fault is Fault.TIMEOUT:
            server.silent = on
        else:
            server.closed = on

    def _of(self, db: int | None) -> list[Wanted]:
        return [wanted for wanted in self.wanted if db is None or wanted.db == db]

    def _places(self, name: str, db: int | None) -> list[tuple[int, int, Leaf]]:
        """Where a value lies: area, number of the block, and its leaf with bytes counted within that."""
        found: list[tuple[int, int, Leaf]] = []
        for wanted in self._of(db):
            for leaf in wanted.leaves:
                if leaf.name == name:
                    cell = next(c for c in wanted.block.cells if c.offset <= leaf.byte < c.offset + c.size)
                    place = replace(leaf, byte=cell.start + leaf.byte - cell.offset)
                    if (cell.area, cell.db, place) not in found:
                        found.append((cell.area, cell.db, place))
        return found

    def _sizes(self) -> Iterator[tuple[int, int, int]]:
        """Area, number and bytes of each memory that is needed."""
        sizes: dict[tuple[int, int], int] = {}
        needed = [((S7Area.DB.value, number), size) for number, size in self._ranges]
        for wanted in self.wanted:
            whole = wanted.block.whole
            if whole is not None:
                needed.append(((whole[0], whole[1]), whole[2] + wanted.block.size))
            needed += [((cell.area, cell.db), cell.start + cell.size) for cell in wanted.block.cells]
        for key, size in needed:
            sizes[key] = max(sizes.get(key, 0), min(size, _LONGEST))
        for (area, number), size in sizes.items():
            yield area, number, size


class _Server(PlcServer):
    """The simulated PLC with faults.

    Attributes:
        silent: requests are swallowed.
        closed: reads and writes are refused by the header's error, as without PUT/GET.
        codes: return code of a block's items.
    """

    def __init__(self, stage: PlcStage) -> None:
        super().__init__(pdu=480, jobs=4)
        self._stage = stage
        self.silent = False
        self.closed = False
        self.codes: dict[int, int] = {}

    def answer(self, connection: Connection, pdu: bytes) -> bytes | None:
        """The answer, silence, or a refusal."""
        if self.silent:
            return None
        if self.closed and pdu[_FUNCTION_AT] in {READ, WRITE}:
            return b"\x32\x02\x00\x00" + pdu[4:6] + b"\x00\x00\x00\x00" + FRAME_ERROR.to_bytes(2, "big")
        return super().answer(connection, pdu)

    def read(self, item: Item) -> tuple[int, bytes]:
        """The item, or the code of its block."""
        code = self.codes.get(item.db) if item.area == S7Area.DB else None
        return super().read(item) if code is None else (code, b"")

    def write(self, item: Item, data: bytes) -> int:
        """Write, and note it."""
        code = self.codes.get(item.db) if item.area == S7Area.DB else None
        if code is not None:
            return code
        result = super().write(item, data)
        if result == GOOD:
            at = asyncio.get_running_loop().time()
            self._stage.writes.append(Write(at=at, db=item.db, start=item.start, data=data))
        return result
