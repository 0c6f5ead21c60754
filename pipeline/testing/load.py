"""From a test file to cases that can run, or to all mistakes at once, each with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pipeline.config import load
from pipeline.config.bind import FAILED, Binder, OptionPath, fields, nested
from pipeline.config.convert import is_options, shapes, unwrap
from pipeline.config.document import Listing, Record, Value, decode, locate, parse, read
from pipeline.config.problems import Problems
from pipeline.errors import ConfigurationError, Finding, Problem
from pipeline.graph import Graph
from pipeline.operator import Options, Scope
from pipeline.testing.options import Case, Head, Suite

__all__ = ["Job", "find_suites", "load_jobs"]

SUFFIX = ".test.yaml"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A case with all that it needs.

    Attributes:
        path: the test file.
        name: the case's.
        case: see there.
        graph: the graph with the case's variables.
        places: where the case stands in the file.
    """

    path: Path
    name: str
    case: Case
    graph: Graph
    places: Record

    def line(self, path: tuple[str | int, ...]) -> int:
        """The line of an option of the case."""
        return locate(self.places, path).line

    def problem(self, finding: Finding) -> Problem:
        """A finding about the case, with its place."""
        place = locate(self.places, finding.path)
        problems = Problems(str(self.path))
        report = problems.reporter(prefix=("cases", self.name))
        report(place, finding.path, finding.message, finding.hint, finding.severity)
        return problems.all[0]


def find_suites(path: Path) -> list[Path]:
    """The test files that a path means: itself, that of a graph, or all in a folder and below, but for hidden ones."""
    if path.is_dir():
        found = sorted(path.rglob(f"*{SUFFIX}"))
        return [each for each in found if not any(part.startswith(".") for part in each.relative_to(path).parts)]
    beside = path.with_name(path.stem + SUFFIX)
    return [path] if path.name.endswith(SUFFIX) or not beside.is_file() else [beside]


def load_jobs(path: Path, check: Callable[[Job], Iterable[Finding]]) -> list[Job]:
    """Read a test file and its graph.

    Args:
        path: the test file.
        check: finds what in a case does not fit its graph.

    Raises:
        ConfigurationError: with all mistakes of both, each with its place.
    """
    problems = Problems(str(path))
    root = _parse(path, problems)
    head, cases = _bind(root, path, problems) if root is not None else (None, {})
    found: list[Problem] = []
    jobs: list[Job] = []
    if head is not None:
        graphs = _Graphs(head.graph_path(path))
        for name, (case, places) in cases.items():
            try:
                graph = graphs.of({"DATA_DIR": "data", **head.environment, **case.environment})
            except ConfigurationError as error:
                found += error.problems
                hint = "the environment of a test is what the test file says, and nothing else"
                problems.add(places, "with its variables the graph is wrong, see there", hint, path=("cases", name))
                continue
            job = Job(path=path, name=name, case=case, graph=graph, places=places)
            found += [job.problem(finding) for finding in check(job)]
            jobs.append(job)
    found += problems.all
    if found:
        raise ConfigurationError(dict.fromkeys(found))
    return jobs


class _Graphs:
    """A graph with different variables, each read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[tuple[str, str], ...], Graph] = {}

    def of(self, environment: Mapping[str, str]) -> Graph:
        """The graph with these variables.

        Raises:
            ConfigurationError: it is wrong with them.
        """
        key = tuple(sorted(environment.items()))
        if key not in self._known:
            graph = load(self._path, environment)
            self._known[key] = replace(graph, path=graph.path.absolute())
        return self._known[key]


def _parse(path: Path, problems: Problems) -> Record | None:
    try:
        text, mishap = decode(read(path))
    except OSError as error:
        problems.add(None, f"can't be read: {error.strerror or error}")
        return None
    parsed = parse(text)
    for each in [mishap] if mishap else parsed.mishaps:
        problems.mishap(each)
    if isinstance(parsed.root, Record):
        return parsed.root
    if not problems.errors:
        problems.add(parsed.root, "a test file has `environment:` and `cases:`", "see `pipeline test --help`")
    return None


def _bind(root: Record, path: Path, problems: Problems) -> tuple[Head | None, dict[str, tuple[Case, Record]]]:
    """The file's own options, None when they are wrong, and the cases that are right."""
    binder = Binder({}, problems.reporter())
    own = {key: entry for key, entry in root.entries.items() if not key.startswith("x-")}
    whole = Record(own, root.line, root.column)
    binder.options(Suite, whole)
    scope = Scope(graph="", node="", folder=path.parent)
    section = locate(root, ("cases",))
    cases: dict[str, tuple[Case, Record]] = {}
    for name, entry in section.entries.items() if "cases" in own and isinstance(section, Record) else ():
        before = problems.errors
        for prefix, options in _sound(Case, entry.value):
            for finding in options.check(scope):
                option = ("cases", name, *prefix, *finding.path)
                problems.reporter()(locate(root, option), option, finding.message, finding.hint, finding.severity)
        case = _quiet(Case, entry.value)
        if isinstance(case, Case) and isinstance(entry.value, Record) and problems.errors == before:
            cases[name] = (case, entry.value)
    head = _quiet(Head, Record({key: own[key] for key in own if key in Head.__struct_fields__}, root.line, root.column))
    if not isinstance(head, Head):
        return None, {}
    graph = head.graph_path(path)
    if not graph.is_file():
        place = locate(root, ("graph",)) if head.graph else None
        problems.add(place, f"there is no graph file '{graph}'", "name it: graph: line.yaml", path=("graph",))
        return None, {}
    return head, cases


def _quiet(hint: Any, value: Value) -> Any:
    """The value as this type; `FAILED` without a word."""
    return Binder({}, lambda *_: None).value(hint, value)


def _sound(hint: Any, value: Value, path: OptionPath = ()) -> Iterator[tuple[OptionPath, Options]]:
    """All options within a value that are right by themselves, though what is around them may not be."""
    bound = _quiet(hint, value)
    if bound is not FAILED:
        yield from nested(bound, path)
        return
    base, _ = unwrap(hint)
    inner = get_args(base)
    if isinstance(value, Record) and is_options(base):
        for field in fields(base):
            if entry := value.entries.get(field.encode_name):
                yield from _sound(field.type, entry.value, (*path, field.encode_name))
    elif isinstance(value, Listing) and shapes(base) == {"list"} and inner:
        for index, item in enumerate(value.items):
            yield from _sound(inner[0], item, (*path, index))
