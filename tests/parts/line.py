"""A whole pipeline as its user runs it, in a process of its own, and the referee who judges what came out of it."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.parts.mosquitto import PASSWORDS, Mosquitto, Received
from tests.parts.waiting import free_port, wait_until

__all__ = ["ROOT", "Line", "Verdict", "frames_of", "judge", "line1_environment"]

ROOT = Path(__file__).parents[2]


def line1_environment(plc_port: int, broker: Mosquitto, data_dir: Path, poll: str = "20ms") -> dict[str, str]:
    """What `configs/line1.yaml` needs to run from a PLC on this machine to a broker with TLS and passwords."""
    return {
        "PLC_IP": "127.0.0.1",
        "PLC_PORT": str(plc_port),
        "MQTT_BROKER": broker.host,
        "MQTT_PORT": str(broker.port),
        "MQTT_TLS": "true",
        "MQTT_CA_FILE": str(broker.ca_file),
        "MQTT_USERNAME": "edge",
        "MQTT_PASSWORD": PASSWORDS["edge"],
        "TENANT_ID": "acme",
        "PLC_ID": "press1",
        "POLL_INTERVAL": poll,
        "DATA_DIR": str(data_dir),
    }


class Line:
    """`python -m pipeline run FILE` as a child process.

    Attributes:
        url: its HTTP interface.
        log_file: all that it has written, over all starts.
    """

    def __init__(
        self,
        file: Path,
        environment: Mapping[str, str],
        folder: Path,
        wrapper: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        """Describe it; `start` or `with` starts it.

        Args:
            file: the graph file.
            environment: added to this process's own; without a METRICS_PORT a free one is taken, and an EDGE_TOKEN is
                what its HTTP interface is asked with.
            folder: its working folder, where its log goes too.
            wrapper: what runs it, such as `strace -D …`; it must leave the process id to the pipeline.
            options: of the command, such as `--watch`.
        """
        environment = {"METRICS_PORT": str(free_port()), **environment}
        self.url = f"http://127.0.0.1:{environment['METRICS_PORT']}"
        self._token = environment.get("EDGE_TOKEN", "")
        self.log_file = folder / "pipeline.log"
        self._command = [*wrapper, sys.executable, "-m", "pipeline", "run", str(file), *options]
        self._folder = folder
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "the pipeline does not run"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a process that has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start it; returns at once."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )

    def wait_ready(self) -> None:
        """Wait until each source has read and each sink is connected."""
        wait_until(self._ready_or_over, f"{self.url}/readyz says 200")
        assert self.exit_code is None, f"the pipeline ended with {self.exit_code}:\n{self.log}"

    def _ready_or_over(self) -> bool:
        return self.exit_code is not None or self.get("/readyz")[0] == 200

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of its HTTP interface; (0, reason) while it does not answer."""
        try:
            headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            request = urllib.request.Request(self.url + path, headers=headers)  # noqa: S310 - our own server
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own server
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(f'{key}="{text}"' in sample for key, text in labels.items()):
                total += float(value)
        return total

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; returns at once."""
        assert self._process is not None
        self._process.send_signal(number)

    def terminate(self, deadline: float = 20.0) -> int:
        """SIGTERM; its exit code. A service manager waits 10 s; here a busy machine gets more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(deadline)
        self._process = None
        return code


@dataclass
class Verdict:
    """What the referee saw, by (plc, boot).

    Attributes:
        highest: the highest `seq`.
        lost: every `seq` between 0 and the highest that never came.
        twice: how many came more than once.
        disorder: how many live frames came after a higher `seq` of their lane.
    """

    highest: dict[tuple[str, str], int] = field(default_factory=dict)
    lost: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    twice: int = 0
    disorder: int = 0


def frames_of(messages: Iterable[Received]) -> list[dict[str, Any]]:
    """The frames among messages, in the order of their arrival; status messages are left out."""
    return [json.loads(message.body) for message in messages if not message.topic.endswith("/status")]


def judge(frames: Iterable[Mapping[str, Any]]) -> Verdict:
    """Judge frames by `seq`, which counts from 0 for each PLC and process start, so that a hole is a lost frame."""
    verdict = Verdict()
    seen: dict[tuple[str, str], set[int]] = defaultdict(set)
    latest: dict[tuple[str, str, bool], int] = {}
    for frame in frames:
        origin = (f"{frame.get('tenant_id', '')}/{frame.get('plc_id', '')}", frame["boot"])
        lane = (*origin, bool(frame.get("replayed")))
        if frame["seq"] in seen[origin]:
            verdict.twice += 1
        else:
            verdict.disorder += frame["seq"] < latest.get(lane, -1)
            latest[lane] = max(frame["seq"], latest.get(lane, -1))
        seen[origin].add(frame["seq"])
    for origin, numbers in seen.items():
        verdict.highest[origin] = max(numbers)
        if missing := sorted(set(range(max(numbers))) - numbers):
            verdict.lost[origin] = missing
    return verdict
