"""gmqtt as a codec with a socket, and nothing of its memory. All private names of gmqtt that we touch are here.

gmqtt 0.8.0 builds CONNECT, keeps the socket and reads properties. Its own queue, packet identifiers, reconnects,
keep-alive and handling of PUBACK lose messages, jam, count refusals as success or never time out, so what is here
overrides them. The pin in `pyproject.toml` and `check_version` hold the two together.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gmqtt
from gmqtt.mqtt.connection import MQTTConnection
from gmqtt.mqtt.package import Package
from gmqtt.mqtt.protocol import BaseMQTTProtocol, MQTTProtocol

from pipeline.errors import LinkError, PartFailed
from pipeline.mqtt.codec import LONGEST, find_packet, good_pubacks
from pipeline.mqtt.reasons import explain_disconnect, explain_refusal

if TYPE_CHECKING:
    from pipeline.mqtt.link import Link

__all__ = ["Access", "Ack", "Client", "Session", "check_version"]

GMQTT = "0.8.0"
_CONNACK, _PUBACK, _DISCONNECT = 0x20, 0x40, 0xE0
_MID = 2
_NOT_ZERO = {"receive_maximum": "Receive Maximum", "maximum_packet_size": "Maximum Packet Size"}
_DEAD = b"\0\xff\xff\xff\xff"
"""In place of the rest of what a broker sent wrongly: whatever may follow it is no packet either."""
# It logs each lost connection with a stack trace; the sink tells the same in words.
logging.getLogger("gmqtt").setLevel(logging.CRITICAL + 1)

Ack = tuple[int, int, str]
"""(packet identifier, reason code, the broker's own words or "")."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """What the broker keeps for a client while it is away.

    Attributes:
        expiry: whole seconds; MQTT 3.1.1 leaves them to the broker.
        window: messages of QoS 1 that the broker may send unacknowledged (MQTT 5).
    """

    expiry: int
    window: int


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
        session: None begins anew with each connection.
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
    session: Session | None = None

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


class _Nothing:
    """As much of a storage as a connection asks for: no replay behind our back, no wait for it to drain."""

    is_empty = True

    def clear(self) -> None:
        """Forget."""

    async def wait_empty(self) -> None:
        """At once."""


class _Connection(MQTTConnection):  # type: ignore[misc]
    """gmqtt's connection without its keep-alive, which closes in a way that can hang behind a full buffer."""

    def _keep_connection(self) -> None:
        pass


class _Protocol(MQTTProtocol):  # type: ignore[misc]
    """gmqtt's protocol without its reader task: packets are split as bytes arrive, PUBACKs gathered per arrival."""

    def __init__(self, client: Client, **arguments: Any) -> None:
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
        if self._client.answered and (good := good_pubacks(data)):
            self._rest = b""
            link.acknowledge([(mid, 0, "") for mid in good])
            return
        pubacks: list[Ack] = []
        position = 0
        try:
            if not self._client.answered and data[0] != _CONNACK:
                raise ValueError("a broker's first packet is CONNACK")  # noqa: TRY301 - one way out
            while (found := find_packet(data, position)) is not None:
                kind, body = data[position], data[found[0] : found[1]]
                if kind == _PUBACK:
                    code = body[2] if len(body) > _MID else 0
                    said = self._client.said(body[_MID + 1 :]) if len(body) > _MID + 1 else ""
                    pubacks.append((body[0] << 8 | body[1], code, said))
                else:
                    self._client.receive(kind, body)
                position = found[1]
            self._rest = data[position:]
        except LinkError as error:
            self._rest = _DEAD
            link.abort(error)
        except (IndexError, ValueError) as error:
            self._rest = _DEAD
            link.abort(self._client.explain(data[position : position + 16], error))
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
        self._rest = b""  # gmqtt's parts hold one another, so all this stays for a while
        BaseMQTTProtocol.connection_lost(self, exc)
        if exc is not None:
            # Nobody waits for this future of the stream's; asyncio would complain that its exception was not retrieved.
            self.closed.exception()
        self._client.link.lost(exc)


class Client(gmqtt.Client):  # type: ignore[misc]
    """A gmqtt client for one connection: nothing stored, nothing connected again."""

    def __init__(self, link: Link, access: Access) -> None:
        will = gmqtt.Message(*access.will, qos=1, retain=True) if access.will else None
        session = access.session
        properties: dict[str, int] = {}
        if session is not None:
            # What is too long for us a broker of MQTT 5 leaves out then, instead of sending it again and again.
            properties = {
                "session_expiry_interval": session.expiry,
                "receive_maximum": session.window,
                "maximum_packet_size": LONGEST,
            }
        super().__init__(
            access.client_id,
            clean_session=session is None or not session.expiry,
            will_message=will,
            persistent_storage=_Nothing(),
            **properties,
        )
        if access.username:
            self.set_auth_credentials(access.username, access.password or None)
        self.link = link
        self.transport: asyncio.Transport | None = None
        self.answered = False
        self.resumed = False
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
        """A packet that is no PUBACK: those of the connection are dealt with here."""
        if kind == _DISCONNECT:
            code = body[0] if body else 0
            self.link.abort(explain_disconnect(code, self.said(body[1:])))
        elif kind == _CONNACK and self._connection is None:
            raise ValueError("a broker has nothing to say before CONNECT")
        elif kind == _CONNACK and body[1]:
            self.link.end(explain_refusal(body[1], self.said(body[2:])))
        elif kind == _CONNACK:
            self.granted = self._read_grants(body)
            self.answered = True
            self.resumed = bool(body[0] & 1)
            self._connection.put_package(Package(kind, body))
        else:
            self.link.receive(kind, body)

    def said(self, properties: bytes) -> str:
        """The broker's own words, where it gives any."""
        try:
            return str((self._properties(properties) or {}).get("reason_string", [""])[0])
        except UnicodeDecodeError as error:
            # Words are for people: what is wrong with their letters ends nothing.
            return bytes(error.object).decode("utf-8", "replace")

    def explain(self, data: bytes, error: Exception) -> LinkError:
        """What it means that a broker has sent this, which is no packet."""
        advice = "look into the broker's log" if self.answered else "is `port` right?"
        return LinkError("protocol", f"{data!r} is not MQTT", f"{advice} ({error})")

    def _read_grants(self, body: bytes) -> dict[str, Any]:
        """The properties of a good CONNACK.

        Raises:
            LinkError: one that MQTT does not know, or a limit of nothing.
            ValueError: they end too early.
        """
        found = self._properties(body[2:])
        advice = "the broker, or what stands before it, breaks MQTT 5: renew it, or set protocol: 3.1.1"
        if found is None:
            shown = body[:32].hex(" ")
            raise LinkError("protocol", f"the CONNACK has a property that MQTT does not know ({shown})", advice)
        granted = {name: values[0] for name, values in found.items()}
        for name, words in _NOT_ZERO.items():
            if not granted.get(name, 1):
                raise LinkError("protocol", f"the broker grants a {words} of 0, which MQTT forbids", advice)
        return granted

    def _properties(self, data: bytes) -> dict[str, list[Any]] | None:
        """Properties by name, None where one is unknown."""
        if not data:
            return {}
        found: dict[str, list[Any]] | None
        try:
            found, _ = self._package_handler._parse_properties(data)  # noqa: SLF001 - see the module's docstring
        except struct.error as error:
            raise ValueError(f"properties end inside of one: {error}") from error
        return found
