"""At least once: frames go in, a scripted receiver takes, refuses, vanishes; what comes out is counted."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from itertools import islice
from unittest.mock import Mock

import lmdb
import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pipeline.actor import State
from pipeline.clock import Clock, run_virtual
from pipeline.codecs import CODECS
from pipeline.delivery.delivery import Delivery
from pipeline.delivery.lanes import Lanes
from pipeline.errors import JournalError, JournalForeign
from pipeline.journal import tools as journal_tools
from pipeline.journal.file import Store
from pipeline.journal.journal import Journal
from pipeline.journal.options import JournalOptions, Order, WhenFull
from pipeline.journal.records import Record
from pipeline.retry import Retry
from pipeline.units import Duration, Size
from tests.parts.engine import data, make_context, origin

PLCS = [origin(f"p{number}") for number in range(3)]
BROKER = "mqtt://broker:1883"


class Receiver:
    """Takes records, answers each after a while, and remembers what it got."""

    def __init__(self, loop, window=20, latency=0.01):
        self.loop, self.window, self.latency = loop, window, latency
        self.got = []
        self.records = []
        self.connections = 0
        self.judge = lambda _: None
        self.delivery = None

    def connect(self, delivery):
        """Begin a connection."""
        self.connections += 1
        self.delivery = delivery
        delivery.connected(self._send, self.window)

    def cut(self):
        """Lose the connection, and every answer that is under way."""
        self.connections += 1
        self.delivery.disconnected()

    def _send(self, records):
        for record in records:
            body = msgspec.json.decode(record.body)
            self.got.append((body["boot"], body["plc_id"], body["seq"], body.get("replayed", False), self.connections))
            self.records.append((self.loop.time(), record))
            self.loop.call_later(self.latency, self._answer, record, self.connections)
        return len(records)

    def _answer(self, record, connection):
        if connection != self.connections:
            return
        verdict = self.judge(record)
        if verdict is None:
            self.delivery.acknowledge(record.n)
        else:
            self.delivery.refuse(record.n, verdict[0], permanent=verdict[1])

    def seqs(self, boot=None):
        """The set of (boot, plc, seq) that arrived at least once."""
        return {entry[:3] for entry in self.got if boot in {None, entry[0]}}

    def assert_lanes_ascend(self):
        """Within a connection, a lane and a PLC, seq ascends."""
        last = defaultdict(lambda: -1)
        for boot, plc, seq, replayed, connection in self.got:
            lane = (boot, plc, replayed, connection)
            assert seq > last[lane], (lane, seq, last[lane])
            last[lane] = seq


def make_delivery(loop, folder, boot="B0", clock=None, **options):
    """A delivery of its own boot; keyword arguments are the journal's, but for retry and breaker."""
    context = make_context(loop, node="broker", clock=clock)
    context.boot = boot
    own = {name: options.pop(name) for name in ("retry", "breaker") if name in options}
    journal = JournalOptions(path=str(folder), **options)
    return Delivery(context, journal, CODECS["full"], lambda origin: (f"plc/{origin.plc_id}", 1), BROKER, **own)


async def produce(delivery, seconds, rate=20.0, plcs=PLCS):
    """Frames of all PLCs, `rate` times a second."""
    loop = asyncio.get_running_loop()
    for number in range(round(seconds * rate)):
        delivery.accept([data(plc, ts=1_731_800_000.0 + loop.time(), n=number) for plc in plcs])
        await asyncio.sleep(1 / rate)


async def until(condition, seconds=600.0):
    """Wait in virtual time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        assert loop.time() < end, "it did not come"
        await asyncio.sleep(0.05)


def drops(delivery):
    """What was given up, by reason."""
    return delivery._context.actor.drops


@pytest.fixture
def commits(monkeypatch):
    """Spy on the journal's thread: ordinals that are durable, in order of their commit."""
    durable = {}
    original = Journal._write

    def spy(self, work):
        outcome = original(self, work)
        durable.update(dict.fromkeys((record.n for record in work.puts), len(durable)))
        return outcome

    monkeypatch.setattr(Journal, "_write", spy)
    return durable


def test_what_is_acknowledged_in_time_is_never_written(tmp_path, commits):
    """Ten healthy seconds: every frame arrives once, in order, unmarked; the disk is left alone."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j")
        receiver = Receiver(loop, latency=0.3)
        await delivery.open()
        receiver.window = 1000
        receiver.connect(delivery)
        await produce(delivery, 10)
        await until(lambda: not delivery.unacknowledged)
        assert await delivery.close(2) == 0
        return receiver, delivery

    receiver, delivery = run_virtual(main)
    assert not commits
    assert receiver.seqs() == {("B0", plc.plc_id, seq) for plc in PLCS for seq in range(200)}
    assert len(receiver.got) == 600
    assert not any(replayed for _, _, _, replayed, _ in receiver.got)
    receiver.assert_lanes_ascend()
    assert delivery.last_seq == {f"acme/{plc.plc_id}": 199 for plc in PLCS}


@pytest.mark.parametrize("interval", [0.25, 1.0, 5.0])
def test_every_frame_is_on_disk_within_the_commit_interval(tmp_path, monkeypatch, interval):
    """A mute receiver: no frame waits for its commit longer than promised."""
    times = {}
    original = Journal._write

    async def main(loop):
        def spy(self, work):
            times.update({record.n: loop.time() - record.accepted for record in work.puts})
            return original(self, work)

        monkeypatch.setattr(Journal, "_write", spy)
        delivery = make_delivery(loop, tmp_path / "j", commit_interval=Duration(interval))
        receiver = Receiver(loop, latency=1e6)
        await delivery.open()
        receiver.connect(delivery)
        await produce(delivery, 12)
        await asyncio.sleep(interval)
        assert delivery.backlog == 700
        return await delivery.close(2)

    assert run_virtual(main) == 0
    assert len(times) == 720
    assert 0.5 * interval <= max(times.values()) <= 0.9 * interval
    assert journal_tools.summary(str(tmp_path / "j")).frames == 720


def test_what_waits_for_its_commit_is_written_sooner_when_it_grows_heavy(tmp_path, commits, monkeypatch):
    """Memory is bounded, whatever the interval; what is acknowledged weighs nothing, and is not written for it."""
    monkeypatch.setattr("pipeline.delivery.commits.WAIT_LIMIT", 200_000)
    monkeypatch.setattr("pipeline.delivery.commits._WEIGH_EVERY", 50_000)

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", commit_interval=Duration(60))
        receiver = Receiver(loop, window=1000)
        await delivery.open()
        receiver.connect(delivery)
        await produce(delivery, 20)
        assert not commits
        receiver.cut()
        await produce(delivery, 20)
        assert len(delivery.ledger.pending) < 600
        assert commits
        assert await delivery.close(2) == 0

    run_virtual(main)
    assert len(commits) == 1200


@pytest.mark.parametrize("order", list(Order))
def test_with_interval_zero_a_frame_is_sent_after_its_commit(tmp_path, commits, order):
    """The trace: every record that reaches the socket was durable before."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", commit_interval=Duration(0), order=order)
        receiver = Receiver(loop)
        await delivery.open()
        send = receiver._send

        def checked(records):
            assert all(record.n in commits for record in records)
            return send(records)

        receiver._send = checked
        await produce(delivery, 2)
        receiver.connect(delivery)
        await produce(delivery, 3)
        receiver.cut()
        await produce(delivery, 2)
        receiver.connect(delivery)
        await until(lambda: not delivery.unacknowledged)
        await asyncio.sleep(2)
        assert delivery.commits.state.frames == 0
        assert await delivery.close(2) == 0
        return receiver

    receiver = run_virtual(main)
    assert len(receiver.seqs()) == 420
    receiver.assert_lanes_ascend()


class Chaos:
    """A sink's life: connections come and go, the process stops in order or dies, frames go on."""

    def __init__(self, loop, folder, seed, **options):
        self.loop, self.root, self.options = loop, folder, options
        self.chance = random.Random(seed)  # noqa: S311 - repeatable chaos
        self.receiver = Receiver(loop)
        self.folder = folder / "0"
        self.lives = 0
        self.accepted = {}
        self.lost = set()

    async def start(self):
        """A new process, a new boot."""
        self.lives += 1
        self.delivery = make_delivery(self.loop, self.folder, boot=f"B{self.lives}", **self.options)
        await self.delivery.open()

    async def live(self):
        """Something happens, then frames come for a while."""
        self.receiver.latency = 0.01
        await getattr(self, self.chance.choice(["connect", "connect", "cut", "wait", "slow", "stop", "crash"]))()
        for _ in range(self.chance.randrange(10, 100)):
            self.delivery.accept([data(plc, n=0) for plc in PLCS])
            for plc, seq in self.delivery.last_seq.items():
                self.accepted[self.delivery._context.boot, plc.removeprefix("acme/"), seq] = self.loop.time()
            await asyncio.sleep(0.02)

    async def wait(self):
        """Nothing new."""

    async def connect(self):
        """A connection, perhaps instead of another."""
        self.receiver.connect(self.delivery)

    async def cut(self):
        """The connection is lost, and the answers under way with it."""
        if self.delivery._sender.connected:
            self.receiver.cut()

    async def slow(self):
        """Answers take long."""
        self.receiver.latency = self.chance.choice([0.5, 3.0])

    async def stop(self):
        """The process ends in order."""
        self.receiver.connections += 1
        assert await self.delivery.close(2) == 0
        await self.start()

    async def crash(self):
        """The process dies between two commits: what it leaves is a copy of the file as it is."""
        while self.delivery.commits._round is not None:  # noqa: ASYNC110 - until the thread is idle
            await asyncio.sleep(0)
        after = self.root / str(self.lives)
        after.mkdir()
        shutil.copy(self.folder / "data.mdb", after / "data.mdb")
        boot, interval = self.delivery._context.boot, self.options["commit_interval"]
        late = {key for key, at in self.accepted.items() if key[0] == boot and self.loop.time() - at <= interval}
        self.lost |= late - self.receiver.seqs()
        self.receiver.connections += 1
        await self.delivery.close(2)
        self.folder = after
        await self.start()


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("interval", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_chaos_loses_nothing_that_was_promised(tmp_path, order, interval, seed):
    """Cuts, lost answers, restarts and crashes, in any sequence: nothing lost, lanes ascend, marks are true."""

    async def main(loop):
        rate = 500.0 if seed % 2 else 0.0
        chaos = Chaos(loop, tmp_path, seed, commit_interval=Duration(interval), order=order, drain_rate=rate)
        await chaos.start()
        for _ in range(14):
            await chaos.live()
        await chaos.connect()
        await until(lambda: not chaos.delivery.unacknowledged)
        assert await chaos.delivery.close(2) == 0
        return chaos

    chaos = run_virtual(main)
    receiver, arrived = chaos.receiver, chaos.receiver.seqs()
    assert set(chaos.accepted) - arrived <= chaos.lost
    if interval == 0.0:
        highest = defaultdict(int)
        for boot, plc, seq in arrived:
            highest[boot, plc] = max(highest[boot, plc], seq)
        assert {(boot, plc, seq) for (boot, plc), top in highest.items() for seq in range(top + 1)} <= arrived
    receiver.assert_lanes_ascend()
    live = [entry[:3] for entry in receiver.got if not entry[3]]
    assert len(live) == len(set(live)), "only the first flight is unmarked"


@pytest.mark.parametrize("order", list(Order))
def test_an_hour_without_the_broker_is_drained_with_memory_flat(tmp_path, order):
    """Hardly anything is in memory meanwhile; afterwards all arrives, marked and once."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", order=order)
        receiver = Receiver(loop, latency=0.001)
        await delivery.open()
        receiver.connect(delivery)
        await produce(delivery, 5)
        receiver.cut()
        held = 0
        for _ in range(60):
            await produce(delivery, 60, rate=5.0)
            held = max(held, len(delivery.ledger.pending) + len(delivery.lanes) + len(delivery.ledger.batches))
        assert held < 60
        stats = delivery.stats()
        assert stats["backlog_frames"] == delivery.unacknowledged >= 54_000
        assert 3595 < stats["backlog_oldest_age_seconds"] < 3605
        assert 0 < stats["backlog_headroom_seconds"] < 7 * 86400
        before = len(receiver.got)
        receiver.connect(delivery)
        while delivery.unacknowledged:
            await asyncio.sleep(0.01)
            held = max(held, len(delivery.ledger.pending) + len(delivery.lanes))
        assert held < 5000
        await asyncio.sleep(2)
        assert delivery.commits.state.frames == 0
        await delivery.close(2)
        return receiver, before

    receiver, before = run_virtual(main)
    after = receiver.got[before:]
    assert len(receiver.seqs()) == 300 + 54_000
    assert len(after) <= 54_000 + 20
    assert all(replayed for _, _, _, replayed, _ in after)
    receiver.assert_lanes_ascend()


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("interval", [0.0, 1.0])
def test_more_than_the_receiver_takes_goes_through_the_disk_once(tmp_path, monkeypatch, order, interval):
    """Overload on a standing connection, with pauses: memory stays bounded, every frame arrives exactly once."""
    monkeypatch.setattr("pipeline.delivery.lanes.HELD_LIMIT", 40)

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", order=order, commit_interval=Duration(interval))
        receiver = Receiver(loop, window=5, latency=0.1)
        await delivery.open()
        receiver.connect(delivery)
        for _ in range(4):
            await produce(delivery, 10, rate=25)
            assert len(delivery.lanes) < 1100
            await asyncio.sleep(8)
        await until(lambda: not delivery.unacknowledged)
        assert await delivery.close(2) == 0
        return receiver

    receiver = run_virtual(main)
    assert len(receiver.got) == len(receiver.seqs()) == 3000
    receiver.assert_lanes_ascend()


def test_a_record_whose_commit_comes_after_the_overload_is_still_read_from_disk(tmp_path, monkeypatch):
    """Its ordinal lies in a closed range: adding it to the live lane too would send it twice."""
    monkeypatch.setattr("pipeline.delivery.lanes.HELD_LIMIT", 4)
    lanes = Lanes(Order.LIVE_FIRST, 0.0)
    lanes.connect(0.0, 0)
    lanes.exhaust(())
    written = [Record(n, b"", "t", 1, "full", "p", 0.0, b"") for n in range(8)]
    for record in written[:4]:
        lanes.add(record)
    assert lanes.open
    assert lanes.take(4, 4, 1.0, 7) == written[:4]
    lanes.add(written[5])
    assert (len(lanes), lanes.first()) == (0, (4, 7))
    lanes.add(written[7])
    assert len(lanes) == 1


def test_what_was_read_for_a_lost_connection_is_not_taken_for_the_next(tmp_path):
    """The connection changes while the disk reads: the drain begins again from the oldest, nothing is skipped."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j")
        receiver = Receiver(loop, window=500, latency=1e6)
        await delivery.open()
        await produce(delivery, 100)
        receiver.connect(delivery)
        await asyncio.sleep(0.1)
        receiver.latency = 0.01
        while delivery.commits._round is None:
            delivery.acknowledge_all(list(delivery._sender.flight)[100:])
        receiver.cut()
        receiver.connect(delivery)
        await until(lambda: not delivery.unacknowledged, seconds=60)
        await delivery.close(2)
        return receiver

    assert len(run_virtual(main).seqs()) == 6000


def test_live_first_sends_the_present_at_once_and_the_past_at_its_pace(tmp_path):
    """While 6000 old frames leave at 500 a second, new ones wait for nothing."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", order=Order.LIVE_FIRST, drain_rate=500.0)
        receiver = Receiver(loop)
        await delivery.open()
        await produce(delivery, 100)
        await asyncio.sleep(1)
        receiver.connect(delivery)
        began = loop.time()
        await produce(delivery, 10)
        assert delivery.unacknowledged > 500
        await until(lambda: not delivery.unacknowledged)
        took = loop.time() - began
        await delivery.close(2)
        return receiver, took

    receiver, took = run_virtual(main)
    live = [(at, record) for at, record in receiver.records if not record.replayed]
    assert len(live) == 600
    assert max(at - record.accepted for at, record in live) < 0.03
    assert 11.9 < took < 13.5
    receiver.assert_lanes_ascend()


def test_fifo_can_be_paced(tmp_path):
    """`drain_rate` holds for fifo too, and for the backlog only."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", drain_rate=100.0)
        receiver = Receiver(loop)
        await delivery.open()
        await produce(delivery, 10)
        await asyncio.sleep(1)
        receiver.connect(delivery)
        began = loop.time()
        await until(lambda: not delivery.unacknowledged)
        took = loop.time() - began
        await produce(delivery, 1, rate=100)
        assert delivery.unacknowledged <= 6
        await delivery.close(2)
        return took

    assert 5.8 < run_virtual(main) < 6.5


def test_refused_for_good_goes_to_the_dead_letters_and_the_rest_goes_on(tmp_path):
    """A poisoned frame is listed with its reason and can be put back; the others don't wait."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j")
        receiver = Receiver(loop)
        receiver.judge = lambda record: ("payload too large", True) if b'"seq":7,' in record.plain else None
        await delivery.open()
        receiver.connect(delivery)
        await produce(delivery, 2)
        await until(lambda: not delivery.unacknowledged)
        assert drops(delivery) == {"refused": 3}
        assert delivery.commits.state.dead == 3
        await delivery.close(2)
        return receiver

    receiver = run_virtual(main)
    assert len(receiver.got) == 120
    dead = list(journal_tools.records(str(tmp_path / "j"), dead=True))
    assert [entry.reason for entry in dead] == ["payload too large"] * 3
    assert journal_tools.requeue(str(tmp_path / "j")) == 3

    async def again(loop):
        delivery = make_delivery(loop, tmp_path / "j", boot="B1")
        receiver = Receiver(loop)
        await delivery.open()
        receiver.connect(delivery)
        await until(lambda: not delivery.unacknowledged)
        await delivery.close(2)
        return receiver.got

    assert {(seq, replayed) for _, _, seq, replayed, _ in run_virtual(again)} == {(7, True)}


def test_refused_for_now_is_tried_again_without_blocking(tmp_path):
    """The refused one comes later, marked; those behind it come at once."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", retry=Retry(initial=Duration(2), jitter=0))
        receiver = Receiver(loop)
        refusals = defaultdict(int)

        def judge(record):
            if b'"seq":3,' in record.plain and refusals[record.plain] < 2:
                refusals[record.plain] += 1
                return "quota exceeded", False
            return None

        receiver.judge = judge
        await delivery.open()
        receiver.connect(delivery)
        await produce(delivery, 1)
        await until(lambda: delivery.unacknowledged == 3)
        assert loop.time() < 1.2
        await until(lambda: not delivery.unacknowledged)
        assert 6 < loop.time() < 7
        await delivery.close(2)
        return receiver

    receiver = run_virtual(main)
    assert [replayed for _, plc, seq, replayed, _ in receiver.got if (plc, seq) == ("p0", 3)] == [False, True, True]
    assert len(receiver.got) == 66


def test_the_breaker_pauses_and_tries_one(tmp_path):
    """Everything refused: after ten in a row one frame tries now and then, said aloud; a yes opens the gates."""

    async def main(loop):
        delivery = make_delivery(
            loop, tmp_path / "j", breaker=10, retry=Retry(initial=Duration(1), max=Duration(8), jitter=0)
        )
        receiver = Receiver(loop)
        actor = delivery._context.actor
        refusing = True
        receiver.judge = lambda _: ("not authorised", False) if refusing else None
        await delivery.open()
        delivery.tell(State.RUNNING)
        receiver.connect(delivery)
        await produce(delivery, 60)
        assert len(receiver.got) < 60
        assert (actor.state, "not authorised" in actor.reason) == (State.DEGRADED, True)
        refusing = False
        await until(lambda: not delivery.unacknowledged)
        assert loop.time() < 80
        assert actor.state is State.RUNNING
        await delivery.close(2)
        return receiver

    assert len(run_virtual(main).seqs()) == 3600


@pytest.mark.parametrize("interval", [0.0, 1.0])
@pytest.mark.parametrize("connected", [True, False])
def test_a_full_disk_is_survived_and_said(tmp_path, monkeypatch, interval, connected):
    """Frames wait in memory, the state says why and how many more fit; all is well again by itself."""
    append = Store.append

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", commit_interval=Duration(interval))
        receiver = Receiver(loop, latency=1.5)
        actor = delivery._context.actor
        await delivery.open()
        delivery.tell(State.RUNNING)
        if connected:
            receiver.connect(delivery)

        full = lmdb.DiskError("mdb_txn_commit: No space left on device")
        monkeypatch.setattr(Store, "append", Mock(side_effect=full))
        await produce(delivery, 20)
        assert actor.state is State.DEGRADED
        assert "disk full" in actor.reason
        assert "room for" in actor.reason
        assert not drops(delivery)
        monkeypatch.setattr(Store, "append", append)
        await until(lambda: not delivery.trouble)
        assert actor.state is State.RUNNING
        receiver.latency = 0.01
        if not connected:
            await until(lambda: not delivery.ledger.pending)
            receiver.connect(delivery)
        await until(lambda: not delivery.unacknowledged)
        assert await delivery.close(2) == 0
        return receiver

    receiver = run_virtual(main)
    assert len(receiver.seqs()) == 1200
    receiver.assert_lanes_ascend()


@pytest.mark.parametrize(("state", "reason"), [(State.STARTING, ""), (State.BACKING_OFF, "refused: nothing listens")])
def test_a_full_disk_does_not_hide_that_the_receiver_is_away(tmp_path, monkeypatch, state, reason):
    """Whatever comes first, the state stays that of the connection, and the reason names both; then one is over."""
    append = Store.append

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j")
        actor = delivery._context.actor
        await delivery.open()
        delivery.tell(state, reason)
        monkeypatch.setattr(Store, "append", Mock(side_effect=lmdb.DiskError("No space left on device")))
        await produce(delivery, 20)
        assert (actor.state, actor.reason.startswith(reason), "disk full" in actor.reason) == (state, True, True)
        delivery.tell(State.BACKING_OFF, "timeout: no answer")
        assert actor.reason.startswith("timeout: no answer; disk full")
        monkeypatch.setattr(Store, "append", append)
        await until(lambda: not delivery.trouble)
        assert (actor.state, actor.reason) == (State.BACKING_OFF, "timeout: no answer")
        assert await delivery.close(2) == 0

    run_virtual(main)


def test_the_headroom_ends_where_the_disk_does(tmp_path, monkeypatch):
    """A nearly full file system counts before `max_size`; it is measured on the journal's thread, again and again."""
    free, threads = [10 * 1024**3], set()

    def usage(_):
        threads.add(threading.current_thread() is threading.main_thread())
        return shutil._ntuple_diskusage(0, 0, free[0])

    monkeypatch.setattr("pipeline.delivery.commits.shutil.disk_usage", usage)

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", max_size=Size(1024**3))
        await delivery.open()
        await produce(delivery, 30)
        plenty = delivery.stats()["backlog_headroom_seconds"]
        free[0] = 0
        await produce(delivery, 15)
        assert delivery.stats()["backlog_headroom_seconds"] < plenty / 100
        free[0] = 10 * 1024**3
        await produce(delivery, 15)
        assert delivery.stats()["backlog_headroom_seconds"] > plenty / 2
        await delivery.close(2)

    run_virtual(main)
    assert threads == {False}


@pytest.mark.parametrize("when_full", list(WhenFull))
def test_a_disk_that_stays_full_ends_in_the_policy_and_an_honest_count(tmp_path, monkeypatch, when_full):
    """Memory is bounded too: headroom ends with it, what it can't hold is counted, and close tells what is not safe."""
    monkeypatch.setattr("pipeline.delivery.commits.MEMORY_LIMIT", 400_000)
    monkeypatch.setattr(Store, "append", Mock(side_effect=OSError(28, "No space left on device")))

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", when_full=when_full)
        paused = []
        delivery._context.pause = paused.append
        await delivery.open()
        await produce(delivery, 5)
        left = (delivery.commits.memory_records - len(delivery.ledger.pending)) / 60
        assert delivery.stats()["backlog_headroom_seconds"] == pytest.approx(left, abs=2)
        await produce(delivery, 25)
        assert delivery.stats()["backlog_headroom_seconds"] <= 5
        # The cap follows the average size of what waits, so it moves a little.
        assert 0.5 * delivery.commits.memory_records < len(delivery.ledger.pending) < 1000
        unsafe = await delivery.close(2)
        given_up = drops(delivery)["journal_unwritable"]
        assert unsafe + given_up == 1800
        oldest = next(iter(delivery.ledger.pending))
        assert (oldest == 0) == (when_full is not WhenFull.DROP_OLDEST)
        assert paused == ([True, False] if when_full is WhenFull.PAUSE else [])

    run_virtual(main)


def test_a_file_that_may_not_grow_is_a_failing_disk(tmp_path):
    """The real thing: the kernel refuses to write, in the middle of LMDB's commit; later it does not."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j")
        receiver = Receiver(loop)
        await delivery.open()
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, hard))
            await produce(delivery, 100, plcs=PLCS * 4)
            trouble, at_the_limit = delivery.trouble, delivery.commits.state.frames
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "file's size" in trouble
        assert at_the_limit > 1000
        await until(lambda: not delivery.ledger.pending)
        receiver.connect(delivery)
        await until(lambda: not delivery.unacknowledged)
        assert await delivery.close(2) == 0
        return receiver

    assert len(run_virtual(main).seqs()) == 24_000


@pytest.mark.parametrize("when_full", list(WhenFull))
def test_a_full_journal_follows_its_policy_and_every_frame_is_accounted_for(tmp_path, when_full):
    """Accepted = arrived + dropped with a reason; pause asks the sources to stop before anything is lost."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", max_size=Size(200_000), when_full=when_full)
        receiver = Receiver(loop, latency=0.001)
        paused = [False]
        delivery._context.pause = paused.append
        await delivery.open()
        for _ in range(60):
            if not paused[-1]:
                await produce(delivery, 1)
            else:
                await asyncio.sleep(1)
        assert delivery.commits.state.bytes < 220_000
        receiver.connect(delivery)
        await until(lambda: not delivery.unacknowledged)
        await asyncio.sleep(2)
        await produce(delivery, 1)
        await until(lambda: not delivery.unacknowledged)
        await delivery.close(2)
        return receiver, delivery, paused

    receiver, delivery, paused = run_virtual(main)
    lost = drops(delivery).get("journal_full", 0)
    total = sum(seq + 1 for seq in delivery.last_seq.values())
    assert len(receiver.seqs()) + lost == total
    receiver.assert_lanes_ascend()
    if when_full is WhenFull.PAUSE:
        assert (lost, paused) == (0, [False, True, False])
    else:
        assert lost > 1000
        missing = {seq for seq in range(1200) if ("B0", "p0", seq) not in receiver.seqs()}
        assert (0 in missing) == (when_full is WhenFull.DROP_OLDEST)


@pytest.mark.parametrize("jump", [8 * 86400.0, -8 * 86400.0, -1_731_800_000.0])
def test_a_jumping_clock_evicts_nothing(tmp_path, jump):
    """Eight days forth or back, or 1970: ages, limits and delivery don't notice."""

    async def main(loop):
        offset = 0.0
        clock = Clock(loop, wall=lambda: 1_731_800_000.0 + loop.time() + offset, monotonic=loop.time)
        delivery = make_delivery(loop, tmp_path / "j", clock=clock)
        receiver = Receiver(loop)
        await delivery.open()
        await produce(delivery, 60)
        offset = jump
        await produce(delivery, 120)
        assert not drops(delivery)
        assert 175 < delivery.stats()["backlog_oldest_age_seconds"] < 185
        await delivery.close(2)
        delivery = make_delivery(loop, tmp_path / "j", boot="B1", clock=clock)
        await delivery.open()
        receiver.connect(delivery)
        await until(lambda: not delivery.unacknowledged)
        assert not drops(delivery)
        await delivery.close(2)
        return receiver

    assert len(run_virtual(main).seqs()) == 10_800


def test_old_frames_go_and_are_counted(tmp_path):
    """`max_age` is applied while nothing else happens, too."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", max_age=Duration(600))
        await delivery.open()
        await produce(delivery, 10)
        await asyncio.sleep(500)
        assert not drops(delivery)
        await asyncio.sleep(200)
        assert drops(delivery) == {"too_old": 600}
        assert delivery.unacknowledged == delivery.backlog == 0
        await delivery.close(2)

    run_virtual(main)


def test_the_limits_are_applied_to_the_last_bit_of_their_time(tmp_path):
    """A minute after 4.1 s is 64.1 s, less than a minute later: the rounds began again and again for nothing."""

    async def main(loop):
        before = make_delivery(loop, tmp_path / "j", max_age=Duration(600))
        await before.open()
        await produce(before, 1)
        await before.close(2)
        loop.advance(4.1 - loop.time())
        assert loop.time() + 60 - loop.time() < 60
        delivery = make_delivery(loop, tmp_path / "j", boot="B1", max_age=Duration(600))
        await delivery.open()
        assert delivery.backlog
        await asyncio.sleep(800)
        assert drops(delivery)["too_old"]
        await delivery.close(2)

    run_virtual(main)


def test_kept_frames_are_written_though_acknowledged(tmp_path):
    """With keep_after_ack everything is on disk, and sent once."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", keep_after_ack=Duration(3600))
        receiver = Receiver(loop)
        await delivery.open()
        receiver.connect(delivery)
        await produce(delivery, 10)
        await until(lambda: not delivery.unacknowledged)
        await asyncio.sleep(3)
        receiver.cut()
        receiver.connect(delivery)
        await asyncio.sleep(1)
        assert await delivery.close(2) == 0
        return receiver

    assert len(run_virtual(main).got) == 600
    assert [entry.state for entry in journal_tools.records(str(tmp_path / "j"))] == ["kept"] * 600


def test_a_socket_that_takes_little_is_not_pushed(tmp_path):
    """What `send` leaves is kept in order until `wake`; answers inside of `send` are fine (QoS 0)."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j")
        await delivery.open()
        taken = []
        room = 0

        def send(records):
            nonlocal room
            for index, record in enumerate(records):
                if not room:
                    return index
                room -= 1
                taken.append(record.n)
                delivery.acknowledge(record.n)
            return len(records)

        delivery.connected(send, 1000)
        await produce(delivery, 0.5)
        assert not taken
        for room in (4, 0, 7, 100):  # noqa: B007 - read by send
            delivery.wake()
        assert taken == list(range(30))
        assert (delivery.in_flight, delivery.unacknowledged) == (0, 0)
        await delivery.close(2)

    run_virtual(main)


def test_an_unencodable_frame_is_counted_and_its_neighbours_pass(tmp_path):
    """One bad frame of a batch costs itself."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j")
        receiver = Receiver(loop)
        await delivery.open()
        receiver.connect(delivery)
        delivery.accept([data(PLCS[0], n=1), data(PLCS[0], n=object()), data(PLCS[0], n=3)])
        await until(lambda: not delivery.unacknowledged)
        await delivery.close(2)
        delivery.accept([data(PLCS[0], n=4)])
        assert drops(delivery) == {"not_encodable": 1, "stopping": 1}
        return [seq for _, _, seq, _, _ in receiver.got]

    assert run_virtual(main) == [0, 2]


def test_settle_waits_for_answers_and_leaves_the_backlog(tmp_path):
    """Before a stop nothing of a long backlog begins; what is in flight may still be answered; the rest is safe."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j")
        receiver = Receiver(loop, latency=0.5)
        await delivery.open()
        await produce(delivery, 20)
        receiver.connect(delivery)
        await until(lambda: delivery.in_flight)
        began = loop.time()
        assert await delivery.settle(2.0)
        assert loop.time() - began < 0.6
        assert await delivery.close(2) == 0
        return len(receiver.got)

    sent = run_virtual(main)
    assert sent <= 60
    assert journal_tools.summary(str(tmp_path / "j")).frames >= 1200 - sent


def test_a_foreign_journal_is_refused_and_a_damaged_one_is_reported(tmp_path):
    """Opening says what is wrong; damage degrades the node, counts, and frames flow."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j")
        await delivery.open()
        await produce(delivery, 2)
        await delivery.close(2)
        delivery = make_delivery(loop, tmp_path / "j")
        delivery._receiver = "mqtt://other:1883"
        with pytest.raises(JournalForeign):
            await delivery.open()
        (tmp_path / "j" / "data.mdb").write_bytes(b"\0" * 50_000)
        delivery = make_delivery(loop, tmp_path / "j")
        receiver = Receiver(loop)
        await delivery.open()
        actor = delivery._context.actor
        assert (actor.state, "damaged" in actor.reason) == (State.STARTING, True)
        receiver.connect(delivery)
        await produce(delivery, 1)
        await until(lambda: not delivery.unacknowledged)
        registry = CollectorRegistry()
        registry.register(delivery._context.metrics)
        text = generate_latest(registry).decode()
        await delivery.close(2)
        return receiver, text

    receiver, text = run_virtual(main)
    assert len(receiver.seqs()) == 60
    for line in (
        'edge_journal_damaged_total{node="broker"} 1.0',
        'plc_publish_ok_total{mode="mqtt",node="broker"} 60.0',
        'edge_backlog_size{node="broker"} 0.0',
        'edge_answer_to_ack_seconds_count{node="broker"} 60.0',
    ):
        assert line in text
    for name in ("edge_backlog_bytes", "edge_backlog_oldest_age_seconds", "edge_backlog_headroom_seconds"):
        assert name in text


@pytest.mark.parametrize("connected", [False, True])
def test_a_journal_cut_off_while_it_is_open_is_opened_anew(tmp_path, connected):
    """The sink ends with an error; opened again the journal is mended, what is lost is counted, the rest arrives."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j")
        receiver = Receiver(loop)
        await delivery.open()
        assert delivery.stats()["backlog_headroom_seconds"] > 0
        await produce(delivery, 5)
        if connected:
            receiver.connect(delivery)
            receiver.judge = lambda _: ("busy", False)
            await produce(delivery, 0.2)
        os.truncate(tmp_path / "j" / "data.mdb", 20_000)
        with pytest.raises(JournalError, match="cut off"):
            await produce(delivery, 30)
        made = (max(delivery.last_seq.values()) + 1) * 3
        await delivery.close(2)
        assert delivery.stats()["backlog_headroom_seconds"] == 0
        await delivery.open()
        assert delivery.backlog == made - drops(delivery)["damaged"]
        receiver.judge = lambda _: None
        before = len(receiver.seqs())
        receiver.connect(delivery)
        await produce(delivery, 2)
        await until(lambda: not delivery.unacknowledged)
        assert not delivery.trouble
        assert len(receiver.seqs()) >= made + 120 - drops(delivery)["damaged"] >= before
        assert await delivery.close(2) == 0
        return delivery

    assert drops(run_virtual(main))["damaged"] > 0
    assert journal_tools.summary(str(tmp_path / "j")).frames == 0


def test_a_journal_taken_away_is_told_and_nothing_is_lost(tmp_path):
    """While it is open the frames go into a new file; what can't be written anew before the end is counted."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j")
        receiver = Receiver(loop)
        await delivery.open()
        await produce(delivery, 5)
        shutil.rmtree(tmp_path / "j")
        await produce(delivery, 5)
        registry = CollectorRegistry()
        registry.register(delivery._context.metrics)
        assert 'edge_journal_damaged_total{node="broker"} 1.0' in generate_latest(registry).decode()
        receiver.connect(delivery)
        await until(lambda: not delivery.unacknowledged)
        assert len(receiver.seqs()) == 600
        receiver.cut()
        await produce(delivery, 5)
        shutil.rmtree(tmp_path / "j")
        (tmp_path / "j").write_text("x")
        return await delivery.close(2), drops(delivery)

    assert run_virtual(main) == (300, {})


CHILD = """
import asyncio, os, sys
from pipeline.codecs import CODECS
from pipeline.delivery.delivery import Delivery
from pipeline.journal.options import JournalOptions
from pipeline.units import Duration
from tests.parts.engine import data, make_context, origin

async def main():
    loop = asyncio.get_running_loop()
    options = JournalOptions(path=sys.argv[1], commit_interval=Duration(0))
    delivery = Delivery(make_context(loop), options, CODECS["full"], lambda f: ("t", 1), "mqtt://broker:1883")
    await delivery.open()
    flying = []
    def send(records):
        os.write(1, b"".join(b"s%d\\n" % r.n for r in records))
        flying.extend(r.n for r in records)
        return len(records)
    delivery.connected(send, 500)
    plc = origin()
    while True:
        delivery.accept([data(plc, n=i) for i in range(20)])
        await asyncio.sleep(0)
        if len(flying) > 300:
            done, flying[:] = flying[:150], flying[150:]
            os.write(1, b"".join(b"a%d\\n" % n for n in done))
            delivery.acknowledge_all(done)

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", [0.3, 0.6, 0.9])
def test_kill_9_loses_nothing_that_was_sent(tmp_path, moment):
    """A real process at full speed, killed: what it had sent and not seen acknowledged is on disk, undamaged."""
    folder = tmp_path / "j"
    with subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE) as child:
        lines = list(islice(child.stdout, int(moment * 20_000)))
        child.kill()
        lines += child.stdout  # by the same reader, which has some of the rest already
    numbers = {
        kind: {int(line[1:]) for line in lines if line[:1] == kind and line[1:].strip().isdigit()}
        for kind in (b"s", b"a")
    }
    assert len(numbers[b"s"]) > 1000
    journal = Journal(JournalOptions(path=str(folder)), 0.0)
    assert not journal.found
    journal.close(0.0)
    left = [entry.id for entry in journal_tools.records(str(folder))]
    assert left == sorted(set(left))
    assert numbers[b"s"] - numbers[b"a"] <= set(left)


@pytest.mark.parametrize("interval", [0.0, 1.0])
def test_dead_letters_are_sent_again_while_it_runs(tmp_path, interval):
    """Those that are named or all, marked as replayed; they are forgotten, and one refused again is dead again."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j", commit_interval=Duration(interval))
        receiver = Receiver(loop)
        refused = ("unknown machine", True)
        receiver.judge = lambda record: refused if b'"seq":7,' in record.plain or b'"seq":8,' in record.plain else None
        await delivery.open()
        receiver.connect(delivery)
        await produce(delivery, 2)
        await until(lambda: not delivery.unacknowledged)
        letters = delivery.letters
        dead = await letters.dead(100)
        assert len(dead) == 6
        assert {entry.reason for entry in dead} == {"unknown machine"}
        before = len(receiver.got)
        receiver.judge = lambda record: refused if b'"seq":8,' in record.plain else None
        assert await letters.requeue([dead[0].id]) == 1
        assert await letters.requeue() == 5
        await until(lambda: not delivery.unacknowledged and len(receiver.got) == before + 6)
        await until(lambda: delivery.commits.state.dead == 3)
        assert [entry.reason for entry in await letters.dead(2)] == ["unknown machine"] * 2
        assert delivery.stats()["dead_letters"] == 3
        await delivery.close(2)
        with pytest.raises(JournalError, match="is not open"):
            await letters.requeue()

    run_virtual(main)
    assert len(list(journal_tools.records(str(tmp_path / "j"), dead=True))) == 3


def test_dead_letters_that_a_failing_disk_keeps_are_said_to_be_both(tmp_path, monkeypatch):
    """They are under way again and can't be forgotten: whoever asked is told so in words."""

    async def main(loop):
        delivery = make_delivery(loop, tmp_path / "j")
        receiver = Receiver(loop)
        receiver.judge = lambda record: ("unknown machine", True) if b'"seq":7,' in record.plain else None
        await delivery.open()
        receiver.connect(delivery)
        await produce(delivery, 2)
        await until(lambda: delivery.commits.state.dead == 3 and not delivery.unacknowledged)
        with monkeypatch.context() as patched:
            full = lmdb.DiskError("mdb_put: No space left on device")
            patched.setattr(Store, "forget", Mock(side_effect=full))
            with pytest.raises(JournalError, match="sent again, but also kept as dead letters: disk full"):
                await delivery.letters.requeue()
        await until(lambda: delivery.commits.state.dead == 6)
        receiver.judge = lambda _: None
        assert await delivery.letters.requeue() == 6
        assert delivery.stats()["dead_letters"] == 0
        await delivery.close(2)

    run_virtual(main)
