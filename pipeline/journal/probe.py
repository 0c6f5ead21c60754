"""Whether a journal could be opened, found out without changing it: before a changed graph takes over, and in `check`.

Only what opening would refuse counts: a damaged file is none of it, since opening heals or replaces that.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import lmdb

from pipeline.errors import JournalError, JournalForeign, JournalUnwritable
from pipeline.journal import check as journal_check
from pipeline.journal import folder as journal_folder
from pipeline.journal.file import State, Store
from pipeline.journal.folder import explain
from pipeline.journal.options import same_receiver
from pipeline.journal.records import VERSION

__all__ = ["obstacle", "probe", "waiting"]


def probe(folder: Path, receiver: str) -> None:
    """Lock the journal, look whether it could be written and whose frames it holds, and let go; blocking.

    A folder that is not there is made and removed again.

    Args:
        folder: of a journal that this process doesn't have open.
        receiver: who the frames of the sink are for.

    Raises:
        JournalLocked: another process has it.
        JournalForeign: it holds frames for another receiver.
        JournalUnwritable: folder or file can't be made or written.
        JournalError: a file is where the folder should be.
    """
    missing = [path for path in (folder, *folder.parents) if not os.access(path, os.F_OK)]
    try:
        state = _state(folder)
    finally:
        if missing:
            # What somebody has put there meanwhile stays.
            with contextlib.suppress(OSError):
                (folder / "lock").unlink(missing_ok=True)
                for path in missing:
                    path.rmdir()
    if state is not None and state.frames and state.receiver and not same_receiver(state.receiver, receiver):
        raise JournalForeign(str(folder), state.receiver, receiver)


def waiting(folder: Path) -> int:
    """Unacknowledged frames in a journal that this process has closed; 0 where that can't be told."""
    if not (folder / "data.mdb").is_file():
        return 0
    try:
        state = _state(folder)
    except JournalError:
        return 0
    return state.frames if state else 0


def obstacle(folder: Path) -> str:
    """Why a journal can't be written here, in words; empty when nothing speaks against it. Cheap, leaves nothing."""
    existing = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    if not existing.is_dir():
        return f"'{existing}' is a file"
    try:
        if existing != folder:
            tempfile.TemporaryDirectory(dir=existing).cleanup()
            return ""
    except OSError as error:
        return f"{explain(error, existing)} in '{existing}'"
    data = folder / "data.mdb"
    for path in (folder, data):
        if os.access(path, os.F_OK) and not os.access(path, os.W_OK):
            return f"'{path}' is not writable for this user"
    return ""


def _state(folder: Path) -> State | None:
    """The counters of a journal, locked meanwhile; None without one, or one that this version would go on with."""
    data = folder / "data.mdb"
    held = journal_folder.lock(folder)
    try:
        if not data.exists():
            if not os.access(folder, os.W_OK | os.X_OK):
                raise JournalUnwritable(str(folder), "permission denied")
            return None
        with data.open("r+b"):
            pass
        if not data.stat().st_size or journal_check.check(folder, thorough=not journal_folder.marked(folder)):
            return None
        with contextlib.closing(Store(folder, readonly=True)) as store:
            return store.state if store.state.version == VERSION else None
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError, lmdb.NotFoundError, ValueError):
        return None
    except (lmdb.Error, OSError) as error:
        raise JournalUnwritable(str(folder), explain(error, folder)) from error
    finally:
        held.release()
