"""A backup is whole or there is none: a database whose answers break off, and archives that somebody has made up."""

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.parts.platform import Plant, platform

TOKEN = "an-operator-token"
BUCKETS = [
    {
        "organizationName": "planta",
        "bucketName": "processo",
        "bucketID": "1",
        "retentionPolicies": [{"shardGroups": [{"shards": [{"id": 1}]}, {"shards": [{"id": 2}]}]}],
    }
]


def shard() -> bytes:
    """A shard as InfluxDB hands it over."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        entry = tarfile.TarInfo("1/autogen/1/1.tsm")
        entry.size = 5000
        tar.addfile(entry, io.BytesIO(bytes(range(250)) * 20))
    return whole.getvalue()


def metadata() -> bytes:
    """The three parts of the metadata."""
    parts = {"kv": b"\r\n\r\nbolt\r\n", "sql": b"", "buckets": json.dumps(BUCKETS).encode()}
    body = b"\r\n".join(
        b'--xyz\r\nContent-Disposition: attachment; name="%s"\r\n\r\n%s' % (name.encode(), part)
        for name, part in parts.items()
    )
    return body + b"\r\n--xyz--\r\n"


class Database(BaseHTTPRequestHandler):
    """What InfluxDB answers, as far as a backup asks; `server.answers` replaces bodies by path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Health, what there is, metadata, shards."""
        usual = {
            "/health": b'{"status": "pass", "version": "2.7.12"}',
            "/api/v2/orgs": b'{"orgs": [{"name": "planta", "id": "7"}]}',
            "/api/v2/buckets": b'{"buckets": [{"name": "processo", "id": "1", "retentionRules": []}]}',
            "/api/v2/backup/metadata": metadata(),
        }
        path = self.path.partition("?")[0]
        body = self.server.answers.get(path, usual.get(path, shard()))  # type: ignore[attr-defined]
        if body is None:
            self.send_response(404)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
            return
        self.send_response(200)
        cut = isinstance(body, tuple)
        content = body[0] if cut else body
        self.send_header("Content-Length", str(len(content) + 1000 * cut))
        self.end_headers()
        self.wfile.write(content)
        if cut:
            self.close_connection = True

    def do_POST(self) -> None:
        """A query that counts 42; a write."""
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b",result,table,_value\r\n,_result,0,42\r\n\r\n" if "query" in self.path else b""
        self.send_response(200 if body else 204)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def plant() -> Iterator[Plant]:
    """A copy of `infra/` without anything that setup makes."""
    with platform() as made:
        yield made


def backup(plant: Plant, answers: dict[str, Any], *arguments: str, code: int = 0, **more: str) -> str:
    """Run `infra/backup` against that database; what it said."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Database)
    server.answers = answers  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        environment = {
            **os.environ,
            "INFLUX_URL": f"http://127.0.0.1:{server.server_port}",
            "INFLUX_TOKEN": TOKEN,
            **more,
        }
        command = [sys.executable, str(plant.infra / "backup.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert TOKEN not in said
    assert "Traceback" not in said
    return said


def archives(plant: Plant) -> list[Path]:
    """All that lies in the folder of backups."""
    return sorted((plant.infra / "backups").iterdir())


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"/api/v2/backup/shards/2": (shard()[:4000],)}, "broke off"),
        ({"/api/v2/backup/shards/2": shard()[:4000]}, "within shard 2"),
        ({"/api/v2/backup/shards/2": shard() + b'{"code":"internal error"}'}, "within shard 2"),
        ({"/api/v2/backup/shards/2": b""}, "within shard 2"),
        ({"/api/v2/backup/metadata": (metadata()[:60],)}, "broke off"),
        ({"/api/v2/backup/metadata": metadata()[:-200]}, "metadata broke off"),
        ({"/api/v2/backup/metadata": b""}, "metadata are empty"),
    ],
    ids=["connection cut", "data cut", "an error behind the data", "no data", "metadata cut", "a part missing", "none"],
)
def test_an_answer_that_breaks_off_makes_no_backup(plant, answers, said):
    """The reason is told, nothing is left behind, and the good one before stays."""
    backup(plant, {}, "now", "influxdb")
    before = archives(plant)
    assert said in backup(plant, answers, "now", "influxdb", code=1)
    assert archives(plant) == before


def test_a_shard_that_expires_meanwhile_is_no_failure(plant):
    """The bucket has dropped it between the list and its turn; the manifest says so, and what was counted."""
    backup(plant, {"/api/v2/backup/shards/2": None}, "now", "influxdb")
    with tarfile.open(archives(plant)[0]) as tar:
        assert tar.getnames()[-1] == "manifest.json"
        assert "shards/2.tar" not in tar.getnames()
        kept = tar.extractfile("metadata/kv.bolt")
        assert kept is not None
        assert kept.read() == b"\r\n\r\nbolt\r\n"
        manifest = json.load(tar.extractfile("manifest.json") or io.BytesIO())
    assert manifest["expired_meanwhile"] == [2]
    assert manifest["influxdb"] == "2.7.12"
    assert manifest["points"] == {"planta/processo": 42}
    assert "planta/processo 42" in backup(plant, {}, "verify")


@pytest.mark.parametrize(
    ("name", "kind"), [("../outside", tarfile.REGTYPE), ("/etc/x", tarfile.REGTYPE), ("link", tarfile.SYMTYPE)]
)
def test_an_archive_with_more_than_files_of_its_own_is_refused(plant, name, kind):
    """Paths that lead elsewhere, and links."""
    (plant.infra / "backups").mkdir()
    path = plant.infra / "backups" / "grafana_20260202_153045.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    assert "has no place in a backup" in backup(plant, {}, "verify", code=1)
    assert "has no place in a backup" in backup(plant, {}, "restore", "grafana", "--yes", code=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("now", "influx"), "there are influxdb, grafana"),
        (("restore", "influxdb"), "has no backup of influxdb"),
        (("restore", "notes.txt"), "there is no backup notes.txt"),
        (("verify",), "has no backups"),
        (("now", "grafana"), "GRAFANA_DATA is another folder"),
    ],
)
def test_what_is_asked_for_and_not_there_is_told_in_one_line(plant, arguments, said):
    """Exit code 1."""
    told = backup(plant, {}, *arguments, code=1)
    assert said in told
    assert told.count("\n") == 1


DAY = 86400


def age(plant: Plant, kind: str, *days: float) -> list[Path]:
    """Copies of a good archive of a kind, as old as that; negative is the future. It itself is there no longer."""
    good = [path for path in archives(plant) if path.name.startswith(kind)][-1]
    made = []
    for each in days:
        when = datetime.fromtimestamp(time.time() - each * DAY, UTC)
        path = good.with_name(f"{kind}_{when:%Y%m%d_%H%M%S}.tar.gz")
        shutil.copy(good, path)
        made.append(path)
    good.unlink()
    return made


def test_a_date_to_come_is_told_and_is_never_the_latest(plant):
    """Of a clock that ran ahead: it is not fresh, nothing is restored from it unasked, and InfluxDB is not told."""
    backup(plant, {}, "now", "influxdb")
    age(plant, "influxdb", -1000)
    said = backup(plant, {}, "fresh", code=1)
    assert "influxdb: no backup, too old" in said
    assert "does not count: 1000 days in the future" in said
    assert "in the future" in backup(plant, {}, "list")
    assert "those of the future" in backup(plant, {}, "restore", "influxdb", "--yes", code=1)
    backup(plant, {}, "now", "influxdb")
    assert len(archives(plant)) == 2
    assert "influxdb: 0 min ago" in backup(plant, {}, "fresh", code=1)


def test_old_ones_go_but_never_the_newest_two_good_ones(plant):
    """A clock far ahead makes all others old: the last true one stays, and what is damaged does not count."""
    backup(plant, {}, "now", "influxdb")
    old = age(plant, "influxdb", *(100 + n for n in range(5)))
    old[0].write_bytes(b"damaged")
    backup(plant, {}, "now", "influxdb")
    there = archives(plant)
    assert [path in there for path in old] == [False, True, False, False, False]


def test_with_enough_young_ones_age_alone_decides(plant):
    """Ten of this week, two older."""
    backup(plant, {}, "now", "influxdb")
    made = age(plant, "influxdb", *(n / 2 for n in range(1, 11)), 8, 9)
    young, old = made[:10], made[10:]
    backup(plant, {}, "now", "influxdb")
    assert set(young) <= set(archives(plant))
    assert not set(old) & set(archives(plant))


@pytest.mark.parametrize("end", [b"\0" * 8, b""], ids=["another checksum", "none"])
def test_the_checksum_at_the_very_end_is_read(plant, end):
    """Everything before is as it was."""
    backup(plant, {}, "now", "influxdb")
    (path,) = archives(plant)
    path.write_bytes(path.read_bytes()[:-8] + end)
    assert path.name in backup(plant, {}, "verify", code=1)


def test_grafana_unpacked_by_hand_is_backed_up_again(plant):
    """The archive's manifest lies in the data folder then: it is no part of the next, and a restore removes it."""
    data = plant.infra / "data" / "grafana"
    data.mkdir(parents=True)
    with closing(sqlite3.connect(data / "grafana.db")) as made:
        made.execute("CREATE TABLE dashboard (id)")
    backup(plant, {}, "now", "grafana")
    (first,) = archives(plant)
    with tarfile.open(first) as tar:
        tar.extractall(data, filter="data")
    assert (data / "manifest.json").is_file()
    (data / "plugins").mkdir()
    backup(plant, {}, "now", "grafana")
    backup(plant, {}, "verify")
    here = {"GRAFANA_URL": "http://127.0.0.1:1"}
    backup(plant, {}, "restore", "grafana", "--yes", **here)
    assert not (data / "manifest.json").exists()
    with closing(sqlite3.connect(data / "grafana.db")) as restored:
        assert restored.execute("SELECT count(*) FROM dashboard").fetchone() == (0,)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file's name is text")
def test_a_file_of_grafana_may_have_a_name_that_is_no_text(plant):
    """It is saved, read back, and put back under its name."""
    data = plant.infra / "data" / "grafana"
    data.mkdir(parents=True)
    with closing(sqlite3.connect(data / "grafana.db")) as made:
        made.execute("CREATE TABLE dashboard (id)")
    picture = data / os.fsdecode(b"relat\xf3rio.png")
    picture.write_bytes(b"picture")
    backup(plant, {}, "now", "grafana")
    picture.unlink()
    backup(plant, {}, "restore", "grafana", "--yes", GRAFANA_URL="http://127.0.0.1:1")
    assert picture.read_bytes() == b"picture"


def test_where_backups_can_not_be_written_the_folder_is_told(plant, tmp_path):
    """A file is in its way."""
    place = tmp_path / "place"
    place.write_text("")
    assert f"backups go to {place} (BACKUP_DIR)" in backup(plant, {}, "now", "influxdb", code=1, BACKUP_DIR=str(place))
