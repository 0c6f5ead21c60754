"""`kill -9` and power cuts at random moments: what is lost, and of what age it was."""

import random
import shutil
from pathlib import Path

import pytest

from pipeline.journal import tools as journal_tools
from tests.scenarios.delivery.plant import Plant, pass_time
from tests.scenarios.delivery.trace import Trace, frames, wait_written, wrapper

pytestmark = [pytest.mark.real("mosquitto"), pytest.mark.timeout(1800)]

INTERVALS = pytest.mark.parametrize(("interval", "allowed"), [("0s", 0.25), ("1s", 1.0)])
"""`commit_interval`, and the seconds of intake that may be in memory only: with 0 s the time of a commit or two."""


def live_and_freeze(plant: Plant) -> None:
    """Frames flow for a while; every other time the broker hangs before the end, so that a backlog grows."""
    plant.flow(200)
    pass_time(plant.chance.uniform(0.0, 1.5))
    if plant.chance.random() < 0.5:
        plant.broker.freeze()
        pass_time(plant.chance.uniform(0.2, 3.0))


@INTERVALS
def test_kills_at_random_moments(plant, conclude, full, interval, allowed):
    """1,000 frames a second, `kill -9` again and again, also while the backlog of the last time is sent.

    Whatever the journal held at a kill arrives. What was answered and lost was younger than the commit interval.
    """
    plant = plant(journal={"commit_interval": interval})
    kills = 50 if full else 3
    held = 0
    for _ in range(kills):
        plant.start()
        plant.heal()
        live_and_freeze(plant)
        plant.kill(allowed)
        plant.broker.thaw()
        held += journal_tools.summary(str(plant.journal)).frames
    plant.start()
    plant.heal()
    note = f"{held:,} frames were on disk at the kills, and all of them arrived."
    made = conclude(plant, 1, f"kill -9, `commit_interval: {interval}`", faults=kills, allowed=allowed, note=note)
    assert held > 0
    assert plant.verdict().gaps == 0
    assert made.memory_age <= allowed


@pytest.mark.real("strace")
@INTERVALS
def test_power_cuts_at_random_moments(plant, conclude, full, interval, allowed):
    """A power cut forgets what was not synced, whole writes or parts, in any order; the next start is on what is left.

    Further cuts at random moments of the same runs are only looked at: the journal is sound, and what was committed is
    there or had been sent. With 0 s each frame was on disk, by a completed fsync, before its PUBLISH began.
    """
    plant = plant(journal={"commit_interval": interval}, wrapper=wrapper)
    traces = plant.folder / "trace"
    cuts, looks = (25, 8) if full else (2, 5)
    sent = early = looked = 0
    margin = float("inf")
    for _ in range(cuts):
        file = plant.journal / "data.mdb"
        base = file.read_bytes() if file.exists() else b""
        plant.start()
        plant.heal()
        live_and_freeze(plant)
        pid = plant.line.pid
        plant.kill(allowed)
        wait_written(traces)
        plant.broker.thaw()
        trace = Trace.read(traces, pid)
        assert trace.sent
        looked += sum(look(trace, base, plant.chance, plant.folder / "look") for _ in range(looks))
        if interval == "0s":
            committed = trace.committed()
            boot = max(frame.boot for frame in trace.sent)  # what is older was committed in an earlier run
            here = {frame: begun for frame, begun in trace.sent.items() if frame.boot == boot}
            margins = [begun - committed.get(frame, float("inf")) for frame, begun in here.items()]
            sent += len(here)
            early += sum(each < 0 for each in margins)
            margin = min(margin, *margins)
        file.write_bytes(trace.image(base, float("inf"), plant.chance))
        shutil.rmtree(traces)
        traces.mkdir()
    plant.start()
    plant.heal()
    note = f"{looked} more cuts at random moments of the same runs left sound journals, too."
    if interval == "0s":
        note += f" fsync before PUBLISH: {sent:,} of {sent:,} frames, by {margin * 1e3:.2f} ms at least."
    title = f"power cut, `commit_interval: {interval}`"
    made = conclude(plant, 1, title, faults=cuts, allowed=allowed, note=note)
    assert early == 0
    assert made.memory_age <= allowed


def look(trace: Trace, base: bytes, chance: random.Random, folder: Path) -> bool:
    """What a cut at a random moment would leave; False when nothing was written."""
    ends = [write.end for write in trace.writes if write.synced]
    if not ends:
        return False
    cut = chance.uniform(min(ends), max(min(ends), trace.writes[-1].begin))
    folder.mkdir()
    (folder / "data.mdb").write_bytes(trace.image(base, cut, chance))
    kept = {frame for entry in journal_tools.records(str(folder)) for frame in frames(entry.body)}
    shutil.rmtree(folder)
    safe = kept | {frame for frame, begun in trace.sent.items() if begun <= cut}
    assert {frame for frame, at in trace.committed().items() if at <= cut} <= safe
    return True
