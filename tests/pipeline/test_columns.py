"""Frames as rows of CSV."""

import csv
import math

from pipeline.columns import Columns
from pipeline.frame import Frame
from tests.parts.engine import data, origin

PRESS = origin("press1", tags={"area": "linha1"})
FIXED = ["ts", "time", "ip", "db", "tenant_id", "plc_id", "heartbeat", "read_failed", "error", "bad"]


def read(columns, frame):
    """A row as a reader of CSV has it, without the fixed columns that are always alike."""
    (cells,) = csv.reader([columns.row(frame).decode()])
    row = dict(zip(columns.names, cells, strict=True))
    return {name: text for name, text in row.items() if text and name not in {"ip", "db", "tenant_id", "plc_id"}}


def filled(frame):
    """Columns made for a frame."""
    columns = Columns()
    columns.add(frame)
    return columns


def test_the_frame_s_own_fields_come_first_then_tags_and_values():
    """In the frame's order, numbers with all their digits, booleans as in JSON."""
    frame = data(PRESS, ts=1_731_800_000.1236, ok=True, AI=0.1, n=2**60)
    columns = filled(frame)
    assert columns.head().decode().strip().split(",") == [*FIXED, "area", "ok", "AI", "n"]
    assert columns.row(frame).decode() == (
        "1731800000.124,2024-11-16T23:33:20.124Z,192.168.0.121,1,acme,press1,,,,,linha1,true,0.1,1152921504606846976\n"
    )


def test_what_is_absent_or_bad_is_empty_and_bad_says_why():
    """Never a zero, never an old value."""
    columns = filled(data(PRESS, AI=1.5, n=1))
    frame = data(PRESS, n=2).replace(bad={"AI": "DB1.DBD2: not there", "B": "no"})
    assert not columns.hold(frame)
    columns.add(frame)
    assert columns.names[-1] == "B"
    row = read(columns, frame)
    assert (row["bad"], row["n"]) == ("AI: DB1.DBD2: not there; B: no", "2")
    assert "AI" not in row


def test_heartbeats_and_failures_need_no_column_of_their_own():
    """They fill those that every file has."""
    columns = filled(data(PRESS, n=1))
    for frame in (Frame.heartbeat(PRESS, 1), Frame.failure(PRESS, 2, "timeout")):
        assert columns.hold(frame)
    assert read(columns, frame) == {
        "ts": "2.000",
        "time": "1970-01-01T00:00:02.000Z",
        "heartbeat": "1",
        "read_failed": "true",
        "error": "timeout",
        "area": "linha1",
    }


def test_names_are_only_added():
    """A file's columns go on; a head that isn't ours is not continued."""
    columns = filled(data(PRESS, a=1, b=2))
    again = Columns(columns.head())
    assert again.names == columns.names
    assert again.hold(data(PRESS, b=1))
    again.add(data(PRESS, c=1))
    assert again.names == [*FIXED, "area", "a", "b", "c"]
    for head in (b"", b"a,b,c\n", b"\xff\xfe\n", b'"open'):
        assert Columns(head).names == FIXED


def test_a_value_that_is_called_like_a_field_is_told_apart():
    """The frame's own field keeps its column."""
    frame = data(PRESS, time=5, n=1)
    columns = filled(frame)
    assert columns.names[-2:] == ["values.time", "n"]
    assert read(columns, frame)["values.time"] == "5"
    assert columns.hold(frame)


def test_every_row_is_one_line():
    """Separators and quotes are quoted, line ends and other control characters are escapes."""
    frame = data(PRESS, text='a,"b"\r\n\x1b[2Jç', inf=math.inf)
    row = filled(frame).row(frame)
    assert row.count(b"\n") == 1
    assert read(filled(frame), frame)["text"] == 'a,"b"\\r\\n\\x1b[2Jç'
