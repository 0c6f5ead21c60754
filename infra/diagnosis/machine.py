"""This machine: what setup has made, room on the disk, backups, the clock."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from diagnosis.finding import GOOD, NOTE, PROBLEM, WARNING, Finding
from diagnosis.platform import Platform
from provision.command import provide
from provision.environment import Environment
from provision.places import Owner
from provision.work import ProvisionError, Work
from saving.archive import KINDS, archives, latest

__all__ = ["examine"]

_FULL, _NEARLY_FULL = 0.03, 0.1
_OLDEST = 26 * 3600


def examine(platform: Platform) -> Iterator[Finding]:
    """All of it; nothing is changed."""
    yield _files(platform)
    yield _clock()
    there = next(each for each in (platform.places.root / "data", platform.places.root) if each.exists())
    usage = shutil.disk_usage(there)
    free = usage.free / usage.total
    mark = PROBLEM if free < _FULL else WARNING if free < _NEARLY_FULL else GOOD
    advice = "" if mark == GOOD else "make room: InfluxDB and the broker refuse when the disk is full"
    yield Finding("machine", "disk", mark, f"{usage.free / 1e9:.1f} GB of {usage.total / 1e9:.1f} GB are free", advice)
    yield from _backups(Path(platform.values.get("BACKUP_DIR") or platform.places.root / "backups"))


def _files(platform: Platform) -> Finding:
    """What `infra/setup --check` says."""
    work = Work(Owner.of(platform.places.root), dry=True)
    env = Environment(platform.places.env)
    if not platform.places.env.is_file():
        return Finding("machine", "setup", PROBLEM, f"{platform.places.env} is not there", "run infra/setup")
    try:
        env.complete(platform.places, work.owner)
        env.save(work)
        provide(platform.places, work, env.values)
    except (ProvisionError, OSError, KeyError) as error:
        return Finding("machine", "setup", PROBLEM, str(error), "run infra/setup")
    if work.done:
        return Finding("machine", "setup", WARNING, f"infra/setup would: {'; '.join(work.done)}", "run infra/setup")
    return Finding("machine", "setup", GOOD, "variables, certificates, users and rights are all there")


def _clock() -> Finding:
    asked, said = shutil.which("timedatectl"), ""
    if asked:
        command = [asked, "show", "-p", "NTPSynchronized", "--value"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 - constant
        said = done.stdout.strip()
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    if said == "yes":
        return Finding("machine", "clock", GOOD, f"{now}, follows a time server")
    if said == "no":
        return Finding("machine", "clock", WARNING, f"{now}, follows no time server", "timedatectl set-ntp true")
    return Finding("machine", "clock", NOTE, f"{now}; whether it follows a time server is not told", "compare it")


def _backups(folder: Path) -> Iterator[Finding]:
    made = latest(folder)
    for kind in KINDS:
        yield _backup(kind, made[kind].made if kind in made else None)
    for each in archives(folder):
        if each.ahead:
            advice = (
                "the clock was wrong then, or is now; it counts for nothing: rename it to its true time, or remove it"
            )
            yield Finding("machine", "backup", WARNING, f"{each.path} is of the future", advice)


def _backup(kind: str, made: float | None) -> Finding:
    advice = "infra/backup now says why; docker compose -f infra/compose.yaml logs backup"
    if made is None:
        return Finding("machine", "backup", WARNING, f"there is no backup of {kind}", advice)
    hours = (time.time() - made) / 3600
    mark = WARNING if hours * 3600 > _OLDEST else GOOD
    return Finding("machine", "backup", mark, f"{kind}: {hours:.0f} hours old", advice if mark != GOOD else "")
