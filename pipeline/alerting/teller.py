"""Tells notices to an HTTP server, in order, each until the server has taken it; on disk before they are sent.

Memory: the series that are not well, and the outbox, `OUTBOX` notices at most. A process that is killed between an
answer and the note of it tells one group of notices again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec

from pipeline.actor import Mailbox, State
from pipeline.alerting.machine import Machine, Notice, Rules, Saved
from pipeline.errors import LinkError, PartFailed, PipelineError
from pipeline.frame import Frame
from pipeline.operator import Context
from pipeline.posting.answers import Answer, Verdict, explain_answer, judge, reason_of
from pipeline.posting.client import Access, Client
from pipeline.retry import Backoff, Retry
from pipeline.state_file import load, save

__all__ = ["Plan", "Teller"]

OUTBOX = 1000
"""Notices that wait; beyond, the oldest are given up."""
GROUP = 50
"""Notices of a request at most, where the payload takes several."""
LOOK = 1.0
"""Seconds between two looks at what holds, cooldowns and repeats make due."""
GRACE = 2.0
"""Seconds at the end for what waits."""
CALM = 60.0
"""Seconds without a refusal after which the sink counts as well again."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is told, and how.

    Attributes:
        see: shows a frame to the machine at a wall clock; what is to be told then.
        encode: makes a request's body.
        access: asked before the first request and after each failure, off the loop; raises LinkError.
        veil: takes secrets out of what the server says.
        retry: pauses after failures.
        together: several notices may stand in one request.
    """

    see: Callable[[Machine, Frame, float], Iterable[Notice]]
    encode: Callable[[Sequence[Notice]], bytes]
    access: Callable[[], Access]
    veil: Callable[[Answer], Answer]
    retry: Retry
    together: bool


class Teller:
    """One sink. Make it once: `run` may be called again, and goes on.

    Attributes:
        safe: see `Keeper.safe`.
    """

    def __init__(self, context: Context, rules: Rules, path: Path, plan: Plan) -> None:
        """Prepare; nothing is opened.

        Args:
            context: the sink's.
            rules: when something is told.
            path: the file of what outlives a restart.
            plan: what is told, and how.
        """
        self._context = context
        context.keeper = self
        self._rules = rules
        self._path = path
        self._plan = plan
        self._backoff = Backoff(plan.retry)
        self._most = GROUP if plan.together else 1
        self._singly = 0
        self._machine: Machine | None = None
        self._outbox: deque[Notice] = deque()
        self._gone = self.safe = 0
        self._wake = asyncio.Event()
        self._client: Client | None = None
        self._link = self._disk = self._refusal = ""
        self._refused_at = -CALM
        text, node = "notices, by what became of them", context.node
        self._told = context.metrics.counter("edge_notices", text, node=node, outcome="told")
        self._refused = context.metrics.counter("edge_notices", text, node=node, outcome="refused")

    async def run(self, mailbox: Mailbox) -> None:
        """Tell until the mailbox is closed; what waits then is on disk for the next start.

        Raises:
            PipelineError: the file of the last run can't be read.
        """
        if self._machine is None:
            await self._load()
        loop = self._context.clock.loop
        leave = self._context.clock.tick(LOOK, lambda _: self._look())
        tasks = (loop.create_task(mailbox.consume(self._accept)), loop.create_task(self._keep_telling()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            over = loop.time() + GRACE
            while self._outbox and not self._link and loop.time() < over:  # noqa: ASYNC110 - once, at the very end
                await asyncio.sleep(0.02)
        finally:
            leave()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._save()
            await self._forget_client()
        if self._disk:
            raise PartFailed(f"sink '{self._context.node}': {self._disk}")

    @property
    def taken(self) -> int:
        """See `Keeper.taken`: ordinals are versions of what must be saved."""
        return self._gone + (self._machine.version if self._machine else 0)

    @property
    def details(self) -> dict[str, object]:
        """What page and API show."""
        machine = self._machine
        return {
            "firing": machine.firing if machine else 0,
            "waiting": len(self._outbox),
            "told": int(self._told.n),
            "refused": int(self._refused.n),
            "state_file": str(self._path),
        }

    # frames

    def _accept(self, frames: list[Frame]) -> None:
        assert self._machine is not None  # noqa: S101 - loaded before frames are taken
        now = self._context.clock.wall()
        full = self._machine.full
        for frame in frames:
            self._outbox.extend(self._plan.see(self._machine, frame, now))
        if self._machine.full > full:
            self._context.actor.drop("too_many_series", self._machine.full - full)
        self._changed()

    def _look(self) -> None:
        assert self._machine is not None  # noqa: S101 - loaded before the first look
        self._outbox.extend(self._machine.pass_time(self._context.clock.wall()))
        self._changed()
        self._show()

    def _changed(self) -> None:
        while len(self._outbox) > OUTBOX:
            self._pop(1)
            self._context.actor.drop("outbox_full")
        if self._outbox or self.safe != self.taken:
            self._wake.set()

    def _pop(self, count: int) -> None:
        for _ in range(count):
            self._outbox.popleft()
        self._gone += count

    # the file

    async def _load(self) -> None:
        try:
            found, trouble = await self._context.blocking(load, self._path, Saved)
        except OSError as error:
            raise PipelineError(f"state file '{self._path}' can't be read ({error.strerror})") from error
        if trouble:
            advice = "alerts that still fire are told again"
            self._context.log.error("state file replaced", reason=trouble, advice=advice)
        saved = found or Saved()
        self._machine = Machine(self._rules, saved.series)
        self._outbox.extend(saved.outbox)
        self._changed()

    async def _save(self) -> None:
        """Write what has changed; where the disk fails, memory has it, and the next change tries again."""
        if self._machine is None or self.safe == self.taken:
            return
        version = self.taken
        body = msgspec.json.encode(Saved(self._machine.series, list(self._outbox)))
        try:
            await self._context.blocking(save, self._path, body)
        except OSError as error:
            self._disk = f"state file '{self._path}' can't be written ({error.strerror}); alerts are only in memory"
        else:
            self._disk, self.safe = "", version
        self._show()

    # the server

    async def _keep_telling(self) -> None:
        while True:
            self._wake.clear()
            await self._save()
            failure = await self._attempt()
            self._link = str(failure[0]) if failure else ""
            self._show()
            if failure:
                await self._forget_client()
                await asyncio.sleep(max(failure[1], self._backoff.fail()))
            elif not self._outbox and (self._disk or self.safe == self.taken):
                await self._wake.wait()

    async def _attempt(self) -> tuple[LinkError, float] | None:
        """Post the next notices; else why that can't be now, and the seconds that the server asks to wait."""
        try:
            if self._client is None:
                # Also when there is nothing to tell: what is wrong with secrets shows before the first alert.
                self._client = Client(await self._context.blocking(self._plan.access))
            if not self._outbox:
                return None
            group = self._group()
            end = self._gone + len(group)
            answer = self._plan.veil(
                await self._client.post(self._plan.encode(group), {"Content-Type": "application/json"})
            )
        except LinkError as error:
            return error, 0.0
        verdict = judge(answer.status)
        if verdict is Verdict.LATER:
            return explain_answer(answer), answer.pause
        self._backoff.succeed()
        if verdict is Verdict.UNFIT and len(group) > 1:
            self._singly = len(group)  # one of them is meant
            return None
        self._pop(max(0, end - self._gone))  # some may have been pushed out meanwhile
        self._singly = max(0, self._singly - len(group))
        if verdict is Verdict.TAKEN:
            self._told.n += len(group)
        else:
            self._refuse(group[0], answer)
        return None

    def _group(self) -> list[Notice]:
        """What goes into one request: the oldest, of one status, each series once."""
        group: list[Notice] = []
        seen: set[str] = set()
        for notice in islice(self._outbox, 1 if self._singly else self._most):
            if notice.fingerprint in seen or notice.status is not self._outbox[0].status:
                break
            seen.add(notice.fingerprint)
            group.append(notice)
        return group

    def _refuse(self, notice: Notice, answer: Answer) -> None:
        self._refused.n += 1
        self._refused_at = self._context.clock.loop.time()
        self._refusal = f"the server refuses a notice for good: {reason_of(answer)}"
        self._context.log.error("notice refused", reason=reason_of(answer), status=notice.status, labels=notice.labels)

    async def _forget_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _show(self) -> None:
        recent = self._context.clock.loop.time() - self._refused_at < CALM
        trouble = "; ".join(part for part in (self._disk, self._refusal if recent else "") if part)
        if self._link:
            self._context.actor.become(State.BACKING_OFF, "; ".join(part for part in (self._link, trouble) if part))
        else:
            self._context.actor.become(State.DEGRADED if trouble else State.RUNNING, trouble)
