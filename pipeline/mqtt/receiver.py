"""Keeps one subscription to a broker after the other, and gives a source what comes, as fast as the graph takes it.

A message waits here while a sink behind asks for a pause; it is given as a frame, and acknowledged once its checkpoint
has passed. What is not acknowledged when a connection ends comes again with the next one; what of it was given already
is not given twice where the broker's session tells that it is the same. Memory: the window, and what the last reads of
the socket have brought beyond it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.actor import State
from pipeline.errors import LinkError
from pipeline.frame import Frame
from pipeline.messages import Malformed
from pipeline.mqtt.attempts import Attempts
from pipeline.mqtt.client import Access, check_version
from pipeline.mqtt.filters import levels_of, matches
from pipeline.mqtt.link import CLOSED, TOPICS
from pipeline.mqtt.publisher import CALM
from pipeline.mqtt.subscription import Message, Subscription
from pipeline.operator import Context, Emit
from pipeline.retry import Retry

__all__ = ["Receiver", "Wanted"]

POLL = 0.02
"""Seconds between two looks at what is under way; so late an acknowledgement may be."""
GOODBYE = 0.6
"""Seconds at the end for what is under way, so that it need not come again."""
CLOSING = 0.2
SHOWN = 200
"""Bytes of a malformed message that are shown."""
REFUSED = "subscription"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is received, and how.

    Attributes:
        topics: filters.
        qos: 0 or 1.
        window: messages taken and not yet processed, at most.
        connect_timeout: seconds for name, TCP, TLS, login; again for the subscription.
        retry: pauses between attempts to connect.
        read: topic, body and arrival (seconds since 1970) to a frame, None for what is none by design; raises
            Malformed.
    """

    topics: Sequence[str]
    qos: int
    window: int
    connect_timeout: float
    retry: Retry
    read: Callable[[str, bytes, float], Frame | None]


@dataclass
class _Batch:
    """Messages that were given together, and what says whether they are processed."""

    messages: list[Message]
    passed: Callable[[], bool]


@dataclass
class _Trouble:
    """The latest malformed message."""

    reason: str = ""
    until: float = 0.0
    shown: dict[str, object] = field(default_factory=dict)


class Receiver:
    """One run of a source."""

    def __init__(self, context: Context, access: Callable[[], Access], wanted: Wanted) -> None:
        """Prepare; nothing is opened.

        Args:
            context: the source's.
            access: asked before each connection, off the loop; raises LinkError where its files can't be read.
            wanted: see there.
        """
        self._context = context
        self._access = access
        self._wanted = wanted
        self._loop = context.clock.loop
        self._filters = [levels_of(topic) for topic in wanted.topics]
        self._known: dict[str, bool] = {}
        self._emit: Emit = lambda _: None
        self._task: asyncio.Task[None] | None = None
        self._link: Subscription | None = None
        self._client_id = ""
        self._waiting: deque[Message] = deque()
        self._under_way: deque[_Batch] = deque()
        self._given: dict[int, tuple[Message, Callable[[], bool]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._refused: Mapping[str, str] = {}
        self._trouble = _Trouble()
        self._attempts = Attempts(wanted.retry)
        metrics, node = context.metrics, context.actor.name
        text = "messages received, by what became of them"
        self._counters = {
            outcome: metrics.counter("edge_messages", text, node=node, outcome=outcome)
            for outcome in ("taken", "malformed", "passed_over", "unwanted")
        }
        self._connects = metrics.counter("edge_connects", "connections made", node=node)

    async def run(self, emit: Emit) -> None:
        """Receive for ever; when cancelled, take no more, acknowledge what gets processed in time, disconnect."""
        check_version()
        self._emit = emit
        self._task = asyncio.current_task()
        try:
            while True:
                error = await self._connect_once()
                pause = self._attempts.pause(error)
                self._context.actor.become(State.BACKING_OFF, str(error))
                await asyncio.sleep(pause)
        finally:
            await self._say_goodbye()

    @property
    def details(self) -> dict[str, object]:
        """What page and API show."""
        return {
            "client_id": self._client_id,
            "topics": list(self._wanted.topics),
            "messages": {outcome: int(counter.n) for outcome, counter in self._counters.items()},
            "waiting": len(self._waiting),
            "under_way": self._size,
            "last_malformed": self._trouble.shown or None,
        }

    # connections

    async def _connect_once(self) -> LinkError:
        """One connection from its beginning to its end; why it ended."""
        began = self._loop.time()
        try:
            access: Access = await self._context.blocking(self._access)
            self._client_id = access.client_id
            link = Subscription(access, self._receive)
            await link.open(self._wanted.connect_timeout)
        except LinkError as failure:
            self._attempts.failed(failure)
            return failure
        self._link = link
        self._connects.n += 1
        try:
            error = await self._serve(link)
            return self._attempts.judge(error, self._loop.time() - began, self._client_id)
        finally:
            if not self._leaving:
                self._lose(link)

    async def _serve(self, link: Subscription) -> LinkError:
        if not link.resumed:
            self._given.clear()
        self._work()  # a kept session's messages come right behind the broker's greeting
        leave = self._context.clock.tick(link.keep_alive / 4, lambda _: self._watch(link))
        try:
            self._refused = await link.subscribe(self._wanted.topics, self._wanted.qos, self._wanted.connect_timeout)
            if len(self._refused) == len(self._wanted.topics) and not link.best_qos < self._wanted.qos:
                return LinkError(REFUSED, self._refusal())
            self._tell()
            # Not awaited itself: a task that is cancelled cancels the future that it awaits.
            await asyncio.wait({link.ended})
            return link.ended.result()
        except LinkError as error:
            return error
        finally:
            leave()

    def _lose(self, link: Subscription) -> None:
        """Forget what comes again; remember what of it was given."""
        link.abort(LinkError(CLOSED))
        self._link = None
        self._waiting.clear()
        for batch in self._under_way:
            self._given.update((message.mid, (message, batch.passed)) for message in batch.messages if message.mid)
        self._under_way.clear()

    def _watch(self, link: Subscription) -> None:
        link.watch()
        if self._link is link and link.subscribed:
            self._tell()

    def _tell(self) -> None:
        """The state of a connected source: well, or what troubles it."""
        reason = self._refusal() if self._refused else ""
        if not reason and self._waiting and self._context.paused:
            reason = "paused: a sink behind is full; the broker keeps what comes"
        if not reason and self._loop.time() < self._trouble.until:
            reason = self._trouble.reason
        self._context.actor.become(State.DEGRADED if reason else State.RUNNING, reason)

    def _refusal(self) -> str:
        return "; ".join(f"{topic}: {why}" for topic, why in self._refused.items())

    async def _say_goodbye(self) -> None:
        link = self._link
        if self._timer is not None:
            self._timer.cancel()
        if link is None:
            return
        link.hold(True)
        over = self._loop.time() + GOODBYE
        while self._under_way and self._loop.time() < over and not link.ended.done():
            self._acknowledge()
            await asyncio.sleep(POLL)
        await link.close(CLOSING)
        self._link = None

    # messages

    @property
    def _leaving(self) -> bool:
        """Nobody hears any more what is given."""
        return self._task is None or bool(self._task.cancelling())

    @property
    def _size(self) -> int:
        return sum(len(batch.messages) for batch in self._under_way)

    def _receive(self, messages: list[Message]) -> None:
        self._waiting.extend(messages)
        self._work()

    def _work(self) -> None:
        """Acknowledge what is processed, give what may be given, come back while there is something left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._link is None or self._leaving:
            return
        self._acknowledge()
        under_way = self._size
        try:
            if self._waiting and self._context.paused:
                self._tell()
            elif self._waiting and under_way < self._wanted.window:
                self._give(self._wanted.window - under_way)
        finally:
            # MQTT 3.1.1 has no window for what it sends, and not every broker of MQTT 5 keeps to ours.
            self._link.hold(bool(self._waiting))
            if self._waiting or self._under_way:
                self._timer = self._loop.call_later(POLL, self._work)

    def _acknowledge(self) -> None:
        done: list[Message] = []
        while self._under_way and self._under_way[0].passed():
            done += self._under_way.popleft().messages
        if done and self._link is not None:
            self._link.confirm(done)

    def _give(self, room: int) -> None:
        """Give the oldest messages that wait, at most `room`."""
        given: list[Message] = []
        now = self._context.clock.wall()
        try:
            for _ in range(min(room, len(self._waiting))):
                message = self._waiting.popleft()
                before = self._given.pop(message.mid, None) if message.again else None
                if before is not None and (before[0].topic, before[0].body) == (message.topic, message.body):
                    self._under_way.append(_Batch([message], before[1]))
                else:
                    given.append(message)
                    self._read(message, now)
        finally:
            if given:
                self._under_way.append(_Batch(given, self._context.checkpoint()))

    def _read(self, message: Message, now: float) -> None:
        if not self._is_wanted(message.topic):
            self._counters["unwanted"].n += 1
            return
        try:
            frame = self._wanted.read(message.topic, message.body, now)
        except Malformed as error:
            self._set_aside(message, str(error), now)
            return
        except Exception as error:  # one message must not take its neighbours along
            self._context.log.exception("message can't be read by a defect of the code", topic=message.topic)
            self._set_aside(message, repr(error), now)
            return
        if frame is None:
            self._counters["passed_over"].n += 1
        else:
            self._counters["taken"].n += 1
            self._emit(frame)

    def _is_wanted(self, topic: str) -> bool:
        """Whether a topic is subscribed now; a session may hold subscriptions of former times."""
        known = self._known.get(topic)
        if known is None:
            if len(self._known) >= TOPICS:
                self._known.clear()
            known = self._known[topic] = any(matches(levels, topic) for levels in self._filters)
            if not known:
                advice = "the session at the broker knows topics of former times; another client_id begins a new one"
                self._context.log.warning("messages of a topic that is not subscribed", topic=topic, advice=advice)
        return known

    def _set_aside(self, message: Message, reason: str, now: float) -> None:
        self._counters["malformed"].n += 1
        body = message.body[:SHOWN].decode("utf-8", "replace")
        if self._loop.time() >= self._trouble.until:
            self._context.log.warning("malformed message", topic=message.topic, reason=reason, body=body)
        shown = {"ts": round(now, 3), "topic": message.topic, "reason": reason, "body": body}
        self._trouble = _Trouble(f"malformed message on {message.topic}: {reason}", self._loop.time() + CALM, shown)
        self._tell()
