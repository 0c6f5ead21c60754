"""The MQTT link against a scripted broker, in virtual time: what is granted, refused, lost, and what each end says."""

import asyncio
import gc
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gmqtt
import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.clock import VirtualLoop, run_virtual
from pipeline.errors import LinkError, PartFailed
from pipeline.mqtt.client import check_version
from pipeline.mqtt.codec import MOST, Unfit, encode_publish, good_pubacks, pack_topic
from pipeline.mqtt.link import Access, Answer, Link
from pipeline.mqtt.reasons import explain_disconnect, explain_failure, explain_refusal, judge_puback
from tests.parts.broker import Broker, maximum_packet_size, receive_maximum


@dataclass
class Message:
    """A journal record, as far as a link sees."""

    n: int
    topic: str = "plc/acme/press1"
    body: bytes = b"{}"
    qos: int = 1


def with_broker(script: Callable[[Broker, Callable[..., Link]], Coroutine[Any, Any, None]], **broker: Any) -> None:
    """Run a script with a broker on `broker:8883` and a maker of links to it; `link.acks` gathers acknowledgements."""

    async def main(loop: VirtualLoop) -> None:
        scripted = Broker(**broker)
        await scripted.listen(loop)

        def make(writable: Callable[[], None] = lambda: None, denied: Any = None, **access: Any) -> Link:
            acks: list[tuple[int | None, int, str]] = []

            def answered(answers: list[Answer]) -> None:
                acks.extend((message and message.n, code, said) for message, code, said in answers)

            options = {"host": "broker", "port": 8883, "client_id": "c1"} | access
            link = Link(Access(**options), answered, writable, denied)
            link.acks = acks
            return link

        await script(scripted, make)

    run_virtual(main)


def never(n: int, reason: str) -> None:
    """Stand for messages that must all fit."""
    raise AssertionError((n, reason))


@pytest.mark.parametrize("protocol", [5, 4])
def test_messages_arrive_in_order_in_one_write_and_are_acknowledged(protocol):
    """QoS 1 and 0 of one call share a write; each is acknowledged by its own name."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        link = make(protocol=protocol, username="u", password="pässword", will=("plc/a/g/status", b"gone"))
        await link.open(5)
        writes: list[bytes] = []
        transport = link._client.transport
        write, transport.write = transport.write, lambda data: (writes.append(data), write(data))
        bodies = [b"x" * size for size in (0, 1, 100, 127, 128, 16_383, 16_384, 70_000)]
        messages = [Message(100 + n, body=body, qos=n % 2) for n, body in enumerate(bodies)]
        assert link.publish(messages, never) == len(messages)
        await asyncio.sleep(1)
        assert [m.body for m in broker.published] == bodies
        assert [m.qos for m in broker.published] == [0, 1] * 4
        assert len(writes) == 1
        assert sorted(link.acks) == [(100 + n, 0, "") for n in range(8)]
        assert link.unacknowledged == 0
        (connected,) = broker.connected
        assert (connected.client_id, connected.protocol, connected.keep_alive) == ("c1", protocol, 15)
        assert (connected.username, connected.password) == ("u", "pässword")
        assert connected.will == ("plc/a/g/status", b"gone", True)
        await link.close(2)
        await asyncio.sleep(1)
        assert not broker.wills

    with_broker(script)


def test_what_the_broker_grants_is_known_and_heeded():
    """Receive Maximum and Maximum Packet Size are read; a message too large is refused here, its neighbours leave."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        link = make()
        await link.open(5)
        assert (link.window, link.largest) == (20, 60)
        refused: list[tuple[int, str]] = []
        messages = [Message(1), Message(2, body=b"x" * 60), Message(3, topic="plc/#"), Message(4)]
        assert link.publish(messages, lambda *args: refused.append(args)) == 4
        assert refused == []
        await asyncio.sleep(1)
        assert refused == [(2, "packet too large"), (3, "topic refused")]
        assert [n for n, _, _ in link.acks] == [1, 4]

    with_broker(script, properties=receive_maximum(20) + maximum_packet_size(60))


def test_reason_codes_and_the_brokers_words_reach_the_caller():
    """PUBACK 0x00, 0x10 and refusals are told apart; the reason string comes along."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        link = make()
        await link.open(5)
        link.publish([Message(0), Message(16), Message(135)], never)
        link.publish([Message(7)], never)
        await asyncio.sleep(0.1)
        broker.session.transport.write(b"\x40\x0b\0\x04\x97\x07\x1f\0\x04full\0\0"[:-2])
        await asyncio.sleep(0.1)
        assert link.acks == [(0, 0, ""), (16, 16, ""), (135, 135, ""), (7, 0x97, "full")]

    codes = iter([0, 0x10, 0x87, None])
    with_broker(script, puback=lambda _: next(codes))


def test_a_denied_topic_is_not_sent_until_its_time_is_over():
    """Its messages are unfit meanwhile; others of the same call leave."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        refused: list[tuple[int, str]] = []
        link = make(denied={"plc/db1": 10.0})
        await link.open(5)
        for n in range(2):
            link.publish([Message(n, "plc/db1"), Message(n + 10)], lambda *args: refused.append(args))
            await asyncio.sleep(11)
        assert refused == [(0, "not authorised")]
        assert [message.topic for message in broker.published] == ["plc/acme/press1", "plc/db1", "plc/acme/press1"]

    with_broker(script)


def test_split_packets_are_joined():
    """A CONNACK and PUBACKs that arrive byte by byte count once each."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        link = make()
        opening = asyncio.ensure_future(link.open(5))
        await asyncio.sleep(1)
        for byte in b"\x20\x06\0\0\x03\x21\0\x05":
            broker.session.transport.write(bytes((byte,)))
        await opening
        assert link.window == 5
        link.publish([Message(1), Message(2)], never)
        await asyncio.sleep(1)
        for byte in b"\xd0\x00\x40\x02\0\x01\x40\x03\0\x02\x10":
            broker.session.transport.write(bytes((byte,)))
        await asyncio.sleep(1)
        assert link.acks == [(1, 0, ""), (2, 0x10, "")]

    with_broker(script, connack=None, puback=lambda _: None)


@given(some.lists(some.integers(1, MOST), min_size=1), some.integers(0, 3))
def test_good_pubacks_are_read_at_once_when_nothing_else_is_among_them(mids, rest):
    """Each four bytes; a piece of a packet, another packet or a reason code sends them the longer way."""
    data = b"".join(b"\x40\2" + mid.to_bytes(2, "big") for mid in mids)
    assert list(good_pubacks(data)) == mids
    assert good_pubacks(data + b"\x40\2\0\1"[:rest]) == (tuple(mids) if not rest else ())
    assert good_pubacks(data + b"\xd0\0\xd0\0") == good_pubacks(b"\x40\3\0\1\x10\xd0\0" + data[:1]) == ()


def test_packet_identifiers_wrap_and_pass_over_those_in_use():
    """More messages than identifiers; one never answered keeps its own."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        link = make()
        await link.open(5)
        for start in range(0, MOST + 100, 500):
            link.publish([Message(n) for n in range(start, start + 500)], never)
            await asyncio.sleep(0.1)
        first, *rest = broker.published
        assert first.mid not in {message.mid for message in rest}
        assert sorted(n for n, _, _ in link.acks) == list(range(1, len(broker.published)))

    with_broker(script, puback=lambda m: 0 if m.mid > 1 else None)


@pytest.mark.parametrize(("granted", "qos"), [(1, 0), (2, 1)])
def test_announcements_are_retained_and_leave_a_window_of_one_alone(granted, qos):
    """With one place in the window an announcement takes none."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        link = make()
        await link.open(5)
        link.announce("plc/a/g/status", b"online")
        await asyncio.sleep(1)
        (message,) = broker.published
        assert (message.retain, message.qos, message.body) == (True, qos, b"online")
        assert link.acks == [(None, 0, "")] * qos

    with_broker(script, properties=receive_maximum(granted))


@pytest.mark.parametrize(
    ("code", "protocol", "reason", "advice"),
    [
        (0x86, 5, "login", "username and password"),
        (0x87, 5, "login", "access list"),
        (0x85, 5, "login", "client_id"),
        (0x84, 5, "protocol", "3.1.1"),
        (0x01, 5, "protocol", "3.1.1"),
        (0x89, 5, "busy", ""),
        (0x9A, 5, "status topic", "status_topic"),
        (0xEE, 5, "refused", ""),
        (4, 4, "login", "username and password"),
        (5, 4, "login", "access list"),
    ],
)
def test_a_refused_connection_says_why(code, protocol, reason, advice):
    """Each CONNACK code becomes a reason and what to do."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        with pytest.raises(LinkError) as caught:
            await make(protocol=protocol).open(5)
        assert caught.value.reason == reason
        assert advice in caught.value.advice
        assert len(broker.connected) == 1

    with_broker(script, connack=code)


def test_other_ways_not_to_connect_say_why():
    """Refused, no answer from the host, no CONNACK, something that is not MQTT, closed without a word."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        loop = asyncio.get_running_loop()
        loop.mute.add(("void", 8883))

        async def failure(link: Link) -> str:
            with pytest.raises(LinkError) as caught:
                await link.open(5)
            return caught.value.reason

        assert await failure(make(port=1)) == "refused"
        assert await failure(make(host="void")) == "timeout"
        start = loop.time()
        assert await failure(make()) == "timeout"
        assert loop.time() - start == 5
        speaking = asyncio.ensure_future(failure(make()))
        await asyncio.sleep(1)
        broker.session.transport.write(
            b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3 and more of it follows here, long enough"
        )
        assert await speaking == "protocol"
        closing = asyncio.ensure_future(failure(make()))
        await asyncio.sleep(1)
        broker.session.transport.close()
        assert await closing == "lost"
        assert not [pair for pair in loop.connections if not pair[0].is_closing()]

    with_broker(script, connack=None)


@pytest.mark.parametrize(
    ("code", "reason"), [(0x8E, "taken over"), (0x8B, "lost"), (0x95, "poison"), (0x93, "protocol"), (0xEE, "lost")]
)
def test_a_disconnect_from_the_broker_says_why(code, reason):
    """The broker's last word is the reason, not the closed socket that follows."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        link = make()
        await link.open(5)
        broker.disconnect(code)
        assert (await link.ended).reason == reason

    with_broker(script)


def test_a_cut_ends_the_link_and_what_is_given_then_is_not_taken():
    """After a reset nothing is taken, so that nothing is believed to be sent."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        link = make(will=("w", b"gone"))
        await link.open(5)
        broker.cut()
        assert (await link.ended).reason == "lost"
        assert link.publish([Message(1)], never) == 0
        link.announce("status", b"x")
        await link.close(2)
        assert broker.published == []
        assert broker.wills == [("w", b"gone", True)]

    with_broker(script)


def test_an_idle_link_is_kept_alive_and_a_mute_one_is_ended():
    """Pings every half keep-alive; silence for one and a half times it ends the link."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        loop = asyncio.get_running_loop()
        link = make(keep_alive=10)
        await link.open(5)

        async def watch() -> None:
            while not link.ended.done():
                link.watch()
                await asyncio.sleep(2.5)

        watching = asyncio.ensure_future(watch())
        await asyncio.sleep(100)
        assert not link.ended.done()
        assert 15 <= broker.pings <= 21
        broker.mute, start = True, loop.time()
        assert (await link.ended).reason == "timeout"
        assert 10 < loop.time() - start <= 20
        await watching

    with_broker(script)


def test_a_server_keep_alive_counts():
    """The broker's own keep-alive time replaces a longer one."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        link = make(keep_alive=60)
        await link.open(5)
        assert link.keep_alive == 7

    with_broker(script, properties=b"\x13\0\x07")


def test_a_full_socket_takes_no_more_until_it_drains():
    """Bytes that wait in the socket are bounded; when they have gone, the caller is told."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        woken: list[bool] = []
        link = make(lambda: woken.append(True))
        await link.open(5)
        protocol, transport = link._client.transport.get_protocol(), link._client.transport
        protocol.pause_writing()
        transport.get_write_buffer_size = lambda: 200_000
        messages = [Message(n, body=b"x" * 30_000) for n in range(10)]
        assert link.publish(messages, never) == 3
        assert not woken
        protocol.resume_writing()
        assert woken == [True]

    with_broker(script)


@pytest.mark.parametrize("topic", ["", "plc/+/x", "plc/#", "plc/\0", "x" * 65_536])
def test_topics_that_brokers_punish_are_refused(topic):
    """Wildcards, NUL, empty and endless names never reach a socket."""
    with pytest.raises(Unfit):
        pack_topic(topic)


@given(
    some.text(some.characters(exclude_characters="+#\0", codec="utf-8"), min_size=1, max_size=40),
    some.binary(max_size=20_000),
    some.integers(0, MOST),
    some.booleans(),
    some.booleans(),
)
def test_publish_packets_are_those_of_gmqtt(topic, body, mid, v5, retain):
    """Our encoder and gmqtt's general one agree byte by byte."""

    class Protocol:
        proto_ver = 5 if v5 else 4

        class id_generator:  # noqa: N801 - gmqtt's name
            @staticmethod
            def next_id() -> int:
                return mid

    message = gmqtt.Message(topic, body, qos=1 if mid else 0, retain=retain)
    _, expected = gmqtt.mqtt.package.PublishPacket.build_package(message, Protocol)
    assert encode_publish(pack_topic(topic), body, mid, v5=v5, retain=retain) == bytes(expected)


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        (b"\x21\0", r"b' \\x05.*' is not MQTT; is `port` right\? \(properties end inside of one"),
        (b"\x12\0\x01\xff", "is not MQTT"),
        (b"\x21\0\0", "grants a Receive Maximum of 0, which MQTT forbids"),
        (b"\x27\0\0\0\0", "grants a Maximum Packet Size of 0, which MQTT forbids"),
        (b"\x21\0\5\x99\1", r"a property that MQTT does not know \(00 00 05 21 00 05 99 01\)"),
    ],
    ids=["cut", "letters", "window", "size", "unknown"],
)
def test_a_greeting_that_contradicts_itself_or_mqtt_is_no_connection(properties, words):
    """What is wrong is named, and nothing of it is taken for good."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        link = make()
        with pytest.raises(LinkError, match=words) as caught:
            await link.open(5)
        assert caught.value.reason == "protocol"
        assert errors == []

    with_broker(script, properties=properties)


def test_a_reason_in_broken_letters_is_shown_and_ends_nothing():
    """A PUBACK whose words are not UTF-8: its code counts, the next message is acknowledged."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        link = make()
        await link.open(5)
        link.publish([Message(1), Message(2)], never)
        await asyncio.sleep(1)
        broker.session.transport.write(b"\x40\x0a\0\x01\x97\x06\x1f\0\x03\xffno" + b"\x40\2\0\2")
        await asyncio.sleep(1)
        assert link.acks == [(1, 0x97, "\ufffdno"), (2, 0, "")]
        assert not link.ended.done()

    with_broker(script, puback=lambda _: None)


def test_a_packet_without_end_is_not_waited_for():
    """Its length promises 256 MiB: nothing of it is gathered, and nothing behind it believed."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        link = make()
        await link.open(5)
        link.publish([Message(1)], never)
        await asyncio.sleep(1)
        protocol = link._client.transport.get_protocol()
        broker.session.transport.write(b"\x30\xff\xff\xff\x7f")
        assert "a packet of 256 MiB comes, and none of more than 16 MiB is taken" in str(await link.ended)
        protocol.data_received(b"\x40\2\0\1")
        protocol.data_received(bytes(1 << 20))
        assert len(protocol._rest) < 16
        assert link.acks == []

    with_broker(script, puback=lambda _: None)


def test_an_answer_before_the_question_is_no_connection():
    """A CONNACK that comes with the end of TLS's handshake, before anything was asked."""

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        link = make()
        with pytest.raises(ValueError, match="nothing to say before CONNECT"):
            link._client.receive(0x20, b"\0\0")
        link.abort(LinkError("lost"))

    with_broker(script)


def test_another_gmqtt_is_refused(monkeypatch):
    """The private names belong to one version."""
    check_version()
    monkeypatch.setattr(gmqtt, "__version__", "0.9.0")
    with pytest.raises(PartFailed, match=r"pip install gmqtt==0\.8\.0"):
        check_version()


def test_every_code_has_words():
    """No code, known or not, is without an explanation; unknown refusals count as transient."""
    for code in range(256):
        assert str(explain_refusal(code, "because"))
        assert "(because)" in str(explain_disconnect(code, "because"))
        assert judge_puback(code).reason
    assert not judge_puback(0xEE).permanent
    assert judge_puback(0x99).permanent


def test_a_silent_end_of_tls_or_plain_points_at_the_other(tmp_path: Path):
    """Resets before CONNACK come from a TLS port spoken to in plain, and the other way round."""
    assert "enabled: true" in explain_failure(ConnectionResetError(), "h", 1883, tls=False).advice
    assert "cert_file" in explain_failure(None, "h", 8883, tls=True).advice
    error = ssl.SSLError(1, "x")
    error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert "tls.cert_file" in explain_failure(error, "h", 8883, tls=True).advice
    assert explain_failure(OSError(113, "No route to host"), "h", 1, tls=True).reason == "unreachable"


@pytest.mark.parametrize("before", [True, False])
def test_a_reset_leaves_no_exception_that_nobody_asked_for(before):
    """Else asyncio complains on standard error when the connection's remains are collected."""
    complaints: list[dict[str, Any]] = []

    async def script(broker: Broker, make: Callable[..., Link]) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        link = make()
        if before:
            broker.connack = None
            attempt = asyncio.ensure_future(link.open(5))
            await asyncio.sleep(1)
        else:
            await link.open(5)
        protocol = link._client.transport.get_protocol()
        protocol.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
        if before:
            with pytest.raises(LinkError, match="closed the connection before it answered"):
                await attempt
        # As the end of a process may: the future goes while its protocol is still there.
        protocol._closed = asyncio.get_running_loop().create_future()
        gc.collect()

    with_broker(script)
    assert complaints == []
