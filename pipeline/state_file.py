"""Small files of what outlives a restart, always whole: written beside themselves, synced, and put in place."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

__all__ = ["Writer", "load", "save"]

T = TypeVar("T")


def load(path: Path, kind: type[T]) -> tuple[T | None, str]:
    """What the last run has saved, None where there is nothing, and what was wrong with it in words.

    A damaged file is moved aside.

    Args:
        path: the file, JSON.
        kind: what stands in it.

    Raises:
        OSError: it can't be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind), ""
    except FileNotFoundError:
        return None, ""
    except (ValueError, RecursionError) as error:  # texts that are not UTF-8 are no errors of msgspec's own
        aside = path.with_suffix(f"{path.suffix}.damaged")
        path.replace(aside)
        return None, f"{path} is damaged ({error}) and was moved to {aside}"


def save(path: Path, body: bytes) -> None:
    """Put `body` into the place of what is there; after a power cut it is the one or the other.

    Raises:
        OSError: it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f"{path.suffix}.new")
    with beside.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    if os.name != "posix":
        return  # Windows opens no folders
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Writer:
    """Writes one file off the loop, for who can't wait: always the latest that was given, one at a time."""

    def __init__(self, path: Path, log: structlog.typing.FilteringBoundLogger) -> None:
        """Prepare; nothing is written.

        Args:
            path: the file.
            log: told when it can't be written, once until it can again.
        """
        self._path = path
        self._log = log
        self._lock = threading.Lock()
        self._wanted: bytes | None = None
        self._busy = self._failed = False

    def put(self, loop: asyncio.AbstractEventLoop, body: bytes) -> None:
        """Write `body` soon, in place of what waits."""
        with self._lock:
            self._wanted = body
            if self._busy:
                return
            self._busy = True
        loop.run_in_executor(None, self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                body, self._wanted = self._wanted, None
                if body is None:
                    self._busy = False
                    return
            try:
                save(self._path, body)
            except OSError as error:
                if not self._failed:
                    self._log.error("state file can't be written", path=str(self._path), error=error.strerror)
                self._failed = True
            else:
                self._failed = False
