"""Files that options name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import Finding, Severity

__all__ = ["check_file"]


def check_file(file: Path, path: tuple[str | int, ...]) -> Iterator[Finding]:
    """A warning where a file is not there yet, or can't be looked at.

    Args:
        file: the file; a text that was meant to be in one may stand here, so that little of it is shown.
        path: the option.
    """
    try:
        message = "" if file.is_file() else f"there is no file '{file}' yet"
        hint = "put it there before the start"
    except OSError as error:
        message = f"the file '{str(file)[:80]}' can't be looked at: {error.strerror}"
        hint = "name a file that this user may read"
    if message:
        yield Finding(path=path, message=message, hint=hint, severity=Severity.WARNING)
