"""The connection over s7commplus: what is relied on inside the package, answers that are none, errors in words."""

import asyncio
import contextlib
import ssl
import struct
from importlib.metadata import version
from importlib.util import find_spec

import pytest

from pipeline.clock import run_virtual
from pipeline.errors import ReadError, Refused
from tests.parts.needs import IN_CI

if find_spec("s7commplus") is None and not IN_CI:
    pytest.skip("no s7commplus; to have it: pip install '.[s7plus]'", allow_module_level=True)

from s7commplus import AsyncClient
from s7commplus.error import S7CertificateError, S7ConnectionError, S7ProtocolError, S7ReturnValueError
from s7commplus.v1_session_key import handshake
from s7commplus.v1_session_key.keys import fingerprints_for_family

from pipeline.s7plus.explain import explain, refused_item
from pipeline.s7plus.link import Door, connect
from pipeline.s7plus.program import has_changed, read_program
from tests.parts.s7plus_plc import SymbolPlc, array
from tests.parts.waiting import eventually

PRIVATE = (
    *("_connected", "_session_ready", "_transport_connected", "_reader", "_writer", "_notification_frames"),
    *("_notification_frame_overflows", "_subscriptions", "_send_request", "_send_subscription_credit"),
    *("_stop_session_key_refresh", "_frame_overhead", "_read_type_info_time"),
)
AREA = 0x8A0E0001


def test_the_package_is_the_one_whose_insides_are_known():
    """Another version may be all right, but that must be looked at: see what `link` says of it."""
    assert version("s7commplus") == "0.3.0"
    assert [name for name in PRIVATE if not hasattr(AsyncClient(), name)] == []


def talk(script):
    """Run `script(link, plc)` on an open connection in virtual time."""

    async def main(loop):
        plc = SymbolPlc({"DB": (1, {"a": "INT", "b": "DINT", "c": "REAL", "d": "LREAL"})})
        plc.put("DB.b", struct.pack(">i", -100_000))
        await loop.create_server(plc.wire, "plc", 102)
        link = await connect(Door(address="plc", port=102, timeout=1))
        await script(link, plc)
        link.drop()

    run_virtual(main)


def test_each_item_has_its_bytes_or_its_code():
    """In the order of the question, whatever the order of the answer."""

    async def script(link, plc):
        plc.refuses[AREA, 9] = 0x8020AB001992FFF0
        asked = link.request([(AREA, (9,)), (AREA, (10,)), (AREA, (99,)), (AREA, (12,))])
        assert await link.read(asked) == [-16, struct.pack(">i", -100_000), -12, bytes(8)]
        plc.limit = 3
        with pytest.raises(Refused, match="code -17"):
            await link.read(asked)
        plc.limit = 4
        assert len(await link.read(asked)) == 4

    talk(script)


def test_half_an_answer_is_never_a_value():
    """Cut at any byte: an error and the end of the connection, or the whole."""

    async def script(link, plc):
        asked = link.request([(AREA, (9,)), (AREA, (10,)), (AREA, (11,)), (AREA, (12,))])
        plc.refuses[AREA, 9] = 0x8020AB001992FFF0
        whole = plc._handle_get_multi_variables(0, 0, asked.payload)[10:]
        expected = await link.read(asked)
        for end in range(len(whole)):

            async def cut(*_, end=end, **__):
                return whole[:end]

            fresh = await connect(Door(address="plc", port=102, timeout=1))
            fresh._send_request = cut
            good = end >= len(whole) - 2  # but for the zeros at the end
            with contextlib.nullcontext() if good else pytest.raises(ReadError, match="invalid answer"):
                assert await fresh.read(asked) == expected
            assert fresh.is_gone is not good
            fresh.drop()

    talk(script)


def test_a_question_without_an_answer_ends_the_connection():
    """After the door's time-out, to the millisecond."""

    async def script(link, plc):
        plc.fault = "silent"
        began = asyncio.get_running_loop().time()
        with pytest.raises(ReadError, match="no complete answer within 1 s"):
            await link.read(link.request([(AREA, (9,))]))
        assert asyncio.get_running_loop().time() - began == pytest.approx(1)
        assert link.is_gone

    talk(script)


def test_a_cancelled_question_ends_the_connection():
    """Its answer would be taken for that of the next one."""

    async def script(link, plc):
        plc.fault = "silent"
        question = asyncio.get_running_loop().create_task(link.read(link.request([(AREA, (9,))])))
        await asyncio.sleep(0.1)
        question.cancel()
        with pytest.raises(asyncio.CancelledError):
            await question
        assert link.is_gone
        with pytest.raises(ReadError, match="connection lost"):
            await link.read(link.request([(AREA, (9,))]))

    talk(script)


@pytest.mark.parametrize("orderly", [True, False])
def test_a_session_with_a_legacy_key_reads_and_leaves_no_task(port, monkeypatch, orderly):
    """CPUs before TLS sign each frame; the task that renews the key ends with the connection."""
    key, negotiate = bytes(range(24)), handshake.authenticate_session_key
    monkeypatch.setattr(handshake, "authenticate_session_key", lambda *given: (negotiate(*given)[0], key))
    fingerprint = fingerprints_for_family(0)[0]
    plc = SymbolPlc(
        {"DB": (1, {"a": "INT", "b": array(0, 400, "LREAL")})},
        public_key_fingerprint=fingerprint,
        session_challenge=bytes(20),
        session_key=key,
        max_response_pdu=600,
    )
    plc.put("DB.a", b"\0\7")
    plc.start("127.0.0.1", port)

    async def blocking(function, *given):
        return function(*given)

    async def main():
        link = await connect(Door(address="127.0.0.1", port=port, timeout=5, password="x"))
        program = await read_program(link, {"DB"}, blocking)
        asked = [part for symbol in program.find(("DB",)) for part in symbol.parts]
        assert await link.read(link.request(asked[:150])) == [b"\0\7", *[bytes(8)] * 149]
        assert not await has_changed(link, program, {"DB"})
        plc.version += 1
        assert await has_changed(link, program, {"DB"})
        assert len(asyncio.all_tasks()) == 2
        if orderly:
            await link.close()
        link.drop()
        await eventually(lambda: len(asyncio.all_tasks()) == 1)

    try:
        asyncio.run(main())
    finally:
        plc.stop()


@pytest.mark.parametrize(
    ("error", "reason", "advice"),
    [
        (S7CertificateError("other"), "certificate refused", "tls.fingerprint"),
        (S7ConnectionError("V2 requires TLS. Use use_tls=True."), "TLS required", "set `tls"),
        (
            S7ConnectionError("Legitimation failed, protection level unchanged"),
            "password refused",
            "correct `password`",
        ),
        (S7ConnectionError("PLC firmware version does not support legitimation"), "login impossible", "remove"),
        (S7ConnectionError("PLC did not provide a usable ServerSessionVersion"), "session refused", "type: s7"),
        (S7ReturnValueError("EXPLORE", 0x8020AB001992FFFE, b""), "refused by the PLC (code -2)", "Access level"),
        (S7ProtocolError("Too many stale responses"), "invalid answer", "stale"),
        (asyncio.IncompleteReadError(b"", 4), "connection lost", "closed by the PLC"),
        (ConnectionResetError(104, "reset"), "connection lost", "closed by the PLC"),
        (ssl.SSLError("decryption failed"), "connection lost", "decryption failed"),
        (struct.error("unpack"), "invalid answer", "unpack"),
        (RecursionError("deep"), "invalid answer", "deep"),
        (refused_item(-12, 4), "access denied", "give a `password`"),
        (refused_item(-12, 3), "refused by the PLC (code -12)", "accessible from HMI"),
    ],
)
def test_errors_are_explained_with_the_setting_to_change(error, reason, advice):
    """Reasons are short and constant, advice names an option or a place in TIA Portal."""
    explained = explain(error)
    assert explained.reason == reason
    assert advice in str(explained)
