"""The offline bundle: made from this checkout, installed where there is no network, and run there."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.parts.line import ROOT
from tests.parts.platform import platform

pytestmark = [pytest.mark.real("netns", "openssl"), pytest.mark.timeout(300)]

OFFLINE = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "offline"]
"""Loopback, and nothing else."""


def run(*command: object, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Without a network; the program finds nothing of this checkout."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    whole = [*OFFLINE, *map(str, command)]
    return subprocess.run(whole, capture_output=True, text=True, check=False, cwd=cwd, env=env | environment)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that an archive of this checkout has in it."""
    folder = tmp_path_factory.mktemp("bundle")
    archive = folder / "edge.tar.gz"
    command = [sys.executable, ROOT / "infra" / "bundle.py", "-o", archive]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def installed(unpacked: Path) -> Path:
    """Where it was installed, with the folder of a tenant."""
    target = unpacked.parent
    (target / "units").mkdir()
    with platform() as plant:
        plant.do("setup")
        plant.do("tenant", "add", "acme", "--host", "localhost")
        tenant = plant.infra / "secrets" / "tenants" / "acme"
        done = install(unpacked, target, "--tenant", tenant)
    assert done.returncode == 0, done.stderr
    return target


def install(unpacked: Path, target: Path, *more: object) -> "subprocess.CompletedProcess[str]":
    """Run the archive's own script."""
    options = ("--to", target / "program", "--etc", target / "etc", "--units", target / "units")
    return run(sys.executable, "install.py", *options, *more, cwd=unpacked)


def test_it_installs_and_runs_without_a_network(installed):
    """The graph is checked with the tenant's variables; a whole line, PLC and broker with it, makes frames."""
    program = installed / "program" / "bin" / "pipeline"
    variables = dict(
        line.split("=", 1) for line in (installed / "etc" / "line1.env").read_text().splitlines() if line[:1] != "#"
    )
    assert variables["MQTT_CA_FILE"] == str(installed / "etc" / "ca.crt")
    good = run(
        program, "check", "etc/line1.yaml", cwd=installed, **variables | {"PLC_IP": "127.0.0.1", "PLC_ID": "press1"}
    )
    assert good.returncode == 0, good.stderr
    unnamed = run(program, "check", "etc/line1.yaml", cwd=installed, **variables | {"PLC_IP": "127.0.0.1"})
    assert "has no plc_id" in unnamed.stderr
    script = (
        f"{program} demo >log 2>&1 & for i in $(seq 300); do "
        "python3 -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:9108/readyz\")' 2>/dev/null && break; "
        "sleep 0.1; done; kill $!; wait $!"
    )
    ran = run("bash", "-c", script, cwd=installed, DATA_DIR=str(installed / "data"))
    log = (installed / "log").read_text(encoding="utf-8")
    assert ran.returncode == 0, log
    assert "MQTT publish topic resolved to:" in log


def test_secrets_are_for_root_and_the_service_alone(installed):
    """Variables and key 600; what the service itself reads 644; the unit is where systemd looks."""
    modes = {path.name: path.stat().st_mode & 0o777 for path in (installed / "etc").iterdir()}
    graphs = dict.fromkeys(("line1.yaml", "line1-oee.yaml", "db500.yaml", "analytics.yaml"), 0o644)
    assert modes == graphs | {"line1.env": 0o600, "ca.crt": 0o644, "tls.crt": 0o644, "tls.key": 0o600}
    assert (installed / "units" / "retrofit@.service").is_file()


def test_installing_again_keeps_what_was_filled_in(unpacked, installed):
    """A newer archive brings the program; variables and graph are the plant's."""
    (installed / "etc" / "line1.env").write_text("PLC_IP=10.0.0.1\n")
    assert install(unpacked, installed).returncode == 0
    assert (installed / "etc" / "line1.env").read_text() == "PLC_IP=10.0.0.1\n"
    assert run(installed / "program" / "bin" / "pipeline", "--version", cwd=installed).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--python", "2.7"), "--python 2.7: write the PC's version as 3.11"),
        (("--python", "3.9"), "--python 3.9: write the PC's version as 3.11"),
        (("--platform", "foo"), "--platform foo: write linux_x86_64"),
    ],
)
def test_a_pc_that_can_not_be_is_refused_in_one_line(arguments, said, tmp_path):
    """Before anything is downloaded."""
    command = [sys.executable, ROOT / "infra" / "bundle.py", "-o", tmp_path / "x", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_service_the_tenants_files_are_laid_out_all_the_same(unpacked, tmp_path):
    """As on Windows: `.env` with the place of `ca.crt` on this machine."""
    tenant = tmp_path / "acme"
    tenant.mkdir()
    for name in (".env", "ca.crt", "tls.crt", "tls.key"):
        (tenant / name).write_text("MQTT_CA_FILE=ca.crt\n" if name == ".env" else "x", encoding="ascii")
    done = install(unpacked, tmp_path, "--no-service", "--tenant", tenant)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc" / "line1.env").read_text() == f"MQTT_CA_FILE={tmp_path / 'etc' / 'ca.crt'}\n"
    assert str(tmp_path / "etc" / "line1.yaml") in done.stdout


def test_a_damaged_archive_and_another_python_are_refused(unpacked, tmp_path):
    """Before anything is installed."""
    about = unpacked / "about.json"
    before = about.read_bytes()
    about.write_bytes(before.replace(b'"python": "3', b'"python": "4'))
    damaged = install(unpacked, tmp_path)
    assert (damaged.returncode, "about.json is missing or damaged" in damaged.stderr) == (1, True)
    sums = (unpacked / "SHA256SUMS").read_text()
    (unpacked / "SHA256SUMS").write_text("".join(f"{line}\n" for line in sums.splitlines() if "about.json" not in line))
    other = install(unpacked, tmp_path)
    assert (other.returncode, "this archive is for Python 4" in other.stderr) == (1, True)
    about.write_bytes(before)
    (unpacked / "SHA256SUMS").write_text(sums)
    assert not (tmp_path / "program").exists()
