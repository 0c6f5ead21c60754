"""InfluxDB into an archive and back, by its HTTP API, while it runs.

An archive has `metadata/kv.bolt`, `metadata/sql.sqlite`, `metadata/buckets.json` and `shards/ID.tar`. The metadata are
one consistent moment; what is written later is in the shards or not, point by point. Points are counted before
anything is copied, since frames of the past may come at any time: so a restored bucket has at least as many.
"""

from __future__ import annotations

import json
import mmap
import re
import secrets
import tarfile
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from influx.api import Api, InfluxError, Refused
from saving.archive import Damaged, Writer, walk

__all__ = [
    "Buckets",
    "Counted",
    "counted",
    "is_new",
    "living",
    "restart_tasks",
    "restore_all",
    "restore_bucket",
    "save",
]

_METADATA = {"kv": "metadata/kv.bolt", "sql": "metadata/sql.sqlite", "buckets": "metadata/buckets.json"}
_BUCKETS = _METADATA["buckets"]
_SHARD = re.compile(r"shards/([0-9]+)\.tar")
_DISPOSITION = re.compile(rb'name="([a-z]+)"')
_GONE = 404
_COUNTING = 120.0
"""Seconds for one bucket: a count is a comfort, and a large bucket must not hold the backup up."""
_END_OF_TAR = 1024

Counted = dict[str, "int | None"]
"""Points by bucket, as `organisation/bucket`; None where counting took too long."""
Buckets = dict[str, "tuple[str, str]"]
"""Organisation and id of buckets, as `organisation/bucket`."""


def save(api: Api, writer: Writer) -> dict[str, Any]:
    """Add all of an InfluxDB to an archive; what goes into its manifest.

    Raises:
        InfluxError: it does not answer, refuses (the token must be the operator's), or broke off.
    """
    until = datetime.now(timezone.utc)
    version = str(api.get("/health").get("version", ""))
    points = counted(api, living(api)[0], until)
    with tempfile.TemporaryFile(dir=writer.folder) as file:
        api.fetch("/api/v2/backup/metadata", file)
        parts = _parts(file)
        for name, place in _METADATA.items():
            writer.add(place, file, part=parts[name])
        start, end = parts["buckets"]
        file.seek(start)
        saved = json.loads(file.read(end - start))
    gone = [shard for bucket in saved for shard in _shards(bucket) if not _save_shard(api, writer, shard)]
    return {
        "influxdb": version,
        "counted_until": until.isoformat(),
        "points": {_name(each): points[_name(each)] for each in saved if _name(each) in points},
        "expired_meanwhile": gone,
    }


def _parts(file: IO[bytes]) -> dict[str, tuple[int, int]]:
    """Where the parts of a multipart body begin and end, by their names."""
    if not file.tell():
        raise InfluxError("InfluxDB's metadata are empty")
    file.flush()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
        boundary = b"\r\n" + body[: body.find(b"\r\n")]
        found: dict[str, tuple[int, int]] = {}
        at = len(boundary) - 2
        while (head := body.find(b"\r\n\r\n", at)) >= 0:
            end = body.find(boundary, head + 4)
            name = _DISPOSITION.search(body[at:head])
            if end < 0 or name is None:
                break
            found[name[1].decode()] = (head + 4, end)
            at = end + len(boundary)
    if set(found) != set(_METADATA):
        raise InfluxError(f"InfluxDB's metadata broke off: of {', '.join(_METADATA)} only {', '.join(found)} came")
    return found


def _save_shard(api: Api, writer: Writer, shard: int) -> bool:
    """Add a shard; False where its bucket has just dropped it, being too old."""
    with tempfile.TemporaryFile(dir=writer.folder) as file:
        try:
            api.fetch(f"/api/v2/backup/shards/{shard}", file)
        except Refused as error:
            if error.status == _GONE:
                return False
            raise
        _check_shard(shard, file)
        writer.add(f"shards/{shard}.tar", file)
    return True


def _check_shard(shard: int, file: IO[bytes]) -> None:
    """An error after its first byte InfluxDB writes behind what it has sent, as if it were data."""
    size = file.tell()
    file.seek(max(0, size - _END_OF_TAR))
    whole = size >= _END_OF_TAR and not any(file.read())
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            tar.getmembers()
    except tarfile.TarError:
        whole = False
    if not whole:
        raise InfluxError(f"InfluxDB broke off within shard {shard}; its log says why")


def living(api: Api) -> tuple[Buckets, set[str]]:
    """The buckets there are, and the names of those that drop what is too old.

    Raises:
        InfluxError: no answer.
    """
    found: Buckets = {}
    dropping = set()
    for org in api.listed("/api/v2/orgs"):
        for bucket in api.listed("/api/v2/buckets", orgID=org["id"]):
            name = f"{org['name']}/{bucket['name']}"
            found[name] = (org["name"], bucket["id"])
            if any(rule["everySeconds"] for rule in bucket["retentionRules"]):
                dropping.add(name)
    return found, dropping


def counted(api: Api, buckets: Buckets, until: datetime) -> Counted:
    """Count the points (field values) of buckets up to a moment; system buckets are left out.

    Args:
        api: with the operator token.
        buckets: by the name that the result has, organisation and bucket's id.
        until: later points are not counted.

    Raises:
        InfluxError: no answer.
    """
    found: Counted = {}
    for name, (org, bucket) in sorted(buckets.items()):
        if name.partition("/")[2].startswith("_"):
            continue
        stop = until.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        flux = f'from(bucketID: "{bucket}") |> range(start: 0, stop: {stop}) |> group() |> count() |> group() |> sum()'
        start = time.monotonic()
        try:
            rows = api.query(flux, org, _COUNTING)
            found[name] = int(rows[0]["_value"]) if rows else 0
        except InfluxError:
            if time.monotonic() - start < _COUNTING:
                raise
            found[name] = None
    return found


def is_new(api: Api) -> bool:
    """Whether it was never set up: it has no data, and no token yet.

    Raises:
        InfluxError: no answer.
    """
    return bool(api.with_token("").get("/api/v2/setup")["allowed"])


def restore_all(api: Api, archive: Path) -> str:
    """Put everything back, over whatever is there: users, tokens, tasks, buckets, points.

    Args:
        api: with the operator token; for a new InfluxDB any.
        archive: a checked one.

    Returns:
        The operator token, which is the backup's.

    Raises:
        InfluxError: it refuses, or broke off: what it has then is neither the old nor the new.
        Damaged: something is missing in the archive.
    """
    if is_new(api):
        temporary = secrets.token_hex(16)
        body = {"username": "restore", "password": temporary, "org": "restore", "bucket": "restore", "token": temporary}
        api.call("POST", "/api/v2/setup", body)
        api = api.with_token(temporary)
    token = ""
    with walk(archive) as members:
        for member in members:
            shard = _SHARD.fullmatch(member.name)
            if member.name == _METADATA["kv"]:
                token = str(api.push("/api/v2/restore/kv", member.data, member.size)["token"])
                api = api.with_token(token)
            elif member.name == _METADATA["sql"]:
                api.push("/api/v2/restore/sql", member.data, member.size)
            elif shard:
                api.push(f"/api/v2/restore/shards/{shard[1]}", member.data, member.size)
    if not token:
        raise Damaged(f"{archive}: it has no {_METADATA['kv']}")
    return token


def restart_tasks(api: Api) -> int:
    """Have the tasks of a restored InfluxDB run, which it does by itself only when it is started; how many.

    Each is stopped and started: then it goes on from now, and does not make up for every run since the backup.

    Raises:
        InfluxError: no answer.
    """
    tasks = [
        task["id"]
        for org in api.listed("/api/v2/orgs")
        for task in api.get("/api/v2/tasks", orgID=org["id"], limit="500")["tasks"]
        if task["status"] == "active"
    ]
    for task in tasks:
        for status in ("inactive", "active"):
            api.call("PATCH", f"/api/v2/tasks/{task}", {"status": status})
    return len(tasks)


def restore_bucket(api: Api, archive: Path, bucket: str, name: str) -> tuple[str, str, str]:
    """Put one bucket back under a name that is free, beside all that is there.

    It keeps its points for ever: with its old retention they might be dropped at once.

    Args:
        api: with the operator token.
        archive: a checked one.
        bucket: its name in the backup; with its organisation, `org/bucket`, where two have it.
        name: the new one's.

    Returns:
        Its name in the backup as `organisation/bucket`, the organisation, and the new bucket's id.

    Raises:
        InfluxError: it refuses: the name is taken, the organisation is not there.
        Damaged: the archive has no such bucket.
    """
    mapped: dict[str, int] = {}
    old, org, made = "", "", ""
    with walk(archive) as members:
        for member in members:
            shard = _SHARD.fullmatch(member.name)
            if member.name == _BUCKETS:
                found = _chosen(archive, json.loads(member.data.read()), bucket)
                old, org = _name(found), found["organizationName"]
                answer = _make(api, found, org, name)
                made = answer["id"]
                mapped = {str(each["oldId"]): each["newId"] for each in answer["shardMappings"]}
            elif shard and shard[1] in mapped:
                api.push(f"/api/v2/restore/shards/{mapped[shard[1]]}", member.data, member.size)
    return old, org, made


def _chosen(archive: Path, buckets: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    found = [each for each in buckets if wanted in {each["bucketName"], _name(each)}]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(_name(each) for each in (found or buckets) if not each["bucketName"].startswith("_")))
    raise Damaged(f"{archive}: {'several buckets are' if found else 'no bucket is'} called '{wanted}'; it has {names}")


def _make(api: Api, bucket: dict[str, Any], org: str, name: str) -> dict[str, Any]:
    orgs = {each["name"]: each["id"] for each in api.listed("/api/v2/orgs")}
    if org not in orgs:
        raise InfluxError(f"{api.url} has no organisation {org}; make it first: python infra/influx/setup.py")
    if name in {each["name"] for each in api.listed("/api/v2/buckets", orgID=orgs[org])}:
        raise InfluxError(f"{org} has a bucket {name} already; give another name by --as, or remove that one first")
    policies = [{**policy, "duration": 0} for policy in bucket["retentionPolicies"]]
    body = {**bucket, "organizationID": orgs[org], "bucketName": name, "retentionPolicies": policies}
    return api.call("POST", "/api/v2/restore/bucketMetadata", body)


def _shards(bucket: dict[str, Any]) -> Iterator[int]:
    for policy in bucket["retentionPolicies"]:
        for group in policy["shardGroups"]:
            if not group.get("deletedAt"):
                for shard in group["shards"]:
                    yield int(shard["id"])


def _name(bucket: dict[str, Any]) -> str:
    return f"{bucket['organizationName']}/{bucket['bucketName']}"
