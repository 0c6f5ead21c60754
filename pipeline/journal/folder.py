"""A journal's folder: lock, mark of a clean end, and what becomes of a file that is damaged, gone or too new."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

import filelock
import lmdb

from pipeline.errors import JournalError, JournalLocked, JournalUnwritable
from pipeline.journal import check as journal_check
from pipeline.journal.file import Store
from pipeline.journal.records import VERSION

__all__ = ["ASIDE", "Tally", "copy", "explain", "lock", "mark", "marked", "open_store"]

ASIDE = ("damaged-", "newer-", "other-")
"""How the names of folders begin into which a file was moved."""

_MARKER = "clean"
_TALLY = "frames"
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
    if "Is a directory" in text:
        text = f"a folder is in the place of the file '{folder / 'lock.mdb'}'; remove it"
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
    with contextlib.suppress(OSError):
        stat = (folder / "data.mdb").stat()
        (folder / _MARKER).write_text(f"{stat.st_size} {stat.st_mtime_ns}\n", encoding="ascii")


def marked(folder: Path) -> bool:
    """True when the file is as a clean end left it."""
    stat = (folder / "data.mdb").stat()
    try:
        return (folder / _MARKER).read_text(encoding="ascii") == f"{stat.st_size} {stat.st_mtime_ns}\n"
    except (OSError, ValueError):
        return False


class Tally:
    """How many frames wait, in a file beside the journal's: what is known of them when that one is lost.

    It outlives the process; after a power cut it may be some seconds old, since nothing forces it to the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _TALLY
        self._file: FileIO | None = None
        self._known = self.read()

    def read(self) -> int | None:
        """What the file says; None when that is nothing."""
        with contextlib.suppress(OSError, ValueError):
            return int(self._path.read_bytes())
        return None

    def write(self, frames: int) -> None:
        """Say so in the file, where it can be written."""
        if frames == self._known:
            return
        with contextlib.suppress(OSError):
            if self._file is None:
                self._path.touch()
                self._file = self._path.open("r+b", buffering=0)
            self._file.seek(0)
            self._file.write(b"%020d\n" % frames)
            self._known = frames

    def close(self) -> None:
        """Let go of the file; may be called again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def open_store(folder: Path, max_size: int, wall: float, found: list[str]) -> tuple[Store, int]:
    """Open the journal's file for writing; it is checked before, and replaced when damaged.

    Args:
        folder: locked by the caller.
        max_size: bytes of batches it is meant for.
        wall: seconds since 1970, to name what is moved aside.
        found: gets a sentence for everything that was wrong.

    Returns:
        The open file, and how many frames were in it before and are lost, as far as that is known.

    Raises:
        JournalUnwritable: the file can't be opened for writing, or not all of a damaged one be saved now.
    """
    expected = Tally(folder).read()
    try:
        _heal(folder, wall, found, expected)
        (folder / _MARKER).unlink(missing_ok=True)
        try:
            store = Store(folder, max_size)
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError, ValueError) as error:
            _replace(folder, wall, str(error), found, expected)
            store = Store(folder, max_size)
        lost = max(0, (expected or 0) - store.state.frames) if found else 0
        version = store.state.version
        if version != VERSION:
            store.close()
            aside = _aside(folder, wall, "newer")
            found.append(f"the journal has format {version}, this program knows {VERSION}; it was moved to {aside}")
            store = Store(folder, max_size)
    except (lmdb.Error, OSError) as error:
        raise JournalUnwritable(str(folder), explain(error, folder)) from error
    if store.recounted:
        found.append(f"the journal's counters were damaged; counted anew, {store.state.frames} frames wait in it")
    return store, lost


def _heal(folder: Path, wall: float, found: list[str], expected: int | None) -> None:
    data = folder / "data.mdb"
    if not data.exists() or (data.is_file() and not data.stat().st_size):
        if expected:
            state = "empty" if data.exists() else "gone"
            found.append(f"the journal's file '{data}' is {state}; {expected} frames that were in it are lost")
    elif wrong := journal_check.check(folder, thorough=not marked(folder)):
        _replace(folder, wall, wrong, found, expected)


def copy(store: Store, folder: Path, wall: float) -> str:
    """Write the file of an open journal anew, when it was removed or another is in its place.

    Args:
        store: still has everything, though nobody else can find it.
        folder: locked by the caller.
        wall: seconds since 1970, to name what is moved aside.

    Returns:
        What was found and done, in a sentence.

    Raises:
        OSError: it can't be written.
        lmdb.Error: same.
    """
    what = "was removed while it was open"
    if (folder / "data.mdb").exists():
        what = f"was replaced while it was open; the other one was moved to {_aside(folder, wall, 'other')}"
    (folder / "lock.mdb").unlink(missing_ok=True)
    with _rescue(folder) as rescue:
        store.env.copy(str(rescue))
    return f"the journal's file {what}; it was written anew, with all {store.state.frames} frames"


def _replace(folder: Path, wall: float, wrong: str, found: list[str], expected: int | None) -> None:
    """Take over what can be read of a damaged file, then move it aside: until then it stays where it is looked for."""
    (folder / "lock.mdb").unlink(missing_ok=True)  # may be what can't be read
    with _rescue(folder) as rescue:
        saved = journal_check.salvage(folder, rescue)
        aside = _aside(folder, wall, "damaged")
    lost = "how many are lost can't be told" if expected is None else f"{max(0, expected - saved)} are lost"
    found.append(f"the journal was damaged ({wrong}); it was moved to {aside}, {saved} frames were saved, {lost}")


@contextlib.contextmanager
def _rescue(folder: Path) -> Iterator[Path]:
    """A folder for a new file, which takes its place in the journal's when the block ends well."""
    rescue = folder / "salvage"
    shutil.rmtree(rescue, ignore_errors=True)
    rescue.mkdir()
    try:
        yield rescue
        if (rescue / "data.mdb").exists():
            (rescue / "data.mdb").replace(folder / "data.mdb")
    finally:
        shutil.rmtree(rescue, ignore_errors=True)


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
