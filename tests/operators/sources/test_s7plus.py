"""Symbols of an S7-1200/1500: frames, bad times, downloads, subscriptions, login, and every mistake of the options."""

import asyncio
import datetime as dt
import hashlib
import ipaddress
import struct
from importlib.util import find_spec
from pathlib import Path

import pytest

from operators.sources.s7plus import S7Plus, S7PlusPlc, S7PlusTls, s7plus
from pipeline.clock import run_virtual
from pipeline.config import load
from pipeline.errors import ConfigurationError
from pipeline.frame import Kind
from pipeline.operator import Flow, Scope
from pipeline.retry import Retry
from pipeline.s7plus.wanted import SymbolBlockOptions, SymbolOptions
from pipeline.units import Duration, Secret
from tests.parts.engine import PLANT
from tests.parts.needs import IN_CI
from tests.parts.stage import Line
from tests.parts.waiting import eventually

if find_spec("s7commplus") is None and not IN_CI:
    pytest.skip("no s7commplus; to have it: pip install '.[s7plus]'", allow_module_level=True)

from s7commplus.protocol import ProtocolVersion

from tests.parts.s7plus_plc import DTL, SymbolPlc, array, text

SCOPE = Scope(graph="test", node="press")
PRESS = {
    "temperatura": "REAL",
    "boas": "BOOL",
    "contador": "INT",
    "sensores": array(1, 2, {"valor": "REAL", "ok": "BOOL"}),
}
PROGRAM = {"DB_Press": (7, PRESS), "Outro DB": (8, {"ação": "DINT"})}
VALUES = {
    "temperatura": 1.5,
    "boas": True,
    "contador": 5014,
    "sensores_1_valor": 0.0,
    "sensores_1_ok": False,
    "sensores_2_valor": 2.5,
    "sensores_2_ok": False,
}


def options(every="1s", **others):
    """A single PLC with the press's block, unless told."""
    others.setdefault("blocks", [] if "tags" in others else [SymbolBlockOptions(symbol="DB_Press", db=7)])
    if "plcs" not in others:
        others = {"address": "plc", "plc_id": "press1", "tenant_id": "acme", **others}
    return S7Plus(every=Duration.parse(every), **others)


def make_plc(**others):
    """A CPU with some values."""
    plc = SymbolPlc(PROGRAM, **others)
    fill(plc)
    return plc


def fill(plc):
    """The values of `VALUES`."""
    plc.put("DB_Press.temperatura", struct.pack(">f", 1.5))
    plc.put("DB_Press.boas", b"\1")
    plc.put("DB_Press.contador", struct.pack(">h", 5014))
    plc.put("DB_Press.sensores[2].valor", struct.pack(">f", 2.5))


def play(script, chosen=None, plc=None):
    """Run `script(line, plc)` in virtual time; then the source is disposed and leaves nothing."""

    async def main(loop):
        device = plc or make_plc()
        await loop.create_server(device.wire, "plc", 102)
        line = Line(loop, s7plus, chosen or options())
        await script(line, device)
        line.subscription.dispose()
        await asyncio.sleep(10)
        assert device.sessions == []
        assert loop.connections == []
        assert {task.get_name() for task in asyncio.all_tasks()} == {asyncio.current_task().get_name()}
        line.taken()
        await asyncio.sleep(60)
        assert (line.taken(), line.errors) == ([], [])

    run_virtual(main)


def reasons(frames):
    """What failure frames say; data frames are None."""
    return [frame.error for frame in frames]


def test_a_block_becomes_a_frame_at_every_tick():
    """All its values by flat names; origin, time, metrics and state tell the same; one session, one small request."""

    async def script(line, plc):
        plc.delay = 0.004
        await asyncio.sleep(9.5)
        frames = line.taken()
        assert line.times[1:] == [round(n + 0.004, 6) for n in range(1, 10)]
        assert {frame.kind for frame in frames} == {Kind.DATA}
        assert (frames[-1].values, frames[-1].bad, frames[-1].error) == (VALUES, None, None)
        origin = frames[-1].origin
        assert all(each.origin is origin for each in frames)
        assert (origin.measurement, origin.ip, origin.db) == ("s7_DB_Press", "plc", 7)
        assert (origin.tenant_id, origin.plc_id) == ("acme", "press1")
        assert frames[-1].ts == pytest.approx(1_731_800_009.004)
        labels = {"tenant": "acme", "db": "7"}
        assert line.value("plc_read_ok_total", **labels) == len(frames) == 10
        assert line.value("plc_read_latency_ms", **labels) == pytest.approx(4)
        assert line.value("plc_expected_interval_seconds", **labels) == pytest.approx(1)
        assert line.state == "running"
        assert line.part.details()["access_level"] == 1
        assert (len(plc.sessions), set(plc.reads)) == (1, {1, 7})

    play(script)


TYPES = [
    ("BOOL", b"\1", True),
    ("BYTE", b"\xff", 255),
    ("LWORD", b"\xff" * 8, 2**64 - 1),
    ("SINT", b"\x80", -128),
    ("UDINT", b"\xff" * 4, 2**32 - 1),
    ("DINT", struct.pack(">i", -(2**31)), -(2**31)),
    ("LINT", struct.pack(">q", -(2**63)), -(2**63)),
    ("ULINT", b"\xff" * 8, 2**64 - 1),
    ("LREAL", struct.pack(">d", 1e300), 1e300),
    ("CHAR", b"\xe7", "ç"),
    ("WCHAR", "ã".encode("utf-16-be"), "ã"),
    (text("STRING", 20), b"\x14\x04a\xe7\xe3o", "ação"),
    (text("STRING", 254), b"\xfe\xfe" + b"x" * 254, "x" * 254),
    (text("WSTRING", 8), struct.pack(">HH", 8, 3) + "≥5°".encode("utf-16-be"), "≥5°"),
    ("TIME", struct.pack(">i", -1500), -1500),
    ("LTIME", struct.pack(">q", -1), -1),
    ("S5TIME", b"\x21\x27", 127_000),
    ("DATE", struct.pack(">H", 12_477), "2024-02-29"),
    ("TIMEOFDAY", struct.pack(">I", 86_399_999), 86_399_999),
    ("LTOD", struct.pack(">Q", 86_399_999_999_999), 86_399_999_999_999),
    ("DATEANDTIME", bytes.fromhex("2402292359591235"), "2024-02-29T23:59:59.123-03:00"),
    ("LDT", struct.pack(">q", 951_868_799_123_456_789), "2000-02-29T23:59:59.123456789-03:00"),
    (array(-1, 2, "WORD", ((5, 2),)), None, {"x_m1_5": 1, "x_m1_6": 2, "x_0_5": 3, "x_0_6": 4}),
]


@pytest.mark.parametrize(("declared", "raw", "expected"), TYPES, ids=[str(row[0]) for row in TYPES])
def test_every_type_becomes_what_s7_makes_of_it(declared, raw, expected):
    """The bytes of the CPU's memory, their texts, dates with the zone, arrays by the program's own indices."""
    plc = SymbolPlc({"DB": (1, {"x": declared})})
    for n, symbol in enumerate([name for name in plc.addresses if name.startswith("DB.x")], 1):
        plc.put(symbol, struct.pack(">H", n) if raw is None else raw)

    async def script(line, _):
        await asyncio.sleep(0.5)
        (frame,) = line.taken()
        assert frame.values == (expected if isinstance(expected, dict) else {"x": expected})
        assert frame.bad is None

    chosen = options(blocks=[SymbolBlockOptions(symbol="DB")], timezone="America/Sao_Paulo")
    play(script, chosen, plc)


def test_a_dtl_is_one_value_and_is_never_torn():
    """Its eight members are asked in one request, also where the one before is nearly full."""
    members = {f"n{index}": "INT" for index in range(45)} | {"feito": DTL, "vazio": DTL, "datas": array(0, 2, DTL)}
    plc = SymbolPlc({"DB": (1, members)})
    for path in ("DB.feito", "DB.datas[1]"):
        for member, raw in zip(DTL, ("07e8", "02", "1d", "05", "17", "3b", "3b", "075bca00"), strict=True):
            plc.put(f"{path}.{member}", bytes.fromhex(raw))

    async def script(line, plc):
        await asyncio.sleep(0.5)
        (frame,) = line.taken()
        assert frame.values["feito"] == frame.values["datas_1"] == "2024-02-29T23:59:59.123456000"
        assert frame.bad == {"vazio": "never set", "datas_0": "never set"}
        assert plc.reads == [1, 45, 32]

    play(script, options(blocks=[SymbolBlockOptions(symbol="DB")]), plc)


def test_single_symbols_join_one_frame_with_their_treatment():
    """Scaled, as texts, of records and arrays, PLC tags; a mistake of one is its own."""
    plc = make_plc()
    plc.tags = {"Botao 1": "BOOL"}
    plc.download(PROGRAM)
    fill(plc)
    tags = {
        "t": SymbolOptions(symbol="DB_Press.temperatura", scale=2, offset=1, unit="A"),
        "estado": SymbolOptions(symbol="DB_Press.boas", enum={0: "parado", 1: "rodando"}),
        "total": SymbolOptions(symbol="DB_Press.contador", as_="string"),
        "sensor": "DB_Press.sensores[2]",
        "botao": '"Botao 1"',
        "cedilha": '"Outro DB".ação',
        "torto": SymbolOptions(symbol="DB_Press.temperatura", as_="string"),
    }

    async def script(line, _):
        await asyncio.sleep(0.5)
        (frame,) = line.taken()
        treated = {"t": 4.0, "estado": "rodando", "total": "5014", "botao": False, "cedilha": 0}
        assert frame.values == treated | {"sensor_valor": 2.5, "sensor_ok": False}
        assert frame.bad == {"torto": "only whole numbers can be given as text, not REAL"}
        assert (frame.origin.measurement, frame.origin.db, frame.origin.units) == ("s7_tags", None, {"t": "A"})

    play(script, options(tags=tags), plc)


def test_a_bad_symbol_is_named_and_left_out_and_tried_again_more_slowly():
    """The others keep flowing in every cycle; trials after 10, 20, 40 s; one that comes to life is back."""
    plc = make_plc()
    where = plc.addresses["DB_Press.contador"]
    plc.refuses[where] = 0x8020AB001992FFFB
    tags = {"t": "DB_Press.temperatura", "n": "DB_Press.contador", "sumiu": "DB_Press.temperature"}

    async def script(line, plc):
        await asyncio.sleep(1.5)
        frames = line.taken()
        assert [frame.values for frame in frames] == [{"t": 1.5}] * 2
        bad = {"n": "refused by the PLC (code -5)", "sumiu": "no such symbol"}
        assert [frame.bad for frame in frames] == [bad] * 2
        assert line.state == "degraded"
        assert (
            "n (DB_Press.contador): refused by the PLC" in line.part.actor.reason or "sumiu" in line.part.actor.reason
        )
        assert line.part.details()["bad"] == bad
        await asyncio.sleep(70)
        assert [count for count in plc.reads if count > 1] == [2, 2, 2, 2]
        line.taken()
        plc.refuses.clear()
        await asyncio.sleep(90)
        assert line.taken()[-1].values == {"t": 1.5, "n": 5014}
        assert line.value("plc_bad_tags", tenant="acme", db="") == 1

    play(script, options(tags=tags), plc)


def test_a_block_without_any_value_fails_by_itself():
    """One failure frame, while the other block flows."""
    blocks = [SymbolBlockOptions(symbol="DB_Press"), SymbolBlockOptions(symbol="DB_Pres")]

    async def script(line, _):
        await asyncio.sleep(3.5)
        frames = line.taken()
        assert [frame.error for frame in frames if frame.origin.measurement == "s7_DB_Pres"] == ["no such symbol"]
        assert len([frame for frame in frames if frame.values == VALUES]) == 4
        assert "s7_DB_Pres: 1 of 1 values can't be read" in line.part.actor.reason

    play(script, options(blocks=blocks))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("silent", "timeout"),
        ("half", "timeout"),
        ("close", "connection lost"),
        ("garbage", "invalid answer"),
    ],
)
def test_a_bad_time_gives_one_failure_frame_and_its_end_one_data_frame(fault, reason):
    """Whatever breaks ends the session; a new one is opened with back-off; nothing old is sent as fresh."""

    async def script(line, plc):
        await asyncio.sleep(2.5)
        line.taken()
        plc.fault = fault
        await asyncio.sleep(12.2)
        bad = line.taken()
        assert reasons(bad)[0] == reason
        assert all(frame.kind is Kind.FAILURE for frame in bad)
        assert len(bad) <= 2, reasons(bad)  # the second: why no session can be opened
        assert line.state == "backing_off"
        assert line.value("edge_ticks_skipped_total", reason="disconnected") >= 3
        plc.fault = ""
        plc.put("DB_Press.contador", struct.pack(">h", 7))
        await asyncio.sleep(40)
        good = line.taken()
        assert {frame.kind for frame in good} == {Kind.DATA}
        assert {frame.values["contador"] for frame in good} == {7}
        assert (line.state, len(plc.sessions)) == ("running", 1)

    play(script, options(timeout=Duration(1), retry=Retry(max=Duration(5))))


def test_it_starts_with_the_plc_off_and_survives_what_kills_connections():
    """Refused, deaf, reset in the middle: each is told by its own reason."""

    async def main(loop):
        plc = make_plc()
        line = Line(loop, s7plus, options(timeout=Duration(1), retry=Retry(max=Duration(2))))
        await asyncio.sleep(5)
        plc.fault = "deaf"
        await loop.create_server(plc.wire, "plc", 102)
        await asyncio.sleep(5)
        assert reasons(line.taken()) == ["connection refused", "timeout"]
        assert "opens no S7CommPlus session" in line.part.actor.reason
        plc.fault, plc.delay = "", 0.1
        await asyncio.sleep(5)
        line.taken()
        for _ in range(3):
            await asyncio.sleep(0.95 - loop.time() % 1 + 0.1)
            plc.hang_up()
            await asyncio.sleep(4)
        assert reasons(line.taken()).count("connection lost") == 3
        assert line.state == "running"
        line.subscription.dispose()
        await asyncio.sleep(1)
        assert loop.connections == []

    run_virtual(main)


@pytest.mark.parametrize("orderly", [True, False])
def test_a_session_that_the_plc_ends_between_two_reads_costs_no_frame(orderly):
    """Some CPUs hang up when nobody asks, some after each read: the next tick connects, and reads."""

    async def script(line, plc):
        await asyncio.sleep(2.5)
        line.taken()
        for _ in range(5):
            for session in tuple(plc.sessions):
                session.transport.close() if orderly else session.transport.abort()
            await asyncio.sleep(10)
        assert reasons(line.taken()) == [None] * 5
        assert line.value("plc_read_fail_total", tenant="acme", db="7") == 0

    play(script, options(every="10s", refresh=Duration(3600)))


def test_a_download_is_noticed_and_symbols_are_looked_up_anew():
    """Moved ones are followed, vanished ones named, new ones of a block join; without a failure frame."""
    chosen = options(
        blocks=[SymbolBlockOptions(symbol="DB_Press")],
        tags={"n": "DB_Press.contador", "t": "DB_Press.temperatura"},
        refresh=Duration(5),
    )

    async def script(line, plc):
        await asyncio.sleep(2.5)
        line.taken()
        plc.download({"DB_Press": (7, {"novo": "INT", "contador": "DINT"})})
        plc.put("DB_Press.contador", struct.pack(">i", 100_000))
        await asyncio.sleep(10)
        last = {frame.origin.measurement: frame for frame in line.taken()}
        assert last["s7_DB_Press"].values == {"novo": 0, "contador": 100_000}
        assert last["s7_tags"].values == {"n": 100_000}
        assert last["s7_tags"].bad == {"t": "no such symbol"}
        plc.download(PROGRAM)
        fill(plc)
        line.taken()
        await asyncio.sleep(10)
        last = {frame.origin.measurement: frame for frame in line.taken()}
        assert last["s7_DB_Press"].values == VALUES
        assert (last["s7_tags"].values, last["s7_tags"].bad) == ({"n": 5014, "t": 1.5}, None)
        assert line.state == "running"
        assert len(plc.sessions) == 1

    play(script, chosen)


@pytest.mark.parametrize("limit", [20, 50])
def test_many_symbols_take_as_many_requests_as_the_cpu_asks_for(limit):
    """A CPU that refuses long requests is asked shorter ones from then on; no value is lost."""
    plc = SymbolPlc({"DB": (1, {"x": array(0, 130, "INT")})})
    for n in range(130):
        plc.put(f"DB.x[{n}]", struct.pack(">h", n))
    plc.limit = limit

    async def script(line, plc):
        await asyncio.sleep(2.5)
        frames = line.taken()
        assert [list(frame.values.values()) for frame in frames] == [list(range(130))] * 3
        assert all(frame.bad is None for frame in frames)
        plc.reads.clear()
        await asyncio.sleep(1)
        assert max(plc.reads) <= limit
        assert sum(plc.reads) == 130

    play(script, options(blocks=[SymbolBlockOptions(symbol="DB")]), plc)


def test_ticks_that_cant_be_followed_are_counted():
    """A slow CPU, a paused graph: skipped with the reason, never queued."""

    async def script(line, plc):
        plc.delay = 0.25
        await asyncio.sleep(5.05)
        assert line.value("edge_ticks_skipped_total", reason="busy") > 10
        plc.delay = 0.0
        await asyncio.sleep(1)
        line.paused = True
        await asyncio.sleep(0.3)
        line.taken()
        await asyncio.sleep(1)
        assert line.taken() == []
        assert line.value("edge_ticks_skipped_total", reason="paused") >= 10
        line.paused = False
        await asyncio.sleep(1)
        assert len(line.taken()) == 10

    play(script, options(every="100ms"))


def test_a_cpu_that_grants_it_sends_what_changes():
    """One small question per tick; changes are in the next frame; every `refresh` all is read."""
    plc = make_plc()
    plc.grants = True

    async def script(line, plc):
        await asyncio.sleep(2.5)
        assert line.part.details()["subscribed"] == {"1s": "granted"}
        plc.reads.clear()
        for n in range(3):
            plc.put("DB_Press.contador", struct.pack(">h", n))
            await asyncio.sleep(1)
        assert [frame.values["contador"] for frame in line.taken()[-3:]] == [0, 1, 2]
        assert line.frames == []
        assert plc.reads == [1, 1, 1]
        await asyncio.sleep(60)
        assert plc.reads.count(7) == 2
        plc.refuses[plc.addresses["DB_Press.temperatura"]] = 0x8020AB001992FFFB
        await asyncio.sleep(2)
        assert line.taken()[-1].bad == {"temperatura": "refused by the PLC (code -5)"}
        plc.hang_up()
        await asyncio.sleep(5)
        assert line.part.details()["subscribed"] == {"1s": "not asked for: some symbols are refused"}
        assert line.taken()[-1].values["contador"] == 2

    play(script, options(subscribe=True), plc)


def test_a_lost_notification_is_noticed_by_the_next_one():
    """Their numbers have a gap: all is read at once, so that no old value stays."""
    plc = make_plc()
    plc.grants = True

    async def script(line, plc):
        await asyncio.sleep(3.5)
        plc.loses = 1
        plc.put("DB_Press.contador", struct.pack(">h", 1))
        await asyncio.sleep(1)
        plc.put("DB_Press.temperatura", struct.pack(">f", 9))
        await asyncio.sleep(1)
        last = line.taken()[-1].values
        assert (last["contador"], last["temperatura"]) == (1, 9)
        assert line.part.details()["subscribed"] == {"1s": "granted"}

    play(script, options(subscribe=True), plc)


@pytest.mark.parametrize(("grants", "why"), [(False, "no subscription"), (True, "granted, but changes did not come")])
def test_a_cpu_that_grants_none_or_sends_nothing_is_polled(grants, why):
    """The reason is told; at the latest after `refresh` no frame has old values."""
    plc = make_plc()
    plc.grants, plc.sends = grants, False

    async def script(line, plc):
        await asyncio.sleep(2.5)
        plc.put("DB_Press.contador", struct.pack(">h", 8))
        await asyncio.sleep(6)
        plc.put("DB_Press.contador", struct.pack(">h", 9))
        await asyncio.sleep(1)
        assert line.taken()[-1].values["contador"] == 9
        assert why in line.part.details()["subscribed"]["1s"]
        assert line.state == "running"

    play(script, options(subscribe=True, refresh=Duration(5)), plc)


def test_the_goodbye_to_a_plc_that_does_not_answer_takes_a_second():
    """Disposed in the middle of a silence: nothing is left, the connection least of all."""

    async def script(line, plc):
        await asyncio.sleep(2.5)
        plc.fault = "deaf"
        await asyncio.sleep(0.6)
        line.subscription.dispose()
        await asyncio.sleep(1.1)
        assert line.part.tasks == set()
        assert line.loop.connections == []

    play(script)


def test_a_second_subscription_reads_again():
    """Disposed and subscribed anew: the same stream connects anew."""

    async def script(line, plc):
        await asyncio.sleep(2.5)
        line.subscription.dispose()
        await asyncio.sleep(2)
        line.taken()
        assert plc.sessions == []
        line.subscription = line.stream.subscribe(line.receive, line.errors.append)
        await asyncio.sleep(2.5)
        assert line.taken()[-1].values == VALUES

    play(script)


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    """Certificate and key of a CPU at 127.0.0.1: (PEM, key, SHA-256)."""
    from cryptography import x509  # noqa: PLC0415 - the package under test brings it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "plc")])
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - day).not_valid_after(now + day)
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    folder = tmp_path_factory.mktemp("cpu")
    (folder / "plc.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "plc.key").write_bytes(pem)
    digest = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
    return folder / "plc.pem", folder / "plc.key", digest


def first_frame(port, **chosen):
    """The first frame over real TCP, and what the actor says."""

    async def main():
        loop = asyncio.get_running_loop()
        line = Line(loop, s7plus, options(address="127.0.0.1", port=port, **chosen))
        await eventually(lambda: line.frames)
        reason, details = line.part.actor.reason, line.part.details()
        line.subscription.dispose()
        await eventually(lambda: not line.part.tasks)
        return line.frames[0], reason, details

    return asyncio.run(main())


def test_the_packages_own_emulator_is_read_over_tcp(port):
    """Its threads and sockets, without TLS."""
    plc = make_plc()
    plc.start("127.0.0.1", port)
    try:
        frame, _, _ = first_frame(port)
        assert frame.values == VALUES
    finally:
        plc.stop()


@pytest.mark.parametrize(
    ("tls", "password", "expected"),
    [
        ({"fingerprint": "ours"}, "segredo", (None, "")),
        ({"ca_file": "ours"}, "segredo", (None, "")),
        ({"insecure": True}, "segredo", (None, "")),
        ({"fingerprint": "ours"}, "errada", ("password refused", "correct `password`")),
        ({"fingerprint": "ours"}, "", ("access denied", "give a `password`")),
        ({"fingerprint": "00" * 32}, "segredo", ("certificate refused", "tls.fingerprint")),
        ({"ca_file": "/nowhere.pem"}, "segredo", ("tls", "check path and rights")),
        (None, "segredo", ("session refused", "set `tls:")),
    ],
)
def test_tls_and_login_are_explained_by_the_option_to_change(identity, port, tls, password, expected):
    """Pinned or by an authority; the wrong password, none, a stranger's certificate, no TLS at all."""
    pem, key, digest = identity
    ours = {"fingerprint": digest.upper(), "ca_file": str(pem)}
    plc = make_plc(protocol_version=ProtocolVersion.V2)
    plc.level, plc.password = 4, "segredo"
    plc.start("127.0.0.1", port, use_tls=True, tls_cert=str(pem), tls_key=str(key))
    secure = tls and S7PlusTls(**{name: ours[name] if value == "ours" else value for name, value in tls.items()})
    try:
        frame, reason, details = first_frame(port, tls=secure, password=Secret(password))
    finally:
        plc.stop()
    error, advice = expected
    assert frame.error == error
    assert advice in reason
    assert "errada" not in reason
    if error is None:
        assert frame.values == VALUES
        assert (details["tls"], details["certificate"]) == (True, digest)


def test_a_password_that_was_not_sent_is_told_with_the_refusal(port):
    """A CPU that is locked, and a session without TLS: another password would not help."""
    plc = make_plc()
    plc.level, plc.password = 4, "segredo"
    plc.start("127.0.0.1", port)
    try:
        frame, reason, _ = first_frame(port, password=Secret("segredo"))
    finally:
        plc.stop()
    assert frame.error == "access denied"
    assert "`password` was not sent" in reason


GRAPH = """\
name: line
sources:
  press:
    type: s7plus
    address: {address}
    every: {every}
    blocks: {blocks}
    tags: {tags}
    tls: {tls}
    username: {username}
    password: {password}
    {more}
sinks:
  out: {{type: stdout, from: press}}
"""
RIGHT = {
    "address": "192.0.2.1",
    "every": "1s",
    "blocks": "[{symbol: DB_Press, db: 7}]",
    "tags": "{t: '\"DB 2\".x[1]'}",
    "tls": f"{{fingerprint: {'ab' * 32}}}",
    "username": "edge",
    "password": '"${PLC_PASSWORD}"',
    "more": "subscribe: true",
}


def mistakes(tmp_path, **wrong):
    """What the loader says of a file."""
    (tmp_path / "line.yaml").write_text(GRAPH.format(**RIGHT | wrong), encoding="utf-8")
    try:
        return [str(warning) for warning in load(tmp_path / "line.yaml", {"PLC_PASSWORD": "segredo"}).warnings]
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"address": "''"}, "no PLC is named"),
        ({"address": "192.0.2.1:102"}, "write address: 192.0.2.1, port: 102"),
        ({"every": "1ms"}, "must be >= 10ms"),
        ({"blocks": "[]", "tags": "{}"}, "there is nothing to read; give `blocks` or `tags`"),
        ({"blocks": "[{symbol: 'DB['}]"}, "'DB[' is no symbol"),
        ({"blocks": "[{symbol: DB}, {symbol: DB}]"}, "'DB' is also the name of blocks[0]"),
        ({"blocks": "[{symbol: DB}, {symbol: DB, name: x}]"}, "its frames look like those of blocks[0]"),
        ({"blocks": "[{symbol: DB, tags: {seq: x}}]"}, "'seq' is reserved"),
        ({"blocks": "[{simbol: DB}]"}, "did you mean 'symbol'?"),
        ({"tags": "{db: DB.x}"}, "'db' is reserved"),
        ({"tags": "{'': DB.x}"}, "'' is no name for a value; name it by letters and digits"),
        ({"tags": "{t: {symbol: DB.x, as: string, enum: {0: a}}}"}, "given as the text of its number already"),
        ({"tags": "{t: {symbol: DB.x, scale: 2, enum: {0: a}}}"}, "can't be scaled"),
        ({"tls": "{}"}, "nothing says which certificate is the CPU's; give `fingerprint` or `ca_file`"),
        ({"tls": "{insecure: true}"}, "warning: node 'press' (s7plus): tls.insecure"),
        ({"tls": "{fingerprint: abc}"}, "this is no SHA-256"),
        ({"tls": "{insecure: true, key_file: k}"}, "needs cert_file beside it"),
        ({"tls": "{enabled: false}"}, "users log in over TLS only"),
        ({"tls": "null", "username": "''"}, "warning: node 'press' (s7plus): password: is not sent without TLS"),
        ({"tls": "{enabled: false}", "username": "''"}, "password: is not sent without TLS"),
        ({"password": "''"}, "needs `password` beside it"),
        ({"more": "timezone: Brasil"}, "unknown time zone 'Brasil'"),
        ({"more": "plcs: [{address: a}]"}, "a single PLC beside the list"),
    ],
)
def test_mistakes_in_a_file_say_what_to_write(tmp_path, wrong, words):
    """Found, allowed, the option; the password never."""
    found = "\n".join(mistakes(tmp_path, **wrong))
    assert words in found
    assert "segredo" not in found


def test_a_right_file_is_right_and_a_missing_package_says_what_to_install(tmp_path, monkeypatch):
    """No warning with the package; without it one error, before anything connects."""
    assert mistakes(tmp_path) == []
    monkeypatch.setattr("operators.sources.s7plus.find_spec", lambda _: None)
    (problem,) = mistakes(tmp_path)
    assert "s7commplus is not installed; pip install" in problem
    assert "[s7plus]" in problem


def test_the_shipped_graph_reads_what_it_names():
    """`configs/s7plus.yaml` on a CPU with such a program: every value has its name, unit and text."""
    graph = load(Path(__file__).parents[3] / "configs" / "s7plus.yaml", PLANT | {"PLC_IP": "plc", "PLC_ID": "press1"})
    zones = {"zonas": array(1, 4, {"temperatura": "REAL"})}
    plc = SymbolPlc({"DB_Press": (7, {**PRESS, "estado": "INT"}), "DB Hidraulica": (9, zones)})
    plc.put("DB_Press.estado", b"\0\2")

    async def script(line, _):
        await asyncio.sleep(1.5)
        frames = {frame.origin.measurement: frame for frame in line.taken()}
        assert frames["s7_tags"].values == {"temperatura_oleo": 0.0, "estado": "falha"}
        assert frames["s7_tags"].origin.units == {"temperatura_oleo": "°C"}
        assert frames["s7_DB_Press"].values.keys() == VALUES.keys() | {"estado"}
        assert frames["s7_DB_Press"].origin.tenant_id == "acme"
        assert line.state == "running"

    play(script, graph.nodes["press"].options, plc)


def test_plcs_are_named_once_and_claimed_once():
    """Two PLCs of one name are an error; one session for each address and port."""
    plcs = [S7PlusPlc(address="A"), S7PlusPlc(address="a", port=1102), S7PlusPlc(address="A", plc_id="b")]
    assert [claim.key for claim in s7plus.claimed(options(plcs=plcs), SCOPE)] == ["a:102", "a:1102", "a:102"]
    twice = options(plcs=[S7PlusPlc(plc_id="x", address="a"), S7PlusPlc(plc_id="x", address="b")])
    assert [finding.message for finding in twice.check(SCOPE)] == ["'x' is also the name of plcs[0]"]


def test_the_forecast_counts_frames_and_knows_no_names():
    """Frames of all PLCs; what is in a block only the CPU knows."""
    blocks = [SymbolBlockOptions(symbol="DB"), SymbolBlockOptions(symbol="DC", every=Duration(10))]
    chosen = options(
        every="1s", plcs=[S7PlusPlc(address="a"), S7PlusPlc(address="b")], blocks=blocks, tags={"t": "DB.x"}
    )
    forecast = s7plus.forecast(chosen, SCOPE, Flow())
    assert forecast.flow.frames == pytest.approx(4.2)
    assert (forecast.flow.blocks, forecast.flow.names) == (6, frozenset())
    assert dict(forecast.lines)["connections"] == "2"
