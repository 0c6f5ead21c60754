"""A real Mosquitto on free loopback ports, with TLS, passwords and an access list, that tests may kill and freeze.

Everything is made on the fly in one folder: an authority and certificates by `openssl`, passwords by
`mosquitto_passwd`. Users come from `ACL`: `edge` writes below `plc/acme/`, `monitor` reads everything. Beside the TLS
listener there is a plain one of the same users and rights.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.parts.waiting import free_port, freeze, wait_until

__all__ = ["ACL", "PASSWORDS", "Authority", "Mosquitto", "Received", "mosquitto"]

PASSWORDS = {"edge": "edge-secret", "other": "other-secret", "monitor": "monitor-secret"}
ACL = """
user edge
topic readwrite plc/acme/#
user other
topic readwrite plc/other/#
user monitor
topic readwrite #
topic read $SYS/#
"""
# Mosquitto's defaults drop what waits for a subscriber beyond 1000 messages, and forget everything at a kill.
_DURABLE = """
log_type all
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
max_inflight_messages 0
max_queued_messages 0
"""
_FAST = """
log_type error
persistence false
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
"""


class Authority:
    """A certificate authority for one test. Everything is valid for two days and stands as PEM files in `folder`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name = folder, name
        self.ca_file = folder / f"{name}.crt"
        self._key = folder / f"{name}.key"
        self._run("req", "-x509", *_KEY, "-keyout", self._key, "-out", self.ca_file, "-days", 2, "-subj", f"/CN={name}")

    def issue(self, name: str, *alternatives: str, days: int = 2) -> tuple[Path, Path]:
        """Certificate and key for `name`; alternatives like `DNS:localhost`, `IP:127.0.0.1`. `days=0`: expired."""
        certificate, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(alternatives)}" if alternatives else "")
        self._run("req", "-new", *_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        signing = ("-CA", self.ca_file, "-CAkey", self._key, "-CAcreateserial", "-extfile", extensions)
        self._run("x509", "-req", "-in", request, "-out", certificate, *signing, "-days", days or -1)
        return certificate, key

    def _run(self, *arguments: object) -> None:
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Received:
    """A message as the independent subscriber got it."""

    topic: str
    body: bytes
    qos: int
    retain: bool


class Subscriber:
    """`mosquitto_sub` with a persistent session: it comes back by itself, and the broker keeps what it misses."""

    def __init__(self, broker: "Mosquitto", *topics: str) -> None:
        self.messages: list[Received] = []
        self._ready = threading.Event()
        command = [
            "mosquitto_sub",
            "-h",
            "127.0.0.1",
            "-p",
            str(broker.plain_port),
            "-q",
            "1",
            "-c",
            "-i",
            "subscriber",
        ]
        user, password = broker.monitor
        command += ["-u", user, "-P", password, "-F", "%r %q %t %x"]
        for topic in (*topics, "$SYS/broker/version"):
            command += ["-t", topic]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        # Topics are subscribed in order, so the retained version comes when all of them are.
        assert self._ready.wait(30), "mosquitto_sub did not subscribe"

    def on(self, topic: str) -> list[Received]:
        """The messages of one topic so far."""
        return [message for message in self.messages if message.topic == topic]

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._thread.join(10)
        self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout:
            retain, qos, topic, body = line.rstrip("\n").split(" ")
            if topic.startswith("$SYS"):
                self._ready.set()
            else:
                self.messages.append(Received(topic, bytes.fromhex(body), int(qos), retain == "1"))


class Mosquitto:
    """One broker process.

    Attributes:
        host: "localhost", what its certificate is for, beside 127.0.0.1.
        port: the TLS listener's.
        plain_port: the plain listener's.
        ca_file: the authority that signed its certificate.
        authority: issues client certificates.
        monitor: user and password of its subscribers.
    """

    host = "localhost"
    monitor = ("monitor", PASSWORDS["monitor"])
    _run_as: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self, folder: Path, *, acl: str = ACL, options: str = "", tls_options: str = "", fast: bool = False
    ) -> None:
        """Make all files; nothing is started.

        Args:
            folder: where everything is.
            acl: the access list.
            options: more lines for the configuration.
            tls_options: more lines for the TLS listener: `require_certificate true`.
            fast: no database on disk and no log of each packet: for measuring others.
        """
        self._folder = folder
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._subscribers: list[Subscriber] = []
        self.port, self.plain_port = free_port(), free_port()
        self.authority = Authority(folder / "tls")
        self.ca_file = self.authority.ca_file
        self._acl, self._config = folder / "acl", folder / "mosquitto.conf"
        self._more = folder / "more"
        self._more.mkdir()
        self.configure(options)
        certificate, key = self.authority.issue("broker", "DNS:localhost", "IP:127.0.0.1")
        passwords = folder / "passwords"
        passwords.write_text("".join(f"{user}:{password}\n" for user, password in PASSWORDS.items()))
        subprocess.run(["mosquitto_passwd", "-U", passwords], check=True, capture_output=True)
        self._acl.write_text(acl)
        self._config.write_text(
            f"user {getpass.getuser()}\nper_listener_settings false\nallow_anonymous false\n"
            f"password_file {passwords}\nacl_file {self._acl}\n"
            f"{(_FAST if fast else _DURABLE).format(folder=folder)}\ninclude_dir {self._more}\n"
            f"listener {self.plain_port} 127.0.0.1\n"
            f"listener {self.port} 127.0.0.1\ncafile {self.ca_file}\ncertfile {certificate}\nkeyfile {key}\n"
            f"{tls_options}\n"
        )

    def configure(self, options: str) -> None:
        """Replace the lines that were given as `options`; they count from the next start."""
        (self._more / "options.conf").write_text(options)

    def start(self) -> None:
        """Start, or start again on the same ports with the same database; returns when it listens."""
        with self._log.open("ab") as log:
            command = ["mosquitto", "-c", self._config]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._run_as)
        wait_until(self._listens, "mosquitto listens")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            socket.create_connection(("127.0.0.1", self.plain_port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """SIGTERM: it says goodbye to its clients and saves its database."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(20)
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        freeze(self._process.pid)

    def thaw(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def allow(self, acl: str) -> None:
        """Change the access list of the running broker."""
        self._acl.write_text(acl)
        self.reload()

    def reload(self) -> None:
        """SIGHUP: users, rights and certificates are read anew."""
        self._process.send_signal(signal.SIGHUP)

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "Mosquitto does not run"
        return self._process.pid

    def subscribe(self, *topics: str) -> Subscriber:
        """A subscriber that outlives the broker's restarts; it ends with `close`."""
        subscriber = Subscriber(self, *topics)
        self._subscribers.append(subscriber)
        return subscriber

    def close(self) -> None:
        """End broker and subscribers."""
        for subscriber in self._subscribers:
            subscriber.stop()
        self._end(signal.SIGKILL)

    @property
    def log(self) -> str:
        """What the broker has written."""
        return self._log.read_text(errors="replace")


@contextmanager
def mosquitto(folder: Path, **options: Any) -> Iterator[Mosquitto]:
    """A started Mosquitto; skips the test where it is not installed, fails there when CI is set."""
    missing = [name for name in ("mosquitto", "mosquitto_sub", "mosquitto_passwd", "openssl") if not shutil.which(name)]
    if missing:
        reason = f"{', '.join(missing)} not found; install: apt-get install mosquitto mosquitto-clients openssl"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    broker = Mosquitto(folder, **options)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()
