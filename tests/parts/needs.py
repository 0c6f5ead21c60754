"""Parts of the system that some tests need. Where one is missing a test is skipped with the reason; in CI it fails.

python -m tests.parts.needs telegraf influxdb    builds what is built, and says what is missing
"""

import os
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import NoReturn

import pytest

from tests.parts.compose import compose_missing
from tests.parts.influxdb import influxdb_missing
from tests.parts.native_plc import native_missing
from tests.parts.telegraf import telegraf_missing

__all__ = ["IN_CI", "PARTS", "missing"]

IN_CI = os.environ.get("CI", "") not in {"", "0", "false"}

PARTS: dict[str, tuple[Callable[[], str], str]] = {
    "mosquitto": (
        lambda: "" if shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto") else "no mosquitto",
        "apt-get install mosquitto mosquitto-clients",
    ),
    "chromium": (
        lambda: "" if shutil.which("chromium") and find_spec("playwright") else "no chromium, or no playwright",
        "apt-get install chromium, pip install playwright",
    ),
    "strace": (lambda: "" if shutil.which("strace") else "no strace", "apt-get install strace"),
    "faketime": (lambda: "" if shutil.which("faketime") else "no libfaketime", "apt-get install faketime"),
    "openssl": (lambda: "" if shutil.which("openssl") else "no openssl", "apt-get install openssl"),
    "promtool": (lambda: "" if shutil.which("promtool") else "no promtool", "apt-get install prometheus"),
    "systemd": (lambda: "" if shutil.which("systemd-analyze") else "no systemd-analyze", "apt-get install systemd"),
    "netns": (
        lambda: "" if os.name == "posix" and os.getuid() == 0 and shutil.which("unshare") else "no rights for unshare",
        "run the tests as root, with util-linux and iproute2",
    ),
    "native_plc": (native_missing, "python -m venv and pip must work, with PyPI in reach"),
    "telegraf": (telegraf_missing, "Go 1.21 or later, with the Go module proxy in reach; building takes minutes"),
    "compose": (compose_missing, "Go 1.23 or later, with the Go module proxy in reach; building takes minutes"),
    "influxdb": (
        influxdb_missing,
        "apt-get install clang protobuf-compiler pkg-config, Go 1.21, Cargo 1.72, with their registries in reach",
    ),
}
"""By the name in `@pytest.mark.real(name, …)`: why the part is missing ("" when it is there), and how it comes."""


def missing(why: str, how: str) -> NoReturn:
    """Skip the test that calls this, or fail it in CI."""
    text = f"{why}; to have it: {how}"
    if IN_CI:
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def _main(names: list[str]) -> int:
    reasons = [reason for name in names or PARTS if (reason := PARTS[name][0]())]
    for reason in reasons:
        print(reason)  # noqa: T201 - a command
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
