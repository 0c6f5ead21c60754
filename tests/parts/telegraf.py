"""Telegraf 1.39.0, built once into the user's cache with no more plugins than our stack and benchmarks use.

with Telegraf(config, folder, {"MQTT_PORT": "1883"}) as telegraf:    # telegraf.pid, telegraf.log
    ...
"""

import os
import signal
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Self
from zlib import crc32

from tests.parts.building import built, run, tool

__all__ = ["VERSION", "Telegraf", "telegraf_binary", "telegraf_missing"]

VERSION = "1.39.0"
"""Not 1.37.2, whose MQTT consumer stalls for good after a refused reconnect."""
_TAGS = (
    "custom,inputs.mqtt_consumer,inputs.prometheus,inputs.internal,inputs.s7comm,"
    "outputs.influxdb_v2,outputs.mqtt,outputs.file,outputs.health,"
    "parsers.json_v2,parsers.xpath,parsers.prometheus,parsers.value,"
    "processors.converter,processors.override,processors.regex,processors.defaults,processors.starlark,"
    "serializers.influx,serializers.json"
)


def telegraf_binary() -> Path:
    """The binary; built on first use (minutes), by one process at a time.

    Raises:
        OSError: it could not be built, with the end of what Go said.
    """
    return built(f"telegraf-{VERSION}-{crc32(_TAGS.encode()):08x}", "telegraf", _build)


def _build(folder: Path) -> None:
    environment = {"GOBIN": str(folder / "new"), "GOFLAGS": "-buildvcs=false"}
    module = f"github.com/influxdata/telegraf/cmd/telegraf@v{VERSION}"
    run(tool("go"), "install", "-tags", _TAGS, module, environment=environment)
    (folder / "new" / "telegraf").rename(folder / "telegraf")
    (folder / "new").rmdir()


@cache
def telegraf_missing() -> str:
    """Why there is no Telegraf here, "" when there is one."""
    try:
        telegraf_binary()
    except (OSError, subprocess.SubprocessError) as error:
        return f"no Telegraf {VERSION}: {error}"
    return ""


class Telegraf:
    """Telegraf as a process.

    Attributes:
        log_file: all that it has written.
    """

    def __init__(self, config: Path, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """Describe it; `start` or `with` starts it.

        Args:
            config: its configuration: a file, or a folder of files; or a script that starts it.
            folder: its working folder, where its log goes too.
            environment: added to this process's own; the configuration's `${NAME}`.
        """
        self.log_file = folder / "telegraf.log"
        binary = telegraf_binary()
        if config.is_dir():
            self._command = [str(binary), "--config-directory", str(config), "--config", os.devnull]
        elif os.access(config, os.X_OK):
            self._command = [str(config)]
        else:
            self._command = [str(binary), "--config", str(config)]
        self._folder = folder
        path = os.pathsep.join((str(binary.parent), os.environ.get("PATH", os.defpath)))
        self._environment = {**os.environ, "PATH": path, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "Telegraf does not run"
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

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

    def kill(self) -> None:
        """`kill -9`."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after ten seconds; nothing when it does not run."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
