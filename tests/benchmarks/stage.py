"""Where benchmarks play: a broker, PLCs and a subscriber, and on them the pipeline or Telegraf as a process."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Self

import msgspec

from tests.benchmarks.loads import Load
from tests.benchmarks.measure import Usage, Watch
from tests.benchmarks.subscriber import Subscriber
from tests.parts.line import Line
from tests.parts.mosquitto import PASSWORDS, Mosquitto
from tests.parts.native_plc import NativePlc
from tests.parts.telegraf import Telegraf
from tests.parts.waiting import free_port, wait_until

__all__ = ["Effort", "Measured", "Stage", "graph", "measure"]

_HERE = Path(__file__).parent
_SLOW = 2
"""Hertz."""
_TOGETHER = 250
"""Servers in one process: the C++ one fails beyond 1,024 sockets, and each server has two."""


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        quick: only see that it works.
        rounds: of each side; None leaves it to the benchmark.
    """

    quick: bool = False
    rounds: int | None = None

    def pick(self, full: float, quick: float) -> float:
        """One of the two."""
        return quick if self.quick else full

    def times(self, full: int) -> int:
        """Rounds."""
        return self.rounds or (1 if self.quick else full)


@dataclass(frozen=True)
class Measured:
    """One side in one round.

    Attributes:
        frames: delivered to the subscriber.
        size: bytes of their payloads.
        usage: of the process.
        nominal: frames that should have come.
    """

    frames: int
    size: int
    usage: Usage
    nominal: float

    @property
    def cpu(self) -> float:
        """Microseconds a frame."""
        return 1e6 * self.usage.cpu / max(self.frames, 1)

    @property
    def delivered(self) -> float:
        """1 when all that should have come did."""
        return self.frames / self.nominal


class Stage:
    """A broker and PLCs for one benchmark; everything ends and vanishes with it.

    Attributes:
        load: what is read.
        folder: its files.
        broker: Mosquitto, without TLS as far as benchmarks use it.
        plc_port: where the C++ servers listen, one on each address of the load.
    """

    def __init__(self, load: Load) -> None:
        """Prepare; `with` starts it."""
        self.load = load
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.broker = Mosquitto(self.folder, fast=True)
        self._stack.callback(self.broker.close)
        self.broker.start()
        blocks, port = {1: self.load.block.content}, free_port()
        for start in range(0, self.load.plcs, _TOGETHER):
            addresses = self.load.addresses[start : start + _TOGETHER]
            self._stack.enter_context(NativePlc(blocks, addresses=addresses, port=port))
        self.plc_port = port
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def subscribe(self, *, keep: bool = False) -> Subscriber:
        """A new subscriber, for a `with`."""
        return Subscriber(self.broker.plain_port, keep=keep)

    @contextmanager
    def pipeline(self, document: dict[str, Any] | None = None) -> Iterator[Line]:
        """The pipeline on a graph (`graph(self)` unless told), ready; killed at the end."""
        run = Path(tempfile.mkdtemp(dir=self.folder))
        file = run / "graph.yaml"
        file.write_bytes(msgspec.json.encode(document or graph(self)))  # JSON is YAML
        with Line(file, {"MQTT_PASSWORD": PASSWORDS["edge"], "DATA_DIR": str(run)}, run) as line:
            yield line

    @contextmanager
    def telegraf(self) -> Iterator[Telegraf]:
        """Telegraf on the same load."""
        run = Path(tempfile.mkdtemp(dir=self.folder))
        plc = Template((_HERE / "telegraf-plc.conf").read_text(encoding="utf-8"))
        fields = ", ".join(f'{{name="{each.name}", address="{each.telegraf}"}}' for each in self.load.block.fields)
        inputs = [
            plc.substitute(address=f"{address}:{self.plc_port}", fields=fields, plc_id=f"plc{number}")
            for number, address in enumerate(self.load.addresses)
        ]
        file = run / "telegraf.conf"
        file.write_text((_HERE / "telegraf.conf").read_text(encoding="utf-8") + "".join(inputs), encoding="utf-8")
        environment = {
            "EVERY": self.load.every,
            "MQTT_PORT": str(self.broker.plain_port),
            "MQTT_PASSWORD": PASSWORDS["edge"],
        }
        with Telegraf(file, run, {**os.environ, **environment}) as telegraf:
            yield telegraf


def graph(stage: Stage, *, plc_port: int = 0, **journal: object) -> dict[str, Any]:
    """A graph with everything on: page, metrics, heartbeat, QoS 1, journal.

    Args:
        stage: whose load, PLCs and broker it uses.
        plc_port: another port than the PLCs' own: a proxy's.
        journal: more options of the journal.
    """
    load, port = stage.load, plc_port or stage.plc_port
    plcs = [
        {"plc_id": f"plc{number}", "address": address, "port": port} for number, address in enumerate(load.addresses)
    ]
    return {
        "name": "bench",
        "http": {"listen": "127.0.0.1:${METRICS_PORT}"},
        "layouts": {"block": load.block.layout},
        "sources": {
            "plcs": {
                "type": "s7",
                "plcs": plcs,
                "tenant_id": "acme",
                "every": load.every,
                "blocks": [{"db": 1, "layout": "block"}],
            }
        },
        "transforms": {"frames": {"type": "heartbeat", "from": "plcs", "every": "10m"}},
        "sinks": {
            "broker": {
                "type": "mqtt",
                "from": "frames",
                "host": "127.0.0.1",
                "port": stage.broker.plain_port,
                "qos": 1,
                "username": "edge",
                "password": "${MQTT_PASSWORD}",
                "tls": {"enabled": False},
                "journal": {"path": "${DATA_DIR}/journal", **journal},
            }
        },
    }


def measure(pid: int, subscriber: Subscriber, load: Load, seconds: float, warm: float = 3.0) -> Measured:
    """What a process costs per frame, once frames have begun to come.

    What comes slowly is counted from the middle between two readings, so that whole readings are counted.
    """
    wait_until(lambda: subscriber.count >= load.plcs, "frames come", 60)
    time.sleep(warm)
    if load.hertz <= _SLOW:
        passed = subscriber.count
        wait_until(lambda: subscriber.count > passed, "the next reading")
        time.sleep(0.5 / load.hertz)
    watch, frames, size = Watch(pid), subscriber.count, subscriber.bytes
    time.sleep(seconds)
    usage = watch.read()
    readings = usage.seconds * load.hertz
    nominal = load.plcs * (round(readings) if load.hertz <= _SLOW else readings)
    return Measured(subscriber.count - frames, subscriber.bytes - size, usage, nominal)
