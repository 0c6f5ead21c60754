"""The platform as `infra/` makes it, in a folder of its own: secrets by `infra/setup`, the broker from its very files.

with platform() as plant:                            # plant.env: what stands in .env
    broker = plant.broker()
    broker.start()
    plant.run("tenant", "add", "acme", "--host", "localhost")
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.parts.mosquitto import Mosquitto
from tests.parts.waiting import free_port

__all__ = ["INFRA", "Plant", "PlatformBroker", "platform"]

INFRA = Path(__file__).parents[2] / "infra"
_MADE = shutil.ignore_patterns(".env", "secrets", "data", "backups", "__pycache__")


class PlatformBroker(Mosquitto):
    """Mosquitto from `infra/mosquitto` and what `setup` has made, as the user who owns those files.

    Attributes:
        mutual_port: the listener's that asks for certificates.
        web_port: the WebSockets listener's.
    """

    def __init__(self, infra: Path, monitor: tuple[str, str], changes: Mapping[str, str]) -> None:
        """Lay the files out for free loopback ports; nothing is started.

        Args:
            infra: where `setup` has run.
            monitor: user and password of its subscribers: Telegraf's.
            changes: lines of `mosquitto.conf`, and what stands there instead.
        """
        self._folder, self.monitor, self._subscribers, self._process = infra, monitor, [], None
        self._log, self._config = infra / "mosquitto.log", infra / "broker" / "mosquitto.conf"
        self.ca_file = infra / "secrets" / "ca.crt"
        self.port, self.mutual_port, self.plain_port, self.web_port = (free_port() for _ in range(4))
        if os.getuid() == 0:
            owner = (infra / "secrets").stat()
            self._run_as = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        (infra / "broker" / "conf.d").mkdir(parents=True)
        places: dict[str, object] = {
            **changes,
            "/etc/mosquitto/retrofit": infra / "secrets" / "mosquitto",
            "/var/lib/mosquitto": infra / "data" / "mosquitto",
            "/etc/mosquitto/conf.d": infra / "broker" / "conf.d",
            "listener 8883": f"listener {self.port} 127.0.0.1",
            "listener 8884": f"listener {self.mutual_port} 127.0.0.1",
        }
        self._lay(infra / "mosquitto" / "mosquitto.conf", self._config, places)
        wanted = {"listener 1883": self.plain_port, "listener 9001": self.web_port}
        ports = {line: f"listener {port} 127.0.0.1" for line, port in wanted.items()}
        plain = infra / "mosquitto" / "conf.d.docker" / "plain.conf"
        self._lay(plain, infra / "broker" / "conf.d" / "plain.conf", ports)

    @staticmethod
    def _lay(source: Path, target: Path, changes: dict[str, object]) -> None:
        """A shipped file with other paths and ports, and with nothing else changed."""
        text = source.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert old in text, f"{source} has no {old}"
            text = text.replace(old, str(new))
        target.write_text(text, encoding="utf-8")

    @property
    def database(self) -> Path:
        """The file that sessions and what waits for them are saved in."""
        return self._folder / "data" / "mosquitto" / "mosquitto.db"


class Plant:
    """One installation.

    Attributes:
        infra: its folder.
    """

    def __init__(self, infra: Path) -> None:
        """Copy what is shipped; nothing is made yet."""
        shutil.copytree(INFRA, infra, ignore=_MADE)
        self.infra = infra

    @property
    def env(self) -> dict[str, str]:
        """The variables, read as plainly as can be."""
        return self.variables(self.infra / ".env")

    @staticmethod
    def variables(file: Path) -> dict[str, str]:
        """The variables of one such file."""
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if "=" in line and line[0] != "#"]
        return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}

    def run(self, command: str, *arguments: str, python: str = sys.executable) -> "subprocess.CompletedProcess[str]":
        """Run `infra/<command>.py`; its output is kept, and its exit code is the caller's to judge."""
        whole = [python, str(self.infra / f"{command}.py"), *arguments]
        return subprocess.run(whole, capture_output=True, text=True, check=False, cwd=self.infra.parent)

    def do(self, command: str, *arguments: str) -> str:
        """The same for what must succeed; what it said."""
        done = self.run(command, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def broker(self, changes: Mapping[str, str] | None = None) -> PlatformBroker:
        """Its broker, not started; `changes`: lines of `mosquitto.conf`, and what stands there instead."""
        env = self.env
        return PlatformBroker(self.infra, (env["TELEGRAF_MQTT_USER"], env["TELEGRAF_MQTT_PASSWORD"]), changes or {})


@contextmanager
def platform() -> Iterator[Plant]:
    """A folder that the services' own user can enter, unlike pytest's; it is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="platform-") as folder:
        Path(folder).chmod(0o755)
        yield Plant(Path(folder) / "infra")
