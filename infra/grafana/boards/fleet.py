"""Every PLC on one page: who is silent, who fails, how old the newest frame is."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, DashboardLink
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana.board import WHOLE, Look, Section, board, columns, lines, number, rows, states, timeline
from grafana.boards.variables import bucket, plc, tenant
from grafana.flux import ABOUT, FOREVER, METRICS, NO_READINGS, WHO

__all__ = ["fleet"]

_LABELLED = """({
        tenant: if exists r.tenant then r.tenant else "",
        plc: if exists r.plc then r.plc else "",
        what: what,
        _value: float(v: r._value),
    })"""
_LABELS = "r.tenant =~ /^${tenant:regex}$/ and r.plc =~ /^${plc:regex}$/"

# One row a PLC, made of pieces that may be missing: an edge elsewhere is not asked for its metrics.
_STATE = f"""
// Functions, not values: the storage filters for itself only where a pipe is not shared.
frames = (start, stop) => from(bucket: "${{bucket:raw}}")
    |> range(start: start, stop: stop)
    |> filter(fn: (r) => {WHO} and r._measurement !~ {NO_READINGS})
near = () => frames(start: -7d, stop: 1d)
// Of a clock that is more than a day ahead: all that is known of such a PLC, where nothing nearer is.
far = () => frames(start: 1d, stop: {FOREVER})
who = (tables=<-, what) => tables
    |> last()
    |> map(fn: (r) => ({{
        tenant: if exists r.tenant_id then r.tenant_id else "",
        plc: if exists r.plc_id then r.plc_id else if exists r.ip then r.ip else "",
        what: what,
        _value: float(v: int(v: now()) - int(v: r._time)) / 1000000000.0,
    }}))
    |> group(columns: ["tenant", "plc", "what"])
    |> min()
metrics = () => from(bucket: "${{bucket:raw}}")
    |> range(start: -5m)
    |> filter(fn: (r) => r._measurement == "prometheus" and {_LABELS})
latest = (name, what) => metrics()
    |> filter(fn: (r) => r._field == name)
    |> last()
    |> map(fn: (r) => {_LABELLED})
    |> group(columns: ["tenant", "plc", "what"])
    |> max()
fleet = union(tables: [
    near() |> filter(fn: (r) => r._field !~ {ABOUT}) |> who(what: "age"),
    near() |> filter(fn: (r) => r._field == "read_failed") |> who(what: "failed"),
    far() |> who(what: "ahead"),
    latest(name: "plc_read_latency_ms", what: "latency"),
    latest(name: "plc_expected_interval_seconds", what: "interval"),
    latest(name: "plc_bad_tags", what: "bad"),
])
    |> group()
    |> pivot(rowKey: ["tenant", "plc"], columnKey: ["what"], valueColumn: "_value")
    |> map(fn: (r) => ({{r with
        limit: if not exists r.interval then 120.0 else if 2.0 * r.interval > 75.0 then 2.0 * r.interval else 75.0,
    }}))
    |> map(fn: (r) => ({{r with state:
        if exists r.age and r.age < -10.0 or exists r.ahead and not exists r.age and not exists r.failed then "ahead"
        else if exists r.failed and (not exists r.age or r.failed <= r.age) then "failing"
        else if not exists r.age or r.age > r.limit then "silent"
        else "ok"}}))
"""


def _count(state: str) -> str:
    flag = f'r with _value: if r.state == "{state}" then 1 else 0'
    return f'{_STATE}fleet |> map(fn: (r) => ({{{flag}}})) |> sum() |> keep(columns: ["_value"])'


def _metric(name: str, function: str) -> str:
    return f"""{METRICS}
    |> filter(fn: (r) => r._field == "{name}" and {_LABELS})
    |> aggregateWindow(every: v.windowPeriod, fn: {function}, createEmpty: false)
    |> keep(columns: ["_time", "_value", "tenant", "plc", "db"])"""


def fleet() -> Dashboard:
    """The dashboard to begin with."""
    text = "Every PLC: its state, its newest frame, its answers, what waits for it"
    return board("fleet", text, "now-1h", (tenant(), plc(), bucket()), _counts(), _plcs(), _times())


def _counts() -> Section:
    waiting = f"""{METRICS}
    |> filter(fn: (r) => r._field == "edge_backlog_size")
    |> last()
    |> group()
    |> sum()
    |> keep(columns: ["_value"])"""
    bad = ((None, "green"), (1.0, "red"))
    texts = {
        "ok": ("PLCs that answer", "New values within the expected time.", ((None, "text"),)),
        "failing": ("Failing", "Their newest frame says that the read failed.", bad),
        "silent": ("Silent", "No new values for two cycles and the forced refresh; 75 s at least.", bad),
    }
    counts = [
        number(title, text, _count(state), look=Look(steps=steps, decimals=0, empty="0"))
        for state, (title, text, steps) in texts.items()
    ]
    text = "Frames accepted and not acknowledged, over all edges that are asked for their metrics."
    steps = ((None, "green"), (100.0, "orange"), (10000.0, "red"))
    look = Look(steps=steps, decimals=0, empty="0")
    return "", [*counts, number("Frames that wait", text, waiting, look=look)]


def _plcs() -> Section:
    text = "Age: since the newest value; ahead: its clock is. Latency: of the latest read. The name leads to its line."
    query = f"""{_STATE}fleet
    |> keep(columns: ["tenant", "plc", "state", "age", "limit", "latency", "bad"])
    |> sort(columns: ["state", "tenant", "plc"])"""
    table = (
        rows("PLCs", text, query, look=Look())
        .mappings(states(ok="green", failing="red", silent="red", ahead="orange"))
        .height(10)
    )
    table = columns(
        table,
        plc=("PLC", ""),
        tenant=("Tenant", ""),
        state=("State", ""),
        age=("Age", "s"),
        limit=("Allowed", "s"),
        latency=("Latency", "ms"),
        bad=("Bad values", "short"),
    )
    url = "/d/retrofit-line?var-tenant=${__data.fields.Tenant}&var-plc=${__data.fields.PLC}&${__url_time_range}"
    link = DashboardLink("Its line").url(url).build()
    colored = DynamicConfigValue("custom.cellOptions", {"type": "color-text"})
    table.override_by_name("plc", [DynamicConfigValue("links", [link])]).override_by_name("state", [colored])
    return "PLCs", [table]


def _times() -> Section:
    name = "${__field.labels.tenant} ${__field.labels.plc} ${__field.labels.db}"
    latency = Look("ms", ((None, "green"), (250.0, "red")), name, least=0)
    waiting = f"""{METRICS}
    |> filter(fn: (r) => r._field == "edge_backlog_size")
    |> aggregateWindow(every: v.windowPeriod, fn: max, createEmpty: false)
    |> keep(columns: ["_time", "_value", "edge", "node"])"""
    edge = "${__field.labels.edge} ${__field.labels.node}"
    up = f"""{METRICS}
    |> filter(fn: (r) => r._field == "edge_up")
    |> aggregateWindow(every: v.windowPeriod, fn: last, createEmpty: false)
    |> map(fn: (r) => ({{_time: r._time, _value: if r._value > 0.0 then "up" else "down", edge: r.edge}}))
    |> group(columns: ["edge"])"""
    gap = "A hole is a time in which the edge did not answer."
    return "Times", [
        lines("Latency", "From request to complete answer.", _metric("plc_read_latency_ms", "mean"), look=latency),
        lines("Backlog", "Frames that wait, by edge and sink.", waiting, look=Look(name=edge, least=0, decimals=0)),
        timeline("Edges", gap, up, look=Look(name="${__field.labels.edge}"), width=WHOLE).mappings(
            states(up="green", down="red")
        ),
    ]
