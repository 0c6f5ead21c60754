"""What holds for the arithmetic of OEE whatever comes; numbers checked by hand are with the transform `oee`."""

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.effectiveness import Line, Missing, Parts, Window
from pipeline.shifts import Calendar, Shift, TimeOfDay

BEGIN = 1_731_800_000.0
SHIFTS = [Shift(start=TimeOfDay(0), end=TimeOfDay(450)), Shift(start=TimeOfDay(480), end=TimeOfDay(1440))]
"""Half an hour is free."""

steps = st.lists(
    st.tuples(
        st.floats(0.01, 5000),
        st.sampled_from([True, False, None]),
        st.integers(0, 50),
        st.integers(0, 50),
        st.booleans(),
    ),
    min_size=1,
    max_size=60,
)


def line(window, shifts=(), missing=Missing.STOPPED):
    """A machine that has never been read."""
    calendar = Calendar(shifts, "America/Sao_Paulo")
    return Line(calendar, window=window, length=3600, ideal=30, missing=missing, max_gap=600)


@given(steps, st.sampled_from(Window), st.sampled_from(Missing), st.booleans())
def test_no_result_contradicts_itself(script, window, missing, planned):
    """Running is observed, observed is planned; factors are their quotients, and oee is their product or 0."""
    machine = line(window, SHIFTS if planned or window is Window.SHIFT else (), missing)
    now, reports = BEGIN, []
    for seconds, running, good, scrap, fails in script:
        now += seconds
        reports += machine.fail(now) if fails else machine.read(now, running, Parts(good, scrap))
        present = machine.report()
        if present is not None:
            reports.append(present)
    assert [report.ts for report in reports] == sorted(report.ts for report in reports)
    for report in reports:
        values = report.values
        bad = report.bad or {}
        coverage = values["coverage"] * values["planned_seconds"]
        assert 0 <= values["running_seconds"] <= coverage + 1e-3
        assert values["coverage"] <= 1 + 1e-9
        assert all(math.isfinite(value) for value in values.values() if isinstance(value, float))
        for factor in ("availability", "performance", "quality", "oee"):
            assert (factor in values) is not (factor in bad)
        if not bad:
            product = values["availability"] * values["performance"] * values["quality"]
            assert values["oee"] == pytest.approx(product)
            assert values["quality"] == values["good"] / (values["good"] + values["scrap"])
        else:
            assert values.get("oee", 0) == 0


@given(steps, st.sampled_from([Window.HOUR, Window.DAY]))
def test_windows_lose_neither_time_nor_parts(script, window):
    """Where all time is planned, the windows and the rest together have all of it, and all parts."""
    machine = line(window)
    times = list(accumulate((seconds for seconds, *_ in script), initial=BEGIN))[1:]
    ended = []
    for now, (_, running, good, scrap, _) in zip(times, script, strict=True):
        ended += machine.read(now, running, Parts(good, scrap))
    # Let the last window end, and the one after it, so that nothing is left over.
    ended += machine.advance(times[-1] + 2 * (3600 if window is Window.HOUR else 86400))
    assert sum(report.values["good"] for report in ended) == sum(good for _, _, good, *_ in script)
    assert sum(report.values["scrap"] for report in ended) == sum(scrap for _, _, _, scrap, _ in script)
    planned = sum(report.values["planned_seconds"] for report in ended)
    assert planned % 3600 == pytest.approx(0, abs=1e-3) or planned % 3600 == pytest.approx(3600, abs=1e-3)
    assert planned >= times[-1] - times[0] - 1e-3
    running = sum(
        min(later - now, 600)
        for now, later, (_, on, *_) in zip(times, [*times[1:], math.inf], script, strict=True)
        if on
    )
    assert sum(report.values["running_seconds"] for report in ended) == pytest.approx(running, abs=1e-3)
