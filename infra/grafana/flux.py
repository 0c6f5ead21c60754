"""Flux that dashboards and alerts share, and the query as Grafana's InfluxDB data source takes it.

Rows with `_time` and `_value` become series, named by their columns that don't begin with `_`; so `_field` is renamed
where it is shown, and tables have no `_value` beside a time.

Grafana puts in `${NAME}` (a dashboard's variable) and `v.timeRangeStart`, `v.timeRangeStop`, `v.windowPeriod`,
`v.defaultBucket` (macros) before InfluxDB sees a query. Alert rules know macros only.
"""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

__all__ = [
    "ABOUT",
    "FOREVER",
    "METRICS",
    "NO_FRAMES",
    "NO_READINGS",
    "PLATFORM",
    "SENSORS",
    "WHO",
    "WHOSE",
    "Query",
    "frames",
    "metric",
    "resolved",
    "source",
]

PLATFORM, SENSORS = "platform", "sensors"
"""Data sources: `provisioning/datasources/influxdb.yaml`."""

NO_FRAMES = r"/^(prometheus|internal_.*|ingest_.*|backup)\z/"
"""Measurements that no edge has sent as frames. A text's end is `\\z`: rules take no `$`.

An edge's own verdicts (`insights`) are frames: they take their numbers from the same `seq`. Those of the analytics have
no number.
"""

NO_READINGS = r"/^(prometheus|internal_.*|ingest_.*|insights|backup|oee)\z/"
"""Measurements that are no readings of a machine."""

ABOUT = r"/^(heartbeat|read_failed|error|seq|boot|replayed|bad|tenant_claimed|plc_claimed|type_conflict|left_out)\z/"
"""What a frame says of itself. A PLC that is away still has a heartbeat, so these tell nothing of new values."""

FOREVER = "2262-04-11T00:00:00Z"
"""The end of InfluxDB's time."""

WHO = (
    "r.tenant_id =~ /^${tenant:regex}$/"
    " and (r.plc_id =~ /^${plc:regex}$/ or (r.plc_id =~ /^$/ and r.ip =~ /^${plc:regex}$/))"
)
"""The selected PLCs; one without plc_id goes by its address.

To the storage an absent tag is an empty text, so that `.*` takes all.
"""

WHOSE = """tenant_id: if exists r.tenant_id then r.tenant_id else "",
        plc_id: if exists r.plc_id then r.plc_id else if exists r.ip then r.ip else \"\""""
"""Whose a row is, in a record."""

_RANGE = "range(start: v.timeRangeStart, stop: v.timeRangeStop)"

METRICS = f'from(bucket: "${{bucket:raw}}") |> {_RANGE} |> filter(fn: (r) => r._measurement == "prometheus")'
"""What edges tell of themselves: one field a metric, labels as tags, `edge` says whose."""

_RESOLUTION = """import "regexp"
import "types"

span = int(v: v.timeRangeStop) - int(v: v.timeRangeStart)
// A tenant's own bucket has no aggregates beside it.
step = if "${resolution:raw}" != "auto" then "${resolution:raw}"
    else if "${bucket:raw}" =~ /^tenant_/ or span <= int(v: 6h) then "raw"
    else if span <= int(v: 7d) then "1m"
    else "1h"
source = if step == "raw" then "${bucket:raw}" else "${bucket:raw}_" + step
named = (name, kind) => regexp.compile(
    v: "^(?:" + regexp.getString(r: name) + ")" + (if step == "raw" then "" else "_" + kind) + "$",
)
least = if step == "1h" then 1h else 1m
minutely = if int(v: v.windowPeriod) < int(v: least) then least else v.windowPeriod
// A function, not a value: the storage filters for itself only where a pipe is not shared.
chosen = () => from(bucket: source)
    |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
    |> filter(fn: (r) => WHO)
signal = (name, kind, tables=<-) => {
    pattern = named(name: name, kind: kind)
    return tables |> filter(fn: (r) => r._field =~ pattern)
}

// One name may be a number at one PLC and a switch or a text at another, on which a function of numbers fails for all.
// The storage compares values by itself, and leaves out those of another type; `types` would look at each row here.
// `toFloat` keeps means from the storage, which would take them before it compares.
numbers = (name, kind) => chosen()
    |> signal(name: name, kind: kind)
    |> filter(fn: (r) => r._value >= 0.0 or r._value < 0.0)
    |> toFloat()
switches = (name, kind) => chosen()
    |> signal(name: name, kind: kind)
    |> filter(fn: (r) => r._value == true or r._value == false)
texts = (name, kind) => chosen()
    |> signal(name: name, kind: kind)
    |> filter(fn: (r) => r._value =~ /^/)
// For what is few rows already.
only_numbers = (tables=<-) => tables
    |> filter(fn: (r) => not types.isType(v: r._value, type: "string") and not types.isType(v: r._value, type: "bool"))
    |> toFloat()
"""


class Query(Dataquery, Builder["Query"]):
    """One query of a panel, a variable or a rule; it is its own builder."""

    def __init__(self, flux: str, ref_id: str = "A", uid: str = PLATFORM) -> None:
        self.flux, self.ref_id, self.uid = flux.strip() + "\n", ref_id, uid

    def build(self) -> Query:
        """Itself."""
        return self

    def to_json(self) -> dict[str, object]:
        """The target as Grafana stores it."""
        return {"refId": self.ref_id, "datasource": source(self.uid), "query": self.flux}


def source(uid: str) -> DataSourceRef:
    """A reference to one of our data sources."""
    return DataSourceRef(type_val="influxdb", uid=uid)


def resolved(body: str, imports: str = "") -> str:
    """A query on frames whose bucket follows the range: each frame, minutes, hours.

    Args:
        body: begins with `chosen()`, the selected PLCs' rows; `signal(name:, kind:)` keeps the fields of that pattern,
            as their aggregate `last`, `mean`, `min` or `max`, as do `numbers(name:, kind:)`, `switches`, `texts` those
            of a type; `only_numbers` drops the others late; `minutely` is a window of whole steps.
        imports: lines of further packages.
    """
    return imports + _RESOLUTION.replace("WHO", WHO) + body.strip()


def frames(body: str, bucket: str = "${bucket:raw}") -> str:
    """A query on the selected PLCs' frames as they came.

    Args:
        body: what follows the filters.
        bucket: where.
    """
    return f'from(bucket: "{bucket}") |> {_RANGE} |> filter(fn: (r) => {WHO} and r._measurement !~ {NO_FRAMES})\n{body}'


def metric(name: str, body: str, where: str = "r.edge =~ /^${edge:regex}$/") -> str:
    """A query on one metric of the selected edges.

    Args:
        name: the metric's.
        body: what follows the filters.
        where: which of its series.
    """
    return f'{METRICS}\n    |> filter(fn: (r) => r._field == "{name}" and {where})\n{body}'
