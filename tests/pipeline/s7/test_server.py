"""The simulated PLC's protocol, asked by python-snap7's clients and by requests made of bytes."""

import asyncio
import struct

import pytest
from snap7.client import Client
from snap7.type import Area, Parameter, WordLen

from pipeline.clock import run_virtual
from tests.parts import plc as parts
from tests.parts.plc import StrictPlc, plc_thread
from tests.parts.waiting import eventually

CONNECT = bytes.fromhex("0300001611e00000000100c1020100c2020302c0010a")


def job(parameters: bytes, data: bytes = b"", sequence: int = 7) -> bytes:
    """A request frame, from TPKT on."""
    pdu = struct.pack(">BBHHHH", 0x32, 1, 0, sequence, len(parameters), len(data)) + parameters + data
    return struct.pack(">BBH", 3, 0, len(pdu) + 7) + b"\x02\xf0\x80" + pdu


def setup(pdu: int, jobs: int = 8) -> bytes:
    """The request that negotiates PDU and parallel jobs."""
    return job(struct.pack(">BBHHH", 0xF0, 0, jobs, jobs, pdu))


def item(start: int, count: int, db: int = 1, *, transport: int = 2, area: int = 0x84, bit: int = 0) -> bytes:
    """One S7ANY item."""
    return struct.pack(">BBBBHHB", 0x12, 0x0A, 0x10, transport, count, db, area) + (start * 8 + bit).to_bytes(3, "big")


def read(*items: bytes) -> bytes:
    """A read request of those items."""
    return job(bytes([4, len(items)]) + b"".join(items))


LONGER_THAN_IT_SAYS = b"\x03\x00\x00\x20" + read(item(0, 1))[4:] + b"\x00"


async def ask(plc: StrictPlc, *frames: bytes) -> list[bytes]:
    """Connect, send each frame when the one before is answered; the answers' S7 PDUs, b"" for a lost connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", plc.port)
    answers = []
    try:
        for frame in (CONNECT, *frames):
            writer.write(frame)
            try:
                header = await reader.readexactly(4)
                answers.append((await reader.readexactly(int.from_bytes(header[2:4], "big") - 4))[3:])
            except (asyncio.IncompleteReadError, ConnectionError):
                answers.append(b"")
                break
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return answers[1:]


def answers_of(plc: StrictPlc, *frames: bytes) -> list[bytes]:
    """`ask` on a loop of its own, within a deadline."""

    async def main() -> list[bytes]:
        async with plc, asyncio.timeout(10):
            return await ask(plc, *frames)

    return asyncio.run(main())


@pytest.mark.parametrize(("asked", "most", "granted"), [(960, 112, 112), (960, 960, 960), (240, 480, 240)])
def test_grants_no_more_than_asked_and_than_it_has(asked, most, granted):
    """PDU and jobs are the smaller of both sides'."""
    (answer,) = answers_of(StrictPlc(pdu=most, jobs=3), setup(asked, jobs=8))
    assert answer[12:] == struct.pack(">BBHHH", 0xF0, 0, 3, 3, granted)


@pytest.mark.parametrize("pdu", [112, 240, 480, 960])
def test_enforces_the_granted_pdu_to_the_byte(pdu):
    """The longest answer and request that fit are served; one byte more is header error 0x8500."""
    plc = StrictPlc({1: bytearray(2000)}, pdu=pdu)
    most = (pdu - 12) // 12
    _, fits, answer_too_long, request_too_long = answers_of(
        plc, setup(960), read(item(0, pdu - 18)), read(item(0, pdu - 17)), read(*[item(0, 0)] * (most + 1))
    )
    assert len(fits) == pdu
    assert fits[10:12] == b"\0\0"
    assert answer_too_long[10:12] == request_too_long[10:12] == b"\x85\x00"


def test_items_are_answered_one_by_one():
    """Odd lengths are padded except the last; a missing block, range or area is said for its item only."""
    plc = StrictPlc({1: bytearray(range(16))})
    _, answer = answers_of(
        plc,
        setup(480),
        read(
            item(0, 3),
            item(0, 1, db=9),
            item(15, 2),
            item(0, 1, area=0x99),
            item(3, 1, transport=1, bit=1),
            item(4, 1, transport=5),
            item(8, 1),
        ),
    )
    assert answer[12:14] == b"\x04\x07"
    assert answer[14:] == bytes.fromhex(
        "ff040018 00010200 0a000000 05000000 0a000000 ff030001 0100 ff050010 0405 ff040008 08".replace(" ", "")
    )


@pytest.mark.parametrize(
    "frame",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x03\x00\x00\x05\x00", LONGER_THAN_IT_SAYS],
    ids=["another protocol", "a TPKT too short", "a length that is wrong"],
)
def test_cuts_the_connection_of_who_speaks_something_else(frame):
    """Bytes that are not S7 end the connection, and the reason is kept."""
    plc = StrictPlc({1: bytearray(16)})
    assert answers_of(plc, setup(480), frame)[1:] in ([b""], [])
    assert len(plc.violations) == 1


def test_no_read_before_setup_and_no_more_jobs_than_granted():
    """A client that doesn't keep to the negotiation is cut off."""
    plc = StrictPlc({1: bytearray(16)}, jobs=2)
    one = read(item(0, 1))
    assert answers_of(plc, one) == [b""]
    assert answers_of(plc, setup(480), one * 2)[1][-1:] == b"\0"
    assert answers_of(plc, setup(480), one * 3)[1] == b""
    assert plc.violations == ["a request before the communication was set up", "3 jobs at once, 2 granted"]


def test_an_empty_read_is_an_error_not_the_first_bytes_of_db_1():
    """Zero items, or a number that the parameters don't bear out, is header error 0x8104."""
    _, none, wrong = answers_of(StrictPlc({1: bytearray(16)}), setup(480), read(), job(b"\x04\x02" + item(0, 1)))
    assert none[10:12] == wrong[10:12] == b"\x81\x04"


def parsed(answer: bytes) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    """Error and items (code, transport size, content) of a read's or write's answer; pad bytes mean nothing."""
    if answer[12] == 0x05:
        return answer[10:12], [(code, 0, b"") for code in answer[14:]]
    items, at = [], 14
    for _ in range(answer[13]):
        code, transport, length = struct.unpack_from(">BBH", answer, at)
        size = (-(-length // 8) if transport in {3, 4, 5} else length) if code == 0xFF else 0
        items.append((code, transport if code == 0xFF else 0, answer[at + 4 : at + 4 + size]))
        at += 4 + size + size % 2
    return answer[10:12], items


def written(transport: int, length: int, data: bytes) -> bytes:
    """One item's data of a write request."""
    return struct.pack(">BBH", 0, transport, length) + data


BATTERY = [
    read(item(0, 14)),
    read(item(2, 1, transport=8), item(10, 1, transport=5), item(0, 1, transport=1, bit=2), item(4, 3, transport=3)),
    read(item(1, 2, transport=4), item(4, 1, transport=6), item(4, 1, transport=7)),
    read(item(0, 3), item(0, 1, db=9), item(13, 2), item(1, 1), item(8, 3)),
    read(item(13, 1), item(14, 1)),
    job(b"\x05\x01" + item(4, 3), written(4, 24, b"\x01\x02\x03")),
    job(b"\x05\x01" + item(0, 1, transport=1, bit=5), written(3, 1, b"\x01")),
    job(b"\x05\x02" + item(8, 1) + item(9, 2), written(4, 8, b"\x77\x00") + written(4, 16, b"\x88\x99")),
    job(b"\x05\x02" + item(13, 2) + item(0, 1, db=9), written(4, 16, b"\x01\x02") + written(4, 8, b"\x01")),
    read(item(0, 14)),
]


@pytest.mark.real("native_plc")
@pytest.mark.timeout(300)
def test_answers_like_the_native_server(native_plc):
    """Reads and writes of all sizes, bits, holes and ends: item by item what the C++ server says."""
    native = native_plc({1: bytes(range(14))})

    async def main():
        async with StrictPlc({1: bytearray(range(14))}) as plc, asyncio.timeout(10):
            return [await ask(each, setup(480, jobs=1), *BATTERY) for each in (plc, native)]

    ours, theirs = ([parsed(answer) for answer in answers[1:]] for answers in asyncio.run(main()))
    assert len(ours) == len(BATTERY)
    assert ours == theirs


@pytest.fixture
def client():
    """python-snap7's own client, connected to a strict PLC with DB 1 of 600 bytes."""
    with plc_thread(StrictPlc({1: bytearray(600)}, pdu=240)) as plc:
        client = Client()
        client.set_param(Parameter.PDURequest, 960)
        client.connect("127.0.0.1", 0, 2, plc.port)
        try:
            yield client, plc
        finally:
            client.disconnect()


def test_python_snap7_reads_and_writes(client):
    """A block longer than the PDU goes and comes back; a bit is written in its place; the CPU tells its name."""
    client, plc = client
    data = bytearray(range(256)) * 2
    client.db_write(1, 8, data)
    assert client.db_read(1, 8, 512) == data
    client.write_area(Area.DB, 1, 9 * 8 + 5, bytearray([1]), WordLen.Bit)
    assert plc.blocks[0x84, 1][9] == 0x01 | 1 << 5
    assert client.get_cpu_info().ModuleTypeName
    assert plc.violations == []


def test_a_refused_write_changes_nothing(client):
    """Past the end, or to a block that isn't there: the item's code, and the memory as before."""
    client, plc = client
    for db, start in ((1, 599), (7, 0)):
        with pytest.raises(Exception, match=r"(?i)write|address|exist"):
            client.db_write(db, start, bytearray(b"\xff\xff"))
    assert not any(plc.blocks[0x84, 1])


FAULTS = [
    value for name, value in vars(parts).items() if getattr(value, "__annotations__", {}).get("return") == list[bytes]
]


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_faults_reach_the_wire_in_virtual_time(fault):
    """What a fault makes of an answer arrives piece by piece, and it closes when told to, on the virtual loop too."""
    good = bytes.fromhex("0300001a02f080 32030000000700020005 0000 0401 ff04000800".replace(" ", ""))
    pieces = [good] if fault is None else fault(good)

    async def main(_) -> tuple[bytes, bool]:
        async with StrictPlc({1: bytearray(16)}, port=102) as plc:
            plc.fault = fault
            stream = bytearray()
            lost = asyncio.get_running_loop().create_future()

            class Peer(asyncio.Protocol):
                def connection_made(self, transport):
                    self.transport = transport
                    transport.write(CONNECT + setup(480))

                def data_received(self, data):
                    stream.extend(data)
                    if len(stream) == 22 + 27:
                        self.transport.write(read(item(0, 1)))

                def connection_lost(self, _):
                    lost.set_result(None)

            await asyncio.get_running_loop().create_connection(Peer, plc.host, plc.port)
            await asyncio.wait([lost], timeout=5)
            return bytes(stream[22 + 27 :]), lost.done()

    assert run_virtual(main) == (b"".join(pieces), parts.CLOSE in pieces)


def test_a_power_cycle_frees_and_takes_the_port_again():
    """Clients lose their connection at once; the same port serves again after power is back."""

    async def main() -> None:
        plc = StrictPlc({1: bytearray(16)})
        async with plc, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", plc.port)
            writer.write(CONNECT)
            await reader.readexactly(22)
            plc.close()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", plc.port)
            await plc.power_on()
            assert len(await ask(plc, setup(480))) == 1

    asyncio.run(main())


def test_a_full_connection_table_resets_the_next_client():
    """One more client than there are connections gets none; a free one serves again."""

    async def main() -> list[bytes]:
        async with StrictPlc({1: bytearray(16)}, max_clients=1) as plc, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", plc.port)
            writer.write(CONNECT)
            await reader.readexactly(22)
            refused = await ask(plc, setup(480))
            writer.close()
            await writer.wait_closed()
            await eventually(lambda: not plc.connections)
            return refused + await ask(plc, setup(480))

    assert len(asyncio.run(main())) == 1


def test_a_connection_request_longer_than_its_length_can_say_is_refused():
    """Its confirmation repeats the parameters and could not be written; the connection ends with a reason."""

    async def main() -> list[str]:
        async with StrictPlc({}) as plc, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", plc.port)
            request = CONNECT[4:] + b"\xc0" * 239
            writer.write(struct.pack(">BBH", 3, 0, len(request) + 4) + request)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()
            return plc.violations

    assert asyncio.run(main()) == ["a connection request of 257 bytes"]
