"""From messages of others to frames: our own wire form, the sensors' form with tags and fields, any JSON by a mapping.

What a message says wrongly is `Malformed` with the reason, and nothing else is raised, whatever the bytes. Memory: one
origin a series, bounded.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from pipeline.codecs import decode
from pipeline.errors import Finding
from pipeline.frame import Frame, Kind, Origin, Scalar
from pipeline.identifiers import check_name
from pipeline.operator import Options, Scope

__all__ = [
    "LEFT_OUT",
    "Format",
    "Malformed",
    "MessageMapping",
    "Read",
    "Series",
    "TimeFormat",
    "read_json",
    "read_mov",
    "read_ours",
]

LATEST = 253_402_300_800.0
"""Seconds since 1970 of the year 10000: what lies behind it are milliseconds, taken for seconds."""
_STEP = re.compile(r'\.?(?:([^.\[\]"]+)|\[(\d+)\]|\["([^"]*)"\])')
_NESTED = "neither number, text nor boolean"
_TOO_LARGE = "larger than any float"
_LONGEST = 256
"""Characters of a name that is made of several."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
"""Of a data block, as everybody writes it."""
_LARGEST = sys.float_info.max
_OWN_TEXTS = ("ip", "tenant_id", "plc_id")
_OWN = (*_OWN_TEXTS, "db")
LEFT_OUT = frozenset({"time", "org", "type_conflict", "left_out"})
"""Tags of a sensor that the platform's ingest stores its reading without: InfluxDB has no tag `time`."""
_MARK = b"\xef\xbb\xbf"
"""Some programs write it before UTF-8."""
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_UNIT = {"unix": 1.0, "unix_ms": 1e3, "unix_us": 1e6, "unix_ns": 1e9}


T = TypeVar("T")


class Malformed(ValueError):
    """A message is not what it should be; the text says why."""


class Format(StrEnum):
    """What messages look like."""

    FRAME = "frame"
    MOV = "mov"
    JSON = "json"


class TimeFormat(StrEnum):
    """How a message writes its time."""

    RFC3339 = "rfc3339"
    UNIX = "unix"
    UNIX_MS = "unix_ms"
    UNIX_US = "unix_us"
    UNIX_NS = "unix_ns"


class MessageMapping(Options):
    """Where in a JSON message everything is. A path is written `device.sensors[0].value`, or `["odd.name"].value`.

    `device.sensors.0.value` means the same.
    """

    ts: Annotated[str, Meta(description="path of the time; empty: when the message arrives")] = ""
    ts_format: Annotated[TimeFormat, Meta(description="how the time is written")] = TimeFormat.RFC3339
    measurement: Annotated[str, Meta(description="path of the measurement's name; empty: see `measurement`")] = ""
    tags: Annotated[
        dict[str, str], Meta(description="path by tag; ip, db, tenant_id and plc_id are the frame's own fields")
    ] = msgspec.field(default_factory=dict)
    values: Annotated[
        dict[str, str] | str, Meta(description="path by value, or one path: all that stands in that object; empty: top")
    ] = ""

    def check(self, scope: Scope) -> Iterator[Finding]:
        """Paths that are none, names that no value or tag can have."""
        del scope
        several = self.values if isinstance(self.values, dict) else {"": self.values}
        paths: dict[tuple[str, ...], str] = {("ts",): self.ts, ("measurement",): self.measurement}
        paths |= {("tags", name): path for name, path in self.tags.items()}
        paths |= {("values", name) if name else ("values",): path for name, path in several.items()}
        for place, path in paths.items():
            if len(place) > 1 and place not in {("tags", own) for own in _OWN}:
                yield from check_name(place[1], place)
            if path:
                try:
                    parse_path(path)
                except ValueError as error:
                    yield Finding(path=place, message=str(error))
            elif len(place) > 1:
                yield Finding(path=place, message="has no path", hint="write where in the message it is")


Read = Callable[[bytes, float], Frame | None]
"""A message's body and the moment of its arrival (seconds since 1970) to a frame; None for what is none by design."""


class Series(dict[object, Origin]):
    """The origins of one source by what makes them; so many that a faulty sender can't fill the memory."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __setitem__(self, key: object, origin: Origin) -> None:
        if len(self) >= self._limit:
            raise Malformed(f"a new series beyond max_series ({self._limit})")
        super().__setitem__(key, origin)

    def of(self, measurement: str, tags: Mapping[str, str]) -> Origin:
        """The origin of these tags, `ip`, `db`, `tenant_id` and `plc_id` among them; the same one each time."""
        key = (measurement, tuple(sorted(tags.items())))
        origin = self.get(key)
        if origin is None:
            db = tags.get("db", "")
            is_number = _NUMBER.fullmatch(db) is not None
            own = _OWN if is_number else _OWN_TEXTS  # db "linha A" and "07" are tags like any other
            self[key] = origin = Origin(
                measurement=measurement,
                ip=tags.get("ip", ""),
                db=int(db) if is_number else None,
                tenant_id=tags.get("tenant_id", ""),
                plc_id=tags.get("plc_id", ""),
                tags={name: value for name, value in tags.items() if name not in own},
            )
        return origin


def read_ours(series: Series) -> Read:
    """Reads frames as this project's sinks write them; what they say of their own status is passed over."""

    def read(body: bytes, now: float) -> Frame | None:
        del now
        try:
            _, frame = _forgiving(lambda text: decode(text, series), body)
        except (ValueError, RecursionError) as error:  # texts that are not UTF-8 are no errors of msgspec's own
            if _is_status(body):
                return None
            raise Malformed(str(error)) from error
        _check_time(frame.ts)
        for name, value in frame.values.items():
            if _is_too_large(value):
                raise Malformed(f"value '{name:.40}' is {_TOO_LARGE}")
        return frame

    return read


class _Mov(msgspec.Struct):
    fields: dict[str, Any]
    tags: dict[str, Any] | None = None
    timestamp: str | None = None
    measurement: Any = None


def read_mov(series: Series, measurement: str) -> Read:
    """Reads `{"timestamp": RFC 3339, "tags": {…}, "fields": {…}}`, as sensors send it.

    As the platform's ingest stores it: what stands in objects and lists gets a name of all names on its way, and a tag
    that is one is its JSON; `LEFT_OUT` are left out; a measurement that is no text is none.

    Args:
        series: the source's.
        measurement: of messages that name none.
    """
    decoder = msgspec.json.Decoder(_Mov)

    def read(body: bytes, now: float) -> Frame:
        try:
            found = _forgiving(decoder.decode, body)
        except (ValueError, RecursionError) as error:  # texts that are not UTF-8 are no errors of msgspec's own
            raise Malformed(str(error)) from error
        ts = now
        if found.timestamp is not None:
            ts = _time(found.timestamp, TimeFormat.RFC3339)
            if not _RFC3339.fullmatch(found.timestamp):
                raise Malformed(f"{found.timestamp!r:.40} is no time as 2026-02-02T15:04:05.999Z")
        tags = {name: value for name, value in _tags(found.tags or {}).items() if name not in LEFT_OUT}
        named = found.measurement if isinstance(found.measurement, str) else ""
        return _frame(series.of(named or measurement, tags), ts, dict(_flat(found.fields)))

    return read


def read_json(series: Series, measurement: str, mapping: MessageMapping) -> Read:
    """Reads any JSON object.

    Args:
        series: the source's.
        measurement: of messages that name none.
        mapping: where everything is.
    """
    ts, name = parse_path(mapping.ts), parse_path(mapping.measurement)
    tags = {tag: parse_path(path) for tag, path in mapping.tags.items()}
    values = _picker(mapping)

    def read(body: bytes, now: float) -> Frame:
        try:
            found = _forgiving(msgspec.json.decode, body)
        except (ValueError, RecursionError) as error:  # texts that are not UTF-8 are no errors of msgspec's own
            raise Malformed(str(error)) from error
        when = now
        if ts:
            written = _at(found, ts)
            if written is None:
                raise Malformed(f"there is no time at '{mapping.ts}'")
            when = _time(written, mapping.ts_format)
        named = _at(found, name) if name else None
        picked = _tags({tag: _at(found, path) for tag, path in tags.items()})
        return _frame(series.of(str(named) if named else measurement, picked), when, values(found))

    return read


def parse_path(text: str) -> tuple[str | int, ...]:
    """The steps of a path: names, and positions in lists from 0.

    Raises:
        ValueError: it is none.
    """
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (match[0].startswith(".") and not (position and match[1])):
            raise ValueError(f"'{text}' is no path; write names with dots, positions in brackets: sensors[0].value")
        name, index, quoted = match.groups()
        steps.append(int(index) if index else quoted if name is None else name)
        position = match.end()
    return tuple(steps)


def _forgiving(decoded: Callable[[bytes], T], body: bytes) -> T:
    """A message without its mark; what is not UTF-8 in its texts becomes �, since the ingest stores those too."""
    body = body.removeprefix(_MARK)
    try:
        return decoded(body)
    except UnicodeDecodeError:
        return decoded(body.decode(errors="replace").encode())


def _picker(mapping: MessageMapping) -> Callable[[Any], Mapping[str, Any]]:
    """What gives the values of a decoded message."""
    if isinstance(mapping.values, dict):
        paths = {name: parse_path(path) for name, path in mapping.values.items()}
        return lambda found: {name: _at(found, path) for name, path in paths.items()}
    top = parse_path(mapping.values)
    # What has another meaning is not a value as well.
    elsewhere = {parse_path(path) for path in (mapping.ts, mapping.measurement, *mapping.tags.values())}

    def pick(found: Any) -> Mapping[str, Any]:
        inner = _at(found, top)
        if not isinstance(inner, dict):
            raise Malformed(f"there is no object at '{mapping.values}'" if top else "it is no JSON object")
        return {name: value for name, value in inner.items() if (*top, name) not in elsewhere}

    return pick


def _at(found: Any, path: tuple[str | int, ...]) -> Any:
    """What stands at a path; None where nothing does."""
    for step in path:
        if isinstance(found, dict):
            found = found.get(step if isinstance(step, str) else str(step))
        elif isinstance(found, list) and str(step).isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return found


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    """Tags as texts, objects and lists as their JSON; those without a value are none."""
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()
        for name, value in found.items()
        if name and value is not None and value != ""
    }


def _frame(origin: Origin, ts: float, found: Mapping[str, Any]) -> Frame:
    """A data frame; null is absent, and what is nested is named in `bad`."""
    values: dict[str, Scalar] = {}
    bad: dict[str, str] = {}
    for name, value in found.items():
        if _is_too_large(value):
            bad[name] = _TOO_LARGE
        elif isinstance(value, bool | int | float | str):
            values[name] = value
        elif value is not None:
            bad[name] = _NESTED
    if not values:
        raise Malformed("it has no values")
    return Frame(Kind.DATA, ts, origin, values, bad or None)


def _is_too_large(value: object) -> bool:
    """An integer that no float can hold: JSON knows such, but no database does, and nothing calculates with it."""
    return type(value) is int and not -_LARGEST <= value <= _LARGEST


def _flat(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What stands in objects and lists, by all names on its way: `t_c` of `{"t": {"c": 3}}`, `t_0` of `{"t": [3]}`."""
    for name, value in found.items():
        if not isinstance(value, dict | list):
            yield name, value
        elif len(name) > _LONGEST:
            raise Malformed(f"a name is too long: {name:.40}…")
        else:
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            yield from _flat({f"{name}_{key}": each for key, each in inner})


def _time(written: object, form: TimeFormat) -> float:
    if form is TimeFormat.RFC3339:
        try:
            moment = datetime.fromisoformat(str(written))
        except ValueError:
            raise Malformed(f"{written!r:.40} is no time as 2026-02-02T15:04:05.999Z") from None
        if moment.tzinfo is None:
            raise Malformed(f"the time {written!r:.40} has no zone")
        return _check_time(moment.timestamp())
    try:
        number = float(written) if isinstance(written, int | float | str) and not isinstance(written, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None:
        raise Malformed(f"the time {written!r:.40} is no number")
    return _check_time(number / _UNIT[form])


def _check_time(ts: float) -> float:
    if not 0 <= ts < LATEST:
        raise Malformed(f"{ts:.17g} is no time in seconds since 1970")
    return ts


class _Status(msgspec.Struct):
    status: str
    boot: str
    last_seq: dict[str, int]


def _is_status(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=_Status)
    except (ValueError, RecursionError):
        return False
    return True
