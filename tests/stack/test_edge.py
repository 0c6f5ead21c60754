"""`configs/line1.yaml` as it is, with the `.env` that setup and tenant have made, to the platform's broker."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.parts.line import ROOT, Line, judge
from tests.parts.native_plc import NativePlc
from tests.parts.platform import Plant, PlatformBroker, platform
from tests.parts.waiting import wait_until
from tests.stack.conftest import PRESS

pytestmark = [pytest.mark.real("mosquitto", "openssl", "native_plc"), pytest.mark.timeout(120)]

LINE1 = ROOT / "configs" / "line1.yaml"


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    """A platform with a tenant."""
    with platform() as made:
        made.do("setup")
        made.do("tenant", "add", "acme", "--host", "localhost")
        yield made


@pytest.fixture(scope="module")
def broker(plant: Plant) -> Iterator[PlatformBroker]:
    """Its broker."""
    made = plant.broker()
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def edge(
    plant: Plant, broker: PlatformBroker, native_plc: Callable[..., NativePlc], tmp_path: Path
) -> Iterator[Callable[..., Line]]:
    """Describe the shipped line by `edge(file, …)`: its variables as a shell reads that file, then those given."""
    press = native_plc({1: PRESS}, counter=(1, 10), tick=0.005)

    def describe(file: Path, **more: str) -> Line:
        read = ["sh", "-c", 'set -a; . "$1"; env -0', "sh", str(file)]
        given = subprocess.run(read, capture_output=True, text=True, check=True, env={}).stdout.split("\0")
        environment = dict(each.split("=", 1) for each in given if "=" in each)
        here = {"PLC_IP": "127.0.0.1", "PLC_PORT": str(press.port), "MQTT_PORT": str(broker.port)}
        here |= {"POLL_INTERVAL": "20ms", "DATA_DIR": str(tmp_path / "data")}
        line = Line(LINE1, environment | here | more, tmp_path)
        stack.callback(lambda: line.running and line.kill())
        return line

    with ExitStack() as stack:
        yield describe


class Session:
    """A subscriber's session that outlives its connections: what waits is fetched by each call."""

    def __init__(self, plant: Plant, broker: PlatformBroker, name: str) -> None:
        """Make the session, as Telegraf's user."""
        env = plant.env
        login = [
            "-u",
            env["TELEGRAF_MQTT_USER"],
            "-P",
            env["TELEGRAF_MQTT_PASSWORD"],
            "-i",
            name,
            "-c",
            "-E",
            "-q",
            "1",
        ]
        where = ["-h", "127.0.0.1", "-p", str(broker.plain_port), "-t", "plc/#", "-F", "%t %p"]
        self._command = ["mosquitto_sub", *login, *where]
        self._seen: list[tuple[str, dict[str, object]]] = []
        self.fetch()

    def fetch(self) -> list[tuple[str, dict[str, object]]]:
        """All so far: topic and body."""
        done = subprocess.run(self._command, capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            topic, _, body = line.partition(" ")
            self._seen.append((topic, json.loads(body)))
        return self._seen

    def frames(self, topic: str) -> list[dict[str, object]]:
        """Bodies of one topic."""
        return [body for found, body in self.fetch() if found == topic]


@pytest.mark.parametrize(
    ("names", "topic"),
    [({}, "plc/db1"), ({"TENANT_ID": "clienteA", "PLC_ID": "linha1_prensa"}, "plc/clienteA/linha1_prensa")],
    ids=["without names", "with names"],
)
def test_the_platforms_own_edge_needs_nothing_but_its_plc(plant, broker, edge, names, topic):
    """By TLS and the password of edge_agent; the page asks for the token; no frame is lost."""
    session = Session(plant, broker, f"own-{len(names)}")
    line = edge(plant.infra / ".env", **names)
    line.start()
    line.wait_ready()
    wait_until(lambda: len(session.frames(topic)) > 50, "frames")
    assert line.terminate() == 0
    frames = session.frames(topic)
    assert judge(frames).lost == {}
    assert frames[0]["values"]["AI_Corrente"] == 5.0
    assert plant.env["EDGE_TOKEN"] not in line.log
    assert plant.env["MQTT_PASSWORD"] not in line.log


def test_a_tenants_edge_connects_with_what_it_was_handed_by_password_and_by_certificate(plant, broker, edge):
    """Its `.env` and the PLC's name; then the other listener, certificate and key, and no password."""
    folder = plant.infra / "secrets" / "tenants" / "acme"
    session = Session(plant, broker, "tenant")
    mutual = {
        "MQTT_PORT": str(broker.mutual_port),
        "MQTT_CERT_FILE": str(folder / "tls.crt"),
        "MQTT_KEY_FILE": str(folder / "tls.key"),
        "MQTT_USERNAME": "",
        "MQTT_PASSWORD": "",
    }
    for number, more in enumerate(({}, mutual)):
        line = edge(folder / ".env", PLC_ID=f"press{number}", MQTT_CA_FILE=str(folder / "ca.crt"), **more)
        line.start()
        line.wait_ready()
        wait_until(lambda number=number: len(session.frames(f"plc/acme/press{number}")) > 20, "frames")
        assert line.terminate() == 0
        assert judge(session.frames(f"plc/acme/press{number}")).lost == {}
    assert session.frames("plc/acme/line1/status")[-1]["status"] == "offline"


def test_a_tenants_edge_without_its_plcs_name_does_not_start(plant, edge):
    """It would publish to plc/db1, which the tenant may not write: that is said, and nothing is opened."""
    line = edge(plant.infra / "secrets" / "tenants" / "acme" / ".env")
    line.start()
    wait_until(lambda: line.exit_code is not None, "the end")
    assert line.exit_code == 1
    assert "can't be filled for 127.0.0.1, which has no plc_id" in line.log
    assert "plc/db1" in line.log


def test_what_nobody_stores_waits_at_the_edge(plant, edge):
    """A broker without a Telegraf's session: nothing is given away, and all of it comes when there is one."""
    with platform() as other:
        other.do("setup")
        fresh = other.broker()
        try:
            fresh.start()
            line = edge(other.infra / ".env", MQTT_PORT=str(fresh.port), TENANT_ID="acme", PLC_ID="press1")
            line.start()
            wait_until(lambda: line.metric("edge_backlog_size") > 50, "a backlog")
            session = Session(other, fresh, "late")

            def without_a_gap() -> bool:
                frames = session.frames("plc/acme/press1")
                return len(frames) > 100 and judge(frames).lost == {}

            wait_until(without_a_gap, "all that waited")
            assert line.terminate() == 0
            frames = session.frames("plc/acme/press1")
            assert min(frame["seq"] for frame in frames) == 0
        finally:
            fresh.close()
