"""Posts frames to an HTTP server, in batches, each until the server has taken it.

Ordering: ascending `seq` per PLC within a lane (live, replay); with `inflight` above 1 requests may cross each other.
Delivery: at least once; 2xx means that the whole batch is taken, and what is not taken is on disk within the journal's
`commit_interval`. Memory: `inflight` batches and one more; all other frames wait in the journal, bounded by `max_size`.
On disconnect: what was under way goes back to its place and is sent again, after a pause that grows.

Answers that say nothing of the frames (no login, wrong path, 429, 5xx, redirects) keep everything and are tried again,
Retry-After included. Another 4xx (400, 409, 413, 422, …) splits the batch until the frames that it means stand alone:
only those go to the dead letters, from where `journal requeue` brings them back. Redirects are not followed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from pipeline.actor import Mailbox
from pipeline.codecs import CODECS, Envelope
from pipeline.delivery.delivery import Delivery
from pipeline.errors import Finding, Severity
from pipeline.journal.options import JournalOptions
from pipeline.operator import Claim, Context, Flow, Forecast, Options, RunSink, Scope, sink
from pipeline.posting.client import Access, Url
from pipeline.posting.headers import check_headers, make_headers
from pipeline.posting.poster import Compression, Form, Limits, Poster
from pipeline.retry import Retry
from pipeline.tls import TlsOptions, is_loopback, make_context
from pipeline.units import Duration, Secret, Size

if TYPE_CHECKING:
    from pipeline.diagnosis import Diagnosis, Situation
    from pipeline.testing.stage import Stage

__all__ = ["HttpOptions", "http"]

OVERHEAD = 500
"""Bytes a request around its body: HTTP, TLS, TCP, IP, and its answer."""
STAMP = 47
"""Bytes of `seq` and `boot` in a payload."""


class HttpOptions(Options):
    """Options of `http`."""

    url: Annotated[str, Meta(description="where frames are posted: https://server/path", min_length=1)]
    token: Annotated[Secret, Meta(description="sent as Authorization: Bearer; empty for none")] = Secret()
    headers: Annotated[dict[str, Secret], Meta(description="further headers, such as X-Api-Key")] = msgspec.field(
        default_factory=dict
    )
    format: Annotated[
        Form, Meta(description="body: lines of JSON, one JSON array, or one object (then one frame a request)")
    ] = Form.LINES
    compression: Annotated[Compression, Meta(description="gzip, if the server takes that")] = Compression.NONE
    batch: Annotated[int, Meta(description="frames of a request at most", ge=1, le=10_000)] = 100
    batch_bytes: Annotated[Size, Meta(description="bytes of a request at most, uncompressed", ge=1024)] = Size(1024**2)
    linger: Annotated[
        Duration, Meta(description="how long a frame waits for others; 0s: only while a request is under way", ge=0)
    ] = Duration(0)
    inflight: Annotated[int, Meta(description="requests at once", ge=1, le=32)] = 1
    timeout: Annotated[Duration, Meta(description="for a request, connecting and answer included", gt=0)] = Duration(10)
    envelope: Annotated[Envelope, Meta(description="full, or seed: without seq, boot and marks")] = Envelope.FULL
    tls: Annotated[TlsOptions, Meta(description="what is trusted with https, and who we are")] = TlsOptions()
    journal: Annotated[
        JournalOptions | None, Meta(description="where and how frames wait until they are acknowledged")
    ] = None
    retry: Annotated[Retry, Meta(description="pauses after failures")] = Retry()
    breaker: Annotated[int, Meta(description="so many refused frames in a row pause the sending", ge=1)] = 100

    def check(self, scope: Scope) -> Iterator[Finding]:
        """An address that is none, headers that can't be, and all that makes frames less safe than they could be."""
        del scope
        yield from self._check_url()
        yield from check_headers(self.headers, self.token)
        if self.envelope is Envelope.SEED:
            message = "without seq and boot no gap can be seen"
            yield Finding(path=("envelope",), message=message, severity=Severity.WARNING)

    def _check_url(self) -> Iterator[Finding]:
        try:
            url = Url.parse(self.url)
        except ValueError as error:
            yield Finding(path=("url",), message=f"can't be posted to: {error}", hint="write it as https://host/path")
            return
        if url.secure and not self.tls.enabled:
            yield Finding(path=("tls", "enabled"), message="`url` says https", hint="write http:// for none")
        if not url.secure and (self.tls.ca_file or self.tls.cert_file):
            yield Finding(path=("tls",), message="`url` says http, so nothing is encrypted", hint="write https://")
        elif not url.secure and not is_loopback(url.host):
            message = "frames and token travel in clear"
            yield Finding(path=("url",), message=message, hint="write https://", severity=Severity.WARNING)

    @property
    def together(self) -> int:
        """Frames of a request at most."""
        return 1 if self.format is Form.OBJECT else self.batch


@sink(capacity=50_000)
def http(options: HttpOptions, context: Context) -> RunSink:
    """A poster with a journal."""
    url = Url.parse(options.url)
    delivery = Delivery(
        context,
        _journal(options, context.graph, context.node),
        CODECS[options.envelope],
        lambda _: (url.path, 1),
        url.server,
        mode="http",
        retry=options.retry,
        breaker=options.breaker,
    )

    def access() -> Access:
        """Read anew after each failure, so that rotated files count."""
        return Access(
            url=url,
            headers=make_headers(options.headers, options.token),
            tls=make_context(options.tls) if url.secure else None,
            connections=options.inflight,
            timeout=options.timeout,
            wall=context.clock.wall,
        )

    limits = Limits(
        form=options.format,
        compression=options.compression,
        batch=options.together,
        batch_bytes=options.batch_bytes,
        linger=options.linger,
        inflight=options.inflight,
        retry=options.retry,
    )
    context.details = lambda: {"url": str(url), **delivery.stats()}

    async def run(mailbox: Mailbox) -> None:
        await Poster(context, delivery, access, limits).run(mailbox)

    return run


@http.claims
def _claims(options: HttpOptions, scope: Scope) -> Iterable[Claim]:
    yield _journal(options, scope.graph, scope.node).claim(Url.parse(options.url).server)


@http.diagnose
async def _diagnose(options: HttpOptions, _: Situation) -> AsyncIterator[Diagnosis]:
    from pipeline.posting.diagnosis import diagnose_server  # noqa: PLC0415 - a running graph needs none

    async for each in diagnose_server(Url.parse(options.url), options.tls, options.timeout):
        yield each


@http.stages
def _stages(options: HttpOptions, _: Scope) -> Iterable[Stage]:
    from pipeline.testing.server import ServerStage  # noqa: PLC0415 - a running graph needs none

    url = Url.parse(options.url)
    yield ServerStage(url.host, url.port)


@http.predict
def _predict(options: HttpOptions, scope: Scope, inflow: Flow) -> Forecast:
    stamp = STAMP if options.envelope is Envelope.FULL else 0
    flow = Flow(frames=inflow.frames, size=inflow.size + stamp)
    # A batch gathers what comes within `linger`; without it each frame goes as soon as the last request is answered.
    requests = flow.frames / min(options.together, max(1.0, flow.frames * options.linger))
    lines = (
        ("requests a second", f"at most {requests:.4g}"),
        ("bytes a day", f"{Size(86400 * (flow.frames * flow.size + requests * OVERHEAD))} uncompressed"),
        *_journal(options, scope.graph, scope.node).forecast(flow),
    )
    return Forecast(flow=flow, lines=lines)


def _journal(options: HttpOptions, graph: str, node: str) -> JournalOptions:
    return (options.journal or JournalOptions()).placed(graph, node)
