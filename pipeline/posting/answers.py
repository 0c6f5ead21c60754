"""What HTTP servers say, in words: statuses of answers, connections that fail. Plain data.

A status speaks of the frames (then only they are at fault), or of the server, the login, or the configuration (then
every frame would meet the same answer, so they are kept until it is mended). RFC 9110 and RFC 6585.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum

from pipeline.errors import LinkError
from pipeline.tls import explain_tls

__all__ = ["Answer", "Verdict", "explain_answer", "explain_failure", "judge", "reason_of", "retry_after"]

LONGEST_PAUSE = 3600.0
"""Seconds: what a server asks for beyond that is cut."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A server's answer.

    Attributes:
        status: 200 to 599.
        text: the beginning of its body, for people.
        pause: seconds that the server asks to wait (Retry-After), 0 when it doesn't.
        location: where it points to, "" when nowhere.
    """

    status: int
    text: str = ""
    pause: float = 0.0
    location: str = ""


class Verdict(Enum):
    """What an answer means for the frames that were posted."""

    TAKEN = "taken"
    UNFIT = "unfit"
    LATER = "later"


# Status -> reason, detail, advice, of answers that speak of something else than the frames.
_LATER = {
    401: ("login", "the server does not accept the login", "check token and headers"),
    403: ("login", "the server does not permit this", "check token, headers and the rights behind them"),
    404: ("url", "the server has nothing at this path", "correct `url`"),
    405: ("url", "the server takes no POST at this path", "correct `url`"),
    407: ("login", "a proxy asks for a login", "let the pipeline reach the server without it"),
    408: ("timeout", "the server did not get the request in time", ""),
    410: ("url", "the server has nothing at this path any more", "correct `url`"),
    411: ("protocol", "the server wants a Content-Length", "a proxy between may have removed it"),
    415: ("format", "the server does not take this kind of body", "set format, or compression: none"),
    421: ("url", "the server does not answer for this host name", "correct `url`"),
    425: ("busy", "the server does not want the request yet", ""),
    426: ("protocol", "the server wants another protocol", "try https:// in `url`"),
    429: ("busy", "too many requests", "raise batch and linger"),
    500: ("server", "the server failed", "look into its log"),
    502: ("server", "a proxy does not reach the server", "is the server behind it running?"),
    503: ("busy", "the server is not available now", ""),
    504: ("timeout", "a proxy waits for the server in vain", "is the server behind it running?"),
}
_UNFIT = {
    400: "bad request",
    409: "conflict",
    413: "too large",
    422: "content refused",
}


def judge(status: int) -> Verdict:
    """What a status means: 2xx is taken, other 4xx than those of the server's own are the frames' fault."""
    if 200 <= status < 300:  # noqa: PLR2004 - the class of success
        return Verdict.TAKEN
    return Verdict.UNFIT if 400 <= status < 500 and status not in _LATER else Verdict.LATER  # noqa: PLR2004 - RFC 9110


def reason_of(answer: Answer) -> str:
    """Why frames were refused for good: short, for dead letters and metrics."""
    words = _UNFIT.get(answer.status, "refused")
    return f"{answer.status} {words}" + (f": {answer.text}" if answer.text else "")


def explain_answer(answer: Answer) -> LinkError:
    """What an answer of the verdict `LATER` means, and what to do about it."""
    if 300 <= answer.status < 400:  # noqa: PLR2004 - redirects
        detail = f"the server points elsewhere (status {answer.status}), which is not followed"
        return LinkError("redirect", detail, f"set url to {answer.location}" if answer.location else "correct `url`")
    other = ("server", "the server failed", "look into its log")
    reason, detail, advice = _LATER.get(answer.status, other)
    said = f": {answer.text}" if answer.text else ""
    return LinkError(reason, f"{detail} (status {answer.status}{said})", advice)


def retry_after(text: str, now: float) -> float:
    """Seconds that a Retry-After asks for, in seconds or as a date; 0 for nonsense.

    Args:
        text: the header's value.
        now: seconds since 1970.
    """
    try:
        pause = float(text) if text.strip().isdecimal() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
    return min(LONGEST_PAUSE, max(0.0, pause))


def explain_failure(error: BaseException | None, host: str, port: int) -> LinkError:
    """What a request without an answer means, and what to do about it."""
    where = f"{host}:{port}"
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return LinkError(
                "name", f"'{host}' can't be resolved ({cause.strerror})", "check `url` and the name server"
            )
        if isinstance(cause, ssl.SSLError):
            found = explain_tls(cause)
            plain = "answered without TLS" in found.detail
            advice = "is the port in `url` right? without TLS write http://" if plain else found.advice
            return LinkError(found.reason, f"{where}: {found.detail}", advice)
        if isinstance(cause, ConnectionRefusedError):
            advice = "is the server running? is the port in `url` right?"
            return LinkError("refused", f"{where}: nothing listens there", advice)
        if isinstance(cause, TimeoutError):
            return LinkError("timeout", f"{where}: no answer", "check `url`, cable and firewall, or raise timeout")
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ConnectionError):
            return LinkError("unreachable", f"{where}: {cause.strerror}", "check `url`, cable and routes")
    return LinkError(
        "lost",
        f"{where} closed the connection before it answered",
        "does this port want https:// in `url`, or http://?",
    )


def _causes(error: BaseException | None) -> list[BaseException]:
    """The error and what it came from, the innermost first."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.insert(0, error)
        nested = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = nested or error.__cause__ or error.__context__
    return found
