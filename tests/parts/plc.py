"""A PLC that enforces what it grants, and misbehaves on demand.

    async with StrictPlc({1: block}, pdu=112, jobs=1) as plc:      # on the running loop; a virtual one needs a port=
        plc.fault = SILENT                                         # from the next answer on
    with plc_thread(StrictPlc({1: block})) as plc:                 # on a loop of its own, for tests without one

It is `pipeline.s7.server.PlcServer`: whoever overruns the granted PDU gets header error 0x8500, whoever has more jobs
open than granted loses the connection, and `plc.violations` says why.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from pipeline.s7.server import Connection, Item, PlcServer

Fault = Callable[[bytes], list[bytes]]
"""From an answer's frame to the pieces that reach the wire, each in a write of its own."""

CLOSE = b""
"""The piece that closes the connection."""


def silent(_: bytes) -> list[bytes]:
    """The request is swallowed: a frozen PLC, or a cable that was pulled."""
    return []


def close(_: bytes) -> list[bytes]:
    """The connection is closed instead of an answer."""
    return [CLOSE]


def half(frame: bytes) -> list[bytes]:
    """The connection is closed within the answer."""
    return [frame[: len(frame) // 2], CLOSE]


def truncated(frame: bytes) -> list[bytes]:
    """The rest of the answer never comes."""
    return [frame[:-3]]


def one_byte_at_a_time(frame: bytes) -> list[bytes]:
    """The answer is right, but comes in the smallest pieces."""
    return [frame[at : at + 1] for at in range(len(frame))]


def garbage(_: bytes) -> list[bytes]:
    """Bytes of another protocol."""
    return [b"HTTP/1.1 400 Bad Request\r\n\r\n"]


def twice(frame: bytes) -> list[bytes]:
    """Two answers in one segment."""
    return [frame + frame]


def foreign(frame: bytes) -> list[bytes]:
    """The answer to a request that nobody sent: another sequence number."""
    return [frame[:11] + bytes([frame[11] ^ 0x55, frame[12] ^ 0xAA]) + frame[13:]]


def preceded(frame: bytes) -> list[bytes]:
    """An empty data frame goes before the answer, as WinAC and SoftPLC units do."""
    return [b"\x03\x00\x00\x07\x02\xf0\x00" + frame]


def split(frame: bytes) -> list[bytes]:
    """The answer comes in two COTP fragments."""
    first, last = frame[7:20], frame[20:]
    return [
        b"\x03\x00" + (7 + len(first)).to_bytes(2, "big") + b"\x02\xf0\x00" + first,
        b"\x03\x00" + (7 + len(last)).to_bytes(2, "big") + b"\x02\xf0\x80" + last,
    ]


def unasked(frame: bytes) -> list[bytes]:
    """A message that nobody asked for (USERDATA, sequence number 0) goes before the answer."""
    push = bytes.fromhex("3207000000000008000400 0112081200000000 00 0a000000".replace(" ", ""))
    return [b"\x03\x00" + (7 + len(push)).to_bytes(2, "big") + b"\x02\xf0\x80" + push + frame]


def too_long(frame: bytes) -> list[bytes]:
    """The TPKT header promises far more than comes."""
    return [frame[:2] + b"\xff\xff" + frame[4:]]


def hung_up(_: bytes) -> list[bytes]:
    """A COTP disconnect request instead of an answer."""
    return [bytes.fromhex("0300000b06800001000100")]


class StrictPlc(PlcServer):
    """The server with faults.

    Attributes:
        fault: what becomes of answers, None for the truth; setup answers are spared.
        gap: seconds between the pieces of one answer.
        codes: return code of items by (area, db), instead of data: 0x03 access denied, 0x05, 0x0A.
        header_error: error of the answer's header to every read: 0x8104 PUT/GET off; 0 for none.
        tsaps: called TSAPs that are served, None for all; others are refused, as a wrong rack or slot is.
    """

    def __init__(
        self,
        blocks: dict[int, bytearray] | None = None,
        *,
        pdu: int = 480,
        jobs: int = 1,
        max_clients: int = 64,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(pdu=pdu, jobs=jobs, max_clients=max_clients)
        self.host, self.port = host, port
        self.fault: Fault | None = None
        self.gap = 0.0
        self.codes: dict[tuple[int, int], int] = {}
        self.header_error = 0
        self.tsaps: set[bytes] | None = None
        for number, memory in (blocks or {}).items():
            self.register(number, memory)

    async def __aenter__(self) -> Self:
        await self.listen(self.host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def power_on(self) -> None:
        """Listen again where it did before `close`."""
        await self.listen(self.host, self.port)

    def admits(self, connection: Connection) -> bool:
        """Only the TSAPs in `tsaps`."""
        return self.tsaps is None or connection.tsap in self.tsaps

    def read(self, item: Item) -> tuple[int, bytes]:
        """The item, or the code that `codes` has for its block."""
        code = self.codes.get((item.area, item.db))
        return super().read(item) if code is None else (code, b"")

    def answer(self, connection: Connection, pdu: bytes) -> bytes | None:
        """The answer, or `header_error` to a read."""
        if self.header_error and pdu[10:11] == b"\x04":
            return b"\x32\x02\x00\x00" + pdu[4:6] + b"\x00\x00\x00\x00" + self.header_error.to_bytes(2, "big")
        return super().answer(connection, pdu)

    def deliver(self, connection: Connection, frame: bytes) -> None:
        """Send an answer as the fault has it."""
        setup = frame[19:20] == b"\xf0" and len(frame) == 27
        if self.fault is None or setup:
            super().deliver(connection, frame)
            return
        self._put(connection, self.fault(frame))

    def _put(self, connection: Connection, pieces: list[bytes]) -> None:
        if not pieces or connection.transport.is_closing():
            return
        if pieces[0] == CLOSE:
            connection.transport.close()
        else:
            connection.transport.write(pieces[0])
        asyncio.get_running_loop().call_later(self.gap, self._put, connection, pieces[1:])


@contextmanager
def plc_thread(plc: StrictPlc) -> Iterator[StrictPlc]:
    """Run a PLC on a loop and thread of its own. Its attributes may be set from outside."""
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with plc:
            ready.set()
            await over.wait()
        await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="strict-plc")
    thread.start()
    try:
        assert ready.wait(10), "the PLC did not start"
        yield plc
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()
