"""Wire forms, byte for byte."""

from __future__ import annotations

import json

import pytest

from pipeline.codecs import CODECS
from pipeline.frame import Frame
from tests.parts.engine import data, origin

BOOT = b"01JD8Z0000000000000000BOOT"
FRAME = data(origin(), pecas_boas=True, contador_bom=5014)


def test_the_full_form_is_the_seed_with_additions_at_its_end() -> None:
    """Keys, order and types as documented; `seq` and `boot` are spliced in, `replayed` behind them."""
    codec = CODECS["full"]
    stamped = codec.stamp(codec.encode(FRAME), 812, BOOT)
    assert codec.mark_replayed(stamped) == (
        b'{"ts":1731800000.123,"ip":"192.168.0.121","db":1,"tenant_id":"acme","plc_id":"press1",'
        b'"values":{"pecas_boas":true,"contador_bom":5014},"seq":812,"boot":"01JD8Z0000000000000000BOOT",'
        b'"replayed":true}'
    )


def test_the_seed_form_has_nothing_else() -> None:
    """No tags, no bad, no seq, no boot, no marks."""
    codec = CODECS["seed"]
    frame = FRAME.replace(origin=origin(tags={"area": "linha1"}), bad={"x": "NaN"})
    assert list(json.loads(codec.mark_replayed(codec.stamp(codec.encode(frame), 1, BOOT)))) == [
        *("ts", "ip", "db", "tenant_id", "plc_id", "values"),
    ]


@pytest.mark.parametrize("name", list(CODECS))
def test_heartbeat_and_failure_look_as_in_the_seed(name: str) -> None:
    """A heartbeat is one value; a failure names its error."""
    codec = CODECS[name]
    assert json.loads(codec.encode(Frame.heartbeat(origin(), 1.5)))["values"] == {"heartbeat": 1}
    failure = json.loads(codec.encode(Frame.failure(origin(), 1731801111.456, "timeout")))
    assert failure["values"] == {"heartbeat": 1, "read_failed": True}
    assert failure["error"] == "timeout"
    assert failure["ts"] == 1731801111.456


def test_unset_names_are_left_out_and_a_measurement_of_its_own_is_named() -> None:
    """No tenant, no plc, no db; tags and measurement follow the values."""
    lonely = origin(db=None).replace(tenant_id="", plc_id="", measurement="s7_tags", tags={"area": "linha1"})
    frame = data(lonely, t=1).replace(bad={"pronto": "object does not exist"})
    assert json.loads(CODECS["full"].encode(frame)) == {
        "ts": 1731800000.123,
        "ip": "192.168.0.121",
        "values": {"t": 1},
        "tags": {"area": "linha1"},
        "measurement": "s7_tags",
        "bad": {"pronto": "object does not exist"},
    }


@pytest.mark.parametrize("name", list(CODECS))
def test_a_frame_is_encoded_once(name: str) -> None:
    """Two sinks share the same bytes; a changed copy has its own."""
    codec = CODECS[name]
    frame = data(origin(), a=1)
    assert codec.encode(frame) is codec.encode(frame)
    assert codec.encode(frame.replace(values={"a": 2})) != codec.encode(frame)
