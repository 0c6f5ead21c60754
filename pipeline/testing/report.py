"""Tells the results of tests: to people, and as JUnit XML to what runs them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

from pipeline.testing.judge import Failure

__all__ = ["Result", "summary", "told", "write_junit"]

_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a case.

    Attributes:
        path: the test file.
        name: the case.
        seconds: how long it took, in real time.
        failures: what was not as expected; none: it passed.
        warnings: what the user should know besides.
        mistakes: what is wrong with the test file, by line; then none of its cases was run.
    """

    path: Path
    name: str
    seconds: float
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The failures, a line for the place, and one for each difference."""
        return "\n".join(
            line
            for each in self.failures
            for line in (f"{self.path}:{each.line}: {each.what}", *(f"    {detail}" for detail in each.details))
        )


def told(result: Result) -> Iterator[str]:
    """The lines that a person reads."""
    yield f"{'FAIL' if result.failures else 'ok':<5}{result.path}: {result.name} ({result.seconds:.2f} s)"
    yield from (f"     {line}" for line in result.text.splitlines())
    yield from (f"     warning: {line}" for line in result.warnings)


def summary(results: Sequence[Result]) -> str:
    """The last line."""
    failed = sum(bool(result.failures) for result in results)
    wrong = sum(bool(result.mistakes) for result in results)
    passed = len(results) - failed - wrong
    files = f", {wrong} test file{'s' if wrong > 1 else ''} wrong, not run" if wrong else ""
    return f"{passed} passed" + (f", {failed} failed" if failed else "") + files


def write_junit(results: Sequence[Result], path: Path) -> None:
    """Write JUnit XML: one suite for each test file.

    Raises:
        OSError: the file can't be written.
    """
    root = Element("testsuites")
    for file in dict.fromkeys(result.path for result in results):
        mine = [result for result in results if result.path == file]
        suite = SubElement(
            root,
            "testsuite",
            name=str(file),
            tests=str(len(mine)),
            failures=str(sum(bool(result.failures) for result in mine)),
            errors=str(sum(bool(result.mistakes) for result in mine)),
            time=f"{sum(result.seconds for result in mine):.3f}",
        )
        for result in mine:
            name = file.name.removesuffix(".yaml")
            case = SubElement(suite, "testcase", classname=name, name=_clean(result.name), time=f"{result.seconds:.3f}")
            if result.failures:
                failure = SubElement(case, "failure", message=_clean(result.failures[0].what))
                failure.text = _clean(result.text)
            if result.mistakes:
                error = SubElement(case, "error", message=_clean(result.mistakes[0]))
                error.text = _clean("\n".join(result.mistakes))
    ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    """What XML can carry."""
    return _UNWRITABLE.sub("�", text)
