"""`journal import`: the old agent's queue becomes a journal that a sink sends."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.clock import VirtualLoop, run_virtual
from pipeline.codecs import CODECS
from pipeline.delivery.delivery import Delivery
from pipeline.errors import JournalForeign, JournalLocked, UsageError
from pipeline.importing.queue import Malformed, read_queue
from pipeline.journal import tools as journal_tools
from pipeline.journal.journal import Journal
from pipeline.journal.options import JournalOptions
from pipeline.journal.records import Record
from pipeline.units import Topic
from tests.parts.engine import data, make_context, origin
from tests.parts.waiting import eventually

BROKER = "mqtt://broker.plant:8883"
TOPIC = Topic("plc/{tenant_id}/{plc_id}")


def event(n: int, **more: Any) -> str:
    """A payload as the agent's newest version writes it."""
    fields = {"ts": 1731800000.123 + n, "tenant_id": "acme", "plc_id": "press1", "values": {"contador_bom": n}}
    return json.dumps({**fields, **more})


def make_queue(file: Path, payloads: Sequence[object], ts: object = 1731800500.0) -> Path:
    """A database as the agent makes it; `ts` of all its rows, in a column of its type."""
    column = "TEXT" if isinstance(ts, str) else "REAL"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            f"CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, ts {column} NOT NULL, payload TEXT NOT NULL)"
        )
        database.executemany("INSERT INTO events(ts, payload) VALUES(?, ?)", [(ts, each) for each in payloads])
    return file


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """Six thousand events, more than one chunk."""
    return make_queue(tmp_path / "queue.sqlite", [event(n) for n in range(6000)])


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `journal import`."""
    with pytest.raises(SystemExit) as end:
        main(["journal", "import", *arguments])
    said = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, said.out, said.err


def sent(path: Path, live: int = 0) -> list[Record]:
    """What a sink on this journal sends at its next start."""

    async def play(loop: VirtualLoop) -> list[Record]:
        got: list[Record] = []
        delivery = Delivery(
            make_context(loop), JournalOptions(path=str(path)), CODECS["full"], lambda _: ("live", 1), BROKER
        )

        def send(records: Sequence[Record]) -> int:
            got.extend(records)
            loop.call_soon(delivery.acknowledge_all, [record.n for record in records])
            return len(records)

        await delivery.open()
        delivery.accept([data(origin(), n=n) for n in range(live)])
        delivery.connected(send, 100)
        await eventually(lambda: not delivery.unacknowledged, "all are acknowledged")
        await delivery.close(10)
        return got

    return run_virtual(play)


def test_all_events_are_sent_in_order_marked_as_replayed(
    queue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into a journal that was not there; their times and texts stay; what is live comes behind them."""
    path = tmp_path / "data" / "broker"
    code, out, _ = call(capsys, str(queue), str(path), "--receiver", BROKER)
    assert code == 0
    assert "6000 events" in out
    assert "a second import would send them again" in out
    got = sent(path, live=2)
    assert [json.loads(record.body)["values"] for record in got] == [
        *({"contador_bom": n} for n in range(6000)),
        {"n": 0},
        {"n": 1},
    ]
    first = json.loads(got[0].body)
    assert (first["ts"], first["replayed"], got[0].topic, got[0].qos) == (1731800000.123, True, "plc/acme/press1", 1)
    assert {(record.topic, record.plc) for record in got[:6000]} == {("plc/acme/press1", "acme/press1")}
    assert sent(path) == []


def test_events_go_behind_what_waits_and_a_second_import_doubles_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The count says so each time."""
    queue = make_queue(tmp_path / "queue.sqlite", [event(0), event(1)])
    for _ in (1, 2):
        code, out, _ = call(capsys, str(queue), str(tmp_path / "broker"), "--receiver", BROKER)
        assert (code, out[:8]) == (0, "2 events")
    assert [json.loads(record.body)["values"]["contador_bom"] for record in sent(tmp_path / "broker")] == [0, 1, 0, 1]


def test_malformed_rows_are_listed_and_the_others_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its id and its reason."""
    rows = [event(0), "{", "[1]", '{"ts": 1}', '{"values": {}}', 5, b"\xff\xfe", event(1, x=float("nan")), event(2)]
    queue = make_queue(tmp_path / "queue.sqlite", rows, ts="yesterday")
    code, out, err = call(capsys, str(queue), str(tmp_path / "broker"), "--receiver", BROKER)
    assert code == 0
    assert "2 events" in out
    assert "7 rows could not be taken" in out
    assert [line.partition(": left out: ")[0] for line in err.splitlines()] == [f"row {n}" for n in range(2, 9)]
    assert "no `ts`" in err
    assert [json.loads(record.body)["values"]["contador_bom"] for record in sent(tmp_path / "broker")] == [0, 2]


@pytest.mark.parametrize(
    "ts",
    [1731800500.5, "1731800500.5", "2024-11-16T23:41:40.500Z", "2024-11-16 23:41:40.5", "2024-11-16T20:41:40.5-03:00"],
)
def test_a_payload_without_a_usable_time_has_that_of_its_row(
    ts: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number, or ISO text, UTC where it names no zone; how many were so is said, the others stay as they are."""
    late = json.dumps({"tenant_id": "acme", "plc_id": "press1", "values": {"contador_bom": 7}})
    queue = make_queue(tmp_path / "queue.sqlite", [event(0), late, event(1, ts=10**400)], ts)
    code, out, err = call(capsys, str(queue), str(tmp_path / "broker"), "--receiver", BROKER)
    assert (code, out.splitlines()[0]) == (0, f"3 events of '{queue}' will be sent at the next start")
    assert err == "2 without `ts` in the payload: sent with the row's own, when it was queued\n"
    bodies = [json.loads(record.body) for record in sent(tmp_path / "broker")]
    assert [body["ts"] for body in bodies] == [1731800000.123, 1731800500.5, 1731800500.5]
    assert (bodies[1]["values"], bodies[1]["plc_id"]) == ({"contador_bom": 7}, "press1")


@pytest.mark.parametrize(
    ("more", "topic", "expected"),
    [
        ({}, TOPIC, "plc/acme/press1"),
        ({}, Topic.parse("plc/${TENANT_ID}/${PLC_ID}"), "plc/acme/press1"),
        ({"tenant_id": None}, TOPIC, "plc/db1"),
        ({"plc_id": "a+b"}, TOPIC, "plc/db1"),
        ({"plc_id": "../../x"}, TOPIC, "plc/db1"),
        ({"db": 500}, Topic("plc/db{db}"), "plc/db500"),
        ({}, Topic("/ingest"), "/ingest"),
    ],
)
def test_topics_are_filled_as_the_agent_filled_them(
    more: dict[str, Any], topic: Topic, expected: str, tmp_path: Path
) -> None:
    """What an event does not know falls back to the agent's own topic."""
    (record,) = read_queue(make_queue(tmp_path / "queue.sqlite", [event(0, **more)]), topic)
    assert isinstance(record, Record)
    assert record.topic == expected


def test_a_queue_that_is_none_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    """No file, no database, another database, and one whose agent still writes."""
    foreign, other = tmp_path / "foreign", tmp_path / "other"
    foreign.write_text("this is no database, but long enough to look at " * 20, encoding="utf-8")
    with closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE things (id)")
    for file, said in ((tmp_path / "nothing", "no file"), (foreign, "not a database"), (other, "no such table")):
        with pytest.raises(UsageError, match=said):
            list(read_queue(file, TOPIC))
    busy = make_queue(tmp_path / "busy", [event(0)])
    with closing(sqlite3.connect(busy)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UsageError, match="the old agent must be stopped"):
            list(read_queue(busy, TOPIC))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing", "broker", "--receiver", BROKER], "there is no file 'nothing'"),
        (["queue.sqlite", "broker"], "--receiver"),
        (["queue.sqlite", "broker", "--receiver", BROKER, "--topic", "plc/#"], "--topic: 'plc/#' has a wildcard"),
    ],
)
def test_a_wrong_call_leaves_no_journal_behind(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line and exit code 1."""
    make_queue(tmp_path / "queue.sqlite", [event(0)])
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, *arguments)
    assert code == 1
    assert said in err
    assert not (tmp_path / "broker").exists()


def test_an_empty_queue_is_no_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to bring, nothing made."""
    queue = make_queue(tmp_path / "queue.sqlite", [])
    code, out, _ = call(capsys, str(queue), str(tmp_path / "broker"), "--receiver", BROKER)
    assert (code, "holds no events" in out) == (0, True)
    assert not (tmp_path / "broker").exists()


def test_a_journal_in_use_or_of_another_receiver_is_left_alone(tmp_path: Path) -> None:
    """Frames for one broker never end at another."""
    path = str(tmp_path / "broker")
    record = Record(0, b"{}", "t", 1, "full", "p", 1.0, b"{}")
    assert journal_tools.add(path, [record], BROKER) == 1
    with pytest.raises(JournalForeign, match="mqtt://other:1883"):
        journal_tools.add(path, [record], "mqtt://other:1883")
    journal = Journal(JournalOptions(path=path), 0.0)
    try:
        with pytest.raises(JournalLocked):
            journal_tools.add(path, [record], BROKER)
    finally:
        journal.close(0.0)
    assert journal_tools.summary(path).frames == 1


def test_an_import_that_fails_on_its_way_writes_nothing(tmp_path: Path) -> None:
    """A queue that breaks off leaves the journal as it was, receiver included."""
    path = str(tmp_path / "broker")

    def broken() -> Any:
        yield from (Record(0, b"{}", "t", 1, "full", "p", 1.0, b"{}") for _ in range(7000))
        raise UsageError("the medium is gone")

    with pytest.raises(UsageError, match="medium"):
        journal_tools.add(path, broken(), BROKER)
    assert (journal_tools.summary(path).frames, journal_tools.summary(path).receiver) == (0, "")


@pytest.mark.parametrize("payload", ["[" * 9000, b"\xff{}", b'{"ts": 1, "values": {'])
def test_a_payload_that_is_no_json_is_malformed(payload: Any, tmp_path: Path) -> None:
    """Nested without end, of another encoding, cut off: the row is told, its neighbours are taken."""
    file = make_queue(tmp_path / "queue.sqlite", [event(1), payload, event(2)])
    first, second, third = read_queue(file, Topic("plc/{plc_id}"))
    assert isinstance(first, Record)
    assert isinstance(second, Malformed)
    assert second.reason.startswith("no JSON: ")
    assert isinstance(third, Record)


def test_numbers_that_are_none_are_absent_and_named(tmp_path: Path) -> None:
    """As Python's writer puts them into JSON; the other values of the event, and texts of such words, stay."""
    none = float("nan")
    values = {"temp": none, "rpm": -float("inf"), "n": 7, "text": "NaN", "maquinas": [{"valor": none, "ok": True}]}
    file = make_queue(tmp_path / "queue.sqlite", [event(0, values=values), event(1, note="NaN Infinity")])
    first, second = read_queue(file, TOPIC)
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    found = json.loads(first.body)
    assert found["values"] == {"n": 7, "text": "NaN", "maquinas": [{"ok": True}]}
    assert found["bad"] == {"temp": "NaN", "rpm": "infinite", "maquinas_0_valor": "NaN"}
    assert (found["ts"], first.topic) == (1731800000.123, "plc/acme/press1")
    assert json.loads(second.body) == json.loads(event(1, note="NaN Infinity"))
