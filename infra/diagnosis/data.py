"""What the data of the latest hour say: who is silent, what is missing, what is double, what stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from diagnosis.finding import GOOD, PROBLEM, WARNING, Finding
from diagnosis.platform import Platform
from influx.api import InfluxError, Refused

__all__ = ["examine"]

Rows = list[dict[str, str]]
_ABOUT = "heartbeat|read_failed|error|seq|boot|replayed|bad|tenant_claimed|plc_claimed|type_conflict|left_out"
"""Fields that a frame has without a value of its machine."""
_SLOW = 250.0
"""Milliseconds of a read, as the alert has it."""
_ANY = 'filter(fn: (r) => r._measurement =~ /^s7_/ and (not exists r.tenant_id or r.tenant_id != "doctor"))'
_TRUE = 'filter(fn: (r) => r._field != "heartbeat" or string(v: r._value) != "0")'
"""Without the heartbeat 0 that an edge's doctor sends, whether its graph runs or not."""
_IS_ON = 'filter(fn: (r) => string(v: r._value) == "true")'
"""Of a state that is a switch: elsewhere it may be a number or a text, with which a query would fail for all."""
_NUMBERS = " |> ".join(
    (*(f'filter(fn: (r) => not types.isType(v: r._value, type: "{kind}"))' for kind in ("string", "bool")), "toFloat()")
)
_BY_PLC = 'group(columns: ["tenant_id", "plc_id", "ip", "db"])'
_MOMENTS = f'keep(columns: ["tenant_id", "plc_id", "ip", "db", "_time"]) |> {_BY_PLC}'


class _Asker:
    def __init__(self, platform: Platform) -> None:
        self._api, self._org = platform.api(platform.token("grafana")), platform.org
        self._raw, self._bucket = f"{platform.bucket}_raw", platform.bucket

    def frames(self, since: str, rest: str, stop: str = "1s") -> Rows:
        """Frames of real PLCs, of all times from `since` on."""
        return self._api.query(
            f'import "types" from(bucket: "{self._raw}") |> range(start: {since}, stop: {stop}) |> {_ANY} |> {rest}',
            self._org,
            60,
        )

    def figures(self, since: str, rest: str) -> Rows:
        """What edges and Telegraf tell of themselves."""
        return self._api.query(f'from(bucket: "{self._bucket}") |> range(start: {since}) |> {rest}', self._org, 60)


def examine(platform: Platform) -> Iterator[Finding]:
    """Each question once; one that can't be answered is a finding too, and no reason not to ask the others."""
    asker = _Asker(platform)
    questions: tuple[Callable[[_Asker], Iterator[Finding]], ...] = (
        _silence,
        _no_names,
        _double,
        _heartbeats_only,
        _standing,
        _future,
        _set_aside,
        _refused,
        _latency,
        _backlog,
    )
    told: set[str] = set()
    for question in questions:
        try:
            yield from question(asker)
        except InfluxError as error:  # noqa: PERF203 - one question is no reason to leave the others
            if str(error) not in told:
                told.add(str(error))
                advice = (
                    "see the findings of influxdb; where those are good, the fields' types are what it stumbles over"
                )
                yield Finding("data", "query", PROBLEM, str(error), advice)
            if not isinstance(error, Refused):
                return


def _silence(asker: _Asker) -> Iterator[Finding]:
    """PLCs that spoke within a day and are silent for five minutes."""
    latest = f'last() |> {_TRUE} |> {_MOMENTS} |> max(column: "_time")'
    since_a_day, now = (_seen(asker.frames(since, latest)) for since in ("-1d", "-5m"))
    advice = (
        "at the edge: python -m pipeline doctor FILE tells its topic (so does its log: 'MQTT publish topic resolved'), "
        "login, access list and PLC; then the steps above, from broker to InfluxDB"
    )
    if not since_a_day:
        yield Finding("data", "frames", PROBLEM, "no frame of any PLC within a day", advice)
    for who, row in since_a_day.items():
        if who not in now:
            yield Finding("data", "frames", PROBLEM, f"{who}: nothing since {row['_time'][:19]} UTC", advice)
    if now:
        yield Finding("data", "frames", GOOD, f"frames of {len(now)} PLC blocks within five minutes")


def _no_names(asker: _Asker) -> Iterator[Finding]:
    rows = asker.frames(
        "-1h", f"filter(fn: (r) => not exists r.tenant_id or not exists r.plc_id) |> last() |> {_MOMENTS}"
    )
    for who in _seen(rows):
        advice = (
            "set TENANT_ID and PLC_ID at its edge, so that payload and topic have them; a topic of another form than "
            "plc/<tenant>/<plc> gives no tags"
        )
        yield Finding("data", "names", WARNING, f"frames without tenant or PLC: {who}", advice)


def _double(asker: _Asker) -> Iterator[Finding]:
    """One block as two series: a tag tells who wrote it, and one Telegraf may well have none."""
    rows = asker.frames(
        "-1h",
        'last() |> map(fn: (r) => ({r with host: if exists r.host then r.host else ""})) '
        '|> keep(columns: ["tenant_id", "plc_id", "ip", "db", "host"]) '
        f'|> {_BY_PLC} |> unique(column: "host") |> count(column: "host")',
    )
    for who, row in _seen(rows).items():
        if int(row["host"]) > 1:
            advice = (
                "two Telegrafs write the same frames under a tag of their own: unset TELEGRAF_HOST_TAG, or stop one"
            )
            yield Finding("data", "double", PROBLEM, f"{who}: each frame is {row['host']} points", advice)


def _heartbeats_only(asker: _Asker) -> Iterator[Finding]:
    """Frames come, but none with a value: the edge is well, its PLC is not."""
    beats = "filter(fn: (r) => r._field =~ /^(heartbeat|read_failed)$/)"
    alive = _seen(asker.frames("-10m", f"{beats} |> last() |> {_TRUE} |> {_MOMENTS}"))
    valued = _seen(asker.frames("-10m", f"filter(fn: (r) => r._field !~ /^({_ABOUT})$/) |> last() |> {_MOMENTS}"))
    errors = asker.frames(
        "-10m",
        f'filter(fn: (r) => r._field == "error") |> last() |> {_BY_PLC} |> last()',
    )
    reasons = {who: row["_value"] for who, row in _seen(errors).items()}
    for who in alive:
        if who not in valued:
            advice = (
                "the PLC does not answer: is it on? cable, ping, firewall; python -m pipeline doctor FILE at its edge"
            )
            reason = f" ({reasons[who]})" if who in reasons else ""
            yield Finding("data", "values", PROBLEM, f"{who}: heartbeats without values{reason}", advice)


def _standing(asker: _Asker) -> Iterator[Finding]:
    """Counters that have not moved for an hour though the machine says that it runs."""
    on = f"filter(fn: (r) => r._field =~ /(maquina_ligada|status_maquina)$/) |> last() |> {_IS_ON}"
    each = 'group(columns: ["tenant_id", "plc_id", "ip", "db", "_field"])'
    counters = f"filter(fn: (r) => r._field =~ /contador_(bom|ruim)$/) |> {_NUMBERS} |> {each}"
    spread = asker.frames("-1h", f"{counters} |> spread() |> filter(fn: (r) => r._value == 0.0)")
    enough = asker.frames(
        "-1h", f'{counters} |> elapsed(unit: 1s) |> sum(column: "elapsed") |> filter(fn: (r) => r.elapsed > 300)'
    )
    running = _seen(asker.frames("-1h", f"{on} |> {_MOMENTS}"))
    watched = {(_who(row), row["_field"]) for row in enough}
    for row in spread:
        who, field = _who(row), row["_field"]
        if who in running and (who, field) in watched:
            advice = (
                "the machine runs and nothing is counted: has the block's layout changed? compare the offsets in the "
                "graph with TIA/STEP 7; python -m pipeline doctor FILE compares lengths, pipeline probe shows bytes"
            )
            yield Finding("data", "counters", WARNING, f"{who}: {field} stands still while the machine runs", advice)


def _future(asker: _Asker) -> Iterator[Finding]:
    rows = asker.frames("1m", f'last() |> {_MOMENTS} |> max(column: "_time")', stop="3650d")
    for who, row in _seen(rows).items():
        advice = "its edge's clock is ahead: let it follow a time server; no dashboard shows what is in the future"
        yield Finding("data", "clock", PROBLEM, f"{who}: frames of {row['_time'][:19]} UTC", advice)


def _set_aside(asker: _Asker) -> Iterator[Finding]:
    reasons = 'filter(fn: (r) => r._measurement == "ingest_rejected" and r._field == "reason")'
    for row in asker.figures("-1h", f'{reasons} |> group(columns: ["_value"]) |> count(column: "_field")'):
        advice = "the rejected payloads are in measurement ingest_rejected; the sender has to mend them"
        yield Finding("data", "rejected", WARNING, f"{row['_field']} messages within an hour: {row['_value']}", advice)


def _refused(asker: _Asker) -> Iterator[Finding]:
    """Points that InfluxDB did not take of a Telegraf since its start; they may have taken others along."""
    where = 'filter(fn: (r) => r._measurement == "internal_write" and r._field == "metrics_rejected")'
    for row in asker.figures("-10m", f"{where} |> last() |> filter(fn: (r) => r._value > 0)"):
        advice = (
            "Telegraf's log names the first of them (docker compose logs telegraf), and infra/telegraf/README.md, "
            "Delivery, how to empty the session; then the edges' journal resend fills the hole"
        )
        who = row.get("alias") or row.get("output", "")
        found = f"InfluxDB has refused {row['_value']} points of Telegraf's output {who}: they are not stored"
        yield Finding("data", "refused", PROBLEM, found, advice)


def _latency(asker: _Asker) -> Iterator[Finding]:
    for row in asker.figures("-5m", f"{_metric('plc_read_latency_ms')} |> mean()"):
        value = _number(row)
        if value > _SLOW:
            advice = "network or PLC are slow: cable, switch, the CPU's cycle time; or raise POLL_INTERVAL (`every`)"
            yield Finding("data", "latency", WARNING, f"{_edge(row)}: a read takes {value:.0f} ms", advice)


def _backlog(asker: _Asker) -> Iterator[Finding]:
    for row in asker.figures("-5m", f"{_metric('edge_backlog_size')} |> derivative(unit: 1m) |> mean()"):
        growth = _number(row)
        if growth > 0:
            advice = (
                "the broker acknowledges less than comes: plc_publish_fail_total, the edge's log, network, login, "
                "access list; python -m pipeline doctor FILE at the edge"
            )
            yield Finding(
                "data", "backlog", PROBLEM, f"{_edge(row)}: {growth:.0f} more frames wait each minute", advice
            )


def _number(row: dict[str, str]) -> float:
    """Its value; 0 where there is none, such as the growth of a single sample."""
    return float(row["_value"] or 0)


def _metric(name: str) -> str:
    return f'filter(fn: (r) => r._measurement == "prometheus" and r._field == "{name}")'


def _seen(rows: Rows) -> dict[str, dict[str, str]]:
    return {_who(row): row for row in rows}


def _who(row: dict[str, str]) -> str:
    name = "/".join(part for part in (row.get("tenant_id", ""), row.get("plc_id", "")) if part)
    return f"{name or row.get('ip') or 'unknown'} DB{row.get('db') or '?'}"


def _edge(row: dict[str, str]) -> str:
    return (
        "/".join(part for part in (row.get("tenant", ""), row.get("plc", "")) if part) or row.get("edge", "") or "edge"
    )
