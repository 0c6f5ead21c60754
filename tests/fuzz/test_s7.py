"""What a PLC answers, damaged, and what clients send to the simulated one: nothing but true values, a clean end."""

import asyncio
import struct

from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import run_virtual, virtual_clock
from pipeline.errors import ReadError
from pipeline.s7.plan import Range, plan
from pipeline.s7.server import Connection, PlcServer
from pipeline.s7.session import connect
from pipeline.s7.wire import Tsaps, connect_request, parse_setup, read_request, setup_request
from tests.parts.fuzzing import chunks, damaged, fuzzed
from tests.parts.plc import StrictPlc

TSAPS = Tsaps.of(1, 0, 1)
CONFIRM = bytes.fromhex("0300001611d00001000100c0010ac1020100c2020101")
GRANT = bytes.fromhex("0300001b02f080320300000001000800000000f0000001000101e0")
HANG_UP = bytes.fromhex("0300000b06800001000100")
PUSH = bytes.fromhex("0300001902f0803207000000000008000400011208120000000a000000")
ANSWER = bytes.fromhex("0300001d02f080320300000002000200080000040 1ff040020deadbeef".replace(" ", ""))
CUTS = st.lists(st.integers(0, 1 << 16), max_size=6)


def framed(payload):
    """The payload in a TPKT frame whose length is right."""
    return struct.pack(">BBH", 3, 0, len(payload) + 4) + payload


def spoken(good):
    """Requests that are damaged as a whole, inside of a right TPKT frame, inside of a right S7 header, or very long."""

    def headed(kind, body, split):
        cut = split % (len(body) + 1)
        return framed(b"\x02\xf0\x80\x32" + struct.pack(">BHHHH", kind, 0, 5, cut, len(body) - cut) + body)

    pdus = st.builds(
        headed,
        st.sampled_from([1, 1, 1, 7, 2, 3, 0xFF]),
        damaged([frame[17:] for frame in good if len(frame) > 17]),
        st.integers(0, 64),
    )
    starts = st.sampled_from([frame[4:] for frame in good])
    long = st.builds(lambda start, size: framed(start + b"\xc0" * size), starts, st.integers(0, 65_000))
    return st.one_of(damaged(good), damaged([frame[4:] for frame in good]).map(framed), pdus, long)


class Asker:
    """Keeps what it is told."""

    def __init__(self):
        self.items, self.refusals = [], 0

    def answered(self, request, items):
        """Keep the items with their sizes."""
        self.items += zip([item.size for item in request.items], items, strict=True)

    def refused(self, _):
        """Count."""
        self.refusals += 1


def explained(error):
    """The reason stands in each failure frame, and in metrics: a short one."""
    assert 0 < len(error.reason) < 60


def quiet(loop):
    """Errors that nobody caught, collected: there must be none."""
    errors = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    return errors


def clean(session, errors):
    """Nothing raised into the loop; what has ended holds nothing and waits for nothing."""
    assert errors == []
    if not session.is_open:
        assert (len(session._queue), len(session._pending), session._timer) == (0, 0, None)
        assert session._transport is None or session._transport.is_closing()
    assert len(session._stream._rest) + len(session._stream._fragments) < 3000


@fuzzed()
@given(
    st.one_of(
        damaged([CONFIRM + GRANT, CONFIRM, GRANT + CONFIRM, CONFIRM + PUSH + GRANT, HANG_UP]),
        spoken([CONFIRM, GRANT, PUSH]).map(lambda said: CONFIRM + said),
    ),
    CUTS,
)
def test_a_damaged_handshake_ends_in_a_connection_or_a_reason(said, cuts):
    """Whatever answers at that address: a PLC, half of one, something else."""

    class Speaker(asyncio.Protocol):
        def connection_made(self, transport):
            for piece in chunks(said, cuts):
                transport.write(piece)

    async def main(loop):
        errors = quiet(loop)
        await loop.create_server(Speaker, "plc", 102)
        try:
            session = await connect(virtual_clock(loop), "plc", 102, TSAPS, patience=2.0)
        except ReadError as error:
            explained(error)
        else:
            assert session.grant.pdu >= 112
            clean(session, errors)
            session.close()
        await asyncio.sleep(5)
        assert errors == []

    run_virtual(main)


@fuzzed()
@given(
    st.lists(
        st.one_of(damaged([ANSWER, ANSWER + ANSWER, PUSH + ANSWER, HANG_UP, CONFIRM, GRANT]), spoken([ANSWER, PUSH])),
        max_size=3,
    ),
    CUTS,
)
def test_damaged_answers_give_whole_values_or_end_the_connection(said, cuts):
    """A value has the size that was asked for; afterwards the session lives, or is over and holds nothing."""

    async def main(loop):
        errors = quiet(loop)
        async with StrictPlc({1: bytearray(range(100))}, host="plc", port=102) as plc:
            session = await connect(virtual_clock(loop), "plc", 102, TSAPS, patience=2.0)
            answers = iter(said)
            plc.fault = lambda frame: chunks(as_sequence(next(answers, frame), frame), cuts)
            asker = Asker()
            for _ in range(3):
                if session.is_open:
                    session.read(plan([Range(0x84, 1, 0, 4)], 480), asker)
                await asyncio.sleep(1)
                clean(session, errors)
            assert all(isinstance(value, int) or len(value) == size for size, value in asker.items)
            assert len(asker.items) + asker.refusals <= 3
            if session.is_open:
                session.close()
            else:
                assert session.ended.result().reason
        await asyncio.sleep(5)
        assert errors == []

    run_virtual(main)


def as_sequence(said, frame):
    """The text with the sequence number of the right answer, where it has room for one."""
    return said[:11] + frame[11:13] + said[13:] if len(said) > 13 else said


@fuzzed()
@given(
    st.lists(
        st.tuples(st.sampled_from(["now", "twice", "late", "other", "cut", "mixed"]), st.integers(0, 9)), max_size=12
    ),
    CUTS,
    st.integers(1, 4),
)
def test_a_value_is_never_that_of_an_earlier_question(deeds, cuts, jobs):
    """Answers come doubled, late, of other questions, in any order and pieces; each read moves the PLC's counter."""

    async def main(loop):
        errors = quiet(loop)
        block, kept = bytearray(4), []
        async with StrictPlc({1: block}, host="plc", port=102, jobs=jobs, pdu=240) as plc:
            session = await connect(virtual_clock(loop), "plc", 102, TSAPS, patience=2.0)
            turns = iter(deeds)

            def fault(frame):
                deed, number = next(turns, ("now", 0))
                before = kept[number % len(kept)] if kept else b""
                kept.append(frame)
                out = {
                    "now": frame,
                    "twice": frame + frame,
                    "late": b"",
                    "other": before + frame,
                    "cut": frame[: len(frame) - 1 - number % 8],
                    "mixed": frame + before,
                }[deed]
                return chunks(out, cuts) if out else []

            plc.fault = fault
            for turn in range(1, len(deeds) + 2):
                if not session.is_open:
                    break
                block[:] = struct.pack(">I", turn)
                asker = Asker()
                session.read(plan([Range(0x84, 1, 0, 4)], 240), asker)
                await asyncio.sleep(0.5)
                session.forget(asker)
                assert {value for _, value in asker.items} <= {struct.pack(">I", turn)}
                clean(session, errors)
            session.close()
        await asyncio.sleep(5)
        assert errors == []

    run_virtual(main)


@fuzzed()
@given(damaged([GRANT[7:], ANSWER[7:]]))
def test_any_setup_is_understood_or_refused(pdu):
    """The library below may fail in its own ways; none of them shows."""
    try:
        assert 112 <= parse_setup(pdu).pdu <= 960
    except ReadError as error:
        explained(error)


@fuzzed()
@given(
    st.lists(
        spoken(
            [
                connect_request(TSAPS),
                setup_request(),
                bytes(read_request([Range(0x84, 1, 0, 4), Range(0x83, 0, 0, 2)])),
                bytes.fromhex("0300002102f080320100000002000e00000501120a100200010001840000000004000801"),
                bytes.fromhex("0300002102f080320700000003000800080001120411440100ff09000400110000"),
                bytes.fromhex("0300002102f080320700000003000800080001120411470100ff09000400110000"),
                bytes.fromhex("0300001902f08032010000000400080000f0000001000101e0"),
                bytes.fromhex("0300002502f0803201000000050014000028000000000000fd000009505f50524f4752414d"),
            ]
        ),
        max_size=5,
    ),
    CUTS,
    st.booleans(),
)
def test_the_simulated_plc_survives_its_clients(requests, cuts, introduced):
    """Whatever one client sends, nothing is raised, its memory is bounded, and the next client is served."""

    async def main(loop):
        errors = quiet(loop)
        plc = PlcServer(pdu=240)
        plc.register(1, bytearray(100))
        await plc.listen("plc", 102)
        transport, _ = await loop.create_connection(asyncio.Protocol, "plc", 102)
        if introduced:
            transport.write(connect_request(TSAPS) + setup_request())
        for piece in chunks(b"".join(requests), cuts):
            transport.write(piece)
        await asyncio.sleep(1)
        assert errors == []
        for connection in plc.connections:
            assert isinstance(connection, Connection)
            assert len(connection._buffer) + len(connection._fragments) <= 2 * 65_535
        session = await connect(virtual_clock(loop), "plc", 102, TSAPS, patience=2.0)
        asker = Asker()
        session.read(plan([Range(0x84, 1, 0, 4)], 240), asker)
        await asyncio.sleep(1)
        assert len(asker.items) == 1
        session.close()
        transport.abort()
        plc.close()
        await asyncio.sleep(0)

    run_virtual(main)
