"""Memory and limits over hours, in compressed time."""

import pytest

from pipeline.units import Size
from tests.scenarios.delivery.compressed import Outcome, Task, run
from tests.scenarios.delivery.report import Row

pytestmark = pytest.mark.timeout(3600)

MEGABYTE = 1024 * 1024
LIMIT = "2MiB"


def fill(row: Row, outcome: Outcome, task: Task) -> None:
    """Copy what came of it."""
    row.answered, row.rate, row.dropped = outcome.answered, task.plcs / task.every, outcome.dropped
    row.lost = outcome.answered - outcome.data - sum(outcome.dropped.values())
    row.twice, row.disorder = outcome.twice, outcome.disorder


def growth(outcome: Outcome, begin: float, end: float) -> int:
    """Bytes by which the process's own memory grew at most between two hours."""
    sizes = [sample.anonymous for sample in outcome.samples if begin - 1e-6 <= sample.hours <= end + 1e-6]
    return max(sizes) - sizes[0]


def test_a_day_of_polling(row, full, tmp_path):
    """24 hours of healthy polling (6 without `--full`): after the first hour memory stays as it is."""
    hours, plcs = (24, 4) if full else (6, 1)
    task = Task(folder=str(tmp_path), plcs=plcs, phases=[(hours, True)])
    outcome = run(task)
    made = row(8, f"{hours} h of polling, {plcs} x 1 Hz", faults=0)
    fill(made, outcome, task)
    grown = growth(outcome, 1, hours)
    made.note = f"{outcome.samples[-1].anonymous / MEGABYTE:.1f} MB, {grown / 1024:.0f} kB more than after an hour."
    assert (made.lost, outcome.gaps, outcome.twice, outcome.disorder) == (0, 0, 0, 0)
    assert grown < MEGABYTE


def test_two_hours_without_the_broker(row, full, tmp_path):
    """The backlog is on disk: memory does not know how long it is; the drain needs its read-ahead, and gives way."""
    plcs, every = (20, 0.1) if full else (2, 0.5)
    phases = [(0.5, True), (2.0, False), (0.5, True)]
    task = Task(folder=str(tmp_path), plcs=plcs, every=every, phases=phases, sample=0.25)
    outcome = run(task)
    made = row(8, f"2 h without the broker, {plcs} x {1 / every:g} Hz")
    fill(made, outcome, task)
    away, drain = growth(outcome, 0.5, 2.5), growth(outcome, 0.5, 3.0)
    made.note = (
        f"Memory grew by {away / 1024:.0f} kB while it was away, and by {drain / 1024:.0f} kB with the drain; "
        f"the journal's file reached {outcome.size / MEGABYTE:.1f} MB."
    )
    assert (made.lost, outcome.gaps, outcome.twice, outcome.disorder) == (0, 0, 0, 0)
    assert away < MEGABYTE
    assert drain < 16 * MEGABYTE


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "pause"])
def test_a_full_journal_does_as_told(row, full, tmp_path, policy):
    """A journal of 2 MiB and an hour without the broker: what is missing is what the policy says, to the frame."""
    plcs, every = (20, 0.1) if full else (2, 0.25)
    journal = {"max_size": LIMIT, "when_full": policy}
    phases = [(0.25, True), (1.0, False), (0.25, True)]
    task = Task(folder=str(tmp_path), plcs=plcs, every=every, phases=phases, sample=0.25, journal=journal)
    outcome = run(task)
    made = row(8, f"journal of {LIMIT} full, `when_full: {policy}`")
    fill(made, outcome, task)
    # Heartbeats go through the journal too.
    made.lost = outcome.gaps - sum(outcome.dropped.values())
    made.note = f"File {outcome.size / MEGABYTE:.1f} MB; ticks skipped: {outcome.skipped or 'none'}."
    assert made.lost == 0
    assert (outcome.twice, outcome.disorder) == (0, 0)
    assert outcome.size < 2 * Size.parse(LIMIT)
    if policy == "pause":
        assert outcome.dropped == {}
        assert outcome.skipped["paused"] > 1000
    else:
        assert outcome.dropped.keys() == {"journal_full"}
        assert outcome.dropped["journal_full"] > 1000
        assert outcome.skipped == {}
