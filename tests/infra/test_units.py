"""What runs without Docker: units that systemd understands and that give a service no more rights than it needs."""

import re
import shutil
import subprocess

import pytest

from tests.parts.platform import INFRA

UNITS = sorted(path for path in (INFRA / "systemd").iterdir())


@pytest.mark.real("systemd")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_knows_every_line(unit, tmp_path):
    """`systemd-analyze verify` has nothing to say but that the program is not installed here."""
    for each in UNITS:
        shutil.copy(each, tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if unit.name.partition("@")[0] in line]
    assert [line for line in said if "is not executable" not in line] == []


@pytest.mark.real("systemd")
@pytest.mark.parametrize("unit", [path for path in UNITS if path.suffix == ".service"], ids=lambda path: path.name)
def test_little_is_left_that_a_service_could_harm(unit):
    """`systemd-analyze security`: 0 is nothing, 10 is everything."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True, text=True, check=False
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= 1.6


def test_what_listens_without_tls_is_for_this_machine():
    """In a container the addresses are Compose's business; on Debian it is loopback, which WebSockets don't heed."""
    lines = {
        kind: [
            line
            for line in (INFRA / "mosquitto" / f"conf.d.{kind}" / "plain.conf").read_text(encoding="utf-8").splitlines()
            if not line.startswith("#")
        ]
        for kind in ("docker", "debian")
    }
    assert lines["docker"] == ["listener 1883", "listener 9001", "protocol websockets"]
    assert lines["debian"] == ["listener 1883 127.0.0.1"]


def test_the_dockerfile_keeps_to_what_can_be_kept_safe():
    """Two stages with one pinned base; not root; a health check; nothing copied that .dockerignore does not name."""
    text = (INFRA / "Dockerfile").read_text(encoding="utf-8")
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-bookworm", bases[0])
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)
    assert "/healthz" in text
    allowed = (INFRA.parent / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert allowed.index("*") < allowed.index("!pipeline")
    copied = {name for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for name in line.split()[:-1]}
    assert copied <= {line[1:] for line in allowed if line.startswith("!")}
    assert all((INFRA.parent / name).exists() for name in copied)
