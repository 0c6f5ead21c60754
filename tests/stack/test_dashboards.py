"""Every panel's and every variable's query, on the real InfluxDB and on data that came through the real chain."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from tests.parts.grafana import BOARDS, PanelQuery, panel_queries, rendered, variables
from tests.parts.line import ROOT, Line
from tests.parts.native_plc import NativePlc
from tests.parts.waiting import wait_until
from tests.stack.conftest import PRESS, Stack

pytestmark = [
    pytest.mark.real("mosquitto", "openssl", "native_plc", "telegraf", "influxdb"),
    pytest.mark.timeout(240),
]

SENSORS = {"dispositivo": "sensor_01", "localizacao": "fabrica", "tipo": "temperatura", "cliente": "acme"}
QUERIES = list(panel_queries())
HOUR = int(time.time()) // 3600 * 3600
BY_STEP = [query for query in QUERIES if "${resolution:raw}" in query.flux]


class Told(NamedTuple):
    """The platform after a morning."""

    stack: Stack
    start: float
    stop: float

    def rows(self, query: PanelQuery, window: str = "10s", start: float = 0, **values: str) -> list[dict[str, Any]]:
        """What a panel's query gives with all chosen, or with these values instead."""
        chosen: dict[str, Any] = {
            name: variable["current"]["value"] if variable["type"] != "query" else ".*"
            for name, variable in variables(query.board).items()
        }
        org, bucket = ("planta", "processo") if query.uid == "platform" else ("mov_industria", "mov_dados")
        chosen |= {"bucket": bucket, "sensors_bucket": bucket} | values
        flux = rendered(query.flux, chosen, start or self.start, self.stop, window=window, bucket=bucket)
        return self.stack.query(flux, org)


@pytest.fixture(scope="module")
def told(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A press that judges itself, its metrics, its end; another that stood still and lost frames; a hot sensor."""
    folder, start = tmp_path_factory.mktemp("line"), time.time() - 1200
    with ExitStack() as parts:
        parts.enter_context(stack.telegraf())
        press = parts.enter_context(NativePlc({1: PRESS}, counter=(1, 10), tick=0.005))
        edge = parts.enter_context(_line(stack, press, folder))
        edge.wait_ready()
        _history(stack, time.time() - 900, 300)
        _history(stack, HOUR - 1800, 120)
        _nameless(stack)
        _analytics(stack, parts, tmp_path_factory.mktemp("analytics"))
        stack.publish("plc/acme/press2", '{"no": "frame"}')
        wait_until(lambda: _count(stack, "edge_up") >= 4, "metrics", 90)
        wait_until(lambda: _count(stack, "oee") >= 3, "results", 60)
        press.__exit__(None, None, None)
        wait_until(lambda: _count(stack, "read_failed") >= 1, "a failure", 60)
        assert edge.running
        _dropped(stack)
        for task in ("downsample_1m", "downsample_1h"):
            stack.influx.run_task(task, stack.token)
        yield Told(stack, start, time.time() + 1)


def _line(stack: Stack, press: NativePlc, folder) -> Line:
    """`line1-oee` with windows that begin now, verdicts of its own, and metrics where Telegraf asks for them."""
    text = (ROOT / "configs" / "line1-oee.yaml").read_text(encoding="utf-8")
    verdicts = '  told: {type: threshold, from: press, field: AI_Vibracao, levels: {CRITICO: "> 2"}}\n'
    changes = {
        "mon-sat": "daily",
        "sun-fri": "daily",
        "every: 60s": "every: 1s",
        "[frames, oee]": "[frames, oee, told]",
    }
    for old, new in (changes | {"\nsinks:\n": f"\n{verdicts}\nsinks:\n"}).items():
        assert old in text
        text = text.replace(old, new)
    (folder / "line1-oee.yaml").write_text(text, encoding="utf-8")
    environment = {
        **{name: stack.env[name] for name in ("MQTT_USERNAME", "MQTT_PASSWORD", "EDGE_TOKEN")},
        "MQTT_BROKER": stack.broker.host,
        "MQTT_PORT": str(stack.broker.port),
        "MQTT_CA_FILE": str(stack.broker.ca_file),
        "PLC_IP": "127.0.0.1",
        "PLC_PORT": str(press.port),
        "TENANT_ID": "acme",
        "PLC_ID": "press1",
        "POLL_INTERVAL": "200ms",
        "IDEAL_RATE": "400",
        "METRICS_PORT": str(stack.edge_port),
        "DATA_DIR": str(folder / "data"),
    }
    return Line(folder / "line1-oee.yaml", environment, folder)


def _history(stack: Stack, first: float, seconds: int) -> None:
    """Another press: 30 parts a minute over the end of its counter, 20 s stopped in each minute, three frames lost."""
    bodies = []
    for n in range(seconds):
        values = {
            "contador_bom": (32760 + n // 2 + 32768) % 65536 - 32768,
            "contador_ruim": n // 20,
            "maquina_ligada": not 20 <= n % 60 < 40,
            "AI_Corrente": 5.5,
            "AI_Vibracao": 2.5,
        }
        frame = {"ts": first + n, "ip": "10.0.0.2", "db": 1, "tenant_id": "acme", "plc_id": "press2", "values": values}
        bodies.append(json.dumps(frame | {"seq": n if n < 100 else n + 3, "boot": f"B{int(first)}"}))
        if n % 60 == 0:
            result = {"oee": 0.6, "availability": 0.7, "performance": 0.9, "quality": 0.95}
            bodies.append(
                json.dumps(frame | {"measurement": "oee", "values": result, "replayed": True, "ts": first + n + 0.5})
            )
    stack.publish("plc/acme/press2", *bodies)


def _nameless(stack: Stack) -> None:
    """Two PLCs without tenant and plc_id, on the topic that such edges share."""
    now = time.time() - 300
    for ip in ("10.0.0.3", "10.0.0.4"):
        frames = [
            {"ts": now + n, "ip": ip, "db": 1, "values": {"contador_bom": n, "contador_ruim": 0}} for n in range(190)
        ]
        stack.publish("plc/db1", *(json.dumps(frame) for frame in frames))


def _analytics(stack: Stack, parts: ExitStack, folder) -> None:
    """The shipped graph, and a sensor that is too hot."""
    environment = {
        "MQTT_BROKER": stack.broker.host,
        "MQTT_PORT": str(stack.broker.port),
        "MQTT_CA_FILE": str(stack.broker.ca_file),
        "MQTT_USERNAME": stack.env["ANALYTICS_MQTT_USER"],
        "MQTT_PASSWORD": stack.env["ANALYTICS_MQTT_PASSWORD"],
        "INFLUX_URL": stack.influx.url,
        "INFLUX_TOKEN": stack.secret("analytics"),
        "INFLUX_SENSORS_TOKEN": stack.secret("analytics_sensors"),
        "DATA_DIR": str(folder / "data"),
    }
    line = parts.enter_context(Line(ROOT / "configs" / "analytics.yaml", environment, folder))
    wait_until(lambda: _subscribed(line), "subscribed", 30)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    stack.publish(
        "mov/dados/sensor_01",
        json.dumps({"timestamp": now, "tags": SENSORS, "fields": {"temperatura_c": 31.5, "umidade": 60}}),
    )
    texts = {"temperatura_c": 30.5, "temperatura_nota": "fria", "txt": "oi"}
    odd = [{"timestamp": now, "tags": SENSORS | {"dispositivo": "sensor_02"}, "fields": texts}]
    odd.append({"timestamp": now, "tags": SENSORS | {"dispositivo": "sensor_03"}, "fields": {"temperatura_c": "30,5"}})
    for each in odd:
        stack.publish(f"mov/dados/{each['tags']['dispositivo']}", json.dumps(each))
    stored = 'from(bucket: "mov_dados") |> range(start: -1h) |> filter(fn: (r) => r._measurement == "insights")'
    wait_until(lambda: stack.query(stored, "mov_industria"), "a verdict", 30)


def _subscribed(line: Line) -> bool:
    status, text = line.get("/readyz")
    return status == 200 or (status == 503 and "sensors" not in json.loads(text)["reasons"])


def _count(stack: Stack, field: str) -> int:
    found = stack.query(
        'from(bucket: "processo") |> range(start: -1h) '
        f'|> filter(fn: (r) => r._field == "{field}" and r.plc_id != "press2") |> group() |> count()'
    )
    return found[0]["_value"] if found else 0


def _dropped(stack: Stack) -> None:
    """What can't be provoked here without waiting for a journal to fill, as Telegraf writes it."""
    now = int(time.time())
    series = "prometheus,edge=http://edge:9108/metrics,node=broker,reason=full"
    lines = [f"{series} edge_frames_dropped_total={n} {now - 60 + n * 10}" for n in range(4)]
    stack.influx.write("\n".join(lines), stack.secret("telegraf"), "processo", precision="s")


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.board}: {query.panel}")
def test_every_panel_has_rows(told, query):
    """With everything chosen, as the dashboard opens; Grafana makes series of rows with time and value, else tables."""
    found = told.rows(query)
    assert found != []
    series = {"_time", "_value"} <= set(found[0])
    if query.kind == "table":
        assert not series
    elif query.labels or query.kind in {"timeseries", "state-timeline"}:
        assert series
        assert all(set(row) > query.labels for row in found)
        assert not {label for label in query.labels if label.startswith("_")}
    else:
        assert len(found) == len(found[0]) == 1


@pytest.mark.parametrize("step", ["1m", "1h"])
@pytest.mark.parametrize("query", BY_STEP, ids=lambda query: f"{query.board}: {query.panel}")
def test_long_ranges_are_answered_from_aggregates(told, query, step):
    """The same panels from minutes and from hours."""
    # One hour is one reading of a counter, and a difference needs two; stops of 20 s are between two minutes.
    unseen = "events.duration" in query.flux or (step == "1h" and "counted(name" in query.flux)
    assert told.rows(query, resolution=step, start=HOUR - 7200) != [] or unseen


@pytest.mark.parametrize(("hours", "bucket"), [(1, "processo"), (24, "processo_1m"), (24 * 30, "processo_1h")])
def test_the_bucket_follows_the_range(told, hours, bucket):
    """Up to 6 h, up to 7 days, beyond; a tenant's own bucket has no aggregates."""
    query = next(query for query in BY_STEP if query.panel == "Counters")
    stop = told.stop
    values = dict.fromkeys(variables("line"), ".*") | {"bucket": "processo", "resolution": "auto"}
    flux = rendered(query.flux, values, stop - hours * 3600, stop)
    head = flux[: flux.index("named =")].replace('import "regexp"', 'import "array"\nimport "regexp"')
    assert told.stack.query(head + "array.from(rows: [{_value: source}])") == [{"_value": bucket}]
    tenant = head.replace('"processo', '"tenant_acme')
    assert told.stack.query(tenant + "array.from(rows: [{_value: source}])") == [{"_value": "tenant_acme"}]


def panel(title: str, board: str = "line") -> PanelQuery:
    """A panel's first query."""
    return next(query for query in QUERIES if (query.board, query.panel) == (board, title))


def test_figures_are_right(told):
    """Parts per minute over the end of a 16-bit counter, scrap rate, stops, gaps, OEE: as they were made."""
    made = told.rows(panel("Production per minute"), plc="press2")
    good = {row["_time"]: row["_value"] for row in made if row["signal"] == "contador_bom"}
    assert max(good.values()) == pytest.approx(30, abs=1)
    assert min(good.values()) >= 0
    assert sum(good.values()) == pytest.approx(150, abs=35)
    rates = [row["_value"] for row in told.rows(panel("Scrap rate"), plc="press2")]
    assert all(0 <= rate <= 20 for rate in rates)
    assert {row["duration"] for row in told.rows(panel("Stops"), plc="press2")} == {20}
    assert len(told.rows(panel("Stops"), plc="press2")) == 5
    gaps = told.rows(panel("Gaps", "debug"), plc="press2")
    assert [(row["seq"], row["missing"]) for row in gaps] == [(103, 3)]
    assert [row["missing"] for row in told.rows(panel("Missing", "debug"))] == [3]
    verdicts = told.rows(panel("Verdicts"))
    assert {(row["plc_id"], row["signal"], row["_value"]) for row in verdicts} == {
        ("press1", "status_calculado", "CRITICO")
    }
    assert [row["_value"] for row in told.rows(panel("OEE"), plc="press2")] == [0.6]
    for title in ("Good parts", "Counters", "Production per minute", "Scrap rate"):
        assert {row["plc_id"] for row in told.rows(panel(title))} >= {"press2", "10.0.0.3", "10.0.0.4"}, title


def test_a_sensor_that_sends_text_hides_no_other(told):
    """A text of its own, and one where all others have a number, with what Telegraf sets beside it."""
    fields = {"temperatura_c_text", "type_conflict", "temperatura_nota", "txt"}
    stored = 'from(bucket: "mov_dados") |> range(start: -1h) |> keep(columns: ["_time", "_field"])'
    wait_until(lambda: {row["_field"] for row in told.stack.query(stored, "mov_industria")} >= fields, "texts", 30)
    readings = {("sensor_01", "temperatura_c", 31.5), ("sensor_02", "temperatura_c", 30.5)}
    for title, more in (("Temperatures", set()), ("All values", {("sensor_01", "umidade", 60.0)})):
        rows = told.rows(panel(title, "sensors"))
        found = {(row["dispositivo"], row["signal"], row["_value"]) for row in rows if row["signal"] != "type_conflict"}
        assert found == readings | more, title
    rows = told.rows(panel("Temperature", "sensors"))
    assert {(row["dispositivo"], row["_value"]) for row in rows} == {(device, value) for device, _, value in readings}


def test_the_fleet_tells_who_answers_and_who_fails(told):
    """The press whose server has ended fails; the one that only history knows is silent."""
    fleet = {row["plc"]: row["state"] for row in told.rows(panel("PLCs", "fleet"))}
    assert fleet == {"press1": "failing"} | dict.fromkeys(("press2", "10.0.0.3", "10.0.0.4"), "silent")
    assert told.rows(panel("Failing", "fleet")) == [{"_value": 1}]
    assert told.rows(panel("Silent", "fleet")) == [{"_value": 3}]
    (press1,) = (row for row in told.rows(panel("PLCs", "fleet")) if row["plc"] == "press1")
    assert press1["latency"] > 0
    assert press1["limit"] == 75


@pytest.mark.parametrize("board", BOARDS)
def test_every_variable_offers_what_there_is(told, board):
    """Asked with what stands before it."""
    expected = {
        "tenant": {"acme"},
        "plc": {"press1", "press2", "10.0.0.3", "10.0.0.4"},
        "bucket": {"processo"},
        "sensors_bucket": {"mov_dados"},
        "client": {"acme"},
        "measurement": {"s7_db1"},
        "device": {"sensor_01"},
        "field": {"temperatura_c", "umidade"},
    }
    for name, variable in variables(board).items():
        if variable["type"] != "query":
            continue
        uid = variable["datasource"]["uid"]
        found = told.rows(PanelQuery(board, name, uid, variable["query"]["query"]))
        assert {row["_value"] for row in found} >= expected.get(name, set()), name
        assert found, name
