"""At least once, whatever the protocol: accepts frames, keeps them until they are acknowledged, sends them in order.

A sink gives it a connection (`connected`) and tells what the receiver said (`acknowledge`, `refuse`); this machine
keeps the in-flight table, the journal, the lanes, retries and the breaker. Everything here runs on the loop and returns
at once; the disk is reached through `Commits`. A frame is in exactly one of these places: waiting for its commit, on
disk, acknowledged, dropped (counted with a reason). Memory is bounded: the window, the lanes' limit, one read ahead,
and what waits for its commit.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pipeline.actor import State
from pipeline.codecs import Codec
from pipeline.delivery.admission import Admission
from pipeline.delivery.breaker import Breaker
from pipeline.delivery.commits import Commits
from pipeline.delivery.lanes import Lanes, mark_replayed
from pipeline.delivery.ledger import Ledger
from pipeline.delivery.letters import Letters
from pipeline.delivery.sender import Send, Sender
from pipeline.delivery.stats import Intake, report, stats
from pipeline.errors import JournalError
from pipeline.frame import Frame, Origin
from pipeline.journal.options import JournalOptions
from pipeline.journal.records import Record
from pipeline.journal.work import Outcome
from pipeline.numbering import Stream
from pipeline.operator import Context
from pipeline.retry import Backoff, Retry

__all__ = ["Delivery", "Record"]

_LATEST = 60.0
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Delivery:
    """The reliable part of one sink. Make it once: `open` and `close` may alternate, `seq` goes on.

    Attributes:
        unacknowledged: frames accepted, now or before a restart, and not yet acknowledged, refused or dropped.
    """

    def __init__(
        self,
        context: Context,
        journal: JournalOptions,
        codec: Codec,
        address: Callable[[Origin], tuple[str, int]],
        receiver: str,
        *,
        mode: str = "mqtt",
        retry: Retry | None = None,
        breaker: int = 100,
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            context: the sink's.
            journal: its journal's options.
            codec: makes the bodies.
            address: topic and QoS of the frames of an origin; asked once for each.
            receiver: who the journal is for, such as `mqtts://host:8883`.
            mode: the label of the published counters.
            retry: pauses of refused records, and of the breaker.
            breaker: so many refusals in a row pause the sending; one record tries when the pause is over.
        """
        self.unacknowledged = 0
        self.options = journal
        self._context = context
        context.keeper = self
        self.letters = context.letters = Letters(self)
        self._clock = context.clock
        self._codec = codec
        self._address = address
        self._receiver = receiver
        self._boot = context.boot.encode()
        self._retry = retry or Retry()
        self._ready = not math.isclose(journal.commit_interval, 0.0)
        self._keep = journal.keep_after_ack > 0
        self.lanes = Lanes(journal.order, journal.drain_rate)
        self.ledger = Ledger(keep=self._keep)
        self.commits = Commits(
            context.clock,
            journal,
            context.node,
            self.ledger,
            wants=self._wants,
            release=self.lanes.add,
            finished=self._round_ended,
        )
        self._streams: dict[Origin, tuple[Stream, tuple[str, int] | None]] = {}
        self._plcs = context.numbering.take(str(Path(journal.path).resolve()))
        self._open = False
        self._epoch = self._asked = 0
        self._breaker = Breaker(breaker, self._retry)
        self._sender = Sender(context.clock, self.lanes, self.ledger, self.commits, self._breaker)
        self._admission = Admission(journal, self.ledger, self.commits, drop=self._give_up, pause=self._pause)
        self._shown = ""
        self._told = (State.STARTING, "")
        self._encode_failed = False
        self.intake = Intake()
        metrics = context.metrics
        labels = {"mode": mode, "node": context.node}
        self._ok = metrics.counter("plc_publish_ok", "frames acknowledged by the receiver", **labels)
        self._failed = metrics.counter("plc_publish_fail", "refusals of the receiver", **labels)
        self._damaged = metrics.counter(
            "edge_journal_damaged", "journal files or records found damaged", node=context.node
        )
        self._latency = metrics.histogram(
            "edge_answer_to_ack_seconds",
            "from the PLC's answer to the acknowledgement, of frames that never waited in the backlog",
            _BOUNDS,
            node=context.node,
        )
        report(self, context.clock.monotonic, metrics, context.node)

    # --- life

    async def open(self) -> None:
        """Open the journal, heal it if need be; what it holds is the first backlog.

        Raises:
            JournalError: locked, foreign, or not writable; the message says what to do.
        """
        found = await self.commits.open(self._receiver)
        self.unacknowledged = self.ledger.unacknowledged(self.commits.state.frames)
        self._open = True
        self._told = (State.STARTING, "")
        for sentence in found:
            self._tell_mended(sentence)
            self.tell(State.STARTING, sentence)
        if self.commits.lost:
            self._context.actor.drop("damaged", self.commits.lost)
        self._admission.review()

    async def settle(self, grace: float) -> bool:
        """Before a stop: begin no more of the backlog, wait until what is in flight is answered.

        Args:
            grace: seconds to wait at most.

        Returns:
            True when nothing is in flight any more.
        """
        return await self._sender.settle(grace)

    async def close(self, grace: float) -> int:
        """End: no more frames are taken; what is unacknowledged is committed, the journal closed, all within `grace`.

        Args:
            grace: seconds.

        Returns:
            How many accepted frames are neither acknowledged nor on disk; 0 unless the disk fails.
        """
        self._open = False
        self.disconnected()
        gone = await self.commits.close(grace)
        self._admission.resume()
        return gone + sum(1 for record in self.ledger.pending.values() if not record.acked)

    # --- frames in

    def accept(self, frames: list[Frame]) -> None:
        """Take responsibility for frames; a plain call, made for `Mailbox.consume`.

        Stamps `seq` and `boot`, queues, and sends what the window allows. Never raises for a frame's sake: one that
        can't be encoded, or that a full journal refuses, is counted as dropped and leaves a gap in `seq`.

        Raises:
            JournalError: the frames are taken, and wait in memory until the delivery is closed and opened again, which
                mends its journal.
        """
        if not self._open:
            self._context.actor.drop("stopping", len(frames))
            return
        now = self._clock.monotonic()
        shift = self._shift(now, frames)
        commits, add = self.commits, self.lanes.add
        pending, n = self.ledger.pending, commits.next
        streams, admission, boot, ready = self._streams, self._admission, self._boot, self._ready
        name, encode, stamp = self._codec.name, self._codec.encode, self._codec.stamp
        bytes_in = accepted = 0
        for frame in frames:
            stream, address = streams.get(frame.origin) or self._stream(frame.origin)
            seq = stream.seq
            stream.seq = seq + 1
            try:
                topic, qos = address or self._address(frame.origin)
                body = stamp(encode(frame), seq, boot)
            except Exception as error:  # noqa: BLE001 - one frame must not take its neighbours along
                self._unencodable(error)
                continue
            if admission.guarded and not admission.admit(live=not self.lanes.open):
                continue
            record = Record(n, body, topic, qos, name, stream.plc, frame.ts, body, now, frame.ts + shift, ready=ready)
            pending[n] = record
            n += 1
            accepted += 1
            bytes_in += len(body)
            if ready:
                add(record)
        commits.next = n
        self.unacknowledged += accepted
        self.intake.count(now, bytes_in)
        commits.took(accepted, bytes_in)
        if now + commits.wait < commits.armed:
            commits.poke()
        self._sender.pump()
        if commits.broken is not None:
            raise commits.broken

    def readmit(self, records: Iterable[Record]) -> int:
        """Send records again that were given up, behind what waits, marked as replayed.

        Returns:
            The ordinal of the last one, -1 without any.

        Raises:
            JournalError: the delivery is being stopped.
        """
        if not self._open:
            raise JournalError(f"journal '{self.options.path}' is not open")
        last, now = -1, self._clock.monotonic()
        for record in records:
            mark_replayed(record)
            last = record.n = self.commits.next
            record.accepted, record.ready = now, self._ready
            self.ledger.pending[record.n] = record
            self.commits.next += 1
            self.unacknowledged += 1
            if self._ready:
                self.lanes.add(record)
        self.commits.poke()
        self._sender.pump()
        return last

    @property
    def taken(self) -> int:
        """See `Keeper.taken`."""
        return self.commits.next

    @property
    def safe(self) -> int:
        """See `Keeper.safe`."""
        first = self.ledger.first_unsafe()
        return self.commits.next if first is None else first

    @property
    def last_seq(self) -> Mapping[str, int]:
        """The last `seq` given, by PLC (`tenant/plc`)."""
        return {plc: stream.seq - 1 for plc, stream in self._plcs.items()}

    def _stream(self, origin: Origin) -> tuple[Stream, tuple[str, int] | None]:
        """The numbering of an origin's PLC, and its frames' address; None where asking for that fails."""
        plc = f"{origin.tenant_id}/{origin.plc_id or origin.ip}"
        address = None
        with contextlib.suppress(Exception):  # told when the frame is encoded
            address = self._address(origin)
        found = self._streams[origin] = (self._plcs.setdefault(plc, Stream(plc)), address)
        return found

    def _shift(self, now: float, frames: list[Frame]) -> float:
        """What makes a monotonic time of a frame's `ts`; a clock that has jumped since may not become a latency."""
        wall = self._clock.wall()
        return now - wall if frames and 0.0 <= wall - frames[0].ts < _LATEST else now - frames[0].ts if frames else 0.0

    def _unencodable(self, error: Exception) -> None:
        self._context.actor.drop("not_encodable")
        if not self._encode_failed:
            self._encode_failed = True
            self._context.log.error("frame can't be encoded", error=f"{type(error).__name__}: {error}")

    def _give_up(self, reason: str, count: int, accepted: int) -> None:
        """Count frames that are given up, `accepted` of which had been taken responsibility for."""
        self._context.actor.drop(reason, count)
        self.unacknowledged -= accepted

    def _pause(self, paused: bool) -> None:
        self._context.pause(paused)
        self._context.log.warning("sources paused" if paused else "sources resumed", journal=self.options.path)

    # --- frames out

    def connected(self, send: Send, window: int) -> None:
        """A connection is ready.

        Args:
            send: hands records to the socket at once and returns how many it took, from the first on. Each that it
                took will be acknowledged or refused, unless the connection is lost.
            window: records in flight at most, at least 1.
        """
        self.disconnected()
        self._epoch += 1
        self._sender.connect(send, window)

    def disconnected(self) -> None:
        """The connection is gone: everything unacknowledged is sent again, in order, over the next one."""
        if self._sender.connected:
            self._epoch += 1
            self._sender.disconnect()

    def acknowledge(self, n: int) -> None:
        """The receiver has the record with ordinal `n`. An unknown one is ignored."""
        self.acknowledge_all((n,))

    def acknowledge_all(self, ns: Iterable[int]) -> None:
        """The receiver has these records: the cheaper call when one segment brings many answers."""
        now = self._clock.monotonic()
        sender, flight, observe = self._sender, self._sender.flight, self._latency.observe
        pending, keep = self.ledger.pending, self._keep
        count = 0
        for n in ns:
            record = flight.pop(n, None)
            if record is None:
                continue
            count += 1
            if record.batch is None and not keep:
                pending.pop(n, None)
            elif self.ledger.settle(record, now):
                self.commits.poke()
            if record.replayed:
                sender.replaying -= 1
            else:
                observe(now - record.answered)
        self._ok.n += count
        self.unacknowledged -= count
        if count and self._breaker:
            self._breaker.succeed()
            self._review()
        sender.answered()

    def refuse(self, n: int, reason: str, *, permanent: bool, unsent: bool = False) -> None:
        """The receiver does not take the record with ordinal `n`.

        Args:
            n: the ordinal; an unknown one is ignored.
            reason: what it said, for people.
            permanent: it never will: the record goes to the dead letters. Else it is tried again later, and the others
                don't wait for it.
            unsent: it was not even asked.
        """
        record = self._sender.land(n)
        if record is None:
            return
        self._failed.n += 1
        if permanent:
            record.held = False
            self._give_up("refused", 1, 1)
            self.ledger.bury(record, reason, self._clock.wall())
            self.commits.poke()
        else:
            pauses = Backoff(self._retry)
            pauses.attempts = record.attempts
            record.attempts += 1
            self.lanes.retry(record, self._clock.monotonic() + pauses.fail())
        self._breaker.refuse(reason, self._clock.monotonic(), unsent=unsent)
        self._review()
        self._sender.answered()

    def wake(self) -> None:
        """The socket takes records again."""
        self._sender.pump()

    def oldest_unacknowledged(self) -> float | None:
        """Seconds since the oldest record in flight was sent; None when nothing is in flight."""
        return self._sender.oldest()

    @property
    def in_flight(self) -> int:
        """Records sent over this connection and not answered."""
        return len(self._sender.flight)

    @property
    def backlog(self) -> int:
        """Frames accepted and not acknowledged, without those on their first flight."""
        return self.unacknowledged - (len(self._sender.flight) - self._sender.replaying)

    @property
    def trouble(self) -> str:
        """Why the delivery is degraded though the connection may stand: disk or refusals; empty when all is well."""
        return self._breaker.text or self.commits.trouble

    def stats(self) -> dict[str, object]:
        """What page and API show (JSON-able): backlog, ages, headroom, in flight, dead letters, last `seq`, trouble."""
        return stats(self, self._clock.monotonic())

    def tell(self, state: State, reason: str = "") -> None:
        """Change the sink's state; what troubles the delivery is shown with it.

        Trouble makes a connected sink degraded. One that is not connected stays so: its reason names both.

        Args:
            state: of the connection: starting, backing off, running, or degraded.
            reason: why, when it is not `running`.
        """
        self._told = (state, reason)
        self._show()

    # --- rounds

    def _wants(self) -> tuple[int, float] | None:
        self._asked = self._epoch
        return self.lanes.unread()

    def _tell_mended(self, sentence: str) -> None:
        self._damaged.n += 1
        self._context.log.error("journal mended", reason=sentence)

    def _round_ended(self, outcome: Outcome) -> None:
        if outcome.mended:
            self._tell_mended(outcome.mended)
        for key, count, reason in outcome.evicted:
            dropped = self.ledger.evict(key, count)
            self._give_up(reason, dropped, dropped)
        if outcome.damaged:
            self._damaged.n += outcome.damaged
            self._give_up("damaged", outcome.damaged, outcome.damaged)
            self._context.log.error("damaged records", count=outcome.damaged, advice="see `pipeline journal ls --dead`")
        if self._asked == self._epoch and self._sender.connected:
            for loaded in outcome.loaded:
                self.lanes.load(self.ledger.adopt(loaded), loaded.records[-1].n + 1)
            if outcome.end and (unread := self.lanes.first()) is not None:
                self.lanes.exhaust(self.ledger.waiting(*unread))
        self._admission.review()
        self._review()
        self._sender.pump()

    def _review(self) -> None:
        """Let the actor say what is wrong now, if that has changed."""
        if self.trouble != self._shown:
            self._show()

    def _show(self) -> None:
        (state, reason), trouble = self._told, self.trouble
        if state in {State.STARTING, State.BACKING_OFF}:
            reason = "; ".join(part for part in (reason, trouble) if part)
        elif trouble:
            state, reason = State.DEGRADED, trouble
        self._shown = trouble
        self._context.actor.become(state, reason)
