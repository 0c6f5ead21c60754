"""Backups of a living platform: put back after its data were destroyed, damaged, thrown away in time, told."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.parts.waiting import free_port, wait_until
from tests.stack.conftest import Stack
from tests.stack.test_outages import after, resend

pytestmark = [
    pytest.mark.real("mosquitto", "openssl", "native_plc", "telegraf", "influxdb"),
    pytest.mark.timeout(240),
]
NOW = int(time.time())


def environment(stack: Stack, **more: str) -> dict[str, str]:
    """Where the parts of this platform are; Grafana is nowhere."""
    here = {"INFLUX_URL": stack.influx.url, "GRAFANA_URL": f"http://127.0.0.1:{free_port()}"}
    return {**os.environ, **here, **more}


def backup(stack: Stack, *arguments: str, code: int = 0, **more: str) -> str:
    """Run `infra/backup`; what it said."""
    command = [sys.executable, str(stack.plant.infra / "backup.py"), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(stack, **more), check=False, stdin=subprocess.DEVNULL
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    assert stack.token not in said
    return said


def folder(stack: Stack) -> Path:
    """Where the backups lie."""
    return stack.plant.infra / "backups"


def names(stack: Stack) -> list[str]:
    """All that lies there, also what should not."""
    return sorted(path.name for path in folder(stack).iterdir())


def erase(stack: Stack) -> None:
    """Destroy InfluxDB's data, and start it as a new one."""
    stack.influx.kill()
    home = stack.plant.infra.parent / "influxdb"
    shutil.rmtree(home)
    home.mkdir()
    stack.influx.start()


@pytest.fixture
def kept(stack: Stack) -> Iterator[str]:
    """A backup of InfluxDB with a thousand points of each type, in its folder alone; the name."""
    shutil.rmtree(folder(stack), ignore_errors=True)
    lines = (f'types,plc_id=all f={n}.5,b=true,t="x{n}",i={n}i {NOW - n * 6000}' for n in range(1000))
    stack.influx.write("\n".join(lines), stack.token, "processo_raw", precision="s")
    backup(stack, "now", "influxdb")
    yield names(stack)[0]
    shutil.rmtree(folder(stack), ignore_errors=True)


def test_after_a_disaster_every_point_is_back_and_the_edge_fills_the_hole(stack, press, tmp_path):
    """Backup under load, InfluxDB's data erased, restored into a new one, the rest sent again by the edge's journal."""
    with stack.telegraf():
        stack.frames("plc/acme/disaster")
        with stack.edge(tmp_path, press, "disaster") as line:
            line.wait_ready()
            after(line, 200)
            wait_until(lambda: len(stack.points("processo_raw", "disaster")) > 100, "points")
            stored = stack.points("processo_raw", "disaster")
            said = backup(stack, "now", "influxdb")
            after(line, 300)
            assert line.terminate() == 0
        sent = {frame["seq"] for frame in stack.frames("plc/acme/disaster")}
        wait_until(lambda: len(stack.points("processo_raw", "disaster")) == len(sent), "all is stored")
        before = stack.points("processo_raw", "disaster")
        erase(stack)
        assert "read back and good" in said
        told = backup(stack, "restore", "influxdb")
        assert "planta/processo_raw: " in told
        restored = stack.points("processo_raw", "disaster")
        assert set(stored) <= set(restored)
        assert all(fields.items() <= before[when].items() for when, fields in restored.items())
        assert len(restored) < len(before), "there was no hole"
        assert "all is there" in stack.set_up("--check")

        def refilled() -> bool:
            """All fields of all points are what they were; only a mark may have come to some."""
            now = stack.points("processo_raw", "disaster")
            return all(
                {**fields, "replayed": 0} == {**now.get(when, {}), "replayed": 0} for when, fields in before.items()
            )

        assert not refilled()
        resend(tmp_path)
        with stack.edge(tmp_path, press, "disaster", poll="1h") as line:
            line.wait_ready()
            wait_until(refilled, "the hole is filled")
            assert line.terminate() == 0


def test_a_living_influxdb_is_replaced_only_when_that_is_meant(stack, kept):
    """Without --yes nothing changes; with it what came later is gone. Of a new operator token: the old."""
    before = stack.points("processo_raw", "all")
    stack.influx.write("types,plc_id=later f=1", stack.token, "processo_raw")
    assert "say --yes" in backup(stack, "restore", kept, code=1)
    assert len(stack.points("processo_raw", "later")) == 1
    backup(stack, "restore", kept, "--yes")
    assert stack.points("processo_raw", "later") == {}
    assert stack.points("processo_raw", "all") == before
    stack.influx.stop()
    stack.influx.start()
    assert stack.points("processo_raw", "all") == before

    env = stack.plant.infra / ".env"
    mine = env.read_text(encoding="utf-8")
    env.write_text(mine.replace(stack.token, "x" * 32), encoding="utf-8")
    erase(stack)
    assert "INFLUX_TOKEN in infra/.env was changed" in backup(stack, "restore", kept)
    assert env.read_text(encoding="utf-8") == mine
    assert stack.points("processo_raw", "all") == before


def test_a_tenants_bucket_of_after_the_backup_is_made_anew(stack, kept):
    """Telegraf may write it, and would go on with what InfluxDB refuses; it is told."""
    stack.set_up("--tenant", "late")
    said = backup(stack, "restore", kept, "--yes")
    for line in ("make bucket planta/tenant_late, for ever", "make token grafana_late", "up -d --force-recreate"):
        assert line in said
    assert stack.set_up("--check") == "all is there\n"
    stack.influx.write("s7_db1,tenant_id=late v=1", stack.secret("telegraf"), "tenant_late")


def test_one_bucket_is_restored_beside_the_living_one(stack, kept):
    """Value by value and type by type; a taken name and an unknown bucket are told; it drops nothing."""
    everything = '|> range(start: 0, stop: 2100-01-01T00:00:00Z) |> filter(fn: (r) => r.plc_id == "all")'

    def rows(bucket: str) -> list[dict[str, object]]:
        return stack.influx.query(f'from(bucket: "{bucket}") {everything}', stack.token)

    said = backup(stack, "restore", kept, "--bucket", "processo_raw", "--as", "processo_restored")
    values = stack.influx.query('from(bucket: "processo_restored") |> range(start: 0)', stack.token)
    assert f"planta/processo_restored: {len(values)} points, {len(values)} when the backup began" in said
    assert rows("processo_restored") == rows("processo_raw")
    assert len(rows("processo_restored")) == 4000
    assert "has a bucket processo_restored already" in backup(
        stack, "restore", kept, "--bucket", "processo_raw", "--as", "processo_restored", code=1
    )
    assert "it has mov_industria/mov_dados, planta/processo" in backup(
        stack, "restore", kept, "--bucket", "procesos", "--as", "x", code=1
    )
    found = stack.influx.call("GET", "/api/v2/buckets?name=processo_restored", token=stack.token)["buckets"][0]
    assert (
        found["retentionRules"] in ([], [{"type": "expire", "everySeconds": 0}])
        or not found["retentionRules"][0]["everySeconds"]
    )
    stack.influx.call("DELETE", f"/api/v2/buckets/{found['id']}", token=stack.token)


def test_tasks_run_after_a_restore_as_before(stack, kept):
    """InfluxDB itself would take them up at its next start only; one that is switched off stays so."""
    (folder(stack) / kept).unlink()

    def tasks() -> dict[str, dict[str, Any]]:
        found = stack.influx.call("GET", "/api/v2/tasks?limit=500", token=stack.token)["tasks"]
        return {each["name"]: each for each in found}

    org = stack.influx.call("GET", "/api/v2/orgs?org=planta", token=stack.token)["orgs"][0]["id"]
    for name, status in (("ticking", "active"), ("resting", "inactive")):
        flux = f'option task = {{name: "{name}", every: 1s}}\nfrom(bucket: "processo") |> range(start: -1s)'
        stack.influx.call("POST", "/api/v2/tasks", {"orgID": org, "flux": flux, "status": status}, stack.token)
    backup(stack, "now", "influxdb")
    erase(stack)
    assert "4 tasks run again" in backup(stack, "restore", "influxdb")
    restored = tasks()["ticking"]["latestCompleted"]
    wait_until(lambda: tasks()["ticking"]["latestCompleted"] > restored, "a run", 30)
    assert {each["status"] for name, each in tasks().items() if name != "resting"} == {"active"}
    assert tasks()["resting"]["status"] == "inactive"
    for name in ("ticking", "resting"):
        stack.influx.call("DELETE", f"/api/v2/tasks/{tasks()[name]['id']}", token=stack.token)


def test_frames_of_the_past_that_come_during_a_backup_are_no_loss(stack, kept):
    """A plant goes on while it is saved: what is not in the archive is not counted either."""
    (folder(stack) / kept).unlink()
    over = threading.Event()

    def write() -> None:
        n = 0
        while not over.is_set():
            n += 1
            stack.influx.write(f"types,plc_id=flowing f={n} {NOW - n}", stack.token, "processo_raw", precision="s")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backup(stack, "now", "influxdb")
    finally:
        over.set()
        writer.join()
    erase(stack)
    backup(stack, "restore", "influxdb")


def test_a_restore_that_lacks_points_says_what_it_has_changed_all_the_same(stack, kept, tmp_path):
    """A manifest that counts more than there is; the operator token was another one."""
    path = folder(stack) / kept
    subprocess.run(["tar", "xzf", path, "-C", tmp_path], check=True)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    manifest["points"]["planta/processo_raw"] += 1
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with tarfile.open(path) as archive:
        members = archive.getnames()
    subprocess.run(["tar", "czf", path, "-C", tmp_path, *members], check=True)
    env = stack.plant.infra / ".env"
    env.write_text(env.read_text(encoding="utf-8").replace(stack.token, "x" * 32), encoding="utf-8")
    erase(stack)
    said = backup(stack, "restore", kept, code=1)
    assert "less than in the backup: planta/processo_raw" in said
    assert "INFLUX_TOKEN in infra/.env was changed" in said
    assert "up -d --force-recreate" in said


@pytest.mark.parametrize("harm", ["cut", "bit", "member", "empty"])
def test_a_damaged_backup_is_found_and_not_restored(stack, kept, harm, tmp_path):
    """Cut off, a wrong bit, one file exchanged, nothing in it: verify says which, and restore touches nothing."""
    path = folder(stack) / kept
    whole = path.read_bytes()
    assert "good" in backup(stack, "verify")
    if harm == "cut":
        path.write_bytes(whole[: len(whole) * 2 // 3])
    elif harm == "bit":
        path.write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 4]) + whole[len(whole) // 2 + 1 :])
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        subprocess.run(["tar", "xzf", path, "-C", tmp_path], check=True)
        (tmp_path / "metadata" / "buckets.json").write_text("[]")
        subprocess.run(["tar", "czf", path, "-C", tmp_path, "."], check=True)
    assert kept in backup(stack, "verify", code=1)
    before = stack.points("processo_raw", "all")
    assert kept in backup(stack, "restore", "influxdb", "--yes", code=1)
    assert stack.points("processo_raw", "all") == before


def test_a_failed_backup_leaves_the_good_one_and_an_old_one_goes_only_after_a_new(stack, kept):
    """InfluxDB away: the reason, exit code 1, no half file. Later what is older than BACKUP_DAYS goes, no more."""
    old = folder(stack) / "influxdb_20200101_000000.tar.gz"
    (folder(stack) / kept).rename(old)
    shutil.copy(old, folder(stack) / "influxdb_20200102_000000.tar.gz")
    (folder(stack) / "notes.txt").write_text("mine", encoding="utf-8")
    stack.influx.kill()
    try:
        assert "no answer from" in backup(stack, "now", "influxdb", code=1)
    finally:
        stack.influx.start()
    assert names(stack) == [old.name, "influxdb_20200102_000000.tar.gz", "notes.txt"]
    assert "refused" in backup(stack, "now", "influxdb", code=1, INFLUX_TOKEN=stack.secret("grafana"))
    assert old.exists()
    assert "too old" in backup(stack, "fresh", code=1)
    backup(stack, "now", "influxdb", BACKUP_DAYS="100000")
    assert len(names(stack)) == 4
    backup(stack, "now", "influxdb", BACKUP_DAYS="1")
    assert not old.exists()
    listed = json.loads(backup(stack, "list", "--json"))
    assert {each["file"] for each in listed} | {"notes.txt"} == set(names(stack))


def test_buckets_beyond_the_first_hundred_are_compared_too(stack, kept):
    """InfluxDB lists a hundred at once."""
    (folder(stack) / kept).unlink()

    def call(method: str, path: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {stack.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(stack.influx.url + path, data, headers, method=method)  # noqa: S310 - ours
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
            text = answer.read()
        return json.loads(text) if text else {}

    org = call("POST", "/api/v2/orgs", {"name": "many"})["id"]
    for n in range(105):
        call("POST", "/api/v2/buckets", {"orgID": org, "name": f"b{n}", "retentionRules": []})
    try:
        backup(stack, "now", "influxdb")
        said = backup(stack, "restore", "influxdb", "--yes")
    finally:
        call("DELETE", f"/api/v2/orgs/{org}")
    assert said.count("many/b") == 105
    assert "not there" not in said


class Answering(BaseHTTPRequestHandler):
    """Grafana's health."""

    def do_GET(self) -> None:
        """200."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def written(data: Path) -> Iterator[None]:
    """A Grafana that writes all the time: each dashboard has a user, in one transaction."""
    over = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(data / "grafana.db", timeout=20)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE dashboard (a INTEGER)")
            database.execute('CREATE TABLE "user" (a INTEGER)')
            while not over.is_set():
                database.execute("INSERT INTO dashboard SELECT coalesce(max(a), 0) + 1 FROM dashboard")
                database.execute('INSERT INTO "user" SELECT max(a) FROM dashboard')
                database.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: (data / "grafana.db").exists() and users_of(data / "grafana.db"), "rows")
        yield
    finally:
        over.set()
        writer.join()


def users_of(file: Path) -> int:
    """How many users a whole database has: as many as dashboards; 0 where it has no tables yet."""
    with closing(sqlite3.connect(file, timeout=20)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if database.execute("SELECT count(*) FROM sqlite_master").fetchone() != (2,):
            return 0
        users, dashboards = database.execute(
            'SELECT (SELECT count(*) FROM "user"), (SELECT count(*) FROM dashboard)'
        ).fetchone()
        assert users == dashboards
        return int(users)


def test_grafanas_backup_is_whole_though_it_writes_all_the_time(stack, tmp_path):
    """It unpacks by `tar xzf` into the data folder, as the seed's restore does: one database, plugins beside it."""
    shutil.rmtree(folder(stack), ignore_errors=True)
    data, unpacked = tmp_path / "grafana", tmp_path / "unpacked"
    (data / "plugins" / "clock").mkdir(parents=True)
    (data / "plugins" / "clock" / "module.js").write_text("x", encoding="utf-8")
    with written(data):
        backup(stack, "now", "grafana", GRAFANA_DATA=str(data))
    unpacked.mkdir()
    subprocess.run(["tar", "xzf", folder(stack) / names(stack)[0], "-C", unpacked], check=True)
    assert sorted(path.name for path in unpacked.iterdir()) == ["grafana.db", "manifest.json", "plugins"]
    assert 0 < users_of(unpacked / "grafana.db") <= users_of(data / "grafana.db")
    assert (unpacked / "plugins" / "clock" / "module.js").read_text(encoding="utf-8") == "x"


def test_grafanas_restore_refuses_a_running_one_and_keeps_what_was_there(stack, tmp_path):
    """A server that answers as Grafana does; then none."""
    shutil.rmtree(folder(stack), ignore_errors=True)
    data = tmp_path / "grafana"
    data.mkdir()
    with written(data):
        backup(stack, "now", "grafana", GRAFANA_DATA=str(data))
    now = users_of(data / "grafana.db")
    running = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{running.server_port}"
        refused = backup(stack, "restore", "grafana", "--yes", code=1, GRAFANA_DATA=str(data), GRAFANA_URL=url)
    finally:
        running.shutdown()
        thread.join()
        running.server_close()
    assert "stop it" in refused
    assert "say --yes" in backup(stack, "restore", "grafana", code=1, GRAFANA_DATA=str(data))
    assert users_of(data / "grafana.db") == now
    assert "grafana.db.before-restore" in backup(stack, "restore", "grafana", "--yes", GRAFANA_DATA=str(data))
    assert users_of(data / "grafana.db.before-restore") == now
    assert 0 < users_of(data / "grafana.db") <= now


def test_the_daily_service_makes_one_of_each_and_tells_their_age(stack, tmp_path):
    """Both kinds at the first start, none at a second; told to InfluxDB for the alert; SIGTERM ends it with 0."""
    shutil.rmtree(folder(stack), ignore_errors=True)
    data = tmp_path / "grafana"
    data.mkdir()
    with closing(sqlite3.connect(data / "grafana.db")) as database:
        database.execute("CREATE TABLE dashboard (a INTEGER)")
    here = environment(stack, GRAFANA_DATA=str(data))
    command = [sys.executable, str(stack.plant.infra / "backup.py"), "daily"]

    def told() -> dict[str, int]:
        rows = stack.query(
            'from(bucket: "processo") |> range(start: -1h) '
            '|> filter(fn: (r) => r._measurement == "backup" and r._field == "last_success") |> last()'
        )
        return {row["kind"]: row["_value"] for row in rows}

    for _ in range(2):
        with subprocess.Popen(command, env=here, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert next(line for line in process.stdout if line.startswith("the next one in 14"))
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
            assert process.returncode == 0
        assert [name.partition("_")[0] for name in names(stack)] == ["grafana", "influxdb"]
    assert set(told()) == {"influxdb", "grafana"}
    assert all(abs(moment - time.time()) < 3600 for moment in told().values())
    assert "too old" not in backup(stack, "fresh")
    for path in folder(stack).iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
