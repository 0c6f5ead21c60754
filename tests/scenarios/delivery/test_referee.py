"""The referee itself: what it must see, on arrivals made by hand."""

import pytest

from tests.parts.counting_plc import Entry, Event
from tests.scenarios.delivery import report
from tests.scenarios.delivery.referee import Arrival, Kill, judge, recovery

TRUTH = [Entry(Event.ANSWERED, 0, count, float(count)) for count in range(1, 11)]
"""One PLC, ten answers, one a second."""


def arrival(count: int, *, at: float | None = None, seq: int | None = None, replayed: bool = False) -> Arrival:
    """The frame of an answer, half a second after it."""
    return Arrival(at or count + 0.5, 0, "boot", count - 1 if seq is None else seq, count, replayed, float(count))


ALL = [arrival(count) for count in range(1, 11)]


def test_all_is_well():
    """Each answer arrived once, in order."""
    verdict = judge(TRUTH, ALL)
    assert verdict.proper
    assert (verdict.answered, verdict.delivered, verdict.gaps, verdict.twice) == (10, 10, 0, 0)
    assert verdict.late == 0.5


def test_a_lost_frame_is_lost_unless_something_accounts_for_it():
    """Counted as dropped, killed shortly after, or on the wire at the end of its connection: else it is lost."""
    arrivals = [each for each in ALL if each.count != 5]
    assert judge(TRUTH, arrivals).lost == 1
    assert judge(TRUTH, arrivals).gaps == 1
    assert judge(TRUTH, arrivals, dropped=1).lost == 0
    assert judge(TRUTH, arrivals, kills=[Kill(5.9, 1.0)]).hand == 1
    assert judge(TRUTH, arrivals, kills=[Kill(5.9, 0.5)]).lost == 1
    assert judge(TRUTH, arrivals, kills=[Kill(4.9, 1.0)]).lost == 1
    assert judge([*TRUTH, Entry(Event.LAST, 0, 5, 5.01)], arrivals).wire == 1
    assert judge([*TRUTH, Entry(Event.LAST, 0, 5, 5.9)], arrivals).lost == 1


def test_what_comes_twice_is_not_invented():
    """At least once."""
    verdict = judge(TRUTH, [*ALL, ALL[3]])
    assert (verdict.twice, verdict.disorder, verdict.invented) == (1, 0, 0)


@pytest.mark.parametrize("wrong", [arrival(11), arrival(4, seq=10), Arrival(9.9, 0, "boot", 10, -1, False, 0.0)])
def test_what_nobody_answered_is_invented(wrong):
    """A count without an answer, an old answer in a new frame, a torn block."""
    assert judge(TRUTH, [*ALL, wrong]).invented == 1


def test_a_spoiled_answer_may_not_become_a_value():
    """The PLC has sent nothing that may be believed."""
    truth = [*TRUTH[:9], Entry(Event.SPOILED, 0, 10, 10.0)]
    assert judge(truth, ALL).invented == 1
    assert judge(truth, ALL[:9]).proper


def test_order_counts_within_a_lane():
    """Live behind live is disorder; a replayed frame behind live ones is not; behind replayed ones it depends."""
    swapped = [*ALL[:3], ALL[4], ALL[3], *ALL[5:]]
    assert judge(TRUTH, swapped).disorder == 1
    replayed = [*ALL[:2], *ALL[4:], arrival(3, replayed=True), arrival(4, replayed=True)]
    assert judge(TRUTH, replayed).disorder == 0
    back = [*replayed[:-2], *reversed(replayed[-2:])]
    assert judge(TRUTH, back).disorder == 1
    assert judge(TRUTH, back, retried=True).disorder == 0
    assert judge(TRUTH, back, retried=True).again == 1


def test_recovery_lasts_until_the_old_ones_have_arrived():
    """From the end of the fault at 5.6 s: the backlog came until 9 s."""
    arrivals = [*ALL[:2], arrival(6, at=6.5), *(arrival(count, at=9.0, replayed=True) for count in (3, 4, 5)), *ALL[8:]]
    assert recovery(TRUTH, arrivals, [5.6]) == pytest.approx(3.4)
    assert recovery(TRUTH, ALL, [5.6]) == pytest.approx(0.9)


def test_the_page_is_what_was_measured():
    """`RESULTS.md` is made of `results.json`: run `python -m tests.scenarios.delivery --report`."""
    assert report.MARKDOWN.read_text(encoding="utf-8") == report.render(report.load())


def test_a_short_run_replaces_no_row_of_a_long_one(tmp_path, monkeypatch):
    """Each row keeps its own commit and time."""
    monkeypatch.setattr(report, "JSON", tmp_path / "results.json")
    monkeypatch.setattr(report, "MARKDOWN", tmp_path / "RESULTS.md")
    for row in (
        report.Row(1, "a", "A", full=True, faults=50),
        report.Row(1, "a", "A", faults=3),
        report.Row(1, "b", "B"),
    ):
        report.put([row])
    kept = report.load().rows
    assert {name: (row.full, row.faults) for name, row in kept.items()} == {"a": (True, 50), "b": (False, 1)}
    assert all(row.when and row.commit for row in kept.values())
    assert f'--full -k "a"`, {kept["a"].when}' in report.MARKDOWN.read_text()
