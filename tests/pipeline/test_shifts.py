"""Planned time: weekdays, nights, zones, the days on which clocks change."""

import math
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from pipeline.shifts import Calendar, Shift, TimeOfDay, Weekdays, check_shifts


def shift(start, end, days="daily", name=""):
    """A shift as it is written."""
    return Shift(start=TimeOfDay.parse(start), end=TimeOfDay.parse(end), days=Weekdays.parse(days), name=name)


def at(text, zone="America/Sao_Paulo"):
    """A local time as seconds since 1970."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


PLANT = Calendar(
    [
        shift("06:00", "14:00", "mon-fri", "A"),
        shift("14:00", "22:00", "mon-fri", "B"),
        shift("22:00", "06:00", "sun-thu", "C"),
    ],
    "America/Sao_Paulo",
)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("Sat-Mon", {5, 6, 0}),
        ("mon, wed", {0, 2}),
        ("sun", {6}),
        ("daily", set(range(7))),
    ],
)
def test_weekdays_are_written_as_people_do(text, days):
    """A stretch may go over the weekend."""
    assert Weekdays.parse(text) == days


@pytest.mark.parametrize(("kind", "text"), [(Weekdays, "seg-sex"), (Weekdays, ""), (Weekdays, "mon-")])
def test_what_is_no_day_is_told(kind, text):
    """With how to write it; an open stretch is one day."""
    if text == "mon-":
        assert kind.parse(text) == {0}
        return
    with pytest.raises(ValueError, match="names no days; write mon-fri"):
        kind.parse(text)


@pytest.mark.parametrize("text", ["25:00", "6", "06:60", "24:01", "6:5", "x"])
def test_what_is_no_time_is_told(text):
    """With how to write it."""
    with pytest.raises(ValueError, match="is no time of a day; write it as 06:00"):
        TimeOfDay.parse(text)


@pytest.mark.parametrize(
    ("now", "name", "start", "end"),
    [
        ("2026-11-23 06:00", "A", "2026-11-23 06:00", "2026-11-23 14:00"),
        ("2026-11-23 13:59:59", "A", "2026-11-23 06:00", "2026-11-23 14:00"),
        ("2026-11-23 14:00", "B", "2026-11-23 14:00", "2026-11-23 22:00"),
        ("2026-11-24 03:00", "C", "2026-11-23 22:00", "2026-11-24 06:00"),
        ("2026-11-22 23:00", "C", "2026-11-22 22:00", "2026-11-23 06:00"),
        ("2026-11-27 22:00", None, None, "2026-11-29 22:00"),
        ("2026-11-28 12:00", None, None, "2026-11-29 22:00"),
    ],
)
def test_each_moment_belongs_to_its_shift_or_to_none(now, name, start, end):
    """A night belongs to the day on which it begins; the weekend ends on Sunday night."""
    stretch = PLANT.at(at(now))
    assert (stretch.shift and stretch.shift.name, stretch.end) == (name, at(end))
    if start:
        assert stretch.start == at(start)


def test_without_shifts_all_time_is_planned():
    """For ever."""
    stretch = Calendar([], "").at(0)
    assert (stretch.shift is not None, stretch.end) == (True, math.inf)


@pytest.mark.parametrize(("date", "hours"), [("2026-03-28", 7), ("2026-10-24", 9), ("2026-11-21", 8)])
def test_a_night_in_which_the_clocks_change_is_as_long_as_it_is(date, hours):
    """Berlin's nights of 22:00 to 06:00."""
    calendar = Calendar([shift("22:00", "06:00")], "Europe/Berlin")
    stretch = calendar.at(at(f"{date} 23:00", "Europe/Berlin"))
    assert (stretch.end - stretch.start) / 3600 == hours


def test_hours_and_days_are_those_of_the_zone():
    """An hour in India begins at half past; a day may have 25 hours."""
    calendar = Calendar([], "Asia/Kolkata")
    assert calendar.hour(at("2026-11-22 10:40", "Asia/Kolkata")) == (
        at("2026-11-22 10:00", "Asia/Kolkata"),
        at("2026-11-22 11:00", "Asia/Kolkata"),
    )
    start, end = Calendar([], "Europe/Berlin").day(at("2026-10-25 12:00", "Europe/Berlin"))
    assert (start, (end - start) / 3600) == (at("2026-10-25 00:00", "Europe/Berlin"), 25)


def test_a_shift_of_a_whole_day():
    """From a time to the same, or to 24:00."""
    assert shift("06:00", "06:00").minutes == shift("00:00", "24:00").minutes == 1440


def test_two_shifts_at_a_time_are_told():
    """Also over midnight and over the week's end; those that touch are right."""
    assert list(check_shifts(PLANT._shifts, ("shifts",))) == []
    overlapping = [shift("06:00", "14:00", name="A"), shift("13:59", "15:00"), shift("22:00", "06:30", "sun")]
    findings = list(check_shifts(overlapping, ("shifts",)))
    assert [(each.path, each.message) for each in findings] == [
        (("shifts", 1), "is at the same time as A"),
        (("shifts", 2), "is at the same time as A"),
    ]
