"""Keeps InfluxDB and Grafana: makes backups while they run, checks them, puts them back.

infra/backup now [influxdb|grafana]   one of each, checked, then old ones removed: see BACKUP_DAYS
infra/backup daily                    the same once a day, for ever; what the container does
infra/backup list                     what there is
infra/backup verify [FILE ...]        reads all of them, and compares each file with its checksum
infra/backup restore FILE             a backup in the place of what there is; asks first, or takes --yes
infra/backup restore FILE --bucket processo --as processo_restored    one bucket, beside what there is
infra/backup fresh                    exit code 1 when the latest is older than 26 hours

Those older than BACKUP_DAYS (7) days are removed, but never the newest two that are good. One whose date is still to
come is of a wrong clock: it is shown, and is never the latest nor removed.
FILE may also be influxdb or grafana: the latest of its kind. They lie in infra/backups (BACKUP_DIR), names in UTC.
Variables come from the environment, else from infra/.env: INFLUX_URL, INFLUX_TOKEN (the operator token), INFLUX_ORG,
INFLUX_BUCKET, GRAFANA_URL, GRAFANA_DATA (infra/data/grafana), BACKUP_DAYS. The platform's secrets (.env, secrets/) are
in no backup; but users, password hashes and tokens of InfluxDB and Grafana are, so keep the files as you keep those.
It needs Python 3.9.
"""

from __future__ import annotations

import argparse
import errno
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from influx.api import InfluxError
from provision.places import Places
from provision.work import ProvisionError, to_its_end
from saving import archive
from saving.archive import KINDS, Archive, Damaged
from saving.keeper import MISTAKES, Keeper, number

HOME = Path(__file__).resolve().parent
_DAY = 86400
_OLDEST = 26 * 3600
_AGAIN = 900.0
"""Seconds after a failure until the next attempt."""


def main() -> int:
    """Run the command; the exit code."""
    options = _parser().parse_args()
    command: Callable[[Keeper, argparse.Namespace], int] = options.run
    return command(Keeper(Places(HOME)), options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infra/backup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, run: Callable[[Keeper, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text)
        added.set_defaults(run=run)
        return added

    now = add("now", _now, "make one of each, or of those named")
    now.add_argument("kinds", nargs="*", metavar="KIND", help="influxdb, grafana; without any, both")
    add("daily", _daily, "make one of each once a day, until SIGTERM")
    add("list", _list, "what there is").add_argument("--json", action="store_true", help="for programs")
    add("verify", _verify, "read them and compare").add_argument("files", nargs="*", metavar="FILE")
    add("fresh", _fresh, "exit code 1 when the latest of a kind is older than 26 hours, or there is none")
    restore = add("restore", _restore, "put one back")
    restore.add_argument("file", metavar="FILE", help="a path, a name as `list` shows it, influxdb or grafana")
    restore.add_argument("--yes", action="store_true", help="what is there now may be lost")
    restore.add_argument("--bucket", metavar="NAME", help="only this bucket, beside what there is")
    restore.add_argument("--as", dest="name", metavar="NAME", help="the restored bucket's name")
    return parser


def _now(keeper: Keeper, options: argparse.Namespace) -> int:
    unknown = sorted(set(options.kinds) - set(KINDS))
    if unknown:
        raise ProvisionError(f"there is nothing called {unknown[0]} to back up; there are {', '.join(KINDS)}")
    return 0 if _make(keeper, options.kinds or KINDS) else 1


def _make(keeper: Keeper, kinds: Sequence[str]) -> bool:
    """Make one of each; whether all succeeded."""
    good = True
    for kind in kinds:
        start = time.monotonic()
        try:
            made = keeper.make(kind)
        except MISTAKES as error:
            good = False
            _fail(f"no backup of {kind}: {error}{_room(keeper, error)}")
        else:
            _say(f"{made.path}: {_size(made)}, {time.monotonic() - start:.1f} s, read back and good")
    try:
        keeper.tell()
    except (InfluxError, ProvisionError) as error:
        good = False
        _fail(f"the backup's age could not be told to InfluxDB: {error}")
    return good


def _room(keeper: Keeper, error: Exception) -> str:
    """What to do where the disk is the reason."""
    if not isinstance(error, OSError):
        return ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"; make room where {keeper.folder} lies, or choose another folder by BACKUP_DIR"
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return (
            f"; {keeper.folder} must be writable and the data readable for who runs this: see its owner and the mount"
        )
    return f"; backups go to {keeper.folder} (BACKUP_DIR)"


def _daily(keeper: Keeper, _: argparse.Namespace) -> int:
    over = threading.Event()
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: over.set())
    while not over.is_set():
        latest = archive.latest(keeper.folder)
        due = [kind for kind in KINDS if kind not in latest or time.time() - latest[kind].made >= _DAY]
        if due and not _make(keeper, due):
            pause = _AGAIN
        else:
            made = [each.made for each in archive.latest(keeper.folder).values()]
            pause = max(min(made, default=0.0) + _DAY - time.time(), 1.0)
        _say(f"the next one in {pause / 60:.0f} min")
        over.wait(pause)
    return 0


def _list(keeper: Keeper, options: argparse.Namespace) -> int:
    found = archive.archives(keeper.folder)
    if options.json:
        rows = [
            {"file": each.path.name, "kind": each.kind, "made": each.made, "bytes": each.path.stat().st_size}
            for each in found
        ]
        _say(json.dumps(rows, indent=1))
    else:
        for each in found:
            _say(f"{each.path.name:<36} {_size(each):>10}   {_age(each.made)}")
        if not found:
            _say(f"{keeper.folder} has no backups")
    return 0


def _verify(keeper: Keeper, options: argparse.Namespace) -> int:
    chosen = [keeper.find(text) for text in options.files] or archive.archives(keeper.folder)
    if not chosen:
        raise ProvisionError(f"{keeper.folder} has no backups")
    good = True
    for each in chosen:
        good &= _verify_one(each)
    return 0 if good else 1


def _verify_one(each: Archive) -> bool:
    try:
        manifest = archive.check(each.path)
    except (Damaged, OSError) as error:
        _fail(error)
        return False
    counts = manifest.get("points") or manifest.get("rows") or {}
    shown = ", ".join(f"{name} {number(count)}" for name, count in counts.items())
    _say(f"{each.path.name}: good, {len(manifest['files'])} files; {shown}")
    return True


def _fresh(keeper: Keeper, _: argparse.Namespace) -> int:
    latest = archive.latest(keeper.folder)
    old = [kind for kind in KINDS if kind not in latest or time.time() - latest[kind].made > _OLDEST]
    for kind in KINDS:
        age = _age(latest[kind].made) if kind in latest else "no backup"
        _say(f"{kind}: {age}{', too old' if kind in old else ''}")
    for each in archive.archives(keeper.folder):
        if each.ahead:
            _say(f"{each.path.name} does not count: {_age(each.made)}")
    return 1 if old else 0


def _restore(keeper: Keeper, options: argparse.Namespace) -> int:
    if bool(options.bucket) < bool(options.name):
        raise ProvisionError("--as names the bucket that --bucket restores; give both")
    chosen = keeper.find(options.file)
    if options.bucket:
        if chosen.kind != "influxdb":
            raise ProvisionError(f"{chosen.path.name} has no buckets; take one of influxdb")
        told = keeper.restore_bucket(chosen, options.bucket, options.name or options.bucket.rpartition("/")[2])
    else:
        told = keeper.restore(chosen, lambda lost: _ask(lost, chosen, yes=options.yes))
    _say("\n".join([f"restored {chosen.path.name}, {_age(chosen.made)}", *told]))
    return 0


def _ask(lost: str, chosen: Archive, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ProvisionError(f"this replaces {lost}, by what was there {_age(chosen.made)}; say --yes if that is meant")
    _say(f"This replaces {lost}, by what was there {_age(chosen.made)}.")
    if input("Type yes to go on: ").strip() != "yes":
        raise ProvisionError("nothing was changed")


def _size(each: Archive) -> str:
    size = each.path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"  # noqa: PLR2004 - where kB get long


def _age(made: float) -> str:
    seconds = time.time() - made
    hours = abs(seconds) / 3600
    since = f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours" if hours >= 2 else f"{hours * 60:.0f} min"  # noqa: PLR2004
    moment = f"{datetime.fromtimestamp(made, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    if seconds < -60:  # noqa: PLR2004 - a minute
        return f"{since} in the future ({moment}): the clock was wrong then, or is now"
    return f"{since} ago ({moment})"


def _say(text: str) -> None:
    print(text, flush=True)


def _fail(what: object) -> None:
    print(f"error: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(to_its_end(main, *MISTAKES))
