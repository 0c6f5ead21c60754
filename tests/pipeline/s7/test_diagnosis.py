"""What `doctor` finds in a PLC: nothing invented where nothing is read, and why a reading ended."""

import pytest

from pipeline.clock import run_virtual, virtual_clock
from pipeline.diagnosis import Mark, Situation
from pipeline.operator import Scope
from pipeline.s7.address import Area
from pipeline.s7.browse_place import Access, Place
from pipeline.s7.diagnosis import diagnose_plc
from pipeline.s7.plan import Range
from tests.parts.plc import StrictPlc, close, silent
from tests.pipeline.s7.test_browse import Reticent


class Moody(StrictPlc):
    """Answers all until more than a byte of it is read."""

    mood = None

    def read(self, item):
        """What comes from here on is as the mood has it."""
        self.fault = self.mood if item.size > 1 else None
        return super().read(item)


def examine(plc, ranges):
    """Findings of a PLC in virtual time by what was tried, as (mark, found), and the seconds that it took."""

    async def main(loop):
        plc.port = 102
        async with plc:
            situation = Situation(scope=Scope(graph="test", node="press"), clock=virtual_clock(loop))
            place = Place(address="127.0.0.1", port=102, access=Access())
            found = {each.what: (each.mark, each.found) async for each in diagnose_plc(situation, place, ranges, 1.0)}
        return found, loop.time()

    return run_virtual(main)


def test_a_source_that_reads_no_bytes_is_not_found_slow():
    """State and clock of the CPU alone: there is nothing to read a few times."""
    found, _ = examine(StrictPlc({1: bytearray(14)}), [])
    assert found["connection"][0] is Mark.GOOD
    assert "read" not in found


def test_blocks_that_nobody_reads_are_not_missed():
    """A CPU that lists none, as S7-1200s do, and a graph that names none: no word on their access."""
    found, _ = examine(Reticent({1: bytearray(14)}, way="data"), [])
    assert found.keys() == {"connection", "clock"}


@pytest.mark.parametrize(("mood", "said"), [(None, "5 reads"), (close, "connection lost"), (silent, "timeout: no")])
def test_why_a_reading_ended(mood, said):
    """A connection that the PLC closes is no silence, and silence is told with the time that was waited."""
    plc = Moody({1: bytearray(14)})
    plc.mood = mood
    found, seconds = examine(plc, [Range(Area.DB.value, 1, 0, 14)])
    mark, text = found["read"]
    assert (mark is Mark.GOOD, text.startswith(said)) == (mood is None, True)
    assert seconds < 6
