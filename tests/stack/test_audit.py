"""`infra/audit` on the real platform: a day with holes, pauses and restarts, each with its time and its reason."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.parts.waiting import wait_until
from tests.stack.conftest import Stack
from tests.stack.test_outages import after, away, resend

pytestmark = [
    pytest.mark.real("mosquitto", "openssl", "native_plc", "telegraf", "influxdb"),
    pytest.mark.timeout(240),
]
ZONE = "America/Sao_Paulo"


def audit(stack: Stack, code: int, *arguments: str) -> Any:
    """What `infra/audit --json` says, in a zone that is not the database's."""
    said = text(stack, code, "--json", *arguments)
    return json.loads(said)


def text(stack: Stack, code: int, *arguments: str) -> str:
    """What `infra/audit` says to people."""
    done = subprocess.run(
        [sys.executable, str(stack.plant.infra / "audit.py"), *arguments],
        env={**os.environ, "INFLUX_URL": stack.influx.url, "TZ": ZONE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def of(told: dict[str, Any], plc: str) -> dict[str, Any]:
    """One PLC's ledger."""
    (found,) = [each for each in told["plcs"] if each["plc"] == plc]
    return dict(found)


def yesterday() -> datetime:
    """Its midnight, in the zone that is audited."""
    return datetime.now(ZoneInfo(ZONE)).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


def points(plc: str, boot: str, numbers: list[int], start: float, more: str = "v=1") -> str:
    """Frames as Telegraf stores them, one a second."""
    return "\n".join(
        f's7_db1,tenant_id=acme,plc_id={plc},ip=10.0.0.1,db=1 seq={n}i,boot="{boot}",{more} {int(start) + n}000000000'
        for n in numbers
    )


def test_a_days_holes_are_told_with_time_and_reason(stack):
    """Lost in the middle, given up at the edge, at a start that lost its first; the day before is looked at too."""
    begin = yesterday().timestamp()
    lines = [
        points("line", "A", [*range(100)], begin - 50),  # 50 before midnight
        points("line", "A", [*range(100, 150), *range(160, 200)], begin - 50),
        points("line", "B", [*range(3, 50)], begin + 1000),
        points("line", "B", [50, 51], begin + 1000, 'heartbeat=1,read_failed=true,error="timeout"'),
        points("line", "B", [*range(90, 100)], begin + 1000),
        points("whole", "C", [*range(3600)], begin + 7200),
    ]
    stack.influx.write("\n".join(lines), stack.token, "processo_raw")
    edge = "edge=http://edge:9108/metrics"
    metrics = [
        f"prometheus,tenant=acme,plc=line,db=1,{edge} plc_read_ok_total={n * 10} {int(begin) + 500 + n * 60}"
        for n in range(20)
    ]
    dropped = f"prometheus,node=broker,reason=journal_full,{edge} edge_frames_dropped_total"
    metrics += [f"{dropped}={count} {int(begin) + at}" for at, count in ((1000, 0), (1060, 0), (1080, 38), (1200, 38))]
    metrics += [f"prometheus,mode=mqtt,{edge} plc_publish_ok_total={n * 9} {int(begin) + n * 60}" for n in range(20)]
    stack.influx.write("\n".join(metrics), stack.token, "processo", precision="s")

    told = audit(stack, 1)
    assert told["day"] == f"{yesterday():%Y-%m-%d}"
    line = of(told, "line")
    assert (line["answered"], line["restarts"], line["failures"]) == (190, 1, 2)
    holes = [(hole["boot"], hole["first"], hole["last"], round(hole["begin"] - begin)) for hole in line["holes"]]
    assert holes == [("A", 150, 159, 99), ("B", 0, 2, 0), ("B", 52, 89, 1051)]
    assert (line["published"], line["stored"], line["missing"]) == (250, 199, 51)
    assert "pipeline journal resend" in line["holes"][0]["reasons"][0]
    assert line["holes"][2]["reasons"] == ["the edge gave frames up: journal_full (38)"]
    pauses = [
        (round(pause["begin"] - begin), round(pause["end"] - begin), pause["reasons"]) for pause in line["pauses"]
    ]
    assert pauses == [
        (99, 110, ["nothing came, and the edge was not restarted"]),
        (149, 1003, ["the edge was restarted"]),
        (1049, 1090, ["the PLC did not answer: timeout"]),
    ]
    whole = of(told, "whole")
    assert (whole["stored"], whole["missing"], whole["holes"], whole["pauses"]) == (3600, 0, [], [])
    assert told["edges"] == [
        {
            "edge": "http://edge:9108/metrics",
            "acknowledged": 171,
            "refused": 0,
            "dropped": {"journal_full": 38},
        }
    ]
    said = text(stack, 1)
    assert "acme/line\n  reads    190 answered, 0 failed\n  frames   250 published, 199 stored, 51 missing" in said
    assert "  missing  00:01:39 to 00:01:50: 10 frames (150-159 of A)" in said
    assert "given up: journal_full 38" in said


def test_any_text_may_stand_in_a_frame(stack):
    """Line ends, empty lines, and more than Python's reader of tables takes unasked."""
    begin = yesterday().timestamp() + 3600
    long = "x" * 200_000
    error = f'heartbeat=1,read_failed=true,error="no\n\nanswer, ""of {long}"'.replace('""', '\\"')
    lines = [points("odd", "A\n\nB", [0, 1], begin), points("odd", "A\n\nB", [30], begin, error)]
    stack.influx.write("\n".join(lines), stack.token, "processo_raw")
    found = of(audit(stack, 1), "odd")
    assert (found["stored"], found["failures"], found["missing"]) == (3, 1, 28)
    assert f'the PLC did not answer: no  answer, "of {long}\n' in text(stack, 1)


FAILED = 'heartbeat=1,read_failed=true,error="timeout"'
QUIET = "the PLC did not answer: timeout"


@pytest.mark.parametrize(
    ("plc", "valued", "pauses"),
    [
        ("never", range(0), [(0, 300, [QUIET])]),
        ("late", range(200, 301), [(0, 200, [QUIET])]),
        ("died", range(100), [(99, 300, [QUIET])]),
        ("once", range(150, 151), [(0, 150, [QUIET]), (150, 300, [QUIET])]),
        ("always", range(301), []),
    ],
)
def test_when_and_why_a_plc_gave_no_values_is_told_at_either_end_of_a_day_too(stack, plc, valued, pauses):
    """Its edge tells of failed reads only: all day, until the first value, after the last one."""
    begin = yesterday().timestamp() + 3600
    lines = [points(plc, "A", [n], begin, "v=1" if n in valued else FAILED) for n in range(301)]
    stack.influx.write("\n".join(lines), stack.token, "processo_raw")
    found = of(audit(stack, 1), plc)["pauses"]
    assert [(pause["begin"] - begin, pause["end"] - begin, pause["reasons"]) for pause in found] == pauses


def test_of_a_real_line_the_numbers_agree_and_a_hole_is_found_and_refilled(stack, press, tmp_path):
    """Through the whole chain: restarted, its PLC away, points deleted behind it; then sent again by the journal."""
    with stack.telegraf():
        with stack.edge(tmp_path, press, "real", poll="50ms") as line:
            line.wait_ready()
            after(line, 100)
            press.kill()
            wait_until(lambda: line.metric("plc_read_fail_total") > 0, "the PLC is away")
            press.start()
            after(line, 100)
            assert line.terminate() == 0
            line.start()
            line.wait_ready()
            after(line, 150)
            away(line, 0.1)
            assert line.terminate() == 0
        last: list[int] = []

        def quiet() -> bool:
            last.append(len(stack.points("processo_raw", "real")))
            return len(last) > 30 and len(set(last[-30:])) == 1

        wait_until(quiet, "all is stored", 60)
        today = f"{datetime.now(ZoneInfo(ZONE)):%Y-%m-%d}"
        found = of(audit(stack, 0, "--day", today), "real")
        assert (found["missing"], found["restarts"]) == (0, 1)
        assert found["failures"] >= 1
        assert found["stored"] == last[-1]
        stored = sorted(stack.points("processo_raw", "real"))
        body = {"start": stored[20], "stop": stored[30], "predicate": 'plc_id="real"'}
        stack.influx.call("POST", "/api/v2/delete?org=planta&bucket=processo_raw", body, stack.token)
        found = of(audit(stack, 1, "--day", today), "real")
        gone = len(stored) - len(stack.points("processo_raw", "real"))
        assert gone > 5
        assert (found["missing"], len(found["holes"])) == (gone, 1)
        resend(tmp_path)
        with stack.edge(tmp_path, press, "real", poll="1h") as line:
            line.wait_ready()
            wait_until(lambda: set(stored) <= set(stack.points("processo_raw", "real")), "the hole is filled")
            assert line.terminate() == 0
        found = of(audit(stack, 0, "--day", today), "real")
        assert found["replayed"] > 0


@pytest.mark.parametrize(
    ("day", "said"),
    [("2999-01-01", "has not begun yet"), ("yesterday", "is no day; write it as 2026-02-02")],
    ids=["future", "no day"],
)
def test_a_day_that_is_none_is_refused(stack, day, said):
    """In one line."""
    assert said in text(stack, 1 if day[0] == "2" else 2, "--day", day)


def test_a_day_whose_midnight_is_skipped_begins_at_one(stack):
    """Its hours are in no other day: clocks were put forward at midnight, or back at it."""
    for day, begin in (
        ("2018-11-03", "2018-11-03T00:00:00-03:00"),
        ("2018-11-04", "2018-11-04T01:00:00-02:00"),
        ("2018-11-05", "2018-11-05T00:00:00-02:00"),
        ("2018-02-18", "2018-02-18T00:00:00-03:00"),
    ):
        assert audit(stack, 0, "--day", day)["from"] == begin


def test_a_day_without_frames_says_who_knows_more(stack):
    """Long before the platform."""
    assert "infra/doctor says" in text(stack, 0, "--day", "2020-02-29")
