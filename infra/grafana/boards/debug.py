"""What came in, frame by frame: heartbeats, failures, gaps by `seq`, what nothing could read."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable

from grafana.board import WHOLE, Look, Section, bars, board, columns, lines, number, query_variable, rows
from grafana.boards.variables import bucket, plc, tenant
from grafana.flux import NO_FRAMES, WHO, WHOSE, frames

__all__ = ["GAPS", "debug"]

_RAW = "${bucket:raw}"
_RANGE = "range(start: v.timeRangeStart, stop: v.timeRangeStop)"
_NAME = "${__field.labels.tenant_id} ${__field.labels.plc_id}"

# `seq` counts all frames of a PLC, whatever their measurement, from 0 at each start of the edge (`boot`).
GAPS = """    |> filter(fn: (r) => r._field == "seq" or r._field == "boot")
    |> keep(columns: ["_time", "_value", "_field", "_measurement", "tenant_id", "plc_id", "ip", "db"])
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> filter(fn: (r) => exists r.seq and exists r.boot)
    |> group(columns: ["tenant_id", "plc_id", "ip", "boot"])
    |> sort(columns: ["seq"])
    |> map(fn: (r) => ({r with missing: r.seq}))
    |> difference(columns: ["missing"])
    |> filter(fn: (r) => r.missing > 1)
    |> map(fn: (r) => ({r with missing: r.missing - 1}))
"""


def _events(field: str) -> str:
    return frames(
        f"""    |> filter(fn: (r) => r._field == "{field}")
    |> aggregateWindow(
        every: if int(v: v.windowPeriod) < int(v: 1m) then 1m else v.windowPeriod,
        fn: count,
        createEmpty: false,
    )
    |> map(fn: (r) => ({{
        {WHOSE},
        _time: r._time,
        _value: r._value,
    }}))
    |> group(columns: ["tenant_id", "plc_id", "_time"])
    |> sum()
    |> group(columns: ["tenant_id", "plc_id"])
    |> sort(columns: ["_time"])"""
    )


def debug() -> Dashboard:
    """The dashboard for whoever looks for a lost frame."""
    variables = (tenant(), plc(), bucket(), _measurement())
    sections = (_counts(), _frames(), _failures(), _platform())
    return board("debug", "Raw frames, heartbeats, failures, gaps", "now-30m", variables, *sections)


def _measurement() -> QueryVariable:
    flux = f"""import "influxdata/influxdb/schema"

schema.measurements(bucket: "{_RAW}", start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: (r) => r._value !~ {NO_FRAMES})"""
    return query_variable("measurement", "Measurement", flux, "Which blocks")


def _counts() -> Section:
    total = frames(
        """    |> filter(fn: (r) => r._field == "seq")
    |> group()
    |> count()
    |> keep(columns: ["_value"])"""
    )
    failed = frames(
        """    |> filter(fn: (r) => r._field == "read_failed")
    |> group()
    |> count()
    |> keep(columns: ["_value"])"""
    )
    missing = frames(GAPS + '    |> group()\n    |> sum(column: "missing")\n    |> keep(columns: ["missing"])')
    replayed = frames(
        """    |> filter(fn: (r) => r._field == "replayed")
    |> group()
    |> count()
    |> keep(columns: ["_value"])"""
    )
    plain = Look(steps=((None, "text"),), decimals=0, empty="0")
    bad = Look(steps=((None, "green"), (1.0, "red")), decimals=0, empty="0")
    return "", [
        number("Frames", "With a seq, in this range.", total, look=plain),
        number("Failed reads", "Frames that say so.", failed, look=bad),
        number("Missing", "Numbers between two frames of one start that never came.", missing, look=bad),
        number("Replayed", "Frames that came late, out of a journal.", replayed, look=plain),
    ]


def _frames() -> Section:
    query = f"""from(bucket: "{_RAW}")
    |> {_RANGE}
    |> filter(fn: (r) => {WHO} and r._measurement =~ /^${{measurement:regex}}$/ and r._measurement !~ {NO_FRAMES})
    |> tail(n: 100)
    |> map(fn: (r) => ({{_time: r._time, _measurement: r._measurement, ip: r.ip,
        _field: if r._field == "error" then "failure" else r._field,
        tenant_id: if exists r.tenant_id then r.tenant_id else "", plc_id: if exists r.plc_id then r.plc_id else "",
        _value: string(v: r._value)}}))
    |> group()
    |> pivot(
        rowKey: ["_time", "_measurement", "tenant_id", "plc_id", "ip"],
        columnKey: ["_field"],
        valueColumn: "_value",
    )
    |> sort(columns: ["_time"], desc: true)
    |> limit(n: 100)"""
    table = rows("Raw frames", "The newest 100, with all that they brought.", query, look=Look("string"))
    table = columns(table, _time=("Time", "time:YYYY-MM-DD HH:mm:ss.SSS"), _measurement=("Measurement", ""))
    return "Frames", [table.height(10)]


def _failures() -> Section:
    reasons = frames(
        """    |> filter(fn: (r) => r._field == "error" or r._field == "bad")
    |> keep(columns: ["_time", "_value", "_field", "_measurement", "tenant_id", "plc_id"])
    |> group()
    |> rename(columns: {_value: "said"})
    |> sort(columns: ["_time"], desc: true)
    |> limit(n: 200)"""
    )
    gaps = frames(
        GAPS
        + """    |> group()
    |> keep(columns: ["_time", "tenant_id", "plc_id", "boot", "seq", "missing"])
    |> sort(columns: ["_time"], desc: true)
    |> limit(n: 200)"""
    )
    per = Look(name=_NAME, least=0, decimals=0, empty="none")
    failures = rows(
        "Failures and bad values",
        "What the edge said of them, newest first.",
        reasons,
        look=Look("string", empty="none"),
    )
    holes = rows(
        "Gaps", "The frame after each hole, and how many are missing before it.", gaps, look=Look(empty="no gaps")
    )
    return "Failures", [
        bars("Heartbeats", "In each bar; failures are heartbeats too.", _events("heartbeat"), look=per),
        bars("Failed reads over time", "In each bar.", _events("read_failed"), look=per),
        columns(failures, _time=("Time", ""), _field=("Kind", ""), said=("Said", ""), plc_id=("PLC", "")),
        columns(
            holes,
            _time=("Time", ""),
            plc_id=("PLC", ""),
            boot=("Start", ""),
            seq=("seq", "none"),
            missing=("Missing", ""),
        ),
    ]


def _platform() -> Section:
    rejected = f"""from(bucket: "{_RAW}")
    |> {_RANGE}
    |> filter(fn: (r) => r._measurement == "ingest_rejected")
    |> keep(columns: ["_time", "_value", "_field"])
    |> group()
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> sort(columns: ["_time"], desc: true)
    |> limit(n: 100)"""
    writes = f"""from(bucket: "{_RAW}")
    |> {_RANGE}
    |> filter(fn: (r) => r._measurement == "internal_write" and r.output == "influxdb_v2")
    |> filter(fn: (r) => r._field =~ /^(metrics_rejected|metrics_dropped|buffer_size)$/)
    |> aggregateWindow(every: v.windowPeriod, fn: max, createEmpty: false)
    |> rename(columns: {{_field: "signal"}})
    |> keep(columns: ["_time", "_value", "signal", "alias", "telegraf"])"""
    name = "${__field.labels.alias} ${__field.labels.signal}"
    table = rows(
        "Set aside", "Messages that nothing could read, with their topic.", rejected, look=Look("string", empty="none")
    )
    text = "Telegraf: what InfluxDB refused, what overflowed, what waits to be written."
    return "Platform", [
        columns(table, _time=("Time", ""), topic=("Topic", ""), reason=("Reason", ""), payload=("Message", "")),
        lines("Writing", text, writes, look=Look(name=name, least=0, decimals=0), width=WHOLE),
    ]
