"""Readings of sensors and PLCs from the real broker through the shipped analytics into the real InfluxDB."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.parts.line import ROOT, Line
from tests.parts.native_plc import NativePlc
from tests.parts.waiting import wait_until
from tests.stack.conftest import Stack

pytestmark = [pytest.mark.real("mosquitto", "openssl", "influxdb"), pytest.mark.timeout(180)]

TAGS = {"localizacao": "fabrica", "tipo": "temperatura", "cliente": "acme"}


def stamp(ts: float) -> str:
    """A time as sensors write it and InfluxDB shows it, without the zeros that it leaves out."""
    text = datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3].rstrip("0").rstrip(".")
    return f"{text}Z"


def reading(device: str, ts: float, value: object, field: str = "temperatura_c") -> str:
    """The sensors' message, one line."""
    return json.dumps({"timestamp": stamp(ts), "tags": {"dispositivo": device, **TAGS}, "fields": {field: value}})


def insights(stack: Stack, bucket: str, org: str, tag: str, name: str) -> list[dict[str, Any]]:
    """All that is stored of one series' verdicts, ascending by time."""
    rows = stack.query(
        f'from(bucket: "{bucket}") |> range(start: -1d) |> filter(fn: (r) => r._measurement == "insights") '
        f'|> filter(fn: (r) => r.{tag} == "{name}") |> group() |> sort(columns: ["_time"])',
        org,
    )
    return [{name: value for name, value in row.items() if name not in {"_start", "_stop"}} for row in rows]


def of_sensor(stack: Stack, device: str) -> list[dict[str, Any]]:
    """A sensor's verdicts."""
    return insights(stack, "mov_dados", "mov_industria", "dispositivo", device)


def subscribed(line: Line) -> bool:
    """Whether both sources take from the broker; the sinks are ready with their first point."""
    status, text = line.get("/readyz")
    return status == 200 or (status == 503 and not {"sensors", "presses"} & json.loads(text)["reasons"].keys())


@pytest.fixture
def analytics(stack: Stack, tmp_path: Path) -> Iterator[Line]:
    """The shipped graph with the platform's users and tokens, connected."""
    environment = {
        "MQTT_BROKER": stack.broker.host,
        "MQTT_PORT": str(stack.broker.port),
        "MQTT_CA_FILE": str(stack.broker.ca_file),
        "MQTT_USERNAME": stack.env["ANALYTICS_MQTT_USER"],
        "MQTT_PASSWORD": stack.env["ANALYTICS_MQTT_PASSWORD"],
        "INFLUX_URL": stack.influx.url,
        "INFLUX_ORG": stack.env["INFLUX_ORG"],
        "INFLUX_BUCKET": stack.env["INFLUX_BUCKET"],
        "INFLUX_TOKEN": stack.secret("analytics"),
        "INFLUX_SENSORS_ORG": "mov_industria",
        "INFLUX_SENSORS_BUCKET": "mov_dados",
        "INFLUX_SENSORS_TOKEN": stack.secret("analytics_sensors"),
        "DATA_DIR": str(tmp_path / "data"),
    }
    with Line(ROOT / "configs" / "analytics.yaml", environment, tmp_path) as line:
        wait_until(lambda: subscribed(line), "subscribed", 30)
        yield line


def test_a_reading_over_thirty_is_critical_and_all_else_is_normal(stack: Stack, analytics: Line) -> None:
    """The seed's message: measurement, field, value, tags and time as they must be, and no field beside it."""
    now = float(int(datetime.now(UTC).timestamp())) - 60
    for device, value in (("sensor_01", 28.5), ("sensor_02", 30.0), ("sensor_03", 30.1), ("sensor_04", 31)):
        stack.publish(f"mov/dados/{device}", reading(device, now + 0.999, value))
    stack.publish("mov/dados/sensor_05", reading("sensor_05", now, 60.0, "umidade"))
    stack.publish("mov/dados/sensor_06", '{"no": "reading"}', "neither this", reading("sensor_06", now, 99))
    frame = {"ts": now, "ip": "192.168.0.121", "db": 1, "tenant_id": "acme", "plc_id": "forno"}
    stack.publish("plc/acme/forno", json.dumps({**frame, "values": {"temperatura": 31.5, "contador_bom": 5}}))
    wait_until(lambda: insights(stack, "processo", "planta", "plc_id", "forno"), "the last verdict is stored", 30)
    expected = {"sensor_01": "Normal", "sensor_02": "Normal", "sensor_03": "CRITICO", "sensor_04": "CRITICO"}
    for device, level in expected.items():
        wait_until(lambda device=device: of_sensor(stack, device), f"the verdict on {device}", 30)
        assert of_sensor(stack, device)[0] == {
            "_time": stamp(now + 0.999),
            "_value": level,
            "_field": "status_calculado",
            "_measurement": "insights",
            "dispositivo": device,
            **TAGS,
        }
    assert of_sensor(stack, "sensor_05") == []
    assert [row["_value"] for row in of_sensor(stack, "sensor_06")][:1] == ["CRITICO"]
    (first, *_) = insights(stack, "processo", "planta", "plc_id", "forno")
    assert first == {
        "_time": stamp(now),
        "_value": "CRITICO",
        "_field": "status_calculado",
        "_measurement": "insights",
        "ip": "192.168.0.121",
        "db": "1",
        "tenant_id": "acme",
        "plc_id": "forno",
    }
    assert analytics.running


def test_an_odd_reading_gets_its_verdict_in_its_own_series(stack: Stack, analytics: Line) -> None:
    """A mark before the text, a `db` that is no number, a tag that InfluxDB can't have: stored, and so is judged."""
    tags = {"dispositivo": "sensor_07", "db": "07", "linha": "A", "time": 5}
    body = {"timestamp": stamp(float(int(datetime.now(UTC).timestamp()))), "tags": tags, "fields": {"temperatura": 35}}
    stack.publish("mov/dados/sensor_07", "\ufeff" + json.dumps(body))
    wait_until(lambda: of_sensor(stack, "sensor_07"), "the verdict is stored", 30)
    (first, *_) = of_sensor(stack, "sensor_07")
    assert (first["_value"], first["db"], first["linha"]) == ("CRITICO", "07", "A")
    assert analytics.running


def test_none_is_missed_through_a_kill_and_an_outage(stack: Stack, analytics: Line) -> None:
    """Readings each 10 ms of their time, while the analytics are killed and InfluxDB is away: one point each."""
    now = float(int(datetime.now(UTC).timestamp())) - 600
    levels = {}

    def feed(first: int, last: int) -> None:
        readings = [(now + n / 100, 30 + (-1) ** n * n / 100) for n in range(first, last)]
        levels.update({stamp(ts): "CRITICO" if value > 30 else "Normal" for ts, value in readings})
        stack.publish("mov/dados/chaos", *(reading("chaos", ts, value) for ts, value in readings))

    feed(0, 300)
    analytics.kill()
    feed(300, 600)
    stack.influx.kill()
    analytics.start()
    wait_until(lambda: subscribed(analytics), "subscribed again", 30)
    feed(600, 900)
    analytics.kill()
    analytics.start()
    stack.influx.start()
    feed(900, 1000)

    def stored() -> dict[str, str]:
        return {row["_time"]: row["_value"] for row in of_sensor(stack, "chaos") if row["_time"] <= stamp(now + 11)}

    wait_until(lambda: len(stored()) >= len(levels), "all verdicts are stored", 60)
    assert stored() == levels


@pytest.mark.real("native_plc", "telegraf")
def test_the_edge_judges_and_its_verdicts_stand_beside_the_data(stack: Stack, press: NativePlc, tmp_path: Path) -> None:
    """`line1-oee` through broker and Telegraf: rate, power, state in the press's points; OEE as its own measurement."""
    text = (ROOT / "configs" / "line1-oee.yaml").read_text(encoding="utf-8")
    changes = {"mon-sat": "daily", "sun-fri": "daily", "every: 60s": "every: 1s", "wrap: int}     #": "window: 0s} #"}
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "line1-oee.yaml"
    file.write_text(text, encoding="utf-8")
    environment = {
        **{name: stack.env[name] for name in ("MQTT_USERNAME", "MQTT_PASSWORD")},
        "MQTT_BROKER": stack.broker.host,
        "MQTT_PORT": str(stack.broker.port),
        "MQTT_CA_FILE": str(stack.broker.ca_file),
        "PLC_IP": "127.0.0.1",
        "PLC_PORT": str(press.port),
        "TENANT_ID": "acme",
        "PLC_ID": "judge",
        "POLL_INTERVAL": "100ms",
        "IDEAL_RATE": "100000",
        "DATA_DIR": str(tmp_path / "data"),
    }

    def points(measurement: str, field: str) -> list[dict[str, Any]]:
        return stack.query(
            'from(bucket: "processo") |> range(start: -1h) '
            f'|> filter(fn: (r) => r._measurement == "{measurement}" and r.plc_id == "judge" and r._field == "{field}")'
        )

    with stack.telegraf(), Line(file, environment, tmp_path):
        wait_until(lambda: len(points("oee", "oee")) >= 3 and points("s7_db1", "contador_bom_per_min"), "both", 60)
    assert {row["tenant_id"] for row in points("oee", "oee")} == {"acme"}
    assert all(0 < row["_value"] < 1 for row in points("oee", "performance"))
    assert {row["_value"] for row in points("oee", "quality")} == {1.0}
    assert {row["_value"] for row in points("oee", "final")} == {False}
    assert {row["_value"] for row in points("oee", "shift")} <= {"A", "B", "C"}
    assert {row["_value"] for row in points("s7_db1", "status_vibracao")} == {"Normal"}
    assert {row["_value"] for row in points("s7_db1", "potencia")} == {5.0 * 380 * 1.732}
    assert all(row["_value"] > 0 for row in points("s7_db1", "contador_bom_per_min"))
