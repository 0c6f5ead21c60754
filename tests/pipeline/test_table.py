"""Frames as a table at a terminal."""

import re

import pytest

from pipeline.frame import Frame
from pipeline.table import Table, cell
from tests.parts.engine import data, origin

PRESS = origin("press1", units={"AI_Corrente": "A"})


def test_the_table_names_values_with_units_and_keeps_its_columns():
    """A head for new names and each thirty rows; bad ones are shown; heartbeats and failures are rows too."""
    table = Table(lambda: 80)
    who = "acme/press1/s7_db1"
    first = table.render(data(PRESS, AI_Corrente=4.25, ok=True)).decode().splitlines()
    assert [line[12:] for line in first] == [
        f"  block{' ' * (len(who) - 5)}  AI_Corrente [A]    ok",
        f"  {who}             4.25  true",
    ]
    bad = data(PRESS, ok=False).replace(bad={"AI_Corrente": "refused"})
    assert table.render(bad).decode()[12:] == f"  {who}              bad  false\n"
    assert table.render(Frame.heartbeat(PRESS, 0.5)).decode()[8:] == f".500  {who}  heartbeat\n"
    assert table.render(Frame.failure(PRESS, 0, "timeout")).decode().endswith(f"{who}  failed: timeout\n")
    assert table.render(data(PRESS, n=1)).count(b"\n") == 2
    assert [table.render(data(PRESS, n=n)).count(b"\n") for n in range(60)].count(2) == 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (4.25, "4.25"),
        (1 / 3, "0.333333"),
        (999_999.7, "1000000"),
        (-1_234_574.1, "-1234574"),
        (123_456_789.123, "123456789"),
        (3.4e38, "3.4e+38"),
    ],
)
def test_no_digit_before_the_point_is_lost(value, shown):
    """Six digits of a measured value are enough; of a meter all that stand before the point."""
    assert cell(value) == shown


def test_a_time_has_the_milliseconds_of_the_frame():
    """As its JSON has them: not one less where a float is a little smaller, and no thousandth of them."""
    shown = [Table().render(Frame.heartbeat(PRESS, (1_795_375_000_000 + n) / 1000))[9:12] for n in range(1000)]
    assert shown == [b"%03d" % n for n in range(1000)]


def test_the_columns_of_plcs_with_longer_and_shorter_names_stand_below_one_another():
    """A longer name moves the columns and brings the head again, once; a shorter one behind it keeps them."""
    table = Table(lambda: 200)
    plcs = [origin(name, units={}) for name in ("f1", "f10", "f2", "f10", "f1")]
    lines = [table.render(data(plc, contador=5014)).decode().splitlines() for plc in plcs]
    assert [len(rows) for rows in lines] == [2, 2, 1, 1, 1]
    after = [row for rows in lines[1:] for row in rows]
    assert len({len(row) for row in after}) == 1
    assert {row.rindex("5014") for row in after[1:]} == {after[0].rindex("contador") + 4}


def test_the_table_fits_the_terminal_and_obeys_no_device():
    """A row is cut, not wrapped; control characters are shown, not obeyed."""
    table = Table(lambda: 60)
    rows = table.render(data(PRESS, **{f"valor_{n}": n for n in range(50)})).decode().splitlines()
    assert [len(row) for row in rows] == [60, 60]
    assert rows[0].endswith("…")
    text = Table(lambda: 200).render(data(PRESS, text="a\x1b[2Jb\nc\x9b")).decode()
    assert "a\\x1b[2Jb\\nc\\x9b\n" in text


def test_colours_change_no_text_and_mark_what_is_wrong():
    """Without its colours the table is the same; failures and bad values are red, values themselves are plain."""
    frames = [
        data(PRESS, AI_Corrente=4.25, ok=True),
        data(PRESS, ok=False).replace(bad={"AI_Corrente": "refused"}),
        Frame.heartbeat(PRESS, 0.5),
        Frame.failure(PRESS, 0, "timeout"),
    ]
    plain, coloured = Table(lambda: 80), Table(lambda: 80, colours=True)
    rows = [(plain.render(frame).decode(), coloured.render(frame).decode()) for frame in frames]
    assert all(re.sub(r"\x1b\[[0-9;]*m", "", after) == before for before, after in rows)
    assert "\x1b[31m\x1b[1mbad\x1b[0m  false\n" in rows[1][1]
    assert rows[3][1].startswith("\x1b[31m")
    assert "\x1b[31m" not in rows[0][1] + rows[2][1]


def test_a_long_name_leaves_room_for_the_values():
    """Of the name the end is shown, where names differ."""
    table = Table(lambda: 80)
    shown = table.render(data(origin("p" * 60 + "-1"), n=7)).decode().splitlines()[-1]
    assert "p-1/s7_db1" in shown
    assert shown.endswith(" 7")
