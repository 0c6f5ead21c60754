"""One connection to an MQTT broker: gmqtt as a codec with a socket, and nothing of its memory.

gmqtt 0.8.0 builds CONNECT, keeps the socket and reads properties. Its own queue, packet identifiers, reconnects,
keep-alive and handling of PUBACK lose messages, jam, count refusals as success or never time out, so this module puts
its own in their place. All private names of gmqtt that the project touches are here; the pin in `pyproject.toml` and
`check_version` hold them together.

Delivery: a `Link` promises nothing. It tells which message got which PUBACK, and once why it ended; the in-flight
table is its caller's. Order: messages leave in the order given, each call in one write.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gmqtt
from gmqtt.mqtt.connection import MQTTConnection
from gmqtt.mqtt.package import Package
from gmqtt.mqtt.protocol import BaseMQTTProtocol, MQTTProtocol

from pipeline.errors import LinkError, PartFailed
from pipeline.mqtt_reasons import explain_disconnect, explain_failure, explain_refusal

__all__ = [
    "ANNOUNCEMENT",
    "Access",
    "Ack",
    "Link",
    "Outgoing",
    "Unfit",
    "check_version",
    "encode_publish",
    "pack_topic",
]

GMQTT = "0.8.0"
HIGH_WATER = 256 * 1024
"""Bytes in the socket's write buffer above which no more messages are taken."""
LARGEST = 0xFFFFFFF
"""What a packet can carry after its length."""
MOST = 0xFFFF
"""Packet identifiers, bytes of a topic name, seconds of keep-alive."""
TOPICS = 10_000
"""Packed topics kept; more than that are packed anew."""
_CONNACK, _PUBACK, _DISCONNECT = 0x20, 0x40, 0xE0
_QUIET = logging.getLogger("gmqtt")
# It logs each lost connection with a stack trace; the sink tells the same in words.
_QUIET.setLevel(logging.CRITICAL + 1)

ANNOUNCEMENT = -1
"""What stands for `n` in the acknowledgement of an announcement."""
Ack = tuple[int, int, str]
"""(the message's `n`, the reason code, the broker's own words or "")."""


class Unfit(ValueError):
    """A message that this broker or MQTT itself would punish with a closed connection."""


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


@dataclass(frozen=True, kw_only=True)
class Access:
    """How to reach a broker and who we are.

    Attributes:
        host: name or address; TLS checks it.
        port: TCP port.
        client_id: ASCII; a second client with the same one throws this one out.
        username: "" for none.
        password: "" for none; never shown.
        protocol: 5, or 4 for MQTT 3.1.1.
        keep_alive: whole seconds, 1 to 65535.
        tls: None for plain TCP.
        will: (topic, payload) that the broker publishes, retained, when we vanish; None for none.
    """

    host: str
    port: int
    client_id: str
    username: str = ""
    password: str = ""
    protocol: int = 5
    keep_alive: int = 15
    tls: ssl.SSLContext | None = None
    will: tuple[str, bytes] | None = None

    def __repr__(self) -> str:
        """Without the password."""
        return f"Access({self.client_id}@{self.host}:{self.port})"


def check_version() -> None:
    """Refuse another gmqtt than the one whose private names are used here.

    Raises:
        PartFailed: the installed version is not the pinned one.
    """
    if gmqtt.__version__ != GMQTT:
        raise PartFailed(f"gmqtt {gmqtt.__version__} is installed, {GMQTT} is needed; run: pip install gmqtt=={GMQTT}")


def pack_topic(topic: str) -> bytes:
    """Length and UTF-8 of a topic name, as PUBLISH carries it.

    Raises:
        Unfit: empty, longer than 65535 bytes, or with `+`, `#` or NUL, for which brokers close the connection.
    """
    packed = topic.encode()
    if not packed or len(packed) > MOST or any(character in topic for character in "+#\0"):
        raise Unfit("topic refused")
    return len(packed).to_bytes(2, "big") + packed


def encode_publish(packed_topic: bytes, body: bytes, mid: int, *, v5: bool, retain: bool = False) -> bytes:
    """A PUBLISH packet (section 3.3 of the standard), without properties.

    Args:
        packed_topic: see `pack_topic`.
        body: the payload.
        mid: the packet identifier, 1 to 65535, for QoS 1; 0 makes it QoS 0.
        v5: MQTT 5; otherwise 3.1.1.
        retain: the broker keeps it for later subscribers.

    Raises:
        Unfit: longer than the 256 MiB that MQTT can carry.
    """
    middle = (mid.to_bytes(2, "big") if mid else b"") + (b"\0" if v5 else b"")
    size = len(packed_topic) + len(middle) + len(body)
    if size > LARGEST:
        raise Unfit("packet too large")
    length = b"%c" % (size & 0x7F | 0x80 * (size > 0x7F))  # noqa: PLR2004 - seven bits a byte
    while size := size >> 7:
        length += b"%c" % (size & 0x7F | 0x80 * (size > 0x7F))  # noqa: PLR2004 - seven bits a byte
    return b"%c%b%b%b%b" % ((0x32 if mid else 0x30) | retain, length, packed_topic, middle, body)


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
        self, access: Access, acknowledged: Callable[[list[Ack]], None], writable: Callable[[], None] = lambda: None
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            access: how to reach the broker.
            acknowledged: given all acknowledgements that came with one read of the socket. A message of QoS 0 counts
                as acknowledged one loop turn after it was written.
            writable: called when a `publish` that took less than it was given may be repeated.
        """
        self._access = access
        self._acknowledged = acknowledged
        self._writable = writable
        self._loop = asyncio.get_running_loop()
        self._v5 = access.protocol == 5  # noqa: PLR2004 - MQTT's version number
        self._mid = 0
        self._unacknowledged: dict[int, int] = {}
        self._topics: dict[str, bytes] = {}
        self._client = _Client(self, access)
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
        at_once: list[Ack] = []
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
                at_once.append((message.n, 0, ""))
            room -= len(packet)
            packets.append(packet)
        if packets:
            self._write(b"".join(packets))
        if at_once:
            self._loop.call_soon(self._acknowledged, at_once)
        for n, reason in refused:
            self._loop.call_soon(unfit, n, reason)
        return taken

    def announce(self, topic: str, body: bytes) -> None:
        """Publish a retained message outside of the window: of QoS 1, unless the window has one place only."""
        mid = self._next_mid(ANNOUNCEMENT) if min(self.window - 1, self.best_qos) else 0
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
        self.end(LinkError("closed"))
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
        if self._client.answered:
            detail = f"the connection broke ({error})" if error else "the broker closed the connection"
            self.end(LinkError("lost", detail))
        else:
            access = self._access
            self.end(explain_failure(error, access.host, access.port, tls=access.tls is not None))

    def resume(self) -> None:
        """The socket's buffer has drained."""
        if self._full:
            self._full = False
            self._writable()

    def acknowledge(self, pubacks: list[Ack]) -> None:
        """PUBACKs have come: packet identifier, code, the broker's words."""
        acks = [
            (self._unacknowledged.pop(mid), code, said) for mid, code, said in pubacks if mid in self._unacknowledged
        ]
        if acks:
            self._acknowledged(acks)

    def now(self) -> float:
        """Loop time."""
        return self._loop.time()

    def _encode(self, message: Outgoing) -> bytes:
        topic = self._topics.get(message.topic)
        if topic is None:
            if len(self._topics) >= TOPICS:
                self._topics.clear()
            topic = self._topics[message.topic] = pack_topic(message.topic)
        # 8: the fixed header and its length, the packet identifier, the length of no properties.
        if len(topic) + len(message.body) + 8 > self.largest:
            raise Unfit("packet too large")
        return encode_publish(topic, message.body, self._next_mid(message.n) if message.qos else 0, v5=self._v5)

    def _next_mid(self, n: int) -> int:
        mid = self._mid % MOST + 1
        while mid in self._unacknowledged:
            mid = mid % MOST + 1
        self._mid = mid
        self._unacknowledged[mid] = n
        return mid

    def _write(self, data: bytes) -> None:
        transport = self._client.transport
        if transport is not None and not transport.is_closing():
            self.sent = self._loop.time()
            transport.write(data)


class _Nothing:
    """A storage that keeps nothing: no replay behind our back, no wait for it to drain."""

    is_empty = True

    def push_message(self, mid: int, raw: bytes) -> None:
        """Forget."""

    def remove_message_by_mid(self, mid: int) -> None:
        """Forget."""

    def clear(self) -> None:
        """Forget."""

    def get_all(self) -> list[tuple[int, bytes]]:
        """Nothing."""
        return []

    async def wait_empty(self) -> None:
        """At once."""


class _Connection(MQTTConnection):  # type: ignore[misc]
    """gmqtt's connection without its keep-alive, which closes in a way that can hang behind a full buffer."""

    def _keep_connection(self) -> None:
        pass


class _Protocol(MQTTProtocol):  # type: ignore[misc]
    """gmqtt's protocol without its reader task: packets are split as bytes arrive, PUBACKs gathered per arrival."""

    def __init__(self, client: _Client, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._client = client
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Skip the reader task."""
        BaseMQTTProtocol.connection_made(self, transport)

    def data_received(self, data: bytes) -> None:
        """Split into packets; handle PUBACK and DISCONNECT, leave CONNACK to gmqtt, pass over the rest."""
        link = self._client.link
        link.heard = link.now()
        data = self._rest + data if self._rest else data
        pubacks: list[Ack] = []
        position, end = 0, len(data)
        try:
            while end - position >= 2:  # noqa: PLR2004 - the shortest packet
                start, size = position + 2, data[position + 1]
                if size & 0x80:
                    start, size = _long_size(data, position + 1)
                if start + size > end:
                    break
                kind, position, body = data[position], start + size, data[start : start + size]
                if kind == _PUBACK:
                    said = self._client.said(body[3:]) if len(body) > 3 else ""  # noqa: PLR2004 - mid and code
                    pubacks.append((body[0] << 8 | body[1], body[2] if len(body) > 2 else 0, said))  # noqa: PLR2004
                else:
                    self._client.receive(kind, body)
        except (IndexError, ValueError) as error:
            detail = f"{data[position : position + 16]!r} is not MQTT"
            link.abort(LinkError("protocol", detail, f"is `port` right? ({error})"))
        self._rest = data[position:]
        if pubacks:
            link.acknowledge(pubacks)

    def eof_received(self) -> None:
        """Close at once: a broker that sends no more takes no more."""

    def resume_writing(self) -> None:
        """The socket's buffer has drained."""
        super().resume_writing()
        self._client.link.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the link, and nothing to gmqtt: it would connect again."""
        BaseMQTTProtocol.connection_lost(self, exc)
        self._client.link.lost(exc)


class _Client(gmqtt.Client):  # type: ignore[misc]
    """A gmqtt client for one connection: nothing stored, nothing connected again."""

    def __init__(self, link: Link, access: Access) -> None:
        will = gmqtt.Message(*access.will, qos=1, retain=True) if access.will else None
        super().__init__(access.client_id, clean_session=True, will_message=will, persistent_storage=_Nothing())
        if access.username:
            self.set_auth_credentials(access.username, access.password or None)
        self.link = link
        self.transport: asyncio.Transport | None = None
        self.answered = False
        self.granted: dict[str, int] = {}

    async def reconnect(self, delay: bool = False) -> None:
        """Never by itself."""

    async def _create_connection(
        self, host: str, port: int, ssl: ssl.SSLContext | bool, clean_session: bool, keepalive: int
    ) -> _Connection:
        def make() -> _Protocol:
            generator = self._package_handler.id_generator
            return _Protocol(self, connection_state=self._connection_state, id_generator=generator)

        loop = asyncio.get_running_loop()
        self.transport, protocol = await loop.create_connection(make, host, port, ssl=ssl or None)
        return _Connection(self.transport, protocol, clean_session, keepalive, package_handler=self._package_handler)

    def receive(self, kind: int, body: bytes) -> None:
        """A packet that is no PUBACK.

        Raises:
            ValueError: not what a broker sends at this moment.
        """
        if kind == _DISCONNECT:
            code = body[0] if body else 0
            self.link.abort(explain_disconnect(code, self.said(body[1:])))
        elif self.answered:
            return
        elif kind != _CONNACK:
            raise ValueError("no CONNACK")
        elif body[1]:
            self.link.end(explain_refusal(body[1], self.said(body[2:])))
        else:
            self.granted = {name: values[0] for name, values in self._properties(body[2:]).items()}
            self.answered = True
            self._connection.put_package(Package(kind, body))

    def said(self, properties: bytes) -> str:
        """The broker's own words, where it gives any."""
        return str(self._properties(properties).get("reason_string", [""])[0])

    def _properties(self, data: bytes) -> dict[str, list[Any]]:
        if not data:
            return {}
        found, _ = self._package_handler._parse_properties(data)  # noqa: SLF001 - see the module's docstring
        return found or {}


def _long_size(data: bytes, position: int) -> tuple[int, int]:
    """Where the packet's body starts and its size, from a length of two to four bytes; a huge start if incomplete."""
    size = 0
    for index, byte in enumerate(data[position : position + 4]):
        size |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return position + index + 1, size
    if len(data) >= position + 4:
        raise ValueError("packet length")
    return len(data) + 1, 0
