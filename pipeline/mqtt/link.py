"""One connection to an MQTT broker, from its name's resolution to its end.

Delivery: a `Link` promises nothing. It tells which message got which PUBACK, and once why it ended; the in-flight
table is its caller's. Order: messages leave in the order given, each call in one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pipeline.errors import LinkError
from pipeline.mqtt.client import Access, Ack, Client
from pipeline.mqtt.codec import LARGEST, MOST, Unfit, encode_publish, pack_topic
from pipeline.mqtt.reasons import explain_failure

__all__ = ["CLOSED", "DENIED", "HUNG_UP", "Access", "Answer", "Link", "Outgoing"]

HIGH_WATER = 256 * 1024
"""Bytes in the socket's write buffer above which no more messages are taken."""
TOPICS = 10_000
"""Packed topics kept; more than that are packed anew."""
CLOSED = "closed"
"""The reason of a link that was ended on purpose."""
HUNG_UP = "hung up"
"""The reason of a link that the broker closed in order, but without DISCONNECT."""
DENIED = "not authorised"
"""Why a message is unfit whose topic the broker has denied a short while ago."""
Answer = tuple["Outgoing | None", int, str]
"""(the message, None for an announcement; the reason code; the broker's own words or "")."""


class Outgoing(Protocol):
    """What a message must have; journal records do."""

    @property
    def n(self) -> int:
        """What its acknowledgement is called by."""

    @property
    def topic(self) -> str:
        """Without wildcards."""

    @property
    def body(self) -> bytes:
        """The payload."""

    @property
    def qos(self) -> int:
        """0 or 1."""


class Link:
    """One connection, from DNS to its end; a new one needs a new `Link`.

    Attributes:
        ended: why the connection is over; a LinkError as result, once.
        heard: loop time of the latest bytes from the broker.
        sent: loop time of the latest bytes to it.
        window: messages of QoS 1 that may be unacknowledged at once, by the broker's Receive Maximum.
        largest: bytes of the largest packet that the broker takes.
        retains: the broker keeps retained messages.
        best_qos: the highest quality of service that the broker grants.
        keep_alive: seconds within which the broker wants to hear something.
    """

    def __init__(
        self,
        access: Access,
        answered: Callable[[list[Answer]], None],
        writable: Callable[[], None] = lambda: None,
        denied: Mapping[str, float] | None = None,
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            access: how to reach the broker.
            answered: given all acknowledgements that came with one read of the socket. A message of QoS 0 counts
                as acknowledged one loop turn after it was written.
            writable: called when a `publish` that took less than it was given may be repeated.
            denied: loop time by topic until which its messages are not sent but called unfit; may change.
        """
        self._access = access
        self._answered = answered
        self._writable = writable
        self._denied = {} if denied is None else denied
        self._loop = asyncio.get_running_loop()
        self._v5 = access.protocol == 5  # noqa: PLR2004 - MQTT's version number
        self._mid = 0
        self._unacknowledged: dict[int, Outgoing | None] = {}
        self._topics: dict[str, bytes] = {}
        self._client = Client(self, access)
        self._gone = self._loop.create_future()
        self._full = False
        self.ended: asyncio.Future[LinkError] = self._loop.create_future()
        self.heard = self.sent = self._loop.time()
        self.window = MOST
        self.largest = LARGEST
        self.retains = True
        self.best_qos = 1
        self.keep_alive = access.keep_alive

    async def open(self, deadline: float) -> None:
        """Name, TCP, TLS and CONNACK, all within `deadline` seconds.

        Raises:
            LinkError: no connection; `reason` and `advice` tell why and what to do.
        """
        access = self._access
        attempt = asyncio.ensure_future(
            self._client.connect(
                access.host, access.port, ssl=access.tls or False, keepalive=access.keep_alive, version=access.protocol
            )
        )
        # Where the connection ends first, nobody asks what became of the attempt.
        attempt.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait({attempt, self.ended}, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
            if self.ended.done():
                raise self.ended.result()  # noqa: TRY301 - aborted like every other failure
            if not attempt.done():
                raise TimeoutError  # noqa: TRY301 - explained below, as those that the socket raises are
            attempt.result()
        except BaseException as error:
            attempt.cancel()
            self.abort(LinkError("lost", "given up"))
            if isinstance(error, OSError):
                raise explain_failure(error, access.host, access.port, tls=access.tls is not None) from error
            raise
        granted = self._client.granted
        self.window = granted.get("receive_maximum", MOST)
        self.largest = granted.get("maximum_packet_size", LARGEST)
        self.retains = bool(granted.get("retain_available", 1))
        self.best_qos = granted.get("max_qos", 1)
        self.keep_alive = min(granted.get("server_keep_alive") or MOST, access.keep_alive)

    def publish(self, messages: Sequence[Outgoing], unfit: Callable[[int, str], None]) -> int:
        """Hand messages to the socket in one write.

        Args:
            messages: in the order in which they leave.
            unfit: told `n` and reason of each message that can't be sent to this broker; it counts as taken. Called
                after this call has returned.

        Returns:
            How many were taken, from the front; fewer than given when the socket is full or the connection gone.
        """
        packets: list[bytes] = []
        at_once: list[Answer] = []
        refused: list[tuple[int, str]] = []
        taken = 0
        transport = self._client.transport
        room = 0 if transport is None or transport.is_closing() else HIGH_WATER - transport.get_write_buffer_size()
        for message in messages:
            if room <= 0:
                self._full = True
                break
            taken += 1
            try:
                packet = self._encode(message)
            except Unfit as error:
                refused.append((message.n, str(error)))
                continue
            if not message.qos:
                at_once.append((message, 0, ""))
            room -= len(packet)
            packets.append(packet)
        if packets:
            self._write(b"".join(packets))
        if at_once:
            self._loop.call_soon(self._answered, at_once)
        for n, reason in refused:
            self._loop.call_soon(unfit, n, reason)
        return taken

    def announce(self, topic: str, body: bytes) -> None:
        """Publish a retained message outside of the window: of QoS 1, unless the window has one place only."""
        mid = self._next_mid(None) if min(self.window - 1, self.best_qos) else 0
        self._write(encode_publish(pack_topic(topic), body, mid, v5=self._v5, retain=self.retains))

    def watch(self) -> None:
        """Keep the connection alive and end it when it is mute. Call it every quarter of the keep-alive time."""
        now = self._loop.time()
        if now - self.heard > 1.5 * self.keep_alive:
            silence = f"nothing heard for {now - self.heard:.0f} s"
            self.abort(LinkError("timeout", silence, "the network or the broker hangs; connecting anew"))
        elif max(now - self.heard, now - self.sent) >= self.keep_alive / 2:
            self._write(b"\xc0\0")

    @property
    def unacknowledged(self) -> int:
        """Packets of QoS 1, announcements among them, that wait for their PUBACK."""
        return len(self._unacknowledged)

    def abort(self, error: LinkError) -> None:
        """End the connection at once; without DISCONNECT, so that the broker publishes the last will."""
        self.end(error)
        if self._client.transport is not None:
            self._client.transport.abort()

    async def close(self, deadline: float) -> None:
        """DISCONNECT, wait at most `deadline` seconds until all is written, end. Never raises."""
        self.end(LinkError(CLOSED))
        transport = self._client.transport
        if transport is None or transport.is_closing():
            return
        self._write(b"\xe0\0")
        transport.close()
        await asyncio.wait({self._gone}, timeout=deadline)
        transport.abort()

    def end(self, error: LinkError) -> None:
        """The connection is over; only the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(error)

    def lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        if not self._gone.done():
            self._gone.set_result(None)
        if self._client.answered and error is None:
            self.end(LinkError(HUNG_UP, "the broker closed the connection without a word"))
        elif self._client.answered:
            self.end(LinkError("lost", f"the connection broke ({error})"))
        else:
            access = self._access
            self.end(explain_failure(error, access.host, access.port, tls=access.tls is not None))

    def resume(self) -> None:
        """The socket's buffer has drained."""
        if self._full:
            self._full = False
            self._writable()

    def receive(self, kind: int, body: bytes) -> None:
        """Answers to pings come here, and what a broker must not send to who does not subscribe."""

    def acknowledge(self, pubacks: list[Ack]) -> None:
        """PUBACKs have come: packet identifier, code, the broker's words."""
        answers = [
            (self._unacknowledged.pop(mid), code, said) for mid, code, said in pubacks if mid in self._unacknowledged
        ]
        if answers:
            self._answered(answers)

    def now(self) -> float:
        """Loop time."""
        return self._loop.time()

    def _encode(self, message: Outgoing) -> bytes:
        topic, body = self._topics.get(message.topic) or self._pack(message.topic), message.body
        if self._denied and self._denied.get(message.topic, 0.0) > self._loop.time():
            raise Unfit(DENIED)
        # 8: the fixed header and its length, the packet identifier, the length of no properties.
        if len(topic) + len(body) + 8 > self.largest:
            raise Unfit("packet too large")
        return encode_publish(topic, body, self._next_mid(message) if message.qos else 0, v5=self._v5)

    def _pack(self, topic: str) -> bytes:
        if len(self._topics) >= TOPICS:
            self._topics.clear()
        packed = self._topics[topic] = pack_topic(topic)
        return packed

    def _next_mid(self, message: Outgoing | None) -> int:
        mid = self._mid % MOST + 1
        while mid in self._unacknowledged:
            mid = mid % MOST + 1
        self._mid = mid
        self._unacknowledged[mid] = message
        return mid

    def _write(self, data: bytes) -> None:
        transport = self._client.transport
        if transport is not None and not transport.is_closing():
            self.sent = self._loop.time()
            transport.write(data)
