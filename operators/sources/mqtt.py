"""Takes frames from an MQTT broker: our own, those of sensors, or any JSON by a mapping.

Tenant and PLC are those of the topic where it names them, since the broker's access list vouches for it; then those of
the message. Sensors' fields in objects and lists are values by all names on their way (`temperatura_c`, `niveis_0`),
and tags that are one are their JSON: so does the platform's ingest name them, and verdicts stand beside their data.

Ordering: as the broker delivers. Delivery: at least once with `qos: 1`. A message is acknowledged to the broker only
after it is processed: its frame has gone through the transforms, every sink behind has taken it from its mailbox, and
each sink with a journal has it acknowledged by its receiver, or on disk (fsync), or has given it up by its own policy,
counted. Until then the broker keeps it; a process that is killed gets it again. What a transform holds back for later
(a heartbeat's clock, a mean that is not complete) is that transform's memory and goes with the process. Sinks without a
journal (`file`, `stdout`) count as done when they take a frame.

Memory: `window` messages, and one origin a series, `max_series` at most. A slow graph takes no more from the broker,
which keeps the rest in the session; `when_full: pause` of a sink behind stops the taking. On disconnect: the broker
keeps the session for `session_expiry`; attempts to connect back off. A message that is malformed is counted, shown in
state and details, and acknowledged: it never stops the others.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta
from reactivex import Observable

from pipeline.errors import Finding, Severity
from pipeline.frame import Frame, Origin
from pipeline.hosts import is_host
from pipeline.identifiers import CLIENT_ID
from pipeline.messages import Format, MessageMapping, Read, Series, read_json, read_mov, read_ours
from pipeline.mqtt.client import Access, Session
from pipeline.mqtt.filters import TopicPattern, check_filter, levels_of
from pipeline.mqtt.options import BrokerOptions
from pipeline.mqtt.receiver import Receiver, Wanted
from pipeline.operator import Channel, Claim, Context, Emit, Flow, Forecast, Scope, source
from pipeline.units import Duration

if TYPE_CHECKING:
    from pipeline.diagnosis import Diagnosis, Situation
    from pipeline.testing.stage import Stage

__all__ = ["MqttOptions", "mqtt"]

OURS = "plc/{tenant_id}/{plc_id}"
"""The topics of our own frames, unless told."""
_SHORT = "plc/{tenant_id}"
"""What a tenant may write as well, by the same line of an access list."""
_SHARED = re.compile(r"plc/db(\d{1,5})", re.ASCII)
"""The topic of frames that have no tenant."""
_VOUCHED = ("tenant_id", "plc_id")
MOV = "mov_dados"
"""The measurement of the sensors' messages, unless they name one."""
TYPICAL = 250.0
"""Bytes of a message, for `check`."""


class MqttOptions(BrokerOptions):
    """Options of `mqtt`."""

    topics: Annotated[
        list[str], Meta(description="what is subscribed; + is any one level, # any that follow", min_length=1)
    ]
    format: Annotated[Format, Meta(description="frame: ours; mov: timestamp, tags, fields; json: see mapping")] = (
        Format.FRAME
    )
    mapping: Annotated[MessageMapping | None, Meta(description="where in the JSON everything is")] = None
    measurement: Annotated[
        str, Meta(description="of messages that name none; empty: mov_dados with mov, the node's name with json")
    ] = ""
    topic_pattern: Annotated[
        str, Meta(description=f"what a topic's levels are: {OURS}; tenant and PLC there win over the message's")
    ] = ""
    qos: Annotated[
        int, Meta(description="1: until processed; 0: what comes while nobody is here is lost", ge=0, le=1)
    ] = 1
    client_id: Annotated[
        str, Meta(description="names the session at the broker; empty: made of graph and node", **CLIENT_ID)
    ] = ""
    session_expiry: Annotated[
        Duration, Meta(description="the broker keeps what comes while nobody is here for this long", ge=0, lt=2**32)
    ] = Duration(7 * 86400)
    window: Annotated[int, Meta(description="messages taken and not yet processed, at most", ge=1, le=65535)] = 1000
    max_series: Annotated[int, Meta(description="different tag sets at most; beyond, messages are refused", ge=1)] = (
        10_000
    )
    expected: Annotated[float, Meta(description="messages a second that `check` reckons with", ge=0)] = 0.0

    def check(self, scope: Scope) -> Iterator[Finding]:
        """Filters and patterns that are none, a mapping too many or missing, and what could lose messages."""
        del scope
        yield from self._check_broker()
        for index, topic_filter in enumerate(self.topics):
            yield from check_filter(topic_filter, ("topics", index))
        try:
            TopicPattern(self.topic_pattern)
        except ValueError as error:
            yield Finding(path=("topic_pattern",), message=str(error))
        if self.format is Format.JSON and self.mapping is None:
            hint = "say where things are: mapping: {ts: time, tags: {machine: device.id}, values: data}"
            yield Finding(path=("mapping",), message="is required with format: json", hint=hint)
        if self.format is not Format.JSON and self.mapping is not None:
            yield Finding(path=("mapping",), message="is only for format: json", hint="set that, or remove it")
        if not self.qos:
            message = "messages are lost when a connection breaks"
            yield Finding(path=("qos",), message=message, hint="set qos: 1", severity=Severity.WARNING)
        if self.qos and not self.session_expiry:
            message = "without a session, what comes while nobody is here is lost"
            yield Finding(path=("session_expiry",), message=message, severity=Severity.WARNING)

    def name(self, graph: str, node: str) -> str:
        """The client id: the same on every machine and in every container, since the session hangs on it."""
        return self.client_id or f"{graph}-{node}"


@source
def mqtt(options: MqttOptions, context: Context) -> Observable[Frame]:
    """A subscriber whose session the broker keeps."""
    client_id = options.name(context.graph, context.node)

    def access() -> Access:
        session = Session(expiry=round(options.session_expiry), window=options.window)
        return replace(options.access(client_id), session=session)

    wanted = Wanted(
        topics=options.topics,
        qos=options.qos,
        window=options.window,
        connect_timeout=options.connect_timeout,
        retry=options.retry,
        read=_reader(options, context),  # one for all attempts: what follows knows a series by its origin
    )

    async def run(emit: Emit) -> None:
        receiver = Receiver(context, access, wanted)
        context.details = lambda: {"broker": f"{options.host}:{options.port}", **receiver.details}
        await receiver.run(emit)

    return context.observable(run)


@mqtt.claims
def _claims(options: MqttOptions, scope: Scope) -> Iterable[Claim]:
    if is_host(options.host):  # else it may hold a password, and claims are shown
        key = f"{options.name(scope.graph, scope.node)} at {options.host}:{options.port}"
        yield Claim(what="client id", key=key, path=("client_id",))


@mqtt.hears
def _hears(options: MqttOptions, _: Scope) -> Iterable[Channel]:
    for index, topic_filter in enumerate(options.topics):
        yield Channel(server=options.place, levels=levels_of(topic_filter), path=("topics", index))


@mqtt.diagnose
async def _diagnose(options: MqttOptions, situation: Situation) -> AsyncIterator[Diagnosis]:
    from pipeline.mqtt.diagnosis import diagnose_broker  # noqa: PLC0415 - a running graph needs none

    async for each in diagnose_broker(options, situation, ()):
        yield each


@mqtt.stages
def _stages(options: MqttOptions, _: Scope) -> Iterable[Stage]:
    from pipeline.testing.broker import BrokerStage  # noqa: PLC0415 - a running graph needs none

    yield BrokerStage(options.host, options.port)


@mqtt.predict
def _predict(options: MqttOptions, scope: Scope, _: Flow) -> Forecast:
    kept = str(options.session_expiry) if options.qos else "nothing"
    lines = (
        ("messages a second", f"{options.expected:.4g}" if options.expected else "unknown; `expected` would say"),
        ("session at the broker", f"{options.name(scope.graph, scope.node)}, kept for {kept}"),
        ("messages in memory", f"at most {options.window}"),
    )
    return Forecast(flow=Flow(frames=options.expected, size=TYPICAL if options.expected else 0.0), lines=lines)


def _reader(options: MqttOptions, context: Context) -> Callable[[str, bytes, float], Frame | None]:
    """What makes frames of messages, with what their topics say."""
    series = Series(options.max_series)
    read = _format(options, context.node, series)
    ours = options.format is Format.FRAME and not options.topic_pattern
    patterns = [TopicPattern(text) for text in ((OURS, _SHORT) if ours else (options.topic_pattern,))]
    text = "messages whose topic names another tenant or PLC than they do; the topic's counts"
    contradicted = context.metrics.counter("edge_messages_contradicted", text, node=context.actor.name)
    named: dict[tuple[Origin, str], Origin] = {}

    def name(origin: Origin, topic: str) -> Origin:
        shared = _SHARED.fullmatch(topic) if ours else None
        said = {"db": shared[1]} if shared else next(filter(None, (each.read(topic) for each in patterns)), {})
        db = "" if origin.db is None else str(origin.db)
        own = {"ip": origin.ip, "db": db, "tenant_id": origin.tenant_id, "plc_id": origin.plc_id}
        known = {key: value for key, value in {**origin.tags, **own}.items() if value}
        # The broker's access list vouches for the topic, and nobody for the message.
        vouched = {tag: said[tag] for tag in _VOUCHED if said.get(tag)}
        tags = {**said, **known, **vouched}
        return origin if tags == known else series.of(origin.measurement, tags)

    def read_named(topic: str, body: bytes, now: float) -> Frame | None:
        frame = read(body, now)
        if frame is None:
            return None
        key = (frame.origin, topic)
        origin = named.get(key)
        if origin is None:
            if len(named) >= options.max_series:
                named.clear()
            origin = named[key] = name(*key)
        if origin is frame.origin:
            return frame
        contradicted.n += any(getattr(frame.origin, tag) not in ("", getattr(origin, tag)) for tag in _VOUCHED)
        return frame.replace(origin=origin)

    return read_named


def _format(options: MqttOptions, node: str, series: Series) -> Read:
    if options.format is Format.FRAME:
        return read_ours(series)
    if options.format is Format.MOV:
        return read_mov(series, options.measurement or MOV)
    return read_json(series, options.measurement or node, options.mapping or MessageMapping())
