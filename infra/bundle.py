"""Makes one archive that installs the edge on a PC without Internet: wheels, graphs, unit, and an install script.

infra/bundle                                    for machines like this one
infra/bundle --python 3.12 --platform win_amd64 for others
infra/bundle -o edge.tar.gz

On the PC: tar xzf ARCHIVE, then in its folder  sudo python3 install.py  (Windows: py install.py).
Making it needs Internet, Python 3.11 with pip, and this checkout.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GRAPHS = ("line1", "line1-oee", "db500", "analytics")
SHIPPED = (
    *("infra/install.py", "infra/systemd/retrofit@.service", "LICENSE"),
    *(f"configs/{name}.yaml" for name in GRAPHS),
)
_OLDEST = 11
"""Of Python 3, what the program runs with."""
LINUX = ("manylinux_2_28_{}", "manylinux2014_{}", "manylinux_2_17_{}")
"""Wheels that run on Debian 11, Ubuntu 20.04, RHEL 8 and later."""


class BundleError(Exception):
    """What can't be made, and why."""


def main() -> int:
    """Run the command; the exit code."""
    options = _parser().parse_args()
    try:
        archive = make(options.python, options.platform, options.output)
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; choose another place with -o", file=sys.stderr)
        return 1
    print(f"{archive}  {archive.stat().st_size / 1e6:.1f} MB")
    print("On the PC: tar xzf it, and in its folder: sudo python3 install.py")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infra/bundle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = "{}.{}".format(*sys.version_info)
    parser.add_argument("--python", default=here, metavar="X.Y", help=f"the PC's Python (default: this one's, {here})")
    parser.add_argument(
        "--platform", default="", help="linux_x86_64, linux_aarch64, win_amd64; default: this machine's"
    )
    parser.add_argument("-o", "--output", type=Path, help="the archive; default: dist/retrofit-pipeline-....tar.gz")
    return parser


def make(python: str, system: str, output: Path | None) -> Path:
    """The archive's path.

    Args:
        python: version of the PC's Python, `3.11`.
        system: the PC's platform as wheels name it; empty: like this machine.
        output: where the archive goes.

    Raises:
        BundleError: a wheel can't be built or had.
    """
    _check(python, system)
    with tempfile.TemporaryDirectory() as scratch:
        wheels = Path(scratch, "wheels")
        wheels.mkdir()
        _pip("wheel", "--no-deps", "--wheel-dir", wheels, ROOT)
        ours = next(wheels.glob("retrofit_pipeline-*.whl"))
        tags = _tags(python, system)
        wanted = _for_windows(ours) if system.startswith("win") else [str(ours)]
        _pip("download", "--dest", wheels, "--constraint", _constraints(scratch), *tags, *wanted, "pip")
        version = ours.name.split("-")[1]
        name = f"retrofit-pipeline-{version}-py{python}-{system or _here()}"
        files = {f"wheels/{wheel.name}": wheel.read_bytes() for wheel in sorted(wheels.glob("*.whl"))}
        files.update({Path(each).name: (ROOT / each).read_bytes() for each in SHIPPED})
        about = {"version": version, "python": python, "platform": system or _here()}
        files["about.json"] = json.dumps(about, indent=1).encode()
        sums = [f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in sorted(files.items())]
        files["SHA256SUMS"] = "".join(sums).encode()
        return _pack(output or ROOT / "dist" / f"{name}.tar.gz", name, files)


def _check(python: str, system: str) -> None:
    version = re.fullmatch(r"3\.([0-9]+)", python)
    if version is None or int(version[1]) < _OLDEST:
        raise BundleError(f"--python {python}: write the PC's version as 3.{_OLDEST}, or a later one")
    if system and not re.fullmatch(r"(linux|macosx?|win)_\w+", system):
        raise BundleError(f"--platform {system}: write linux_x86_64, linux_aarch64 or win_amd64")


def _here() -> str:
    return f"{platform.system().lower()}_{platform.machine().lower()}".replace("windows_", "win_")


def _tags(python: str, system: str) -> list[str]:
    """Which wheels are downloaded: ready-made ones only, since the PC has no compiler."""
    if not system and python == "{}.{}".format(*sys.version_info):
        return ["--only-binary=:all:"]
    system = system or _here()
    linux = system.startswith("linux_")
    platforms = [each.format(system[len("linux_") :]) for each in LINUX] if linux else [system]
    chosen = [word for each in platforms for word in ("--platform", each)]
    return ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", *chosen]


def _for_windows(wheel: Path) -> list[str]:
    """What the program needs there: pip judges conditions such as `sys_platform` by the machine that it runs on."""
    with zipfile.ZipFile(wheel) as opened:
        name = next(each for each in opened.namelist() if each.endswith(".dist-info/METADATA"))
        found = message_from_bytes(opened.read(name)).get_all("Requires-Dist", [])
    needed = [each.partition(";") for each in found if "extra ==" not in each]
    return [name.strip() for name, _, condition in needed if "!= 'win32'" not in condition.replace('"', "'")] + [
        "colorama"
    ]


def _constraints(scratch: str) -> Path:
    """The versions that the tests ran with."""
    lock = (ROOT / ".ci" / "requirements.lock").read_text(encoding="utf-8")
    path = Path(scratch, "constraints.txt")
    path.write_text("".join(line for line in lock.splitlines(keepends=True) if not line.startswith("pip==")))
    return path


def _pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own Python
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or done.stderr.splitlines()
        raise BundleError(f"pip: {lines[-1].removeprefix('ERROR: ') if lines else done.stdout.strip()}")


def _pack(archive: Path, name: str, files: dict[str, bytes]) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as opened:
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mode = len(content), 0o644
            opened.addfile(entry, io.BytesIO(content))
    return archive


if __name__ == "__main__":
    sys.exit(main())
