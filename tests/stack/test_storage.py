"""What the platform keeps in InfluxDB: made once, rights by attempt, aggregates that late frames come into."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parts.influxdb import InfluxDB
from tests.parts.platform import INFRA, Plant, platform
from tests.parts.telegraf import Telegraf
from tests.parts.waiting import wait_until
from tests.stack.conftest import Stack

pytestmark = [pytest.mark.real("mosquitto", "openssl", "telegraf", "influxdb"), pytest.mark.timeout(180)]

DAYS = 86400
BUCKETS = {
    "planta": {"processo": 30 * DAYS, "processo_raw": 0, "processo_1m": 0, "processo_1h": 0},
    "mov_industria": {"mov_dados": 0},
}
FRAMES = set(BUCKETS["planta"])
READS = {
    "telegraf": set(),
    "telegraf_sensors": set(),
    "grafana": FRAMES,
    "grafana_sensors": {"mov_dados"},
    "analytics": FRAMES,
    "analytics_sensors": {"mov_dados"},
}
WRITES = {
    "telegraf": {"processo", "processo_raw"},
    "telegraf_sensors": {"mov_dados"},
    "grafana": set(),
    "grafana_sensors": set(),
    "analytics": {"processo"},
    "analytics_sensors": {"mov_dados"},
}


def test_setup_makes_everything_once(stack):
    """Organisations, buckets with their retention, tasks, tokens; the second run and `--check` find nothing to do."""
    assert stack.set_up() == "all is there\n"
    assert stack.set_up("--check") == "all is there\n"
    for org, buckets in BUCKETS.items():
        found = stack.influx.call("GET", f"/api/v2/buckets?org={org}", token=stack.token)["buckets"]
        kept = {each["name"]: sum(rule["everySeconds"] for rule in each["retentionRules"]) for each in found}
        assert {name: seconds for name, seconds in kept.items() if name[0] != "_"} == buckets
    tasks = stack.influx.call("GET", "/api/v2/tasks?org=planta", token=stack.token)["tasks"]
    assert {task["name"]: (task["status"], task["every"]) for task in tasks} == {
        "downsample_1m": ("active", "1m"),
        "downsample_1h": ("active", "1h"),
        "repair": ("active", "1h"),
    }


@pytest.mark.parametrize("name", READS)
def test_each_token_may_do_its_part_alone(stack, name):
    """By attempt on every bucket; no token makes buckets, tasks or other tokens."""
    token = stack.secret(name)
    for org, buckets in BUCKETS.items():
        for bucket in buckets:
            flux = {"query": f'from(bucket: "{bucket}") |> range(start: -1m)'}
            status, text = stack.influx.ask("POST", f"/api/v2/query?org={org}", flux, token)
            assert (status == 200) == (bucket in READS[name]), (bucket, status, text)
            status, text = stack.influx.ask(
                "POST", f"/api/v2/write?org={org}&bucket={bucket}", f"attempt,by={name} v=1", token
            )
            assert (status == 204) == (bucket in WRITES[name]), (bucket, status, text)
    org = stack.influx.call("GET", "/api/v2/orgs?org=planta", token=stack.token)["orgs"][0]["id"]
    for path, body in (
        ("buckets", {"orgID": org, "name": "mine", "retentionRules": []}),
        ("tasks", {"orgID": org, "flux": 'option task = {name: "mine", every: 1m}\nfrom(bucket: "processo")'}),
        ("authorizations", {"orgID": org, "permissions": [{"action": "write", "resource": {"type": "buckets"}}]}),
    ):
        assert stack.influx.ask("POST", f"/api/v2/{path}", body, token)[0] >= 400, path


def test_tokens_are_secret_files_and_are_replaced_one_by_one(stack):
    """Mode 600 in a folder of mode 700, of the installation's owner; the old token dies, the others stay."""
    folder = stack.plant.infra / "secrets" / "influx"
    before = {file.stem: file.read_text() for file in folder.iterdir()}
    assert set(before) == set(READS)
    owner = (stack.plant.infra / "secrets").stat().st_uid
    assert {(file.stat().st_mode & 0o777, file.stat().st_uid) for file in folder.iterdir()} == {(0o600, owner)}
    assert folder.stat().st_mode & 0o777 == 0o700
    said = stack.set_up("--rotate", "grafana")
    assert said == "make token grafana\n"
    after = {file.stem: file.read_text() for file in folder.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"grafana"}
    assert stack.influx.ask("GET", "/api/v2/buckets", token=before["grafana"])[0] == 401
    assert stack.influx.ask("GET", "/api/v2/buckets", token=after["grafana"])[0] == 200
    assert "'nobody'" in stack.set_up("--rotate", "nobody", code=1)


def test_what_is_damaged_is_found_and_mended(stack):
    """A lost file, a foreign token, a task that somebody has changed, a bucket that is gone; data stay."""
    folder = stack.plant.infra / "secrets" / "influx"
    (folder / "analytics.token").unlink()
    (folder / "grafana.token").write_text("something else")
    task = next(
        each
        for each in stack.influx.call("GET", "/api/v2/tasks?org=planta", token=stack.token)["tasks"]
        if each["name"] == "repair"
    )
    changed = {"flux": 'option task = {name: "repair", every: 5h}\nfrom(bucket: "processo") |> range(start: -1m)'}
    stack.influx.call("PATCH", f"/api/v2/tasks/{task['id']}", changed, stack.token)
    wanted = "would update task repair\nwould make token grafana\nwould make token analytics\n"
    assert stack.set_up("--check", code=1) == wanted
    assert stack.set_up() == wanted.replace("would ", "")
    assert stack.set_up("--check") == "all is there\n"
    mended = stack.influx.call("GET", f"/api/v2/tasks/{task['id']}", token=stack.token)
    assert (mended["every"], mended["id"]) == ("1h", task["id"])


def test_a_tenant_may_have_a_bucket_of_its_own(stack):
    """What Grafana can't keep apart: a bucket, a reading token for it alone, and Telegraf may write it."""
    said = stack.set_up("--tenant", "acme")
    assert said == "make bucket planta/tenant_acme, for ever\nmake token telegraf\nmake token grafana_acme\n"
    assert stack.set_up() == "all is there\n"
    stack.influx.write("s7_db1,tenant_id=acme v=1", stack.secret("telegraf"), "tenant_acme")
    query = 'from(bucket: "{}") |> range(start: -1m) |> filter(fn: (r) => r._measurement == "s7_db1")'
    assert len(stack.influx.query(query.format("tenant_acme"), stack.secret("grafana_acme"))) == 1
    for name, bucket in (("grafana_acme", "processo"), ("grafana_acme", "processo_raw"), ("grafana", "tenant_acme")):
        body = {"query": query.format(bucket)}
        assert stack.influx.ask("POST", "/api/v2/query?org=planta", body, stack.secret(name))[0] == 404
    assert "can't be a tenant" in stack.set_up("--tenant", "a/b", code=1)
    assert "the sensors' own" in stack.set_up("--tenant", "sensors", code=1)
    assert stack.set_up("--check") == "all is there\n"


def test_the_documented_additions_to_telegraf_work(stack):
    """As they are printed: another edge's metrics are something that Telegraf knows, a tenant's bucket fills."""
    printed = (INFRA / "telegraf" / "README.md").read_text(encoding="utf-8")
    edge, tenant = re.findall(r"```toml\n(.*?)```", printed, re.DOTALL)
    stack.set_up("--tenant", "acme")
    folder = stack.plant.infra / "telegraf" / "telegraf.d"
    (folder / "edge-NAME.conf").write_text(edge, encoding="utf-8")
    (folder / "tenant-acme.conf").write_text(tenant, encoding="utf-8")
    with stack.telegraf("with_additions"):
        for name in ("beta", "acme"):
            stack.publish(f"plc/{name}/own", f'{{"ts": {int(time.time())}, "db": 1, "values": {{"v": 1}}}}')
        query = 'from(bucket: "tenant_acme") |> range(start: -1h) |> filter(fn: (r) => r.plc_id == "own")'
        wait_until(lambda: stack.influx.query(query, stack.secret("grafana_acme")), "the tenant's frame")
        found = stack.influx.query(query, stack.secret("grafana_acme"))
    assert {row["tenant_id"] for row in found} == {"acme"}
    for name in ("edge-NAME.conf", "tenant-acme.conf"):
        (folder / name).unlink()


@pytest.fixture
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plant, InfluxDB]]:
    """An installation and an InfluxDB that nobody has set up."""
    with platform() as plant, InfluxDB(tmp_path_factory.mktemp("influxdb")) as influx:
        plant.do("setup")
        yield plant, influx


def test_what_setup_can_not_do_it_says(bare, monkeypatch):
    """Nobody answers, InfluxDB is another installation's, an address with a password; one line each, and no secret."""
    plant, influx = bare

    def refused(*options: str, **environment: str) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        done = plant.run("influx/setup", *options)
        assert done.returncode == 1
        assert plant.env["INFLUX_TOKEN"] not in done.stdout + done.stderr
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    assert "no InfluxDB at http://127.0.0.1:1 after 0.1 s" in refused("--wait", "0.1", INFLUX_URL="http://127.0.0.1:1")
    assert "without user and password" in refused(INFLUX_URL="http://admin:secret@127.0.0.1:8086")
    assert "would set InfluxDB up" in plant_says(plant, monkeypatch, influx.url, "--check")
    influx.set_up("planta", "processo", "of-another-installation")
    assert "set up with another operator token" in refused(INFLUX_URL=influx.url)


def test_organisation_and_bucket_of_the_sensors_platform_may_be_the_main_ones(bare, monkeypatch):
    """As its `.env` names them: one organisation, nothing twice, and sensors' data are kept for ever."""
    plant, influx = bare
    monkeypatch.setenv("INFLUX_ORG", "mov_industria")
    monkeypatch.setenv("INFLUX_BUCKET", "mov_dados")
    assert "bucket mov_dados\n" in plant_says(plant, monkeypatch, influx.url)
    assert plant_says(plant, monkeypatch, influx.url, "--check") == "all is there\n"
    token = plant.env["INFLUX_TOKEN"]
    found = influx.call("GET", "/api/v2/buckets?org=mov_industria", token=token)["buckets"]
    kept = {each["name"]: each["retentionRules"] for each in found if each["name"][0] != "_"}
    assert set(kept) == {"mov_dados", "mov_dados_raw", "mov_dados_1m", "mov_dados_1h"}
    assert not any(rule.get("everySeconds") for rules in kept.values() for rule in rules)
    for task in ("downsample_1m", "downsample_1h", "repair"):
        influx.run_task(task, token)


def test_the_sensors_bucket_of_another_organisation_is_another_bucket(bare, monkeypatch):
    """`INFLUX_ORG=acme` beside `INFLUX_BUCKET=mov_dados`: two of one name, and each token is for its own."""
    plant, influx = bare
    monkeypatch.setenv("INFLUX_ORG", "acme")
    monkeypatch.setenv("INFLUX_BUCKET", "mov_dados")
    said = plant_says(plant, monkeypatch, influx.url)
    assert "make bucket mov_industria/mov_dados, for ever\n" in said
    assert "make token grafana_sensors\n" in said
    assert plant_says(plant, monkeypatch, influx.url, "--check") == "all is there\n"
    for name, org in (("grafana", "acme"), ("grafana_sensors", "mov_industria")):
        token = (plant.infra / "secrets" / "influx" / f"{name}.token").read_text(encoding="ascii")
        assert influx.query('from(bucket: "mov_dados") |> range(start: -1m)', token, org) == []


def plant_says(plant: Plant, monkeypatch: pytest.MonkeyPatch, url: str, *options: str) -> str:
    """What setup prints."""
    monkeypatch.setenv("INFLUX_URL", url)
    return plant.run("influx/setup", *options).stdout


@pytest.fixture(scope="module")
def telegraf(stack: Stack) -> Iterator[Telegraf]:
    """So that what is aggregated came through it."""
    with stack.telegraf() as started:
        yield started


HOUR = int(time.time()) // 3600 * 3600


def send(stack: Stack, plc: str, ticks: range, *, replayed: bool = False) -> None:
    """A counter, a state and a temperature at these seconds."""
    more = ', "replayed": true' if replayed else ""
    bodies = []
    for tick in ticks:
        values = json.dumps({"contador_bom": tick % 1000, "maquina_ligada": tick % 2 == 0, "t": tick % 60 + 0.5})
        bodies.append(f'{{"ts": {tick}, "ip": "x", "db": 1, "values": {values}, "seq": {tick}, "boot": "b"{more}}}')
    stack.publish(f"plc/acme/{plc}", *bodies)
    wait_until(lambda: len(stack.points("processo_raw", plc)) >= len(ticks), "they are stored")


def expected(ticks: range, window: int) -> dict[int, dict[str, Any]]:
    """What a window over these seconds gives, by its end."""
    found: dict[int, list[int]] = {}
    for tick in ticks:
        found.setdefault(tick // window * window + window, []).append(tick)
    return {end: _summary(inside) for end, inside in found.items()}


def _summary(ticks: list[int]) -> dict[str, Any]:
    result: dict[str, Any] = {"maquina_ligada_last": ticks[-1] % 2 == 0}
    for name, values in (("contador_bom", [tick % 1000 for tick in ticks]), ("t", [tick % 60 + 0.5 for tick in ticks])):
        result |= {f"{name}_last": values[-1], f"{name}_min": min(values), f"{name}_max": max(values)}
        result[f"{name}_mean"] = pytest.approx(sum(values) / len(values))
    return result


def stamped(points: dict[str, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The same by seconds since 1970."""
    return {
        int(time.mktime(time.strptime(at, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone): each for at, each in points.items()
    }


def test_hours_are_aggregated_and_repaired(stack, telegraf):
    """Whole hours: last for all, mean, min and max for numbers; the same when run again; late frames are taken in."""
    early = range(HOUR - 7200, HOUR - 7200 + 1200)
    send(stack, "aggregated", early)
    for _ in range(2):
        stack.influx.run_task("downsample_1h", stack.token)
        assert stamped(stack.points("processo_1h", "aggregated")) == expected(early, 3600)
    # A day's outage ends: its frames come late, marked, and before what the tasks above look at.
    late = range(HOUR - 30 * 3600, HOUR - 30 * 3600 + 600)
    send(stack, "aggregated", range(late.start, late.stop), replayed=True)
    wait_until(lambda: len(stack.points("processo_raw", "aggregated")) == len(early) + len(late), "the late ones")
    for _ in range(2):
        stack.influx.run_task("repair", stack.token)
        assert stamped(stack.points("processo_1h", "aggregated")) == expected(late, 3600) | expected(early, 3600)
        minutes = stamped(stack.points("processo_1m", "aggregated"))
        assert {at: each for at, each in minutes.items() if at <= late.stop} == expected(late, 60)
    # The second half of that hour comes an hour later still.
    send(stack, "aggregated", range(late.stop, late.stop + 60), replayed=True)
    whole = range(late.start, late.stop + 60)
    wait_until(lambda: len(stack.points("processo_raw", "aggregated")) == len(early) + len(whole), "the last ones")
    stack.influx.run_task("repair", stack.token)
    assert stamped(stack.points("processo_1h", "aggregated")) == expected(whole, 3600) | expected(early, 3600)


def test_minutes_are_aggregated(stack, telegraf):
    """Of whole minutes, the latest 15; a frame that comes ten minutes late is in them the next time."""
    now = int(time.time()) // 60 * 60
    ticks = range(now - 600, now - 480)
    send(stack, "minutes", range(ticks.start, ticks.stop - 60))
    stack.influx.run_task("downsample_1m", stack.token)
    assert stamped(stack.points("processo_1m", "minutes")) == expected(range(ticks.start, ticks.stop - 60), 60)
    send(stack, "minutes", range(ticks.stop - 60, ticks.stop))
    wait_until(lambda: len(stack.points("processo_raw", "minutes")) == 120, "the late ones")
    for _ in range(2):
        stack.influx.run_task("downsample_1m", stack.token)
        assert stamped(stack.points("processo_1m", "minutes")) == expected(ticks, 60)


def test_a_name_may_mean_different_things_in_different_blocks(stack, telegraf):
    """A number in one measurement, a text or a switch in another: each by its own type, and no run fails."""
    now = int(time.time()) // 60 * 60
    for db, value in ((11, "5"), (12, "true"), (13, '"aberta"')):
        stack.publish(
            f"plc/acme/block{db}",
            *(f'{{"ts": {now - 120 + s}, "ip": "x", "db": {db}, "values": {{"porta": {value}}}}}' for s in range(10)),
        )
        wait_until(lambda db=db: len(stack.points("processo_raw", f"block{db}")) == 10, "they are stored")
    stack.influx.run_task("downsample_1m", stack.token)
    found = {db: stack.points("processo_1m", f"block{db}") for db in (11, 12, 13)}
    (numbers,), (switches,), (texts,) = (each.values() for each in found.values())
    assert numbers == {"porta_last": 5.0, "porta_mean": 5.0, "porta_min": 5.0, "porta_max": 5.0}
    assert switches == {"porta_last": True}
    assert texts == {"porta_last": "aberta"}


def test_the_tasks_aggregate_alike():
    """Flux has no way to share it: the function is the same text in each file, which must not drift apart."""
    files = sorted((INFRA / "influx" / "tasks").glob("*.flux"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    assert len(texts) == 3
    shared = {text[text.index("// What a frame says") : text.index("\n}\n") + 3] for text in texts}
    assert len(shared) == 1
