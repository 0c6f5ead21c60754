"""What each alert rule asks: Flux that compares, and gives one row a subject, 1 where somebody must act and else 0.

So what a rule does can be seen, and tested, on InfluxDB alone. There is no `$` in a rule: Grafana would take it for a
variable of its environment.
"""

from __future__ import annotations

from typing import NamedTuple

from grafana.boards.debug import GAPS
from grafana.flux import ABOUT, FOREVER, NO_FRAMES, NO_READINGS

__all__ = ["RULES", "Alert"]


class Alert(NamedTuple):
    """One rule.

    Attributes:
        name: its uid and file-wide name.
        title: what people read first.
        flux: rows of texts and one `_value`, more than 0 where it fires.
        after: how long it must be so.
        severity: critical or warning.
        summary: one line; `{{ .Labels.x }}` is a row's text.
        action: what to do.
        board: the dashboard that shows more.
    """

    name: str
    title: str
    flux: str
    after: str
    severity: str
    summary: str
    action: str
    board: str


_METRIC = """from(bucket: v.defaultBucket)
    |> range(start: -{back})
    |> filter(fn: (r) => r._measurement == "prometheus" and r._field == "{name}")
"""

# Frames' tags and metrics' labels under the same names; a PLC without plc_id is known by its address.
_OF_FRAME = """tenant: if exists r.tenant_id then r.tenant_id else "",
        plc: if exists r.plc_id then r.plc_id else if exists r.ip then r.ip else "",
        db: if exists r.db then r.db else \"\""""
_OF_METRIC = """tenant: if exists r.tenant then r.tenant else "",
        plc: if exists r.plc then r.plc else "",
        db: if exists r.db then r.db else \"\""""
_SUBJECT = '["tenant", "plc", "db", "_value"]'
_WHOSE = "{{ .Labels.tenant }} {{ .Labels.plc }}"


# A short range would lose the PLC that is silent, and the alert with it. What is dated further than a day ahead counts
# only where a block has nothing else: one such frame would hide all that follows.
def _latest(what: str, where: str) -> str:
    return _last(what, "-7d, stop: 1d", where) + _last(f"{what}_ahead", f"1d, stop: {FOREVER}", where)


def _last(what: str, span: str, where: str) -> str:
    return f"""{what} = from(bucket: v.defaultBucket)
    |> range(start: {span})
    |> filter(fn: (r) => {where})
    |> last()
    |> map(fn: (r) => ({{
        {_OF_FRAME},
        what: "{what}",
        _value: float(v: int(v: r._time)) / 1000000000.0,
    }}))
    |> group(columns: ["tenant", "plc", "db", "what"])
    |> max()
"""


_NEWEST = _latest("newest", f"r._measurement !~ {NO_READINGS} and r._field !~ {ABOUT}")
_FAILED = _latest("failed", 'r._field == "read_failed"')

_SILENT = f"""// 2 flushes: Telegraf's, with the way there and InfluxDB's answer. The forced refresh: `refresh: 60s` of
// configs/lean.yaml behind its rate_limit, with a flush on top. An edge elsewhere tells no interval: two of a minute.
flushes = 10.0
refresh = 75.0
unknown = 60.0

{_NEWEST}
interval = {_METRIC.format(back="7d", name="plc_expected_interval_seconds")}    |> last()
    |> map(fn: (r) => ({{
        {_OF_METRIC},
        what: "interval",
        _value: r._value,
    }}))
    |> group(columns: ["tenant", "plc", "db", "what"])
    |> max()

union(tables: [newest, newest_ahead, interval])
    |> group()
    |> pivot(rowKey: ["tenant", "plc", "db"], columnKey: ["what"], valueColumn: "_value")
    |> filter(fn: (r) => exists r.newest or exists r.newest_ahead)
    |> map(fn: (r) => ({{r with
        age: float(v: int(v: now())) / 1000000000.0 - (if exists r.newest then r.newest else r.newest_ahead),
        cycles: 2.0 * (if exists r.interval then r.interval else unknown),
    }}))
    |> map(fn: (r) => ({{r with _value:
        if r.age > r.cycles and r.age > flushes and r.age > refresh then 1.0 else 0.0}}))
    |> keep(columns: {_SUBJECT})"""

_FAILING = f"""{_NEWEST}
{_FAILED}
union(tables: [newest, newest_ahead, failed, failed_ahead])
    |> group()
    |> pivot(rowKey: ["tenant", "plc", "db"], columnKey: ["what"], valueColumn: "_value")
    |> map(fn: (r) => ({{r with _value:
        if exists r.failed then (if not exists r.newest or r.failed >= r.newest then 1.0 else 0.0)
        else if exists r.newest or not exists r.failed_ahead then 0.0
        else if not exists r.newest_ahead or r.failed_ahead >= r.newest_ahead then 1.0
        else 0.0}}))
    |> keep(columns: {_SUBJECT})"""

_GROWING = f"""waiting = {_METRIC.format(back="10m", name="edge_backlog_size")}    |> group(columns: ["edge", "node"])
    |> sort(columns: ["_time"])
growth = waiting
    |> derivative(unit: 1m)
    |> mean()
    |> map(fn: (r) => ({{edge: r.edge, node: r.node, what: "growth", _value: r._value}}))
least = waiting
    |> min()
    |> map(fn: (r) => ({{edge: r.edge, node: r.node, what: "least", _value: r._value}}))

// One that is empty now and then is only busy.
union(tables: [growth, least])
    |> group()
    |> pivot(rowKey: ["edge", "node"], columnKey: ["what"], valueColumn: "_value")
    |> map(fn: (r) => ({{edge: r.edge, node: r.node, _value:
        if exists r.growth and r.growth > 0.0 and r.least > 0.0 then 1.0 else 0.0}}))"""

_HEADROOM = """from(bucket: v.defaultBucket)
    |> range(start: -5m)
    |> filter(fn: (r) => r._measurement == "prometheus")
    |> filter(fn: (r) => r._field == "edge_backlog_headroom_seconds" or r._field == "edge_backlog_size")
    |> last()
    |> keep(columns: ["edge", "node", "_field", "_value"])
    |> group()
    |> pivot(rowKey: ["edge", "node"], columnKey: ["_field"], valueColumn: "_value")
    |> map(fn: (r) => ({edge: r.edge, node: r.node, _value:
        if r.edge_backlog_size > 0.0 and r.edge_backlog_headroom_seconds < 3600.0 then 1.0 else 0.0}))"""

_LATENCY = f"""{_METRIC.format(back="5m", name="plc_read_latency_ms")}    |> mean()
    |> map(fn: (r) => ({{
        {_OF_METRIC},
        _value: if r._value > 250.0 then 1.0 else 0.0,
    }}))
    |> group(columns: ["tenant", "plc", "db"])
    |> max()
    |> group()"""

_DEGRADED = f"""{_METRIC.format(back="3m", name="edge_node_state")}    |> filter(
        fn: (r) => r.state =~ /^(degraded|backing_off|stopped)\\z/,
    )
    |> last()
    |> map(fn: (r) => ({{edge: r.edge, node: r.node, state: r.state, _value: if r._value > 0.0 then 1.0 else 0.0}}))
    |> group(columns: ["edge", "node", "state"])
    |> max()
    |> group()"""

_CLOCK = f"""// Telegraf rounds its times to 5 s.
most = 10.0
edges = {_METRIC.format(back="5m", name="edge_time_seconds")}    |> last()
    |> map(fn: (r) => ({{
        subject: r.edge,
        difference: r._value - float(v: int(v: r._time)) / 1000000000.0,
    }}))
// A tenant's edge is not asked; one whose clock is ahead shows by frames of the future. Of more than a day ahead: while
// none of now come, so that one wrong frame does not ring for years.
frames = (start, stop) => from(bucket: v.defaultBucket)
    |> range(start: start, stop: stop)
    |> filter(fn: (r) => r._measurement !~ {NO_READINGS})
    |> last()
    |> map(fn: (r) => ({{
        subject: (if exists r.tenant_id then r.tenant_id + " " else "")
            + (if exists r.plc_id then r.plc_id else if exists r.ip then r.ip else ""),
        difference: float(v: int(v: r._time) - int(v: now())) / 1000000000.0,
    }}))
    |> group(columns: ["subject"])
    |> max(column: "difference")
ahead = frames(start: -1m, stop: 1d)
    |> filter(fn: (r) => r.difference > 0.0)
far = union(
    tables: [
        frames(start: 1d, stop: {FOREVER}) |> map(fn: (r) => ({{r with what: "far"}})),
        frames(start: -10m, stop: 1d) |> map(fn: (r) => ({{r with what: "near"}})),
    ],
)
    |> group()
    |> pivot(rowKey: ["subject"], columnKey: ["what"], valueColumn: "difference")
    |> filter(fn: (r) => exists r.far and not exists r.near)
    |> map(fn: (r) => ({{subject: r.subject, difference: r.far}}))

union(tables: [edges, ahead, far])
    |> group()
    |> map(fn: (r) => ({{subject: r.subject, _value:
        if r.difference > most or r.difference < 0.0 - most then 1.0 else 0.0}}))
    |> group(columns: ["subject"])
    |> max()
    |> group()"""

_GAP = f"""// Not the latest minute, whose frames may still be on their way.
frames = from(bucket: v.defaultBucket)
    |> range(start: -1h, stop: -1m)
    |> filter(fn: (r) => r._measurement !~ {NO_FRAMES})
{GAPS}gaps = frames
    |> group(columns: ["tenant_id", "plc_id", "ip"])
    |> count(column: "missing")
    |> map(fn: (r) => ({{
        tenant: if exists r.tenant_id then r.tenant_id else "",
        plc: if exists r.plc_id then r.plc_id else if exists r.ip then r.ip else "",
        _value: float(v: r.missing),
    }}))
    |> group(columns: ["tenant", "plc"])
    |> sum()
    |> group()
gaps"""

_DROPPED = """// The counter begins with the first frame that is given up, and anew when the edge does.
counted = (start, stop, what) => from(bucket: v.defaultBucket)
    |> range(start: start, stop: stop)
    |> filter(fn: (r) => r._measurement == "prometheus" and r._field == "edge_frames_dropped_total")
    |> last()
    |> map(fn: (r) => ({edge: r.edge, node: r.node, reason: r.reason, what: what, _value: r._value}))

union(tables: [counted(start: -1d, stop: -15m, what: "before"), counted(start: -15m, stop: 0s, what: "latest")])
    |> group()
    |> pivot(rowKey: ["edge", "node", "reason"], columnKey: ["what"], valueColumn: "_value")
    |> filter(fn: (r) => exists r.latest)
    |> map(fn: (r) => ({edge: r.edge, node: r.node, reason: r.reason, _value:
        if exists r.before and r.latest == r.before then 0.0 else 1.0}))"""

_REFUSED = """// Of each Telegraf since its start: what was refused comes again, and is refused, at each reconnect.
from(bucket: v.defaultBucket)
    |> range(start: -10m)
    |> filter(fn: (r) => r._measurement == "internal_write" and r._field == "metrics_rejected")
    |> last()
    |> map(fn: (r) => ({
        telegraf: if exists r.telegraf then r.telegraf else "",
        alias: if exists r.alias then r.alias else "",
        _value: if float(v: r._value) > 0.0 then 1.0 else 0.0,
    }))
    |> group()"""

_BACKUP = """import "array"

// A day, and two hours in which it may be made. What was never made has no row of its own. One of the future is of a
// wrong clock.
oldest = 93600.0
future = -300.0
made = from(bucket: v.defaultBucket)
    |> range(start: -30d)
    |> filter(fn: (r) => r._measurement == "backup" and r._field == "last_success")
    |> last()
    |> map(fn: (r) => ({kind: r.kind, made: float(v: r._value)}))
    |> group()
never = array.from(rows: [{kind: "influxdb", made: 0.0}, {kind: "grafana", made: 0.0}])

union(tables: [made, never])
    |> group(columns: ["kind"])
    |> max(column: "made")
    |> map(fn: (r) => ({kind: r.kind, age: float(v: int(v: now())) / 1000000000.0 - r.made}))
    |> map(fn: (r) => ({kind: r.kind, _value: if r.age > oldest or r.age < future then 1.0 else 0.0}))
    |> group()"""

RULES = (
    Alert(
        "silent",
        "No new values",
        _SILENT,
        "30s",
        "critical",
        f"{_WHOSE} (DB {{{{ .Labels.db }}}}) gives no new values",
        "Is the edge up, is the PLC failing, does the backlog grow? `infra/doctor` asks each on the way.",
        "fleet",
    ),
    Alert(
        "failing",
        "PLC can't be read",
        _FAILING,
        "1m",
        "critical",
        f"reads of {_WHOSE} (DB {{{{ .Labels.db }}}}) fail",
        "The debug dashboard has the reason. Cable, power, PUT/GET, rack and slot, connections.",
        "debug",
    ),
    Alert(
        "backlog",
        "Backlog grows",
        _GROWING,
        "5m",
        "warning",
        "frames wait at {{ .Labels.edge }}, {{ .Labels.node }}",
        "Network, broker, rights: the edge's log says why. Nothing is lost while there is headroom.",
        "edge",
    ),
    Alert(
        "headroom",
        "Little headroom",
        _HEADROOM,
        "1m",
        "critical",
        "{{ .Labels.edge }}, {{ .Labels.node }} will lose frames in an hour",
        "Bring the receiver back, or give the journal more room (max_size, max_age).",
        "edge",
    ),
    Alert(
        "latency",
        "Slow reads",
        _LATENCY,
        "2m",
        "warning",
        f"{_WHOSE} answers in more than 250 ms",
        "Network, load of the CPU, too many connections; or poll less often.",
        "edge",
    ),
    Alert(
        "degraded",
        "Node not well",
        _DEGRADED,
        "2m",
        "warning",
        "{{ .Labels.node }} of {{ .Labels.edge }} is {{ .Labels.state }}",
        "The edge's page says what is wrong with it.",
        "edge",
    ),
    Alert(
        "clock",
        "Clock is wrong",
        _CLOCK,
        "2m",
        "warning",
        "the clock of {{ .Labels.subject }} differs by more than 10 s",
        "Set up NTP there. Frames keep the wrong time.",
        "edge",
    ),
    Alert(
        "gap",
        "Frames are missing",
        _GAP,
        "5m",
        "critical",
        f"frames of {_WHOSE} are missing between two that came",
        "`infra/audit` names them, `pipeline journal resend` sends them again; `live_first` may be at it already.",
        "debug",
    ),
    Alert(
        "dropped",
        "Frames given up",
        _DROPPED,
        "0s",
        "critical",
        "{{ .Labels.edge }}, {{ .Labels.node }}: {{ .Labels.reason }}",
        "The journal was full or frames too old: more room, or a receiver that is there.",
        "edge",
    ),
    Alert(
        "refused",
        "InfluxDB refuses points",
        _REFUSED,
        "0s",
        "critical",
        "InfluxDB has refused points of Telegraf's output {{ .Labels.alias }}",
        "Telegraf's log names the point. It and what it took along come again at each reconnect, and are not stored.",
        "debug",
    ),
    Alert(
        "backup",
        "Backup is too old",
        _BACKUP,
        "30m",
        "warning",
        "no {{ .Labels.kind }} backup for more than a day, or its date is still to come",
        "`infra/backup now` says what keeps it from being made.",
        "fleet",
    ),
)
