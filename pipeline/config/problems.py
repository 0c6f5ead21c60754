"""The collected mistakes of one file, each with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pipeline.config.bind import OptionPath, Report
from pipeline.config.document import Value
from pipeline.config.mend import Mishap
from pipeline.errors import ConfigurationError, Problem, Severity

__all__ = ["MOST", "Problems", "option_name"]

MOST = 1000
"""So many mistakes of a file are told, and so many warnings."""
_BEGIN, _END = 600, 200
"""Letters of a text that are told, where it has more: of its beginning, and of its end."""


class Problems:
    """Collects problems; the same one told twice (by a part and its parent, by an alias) is one."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._found: dict[Problem, None] = {}
        self._counts: Counter[Severity] = Counter()

    @property
    def all(self) -> tuple[Problem, ...]:
        """Everything told, in the order of lines."""
        return tuple(sorted(self._found, key=lambda problem: (problem.line, problem.column)))

    @property
    def errors(self) -> int:
        """How many of them refuse the graph."""
        return self._counts[Severity.ERROR]

    def add_common(self, judge: Callable[[int, Problems], object], readings: int) -> None:
        """Add what a judgement finds in each of its readings.

        Args:
            judge: given the reading's number and where to tell.
            readings: how many there are.
        """
        if readings == 1:
            judge(0, self)
            return
        found: list[Problems] = []
        for index in reversed(range(readings)):  # the first at last, since its values stay
            found.append(Problems(self._file))
            with suppress(ConfigurationError):  # there are too many, which is told of this file then
                judge(index, found[-1])
        everywhere = set.intersection(*(set(each.all) for each in found))
        for problem in found[-1].all:
            if problem in everywhere:
                self._keep(problem)

    def mishap(self, mishap: Mishap) -> None:
        """Add a mistake of form."""
        self._keep(
            Problem(file=self._file, line=mishap.line, column=mishap.column, message=mishap.message, hint=mishap.hint)
        )

    def add(
        self,
        place: Value | None,
        message: str,
        hint: str = "",
        *,
        path: OptionPath = (),
        node: str = "",
        kind: str = "",
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Add a problem.

        Args:
            place: the value where it stands, None for the whole file.
            message: what is wrong.
            hint: what to do.
            path: the option.
            node: the node's name.
            kind: the node's type.
            severity: see `Severity`.
        """
        line, column = (place.line, place.column) if place is not None else (0, 0)
        self._keep(
            Problem(
                file=self._file,
                line=line,
                column=column,
                message=message,
                node=node,
                kind=kind,
                option=option_name(path),
                hint=hint,
                severity=severity,
            )
        )

    def _keep(self, problem: Problem) -> None:
        problem = replace(
            problem,
            message=_readable(problem.message),
            hint=_readable(problem.hint),
            node=_readable(problem.node),
            kind=_readable(problem.kind),
            option=_readable(problem.option),
        )
        count = self._counts[problem.severity]
        if problem in self._found or count > MOST:
            return
        if count == MOST:
            message = f"there are more {problem.severity.value}s than the {MOST} told here"
            problem = replace(problem, message=message, hint="begin with those", node="", kind="", option="")
        self._found[problem] = None
        self._counts[problem.severity] += 1
        if self.errors > MOST:
            raise ConfigurationError(self.all)

    def reporter(self, node: str = "", kind: str = "", prefix: OptionPath = ()) -> Report:
        """What a binder tells its mistakes to, for one node."""

        def report(place: Value, path: OptionPath, message: str, hint: str, severity: Severity) -> None:
            self.add(place, message, hint, path=(*prefix, *path), node=node, kind=kind, severity=severity)

        return report


def _readable(text: str) -> str:
    """On one line of a reasonable length, whatever the file holds: no control characters, no turned letters."""
    if len(text) > _BEGIN + _END:
        text = f"{text[:_BEGIN]} … {text[-_END:]}"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def option_name(path: OptionPath) -> str:
    """A path as people write it: `plcs[0].address`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
