"""Changes to the disk: each is told, and made unless it is only asked what would be done."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from provision.places import Owner

__all__ = ["PRIVATE", "SHARED", "ProvisionError", "Work", "shown", "to_its_end"]

PRIVATE, SHARED, FOLDER = 0o600, 0o644, 0o700


class ProvisionError(Exception):
    """Something that the user has to decide or install; the message says what."""


def to_its_end(main: Callable[[], int], *mistakes: type[Exception]) -> int:
    """Run a command; a mistake is one line. Its reader may go before it ends, as `| head` does; the exit code.

    What the encoding of its output lacks, as Windows' does arrows, or is no character, as in a file's name, is a `?`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more
        return 0
    except mistakes as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return code


def shown(text: str) -> str:
    """What others have written, in one line and with nothing in it that a terminal obeys."""
    return "".join(each if each.isprintable() else " " for each in text)


class Work:
    """One run.

    Attributes:
        dry: True when nothing may be changed.
        done: what was changed, or would be, in words without secrets.
        owner: whose the files are.
    """

    def __init__(self, owner: Owner, *, dry: bool = False) -> None:
        """Begin with nothing done."""
        self.owner = owner
        self.dry = dry
        self.done: list[str] = []

    def do(self, what: str, change: Callable[[], object]) -> None:
        """Make a change, and tell it."""
        self.done.append(what)
        if not self.dry:
            change()

    def folder(self, path: Path) -> None:
        """A folder that only its owner enters."""
        if not path.is_dir():
            self.do(f"make folder {path}", lambda: self._make(path))
        else:
            self._tighten(path, FOLDER)

    def private(self, folder: Path) -> None:
        """Nobody else may read what lies in a folder and below it, but for copies of the authority's certificate."""
        for path in sorted(folder.rglob("*")):
            if path.name != "ca.crt" and not path.is_symlink():
                self._tighten(path, FOLDER if path.is_dir() else PRIVATE)

    def file(self, path: Path, text: str, what: str, mode: int = PRIVATE) -> None:
        """A file of exactly this text; one that has it already is left alone.

        Args:
            path: the file.
            text: the whole content.
            what: what is told when it changes: never the content.
            mode: its rights.
        """
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            self._tighten(path, mode)
        else:
            self.do(what, lambda: self.put(path, text.encode(), mode))

    def put(self, path: Path, content: bytes, mode: int = PRIVATE) -> None:
        """Write whole or not at all: the file is never seen half written, or with other rights. A link stays one."""
        path = path.resolve()
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        new.chmod(mode)
        self.owner.take(new)
        new.replace(path)

    def take(self, path: Path, mode: int = PRIVATE) -> None:
        """Rights and owner for a file that another program has written."""
        path.chmod(mode)
        self.owner.take(path)

    def _make(self, path: Path) -> None:
        for each in (*reversed(path.parents), path):
            if not each.is_dir():
                each.mkdir(mode=FOLDER)
                self.owner.take(each)

    def _tighten(self, path: Path, mode: int) -> None:
        found = stat.S_IMODE(path.stat().st_mode)
        if os.name == "posix" and found & ~mode:
            self.do(f"tighten the rights of {path} from {found:o} to {mode:o}", lambda: path.chmod(mode))
