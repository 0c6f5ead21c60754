"""`http:` where the page, the metrics and the API listen, and who may see them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.errors import Finding
from pipeline.hosts import is_host
from pipeline.operator import Options, Scope
from pipeline.tls import is_loopback
from pipeline.units import Secret

__all__ = ["Http"]

_LISTEN = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>.+)):(?P<port>[0-9]{1,5})")


class Http(Options):
    """The HTTP interface of a running graph."""

    listen: Annotated[
        str, Meta(description="host:port; port 0 takes a free one.", extra_json_schema={"type": "string"})
    ] = "127.0.0.1:9108"
    token: Annotated[
        Secret,
        Meta(description="Opens everything: as a bearer token, or in a browser as the password of user token."),
    ] = msgspec.field(default_factory=Secret)
    users: Annotated[dict[str, Secret], Meta(description="Passwords by user name, for browsers.")] = msgspec.field(
        default_factory=dict
    )
    insecure: Annotated[
        bool, Meta(description="true: listen without token and users where other machines can connect.")
    ] = False
    last_values: Annotated[
        tuple[str, ...], Meta(description="Which values become the metric plc_last_value; * stands for any text.")
    ] = ("*",)

    @property
    def host(self) -> str:
        """The address or name to listen on."""
        return self._parts()[0]

    @property
    def port(self) -> int:
        """The TCP port, 0 for a free one."""
        return self._parts()[1]

    def _parts(self) -> tuple[str, int]:
        match = _LISTEN.fullmatch(self.listen.strip())
        host = match["v6"] or match["host"] if match else ""
        if match is None or not is_host(host) or int(match["port"]) > 65535:  # noqa: PLR2004 - the largest TCP port
            raise ValueError(f"'{self.listen}' is no address to listen on")
        return host, int(match["port"])

    def check(self, scope: Scope) -> Iterable[Finding]:  # noqa: ARG002 - the contract's argument
        """An address that can be understood, and nobody let in from outside without being asked who he is."""
        try:
            host = self.host
        except ValueError as error:
            yield Finding(path=("listen",), message=str(error), hint="write host:port, such as 127.0.0.1:9108")
            return
        if not (is_loopback(host) or self.token or any(self.users.values()) or self.insecure):
            yield Finding(
                path=("listen",),
                message=f"other machines can connect to {host}, and nobody would have to log in",
                hint="set token or users, listen on 127.0.0.1, or allow it by insecure: true",
            )
        for name, password in self.users.items():
            if not password:
                yield Finding(path=("users", name), message="an empty password", hint="set one, or remove the user")
