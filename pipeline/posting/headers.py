"""What may be sent as the value of a header."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.errors import Finding, Severity
from pipeline.units import Secret

__all__ = ["check_value"]

_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|^\s|\s\Z")


def check_value(value: Secret, path: tuple[str | int, ...]) -> Iterator[Finding]:
    """What HTTP does not allow, as far as the value is known; it is not shown.

    That of a file is a warning only: the file may be mended while the graph runs, and until then frames are kept.
    """
    try:
        wrong = _FORBIDDEN.search(value.reveal())
    except OSError:
        return
    if wrong:
        message = "holds a line break or another control character, or begins or ends with a blank"
        severity = Severity.WARNING if value.in_file else Severity.ERROR
        yield Finding(path=path, message=message, hint="HTTP sends no such header: remove it", severity=severity)
