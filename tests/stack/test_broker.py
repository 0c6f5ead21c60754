"""Mosquitto from the files of `infra/`: who may do what, attempt by attempt; both kinds of clients; nothing dropped."""

import base64
import json
import os
import socket
import ssl
import struct
import subprocess
import warnings
from collections.abc import Iterator

import pytest

from tests.parts.mosquitto import Authority
from tests.parts.platform import Plant, PlatformBroker, platform
from tests.parts.waiting import wait_until

pytestmark = [pytest.mark.real("mosquitto", "openssl"), pytest.mark.timeout(120)]

DENIED = "Not authorized"
USERS = {
    "edge_agent": "MQTT_PASSWORD",
    "sensors": "SENSOR_MQTT_PASSWORD",
    "telegraf": "TELEGRAF_MQTT_PASSWORD",
    "analytics": "ANALYTICS_MQTT_PASSWORD",
    "health": "HEALTH_MQTT_PASSWORD",
}
TOPICS = (
    "plc/acme/press1",
    "plc/acme",
    "plc/acme/line1/status",
    "plc/beta/press1",
    "plc/acme2/press1",
    "plc/db1",
    "mov/dados/sensor01",
    "mov/other",
    "elsewhere",
)
EVERY_PLC = {topic for topic in TOPICS if topic.startswith("plc/")}
ACME = {"plc/acme/press1", "plc/acme", "plc/acme/line1/status"}
SENSORS = {"mov/dados/sensor01"}
WRITES = {
    "edge_agent": EVERY_PLC | SENSORS,
    "sensors": SENSORS,
    "acme": ACME,
    "beta": {"plc/beta/press1"},
    "telegraf": set(),
    "analytics": set(),
    "health": set(),
}
READS = {
    "edge_agent": set(),
    "sensors": set(),
    "acme": ACME,
    "beta": {"plc/beta/press1"},
    "telegraf": EVERY_PLC | SENSORS,
    "analytics": EVERY_PLC | SENSORS,
    "health": set(),
}


EDGE_COMMAND = (
    "mosquitto_pub -h localhost -p 8883 --cafile ca.crt -u edge_agent -P \"$MQTT_PASSWORD\" -t 'plc/teste/plc1' "
    '-m \'{"ts":1731802000,"ip":"192.168.0.50","db":1,"values":{"heartbeat":1}}\''
)
SENSOR_COMMAND = (
    'mosquitto_pub -h localhost -p 1883 \\\n  -u "$MQTT_USER" -P "$MQTT_PASSWORD" \\\n  -t "mov/dados/sensor01" \\\n  '
    '-m \'{"timestamp":"2026-02-02T15:04:05.999Z","tags":{"dispositivo":"sensor_01","localizacao":"fabrica",'
    '"tipo":"temperatura","cliente":"acme"},"fields":{"temperatura_c":28.5}}\''
)


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    """A platform with two tenants."""
    with platform() as made:
        made.do("setup", "--host", "broker.plant")
        for tenant in ("acme", "beta"):
            made.do("tenant", "add", tenant, "--host", "localhost")
        yield made


@pytest.fixture(scope="module")
def broker(plant: Plant) -> Iterator[PlatformBroker]:
    """Its broker, with a session that keeps everything, as Telegraf's does."""
    made = plant.broker()
    try:
        made.start()
        yield made
    finally:
        made.close()


def password(plant: Plant, user: str) -> str:
    """Of the platform's users and of tenants."""
    if user in USERS:
        return plant.env[USERS[user]]
    return plant.variables(plant.infra / "secrets" / "tenants" / user / ".env")["MQTT_PASSWORD"]


def login(plant: Plant, user: str) -> list[str]:
    """As mosquitto_pub and mosquitto_sub take it."""
    return ["-u", user, "-P", password(plant, user)]


def tool(name: str, *arguments: object, lines: str = "") -> "subprocess.CompletedProcess[str]":
    """Run one of Mosquitto's clients to its end."""
    return subprocess.run(
        [f"mosquitto_{name}", *map(str, arguments)],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def by_tls(broker: PlatformBroker) -> list[object]:
    """Where the TLS listener is."""
    return ["-h", broker.host, "-p", broker.port, "--cafile", broker.ca_file]


def waiting(broker: PlatformBroker, plant: Plant, user: str, session: str) -> list[str]:
    """Topics that wait for a persistent session; it is made by the first call, and left behind by each.

    What waits is sent before the subscription is confirmed, and then the client ends.
    """
    where = ["-h", "127.0.0.1", "-p", broker.plain_port, *login(plant, user)]
    done = tool("sub", *where, "-c", "-i", session, "-q", 1, "-E", "-t", "#", "-F", "%t")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("user", WRITES)
def test_who_may_write_what(plant, broker, user):
    """By the reason of each PUBACK; what was refused is also not delivered, though 3.1.1 acknowledges it."""
    session = f"all-{user}"
    assert waiting(broker, plant, "telegraf", session) == []
    for topic in TOPICS:
        done = tool("pub", *by_tls(broker), *login(plant, user), "-V", "5", "-q", 1, "-t", topic, "-m", "{}")
        assert (DENIED in done.stderr) == (topic not in WRITES[user]), (topic, done.stderr)
        assert done.returncode == 0
        done = tool("pub", *by_tls(broker), *login(plant, user), "-V", "311", "-q", 1, "-t", topic, "-m", "{}")
        assert (done.returncode, done.stderr) == (0, "")
    arrived = waiting(broker, plant, "telegraf", session)
    assert sorted(arrived) == sorted([*WRITES[user], *WRITES[user]])


def test_who_may_read_what(plant, broker):
    """Each user's session takes part in everything that it may read, and in nothing else, however it subscribes."""
    for user in READS:
        assert waiting(broker, plant, user, f"reader-{user}") == []
    for topic in TOPICS:
        writer = login(plant, "edge_agent")
        tool("pub", *by_tls(broker), *writer, "-q", 1, "-t", topic, "-m", "{}")
    for user, topics in READS.items():
        wanted = topics & WRITES["edge_agent"]
        assert sorted(waiting(broker, plant, user, f"reader-{user}")) == sorted(wanted), user


@pytest.mark.parametrize(
    "who",
    [[], ["-u", "nobody", "-P", "x"], ["-u", "edge_agent", "-P", "wrong"], ["-u", "edge_agent"], ["-u", "gone"]],
    ids=["anonymous", "unknown", "wrong password", "no password", "no user"],
)
def test_who_is_not_known_is_refused_on_each_listener(broker, who):
    """With a password on TLS, plain and in 5 or 3.1.1: exit code 5 of 3.1.1 is `not authorised`."""
    message = ["-q", 1, "-t", "plc/acme/press1", "-m", "{}"]
    for where in (by_tls(broker), ["-h", "127.0.0.1", "-p", broker.plain_port]):
        for version, text in (("311", "not authorised"), ("5", "Not authorized")):
            done = tool("pub", *where, *who, "-V", version, *message)
            assert done.returncode != 0
            assert text.lower() in done.stderr.lower(), done.stderr


def test_the_tls_listener_takes_no_plain_text_and_no_foreign_authority(plant, broker, tmp_path):
    """Nor does a client take the broker for another machine: its certificate has the names that setup was told."""
    message = [*login(plant, "edge_agent"), "-q", 1, "-t", "plc/acme/press1", "-m", "{}"]
    assert tool("pub", "-h", "localhost", "-p", broker.port, *message).returncode != 0
    foreign = Authority(tmp_path / "foreign").ca_file
    assert tool("pub", "-h", "localhost", "-p", broker.port, "--cafile", foreign, *message).returncode != 0
    for name, good in (("broker.plant", True), ("mosquitto", True), ("127.0.0.1", True), ("other.plant", False)):
        context = ssl.create_default_context(cafile=broker.ca_file)
        with socket.create_connection(("127.0.0.1", broker.port), 10) as plain:
            try:
                context.wrap_socket(plain, server_hostname=name).close()
            except ssl.SSLCertVerificationError:
                assert not good, name
            else:
                assert good, name


@pytest.mark.parametrize(("version", "good"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_tls_begins_at_1_2(broker, version, good):
    """An older client is refused by the broker, not by its own settings."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(broker.ca_file)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):  # Python deprecates what is tried here
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with socket.create_connection(("127.0.0.1", broker.port), 10) as plain:
        if good:
            with context.wrap_socket(plain, server_hostname="localhost") as secured:
                assert secured.version() == version.replace("_", ".")
        else:
            with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
                context.wrap_socket(plain, server_hostname="localhost")


def test_mutual_tls_takes_the_name_from_the_certificate(plant, broker, tmp_path):
    """No password; one that is sent counts for nothing, nor does a name; only our certificates let anybody in."""
    where = ["-h", "localhost", "-p", broker.mutual_port, "--cafile", broker.ca_file]

    def publish(topic: str, *more: object) -> "subprocess.CompletedProcess[str]":
        return tool("pub", *where, *more, "-V", "5", "-q", 1, "-t", topic, "-m", "{}")

    def certificate(folder: str) -> list[object]:
        found = plant.infra / "secrets" / folder
        return ["--cert", found / "tls.crt", "--key", found / "tls.key"]

    for folder, topic, good in (
        ("clients/edge_agent", "plc/beta/press1", True),
        ("clients/telegraf", "plc/beta/press1", False),
        ("tenants/acme", "plc/acme/press1", True),
        ("tenants/acme", "plc/beta/press1", False),
    ):
        done = publish(topic, *certificate(folder), "-u", "edge_agent", "-P", password(plant, "edge_agent"))
        assert (done.returncode, DENIED in done.stderr) == (0, not good), (folder, topic, done.stderr)
    assert publish("plc/acme/press1", *login(plant, "acme")).returncode != 0
    cert, key = Authority(tmp_path / "foreign").issue("acme")
    assert publish("plc/acme/press1", "--cert", cert, "--key", key).returncode != 0
    assert publish("plc/acme/press1", *certificate("mosquitto")).returncode != 0


def test_the_published_commands_of_both_systems_work_as_they_are_written(plant, broker):
    """The edge's by TLS on 8883, the sensors' with MQTT_USER on 1883: only port and password are filled in."""
    env = {**os.environ, "MQTT_USER": plant.env["MQTT_USER"], "MQTT_PASSWORD": plant.env["MQTT_PASSWORD"]}
    commands = (EDGE_COMMAND.replace("8883", str(broker.port)), SENSOR_COMMAND.replace("1883", str(broker.plain_port)))
    where = ["-h", "127.0.0.1", "-p", str(broker.plain_port), *login(plant, "telegraf")]
    subscriber = subprocess.Popen(
        ["mosquitto_sub", *where, "-t", "plc/#", "-t", "mov/dados/#", "-C", "2", "-F", "%t %p"],
        stdout=subprocess.PIPE,
        text=True,
    )

    def both_arrived() -> bool:
        for command in commands:
            done = subprocess.run(
                ["sh", "-c", command], cwd=broker.ca_file.parent, env=env, capture_output=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, b"")
        return subscriber.poll() is not None

    # Written with QoS 0, they wait for nobody: they are sent again until the subscriber is there.
    try:
        wait_until(both_arrived, "both arrive")
        arrived = dict(line.split(" ", 1) for line in subscriber.communicate()[0].splitlines())
    finally:
        subscriber.kill()
    assert json.loads(arrived["plc/teste/plc1"])["values"] == {"heartbeat": 1}
    assert json.loads(arrived["mov/dados/sensor01"])["fields"] == {"temperatura_c": 28.5}


def test_browsers_come_in_by_websockets(plant, broker):
    """RFC 6455 with the subprotocol mqtt: a good login gets CONNACK 0, a bad one 5."""

    def connack(secret: str) -> int:
        fields = [b"MQTT", b"browser", b"sensors", secret.encode()]
        texts = [struct.pack(">H", len(each)) + each for each in fields]
        body = texts[0] + bytes([4, 0xC2, 0, 60]) + b"".join(texts[1:])
        packet = bytes([0x10, len(body)]) + body
        with socket.create_connection(("127.0.0.1", broker.web_port), 10) as web:
            key = base64.b64encode(os.urandom(16)).decode()
            web.sendall(
                f"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Protocol: mqtt\r\n\r\n".encode()
            )
            stream = web.makefile("rb")
            assert b" 101 " in stream.readline()
            while stream.readline() != b"\r\n":
                pass
            web.sendall(bytes([0x82, 0x80 | len(packet)]) + bytes(4) + packet)
            return stream.read(6)[5]

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", broker.web_port)) == 0

    wait_until(listens, "WebSockets, which open after the other listeners")
    assert connack(password(plant, "sensors")) == 0
    assert connack("wrong") == 5


def test_the_health_check_logs_in_by_tls_and_sees_a_frozen_broker(plant, broker, tmp_path):
    """The container's own command, its password in a file and not among its arguments."""
    made = (plant.infra / "secrets" / "mosquitto" / "health" / "mosquitto_sub").read_text()
    here = made.replace("/etc/mosquitto/retrofit/ca.crt", str(broker.ca_file)).replace("8883", str(broker.port))
    (tmp_path / "mosquitto_sub").write_text(here)
    env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    command = ["mosquitto_sub", "-t", "$SYS/broker/uptime", "-C", "1", "-W", "3"]

    def healthy() -> bool:
        return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0

    assert healthy()
    broker.freeze()
    try:
        assert not healthy()
    finally:
        broker.thaw()
    assert healthy()


def test_nothing_waits_in_vain_nor_dies_with_the_broker(plant, broker):
    """5000 for a session that is away, five times Mosquitto's default; killed once saved, and all are there."""
    assert waiting(broker, plant, "analytics", "away") == []
    before = broker.database.stat().st_mtime_ns if broker.database.exists() else 0
    lines = "".join(f"{number}\n" for number in range(5000))
    done = tool("pub", *by_tls(broker), *login(plant, "acme"), "-q", 1, "-t", "plc/acme/press1", "-l", lines=lines)
    assert done.returncode == 0
    # Two saves: one may have begun before the last message came.
    for _ in range(2):
        wait_until(lambda before=before: _saved(broker) > before, "the database is saved")
        before = _saved(broker)
        tool("pub", *by_tls(broker), *login(plant, "acme"), "-q", 1, "-t", "plc/acme/end", "-m", "x")
    broker.kill()
    broker.start()
    arrived = waiting(broker, plant, "analytics", "away")
    assert arrived.count("plc/acme/press1") == 5000


def test_what_is_sent_without_asking_for_an_acknowledgement_waits_too(plant, broker):
    """QoS 0, as the sensors' command sends: for a session that is away, over a restart, in the order of its coming."""
    assert waiting(broker, plant, "analytics", "away0") == []
    for number in range(3):
        tool("pub", *by_tls(broker), *login(plant, "sensors"), "-q", number % 2, "-t", f"mov/dados/{number}", "-m", "x")
    broker.stop()
    broker.start()
    assert waiting(broker, plant, "analytics", "away0") == [f"mov/dados/{number}" for number in range(3)]


def _saved(broker: PlatformBroker) -> int:
    return broker.database.stat().st_mtime_ns if broker.database.exists() else 0


def test_a_renewed_certificate_is_taken_without_a_restart(plant, broker):
    """After SIGHUP new connections see it; those there are stay."""

    def served() -> bytes:
        context = ssl.create_default_context(cafile=broker.ca_file)
        with (
            socket.create_connection(("127.0.0.1", broker.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            return secured.getpeercert(binary_form=True)

    before = served()
    plant.do("setup", "--rotate", "broker")
    assert served() == before
    broker.reload()
    wait_until(lambda: served() != before, "the new certificate")


def test_a_broker_whose_memory_is_full_acknowledges_nothing_that_it_drops():
    """With a fiftieth of the shipped limit: the publisher is disconnected, and what was acknowledged is all there."""
    with platform() as plant:
        plant.do("setup")
        broker = plant.broker({"memory_limit 200000000": "memory_limit 4000000"})
        try:
            broker.start()
            assert waiting(broker, plant, "telegraf", "away") == []
            lines = "".join(f"{number:0300}\n" for number in range(30_000))
            there = [*by_tls(broker), *login(plant, "edge_agent")]
            done = tool("pub", *there, "-V", "5", "-q", 1, "-t", "plc/a/b", "-l", "-d", lines=lines)
            acknowledged = done.stdout.count("received PUBACK")
            assert 1000 < acknowledged < 30_000
            assert "disconnected due to out of memory" in broker.log
            session = [
                "-h",
                "127.0.0.1",
                "-p",
                broker.plain_port,
                *login(plant, "telegraf"),
                "-c",
                "-i",
                "away",
                "-q",
                1,
            ]
            arrived = tool("sub", *session, "-t", "#", "-C", acknowledged, "-W", 30, "-F", "%t")
            assert len(arrived.stdout.split()) == acknowledged
        finally:
            broker.close()


@pytest.mark.parametrize("version", ["311", "5"])
def test_a_message_that_telegraf_could_not_hold_is_not_taken(plant, broker, tmp_path, version):
    """Half a megabyte is: all of a large block. More is never acknowledged, whoever asks."""
    session, body = f"large-{version}", tmp_path / "body"
    assert waiting(broker, plant, "telegraf", session) == []
    for size, good in ((524_000, True), (525_000, False)):
        body.write_bytes(b"x" * size)
        message = [*login(plant, "acme"), "-V", version, "-q", 1, "-t", "plc/acme/press1", "-f", body, "-d"]
        done = tool("pub", *by_tls(broker), *message)
        assert ("PUBACK" in done.stdout) == good, done.stdout + done.stderr
    assert waiting(broker, plant, "telegraf", session) == ["plc/acme/press1"]


def test_a_tenant_that_is_removed_is_out_and_the_others_stay(plant, broker):
    """Its password from the reload on, its certificate after a restart, also when its name is given away again."""
    plant.do("tenant", "add", "gone", "--host", "localhost")
    broker.reload()
    message = ["-V", "5", "-q", 1, "-t", "plc/gone/press1", "-m", "{}"]
    old = login(plant, "gone")
    folder = plant.infra / "secrets" / "tenants" / "gone"
    kept = {name: (folder / name).read_bytes() for name in ("tls.crt", "tls.key")}
    wait_until(lambda: tool("pub", *by_tls(broker), *old, *message).returncode == 0, "the tenant is known")
    plant.do("tenant", "remove", "gone")
    assert not folder.exists()
    broker.reload()
    wait_until(lambda: tool("pub", *by_tls(broker), *old, *message).returncode != 0, "the tenant is out")
    plant.do("tenant", "add", "gone", "--host", "localhost")
    broker.stop()
    broker.start()
    assert tool("pub", *by_tls(broker), *login(plant, "gone"), *message).returncode == 0
    assert tool("pub", *by_tls(broker), *old, *message).returncode != 0
    mutual = ["-h", "localhost", "-p", broker.mutual_port, "--cafile", broker.ca_file]
    good = ["--cert", folder / "tls.crt", "--key", folder / "tls.key"]
    assert tool("pub", *mutual, *good, *message).returncode == 0
    for name, content in kept.items():
        (folder / f"old-{name}").write_bytes(content)
    voided = ["--cert", folder / "old-tls.crt", "--key", folder / "old-tls.key"]
    assert tool("pub", *mutual, *voided, *message).returncode != 0
    assert tool("pub", *by_tls(broker), *login(plant, "beta"), "-t", "plc/beta/x", "-m", "x").returncode == 0
