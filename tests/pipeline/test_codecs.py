"""Wire forms, byte for byte."""

from __future__ import annotations

import json

import pytest

from pipeline.codecs import CODECS, decode
from pipeline.frame import Frame, Kind, Origin, Stamp
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


@pytest.mark.parametrize("name", ["full", "seed"])
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


def test_a_point_has_the_tags_fields_and_types_of_the_platforms_ingest() -> None:
    """Tags sorted, numbers floats, `seq` an integer, `bad` as JSON, milliseconds; stamp and mark before the time."""
    frame = data(origin(tags={"area": "linha1"}), pecas_boas=True, contador_bom=5014, estado="run", AI_Corrente=7.5)
    codec = CODECS["line"]
    body = codec.stamp(codec.encode(frame.replace(bad={"t": "NaN"})), 812, BOOT)
    assert codec.mark_replayed(body) == (
        b"s7_db1,area=linha1,db=1,ip=192.168.0.121,plc_id=press1,tenant_id=acme "
        b'pecas_boas=true,contador_bom=5014,estado="run",AI_Corrente=7.5,bad="{\\"t\\":\\"NaN\\"}",'
        b'seq=812i,boot="01JD8Z0000000000000000BOOT",replayed=true 1731800000123'
    )
    failure = CODECS["line"].encode(Frame.failure(origin(plc_id="", db=None), 0.0004, "timeout"))
    assert failure.partition(b" ")[2] == b'heartbeat=1,read_failed=true,error="timeout" 0'


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"measurement": "s7 a,b=c"}, rb"s7\ a\,b=c x=1 0"),
        ({"tags": {"a b": "c,d=e f"}}, rb"m,a\ b=c\,d\=e\ f x=1 0"),
        ({"tags": {"a": "b\nc\td"}}, rb"m,a=b\nc\td x=1 0"),
        ({"tags": {"a": "", "b": "C:\\", "c": "x\\,y", "d": r"C:\x", "e": "ã"}}, r"m,d=C:\x,e=ã x=1 0".encode()),
        ({"values": {"a b": 1, "c,d": 2, "e=f": 3, "": 4, "g\\": 5}}, rb"m a\ b=1,c\,d=2,e\=f=3 0"),
        ({"values": {"a": 'say "x\\y"', "b": "two\nlines"}}, b'm a="say \\"x\\\\y\\"",b="two\nlines" 0'),
        ({"values": {"a": float("nan"), "b": float("inf"), "c": 1e300, "d": -0.1, "e": 2**60, "f": False}},
         b"m c=1e+300,d=-0.1,e=1152921504606846976,f=false 0"),
    ],
)  # fmt: skip
def test_points_are_escaped(changes: dict[str, dict[str, str]], line: bytes) -> None:
    """As the line protocol wants it; a name or tag that can't be written is left out."""
    bare = Frame(Kind.DATA, 0.0, origin().replace(measurement="m", ip="", db=None, tenant_id="", plc_id=""), {"x": 1})
    values = changes.pop("values", bare.values)
    assert CODECS["line"].encode(bare.replace(origin=bare.origin.replace(**changes), values=values)) == line


def test_a_point_without_any_field_is_refused() -> None:
    """InfluxDB would refuse it, and with it the batch."""
    with pytest.raises(ValueError, match="field"):
        CODECS["line"].encode(data(origin()))


def test_a_frame_from_another_process_keeps_its_numbers_in_the_database() -> None:
    """Read from the wire and written as a point: `seq`, `boot` and `replayed` are those of the first sender."""
    json_form, line = CODECS["full"], CODECS["line"]
    sent = json_form.mark_replayed(json_form.stamp(json_form.encode(FRAME), 812, BOOT))
    _, frame = decode(sent, {})
    assert frame.stamp == Stamp(812, BOOT.decode(), replayed=True)
    point = (
        b' pecas_boas=true,contador_bom=5014,seq=812i,boot="01JD8Z0000000000000000BOOT",replayed=true 1731800000123\n'
    )
    assert line.stamp(line.encode(frame), 3, b"ours").partition(b" ")[1:] == (b" ", point[1:])
    assert CODECS["line_seed"].stamp(CODECS["line_seed"].encode(frame), 3, b"ours").endswith(b"=5014 1731800000123")


@pytest.mark.parametrize(
    "frame",
    [
        data(origin(tags={"area": "linha1"}), a=1, b=2.5, c=True, d="text").replace(bad={"e": "NaN"}),
        data(origin(db=None).replace(measurement="s7_tags", tenant_id=""), a=1),
        Frame.heartbeat(origin(), 1.5),
        Frame.failure(origin(), 1.5, "timeout"),
    ],
)
def test_what_is_written_is_read_again(frame: Frame) -> None:
    """Kind, time, origin, values, bad values and error survive the wire."""
    origins: dict[object, Origin] = {}
    codec = CODECS["full"]
    _, found = decode(codec.encode(frame), origins)
    _, again = decode(codec.stamp(codec.encode(frame), 1, BOOT), origins)
    assert codec.encode(found) == codec.encode(frame)
    assert (found.kind, found.ts, found.values, found.bad, found.error, found.stamp) == (
        *(frame.kind, frame.ts, frame.values, frame.bad, frame.error, None),
    )
    assert again.origin is found.origin
    assert again.stamp == Stamp(1, BOOT.decode())
