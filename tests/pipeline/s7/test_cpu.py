"""The CPU's state and clock: what answers mean, what is asked, and what a CPU that says nothing costs."""

import asyncio
import struct

import pytest
from snap7.s7protocol import S7Protocol

from pipeline.clock import run_virtual
from pipeline.frame import Kind, Origin
from pipeline.operator import NodeKind
from pipeline.s7.cpu import Cpu, CpuTags, read_clock, read_state
from pipeline.s7.session import connect
from pipeline.s7.wire import Tsaps
from tests.parts.engine import make_context
from tests.parts.plc import StrictPlc

RECORD = bytes.fromhex("0424 0000 0014 0001 5144 ff08 00000000 00000000 2611220849300000")
CLOCK = bytes.fromhex("0020 26112208 49301235")


@pytest.mark.parametrize(
    ("byte", "text"),
    [
        (0x08, "RUN"),
        (0x48, "RUN"),
        (0x09, "RUN"),
        (0x04, "STOP"),
        (0x84, "STOP"),
        (0x01, "STOP"),
        (0x03, "STOP"),
        (0x46, "STARTUP"),
        (0x0A, "HOLD"),
        (0x0D, "DEFECTIVE"),
    ],
)
def test_operating_modes(byte, text):
    """The low half is the mode; the high half is the one before it."""
    assert read_state(RECORD[:11] + bytes([byte]) + RECORD[12:]) == text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (RECORD[:11] + b"\0" + RECORD[12:], "unknown operating mode 0"),
        (RECORD[:11], "no operating mode: 0424"),
        (b"\0\x1c" + RECORD[2:], "no operating mode: 001c"),
        (b"", "no operating mode"),
    ],
)
def test_what_is_no_operating_mode(data, reason):
    """Another list, half a record, a mode that nobody defined."""
    with pytest.raises(ValueError, match=reason):
        read_state(data)


def test_the_clock_is_a_date_and_time():
    """Two bytes that say nothing, then BCD; with a zone it gets an offset."""
    assert read_clock(CLOCK) == "2026-11-22T08:49:30.123"
    assert read_clock(CLOCK, "America/Sao_Paulo") == "2026-11-22T08:49:30.123-03:00"
    for data in (CLOCK[:-1], CLOCK[:3] + b"\xff" + CLOCK[4:], bytes(10)):
        with pytest.raises(ValueError, match=r"no date and time|not BCD|never set"):
            read_clock(data)


class Asked:
    """A CPU's tags on a session with a PLC that answers as `answers` says: None is silence."""

    def __init__(self, loop, answers):
        self.loop = loop
        self.answers = answers
        self.asked = []
        self.frames = []
        self.rounds = 0
        context = make_context(loop, node="press", kind=NodeKind.SOURCE)
        tags = CpuTags(origin=Origin(measurement="s7_cpu"), state="state", clock="clock", every=10)
        self.cpu = Cpu(tags, context, self.finished)
        self.cpu.emit = self.frames.append
        self.plc = StrictPlc(host="plc", port=102, jobs=2)
        self.plc.answer = self.answer

    def finished(self, _):
        """A round is over."""
        self.rounds += 1

    def answer(self, connection, pdu):
        """A setup is granted; a question gets the next answer."""
        if pdu[1] != 7:
            return StrictPlc.answer(self.plc, connection, pdu)
        self.asked.append(pdu[4:6].join([b"", pdu[10:]]))
        reply = self.answers[pdu[15] & 0xF]
        return None if reply is None else reply(pdu)

    async def connect(self):
        """A new session, on which a round is begun."""
        session = await connect(self.cpu._clock, "plc", 102, Tsaps.of(1, 0, 1), patience=2)
        self.cpu.connected(session)
        return session


def told(data, code=0, returned=0xFF):
    """A function that answers a question."""

    def reply(pdu):
        parameters = bytes([0, 1, 0x12, 8, 0x12, 0x80 | pdu[15] & 0xF, 1, 0, 0, 0]) + code.to_bytes(2, "big")
        content = struct.pack(">BBH", returned, 9 if data else 0, len(data)) + data
        head = struct.pack(">BBHHHH", 0x32, 7, 0, int.from_bytes(pdu[4:6], "big"), len(parameters), len(content))
        return head + parameters + content

    return reply


def refused_as_a_whole(pdu):
    """Header error 8104, as CPUs without PUT/GET answer."""
    return b"\x32\x02\0\0" + pdu[4:6] + b"\0\0\0\0\x81\x04"


SZL, TIME = 4, 7


def play(script, answers):
    """Run `script(asked)` in virtual time."""

    async def main(loop):
        asked = Asked(loop, answers)
        async with asked.plc:
            await script(asked)

    run_virtual(main)


def test_what_is_asked_is_what_python_snap7_asks():
    """SZL 0x0424 and the clock, each with a number of its own, and nothing else ever."""

    async def script(asked):
        session = await asked.connect()
        assert asked.cpu.read()
        assert not asked.cpu.read()
        await asyncio.sleep(0.1)
        builder = S7Protocol()
        requests = builder.build_read_szl_request(0x0424, 0), builder.build_get_clock_request()
        assert [pdu[-len(request[10:]) :] for pdu, request in zip(asked.asked, requests, strict=True)] == [
            request[10:] for request in requests
        ]
        (frame,) = asked.frames
        assert frame.values == {"state": "RUN", "clock": "2026-11-22T08:49:30.123"}
        assert (frame.kind, frame.bad, asked.rounds, asked.cpu.busy) == (Kind.DATA, None, 1, False)
        session.close()

    play(script, {SZL: told(RECORD), TIME: told(CLOCK)})


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (told(b"", 0xD402, 0x0A), "not supported"),
        (told(b"", 0, 0x0A), "not supported"),
        (told(b"", 0xD241, 0x0A), "protection level"),
        (refused_as_a_whole, "not permitted"),
        (told(b""), "no operating mode: "),
        (told(RECORD[:11]), "no operating mode: 0424"),
    ],
)
def test_a_refused_question_is_named_and_the_other_goes_on(reply, reason):
    """In `bad` and in words; asked again after 10 s, then 20 s, until the CPU tells it."""

    async def script(asked):
        session = await asked.connect()
        for second in range(31):
            asked.cpu.read()
            await asyncio.sleep(1)
            assert asked.frames[-1].values == {"clock": "2026-11-22T08:49:30.123"}
            assert asked.frames[-1].bad["state"].startswith(reason)
            assert asked.cpu.trouble.startswith(f"s7_cpu: state: {reason}"), second
        assert len(asked.frames) == 31
        assert len(asked.asked) == 31 + 3
        asked.answers[SZL] = told(RECORD)
        await asyncio.sleep(40)
        asked.cpu.read()
        await asyncio.sleep(1)
        assert asked.frames[-1].values["state"] == "RUN"
        assert (asked.frames[-1].bad, asked.cpu.trouble) == (None, "")
        session.close()

    play(script, {SZL: reply, TIME: told(CLOCK)})


def test_a_cpu_that_tells_nothing_fails_once():
    """One failure frame, no further one while it says the same; nothing is asked in the pause."""

    async def script(asked):
        session = await asked.connect()
        assert asked.cpu.read()
        await asyncio.sleep(1)
        assert not asked.cpu.read()
        await asyncio.sleep(10)
        assert asked.cpu.read()
        await asyncio.sleep(1)
        assert [(frame.kind, frame.error) for frame in asked.frames] == [(Kind.FAILURE, "not supported")]
        assert asked.rounds == 2
        session.close()

    play(script, {SZL: told(b"", 0xD402, 0x0A), TIME: told(b"", 0xD402, 0x0A)})


def test_a_question_without_any_answer_is_left_away_after_two():
    """Each costs a connection; then the rest is asked alone, and an hour later it gets another chance."""

    async def script(asked):
        for _ in range(2):
            session = await asked.connect()
            assert asked.cpu.read()
            assert (await session.ended).reason == "timeout"
            asked.cpu.disconnected()
        assert "no answer" in asked.cpu.trouble
        session = await asked.connect()
        assert asked.cpu.read()
        await asyncio.sleep(5)
        assert session.is_open
        assert asked.frames[-1].values == {"clock": "2026-11-22T08:49:30.123"}
        assert asked.frames[-1].bad == {"state": "no answer"}
        asked.answers[SZL] = told(RECORD)
        await asyncio.sleep(3600)
        assert asked.cpu.read()
        await asyncio.sleep(1)
        assert asked.frames[-1].values["state"] == "RUN"
        session.close()

    play(script, {SZL: None, TIME: told(CLOCK)})


def test_what_comes_unasked_is_no_answer():
    """A message with the number of an open question, but of another kind, is dropped; the answer is still awaited."""

    async def script(asked):
        session = await asked.connect()
        asked.cpu.read()
        await asyncio.sleep(1)
        assert asked.frames == []
        assert asked.cpu.busy
        session.close()

    def alarm(pdu):
        reply = bytearray(told(RECORD)(pdu))
        reply[15] = 0x04
        return bytes(reply)

    play(script, {SZL: alarm, TIME: told(CLOCK)})
