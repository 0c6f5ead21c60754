"""A scripted MQTT broker for the virtual loop: it records, and answers what it is told to answer.

It speaks MQTT 5 and 3.1.1, as far as a publisher or one subscriber with QoS 1 sees. `Broker.listen` puts it on an
address; its attributes may be changed at any moment and count from the next packet.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipeline.clock import MemoryServer, VirtualLoop


@dataclass
class Published:
    """A PUBLISH as it came: `mid` is 0 for QoS 0, `at` is loop time, `connection` counts from 0."""

    topic: str
    body: bytes
    qos: int
    retain: bool
    mid: int
    at: float
    connection: int

    @property
    def json(self) -> Any:
        """The payload as JSON."""
        return json.loads(self.body)


@dataclass
class Connected:
    """A CONNECT as it came."""

    client_id: str
    protocol: int
    keep_alive: int
    username: str | None
    password: str | None
    will: tuple[str, bytes, bool] | None
    at: float
    clean: bool = True
    properties: bytes = b""


@dataclass
class Broker:
    """What the broker answers, and what it has seen.

    Attributes:
        connack: reason code for CONNECT; None: no answer.
        properties: raw properties of CONNACK, without their length (see `receive_maximum`).
        puback: gives the reason code for a PUBLISH of QoS 1; None: no answer.
        delay: seconds from a PUBLISH to its PUBACK.
        mute: nothing is answered any more, pings included.
        published: all messages, in order of arrival.
        connected: all CONNECTs.
        wills: last wills that were published because a client vanished.
        most_in_flight: the greatest number of unanswered messages of QoS 1, for this connection.
        suback: gives the reason code for a filter.
        subscribed: the filters of each SUBSCRIBE, with their options.
        kept: what the session keeps for a subscriber: messages by packet identifier, until they are acknowledged.
        acknowledged: bodies of the messages that the subscriber has acknowledged, in that order.
        delivered: bodies of the messages that were sent to it, in that order, again when sent again.
    """

    connack: int | None = 0
    properties: bytes = b""
    puback: Callable[[Published], int | None] = lambda _: 0
    delay: float = 0.0
    mute: bool = False
    published: list[Published] = field(default_factory=list)
    connected: list[Connected] = field(default_factory=list)
    wills: list[tuple[str, bytes, bool]] = field(default_factory=list)
    pings: int = 0
    most_in_flight: int = 0
    sessions: list["_Session"] = field(default_factory=list)
    suback: Callable[[str], int] = lambda _: 1
    subscribed: list[dict[str, int]] = field(default_factory=list)
    kept: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    acknowledged: list[bytes] = field(default_factory=list)
    delivered: list[bytes] = field(default_factory=list)
    _last: int = 0
    _server: MemoryServer | None = None

    def give(self, topic: str, body: bytes) -> None:
        """Publish a message of QoS 1 to the subscriber; the session keeps it while there is none."""
        self._last = self._last % 65535 + 1
        self.kept[self._last] = (topic, body)
        if self.sessions:
            self.session.deliver()

    async def listen(self, loop: VirtualLoop, host: str = "broker", port: int = 8883) -> MemoryServer:
        """Listen on the loop's simulated network."""
        self._server = await loop.create_server(lambda: _Session(self), host, port)
        return self._server

    def die(self) -> None:
        """End as a killed process does: nothing listens any more, and each connection is closed without a word."""
        assert self._server is not None
        self._server.close()
        for session in self.sessions:
            session.transport.close()

    @property
    def session(self) -> "_Session":
        """The latest connection."""
        return self.sessions[-1]

    def on(self, topic: str) -> list[Published]:
        """The messages of one topic."""
        return [message for message in self.published if message.topic == topic]

    def cut(self) -> None:
        """Break all connections without a word."""
        for session in self.sessions:
            session.transport.abort()

    def disconnect(self, reason: int) -> None:
        """Send DISCONNECT with a reason and close."""
        self.session.transport.write(bytes((0xE0, 1, reason)))
        self.session.transport.close()


def receive_maximum(count: int) -> bytes:
    """The CONNACK property."""
    return b"\x21" + count.to_bytes(2, "big")


def maximum_packet_size(size: int) -> bytes:
    """The CONNACK property."""
    return b"\x27" + size.to_bytes(4, "big")


class _Session(asyncio.Protocol):
    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.v5 = True
        self.will: tuple[str, bytes, bool] | None = None
        self.in_flight = 0
        self.number = len(broker.sessions)
        self.receive_maximum = 65535
        self.receiving: dict[int, None] | None = None
        self.old: set[int] = set()
        broker.sessions.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's arguments
        if self.will is not None:
            self.broker.wills.append(self.will)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 2:
            size, start = _number(self.buffer, 1)
            if len(self.buffer) < start + size:
                return
            head, body = self.buffer[0], self.buffer[start : start + size]
            self.buffer = self.buffer[start + size :]
            if self.broker.mute:
                continue
            {
                0x10: self.connect,
                0x30: self.publish,
                0x40: self.confirmed,
                0x80: self.subscribe,
                0xC0: self.ping,
                0xE0: self.leave,
            }[head & 0xF0](head, body)

    def subscribe(self, _: int, body: bytes) -> None:
        position = _skip(body, 2) if self.v5 else 2
        filters: dict[str, int] = {}
        while position < len(body):
            topic, position = _text(body, position)
            filters[topic], position = body[position], position + 1
        self.broker.subscribed.append(filters)
        codes = bytes(self.broker.suback(topic) for topic in filters)
        answer = body[:2] + (b"\0" if self.v5 else b"") + codes
        self.transport.write(bytes((0x90, len(answer))) + answer)
        if self.receiving is None:
            self.receiving = {}
            self.deliver()

    def deliver(self) -> None:
        """Send what is kept and not under way, as far as the subscriber's window allows."""
        if self.receiving is None or self.transport.is_closing():
            return
        for mid, (topic, body) in self.broker.kept.items():
            if mid in self.receiving or len(self.receiving) >= self.receive_maximum:
                continue
            self.receiving[mid] = None
            self.broker.delivered.append(body)
            name = topic.encode()
            packet = len(name).to_bytes(2, "big") + name + mid.to_bytes(2, "big") + (b"\0" if self.v5 else b"") + body
            length = bytes((len(packet) & 0x7F | 0x80, len(packet) >> 7))
            self.transport.write(bytes((0x3A if mid in self.old else 0x32,)) + length + packet)

    def confirmed(self, _: int, body: bytes) -> None:
        mid = int.from_bytes(body[:2], "big")
        assert self.receiving is not None
        assert mid in self.receiving, "a message is acknowledged that was not sent over this connection"
        del self.receiving[mid]
        self.broker.acknowledged.append(self.broker.kept.pop(mid)[1])
        self.deliver()

    def ping(self, *_: object) -> None:
        self.broker.pings += 1
        self.transport.write(b"\xd0\0")

    def leave(self, *_: object) -> None:
        self.will = None

    def connect(self, _: int, body: bytes) -> None:
        level, flags, keep_alive = body[6], body[7], int.from_bytes(body[8:10], "big")
        self.v5, position = level == 5, 10
        session = b""
        if self.v5:
            position = _skip(body, position)
            session = body[11:position]
        client_id, position = _text(body, position)
        will = username = password = None
        if flags & 0x04:
            if self.v5:
                position = _skip(body, position)
            topic, position = _text(body, position)
            payload, position = _text(body, position)
            will = (topic, payload.encode(), bool(flags & 0x20))
        if flags & 0x80:
            username, position = _text(body, position)
        if flags & 0x40:
            password, position = _text(body, position)
        broker = self.broker
        clean = bool(flags & 0x02)
        now = self.loop.time()
        broker.connected.append(Connected(client_id, level, keep_alive, username, password, will, now, clean, session))
        if session:  # session expiry, then receive maximum, as a subscriber sends them
            self.receive_maximum = int.from_bytes(session[6:8], "big")
        if broker.connack is None:
            return
        tail = bytes((len(broker.properties),)) + broker.properties if self.v5 else b""
        resumed = not clean and not broker.connack and self.number > 0
        if resumed:
            self.old = set().union(*(before.receiving or () for before in broker.sessions[:-1])) & set(broker.kept)
        self.transport.write(bytes((0x20, 2 + len(tail), resumed, broker.connack)) + tail)
        if broker.connack:
            self.transport.close()
        else:
            self.will = will

    def publish(self, head: int, body: bytes) -> None:
        topic, position = _text(body, 0)
        qos, mid = head >> 1 & 3, 0
        if qos:
            mid, position = int.from_bytes(body[position : position + 2], "big"), position + 2
        if self.v5:
            position = _skip(body, position)
        message = Published(topic, body[position:], qos, bool(head & 1), mid, self.loop.time(), self.number)
        self.broker.published.append(message)
        if qos:
            self.in_flight += 1
            self.broker.most_in_flight = max(self.broker.most_in_flight, self.in_flight)
            code = self.broker.puback(message)
            if code is not None and self.broker.delay:
                self.loop.call_later(self.broker.delay, self.acknowledge, mid, code)
            elif code is not None:
                # In a later turn, as a network would: so that a window can be seen to be respected.
                self.loop.call_soon(self.acknowledge, mid, code)

    def acknowledge(self, mid: int, code: int) -> None:
        self.in_flight -= 1
        if not self.broker.mute:
            middle = mid.to_bytes(2, "big") + (bytes((code,)) if self.v5 and code else b"")
            self.transport.write(bytes((0x40, len(middle))) + middle)


def _number(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, position = data[position], position + 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, position


def _skip(data: bytes, position: int) -> int:
    size, position = _number(data, position)
    return position + size


def _text(data: bytes, position: int) -> tuple[str, int]:
    end = position + 2 + int.from_bytes(data[position : position + 2], "big")
    return data[position + 2 : end].decode(), end
