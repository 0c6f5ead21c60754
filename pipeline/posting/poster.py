"""Feeds a delivery through HTTP: gathers batches, posts them, splits what is refused, backs off.

Ordering and guarantee are the delivery's. Memory: `inflight` batches under way and one that is gathered. What says that
nothing can be delivered now (no connection, 5xx, 429, a refused login) puts everything unanswered back in its place;
after the pause one batch tries. With nothing to deliver the server is asked all the same whether it would take
something, or at least reached: what is wrong with it shows before the first frame.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from pipeline.actor import Mailbox, State
from pipeline.delivery.delivery import Delivery
from pipeline.errors import LinkError, PartFailed
from pipeline.journal.records import Record
from pipeline.operator import Context
from pipeline.posting.answers import Answer, Verdict, explain_answer, judge, reason_of
from pipeline.posting.client import Access, Client
from pipeline.retry import Backoff, Retry

__all__ = ["Compression", "Form", "Limits", "Poster"]

CALM = 60.0
"""Seconds without a refusal after which the sink counts as well again."""
GRACE = 2.0
"""Seconds for answers at the end."""
COMMIT = 2.5
"""Seconds for the last commit."""
_AT_ONCE = 16 * 1024
"""Bytes that are compressed on the loop; more leave it for a thread."""


class Form(StrEnum):
    """How frames stand in a body."""

    LINES = "lines"
    ARRAY = "array"
    OBJECT = "object"


class Compression(StrEnum):
    """How bodies are compressed."""

    NONE = "none"
    GZIP = "gzip"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How a poster behaves.

    Attributes:
        form: how frames stand in a body; `object` posts one at a time.
        compression: of the bodies.
        batch: frames in a body at most.
        batch_bytes: bytes of them before compression; a longer frame goes alone.
        linger: seconds that a batch waits for more frames.
        inflight: requests at once.
        retry: pauses after failures.
        content_type: of the bodies; empty: the form's.
        ask: a body without frames may be posted, and is answered as one with frames would be, but for the frames.
        explain: says what an answer means that speaks of something else than the frames.
    """

    form: Form
    compression: Compression
    batch: int
    batch_bytes: int
    linger: float
    inflight: int
    retry: Retry
    content_type: str = ""
    ask: bool = False
    explain: Callable[[Answer], LinkError] = explain_answer


_TYPES = {Form.LINES: "application/x-ndjson", Form.ARRAY: "application/json", Form.OBJECT: "application/json"}


class Poster:
    """One run of a sink."""

    def __init__(self, context: Context, delivery: Delivery, access: Callable[[], Access], limits: Limits) -> None:
        """Prepare; nothing is opened.

        Args:
            context: the sink's.
            delivery: not yet open; closed when `run` ends.
            access: asked at the start and after each failure, off the loop; raises LinkError where its files can't be
                read.
            limits: see there.
        """
        self._context = context
        self._delivery = delivery
        self._access = access
        self._limits = limits
        self._loop = context.clock.loop
        self._backoff = Backoff(limits.retry)
        self._failed: asyncio.Future[tuple[LinkError, float]] | None = None
        self._client: Client | None = None
        self._gathered: list[Record] = []
        self._size = 0
        self._ripe = False
        self._timer: asyncio.TimerHandle | None = None
        self._posts: set[asyncio.Task[None]] = set()
        self._refusal = ""
        self._refused_at = -CALM
        self._headers = {"Content-Type": limits.content_type or _TYPES[limits.form]}
        if limits.compression is Compression.GZIP:
            self._headers["Content-Encoding"] = "gzip"

    async def run(self, mailbox: Mailbox) -> None:
        """Post until the mailbox is closed; then wait a little for answers and leave the rest on disk.

        Raises:
            PartFailed: frames are neither acknowledged nor on disk.
            JournalError: the journal can't be opened.
        """
        await self._delivery.open()
        tasks = (
            self._loop.create_task(mailbox.consume(self._delivery.accept)),
            self._loop.create_task(self._keep_posting()),
        )
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            self._launch(ripe=True)
            if self._posts:
                await self._delivery.settle(GRACE)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            unsafe = await self._delivery.close(COMMIT)
        if unsafe:
            raise PartFailed(f"sink '{self._context.node}': {unsafe} frames are neither acknowledged nor on disk")

    # one good time after the other

    async def _keep_posting(self) -> None:
        while True:
            try:
                access: Access = await self._context.blocking(self._access)
            except LinkError as failure:
                error, pause = failure, 0.0
            else:
                error, pause = await self._serve(access)
            self._delivery.tell(State.BACKING_OFF, str(error))
            await asyncio.sleep(max(pause, self._backoff.fail()))

    async def _serve(self, access: Access) -> tuple[LinkError, float]:
        """Feed the server until it can't take more; why, and the seconds that it asks to wait."""
        self._client = Client(access)
        self._failed = self._loop.create_future()
        self._delivery.connected(self._send, self._limits.inflight * self._limits.batch)
        if not self._delivery.unacknowledged:
            self._start(self._look(self._client))
        try:
            failure = await self._failed
            # What else is under way may still be taken: then it need not be sent again.
            if self._posts:
                await asyncio.wait(self._posts)
            return failure
        finally:
            self._failed = None
            for post in self._posts:
                post.cancel()
            if self._posts:
                await asyncio.wait(self._posts)
            self._delivery.disconnected()
            self._forget()
            await self._client.close()

    def _fail(self, error: LinkError, pause: float = 0.0) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_result((error, pause))

    # batches

    def _send(self, records: Sequence[Record]) -> int:
        """Gather records; how many were taken, from the first on."""
        taken = 0
        for record in records:
            if self._is_full(len(record.body)) and not self._launch(ripe=True):
                break
            if self._failed is None or self._failed.done():
                break
            self._gathered.append(record)
            self._size += len(record.body)
            taken += 1
        if self._gathered and not self._launch() and self._timer is None and self._limits.linger:
            self._timer = self._loop.call_later(self._limits.linger, partial(self._launch, ripe=True))
        return taken

    def _is_full(self, more: int = 0) -> bool:
        """Whether `more` bytes don't fit into the gathered batch."""
        limits = self._limits
        return bool(self._gathered) and (len(self._gathered) >= limits.batch or self._size + more > limits.batch_bytes)

    def _launch(self, *, ripe: bool = False) -> bool:
        """Post what is gathered if it is ripe and a request is free; a batch that must wait for one stays ripe."""
        self._ripe = self._ripe or ripe or not self._limits.linger or len(self._gathered) >= self._limits.batch
        if not self._gathered or not self._ripe or self._failed is None or self._failed.done():
            return False
        if len(self._posts) >= (1 if self._backoff.attempts else self._limits.inflight):
            return False
        self._start(self._deliver(self._gathered))
        self._forget()
        return True

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        post = self._loop.create_task(work)
        self._posts.add(post)
        post.add_done_callback(self._posted)

    def _forget(self) -> None:
        """Begin a new batch."""
        self._gathered, self._size, self._ripe = [], 0, False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _posted(self, post: asyncio.Task[None]) -> None:
        self._posts.discard(post)
        error = None if post.cancelled() else post.exception()
        if error is not None and self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)
        self._launch()
        self._delivery.wake()

    async def _look(self, client: Client) -> None:
        """With nothing to deliver, see whether the server would take something, or is there at least."""
        try:
            if not self._limits.ask:
                await client.reach()
            else:
                answer = await client.post(b"", {"Content-Type": self._headers["Content-Type"]})
                if judge(answer.status) is Verdict.LATER:
                    self._fail(self._limits.explain(answer), answer.pause)
                    return
        except LinkError as error:
            self._fail(error)
            return
        self._backoff.succeed()
        self._tell_well()

    async def _deliver(self, batch: list[Record]) -> None:
        """Post a batch until each of its frames is taken or refused, or nothing can be delivered."""
        waiting = [batch]
        while waiting and self._client is not None and self._failed is not None and not self._failed.done():
            part = waiting.pop()
            try:
                answer = await self._client.post(await self._encode(part), self._headers)
            except LinkError as error:
                self._fail(error)
                return
            self._count(answer)
            verdict = judge(answer.status)
            if verdict is Verdict.LATER:
                self._fail(self._limits.explain(answer), answer.pause)
                return
            self._backoff.succeed()
            if verdict is Verdict.TAKEN:
                self._take(part)
            elif len(part) == 1:
                self._refuse(part[0], answer)
            else:
                half = len(part) // 2
                waiting += [part[half:], part[:half]]

    async def _encode(self, records: list[Record]) -> bytes:
        bodies = [record.body for record in records]
        form = self._limits.form
        body = b"[" + b",".join(bodies) + b"]" if form is Form.ARRAY else b"\n".join(bodies)
        if form is Form.LINES:
            body += b"\n"
        if self._limits.compression is Compression.NONE:
            return body
        if len(body) <= _AT_ONCE:
            return gzip.compress(body, mtime=0)
        return bytes(await self._context.blocking(partial(gzip.compress, body, mtime=0)))

    # what is told

    def _tell_well(self) -> None:
        recent = self._refusal if self._loop.time() - self._refused_at < CALM else ""
        self._delivery.tell(State.DEGRADED if recent else State.RUNNING, recent)

    def _take(self, records: list[Record]) -> None:
        self._tell_well()
        self._delivery.acknowledge_all([record.n for record in records])

    def _refuse(self, record: Record, answer: Answer) -> None:
        self._refused_at = self._loop.time()
        reason = reason_of(answer)
        self._refusal = f"the server refuses: {reason}; the frame is with the dead letters"
        self._delivery.tell(State.DEGRADED, self._refusal)
        self._delivery.refuse(record.n, reason, permanent=True)

    def _count(self, answer: Answer) -> None:
        labels = {"node": self._context.node, "status": str(answer.status)}
        self._context.metrics.counter("edge_posts", "requests by the status of their answer", **labels).n += 1
