"""The queue of the first system's agent: SQLite, one table `events(id, ts, payload)`, each payload a JSON object.

Its payloads are what it could not publish: `ts`, `values`, `tenant_id` and `plc_id` where they were set, and in some of
its versions `ip` and `db`. They become journal records as they are, byte for byte; `seq` and `boot` they never had.
Only these are written anew: a payload without its own time, with that of its row, and one with numbers that are none,
which are absent and named in `bad`, as in frames that are made here.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import UsageError
from pipeline.journal.records import Record
from pipeline.mqtt.topics import fill
from pipeline.units import Topic

__all__ = ["Dated", "Malformed", "read_queue"]

_FALLBACK = "plc/db1"
_LONGEST = 65_535
_NO_NUMBER = re.compile(rb"\b(?:NaN|Infinity)\b")


class Malformed(msgspec.Struct, frozen=True):
    """A row that can't be sent.

    Attributes:
        id: the row's.
        reason: why.
    """

    id: int
    reason: str


class Dated(msgspec.Struct, frozen=True):
    """A row whose payload had no time, so that it has the row's: when it was put into the queue.

    Attributes:
        record: with that time.
    """

    record: Record


def read_queue(file: Path, topic: Topic) -> Iterator[Record | Dated | Malformed]:
    """The queue's events, oldest first.

    Args:
        file: the database; it is only read.
        topic: where they go, with `{tenant_id}`, `{plc_id}`, `{db}`; `plc/db1` where one of them is not known.

    Raises:
        UsageError: there is no such queue, or it can't be read.
    """
    if not file.is_file():
        raise UsageError(f"there is no file '{file}'; name the agent's queue")
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.text_factory = bytes
            for row, ts, payload in database.execute("SELECT id, ts, payload FROM events ORDER BY id"):
                yield _event(row, ts, payload, topic)
    except sqlite3.Error as error:
        raise UsageError(
            f"'{file}' can't be read as a queue: {error}; it must be SQLite with a table events(id, ts, payload), "
            "and the old agent must be stopped"
        ) from error


def _event(row: int, queued: object, payload: object, topic: Topic) -> Record | Dated | Malformed:
    body = payload.strip() if isinstance(payload, bytes) else b""
    try:
        body = _finite(body)
        event: Any = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        return Malformed(row, f"no JSON: {error}")
    if not isinstance(event, dict):
        return Malformed(row, "no JSON object")
    if not isinstance(event.get("values"), dict):
        return Malformed(row, "no `values`")
    own = _number(event.get("ts"))
    ts = _moment(queued) if own is None else own
    if ts is None:
        return Malformed(row, "no `ts`, nor has its row one, so nobody could tell when it was")
    if own is None:
        body = msgspec.json.encode({**msgspec.json.decode(body, type=dict[str, msgspec.Raw]), "ts": ts})
    known = {name: _text(event.get(name)) for name in ("tenant_id", "plc_id", "db", "ip")}
    # A slash in a name would make levels that the template has not.
    path, missing = fill(topic, {name: "" if "/" in text else text for name, text in known.items()})
    if missing or len(path.encode()) > _LONGEST:
        path = _FALLBACK
    plc = f"{known['tenant_id']}/{known['plc_id'] or known['ip']}"
    record = Record(0, body, path, 1, "full", plc, ts, body)
    return Dated(record) if own is None else record


def _finite(body: bytes) -> bytes:
    """The payload without NaN and infinities, which Python's writer takes for JSON; most have none and stay as is."""
    if _NO_NUMBER.search(body) is None:
        return body
    event: Any = json.loads(body)
    values = event.get("values") if isinstance(event, dict) else None
    if not isinstance(values, dict):
        return body
    bad: dict[str, str] = {}
    event["values"] = _without(values, "", bad)
    if bad:
        event["bad"] = bad
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _without(value: Any, name: str, bad: dict[str, str]) -> Any:
    """A value without the numbers within it that are none; those are named in `bad`."""
    below = f"{name}_" if name else ""
    if isinstance(value, dict):
        inner: dict[str, Any] = {key: _without(item, f"{below}{key}", bad) for key, item in value.items()}
        return {key: item for key, item in inner.items() if f"{below}{key}" not in bad}
    if isinstance(value, list):
        return [_without(item, f"{below}{index}", bad) for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        bad[name] = "NaN" if math.isnan(value) else "infinite"
        return None
    return value


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with contextlib.suppress(OverflowError):
        if math.isfinite(value):
            return float(value)
    return None


def _moment(queued: object) -> float | None:
    """Seconds since 1970 of a row's own `ts`: a number, or ISO text, which is UTC where it names no zone."""
    if not isinstance(queued, bytes):
        return _number(queued)
    with contextlib.suppress(ValueError):
        return _number(float(queued))
    try:
        moment = datetime.fromisoformat(queued.decode().strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) else ""
