"""One small file that is always whole: written beside itself, synced, and put in place."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from pipeline.alerting.machine import Saved

__all__ = ["load", "save"]


def load(path: Path) -> tuple[Saved, str]:
    """What the last run has saved, and what was wrong with it in words; a damaged file is moved aside.

    Raises:
        OSError: it can't be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Saved), ""
    except FileNotFoundError:
        return Saved(), ""
    except (ValueError, RecursionError) as error:  # texts that are not UTF-8 are no errors of msgspec's own
        aside = path.with_suffix(f"{path.suffix}.damaged")
        path.replace(aside)
        return Saved(), f"{path} is damaged ({error}) and was moved to {aside}; alerts that still fire are told again"


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
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
