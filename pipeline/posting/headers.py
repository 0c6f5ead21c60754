"""Headers of requests as options give them: what may be sent, and what is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pipeline.errors import Finding, LinkError, Severity
from pipeline.units import Secret

__all__ = ["check_headers", "check_value", "make_headers"]

_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|^\s|\s\Z")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_OURS = frozenset({"content-type", "content-encoding", "content-length", "transfer-encoding", "connection", "host"})


def check_headers(headers: Mapping[str, Secret], token: Secret) -> Iterator[Finding]:
    """Names and values that HTTP does not allow, and what is set by the sink itself or by its `token`."""
    yield from check_value(token, ("token",))
    for name, value in headers.items():
        path = ("headers", name)
        yield from check_value(value, path)
        if not _NAME.fullmatch(name):
            yield Finding(path=path, message=f"'{name}' is not a header's name", hint="write one such as X-Line")
        elif name.lower() in _OURS:
            yield Finding(path=path, message=f"'{name}' is set by the sink itself", hint="remove it")
        elif name.lower() == "authorization" and token:
            yield Finding(path=path, message="says the same as `token`", hint="keep one of them")


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


def make_headers(headers: Mapping[str, Secret], token: Secret) -> dict[str, str]:
    """All requests' headers; secrets are read here.

    Raises:
        LinkError: a secret's file can't be read.
    """
    try:
        revealed = {name: value.reveal() for name, value in headers.items()}
        if text := token.reveal():
            revealed["Authorization"] = f"Bearer {text}"
    except OSError as error:
        raise LinkError("login", f"secret file '{error.filename}' can't be read ({error.strerror})") from error
    return {"User-Agent": "retrofit-pipeline", "Accept": "*/*", **revealed}
