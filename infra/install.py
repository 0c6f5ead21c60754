"""Installs the edge from the archive that this lies in, without a network.

sudo python3 install.py                         /opt/retrofit-pipeline; graphs and unit, where there is systemd
sudo python3 install.py --tenant acme/          also its variables, certificate and authority, as infra/tenant made them
python3 install.py --to ~/retrofit --no-service for one user; the same with `py` on Windows

What is in /etc/retrofit-pipeline already stays. It needs the Python that the archive was made for, and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
UNIT = "retrofit@.service"


class InstallError(Exception):
    """What has to be decided or mended; the message says what."""


def main() -> int:
    """Run the command; the exit code."""
    options = _parser().parse_args()
    os.umask(0o022)  # the service is another user
    try:
        _verify()
        program = _install(options.to)
        if options.service or options.tenant:
            _configure(options.etc, options.tenant)
        if options.service:
            _unit(options.units)
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        hint = "; run it by sudo, or with --to and --no-service" if isinstance(error, PermissionError) else ""
        print(f"error: {error.filename}: {error.strerror}{hint}", file=sys.stderr)
        return 1
    _say_what_next(options, program)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    windows = os.name == "nt"
    home = Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "retrofit-pipeline"
    parser.add_argument("--to", type=Path, default=home if windows else Path("/opt/retrofit-pipeline"))
    parser.add_argument(
        "--etc",
        type=Path,
        default=home / "etc" if windows else Path("/etc/retrofit-pipeline"),
        help="graphs and variables",
    )
    parser.add_argument("--units", type=Path, default=Path("/etc/systemd/system"), help="units of systemd")
    parser.add_argument("--tenant", type=Path, help="the folder that infra/tenant has made")
    parser.add_argument("--no-service", dest="service", action="store_false", default=not windows, help="program only")
    return parser


def _verify() -> None:
    """Each file as it was packed, and for this Python."""
    for line in (HERE / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        wanted, _, name = line.partition("  ")
        path = HERE / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise InstallError(f"{name} is missing or damaged: copy the archive again")
    about = json.loads((HERE / "about.json").read_text(encoding="utf-8"))
    here = "{}.{}".format(*sys.version_info)
    if about["python"] != here:
        hint = f"make another by infra/bundle --python {here}"
        raise InstallError(f"this archive is for Python {about['python']}, and this is Python {here}: {hint}")


def _install(to: Path) -> Path:
    """The program's path. pip is a wheel of the archive: Debian's Python has none without another package."""
    venv.create(to, with_pip=False, clear=False, symlinks=os.name != "nt")
    folder = to / ("Scripts" if os.name == "nt" else "bin")
    python = folder / ("python.exe" if os.name == "nt" else "python")
    pip = next((HERE / "wheels").glob("pip-*.whl"))
    command = [python, pip / "pip", "--disable-pip-version-check", "install", "-q", "--no-index", "--upgrade"]
    command += ["--find-links", HERE / "wheels", "--force-reinstall", "retrofit-pipeline"]
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise InstallError(f"pip: {done.stderr.strip()}")
    return folder / ("pipeline.exe" if os.name == "nt" else "pipeline")


def _configure(etc: Path, tenant: Path | None) -> None:
    """The graphs, the variables of line1, and whom it trusts. Root alone reads what is secret."""
    etc.mkdir(mode=0o755, parents=True, exist_ok=True)
    for graph in HERE.glob("*.yaml"):
        _put(etc / graph.name, graph.read_text(encoding="utf-8"), 0o644)
    if tenant is None:
        _put(etc / "line1.env", "PLC_IP=\nPLC_ID=\nTENANT_ID=\nMQTT_BROKER=\nKEEP_AFTER_ACK=24h\n", 0o600)
        return
    text = (tenant / ".env").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^MQTT_CA_FILE=.*$", lambda _: f"MQTT_CA_FILE={etc / 'ca.crt'}", text)
    _put(etc / "line1.env", text, 0o600)
    for name, mode in (("ca.crt", 0o644), ("tls.crt", 0o644), ("tls.key", 0o600)):
        _put(etc / name, (tenant / name).read_text(encoding="ascii"), mode)


def _put(path: Path, text: str, mode: int) -> None:
    """Unless it is there."""
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as opened:
            opened.write(text)
        path.chmod(mode)


def _unit(units: Path) -> None:
    shutil.copyfile(HERE / UNIT, units / UNIT)
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "daemon-reload"], check=False)  # noqa: S607 - the system's own


def _say_what_next(options: argparse.Namespace, program: Path) -> None:
    print(f"installed: {program}")
    if options.service:
        print(f"Fill in PLC_IP and what else is empty in {options.etc / 'line1.env'}, and then:")
        print("systemctl enable --now retrofit@line1; journalctl -fu retrofit@line1")
    elif options.tenant:
        print(f"Fill in PLC_IP and what else is empty in {options.etc / 'line1.env'}, set its variables, and then:")
        print(f"{program} {options.etc / 'line1.yaml'}")


if __name__ == "__main__":
    sys.exit(main())
