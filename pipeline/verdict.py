"""Verdicts: what a transform finds out about a series, as frames of a measurement of their own or beside the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from pipeline.errors import Finding
from pipeline.frame import Frame, Kind, Origin, Scalar
from pipeline.framewise import Origins
from pipeline.identifiers import MEASUREMENT, check_name

__all__ = ["Into", "Measurement", "Verdicts", "check_results", "why_bad"]

Measurement = Annotated[str, Meta(description="measurement of the frames that it makes", **MEASUREMENT)]


class Into(StrEnum):
    """Where results go: frames of their own, with the source's tags, or into the data frames."""

    FRAME = "frame"
    VALUES = "values"


class Verdicts:
    """Makes frames of one measurement with the tags of the frames that they are about."""

    def __init__(self, measurement: str) -> None:
        self._origins = Origins(lambda origin: origin.replace(measurement=measurement, units={}, extent=None))

    def frame(
        self, about: Origin, ts: float, values: Mapping[str, Scalar], bad: Mapping[str, str] | None = None
    ) -> Frame:
        """A verdict.

        Args:
            about: whose tags it gets.
            ts: seconds since 1970.
            values: what was found.
            bad: what could not be found, and why.
        """
        return Frame(Kind.DATA, ts, self._origins[about], values, bad)


def check_results(results: Iterable[str], path: tuple[str | int, ...], *, keyed: bool = False) -> Iterator[Finding]:
    """Mistakes in the names of results.

    Args:
        results: the names.
        path: the option that holds them.
        keyed: they are the keys of a mapping.
    """
    for name in results:
        place = (*path, name) if keyed else path
        if not name.strip():
            yield Finding(path=place, message="the name is empty", hint="give the result a name")
        yield from check_name(name, place)


def why_bad(value: Scalar) -> str:
    """Why a value is no number."""
    return f"{value!r} is no number" if isinstance(value, str) else f"{value} is no finite number"
