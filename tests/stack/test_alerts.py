"""The alert rules as Grafana is given them, on the real InfluxDB: each quiet, each firing."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from tests.parts.grafana import at, rendered, rules
from tests.parts.influxdb import InfluxDB
from tests.parts.native_plc import NativePlc
from tests.parts.platform import INFRA
from tests.parts.waiting import wait_until
from tests.stack.conftest import Stack

pytestmark = [pytest.mark.real("influxdb"), pytest.mark.timeout(240)]

TOKEN = "operator-token"
NOW = int(time.time())
FRAME = "s7_db1,ip=10.0.0.1,db=1,tenant_id=acme,plc_id=press1"
EDGE = "edge=http://10.0.0.7:9108/metrics"
NODE = f"prometheus,{EDGE},node=broker"
READS = f"prometheus,{EDGE},tenant=acme,plc=press1,db=1"
PRESS1 = {"tenant": "acme", "plc": "press1"}
BLOCK = {**PRESS1, "db": "1"}
BROKER = {"edge": "http://10.0.0.7:9108/metrics", "node": "broker"}


def values(age: float, n: int = 1, more: str = "") -> list[str]:
    """Frames whose newest is so old."""
    return [f'{FRAME} contador_bom={k},on=true,text="a"{more} {int((NOW - age - k) * 1000)}' for k in range(n)]


def failures(age: float) -> list[str]:
    """A failure as the edge sends it, so old."""
    return [f'{FRAME} heartbeat=1,read_failed=true,error="timeout" {int((NOW - age) * 1000)}']


def heartbeats(age: float) -> list[str]:
    """A heartbeat, which is no value."""
    own = r'seq=9i,boot="A",left_out="[\"host\"]",type_conflict="v",plc_claimed="x"'
    return [f"{FRAME} heartbeat=1,{own} {int((NOW - age) * 1000)}"]


def numbered(*seqs: int, boot: str = "A", age: float = 600, measurement: str = "s7_db1") -> list[str]:
    """Frames with these numbers, a second apart."""
    head = FRAME.replace("s7_db1", measurement)
    return [f'{head} v={seq},seq={seq}i,boot="{boot}" {int((NOW - age + k) * 1000)}' for k, seq in enumerate(seqs)]


def metric(name: str, *samples: float, every: float = 30, head: str = NODE, back: float = 2) -> list[str]:
    """Samples of an edge's metric, the last one just now."""
    times = [(NOW - back - every * k) * 1000 for k in range(len(samples))]
    return [f"{head} {name}={value:f} {int(t)}" for value, t in zip(reversed(samples), times, strict=True)]


def states(state: str) -> list[str]:
    """A node's states as Telegraf stores them: a series each, one of them 1."""
    found = []
    for name in ("starting", "running", "degraded", "backing_off", "stopped"):
        found += metric("edge_node_state", float(name == state), head=f"{NODE},state={name}")
    return found


def backups(**ages: float) -> list[str]:
    """When the last ones were made, in hours."""
    return [
        f"backup,kind={kind} last_success={int(NOW - hours * 3600)}i {int((NOW - hours * 3600) * 1000)}"
        for kind, hours in ages.items()
    ]


def dropped(*samples: float) -> list[str]:
    """The counter of what was given up, a quarter of an hour apart."""
    return metric("edge_frames_dropped_total", *samples, head=f"{NODE},reason=full", every=1000)


def refused(*samples: int) -> list[str]:
    """Telegraf's own count of what InfluxDB refused."""
    head = "internal_write,telegraf=telegraf,output=influxdb_v2,alias=raw"
    return [f"{head} metrics_rejected={n}i {(NOW - 1 - 10 * k) * 1000}" for k, n in enumerate(reversed(samples))]


class Case(NamedTuple):
    """What there is, and what a rule says of it: the labels of each row that fires."""

    rule: str
    lines: list[str]
    fires: list[dict[str, str]]


INTERVAL = "plc_expected_interval_seconds"
CASES = {
    "silent: values just now": Case("silent", values(3), []),
    "silent: within the forced refresh": Case("silent", values(70) + metric(INTERVAL, 1, head=READS), []),
    "silent: longer than it": Case("silent", values(80) + metric(INTERVAL, 1, head=READS), [BLOCK]),
    "silent: a slow block within two cycles": Case("silent", values(1100) + metric(INTERVAL, 600, head=READS), []),
    "silent: a slow block beyond them": Case("silent", values(1300) + metric(INTERVAL, 600, head=READS), [BLOCK]),
    "silent: an edge that tells no interval": Case("silent", values(110), []),
    "silent: such an edge, beyond": Case("silent", values(130), [BLOCK]),
    "silent: heartbeats and failures are no values": Case("silent", values(300) + heartbeats(1) + failures(2), [BLOCK]),
    "silent: a clock two days ahead": Case("silent", values(-2 * 86400), []),
    "silent: one value of the future hides no silence": Case("silent", values(-9e8) + values(300), [BLOCK]),
    "silent: for five days": Case("silent", values(5 * 86400), [BLOCK]),
    "silent: OEE computed without data is no reading": Case(
        "silent", [*values(300), FRAME.replace("s7_db1", "oee") + f" oee=0.0 {NOW * 1000}"], [BLOCK]
    ),
    "silent: without tenant and plc_id": Case(
        "silent", [f"s7_db1,ip=10.0.0.9,db=1 v=1 {(NOW - 500) * 1000}"], [{"tenant": "", "plc": "10.0.0.9", "db": "1"}]
    ),
    "failing: values after the failure": Case("failing", failures(60) + values(5), []),
    "failing: the failure is the newest": Case("failing", values(60) + failures(5), [BLOCK]),
    "failing: never read": Case("failing", failures(5), [BLOCK]),
    "failing: a slow block whose newest is a failure": Case("failing", values(1700) + failures(720), [BLOCK]),
    "failing: a clock two days ahead": Case("failing", values(-2 * 86400), []),
    "failing: the newest of such a clock is a failure": Case(
        "failing", values(-2 * 86400 + 60) + failures(-2 * 86400), [BLOCK]
    ),
    "failing: one value of the future hides no failure": Case(
        "failing", values(-9e8) + values(60) + failures(5), [BLOCK]
    ),
    "backlog: empty": Case("backlog", metric("edge_backlog_size", 0, 0, 0, 0, 0), []),
    "backlog: grows": Case("backlog", metric("edge_backlog_size", 5, 10, 40, 80, 120), [BROKER]),
    "backlog: drains": Case("backlog", metric("edge_backlog_size", 500, 300, 100, 40, 10), []),
    "backlog: busy, and empty between": Case("backlog", metric("edge_backlog_size", 0, 3, 0, 2, 5), []),
    "headroom: little, and nothing waits": Case(
        "headroom", metric("edge_backlog_headroom_seconds", 600) + metric("edge_backlog_size", 0), []
    ),
    "headroom: much": Case(
        "headroom", metric("edge_backlog_headroom_seconds", 90000) + metric("edge_backlog_size", 50), []
    ),
    "headroom: little": Case(
        "headroom", metric("edge_backlog_headroom_seconds", 3000) + metric("edge_backlog_size", 50), [BROKER]
    ),
    "latency: 250 ms": Case("latency", metric("plc_read_latency_ms", 250, 250, head=READS), []),
    "latency: one slow read": Case("latency", metric("plc_read_latency_ms", 20, 600, 30, 25, head=READS), []),
    "latency: slow on average": Case("latency", metric("plc_read_latency_ms", 200, 310, head=READS), [BLOCK]),
    "latency: seen by two edges": Case(
        "latency",
        metric("plc_read_latency_ms", 20, 25, head=READS)
        + metric("plc_read_latency_ms", 400, 300, head=READS.replace("10.0.0.7", "10.0.0.8")),
        [BLOCK],
    ),
    "degraded: running": Case("degraded", states("running"), []),
    "degraded: starting": Case("degraded", states("starting"), []),
    "degraded: degraded": Case("degraded", states("degraded"), [{**BROKER, "state": "degraded"}]),
    "degraded: backing off": Case("degraded", states("backing_off"), [{**BROKER, "state": "backing_off"}]),
    "degraded: stopped": Case("degraded", states("stopped"), [{**BROKER, "state": "stopped"}]),
    "clock: right, as far as 5 s tell": Case(
        "clock", metric("edge_time_seconds", NOW + 3, head=f"prometheus,{EDGE}"), []
    ),
    "clock: behind": Case(
        "clock", metric("edge_time_seconds", NOW - 60, head=f"prometheus,{EDGE}"), [{"subject": BROKER["edge"]}]
    ),
    "clock: ahead": Case(
        "clock", metric("edge_time_seconds", NOW + 60, head=f"prometheus,{EDGE}"), [{"subject": BROKER["edge"]}]
    ),
    "clock: a tenant's frames of the future": Case("clock", heartbeats(-3600), [{"subject": "acme press1"}]),
    "clock: frames of two days ahead": Case("clock", values(-2 * 86400, 3), [{"subject": "acme press1"}]),
    "clock: such a frame, and none of now": Case("clock", values(-9e8) + values(900), [{"subject": "acme press1"}]),
    "clock: such a frame, and others of now": Case("clock", values(-9e8) + values(30), []),
    "clock: frames of now": Case("clock", heartbeats(1), []),
    "gap: none": Case("gap", numbered(*range(20)), []),
    "gap: none over two starts": Case("gap", numbered(*range(20)) + numbered(0, 1, 2, boot="B", age=300), []),
    "gap: none over two blocks": Case("gap", numbered(0, 2, 4) + numbered(1, 3, age=599.5, measurement="s7_db2"), []),
    "gap: none over results of its own": Case(
        "gap", numbered(0, 2, 4) + numbered(1, 3, age=599.5, measurement="oee"), []
    ),
    "gap: none over verdicts of its own": Case(
        "gap", numbered(*range(0, 40, 2)) + numbered(*range(1, 40, 2), age=599.9, measurement="insights"), []
    ),
    "gap: none over verdicts of the analytics": Case(
        "gap",
        numbered(*range(9))
        + numbered(0, 1, 2, boot="C", age=500, measurement="insights")
        + [FRAME.replace("s7_db1", "insights") + f' status_calculado="Normal" {(NOW - 300) * 1000}'],
        [],
    ),
    "gap: a verdict is missing": Case(
        "gap", numbered(0, 2, 4, 6) + numbered(1, 5, age=599.9, measurement="insights"), [PRESS1]
    ),
    "gap: under two addresses": Case(
        "gap",
        numbered(0, 3) + [line.replace("ip=10.0.0.1", "ip=10.0.0.2") for line in numbered(0, 3, boot="B")],
        [PRESS1],
    ),
    "gap: out of order": Case("gap", numbered(5, 6, 7) + numbered(2, 3, 4, age=500), []),
    "gap: three are missing": Case("gap", numbered(0, 1, 5, 6), [PRESS1]),
    "gap: may still be on their way": Case("gap", numbered(0, 1, 5, 6, age=30), []),
    "dropped: none since long": Case("dropped", dropped(7, 7, 7), []),
    "dropped: counts": Case("dropped", dropped(7, 7, 9), [{**BROKER, "reason": "full"}]),
    "dropped: the first one begins the counter": Case("dropped", dropped(1), [{**BROKER, "reason": "full"}]),
    "refused: none": Case("refused", refused(0), []),
    "refused: one point": Case("refused", refused(1), [{"telegraf": "telegraf", "alias": "raw"}]),
    "refused: by a Telegraf that was started anew since": Case("refused", refused(3, 0), []),
    "dropped: again after a restart": Case("dropped", dropped(7, 2), [{**BROKER, "reason": "full"}]),
    "backup: both this night": Case("backup", backups(influxdb=20, grafana=20), []),
    "backup: one is old": Case("backup", backups(influxdb=28, grafana=20), [{"kind": "influxdb"}]),
    "backup: one is of the future": Case(
        "backup", [f"backup,kind=influxdb last_success={NOW + 90000:.0f}i", *backups(grafana=3)], [{"kind": "influxdb"}]
    ),
    "backup: one was never made": Case("backup", backups(influxdb=3), [{"kind": "grafana"}]),
    "backup: none at all": Case("backup", [], [{"kind": "grafana"}, {"kind": "influxdb"}]),
}


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    """A database with a user; each test makes its bucket."""
    with InfluxDB(tmp_path_factory.mktemp("influxdb")) as made:
        made.set_up("planta", "first", TOKEN)
        yield made


@pytest.fixture
def bucket(influx: InfluxDB, request: pytest.FixtureRequest) -> str:
    """An empty bucket, which is the data source's."""
    org = influx.call("GET", "/api/v2/orgs", token=TOKEN)["orgs"][0]["id"]
    name = f"b{abs(hash(request.node.name))}"
    influx.call("POST", "/api/v2/buckets", {"orgID": org, "name": name, "retentionRules": []}, TOKEN)
    return name


def told(query: Callable[[str], list[dict[str, Any]]], name: str, bucket: str, now: float) -> list[Mapping[str, Any]]:
    """All rows of a rule, asked at a time."""
    flux = rules()[f"retrofit-{name}"]["data"][0]["model"]["query"]
    lines = flux.splitlines()
    imports = [line for line in lines if line.startswith("import ")]
    rest = [line for line in lines if not line.startswith("import ")]
    at_that_time = [*imports, f"option now = () => {at(now)}", *rest]
    return query(rendered("\n".join(at_that_time), {}, now - 600, now, bucket=bucket))


def firing(rows: list[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The labels of the rows over which Grafana's `> 0` holds."""
    for row in rows:
        # What Grafana takes for labelled numbers: one number, and texts.
        kinds = sorted(type(value).__name__ for value in row.values())
        assert kinds == ["float", *["str"] * (len(row) - 1)], row
    subjects = [tuple(sorted((name, value) for name, value in row.items() if name != "_value")) for row in rows]
    assert len(set(subjects)) == len(subjects), "Grafana refuses two rows of one subject"
    found = [{name: value for name, value in row.items() if name != "_value"} for row in rows if row["_value"] > 0]
    return sorted(found, key=lambda labels: sorted(labels.items()))


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_rule_fires_when_it_should_and_never_else(influx, bucket, case):
    """One situation, in the lines that Telegraf writes."""
    if case.lines:
        influx.write("\n".join(case.lines), TOKEN, bucket, precision="ms")
    rows = told(lambda flux: influx.query(flux, TOKEN), case.rule, bucket, NOW)
    assert firing(rows) == case.fires
    # Grafana takes one table for labelled numbers, and several for series.
    tables = told(lambda flux: influx.query(f"{flux}\n    |> count()", TOKEN), case.rule, bucket, NOW)
    assert len(tables) <= 1


@pytest.mark.parametrize("name", [uid.removeprefix("retrofit-") for uid in rules()])
def test_an_empty_platform_breaks_no_rule(influx, bucket, name):
    """Nothing is stored yet: no rule fails, and only the missing backup is told."""
    rows = told(lambda flux: influx.query(flux, TOKEN), name, bucket, NOW)
    assert len(firing(rows)) == (2 if name == "backup" else 0)


def test_every_rule_has_a_quiet_and_a_firing_case():
    """Both, for each."""
    for uid in rules():
        cases = [bool(case.fires) for case in CASES.values() if f"retrofit-{case.rule}" == uid]
        assert set(cases) == {True, False}, uid


@pytest.mark.real("mosquitto", "openssl", "native_plc", "telegraf", "influxdb")
def test_what_came_through_the_chain_is_judged(
    stack: Stack, native_plc: Callable[..., NativePlc], press: NativePlc, tmp_path
):
    """A press that runs rings nothing; it is switched off: failing at once, silent after a while, no gap."""

    def fires(name: str, later: float = 0) -> list[dict[str, str]]:
        return firing(told(stack.query, name, "processo", time.time() + later))

    def seen(field: str) -> bool:
        flux = f'from(bucket: "processo") |> range(start: -1h) |> filter(fn: (r) => r._field == "{field}") |> count()'
        rows = stack.query(flux)
        return bool(rows) and rows[0]["_value"] >= 3

    now = int(time.time())
    stack.influx.write(
        "\n".join(f"backup,kind={kind} last_success={now}i" for kind in ("influxdb", "grafana")),
        stack.token,
        "processo",
    )
    with stack.telegraf(), stack.edge(tmp_path, press, "press1", "100ms") as edge:
        wait_until(lambda: seen("edge_time_seconds") and seen("contador_bom"), "values and metrics", 60)
        for uid in rules():
            assert fires(uid.removeprefix("retrofit-")) == [], uid
        told_by_edge = edge.get("/metrics")[1]
        asked = (INFRA / "prometheus" / "rules.yaml").read_text(encoding="utf-8")
        assert {
            name for name in re.findall(r"\b(?:plc|edge)_[a-z_]+", asked) if f"# TYPE {name} " not in told_by_edge
        } == set()
        press.__exit__(None, None, None)
        wait_until(lambda: fires("failing") == [BLOCK], "the failure", 30)
        wait_until(lambda: fires("degraded"), "the source's state", 30)
        assert fires("silent", 300) == [BLOCK]
        assert edge.terminate() == 0
    assert fires("gap", 120) == []
