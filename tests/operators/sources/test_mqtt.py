"""The source `mqtt` against a scripted broker, in virtual time: nothing is acknowledged before it is processed."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from operators.sinks.mqtt import MqttOptions as SinkOptions
from operators.sinks.mqtt import mqtt as mqtt_sink
from operators.sources import mqtt as source_module
from operators.sources.mqtt import MqttOptions, mqtt
from pipeline.actor import State
from pipeline.clock import VirtualLoop, run_virtual
from pipeline.config import load_text
from pipeline.errors import ConfigurationError
from pipeline.frame import Frame, Kind, Origin, Stamp
from pipeline.journal.options import JournalOptions
from pipeline.messages import Format, MessageMapping, Series, TimeFormat, read_ours
from pipeline.operator import Context, Flow, NodeKind, Scope
from pipeline.tls import TlsOptions
from pipeline.units import Duration, Secret, Topic
from tests.parts.broker import Broker
from tests.parts.engine import make_context, make_graph, node, run_graph
from tests.parts.waiting import eventually

OURS = b'{"ts":1731800000.123,"ip":"192.0.2.1","db":1,"tenant_id":"acme","plc_id":"press1","values":{"n":%d}}'
TOPIC = "plc/acme/press1"


@dataclass
class Stage:
    """A subscribed source and all around it."""

    loop: VirtualLoop
    broker: Broker
    context: Context
    frames: list[Frame]
    ended: list[object]
    processed: bool = True
    paused: bool = False
    taking: Callable[[Frame], None] | None = None

    def take(self, frame: Frame) -> None:
        """What the source gives."""
        (self.taking or self.frames.append)(frame)

    @property
    def state(self) -> tuple[State, str]:
        """What the source says of itself."""
        return self.context.actor.state, self.context.actor.reason

    @property
    def numbers(self) -> list[int]:
        """The value `n` of each frame."""
        return [int(frame.values["n"]) for frame in self.frames]

    def give(self, *numbers: int) -> None:
        """Publish frames of ours."""
        for number in numbers:
            self.broker.give(TOPIC, OURS % number)

    async def came(self, count: int) -> None:
        """Wait for so many frames."""
        await eventually(lambda: len(self.frames) >= count, f"{count} frames", 900)

    async def quiet(self) -> None:
        """Wait until the session keeps nothing."""
        await eventually(lambda: not self.broker.kept, "all is acknowledged", 900)


Script = Callable[[Stage], Coroutine[Any, Any, None]]


def play(script: Script, broker: Broker | None = None, **options: Any) -> Broker:
    """Run a script beside a source whose broker is scripted; then dispose it. The broker."""
    scripted = broker or Broker()

    async def main(loop: VirtualLoop) -> None:
        await scripted.listen(loop)
        context = make_context(loop, kind=NodeKind.SOURCE)
        given = {"host": "broker", "tls": TlsOptions(enabled=False), "topics": ["plc/#"]} | options
        stage = Stage(loop, scripted, context, [], [])

        def checkpoint() -> Callable[[], bool]:
            return lambda: stage.processed

        context.checkpoint = checkpoint
        context.is_paused = lambda: stage.paused
        stream = mqtt.build(MqttOptions(**given), context)
        subscription = stream.subscribe(stage.take, stage.ended.append, lambda: stage.ended.append("end"))
        try:
            await script(stage)
        finally:
            subscription.dispose()
            if context.tasks:
                await asyncio.wait(context.tasks, timeout=2)
            assert not context.tasks
        assert stage.ended == []

    run_virtual(main)
    return scripted


def test_it_subscribes_once_and_keeps_its_session():
    """Who it is, what it asks for, what the broker is to keep, how many messages it may send, and how long ones."""
    topics = ["plc/acme/+", "mov/dados/#"]

    async def script(stage: Stage) -> None:
        stage.give(1)
        await stage.came(1)
        await stage.quiet()
        assert stage.state == (State.RUNNING, "")

    options = {"topics": topics, "username": "edge", "password": Secret("pw"), "window": 77}
    broker = play(script, session_expiry=Duration(3600), **options)
    (connected,) = broker.connected
    assert (connected.client_id, connected.username, connected.password) == ("test-node", "edge", "pw")
    assert (connected.clean, connected.will) == (False, None)
    assert connected.properties == b"\x11\0\0\x0e\x10" + b"\x21\0\x4d" + b"\x27\1\0\0\0"
    assert broker.subscribed == [dict.fromkeys(topics, 0x11)]
    assert broker.pings == 0
    assert broker.wills == []


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_frames_come_in_order_and_are_acknowledged_in_order(protocol):
    """Both versions of the protocol."""

    async def script(stage: Stage) -> None:
        stage.give(*range(3000))
        await stage.came(3000)
        await stage.quiet()
        assert stage.numbers == list(range(3000))
        assert len({id(frame.origin) for frame in stage.frames}) == 1

    broker = play(script, protocol=protocol)
    assert broker.acknowledged == [OURS % number for number in range(3000)]


def test_what_is_not_processed_is_not_acknowledged_and_the_window_bounds_it():
    """The broker sends as many as the window holds, and the rest once those are processed; nothing is dropped."""

    async def script(stage: Stage) -> None:
        stage.processed = False
        stage.give(*range(500))
        await asyncio.sleep(60)
        assert stage.numbers == list(range(100))
        assert stage.broker.acknowledged == []
        assert stage.context.details()["under_way"] == 100
        stage.processed = True
        await stage.quiet()
        assert stage.numbers == list(range(500))

    play(script, window=100)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_pause_behind_stops_the_taking_and_drops_nothing(protocol):
    """A full journal: frames wait at the broker, also longer than the keep-alive; the state says so."""

    async def script(stage: Stage) -> None:
        await eventually(lambda: stage.state[0] is State.RUNNING, "subscribed")
        stage.paused = True
        stage.give(*range(300))
        await asyncio.sleep(300)
        assert stage.frames == []
        assert stage.broker.acknowledged == []
        assert stage.state == (State.DEGRADED, "paused: a sink behind is full; the broker keeps what comes")
        stage.paused = False
        await stage.quiet()
        assert stage.numbers == list(range(300))
        await eventually(lambda: stage.state[0] is State.RUNNING, "well again")

    assert len(play(script, window=50, protocol=protocol).connected) == 1


def test_cuts_lose_nothing_and_double_nothing_that_the_session_knows():
    """Messages under way when a connection breaks come again; those that were given are not given again."""

    async def script(stage: Stage) -> None:
        for round_ in range(5):
            stage.processed = False
            stage.give(*range(round_ * 10, round_ * 10 + 10))
            await stage.came(round_ * 10 + 10)
            stage.broker.cut()
            await eventually(lambda: stage.state[0] is State.BACKING_OFF, "noticed")
            await eventually(lambda: stage.state[0] is State.RUNNING, "connected again", 120)
            stage.processed = True
            await stage.quiet()
        assert stage.numbers == list(range(50))

    broker = play(script)
    assert len(broker.connected) == 6
    assert len(broker.delivered) == 100


def test_a_broker_that_forgot_the_session_gives_what_it_has():
    """Packet identifiers of a new session mean other messages: all are given."""

    async def script(stage: Stage) -> None:
        stage.processed = False
        stage.give(1, 2)
        await stage.came(2)
        stage.broker.kept.clear()
        stage.broker._last = 0
        stage.broker.cut()
        stage.broker.sessions.clear()
        stage.give(1, 3)
        await stage.came(4)
        stage.processed = True
        await stage.quiet()
        assert stage.numbers == [1, 2, 1, 3]

    play(script)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{bad", "JSON is malformed"),
        (b"", "Input data was truncated"),
        (b"5", "Expected `object`, got `int`"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"ts":1}', "missing required field `values`"),
        (b'{"ts":1,"values":{"a":[1]}}', "$.values[...]"),
        (b'{"ts":1731800000123,"values":{"a":1}}', "1731800000123 is no time in seconds since 1970"),
        (b'{"ts":-1,"values":{"a":1}}', "is no time"),
        (b"\xff\xfe", "JSON is malformed"),
        (b'{"ts":1,"values":{"a":-1%b}}' % (b"0" * 400), "value 'a' is larger than any float"),
        (b'{"other":' + b"[" * 5000, "maximum recursion depth"),
    ],
)
def test_a_malformed_message_is_counted_shown_acknowledged_and_stops_nobody(body, reason):
    """Between two good ones, a thousand times; for a minute the state names it, the details for good."""

    async def script(stage: Stage) -> None:
        stage.give(1)
        for _ in range(1000):
            stage.broker.give(TOPIC, body)
        stage.give(2)
        await stage.came(2)
        await stage.quiet()
        assert stage.numbers == [1, 2]
        details = stage.context.details()
        assert details["messages"] == {"taken": 2, "malformed": 1000, "passed_over": 0, "unwanted": 0}
        assert reason in details["last_malformed"]["reason"]
        assert details["last_malformed"]["topic"] == TOPIC
        state, why = stage.state
        assert state is State.DEGRADED
        assert reason in why
        await asyncio.sleep(90)
        assert stage.state == (State.RUNNING, "")

    with capture_logs() as logs:
        play(script)
    assert len([line for line in logs if line["event"] == "malformed message"]) == 1


def test_our_frames_come_back_whole():
    """Kinds, bad values, tags, measurement, numbers of the sender; what sinks say of themselves is passed over."""
    full = {"seq": 812, "boot": "01JD8Z", "replayed": True}
    messages = [
        {"ts": 1731800000.123, "ip": "a", "db": 1, "tenant_id": "acme", "plc_id": "press1", "values": {"x": 1}} | full,
        {"ts": 1, "ip": "a", "db": 2, "values": {"heartbeat": 1}},
        {"ts": 2.5, "ip": "a", "db": 2, "values": {"heartbeat": 1, "read_failed": True}, "error": "timeout"},
        {"ts": 3, "ip": "a", "values": {"t": 2.5}, "tags": {"area": "l1"}, "measurement": "s7_x", "bad": {"u": "NaN"}},
        {"status": "online", "boot": "01JD8Z", "ts": 1.0, "last_seq": {"acme/press1": 4}},
    ]

    async def script(stage: Stage) -> None:
        for message in messages:
            stage.broker.give(TOPIC, json.dumps(message).encode())
        await stage.quiet()
        assert stage.context.details()["messages"]["passed_over"] == 1
        data, heartbeat, failure, tagged = stage.frames
        assert (data.kind, data.ts, data.values, data.stamp) == (
            *(Kind.DATA, 1731800000.123, {"x": 1}, Stamp(812, "01JD8Z", replayed=True)),
        )
        assert (data.origin.ip, data.origin.db, data.origin.measurement) == ("a", 1, "s7_db1")
        assert (heartbeat.kind, failure.kind, failure.error) == (Kind.HEARTBEAT, Kind.FAILURE, "timeout")
        assert (tagged.origin.measurement, tagged.origin.tags, tagged.bad) == ("s7_x", {"area": "l1"}, {"u": "NaN"})
        assert [(frame.origin.tenant_id, frame.origin.plc_id) for frame in stage.frames] == [("acme", "press1")] * 4
        assert heartbeat.origin is failure.origin

    play(script)


@pytest.mark.parametrize(
    ("topic", "said", "expected"),
    [
        ("plc/t1/oven2", {"plc_id": "x"}, ("t1", "oven2", 1)),
        ("plc/t1/oven2", {"tenant_id": "rival", "plc_id": "oven2"}, ("t1", "oven2", 1)),
        ("plc/t1/oven2", {}, ("t1", "oven2", 1)),
        ("plc/t1", {"tenant_id": "rival", "plc_id": "x"}, ("t1", "x", 1)),
        ("plc/db1", {"tenant_id": "t2", "plc_id": "x"}, ("t2", "x", 1)),
        ("plc/db7", {"db": None}, ("", "", 7)),
        ("plc/t1/oven2/more", {"tenant_id": "t1", "plc_id": "x"}, ("t1", "x", 1)),
    ],
)
def test_frames_have_the_names_that_the_ingest_gives_their_data(topic, said, expected):
    """What the topic says wins, also where it names the tenant alone; the shared topic names nobody but a block."""
    message = {"ts": 1, "ip": "a", "db": 1, "values": {"x": 1}} | said

    async def script(stage: Stage) -> None:
        stage.broker.give(
            topic, json.dumps({key: value for key, value in message.items() if value is not None}).encode()
        )
        await stage.came(1)
        origin = stage.frames[0].origin
        assert (origin.tenant_id, origin.plc_id, origin.db) == expected

    play(script)


def test_the_topics_names_win_over_the_messages_and_the_difference_is_counted():
    """The broker vouches for the topic; other names come from it only where the message has none."""
    body = b'{"ts":1,"ip":"a","db":1,"tenant_id":"%s","plc_id":"other","values":{"x":1}}'

    async def script(stage: Stage) -> None:
        for _ in range(3):
            stage.broker.give(TOPIC, body % b"rival")
        stage.broker.give(TOPIC, body % b"acme")
        stage.broker.give("plc/db1", b'{"ts":1,"ip":"a","db":1,"values":{"x":1}}')
        await stage.quiet()
        names = [(frame.origin.tenant_id, frame.origin.plc_id) for frame in stage.frames]
        assert names == [("acme", "press1")] * 4 + [("", "")]
        assert len({id(frame.origin) for frame in stage.frames[:3]}) == 1
        assert stage.context.metrics.value("edge_messages_contradicted_total", node="node") == 4

    play(script)


SENSOR = {
    "timestamp": "2026-02-02T15:04:05.999Z",
    "tags": {"dispositivo": "sensor_01", "localizacao": "linha_producao_1", "cliente": "", "lote": None, "n": 7},
    "fields": {"temperatura_c": 25.5, "umidade": 60, "ligado": True, "modo": "auto", "nada": None},
}


@pytest.mark.parametrize(
    ("changes", "ts"),
    [
        ({}, 1770044645.999),
        ({"timestamp": "2026-02-02T12:04:05.999999999-03:00"}, 1770044645.999999),
        ({"timestamp": "2026-02-02T15:04:05Z"}, 1770044645.0),
        ({"timestamp": None}, 1_731_800_000),
    ],
)
def test_sensors_messages_become_frames(changes, ts):
    """Time with fraction and zone, tags and fields; empty tags and null fields are none."""

    async def script(stage: Stage) -> None:
        stage.broker.give("mov/dados/sensor01", json.dumps(SENSOR | changes).encode())
        await stage.came(1)
        (frame,) = stage.frames
        assert frame.ts == pytest.approx(ts, abs=1.0 if changes == {"timestamp": None} else 1e-6)
        assert frame.origin.measurement == "mov_dados"
        tags = {"dispositivo": "sensor_01", "localizacao": "linha_producao_1", "n": "7", "sala": "dados"}
        assert frame.origin.tags == tags
        assert frame.values == {"temperatura_c": 25.5, "umidade": 60, "ligado": True, "modo": "auto"}
        assert frame.bad is None

    play(script, topics=["mov/dados/#"], format=Format.MOV, topic_pattern="mov/{sala}/+")


def test_what_a_sensor_nests_has_the_names_that_the_ingest_gives_it():
    """Fields of objects and lists by all names on their way, to any depth; tags that are one as JSON."""
    fields = {"temperatura": {"c": 33, "f": None}, "t": [31, 29.5, {"x": [True]}], "leer": {}, "n": 1, "z": 10**400}
    tags = {"o": {"b": [1, "é"], "a": 1}, "l": [1.5, None], "ja": True, "x": 1.0}

    async def script(stage: Stage) -> None:
        stage.broker.give("mov/dados/a", json.dumps({"tags": tags, "fields": fields}).encode())
        await stage.came(1)
        (frame,) = stage.frames
        assert frame.values == {"temperatura_c": 33, "t_0": 31, "t_1": 29.5, "t_2_x_0": True, "n": 1}
        assert frame.bad == {"z": "larger than any float"}
        assert frame.origin.tags == {"o": '{"a":1,"b":[1,"é"]}', "l": "[1.5,null]", "ja": "true", "x": "1.0"}

    play(script, topics=["mov/dados/#"], format=Format.MOV)


def test_what_the_ingest_stores_of_a_sensor_is_a_frame_with_its_tags():
    """Texts in Latin-1, a byte order mark, a `db` that is no number, and tags that InfluxDB can't have."""
    bodies = [
        b'{"tags": {"unit": "\xb0C", "d": "x"}, "fields": {"n": 1}}',
        b'\xef\xbb\xbf{"tags": {"d": "x"}, "fields": {"n": 2}}',
        b'{"tags": {"d": "x", "db": "linha A"}, "fields": {"n": 3}}',
        b'{"tags": {"d": "x", "db": "07"}, "fields": {"n": 4}}',
        b'{"tags": {"d": "x", "db": "None"}, "fields": {"n": 5}}',
        b'{"tags": {"d": "x", "db": 7, "ip": "y"}, "fields": {"n": 6}}',
        b'{"tags": {"d": "x", "time": 5, "org": "o", "type_conflict": "t", "left_out": "l"}, "fields": {"n": 7}}',
        b'{"tags": null, "measurement": 5, "fields": {"n": 8}}',
        *(b'{"tags": {"db": "%s"}, "fields": {"n": 9}}' % (b"9" * n) for n in (18, 5000)),
    ]

    async def script(stage: Stage) -> None:
        for body in bodies:
            stage.broker.give("mov/dados/a", body)
        await stage.came(len(bodies))
        origins = [frame.origin for frame in stage.frames]
        assert {origin.measurement for origin in origins} == {"mov_dados"}
        assert [(origin.db, origin.tags) for origin in origins] == [
            (None, {"unit": "\ufffdC", "d": "x"}),
            (None, {"d": "x"}),
            *((None, {"d": "x", "db": db}) for db in ("linha A", "07", "None")),
            (7, {"d": "x"}),
            *((None, {"d": "x"}), (None, {})),
            *((int("9" * 18), {}), (None, {"db": "9" * 5000})),
        ]

    play(script, topics=["mov/dados/#"], format=Format.MOV)


def test_a_frame_with_a_mark_and_texts_that_are_not_utf_8_is_read():
    """As the ingest reads it."""
    frame = read_ours(Series(5))(b'\xef\xbb\xbf{"ts":1,"values":{"a":"\xe7\xb0C"}}', 0)
    assert frame is not None
    assert frame.values == {"a": "\ufffdC"}


def test_a_message_that_meets_a_defect_takes_no_other_along(monkeypatch):
    """Whatever reading it raises: it is set aside, the others of the same batch are given, all are acknowledged."""
    wrong = OURS % 3

    def reader(*_: object) -> Callable[[str, bytes, float], Frame | None]:
        def read(topic: str, body: bytes, now: float) -> Frame | None:
            if body == wrong:
                raise KeyError("x")
            return good(topic, body, now)

        good = made(*_)
        return read

    made = source_module._reader
    monkeypatch.setattr(source_module, "_reader", reader)

    async def script(stage: Stage) -> None:
        stage.give(1, 2, 3, 4, 5)
        await stage.came(4)
        await stage.quiet()
        assert stage.numbers == [1, 2, 4, 5]
        assert stage.context.details()["last_malformed"]["reason"] == "KeyError('x')"

    play(script)


def test_a_step_behind_that_raises_leaves_no_message_behind():
    """What was taken and not given yet stays in the row; it comes, and is acknowledged."""

    async def script(stage: Stage) -> None:
        def take(frame: Frame) -> None:
            stage.frames.append(frame)
            if frame.values["n"] == 2:
                raise KeyError("behind")

        told: list[Any] = []
        stage.loop.set_exception_handler(lambda _, told_: told.append(told_))
        stage.taking = take
        stage.give(1, 2, 3, 4)
        await stage.came(4)
        await stage.quiet()
        assert stage.numbers == [1, 2, 3, 4]
        assert len(told) == 1

    play(script)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"timestamp": "2026-02-02T15:04:05"}, "has no zone"),
        ({"timestamp": "yesterday"}, "is no time as 2026"),
        ({"timestamp": 5}, "Expected `str | null`"),
        ({"fields": {}}, "it has no values"),
        ({"fields": None}, "Expected `object`"),
        ({"timestamp": "2026-02-02T15:04:05-0300"}, "is no time as 2026"),
        ({"timestamp": "2026-02-02 15:04:05Z"}, "is no time as 2026"),
        ({"tags": "x"}, "Expected `object | null`"),
    ],
)
def test_what_a_sensor_writes_wrongly_is_named(changes, reason):
    """And the next message is taken."""

    async def script(stage: Stage) -> None:
        stage.broker.give("mov/dados/a", json.dumps(SENSOR | changes).encode())
        stage.broker.give("mov/dados/a", json.dumps(SENSOR | {"measurement": "sala"}).encode())
        await stage.came(1)
        assert reason in stage.context.details()["last_malformed"]["reason"]
        assert stage.frames[0].origin.measurement == "sala"

    play(script, topics=["mov/dados/#"], format=Format.MOV)


FOREIGN = {
    "t": 1731800000123,
    "kind": "forno",
    "device": {"id": 7, "odd.name": "x"},
    "rows": [{"v": 1.5}, {"v": 2}],
}


@pytest.mark.parametrize(
    ("mapping", "measurement", "tags", "values"),
    [
        (
            {
                "ts": "t",
                "ts_format": "unix_ms",
                "values": {"a": "rows[0].v", "b": "rows.1.v", "c": "no.where", "d": "rows.2.v", "e": "rows.x.v"},
            },
            *("node", {}, {"a": 1.5, "b": 2}),
        ),
        (
            {
                "ts": "t",
                "ts_format": "unix_ms",
                "measurement": "kind",
                "tags": {"plc_id": "device.id", "odd": 'device["odd.name"]', "none": "device.none"},
                "values": "rows[1]",
            },
            *("forno", {"odd": "x"}, {"v": 2}),
        ),
        ({"ts": "t", "ts_format": "unix_ms", "tags": {"k": "kind"}}, "node", {"k": "forno"}, {}),
    ],
)
def test_any_json_is_read_by_a_mapping(mapping, measurement, tags, values):
    """Paths into objects and lists; the frame's own fields by their names; what has another meaning is no value."""
    options = MessageMapping(**{**mapping, "ts_format": TimeFormat(mapping["ts_format"])})
    body = FOREIGN if values else FOREIGN | {"speed": 3.5}
    values = values or {"speed": 3.5}

    async def script(stage: Stage) -> None:
        stage.broker.give("any/thing", json.dumps(body).encode())
        await stage.came(1)
        (frame,) = stage.frames
        assert (frame.ts, frame.values) == (1731800000.123, values)
        assert (frame.origin.measurement, frame.origin.tags) == (measurement, tags)
        assert frame.origin.plc_id == ("7" if measurement == "forno" else "")

    play(script, topics=["any/#"], format=Format.JSON, mapping=options)


@pytest.mark.parametrize(
    ("written", "form", "ts"),
    [
        (1731800000.25, "unix", 1731800000.25),
        ("1731800000", "unix", 1731800000.0),
        (1731800000123456, "unix_us", 1731800000.123456),
        (1731800000123456789, "unix_ns", 1731800000.123456789),
        ("2024-11-16T23:33:20.5+00:00", "rfc3339", 1731800000.5),
        ("x", "unix", "the time 'x' is no number"),
        (True, "unix", "the time True is no number"),
        (10**400, "unix", "is no number"),
        (None, "unix", "there is no time at 't'"),
        (1731800000123, "unix", "1731800000123 is no time in seconds"),
        ([1], "rfc3339", "[1] is no time as"),
    ],
)
def test_times_are_read_as_told(written, form, ts):
    """Or refused, with what was found."""

    async def script(stage: Stage) -> None:
        stage.broker.give("any", json.dumps({"t": written, "v": 1}).encode())
        await stage.quiet()
        if isinstance(ts, str):
            assert ts in stage.context.details()["last_malformed"]["reason"]
        else:
            assert [frame.ts for frame in stage.frames] == [pytest.approx(ts, abs=1e-6)]

    mapping = MessageMapping(ts="t", ts_format=TimeFormat(form), values={"v": "v"})
    play(script, topics=["any"], format=Format.JSON, mapping=mapping)


def test_series_are_bounded():
    """A sender that makes a new tag set each time can't fill the memory; known series flow on."""

    async def script(stage: Stage) -> None:
        for number in range(20):
            body = {"tags": {"id": str(number % 15)}, "fields": {"n": number}}
            stage.broker.give("mov/dados/a", json.dumps(body).encode())
        await stage.quiet()
        assert stage.numbers == [*range(10), 15, 16, 17, 18, 19]
        assert "max_series (10)" in stage.state[1]

    play(script, topics=["mov/dados/#"], format=Format.MOV, max_series=10)


def test_topics_of_a_former_time_are_left():
    """The session still has them: acknowledged, counted, told once."""

    async def script(stage: Stage) -> None:
        for _ in range(5):
            stage.broker.give("old/topic", OURS % 1)
        stage.give(2)
        await stage.quiet()
        assert stage.numbers == [2]
        assert stage.context.details()["messages"]["unwanted"] == 5

    with capture_logs() as logs:
        play(script)
    assert len([line for line in logs if line["event"] == "messages of a topic that is not subscribed"]) == 1


def test_a_refused_filter_is_named_and_the_others_flow():
    """Degraded as long as it lasts; with all refused it backs off and tries again."""
    broker = Broker(suback=lambda topic: 0x87 if topic.startswith("secret") else 1)

    async def some(stage: Stage) -> None:
        stage.give(1)
        await stage.came(1)
        state, reason = stage.state
        assert state is State.DEGRADED
        assert reason.startswith("secret/#: not authorised; allow this user to read")

    async def none(stage: Stage) -> None:
        await eventually(lambda: stage.state[0] is State.BACKING_OFF, "refused")
        assert "not authorised" in stage.state[1]
        stage.broker.suback = lambda _: 1
        stage.broker.give("secret/a", OURS % 1)
        await stage.came(1)

    play(some, broker, topics=["plc/#", "secret/#"])
    play(none, Broker(suback=lambda _: 0x87), topics=["secret/#"])


@pytest.mark.parametrize(("code", "words"), [(0x86, "user name or password is wrong"), (0x89, "the broker is busy")])
def test_a_refused_connection_backs_off_and_says_why(code, words):
    """Pauses grow; it comes back by itself."""
    broker = Broker(connack=code)

    async def script(stage: Stage) -> None:
        await asyncio.sleep(100)
        assert stage.state[0] is State.BACKING_OFF
        assert words in stage.state[1]
        assert 3 <= len(broker.connected) <= 15
        broker.connack = 0
        stage.give(1)
        await stage.came(1)

    play(script, broker)


def test_a_mute_broker_is_left():
    """Nothing heard for one and a half times the keep-alive."""

    async def script(stage: Stage) -> None:
        stage.give(1)
        await stage.came(1)
        stage.broker.mute = True
        await eventually(lambda: stage.state[0] is State.BACKING_OFF, "noticed", 40)
        stage.broker.mute = False
        stage.give(2)
        await stage.came(2)

    assert len(play(script).connected) == 2


def test_a_rival_with_our_client_id_is_met_with_long_pauses():
    """Two clients of one id must not throw each other out all the time."""

    async def script(stage: Stage) -> None:
        await eventually(lambda: stage.state[0] is State.RUNNING, "subscribed")
        stage.broker.disconnect(0x8E)
        await asyncio.sleep(15)
        assert "another client has connected with our client id" in stage.state[1]
        assert len(stage.broker.connected) == 1

    play(script)


def test_a_broker_that_dies_again_and_again_is_no_rival():
    """Killed and back so soon that a pause between attempts could hide it: the source is back within seconds."""

    async def script(stage: Stage) -> None:
        for crash in range(1, 9):
            await asyncio.sleep(30)
            stage.broker.die()
            await asyncio.sleep(0.2)
            await stage.broker.listen(stage.loop)
            stage.give(crash)
            await eventually(lambda crash=crash: len(stage.frames) == crash, "received again", 2)

    play(script)


def test_the_end_acknowledges_what_gets_processed_in_time_and_takes_no_more():
    """What is not processed then comes again with the next start."""

    async def script(stage: Stage) -> None:
        stage.processed = False
        stage.give(1, 2, 3)
        await stage.came(3)
        stage.loop.call_later(0.3, setattr, stage, "processed", True)

    broker = play(script)
    assert len(broker.acknowledged) == 3
    assert not broker.kept

    async def stuck(stage: Stage) -> None:
        stage.processed = False
        stage.give(4)
        await stage.came(1)

    assert len(play(stuck).kept) == 1


def test_it_can_be_subscribed_again():
    """A supervisor's restart: a new connection to the same session, the same origin for the same series."""
    broker = Broker()
    origins: set[Origin] = set()

    async def main(loop: VirtualLoop) -> None:
        await broker.listen(loop)
        context = make_context(loop, kind=NodeKind.SOURCE)
        stream = mqtt.build(MqttOptions(host="broker", tls=TlsOptions(enabled=False), topics=["#"]), context)
        for number in (1, 2):
            frames: list[Frame] = []
            broker.give(TOPIC, OURS % number)
            with stream.subscribe(frames.append):
                await eventually(lambda frames=frames: frames, "a frame")
                await eventually(lambda: not broker.kept, "acknowledged")
            await asyncio.sleep(1)
            assert [frame.values["n"] for frame in frames] == [number]
            origins.add(frames[0].origin)

    run_virtual(main)
    assert len(origins) == 1
    assert [connected.clean for connected in broker.connected] == [False, False]


def test_a_message_waits_for_the_journal_behind(tmp_path):
    """In a running graph: with the receiver away it is acknowledged once it is on disk, and not a moment before."""
    incoming, on_disk = Broker(), []

    async def main(loop: VirtualLoop) -> None:
        await incoming.listen(loop)
        options = MqttOptions(host="broker", tls=TlsOptions(enabled=False), topics=["plc/#"])
        journal = JournalOptions(path=str(tmp_path / "journal"), commit_interval=Duration(10))
        away = SinkOptions(host="away", tls=TlsOptions(enabled=False), topic=Topic("out/{plc_id}"), journal=journal)
        source = node(NodeKind.SOURCE, "in", mqtt.build, options=options)
        sink = node(NodeKind.SINK, "out", mqtt_sink.build, "in", options=away)
        loop.call_later(1, incoming.give, TOPIC, OURS % 1)
        for second in (5, 7, 12):
            loop.call_at(second, lambda: on_disk.append(len(incoming.acknowledged)))
        await run_graph(loop, make_graph(source, sink), 20)

    run_virtual(main)
    assert on_disk == [0, 0, 1]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("topics: [plc/#/x]", "topics[0]: 'plc/#/x' has a wildcard in the wrong place"),
        ("topics: [plc/a+]", "topics[0]: 'plc/a+' has a wildcard in the wrong place"),
        ("topics: ['plc/{tenant_id}']", "topics[0]: 'plc/{tenant_id}' has a field in braces; write + for any name"),
        ("topics: ['$share/x']", "topics[0]: '$share/x' is no shared subscription"),
        ("topics: []", "topics: must have at least 1"),
        ("topics: [plc/#], format: json", "mapping: is required with format: json"),
        ("topics: [plc/#], mapping: {ts: t}", "mapping: is only for format: json"),
        ("topics: [plc/#], format: json, mapping: {ts: 'a..b'}", "mapping.ts: 'a..b' is no path"),
        ("topics: [plc/#], format: json, mapping: {values: {a: ''}}", "mapping.values.a: has no path"),
        ("topics: [plc/#], format: json, mapping: {values: {time: t}}", "mapping.values.time: 'time' is reserved"),
        ("topics: [plc/#], format: json, mapping: {tags: {host: h, db: n}}", "mapping.tags.host: 'host' is reserved"),
        ("topics: [plc/#], topic_pattern: 'plc/x{a}'", "topic_pattern: 'x{a}' in 'plc/x{a}' is neither"),
        ("topics: [plc/#], format: mof", "format: must be one of frame, mov, json, found the text 'mof'"),
        ("topics: [plc/#], qos: 0", "warning: node 'in' (mqtt): qos: messages are lost"),
        ("topics: [plc/#], session_expiry: 0s", "session_expiry: without a session"),
        ("topics: [plc/#], host: broker.plant", "tls: frames and password travel in clear"),
    ],
)
def test_mistakes_are_told_before_anything_connects(options, found):
    """Each with the option and what to do."""
    host = "" if "host:" in options else "host: 127.0.0.1, "
    source = f"{{type: mqtt, {host}tls: {{enabled: false}}, {options}}}"
    text = f"sources:\n  in: {source}\nsinks:\n  out: {{type: stdout, from: in}}\n"
    try:
        told = [str(each) for each in load_text(text, Path("g.yaml"), {}).warnings]
    except ConfigurationError as error:
        told = [str(each) for each in error.problems]
    assert any(found in each for each in told), told


def test_the_forecast_and_the_claim():
    """The rate is what the user expects; two sources with one session are refused."""
    options = MqttOptions(host="broker", topics=["plc/#"], expected=20, client_id="centre")
    forecast = mqtt.forecast(options, Scope(graph="g", node="n"), Flow())
    assert (forecast.flow.frames, dict(forecast.lines)["session at the broker"]) == (20, "centre, kept for 7d")
    (claim,) = mqtt.claimed(options, Scope(graph="g", node="n"))
    assert (claim.what, claim.key) == ("client id", "centre at broker:8883")
