"""Sensors that speak for themselves on `mov/dados/#`, and what the analytics think of them."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable

from grafana.board import WHOLE, Look, Section, board, columns, lines, number, query_variable, rows, states, timeline
from grafana.boards.variables import sensors_bucket
from grafana.flux import SENSORS

__all__ = ["sensors"]

_LEVELS = states(Normal="green", ALERTA="orange", CRITICO="red")
_DEVICE = "r.dispositivo =~ /^${device:regex}$/ and r.cliente =~ /^${client:regex}$/"
_FROM = 'from(bucket: "${sensors_bucket:raw}")'
_RANGE = "range(start: v.timeRangeStart, stop: v.timeRangeStop)"
# What a sensor sends may be text, and so is what Telegraf sets beside a conflict of types. No text becomes a number:
# one would break the panel for all. Asked of few rows only: with such a filter the storage gives out each row.
_NUMBERS = """|> filter(fn: (r) => not types.isType(v: r._value, type: "string"))
    |> toFloat()"""
_TYPES = 'import "types"\n\n'
_DATA = f'{_FROM} |> {_RANGE} |> filter(fn: (r) => r._measurement == "mov_dados" and {_DEVICE})\n'
_INSIGHTS = f"""{_FROM}
    |> {_RANGE}
    |> filter(fn: (r) => r._measurement == "insights" and r._field == "status_calculado" and {_DEVICE})
"""
_SENSOR = "${__field.labels.cliente} ${__field.labels.dispositivo}"
_NAME = _SENSOR + " ${__field.labels.signal}"
# Two clients, or two places, may have a sensor of the same name: all tags make a series.
_KEEP = """|> map(fn: (r) => ({r with
        cliente: if exists r.cliente then r.cliente else "",
        dispositivo: if exists r.dispositivo then r.dispositivo else "",
        signal: r._field,
    }))
    |> drop(columns: ["_start", "_stop", "_measurement", "_field"])
    |> group(columns: ["_time", "_value"], mode: "except")"""


def _numbers(fields: str) -> str:
    return (
        f"{_TYPES}{_DATA}    |> filter(fn: (r) => {fields})\n"
        f"    |> aggregateWindow(every: v.windowPeriod, fn: last, createEmpty: false)\n    {_NUMBERS}\n    {_KEEP}"
    )


def sensors() -> Dashboard:
    """The dashboard of the sensors' organisation."""
    variables = (
        sensors_bucket(),
        _values("client", "Client", "cliente", "Whose sensors"),
        _values("device", "Device", "dispositivo", "Which sensors"),
        _values("field", "Field", "_field", "Which of their values"),
    )
    text = "Sensors on mov/dados, and the verdicts on them"
    return board("sensors", text, "now-3h", variables, _latest(), _over_time(), _verdicts())


def _values(name: str, label: str, tag: str, text: str) -> QueryVariable:
    flux = f"""import "influxdata/influxdb/schema"

schema.tagValues(
    bucket: "${{sensors_bucket:raw}}",
    tag: "{tag}",
    predicate: (r) => r._measurement == "mov_dados",
    start: v.timeRangeStart,
    stop: v.timeRangeStop,
)"""
    return query_variable(name, label, flux, text, SENSORS)


def _latest() -> Section:
    reading = f"""{_TYPES}{_DATA}    |> filter(fn: (r) => r._field =~ /^temperatura/)
    |> last()
    {_NUMBERS}
    {_KEEP}"""
    verdict = f"{_INSIGHTS}    |> last()\n    {_KEEP}"
    warm = Look("celsius", ((None, "green"), (30.0, "red")), _NAME, decimals=1)
    text = "Over 30 °C is red, as the analytics judge unless told otherwise."
    name = Look(name=_SENSOR)
    return "", [
        number("Temperature", text, reading, look=warm, uid=SENSORS, width=12),
        number("Verdict", "The newest on each sensor.", verdict, look=name, uid=SENSORS, width=12).mappings(_LEVELS),
    ]


def _over_time() -> Section:
    warm = Look("celsius", ((None, "green"), (30.0, "red")), _NAME, decimals=1)
    return "Readings", [
        lines(
            "Temperatures",
            "The newest of each point's time; no texts.",
            _numbers("r._field =~ /^temperatura/"),
            look=warm,
            uid=SENSORS,
            width=WHOLE,
        ),
        lines(
            "All values",
            "The newest of each point's time, of the chosen fields; no texts.",
            _numbers("r._field =~ /^${field:regex}$/"),
            look=Look(name=_NAME),
            uid=SENSORS,
            width=WHOLE,
        ),
    ]


def _verdicts() -> Section:
    over_time = f"""{_INSIGHTS}    |> aggregateWindow(every: v.windowPeriod, fn: last, createEmpty: false)
    {_KEEP}"""
    changes = f"""{_INSIGHTS}    |> filter(fn: (r) => r._value != "Normal")
    |> group()
    |> sort(columns: ["_time"], desc: true)
    |> limit(n: 200)
    |> rename(columns: {{_value: "verdict"}})
    |> drop(columns: ["_start", "_stop", "_measurement", "_field"])"""
    table = rows(
        "Not normal", "Newest first, with the sensor's tags.", changes, look=Look("string", empty="none"), uid=SENSORS
    )
    heads = {"_time": "Time", "verdict": "Verdict", "cliente": "Client", "dispositivo": "Device"}
    table = columns(table, **{name: (heading, "") for name, heading in heads.items()})
    lane = timeline("Verdicts", "Measurement insights.", over_time, look=Look(name=_SENSOR), uid=SENSORS)
    return "Verdicts", [lane.mappings(_LEVELS), table.mappings(_LEVELS)]
