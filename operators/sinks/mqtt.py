"""Publishes frames to an MQTT broker, each until the broker has acknowledged it.

Ordering: ascending `seq` per PLC within a lane (live, replay). Delivery: at least once with `qos: 1`; what is not
acknowledged is on disk within the journal's `commit_interval`. With `qos: 0` a frame counts as delivered when it is
handed to the connection. Memory: `inflight` frames under way; all others wait in the journal, bounded by `max_size`.
On disconnect: what was under way goes back to its place and is sent again; attempts to connect back off.

Refusals: what the broker may take later (busy, quota) is kept and tried again; what it will not take (not authorised,
packet too large, topic or payload refused) goes to the dead letters. `journal requeue` brings them back while the
pipeline is stopped, to be sent at its next start. A topic that is not authorised is not tried for 60 s: its frames go
to the dead letters unsent meanwhile, and other topics don't wait.
"""

from __future__ import annotations

import hashlib
import platform
import re
import uuid
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from pipeline.actor import Mailbox
from pipeline.codecs import CODECS, Envelope
from pipeline.delivery.delivery import Delivery
from pipeline.errors import Finding, LinkError, Severity
from pipeline.hosts import check_host, is_host
from pipeline.journal.options import JournalOptions
from pipeline.mqtt.client import Access
from pipeline.mqtt.publisher import Limits, Publisher
from pipeline.mqtt.status import Status
from pipeline.mqtt.topics import Topics, check_template
from pipeline.operator import Claim, Context, Flow, Forecast, Options, RunSink, Scope, sink
from pipeline.retry import Retry
from pipeline.tls import TlsOptions, is_loopback, make_context
from pipeline.units import Duration, Secret, Size, Topic

__all__ = ["MqttOptions", "Version", "mqtt"]

OVERHEAD = 120
"""Bytes a message around its payload: topic, MQTT, TLS, TCP, IP, and its acknowledgement."""
STAMP = 47
"""Bytes of `seq` and `boot` in a payload."""


class Version(StrEnum):
    """Versions of MQTT. 3.1.1 acknowledges what its access list denied."""

    V5 = "5"
    V311 = "3.1.1"


class MqttOptions(Options):
    """Options of `mqtt`."""

    host: Annotated[str, Meta(description="name or address of the broker; TLS checks it", min_length=1)]
    port: Annotated[int, Meta(description="TCP port", ge=1, le=65535)] = 8883
    topic: Annotated[
        Topic, Meta(description="{tenant_id}, {plc_id}, {db}, {measurement} and tags come from the frame", min_length=1)
    ] = Topic("plc/{tenant_id}/{plc_id}")
    qos: Annotated[int, Meta(description="1: until acknowledged; 0: sent once", ge=0, le=1)] = 1
    username: Annotated[str, Meta(description="empty for none")] = ""
    password: Annotated[Secret, Meta(description="empty for none; read anew for each connection")] = Secret()
    client_id: Annotated[
        str, Meta(description="unique at the broker; empty: made of graph, node and machine", pattern=r"^[!-~]*$")
    ] = ""
    protocol: Annotated[Version, Meta(description="version of MQTT")] = Version.V5
    keep_alive: Annotated[Duration, Meta(description="a mute broker is left after one and a half times this", ge=1)] = (
        Duration(15)
    )
    connect_timeout: Annotated[Duration, Meta(description="for name, TCP, TLS and login together", gt=0)] = Duration(10)
    ack_timeout: Annotated[
        Duration, Meta(description="without an acknowledgement for this long, connect anew", gt=0)
    ] = Duration(20)
    inflight: Annotated[
        int, Meta(description="frames under way at most; the broker may want fewer", ge=1, le=65535)
    ] = 2000
    require_subscriber: Annotated[bool, Meta(description="keep frames while nobody at the broker stores them")] = False
    status_topic: Annotated[
        str, Meta(description="retained `online` and `offline`, also the last will; {tenant_id}, {graph}, {node}")
    ] = "plc/{tenant_id}/{graph}/status"
    envelope: Annotated[Envelope, Meta(description="full, or seed: without seq, boot and marks")] = Envelope.FULL
    tls: Annotated[TlsOptions, Meta(description="encryption")] = TlsOptions()
    journal: Annotated[JournalOptions | None, Meta(description="where frames wait; default data/<graph>/<node>")] = None
    retry: Annotated[
        Retry, Meta(description="pauses between attempts to connect, and to send what was refused for a while")
    ] = Retry()
    breaker: Annotated[int, Meta(description="so many refusals in a row pause the sending", ge=1)] = 100

    def check(self, scope: Scope) -> Iterable[Finding]:
        """Templates, half a login, and all that makes frames less safe than they could be."""
        del scope
        yield from check_host(self.host, ("host",))
        yield from check_template(self.topic, "topic")
        yield from check_template(self.status_topic, "status_topic", ("tenant_id", "graph", "node"))
        if self.password and not self.username:
            yield Finding(path=("password",), message="needs a username beside it")
        if self.keep_alive > 65535:  # noqa: PLR2004 - MQTT's two bytes
            yield Finding(path=("keep_alive",), message=f"must be <= 65535s, got {self.keep_alive}")
        for option, holds, message, hint in (
            ("tls", not self.tls.enabled and not is_loopback(self.host), "frames and password travel in clear", ""),
            ("qos", not self.qos, "frames are lost when a connection breaks", "set qos: 1"),
            ("envelope", self.envelope is Envelope.SEED, "without seq and boot no gap can be seen", ""),
            (
                "protocol",
                self.protocol is Version.V311,
                "MQTT 3.1.1 acknowledges what its access list denied, and that is lost",
                "use protocol: 5",
            ),
        ):
            if holds:
                yield Finding(path=(option,), message=message, hint=hint, severity=Severity.WARNING)


@sink(capacity=50_000)
def mqtt(options: MqttOptions, context: Context) -> RunSink:
    """A publisher with a journal."""
    journal = _journal(options, context.graph, context.node)
    client_id = options.client_id or _client_id(context.graph, context.node, journal.path)

    def access() -> Access:
        """Read anew for each connection, so that rotated files count."""
        return Access(
            host=options.host,
            port=options.port,
            client_id=client_id,
            username=options.username,
            password=_password(options.password),
            protocol=5 if options.protocol is Version.V5 else 4,
            keep_alive=round(options.keep_alive),
            tls=make_context(options.tls),
        )

    topics = Topics(options.topic, context.node, context.log)
    delivery = Delivery(
        context,
        journal,
        CODECS[options.envelope],
        lambda frame: (topics.of(frame.origin), options.qos),
        f"{'mqtts' if options.tls.enabled else 'mqtt'}://{options.host}:{options.port}",
        retry=options.retry,
        breaker=options.breaker,
    )
    limits = Limits(
        qos=options.qos,
        inflight=options.inflight,
        connect_timeout=options.connect_timeout,
        ack_timeout=options.ack_timeout,
        require_subscriber=options.require_subscriber,
        retry=options.retry,
    )
    context.details = lambda: {
        "broker": f"{options.host}:{options.port}",
        "client_id": client_id,
        **delivery.stats(),
    }

    async def run(mailbox: Mailbox) -> None:
        status = Status(options.status_topic, context, delivery)
        await Publisher(context, delivery, status, access, limits).run(mailbox)

    return run


@mqtt.claims
def _claims(options: MqttOptions, scope: Scope) -> Iterable[Claim]:
    journal = _journal(options, scope.graph, scope.node)
    yield Claim(what="journal", key=str(Path(journal.path).resolve()), path=("journal", "path"))
    client = options.client_id or _client_id(scope.graph, scope.node, journal.path)
    if is_host(options.host):  # else it may hold a password, and claims are shown
        yield Claim(what="client id", key=f"{client} at {options.host}:{options.port}", path=("client_id",))


@mqtt.predict
def _predict(options: MqttOptions, scope: Scope, inflow: Flow) -> Forecast:
    journal = _journal(options, scope.graph, scope.node)
    stamp = STAMP if options.envelope is Envelope.FULL else 0
    flow = Flow(frames=inflow.frames, size=inflow.size + stamp)
    lines = (
        ("messages a second", f"{flow.frames:.4g}"),
        ("bytes a day", f"{Size(flow.frames * 86400 * (flow.size + OVERHEAD))}"),
        *journal.forecast(flow),
    )
    return Forecast(flow=flow, lines=lines)


def _journal(options: MqttOptions, graph: str, node: str) -> JournalOptions:
    return options.journal or JournalOptions(path=f"data/{graph}/{node}")


def _client_id(graph: str, node: str, journal: str) -> str:
    """Stable on this machine, and another one on a copy of its disk in another machine."""
    mac = uuid.getnode()
    # Without a network card Python makes the number up, marks it so, and makes up another one next time.
    card = 0 if mac >> 40 & 1 else mac
    machine = f"{platform.node()}|{card}|{Path(journal).absolute()}"
    digest = hashlib.sha256(machine.encode()).hexdigest()[:10]
    return re.sub(r"[^A-Za-z0-9_-]", "-", f"{graph}-{node}")[:40] + f"-{digest}"


def _password(secret: Secret) -> str:
    try:
        return secret.reveal()
    except OSError as error:
        raise LinkError("login", f"password file '{error.filename}' can't be read ({error.strerror})") from error
