"""S7 on the wire: byte for byte as python-snap7, strict about what comes back, and never surprised by any bytes."""

import struct
from contextlib import suppress
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snap7.datatypes import S7Area, S7WordLen
from snap7.s7protocol import S7Protocol

from pipeline.errors import ReadError, Refused
from pipeline.s7 import wire


def span(size, start=0, db=1, area=0x84):
    """Bytes to read."""
    return SimpleNamespace(area=area, db=db, start=start, size=size)


def tpkt(cotp):
    """A TPKT frame around a TPDU."""
    return struct.pack(">BBH", 3, 0, len(cotp) + 4) + cotp


def data(pdu, eot=0x80):
    """A frame with S7 data."""
    return tpkt(bytes([2, 0xF0, eot]) + pdu)


def answer(items, *, sequence=7, count=None, kind=3, function=4):
    """A read answer."""
    body = b"".join(items)
    head = struct.pack(">BBHHHHH", 0x32, kind, 0, sequence, 2, len(body), 0)
    return head + bytes([function, len(items) if count is None else count]) + body


def good(content, transport=4, pad=b""):
    """A good item; its length counts bits unless the transport size says otherwise."""
    return struct.pack(">BBH", 0xFF, transport, len(content) * (8 if transport in {4, 5} else 1)) + content + pad


places = st.tuples(st.just(0), st.sampled_from([0x81, 0x82, 0x83])) | st.tuples(st.integers(1, 65535), st.just(0x84))
spans = st.builds(
    lambda size, start, place: span(size, start, *place), st.integers(1, 940), st.integers(0, 65535), places
)


@given(st.lists(spans, min_size=1, max_size=20), st.integers(1, 0xFFFF))
def test_read_requests_are_those_of_python_snap7(wanted, number):
    """The frame is TPKT, COTP and the PDU that python-snap7 builds, when the number is patched where we say."""
    reference = S7Protocol()
    reference.sequence = number - 1
    expected = reference.build_multi_read_request([(s.area, s.db, s.start, s.size) for s in wanted])
    frame = wire.read_request(wanted)
    struct.pack_into(">H", frame, wire.SEQUENCE_AT, int.from_bytes(expected[4:6], "big"))
    assert bytes(frame) == data(expected)


@pytest.mark.parametrize("area", [S7Area.CT, S7Area.TM])
@given(first=st.integers(0, 2047), count=st.integers(1, 40))
def test_counters_and_timers_are_asked_for_by_number(area, first, count):
    """Two bytes each in our plan; on the wire their own transport size, and a number instead of a bit address."""
    expected = S7Protocol().build_read_request(area, 0, first, S7WordLen(int(area)), count)
    frame = wire.read_request([span(2 * count, 2 * first, 0, int(area))])
    struct.pack_into(">H", frame, wire.SEQUENCE_AT, int.from_bytes(expected[4:6], "big"))
    assert bytes(frame) == data(expected)


@pytest.mark.parametrize(
    ("tsaps", "local", "remote"),
    [
        (wire.Tsaps.of(1, 0, 1), "0100", "0101"),
        (wire.Tsaps.of(2, 0, 2), "0100", "0202"),
        (wire.Tsaps.of(3, 1, 3), "0100", "0323"),
        (wire.Tsaps.parse("10.00", "03.01"), "1000", "0301"),
    ],
)
def test_connect_request_names_both_ends_and_asks_for_large_tpdus(tsaps, local, remote):
    """Calling and called TSAP, then TPDU size 2048 so that a PDU of 960 can be granted."""
    assert wire.connect_request(tsaps).hex() == f"0300001611e00000000100c102{local}c202{remote}c0010b"


def test_setup_asks_for_most_and_takes_no_more_than_was_asked():
    """AmQ 8/8 and PDU 960; a larger grant is cut, a smaller one obeyed, one that is useless refused."""
    assert wire.setup_request()[17:].hex() == "f0000008000803c0"
    for jobs, size, expected in [(8, 960, (960, 8)), (1, 240, (240, 1)), (0, 112, (112, 1)), (99, 2000, (960, 8))]:
        pdu = struct.pack(">BBHHHHHBBHHH", 0x32, 3, 0, 1, 8, 0, 0, 0xF0, 0, jobs, jobs, size)
        grant = wire.parse_setup(pdu)
        assert (grant.pdu, grant.jobs) == expected
    with pytest.raises(Refused, match="PDU too small"):
        wire.parse_setup(struct.pack(">BBHHHHHBBHHH", 0x32, 3, 0, 1, 8, 0, 0, 0xF0, 0, 1, 1, 111))
    with pytest.raises(Refused, match="protection level"):
        wire.parse_setup(struct.pack(">BBHHHHH", 0x32, 3, 0, 1, 0, 0, 0xD603))
    with pytest.raises(ReadError, match="invalid answer"):
        wire.parse_setup(answer([good(b"ab")]))


def test_good_and_bad_items_are_told_apart_whatever_follows_a_bad_code():
    """Bad items have four bytes; their transport size and length mean nothing; pad bytes are not looked at."""
    pdu = answer([good(b"abc", pad=b"\x98"), bytes.fromhex("0a000004"), bytes.fromhex("05000000"), good(b"de", 9)])
    assert wire.read_answer(pdu, [span(3), span(9), span(5), span(2)]) == [b"abc", 0x0A, 0x05, b"de"]


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_items_are_those_of_python_snap7(contents, random):
    """Odd lengths are padded, except the last; pad bytes are anything."""
    last = len(contents) - 1
    items = [
        good(content, pad=random.randbytes(len(content) % 2 if index < last else 0))
        for index, content in enumerate(contents)
    ]
    pdu = answer(items)
    reference = S7Protocol()
    assert wire.read_answer(pdu, [span(len(content)) for content in contents]) == contents
    extracted = reference.extract_multi_read_data(reference.parse_response(pdu), len(contents))
    assert [bytes(item) for item in extracted] == contents


@given(st.binary(min_size=1, max_size=942), st.integers(1, 0xFFFF))
def test_the_usual_answer_is_that_of_one_good_item(content, number):
    """Known beforehand but for its number and data; two items, or one that no PDU carries, have none."""
    frame = data(answer([good(content)], sequence=number))
    before, after, length = wire.usual_answer([span(len(content))])
    assert before + number.to_bytes(2, "big") + after + content == frame
    assert length == len(frame)
    assert len(frame) - len(content) == wire.USUAL_DATA_AT
    assert wire.usual_answer([span(1), span(1)]) is wire.usual_answer([span(5000)]) is None


@pytest.mark.parametrize(
    ("pdu", "wanted"),
    [
        (answer([good(b"ab")], function=5), [2]),
        (answer([good(b"ab")], kind=1), [2]),
        (answer([good(b"ab")], count=2), [2]),
        (answer([good(b"ab")], count=1), [2, 2]),
        (answer([good(b"ab")])[:-1], [2]),
        (answer([good(b"ab")]) + b"x", [2]),
        (answer([good(b"abc")]), [2]),
        (answer([good(b"a")]), [2]),
        (answer([good(b"ab", transport=0)]), [2]),
        (answer([good(b"ab"), good(b"cdef")], count=1), [2]),
        (answer([], count=1), [2]),
        (answer([b"\xff\x04"]), [2]),
    ],
)
def test_an_answer_that_contradicts_the_request_is_an_error_of_the_stream(pdu, wanted):
    """Wrong function, kind, item count or length: not a refusal, the connection must go."""
    with pytest.raises(ReadError, match="invalid answer") as caught:
        wire.read_answer(pdu, [span(size) for size in wanted])
    assert not isinstance(caught.value, Refused)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0x8104, "PUT/GET"),
        (0x8500, "report"),
        (0xD602, "protection level"),
        (0x03, "protection"),
        (0x05, "shorter than the layout"),
        (0x0A, "Optimized block access"),
        ("disconnect", "rack, slot or tsap"),
        ("closed", "connection_type"),
    ],
)
def test_refusals_say_what_to_change(code, words):
    """Every known refusal has a short reason and names the setting."""
    error = wire.refused(code)
    assert words in str(error)
    assert error.advice
    assert len(error.reason) < 30


@pytest.mark.parametrize("code", [0x05, 0x0A])
@pytest.mark.parametrize(
    ("area", "word"), [(0x81, "input"), (0x82, "output"), (0x83, "bit memory"), (0x1C, "counter"), (0x1D, "timer")]
)
def test_outside_of_blocks_no_block_is_to_blame(code, area, word):
    """Neither layout nor block access can be at fault where there is no block."""
    error = wire.refused(code, area=area)
    assert error.reason == wire.refused(code).reason
    assert word in error.advice
    assert "correct the address" in error.advice
    assert "block" not in str(error)


def test_a_header_error_is_a_refusal_of_the_whole_request():
    """The short acknowledgement of an S7-1500 whose PUT/GET is off."""
    with pytest.raises(Refused, match="not permitted"):
        wire.read_answer(struct.pack(">BBHHHHH", 0x32, 2, 0, 7, 0, 0, 0x8104), [span(2)])
    with pytest.raises(Refused, match="0x8305"):
        wire.read_answer(struct.pack(">BBHHHHH", 0x32, 3, 0, 7, 0, 0, 0x8305), [span(2)])


@given(st.lists(st.integers(1, 20)), st.booleans())
def test_frames_are_found_however_the_network_cuts_them(cuts, fragmented):
    """Split segments, several frames in one, fragments and empty data frames give the same PDUs."""
    pdus = [answer([good(bytes(range(n)))], sequence=n) for n in (1, 2, 40, 200)]
    frames = b""
    for pdu in pdus:
        frames += bytes.fromhex("0300000702f00003000007 02f080".replace(" ", ""))
        frames += data(pdu[:9], eot=0) + data(pdu[9:]) if fragmented else data(pdu)
    stream = wire.Stream()
    found = []
    for cut in [*cuts, *[1] * 50]:
        found += stream.feed(frames[:cut])
        frames = frames[cut:]
    found += stream.feed(frames)
    assert found == [(wire.DT, pdu) for pdu in pdus]


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400",
        b"\x02",
        bytes.fromhex("03000006"),
        bytes.fromhex("0300ffff"),
        bytes.fromhex("0300000702700000"),
        bytes.fromhex("0300000703f08000"),
        data(b"\x33\x03"),
        data(b"\x32" + bytes(960)),
        data(b"\x32" + bytes(900), eot=0) + data(bytes(900)),
    ],
)
def test_what_is_no_frame_is_an_error_at_once(garbage):
    """TPKT version and length, COTP code, protocol id, and PDUs longer than granted, in one frame or in fragments."""
    with pytest.raises(ReadError, match="invalid answer"):
        wire.Stream().feed(garbage)


@given(st.lists(st.binary(max_size=64), max_size=20), st.binary(max_size=60))
def test_arbitrary_bytes_end_in_pdus_or_in_one_error(segments, pdu):
    """No crash, and never more kept than one frame."""
    stream = wire.Stream()
    with suppress(ReadError):
        for segment in segments:
            stream.feed(b"\x03\x00\x00" + segment if len(segment) % 2 else segment)
            assert len(stream._rest) <= wire.PDU_ASKED + 7
            assert len(stream._fragments) <= wire.PDU_ASKED
    for body in (pdu, answer([pdu])):
        with suppress(ReadError):
            assert wire.sequence(body) >= 0
            wire.read_answer(body, [span(4), span(3)])
        with suppress(ReadError):
            wire.parse_setup(body)
