"""Keeps one link to a broker after the other, and a delivery fed through them.

Ordering and guarantee are the delivery's: what is under way when a link ends goes back to its place. Memory: the
window of each link. A link ends when the broker or the network ends it, when the broker is mute, or when it leaves a
message unanswered; pauses between attempts grow, and a client that shares our id makes them long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeline.actor import Mailbox, State
from pipeline.delivery.delivery import Delivery
from pipeline.errors import LinkError, PartFailed
from pipeline.frame import Frame
from pipeline.journal.records import Record
from pipeline.mqtt.attempts import Attempts
from pipeline.mqtt.client import Access, check_version
from pipeline.mqtt.link import CLOSED, DENIED, HUNG_UP, Answer, Link, Outgoing
from pipeline.mqtt.reasons import NO_SUBSCRIBER, NOT_AUTHORISED, REFUSED, judge_puback
from pipeline.mqtt.status import Status
from pipeline.operator import Context
from pipeline.retry import Retry

__all__ = ["Limits", "Publisher"]

CALM = 60.0
"""Seconds without a refusal after which the sink counts as well again."""
HOLD = 60.0
"""Seconds before a topic that the broker denied is tried again; its frames go to the dead letters unsent meanwhile."""
GRACE = 2.0
"""Seconds for acknowledgements at the end."""
GOODBYE = 0.5
"""Seconds for the last status, and again for the disconnect."""
COMMIT = 1.5
"""Seconds for the last commit; with the times above, a sink ends within 4.5 s."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How a publisher behaves; times in seconds.

    Attributes:
        qos: of the frames.
        inflight: frames under way at most.
        connect_timeout: for name, TCP, TLS and login together.
        ack_timeout: a message without an acknowledgement for this long ends the link.
        require_subscriber: what no subscriber gets is kept and tried again.
        retry: pauses between attempts to connect.
    """

    qos: int
    inflight: int
    connect_timeout: float
    ack_timeout: float
    require_subscriber: bool
    retry: Retry


class Publisher:
    """One run of a sink."""

    def __init__(
        self, context: Context, delivery: Delivery, status: Status, access: Callable[[], Access], limits: Limits
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            context: the sink's.
            delivery: not yet open; closed when `run` ends.
            status: what is said beside the frames.
            access: asked before each connection, off the loop; raises LinkError where its files can't be read.
            limits: see there.
        """
        self._context = context
        self._delivery = delivery
        self._status = status
        self._access = access
        self._limits = limits
        self._now = context.clock.loop.time
        self._link: Link | None = None
        self._client_id = ""
        self._attempts = Attempts(limits.retry)
        self._denied: dict[str, float] = {}
        self._refusal = ""
        self._trouble = ""
        self._trouble_until = 0.0
        self._probing = False
        self._probe: int | None = None
        label = {"node": context.node}
        text = "messages that the broker took though nobody subscribes to them"
        self._unheard = context.metrics.counter("edge_publish_unheard", text, **label)
        self._connects = context.metrics.counter("edge_connects", "connections made", **label)

    async def run(self, mailbox: Mailbox) -> None:
        """Publish until the mailbox is closed; then say goodbye and leave the rest on disk.

        Raises:
            PartFailed: frames are neither acknowledged nor on disk.
            JournalError: the journal can't be opened.
        """
        check_version()
        await self._delivery.open()
        loop = self._context.clock.loop
        tasks = (loop.create_task(mailbox.consume(self._accept)), loop.create_task(self._stay_connected()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await self._say_goodbye()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            unsafe = await self._delivery.close(COMMIT)
        if unsafe:
            raise PartFailed(f"sink '{self._context.node}': {unsafe} frames are neither acknowledged nor on disk")

    # frames

    def _accept(self, frames: list[Frame]) -> None:
        self._status.know(frames[0].origin.tenant_id)
        self._delivery.accept(frames)

    def _send(self, records: Sequence[Record]) -> int:
        if self._link is None:
            return 0
        if self._probing and records:
            self._probe = records[0].n
        return self._link.publish(records, self._unfit)

    def _unfit(self, n: int, reason: str) -> None:
        self._delivery.refuse(n, reason, permanent=True, unsent=True)
        # On hold, a topic's trouble has been told already.
        self._degrade(self._trouble if reason == DENIED else f"{reason}: the frame is with the dead letters")

    def _answered(self, answers: list[Answer]) -> None:
        good = [message.n for message, code, _ in answers if message is not None and not code]
        if len(good) < len(answers):
            good = self._sort_out(answers)
        self._delivery.acknowledge_all(good)

    def _sort_out(self, answers: list[Answer]) -> list[int]:
        """Deal with what is refused, unheard or no frame; the others."""
        good: list[int] = []
        for message, code, said in answers:
            if message is None:
                if code >= REFUSED:
                    reason = judge_puback(code).reason
                    self._context.log.warning("status refused", topic=self._status.topic, reason=reason)
            elif code < REFUSED and not (code and self._limits.require_subscriber):
                good.append(message.n)
                self._unheard.n += code == NO_SUBSCRIBER
            else:
                self._refused(message, code, said)
        return good

    def _refused(self, message: Outgoing, code: int, said: str) -> None:
        refusal = judge_puback(code)
        if code == NOT_AUTHORISED:
            self._denied[message.topic] = self._now() + HOLD
        self._refusal = refusal.reason
        self._delivery.refuse(message.n, refusal.reason, permanent=refusal.permanent)
        fate = "the frame is with the dead letters" if refusal.permanent else "kept and tried again"
        words = f"the broker refuses {message.topic}: {refusal.reason}" + f" ({said})" * bool(said)
        self._degrade("; ".join(part for part in (words, refusal.advice, fate) if part))

    def _degrade(self, reason: str) -> None:
        self._trouble = reason
        self._trouble_until = self._now() + CALM
        self._tell()

    def _tell(self) -> None:
        """The state of a connected sink: well, or what troubles it or did a short while ago."""
        if self._link is not None:
            recent = self._trouble if self._now() < self._trouble_until else ""
            self._delivery.tell(State.DEGRADED if recent else State.RUNNING, recent)

    # links

    async def _stay_connected(self) -> None:
        """Connect, and again after each end, for ever."""
        await self._status.ready()
        while True:
            try:
                link = await self._open()
            except LinkError as failure:
                error = failure
                self._attempts.failed(failure)
            else:
                error = await self._serve(link)
                if error.reason == CLOSED:
                    return
            pause = self._attempts.pause(error)
            self._delivery.tell(State.BACKING_OFF, str(error))
            await asyncio.sleep(pause)

    async def _open(self) -> Link:
        access: Access = await self._context.blocking(self._access)
        self._client_id = access.client_id
        if self._status:
            access = replace(access, will=(self._status.topic, self._status.will))
        link = Link(access, self._answered, self._delivery.wake, self._denied)
        await link.open(self._limits.connect_timeout)
        if link.best_qos < self._limits.qos:
            link.abort(LinkError(CLOSED))
            raise LinkError("protocol", "the broker grants QoS 0 only", "set qos: 0")
        return link

    async def _serve(self, link: Link) -> LinkError:
        """Feed a link until it ends; why it ended."""
        began = self._now()
        self._refusal = ""
        self._link = link
        self._connects.n += 1
        if self._status:
            link.announce(self._status.topic, self._status.online)
        self._tell()
        # One place of the broker's window stays free for announcements.
        window = 1 if self._probing else min(self._limits.inflight, max(1, link.window - 1))
        self._delivery.connected(self._send, window)
        period = min(link.keep_alive, self._limits.ack_timeout) / 4
        leave = self._context.clock.tick(period, lambda _: self._watch(link))
        try:
            error = await link.ended
            self._isolate(error)
        finally:
            leave()
            self._link = None
            self._delivery.disconnected()
            link.abort(LinkError(CLOSED))
        return self._judge(error, self._now() - began)

    def _judge(self, error: LinkError, lasted: float) -> LinkError:
        """What the end of a link means for the next attempts."""
        if error.reason == HUNG_UP and self._refusal:
            # Mosquitto with max_queued_messages 0 answers a denied message, and then closes. The topic is on hold now.
            self._attempts.explained()
            detail = f"the broker hung up after it refused a message ({self._refusal})"
            return LinkError("refused", detail, self._trouble)
        return self._attempts.judge(error, lasted, self._client_id)

    def _isolate(self, error: LinkError) -> None:
        """Find a message for which the broker closes connections: send one at a time until it shows itself."""
        if error.reason == "poison" and self._probing and self._probe is not None:
            self._delivery.refuse(self._probe, error.detail, permanent=True)
            self._probing = False
        else:
            self._probing = error.reason == "poison"
        self._probe = None

    def _watch(self, link: Link) -> None:
        """A few times per keep-alive: pings, missing acknowledgements, and whether refusals are over."""
        link.watch()
        age = self._delivery.oldest_unacknowledged()
        if age is not None and age > self._limits.ack_timeout:
            detail = f"no acknowledgement within {self._limits.ack_timeout:g} s"
            link.abort(LinkError("timeout", detail, "the broker hangs or drops messages; connecting anew"))
        else:
            self._tell()

    # end

    async def _say_goodbye(self) -> None:
        """Wait a little for what is under way, tell the last `seq`, disconnect."""
        link = self._link
        if link is None:
            return
        # The backlog may be long: what is not under way now stays on disk.
        await self._delivery.settle(GRACE)
        if link.ended.done():
            return
        if self._status:
            link.announce(self._status.topic, self._status.offline)
            # Closing before the answers are read would reset the connection, and what is on its way with it.
            over = self._now() + GOODBYE
            while link.unacknowledged and self._now() < over:  # noqa: ASYNC110 - once, at the very end
                await asyncio.sleep(0.02)
        self._delivery.disconnected()
        await link.close(GOODBYE)
