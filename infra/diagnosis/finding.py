"""A finding: what was tried, what was seen, and what to do."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["GOOD", "NOTE", "PROBLEM", "WARNING", "Finding"]

GOOD, NOTE, WARNING, PROBLEM = "good", "note", "warning", "problem"


class Finding(NamedTuple):
    """One finding; it never holds a secret.

    Attributes:
        part: of the platform: broker, influxdb, data, …
        what: what was tried.
        mark: good, note, warning or problem.
        found: what was seen.
        advice: what to do; "" where nothing is to be done.
        seconds: how long it took, where that says something.
    """

    part: str
    what: str
    mark: str
    found: str
    advice: str = ""
    seconds: float | None = None
