"""The native PLC as a part: the fixtures must be as dependable as what they test."""

import pytest
from snap7.client import Client

from tests.parts.waiting import wait_until


def read(port, db=1, start=0, size=14):
    """One read by python-snap7's client on a fresh connection."""
    client = Client()
    client.connect("127.0.0.1", 0, 2, port)
    try:
        return bytes(client.db_read(db, start, size))
    finally:
        client.disconnect()


@pytest.mark.timeout(300)
def test_native_plc_lives_through_power_cycles_and_pokes(native_plc):
    """Blocks as given, a counter that moves, memory that can be written, the same port after power is back."""
    plc = native_plc({1: bytes(range(14)), 2: bytes(4)}, counter=(2, 0), tick=0.005, events=True)
    assert read(plc.port) == bytes(range(14))
    plc.poke(1, 3, b"\xaa\xbb")
    assert read(plc.port)[2:6] == b"\x02\xaa\xbb\x05"
    wait_until(lambda: read(plc.port, 2, 0, 2) > b"\x00\x05", "the counter moves")
    wait_until(lambda: plc.reads >= 3, "reads are counted")
    plc.cpu("stop")
    plc.restart()
    assert read(plc.port) == bytes(range(14))


@pytest.mark.timeout(300)
def test_native_plc_freezes_and_thaws(native_plc):
    """While frozen nothing answers; afterwards the same connection goes on."""
    plc = native_plc({1: bytes(14)})
    client = Client()
    client.connect("127.0.0.1", 0, 2, plc.port)
    client.connection.timeout = 0.2
    client.connection.socket.settimeout(0.2)
    plc.freeze()
    try:
        with pytest.raises(Exception, match=r"(?i)time"):
            client.db_read(1, 0, 14)
    finally:
        plc.thaw()
        client.disconnect()
    assert read(plc.port) == bytes(14)


def test_strict_plc_serves_from_its_own_thread(strict_plc):
    """A test without a loop can use the strict PLC, and change its memory in place."""
    block = bytearray(14)
    plc = strict_plc({1: block}, pdu=112)
    block[5] = 7
    assert read(plc.port)[5] == 7
    assert plc.reads == 1
