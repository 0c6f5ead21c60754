r"""Names that travel: what they may be made of, as a pattern for the loader and in words for people and editors.

Each is what a `Meta` takes: `Meta(description=…, **IDENTIFIER)`. Patterns end in `\Z`: `$` would let a line end pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pipeline.errors import Finding, Severity

__all__ = ["CLIENT_ID", "GRAPH_NAME", "IDENTIFIER", "MEASUREMENT", "TSAP", "check_measurement"]

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
_SET_ASIDE = re.compile(r"prometheus|internal_.*|ingest_.*|_.*|.*\\.*|.{257,}", re.DOTALL)
"""Measurements of the platform's own figures, and names that InfluxDB refuses."""


def check_measurement(name: str, path: tuple[str | int, ...]) -> Iterator[Finding]:
    """Whether the platform's ingest stores frames of this measurement."""
    if _SET_ASIDE.fullmatch(name):
        message = f"the platform sets frames of measurement '{name:.40}' aside"
        hint = "choose another than prometheus, without a backslash, that begins with neither internal_, ingest_ nor _"
        yield Finding(path=path, message=message, hint=hint, severity=Severity.WARNING)
