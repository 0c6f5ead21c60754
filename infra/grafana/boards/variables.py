"""Variables that several dashboards share; a link from one to another takes them along."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import QueryVariable

from grafana.board import query_variable
from grafana.flux import NO_FRAMES, PLATFORM, SENSORS

__all__ = ["bucket", "edge", "plc", "sensors_bucket", "tenant"]

_SCHEMA = 'import "influxdata/influxdb/schema"\n\n'


def bucket() -> QueryVariable:
    """The buckets that this data source's token may read, without their aggregates."""
    return _bucket("bucket", "Where frames are; a tenant may have one of its own", PLATFORM)


def sensors_bucket() -> QueryVariable:
    """The same of the sensors' organisation, under a name of its own: links take variables along."""
    return _bucket("sensors_bucket", "Where readings are", SENSORS)


def _bucket(name: str, text: str, uid: str) -> QueryVariable:
    flux = """buckets()
    |> filter(fn: (r) => r.name !~ /^_/ and r.name !~ /_(raw|1m|1h)$/)
    |> map(fn: (r) => ({_value: r.name, first: if r.name == v.defaultBucket then 0 else 1}))
    |> sort(columns: ["first", "_value"])
    |> keep(columns: ["_value"])"""
    return query_variable(name, "Bucket", flux, text, uid, several=False)


def tenant() -> QueryVariable:
    """All tenants there are."""
    return query_variable("tenant", "Tenant", _values("tenant_id", f"r._measurement !~ {NO_FRAMES}"), "Whose machines")


def plc() -> QueryVariable:
    """The selected tenants' PLCs; those without plc_id by their addresses."""
    where = f"r.tenant_id =~ /^${{tenant:regex}}$/ and r._measurement !~ {NO_FRAMES}"
    named, nameless = (_tags(*each) for each in (("plc_id", where), ("ip", f"{where} and r.plc_id =~ /^$/")))
    flux = f"{_SCHEMA}union(tables: [{named}, {nameless}]) |> group() |> distinct()"
    return query_variable("plc", "PLC", flux, "Which machines")


def edge() -> QueryVariable:
    """The addresses at which edges are asked for their metrics."""
    return query_variable("edge", "Edge", _values("edge", 'r._measurement == "prometheus"'), "Address of its metrics")


def _values(tag: str, where: str) -> str:
    return _SCHEMA + _tags(tag, where)


def _tags(tag: str, where: str) -> str:
    return (
        f'schema.tagValues(bucket: "${{bucket:raw}}", tag: "{tag}", predicate: (r) => {where}, '
        "start: v.timeRangeStart, stop: v.timeRangeStop)"
    )
