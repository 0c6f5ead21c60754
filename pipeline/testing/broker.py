"""A broker that a test scripts: it takes, acknowledges and hands on messages of QoS 0 and 1, in MQTT 5 and 3.1.1."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec

from pipeline.mqtt.codec import encode_publish, find_packet, pack_topic
from pipeline.mqtt.filters import levels_of, matches
from pipeline.mqtt.incoming import parse_publish
from pipeline.mqtt.reasons import NO_SUBSCRIBER, NOT_AUTHORISED
from pipeline.testing.options import Fault, Given
from pipeline.testing.stage import Connection, Message, ReceiverStage

__all__ = ["BrokerStage", "body_of"]

_V5 = 5
_WINDOW = 65_535


def body_of(payload: object) -> bytes:
    """A message's bytes: a text as it is, all else as JSON."""
    return payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)


class BrokerStage(ReceiverStage):
    """A broker at an address; its codes are what PUBACKs say.

    Attributes:
        subscribers: what it keeps for each client, by client id.
        early: what was published before the first of them came.
    """

    takes = frozenset({"topic"})
    codes: ClassVar = {Fault.NO_SUBSCRIBER: NO_SUBSCRIBER, Fault.DENIED: NOT_AUTHORISED, Fault.BUSY: 0x97}
    faults = frozenset({Fault.AWAY, Fault.TIMEOUT, *codes})

    def __init__(self, host: str, port: int, part: str = "") -> None:
        super().__init__(host, port, part)
        self.subscribers: dict[str, _Subscriber] = {}
        self.early: list[tuple[str, bytes]] = []

    def connection(self) -> Connection:
        """See `ReceiverStage`."""
        return _Session(self)

    def give(self, given: Given) -> None:
        """A stranger publishes. What comes before anybody has subscribed waits, as for a session of yesterday."""
        body = body_of("" if given.payload is None else given.payload)
        if self.subscribers:
            self.hand_on(given.topic, body)
        else:
            self.early.append((given.topic, body))

    def take(self, message: Message) -> None:
        """Note a message that a client has published, and hand it on to those who asked for it."""
        self.messages.append(message)
        self.hand_on(message.topic, message.body)

    def catch_up(self) -> None:
        """Hand on what came early."""
        early, self.early = self.early, []
        for topic, body in early:
            self.hand_on(topic, body)

    def hand_on(self, topic: str, body: bytes) -> None:
        """Keep a message for each subscriber until it acknowledges."""
        for subscriber in self.subscribers.values():
            if any(matches(levels, topic) for levels in subscriber.filters):
                subscriber.last = subscriber.last % _WINDOW + 1
                subscriber.kept[subscriber.last] = (topic, body)
                subscriber.send(subscriber.last)


@dataclass
class _Subscriber:
    """A client's session.

    Attributes:
        filters: what it asked for, by levels.
        kept: messages that it has not acknowledged.
        last: the latest packet identifier.
        send: sends one of `kept`, where there is a connection.
    """

    filters: list[tuple[str, ...]] = field(default_factory=list)
    kept: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    last: int = 0
    send: Callable[[int], None] = lambda _: None


class _Session(Connection):
    """One connection."""

    def __init__(self, broker: BrokerStage) -> None:
        super().__init__(broker)
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._v5 = True
        self._client = ""

    def connection_lost(self, error: Exception | None) -> None:
        """It has gone; what it asked for stays."""
        super().connection_lost(error)
        if subscriber := self._broker.subscribers.get(self._client):
            subscriber.send = lambda _: None

    def data_received(self, data: bytes) -> None:
        """Take packets apart and answer them."""
        data, position = self._rest + data, 0
        handlers = {0x10: self._connect, 0x30: self._publish, 0x40: self._confirmed, 0x80: self._subscribe}
        while (found := find_packet(data, position)) is not None:
            kind, body, position = data[position], data[found[0] : found[1]], found[1]
            if self._broker.mute:
                continue
            if kind == 0xC0:  # noqa: PLR2004 - PINGREQ
                self.transport.write(b"\xd0\0")
            elif handler := handlers.get(kind & 0xF0):
                handler(kind, body)
        self._rest = data[position:]

    def _connect(self, _: int, body: bytes) -> None:
        self._v5 = body[6] == _V5
        position = 10
        if self._v5:
            position += 1 + body[position]
        size = int.from_bytes(body[position : position + 2], "big")
        self._client = body[position + 2 : position + 2 + size].decode()
        kept = self._broker.subscribers.get(self._client)
        resumed = kept is not None and not body[7] & 0x02
        if not resumed:
            self._broker.subscribers.pop(self._client, None)
        self.transport.write(bytes((0x20, 3, resumed, 0, 0)) if self._v5 else bytes((0x20, 2, resumed, 0)))

    def _publish(self, kind: int, body: bytes) -> None:
        topic, payload, mid = parse_publish(kind, body, v5=self._v5)
        reason = self._broker.code
        if reason <= NO_SUBSCRIBER:
            self._broker.take(Message(at=self._loop.time(), topic=topic, body=payload, retain=bool(kind & 1)))
        if mid:
            middle = mid.to_bytes(2, "big") + (bytes((reason,)) if reason and self._v5 else b"")
            self.transport.write(bytes((0x40, len(middle))) + middle)

    def _subscribe(self, _: int, body: bytes) -> None:
        subscriber = self._broker.subscribers.setdefault(self._client, _Subscriber())
        position, filters = 3 if self._v5 else 2, []
        while position < len(body):
            end = position + 2 + int.from_bytes(body[position : position + 2], "big")
            filters.append(levels_of(body[position + 2 : end].decode()))
            position = end + 1
        subscriber.filters = filters
        subscriber.send = lambda mid: self._send(subscriber, mid)
        answer = body[:2] + (b"\0" if self._v5 else b"") + b"\1" * len(filters)
        self.transport.write(bytes((0x90, len(answer))) + answer)
        for mid in tuple(subscriber.kept):
            self._send(subscriber, mid)
        self._loop.call_soon(self._broker.catch_up)

    def _send(self, subscriber: _Subscriber, mid: int) -> None:
        if not self._broker.mute:
            topic, body = subscriber.kept[mid]
            self.transport.write(encode_publish(pack_topic(topic), body, mid, v5=self._v5))

    def _confirmed(self, _: int, body: bytes) -> None:
        if subscriber := self._broker.subscribers.get(self._client):
            subscriber.kept.pop(int.from_bytes(body[:2], "big"), None)
