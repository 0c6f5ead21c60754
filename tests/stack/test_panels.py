"""Single panels on the real InfluxDB, with the data that mislead them: figures as they are by hand."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parts.grafana import panel_queries, rendered, variables
from tests.parts.influxdb import InfluxDB

pytestmark = [pytest.mark.real("influxdb"), pytest.mark.timeout(240)]

TOKEN = "operator-token"
NOW = int(time.time()) // 60 * 60
BEGIN = NOW - 3 * 3600
QUERIES = {(query.board, query.panel): query for query in panel_queries()}
LINE = [query for query in QUERIES.values() if query.board == "line"]


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    """A database with a user; each test makes its bucket."""
    with InfluxDB(tmp_path_factory.mktemp("influxdb")) as made:
        made.set_up("planta", "first", TOKEN)
        yield made


class Bucket:
    """One test's data."""

    def __init__(self, influx: InfluxDB, name: str) -> None:
        """Make it."""
        self._influx, self._name = influx, name
        self._org = influx.call("GET", "/api/v2/orgs", token=TOKEN)["orgs"][0]["id"]
        self.make(name)

    def make(self, name: str) -> None:
        """A bucket."""
        self._influx.call("POST", "/api/v2/buckets", {"orgID": self._org, "name": name, "retentionRules": []}, TOKEN)

    def write(self, *lines: str, step: str = "") -> None:
        """Line protocol in seconds."""
        self._influx.write("\n".join(lines), TOKEN, self._name + step, precision="s")

    def rows(
        self, board: str, panel: str, window: str = "10s", start: float = BEGIN, **values: str
    ) -> list[dict[str, Any]]:
        """What a panel gives, with all chosen or these values instead."""
        chosen: dict[str, Any] = {
            name: variable["current"]["value"] if variable["type"] != "query" else ".*"
            for name, variable in variables(board).items()
        }
        chosen |= {"bucket": self._name, "sensors_bucket": self._name} | values
        flux = rendered(QUERIES[board, panel].flux, chosen, start, NOW, window=window, bucket=self._name)
        return self._influx.query(flux, TOKEN)


@pytest.fixture
def bucket(influx: InfluxDB, request: pytest.FixtureRequest) -> Bucket:
    """An empty one."""
    return Bucket(influx, f"b{abs(hash(request.node.name))}")


def plc(name: str = "press1", tenant: str = "acme", db: int = 1, measurement: str = "") -> str:
    """A series."""
    return f"{measurement or f's7_db{db}'},tenant_id={tenant},plc_id={name},ip=10.0.0.1,db={db}"


def readings(field: str, *points: tuple[float, object], head: str = "") -> list[str]:
    """Readings of a field, in seconds after the beginning."""
    return [f"{head or plc()} {field}={value} {int(BEGIN + at)}" for at, value in points]


def counted(rows: list[dict[str, Any]], minutes: float = 1) -> float:
    """Parts, from parts a minute."""
    return sum(row["_value"] for row in rows) * minutes


COUNTERS = {
    "grows": ([(0, 5), (60, 11), (120, 17), (180, 23)], 18),
    "passes the end of an INT": ([(0, 32764), (60, -32766), (120, -32760)], 12),
    "passes the end of an INT that is guarded": ([(0, 32764), (60, 2), (120, 8)], 12),
    "is reset": ([(0, 5000), (60, 4), (120, 10)], 10),
    "is reset while it is negative": ([(0, 32700), (600, -32536), (1200, 0), (1260, 6)], 306),
    "one wrong reading upwards": ([(0, 100), (60, 20000), (120, 101), (180, 102)], 2),
    "one wrong reading downwards": ([(0, 5000), (60, -9), (120, 5001), (180, 5002)], 2),
    "is set to another number": ([(0, 100), (60, 20000), (120, 20006), (180, 20012)], 12),
    "ten hours' work in one step": ([(0, 100), (9000, 14500), (9060, 14506)], 14406),
}


@pytest.mark.parametrize(("points", "parts"), COUNTERS.values(), ids=list(COUNTERS))
def test_parts_are_those_that_were_made(bucket, points, parts):
    """No wrap, reset or wrong reading invents any; bars are whole minutes."""
    bucket.write(*readings("contador_bom", *points))
    assert counted(bucket.rows("line", "Production per minute")) == pytest.approx(parts)
    rate = points[-1][1] - points[-2][1]
    assert [row["_value"] for row in bucket.rows("line", "Parts per minute")] == [pytest.approx(rate)]


def test_what_was_made_in_a_hole_is_no_peak(bucket):
    """Ten minutes of lost frames of a press that makes 24 a minute; a press that stands still beside it."""
    times = [*range(0, 600, 5), *range(1200, 1805, 5)]
    bucket.write(*readings("contador_bom", *((at, at * 24 // 60) for at in times)))
    bucket.write(*readings("contador_bom", *((at, 7) for at in times), head=plc("press2")))
    for window, every in (("10s", 1), ("5m", 5)):
        rows = bucket.rows("line", "Production per minute", window)
        assert {row["_value"] for row in rows if row["plc_id"] == "press2"} == {0}
        made = [row["_value"] for row in rows if row["plc_id"] == "press1"]
        assert len(made) in {30 // every, 30 // every - 1}
        assert all(value == pytest.approx(24, abs=2) for value in made), made


def test_scrap_rate_is_of_all_parts(bucket):
    """Two of ten."""
    bucket.write(*readings("contador_bom", *((k * 60, 8 * k) for k in range(10))))
    bucket.write(*readings("contador_ruim", *((k * 60, 2 * k) for k in range(10)), head=plc(db=2)))
    rows = bucket.rows("line", "Scrap rate")
    assert len(rows) == 9
    assert {round(row["_value"], 6) for row in rows} == {20}


ODD = {
    "contador_bom": '"n1"',
    "contador_ruim": "true",
    "maquina_ligada": '"ON"',
    "status_maquina": '"parado"',
    "corrente": '"alta"',
    "vibracao": "true",
}


@pytest.mark.parametrize("step", ["", "_1m"])
def test_texts_and_switches_of_one_break_no_panel_of_others(bucket, step):
    """A field that is a number at one PLC and a text or a switch at another."""
    if step:
        bucket.make(bucket._name + step)
    last, mean = ("", "") if not step else ("_last", "_mean")
    good = {"contador_bom": "1", "contador_ruim": "0", "corrente": "5.5", "vibracao": "2.5"}
    for k in range(10):
        at = BEGIN + 60 * k
        for name, value in good.items():
            field = name + (mean if name in {"corrente", "vibracao"} else last)
            amount = float(value) * (k + 1 if name == "contador_bom" else 1)
            bucket.write(f"{plc()} {field}={amount} {at}", step=step)
        bucket.write(f"{plc()} maquina_ligada{last}={'true' if k % 4 else 'false'} {at}", step=step)
        for name, value in ODD.items():
            text = value if k < 5 or name != "status_maquina" else '"rodando"'
            bucket.write(f"{plc('press2', 'beta', 2)} {name}{last}={text} {at}", step=step)
        bucket.write(f"{plc('press3', db=3)} corrente{mean}=4i,maquina_ligada{last}=1i {at}", step=step)
    for query in LINE:
        bucket.rows("line", query.panel, resolution=step[1:] or "auto")
    choice = {"resolution": step[1:] or "auto"}
    assert counted(bucket.rows("line", "Production per minute", **choice)) == 9
    for title, expected in (("Currents", {"press1": 5.5, "press3": 4}), ("Vibration", {"press1": 2.5})):
        rows = bucket.rows("line", title, **choice)
        assert sorted((row["plc_id"], row["_value"]) for row in rows) == sorted(list(expected.items()) * 10)
    state = {
        (row["plc_id"], row["signal"].removesuffix(last)): row["_value"]
        for row in bucket.rows("line", "State", **choice)
    }
    assert state == {
        ("press1", "maquina_ligada"): "running",
        ("press2", "maquina_ligada"): "ON",
        ("press2", "status_maquina"): "rodando",
        ("press3", "maquina_ligada"): "running",
    }
    assert len(bucket.rows("line", "Runs", **choice)) == 6 + 1 + 2 + 1
    lanes = [
        (row["_time"][14:19], row["_value"])
        for row in sorted(bucket.rows("line", "Runs", **choice), key=lambda row: row["_time"])
        if row["signal"].startswith("status")
    ]
    begin = BEGIN % 3600 // 60
    assert lanes == [(f"{(begin + k) % 60:02}:00", text) for k, text in ((0, "parado"), (5, "rodando"))]
    stops = bucket.rows("line", "Stops", **choice)
    assert sorted((row["plc_id"], row["state"], row["duration"]) for row in stops) == [
        ("press1", "stopped", 60),
        ("press1", "stopped", 60),
        ("press1", "stopped", 60),
        ("press2", "parado", 300),
    ]


@pytest.mark.parametrize("pattern", [r"press\d+_bom", 'press1_bom|say "x"', r"press1_bom|a\/b"], ids=repr)
def test_a_signal_is_any_regular_expression(bucket, pattern):
    """Backslashes and quotes too."""
    bucket.write(*readings("press1_bom", (0, 1), (60, 7), (120, 13)))
    assert counted(bucket.rows("line", "Production per minute", good=pattern)) == 12
    assert [row["_value"] for row in bucket.rows("line", "Good parts", good=pattern)] == [13]
    bucket.rows("line", "Runs", running=pattern, stopped=pattern)


def test_one_name_at_two_tenants_is_two_series(bucket):
    """And a PLC without plc_id goes by its address, when it is chosen."""
    for tenant in ("acme", "beta"):
        bucket.write(*readings("contador_bom", (0, 1), (60, 7), (120, 13), head=plc(tenant=tenant)))
        bucket.write(*readings("maquina_ligada", (0, "true"), head=plc(tenant=tenant)))
    nameless = "s7_db1,ip=10.0.0.9,db=1"
    bucket.write(*readings("contador_bom", (0, 1), (60, 7), (120, 13), head=nameless))
    bucket.write(*readings("maquina_ligada", (0, "true"), head=nameless))
    for title in ("State", "Good parts", "Production per minute", "Counters", "Runs"):
        assert {"tenant_id", "plc_id"} <= QUERIES["line", title].labels, title
        whose = {(row["tenant_id"], row["plc_id"]) for row in bucket.rows("line", title)}
        assert whose == {("acme", "press1"), ("beta", "press1"), ("", "10.0.0.9")}, title
        rows = bucket.rows("line", title, plc="10.0.0.9", tenant="")
        assert {(row["tenant_id"], row["plc_id"]) for row in rows} == {("", "10.0.0.9")}, title
        assert {row["tenant_id"] for row in bucket.rows("line", title, plc="press1", tenant="beta")} == {"beta"}, title


def test_verdicts_on_plcs_are_shown(bucket):
    """As lanes, and those that are not normal as a table."""
    head = plc(measurement="insights")
    for k, verdict in enumerate(["Normal", "CRITICO", "Normal"]):
        bucket.write(f'{head} status_calculado="{verdict}",silent_seconds={k},seq={k}i,boot="A" {BEGIN + 60 * k}')
    lanes = bucket.rows("line", "Verdicts")
    assert [(row["plc_id"], row["signal"], row["_value"]) for row in lanes] == [
        ("press1", "status_calculado", verdict) for verdict in ("Normal", "CRITICO", "Normal")
    ]
    assert [row["verdict"] for row in bucket.rows("line", "Not normal")] == ["CRITICO"]


@pytest.mark.parametrize("window", ["5s", "10s", "30s"])
def test_an_edges_restart_leaves_the_answer_time(bucket, window):
    """The counters of its histogram begin anew, those of some buckets beyond where they were."""
    before, after = {"0.1": 40, "0.5": 90, "1.0": 100, "+Inf": 100}, {"0.1": 60, "0.5": 62, "1.0": 63, "+Inf": 63}
    for k in range(20):
        counts = before if k < 10 else after
        for le, count in counts.items():
            head = f"prometheus,edge=http://e:9108/metrics,node=broker,le={le}"
            amount = float(count * (1 + k % 10))
            bucket.write(f"{head} edge_answer_to_ack_seconds_bucket={amount} {NOW - 300 + 10 * k}")
    rows = bucket.rows("edge", "Answer to acknowledgement", window, NOW - 300)
    assert len(rows) >= 6
    assert all(0 < row["_value"] <= 1 for row in rows)


@pytest.mark.parametrize("title", ["Poll time", "Reads", "Expected interval"])
def test_one_plc_name_at_two_tenants_is_two_reads(bucket, title):
    """An edge that reads for both."""
    for tenant in ("acme", "beta"):
        head = f"prometheus,edge=http://e:9108/metrics,tenant={tenant},plc=press1,db=1"
        for k in range(9):
            fields = "plc_read_latency_ms=5,plc_expected_interval_seconds=1"
            bucket.write(f"{head} {fields},plc_read_ok_total={10 * k},plc_read_fail_total=0 {NOW - 100 + 10 * k}")
    assert "tenant" in QUERIES["edge", title].labels
    assert {row["tenant"] for row in bucket.rows("edge", title)} == {"acme", "beta"}


def test_one_sensor_name_at_two_clients_is_two_series(bucket):
    """Also at two places of one, and of a sensor that names no client; each can be chosen."""
    heads = {
        "cliente=empresa_x,localizacao=a,": 25,
        "cliente=empresa_y,localizacao=a,": 45,
        "cliente=empresa_y,localizacao=b,": 46,
        "": 20,
    }
    for tags, value in heads.items():
        for k in range(3):
            at = NOW - 600 + 60 * k
            bucket.write(f"mov_dados,{tags}dispositivo=sensor_01 temperatura_c={value} {at}")
            verdict = "CRITICO" if value > 30 else "Normal"
            bucket.write(f'insights,{tags}dispositivo=sensor_01 status_calculado="{verdict}" {at}')
    expected = {("empresa_x", 25), ("empresa_y", 45), ("empresa_y", 46), ("", 20)}
    for title in ("Temperature", "Temperatures", "All values"):
        assert {"cliente", "dispositivo"} <= QUERIES["sensors", title].labels
        rows = bucket.rows("sensors", title)
        assert {(row["cliente"], row["_value"]) for row in rows} == expected, title
        of = {tuple(value for name, value in sorted(row.items()) if name not in {"_time", "_value"}) for row in rows}
        assert len(of) == len(expected)
        assert {row["_value"] for row in bucket.rows("sensors", title, client="empresa_x")} == {25}
    for title in ("Verdict", "Verdicts"):
        rows = bucket.rows("sensors", title)
        assert {row["_value"] for row in rows if row["cliente"] == "empresa_x"} == {"Normal"}
        assert {row["_value"] for row in rows if row["cliente"] == "empresa_y"} == {"CRITICO"}


def test_an_edges_own_verdicts_are_no_gap(bucket):
    """They take their numbers from the same count; what is really missing shows."""
    for k in range(30):
        measurement = "insights" if k % 2 else ""
        if k != 20:
            bucket.write(f'{plc(measurement=measurement)} v=1,seq={k}i,boot="A" {NOW - 600 + k}')
    assert [row["missing"] for row in bucket.rows("debug", "Missing")] == [1]
    assert [(row["seq"], row["missing"]) for row in bucket.rows("debug", "Gaps")] == [(21, 1)]


def test_a_clock_of_the_day_after_tomorrow_is_in_the_fleet(bucket):
    """A PLC of which nothing else is known; one wrong frame of another hides nothing."""
    bucket.write(f"{plc('ahead')} v=1 {NOW + 2 * 86400}")
    bucket.write(f"{plc('once')} v=1 {NOW + 900 * 86400}", f"{plc('once')} v=1 {NOW - 3600}")
    bucket.write(f"{plc('soon')} v=1 {NOW + 3600}")
    states = {row["plc"]: row["state"] for row in bucket.rows("fleet", "PLCs")}
    assert states == {"ahead": "ahead", "once": "silent", "soon": "ahead"}
    assert bucket.rows("fleet", "Silent") == [{"_value": 1}]
