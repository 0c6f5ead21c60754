"""A proxy before a real broker that delays, swallows and forges acknowledgements, and cuts connections.

with MqttProxy(broker.plain_port, seed=1) as proxy:      # proxy.port
    proxy.refuse, proxy.refusal = 0.02, 0x97             # of 100 PUBLISHes two are refused and not handed on
    proxy.delay, proxy.lose = 0.2, 0.01                  # PUBACKs come later, or never
    proxy.reset()
"""

import asyncio
import random
import socket
import struct
import threading
from typing import Self

__all__ = ["MqttProxy"]

PUBLISH, PUBACK = 3, 4
_SHORT = 4
"""Bytes of a PUBACK without a reason, which means 0."""
_LINGER = struct.pack("ii", 1, 0)


class MqttProxy:
    """The proxy, on a loop and thread of its own. Attributes may be set from outside.

    Attributes:
        port: where it listens on 127.0.0.1.
        refuse: share of the PUBLISHes (QoS 1) that are answered with `refusal` and not handed on.
        refusal: an MQTT 5 reason code.
        delay: seconds by which PUBACKs are late.
        lose: share of the PUBACKs that never come.
        refused: how many were refused.
        swallowed: PUBACKs that never came.
        acknowledged: payloads that the broker has taken with reason 0.
        most: PUBLISHes of one connection without an answer, the highest number seen.
    """

    def __init__(self, broker: int, seed: int = 1) -> None:
        """Describe it.

        Args:
            broker: port on 127.0.0.1.
            seed: of chance.
        """
        self.refuse = self.lose = self.delay = 0.0
        self.refusal = 0x97
        self.acknowledged: list[bytes] = []
        self.refused = self.swallowed = self.most = 0
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self._broker = broker
        self._loop = asyncio.new_event_loop()
        self._links: set[_Link] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mqtt-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        self.port = listening.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def reset(self) -> None:
        """Cut all connections with RST, in both directions; what was under way is gone."""
        asyncio.run_coroutine_threadsafe(self._reset(), self._loop).result(10)

    async def _listen(self) -> int:
        self._server = await self._loop.create_server(lambda: _Link(self, self._broker), "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _reset(self) -> None:
        for link in tuple(self._links):
            link.reset()

    async def _close(self) -> None:
        self._server.close()
        await self._reset()
        await asyncio.sleep(0)


class _Link(asyncio.Protocol):
    """The client's side of one connection."""

    def __init__(self, proxy: MqttProxy, broker: int) -> None:
        self.proxy, self.broker = proxy, broker
        self.loop = asyncio.get_running_loop()
        self.far: asyncio.Transport | None = None
        self.waiting: list[bytes] = []
        self.buffer = b""
        self.under_way = 0
        self.payloads: dict[bytes, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came: connect to the broker."""
        self.near = transport
        self.proxy._links.add(self)
        self.task = self.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            self.far, _ = await self.loop.create_connection(lambda: _Far(self), "127.0.0.1", self.broker)
        except OSError:
            self.near.close()
            return
        self.far.writelines(self.waiting)

    def connection_lost(self, _: Exception | None) -> None:
        """The client went."""
        self.proxy._links.discard(self)
        if self.far is not None:
            self.far.close()

    def reset(self) -> None:
        """RST to both sides."""
        for transport in (self.near, self.far):
            if transport is not None:
                peer: socket.socket = transport.get_extra_info("socket")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
                transport.abort()

    def data_received(self, data: bytes) -> None:
        """From the client."""
        packets, self.buffer = _split(self.buffer + data)
        forward = b"".join(packet for packet in packets if not self._refuses(packet))
        if self.far is None:
            self.waiting.append(forward)
        else:
            self.far.write(forward)

    def _refuses(self, packet: bytes) -> bool:
        proxy = self.proxy
        if packet[0] >> 4 != PUBLISH or not packet[0] & 0x06:
            return False
        self.under_way += 1
        proxy.most = max(proxy.most, self.under_way)
        start = _header(packet)[1]
        start += 2 + int.from_bytes(packet[start : start + 2], "big")
        number = packet[start : start + 2]
        # Retained messages are statuses: to refuse those is another matter.
        if packet[0] & 1 or proxy.chance.random() >= proxy.refuse:
            self.payloads[number] = packet[start + 2 :]
            return False
        proxy.refused += 1
        self.answer(bytes((PUBACK << 4, 3)) + number + bytes((proxy.refusal,)))
        return True

    def from_broker(self, packets: list[bytes]) -> None:
        """To the client."""
        proxy = self.proxy
        for packet in packets:
            if packet[0] >> 4 != PUBACK:
                self.near.write(packet)
                continue
            payload = self.payloads.pop(packet[2:4], b"")
            if len(packet) == _SHORT or not packet[4]:
                proxy.acknowledged.append(payload)
            if proxy.chance.random() < proxy.lose:
                proxy.swallowed += 1
            elif proxy.delay:
                self.loop.call_later(proxy.delay, self.answer, packet)
            else:
                self.answer(packet)

    def answer(self, packet: bytes) -> None:
        """A PUBACK."""
        self.under_way -= 1
        if not self.near.is_closing():
            self.near.write(packet)


class _Far(asyncio.Protocol):
    """The broker's side."""

    def __init__(self, link: _Link) -> None:
        self.link = link
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        """From the broker."""
        packets, self.buffer = _split(self.buffer + data)
        self.link.from_broker(packets)

    def connection_lost(self, _: Exception | None) -> None:
        """The broker went."""
        self.link.near.close()


def _header(data: bytes) -> tuple[int, int]:
    """Length of a packet's body, and where it begins; (0, 0) when more bytes are needed."""
    length = shift = 0
    for index in range(1, min(5, len(data))):
        length |= (data[index] & 0x7F) << shift
        if data[index] < 0x80:
            return length, index + 1
        shift += 7
    return 0, 0


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole packets, and the rest."""
    packets = []
    while True:
        length, start = _header(data)
        if not start or len(data) < start + length:
            return packets, data
        packets.append(data[: start + length])
        data = data[start + length :]
