"""The options that every client of an MQTT broker has: where it is, who we are, how the connection is kept."""

from __future__ import annotations

import hashlib
import platform
import re
import uuid
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from pipeline.errors import Finding, LinkError, Severity
from pipeline.hosts import check_host
from pipeline.identifiers import CLIENT_ID
from pipeline.mqtt.client import Access
from pipeline.operator import Options, Scope
from pipeline.retry import Retry
from pipeline.tls import TlsOptions, is_loopback, make_context
from pipeline.units import Duration, Secret

__all__ = ["BrokerOptions", "Version", "make_client_id"]


class Version(StrEnum):
    """Versions of MQTT. 3.1.1 acknowledges what its access list denied."""

    V5 = "5"
    V311 = "3.1.1"


class BrokerOptions(Options):
    """How to reach a broker."""

    host: Annotated[str, Meta(description="name or address of the broker; TLS checks it", min_length=1)]
    port: Annotated[int, Meta(description="TCP port", ge=1, le=65535)] = 8883
    username: Annotated[str, Meta(description="empty for none")] = ""
    password: Annotated[Secret, Meta(description="empty for none; read anew for each connection")] = Secret()
    client_id: Annotated[
        str, Meta(description="unique at the broker; empty: made of graph, node and machine", **CLIENT_ID)
    ] = ""
    protocol: Annotated[Version, Meta(description="version of MQTT")] = Version.V5
    keep_alive: Annotated[Duration, Meta(description="a mute broker is left after one and a half times this", ge=1)] = (
        Duration(15)
    )
    connect_timeout: Annotated[Duration, Meta(description="for name, TCP, TLS and login together", gt=0)] = Duration(10)
    tls: Annotated[TlsOptions, Meta(description="encryption")] = TlsOptions()
    retry: Annotated[
        Retry, Meta(description="pauses between attempts to connect, and to send what was refused for a while")
    ] = Retry()

    def check(self, scope: Scope) -> Iterable[Finding]:
        """A host that is none, half a login, a connection in clear."""
        del scope
        return self._check_broker()

    def _check_broker(self) -> Iterator[Finding]:
        yield from check_host(self.host, ("host",))
        if self.password and not self.username:
            yield Finding(
                path=("password",),
                message="needs a username beside it",
                hint="write `username:`, or remove the password",
            )
        if self.keep_alive > 65535:  # noqa: PLR2004 - MQTT's two bytes
            yield Finding(
                path=("keep_alive",), message=f"must be <= 65535s, got {self.keep_alive}", hint="15s is usual"
            )
        if not self.tls.enabled and not is_loopback(self.host):
            message = "frames and password travel in clear"
            yield Finding(path=("tls",), message=message, severity=Severity.WARNING)

    @property
    def server(self) -> str:
        """`mqtts://host:port`."""
        return f"{'mqtts' if self.tls.enabled else 'mqtt'}://{self.host}:{self.port}"

    @property
    def place(self) -> str:
        """Which broker this is, however it is reached: names of this machine are one."""
        return f"{'localhost' if is_loopback(self.host) else self.host.lower()}:{self.port}"

    def access(self, client_id: str) -> Access:
        """How to connect; files are read anew each time, so that rotated ones count. Call it off the loop.

        Raises:
            LinkError: a file can't be read or used.
        """
        try:
            password = self.password.reveal()
        except OSError as error:
            raise LinkError("login", f"password file '{error.filename}' can't be read ({error.strerror})") from error
        return Access(
            host=self.host,
            port=self.port,
            client_id=client_id,
            username=self.username,
            password=password,
            protocol=5 if self.protocol is Version.V5 else 4,
            keep_alive=round(self.keep_alive),
            tls=make_context(self.tls),
        )


def make_client_id(graph: str, node: str, place: str) -> str:
    """A client id that is stable on this machine, and another one on a copy of its disk in another machine.

    Args:
        graph: the graph's name.
        node: the node's name.
        place: a path that tells two checkouts of one graph apart.
    """
    mac = uuid.getnode()
    # Without a network card Python makes the number up, marks it so, and makes up another one next time.
    card = 0 if mac >> 40 & 1 else mac
    machine = f"{platform.node()}|{card}|{Path(place).absolute()}"
    digest = hashlib.sha256(machine.encode()).hexdigest()[:10]
    return re.sub(r"[^A-Za-z0-9_-]", "-", f"{graph}-{node}")[:40] + f"-{digest}"
