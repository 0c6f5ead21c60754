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

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from pipeline.actor import Mailbox
from pipeline.codecs import CODECS, Envelope
from pipeline.delivery.delivery import Delivery
from pipeline.errors import Finding, Severity
from pipeline.frame import Frame, Kind, Origin
from pipeline.hosts import is_host
from pipeline.journal.options import JournalOptions
from pipeline.mqtt.options import BrokerOptions, Version, make_client_id
from pipeline.mqtt.publisher import Limits, Publisher
from pipeline.mqtt.status import Status
from pipeline.mqtt.topics import Fallback, Topics, check_origins, check_template, levels_of_template, resolve
from pipeline.operator import Channel, Claim, Context, Flow, Forecast, RunSink, Scope, sink
from pipeline.units import Duration, Size, Topic

if TYPE_CHECKING:
    from pipeline.diagnosis import Diagnosis, Situation
    from pipeline.testing.stage import Stage

__all__ = ["MqttOptions", "Version", "mqtt"]

OVERHEAD = 120
"""Bytes a message around its payload: topic, MQTT, TLS, TCP, IP, and its acknowledgement."""
STAMP = 47
"""Bytes of `seq` and `boot` in a payload."""


class MqttOptions(BrokerOptions):
    """Options of `mqtt`."""

    topic: Annotated[
        Topic, Meta(description="{tenant_id}, {plc_id}, {db}, {measurement} and tags come from the frame", min_length=1)
    ] = Topic("plc/{tenant_id}/{plc_id}")
    fallback: Annotated[
        Fallback, Meta(description="frames whose topic can't be filled: allow: to plc/db<n>; refuse: an error at start")
    ] = Fallback.ALLOW
    qos: Annotated[int, Meta(description="1: until acknowledged; 0: sent once", ge=0, le=1)] = 1
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
    journal: Annotated[
        JournalOptions | None, Meta(description="where and how frames wait until they are acknowledged")
    ] = None
    breaker: Annotated[int, Meta(description="so many refusals in a row pause the sending", ge=1)] = 100

    def check(self, scope: Scope) -> Iterable[Finding]:
        """Templates, half a login, and all that makes frames less safe than they could be."""
        del scope
        yield from self._check_broker()
        yield from check_template(self.topic, "topic")
        yield from check_template(self.status_topic, "status_topic", ("tenant_id", "graph", "node"))
        for option, holds, message, hint in (
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
    client_id = options.client_id or make_client_id(context.graph, context.node, journal.path)

    topics = Topics(options.topic, context.node, context.log, options.fallback)
    delivery = Delivery(
        context,
        journal,
        CODECS[options.envelope],
        lambda origin: (topics.of(origin), options.qos),
        options.server,
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
        await Publisher(context, delivery, status, partial(options.access, client_id), limits).run(mailbox)

    return run


@mqtt.claims
def _claims(options: MqttOptions, scope: Scope) -> Iterable[Claim]:
    journal = _journal(options, scope.graph, scope.node)
    yield journal.claim(options.server)
    client = options.client_id or make_client_id(scope.graph, scope.node, journal.path)
    if is_host(options.host):  # else it may hold a password, and claims are shown
        yield Claim(what="client id", key=f"{client} at {options.host}:{options.port}", path=("client_id",))


@mqtt.judges
def _judge(options: MqttOptions, _: Scope, incoming: Sequence[Origin]) -> Iterable[Finding]:
    return check_origins(options.topic, incoming, options.fallback)


@mqtt.says
def _says(options: MqttOptions, _: Scope) -> Iterable[Channel]:
    yield Channel(server=options.place, levels=levels_of_template(options.topic), path=("topic",))


_CANARY = {"heartbeat": 0}
"""A graph's own heartbeats are 1: nothing lives because its doctor was here."""


@mqtt.diagnose
async def _diagnose(options: MqttOptions, situation: Situation) -> AsyncIterator[Diagnosis]:
    from pipeline.diagnosis import Diagnosis, Mark  # noqa: PLC0415 - a running graph needs none
    from pipeline.mqtt.diagnosis import diagnose_broker  # noqa: PLC0415 - same

    canaries: dict[str, Frame] = {}
    for origin in situation.incoming:
        topic, own = resolve(options.topic, origin)
        if topic in canaries:
            continue
        canaries[topic] = Frame(Kind.HEARTBEAT, situation.clock.wall(), origin, _CANARY)
        who = origin.plc_id or origin.ip
        if own:
            yield Diagnosis(what="topic", mark=Mark.GOOD, found=f"frames of {who} go to {topic}", part=topic)
        else:
            found = f"'{options.topic}' can't be filled for {who}: its frames go to {topic}"
            advice = "set TENANT_ID and PLC_ID, or `tenant_id` and `plc_id` of the source"
            yield Diagnosis(what="topic", mark=Mark.WARNING, found=found, advice=advice, part=topic)
    flying = canaries.items() if situation.canary else ()
    async for each in diagnose_broker(options, situation, flying):
        yield each


@mqtt.stages
def _stages(options: MqttOptions, _: Scope) -> Iterable[Stage]:
    from pipeline.testing.broker import BrokerStage  # noqa: PLC0415 - a running graph needs none

    yield BrokerStage(options.host, options.port)


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
    return (options.journal or JournalOptions()).placed(graph, node)
