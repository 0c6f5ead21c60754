"""`infra/doctor` on the real platform: each row of the troubleshooting tables is provoked, and its finding says it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.mosquitto import Authority
from tests.parts.telegraf import Telegraf
from tests.parts.waiting import wait_until
from tests.stack.conftest import Stack

pytestmark = [pytest.mark.real("mosquitto", "openssl", "telegraf", "influxdb"), pytest.mark.timeout(180)]

VALUES = '{"maquina_ligada": true, "contador_bom": 7, "AI_Corrente": 5}'


def doctor(stack: Stack, code: int, *wrapper: str, **changes: str) -> list[dict[str, Any]]:
    """The findings of `infra/doctor --json`."""
    here = {"MQTT_BROKER": "localhost", "MQTT_PORT": str(stack.broker.port), "INFLUX_URL": stack.influx.url}
    done = subprocess.run(
        [*wrapper, sys.executable, str(stack.plant.infra / "doctor.py"), "--json"],
        env={**os.environ, **here, **changes},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    for name, value in stack.env.items():
        assert not (name.endswith(("PASSWORD", "TOKEN")) and value in said), name
    assert done.returncode == code, said
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def finding(found: list[dict[str, Any]], part: str, what: str, mark: str) -> str:
    """What is said of it: all findings of this part, kind and mark."""
    chosen = [each for each in found if (each["part"], each["what"], each["mark"]) == (part, what, mark)]
    assert chosen, "\n".join(str(list(each.values())) for each in found)
    return " ".join(f"{each['found']}; {each['advice']}" for each in chosen)


def problems(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Where there are problems."""
    return [(each["part"], each["what"]) for each in found if each["mark"] == "problem"]


def frame(ts: float, values: str = VALUES, more: str = "") -> str:
    """A frame's body."""
    return f'{{"ts": {ts:.3f}, "ip": "10.0.0.1", "db": 1, "values": {values}{more}}}'


@pytest.fixture(scope="module")
def telegraf(stack: Stack) -> Iterator[Telegraf]:
    """The platform's, from the second test on."""
    with stack.telegraf() as started:
        yield started


@pytest.fixture(scope="module")
def running(stack: Stack, telegraf: Telegraf) -> Stack:
    """With Telegraf, and a press that is well."""
    now = time.time()
    stack.publish("plc/acme/well", *(frame(now - n, f'{{"contador_bom": {500 - n}}}') for n in range(3)))
    wait_until(lambda: len(stack.points("processo_raw", "well")) == 3, "stored")
    return stack


def test_without_telegraf_nobody_stores_frames(stack):
    """The very first start, before Telegraf has ever come."""
    assert "does it run" in finding(doctor(stack, 1), "frame", "broker", "problem")


def test_a_healthy_platform_has_no_problem(running):
    """Every step is told, the time of each hop too."""
    found = doctor(running, 0)
    assert problems(found) == []
    for part, what in (
        ("machine", "setup"),
        ("broker", "name"),
        ("broker", "TCP"),
        ("broker", "TLS"),
        ("broker", "rights"),
        ("influxdb", "clock"),
        ("influxdb", "setup"),
        ("influxdb", "tasks"),
        ("frame", "broker"),
        ("frame", "subscriber"),
        ("data", "frames"),
    ):
        finding(found, part, what, "good")
    assert "telegraf can write, and nothing else" in finding(found, "influxdb", "token", "good")
    assert len([each for each in found if each["what"] == "login" and each["mark"] == "good"]) == 4
    stored = next(each for each in found if (each["part"], each["what"]) == ("frame", "influxdb"))
    assert stored["seconds"] > 0
    assert "no backup of influxdb" in finding(found, "machine", "backup", "warning")


@pytest.mark.parametrize(
    ("changes", "part", "what", "said"),
    [
        ({"MQTT_BROKER": "broker.invalid"}, "broker", "name", "can't be resolved"),
        ({"MQTT_PORT": "1"}, "broker", "TCP", "does it run"),
        ({"MQTT_PASSWORD": "wrong"}, "broker", "login", "as edge_agent: not authorised"),
        ({"INFLUX_URL": "http://127.0.0.1:1"}, "influxdb", "answers", "is INFLUX_URL right"),
        ({"INFLUX_TOKEN": "expired"}, "influxdb", "setup", "another operator token"),
    ],
    ids=["name", "port", "password", "influxdb away", "operator token"],
)
def test_a_wrong_variable_is_found_where_it_hurts(running, changes, part, what, said):
    """One at a time."""
    assert said in finding(doctor(running, 1, **changes), part, what, "problem")


def test_a_foreign_authority_is_a_tls_error_that_says_what_to_hand_to_whom(running, tmp_path):
    """The edge has another ca.crt than the broker's."""
    found = doctor(running, 1, MQTT_CA_FILE=str(Authority(tmp_path / "strangers").ca_file))
    assert "hand infra/secrets/ca.crt to every edge" in finding(found, "broker", "TLS", "problem")


@pytest.mark.real("faketime")
def test_clocks_that_differ_are_told(running):
    """This machine's clock is an hour ahead."""
    found = doctor(running, 1, "faketime", "-f", "+1h")
    assert "its clock is -3" in finding(found, "influxdb", "clock", "problem")


def test_an_expired_or_revoked_token_is_named(running):
    """Telegraf's is another one than InfluxDB knows; Grafana's is gone."""
    folder = running.plant.infra / "secrets" / "influx"
    kept = {name: (folder / f"{name}.token").read_text(encoding="ascii") for name in ("telegraf", "grafana")}
    try:
        (folder / "telegraf.token").write_text("revoked", encoding="ascii")
        (folder / "grafana.token").unlink()
        found = doctor(running, 1)
    finally:
        for name, token in kept.items():
            (folder / f"{name}.token").write_text(token, encoding="ascii")
    said = finding(found, "influxdb", "token", "problem")
    assert "InfluxDB does not know token telegraf" in said
    assert "there is no token grafana" in said
    assert "make token telegraf" in finding(found, "influxdb", "setup", "problem")


@pytest.mark.real("faketime")
def test_tasks_that_stand_still_are_found(running):
    """One is switched off; all of them have not run for a day, as far as this machine's clock can be believed."""
    tasks = running.influx.call("GET", "/api/v2/tasks?org=planta", token=running.token)["tasks"]
    path = next(f"/api/v2/tasks/{each['id']}" for each in tasks if each["name"] == "repair")
    running.influx.call("PATCH", path, {"status": "inactive"}, running.token)
    try:
        said = finding(doctor(running, 1, "faketime", "-f", "+1d"), "influxdb", "tasks", "problem")
    finally:
        running.influx.call("PATCH", path, {"status": "active"}, running.token)
    assert "task repair is switched off" in said
    assert "task downsample_1m last ran 14" in said
    assert "and should every 1m" in said
    assert "task downsample_1h last ran 1" in said


def test_an_access_list_that_is_wrong_is_found_both_ways(running):
    """The edge may write nothing, sensors may write everything."""
    acl = running.plant.infra / "secrets" / "mosquitto" / "acl"
    kept = acl.read_text(encoding="utf-8")
    try:
        blocks = kept.replace("topic write plc/#\n", "")
        acl.write_text(blocks.replace("user sensors\n", "user sensors\ntopic write #\n"), encoding="utf-8")
        with running.subscribed():
            running.broker.stop()
            running.broker.start()
        found = doctor(running, 1)
    finally:
        acl.write_text(kept, encoding="utf-8")
        with running.subscribed():
            running.broker.stop()
            running.broker.start()
    assert "the edge's user must not write" in finding(found, "frame", "broker", "problem")
    assert "sensors could write" in finding(found, "broker", "rights", "problem")
    assert "access list" in finding(found, "machine", "setup", "warning")


def test_what_the_data_say(running, tmp_path):
    """Silence, no names, heartbeats alone, counters that stand, a clock ahead, what was set aside."""
    now = time.time()
    running.publish("plc/acme/silent", frame(now - 4000))
    running.publish("plc/db1", frame(now))
    running.publish("plc/acme/off", frame(now, '{"heartbeat": 1, "read_failed": true}', ', "error": "timeout"'))
    running.publish("plc/acme/stands", *(frame(now - n) for n in range(0, 900, 60)))
    running.publish("plc/acme/ahead", frame(now + 7200))
    running.publish("plc/acme/visited", frame(now, '{"heartbeat": 0}'))
    running.publish("plc/acme/broken", "no JSON at all")
    lines = [
        f"prometheus,tenant=acme,plc=slow plc_read_latency_ms={300 + n} {int(now) - 60 + n}\n"
        f"prometheus,tenant=acme,plc=stuck edge_backlog_size={n * 10} {int(now) - 60 + n}"
        for n in range(50)
    ]
    lines.append(f"prometheus,edge=novo,node=b edge_backlog_size=3 {int(now) - 60}")
    running.influx.write("\n".join(lines), running.token, "processo", precision="s")
    wait_until(lambda: running.points("processo_raw", "stands"), "stored")
    wait_until(lambda: running.points("processo_raw", "ahead"), "stored")
    wait_until(lambda: running.points("processo", "broken"), "set aside")
    found = doctor(running, 1)
    silent = finding(found, "data", "frames", "problem")
    assert "acme/silent DB1: nothing since" in silent
    assert "MQTT publish topic resolved" in silent
    assert "acme/well" not in silent
    assert "10.0.0.1 DB1" in finding(found, "data", "names", "warning")
    assert "acme/off DB1: heartbeats without values (timeout)" in finding(found, "data", "values", "problem")
    counters = finding(found, "data", "counters", "warning")
    assert "acme/stands DB1: contador_bom stands still" in counters
    assert "acme/well" not in counters
    assert "acme/ahead DB1: frames of" in finding(found, "data", "clock", "problem")
    assert "no JSON" in finding(found, "data", "rejected", "warning")
    assert "acme/slow: a read takes 3" in finding(found, "data", "latency", "warning")
    assert "visited" not in str(found), "an edge's doctor was there, and no edge"
    assert "acme/stuck: 600 more frames" in finding(found, "data", "backlog", "problem")


def test_no_data_keep_a_question_from_being_answered(running):
    """States and counters of any type; what was set aside with line ends in its name."""
    now = time.time()
    for plc, values in (
        ("enum", '{"status_maquina": "ligada", "contador_bom": "sete"}'),
        ("word", '{"status_maquina": 3, "contador_bom": true}'),
    ):
        running.publish(f"plc/acme/{plc}", frame(now, values, f', "measurement": "s7_{plc}"'))
        wait_until(lambda plc=plc: running.points("processo_raw", plc), "stored")
    running.publish("plc/acme/ends", frame(now, more=', "tags": {"a\\n\\nb\\nc,d": "x"}'))
    ends = 'from(bucket: "processo") |> range(start: -1h) |> filter(fn: (r) => r.plc_id == "ends") |> count()'
    wait_until(lambda: running.query(ends), "set aside")
    found = doctor(running, 1)
    assert [each for each in found if each["what"] == "query"] == []
    assert "a tag can't be stored: a\n\nb\nc,d" in finding(found, "data", "rejected", "warning")
    assert "acme/stands DB1: contador_bom stands still" in finding(found, "data", "counters", "warning")


def test_points_that_influxdb_refuses_are_told(running):
    """A Telegraf that has forgotten a type, as after kill -9: the figure is its own."""
    with running.telegraf("forgetful"):
        running.publish("plc/acme/typed", frame(time.time(), '{"v": 1}').replace('"db": 1', '"db": 77'))
        wait_until(lambda: running.points("processo_raw", "typed"), "the number")
    with running.telegraf("forgetful_too"):
        running.publish("plc/acme/typed", frame(time.time(), '{"v": "x"}').replace('"db": 1', '"db": 77'))
        where = 'from(bucket: "processo") |> range(start: -1h) |> filter(fn: (r) => r._field == "metrics_rejected")'
        wait_until(lambda: any(row["_value"] for row in running.query(where)), "the figure", 60)
        found = doctor(running, 1)
    assert "InfluxDB has refused 1 points of Telegraf's output" in finding(found, "data", "refused", "problem")


def test_a_second_telegraf_that_writes_everything_twice_is_found(running):
    """It has a host tag, and the platform's has none."""
    with running.telegraf("second", TELEGRAF_HOST_TAG="second"):
        running.publish("plc/acme/twice", frame(time.time()))
        where = 'from(bucket: "processo_raw") |> range(start: -1h) |> filter(fn: (r) => r.plc_id == "twice")'
        wait_until(lambda: {row.get("host") for row in running.query(where)} == {None, "second"}, "both have written")
        found = doctor(running, 1)
    said = finding(found, "data", "double", "problem")
    assert "acme/twice DB1: each frame is 2 points" in said
    assert "acme/well" not in said


def test_a_frame_that_does_not_arrive_names_the_hop(running, telegraf):
    """Telegraf has a session, and is gone: published, received by others, not stored."""
    telegraf.kill()
    found = doctor(running, 1)
    finding(found, "frame", "broker", "good")
    finding(found, "frame", "subscriber", "good")
    said = finding(found, "frame", "influxdb", "problem")
    assert "did not come within" in said
    assert "TELEGRAF_DEBUG_FILE=" in said
    assert "does Telegraf run?" in said


def test_an_influxdb_that_is_away_is_told_at_once(running, telegraf):
    """A frame that nobody could store is not waited for; neither does setup's --check wait."""
    found = doctor(running, 1, INFLUX_URL="http://127.0.0.1:1")
    (stored,) = [each for each in found if (each["part"], each["what"]) == ("frame", "influxdb")]
    assert "no answer from http://127.0.0.1:1" in stored["found"]
    env = {**os.environ, "INFLUX_URL": "http://127.0.0.1:1"}
    command = [sys.executable, str(running.plant.infra / "influx" / "setup.py"), "--check"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, "after 2 s" in done.stderr) == (1, True)


def test_backups_are_looked_for_where_they_are(stack, tmp_path):
    """BACKUP_DIR; one of a date to come counts for nothing."""
    now = time.strftime("%Y%m%d_%H%M%S", time.gmtime())
    for name in (f"grafana_{now}", "influxdb_20990101_000000"):
        (tmp_path / f"{name}.tar.gz").touch()
    found = doctor(stack, 1, BACKUP_DIR=str(tmp_path), MQTT_PORT="1", INFLUX_URL="http://127.0.0.1:1")
    assert "grafana: 0 hours old" in finding(found, "machine", "backup", "good")
    told = finding(found, "machine", "backup", "warning")
    assert "there is no backup of influxdb" in told
    assert "influxdb_20990101_000000.tar.gz is of the future" in told


def test_people_are_shown_the_same(stack, tmp_path):
    """Without --json: parts, marks, arrows before what to do; a platform without .env is told to run setup."""
    script = stack.plant.infra / "doctor.py"
    env = {**os.environ, "MQTT_PORT": "1", "INFLUX_URL": "http://127.0.0.1:1"}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    env["PYTHONIOENCODING"] = "cp1252"
    other = subprocess.run([sys.executable, script], env=env, capture_output=True, check=False)
    assert (other.returncode, other.stderr) == (1, b"")
    assert b"? does it run?" in other.stdout
    assert "  problem  TCP        localhost:1: Connection refused\n" in done.stdout
    assert "→ does it run?" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2 problems")
    assert Path(script).with_name("doctor").stat().st_mode & 0o111
