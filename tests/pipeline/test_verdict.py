"""Frames of verdicts, and the names of results."""

import json

from pipeline.codecs import FrameJson
from pipeline.frame import Extent, Kind
from pipeline.verdict import Verdicts, check_results
from tests.parts.engine import data, origin

PRESS = origin(tags={"area": "linha1"}, units={"a": "A"}, extent=Extent(device="x:102", db=1, start=0, size=14))


def test_a_verdict_has_the_tags_of_what_it_is_about_and_nothing_of_its_bytes():
    """One origin for all verdicts on a block, whatever was encoded before; a mirror finds nothing to copy."""
    FrameJson().encode(data(PRESS, n=1))
    verdicts = Verdicts("insights")
    frame, again = (verdicts.frame(PRESS, ts, {"ok": True}, {"x": "why"}) for ts in (1.5, 2.5))
    assert frame.origin is again.origin
    assert (frame.kind, frame.raw, frame.origin.units, frame.origin.extent) == (Kind.DATA, None, {}, None)
    assert json.loads(FrameJson().encode(frame)) == {
        "ts": 1.5,
        "ip": "192.168.0.121",
        "db": 1,
        "tenant_id": "acme",
        "plc_id": "press1",
        "values": {"ok": True},
        "tags": {"area": "linha1"},
        "measurement": "insights",
        "bad": {"x": "why"},
    }


def test_names_that_no_result_may_have_are_told_where_they_stand():
    """Empty and reserved ones, in a list or as keys."""
    assert list(check_results(["status"], ("result",))) == []
    empty, reserved = check_results([" ", "seq"], ("set",), keyed=True)
    assert (empty.path, empty.message) == (("set", " "), "the name is empty")
    assert (reserved.path, reserved.message) == (
        ("set", "seq"),
        "'seq' is reserved: frames carry something else by that name",
    )
