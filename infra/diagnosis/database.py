"""InfluxDB: does it answer, whose clock is wrong, has it all that it should, do its tasks run, who may do what."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime

from diagnosis.finding import GOOD, PROBLEM, WARNING, Finding
from diagnosis.platform import Platform
from influx.api import InfluxError, Refused
from influx.setup import Platform as Wanted
from provision.places import Owner
from provision.work import ProvisionError, Work

__all__ = ["examine"]

_UNAUTHORIZED = 401
_CLOCK = 2.0
"""Seconds of difference that no dashboard notices."""
_NOTHING = "range(start: -1s) |> limit(n: 1)"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_PATIENCE = 600.0
"""Seconds that a task may be late, beside two of its periods."""
_SETUP = "python infra/influx/setup.py"


def examine(platform: Platform) -> Iterator[Finding]:
    """Ends at the first step without which there is no other."""
    start = time.monotonic()
    try:
        api = platform.api("")
        health = api.get("/health")
        taken = time.monotonic() - start
    except InfluxError as error:
        advice = "does it run? docker compose -f infra/compose.yaml ps influxdb, and its log; is INFLUX_URL right?"
        yield Finding("influxdb", "answers", PROBLEM, str(error), advice)
        return
    yield Finding("influxdb", "answers", GOOD, f"{api.url}, version {health.get('version')}", "", taken)
    yield _clock(api.url)
    yield from _provided(platform)
    yield from _tasks(platform)
    for name, write, read in (("telegraf", True, False), ("grafana", False, True), ("analytics", True, True)):
        yield _token(platform, name, write=write, read=read)


def _clock(url: str) -> Finding:
    with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:  # noqa: S310 - checked by Api
        theirs = parsedate_to_datetime(answer.headers["Date"]).timestamp() + 0.5  # whole seconds, cut off
    difference = theirs - time.time()
    text = f"its clock is {difference:+.1f} s against this machine's"
    if abs(difference) <= _CLOCK:
        return Finding("influxdb", "clock", GOOD, text)
    advice = "let both follow a time server: frames that seem to come from elsewhere don't show where people look"
    return Finding("influxdb", "clock", PROBLEM, text, advice)


def _provided(platform: Platform) -> Iterator[Finding]:
    """What setup would make: buckets, tasks, tokens that InfluxDB does not know."""
    if not platform.values.get("INFLUX_TOKEN"):
        yield Finding("influxdb", "setup", PROBLEM, "INFLUX_TOKEN is neither set nor in infra/.env", "run infra/setup")
        return
    work = Work(Owner.of(platform.places.root), dry=True)
    try:
        Wanted(platform.places, work).provide((), (), 5)
    except (InfluxError, ProvisionError) as error:
        yield Finding("influxdb", "setup", PROBLEM, str(error), "then run infra/doctor again")
        return
    for line in work.done:
        yield Finding(
            "influxdb", "setup", PROBLEM, f"missing or not good: {line}", f"run {_SETUP}; restart who uses it"
        )
    if not work.done:
        yield Finding("influxdb", "setup", GOOD, "organisations, buckets, tasks and tokens are as they should be")


def _tasks(platform: Platform) -> Iterator[Finding]:
    """Whether the aggregates are made: a task that stands still does not say so."""
    try:
        tasks = platform.api(platform.values.get("INFLUX_TOKEN", "")).get(
            "/api/v2/tasks", org=platform.org, limit="500"
        )["tasks"]
    except InfluxError:
        return  # the finding before has told it
    wrong = 0
    for task in tasks:
        age = time.time() - _moment(task["latestCompleted"])
        name, advice = task["name"], "the log of InfluxDB's container, or its page, Tasks"
        if task["status"] != "active":
            found, advice = f"task {name} is switched off", "if that is not meant, switch it on: InfluxDB's page, Tasks"
        elif task.get("every") and age > 2 * _seconds(task["every"]) + _PATIENCE:
            found = f"task {name} last ran {age / 60:.0f} min ago, and should every {task['every']}"
            advice = "restart InfluxDB: docker compose -f infra/compose.yaml restart influxdb"
        elif task.get("lastRunStatus") == "failed":
            found = f"the last run of task {name} failed: {task.get('lastRunError', '')[:200]}"
        else:
            continue
        wrong += 1
        yield Finding("influxdb", "tasks", PROBLEM, found, advice)
    if tasks and not wrong:
        yield Finding("influxdb", "tasks", GOOD, f"{len(tasks)} run when they should")


def _seconds(every: str) -> float:
    """Such as 1m or 1h30m; the smaller units are none that matter."""
    return float(sum(int(count) * _UNITS.get(unit, 0) for count, unit in re.findall(r"(\d+)([a-z]+)", every)))


def _moment(text: str) -> float:
    """RFC 3339 in UTC, seconds since 1970."""
    return datetime.strptime(f"{text[:19]}+0000", "%Y-%m-%dT%H:%M:%S%z").timestamp()


def _token(platform: Platform, name: str, *, write: bool, read: bool) -> Finding:
    """Try a token: whether it writes (nothing) and reads, and nothing else."""
    token = platform.token(name)
    if not token:
        return Finding("influxdb", "token", PROBLEM, f"there is no token {name}", f"run {_SETUP}")
    api, can = platform.api(token), []
    tries: tuple[tuple[str, bool, Callable[[], object]], ...] = (
        ("write", write, lambda: api.write("", platform.org, platform.bucket)),
        ("read", read, lambda: api.query(f'from(bucket: "{platform.bucket}") |> {_NOTHING}', platform.org)),
    )
    for what, wanted, attempt in tries:
        error = _refused(attempt)
        if error is not None and error.status == _UNAUTHORIZED:
            advice = f"it was revoked or is another InfluxDB's: {_SETUP} --rotate {name}, restart who uses it"
            return Finding("influxdb", "token", PROBLEM, f"InfluxDB does not know token {name}", advice)
        if error is not None and wanted:
            advice = f"{_SETUP} --rotate {name}, and restart who uses it"
            return Finding("influxdb", "token", PROBLEM, f"token {name} can't {what}: {error}", advice)
        if error is None and not wanted:
            return Finding("influxdb", "token", WARNING, f"token {name} can {what} too", f"{_SETUP} --rotate {name}")
        can += [what] if error is None else []
    return Finding("influxdb", "token", GOOD, f"{name} can {' and '.join(can)}, and nothing else")


def _refused(attempt: Callable[[], object]) -> Refused | None:
    try:
        attempt()
    except Refused as error:
        return error
    return None
