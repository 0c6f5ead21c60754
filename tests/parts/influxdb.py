"""InfluxDB 2.7.12 as a process, built once into the user's cache: its HTTP API is complete, the web page is not in it.

with InfluxDB(folder) as influx:                # influx.url; not yet set up
    influx.set_up("planta", "processo", token)  # or infra/influx/setup.py
    rows = influx.query('from(bucket: "processo") |> range(start: 0)', token)
"""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any, Self

from tests.parts.building import built, run, tool
from tests.parts.waiting import free_port, freeze, wait_until

__all__ = ["VERSION", "InfluxDB", "influxd_binary", "influxdb_missing"]

VERSION = "2.7.12"
_FLUX = "github.com/influxdata/flux@v0.196.1"
_INFLUXDB = f"github.com/influxdata/influxdb/v2@v{VERSION}"
_FLAGS = {"GOFLAGS": "-buildvcs=false -mod=mod"}
_ERROR = "error"


def influxd_binary() -> Path:
    """The server's binary; built on first use (minutes).

    Raises:
        OSError: it could not be built, with the end of what the compiler said.
    """
    return built(f"influxdb-{VERSION}", "influxd", _build)


def _build(folder: Path) -> None:
    """Flux's language server in Rust as a static library, and the server in Go around it."""
    go, cargo = tool("go"), tool("cargo")
    for name in ("clang", "protoc", "pkg-config"):
        tool(name)
    work = folder / "build"
    shutil.rmtree(work, ignore_errors=True)
    libflux = _source(go, _FLUX, work / "flux") / "libflux"
    # The file pins an old Rust of its own, which rustup would fetch.
    for pin in (*libflux.parent.glob("rust-toolchain*"), *libflux.glob("rust-toolchain*")):
        pin.unlink()
    run(cargo, "build", "--release", "--no-default-features", "--features", "cffi", "-p", "flux", cwd=libflux)
    release = libflux / "target" / "release"
    (release / "libflux.so").unlink(missing_ok=True)
    (work / "flux.pc").write_text(
        f"Name: Flux\nVersion: 0.196.1\nDescription: Flux\nCflags: -I{libflux}/include\nLibs: -L{release} -lflux\n"
    )
    server = _source(go, _INFLUXDB, work / "influxdb")
    environment = {**_FLAGS, "PKG_CONFIG_PATH": str(work), "CGO_LDFLAGS": "-ldl -lm -lpthread"}
    tags = "sqlite_foreign_keys,sqlite_json,noassets"
    run(go, "build", "-tags", tags, "-o", work / "influxd", "./cmd/influxd", cwd=server, environment=environment)
    (work / "influxd").rename(folder / "influxd")
    shutil.rmtree(work)


def _source(go: str, module: str, to: Path) -> Path:
    """A module's source, writable: it can't be installed directly because of its `replace` line."""
    found = json.loads(run(go, "mod", "download", "-json", module, environment={"GOFLAGS": ""}))
    shutil.copytree(found["Dir"], to)
    for path in (to, *to.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    return to


@cache
def influxdb_missing() -> str:
    """Why there is no InfluxDB here, "" when there is one."""
    try:
        influxd_binary()
    except (OSError, subprocess.SubprocessError) as error:
        return f"no InfluxDB {VERSION}: {error}"
    return ""


class InfluxDB:
    """The server as a process, on a free port, its data in one folder.

    Attributes:
        url: the same after each start.
        log_file: all that it has written.
    """

    def __init__(self, folder: Path) -> None:
        """Describe it; `start` or `with` starts it."""
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.log_file = folder / "influxd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "InfluxDB does not run"
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it, or start it again on the same port with the same data; returns when it answers."""
        command: list[str | Path] = [influxd_binary(), "--http-bind-address", f"127.0.0.1:{self._port}"]
        command += ["--bolt-path", self._folder / "influxd.bolt", "--sqlite-path", self._folder / "influxd.sqlite"]
        command += ["--engine-path", self._folder / "engine", "--reporting-disabled"]
        with self.log_file.open("ab") as log:
            environment = {**os.environ, "INFLUXD_CONFIG_PATH": str(self._folder)}
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, env=environment)
        wait_until(self._healthy, "InfluxDB answers", 60)

    def stop(self) -> None:
        """SIGTERM: it closes its files."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL; nothing when it does not run."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        freeze(self.pid)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def set_up(self, org: str, bucket: str, token: str) -> None:
        """The first user, organisation and bucket, for tests that don't take the platform's own setup."""
        body = {"username": "admin", "password": "password1", "org": org, "bucket": bucket, "token": token}
        self.call("POST", "/api/v2/setup", body)

    def call(self, method: str, path: str, body: object = None, token: str = "") -> Any:
        """What one call of the API answers: JSON as Python has it, None where there is none.

        Args:
            body: str: line protocol or another text; else JSON.
            method: HTTP's.
            path: with the query.
            token: "" sends none.

        Raises:
            AssertionError: it answers no 2xx; the message has the status and the text.
        """
        status, text = self.ask(method, path, body, token)
        assert 200 <= status < 300, f"{method} {path}: {status} {text}"
        return json.loads(text) if text.strip() else None

    def ask(self, method: str, path: str, body: object = None, token: str = "", accept: str = "") -> tuple[int, str]:
        """Status and text of one call, whatever they are."""
        data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "text/plain" if isinstance(body, str) else "application/json"}
        if token:
            headers["Authorization"] = f"Token {token}"
        if accept:
            headers["Accept"] = accept
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - our own server
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own server
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def query(self, flux: str, token: str, org: str = "planta") -> list[dict[str, Any]]:
        """The rows that a Flux query gives, of all its tables; values as the annotations type them, times as text.

        Raises:
            AssertionError: the query fails, also where InfluxDB answers 200 with an `error` column.
        """
        body = {"query": flux, "dialect": {"annotations": ["datatype"]}}
        status, text = self.ask("POST", f"/api/v2/query?org={org}", body, token, "application/csv")
        assert status == 200, f"{status} {text}"
        return list(_rows(text))

    def run_task(self, name: str, token: str) -> None:
        """Run a task now, and wait for its end.

        Raises:
            AssertionError: there is no such task, or it fails; the message has its log.
        """
        found = [
            task for task in self.call("GET", "/api/v2/tasks?limit=500", token=token)["tasks"] if task["name"] == name
        ]
        assert found, f"no task {name}"
        runs = f"/api/v2/tasks/{found[0]['id']}/runs"
        run = self.call("POST", runs, {}, token)["id"]

        ended = ""

        def over() -> bool:
            # For a moment between running and having run the server knows nothing of it, even after it said the end.
            nonlocal ended
            status, text = self.ask("GET", f"{runs}/{run}", token=token)
            ended = json.loads(text)["status"] if status == 200 else ""
            return ended not in {"", "scheduled", "started"}

        wait_until(over, f"task {name} is over", 60)
        if ended != "success":
            raise AssertionError(self.call("GET", f"{runs}/{run}/logs", token=token)["events"][-1]["message"])

    def write(self, lines: str, token: str, bucket: str, org: str = "planta", precision: str = "ns") -> None:
        """Write line protocol."""
        self.call("POST", f"/api/v2/write?org={org}&bucket={bucket}&precision={precision}", lines, token)

    def _healthy(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log[-2000:]
        try:
            return self.ask("GET", "/health")[0] == 200
        except OSError:
            return False

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(30)
            self._process = None


def _rows(text: str) -> Any:
    """The rows of annotated CSV: blocks that a blank line parts, each with types, names and rows."""
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        lines = list(csv.reader(io.StringIO(block)))
        if not block or len(lines) < 2:
            continue
        types, names = (lines[0], lines[1]) if lines[0][0].startswith("#") else (["string"] * len(lines[0]), lines[0])
        assert _ERROR not in names, block
        for line in lines[2:]:
            yield {
                name: _value(kind, cell)
                for name, kind, cell in zip(names[1:], types[1:], line[1:], strict=True)
                if name not in {"result", "table"}
            }


def _value(kind: str, cell: str) -> Any:
    if not cell and kind != "string":
        return None
    if kind in {"long", "unsignedLong"}:
        return int(cell)
    if kind == "double":
        return float(cell)
    if kind == "boolean":
        return cell == "true"
    return cell
