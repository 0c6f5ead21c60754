"""Flux that makes of a machine's counters what was made, and of its bits, numbers and texts whether it runs.

It stands in a body of `grafana.flux.resolved`: it uses `chosen`, `signal`, `numbers`, `step` and others of it.
"""

from __future__ import annotations

from grafana.flux import WHOSE

__all__ = ["HASH", "INTERPOLATE", "MADE", "RUNS", "SCRAP_RATE", "STATES"]

INTERPOLATE = 'import "interpolate"\n'
"""What `MADE` imports."""

HASH = 'import "contrib/qxip/hash"\n'
"""What `RUNS` imports."""

# What a counter has counted between two readings: 16-bit counters begin anew at 0 or at -32768, a reset one at 0.
MADE = """
most = if step == "1h" then 16000.0 else if step == "1m" then 2000.0 else 1000.0
most_per_minute = if step == "1h" then most / 60.0 else most
possible = (since) => {
    by_time = most_per_minute * float(v: since) / 60000000000.0
    return if by_time > most then by_time else most
}
// A rise that is too large is as suspicious as a fall: a wrong reading, or a negative counter that was reset.
made = (risen, before, since, reading) => {
    // As if the reading before were not there.
    between = risen + before
    return if risen >= 0.0 and risen <= possible(since: since) then risen
        else if (risen < 0.0 and before > most or risen > 0.0 and before < 0.0) and between >= 0.0 and between <= most
            then between
        else if risen > 0.0 and reading - risen >= 0.0 then 0.0
        else if risen < 0.0 and risen + 65536.0 <= most then risen + 65536.0
        else if risen < 0.0 and risen + 32768.0 <= most then risen + 32768.0
        else if reading >= 0.0 and reading <= most then reading
        else 0.0
}
// A reading in ten seconds is enough for minutes, and keeps long ranges quick.
counted = (name, tables=<-) => tables
    |> signal(name: name, kind: "last")
    |> window(every: 10s)
    |> last()
    |> window(every: inf)
    |> only_numbers()
    |> map(fn: (r) => ({r with reading: r._value, since: int(v: r._time)}))
    |> difference(columns: ["_value", "since"], keepFirst: true)
    |> duplicate(column: "_value", as: "change")
    |> difference(columns: ["change"], keepFirst: true)
    |> map(fn: (r) => ({r with _value:
        if not exists r._value then 0.0
        else made(
            risen: r._value,
            before: if exists r.change then r._value - r.change else 0.0,
            since: r.since,
            reading: r.reading,
        )}))
    |> drop(columns: ["reading", "since", "change"])
// In whole windows only: a part of one would look like a slower machine. What was counted over a hole is spread over
// it.
by_window = (tables=<-) => tables
    |> cumulativeSum()
    |> interpolate.linear(every: minutely)
    |> filter(fn: (r) => int(v: r._time) % int(v: minutely) == 0)
    |> difference()
    |> timeShift(duration: -1ns)
    |> group(columns: ["_start", "_stop", "_field", "tenant_id", "plc_id", "ip"])
    |> aggregateWindow(every: minutely, fn: sum, createEmpty: false)
per_minute = (tables=<-) => tables
    |> by_window()
    |> map(fn: (r) => ({r with _value: r._value * 60000000000.0 / float(v: int(v: minutely))}))
"""
SCRAP_RATE = (
    MADE
    + """
parts = (name, what) => chosen()
    |> counted(name: name)
    |> by_window()
    |> map(fn: (r) => ({
        WHOSE,
        _time: r._time,
        what: what,
        _value: r._value,
    }))
    |> group(columns: ["tenant_id", "plc_id", "what", "_time"])
    |> sum()
union(tables: [parts(name: /${good:raw}/, what: "good"), parts(name: /${scrap:raw}/, what: "bad")])
    |> group(columns: ["tenant_id", "plc_id"])
    |> pivot(rowKey: ["_time"], columnKey: ["what"], valueColumn: "_value")
    |> map(fn: (r) => ({r with good: if exists r.good then r.good else 0.0, bad: if exists r.bad then r.bad else 0.0}))
    |> filter(fn: (r) => r.good + r.bad > 0.0)
    |> map(fn: (r) => ({_time: r._time, tenant_id: r.tenant_id, plc_id: r.plc_id,
        _value: 100.0 * r.bad / (r.good + r.bad)}))
    |> sort(columns: ["_time"])
""".replace("WHOSE", WHOSE)
)
# 1 while it runs, else 0, where that changes; `state` says it in words, a PLC's own where it gives texts.
RUNS = """
stopped = /^(?:${stopped:raw})$/
changed = (tables=<-) => tables
    |> difference(columns: ["change"], keepFirst: true)
    |> filter(fn: (r) => not exists r.change or r.change != 0.0)
states = (tables=<-) => tables
    |> duplicate(column: "_value", as: "change")
    |> changed()
    |> map(fn: (r) => ({r with
        state: if r._value == 0.0 then "stopped" else "running",
        _value: if r._value == 0.0 then 0 else 1,
    }))
// Texts have no difference, their hashes do.
words = (tables=<-) => tables
    |> map(fn: (r) => ({r with change: float(v: uint(v: hash.xxhash64(v: r._value)))}))
    |> changed()
    |> map(fn: (r) => ({r with state: r._value, _value: if r._value =~ stopped then 0 else 1}))
runs = union(
    tables: [
        numbers(name: /${running:raw}/, kind: "last") |> states(),
        switches(name: /${running:raw}/, kind: "last") |> toFloat() |> states(),
        texts(name: /${running:raw}/, kind: "last") |> words(),
    ],
)
    |> map(fn: (r) => ({
        WHOSE,
        _time: r._time,
        _start: r._start,
        _stop: r._stop,
        _field: r._field,
        state: r.state,
        _value: r._value,
    }))
    |> group(columns: ["_start", "_stop", "_field", "tenant_id", "plc_id"])
    |> sort(columns: ["_time"])
""".replace("WHOSE", WHOSE)
STATES = """
    |> map(fn: (r) => ({_time: r._time, tenant_id: r.tenant_id, plc_id: r.plc_id, signal: r._field, _value: r.state}))
    |> group(columns: ["signal", "tenant_id", "plc_id"])"""
