"""One connection to a PLC: handshake, matching of answers, one deadline, and an end that says why."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clock import run_virtual, virtual_clock
from pipeline.errors import ReadError, Refused
from pipeline.s7.plan import Range, plan
from pipeline.s7.session import connect, unreachable
from pipeline.s7.wire import Tsaps
from tests.parts import plc as faults
from tests.parts.plc import StrictPlc

TSAPS = Tsaps.of(1, 0, 1)
MEMORY = bytes(index * 37 % 251 for index in range(2000))


class Asker:
    """Keeps what it is told, in order."""

    def __init__(self, loop):
        self.loop = loop
        self.told = []

    def answered(self, request, items):
        """Keep the items with the time."""
        self.told.append((self.loop.time(), [item.start for item in request.items], items))

    def refused(self, error):
        """Keep the refusal."""
        self.told.append((self.loop.time(), error.reason))


class Seen:
    """A witness that keeps the answers and what was asked."""

    def __init__(self):
        self.grants, self.answers = [], []

    def opened(self, _, asked, answer):
        """Keep the grant."""
        self.grants.append((asked, answer))

    def answered(self, _, asked, answer):
        """Keep the answer."""
        self.answers.append((bytes(asked), answer))

    def lost(self, *_):
        """Sessions leave that to their owner."""
        raise AssertionError


def strict(**options):
    """A PLC with one block."""
    return StrictPlc({1: bytearray(MEMORY)}, host="plc", port=102, **options)


async def opened(loop, **options):
    """A session with that PLC."""
    return await connect(virtual_clock(loop), "plc", 102, TSAPS, patience=2.0, **options)


@pytest.mark.parametrize(("size", "jobs", "requests"), [(112, 1, 22), (240, 3, 10), (480, 8, 5), (960, 8, 3)])
def test_requests_are_pipelined_up_to_what_is_granted(size, jobs, requests):
    """The PLC cuts whoever has more jobs open; here all bytes come, in `requests / jobs` round trips."""

    async def main(loop):
        async with strict(pdu=size, jobs=jobs) as plc:
            plc.delay = 0.01
            session = await opened(loop)
            assert (session.grant.pdu, session.grant.jobs) == (size, jobs)
            asker, asked = Asker(loop), plan([Range(0x84, 1, 0, 2000)], size)
            began = loop.time()
            session.read(asked, asker)
            await asyncio.sleep(1)
            assert len(asked) == len(asker.told) == requests
            assert b"".join(items[0] for _, _, items in asker.told) == MEMORY
            assert asker.told[-1][0] - began == pytest.approx(-(-requests // jobs) * 0.01)
            assert plc.violations == []
            session.close()

    run_virtual(main)


@pytest.mark.parametrize(
    "fault",
    [None, faults.one_byte_at_a_time, faults.twice, faults.preceded, faults.split, faults.unasked],
    ids=lambda fault: getattr(fault, "__name__", "none"),
)
def test_answers_come_through_whatever_way_they_are_sent(fault):
    """Single bytes, two answers in a segment, empty data frames, fragments, unasked messages: right bytes, in order."""

    async def main(loop):
        seen = Seen()
        async with strict(pdu=240, jobs=1) as plc:  # the PLC's pieces of two answers would mix
            session = await opened(loop, witness=seen)
            plc.fault = fault
            asker = Asker(loop)
            for _ in range(5):
                session.read(plan([Range(0x84, 1, 0, 300)], 240), asker)
                await asyncio.sleep(0.1)
            assert b"".join(items[0] for _, _, items in asker.told) == MEMORY[:300] * 5
            assert session.stale == (10 if fault is faults.twice else 0)
            assert len(seen.answers) >= 10
            assert session.is_open
            session.close()

    run_virtual(main)


@pytest.mark.parametrize(
    ("fault", "reason", "after"),
    [
        (faults.silent, "timeout", 2.0),
        (faults.truncated, "timeout", 2.0),
        (faults.foreign, "timeout", 2.0),
        (faults.garbage, "invalid answer", 0.0),
        (faults.too_long, "invalid answer", 0.0),
        (faults.close, "connection lost", 0.0),
        (faults.half, "connection lost", 0.0),
        (faults.hung_up, "connection lost", 0.0),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_can_not_be_trusted_ends_the_connection(fault, reason, after):
    """With its reason, at once or at the deadline; nobody is given anything, and the PLC's connection is free again."""

    async def main(loop):
        async with strict(jobs=1) as plc:
            session = await opened(loop)
            plc.fault = fault
            asker, began = Asker(loop), loop.time()
            session.read(plan([Range(0x84, 1, 0, 14)], 480), asker)
            error = await asyncio.wait_for(session.ended, 10)
            assert error.reason == reason
            assert loop.time() - began == pytest.approx(after)
            await asyncio.sleep(1)
            assert asker.told == []
            assert not plc.connections

    run_virtual(main)


@pytest.mark.parametrize("at", range(25))
def test_an_answer_with_a_wrong_byte_means_the_same_whether_it_comes_whole_or_in_pieces(at):
    """A whole answer is compared, one in pieces is parsed: whichever byte of its header is wrong, they agree."""

    def spoiled(frame):
        return frame[:at] + bytes([frame[at] ^ 0x40]) + frame[at + 1 :]

    async def main(loop):
        async with strict() as plc:
            found = []
            for fault in (lambda frame: [spoiled(frame)], lambda frame: faults.one_byte_at_a_time(spoiled(frame))):
                plc.fault = None
                session = await opened(loop)
                plc.fault = fault
                asker = Asker(loop)
                session.read(plan([Range(0x84, 1, 0, 14)], 960), asker)
                await asyncio.sleep(3)
                ended = session.ended.result().reason if session.ended.done() else ""
                found.append((ended, session.stale, [told[1:] for told in asker.told]))
                session.close()
            assert found[0] == found[1]

    run_virtual(main)


def test_a_peer_that_drips_bytes_can_not_hold_a_read_beyond_the_deadline():
    """One byte each 0.5 s is progress, but not an answer: the deadline is from send to complete answer."""

    async def main(loop):
        async with strict() as plc:
            session = await opened(loop)
            plc.fault, plc.gap = faults.one_byte_at_a_time, 0.5
            began = loop.time()
            session.read(plan([Range(0x84, 1, 0, 14)], 480), Asker(loop))
            assert (await session.ended).reason == "timeout"
            assert loop.time() - began == pytest.approx(2.0)

    run_virtual(main)


def test_each_request_has_its_own_deadline_and_one_timer_serves_all():
    """Reads for a minute at 50 a second leave at most one timer; the deadline counts from the last request."""

    async def main(loop):
        async with strict() as plc:
            session = await opened(loop)
            asker, asked = Asker(loop), plan([Range(0x84, 1, 0, 14)], 480)
            for _ in range(3000):
                session.read(asked, asker)
                await asyncio.sleep(0.02)
            assert len(asker.told) == 3000
            assert len([timer for timer in loop._scheduled if not timer.cancelled()]) <= 1
            plc.fault = faults.silent
            began = loop.time()
            session.read(asked, asker)
            await session.ended
            assert loop.time() - began == pytest.approx(2.0)

    run_virtual(main)


def test_a_refusal_of_the_whole_request_is_told_and_leaves_the_connection():
    """Header error 8104: the advice names PUT/GET, the next request is answered."""

    async def main(loop):
        async with strict() as plc:
            session = await opened(loop)
            asker, asked = Asker(loop), plan([Range(0x84, 1, 0, 4)], 480)
            plc.header_error = 0x8104
            session.read(asked, asker)
            await asyncio.sleep(0.1)
            plc.header_error = 0
            session.read(asked, asker)
            await asyncio.sleep(0.1)
            assert [told[1] for told in asker.told] == ["not permitted", [0]]
            session.close()

    run_virtual(main)


def test_what_a_reader_forgets_is_not_given_to_it_later():
    """Queued requests are dropped, the answer of the open one is swallowed, its place becomes free."""

    async def main(loop):
        async with strict(pdu=240, jobs=1) as plc:
            plc.delay = 0.01
            session = await opened(loop)
            first, second = Asker(loop), Asker(loop)
            session.read(plan([Range(0x84, 1, 0, 800)], 240), first)
            session.forget(first)
            session.read(plan([Range(0x84, 1, 4, 4)], 240), second)
            await asyncio.sleep(0.1)
            assert first.told == []
            assert [told[2] for told in second.told] == [[MEMORY[4:8]]]
            session.close()

    run_virtual(main)


class Mischief(asyncio.Protocol):
    """A peer that answers each segment with the next piece of its script; b"" closes."""

    def __init__(self, script):
        self.script = list(script)

    def connection_made(self, transport):
        """Keep it."""
        self.transport = transport

    def data_received(self, _):
        """Give the next piece, if there is one left."""
        if self.script:
            piece = self.script.pop(0)
            if piece:
                self.transport.write(piece)
            else:
                self.transport.close()


CONFIRM = bytes.fromhex("0300001611d00001000100c0010bc1020100c2020101")
GRANT = bytes.fromhex("0300001b02f080320300000001000800000000f0000001000100f0")


@pytest.mark.parametrize(
    ("script", "reason", "words", "after"),
    [
        ([], "timeout", "does not confirm", 2.0),
        ([b""], "connection refused by the PLC", "rack, slot or tsap", 0.0),
        ([bytes.fromhex("0300000b06800001000100")], "connection refused by the PLC", "rack, slot or tsap", 0.0),
        ([CONFIRM], "timeout", "connection_type", 2.0),
        ([CONFIRM, b""], "no free connection", "connection_type", 0.0),
        ([CONFIRM + CONFIRM], "invalid answer", "twice", 0.0),
        ([b"SSH-2.0-OpenSSH"], "invalid answer", "TPKT", 0.0),
        (
            [CONFIRM, bytes.fromhex("0300001302f0803202000000010000000081 04".replace(" ", ""))],
            "not permitted",
            "",
            0.0,
        ),
        (
            [CONFIRM, bytes.fromhex("0300001b02f080320300000001000800000000f0000001000100 40".replace(" ", ""))],
            "PDU too small",
            "64 bytes granted",
            0.0,
        ),
    ],
)
def test_a_handshake_that_fails_says_why_and_what_to_change(script, reason, words, after):
    """Each step has its own advice, and nothing stays open."""

    async def main(loop):
        await loop.create_server(lambda: Mischief(script), "plc", 102)
        with pytest.raises(ReadError) as caught:
            await opened(loop)
        assert caught.value.reason == reason
        assert words in str(caught.value)
        assert loop.time() == pytest.approx(after)
        await asyncio.sleep(0.1)
        assert loop.connections == []

    run_virtual(main)


def test_a_grant_that_comes_as_the_patience_ends_is_too_late():
    """Not one moment, and no error of our own in the loop: the answer finds that nobody waits any more."""

    class Late(Mischief):
        def data_received(self, data):
            loop = asyncio.get_running_loop()
            # In one turn of the loop with the end of the patience, and before it.
            loop.call_at(2.0 - 1e-10 if len(self.script) == 1 else loop.time(), super().data_received, data)

    async def main(loop):
        wrong = []
        loop.set_exception_handler(lambda _, context: wrong.append(context))
        await loop.create_server(lambda: Late([CONFIRM, GRANT]), "plc", 102)
        with pytest.raises(ReadError) as caught:
            await opened(loop)
        assert caught.value.reason == "timeout"
        await asyncio.sleep(0.1)
        assert (wrong, loop.connections) == ([], [])

    run_virtual(main)


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=80) | st.sampled_from([CONFIRM, GRANT, GRANT[:11]]), max_size=6))
def test_no_bytes_of_a_peer_crash_or_hang_a_session(pieces):
    """Whatever comes at any step, connecting ends within its time, and nothing is taken for an answer."""

    async def main(loop):
        await loop.create_server(lambda: Mischief(pieces), "plc", 102)
        asker = Asker(loop)
        try:
            session = await opened(loop)
        except ReadError:
            assert loop.time() <= 2.0
        else:
            session.read(plan([Range(0x84, 1, 0, 4)], session.grant.pdu), asker)
            assert (await asyncio.wait_for(session.ended, 10)).reason
        assert asker.told == []

    run_virtual(main)


def test_a_host_that_is_not_there_is_told_apart_from_one_that_refuses():
    """No answer at all is a time-out of the TCP connection; no listener is a refusal."""

    async def main(loop):
        with pytest.raises(ReadError) as refusal:
            await opened(loop)
        loop.mute.add(("plc", 102))
        with pytest.raises(ReadError) as silence:
            await opened(loop)
        return refusal.value, silence.value, loop.time()

    refusal, silence, time = run_virtual(main)
    assert (refusal.reason, silence.reason) == ("connection refused", "timeout")
    assert "TCP" in str(silence)
    assert time == pytest.approx(2.0)
    assert not isinstance(refusal, Refused)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "refused"), "connection refused"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1'), [Errno 111] Connect"),
            "connection refused",
        ),
        (OSError(113, "No route to host"), "unreachable"),
        (OSError(101, "Network is unreachable"), "unreachable"),
        (asyncio.base_events.socket.gaierror(-2, "Name or service not known"), "name not found"),
        (ConnectionResetError(104, "reset"), "connection lost"),
    ],
)
def test_errors_of_the_system_have_short_reasons(error, reason):
    """What `error` of a failure frame says."""
    assert unreachable(error).reason == reason
