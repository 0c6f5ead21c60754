"""The recorded PLC answers what was recorded, and what it doesn't know does not exist."""

import asyncio

import msgspec
import pytest

from pipeline.clock import VirtualLoop, run_virtual, virtual_clock
from pipeline.errors import ReadError
from pipeline.recording.format import Event, Record
from pipeline.recording.tape import Tape, WallClock
from pipeline.s7.plan import Range, plan
from pipeline.s7.recorded import play
from pipeline.s7.session import connect
from pipeline.s7.wire import Tsaps, setup_request
from tests.parts.plc import StrictPlc

MEMORY = bytes(range(100))
BOTH = (Range(0x84, 1, 10, 20), Range(0x84, 2, 0, 4))


class Kept(list):
    """A witness and a reader at once."""

    def opened(self, wall, asked, answer):
        """Keep the grant."""
        self.append(Record(0.0, wall, "plc", Event.OPENED, asked, answer))

    def answered(self, *told):
        """Keep a record (as a witness), or the items (as a reader)."""
        if len(told) == 3:
            self.append(Record(1.0, told[0], "plc", Event.ANSWERED, bytes(told[1]), told[2]))
        else:
            self.append(told[1])


async def asked(loop, ranges, witness=None):
    """The answers of the PLC at `plc` to one reading."""
    session = await connect(virtual_clock(loop), "plc", 102, Tsaps.of(1, 0, 1), patience=2.0, witness=witness)
    reader = Kept()
    session.read(plan(ranges, session.grant.pdu, gap=None), reader)
    await asyncio.sleep(1.9)
    assert session.grant.pdu == 240
    session.close()
    return list(reader)


@pytest.fixture(scope="module")
def records():
    """What a PLC with one of two blocks said to one request."""
    kept = Kept()

    async def main(loop: VirtualLoop):
        async with StrictPlc({1: bytearray(MEMORY)}, host="plc", port=102, pdu=240):
            return await asked(loop, BOTH, kept)

    assert run_virtual(main) == [[MEMORY[10:30], 0x0A]]
    assert [record.event for record in kept] == [Event.OPENED, Event.ANSWERED]
    assert kept[0].asked == setup_request()
    # Until the recording ends, which silences what has no answer any more.
    return [*kept, Record(100.0, 100.0, "plc", Event.ANSWERED, bytes(31), b"")]


def replayed(records, *readings):
    """The answers to some readings, each on a connection of its own."""

    async def main(loop: VirtualLoop):
        tape = Tape(records, loop, WallClock(loop, 0.0))
        await loop.create_server(play(tape, 2.0), "plc", 102)
        await tape.admit()
        answers = [await asked(loop, ranges) for ranges in readings]
        return answers, len(tape.unknown), tape.left - 1

    return run_virtual(main)


def test_the_same_request_gets_the_same_answer_once(records):
    """Items and codes; the grant is the recorded one."""
    assert replayed(records, BOTH) == ([[[MEMORY[10:30], 0x0A]]], 0, 0)


@pytest.mark.parametrize(
    ("ranges", "items"),
    [
        ((BOTH[0],), [MEMORY[10:30]]),
        ((Range(0x84, 1, 12, 5), Range(0x84, 1, 20, 10)), [MEMORY[12:17], MEMORY[20:30]]),
        ((*BOTH, Range(0x83, 0, 0, 1)), [0x0A, MEMORY[10:30], 0x0A]),
        ((Range(0x84, 1, 10, 21), BOTH[0]), [0x0A, MEMORY[10:30]]),
    ],
)
def test_another_request_gets_what_a_recorded_one_shares_with_it(ranges, items, records):
    """Parts of its ranges; nothing beyond them is invented."""
    assert replayed(records, ranges) == ([[items]], 0, 0)


def test_what_was_never_asked_does_not_exist(records):
    """And is counted; what is recorded stays for who asks for it."""
    assert replayed(records, (Range(0x84, 7, 0, 4),), BOTH) == ([[[0x0A]], [[MEMORY[10:30], 0x0A]]], 1, 0)


def test_a_refusal_of_the_whole_request_is_one_again(records):
    """The header's error comes as it came."""
    refusal = bytes.fromhex("320200000001000000008104")
    changed = [records[0], msgspec.structs.replace(records[1], answer=refusal), records[2]]

    async def main(loop: VirtualLoop):
        tape = Tape(changed, loop, WallClock(loop, 0.0))
        await loop.create_server(play(tape, 2.0), "plc", 102)
        await tape.admit()
        session = await connect(virtual_clock(loop), "plc", 102, Tsaps.of(1, 0, 1), patience=2.0)
        told = []
        reader = type("Reader", (), {"refused": staticmethod(told.append)})()
        session.read(plan(BOTH[:1], 240), reader)
        await asyncio.sleep(1.9)
        return told

    (error,) = run_virtual(main)
    assert error.reason == "not permitted"


@pytest.mark.parametrize("answer", [b"", b'["timeout", 1]', b"\xff", b"{}"])
def test_a_lost_connection_whose_reason_is_not_readable_is_a_lost_connection(answer):
    """The recording was made by somebody else: the replay goes on as with any other failure."""

    async def main(loop: VirtualLoop):
        tape = Tape([Record(0.0, 0.0, "plc", Event.LOST, b"", answer)], loop, WallClock(loop, 0.0))
        with pytest.raises(ReadError, match="connection lost: the recording does not say why"):
            await tape.admit()

    run_virtual(main)
