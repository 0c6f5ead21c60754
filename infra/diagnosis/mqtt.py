"""A client of MQTT 5 for a few messages, with nothing but the standard library. One connection, no session.

MQTT 5 and not 3.1.1, which acknowledges what its access list denies.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import struct
from types import TracebackType

__all__ = ["NOBODY", "NOT_AUTHORISED", "Client", "MqttError"]

NOBODY, NOT_AUTHORISED = 0x10, 0x87
_CONNECT, _CONNACK, _PUBLISH, _PUBACK, _SUBSCRIBE, _SUBACK = 0x10, 0x20, 0x30, 0x40, 0x82, 0x90
_REASONS = {
    0x84: "it does not speak MQTT 5",
    0x86: "user name or password is wrong",
    0x87: "not authorised: user name or password is wrong, or the user is gone",
    0x89: "it is busy",
}
_REFUSED = 0x80


class MqttError(Exception):
    """The broker said no, or nothing; the message says what."""


class Client:
    """A connection, open from the start to the end of a `with`."""

    def __init__(self, address: tuple[str, int], user: str, password: str, context: ssl.SSLContext | None) -> None:
        """Describe it; nothing is opened yet."""
        self._address, self._user, self._password, self._context = address, user, password, context
        self._socket: socket.socket | ssl.SSLSocket
        self._number = 0
        self._messages: list[tuple[str, bytes]] = []

    def __enter__(self) -> Client:  # noqa: PYI034 - typing has Self from Python 3.11 on
        """Connect and log in.

        Raises:
            MqttError: the broker refuses.
            OSError: it can't be reached, or its certificate is not trusted.
        """
        raw = socket.create_connection(self._address, 10)
        try:
            wrapped = self._context.wrap_socket(raw, server_hostname=self._address[0]) if self._context else raw
        except BaseException:
            raw.close()
            raise
        self._socket = wrapped
        try:
            self._log_in()
        except BaseException:
            wrapped.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def publish(self, topic: str, body: bytes) -> int:
        """Publish with QoS 1; the reason code of the acknowledgement: 0, 0x10 (nobody stores it), from 0x80 refused.

        Raises:
            MqttError: the broker closed the connection.
            OSError: no answer.
        """
        self._number += 1
        self._send(_PUBLISH | 2, _text(topic) + struct.pack(">H", self._number) + b"\0" + body)
        answer = self._wait(_PUBACK)
        return answer[2] if len(answer) > 2 else 0  # noqa: PLR2004 - no reason means success

    def subscribe(self, topic: str) -> int:
        """Subscribe with QoS 1; the reason code.

        Raises:
            MqttError: the broker closed the connection.
            OSError: no answer.
        """
        self._number += 1
        self._send(_SUBSCRIBE, struct.pack(">H", self._number) + b"\0" + _text(topic) + b"\1")
        return self._wait(_SUBACK)[-1]

    def receive(self, patience: float) -> tuple[str, bytes]:
        """The next message.

        Raises:
            OSError: none came in time.
        """
        self._socket.settimeout(patience)
        while not self._messages:
            self._take(*self._read())
        return self._messages.pop(0)

    def _log_in(self) -> None:
        name = f"doctor-{secrets.token_hex(4)}"
        login = _text(self._user) + _text(self._password)
        self._send(_CONNECT, _text("MQTT") + b"\5\xc2" + struct.pack(">H", 60) + b"\0" + _text(name) + login)
        code = self._wait(_CONNACK)[1]
        if code:
            raise MqttError(_REASONS.get(code, f"it refuses with reason 0x{code:02x}"))

    def _send(self, kind: int, body: bytes) -> None:
        length, size = bytearray(), len(body)
        while True:
            length.append(size & 0x7F | (0x80 if size > 0x7F else 0))  # noqa: PLR2004 - seven bits a byte
            size >>= 7
            if not size:
                break
        self._socket.sendall(bytes([kind]) + length + body)

    def _wait(self, kind: int) -> bytes:
        while True:
            found, body = self._read()
            if found & 0xF0 == kind & 0xF0:
                return body
            self._take(found, body)

    def _take(self, kind: int, body: bytes) -> None:
        if kind & 0xF0 == _PUBLISH:
            size = int.from_bytes(body[:2], "big")
            at = 2 + size
            if kind & 6:
                self._send(_PUBACK, body[at : at + 2])
                at += 2
            at += 1 + body[at]  # properties, fewer than 128 bytes of them
            self._messages.append((body[2 : 2 + size].decode(), body[at:]))
        elif kind & 0xF0 == 0xE0:  # noqa: PLR2004 - DISCONNECT
            raise MqttError(_REASONS.get(body[0] if body else 0, "the broker closed the connection"))

    def _read(self) -> tuple[int, bytes]:
        kind = self._exactly(1)[0]
        size = shift = 0
        while True:
            byte = self._exactly(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004 - the last byte of a length
                return kind, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise MqttError("the broker closed the connection without a word")
            data += piece
        return data


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data
