"""What a node of the graph speaks with in a test: a device or receiver that is played, on the loop's simulated network.

An operator names its stages by `@my_operator.stages`. Nodes of one address share one stage.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

from pipeline.errors import Finding
from pipeline.testing.options import Fault, Given

__all__ = ["Connection", "Message", "ReceiverStage", "Stage", "Write"]


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a receiver got.

    Attributes:
        at: loop time, seconds.
        topic: of MQTT, or the path of a request with its query.
        body: the payload as it came, unpacked.
        retain: the sender wants it kept.
    """

    at: float
    topic: str
    body: bytes
    retain: bool = False


@dataclass(frozen=True, kw_only=True)
class Write:
    """What was written into a PLC.

    Attributes:
        at: loop time, seconds.
        db: the block, 0 outside of blocks.
        start: first byte.
        data: the bytes.
    """

    at: float
    db: int
    start: int
    data: bytes


class Stage(ABC):
    """One address.

    Attributes:
        host: as the node connects to it.
        port: TCP port.
        part: the part of the node that connects to it; "" for the node itself.
        takes: which of `values`, `bytes`, `cpu` and `topic` can be given to it.
        faults: what it can do wrong.
        messages: what it got.
        writes: what was written into it.
    """

    takes: frozenset[str] = frozenset()
    faults: frozenset[Fault] = frozenset()

    def __init__(self, host: str, port: int, part: str = "") -> None:
        self.host = host
        self.port = port
        self.part = part
        self.messages: list[Message] = []
        self.writes: list[Write] = []

    @abstractmethod
    def join(self, other: Stage) -> None:
        """Another node connects to the same address: have what that one needs, too."""

    @abstractmethod
    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen."""

    def check(self, given: Given) -> Iterable[Finding]:
        """What of an entry does not fit."""
        del given
        return ()

    def give(self, given: Given) -> None:
        """Values, bytes, a mode or a message come to be; only called with what it `takes`."""
        raise NotImplementedError

    @abstractmethod
    async def fail(self, given: Given, *, on: bool) -> None:
        """A fault begins, or is over."""


class ReceiverStage(Stage):
    """Somebody to whom any number of clients connect, and who answers each by a code.

    Attributes:
        good: the code when all is well.
        codes: those of its faults.
        mute: it answers nothing.
        code: what it answers now.
        connections: in the order in which they came, so that a test is the same each time.
    """

    good = 0
    codes: ClassVar[Mapping[Fault, int]] = {}

    def __init__(self, host: str, port: int, part: str = "") -> None:
        super().__init__(host, port, part)
        self.mute = False
        self.code = self.good
        self.connections: dict[Connection, None] = {}
        self._server: asyncio.Server | None = None

    @abstractmethod
    def connection(self) -> Connection:
        """What answers a client that has come."""

    def join(self, other: Stage) -> None:
        """One receiver has any number of clients."""

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen."""
        self._server = await loop.create_server(self.connection, self.host, self.port)

    async def fail(self, given: Given, *, on: bool) -> None:
        """Go away, fall silent, refuse; or be well again."""
        if given.fault is Fault.TIMEOUT:
            self.mute = on
        elif given.fault is not Fault.AWAY:
            self.code = self.codes[cast(Fault, given.fault)] if on else self.good
        elif not on:
            await self.open(asyncio.get_running_loop())
        elif self._server is not None:
            self._server.close()
            for connection in tuple(self.connections):
                connection.transport.abort()


class Connection(asyncio.Protocol):
    """A client's connection to a receiver."""

    transport: asyncio.Transport

    def __init__(self, receiver: ReceiverStage) -> None:
        self._connections = receiver.connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self.transport = cast("asyncio.Transport", transport)
        self._connections[self] = None

    def connection_lost(self, _: Exception | None) -> None:
        """It has gone."""
        self._connections.pop(self, None)
