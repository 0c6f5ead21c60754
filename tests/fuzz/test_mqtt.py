"""What a broker sends, damaged: a link ends with a reason or lives, and acknowledges only what was sent, once."""

import asyncio
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import run_virtual
from pipeline.errors import LinkError
from pipeline.mqtt.link import Access, Link
from tests.parts.fuzzing import chunks, damaged, fuzzed, worded

GRANTED = bytes.fromhex("2012 0000 0f 210014 22000a 2700010000 130014".replace(" ", ""))
PLAIN = bytes.fromhex("2003000000")
OLD = bytes.fromhex("20020000")
REFUSED = bytes.fromhex("20090087061f00036e6f21")
CONNACKS = [GRANTED, PLAIN, OLD, REFUSED, bytes.fromhex("2002 0005".replace(" ", ""))]
ACKS = [bytes([0x40, 2, 0, n]) for n in (1, 2, 3)]
ANSWERS = [
    *ACKS,
    b"".join(ACKS),
    bytes.fromhex("4003000110"),
    bytes.fromhex("400b00029707 1f000466756c6c".replace(" ", "")),
    bytes.fromhex("e0028e00"),
    bytes.fromhex("e00a 8d08 1f000566756c6c21".replace(" ", "")),
    bytes.fromhex("d000"),
    bytes.fromhex("3005000161780a"),
    bytes.fromhex("9003000101"),
    GRANTED,
]
CUTS = st.lists(st.integers(0, 1 << 16), max_size=6)


@dataclass
class Message:
    """A journal record, as far as a link sees."""

    n: int
    topic: str = "plc/acme/press1"
    body: bytes = b"{}"
    qos: int = 1


def packets(good):
    """Damaged as a whole, or inside of a packet whose length is right."""

    def packed(kind, body):
        return bytes([kind, len(body)]) + body

    kinds = st.sampled_from([0x20, 0x40, 0xE0, 0xD0, 0x30, 0x90, 0x00, 0xFF])
    bodies = damaged([packet[2:] for packet in good]).map(lambda body: body[:127])
    return st.one_of(damaged(good), st.builds(packed, kinds, bodies))


class Speaker(asyncio.Protocol):
    """A broker that says what it is told: at once or when asked, and again at each message."""

    def __init__(self, hello, said, cuts):
        self.hello, self.said, self.cuts = hello, said, cuts

    def connection_made(self, transport):
        """Say hello at once, if nobody has to ask."""
        self.transport = transport
        kind, packet = self.hello
        if kind == "first":
            self.send(packet)

    def data_received(self, data):
        """Answer CONNECT and PUBLISH."""
        kind, packet = self.hello
        if data[0] & 0xF0 == 0x10 and kind != "first":
            self.send(packet)
        elif data[0] & 0xF0 == 0x30:
            self.send(self.said)

    def send(self, data):
        """In pieces."""
        for piece in chunks(data, self.cuts):
            self.transport.write(piece)


async def published(link, acks):
    """Three messages; what came back for them is at most one acknowledgement each."""
    link.publish([Message(1), Message(2), Message(3)], lambda *_: None)
    await asyncio.sleep(1)
    numbers = [message.n for message, _, _ in acks if message is not None]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) <= {1, 2, 3}
    assert all(0 <= code <= 255 and isinstance(said, str) for _, code, said in acks)
    if link.ended.done():
        worded(link.ended.result())
    await link.close(2)


@fuzzed()
@given(
    packets(CONNACKS),
    st.lists(packets(ANSWERS), max_size=4).map(b"".join),
    CUTS,
    st.sampled_from([4, 5]),
    st.sampled_from(["first", "asked", "well"]),
)
def test_a_damaged_broker_is_a_reason_never_an_acknowledgement(hello, said, cuts, protocol, when):
    """Before CONNECT, in its place, and behind it; then PUBACKs, DISCONNECTs and what nobody asked for."""
    if when == "well":
        hello = PLAIN if protocol == 5 else OLD

    async def main(loop):
        errors, acks = [], []
        loop.set_exception_handler(lambda _, context: errors.append(context))
        await loop.create_server(lambda: Speaker((when, hello), said, cuts), "broker", 1883)
        link = Link(Access(host="broker", port=1883, client_id="c", protocol=protocol), acks.extend)
        try:
            await link.open(5)
        except LinkError as error:
            worded(error)
        else:
            await published(link, acks)
        await asyncio.sleep(30)
        assert errors == []
        assert link.ended.done()

    run_virtual(main)
