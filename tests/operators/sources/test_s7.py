"""The S7 source: frames of good reads, one failure frame for bad times, and every mistake of its options."""

import asyncio
import struct
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snap7.datatypes import S7Area

from operators.sources.s7 import S7, PlcOptions, TsapOptions, s7
from pipeline.clock import run_virtual
from pipeline.config import load
from pipeline.config.layouts import FieldOptions, LayoutOptions, Naming, build_layouts
from pipeline.errors import ConfigurationError, Severity
from pipeline.frame import Kind
from pipeline.operator import Flow, NodeKind, Scope
from pipeline.retry import Retry
from pipeline.s7.wanted import BlockOptions, CpuOptions, TagOptions
from pipeline.units import Duration
from tests.parts import plc as faults
from tests.parts.engine import make_context
from tests.parts.plc import StrictPlc
from tests.parts.stage import Line
from tests.parts.stream import mistakes
from tests.parts.waiting import eventually

LAYOUTS, _ = build_layouts(
    {
        "press": LayoutOptions(
            size=14,
            fields={
                "pecas_ruim": "BOOL @ 0.0",
                "pecas_boas": "BOOL @ 0.1",
                "AI_Corrente": "REAL @ 2",
                "AI_Vibracao": "REAL @ 6",
                "contador_bom": "INT @ 10",
                "contador_ruim": "INT @ 12",
            },
        ),
        "reals": LayoutOptions(fields={"valor": "REAL[200] @ 0"}),
        "reserve": LayoutOptions(size=40, fields={"n": "INT @ 0", "m": "INT @ 20"}),
        "one": LayoutOptions(fields={"n": "INT @ 0"}),
        "nested": LayoutOptions(fields={"db": "INT @ 0"}),
        "outer": LayoutOptions(fields={"part": "nested @ 0"}),
        "state": LayoutOptions(
            fields={
                "estado": FieldOptions(type="BYTE", at="0", enum={0: "parado", 1: "rodando"}),
                "feito": "DTL @ 2",
                "hora": "DT @ 14",
                "ciclo": "TIME @ 22",
                "nome": "WSTRING[4] @ 26",
            }
        ),
    }
)
SCOPE = Scope(graph="test", node="press", layouts=LAYOUTS)
PRESS = struct.pack(">BxffhH", 0b10, 1.5, 2.5, 5014, 7)
VALUES = {
    "pecas_ruim": False,
    "pecas_boas": True,
    "AI_Corrente": 1.5,
    "AI_Vibracao": 2.5,
    "contador_bom": 5014,
    "contador_ruim": 7,
}


def options(every="100ms", **others):
    """A single PLC with the press's block, unless told."""
    others.setdefault("blocks", [] if "tags" in others else [BlockOptions(db=1, layout="press")])
    if "plcs" not in others:
        others = {"address": "plc", "plc_id": "press1", "tenant_id": "acme", **others}
    return S7(every=Duration.parse(every), **others)


def play(script, chosen=None, **plc_options):
    """Run `script(line, plc)` in virtual time against a strict PLC; then the source is disposed and leaves nothing."""

    async def main(loop):
        plc = StrictPlc({1: bytearray(PRESS)}, host="plc", port=102, **plc_options)
        await plc.power_on()
        line = Line(loop, s7, chosen or options(), LAYOUTS)
        await script(line, plc)
        line.subscription.dispose()
        plc.fault, plc.gap = None, 0.0
        await asyncio.sleep(0.3)
        assert loop.connections == []
        line.taken()
        await asyncio.sleep(60)
        assert line.taken() == []
        assert line.errors == []
        assert plc.violations == []
        plc.close()

    run_virtual(main)


def reasons(frames):
    """What failure frames say; data frames are None."""
    return [frame.error for frame in frames]


def test_a_block_becomes_a_frame_at_every_tick():
    """Values, raw bytes, origin and time; ticks don't drift; metrics and state tell the same."""

    async def script(line, plc):
        plc.delay = 0.004
        await asyncio.sleep(1.0)
        frames = line.taken()
        assert line.times[1:] == [round(0.1 * n + 0.004, 6) for n in range(1, 10)]
        assert {frame.kind for frame in frames} == {Kind.DATA}
        frame = frames[-1]
        assert (frame.values, frame.bad, frame.raw, frame.error) == (VALUES, None, PRESS, None)
        origin = frame.origin
        assert all(each.origin is origin for each in frames)
        assert (origin.measurement, origin.ip, origin.db) == ("s7_db1", "plc", 1)
        assert (origin.tenant_id, origin.plc_id) == ("acme", "press1")
        assert frame.ts == pytest.approx(1_731_800_000.904)
        labels = {"tenant": "acme", "db": "1"}
        assert line.value("plc_read_ok_total", **labels) == len(frames) == 10
        assert line.value("plc_read_fail_total", **labels) == 0
        assert line.value("plc_read_latency_ms", **labels) == pytest.approx(4)
        assert line.value("plc_expected_interval_seconds", **labels) == pytest.approx(0.1)
        assert line.state == "running"
        assert line.part.details()["pdu"] == 480
        assert len(plc.connections) == 1

    play(script)


@pytest.mark.parametrize("size", [112, 240, 480, 960])
def test_long_blocks_and_tags_come_whole_at_every_pdu(size):
    """800 bytes in as many requests as the PDU asks for: never an overrun, never a value between two answers."""
    content = struct.pack(">200f", *range(200))
    chosen = options(
        blocks=[BlockOptions(db=2, layout="reals"), BlockOptions(db=1, layout="press", measurement="s7_press")],
        tags={"a": "DB2.DBD4:REAL", "b": TagOptions(address="DB2.DBD8:REAL", scale=2, offset=1, unit="A"), "c": "M3.1"},
    )

    async def script(line, plc):
        plc.register(2, bytearray(content))
        plc.register(0, bytearray(b"\0\0\0\2"), S7Area.MK)
        await asyncio.sleep(0.5)
        frames = {frame.origin.measurement: frame for frame in line.taken()}
        assert list(frames["s7_db2"].values.values()) == list(range(200))
        assert frames["s7_db2"].raw == content
        assert frames["s7_press"].values == VALUES
        assert frames["s7_tags"].values == {"a": 1.0, "b": 5.0, "c": True}
        assert (frames["s7_tags"].origin.db, frames["s7_tags"].raw) == (None, None)
        assert frames["s7_tags"].origin.units == {"b": "A"}

    play(script, chosen, pdu=size, jobs=3)


def test_a_bad_tag_is_named_and_left_out_and_tried_again_more_slowly():
    """The others keep flowing in every cycle; trials after 10, 20, 40 s; a tag that comes to life is back."""
    chosen = options(tags={"good": "DB1.DBW10:INT", "gone": "DB9.DBW0:INT", "long": "DB1.DBW14:INT"})

    async def script(line, plc):
        await asyncio.sleep(1)
        first, *others = line.taken()
        assert first.values == others[-1].values == {"good": 5014}
        assert first.bad == others[-1].bad == {"gone": "object does not exist", "long": "address out of range"}
        assert line.state == "degraded"
        assert "gone (DB9 byte 0)" in line.part.actor.reason
        assert line.value("plc_bad_tags", tenant="acme", db="") == 2
        plc.register(9, bytearray(b"\0\5"))
        await asyncio.sleep(8)
        assert "gone" not in line.taken()[-1].values
        await asyncio.sleep(2)
        assert line.taken()[-1].values == {"good": 5014, "gone": 5}
        plc.register(1, bytearray(PRESS + b"\0\6"))
        await asyncio.sleep(15)
        assert line.taken()[-1].bad == {"long": "address out of range"}
        await asyncio.sleep(10)
        assert line.taken()[-1].values == {"good": 5014, "gone": 5, "long": 6}
        assert line.state == "running"
        assert line.value("plc_bad_tags", tenant="acme", db="") == 0
        assert line.value("edge_ticks_skipped_total", reason="busy") == 0

    play(script, chosen)


def test_a_block_that_became_too_short_loses_only_what_is_missing():
    """The PLC's block ends at byte 12: its last counter is bad, `raw` is absent; after a reload all is well."""

    async def script(line, plc):
        plc.register(1, bytearray(PRESS[:12]))
        await asyncio.sleep(0.35)
        frame = line.taken()[-1]
        assert frame.bad == {"contador_ruim": "address out of range"}
        assert frame.values == {name: value for name, value in VALUES.items() if name != "contador_ruim"}
        assert frame.raw is None
        plc.register(1, bytearray(PRESS))
        await asyncio.sleep(10.2)
        frame = line.taken()[-1]
        assert (frame.values, frame.bad, frame.raw) == (VALUES, None, PRESS)

    play(script)


def test_a_reserve_beyond_the_end_of_the_block_costs_nothing_but_raw():
    """All fields are there though the layout is longer than the block: read field by field, nothing is bad."""

    async def script(line, plc):
        plc.register(3, bytearray(struct.pack(">h18xh", 1, 2)))
        await asyncio.sleep(0.35)
        reads = plc.reads
        await asyncio.sleep(5)
        frames = line.taken()
        assert (frames[-1].values, frames[-1].bad, frames[-1].raw) == ({"n": 1, "m": 2}, None, None)
        assert plc.reads - reads == 50
        assert line.state == "running"

    play(script, options(blocks=[BlockOptions(db=3, layout="reserve")]))


def test_a_missing_block_fails_alone():
    """One failure frame for it, data of the other at every tick; it is not asked for in between."""
    chosen = options(blocks=[BlockOptions(db=1, layout="press"), BlockOptions(db=7, layout="one")])

    async def script(line, plc):
        await asyncio.sleep(5)
        frames = line.taken()
        failures = [frame for frame in frames if frame.kind is Kind.FAILURE]
        assert [(frame.origin.db, frame.error) for frame in failures] == [(7, "object does not exist")]
        assert len(frames) - 1 == plc.reads == 50
        assert "Optimized block access" in line.part.actor.reason
        plc.register(7, bytearray(b"\0\1"))
        await asyncio.sleep(6)
        assert {frame.origin.db for frame in line.taken()} == {1, 7}
        assert line.state == "running"

    play(script, chosen)


def test_a_protected_block_fails_alone_and_is_explained():
    """Item code 03: its fields are tried singly once, then it waits; the other block comes at every tick."""
    chosen = options(blocks=[BlockOptions(db=1, layout="press"), BlockOptions(db=7, layout="reserve")])

    async def script(line, plc):
        plc.register(7, bytearray(40))
        plc.codes[0x84, 7] = 0x03
        await asyncio.sleep(5)
        frames = line.taken()
        assert [frame.error for frame in frames if frame.origin.db == 7] == ["access denied"]
        assert len(frames) - 1 == 50
        assert plc.reads == 51
        assert "protection" in line.part.actor.reason
        assert line.value("plc_refused_total", reason="access denied") == 1

    play(script, chosen)


def test_denied_access_to_everything_is_one_failure_frame_with_advice():
    """Header error 8104 to every read: degraded, not hammered, back by itself when PUT/GET is switched on."""

    async def script(line, plc):
        plc.header_error = 0x8104
        await asyncio.sleep(10)
        assert reasons(line.taken()) == ["not permitted"]
        assert line.state == "degraded"
        assert "PUT/GET" in line.part.actor.reason
        assert 3 <= line.value("plc_read_fail_total", tenant="acme", db="1") <= 6
        plc.header_error = 0
        await asyncio.sleep(10)
        assert line.taken()[-1].values == VALUES
        assert line.state == "running"

    play(script)


def test_the_source_starts_with_the_plc_off_and_survives_power_cycles():
    """One failure frame when it goes, data when it is back, for ever; the connection is never doubled."""

    async def script(line, plc):
        plc.close()
        await asyncio.sleep(120)
        assert reasons(line.taken()) == ["connection refused"]
        assert line.state == "backing_off"
        for _ in range(20):
            await plc.power_on()
            await asyncio.sleep(40)
            frames = line.taken()
            assert frames[-1].values == VALUES
            assert line.state == "running"
            assert len(plc.connections) == 1
            plc.close()
            await asyncio.sleep(5)
            assert [error for error in reasons(line.taken()) if error] == ["connection lost", "connection refused"]

    async def main(loop):
        plc = StrictPlc({1: bytearray(PRESS)}, host="plc", port=102)
        line = Line(loop, s7, options(), LAYOUTS)
        await script(line, plc)
        line.subscription.dispose()
        await asyncio.sleep(0)

    run_virtual(main)


def test_a_frozen_plc_is_noticed_at_the_deadline_and_its_late_answer_never_used():
    """Half-open: silence gives one "timeout" after 2 s; the answer that comes later is of a dead connection."""

    async def script(line, plc):
        await asyncio.sleep(0.25)
        line.taken()
        plc.delay = 2.5
        await asyncio.sleep(2.2)
        assert reasons(line.taken()) == ["timeout"]
        plc.blocks[0x84, 1][10:12] = b"\0\1"
        plc.delay = 0.0
        await asyncio.sleep(3)
        frames = line.taken()
        assert all(frame.values["contador_bom"] == 1 for frame in frames)
        assert len(frames) > 10
        assert line.value("edge_ticks_skipped_total", reason="busy") >= 19
        assert line.value("edge_ticks_skipped_total", reason="disconnected") >= 1

    play(script)


@pytest.mark.parametrize(
    ("connection", "delay", "count"), [("persistent", 0.08, 1), ("persistent", 9.0, 0), ("per_read", 0.015, 1)]
)
def test_what_is_asked_for_at_the_end_is_waited_for_but_not_long(connection, delay, count):
    """The answer makes its frame, then the connection closes; a mute PLC keeps nobody."""

    async def script(line, plc):
        await asyncio.sleep(0.95)
        line.taken()
        plc.delay = delay
        await asyncio.sleep(0.07)
        assert line.taken() == []
        (task,) = line.part.tasks
        line.subscription.dispose()
        began = line.loop.time()
        await asyncio.wait([task])
        assert line.loop.time() - began < 0.3
        assert [frame.values for frame in line.taken()] == [VALUES] * count
        assert line.loop.connections == []

    play(script, options(every="1s", connection=connection))


@settings(max_examples=30)
@given(st.lists(st.sampled_from([None, "silent", "truncated", "foreign", "garbage", "close", "half", "hung_up"])))
def test_after_any_sequence_of_faults_the_truth_comes_again(sequence):
    """Whatever the PLC does, every data frame is right, and data come again when it behaves."""

    async def script(line, plc):
        for name in sequence:
            plc.fault = getattr(faults, name) if name else None
            await asyncio.sleep(0.7)
        plc.fault = None
        await asyncio.sleep(60)
        frames = line.taken()
        assert all(frame.values == VALUES for frame in frames if frame.kind is Kind.DATA)
        assert frames[-1].kind is Kind.DATA
        assert line.state == "running"

    play(script)


def test_a_plc_without_a_free_connection_is_explained():
    """Its connections are taken: the state says which option to change, and it works as soon as one is free."""

    async def script(line, plc):
        await asyncio.sleep(5)
        assert reasons(line.taken()) == ["connection refused by the PLC"]
        assert "connection_type" in line.part.actor.reason
        plc.max_clients = 1
        await asyncio.sleep(10)
        assert line.taken()[-1].values == VALUES

    play(script, max_clients=0)


@pytest.mark.parametrize(
    ("chosen", "tsap"),
    [
        ({}, "0101"),
        ({"connection_type": "op", "slot": 2}, "0202"),
        ({"connection_type": "basic", "rack": 1, "slot": 3}, "0323"),
        ({"tsap": TsapOptions(local="10.00", remote="20.00")}, "2000"),
    ],
)
def test_the_connection_is_asked_for_as_configured(chosen, tsap):
    """Connection type, rack and slot, or raw TSAPs, reach the PLC."""

    async def script(line, plc):
        await asyncio.sleep(0.05)
        assert [connection.tsap.hex() for connection in plc.connections] == [tsap]
        assert line.taken()

    play(script, options(**chosen))


def test_a_connection_for_each_read_is_closed_in_between():
    """`per_read`: connect, read, close at every tick; failures and recovery as with a kept connection."""
    chosen = options(every="1s", connection="per_read")

    async def script(line, plc):
        plc.delay = 0.01
        await asyncio.sleep(0.015)
        for _ in range(5):
            assert len(plc.connections) == 1
            await asyncio.sleep(0.1)
            assert len(plc.connections) == 0
            await asyncio.sleep(0.9)
        assert [frame.values for frame in line.taken()] == [VALUES] * 5
        assert line.state == "running"
        assert line.value("edge_ticks_skipped_total", reason="busy") == 0
        plc.fault = faults.close
        await asyncio.sleep(3)
        assert reasons(line.taken()) == ["connection lost"]
        assert line.state == "backing_off"
        plc.fault = None
        await asyncio.sleep(10)
        assert line.taken()[-1].values == VALUES

    play(script, chosen)


def test_groups_share_one_connection_and_keep_their_own_pace():
    """100 ms and 1 s on one connection; the slow group is read at once after connecting, not an hour later."""
    slow = BlockOptions(db=2, layout="one", every=Duration(600))
    chosen = options(blocks=[BlockOptions(db=1, layout="press"), slow])

    async def script(line, plc):
        plc.register(2, bytearray(b"\0\1"))
        await asyncio.sleep(1200.05)
        by_db = {db: [frame for frame in line.frames if frame.origin.db == db] for db in (1, 2)}
        assert len(by_db[1]) == 12_001
        assert [round(frame.ts - 1_731_800_000, 3) for frame in by_db[2]] == [0, 600, 1200]
        assert len(plc.connections) == 1
        line.taken()

    play(script, chosen)


def test_ticks_that_can_not_be_followed_are_skipped_and_counted():
    """A read that takes 250 ms at a period of 100 ms: every third tick reads, the others are counted; paused too."""

    async def script(line, plc):
        await asyncio.sleep(0.05)
        line.taken()
        plc.delay = 0.25
        await asyncio.sleep(3)
        taken = len(line.taken())
        skipped = line.value("edge_ticks_skipped_total", reason="busy")
        assert taken in {9, 10}
        assert taken + skipped == pytest.approx(30, abs=1)
        plc.delay = 0.0
        line.paused = True
        await asyncio.sleep(1)
        line.taken()
        await asyncio.sleep(1)
        assert line.taken() == []
        assert line.value("edge_ticks_skipped_total", reason="paused") == 20
        line.paused = False
        await asyncio.sleep(0.55)
        assert len(line.taken()) == 5

    play(script)


def test_a_value_that_is_none_is_named_and_harms_nothing_else():
    """NaN is absent and in `bad`; the block stays whole and the source running."""

    async def script(line, plc):
        plc.blocks[0x84, 1][2:6] = struct.pack(">f", float("nan"))
        await asyncio.sleep(0.35)
        frame = line.taken()[-1]
        assert frame.bad == {"AI_Corrente": "NaN"}
        assert frame.raw is not None
        assert "AI_Corrente" not in frame.values
        assert line.state == "running"

    play(script)


@pytest.mark.parametrize(("zone", "offset"), [("", ""), ("America/Sao_Paulo", "-03:00")])
def test_texts_dates_and_durations(zone, offset):
    """Enum, dates in the zone of the PLC's clock, durations, wide texts; what was never set is named, not guessed."""
    dtl, dt = "07e8021d05173b3b00000001", "2402291234561235"
    content = bytes.fromhex("0100" + dtl + dt + "fffffc18" + "0004000200e120ac00000000")
    chosen = options(
        blocks=[BlockOptions(db=2, layout="state")],
        tags={
            "last": "DB2:2:DTL",
            "modo": TagOptions(address="DB2.DBB0", enum={1: "auto"}),
            "none": TagOptions(address="DB2.DBB1", enum={1: "auto"}),
        },
        timezone=zone,
    )

    async def script(line, plc):
        plc.register(2, bytearray(content))
        await asyncio.sleep(0.55)
        frames = {frame.origin.measurement: frame for frame in line.taken()}
        at = "2024-02-29T23:59:59.000000001" + offset
        assert frames["s7_db2"].values == {
            "estado": "rodando",
            "feito": at,
            "hora": "2024-02-29T12:34:56.123" + offset,
            "ciclo": -1000,
            "nome": "á€",
        }
        assert frames["s7_tags"].values == {"last": at, "modo": "auto"}
        assert frames["s7_tags"].bad == {"none": "0 has no text"}
        plc.blocks[0x84, 2][:] = bytes(len(content))
        await asyncio.sleep(0.1)
        (frame,) = [frame for frame in line.taken() if frame.origin.db == 2]
        assert frame.bad == {"feito": "never set", "hora": "never set"}
        assert frame.values == {"estado": "parado", "ciclo": 0, "nome": ""}
        assert line.state == "running"

    play(script, chosen)


@pytest.mark.parametrize("size", [112, 480])
def test_counters_and_timers_are_read_by_their_number(size):
    """BCD values; near ones in one item; one that the CPU doesn't have is named by its number."""
    chosen = options(tags={"parts": "C5", "all": "Z0:COUNTER[40]", "pause": "T3", "late": "T9", "gone": "T200"})

    async def script(line, plc):
        plc.register(0, bytearray(b"".join(int(str(n), 16).to_bytes(2, "big") for n in range(40))), S7Area.CT)
        plc.register(0, bytearray(struct.pack(">10H", *range(9), 0x2127)), S7Area.TM)
        await asyncio.sleep(0.5)
        frame = line.taken()[-1]
        assert frame.values["parts"] == 5
        assert [frame.values[f"all_{n}"] for n in range(40)] == list(range(40))
        assert (frame.values["pause"], frame.values["late"]) == (30, 127_000)
        assert frame.bad == {"gone": "address out of range"}
        assert "gone (T200): address out of range" in line.part.actor.reason
        assert "the CPU has no such timer" in line.part.actor.reason

    play(script, chosen, pdu=size)


@pytest.mark.parametrize("connection", ["persistent", "per_read"])
def test_state_and_clock_of_the_cpu_come_at_their_own_pace(connection):
    """Every 10 s on the connection of the blocks, whose frames go on at every tick."""
    chosen = options(every="1s", connection=connection, cpu=CpuOptions(state="cpu_state", clock="cpu_clock"))

    async def script(line, plc):
        await asyncio.sleep(0.5)
        plc.switch(4)
        await asyncio.sleep(15)
        frames = line.taken()
        asked = [frame for frame in frames if frame.origin.measurement == "s7_cpu"]
        assert [frame.values["cpu_state"] for frame in asked] == ["RUN", "STOP"]
        assert asked[1].ts - asked[0].ts == pytest.approx(10, abs=0.1)
        assert all("T" in frame.values["cpu_clock"] for frame in asked)
        assert (asked[0].origin.db, asked[0].origin.plc_id, asked[0].origin.tenant_id) == (None, "press1", "acme")
        assert len(frames) - len(asked) == 16
        assert line.state == "running"
        assert len(plc.connections) == (connection == "persistent")

    play(script, chosen)


def test_a_cpu_that_does_not_tell_its_state_harms_nothing():
    """Refused: told once, named in `bad` and the state; silent: two connections, then all flows again."""
    chosen = options(every="1s", cpu=CpuOptions(state="cpu_state", clock="cpu_clock", every=Duration(5)))

    async def script(line, plc):
        await asyncio.sleep(1)
        plc.switch(0)
        await asyncio.sleep(10)
        assert line.part.actor.reason.startswith("s7_cpu: cpu_state: unknown operating mode 0")
        line.taken()
        answer = plc.answer
        plc.answer = lambda connection, pdu: None if pdu[1] == 7 and pdu[15] == 0x44 else answer(connection, pdu)
        await asyncio.sleep(60)
        line.taken()
        await asyncio.sleep(60)
        frames = line.taken()
        assert len([frame for frame in frames if frame.origin.db == 1]) == 60
        assert {frame.kind for frame in frames} == {Kind.DATA}
        assert {len(frame.values) for frame in frames if frame.origin.measurement == "s7_cpu"} == {1}
        (bad,) = {tuple(frame.bad.items()) for frame in frames if frame.origin.measurement == "s7_cpu"}
        assert bad == (("cpu_state", "no answer"),)
        assert line.state == "degraded"

    play(script, chosen)


def test_the_cpu_fails_with_its_connection():
    """One failure frame when the PLC goes; its state again when it is back."""

    async def script(line, plc):
        await asyncio.sleep(1)
        plc.close()
        await asyncio.sleep(1)
        failed = [(frame.origin.measurement, frame.error) for frame in line.taken() if frame.kind is Kind.FAILURE]
        assert failed.count(("s7_cpu", "connection lost")) == 1
        await plc.power_on()
        await asyncio.sleep(60)
        assert [frame.values for frame in line.taken() if frame.origin.measurement == "s7_cpu"][-1] == {"state": "RUN"}
        assert line.state == "running"

    play(script, options(cpu=CpuOptions(state="state")))


@pytest.mark.real("native_plc")
def test_the_cpp_server_tells_its_state_and_clock(native_plc):
    """Over TCP: RUN, then STOP, and a clock that reads as a date."""
    plc = native_plc({1: PRESS})
    cpu = CpuOptions(state="state", clock="clock", every=Duration(1))

    async def main():
        chosen = options(every="50ms", address="127.0.0.1", port=plc.port, cpu=cpu)
        line = Line(asyncio.get_running_loop(), s7, chosen, LAYOUTS)

        def state():
            told = [frame.values for frame in line.frames if frame.origin.measurement == "s7_cpu"]
            return told[-1]["state"] if told else ""

        await eventually(lambda: state() == "RUN", "it runs")
        await asyncio.to_thread(plc.cpu, "stop")
        await eventually(lambda: state() == "STOP", "it has stopped")
        clock = next(frame.values["clock"] for frame in line.frames if frame.origin.measurement == "s7_cpu")
        assert datetime.fromisoformat(clock).year >= 2024
        assert line.state == "running"
        line.subscription.dispose()
        await asyncio.sleep(0.05)

    asyncio.run(main())


def test_a_source_can_be_subscribed_to_again():
    """Nothing is left of the first subscription; frames keep their origin."""

    async def script(line, plc):
        await asyncio.sleep(0.25)
        (before, *_) = line.taken()
        line.subscription.dispose()
        await asyncio.sleep(1)
        assert not plc.connections
        line.taken()
        line.subscription = line.stream.subscribe(line.receive, line.errors.append)
        await asyncio.sleep(0.25)
        assert line.taken()[-1].origin is before.origin
        assert len(plc.connections) == 1

    play(script)


def test_a_hundred_plcs_tick_together():
    """One file, one actor each, all read in the same loop turns."""
    many = [PlcOptions(plc_id=f"p{n}", address=f"plc{n}", tags={"hall": "3"}) for n in range(100)]

    async def main(loop):
        context = make_context(loop, node="press", kind=NodeKind.SOURCE)
        context.layouts = LAYOUTS
        frames, servers = [], []
        for each in many:
            servers.append(StrictPlc({1: bytearray(PRESS)}, host=each.address, port=102))
            await servers[-1].power_on()
        streams = s7.build(options(plcs=many), context)
        subscriptions = [stream.subscribe(frames.append) for stream in streams.values()]
        await asyncio.sleep(1.05)
        for subscription in subscriptions:
            subscription.dispose()
        await asyncio.sleep(0)
        assert list(streams) == [each.plc_id for each in many]
        assert len(frames) == 1100
        assert len({frame.ts for frame in frames}) == 11
        assert {(len(server.connections), server.reads) for server in servers} == {(1, 11)}
        assert frames[0].origin.tags == {"hall": "3"}

    run_virtual(main)


@pytest.mark.real("native_plc")
@pytest.mark.parametrize("size", [240, 960])
def test_the_cpp_server_is_read_through_loss_freeze_and_bad_blocks(native_plc, size):
    """Over TCP: whole blocks, bad ones isolated (its codes differ from ours), a power cycle and a frozen process."""
    content = struct.pack(">200f", *range(200))
    plc = native_plc({1: PRESS, 2: content}, pdu=size)
    blocks = [BlockOptions(db=1, layout="press"), BlockOptions(db=2, layout="reals"), BlockOptions(db=9, layout="one")]
    retry = Retry(initial=Duration(0.05), max=Duration(0.2))
    chosen = options(
        every="20ms", address="127.0.0.1", port=plc.port, blocks=blocks, timeout=Duration(0.3), retry=retry,
        tags={"good": "DB2.DBD8:REAL", "long": "DB1.DBW14:INT", "gone": "DB8.DBX0.0"},
    )  # fmt: skip

    async def main():
        line = Line(asyncio.get_running_loop(), s7, chosen, LAYOUTS)

        def data(db):
            return [frame for frame in line.frames if frame.kind is Kind.DATA and frame.origin.db == db]

        async def flows():
            line.taken()
            await eventually(lambda: len(data(1)) > 5 and len(data(2)) > 5 and len(data(None)) > 5, "frames")
            assert data(1)[-1].values == VALUES
            assert data(2)[-1].raw == content
            assert data(None)[-1].values == {"good": 2.0}
            assert set(data(None)[-1].bad) == {"long", "gone"}

        await eventually(lambda: data(None), "the first frame")
        assert [frame.origin.db for frame in line.frames if frame.error == "object does not exist"] == [9]
        await flows()
        assert line.part.details()["pdu"] == size
        await asyncio.to_thread(plc.kill)
        await eventually(lambda: "connection refused" in reasons(line.frames), "the power is off")
        assert line.state == "backing_off"
        await asyncio.to_thread(plc.start)
        await flows()
        plc.freeze()
        await eventually(lambda: "timeout" in reasons(line.frames), "the process is frozen")
        plc.thaw()
        await flows()
        assert line.state == "degraded"
        line.subscription.dispose()
        await asyncio.sleep(0.05)

    asyncio.run(main())


def found(chosen):
    """Findings as (dotted path, message and hint)."""
    return [(".".join(map(str, finding.path)), f"{finding.message}; {finding.hint}") for finding in chosen.check(SCOPE)]


PLC = PlcOptions(address="a")


@pytest.mark.parametrize(
    ("chosen", "path", "words"),
    [
        (options(blocks=[]), "", "nothing to read"),
        (options(address=""), "address", "no PLC is named"),
        (options(plcs=[PLC], address="b"), "address", "beside the list"),
        (options(plcs=[PLC, PlcOptions(address="a", slot=2)]), "plcs.1.address", "its own `plc_id`"),
        (
            options(plcs=[PlcOptions(plc_id="x", address="a"), PlcOptions(plc_id="x", address="b")]),
            "plcs.1.plc_id",
            "'x' is also the name of plcs[0]",
        ),
        (options(address="10.0.0.1:102"), "address", "address: 10.0.0.1, port: 102"),
        (options(address="tcp://10.0.0.1"), "address", "not an IP address"),
        (options(address="user:pw@10.0.0.1"), "address", "not an IP address"),
        (options(blocks=[BlockOptions(db=1, layout="pres")]), "blocks.0.layout", "did you mean 'press'?"),
        (options(blocks=[BlockOptions(db=1, layout="reals", start=65000)]), "blocks.0.start", "leaves the block"),
        (options(blocks=[BlockOptions(db=1, layout="one", name="n"), BlockOptions(db=2, layout="press", name="n")]),
         "blocks.1.name", "also the name of blocks[0]"),
        (options(blocks=[BlockOptions(db=1, layout="one"), BlockOptions(db=1, layout="reserve", start=2)]),
         "blocks.1", "'n' of s7_db1 also comes from blocks[0]"),
        (options(blocks=[BlockOptions(db=1, layout="press", tags={"topic": "x"})]), "blocks.0.tags.topic", "reserved"),
        (options(blocks=[BlockOptions(db=1, layout="one", tags={"n": "x"})]), "blocks.0.tags.n", "name of a value"),
        (options(blocks=[BlockOptions(db=1, layout="one", measurement="prometheus")]), "blocks.0.measurement", "aside"),
        (options(blocks=[BlockOptions(db=1, layout="nested")]), "blocks.0.layout", "'db' is reserved"),
        (options(plcs=[PlcOptions(address="a", tags={"ip": "x"})]), "plcs.0.tags.ip", "reserved"),
        (options(tags={"t": "DB1.DBW0:REAL"}), "tags.t", "DBW"),
        (options(tags={"t": TagOptions(address="nonsense")}), "tags.t.address", "not an S7 address"),
        (options(tags={"seq": "DB1.DBW0:INT"}), "tags.seq", "reserved"),
        (options(tags={"\x1b[31mn": "M0.0"}), "tags.\x1b[31mn", r"'\x1b[31mn' is no name for a value"),
        (options(tags={"\u202en": "M0.0"}), "tags.\u202en", r"'\u202en' is no name for a value"),
        (options(tags={" ": "M0.0"}), "tags. ", "' ' is no name for a value"),
        (options(cpu=CpuOptions(state="\t")), "cpu.state", "is no name for a value"),
        (options(plcs=[PlcOptions(address="a", tags={"": "x"})]), "plcs.0.tags.", "'' is no name for a tag"),
        (options(tags={"a": "DB1:0:INT[2]", "a_1": "DB1.DBW8:INT"}), "tags.a_1", "also a value of tag 'a'"),
        (options(tags={"a": TagOptions(address="M0.0", scale=2.0)}), "tags.a", "only numbers can be scaled"),
        (options(tags={"a": TagOptions(address="MD0:REAL", as_="string")}), "tags.a", "only whole numbers"),
        (options(tags={"a": TagOptions(address="MD0:REAL", enum={1: "x"})}), "tags.a.enum", "REAL is none"),
        (options(tags={"a": TagOptions(address="MB0", enum={-1: "x"})}), "tags.a.enum", "BYTE never is -1"),
        (options(tags={"a": TagOptions(address="MB0", enum={1: "x"}, as_="string")}), "tags.a.as", "already"),
        (options(tags={"a": TagOptions(address="MB0", enum={1: "x"}, scale=2)}), "tags.a", "can be scaled"),
        (options(tags={"a": "C5:WORD"}), "tags.a", "a COUNTER has a number only; write C5"),
        (options(timezone="America/SaoPaulo"), "timezone", "did you mean America/Sao_Paulo?"),
        (options(timezone="../etc/passwd"), "timezone", "unknown time zone"),
        (options(timezone="America"), "timezone", "unknown time zone"),
        (options(cpu=CpuOptions()), "cpu", "nothing of the CPU is asked for"),
        (options(cpu=CpuOptions(state="a", clock="a")), "cpu.clock", "also the name of the state"),
        (options(cpu=CpuOptions(clock="seq")), "cpu.clock", "reserved"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place_and_cure(chosen, path, words):
    """One finding each, at the option that is wrong."""
    (finding,) = found(chosen)
    assert finding[0] == path
    assert words in finding[1]


def test_an_address_with_a_password_is_not_shown():
    """Neither by findings, for two PLCs of that name, nor by claims."""
    plc = PlcOptions(address="user:topsecret@10.0.0.1")
    twice = options(plcs=[plc, plc])
    scope = Scope(graph="g", node="n", layouts=LAYOUTS)
    found = list(twice.check(scope))
    assert [finding.path for finding in found] == [("plcs", 0, "address"), ("plcs", 1, "address")]
    assert "topsecret" not in str((found, s7.claimed(twice, scope)))


def test_what_is_right_has_no_findings():
    """Two parts of a block, a nested layout, tags of all areas, another naming."""
    parts = [
        BlockOptions(db=1, layout="press"),
        BlockOptions(db=1, layout="one", start=14, measurement="x"),
        BlockOptions(db=2, layout="outer"),
    ]
    tags = {"a": "DB2.DBD4:REAL", "b": TagOptions(address="IW4:INT", unit="A", scale=0.1), "c": "Q0.0"}
    assert found(options(blocks=parts, tags=tags, naming=Naming(separator=".", first_index=1))) == []


GRAPH = """\
name: line
layouts:
  press:
    fields:
      estado: {{type: BYTE, at: 0, enum: {enum}}}
      feito: DTL @ 2
sources:
  press:
    type: s7
    address: 10.0.0.1
    every: 1s
    timezone: {timezone}
    blocks: [{{db: 1, layout: press}}]
    tags: {{pecas: C5, modo: {{address: MB4, enum: {{0: manual, 1: auto}}}}}}
    cpu: {cpu}
sinks:
  broker: {{type: mqtt, from: press, host: 127.0.0.1}}
"""
RIGHT = {"enum": "{0: parado, 1: rodando}", "timezone": "America/Sao_Paulo", "cpu": "{state: s, clock: c, every: 1m}"}


def test_texts_of_numbers_zone_and_cpu_as_people_write_them(tmp_path):
    """From YAML to options: numbers as keys, off and on as they stand."""
    (tmp_path / "line.yaml").write_text(GRAPH.format(**RIGHT | {"enum": "{0: off, 0x10: on, 2: 7}"}), encoding="utf-8")
    graph = load(tmp_path / "line.yaml", {})
    chosen = graph.nodes["press"].options
    leaf, _ = graph.layouts["press"].leaves(Naming())
    assert leaf.enum == ((0, "off"), (16, "on"), (2, "7"))
    assert chosen.tags["modo"].enum == {0: "manual", 1: "auto"}
    assert (chosen.timezone, chosen.cpu) == (RIGHT["timezone"], CpuOptions(state="s", clock="c", every=Duration(60)))


@pytest.mark.parametrize(
    ("wrong", "place", "words"),
    [
        ({"enum": "{300: x}"}, "line.yaml:5:41:", "BYTE never is 300"),
        ({"enum": "{parado: 0}"}, "line.yaml:5:42:", "must be a whole number, found the text 'parado'"),
        ({"enum": "[parado]"}, "line.yaml:5:41:", "must be a mapping, found a list"),
        ({"timezone": "Brasil"}, "line.yaml:12:15:", "unknown time zone 'Brasil'"),
        ({"cpu": "{stat: s}"}, "line.yaml:15:11:", "did you mean 'state'?"),
        ({"cpu": "{state: s, every: 1ms}"}, "line.yaml:15:", "must be >= 1s, got 1ms"),
        ({"cpu": "{}"}, "line.yaml:15:", "nothing of the CPU is asked for"),
    ],
)
def test_mistakes_in_a_file_are_told_where_they_stand(tmp_path, wrong, place, words):
    """Line and column, what was found, what is allowed."""
    (tmp_path / "line.yaml").write_text(GRAPH.format(**RIGHT | wrong), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "line.yaml", {})
    assert place in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "name", ['plc_id: "press1\\n"', 'tenant_id: "acme\\n"', 'tsap: {local: "10.00\\n", remote: "03.01"}']
)
def test_a_name_with_a_line_end_is_none(name):
    """It would be part of topics."""
    (told,) = mistakes(NodeKind.SOURCE, f"{{type: s7, address: plc, every: 1s, tags: {{a: DB1.DBW0}}, {name}}}")
    assert "must be " in told


def test_a_cpu_alone_is_something_to_read():
    """No block and no tag is needed to watch a PLC; `check` counts its questions."""
    chosen = options(blocks=[], cpu=CpuOptions(state="state"), timezone="UTC")
    assert found(chosen) == []
    forecast = s7.forecast(chosen, SCOPE, Flow())
    assert dict(forecast.lines)["state and clock of the CPU"] == "1 request every 10s"
    assert (forecast.flow.frames, forecast.flow.names) == (0.1, {"state"})


def test_claims_name_each_connection_once():
    """Same host, port and place collide; another slot or port does not."""
    plcs = [PlcOptions(plc_id=f"p{n}", address="PLC", port=port, slot=slot) for n, (port, slot) in
            enumerate([(102, 1), (102, 2), (1102, 1)])]  # fmt: skip
    claims = s7.claimed(options(plcs=plcs), SCOPE)
    assert [claim.key for claim in claims] == ["plc:102/0.1", "plc:102/0.2", "plc:1102/0.1"]
    assert claims[1].path == ("plcs", 1, "address")
    raw = TsapOptions(local="10.00", remote="20.00")
    assert s7.claimed(options(tsap=raw), SCOPE)[0].key == "plc:102/tsap 20.00"


def test_the_forecast_counts_requests_and_frames():
    """100 PLCs with 800 bytes at 10 ms: five requests at PDU 240 take longer than the period, and it says so."""
    many = [PlcOptions(plc_id=f"p{n}", address="a", port=n + 1) for n in range(100)]
    chosen = options(every="10ms", plcs=many, blocks=[BlockOptions(db=2, layout="reals")])
    forecast = s7.forecast(chosen, SCOPE, Flow())
    lines = dict(forecast.lines)
    assert lines["connections"] == "100"
    assert lines["every 10ms at PDU 240"].startswith("4 requests, 20ms")
    assert lines["every 10ms at PDU 960"].startswith("1 request, 5ms")
    assert forecast.flow.frames == pytest.approx(10_000)
    assert 3000 < forecast.flow.size < 7000
    (warning,) = forecast.warnings
    assert warning.severity is Severity.WARNING
    assert "ticks will be skipped" in warning.hint
    assert s7.forecast(options(every="1s"), SCOPE, Flow()).warnings == ()
