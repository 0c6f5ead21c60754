"""The platform on this machine: Mosquitto, Telegraf and InfluxDB as real processes, from the very files in `infra/`."""

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.parts.influxdb import InfluxDB
from tests.parts.line import ROOT, Line
from tests.parts.native_plc import NativePlc
from tests.parts.platform import Plant, PlatformBroker, platform
from tests.parts.telegraf import Telegraf
from tests.parts.waiting import free_port, wait_until

__all__ = ["PRESS", "Stack"]

ENV = ("MQTT_USERNAME", "MQTT_PASSWORD", "MQTT_TLS", "EDGE_TOKEN", "KEEP_AFTER_ACK")
"""What an edge takes of the platform's `.env` as it stands there."""
PRESS = struct.pack(">BxffHH", 0b110, 5.0, 2.25, 5000, 40)
"""A press that runs; its current is a REAL that happens to be a whole number."""


class Stack:
    """Broker and database, set up as a person would; Telegraf is started by each test.

    Attributes:
        plant: the installation.
        broker: Mosquitto, running.
        influx: InfluxDB, running, set up.
        token: InfluxDB's operator token.
        edge_port: where Telegraf looks for an edge's metrics.
    """

    def __init__(self, plant: Plant, broker: PlatformBroker, influx: InfluxDB) -> None:
        """Set InfluxDB up."""
        self.plant, self.broker, self.influx = plant, broker, influx
        self.env = plant.env
        self.token = self.env["INFLUX_TOKEN"]
        self.edge_port = free_port()
        self.set_up()

    def set_up(self, *options: str, code: int = 0) -> str:
        """Run `infra/influx/setup.py`; what it said."""
        environment = {**os.environ, "INFLUX_URL": self.influx.url}
        command = [sys.executable, str(self.plant.infra / "influx" / "setup.py"), *options]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def secret(self, name: str) -> str:
        """The token that was made for somebody."""
        return (self.plant.infra / "secrets" / "influx" / f"{name}.token").read_text(encoding="ascii")

    @contextmanager
    def telegraf(self, client: str = "telegraf", **environment: str) -> Iterator[Telegraf]:
        """A Telegraf by the platform's own start script, connected."""
        folder = self.plant.infra.parent / client
        folder.mkdir(exist_ok=True)
        given = {
            "TELEGRAF_SECRETS": str(self.plant.infra / "secrets" / "influx"),
            "TELEGRAF_MQTT_URL": f"ssl://{self.broker.host}:{self.broker.port}",
            "MQTT_CA_FILE": str(self.broker.ca_file),
            "TELEGRAF_MQTT_USER": self.env["TELEGRAF_MQTT_USER"],
            "TELEGRAF_MQTT_PASSWORD": self.env["TELEGRAF_MQTT_PASSWORD"],
            "TELEGRAF_CLIENT_ID": client,
            "TELEGRAF_SESSION": self.env["TELEGRAF_SESSION"],
            "TELEGRAF_HEALTH_LISTEN": f"127.0.0.1:{free_port()}",
            "INFLUX_URL": self.influx.url,
            "EDGE_METRICS_URL": f"http://127.0.0.1:{self.edge_port}/metrics",
            "EDGE_TOKEN": self.env["EDGE_TOKEN"],
        }
        made = Telegraf(self.plant.infra / "telegraf" / "run", folder, given | environment)
        try:
            with self.subscribed(client):
                made.start()
            yield made
        finally:
            made.stop()

    @contextmanager
    def subscribed(self, client: str = "telegraf") -> Iterator[None]:
        """What is done within makes a Telegraf come (again): return when the broker has taken all its subscriptions."""
        last = {"frames": "plc/+/+", "sensors": "mov/dados/#"}
        lines = [f": {client}-{name}{self.env['TELEGRAF_SESSION']} 1 {topic}" for name, topic in last.items()]
        before = [self.broker.log.count(line) for line in lines]
        yield
        wait_until(
            lambda: all(self.broker.log.count(line) > old for line, old in zip(lines, before, strict=True)),
            f"{client} has subscribed",
        )

    def publish(self, topic: str, *bodies: str, user: str = "") -> None:
        """Publish by TLS with QoS 1, each body once, as the edge or as a tenant."""
        name, password = self.env["MQTT_USERNAME"], self.env["MQTT_PASSWORD"]
        if user:
            found = self.plant.variables(self.plant.infra / "secrets" / "tenants" / user / ".env")
            name, password = user, found["MQTT_PASSWORD"]
        where = ["-h", self.broker.host, "-p", str(self.broker.port), "--cafile", str(self.broker.ca_file)]
        command = ["mosquitto_pub", *where, "-u", name, "-P", password, "-q", "1", "-t", topic]
        command += ["-l"] if len(bodies) != 1 else ["-s"] if bodies[0] else ["-n"]
        lines = "".join(f"{body}\n" for body in bodies) if len(bodies) != 1 else bodies[0]
        done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr

    def query(self, flux: str, org: str = "planta") -> list[dict[str, Any]]:
        """The rows of a query, asked with Grafana's token."""
        return self.influx.query(flux, self.secret("grafana" if org == "planta" else "grafana_sensors"), org)

    def points(self, bucket: str, plc: str, org: str = "planta") -> dict[str, dict[str, Any]]:
        """What is stored of one PLC, of all times: fields with their values, by time."""
        rows = self.query(
            f'from(bucket: "{bucket}") |> range(start: 0, stop: 2200-01-01T00:00:00Z) '
            f'|> filter(fn: (r) => r.plc_id == "{plc}")',
            org,
        )
        found: dict[str, dict[str, Any]] = {}
        for row in rows:
            fields = found.setdefault(row["_time"], {})
            assert row["_field"] not in fields, f"two series of {plc}: {row}"
            fields[row["_field"]] = row["_value"]
        return found

    def edge(self, folder: Path, plc: NativePlc, plc_id: str, poll: str = "10ms") -> Line:
        """The shipped line as the platform's `.env` describes it: it keeps what is acknowledged."""
        text = (ROOT / "configs" / "line1.yaml").read_text(encoding="utf-8")
        # Many signs of life, since one that took a reading's millisecond would be the same point.
        assert "every: 30s" in text
        text = text.replace("every: 30s", "every: 1s")
        file = folder / "line1.yaml"
        file.write_text(text, encoding="utf-8")
        environment = {
            **{
                name: self.env[name]
                for name in ("MQTT_USERNAME", "MQTT_PASSWORD", "MQTT_TLS", "EDGE_TOKEN", "KEEP_AFTER_ACK")
            },
            "MQTT_BROKER": self.broker.host,
            "MQTT_PORT": str(self.broker.port),
            "MQTT_CA_FILE": str(self.broker.ca_file),
            "PLC_IP": "127.0.0.1",
            "PLC_PORT": str(plc.port),
            "TENANT_ID": "acme",
            "PLC_ID": plc_id,
            "POLL_INTERVAL": poll,
            "METRICS_PORT": str(self.edge_port),
            "DATA_DIR": str(folder / "data"),
        }
        return Line(file, environment, folder)

    def subscribe_as(self, tenant: str, client: str) -> None:
        """Let a tenant connect under a client id, with a clean session, and go."""
        found = self.plant.variables(self.plant.infra / "secrets" / "tenants" / tenant / ".env")
        where = ["-h", "127.0.0.1", "-p", str(self.broker.plain_port), "-u", tenant, "-P", found["MQTT_PASSWORD"]]
        command = ["mosquitto_sub", *where, "-i", client, "-t", f"plc/{tenant}/none", "-E"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def frames(self, topic: str) -> list[dict[str, Any]]:
        """What has come on a topic since the last call, to a subscriber that is not ours; the first call subscribes.

        What waits in the session is sent before the subscription is confirmed, and then the client ends.
        """
        login = ["-u", self.env["ANALYTICS_MQTT_USER"], "-P", self.env["ANALYTICS_MQTT_PASSWORD"]]
        where = ["-h", "127.0.0.1", "-p", str(self.broker.plain_port), "-q", "1", "-c", "-i", "referee", "-E"]
        done = subprocess.run(
            ["mosquitto_sub", *where, *login, "-t", topic], capture_output=True, text=True, check=True, timeout=60
        )
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A platform with two tenants, new for each module; without Telegraf."""
    with ExitStack() as parts:
        plant = parts.enter_context(platform())
        plant.do("setup")
        for tenant in ("acme", "beta"):
            plant.do("tenant", "add", tenant, "--host", "localhost")
        broker = plant.broker()
        parts.callback(broker.close)
        (plant.infra / "broker" / "conf.d" / "log.conf").write_text("log_type subscribe\n", encoding="utf-8")
        broker.start()
        folder = plant.infra.parent / "influxdb"
        folder.mkdir()
        made = Stack(plant, broker, parts.enter_context(InfluxDB(folder)))
        yield made
        if kept := os.environ.get("KEEP_LOGS"):
            shutil.copytree(plant.infra.parent, kept, dirs_exist_ok=True)


@pytest.fixture
def press(native_plc: Callable[..., NativePlc]) -> NativePlc:
    """A C++ S7 server with the press in DB1; contador_bom goes up by one every 5 ms."""
    return native_plc({1: PRESS}, counter=(1, 10), tick=0.005)
