"""Tells an HTTP server when a level fires and when that is over, once: Alertmanager's payload, Slack's, or your own.

Each series (tenant, PLC, tags) is judged by itself: ok, pending while `hold` lasts, firing, resolved. A notice goes out
when it fires, when it fires with a worse level (`firing` lists the worst last), every `repeat` while it fires, and when
it is over; within `cooldown` of a notice a series that fires anew is told only if it still fires then. Frames without
the field, heartbeats and failures say nothing; frames older than `max_age` (a backlog) raise no alert.

Ordering: notices in the order of their decision. Delivery: at least once; what is to be told, and what was, is in one
file on disk before it is sent, so that a restart neither repeats an alert nor forgets one. Only a kill between an
answer and the note of it tells a notice again. Memory: the series that are not well, `max_series` at most, and 1000
notices that wait; beyond, the oldest are given up and counted. On disconnect: attempts back off, Retry-After is
respected; 401, 403, 404, 429 and 5xx keep everything, another 4xx gives the notice up, logged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from pipeline.actor import Mailbox
from pipeline.alerting.machine import Machine, Notice, Rules, text_of
from pipeline.alerting.payloads import PayloadFormat, Wording, make_payload
from pipeline.alerting.teller import Plan, Teller
from pipeline.errors import Finding, LinkError, Severity
from pipeline.frame import Frame, Kind, Origin, Scalar
from pipeline.operator import Claim, Context, Flow, Forecast, Options, RunSink, Scope, sink
from pipeline.posting.answers import Answer
from pipeline.posting.client import Access, Url
from pipeline.posting.headers import check_headers, make_headers
from pipeline.retry import Retry
from pipeline.tls import TlsOptions, is_loopback, make_context
from pipeline.units import Duration, Secret

if TYPE_CHECKING:
    from pipeline.diagnosis import Diagnosis, Situation
    from pipeline.testing.stage import Stage

__all__ = ["WebhookOptions", "webhook"]


class WebhookOptions(Options):
    """Options of `webhook`."""

    url: Annotated[Secret, Meta(description="where notices are posted; never shown, since such addresses are secrets")]
    field: Annotated[str, Meta(description="the value that is judged, such as status_calculado", min_length=1)]
    firing: Annotated[
        list[bool | int | float | str], Meta(description="its levels that fire, the worst last", min_length=1)
    ]
    alert: Annotated[str, Meta(description="the alert's name; empty: the field")] = ""
    series: Annotated[
        list[str],
        Meta(description="tags that tell series apart; empty: measurement, ip, db, tenant_id, plc_id, all tags"),
    ] = msgspec.field(default_factory=list)
    labels: Annotated[dict[str, str], Meta(description="further labels, such as severity: critical")] = msgspec.field(
        default_factory=dict
    )
    summary: Annotated[
        str, Meta(description="a sentence; {alert}, {status}, {field}, {value}, {since}, labels and values by name")
    ] = "{alert} {status}: {field} = {value}"
    annotations: Annotated[dict[str, str], Meta(description="more sentences, by name")] = msgspec.field(
        default_factory=dict
    )
    link: Annotated[str, Meta(description="where to look, such as a dashboard's address; names in braces")] = ""
    hold: Annotated[Duration, Meta(description="a level must last this long before it is told", ge=0)] = Duration(0)
    cooldown: Annotated[Duration, Meta(description="pause before a series may fire anew", ge=0)] = Duration(300)
    repeat: Annotated[Duration, Meta(description="what still fires is told again; 0s: never", ge=0)] = Duration(
        4 * 3600
    )
    max_age: Annotated[Duration, Meta(description="older frames raise no alert; 0s: all do", ge=0)] = Duration(600)
    format: Annotated[
        PayloadFormat, Meta(description="alertmanager (webhook version 4), grafana, generic, slack, or your template")
    ] = PayloadFormat.ALERTMANAGER
    template: Annotated[
        dict[str, Any], Meta(description="the payload with format: template; names in braces are filled in")
    ] = msgspec.field(default_factory=dict)
    token: Annotated[Secret, Meta(description="sent as Authorization: Bearer; empty for none")] = Secret()
    headers: Annotated[dict[str, Secret], Meta(description="further headers")] = msgspec.field(default_factory=dict)
    timeout: Annotated[Duration, Meta(description="for a request, connecting and answer included", gt=0)] = Duration(10)
    tls: Annotated[TlsOptions, Meta(description="what is trusted with https, and who we are")] = TlsOptions()
    retry: Annotated[Retry, Meta(description="pauses after failures")] = Retry()
    state: Annotated[str, Meta(description="file of what outlives a restart; empty: data/<graph>/<node>.json")] = ""
    max_series: Annotated[int, Meta(description="series that are not well, at most", ge=1)] = 10_000

    def check(self, scope: Scope) -> Iterator[Finding]:
        """An address that is none, headers that can't be, a template too many or missing."""
        del scope
        yield from self._check_url()
        if self.format is PayloadFormat.TEMPLATE and not self.template:
            hint = 'write the payload: template: {text: "{summary}"}'
            yield Finding(path=("template",), message="is required with format: template", hint=hint)
        if self.template and self.format is not PayloadFormat.TEMPLATE:
            yield Finding(path=("template",), message="is only for format: template", hint="set that, or remove it")
        yield from check_headers(self.headers, self.token)

    def _check_url(self) -> Iterator[Finding]:
        """What can be said of the address without showing it; one in a file is read when it is needed."""
        try:
            url = Url.parse(self.url.reveal())
        except OSError:
            return
        except ValueError as error:
            yield Finding(path=("url",), message=f"can't be posted to: {error}", hint="write it as https://host/path")
            return
        if url.secure and not self.tls.enabled:
            yield Finding(path=("tls", "enabled"), message="`url` says https", hint="write http:// for none")
        elif not url.secure and not is_loopback(url.host):
            message = "notices and secrets travel in clear"
            yield Finding(path=("url",), message=message, hint="write https://", severity=Severity.WARNING)


@sink(capacity=50_000)
def webhook(options: WebhookOptions, context: Context) -> RunSink:
    """A teller with a memory."""
    origins: dict[Origin, dict[str, str]] = {}
    shown = {"server": "unknown yet", "path": ""}
    wording = Wording(
        node=context.node,
        alert=options.alert or options.field,
        field=options.field,
        labels=options.labels,
        summary=options.summary,
        annotations=options.annotations,
        link=options.link,
        template=options.template,
    )

    def access() -> Access:
        """Read anew after each failure, so that rotated files count."""
        url = _url(options)
        shown.update(server=url.server, path=url.path)
        tls = make_context(options.tls) if url.secure else None
        headers = make_headers(options.headers, options.token)
        return Access(
            url=url, headers=headers, tls=tls, connections=1, timeout=options.timeout, wall=context.clock.wall
        )

    def veil(answer: Answer) -> Answer:
        text = answer.text.replace(shown["path"], "***") if len(shown["path"]) > 1 else answer.text
        return replace(answer, text=text, location="")

    def see(machine: Machine, frame: Frame, now: float) -> Iterable[Notice]:
        value = frame.values.get(options.field) if frame.kind is Kind.DATA else None
        if value is None:
            return ()
        if options.max_age and now - frame.ts > options.max_age:
            context.actor.drop("too_old")
            return ()
        labels = origins.get(frame.origin)
        if labels is None:
            labels = origins[frame.origin] = _labels(frame.origin, options.series)
        return machine.see(labels, value, frame.values, frame.ts, now)

    def encode(notices: Sequence[Notice]) -> bytes:
        return msgspec.json.encode(make_payload(options.format, wording, notices))

    rules = Rules(
        firing=tuple(text_of(level) for level in options.firing),
        hold=options.hold,
        cooldown=options.cooldown,
        repeat=options.repeat,
        limit=options.max_series,
    )
    path = Path(_state(options, context.graph, context.node))
    together = options.format in {PayloadFormat.ALERTMANAGER, PayloadFormat.GRAFANA}
    plan = Plan(see=see, encode=encode, access=access, veil=veil, retry=options.retry, together=together)
    teller = Teller(context, rules, path, plan)
    context.details = lambda: {"server": shown["server"], **teller.details}

    async def run(mailbox: Mailbox) -> None:
        await teller.run(mailbox)

    return run


@webhook.claims
def _claims(options: WebhookOptions, scope: Scope) -> Iterable[Claim]:
    path = _state(options, scope.graph, scope.node)
    yield Claim(what="state file", key=str(Path(path).resolve()), path=("state",))


@webhook.diagnose
async def _diagnose(options: WebhookOptions, _: Situation) -> AsyncIterator[Diagnosis]:
    from pipeline.posting.diagnosis import diagnose_server  # noqa: PLC0415 - a running graph needs none

    async for each in diagnose_server(_url(options), options.tls, options.timeout):
        yield each


@webhook.stages
def _stages(options: WebhookOptions, _: Scope) -> Iterable[Stage]:
    from pipeline.testing.server import ServerStage  # noqa: PLC0415 - a running graph needs none

    url = _url(options)
    yield ServerStage(url.host, url.port)


@webhook.predict
def _predict(options: WebhookOptions, _: Scope, inflow: Flow) -> Forecast:
    lines = (
        ("judged", f"{inflow.frames:.4g} frames a second by {options.field}"),
        ("fires on", ", ".join(text_of(level) for level in options.firing)),
    )
    missing = inflow.names and options.field not in inflow.names
    warning = Finding(
        path=("field",),
        message=f"no frame has a value '{options.field}'",
        hint="is the name right? is a threshold missing before this sink?",
        severity=Severity.WARNING,
    )
    return Forecast(flow=Flow(), lines=lines, warnings=(warning,) if missing else ())


def _state(options: WebhookOptions, graph: str, node: str) -> str:
    return options.state or f"data/{graph}/{node}.json"


def _labels(origin: Origin, chosen: Iterable[str]) -> dict[str, str]:
    """The labels of a series; what is empty is none."""
    everything: Mapping[str, Scalar | None] = {
        **origin.tags,
        "measurement": origin.measurement,
        "ip": origin.ip,
        "db": origin.db,
        "tenant_id": origin.tenant_id,
        "plc_id": origin.plc_id,
    }
    names = list(chosen) or list(everything)
    return {name: str(value) for name in names if (value := everything.get(name)) not in (None, "")}


def _url(options: WebhookOptions) -> Url:
    try:
        return Url.parse(options.url.reveal())
    except OSError as error:
        raise LinkError("url", f"file '{error.filename}' can't be read ({error.strerror})") from error
    except ValueError as error:
        raise LinkError("url", f"can't be posted to: {error}") from None
