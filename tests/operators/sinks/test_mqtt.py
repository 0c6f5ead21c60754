"""The sink `mqtt` against a scripted broker, in virtual time: nothing is lost, each refusal and each end is named."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from operators.sinks.mqtt import MqttOptions, Version, mqtt
from pipeline.actor import Mailbox, State
from pipeline.clock import VirtualLoop, run_virtual
from pipeline.codecs import Envelope
from pipeline.errors import Severity
from pipeline.journal import tools as journal_tools
from pipeline.journal.file import Store
from pipeline.journal.options import JournalOptions
from pipeline.operator import Flow, Overflow, Scope
from pipeline.tls import TlsOptions
from pipeline.units import Duration, Secret, Topic
from tests.parts.broker import Broker, Published, maximum_packet_size, receive_maximum
from tests.parts.engine import data, make_context, origin
from tests.parts.stage import SinkStage
from tests.parts.waiting import eventually

STATUS = "plc/acme/test/status"
TOPIC = "plc/acme/press1"


class Stage(SinkStage):
    """A running sink and the broker before it."""

    def __init__(self, loop: VirtualLoop, folder: Path, broker: Broker, given: dict[str, Any]) -> None:
        given = {"host": "broker", "tls": TlsOptions(enabled=False)} | given
        journal = JournalOptions(path=str(folder / "journal"), **given.pop("journal", {}))
        super().__init__(loop, mqtt, MqttOptions(journal=journal, **given), origin())
        self.broker = broker
        self.seen: set[int] = set()
        self.looked = 0

    def arrived(self) -> set[int]:
        """Which frames the broker has seen, at least once."""
        new = self.broker.published[self.looked :]
        self.looked += len(new)
        self.seen.update(message.json["values"]["n"] for message in new if not message.retain)
        return self.seen

    async def all_arrive(self) -> None:
        """Wait until every frame has been seen and the sink has nothing left."""
        await eventually(lambda: self.arrived() == set(range(self.sent)), "all frames arrive", 900)
        await eventually(lambda: not self.context.details()["backlog_frames"], "all frames are acknowledged", 900)


Script = Callable[[Stage], Coroutine[Any, Any, None]]


def play(folder: Path, script: Script, broker: Broker | None = None, **options: Any) -> None:
    """Run a script beside a sink whose journal is in `folder` and whose broker is scripted; then end the sink."""

    async def main(loop: VirtualLoop) -> None:
        scripted = broker or Broker()
        await scripted.listen(loop)
        stage = Stage(loop, folder, scripted, options)
        try:
            await script(stage)
        finally:
            await stage.stop()

    run_virtual(main)


def seqs(messages: list[Published]) -> list[int]:
    """The `seq` of each message."""
    return [message.json["seq"] for message in messages]


def test_frames_are_published_and_the_status_frames_them(tmp_path):
    """`online` before the first frame, `offline` with the last seq after the last one; the last will stays unsaid."""
    broker = Broker()

    async def script(stage: Stage) -> None:
        await stage.feed(50)
        await stage.all_arrive()
        assert stage.state == (State.RUNNING, "")

    play(tmp_path, script, broker, username="edge", password=Secret("pw"), client_id="line1")
    assert [message.topic for message in broker.published] == [STATUS, *[TOPIC] * 50, STATUS]
    assert seqs(broker.on(TOPIC)) == list(range(50))
    online, offline = (message.json for message in broker.on(STATUS))
    boot = broker.on(TOPIC)[0].json["boot"]
    assert (online["status"], online["boot"], online["last_seq"]) == ("online", boot, {"acme/press1": 0})
    assert (offline["status"], offline["clean"], offline["last_seq"]) == ("offline", True, {"acme/press1": 49})
    assert all(message.retain and message.qos == 1 for message in broker.on(STATUS))
    (connected,) = broker.connected
    assert (connected.client_id, connected.username, connected.password) == ("line1", "edge", "pw")
    assert connected.will[0] == STATUS
    assert b'"offline"' in connected.will[1]
    assert connected.will[2]
    assert broker.wills == []


def test_cuts_lose_nothing(tmp_path):
    """Connections that break with messages under way: each frame arrives, in order within a connection."""
    broker = Broker(delay=0.05)

    async def script(stage: Stage) -> None:
        for _ in range(10):
            await eventually(lambda: stage.state[0] is State.RUNNING, "connected")
            await stage.feed(60, 0.01)
            broker.cut()
            await stage.feed(60, 0.01)
        await stage.all_arrive()

    play(tmp_path, script, broker)
    assert len(broker.connected) == 11
    for connection in range(11):
        own = seqs([message for message in broker.on(TOPIC) if message.connection == connection])
        assert own == sorted(own)
    assert len(broker.wills) == 10


def test_a_broker_that_comes_late_gets_everything(tmp_path):
    """Started with no broker at all, the sink says why it waits, and delivers when there is one."""

    async def script(stage: Stage) -> None:
        server = await stage.broker.listen(stage.loop)
        server.close()
        await stage.feed(200, 1)
        state, reason = stage.state
        assert state is State.BACKING_OFF
        assert reason.startswith("refused: broker:8883")
        await stage.broker.listen(stage.loop)
        await stage.all_arrive()

    play(tmp_path, script)


@pytest.mark.parametrize(
    ("code", "word"), [(0x80, "unspecified"), (0x83, "implementation"), (0x91, "identifier"), (0x97, "quota")]
)
def test_refusals_that_may_pass_are_kept_and_tried_again(tmp_path, code, word):
    """Degraded with what to do while it lasts; what was refused arrives later, and its neighbours at once."""
    broker = Broker()
    refusing = True
    broker.puback = lambda m: code if refusing and not m.retain and m.json["values"]["n"] % 10 == 0 else 0

    async def script(stage: Stage) -> None:
        nonlocal refusing
        await stage.feed(50)
        state, reason = stage.state
        assert state is State.DEGRADED
        assert word in reason
        assert stage.context.details()["backlog_frames"] == 5
        refusing = False
        await stage.all_arrive()
        await eventually(lambda: stage.state == (State.RUNNING, ""), "well again", 300)
        assert stage.context.details()["dead_letters"] == 0

    play(tmp_path, script, broker)


@pytest.mark.parametrize("code", [0x90, 0x95, 0x99])
def test_refusals_for_ever_go_to_the_dead_letters(tmp_path, code):
    """They are sent once, counted and said; everything else arrives."""
    broker = Broker()
    broker.puback = lambda m: code if not m.retain and m.json["values"]["n"] == 3 else 0

    async def script(stage: Stage) -> None:
        await stage.feed(10)
        await stage.all_arrive()
        assert stage.state[0] is State.DEGRADED
        assert "dead letters" in stage.state[1]
        await eventually(lambda: stage.context.details()["dead_letters"] == 1, "dead letter", 60)

    play(tmp_path, script, broker)
    assert seqs(broker.on(TOPIC)) == list(range(10))


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_denied_topic_keeps_no_other_waiting(tmp_path, hangs_up):
    """One PLC's topic is not allowed; some brokers even hang up then. The other PLC's frames all arrive, in time."""
    broker = Broker()

    def puback(message: Published) -> int:
        if message.topic == "plc/db1":
            if hangs_up:
                asyncio.get_running_loop().call_later(0.001, broker.session.transport.close)
            return 0x87
        return 0

    broker.puback = puback

    async def script(stage: Stage) -> None:
        good, bad = stage.here, origin().replace(plc_id="")
        for _ in range(300):
            stage.here = bad
            stage.put()
            stage.here = good
            stage.put()
            await asyncio.sleep(1)
        await eventually(lambda: stage.state[0] is State.DEGRADED, "connected")
        assert "plc/db1" in stage.state[1]
        assert "ACL, then send them again: on the page" in stage.state[1]
        await eventually(lambda: len({m.json["seq"] for m in broker.on(TOPIC)}) == 300, "the other's frames", 10)
        assert 5 <= len(broker.on("plc/db1")) <= 7
        await eventually(lambda: stage.context.details()["dead_letters"] == 300, "dead letters", 10)

    play(tmp_path, script, broker)
    assert len(broker.connected) <= (7 if hangs_up else 1)


def test_dead_letters_of_a_topic_that_is_still_denied_are_sent_again_and_keep_no_other_waiting(tmp_path):
    """A thousand at once: they are dead letters again at once, and the other PLC's frames arrive meanwhile, in time."""
    broker = Broker(puback=lambda message: 0x87 if message.topic == "plc/db1" else 0)

    async def script(stage: Stage) -> None:
        good, stage.here = stage.here, origin().replace(plc_id="")
        stage.put(1000)
        await eventually(lambda: stage.context.details()["dead_letters"] == 1000, "dead letters", 300)
        stage.here = good
        await stage.feed(5)
        assert stage.context.letters is not None
        assert await stage.context.letters.requeue() == 1000
        before = len(broker.on(TOPIC))
        for _ in range(30):
            stage.put()
            await asyncio.sleep(1)
        assert len(broker.on(TOPIC)) >= before + 28
        await eventually(lambda: stage.context.details()["dead_letters"] == 1000, "dead letters again", 10)

    play(tmp_path, script, broker, inflight=50)


def test_where_every_topic_is_denied_most_frames_wait_and_are_no_dead_letters(tmp_path):
    """The journal holds days, the dead letters ten thousand; allowed again, all that waited arrives."""
    broker = Broker(puback=lambda message: 0x87 if message.topic == TOPIC else 0)

    async def script(stage: Stage) -> None:
        for _ in range(600):
            stage.put(20)
            await asyncio.sleep(1)
        dead = stage.context.details()["dead_letters"]
        assert dead < 2500
        broker.puback = lambda _: 0
        await eventually(lambda: len({m.json["seq"] for m in broker.on(TOPIC)}) >= 12_000 - 2500, "the others", 300)

    play(tmp_path, script, broker, inflight=50)


def test_what_no_subscriber_stores_counts_as_delivered_unless_one_is_required(tmp_path):
    """PUBACK 0x10: counted; with `require_subscriber` kept until somebody stores it."""
    broker = Broker(puback=lambda _: 0x10)

    async def script(stage: Stage) -> None:
        await stage.feed(10)
        await stage.all_arrive()
        assert len(broker.on(TOPIC)) == 10

    async def required(stage: Stage) -> None:
        await stage.feed(10)
        assert stage.context.details()["backlog_frames"] == 10
        assert "no subscriber" in stage.state[1]
        broker.puback = lambda _: 0
        await stage.all_arrive()

    play(tmp_path, script, broker)
    broker.published.clear()
    play(tmp_path, required, broker, require_subscriber=True)


@pytest.mark.parametrize("granted", [1, 2, 20, 500])
def test_the_brokers_window_is_never_exceeded(tmp_path, granted):
    """Receive Maximum counts everything of QoS 1, the status too; a window of one still delivers."""
    broker = Broker(properties=receive_maximum(granted), delay=0.01)

    async def script(stage: Stage) -> None:
        stage.put(1000)
        await stage.all_arrive()

    play(tmp_path, script, broker)
    assert broker.most_in_flight <= granted
    assert broker.most_in_flight >= min(granted - 1, 19)
    assert seqs(broker.on(TOPIC)) == list(range(1000))


def test_what_is_too_large_for_the_broker_blocks_nothing(tmp_path):
    """Maximum Packet Size: the frame goes to the dead letters unsent, the rest arrives."""
    broker = Broker(properties=maximum_packet_size(400))

    async def script(stage: Stage) -> None:
        stage.put(2)
        stage.put(text="x" * 500)
        stage.put(2)
        await eventually(lambda: stage.arrived() == {0, 1, 3, 4}, "the others arrive")
        await eventually(lambda: stage.context.details()["dead_letters"] == 1, "dead letter")
        assert "packet too large" in stage.state[1]
        assert len(broker.connected) == 1

    play(tmp_path, script, broker)


def test_a_message_that_makes_the_broker_hang_up_is_found(tmp_path):
    """The broker closes with "packet too large" whenever it sees one certain frame; only that one is given up."""
    broker = Broker()

    def puback(message: Published) -> int | None:
        if message.topic == TOPIC and message.json["values"]["n"] == 7:
            broker.disconnect(0x95)
            return None
        return 0

    broker.puback = puback

    async def script(stage: Stage) -> None:
        stage.put(20)
        await stage.all_arrive()
        await eventually(lambda: stage.context.details()["dead_letters"] == 1, "dead letter")

    play(tmp_path, script, broker)
    assert len(broker.connected) <= 4


def test_a_missing_acknowledgement_ends_the_connection(tmp_path):
    """The link lives, pings are answered, one PUBACK never comes: connect anew and send it again."""
    broker = Broker()
    broker.puback = lambda m: None if m.topic == TOPIC and m.connection == 0 and m.json["seq"] == 5 else 0

    async def script(stage: Stage) -> None:
        await stage.feed(600)
        await stage.all_arrive()

    play(tmp_path, script, broker, ack_timeout=Duration(20))
    assert len(broker.connected) == 2
    assert 20 <= broker.connected[1].at - broker.connected[0].at <= 32
    assert seqs(broker.on(TOPIC)).count(5) == 2


def test_a_half_open_connection_is_left(tmp_path):
    """Nothing comes any more and nothing breaks: the sink notices by itself, and nothing is lost."""
    broker = Broker()

    async def script(stage: Stage) -> None:
        await stage.feed(10)
        client, _ = stage.loop.connections[0]
        client.muted = client.peer.muted = True
        await stage.feed(100, 1)
        await stage.all_arrive()

    play(tmp_path, script, broker, keep_alive=Duration(10))
    assert len(broker.connected) == 2
    assert broker.connected[1].at < 25


@pytest.mark.parametrize(("code", "word"), [(0x86, "password"), (0x87, "access list"), (0x89, "busy"), (0x84, "3.1.1")])
def test_a_refused_login_is_named_and_not_hammered(tmp_path, code, word):
    """Attempts back off, with the reason as state; frames wait, and arrive when the broker is mended."""
    broker = Broker(connack=code)

    async def script(stage: Stage) -> None:
        await stage.feed(600, 1)
        assert stage.state[0] is State.BACKING_OFF
        assert word in stage.state[1]
        assert 20 < len(broker.connected) < 60
        broker.connack = 0
        await stage.all_arrive()

    play(tmp_path, script, broker)


@pytest.mark.parametrize(("said", "word"), [(True, "client_id"), (False, "another client use the id 'ours'")])
def test_a_second_client_with_our_id_is_named_and_not_fought(tmp_path, said, word):
    """Whenever we connect we are thrown out, with or without a word: an hour takes few connections, nothing is lost."""
    broker = Broker()

    async def script(stage: Stage) -> None:
        def throw_out() -> None:
            for session in broker.sessions[seen[0] :]:
                seen[0] += 1
                if said:
                    session.transport.write(b"\xe0\x01\x8e")
                session.transport.close()

        seen = [0]
        leave = stage.context.clock.tick(2.0, lambda _: throw_out())
        await stage.feed(360, 10)
        assert stage.state[0] is State.BACKING_OFF
        assert word in stage.state[1]
        assert len(broker.connected) < 15
        leave()
        await stage.all_arrive()

    play(tmp_path, script, broker, client_id="ours")


def test_who_ends_each_connection_after_seconds_is_met_at_once(tmp_path):
    """A balancer or a firewall may: what it could be is told, and the sink stays away for no long pause."""
    broker = Broker()

    async def script(stage: Stage) -> None:
        for number in range(1, 13):
            await stage.feed(50)
            await stage.all_arrive()
            broker.sessions[-1].transport.close()
            await eventually(lambda number=number: len(broker.connected) == number + 1, "connected again", 2)

    play(tmp_path, script, broker)


def test_a_broker_that_dies_again_and_again_is_no_rival(tmp_path):
    """Killed and back so soon that a pause between attempts could hide it: the sink is back within seconds."""
    broker = Broker()

    async def script(stage: Stage) -> None:
        for crash in range(1, 9):
            await stage.feed(300)
            broker.die()
            await asyncio.sleep(0.2)
            await broker.listen(stage.loop)
            await eventually(lambda crash=crash: len(broker.connected) == crash + 1, "connected again", 2)
        await stage.all_arrive()
        assert stage.state == (State.RUNNING, "")

    play(tmp_path, script, broker)


@pytest.mark.parametrize("mute", [False, True])
def test_stopping_takes_seconds_with_the_broker_away_or_mute_and_loses_nothing(tmp_path, mute):
    """What is not acknowledged within the grace is on disk; the next run delivers it, marked, and goes on behind it."""
    broker, second = Broker(), Broker()

    async def script(stage: Stage) -> None:
        await stage.feed(5)
        await stage.all_arrive()
        broker.mute = mute
        if not mute:
            broker.cut()
            stage.loop._servers.clear()
        stage.put(30)
        assert await stage.stop() < 5

    async def later(stage: Stage) -> None:
        stage.sent = 35
        await stage.feed(5)
        await eventually(lambda: stage.arrived() == set(range(5, 40)), "the rest arrives")

    play(tmp_path, script, broker)
    play(tmp_path, later, second)
    kept = [message.json for message in second.on(TOPIC)]
    assert [frame["values"]["n"] for frame in kept] == list(range(5, 40))
    assert [frame.get("replayed", False) for frame in kept][:30] == [True] * 30


def test_a_stop_waits_for_acknowledgements_under_way(tmp_path):
    """A broker that answers late is given its time: nothing is left for the next run."""
    broker = Broker(delay=1.0)

    async def script(stage: Stage) -> None:
        await asyncio.sleep(0.1)
        stage.put(100)
        await asyncio.sleep(3)
        stage.put(100)
        assert await stage.stop() < 4
        assert stage.context.details()["backlog_frames"] == 0

    play(tmp_path, script, broker)
    assert broker.wills == []
    assert broker.on(STATUS)[-1].json["last_seq"] == {"acme/press1": 199}


def test_qos_0_is_sent_once(tmp_path):
    """Handed to the socket it counts as delivered; what comes while there is none waits in the journal."""
    broker = Broker()

    async def script(stage: Stage) -> None:
        await stage.feed(10)
        broker.cut()
        await stage.feed(10, 0.01)
        await stage.all_arrive()

    play(tmp_path, script, broker, qos=0)
    assert {message.qos for message in broker.on(TOPIC)} == {0}
    assert len(broker.on(TOPIC)) == 20


def test_the_seeds_envelope_and_the_old_protocol(tmp_path):
    """`envelope: seed` adds nothing; MQTT 3.1.1 works."""
    broker = Broker()

    async def script(stage: Stage) -> None:
        await stage.feed(3)
        await stage.all_arrive()

    play(tmp_path, script, broker, envelope=Envelope.SEED, protocol=Version.V311)
    assert set(broker.on(TOPIC)[0].json) == {"ts", "ip", "db", "tenant_id", "plc_id", "values"}
    assert broker.connected[0].protocol == 4


def test_without_tenant_the_topic_falls_back_and_the_status_keeps_its_levels(tmp_path):
    """`plc/db1` for frames, `-` for the tenant in the status topic, which must not look like a frame's."""
    broker = Broker()

    async def script(stage: Stage) -> None:
        stage.here = origin().replace(tenant_id="", plc_id="")
        await stage.feed(3)
        await stage.all_arrive()

    with capture_logs() as logs:
        play(tmp_path, script, broker)
    assert len(broker.on("plc/db1")) == 3
    assert len(broker.on("plc/-/test/status")) == 2
    assert [log["topic"] for log in logs if log["event"] == "MQTT publish topic resolved to:"] == ["plc/db1"]


def test_without_frames_the_sink_connects_all_the_same(tmp_path):
    """A silent PLC must not keep the backlog of the last run from leaving."""

    async def script(stage: Stage) -> None:
        await eventually(lambda: stage.state == (State.RUNNING, ""), "connected", 10)

    play(tmp_path, script)


def test_no_status_when_none_is_wanted(tmp_path):
    """An empty `status_topic`: no announcement, no last will."""
    broker = Broker()

    async def script(stage: Stage) -> None:
        await stage.feed(1)
        await stage.all_arrive()

    play(tmp_path, script, broker, status_topic="")
    assert [message.topic for message in broker.published] == [TOPIC]
    assert broker.connected[0].will is None


def test_unreadable_files_are_named_and_read_again(tmp_path):
    """A missing password or CA file is the state's reason, with its path; put there, it is used without a restart."""
    broker = Broker()
    secret = tmp_path / "secret"

    async def script(stage: Stage) -> None:
        await stage.feed(10, 1)
        assert str(secret) in stage.state[1]
        secret.write_text("rotated\n")
        await stage.all_arrive()

    async def no_ca(stage: Stage) -> None:
        await stage.feed(10, 1)
        assert f"ca_file '{tmp_path}/ca.crt' can't be read (No such file" in stage.state[1]

    play(tmp_path, script, broker, username="edge", password=Secret(file=secret))
    assert broker.connected[0].password == "rotated"
    play(tmp_path, no_ca, broker, tls=TlsOptions(ca_file=str(tmp_path / "ca.crt")))


def test_options_that_cost_safety_are_warned_of_and_impossible_ones_refused():
    """Each with its option's path."""

    def findings(severity: Severity, **options: Any) -> list[Any]:
        built = MqttOptions(**{"host": "broker.plant"} | options)
        return [found.path[0] for found in built.check(Scope(graph="g", node="n")) if found.severity is severity]

    off = TlsOptions(enabled=False)
    assert findings(Severity.WARNING) == []
    assert findings(Severity.WARNING, tls=off) == ["tls"]
    assert findings(Severity.WARNING, tls=off, host="127.0.0.1") == []
    assert findings(Severity.WARNING, qos=0, envelope=Envelope.SEED, protocol=Version.V311) == [
        "qos",
        "envelope",
        "protocol",
    ]
    assert findings(Severity.ERROR, topic=Topic("plc/#")) == ["topic"]
    assert findings(Severity.ERROR, status_topic="plc/{plc_id}/status") == ["status_topic"]
    assert findings(Severity.ERROR, password=Secret("x")) == ["password"]
    assert findings(Severity.ERROR, keep_alive=Duration(70_000)) == ["keep_alive"]


@pytest.mark.parametrize(
    "host",
    ["mqtts://user:topsecret@broker", "user:topsecret@broker", "broker/topsecret", "broker topsecret", "topsecret:x"],
)
def test_a_host_that_is_more_than_a_host_is_refused_and_not_shown(host):
    """What it holds may be a password."""
    (found,) = MqttOptions(host=host).check(Scope(graph="g", node="n"))
    assert (found.path, found.severity) == (("host",), Severity.ERROR)
    assert "options of their own" in found.hint
    assert "topsecret" not in str(found)
    claims = mqtt.claimed(MqttOptions(host=host), Scope(graph="g", node="n"))
    assert "topsecret" not in str(claims)


@pytest.mark.parametrize(("enabled", "scheme"), [(True, "mqtts"), (False, "mqtt")])
def test_the_journal_names_the_broker_with_or_without_tls(tmp_path, enabled, scheme):
    """As people name it."""

    async def main(loop: VirtualLoop) -> None:
        journal = JournalOptions(path=str(tmp_path / "j"))
        options = MqttOptions(host="broker", tls=TlsOptions(enabled=enabled), journal=journal)
        context = make_context(loop)
        mailbox = Mailbox(loop, 10, Overflow.DROP_NEWEST, context.actor.drop)
        task = asyncio.ensure_future(mqtt.build(options, context)(mailbox))
        mailbox.put(data(origin()))
        await asyncio.sleep(5)
        mailbox.close()
        await task

    run_virtual(main)
    assert journal_tools.summary(str(tmp_path / "j")).receiver == f"{scheme}://broker:8883"


def test_a_full_disk_does_not_make_an_absent_broker_look_connected(tmp_path, monkeypatch):
    """The sink waits for its broker and says both; so it is not ready."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "append", full)

    async def script(stage: Stage) -> None:
        server = await stage.broker.listen(stage.loop)
        server.close()
        for _ in range(30):
            await stage.feed(20)
            state, reason = stage.state
            assert state in {State.STARTING, State.BACKING_OFF}
        assert reason.startswith("refused: broker:8883")
        assert "disk full" in reason
        await stage.broker.listen(stage.loop)
        await stage.all_arrive()

    play(tmp_path, script)


def test_claims_and_predictions():
    """The journal's folder and the client id belong to one sink; a day's bytes and the hours without a broker."""
    scope = Scope(graph="line1", node="broker")
    options = MqttOptions(host="b", journal=JournalOptions(path="data/x", max_size=1024**3))
    journal, client = mqtt.claimed(options, scope)
    assert (journal.what, journal.key) == ("journal", str(Path("data/x").absolute()))
    assert client == mqtt.claimed(options, scope)[1]
    assert client != mqtt.claimed(options, Scope(graph="line2", node="broker"))[1]
    assert client.key.endswith("at b:8883")
    forecast = mqtt.forecast(options, scope, Flow(frames=50, size=300))
    assert dict(forecast.lines)["messages a second"] == "50"
    assert dict(forecast.lines)["journal headroom"].startswith("16.1 h")
    assert forecast.flow.frames == 50
    assert "7" not in dict(mqtt.forecast(options, scope, Flow()).lines)
