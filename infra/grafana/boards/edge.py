"""One edge from inside: its reads, what waits, what was given up, the states of its nodes."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana.board import WHOLE, Look, Section, bars, board, lines, number, states, timeline
from grafana.boards.variables import bucket, edge
from grafana.flux import metric

__all__ = ["edge_board"]

_NODE = "${__field.labels.edge} ${__field.labels.node}"
_PLC = "${__field.labels.tenant} ${__field.labels.plc} ${__field.labels.db}"
_COLORS = {"running": "green", "starting": "blue", "degraded": "orange", "backing_off": "red", "stopped": "dark-red"}


def _keep(*labels: str) -> str:
    kept = ", ".join(f'"{name}"' for name in ("_time", "_value", "edge", *labels))
    return f'    |> rename(columns: {{_field: "signal"}})\n    |> keep(columns: [{kept}])'


def _gauge(name: str, function: str, *labels: str) -> str:
    window = f"    |> aggregateWindow(every: v.windowPeriod, fn: {function}, createEmpty: false)\n"
    return metric(name, window + _keep(*labels))


def _rate(name: str, *labels: str, unit: str = "1s") -> str:
    per = f"    |> derivative(unit: {unit}, nonNegative: true)\n"
    window = "    |> aggregateWindow(every: v.windowPeriod, fn: mean, createEmpty: false)\n"
    return metric(name, per + window + _keep(*labels))


def _now(name: str, function: str) -> str:
    return metric(
        name,
        f"""    |> last()
    |> group(columns: ["edge"])
    |> {function}()
    |> map(fn: (r) => ({{_time: now(), _value: r._value, edge: r.edge}}))""",
    )


def edge_board() -> Dashboard:
    """The dashboard of an edge's metrics."""
    text = "Edges from inside: reads, backlog, headroom, drops, states"
    sections = (_latest(), _states(), _reads(), _delivery(), _process())
    return board("edge", text, "now-1h", (edge(), bucket()), *sections)


def _latest() -> Section:
    name = "${__field.labels.edge}"
    waiting = Look(name=name, steps=((None, "green"), (100.0, "orange"), (10000.0, "red")), decimals=0)
    headroom = Look("s", ((None, "red"), (3600.0, "orange"), (14400.0, "green")), name)
    age = Look("s", ((None, "green"), (60.0, "orange"), (600.0, "red")), name)
    dead = Look(name=name, steps=((None, "green"), (1.0, "red")), decimals=0)
    return "", [
        number("Backlog", "Frames that wait for the receiver.", _now("edge_backlog_size", "sum"), look=waiting),
        number("Oldest", "How long the oldest has waited.", _now("edge_backlog_oldest_age_seconds", "max"), look=age),
        number(
            "Headroom",
            "Time until frames are lost if the receiver stays away.",
            _now("edge_backlog_headroom_seconds", "min"),
            look=headroom,
        ),
        number("Dead letters", "Refused for good; kept.", _now("edge_dead_letters", "sum"), look=dead),
    ]


def _states() -> Section:
    query = metric(
        "edge_node_state",
        """    |> filter(fn: (r) => r._value == 1.0)
    |> map(fn: (r) => ({_time: r._time, edge: r.edge, node: r.node, _value: r.state}))
    |> group(columns: ["edge", "node"])
    |> sort(columns: ["_time"])
    |> aggregateWindow(every: v.windowPeriod, fn: last, createEmpty: false)""",
    )
    panel = timeline("Nodes", "The state of each part of the graph.", query, look=Look(name=_NODE)).height(10)
    return "States", [panel.mappings(states(**_COLORS))]


def _reads() -> Section:
    latency = Look("ms", ((None, "green"), (250.0, "red")), _PLC, least=0)
    skipped = Look("ops", name="${__field.labels.plc} ${__field.labels.reason}", least=0)
    interval = Look("s", name=_PLC, least=0)
    return "Reads", [
        lines(
            "Poll time",
            "Request to complete answer.",
            _gauge("plc_read_latency_ms", "mean", "tenant", "plc", "db"),
            look=latency,
        ),
        lines(
            "Reads",
            "Reads a second that gave a frame, and that failed.",
            _rate("plc_read_ok_total", "tenant", "plc", "db", "signal"),
            _rate("plc_read_fail_total", "tenant", "plc", "db", "signal"),
            look=Look("reqps", name=_PLC + " ${__field.labels.signal}", least=0),
        ),
        bars(
            "Skipped ticks",
            "Ticks a second that no read followed.",
            _rate("edge_ticks_skipped_total", "plc", "reason"),
            look=skipped,
        ),
        lines(
            "Expected interval",
            "Time between two reads as configured.",
            _gauge("plc_expected_interval_seconds", "last", "tenant", "plc", "db"),
            look=interval,
        ),
    ]


def _delivery() -> Section:
    p95 = metric(
        "edge_answer_to_ack_seconds_bucket",
        # A restart sets the counters back, and not each bucket's shows it: what came since may be less in a larger one.
        """    |> difference(nonNegative: true, initialZero: true)
    |> aggregateWindow(every: v.windowPeriod, fn: sum, createEmpty: false)
    |> map(fn: (r) => ({_time: r._time, edge: r.edge, node: r.node, le: float(v: r.le), _value: r._value}))
    |> group(columns: ["edge", "node", "_time"])
    |> histogramQuantile(quantile: 0.95, onNonmonotonic: "force")
    |> filter(fn: (r) => exists r._value)
    |> group(columns: ["edge", "node"])
    |> sort(columns: ["_time"])""",
    )
    named = Look(name=_NODE, least=0)
    reasons = Look("ops", name=_NODE + " ${__field.labels.reason}", least=0, empty="none")
    published = _NODE + " ${__field.labels.signal} ${__field.labels.mode}"
    return "Delivery", [
        lines("Frames that wait", "By sink.", _gauge("edge_backlog_size", "max", "node"), look=named),
        lines(
            "Headroom over time",
            "Time until frames are lost if the receiver stays away.",
            _gauge("edge_backlog_headroom_seconds", "min", "node"),
            look=Look("s", name=_NODE, least=0),
        ),
        lines(
            "Published",
            "Frames a second that were acknowledged, and that were refused.",
            _rate("plc_publish_ok_total", "node", "mode", "signal"),
            _rate("plc_publish_fail_total", "node", "mode", "signal"),
            look=Look("ops", name=published, least=0),
        ),
        bars(
            "Dropped",
            "Frames a second that were given up.",
            _rate("edge_frames_dropped_total", "node", "reason"),
            look=reasons,
        ),
        lines("Answer to acknowledgement", "95 of 100 frames were faster.", p95, look=Look("s", name=_NODE, least=0)),
        lines(
            "Backlog on disk",
            "Of unacknowledged frames.",
            _gauge("edge_backlog_bytes", "max", "node"),
            look=Look("bytes", name=_NODE, least=0),
        ),
    ]


def _process() -> Section:
    name = "${__field.labels.edge}"
    clock = metric(
        "edge_time_seconds",
        """    |> map(fn: (r) => ({
        _time: r._time,
        edge: r.edge,
        _value: r._value - float(v: int(v: r._time)) / 1000000000.0,
    }))
    |> group(columns: ["edge"])
    |> aggregateWindow(every: v.windowPeriod, fn: mean, createEmpty: false)""",
    )
    text = "The edge's clock against Telegraf's, which is rounded to 5 s."
    return "Process", [
        lines("CPU", "Of one core.", _rate("process_cpu_seconds_total"), look=Look("percentunit", name=name, least=0)),
        lines(
            "Memory",
            "Resident.",
            _gauge("process_resident_memory_bytes", "max"),
            look=Look("bytes", name=name, least=0),
        ),
        lines("Clock difference", text, clock, look=Look("s", name=name), width=WHOLE),
    ]
