"""What InfluxDB knows of a day: frames by PLC, and what the edges' metrics count."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from auditing.ledger import Point
from influx.api import Api

__all__ = ["Source"]

_PATIENCE = 300.0
_NAMES = 'columns: ["tenant_id", "plc_id"]'
_HOUR = timedelta(hours=1)
_BEFORE = timedelta(days=8)
"""How far back the last frame before a day is looked for."""
_FIELDS = "r._field =~ /^(seq|boot|error|heartbeat|replayed)$/"
_PIVOT = 'pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")'
Plc = tuple[str, str]


class Source:
    """One day in one InfluxDB."""

    def __init__(self, api: Api, org: str, bucket: str, begin: datetime, end: datetime) -> None:
        """Nothing is asked yet.

        Args:
            api: with a token that reads the bucket and its raw one.
            org: of both.
            bucket: where the edges' metrics are; `<bucket>_raw` has all frames.
            begin: of the day.
            end: of the day.
        """
        self._api, self._org, self._bucket, self.begin, self.end = api, org, bucket, begin, end

    def plcs(self) -> list[Plc]:
        """Tenant and name of each PLC with numbered frames on that day."""
        rows = self._ask(
            f'{self._frames(self.begin, self.end)} |> filter(fn: (r) => r._field == "seq") |> last() '
            f"|> group({_NAMES}) |> first() |> keep({_NAMES})"
        )
        return sorted({(row.get("tenant_id", ""), row.get("plc_id", "")) for row in rows})

    def points(self, plc: Plc) -> Iterator[Point]:
        """The day's frames of a PLC, hour by hour."""
        begin = self.begin
        while begin < self.end:
            end = min(begin + _HOUR, self.end)
            rows = self._ask(f"{self._frames(begin, end)} |> {_of(plc)} |> filter(fn: (r) => {_FIELDS}) |> {_PIVOT}")
            yield from (_point(row) for row in rows if row.get("seq") and row.get("boot"))
            begin = end

    def before(self, plc: Plc) -> Point | None:
        """The last frame before the day."""
        rows = self._ask(
            f"{self._frames(self.begin - _BEFORE, self.begin)} |> {_of(plc)} "
            f'|> filter(fn: (r) => r._field == "seq" or r._field == "boot") |> last() |> {_PIVOT}'
        )
        found = [_point(row) for row in rows if row.get("seq") and row.get("boot")]
        return max(found, default=None)

    def counts(self, metric: str, *by: str) -> dict[tuple[str, ...], float]:
        """How much a counter grew on that day, over restarts, by labels; those of all others are added up."""
        found: dict[tuple[str, ...], float] = {}
        for row in self._ask(f"{self._metric(metric, self.begin, self.end)} |> increase() |> last()"):
            key = tuple(row.get(label, "") for label in by)
            found[key] = found.get(key, 0.0) + float(row["_value"])
        return found

    def edges(self) -> dict[Plc, str]:
        """Which edge reads which PLC."""
        rows = self._ask(f"{self._metric('plc_read_ok_total', self.begin, self.end)} |> last()")
        return {(row.get("tenant", ""), row.get("plc", "")): row.get("edge", "") for row in rows}

    def drops(self, edge: str, begin: float, end: float) -> dict[str, float]:
        """What an edge gave up within a time, by reason."""
        first, last = (datetime.fromtimestamp(at, timezone.utc) for at in (begin - 60, end + 60))
        rows = self._ask(
            f"{self._metric('edge_frames_dropped_total', first, last)} "
            f"|> filter(fn: (r) => r.edge == {_quoted(edge)}) |> increase() |> last()"
        )
        return {row.get("reason", ""): float(row["_value"]) for row in rows if float(row["_value"]) > 0}

    def _frames(self, begin: datetime, end: datetime) -> str:
        return f"from(bucket: {_quoted(self._bucket + '_raw')}) |> range(start: {_time(begin)}, stop: {_time(end)})"

    def _metric(self, name: str, begin: datetime, end: datetime) -> str:
        return (
            f"from(bucket: {_quoted(self._bucket)}) |> range(start: {_time(begin)}, stop: {_time(end)}) "
            f'|> filter(fn: (r) => r._measurement == "prometheus" and r._field == "{name}")'
        )

    def _ask(self, flux: str) -> list[dict[str, str]]:
        return self._api.query(flux, self._org, _PATIENCE)


def _point(row: dict[str, str]) -> Point:
    error, heartbeat = row.get("error") or "", row.get("heartbeat") or ""
    return Point(
        time=_seconds(row["_time"]),
        seq=int(row["seq"]),
        boot=row["boot"],
        error=error,
        has_values=not error and not heartbeat,
        replayed=row.get("replayed") == "true",
    )


def _seconds(text: str) -> float:
    """RFC 3339 with up to nine decimals."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.strptime(f"{whole}+0000", "%Y-%m-%dT%H:%M:%S%z").timestamp() + float(f"0.{fraction or 0}")


def _of(plc: Plc) -> str:
    tests = [
        f"r.{tag} == {_quoted(value)}" if value else f"not exists r.{tag}"
        for tag, value in zip(("tenant_id", "plc_id"), plc)
    ]
    return f"filter(fn: (r) => {' and '.join(tests)})"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}Z"
