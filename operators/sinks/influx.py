"""Writes frames to InfluxDB 2 as points, in batches, each until the database has stored it.

A frame is one point: its measurement; the tags `ip`, `db`, `tenant_id`, `plc_id` and the block's own; its values as
fields, numbers as floats, and `error`, `bad`, `seq`, `boot`, `replayed` beside them; milliseconds. These are the points
that the platform's Telegraf makes of the same frame, and a point that comes twice is one point: both ways may run side
by side, and a replay changes no count. `seq` and `boot` of a frame from another process (source `mqtt`) are kept.

Ordering: ascending `seq` per PLC within a lane (live, replay); with `inflight` above 1 requests may cross each other.
Delivery: at least once; 204 means that the whole batch is stored, and what is not stored is on disk within the
journal's `commit_interval`. Memory: `inflight` batches and one more; all other frames wait in the journal, bounded by
`max_size`. On disconnect: what was under way goes back to its place and is sent again, after a pause that grows.

401, 403, 404 (no such bucket, or a token without rights), 429, 5xx keep everything and are tried again, Retry-After
included. 400, 413 and 422 (a field of another type, a point older than the bucket's retention) split the batch until
the points that they mean stand alone: only those go to the dead letters, from where `journal requeue` brings them back.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from msgspec import Meta

from pipeline.actor import Mailbox
from pipeline.codecs import LINES, Envelope
from pipeline.delivery.delivery import Delivery
from pipeline.errors import Finding, LinkError, Severity
from pipeline.journal.options import JournalOptions
from pipeline.operator import Claim, Context, Flow, Forecast, Options, RunSink, Scope, sink
from pipeline.posting.answers import Answer, Verdict, explain_answer, judge
from pipeline.posting.client import Access, Client, Url
from pipeline.posting.headers import check_value
from pipeline.posting.poster import Compression, Form, Limits, Poster
from pipeline.retry import Retry
from pipeline.tls import TlsOptions, is_loopback, make_context
from pipeline.units import Duration, Secret, Size

if TYPE_CHECKING:
    from pipeline.diagnosis import Diagnosis, Situation
    from pipeline.testing.stage import Stage

__all__ = ["InfluxOptions", "influx"]

OVERHEAD = 600
"""Bytes a request around its body: HTTP, TLS, TCP, IP, and its answer."""
STAMP = 43
"""Bytes of `seq` and `boot` in a point."""
# Status -> reason, detail, advice, where InfluxDB means something else than servers at large.
_MEANINGS = {
    401: ("login", "InfluxDB does not accept the token", "check token"),
    403: ("login", "the token must not write to this bucket", "give it the right to write"),
    404: ("bucket", "InfluxDB finds no such organisation or bucket", "correct org and bucket, or the token's rights"),
    429: ("busy", "InfluxDB limits the rate of writes", "raise batch and linger"),
}


class InfluxOptions(Options):
    """Options of `influx`."""

    url: Annotated[str, Meta(description="where InfluxDB is: http://server:8086", min_length=1)]
    org: Annotated[str, Meta(description="name or id of the organisation", min_length=1)]
    bucket: Annotated[str, Meta(description="name or id of the bucket", min_length=1)]
    token: Annotated[Secret, Meta(description="with the right to write to the bucket; read anew after a failure")]
    compression: Annotated[Compression, Meta(description="of the requests")] = Compression.GZIP
    batch: Annotated[int, Meta(description="points of a request at most", ge=1, le=10_000)] = 5000
    batch_bytes: Annotated[Size, Meta(description="bytes of a request at most, uncompressed", ge=1024)] = Size(
        4 * 1024**2
    )
    linger: Annotated[
        Duration, Meta(description="how long a point waits for others; 0s: only while a request is under way", ge=0)
    ] = Duration(1)
    inflight: Annotated[int, Meta(description="requests at once", ge=1, le=32)] = 1
    timeout: Annotated[Duration, Meta(description="for a request, connecting and answer included", gt=0)] = Duration(20)
    envelope: Annotated[Envelope, Meta(description="full, or seed: without the fields seq, boot and replayed")] = (
        Envelope.FULL
    )
    tls: Annotated[TlsOptions, Meta(description="what is trusted with https, and who we are")] = TlsOptions()
    journal: Annotated[
        JournalOptions | None, Meta(description="where and how frames wait until they are acknowledged")
    ] = None
    retry: Annotated[Retry, Meta(description="pauses after failures")] = Retry()
    breaker: Annotated[int, Meta(description="so many refused points in a row pause the sending", ge=1)] = 100

    def check(self, scope: Scope) -> Iterator[Finding]:
        """An address that is none, a token that is missing, a token that anybody could read."""
        del scope
        if not self.token:
            yield Finding(path=("token",), message="is empty", hint="InfluxDB 2 writes nothing without a token")
        yield from check_value(self.token, ("token",))
        try:
            url = Url.parse(self.url)
        except ValueError as error:
            yield Finding(path=("url",), message=f"can't be written to: {error}", hint="write it as https://host:8086")
            return
        if "?" in self.url or url.path.rstrip("/").endswith("/write"):
            hint = "write the server alone, such as http://server:8086; org and bucket are options of their own"
            yield Finding(path=("url",), message="names more than the server", hint=hint)
        if url.secure and not self.tls.enabled:
            yield Finding(path=("tls", "enabled"), message="`url` says https", hint="write http:// for none")
        if not url.secure and (self.tls.ca_file or self.tls.cert_file):
            yield Finding(path=("tls",), message="`url` says http, so nothing is encrypted", hint="write https://")
        elif not url.secure and not is_loopback(url.host):
            message = "points and token travel in clear"
            yield Finding(path=("url",), message=message, hint="write https://", severity=Severity.WARNING)

    @property
    def target(self) -> Url:
        """Where points are posted."""
        query = urlencode({"org": self.org, "bucket": self.bucket, "precision": "ms"})
        return Url.parse(f"{self.url.rstrip('/')}/api/v2/write?{query}")

    @property
    def receiver(self) -> str:
        """Who the journal's frames are for: `https://server:443/org/bucket`."""
        return f"{self.target.server}/{self.org}/{self.bucket}"


@sink(capacity=50_000)
def influx(options: InfluxOptions, context: Context) -> RunSink:
    """A writer with a journal."""
    url = options.target
    codec = LINES[options.envelope]
    delivery = Delivery(
        context,
        _journal(options, context.graph, context.node),
        codec,
        lambda _: (options.bucket, 1),
        options.receiver,
        mode="influx",
        retry=options.retry,
        breaker=options.breaker,
    )

    def access() -> Access:
        """Read anew after each failure, so that rotated files count."""
        return _access(options, url, make_context(options.tls) if url.secure else None, context.clock.wall)

    limits = Limits(
        form=Form.LINES,
        compression=options.compression,
        batch=options.batch,
        batch_bytes=options.batch_bytes,
        linger=options.linger,
        inflight=options.inflight,
        retry=options.retry,
        content_type=codec.content_type,
        ask=True,
        explain=_explain,
    )
    context.details = lambda: {"url": url.server, "org": options.org, "bucket": options.bucket, **delivery.stats()}

    async def run(mailbox: Mailbox) -> None:
        await Poster(context, delivery, access, limits).run(mailbox)

    return run


@influx.claims
def _claims(options: InfluxOptions, scope: Scope) -> Iterable[Claim]:
    yield _journal(options, scope.graph, scope.node).claim(options.receiver)


@influx.diagnose
async def _diagnose(options: InfluxOptions, situation: Situation) -> AsyncIterator[Diagnosis]:
    from pipeline.diagnosis import Diagnosis, Mark  # noqa: PLC0415 - a running graph needs none
    from pipeline.posting.diagnosis import diagnose_server  # noqa: PLC0415 - same

    url = options.target
    async for each in diagnose_server(url, options.tls, options.timeout):
        yield each
        if each.mark is Mark.PROBLEM:
            return
    try:
        tls = make_context(options.tls) if url.secure else None
        client = Client(_access(options, url, tls, situation.clock.wall))
        try:
            answer = await client.post(b"", {"Content-Type": "text/plain"})
        finally:
            await client.close()
    except LinkError as error:
        yield Diagnosis.of("token", error)
        return
    if judge(answer.status) is Verdict.LATER:
        yield Diagnosis.of("token", _explain(answer))
    else:  # no points are no write: 400, or 204
        yield Diagnosis(what="token", mark=Mark.GOOD, found=f"it may write to {options.org}/{options.bucket}")


@influx.stages
def _stages(options: InfluxOptions, _: Scope) -> Iterable[Stage]:
    from pipeline.testing.server import ServerStage  # noqa: PLC0415 - a running graph needs none

    url = options.target
    yield ServerStage(url.host, url.port)


@influx.predict
def _predict(options: InfluxOptions, scope: Scope, inflow: Flow) -> Forecast:
    stamp = STAMP if options.envelope is Envelope.FULL else 0
    flow = Flow(frames=inflow.frames, size=inflow.size + stamp)
    # A batch gathers what comes within `linger`; without it each frame goes as soon as the last request is answered.
    requests = flow.frames / min(options.batch, max(1.0, flow.frames * options.linger))
    lines = (
        ("points a second", f"{flow.frames:.4g}"),
        ("requests a second", f"at most {requests:.4g}"),
        ("bytes a day", f"{Size(86400 * (flow.frames * flow.size + requests * OVERHEAD))} uncompressed"),
        *_journal(options, scope.graph, scope.node).forecast(flow),
    )
    return Forecast(flow=flow, lines=lines)


def _journal(options: InfluxOptions, graph: str, node: str) -> JournalOptions:
    return (options.journal or JournalOptions()).placed(graph, node)


def _access(options: InfluxOptions, url: Url, tls: ssl.SSLContext | None, wall: Callable[[], float]) -> Access:
    return Access(
        url=url,
        headers={"User-Agent": "retrofit-pipeline", "Accept": "*/*", "Authorization": f"Token {_token(options)}"},
        tls=tls,
        connections=options.inflight,
        timeout=options.timeout,
        wall=wall,
    )


def _token(options: InfluxOptions) -> str:
    try:
        return options.token.reveal()
    except OSError as error:
        raise LinkError("login", f"token file '{error.filename}' can't be read ({error.strerror})") from error


def _explain(answer: Answer) -> LinkError:
    if answer.status not in _MEANINGS:
        return explain_answer(answer)
    reason, detail, advice = _MEANINGS[answer.status]
    said = f": {answer.text}" if answer.text else ""
    return LinkError(reason, f"{detail} (status {answer.status}{said})", advice)
