"""A journal's folder: its lock, the mark of a clean end, and what happens to a file that is damaged or too new."""

from __future__ import annotations

import contextlib
import errno
import shutil
from datetime import UTC, datetime
from pathlib import Path

import filelock
import lmdb

from pipeline.errors import JournalError, JournalLocked, JournalUnwritable
from pipeline.journal import check as journal_check
from pipeline.journal.file import Store
from pipeline.journal.records import VERSION

__all__ = ["explain", "lock", "mark", "marked", "open_store"]

_MARKER = "clean"
_NO_ROOM = 1024 * 1024


def explain(error: Exception, folder: Path) -> str:
    """An LMDB or system error in the words of whoever has to mend it.

    Args:
        error: what was raised.
        folder: where the journal is.
    """
    text = str(error)
    number = getattr(error, "errno", None)
    if number == errno.ENOSPC or "No space left" in text or isinstance(error, lmdb.MapFullError):
        return "disk full"
    if number == errno.EROFS or "Read-only file system" in text:
        return "read-only file system"
    if number == errno.EACCES or "Permission denied" in text:
        return "permission denied"
    if number == errno.EIO or "Input/output error" in text:
        # A write that only succeeds in part is EIO for LMDB: most often that is a disk which has just become full.
        with contextlib.suppress(OSError):
            if shutil.disk_usage(folder).free < _NO_ROOM:
                return "disk full"
        return "input/output error: a limit on the file's size, or the medium is broken"
    return getattr(error, "strerror", None) or text or type(error).__name__


def lock(folder: Path) -> filelock.BaseFileLock:
    """Make the folder and lock it against other processes.

    Raises:
        JournalLocked: another process has it.
        JournalUnwritable: folder or file can't be made.
        JournalError: a file is where the folder should be.
    """
    held = filelock.FileLock(folder / "lock", timeout=0, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except filelock.Timeout as error:
        raise JournalLocked(str(folder)) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise JournalError(f"journal '{folder}': a file is in the way of the folder; name another path") from error
    except OSError as error:
        advice = f"{explain(error, folder)}; make the folder writable for this user, or name another path"
        raise JournalUnwritable(str(folder), advice) from error
    return held


def mark(folder: Path) -> None:
    """Leave size and time of the file behind: as long as they are the same, nobody has touched it since."""
    stat = (folder / "data.mdb").stat()
    with contextlib.suppress(OSError):
        (folder / _MARKER).write_text(f"{stat.st_size} {stat.st_mtime_ns}\n", encoding="ascii")


def marked(folder: Path) -> bool:
    """True when the file is as a clean end left it."""
    stat = (folder / "data.mdb").stat()
    try:
        return (folder / _MARKER).read_text(encoding="ascii") == f"{stat.st_size} {stat.st_mtime_ns}\n"
    except (OSError, ValueError):
        return False


def open_store(folder: Path, max_size: int, wall: float, found: list[str]) -> Store:
    """Open the journal's file for writing; after an unclean end it is checked, and replaced when damaged.

    Args:
        folder: locked by the caller.
        max_size: bytes of batches it is meant for.
        wall: seconds since 1970, to name what is moved aside.
        found: gets a sentence for everything that was wrong.

    Raises:
        JournalUnwritable: the file can't be opened for writing.
    """
    data = folder / "data.mdb"
    try:
        if data.exists() and not marked(folder) and (wrong := journal_check.check(folder)):
            _replace(folder, wall, wrong, found)
        (folder / _MARKER).unlink(missing_ok=True)
        try:
            store = Store(folder, max_size)
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError, ValueError) as error:
            _replace(folder, wall, str(error), found)
            store = Store(folder, max_size)
        version = store.state.version
        if version != VERSION:
            store.close()
            aside = _aside(folder, wall, "newer")
            found.append(f"the journal has format {version}, this program knows {VERSION}; it was moved to {aside}")
            store = Store(folder, max_size)
    except (lmdb.Error, OSError) as error:
        raise JournalUnwritable(str(folder), explain(error, folder)) from error
    return store


def _replace(folder: Path, wall: float, wrong: str, found: list[str]) -> None:
    """Move a damaged file aside and take over what can be read of it."""
    aside = _aside(folder, wall, "damaged")
    rescue = folder / "salvage"
    shutil.rmtree(rescue, ignore_errors=True)
    saved = journal_check.salvage(aside, rescue)
    if (rescue / "data.mdb").exists():
        (rescue / "data.mdb").replace(folder / "data.mdb")
    shutil.rmtree(rescue, ignore_errors=True)
    found.append(f"the journal was damaged ({wrong}); it was moved to {aside}, {saved} frames were saved")


def _aside(folder: Path, wall: float, why: str) -> Path:
    name = f"{why}-{datetime.fromtimestamp(wall, UTC):%Y%m%dT%H%M%SZ}"
    aside = folder / name
    number = 1
    while aside.exists():
        number += 1
        aside = folder / f"{name}-{number}"
    aside.mkdir()
    (folder / "data.mdb").replace(aside / "data.mdb")
    (folder / "lock.mdb").unlink(missing_ok=True)
    return aside
