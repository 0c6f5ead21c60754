"""Nothing is lost on the way into the database: each part goes away under load, and every frame is a point once.

The line reads every 10 ms, so that it publishes some 100 frames a second. `STACK_OUTAGE=600` lets InfluxDB be away for
ten minutes instead of one.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.parts.line import ROOT, Line
from tests.parts.native_plc import NativePlc
from tests.parts.waiting import wait_until
from tests.stack.conftest import Stack

OUTAGE = float(os.environ.get("STACK_OUTAGE", "60"))
pytestmark = [
    pytest.mark.real("mosquitto", "openssl", "native_plc", "telegraf", "influxdb"),
    pytest.mark.timeout(400 + OUTAGE),
]


@contextmanager
def running(stack: Stack, plc: NativePlc, folder: Path, name: str) -> Iterator[Line]:
    """A line that publishes; at the end it stops in order, and all that it has published is one point a frame."""
    with stack.edge(folder, plc, name) as line:
        line.wait_ready()
        after(line, 100)
        yield line
        after(line, 100)
        assert line.terminate() == 0
    stored(stack, name)


def after(line: Line, frames: int) -> None:
    """Return when so many frames more are acknowledged by the broker."""
    before = line.metric("plc_publish_ok_total")
    wait_until(lambda: line.metric("plc_publish_ok_total") >= before + frames, f"{frames} frames more", 60)


def away(line: Line, seconds: float) -> None:
    """Return after so many seconds, in which the line has gone on reading."""
    before, over = line.metric("plc_read_ok_total"), time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= over, f"{seconds:g} s", seconds + 30)
    assert line.metric("plc_read_ok_total") >= before + seconds


def missing(stack: Stack, name: str, bucket: str = "processo_raw") -> tuple[int, int]:
    """How many frames of the one run have no point, and how many have one: by `seq`, which counts from 0."""
    wanted = f'r.plc_id == "{name}" and r._field == "seq"'
    rows = stack.query(f'from(bucket: "{bucket}") |> range(start: -1d) |> filter(fn: (r) => {wanted})')
    numbers = sorted(row["_value"] for row in rows)
    assert len(numbers) == len(set(numbers)), "a frame is two points"
    return (numbers[-1] + 1 - len(numbers), len(numbers)) if numbers else (0, 0)


def stored(stack: Stack, name: str) -> int:
    """How many points there are, once every frame that the broker acknowledged is one in both buckets."""
    published = {frame["seq"] for frame in stack.frames(f"plc/acme/{name}")}
    assert published == set(range(max(published) + 1))
    for bucket in ("processo", "processo_raw"):
        with contextlib.suppress(AssertionError):
            wait_until(lambda bucket=bucket: missing(stack, name, bucket) == (0, len(published)), deadline=60)
        assert missing(stack, name, bucket) == (0, len(published)), bucket
    return len(published)


@pytest.fixture
def named(stack: Stack, request: pytest.FixtureRequest) -> str:
    """A PLC's name for one test, with an independent subscriber that keeps all of it."""
    name = request.node.name.removeprefix("test_")[:40]
    stack.frames(f"plc/acme/{name}")
    return name


def test_influxdb_is_away(stack, press, named, tmp_path):
    """Killed, and back after a minute: Telegraf and the broker keep what comes meanwhile."""
    with stack.telegraf(), running(stack, press, tmp_path, named) as line:
        stack.influx.kill()
        away(line, OUTAGE)
        stack.influx.start()


def test_influxdb_does_not_answer(stack, press, named, tmp_path):
    """Frozen for 12 s, longer than Telegraf waits for an answer."""
    with stack.telegraf(), running(stack, press, tmp_path, named) as line:
        stack.influx.freeze()
        away(line, 12)
        stack.influx.thaw()


def test_telegraf_is_killed(stack, press, named, tmp_path):
    """`kill -9` with points in its memory, twice, and away for 5 s."""
    with stack.telegraf() as telegraf, running(stack, press, tmp_path, named) as line:
        for _ in range(2):
            telegraf.kill()
            away(line, 5)
            with stack.subscribed():
                telegraf.start()
            after(line, 100)


def test_the_broker_restarts_in_order(stack, press, named, tmp_path):
    """SIGTERM under load, back after 5 s: both its clients come back by themselves, and nothing is missing."""
    with stack.telegraf(), running(stack, press, tmp_path, named) as line:
        stack.broker.stop()
        away(line, 5)
        with stack.subscribed():
            stack.broker.start()
        after(line, 100)


def test_what_a_killed_broker_loses_is_sent_again(stack, press, named, tmp_path):
    """What it acknowledged within the seconds before is gone with it; `journal resend` refills exactly that."""
    with stack.telegraf() as telegraf:
        with stack.edge(tmp_path, press, named) as line:
            line.wait_ready()
            after(line, 700)
            wait_until(lambda: missing(stack, named)[1] > 300, "frames are stored")
            telegraf.kill()
            after(line, 300)
            stack.broker.kill()
            away(line, 1)
            stack.broker.start()
            with stack.subscribed():
                telegraf.start()
            after(line, 200)
            assert line.terminate() == 0
        last = len(stack.frames(f"plc/acme/{named}"))
        wait_until(settled(stack, named), "all that the broker has is stored")
        lost, kept = missing(stack, named)
        print(f"lost {lost} of {lost + kept}")  # noqa: T201 - a figure, shown with -s
        assert lost > 0, "the fault was none"
        resent = resend(tmp_path)
        assert resent >= lost + kept
        with stack.edge(tmp_path, press, named) as line:
            line.wait_ready()
            after(line, resent)
            assert line.terminate() == 0
        first_boot = boots(stack, named)
        wait_until(lambda: not gaps(stack, named, first_boot), "every gap is filled")
    assert last > 0


def settled(stack: Stack, name: str) -> Callable[[], bool]:
    """A condition: no more points have come for a while."""
    seen = [(0, 0)]

    def quiet() -> bool:
        seen.append(missing(stack, name))
        return len(seen) > 100 and len(set(seen[-100:])) == 1

    return quiet


def boots(stack: Stack, name: str) -> str:
    """The process start of the first frame stored."""
    points = stack.points("processo_raw", name)
    return str(points[min(points)]["boot"])


def gaps(stack: Stack, name: str, boot: str) -> set[int]:
    """Numbers of one process start that no point has."""
    numbers = {each["seq"] for each in stack.points("processo_raw", name).values() if each["boot"] == boot}
    return set(range(max(numbers) + 1)) - numbers


def resend(folder: Path) -> int:
    """Run `journal resend` for all that the journal keeps; how many frames it says."""
    now = datetime.now(UTC)
    since, until = (f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in (now - timedelta(hours=1), now + timedelta(hours=1)))
    command = [sys.executable, "-m", "pipeline", "journal", "resend", str(folder / "data" / "line1" / "broker")]
    done = subprocess.run(
        [*command, "--from", since, "--to", until], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[0])


def test_a_replay_changes_no_count(stack, press, named, tmp_path):
    """All frames of a run sent a second time: as many points as before, with the mark `replayed`."""
    with stack.telegraf():
        with running(stack, press, tmp_path, named) as line:
            after(line, 200)
        before = stack.points("processo_raw", named)
        resent = resend(tmp_path)
        assert resent == len(before)
        boot = boots(stack, named)

        def old() -> dict[str, dict[str, object]]:
            return {
                time: each for time, each in stack.points("processo_raw", named).items() if each.get("boot") == boot
            }

        with stack.edge(tmp_path, press, named, poll="1h") as line:
            line.wait_ready()
            wait_until(lambda: all(each.get("replayed") for each in old().values()), "all are replayed")
            assert line.terminate() == 0
    assert {time: each | {"replayed": True} for time, each in before.items()} == old()


def test_a_refused_point_harms_no_other(stack):
    """Where a field's type was forgotten InfluxDB refuses the point; all others are stored, also after a restart."""

    def publish(plc: str, *values: str) -> None:
        bodies = (f'{{"ts": {1731900000 + n}, "db": 9, "values": {value}}}' for n, value in enumerate(values))
        stack.publish(f"plc/acme/{plc}", *bodies)

    def count(plc: str, bucket: str = "processo_raw") -> int:
        return len(stack.points(bucket, plc))

    with stack.telegraf() as telegraf:
        publish("number", '{"v": 1}', '{"v": 2}')
        wait_until(lambda: count("number") == 2, "the numbers")
        telegraf.stop()
        with stack.subscribed():
            telegraf.start()
        publish("refused", '{"v": "x"}')
        publish("others", *(f'{{"n": {n}}}' for n in range(300)))
        wait_until(lambda: count("others") == 300, "all others")
        wait_until(lambda: "field type conflict" in telegraf.log, "the refusal is told")
        telegraf.stop()
        with stack.subscribed():
            telegraf.start()
        publish("later", '{"n": 1}')
        wait_until(lambda: count("later") == 1, "what comes later")
    assert (count("refused"), count("others")) == (0, 300)
