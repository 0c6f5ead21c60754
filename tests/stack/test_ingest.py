"""From the broker through Telegraf into InfluxDB: what each payload becomes, and a whole line, point by point."""

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime
from itertools import chain, zip_longest
from typing import Any

import pytest

from tests.parts.line import judge
from tests.parts.native_plc import NativePlc
from tests.parts.telegraf import Telegraf, telegraf_binary
from tests.parts.waiting import wait_until
from tests.stack.conftest import PRESS, Stack

pytestmark = [pytest.mark.real("mosquitto", "openssl", "native_plc", "telegraf", "influxdb"), pytest.mark.timeout(180)]

AT = "2024-11-16T23:33:20.123Z"
"""1731800000.123."""
TAGS = {"ip": "192.168.0.121", "db": "1", "tenant_id": "acme"}


def frame(plc: str, values: str = '"contador_bom": 5014', more: str = "", ts: str = "1731800000.123") -> str:
    """The seed's frame, with other values and more beside them."""
    head = f'"ts": {ts}, "ip": "192.168.0.121", "db": 1, "tenant_id": "acme", "plc_id": "{plc}"'
    return f'{{{head}, "values": {{{values}}}{more}}}'


# name = plc_id in the topic plc/acme/<name>: payload, measurement, time, tags beside plc_id, fields
STORED: dict[str, tuple[str, str, str, dict[str, str], dict[str, Any]]] = {
    "linha1_prensa": (
        frame("linha1_prensa", '"pecas_boas": true, "contador_bom": 5014'),
        *("s7_db1", AT, TAGS, {"pecas_boas": True, "contador_bom": 5014.0}),
    ),
    "failed": (
        frame("failed", '"heartbeat":1, "read_failed": true', ', "error": "timeout"', ts="1731801111.456"),
        *("s7_db1", "2024-11-16T23:51:51.456Z", TAGS, {"heartbeat": 1.0, "read_failed": True, "error": "timeout"}),
    ),
    "plc1": (
        '{"ts":1731802000,"ip":"192.168.0.50","db":1,"values":{"heartbeat":1}}',
        *("s7_db1", "2024-11-17T00:06:40Z", TAGS | {"ip": "192.168.0.50"}, {"heartbeat": 1.0}),
    ),
    "ours": (
        frame("ours", '"AI": 5', ', "tags": {"area": "linha1"}, "seq": 812, "boot": "01JD8Z", "replayed": true'),
        *("s7_db1", AT, TAGS | {"area": "linha1"}),
        {"AI": 5.0, "seq": 812, "boot": "01JD8Z", "replayed": True},
    ),
    "bad": (
        frame("bad", '"AI": 5.5', ', "bad": {"x": "NaN"}, "seq": 0'),
        *("s7_db1", AT, TAGS, {"AI": 5.5, "seq": 0, "bad": '{"x":"NaN"}'}),
    ),
    "own_name": (
        frame("own_name", '"t": -0.0', ', "measurement": "forno"').replace('"db": 1, ', ""),
        *("forno", AT, {key: tag for key, tag in TAGS.items() if key != "db"}, {"t": -0.0}),
    ),
    "db500": (
        frame("db500", '"maquinas_0_sensores_2_valor": 1e3').replace('"db": 1', '"db": 500'),
        *("s7_db500", AT, TAGS | {"db": "500"}, {"maquinas_0_sensores_2_valor": 1000.0}),
    ),
    "texts": (
        frame("texts", '"nome": "Prensa nº 1, \\"A\\"", "linhas": "a\\nb", "vazio": "", "nada": null'),
        *("s7_db1", AT, TAGS, {"nome": 'Prensa nº 1, "A"', "linhas": "a\nb", "vazio": ""}),
    ),
    "nested": (
        frame("nested", '"arr": [1, 2.5, [true]], "o": {"b": {"c": 3}}, "with blank": 1'),
        *("s7_db1", AT, TAGS),
        {"arr_0": 1.0, "arr_1": 2.5, "arr_2_0": True, "o_b_c": 3.0, "with blank": 1.0},
    ),
    "reserved": (
        frame("reserved", '"v": 1, "seq": 2, "ip": "x", "tenant_id": "beta", "time": 5, "topic": 1, "error": 1'),
        *("s7_db1", AT, TAGS, {"v": 1.0, "left_out": '["seq","ip","tenant_id","time","topic","error"]'}),
    ),
    "left_out": (
        frame("left_out", '"ok": 4, "_x": 2, "": 3, "v": 5', ', "tags": {"v": "x", "org": "sensors", "time": 1}'),
        *("s7_db1", AT, TAGS | {"v": "x"}, {"ok": 4.0, "left_out": '["org","time","_x","","v"]'}),
    ),
    "long_name": (
        frame("long_name", f'"{"x" * 300}": 1, "v": 2, "text": "{"y" * 60001}"'),
        *("s7_db1", AT, TAGS, {"v": 2.0, "left_out": f'["{"x" * 256}","text"]'}),
    ),
    "long_texts": (
        frame(
            "long_texts", '"v": 1', f', "error": "{"x" * 200_000}", "boot": "{"y" * 60_001}", "bad": "{"z" * 70_000}"'
        ),
        *("s7_db1", AT, TAGS, {"v": 1.0, "error": "x" * 60_000, "boot": "y" * 60_000, "bad": '"' + "z" * 59_999}),
    ),
    "byte_order_mark": ("\ufeff" + frame("byte_order_mark"), "s7_db1", AT, TAGS, {"contador_bom": 5014.0}),
    "text_db": (
        frame("text_db").replace('"db": 1', '"db": "7"'),
        "s7_db7",
        AT,
        TAGS | {"db": "7"},
        {"contador_bom": 5014.0},
    ),
    "forged": (
        frame("other", '"v": 1').replace('"acme"', '"beta"'),
        *("s7_db1", AT, TAGS, {"v": 1.0, "tenant_claimed": "beta", "plc_claimed": "other"}),
    ),
    "empty_tags": (
        frame("", '"v": 1', ', "tags": {"area": "", "n": 3, "topic": "x", "ip": "y"}').replace('"acme"', "null"),
        *("s7_db1", AT, TAGS | {"n": "3"}, {"v": 1.0, "left_out": '["topic","ip"]'}),
    ),
    "conflict": (
        frame("conflict", '"contador_bom": "muitos", "pecas_boas": 1, "v": 2'),
        *("s7_db1", AT, TAGS),
        {"contador_bom_text": "muitos", "pecas_boas_number": 1.0, "v": 2.0, "type_conflict": "contador_bom,pecas_boas"},
    ),
    "epoch": (frame("epoch", '"v": 1', ts="0"), "s7_db1", "1970-01-01T00:00:00Z", TAGS, {"v": 1.0}),
    "late_century": (
        frame("late_century", '"v": 1', ts="4102444799.999"),
        "s7_db1",
        "2099-12-31T23:59:59.999Z",
        TAGS,
        {"v": 1.0},
    ),
    "beyond_2_53": (
        frame("beyond_2_53", '"n": 9007199254740993, "max": 18446744073709551615'),
        *("s7_db1", AT, TAGS, {"n": 9007199254740992.0, "max": 18446744073709551616.0}),
    ),
}
REJECTED = {
    "no_json": ("{nonsense", "no JSON"),
    "nan": (frame("nan", '"v": NaN'), "no JSON"),
    "nothing": ("", "no JSON"),
    "accents": ('{"x' + "é" * 700, "no JSON"),
    "values_with_accents": ('["x' + "é" * 700 + '"]', "no JSON object with an object of values"),
    "number": ("5", "no JSON object with an object of values"),
    "array": ("[]", "no JSON object with an object of values"),
    "no_values": ('{"ts": 1731800000, "db": 1}', "no JSON object with an object of values"),
    "listed": (frame("listed").replace('{"contador_bom": 5014}', "[1]"), "no JSON object with an object of values"),
    "text_ts": (frame("text_ts", ts='"soon"'), "ts is no number of seconds"),
    "milliseconds": (frame("milliseconds", ts="1731800000123"), "ts is out of range, it counts seconds since 1970"),
    "negative": (frame("negative", ts="-1"), "ts is out of range, it counts seconds since 1970"),
    "no_name": ('{"ts": 1731800000, "values": {"v": 1}}', "neither db nor a measurement that a frame may have"),
    "figures": (
        frame("figures", more=', "measurement": "prometheus"'),
        "neither db nor a measurement that a frame may have",
    ),
    "comment": (frame("comment", more=', "measurement": "#v"'), "neither db nor a measurement that a frame may have"),
    "odd_db": (frame("odd_db").replace('"db": 1', '"db": [1]'), "db is no number"),
    "true_db": (frame("true_db").replace('"db": 1', '"db": true'), "db is no number"),
    "nameless": (frame("nameless", '"_x": 1, "time": 2'), 'none of its values can be stored: ["_x","time"]'),
    "long_tags": (
        frame("long_tags", more=f', "tags": {json.dumps({f"k{n}": "y" * 250 for n in range(300)})}'),
        "its tags are too long together",
    ),
    "beyond_floats": (frame("beyond_floats", '"v": 1e400'), "no JSON"),
    "huge": (frame("huge", f'"n": 1{"0" * 400}'), "too large"),
    "odd_tags": (frame("odd_tags", more=', "tags": [1]'), "tags are no object"),
    # Each level of either would cost a kilobyte of stack.
    "abyss": ("[" * 400_000, "more than 20000 values, lists and objects"),
    "deep": (frame("deep", '"a":{' * 15_000 + '"b":1' + "}" * 15_000), "none of its values can be stored"),
    "many": (frame("many", f'"v": [{"1," * 20_000}1]'), "more than 20000 values, lists and objects"),
}
SENSORS = {
    "s1": (
        """{"timestamp":"2026-02-02T15:04:05.999Z","tags":{"dispositivo":"s1","localizacao":"fabrica",
        "tipo":"temperatura","cliente":"acme"},"fields":{"temperatura_c":28.5}}""",
        "2026-02-02T15:04:05.999Z",
        {"localizacao": "fabrica", "tipo": "temperatura", "cliente": "acme"},
        {"temperatura_c": 28.5},
    ),
    "s2": (
        """{"timestamp":"2026-02-02T12:04:05.123456789-03:00","tags":{"dispositivo":"s2","a":null,"b":""},
        "fields":{"temperatura_c":25,"umidade":60.0,"ligado":true,"modo":"auto","x":null}}""",
        "2026-02-02T15:04:05.123456789Z",
        {},
        {"temperatura_c": 25.0, "umidade": 60.0, "ligado": True, "modo": "auto"},
    ),
    "s4": (
        """{"timestamp":"2026-02-02T15:04:05Z","tags":{"dispositivo":"s4","time":"x","org":"acme"},
        "fields":{"t":1,"time":5,"ip":7}}""",
        "2026-02-02T15:04:05Z",
        {},
        {"t": 1.0, "ip": 7.0, "left_out": '["time","org","time"]'},
    ),
    "s3": (
        '{"timestamp":"2026-02-02T15:04:05Z","tags":{"dispositivo":"s3"},"fields":{"temperatura_c":"quente"}}',
        "2026-02-02T15:04:05Z",
        {},
        {"temperatura_c_text": "quente", "type_conflict": "temperatura_c"},
    ),
}
SENSORS_REJECTED = {
    '{"timestamp":"2026-02-02T15:04:05.999","tags":{},"fields":{"t":1}}',
    '{"timestamp":1731800000,"tags":{},"fields":{"t":1}}',
    '{"timestamp":"2026-02-02T15:04:05Z","tags":{}}',
    '{"timestamp":"2026-02-02T15:04:05Z","fields":{"t":null}}',
    "temperatura=28",
}


@pytest.fixture(scope="module")
def telegraf(stack: Stack) -> Iterator[Telegraf]:
    """Telegraf, with its debugging file."""
    with stack.telegraf() as started:
        yield started


@pytest.fixture(scope="module")
def stored(stack: Stack, telegraf: Telegraf) -> list[dict[str, Any]]:
    """All rows of processo_raw once every payload above has come, good and malformed ones among one another."""
    good = [(name, payload) for name, (payload, *_) in STORED.items()]
    malformed = [(name, payload) for name, (payload, _) in REJECTED.items()]
    for name, payload in chain.from_iterable(zip_longest(good, malformed, fillvalue=good[0])):
        stack.publish(f"plc/acme/{name}", payload)
    for name, (payload, *_) in SENSORS.items():
        stack.publish(f"mov/dados/{name}", payload)
    for payload in SENSORS_REJECTED:
        stack.publish("mov/dados/odd", payload)
    everything = 'from(bucket: "processo_raw") |> range(start: 0, stop: 2200-01-01T00:00:00Z)'
    wanted = {*STORED, *REJECTED}
    wait_until(lambda: wanted <= {row["plc_id"] for row in stack.query(everything)}, "all payloads are stored")
    return stack.query(everything)


@pytest.mark.parametrize("name", STORED)
def test_a_payload_becomes_one_point(stored, name):
    """Measurement, time to the millisecond, tags and fields, exactly these and of these types."""
    _, measurement, time, tags, fields = STORED[name]
    rows = [row for row in stored if row["plc_id"] == name]
    assert {row["_measurement"] for row in rows} == {measurement}
    assert {row["_time"] for row in rows} == {time}
    found = {row["_field"]: row["_value"] for row in rows}
    assert found == fields
    assert {field: type(value) for field, value in found.items()} == {key: type(value) for key, value in fields.items()}
    rows_tags = [{key: tag for key, tag in row.items() if key[0] != "_" and tag != ""} for row in rows]
    assert all(each == tags | {"plc_id": name} for each in rows_tags), rows_tags


@pytest.mark.parametrize("name", REJECTED)
def test_what_is_no_frame_is_set_aside(stored, name):
    """With its topic, its text and the reason; under the tenant whose topic it came on."""
    payload, reason = REJECTED[name]
    rows = {row["_field"]: row for row in stored if row["plc_id"] == name}
    assert {(row["_measurement"], row["tenant_id"]) for row in rows.values()} == {("ingest_rejected", "acme")}
    assert rows["topic"]["_value"] == f"plc/acme/{name}"
    kept = rows["payload"]["_value"]
    assert payload.startswith(kept)
    assert len(kept.encode()) >= min(997, len(payload.encode()))
    assert reason in rows["reason"]["_value"]


def test_the_operational_bucket_has_what_it_can_keep(stack, stored):
    """Frames of 2024 and of a clock in 1970 are in processo_raw alone, which keeps them; nothing of it was refused."""
    rows = stack.query('from(bucket: "processo") |> range(start: 0, stop: 2200-01-01T00:00:00Z)')
    assert {row["plc_id"] for row in rows if row["_measurement"].startswith("s7")} == {"late_century"}
    assert {row["plc_id"] for row in rows if row["_measurement"] == "ingest_rejected"} == set(REJECTED)


def test_sensors_go_to_their_own_organisation(stack, stored):
    """RFC 3339 to the nanosecond, any tags and fields; what is malformed is set aside there."""
    everything = 'from(bucket: "mov_dados") |> range(start: 0)'
    wanted = SENSORS_REJECTED | {"quente"}
    wait_until(lambda: wanted <= {row["_value"] for row in stack.query(everything, "mov_industria")}, "all of it")
    rows = stack.query(everything, "mov_industria")
    for name, (_, time, tags, fields) in SENSORS.items():
        own = [row for row in rows if row.get("dispositivo") == name]
        assert {row["_field"]: row["_value"] for row in own} == fields
        assert {(row["_measurement"], row["_time"]) for row in own} == {("mov_dados", time)}
        for row in own:
            assert {key: tag for key, tag in row.items() if key[0] != "_" and tag} == tags | {"dispositivo": name}
    aside = [row["_value"] for row in rows if row["_measurement"] == "ingest_rejected" and row["_field"] == "payload"]
    assert sorted(aside) == sorted(SENSORS_REJECTED)


def test_nothing_stays_unacknowledged(stack, stored, telegraf):
    """A new connection of the same sessions is sent nothing again, and no point was refused."""
    before = len(stored)
    telegraf.stop()
    with stack.subscribed():
        telegraf.start()
    stack.publish("plc/acme/after", frame("after"))
    wait_until(lambda: stack.points("processo_raw", "after"), "the next frame")
    rows = stack.query('from(bucket: "processo_raw") |> range(start: 0, stop: 2200-01-01T00:00:00Z)')
    assert len(rows) == before + 1
    assert "will be dropped" not in telegraf.log


def test_more_conflicts_than_a_text_can_hold_are_cut(stack, telegraf):
    """The list's name stands in each of its values' names: together they are longer than InfluxDB takes a text."""
    name = "n" * 220
    for number, value in enumerate(("1", '"x"')):
        listed = f'"{name}": [{",".join([value] * 6000)}]'
        stack.publish("plc/acme/conflicts", frame("conflicts", listed, ts=f"173190050{number}"))
        wait_until(lambda n=number: len(stack.points("processo_raw", "conflicts")) == n + 1, "the frame")
    told = max(stack.points("processo_raw", "conflicts").items())[1]["type_conflict"]
    assert len(told) == 60_000
    assert told.startswith(f"{name}_0,{name}_1,")
    assert "partial write" not in telegraf.log


ODD = [
    *(
        "a,b",
        "a=b",
        "a b",
        " ",
        "a\\b",
        "a\\ ",
        'q"q',
        "tab\tx",
        "\u0001",
        "é",
        "温度",
        "#",
        "a.b",
        "time2",
        "0",
        "-",
        "\u00a0",
    ),
    *(
        "",
        "time",
        "_x",
        "_field",
        "line\nend",
        "end\\",
        "return\rx",
        "\x00",
        "x" * 256,
        "x" * 257,
        "\U0001f600",
        "a\u2028b",
    ),
]
"""Names and texts that have a meaning in line protocol, or none anywhere."""


def test_no_name_or_text_makes_a_line_that_influxdb_refuses(stack, telegraf):
    """As a value's name, as a tag's name and as a tag: it comes back as it was, or its frame is set aside."""
    bodies = []
    for number, odd in enumerate(ODD):
        for place, parts in enumerate(({"values": {odd: 1}}, {"tags": {odd: "x"}}, {"tags": {"odd": odd}})):
            whole = {"ts": 1731900200 + number * 3 + place, "db": 77, "values": {"v": number}, **parts}
            bodies.append(json.dumps(whole))
    stack.publish("plc/acme/odd", *bodies)
    query = 'from(bucket: "processo_raw") |> range(start: 0) |> filter(fn: (r) => r.plc_id == "odd")'

    def arrived() -> set[str]:
        return {row["_time"] for row in stack.query(query)}

    # {"time": 1} alone is a frame without a value: none.
    wait_until(lambda: len(arrived()) >= len(bodies) - 1, "every frame is stored or set aside")
    rows = stack.query(query)
    aside = {row["_value"] for row in rows if row["_field"] == "payload"}
    names = {row["_field"] for row in rows if row["_measurement"] == "s7_db77"}
    tags = {row.get("odd") for row in rows}
    keys = {key for row in rows for key in row}
    for number, odd in enumerate(ODD):
        as_value, as_key, as_tag = bodies[number * 3 : number * 3 + 3]
        assert odd in names or as_value in aside or odd == "time", repr(odd)
        assert odd in keys or as_key in aside or odd == "time", repr(odd)
        assert odd in tags or as_tag in aside or not odd, repr(odd)
    assert not re.search(r"partial write|will be dropped", telegraf.log)


def test_a_tenant_writes_as_itself_alone(stack, telegraf):
    """On its own topic under its own name, whatever its payload says; on another's topic nothing arrives."""
    forged = frame("press", '"v": 1').replace('"acme"', '"beta"')
    stack.publish("plc/beta/press", forged, user="acme")
    stack.publish("plc/db1", forged, user="acme")
    stack.publish("plc/acme", forged.replace("1731800000.123", "1731800001"), user="acme")
    stack.publish("plc/acme/press", forged, user="acme")
    wait_until(lambda: len(stack.points("processo_raw", "press")) == 2, "the frames on the own topics")
    tenants = stack.query(
        'from(bucket: "processo_raw") |> range(start: 0) |> filter(fn: (r) => r.plc_id == "press")'
        '|> filter(fn: (r) => r._field == "v" or r._field == "tenant_claimed")'
    )
    assert [(row["tenant_id"], row["_field"], row["_value"]) for row in tenants] == [
        *[("acme", "tenant_claimed", "beta")] * 2,
        *[("acme", "v", 1.0)] * 2,
    ]


def test_a_line_without_a_tenant_is_filed_by_what_its_frames_say(stack, telegraf):
    """On plc/db<n>, which no tenant may write: the payload's tenant and PLC, if any; the block from the topic."""
    for ts, body in (
        (1731900300, frame("shared", '"v": 1', ts="1731900300")),
        (1731900301, '{"ts": 1731900301, "plc_id": "shared", "values": {"v": 1}}'),
    ):
        stack.publish("plc/db1", body)
        wait_until(
            lambda ts=ts: ts in {milliseconds(at) // 1000 for at in stack.points("processo_raw", "shared")}, "it"
        )
    rows = stack.query('from(bucket: "processo_raw") |> range(start: 0) |> filter(fn: (r) => r.plc_id == "shared")')
    assert {(row["_measurement"], row["db"], row.get("tenant_id", "")) for row in rows} == {
        ("s7_db1", "1", "acme"),
        ("s7_db1", "1", ""),
    }


def test_nobody_else_takes_or_empties_a_session(stack):
    """Whoever has a login may use any client id; those of Telegraf have an end that no one knows."""
    with stack.telegraf("shy") as telegraf:
        telegraf.stop()
        stack.publish("plc/beta/shy", frame("shy"), user="beta")
        for name in ("frames", "sensors"):
            stack.subscribe_as("acme", f"shy-{name}")
        with stack.subscribed("shy"):
            telegraf.start()
        wait_until(lambda: stack.points("processo_raw", "shy"), "what has waited")


QUERIES = {
    "contadores": """from(bucket: "processo")
	|> range(start: -15m)
	|> filter(fn: (r) => r._measurement == "s7_db1")
	|> filter(fn: (r) => r._field =~ /contador_(bom|ruim)/)
	|> last()
""",
    "producao": """from(bucket: "processo")
	|> range(start: -6h)
	|> filter(fn: (r) => r._measurement == "s7_db1" and r._field == "contador_bom")
	|> derivative(unit: 1m, nonNegative: true)
	|> aggregateWindow(every: 5m, fn: mean)
""",
    "latencia": """from(bucket: "processo")
	|> range(start: -1h)
	|> filter(fn: (r) => r._measurement == "prometheus" and r._field == "plc_read_latency_ms")
	|> aggregateWindow(every: 1m, fn: mean)
""",
    "basica": """from(bucket: "processo_raw")
	|> range(start: -5m)
	|> filter(fn: (r) => r._measurement == "s7_db1")
	|> limit(n: 10)
""",
}


@pytest.fixture(scope="module")
def played(stack: Stack, telegraf: Telegraf, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A line has run; the frames that the broker gave to an independent subscriber."""
    assert stack.frames("plc/acme/press1") == []
    folder = tmp_path_factory.mktemp("edge")
    with NativePlc({1: PRESS}, counter=(1, 10), tick=0.005) as plc, stack.edge(folder, plc, "press1") as line:
        line.wait_ready()
        wait_until(lambda: line.metric("plc_publish_ok_total") > 500, "500 frames")
        wait_until(lambda: stack.query(QUERIES["latencia"]), "the edge's metrics")
        assert line.terminate() == 0
    return stack.frames("plc/acme/press1")


def test_a_line_arrives_point_by_point(stack, played):
    """From a C++ S7 server: every frame is one point in each bucket, exactly, and none is missing."""
    frames = played
    assert len(frames) > 500
    assert judge(frames).lost == {}
    expected = {}
    for each in frames:
        fields = {key: float(value) if type(value) is int else value for key, value in each["values"].items()}
        own = {key: each[key] for key in ("seq", "boot", "replayed", "error") if key in each}
        expected[round(each["ts"] * 1000)] = fields | own
    for bucket in ("processo", "processo_raw"):
        wait_until(lambda bucket=bucket: len(stack.points(bucket, "press1")) >= len(expected), f"all of it in {bucket}")
        found = {milliseconds(time): fields for time, fields in stack.points(bucket, "press1").items()}
        assert found == expected
    assert all(type(fields["AI_Corrente"]) is float for fields in expected.values() if "AI_Corrente" in fields)


def milliseconds(time: str) -> int:
    """Of a time as InfluxDB writes it, since 1970."""
    whole = datetime.fromisoformat(time)
    return round(whole.timestamp() * 1000)


def test_the_queries_of_the_first_system_run_as_they_are_written(stack, played):
    """On what the line has left: two counters, production, latency of reading, ten raw rows a series."""
    counters = stack.query(QUERIES["contadores"])
    assert {row["_field"] for row in counters} == {"contador_bom", "contador_ruim"}
    rates = [row["_value"] for row in stack.query(QUERIES["producao"]) if row["_value"] is not None]
    assert rates
    assert all(rate > 0 for rate in rates)
    latencies = [row for row in stack.query(QUERIES["latencia"]) if row["_value"] is not None]
    assert latencies
    assert all(row["_value"] > 0 and row["edge"].endswith("/metrics") for row in latencies)
    assert {row["_field"] for row in stack.query(QUERIES["basica"])} >= {"contador_bom", "pecas_boas", "seq"}


def test_a_second_telegraf_makes_no_second_point(stack, telegraf):
    """Two of the same configuration under two client names; one may die, and nothing is missing or double."""
    bodies = [frame("twice", f'"n": {number}', ts=f"1731900000.{number:03}") for number in range(1000)]
    with stack.telegraf("standby") as standby:
        stack.publish("plc/acme/twice", *bodies[:500])
        standby.kill()
        stack.publish("plc/acme/twice", *bodies[500:])
        wait_until(lambda: len(stack.points("processo_raw", "twice")) == 1000, "all of it, once")
        with stack.subscribed("standby"):
            standby.start()
        stack.publish("plc/acme/twice", frame("twice", '"n": 1000', ts="1731900001"))
        wait_until(lambda: len(stack.points("processo_raw", "twice")) == 1001, "the last one")
    assert sorted(fields["n"] for fields in stack.points("processo_raw", "twice").values()) == list(range(1001))


def test_the_host_tag_and_the_debugging_file_are_there_when_asked_for(stack, tmp_path):
    """Both are off by default: the first system's host name would double every series of two Telegrafs."""
    lines = tmp_path / "telegraf_out.lp"
    with stack.telegraf("debugging", TELEGRAF_DEBUG_FILE=str(lines), TELEGRAF_HOST_TAG="collector1"):
        stack.publish("plc/acme/hosted", frame("hosted"))
        wait_until(lambda: "plc_id=hosted" in lines.read_text(encoding="utf-8"), "the line")
    line = next(line for line in lines.read_text(encoding="utf-8").splitlines() if "plc_id=hosted" in line)
    tags = "db=1,host=collector1,ip=192.168.0.121,plc_id=hosted,tenant_id=acme"
    assert line == f"s7_db1,{tags} contador_bom=5014 1731800000123000000"


def test_types_are_remembered_over_a_restart(stack, tmp_path):
    """A name that was a number stays one: a text goes to a field beside it, also as the first thing after a restart."""
    state = str(tmp_path / "state")
    with stack.telegraf("careful", TELEGRAF_STATE_FILE=state) as telegraf:
        stack.publish("plc/acme/before", frame("before", '"fixo": 1', ', "measurement": "own"'))
        wait_until(lambda: stack.points("processo_raw", "before"), "the number")
        telegraf.stop()
        with stack.subscribed("careful"):
            telegraf.start()
        stack.publish("plc/acme/text", frame("text", '"fixo": "x"', ', "measurement": "own"'))
        wait_until(lambda: stack.points("processo_raw", "text"), "the text")
    assert stack.points("processo_raw", "text") == {AT: {"fixo_text": "x", "type_conflict": "fixo"}}


def test_the_configuration_is_one_that_telegraf_knows(stack):
    """Offline: no unknown plugin, no unknown option."""
    folder = stack.plant.infra / "telegraf"
    command = [telegraf_binary(), "config", "check", "--strict-env-handling", "--config", folder / "telegraf.conf"]
    command += ["--config-directory", folder / "telegraf.d"]
    env = {"MQTT_CA_FILE": str(stack.broker.ca_file), "TELEGRAF_MQTT_PASSWORD": "x", "INFLUX_TOKEN": "x"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_payloads_are_json_that_anyone_reads():
    """The table above says what it means: each good payload is JSON, and has the time that it is said to have."""
    for payload, *_ in STORED.values():
        assert json.loads(payload.removeprefix("\ufeff"))["values"]
