"""Names of values chosen by patterns as in a shell: `AI_*`, `maquinas_?_valor`, `[AB]_temp`. Case matters."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

from pipeline.errors import Finding, Severity, nearest

__all__ = ["chooser", "matching", "unmatched"]

T = TypeVar("T")

_REMEMBERED = 10_000
"""Names whose answer is kept; more than the values of any graph seen, bounded whatever comes."""


def chooser(table: Mapping[str, T]) -> Callable[[str], T | None]:
    """A function from a name to the entry of the first pattern that matches it, None where none does.

    Args:
        table: what is meant by pattern; the order counts, as it stands in the file.
    """
    compiled = [(re.compile(fnmatch.translate(pattern)).match, entry) for pattern, entry in table.items()]

    @lru_cache(_REMEMBERED)
    def choose(name: str) -> T | None:
        return next((entry for match, entry in compiled if match(name)), None)

    return choose


def matching(patterns: Iterable[str], names: Iterable[str]) -> frozenset[str]:
    """The names that at least one of the patterns matches."""
    chosen = chooser(dict.fromkeys(patterns, True))
    return frozenset(name for name in names if chosen(name))


def unmatched(
    patterns: Iterable[str], names: Collection[str], path: tuple[str | int, ...], *, keyed: bool = False
) -> Iterator[Finding]:
    """Warnings for patterns that match none of the names that are known to come; where none are known, no warning.

    Args:
        patterns: the patterns as they stand in the file.
        names: the names of the values that flow in.
        path: the option that holds the patterns.
        keyed: the patterns are the keys of a mapping, not the entries of a list.
    """
    for index, pattern in enumerate(patterns) if names else ():
        if not matching([pattern], names):
            similar = nearest(pattern, names)
            yield Finding(
                path=(*path, pattern if keyed else index),
                message=f"'{pattern}' matches no value that comes here",
                hint=f"did you mean '{similar}'?" if similar else "",
                severity=Severity.WARNING,
            )
