"""What `doctor` finds: the words for it, what an operator's `diagnose` is given, and the way to any server.

A finding says what was seen and, where it is not good, what to do. It never holds a secret.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from pipeline.clock import Clock
from pipeline.errors import LinkError, ReadError
from pipeline.frame import Origin
from pipeline.operator import Scope
from pipeline.tls import TlsOptions, make_context

__all__ = ["Diagnosis", "Mark", "Situation", "certificate", "reach"]

_SOON = 30
"""Days before its end in which a certificate is a warning."""
_DAY = 86400
Explain = Callable[[BaseException | None, str, int], LinkError]


class Mark(StrEnum):
    """How a finding is to be taken; `problem` makes the exit code 1."""

    GOOD = "good"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finding.

    Attributes:
        what: what was tried: "name", "TLS", "login".
        mark: how it is to be taken.
        found: what was seen.
        advice: what to do; may be empty.
        seconds: how long it took, where that says something.
        part: which PLC, topic or file of the node; may be empty.
    """

    what: str
    mark: Mark
    found: str
    advice: str = ""
    seconds: float | None = None
    part: str = ""

    @classmethod
    def of(cls, what: str, error: LinkError | ReadError, part: str = "") -> Diagnosis:
        """A connection's failure as a finding."""
        found = f"{error.reason}: {error.detail}" if error.detail else error.reason
        return cls(what=what, mark=Mark.PROBLEM, found=found, advice=error.advice, part=part)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What an operator's `diagnose` is given beside its options.

    Attributes:
        scope: graph, node, layouts, folder.
        clock: the one clock.
        incoming: origins of the frames that reach a sink, as far as they are known.
        canary: whether it may send a frame of its own.
    """

    scope: Scope
    clock: Clock
    incoming: Sequence[Origin] = ()
    canary: bool = True


async def reach(
    host: str, port: int, tls: TlsOptions | None, patience: float, explain: Explain
) -> AsyncIterator[Diagnosis]:
    """Name, TCP, TLS: one finding each, up to the first that fails.

    Args:
        host: name or address.
        port: TCP port.
        tls: None or not enabled: in clear.
        patience: seconds for each step.
        explain: what a failure means.
    """
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    try:
        async with asyncio.timeout(patience):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield Diagnosis.of("name", explain(error, host, port))
        return
    addresses = ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found))
    yield Diagnosis(what="name", mark=Mark.GOOD, found=f"{host} is {addresses}", seconds=time.perf_counter() - start)
    start = time.perf_counter()
    try:
        async with asyncio.timeout(patience):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        yield Diagnosis.of("TCP", explain(error, host, port))
        return
    writer.close()
    yield Diagnosis(what="TCP", mark=Mark.GOOD, found=f"port {port} is open", seconds=time.perf_counter() - start)
    if tls is not None and tls.enabled:
        yield await _handshake(host, port, tls, patience, explain)


async def _handshake(host: str, port: int, tls: TlsOptions, patience: float, explain: Explain) -> Diagnosis:
    start = time.perf_counter()
    try:
        context = await asyncio.to_thread(make_context, tls)
        async with asyncio.timeout(patience):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except LinkError as error:
        return Diagnosis.of("TLS", error)
    except OSError as error:
        return Diagnosis.of("TLS", explain(error, host, port))
    secured: ssl.SSLObject = writer.get_extra_info("ssl_object")
    found = certificate(secured.getpeercert() or {}, secured.version() or "", time.time())
    writer.transport.abort()
    return msgspec.structs.replace(found, seconds=time.perf_counter() - start)


def certificate(peer: Mapping[str, object], version: str, now: float) -> Diagnosis:
    """What a server's certificate, which was accepted, says of itself.

    Args:
        peer: as `SSLSocket.getpeercert` gives it; {} where nobody checked it.
        version: of TLS.
        now: seconds since 1970.
    """
    if "notAfter" not in peer:
        found, advice = f"{version}, but the certificate is not checked", "give ca_file, and take `insecure` out"
        return Diagnosis(what="TLS", mark=Mark.WARNING, found=found, advice=advice)
    end = ssl.cert_time_to_seconds(str(peer["notAfter"]))
    days = int((end - now) // _DAY)
    until = f"{version}, certificate until {time.strftime('%Y-%m-%d', time.gmtime(end))} ({days} days)"
    if days < _SOON:
        return Diagnosis(what="TLS", mark=Mark.WARNING, found=until, advice="renew it before nobody can connect")
    return Diagnosis(what="TLS", mark=Mark.GOOD, found=until)
