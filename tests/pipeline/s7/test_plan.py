"""The read plan: every byte once, within every budget, and never through a field."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.s7.plan import MOST_ITEMS, Range, largest_item, plan

PDUS = [112, 240, 480, 960]


@st.composite
def ranges(draw):
    """A range whose fields tile parts of it, some longer than a small PDU carries."""
    sizes = draw(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([1, 2, 4, 8, 22, 256])), max_size=60))
    offset, solid = 0, []
    for reserve, size in sizes:
        solid.append((offset + reserve, size))
        offset += reserve + size
    area, db = draw(st.sampled_from([(0x84, 1), (0x84, 2), (0x83, 0)]))
    return Range(area, db, draw(st.integers(0, 3000)), offset + draw(st.integers(1, 9)), tuple(solid))


def answer_size(request):
    """Bytes of the answer's PDU: odd lengths padded, except the last."""
    sizes = [item.size for item in request.items]
    return 14 + sum(4 + size + size % 2 for size in sizes[:-1]) + 4 + sizes[-1]


@settings(max_examples=200)
@given(st.lists(ranges(), min_size=1, max_size=6), st.sampled_from(PDUS), st.sampled_from([None, 0, 16]))
def test_every_byte_is_read_exactly_once_for_each_range_within_all_budgets(wanted, pdu, gap):
    """Reassembly gives the original bytes; requests and answers fit; fields that fit a PDU are not cut."""
    memory = {
        place: bytes((at * 7 + place[1] + (at >> 8)) & 0xFF for at in range(20_000))
        for place in {(r.area, r.db) for r in wanted}
    }
    requests = plan(wanted, pdu, gap)
    found = {each: [None] * each.size for each in wanted}
    for request in requests:
        assert 1 <= len(request.items) <= MOST_ITEMS
        assert len(request.frame) - 7 == 12 + 12 * len(request.items) <= pdu
        assert answer_size(request) <= pdu
        for item in request.items:
            content = memory[item.area, item.db][item.start : item.start + item.size]
            for part in item.parts:
                assert part.at + part.size <= item.size
                for index in range(part.size):
                    assert found[part.range][part.offset + index] is None
                    found[part.range][part.offset + index] = content[part.at + index]
                cut = {part.offset, part.offset + part.size}
                for offset, size in part.range.solid:
                    assert size > largest_item(pdu) or not any(offset < at < offset + size for at in cut)
    for each, content in found.items():
        assert bytes(content) == memory[each.area, each.db][each.start : each.start + each.size]


@pytest.mark.parametrize(("pdu", "most", "longest"), [(112, 8, 94), (240, 19, 222), (480, 20, 462), (960, 20, 942)])
def test_budgets_are_used_up(pdu, most, longest):
    """As many single bytes as a request names, as many bytes as an answer carries, and not one more."""
    scattered = [Range(0x84, 1, index * 100, 1) for index in range(most + 1)]
    assert [len(request.items) for request in plan(scattered, pdu)] == [most, 1]
    assert len(plan([Range(0x84, 1, 0, longest)], pdu)) == 1
    assert [request.items[0].size for request in plan([Range(0x84, 1, 0, longest + 1)], pdu)] == [longest, 1]


def test_near_ranges_share_an_item_and_far_ones_do_not():
    """16 bytes between are read along, 17 are not, another block never is; None keeps all apart."""
    near, far, other = Range(0x84, 1, 18, 2), Range(0x84, 1, 37, 2), Range(0x84, 2, 0, 2)
    wanted = [other, far, Range(0x84, 1, 0, 2), near]
    items = [(item.db, item.start, item.size) for request in plan(wanted, 240) for item in request.items]
    assert items == [(1, 0, 20), (1, 37, 2), (2, 0, 2)]
    assert sum(len(request.items) for request in plan(wanted, 240, gap=None)) == 4


def test_a_field_longer_than_a_pdu_is_cut_and_its_neighbours_are_not():
    """STRING[254] over three answers of PDU 112, between two DINTs."""
    wanted = Range(0x84, 1, 0, 264, ((0, 4), (4, 256), (260, 4)))
    pieces = [
        (part.offset, part.size) for request in plan([wanted], 112) for item in request.items for part in item.parts
    ]
    assert sorted(pieces) == [(0, 4), (4, 94), (98, 94), (192, 72)]


def test_nothing_wanted_is_no_request():
    """A group whose values are all bad asks nothing."""
    assert plan([], 240) == ()
