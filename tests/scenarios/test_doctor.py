"""`pipeline doctor` on real parts: what is broken is found where it is, with what to do."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.parts.line import ROOT, Line, line1_environment
from tests.parts.mosquitto import Authority, Mosquitto, Subscriber
from tests.parts.native_plc import NativePlc
from tests.parts.needs import IN_CI
from tests.parts.waiting import free_port, wait_until

pytestmark = [pytest.mark.real("mosquitto", "openssl", "native_plc"), pytest.mark.timeout(120)]

LINE1 = ROOT / "configs" / "line1.yaml"
SECRET = "edge-secret"


@dataclass
class Patient:
    """A line, its PLC and its broker, all of them well.

    Attributes:
        plc: the press.
        broker: with a subscriber that stores its frames.
        environment: of `configs/line1.yaml`.
        folder: for files.
        stored: what the subscriber has; None without one.
    """

    plc: NativePlc
    broker: Mosquitto
    environment: dict[str, str]
    folder: Path
    stored: Subscriber | None = None

    def doctor(self, code: int, *options: str, file: Path = LINE1, **changes: str) -> list[dict[str, Any]]:
        """The findings of `doctor --json`."""
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "doctor", str(file), "--json", *options],
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment, **changes},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert SECRET not in done.stdout + done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def wrong_authority(self) -> str:
        """The certificate of an authority that has signed nothing here."""
        return str(Authority(self.folder / "strangers").ca_file)


@pytest.fixture
def patient(press: NativePlc, broker: Mosquitto, tmp_path: Path) -> Patient:
    """Everything is as it should be."""
    stored = broker.subscribe("plc/#")
    environment = line1_environment(press.port, broker, tmp_path / "data")
    return Patient(press, broker, {**environment, "METRICS_PORT": str(free_port())}, tmp_path, stored)


def finding(found: list[dict[str, Any]], node: str, what: str, mark: str) -> str:
    """What is said of it: all findings of this node, kind and mark."""
    chosen = [each for each in found if (each["node"], each["what"], each["mark"]) == (node, what, mark)]
    assert chosen, json.dumps(found, indent=1)
    return " ".join(f"{each.get('part', '')} {each['found']}; {each.get('advice', '')}" for each in chosen)


def problems(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Where there are problems."""
    return [(each["node"], each["what"]) for each in found if each["mark"] == "problem"]


def test_a_healthy_line_has_no_problem(patient):
    """Each step is told; the certificate of two days is a warning; a heartbeat of 0 was sent on the PLC's topic."""
    found = patient.doctor(0)
    assert problems(found) == []
    assert "frames of press1 go to plc/acme/press1" in finding(found, "broker", "topic", "good")
    assert "taken and stored" in finding(found, "broker", "publish", "good")
    assert "renew it" in finding(found, "broker", "TLS", "warning")
    assert "as 'edge', MQTT 5" in finding(found, "broker", "login", "good")
    assert "against this machine" in finding(found, "press", "clock", "good")
    for node, what in (("press", "connection"), ("press", "read"), ("broker", "name"), ("broker", "disk")):
        finding(found, node, what, "good")
    wait_until(lambda: patient.stored.on("plc/acme/press1"), "the canary")
    assert json.loads(patient.stored.on("plc/acme/press1")[0].body)["values"] == {"heartbeat": 0}
    assert "publish" not in {each["what"] for each in patient.doctor(0, "--no-canary")}
    assert len(patient.stored.on("plc/acme/press1")) == 1


CASES = {
    "no names": ({"TENANT_ID": "", "PLC_ID": ""}, "broker", "topic", "warning", "its frames go to plc/db1"),
    "fallback denied": ({"TENANT_ID": "", "PLC_ID": ""}, "broker", "publish", "problem", "not authorised"),
    "access list": ({"TENANT_ID": "other"}, "broker", "publish", "problem", "allow this user to write the topic"),
    "password": ({"MQTT_PASSWORD": "edge-secret-"}, "broker", "login", "problem", "check username"),
    "name": ({"MQTT_BROKER": "broker.invalid"}, "broker", "name", "problem", "can't be resolved"),
    "port": ({"MQTT_PORT": "1"}, "broker", "TCP", "problem", "is the broker running"),
    "plain": ({"MQTT_TLS": "false"}, "broker", "login", "problem", "tls: {enabled: true}"),
    "authority": ({"MQTT_CA_FILE": "strangers"}, "broker", "TLS", "problem", "give the authority's certificate"),
    "authority missing": ({"MQTT_CA_FILE": "/nowhere/ca.crt"}, "broker", "TLS", "problem", "check the path"),
    "authority no PEM": ({"MQTT_CA_FILE": "text"}, "broker", "TLS", "problem", "-----BEGIN CERTIFICATE-----"),
    "file in the way": ({"DATA_DIR": "text/data"}, "broker", "disk", "problem", "move that file away"),
    "plc port": ({"PLC_PORT": "1"}, "press", "connection", "problem", "start the PLC"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_found_where_it_is(patient, case):
    """One thing is wrong: its own finding says so and what to do."""
    changes, node, what, mark, said = CASES[case]
    (patient.folder / "text").write_text("no certificate and no folder", encoding="utf-8")
    changes = {name: patient.wrong_authority() if value == "strangers" else value for name, value in changes.items()}
    assert said in finding(patient.doctor(1, **changes), node, what, mark)


def test_mqtt_3_1_1_hides_a_denial_and_the_canary_does_not(patient, tmp_path):
    """The graph speaks 3.1.1; its topic is denied."""
    text = LINE1.read_text(encoding="utf-8").replace("    qos: 1\n", '    qos: 1\n    protocol: "3.1.1"\n')
    file = tmp_path / "old.yaml"
    file.write_text(text, encoding="utf-8")
    found = patient.doctor(1, file=file, TENANT_ID="other")
    assert "not authorised" in finding(found, "broker", "publish", "problem")
    assert "set protocol: 5" in finding(found, "broker", "protocol", "warning")


def test_nobody_stores_the_frames(press, broker, tmp_path):
    """A broker without any subscriber."""
    environment = line1_environment(press.port, broker, tmp_path / "data")
    patient = Patient(press, broker, {**environment, "METRICS_PORT": str(free_port())}, tmp_path)
    assert "start Telegraf" in finding(patient.doctor(0), "broker", "publish", "warning")


@pytest.mark.parametrize(
    ("blocks", "said"),
    [({1: bytes(10)}, "DB1 has 10 bytes"), ({2: bytes(14)}, "DB1")],
    ids=["shorter", "missing"],
)
def test_a_block_that_is_not_as_the_layout_says_is_named(patient, native_plc, blocks, said):
    """The PLC's program was changed: the block is shorter, or gone."""
    other = native_plc(blocks)
    found = patient.doctor(1, PLC_PORT=str(other.port))
    assert ("press", "read") in problems(found)
    assert said in json.dumps(found)


def test_a_running_graph_is_asked_too(patient, tmp_path):
    """Ready and without a backlog; then its broker is gone, and the backlog grows."""
    with Line(LINE1, patient.environment, tmp_path) as line:
        line.wait_ready()
        found = patient.doctor(0)
        assert "is ready" in finding(found, "", "running", "good")
        finding(found, "", "backlog", "good")
        patient.broker.stop()
        wait_until(lambda: line.metric("edge_backlog_size") > 0, "a backlog")
        found = patient.doctor(1)
        assert "more than 2 s ago" in finding(found, "", "backlog", "problem")
        assert "not ready" in finding(found, "", "running", "problem")
        assert "is the broker running" in finding(found, "broker", "TCP", "problem")
        assert line.terminate() == 0


def halves(frame: bytes) -> list[bytes]:
    """An answer in two pieces, `gap` apart."""
    return [frame[:10], frame[10:]]


def test_a_slow_plc_is_told(patient, strict_plc):
    """Answers that take longer than the period: ticks will be skipped."""
    slow = strict_plc({1: bytearray(14)})
    slow.fault, slow.gap = halves, 0.3
    found = patient.doctor(1, PLC_PORT=str(slow.port), POLL_INTERVAL="100ms")
    assert "ticks are skipped" in finding(found, "press", "read", "problem")
    found = patient.doctor(0, PLC_PORT=str(slow.port), POLL_INTERVAL="10s")
    assert "slow" in finding(found, "press", "read", "warning")


def test_people_are_shown_the_same(patient):
    """Without --json: a line for each finding and an arrow before what to do."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "doctor", str(LINE1)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **patient.environment, "PLC_PORT": "1"},
        cwd=patient.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "  problem  connection press1: connection refused" in done.stdout
    assert "→ the host is there, but nothing listens" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("1 problems, 1 warnings")


def test_a_mirrors_target_is_tried_too(patient, native_plc):
    """Well; then a range that its block does not reach."""
    target = native_plc({101: bytes(14)})
    mirror = {"MIRROR": "true", "MIRROR_IP": "127.0.0.1"}
    text = LINE1.read_text(encoding="utf-8").replace(
        'address: "${MIRROR_IP}"', f'address: "${{MIRROR_IP}}", port: {target.port}'
    )
    file = patient.folder / "mirror.yaml"
    file.write_text(text, encoding="utf-8")
    finding(patient.doctor(0, file=file, **mirror), "mirror", "read", "good")
    file.write_text(text.replace("DB101.0..13", "DB101.0..19"), encoding="utf-8")
    assert ("mirror", "read") in problems(patient.doctor(1, file=file, **mirror))


def test_symbols_blocks_are_looked_up(patient):
    """A CPU with one of the two blocks that the graph names; then it is off."""
    if find_spec("s7commplus") is None and not IN_CI:
        pytest.skip("no s7commplus; to have it: pip install '.[s7plus]'")
    from tests.parts.s7plus_plc import SymbolPlc  # noqa: PLC0415 - an extra

    file, port = ROOT / "configs" / "s7plus.yaml", free_port()
    plc = SymbolPlc({"DB_Press": (7, {"temperatura": "REAL"})})
    plc.start("127.0.0.1", port)
    try:
        found = patient.doctor(1, file=file, PLC_PORT=str(port))
    finally:
        plc.stop()
    assert "DB_Press is DB7" in finding(found, "press", "block", "good")
    assert "the program has no DB Hidraulica" in finding(found, "press", "block", "problem")
    assert "nothing listens" in finding(
        patient.doctor(1, file=file, PLC_PORT=str(port)), "press", "connection", "problem"
    )
