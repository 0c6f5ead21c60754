"""A TCP proxy before PLCs that writes a serial number into each answer and notes when it passed.

Arguments: one JSON object: addresses, port (its own), plc_port, times (a file). The number stands in the last four
bytes of the 14-byte block, `contador_bom` and `contador_ruim`, 15 bits each. The file gets, by number, the monotonic
seconds at which the answer was sent on: doubles in this machine's byte order. It ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import struct
import sys
import time
from functools import partial
from pathlib import Path

__all__ = ["LIMIT", "number_of"]

LIMIT = 1 << 22
_BLOCK = 14
_TPKT = 4
_ANSWER = 7 + 12 + 2 + 4 + _BLOCK
"""Bytes of the answer to a read of one block: TPKT and COTP, S7 header, function and count, item header, data."""


def number_of(values: dict[str, int]) -> int:
    """The serial number that a frame's values carry."""
    return values["contador_bom"] << 15 | values["contador_ruim"]


class _Stamps:
    def __init__(self, file: str) -> None:
        path = Path(file)
        path.write_bytes(bytes(8 * LIMIT))
        with path.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), 0)
        self._number = 0

    def pass_on(self, frame: bytearray, writer: asyncio.WriteTransport) -> None:
        if len(frame) == _ANSWER and frame[8] == 3 and frame[19] == 4:
            self._number += 1
            struct.pack_into(">HH", frame, _ANSWER - 4, self._number >> 15, self._number & 0x7FFF)
            struct.pack_into("=d", self._memory, 8 * self._number, time.monotonic())
        writer.write(frame)


class _Side(asyncio.Protocol):
    """One side of a connection; `other` is where its bytes go."""

    other: _Side | None = None

    def __init__(self, stamps: _Stamps | None = None) -> None:
        self.transport: asyncio.WriteTransport | None = None
        self._stamps = stamps
        self._rest = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        if self.other is not None and self._rest:
            self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        self._rest += data
        if self.other is None or self.other.transport is None:
            return
        if self._stamps is None:
            self.other.transport.write(bytes(self._rest))
            self._rest.clear()
            return
        while len(self._rest) >= _TPKT and len(self._rest) >= (size := int.from_bytes(self._rest[2:4], "big")):
            frame, self._rest = self._rest[:size], self._rest[size:]
            self._stamps.pass_on(frame, self.other.transport)

    def connection_lost(self, _: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


async def _serve(addresses: list[str], port: int, plc_port: int, times: str) -> None:
    loop = asyncio.get_running_loop()
    stamps = _Stamps(times)

    def accept(address: str) -> _Side:
        client, plc = _Side(), _Side(stamps)
        client.other, plc.other = plc, client
        joined = loop.create_task(loop.create_connection(lambda: plc, address, plc_port))
        joined.add_done_callback(lambda _: client.data_received(b""))
        return client

    for address in addresses:
        await loop.create_server(partial(accept, address), address, port)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(**json.loads(sys.argv[1])))
