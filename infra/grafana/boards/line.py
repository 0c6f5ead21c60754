"""One machine or line: what it makes, how it runs, when it stopped."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana.board import (
    WHOLE,
    Look,
    bars,
    board,
    choice_variable,
    columns,
    dial,
    lines,
    number,
    rows,
    states,
    text_variable,
    timeline,
)
from grafana.boards.variables import bucket, plc, tenant
from grafana.flux import frames, resolved

__all__ = ["line"]

_NAME = "${__field.labels.plc_id} ${__field.labels.signal}"
_PLC = "${__field.labels.plc_id}"
# A PLC without plc_id goes by its address.
_WHOSE = """tenant_id: if exists r.tenant_id then r.tenant_id else "",
        plc_id: if exists r.plc_id then r.plc_id else if exists r.ip then r.ip else "",
        _time: r._time"""
_KEEP = f"""|> map(fn: (r) => ({{
        {_WHOSE},
        signal: r._field,
        _value: r._value,
    }}))
    |> group(columns: ["signal", "tenant_id", "plc_id"])"""
_KEEP_RUNS = (
    '|> rename(columns: {_field: "signal"}) |> keep(columns: ["_time", "_value", "signal", "tenant_id", "plc_id"])'
)
_OEE_STEPS = ((None, "red"), (0.6, "orange"), (0.85, "green"))
_VIBRATION = ((None, "green"), (4.5, "orange"), (7.1, "red"))
_SCRAP = ((None, "green"), (2.0, "orange"), (5.0, "red"))

# What a counter has counted between two readings: 16-bit counters begin anew at 0 or at -32768, a reset one at 0.
_MADE = """
most = if step == "1h" then 16000.0 else if step == "1m" then 2000.0 else 1000.0
counted = (name, tables=<-) => {
    steps = tables
        |> signal(name: name, kind: "last")
        |> toFloat()
        |> duplicate(column: "_value", as: "reading")
        |> difference(columns: ["_value"])
    up = steps |> filter(fn: (r) => r._value >= 0.0)
    down = steps
        |> filter(fn: (r) => r._value < 0.0)
        |> map(fn: (r) => ({r with _value:
            if r._value + 65536.0 <= most then r._value + 65536.0
            else if r._value + 32768.0 <= most then r._value + 32768.0
            else if r.reading >= 0.0 and r.reading <= most then r.reading
            else 0.0}))
    return union(tables: [up, down]) |> drop(columns: ["reading"])
}
// Whole windows only: a part of one would look like a slower machine.
per_minute = (tables=<-) => tables
    |> group(columns: ["_start", "_stop", "_field", "tenant_id", "plc_id", "ip"])
    |> aggregateWindow(every: minutely, fn: sum, createEmpty: false)
    |> filter(fn: (r) => int(v: r._time) % int(v: minutely) == 0)
    |> filter(fn: (r) => int(v: r._time) - int(v: minutely) >= int(v: v.timeRangeStart))
    |> map(fn: (r) => ({r with _value: r._value * 60000000000.0 / float(v: int(v: minutely))}))
"""
_SCRAP_RATE = (
    _MADE
    + """
parts = (name, what) => chosen()
    |> counted(name: name)
    |> group(columns: ["_start", "_stop", "tenant_id", "plc_id", "ip"])
    |> aggregateWindow(every: minutely, fn: sum, createEmpty: false)
    |> map(fn: (r) => ({
        WHOSE,
        what: what,
        _value: r._value,
    }))
union(tables: [parts(name: "${good:raw}", what: "good"), parts(name: "${scrap:raw}", what: "bad")])
    |> group(columns: ["tenant_id", "plc_id"])
    |> pivot(rowKey: ["_time"], columnKey: ["what"], valueColumn: "_value")
    |> map(fn: (r) => ({r with good: if exists r.good then r.good else 0.0, bad: if exists r.bad then r.bad else 0.0}))
    |> filter(fn: (r) => r.good + r.bad > 0.0)
    |> map(fn: (r) => ({_time: r._time, tenant_id: r.tenant_id, plc_id: r.plc_id,
        _value: 100.0 * r.bad / (r.good + r.bad)}))
""".replace("WHOSE", _WHOSE)
)
_RUNS = """
changes = chosen()
    |> signal(name: "${running:raw}", kind: "last")
    |> toFloat()
    |> duplicate(column: "_value", as: "change")
    |> difference(columns: ["change"])
    |> filter(fn: (r) => r.change != 0.0)
    |> drop(columns: ["change"])
first = chosen()
    |> signal(name: "${running:raw}", kind: "last")
    |> first()
    |> toFloat()
runs = union(tables: [first, changes])
    |> map(fn: (r) => ({
        WHOSE,
        _start: r._start,
        _stop: r._stop,
        _field: r._field,
        _value: if r._value == 0.0 then 0 else 1,
    }))
    |> group(columns: ["_start", "_stop", "_field", "tenant_id", "plc_id"])
    |> sort(columns: ["_time"])
""".replace("WHOSE", _WHOSE)


def _latest(field: str) -> str:
    return frames(f"    |> filter(fn: (r) => r._field =~ /^(?:${{{field}:raw}})$/)\n    |> last()\n    {_KEEP}")


def _analogue(field: str) -> str:
    return resolved(f"""chosen()
    |> filter(fn: (r) => r._measurement !~ /^(prometheus|oee)$/)
    |> signal(name: "${{{field}:raw}}", kind: "mean")
    |> aggregateWindow(every: v.windowPeriod, fn: mean, createEmpty: false)
    {_KEEP}""")


def _oee(*fields: str) -> str:
    return resolved(f"""chosen()
    |> filter(fn: (r) => r._measurement == "oee")
    |> signal(name: "{"|".join(fields)}", kind: "mean")
    |> aggregateWindow(every: minutely, fn: mean, createEmpty: false)
    {_KEEP}""")


def _latest_oee(field: str) -> str:
    return resolved(f"""chosen()
    |> filter(fn: (r) => r._measurement == "oee")
    |> signal(name: "{field}", kind: "last")
    |> last()
    {_KEEP}""")


def line() -> Dashboard:
    """The dashboard that a line's people have on the wall and on their phones."""
    made = board("line", "What machines make, how they run, and when they stood still", "now-3h")
    for add in (_variables, _now, _production, _effectiveness, _machine):
        made = add(made)
    return made


def _variables(made: Dashboard) -> Dashboard:
    steps = "auto: up to 6 h each frame, up to 7 days minutes, beyond that hours"
    signals = {
        "good": ("Good counter", ".*contador_bom"),
        "scrap": ("Scrap counter", ".*contador_ruim"),
        "running": ("Runs", ".*(maquina_ligada|status_maquina)"),
        "current": ("Current", "(AI_|.*_[0-9]+_)?[Cc]orrente"),
        "vibration": ("Vibration", "(AI_|.*_[0-9]+_)?[Vv]ibracao"),
    }
    for variable in (tenant(), plc(), bucket()):
        made = made.with_variable(variable)
    made = made.with_variable(choice_variable("resolution", "Resolution", ("auto", "raw", "1m", "1h"), steps))
    for name, (label, default) in signals.items():
        made = made.with_variable(text_variable(name, label, default, "Its name, as a regular expression"))
    return made


def _now(made: Dashboard) -> Dashboard:
    state = resolved(
        _RUNS
        + 'runs |> last() |> map(fn: (r) => ({r with _value: if r._value == 1 then "running" else "stopped"}))'
        + _KEEP_RUNS
    )
    rate = resolved(f"""{_MADE}chosen()
    |> counted(name: "${{good:raw}}")
    |> per_minute()
    |> last()
    {_KEEP}""")
    whole = Look(name=_NAME, decimals=0)
    text = "Whether the machine runs, by its newest reading in this range."
    running = states(stopped="red", running="green")
    return (
        made.with_row(Row("Now"))
        .with_panel(number("State", text, state, look=Look(name=_PLC)).mappings(running))
        .with_panel(number("Good parts", "The counter as the PLC has it.", _latest("good"), look=whole))
        .with_panel(number("Scrap", "The counter as the PLC has it.", _latest("scrap"), look=whole))
        .with_panel(
            number(
                "Parts per minute",
                "Good parts of the latest whole minute, or bar.",
                rate,
                look=Look(name=_NAME, decimals=1),
            )
        )
    )


def _production(made: Dashboard) -> Dashboard:
    per_minute = resolved(f"""{_MADE}chosen()
    |> counted(name: "${{good:raw}}|${{scrap:raw}}")
    |> per_minute()
    {_KEEP}""")
    counters = resolved(f"""chosen()
    |> signal(name: "${{good:raw}}|${{scrap:raw}}", kind: "last")
    |> aggregateWindow(every: v.windowPeriod, fn: last, createEmpty: false)
    {_KEEP}""")
    scrap = Look(unit="percent", steps=_SCRAP, name=_PLC, least=0, decimals=1)
    return (
        made.with_row(Row("Production"))
        .with_panel(
            bars(
                "Production per minute",
                "Parts counted in each whole bar, also over a 16-bit counter's end and a reset.",
                per_minute,
                look=Look(name=_NAME, least=0, decimals=1),
            )
        )
        .with_panel(lines("Counters", "As the PLC has them.", counters, look=Look(name=_NAME, decimals=0)))
        .with_panel(
            lines("Scrap rate", "Scrap of all parts, window by window.", resolved(_SCRAP_RATE), look=scrap, width=WHOLE)
        )
    )


def _effectiveness(made: Dashboard) -> Dashboard:
    factors = {
        "oee": ("OEE", "Availability x performance x quality, the newest result of the edge's `oee`."),
        "availability": ("Availability", "Running time of planned time."),
        "performance": (
            "Performance",
            "Parts made of what the ideal rate gives in the running time. Over 100%: see its rate.",
        ),
        "quality": ("Quality", "Good parts of all parts."),
    }
    made = made.with_row(Row("Effectiveness"))
    look = Look(unit="percentunit", steps=_OEE_STEPS, name=_PLC, least=0, most=1, decimals=1)
    for field, (title, text) in factors.items():
        made = made.with_panel(dial(title, text, _latest_oee(field), look=look))
    over_time = look._replace(steps=((None, "green"),), name=_NAME, most=None)
    text = "The four of them, as the edge has computed them for shift, hour or day; a result begins anew with each."
    return made.with_panel(lines("OEE and its factors", text, _oee(*factors), look=over_time, width=WHOLE))


def _machine(made: Dashboard) -> Dashboard:
    running = states(stopped="red", running="green")
    timed = f"""runs
    |> map(fn: (r) => ({{r with _value: if r._value == 1 then "running" else "stopped"}}))
    {_KEEP_RUNS}"""
    stops = """runs
    |> sort(columns: ["_time"])
    |> events.duration(unit: 1s, columnName: "duration")
    |> filter(fn: (r) => r._value == 0)
    |> group()
    |> sort(columns: ["_time"], desc: true)
    |> limit(n: 200)
    |> keep(columns: ["_time", "tenant_id", "plc_id", "_field", "duration"])"""
    vibration = Look("suffix: mm/s", steps=_VIBRATION, name=_NAME, least=0)
    table = rows(
        "Stops",
        "Newest first; the last one may go on. Beyond 6 h only those longer than a step are seen.",
        resolved(_RUNS + stops, 'import "contrib/tomhollingworth/events"\n'),
        look=Look(empty="no stops"),
    )
    text = "A line above: 4.5 mm/s is bad and 7.1 must not be, ISO 10816-1, small machines."
    return (
        made.with_row(Row("Machine"))
        .with_panel(
            timeline(
                "Runs", "Running and stopped, as it changed.", resolved(_RUNS + timed), look=Look(name=_NAME)
            ).mappings(running)
        )
        .with_panel(
            lines("Currents", "Means of each point's time.", _analogue("current"), look=Look("amp", name=_NAME))
        )
        .with_panel(lines("Vibration", text, _analogue("vibration"), look=vibration))
        .with_panel(
            columns(
                table,
                _time=("Since", ""),
                duration=("For", "s"),
                _field=("Signal", ""),
                plc_id=("PLC", ""),
                tenant_id=("Tenant", ""),
            )
        )
    )
