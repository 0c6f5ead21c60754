"""Frames as a table at a terminal."""

from pipeline.frame import Frame
from pipeline.table import Table
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


def test_the_table_fits_the_terminal_and_obeys_no_device():
    """A row is cut, not wrapped; control characters are shown, not obeyed."""
    table = Table(lambda: 60)
    rows = table.render(data(PRESS, **{f"valor_{n}": n for n in range(50)})).decode().splitlines()
    assert [len(row) for row in rows] == [60, 60]
    assert rows[0].endswith("…")
    text = Table(lambda: 200).render(data(PRESS, text="a\x1b[2Jb\nc\x9b")).decode()
    assert "a\\x1b[2Jb\\nc\\x9b\n" in text
