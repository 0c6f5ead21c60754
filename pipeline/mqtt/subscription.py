"""One connection that receives: subscribes, hands over what comes, acknowledges when told.

Order: messages are handed over as they come, those of one loop turn together. Memory: none beyond that turn. With
`hold` nothing more is read from the socket, so that the broker has to wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from pipeline.errors import LinkError
from pipeline.mqtt.client import Access
from pipeline.mqtt.incoming import encode_pubacks, encode_subscribe, parse_publish, parse_suback
from pipeline.mqtt.link import Link
from pipeline.mqtt.reasons import judge_suback

__all__ = ["Message", "Subscription"]

_PUBLISH, _SUBACK = 0x30, 0x90
_KIND = 0xF0
_MID = 1
"""Packet identifier of the only SUBSCRIBE; those of messages are the broker's own numbering."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message as it came.

    Attributes:
        topic: where it was published.
        body: the payload.
        mid: its packet identifier, 0 with QoS 0.
        again: the broker has sent it before and got no acknowledgement (DUP).
    """

    topic: str
    body: bytes
    mid: int
    again: bool


class Subscription(Link):
    """A link that receives; a new connection needs a new one.

    Attributes:
        subscribed: the broker has answered the subscription.
    """

    def __init__(self, access: Access, received: Callable[[list[Message]], None]) -> None:
        """Prepare; nothing is opened.

        Args:
            access: how to reach the broker.
            received: given what came in one loop turn.
        """
        super().__init__(access, answered=lambda _: None)
        self._received = received
        self._arrived: list[Message] = []
        self.subscribed = False
        self._granted: asyncio.Future[list[int]] = self._loop.create_future()
        self._held = False

    @property
    def resumed(self) -> bool:
        """The broker has kept our session, so that packet identifiers of the last connection count."""
        return self._client.resumed

    async def subscribe(self, topics: Sequence[str], qos: int, deadline: float) -> dict[str, str]:
        """Ask for topics; why not, by topic, for those that the broker does not grant as asked.

        Args:
            topics: filters.
            qos: 0 or 1.
            deadline: seconds for the answer.

        Raises:
            LinkError: the connection ended, or no answer came.
        """
        self._write(encode_subscribe(topics, qos, _MID, v5=self._v5))
        awaited: set[asyncio.Future[Any]] = {self._granted, self.ended}
        await asyncio.wait(awaited, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
        if self.ended.done():
            raise self.ended.result()
        if not self._granted.done():
            raise LinkError("timeout", "no answer to the subscription", "the broker hangs; connecting anew")
        self.subscribed = True
        codes = self._granted.result()
        return {topic: why for topic, code in zip(topics, codes, strict=False) if (why := judge_suback(code, qos))}

    def receive(self, kind: int, body: bytes) -> None:
        """PUBLISH and SUBACK; the rest says nothing."""
        if kind & _KIND == _PUBLISH:
            if not self._arrived:
                self._loop.call_soon(self._hand_over)
            topic, payload, mid = parse_publish(kind, body, v5=self._v5)
            self._arrived.append(Message(topic, payload, mid, bool(kind & 0x08)))
        elif kind == _SUBACK and not self._granted.done():
            self._granted.set_result(parse_suback(body, v5=self._v5))

    def confirm(self, messages: Sequence[Message]) -> None:
        """Acknowledge messages, all in one write; those of QoS 0 want nothing."""
        if packets := encode_pubacks(message.mid for message in messages if message.mid):
            self._write(packets)

    def hold(self, on: bool) -> None:
        """Read no more from the socket, or go on."""
        transport = self._client.transport
        if on is self._held or transport is None or transport.is_closing():
            return
        self._held = on
        if on:
            transport.pause_reading()
        else:
            self.heard = self.now()
            transport.resume_reading()

    def watch(self) -> None:
        """As for every link; what is not listened to can't be called mute."""
        if self._held:
            self.heard = self.now()
        super().watch()

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        self._received(arrived)
