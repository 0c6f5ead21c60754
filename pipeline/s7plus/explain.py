"""What an exception of `s7commplus`, of asyncio or of the operating system means, with the setting to change."""

from __future__ import annotations

import asyncio

from s7commplus.error import S7CertificateError, S7ConnectionError, S7ReturnValueError, S7TlsHandshakeError

from pipeline.errors import ReadError, Refused
from pipeline.s7.session import unreachable

__all__ = ["Denied", "explain", "is_locked", "refused_item"]

_NO_TLS = (
    "set `tls: {fingerprint: …}`: the CPU may demand secure communication (TIA Portal: Protection & Security, "
    "Connection mechanisms, 'Only allow secure PG/PC and HMI communication')"
)
_CERTIFICATE = "give its SHA-256 as tls.fingerprint, or the certificate's authority as tls.ca_file"
_PASSWORD = "correct `password` (and `username`): TIA Portal, Protection & Security, Access level or users"  # noqa: S105
_LEVEL = "give a `password`, or allow HMI access without one (TIA Portal: Protection & Security, Access level)"
_UNSENT = "`password` was not sent, since the session has no TLS: set `tls: {fingerprint: …}`"
_SESSION = "the CPU must speak S7CommPlus: S7-1200 from firmware 4.0, S7-1500; for others use `type: s7`"
_VISIBLE = "is it accessible from HMI (TIA Portal: the block's columns)?"
_NO_LEVEL = 4
# Parts of the package's texts, since its classes tell no more.
_TEXTS = (
    ("requires TLS", "TLS required", _NO_TLS),
    ("Legitimation failed", "password refused", _PASSWORD),
    ("Legitimation rejected", "password refused", _PASSWORD),
    ("does not support legitimation", "login impossible", "remove `password`: this firmware takes none over TLS"),
    ("protection level, so legitimation", "login impossible", "remove `password`: the CPU tells no access level"),
    ("TLS exporter secret", "login impossible", "this firmware's login needs TLS 1.3"),
    ("ServerSessionVersion", "session refused", _SESSION),
    ("setup was rejected", "session refused", _NO_TLS),
    ("SessionKey", "session refused", _NO_TLS),
    ("public-key family", "session refused", _NO_TLS),
)


class Denied(Refused):
    """The PLC gives no value.

    Attributes:
        code: its own, signed.
    """

    def __init__(self, code: int, reason: str, detail: str, advice: str) -> None:
        self.code = code
        super().__init__(reason, detail, advice)


def explain(error: Exception, *, opening: bool = False) -> ReadError:
    """The error to report; `opening` while the session is not yet there."""
    if isinstance(error, ReadError):
        return error
    if isinstance(error, S7CertificateError):
        return Refused("certificate refused", str(error), _CERTIFICATE)
    if isinstance(error, S7TlsHandshakeError):
        return Refused("TLS failed", str(error.__cause__ or error), "without TLS in the CPU remove `tls`")
    if isinstance(error, asyncio.IncompleteReadError | ConnectionResetError | BrokenPipeError):
        return _closed(opening)
    return unreachable(error) if isinstance(error, OSError) else _from_text(error)


def _closed(opening: bool) -> ReadError:
    if opening:
        return Refused("session refused", "the PLC closed the connection while the session was opened", _NO_TLS)
    return ReadError("connection lost", "closed by the PLC")


def _from_text(error: Exception) -> ReadError:
    """What the package says of a session."""
    if isinstance(error, S7ReturnValueError):
        return Refused(f"refused by the PLC (code {error.error_code})", str(error), _LEVEL)
    if isinstance(error, S7ConnectionError):
        for part, reason, advice in _TEXTS:
            if part in str(error):
                return Refused(reason, str(error), advice)
        if str(error) == "Not connected":
            return ReadError("connection lost", "the session has ended")
    return ReadError("invalid answer", f"{type(error).__name__}: {error}")


def is_locked(level: int | None) -> bool:
    """Whether a session of this access level may read nothing."""
    return level is not None and level >= _NO_LEVEL


def refused_item(code: int, level: int | None, *, unsent: bool = False) -> Denied:
    """Why a symbol has no value, of the PLC's code (signed) and the session's access level.

    Args:
        code: what the PLC gives instead of a value.
        level: the session's; None where the PLC tells none.
        unsent: a password was given, but this session is none that takes it.
    """
    if is_locked(level):
        return Denied(code, "access denied", f"code {code}, access level {level}", _UNSENT if unsent else _LEVEL)
    return Denied(code, f"refused by the PLC (code {code})", "", _VISIBLE)
