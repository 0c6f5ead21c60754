"""`seq` over the graphs of one process: no number of a PLC comes twice, and a sink that stays has no gap."""

import pytest

from pipeline.numbering import Numbering, Stream

PLC = "acme/press1"


def given(*graphs):
    """Graphs one after the other, each with the frames that the sink of a journal gets; the numbers that it gave."""
    numbering, numbers = None, []
    for graph in graphs:
        numbering = Numbering(numbering)
        taken = {journal: numbering.take(journal) for journal in graph}
        numbers.append({})
        for journal, count in graph.items():
            stream = taken[journal].setdefault(PLC, Stream(PLC))
            numbers[-1][journal] = (stream.seq, stream.seq + count)
            stream.seq += count
    return numbers


@pytest.mark.parametrize(
    ("graphs", "numbers"),
    [
        ([{"a": 5, "b": 9}, {"a": 5, "b": 1}], [{"a": (0, 5), "b": (0, 9)}, {"a": (5, 10), "b": (9, 10)}]),
        ([{"a": 5}, {"b": 3}, {"a": 2}], [{"a": (0, 5)}, {"b": (5, 8)}, {"a": (8, 10)}]),
        ([{"a": 5}, {}, {"a": 1}], [{"a": (0, 5)}, {}, {"a": (5, 6)}]),
        ([{"a": 5}, {"b": 3}, {}, {"a": 1}], [{"a": (0, 5)}, {"b": (5, 8)}, {}, {"a": (8, 9)}]),
        ([{"a": 5}, {"a": 2, "b": 1}, {"a": 1}], [{"a": (0, 5)}, {"a": (5, 7), "b": (5, 6)}, {"a": (7, 8)}]),
    ],
    ids=["two stay", "renamed and back", "a graph without sinks", "renamed, none, back", "one is added, and goes"],
)
def test_a_sink_that_stays_goes_on_and_another_begins_above(graphs, numbers):
    """Whatever the graphs were called in between."""
    assert given(*graphs) == numbers
