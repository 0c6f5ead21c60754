"""Looking at a PLC: what CPUs say, what they refuse in all ways, lengths found by reading, how gently it is done."""

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clock import Clock, run_virtual, virtual_clock
from pipeline.errors import ReadError
from pipeline.frame import Extent
from pipeline.s7 import browse_cpu
from pipeline.s7.browse import browse, numbers_text
from pipeline.s7.browse_blocks import parse_numbers
from pipeline.s7.browse_place import Access, Place
from pipeline.s7.browse_text import advice, report
from tests.parts.native_plc import NativePlc
from tests.parts.plc import StrictPlc

HEAD = "0011 0000 001c 0004 "
CPU_315 = b"6ES7 315-2EH14-0AB0 ".hex()
NAMELESS = b" ".hex() * 20
IDENTIFICATION = f"{HEAD} 0001 {CPU_315} 00c000040001 0006 {CPU_315} 00c000040001 0007 {NAMELESS} 00c056030206 0081 "
IDENTIFICATION += b"Boot Loader         ".hex() + "000041200909"
S7_1212 = "0011 0000 001c 0002 0001" + b"6ES7 212-1BE40-0XB0 ".hex() + "000000002020 0007" + NAMELESS + "000056040703"


def place(**others):
    """A PLC in virtual time."""
    return Place(address="127.0.0.1", port=102, access=Access(), **others)


def look(plc, numbers=range(1, 41), rate=20.0, where=None):
    """What is found in a PLC, and the virtual seconds that it took."""

    async def main(loop):
        plc.port = 102
        async with plc:
            found = await browse(virtual_clock(loop), where or place(), list(numbers), rate=rate)
            assert plc.violations == []
            assert not any(connection.transport.is_closing() for connection in plc.connections)
        return found, loop.time()

    return run_virtual(main)


class Reticent(StrictPlc):
    """Answers questions about itself as told: an S7 error in the parameters, in the data, in the header, or not."""

    def __init__(self, *arguments, way, **others):
        super().__init__(*arguments, **others)
        self.way = way
        self.asked = []

    def answer(self, connection, pdu):
        """All USERDATA is refused."""
        if pdu[1] != 7:
            return super().answer(connection, pdu)
        self.asked.append(int.from_bytes(pdu[22:24], "big") if pdu[15] == 0x44 else pdu[15])
        number = pdu[4:6]
        answers = {
            "parameters": b"\x32\x07\0\0%b\0\x0c\0\x04\0\1\x12\x08\x12%c\1\0\0\0\xd4\1\x0a\0\0\0"
            % (number, pdu[15] ^ 0xC0),
            "data": b"\x32\x07\0\0%b\0\x0c\0\x04\0\1\x12\x08\x12\x84\1\0\0\0\0\0\x81\0\0\0" % number,
            "header": b"\x32\x03\0\0%b\0\0\0\0\x81\4" % number,
            "endless": b"\x32\x07\0\0%b\0\x0c\0\x04\0\1\x12\x08\x12%c\1\1\0\1\0\0\xff\x09\0\0"
            % (number, pdu[15] ^ 0xC0),
            "password": b"\x32\x07\0\0%b\0\x0c\0\x04\0\1\x12\x08\x12%c\1\0\0\0\xd2\x41\x0a\0\0\0"
            % (number, pdu[15] ^ 0xC0),
        }
        return answers.get(self.way)


@pytest.mark.parametrize("pdu", [112, 240, 480, 960])
def test_what_the_simulated_plc_says(pdu):
    """Everything that is asked, also in parts where the PDU is small; sixty blocks with their lengths."""
    blocks = {1: bytearray(14), 500: bytearray(330), 7: bytearray(65536), **{n: bytearray(n) for n in range(600, 660)}}
    plc = StrictPlc(blocks, pdu=pdu)
    plc.switch(4)
    found, _ = look(plc)
    assert (found.identity.order_number, found.identity.firmware) == ("6ES7 315-2EH14-0AB0", "V3.3.0")
    assert (found.names.type, found.names.serial) == ("CPU 315-2 PN/DP", "S SIMULATED")
    assert (found.state, found.protection.level, found.pdu) == ("STOP", 1, pdu)
    assert (found.connections.free, found.connections.pg, found.connections_most) == (63, 1, 64)
    assert {block.db: block.size for block in found.dbs if block.readable} == {n: len(b) for n, b in blocks.items()}
    assert (found.dbs_from, found.not_told) == ("block list", {})


@pytest.mark.real("native_plc")
def test_what_the_cpp_server_says():
    """Another's PLC: its own names, a clock of now, three hundred blocks in several parts."""
    blocks = {1: bytes(14), 2: bytes(1000), 65535: bytes(40000), **{n: bytes(4) for n in range(100, 400)}}
    with NativePlc(blocks, pdu=240) as plc, asyncio.Runner() as runner:
        where = Place(address="127.0.0.1", port=plc.port, access=Access())
        found = runner.run(browse(Clock(runner.get_loop()), where, [1], rate=1000))
    assert (found.identity.order_number, found.identity.firmware) == ("6ES7 315-2EH14-0AB0", "V3.2.6")
    assert (found.names.plant, found.names.serial) == ("SNAP7-SERVER", "S C-C2UR28922012")
    assert (found.state, found.protection.level, found.connections.free) == ("RUN", 1, 14)
    assert abs(found.clock.difference) < 60
    assert {block.db: block.size for block in found.dbs} == {n: len(b) for n, b in blocks.items()}


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("parameters", "not supported (code 0xD401)"),
        ("data", "not supported (code 0x0081)"),
        ("header", "not permitted (code 0x8104)"),
        ("endless", "invalid answer (it has no end)"),
        ("password", "protection level (code 0xD241)"),
        ("silence", "no answer"),
    ],
)
def test_a_cpu_that_tells_nothing_is_read(way, said):
    """Each refusal is named, no question is asked that could harm, and blocks are found by reading."""
    plc = Reticent({3: bytearray(1), 17: bytearray(14), 40: bytearray(70), 41: bytearray(3)}, way=way)
    plc.codes = {(0x84, 5): 0x03}
    found, _ = look(plc)
    assert {block.db: block.size for block in found.dbs} == {3: 1, 17: 14, 40: 70, 5: None}
    assert [block.reason for block in found.dbs if not block.readable] == ["access denied"]
    assert (found.not_told["block list"], found.not_told["order number"]) == (said, said)
    assert 0x001C not in plc.asked
    assert found.dbs_from == "reading DB1..40"
    text = "\n".join(report(found, str(place())))
    assert f"order number    the CPU does not tell: {said}" in text
    if way == "silence":  # two questions cost two connections; the block list is one more
        assert len(plc.asked) == 3
        assert "left the questions before without an answer" in text


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 65536), pdu=st.sampled_from([112, 240, 960]))
def test_a_length_is_where_reading_ends(size, pdu):
    """Any length, in few requests."""
    found, _ = look(Reticent({9: bytearray(size)}, way="data", pdu=pdu), numbers=[9], rate=1000)
    assert [(block.db, block.size) for block in found.dbs] == [(9, size)]
    assert found.requests <= (13 if pdu > 112 else 16)


def test_no_more_requests_a_second_than_told():
    """A thousand numbers at 5 a second: fifty requests and the questions, in eleven seconds."""
    found, seconds = look(Reticent({}, way="data"), numbers=range(1, 1001), rate=5)
    assert found.requests == 8 + 50 - 1  # all lists but the names, clock, block list
    assert seconds == pytest.approx((found.requests - 1) / 5)
    assert any("Optimized block access" in line and "--dbs" in line for line in advice(found))


def test_put_get_off_ends_reading_and_names_the_setting():
    """Every read is refused as a whole: one is enough."""
    plc = StrictPlc({1: bytearray(4)})
    plc.header_error = 0x8104
    found, _ = look(plc)
    assert "PUT/GET access" in found.no_reading
    assert [(block.db, block.readable) for block in found.dbs] == [(1, False)]
    assert [line for line in advice(found) if "PUT/GET" in line]


def test_advice_for_what_stands_in_the_way():
    """Optimised and protected blocks, a full table, a stopped CPU, a wrong clock, a layout that is too long."""
    plc = StrictPlc({1: bytearray(12), 2: bytearray(4), 3: bytearray(4)}, max_clients=1)
    plc.codes = {(0x84, 2): 0x0A, (0x84, 3): 0x03}
    plc.switch(4)
    declared = (Extent(device="", plc="", db=1, start=0, size=14), Extent(device="", plc="", db=8, start=0, size=1))
    found, _ = look(plc)  # virtual time stands in 2024
    text = "\n".join(advice(found, declared))
    for word in (
        r"DB2: switch off 'Optimized block access'",
        r"DB3: access denied",
        r"all connections of the CPU are taken",
        r"in STOP: its values stand still",
        r"clock differs .* by \d+ d",
        r"the graph reads .*, and DB1 has 12 bytes",
        r"the graph reads DB8, which was not found",
    ):
        assert re.search(word, text), word


def test_a_plc_that_goes_away_ends_it():
    """No half report: the error says what happened."""

    class Mortal(StrictPlc):
        def read(self, item):
            self.close()
            return super().read(item)

    with pytest.raises(ReadError, match="connection lost"):
        look(Mortal({1: bytearray(4)}))


@pytest.mark.parametrize(
    ("data", "number", "version"),
    [(IDENTIFICATION, "6ES7 315-2EH14-0AB0", "V3.2.6"), (S7_1212, "6ES7 212-1BE40-0XB0", "V4.7.3")],
)
def test_order_number_and_firmware(data, number, version):
    """As two families of CPUs send them."""
    identity = browse_cpu.read_identity(bytes.fromhex(data))
    assert (identity.order_number, identity.firmware) == (number, version)


@pytest.mark.parametrize(
    ("number", "harmless"),
    [("6ES7 315-2EH14-0AB0", True), ("6ES7 315-2FJ14-0AB0", False), ("6ES7 317-2FK13-0AB0", False), ("", False)],
)
def test_names_are_not_asked_of_cpus_that_they_stop(number, harmless):
    """Fail-safe CPUs of S7-300, and those that don't say what they are."""
    assert browse_cpu.may_ask_names(number) is harmless


def test_connections_of_all_kinds():
    """Words and bytes of list 0132, as an S7-300 has them."""
    data = bytes.fromhex(
        "0132 0001 0028 0001 0001 0001 0002 0003 0004 0005 0006 0007 0000 0014" + "00" * 15 + "08 0009 0000"
    )
    found = browse_cpu.read_connections(data)
    assert (found.pg_reserved, found.op_reserved, found.pg, found.op, found.s7) == (1, 2, 3, 4, 6)
    assert (found.free, found.basic, found.others, found.taken) == (7, 8, 9, 30)


@pytest.mark.parametrize("read", [browse_cpu.read_identity, browse_cpu.read_limits, browse_cpu.read_protection])
@pytest.mark.parametrize(
    "data", ["", "0011", "0099 0000 0004 0001 00010001", "0011 0000 0000 0001", "0232 0004 0028 0001 00"]
)
def test_what_is_no_list(read, data):
    """Another list, half of one, one without records."""
    with pytest.raises(ValueError, match=r"list|level"):
        read(bytes.fromhex(data))


@pytest.mark.parametrize(("text", "numbers"), [("1-3", [1, 2, 3]), ("5, 1-2,2", [1, 2, 5]), ("65535", [65535])])
def test_block_numbers(text, numbers):
    """Ranges and numbers, each once."""
    assert parse_numbers(text) == numbers
    assert parse_numbers(numbers_text(numbers).replace("DB", "").replace("..", "-")) == numbers


@pytest.mark.parametrize("text", ["", "0", "3-1", "1-65536", "a", "1..3", "1,,2"])
def test_what_are_no_block_numbers(text):
    """The message says how to write them."""
    with pytest.raises(ValueError, match="block number"):
        parse_numbers(text)
