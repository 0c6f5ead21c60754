"""Names and addresses of hosts as options give them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from pipeline.errors import Finding

__all__ = ["check_host", "is_host"]

_NAME = re.compile(r"\w(?:[\w.-]*[\w.])?")
_WITH_PORT = re.compile(r"(?P<host>[\w.-]+):(?P<port>[0-9]{1,5})")
_HINT = "write the host alone; username, password, port and tls have options of their own"


def check_host(text: str, path: tuple[str | int, ...], hint: str = _HINT) -> Iterator[Finding]:
    """Find what is neither a name nor an address. It may hold a password, so the message doesn't show it.

    Args:
        text: the option's value.
        path: the option.
        hint: what to write instead.
    """
    if found := _WITH_PORT.fullmatch(text):
        hint = f"write {path[-1]}: {found['host']}, port: {found['port']}"
        yield Finding(path=path, message="this is an address and a port", hint=hint)
    elif not is_host(text):
        yield Finding(path=path, message="this is not an IP address or host name", hint=hint)


def is_host(text: str) -> bool:
    """Whether it is the name or the address of a host, and nothing else."""
    try:
        if _NAME.fullmatch(text):
            text.encode("idna")  # which refuses what no name server could be asked for: a..b, and parts of 64 letters
        else:
            ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
