"""The machine's clock jumps: by libfaketime, which changes the wall clock only, as setting it does."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.parts.counting_plc import Event
from tests.parts.waiting import wait_until
from tests.scenarios.delivery.plant import SAVED, Plant, pass_time

pytestmark = [pytest.mark.real("mosquitto", "faketime"), pytest.mark.timeout(1800)]

DAYS = 8 * 86400.0
"""More than `max_age`, which is a week."""


class Clock:
    """The wall clock of the pipeline."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set("+0")
        self.environment = {
            "LD_PRELOAD": "libfaketimeMT.so.1",
            "LD_LIBRARY_PATH": _library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, text: str) -> None:
        """What libfaketime understands: `+8d`, `@1970-01-01 00:01:00`; counts within two seconds."""
        self._file.write_text(text + "\n")


def _library() -> str:
    return str(next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")).parent)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A clock that runs right at first."""
    return Clock(tmp_path)


def oddities(plant: Plant, offsets: Sequence[float]) -> tuple[list[int], int]:
    """How many frames were stamped by each of the offsets of the wall clock, and how many by none."""
    shift = time.time() - time.monotonic()
    answered = {
        (each.plc, each.count): each.at + shift for each in plant.plcs.entries() if each.event is Event.ANSWERED
    }
    found, none = [0] * len(offsets), 0
    for arrival in plant.referee.arrivals:
        if (at := answered.get((arrival.plc, arrival.count))) is not None:
            near = [index for index, offset in enumerate(offsets) if abs(arrival.ts - at - offset) < 3.0]
            if near:
                found[near[0]] += 1
            else:
                none += 1
    return found, none


def wait_jump(plant: Plant, clock: Clock, days: int, backlog: int) -> None:
    """The clock jumps; once the pipeline has seen it, time goes on until so many more frames wait."""
    clock.set(f"{days:+d}d")
    offset = days * 86400.0
    wait_until(lambda: abs(plant.line.metric("edge_time_seconds") - time.time() - offset) < 2.0, "it sees the jump")
    wait_until(lambda: plant.line.metric("plc_read_ok_total") > 100, "it reads")
    wait_until(lambda: plant.backlog() > 0, "the journal of before is open")
    before = plant.backlog()
    wait_until(lambda: plant.backlog() > before + backlog, "a backlog", 60)
    assert plant.line.metric("edge_backlog_oldest_age_seconds") < 600


def test_the_clock_jumps_by_eight_days(plant, conclude, full, clock):
    """Forth and back while a backlog waits, with a stop and a `kill -9` in wrong times: nothing counts as too old."""
    plant = plant(broker=SAVED, environment=clock.environment)
    more = 20_000 if full else 1500
    plant.start()
    plant.flow(500)
    plant.broker.stop()
    wait_jump(plant, clock, 0, more)
    wait_jump(plant, clock, 8, more)
    plant.stop()
    plant.line.start()
    wait_jump(plant, clock, -8, more)
    plant.count_drops()
    plant.kill(1.0)
    plant.line.start()
    wait_jump(plant, clock, 0, more)
    plant.restart_broker()
    plant.flow(1000)
    made = conclude(plant, 6, "clock jumps by +8 and -8 days, broker away", faults=4, allowed=1.0)
    (right, later, sooner), none = oddities(plant, [0.0, DAYS, -DAYS])
    made.note = f"{right} frames have the right time, {later} the one of +8 days, {sooner} of -8 days, {none} another."
    assert made.dropped == {}
    assert min(right, later, sooner) > 300
    assert none == 0
    assert plant.verdict().gaps == 0


def test_the_clock_starts_in_1970(plant, conclude, full, clock):
    """No battery: 1970 until the time is synchronised; frames of both times arrive, the later ones rightly stamped."""
    clock.set("@1970-01-01 00:01:00")
    plant = plant(broker=SAVED, environment={**clock.environment, "TZ": "UTC"})
    plant.start()
    plant.flow(1000)
    plant.broker.stop()
    before = plant.backlog()
    wait_until(lambda: plant.backlog() > before + 1000, "a backlog")
    clock.set("+0")
    pass_time(20.0 if full else 3.0)
    plant.restart_broker()
    plant.heal()
    plant.flow(1000)
    made = conclude(plant, 6, "clock in 1970 until it is synchronised")
    begin = min(arrival.ts for arrival in plant.referee.arrivals)
    (right,), other = oddities(plant, [0.0])
    made.note = f"{right} frames have the right time, {other} that of 1970."
    assert begin < 86400
    assert right > 1000
    assert made.dropped == {}
    assert plant.verdict().gaps == 0


def test_the_journal_of_a_wrong_time_is_sent_in_the_right_one(plant, conclude, clock):
    """A machine without a battery is switched off with a backlog of 1970, and on again in the present."""
    clock.set("@1970-01-01 00:01:00")
    plant = plant(broker=SAVED, environment={**clock.environment, "TZ": "UTC"})
    plant.start()
    plant.flow(500)
    plant.broker.stop()
    wait_until(lambda: plant.backlog() > 2000, "a backlog")
    plant.stop()
    clock.set("+0")
    plant.line.start()
    wait_until(lambda: plant.line.get("/healthz")[0] == 200, "it lives")
    assert plant.line.metric("edge_backlog_oldest_age_seconds") < 600
    plant.restart_broker()
    plant.flow(1000)
    made = conclude(plant, 6, "backlog of 1970, restarted in the present")
    assert made.dropped == {}
    assert plant.verdict().gaps == 0
