"""Grafana's data folder into an archive and back. What is in the archive unpacks into that folder as it is.

Its database is copied by SQLite's own backup, a consistent moment while Grafana runs; plugins and the rest as they
lie. Dashboards, data sources and alerts that the platform ships are not in it, they are files of `infra/grafana`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from provision.work import PRIVATE, Work
from saving.archive import MANIFEST, Writer, walk

__all__ = ["DATABASE", "GrafanaError", "restore", "save"]

DATABASE = "grafana.db"
_TABLES = ("dashboard", "data_source", "alert_rule", "user", "org")
_LEFT_OUT = {"log", MANIFEST}
"""The manifest is an older archive's, where one was unpacked by hand."""
_WAIT = 20.0
"""Seconds that Grafana may hold its database."""


class GrafanaError(Exception):
    """What is wrong with Grafana's data, and what to do."""


def save(folder: Path, writer: Writer) -> dict[str, Any]:
    """Add Grafana's data folder to an archive; what goes into its manifest.

    Raises:
        GrafanaError: there is no database, or it is damaged.
        OSError: something can't be read.
    """
    database = folder / DATABASE
    if not database.is_file():
        raise GrafanaError(f"{database} is not there: Grafana has not started yet, or GRAFANA_DATA is another folder")
    with tempfile.TemporaryDirectory(dir=writer.folder) as scratch:
        copy = Path(scratch) / DATABASE
        about = _copy(database, copy)
        with copy.open("rb") as file:
            writer.add(DATABASE, file)
    for path in _others(folder):
        with path.open("rb") as file:
            writer.add(path.relative_to(folder).as_posix(), file, 0o700 if os.access(path, os.X_OK) else PRIVATE)
    return about


def _copy(database: Path, copy: Path) -> dict[str, Any]:
    """Copy the database, check the copy, and count what is in it."""
    try:
        source = sqlite3.connect(f"file:{quote(str(database.absolute()))}?mode=ro", uri=True, timeout=_WAIT)
        with closing(source), closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, whatever mode Grafana runs in
            said = target.execute("PRAGMA integrity_check").fetchone()[0]
            if said != "ok":
                raise GrafanaError(f"{database} is damaged: {said}; the backups there are keep what was good")
            there = {row[0] for row in target.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            # The names are the constants above.
            rows = {each: _count(target, each) for each in _TABLES if each in there}
            return {"rows": rows, "migrations": _count(target, "migration_log") if "migration_log" in there else 0}
    except sqlite3.Error as error:
        room = "; make room there" if "full" in str(error) else ""
        raise GrafanaError(f"{database} can't be copied into {copy.parent.parent}: {error}{room}") from None


def _count(database: sqlite3.Connection, table: str) -> int:
    return int(database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])  # noqa: S608 - one of ours


def _others(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        top = path.relative_to(folder).parts[0]
        if path.is_file() and not path.is_symlink() and top not in _LEFT_OUT and not top.startswith(DATABASE):
            yield path


def restore(folder: Path, archive: Path, work: Work) -> Path | None:
    """Put Grafana's data back; it must not run. What stands there and is not in the archive stays.

    Args:
        folder: Grafana's data.
        archive: a checked one.
        work: whose the files are.

    Returns:
        Where the database that was there is now, if there was one.

    Raises:
        OSError: something can't be written.
    """
    _folder(folder, work)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".restore-") as scratch:
        unpacked = Path(scratch)
        with walk(archive) as members:
            for member in members:
                if member.name != MANIFEST:
                    path = unpacked / member.name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("wb") as file:
                        shutil.copyfileobj(member.data, file)
                    work.take(path, 0o700 if member.executable else PRIVATE)
        return _move(unpacked, folder, work)


def _move(unpacked: Path, folder: Path, work: Work) -> Path | None:
    old = None
    if (folder / DATABASE).exists():
        old = folder / f"{DATABASE}.before-restore"
        (folder / DATABASE).replace(old)
    for rest in folder.glob(f"{DATABASE}-*"):  # a journal of the old database would be taken for the new one's
        rest.unlink()
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in sorted(unpacked.rglob("*")):
        target = folder / path.relative_to(unpacked)
        if path.is_dir():
            _folder(target, work)
        else:
            path.replace(target)
    return old


def _folder(path: Path, work: Work) -> None:
    """Grafana's, also where somebody else has made it: it writes into it."""
    work.folder(path)
    work.owner.take(path)
