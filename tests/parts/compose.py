"""Docker Compose 2.40.3, built once into the user's cache by Go: it validates a file without an engine."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.parts.building import built, run, tool

__all__ = ["VERSION", "compose", "compose_binary", "compose_missing"]

VERSION = "2.40.3"
_MODULE = f"github.com/docker/compose/v2@v{VERSION}"


def compose_binary() -> Path:
    """The binary; built on first use (minutes).

    Raises:
        OSError: it could not be built, with the end of what the compiler said.
    """
    return built(f"docker-compose-{VERSION}", "docker-compose", _build)


def _build(folder: Path) -> None:
    """From a copy of the module: its `exclude` lines forbid `go install`."""
    go = tool("go")
    found = json.loads(run(go, "mod", "download", "-json", _MODULE, environment={"GOFLAGS": ""}))
    work = folder / "build"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(found["Dir"], work)
    for path in (work, *work.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    flags = {"GOFLAGS": "-buildvcs=false -mod=mod"}
    run(go, "build", "-o", work / "docker-compose", "./cmd", cwd=work, environment=flags)
    (work / "docker-compose").rename(folder / "docker-compose")
    shutil.rmtree(work)


@cache
def compose_missing() -> str:
    """Why there is no Docker Compose here, "" when there is one."""
    try:
        compose_binary()
    except (OSError, subprocess.SubprocessError) as error:
        return f"no Docker Compose {VERSION}: {error}"
    return ""


def compose(file: Path, *profiles: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file as Compose understands it: variables filled in, of each service what will be started.

    Args:
        file: its `.env` beside it counts.
        profiles: instead of those that `.env` names.
        environment: added to a nearly empty one.

    Raises:
        AssertionError: Compose refuses the file; the message says why.
    """
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    command = [compose_binary(), "-f", file, *chosen, "config", "--format", "json"]
    whole = {"PATH": os.environ["PATH"], "HOME": str(file.parent), **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=whole)
    assert done.returncode == 0, done.stderr
    assert "is not set" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
