"""Write requests: their bytes, where they are cut, and what their answers mean."""

import pytest
from snap7.server import Server
from snap7.type import SrvArea

from pipeline.errors import ReadError, Refused
from pipeline.frame import Extent
from pipeline.s7.write import largest_write, refused_write, writes


def extent(start, size, solid=()):
    """Bytes of DB101."""
    return Extent(device="plc:102", db=101, start=start, size=size, solid=solid)


def test_a_request_is_what_the_protocol_wants():
    """Header, item (BYTE, count, DB, area, bit address), data counted in bits; the sequence number is patched later."""
    (write,) = writes(extent(3, 2), b"\xab\xcd", 240)
    header, item, data = "32010000{}000e0006", "0501120a1002000200658400001" + "8", "00040010abcd"
    frame = write.frame.hex()
    assert frame[:14] == "03000025" + "02f080"
    assert frame[14:22] == header[:8]
    assert frame[26:] == header[10:] + item + data


@pytest.mark.parametrize("pdu", [112, 240, 480, 960])
def test_a_request_fills_the_pdu_and_never_more(pdu):
    """The S7 PDU behind the 7 bytes of TPKT and COTP."""
    frames = [write.frame for write in writes(extent(0, 2000), bytes(2000), pdu)]
    assert len(frames[0]) - 7 == pdu
    assert max(len(frame) for frame in frames) - 7 <= pdu
    assert largest_write(pdu) == pdu - 28


def test_nothing_solid_is_cut():
    """A REAL that would cross the limit goes into the next piece as a whole."""
    parts = writes(extent(0, 100, ((0, 2), *((index, 4) for index in range(82, 98, 4)))), bytes(100), 112)
    assert [(part.at, len(part.data)) for part in parts] == [(0, 82), (82, 18)]


def answer(*, kind=3, parameters=b"\x05\x01", data=b"\xff", error=0):
    """An answer's PDU."""
    lengths = len(parameters).to_bytes(2, "big") + len(data).to_bytes(2, "big")
    return bytes([0x32, kind, 0, 0, 0, 7]) + lengths + error.to_bytes(2, "big") + parameters + data


def test_answers_are_good_refused_or_nonsense():
    """0xFF is good, other codes are handed on, a header error refuses, all else ends the connection."""
    (write,) = writes(extent(0, 1), b"x", 240)
    assert write.answer(answer()) == [b""]
    assert write.answer(answer(data=b"\x05")) == [5]
    with pytest.raises(Refused, match="PUT/GET"):
        write.answer(answer(kind=2, parameters=b"", data=b"", error=0x8104))
    for wrong in (answer(parameters=b"\x04\x01"), answer(data=b"\xff\xff"), answer(kind=1), answer(data=b"")):
        with pytest.raises(ReadError, match="invalid answer") as caught:
            write.answer(wrong)
        assert not isinstance(caught.value, Refused)


@pytest.mark.parametrize("code", [0x03, 0x05, 0x0A, 0x8104, 0x8404, 0xD241, 0xD602])
def test_refusals_speak_of_the_target(code):
    """Each names what to change there."""
    assert "target" in refused_write(code).advice


def test_other_refusals_are_explained_as_those_of_reads_are():
    """A hardware error is the same for both."""
    assert refused_write(0x01).reason == "hardware error"


def test_another_implementation_understands_a_request():
    """python-snap7's server writes it."""
    server = Server(log=False)
    memory = bytearray(10)
    server.register_area(SrvArea.DB, 101, memory)
    (write,) = writes(extent(3, 4), b"abcd", 240)
    reply = server._process_request(bytes(write.frame[7:]), ("127.0.0.1", 0))
    assert bytes(memory) == b"\0\0\0abcd\0\0\0"
    assert write.answer(bytes(reply)) == [b""]
