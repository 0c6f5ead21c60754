"""Times of frames: no two of one series have the same millisecond."""

import pytest

from pipeline.frame import Moments


@pytest.mark.parametrize(
    ("walls", "times"),
    [
        ([100.0004, 100.0006, 100.01049], [100.0, 100.001, 100.01]),
        ([100.126, 100.1262, 100.1264, 100.127, 100.14], [100.126, 100.127, 100.128, 100.129, 100.14]),
        ([100.5, 100.498, 100.502], [100.5, 100.501, 100.502]),
        ([700000.0, 100.0, 100.0, 700000.0], [700000.0, 100.0, 100.001, 700000.0]),
        ([1795348538.1259, 1795348538.1261], [1795348538.126, 1795348538.127]),
    ],
    ids=["apart", "together", "a small step back", "a clock set back and forth", "as a clock is today"],
)
def test_each_frame_has_a_millisecond_of_its_own(walls, times):
    """Whole ones, ascending, and as near to the clock as can be; a clock that is set back is followed at once."""
    moments = Moments()
    assert [moments.at(wall) for wall in walls] == times
