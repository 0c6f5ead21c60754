"""One machine or line: what it makes, how it runs, when it stopped."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import ValueMapping, VariableModel

from grafana.board import (
    WHOLE,
    Look,
    Section,
    bars,
    board,
    choice_variable,
    columns,
    dial,
    like,
    lines,
    number,
    rows,
    states,
    text_variable,
    timeline,
)
from grafana.boards.variables import bucket, plc, tenant
from grafana.flux import ABOUT, WHOSE, frames, resolved
from grafana.machine import HASH, INTERPOLATE, MADE, RUNS, SCRAP_RATE, STATES

__all__ = ["line"]

_NAME = "${__field.labels.tenant_id} ${__field.labels.plc_id} ${__field.labels.signal}"
_PLC = "${__field.labels.tenant_id} ${__field.labels.plc_id}"
_KEEP = f"""|> map(fn: (r) => ({{
        {WHOSE},
        _time: r._time,
        signal: r._field,
        _value: r._value,
    }}))
    |> group(columns: ["signal", "tenant_id", "plc_id"])"""
_OEE_STEPS = ((None, "red"), (0.6, "orange"), (0.85, "green"))
_VIBRATION = ((None, "green"), (4.5, "orange"), (7.1, "red"))
_SCRAP = ((None, "green"), (2.0, "orange"), (5.0, "red"))
_STOPPED = "0|false|off|idle|stop(ped)?|parad[oa]|desligad[oa]"
_LEVELS = states(Normal="green", ALERTA="orange", CRITICO="red")


def _latest(field: str) -> str:
    return 'import "types"\n\n' + frames(f"""    |> filter(fn: (r) => r._field =~ /^(?:${{{field}:raw}})$/)
    |> last()
    |> filter(fn: (r) => not types.isType(v: r._value, type: "string") and not types.isType(v: r._value, type: "bool"))
    |> toFloat()
    {_KEEP}""")


def _analogue(field: str) -> str:
    return resolved(f"""numbers(name: /${{{field}:raw}}/, kind: "mean")
    |> filter(fn: (r) => r._measurement !~ /^(prometheus|oee)$/)
    |> aggregateWindow(every: v.windowPeriod, fn: mean, createEmpty: false)
    {_KEEP}""")


def _oee(*fields: str) -> str:
    return resolved(f"""chosen()
    |> filter(fn: (r) => r._measurement == "oee")
    |> signal(name: /{"|".join(fields)}/, kind: "mean")
    |> aggregateWindow(every: minutely, fn: mean, createEmpty: false)
    {_KEEP}""")


def _latest_oee(field: str) -> str:
    return resolved(f"""chosen()
    |> filter(fn: (r) => r._measurement == "oee")
    |> signal(name: /{field}/, kind: "last")
    |> last()
    {_KEEP}""")


def line() -> Dashboard:
    """The dashboard that a line's people have on the wall and on their phones."""
    text = "What machines make, how they run, and when they stood still"
    sections = (_now(), _production(), _effectiveness(), _machine(), _verdicts())
    return board("line", text, "now-3h", _variables(), *sections)


def _variables() -> Iterator[Builder[VariableModel]]:
    steps = "auto: up to 6 h each frame, up to 7 days minutes, beyond that hours"
    signals = {
        "good": ("Good counter", ".*contador_bom"),
        "scrap": ("Scrap counter", ".*contador_ruim"),
        "running": ("Runs", ".*(maquina_ligada|status_maquina)"),
        "current": ("Current", "(AI_|.*_[0-9]+_)?[Cc]orrente"),
        "vibration": ("Vibration", "(AI_|.*_[0-9]+_)?[Vv]ibracao"),
    }
    yield from (tenant(), plc(), bucket())
    yield choice_variable("resolution", "Resolution", ("auto", "raw", "1m", "1h"), steps)
    for name, (label, default) in signals.items():
        yield text_variable(name, label, default, "Its name, as a regular expression; a slash is \\/")
    text = "Texts that say that it does not run, as a regular expression; a slash is \\/"
    yield text_variable("stopped", "Stopped", f"(?i){_STOPPED}", text)


def _now() -> Section:
    state = resolved(f"{RUNS}runs\n    |> last(){STATES}", HASH)
    rate = resolved(
        f"""{MADE}chosen()
    |> counted(name: /${{good:raw}}/)
    |> per_minute()
    |> last()
    {_KEEP}""",
        INTERPOLATE,
    )
    whole = Look(name=_NAME, decimals=0)
    text = "Whether the machine runs, by its newest reading in this range; the PLC's own word where it gives texts."
    return "Now", [
        number("State", text, state, look=Look(name=_PLC)).mappings(_running()),
        number("Good parts", "The counter as the PLC has it.", _latest("good"), look=whole),
        number("Scrap", "The counter as the PLC has it.", _latest("scrap"), look=whole),
        number(
            "Parts per minute",
            "Good parts of the latest whole minute, or bar.",
            rate,
            look=Look(name=_NAME, decimals=1),
        ),
    ]


def _production() -> Section:
    per_minute = resolved(
        f"""{MADE}chosen()
    |> counted(name: /${{good:raw}}|${{scrap:raw}}/)
    |> per_minute()
    {_KEEP}""",
        INTERPOLATE,
    )
    counters = resolved(f"""chosen()
    |> signal(name: /${{good:raw}}|${{scrap:raw}}/, kind: "last")
    |> aggregateWindow(every: v.windowPeriod, fn: last, createEmpty: false)
    |> only_numbers()
    {_KEEP}""")
    scrap = Look(unit="percent", steps=_SCRAP, name=_PLC, least=0, decimals=1)
    return "Production", [
        bars(
            "Production per minute",
            "Parts in each whole bar, over a counter's end, a reset and a wrong reading; a hole gets its mean.",
            per_minute,
            look=Look(name=_NAME, least=0, decimals=1),
        ),
        lines("Counters", "As the PLC has them.", counters, look=Look(name=_NAME, decimals=0)),
        lines(
            "Scrap rate",
            "Scrap of all parts, window by window.",
            resolved(SCRAP_RATE, INTERPOLATE),
            look=scrap,
            width=WHOLE,
        ),
    ]


def _effectiveness() -> Section:
    factors = {
        "oee": ("OEE", "Availability x performance x quality, the newest result of the edge's `oee`."),
        "availability": ("Availability", "Running time of planned time."),
        "performance": (
            "Performance",
            "Parts made of what the ideal rate gives in the running time. Over 100%: see its rate.",
        ),
        "quality": ("Quality", "Good parts of all parts."),
    }
    look = Look(unit="percentunit", steps=_OEE_STEPS, name=_PLC, least=0, most=1, decimals=1)
    dials = [dial(title, text, _latest_oee(field), look=look) for field, (title, text) in factors.items()]
    over_time = look._replace(steps=((None, "green"),), name=_NAME, most=None)
    text = "The four of them, as the edge has computed them for shift, hour or day; a result begins anew with each."
    return "Effectiveness", [*dials, lines("OEE and its factors", text, _oee(*factors), look=over_time, width=WHOLE)]


def _running() -> list[ValueMapping]:
    """Words and their colours; others are green, as all that is not said to be a stop."""
    return [*states(stopped="red", running="green"), like(_STOPPED, "red")]


def _machine() -> Section:
    stops = """runs
    |> events.duration(unit: 1s, columnName: "duration")
    |> filter(fn: (r) => r._value == 0)
    |> group()
    |> sort(columns: ["_time"], desc: true)
    |> limit(n: 200)
    |> keep(columns: ["_time", "tenant_id", "plc_id", "_field", "state", "duration"])"""
    vibration = Look("suffix: mm/s", steps=_VIBRATION, name=_NAME, least=0)
    table = rows(
        "Stops",
        "Newest first; the last one may go on. Beyond 6 h only those longer than a step are seen.",
        resolved(RUNS + stops, 'import "contrib/tomhollingworth/events"\n' + HASH),
        look=Look(empty="no stops"),
    )
    text = "A line above: 4.5 mm/s is bad and 7.1 must not be, ISO 10816-1, small machines."
    return "Machine", [
        timeline(
            "Runs",
            "Running and stopped, or what the PLC's texts say, as it changed.",
            resolved(f"{RUNS}runs{STATES}", HASH),
            look=Look(name=_NAME),
        ).mappings(_running()),
        lines("Currents", "Means of each point's time.", _analogue("current"), look=Look("amp", name=_NAME)),
        lines("Vibration", text, _analogue("vibration"), look=vibration),
        columns(
            table,
            _time=("Since", ""),
            duration=("For", "s"),
            state=("State", ""),
            _field=("Signal", ""),
            plc_id=("PLC", ""),
            tenant_id=("Tenant", ""),
        ),
    ]


def _verdicts() -> Section:
    verdicts = f'    |> filter(fn: (r) => r._measurement == "insights" and r._field !~ {ABOUT})\n'
    worded = '    |> filter(fn: (r) => types.isType(v: r._value, type: "string"))\n'
    last = "    |> aggregateWindow(every: v.windowPeriod, fn: last, createEmpty: false)\n"
    odd = f"""    |> filter(fn: (r) => r._value != "Normal")
    |> map(fn: (r) => ({{
        {WHOSE},
        _time: r._time,
        _field: r._field,
        verdict: r._value,
    }}))
    |> group()
    |> sort(columns: ["_time"], desc: true)
    |> limit(n: 200)"""
    lanes, table = ('import "types"\n\n' + frames(verdicts + last + worded + each) for each in (f"    {_KEEP}", odd))
    words = "Measurement insights: the newest of each point's time, of the edge's own verdicts and the analytics'."
    listed = columns(
        rows("Not normal", "Points whose verdict is another, newest first.", table, look=Look("string", empty="none")),
        _time=("Time", ""),
        verdict=("Verdict", ""),
        _field=("Signal", ""),
        plc_id=("PLC", ""),
        tenant_id=("Tenant", ""),
    )
    return "Verdicts", [
        timeline("Verdicts", words, lanes, look=Look(name=_NAME, empty="none")).mappings(_LEVELS),
        listed.mappings(_LEVELS),
    ]
