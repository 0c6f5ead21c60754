r"""Names that travel: what they may be made of, as a pattern for the loader and in words for people and editors.

Each is what a `Meta` takes: `Meta(description=…, **IDENTIFIER)`. Patterns end in `\Z`: `$` would let a line end pass.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pipeline.errors import Finding, Severity

__all__ = [
    "CLIENT_ID",
    "GRAPH_NAME",
    "IDENTIFIER",
    "MEASUREMENT",
    "RESERVED",
    "TSAP",
    "check_measurement",
    "check_name",
    "check_tag",
    "is_readable",
    "is_stored",
    "unaccented",
]

GRAPH_NAME: Mapping[str, Any] = MappingProxyType(
    {
        "pattern": r"\A[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}\Z",
        "extra_json_schema": {
            "patternErrorMessage": "must be a letter or digit, then up to 63 letters without accents, digits, _ . or -"
        },
    }
)
"""It is part of folders and topics."""
IDENTIFIER: Mapping[str, Any] = MappingProxyType(
    {
        "pattern": r"\A[A-Za-z0-9_.-]{0,64}\Z",
        "extra_json_schema": {
            "patternErrorMessage": "must be up to 64 letters without accents, digits, _ . or -, without blanks"
        },
    }
)
"""A level of a topic, so that no other level can be put into it."""
TSAP: Mapping[str, Any] = MappingProxyType(
    {
        "pattern": r"\A[0-9A-Fa-f]{2}\.[0-9A-Fa-f]{2}\Z",
        "extra_json_schema": {"patternErrorMessage": "must be two hexadecimal bytes, as STEP 7 shows them: 03.01"},
    }
)
CLIENT_ID: Mapping[str, Any] = MappingProxyType(
    {
        "pattern": r"\A[!-~]*\Z",
        "extra_json_schema": {
            "patternErrorMessage": "must be made of letters without accents, digits and signs, without blanks"
        },
    }
)
MEASUREMENT: Mapping[str, Any] = MappingProxyType(
    {
        "pattern": r"\A[^\s,{}\"]+\Z",
        "extra_json_schema": {"patternErrorMessage": "must be a name without blanks, commas, quotes and braces"},
    }
)
RESERVED = frozenset(
    {
        *("ip", "db", "tenant_id", "plc_id", "tenant_claimed", "plc_claimed", "topic", "host", "time", "org"),
        *("error", "seq", "boot", "replayed", "bad", "left_out", "type_conflict", "heartbeat", "read_failed"),
    }
)
"""Names that mean something else where frames are ingested: as a value or a tag they would overwrite, or be lost."""
_OWN_FIGURES = re.compile(r"prometheus|internal_.*|ingest_.*", re.DOTALL)
"""Measurements of the platform itself."""
_ODD = re.compile(r"[\x00-\x1f\x7f\\]")
_LONGEST = 256
"""Bytes of a name, or of a tag's value, that the platform stores."""


def unaccented(text: str) -> str:
    """Letters without their marks, for names that may have none: `São José` is `Sao Jose`."""
    return "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))


def is_readable(name: str) -> bool:
    """Whether people can read a name: it has letters, and nothing that a screen hides or turns round."""
    return bool(name.strip()) and name.isprintable()


def is_stored(name: str) -> bool:
    """Whether InfluxDB, and so the platform's ingest, takes such a name of a measurement, value or tag."""
    return 0 < _size(name) <= _LONGEST and name[0] not in "_#" and not _ODD.search(name)


def check_measurement(name: str, path: tuple[str | int, ...]) -> Iterator[Finding]:
    """Whether the platform's ingest stores frames of this measurement; an empty one is made of the block's number."""
    if name and (_OWN_FIGURES.fullmatch(name) or not is_stored(name)):
        message = f"the platform sets frames of measurement '{name:.40}' aside"
        hint = "choose another than prometheus, without a backslash, that begins with none of internal_, ingest_, _, #"
        yield Finding(path=path, message=message, hint=hint, severity=Severity.WARNING)


def check_name(name: str, path: tuple[str | int, ...]) -> Iterator[Finding]:
    """Whether a value or a tag may have this name, and whether the platform's ingest stores it."""
    if name.replace(" ", "_") in RESERVED:
        reserved = f"'{name}' is reserved: frames carry something else by that name"
        yield Finding(path=path, message=reserved, hint="choose another name")
    elif is_readable(name) and not is_stored(name):  # of what can't be read the caller says it
        message = f"the platform does not store what is called {name[:40]!r}"
        hint = f"choose a name without a backslash, not beginning with _ or #, of at most {_LONGEST} bytes"
        yield Finding(path=path, message=message, hint=hint, severity=Severity.WARNING)


def check_tag(value: str, path: tuple[str | int, ...]) -> Iterator[Finding]:
    """Whether the platform's ingest stores frames that have a tag of this value."""
    if _ODD.search(value) or _size(value) > _LONGEST:
        message = f"the platform sets frames with the tag value {value[:40]!r} aside"
        hint = f"write it without backslashes, tabs and line ends, in at most {_LONGEST} bytes"
        yield Finding(path=path, message=message, hint=hint, severity=Severity.WARNING)


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
