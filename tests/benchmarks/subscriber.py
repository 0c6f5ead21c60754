"""A subscriber that is neither ours nor a peer's: some fifty lines of MQTT 3.1.1 on a plain socket, in its own thread.

It only counts what comes, or keeps it with the moment of its arrival. QoS 0: the broker does no more than it must.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self

from tests.parts.mosquitto import PASSWORDS

__all__ = ["Subscriber"]

_PUBLISH, _SUBACK = 0x30, 0x90


def _text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()


class Subscriber:
    """Subscribes to all frames of a broker on this machine.

    Attributes:
        count: messages so far.
        bytes: bytes of their payloads.
        kept: (monotonic seconds, payload) of each, where asked for.
    """

    def __init__(self, port: int, topic: str = "plc/acme/+", *, keep: bool = False) -> None:
        """Connect and subscribe; returns when the broker has confirmed it."""
        self.count = self.bytes = 0
        self.kept: list[tuple[float, bytes]] = []
        self._keep = keep
        self._ready = threading.Event()
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        connect = _text("MQTT") + b"\x04\xc2\0\0" + _text("referee") + _text("monitor") + _text(PASSWORDS["monitor"])
        subscribe = b"\0\1" + _text(topic) + b"\0"
        self._socket.sendall(b"\x10%c%b\x82%c%b" % (len(connect), connect, len(subscribe), subscribe))
        self._thread = threading.Thread(target=self._read, name="subscriber", daemon=True)
        self._thread.start()
        if not self._ready.wait(30):
            raise TimeoutError("the broker did not confirm the subscription")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _read(self) -> None:
        rest = b""
        while data := self._receive():
            now = time.monotonic()
            data = rest + data if rest else data
            position, end = 0, len(data)
            while (body := _body(data, position)) and (stop := body[0] + body[1]) <= end:
                if data[position] & 0xF0 == _PUBLISH:
                    start = body[0] + 2 + int.from_bytes(data[body[0] : body[0] + 2], "big")
                    self.count += 1
                    self.bytes += stop - start
                    if self._keep:
                        self.kept.append((now, data[start:stop]))
                elif data[position] == _SUBACK:
                    self._ready.set()
                position = stop
            rest = data[position:]

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(1 << 20)
        except OSError:
            return b""


def _body(data: bytes, position: int) -> tuple[int, int] | None:
    """Where a packet's body begins, and its length; None when more bytes are needed."""
    length = shift = 0
    for index in range(position + 1, min(position + 5, len(data))):
        byte = data[index]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return index + 1, length
        shift += 7
    return None
