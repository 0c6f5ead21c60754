"""`load`: from a graph file to a checked `Graph`, or to all its mistakes at once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from pipeline.config.bind import FAILED, Binder, OptionPath, nested
from pipeline.config.circles import check_circles
from pipeline.config.copies import check_copies
from pipeline.config.document import Entry, Listing, Parsed, Record, Scalar, Value, decode, locate, parse, read, resolve
from pipeline.config.doubt import settled
from pipeline.config.http import Http
from pipeline.config.layouts import Layout, LayoutOptions, build_layouts
from pipeline.config.origins import check_origins
from pipeline.config.partial import Bound, bind_in_readings, bind_readable, lacks
from pipeline.config.problems import Problems
from pipeline.config.recorder import RecorderOptions
from pipeline.config.wiring import Draft, check_claims, check_names, check_wiring, in_data_order
from pipeline.errors import ConfigurationError, Finding, Problem, Severity, nearest
from pipeline.graph import Graph, Node
from pipeline.identifiers import GRAPH_NAME
from pipeline.operator import NodeKind, Options, Scope, find, names

__all__ = ["NODE_KEYS", "TOP_KEYS", "GraphName", "load", "load_text", "mistakes"]

TOP_KEYS = ("name", "http", "recorder", "layouts", *(kind.value for kind in NodeKind))
"""What may stand at the left margin of a graph file, besides `x-…` for anchors."""

NODE_KEYS = ("type", "from", "enabled")
"""What the engine reads of a node; the rest are its operator's options."""

GraphName = Annotated[
    str,
    Meta(
        description="The graph's name: a letter or digit, then letters, digits, _ . or -. Left out: the file's name.",
        **GRAPH_NAME,
    ),
]


def load(path: Path, environ: Mapping[str, str], *, only: str = "") -> Graph:
    """Read, check and bind a graph file. Opens nothing besides the file.

    Args:
        path: the file.
        environ: what `${NAME}` is filled in from.
        only: an option of sources. Then they are all that is read beside the layouts, and no other option of theirs
            needs its variables: values stand in for them.

    Raises:
        ConfigurationError: with all mistakes at once, each with its place.
    """
    try:
        text, mishap = decode(read(path))
    except OSError as error:
        problem = Problem(file=str(path), line=0, column=0, message=f"can't be read: {error.strerror or error}")
        raise ConfigurationError([problem]) from error
    if mishap is not None:
        problems = Problems(str(path))
        problems.mishap(mishap)
        raise ConfigurationError(problems.all)
    return load_text(text, path, environ, only=only)


def load_text(text: str, path: Path, environ: Mapping[str, str], *, only: str = "") -> Graph:
    """The same for a text, as if it stood in the file `path`.

    Raises:
        ConfigurationError: with all mistakes at once, each with its place.
    """
    parsed = parse(text)
    problems = Problems(str(path))
    graph = _graph(parsed, path, environ, problems, only)
    if parsed.root is None:
        ways = [parse(way) for way in settled(parsed.text, lambda way: mistakes(way, path, environ))]
        problems.add_common(
            lambda index, told: _graph(ways[index], path, environ, told, only) if ways else None, max(len(ways), 1)
        )
    if graph is None or problems.errors:
        raise ConfigurationError(problems.all)
    return graph


def mistakes(text: str, path: Path, environ: Mapping[str, str]) -> tuple[int, int]:
    """How many options of a text can't be read, and how many mistakes it has; without any form more than any other."""
    parsed = parse(text)
    if not isinstance(parsed.root, Record):
        return sys.maxsize, sys.maxsize
    problems = Problems(str(path))
    loader = _Loader(parsed.root, path, environ, problems, "")
    with suppress(ConfigurationError):
        loader.graph()
    return loader.unreadable, problems.errors


def _graph(parsed: Parsed, path: Path, environ: Mapping[str, str], problems: Problems, only: str) -> Graph | None:
    """The graph of what was read, None when something is wrong."""
    for mishap in parsed.mishaps:
        problems.mishap(mishap)
    if isinstance(parsed.root, Record):
        return _Loader(parsed.root, path, environ, problems, only).graph()
    if parsed.root is not None:
        problems.add(parsed.root, "a graph file is made of `key: value` lines", f"its keys: {', '.join(TOP_KEYS)}")
    elif not parsed.mishaps:
        problems.add(None, "the file is empty", f"a graph has {', '.join(TOP_KEYS)}")
    return None


class _Loader:
    """Loads one document."""

    def __init__(self, root: Record, path: Path, environ: Mapping[str, str], problems: Problems, only: str) -> None:
        self._root = root
        self._path = path
        self._environ = environ
        self._problems = problems
        self._only = only
        self.unreadable = 0  # mistakes in what stands where, before it is judged
        self._needed = only or True  # which variables of an enabled source
        self._tops: dict[str, tuple[Bound[Any], ...]] = {}
        self._unread: set[str] = set()  # sections that can't be read, or may be meant by an unknown key
        self._broken: set[str] = set()  # layouts that are declared and wrong

    def graph(self) -> Graph | None:
        """The graph, None when something is wrong."""
        for key, entry in self._root.entries.items():
            if key not in TOP_KEYS and not key.startswith("x-"):
                similar = nearest(key, TOP_KEYS)
                self._unread.update([similar] if similar else set(TOP_KEYS) - self._root.entries.keys())
                hint = f"did you mean '{similar}'?" if similar else f"allowed: {', '.join(TOP_KEYS)}"
                self._problems.add(_place(key, entry), f"unknown key '{key}'", hint)
        name = self._name()
        if self._only:
            return self._sources(name)
        self._top("http", Http)
        self._top("recorder", RecorderOptions)
        declared = self._declared()
        sections = [draft for kind in NodeKind for draft in self._section(kind)]
        self.unreadable = self._problems.errors
        layouts = self._layouts(declared)
        drafts = check_names(sections, self._problems)
        check_wiring(drafts, self._problems, complete=self._unread.isdisjoint(NodeKind))
        if not drafts and not self._problems.errors:
            self._problems.add(None, "the graph has no nodes", "declare them in sources, transforms and sinks")
        scopes = [(draft, self._scope(name, draft.name, layouts)) for draft in drafts.values()]
        self._judge(name, scopes)
        if self._problems.errors:
            return None
        nodes = {draft.name: _node(draft) for draft in in_data_order(drafts)}
        return Graph(
            name=name,
            path=self._path,
            http=self._tops["http"][0].options if "http" in self._tops else None,
            recorder=self._tops["recorder"][0].options if "recorder" in self._tops else RecorderOptions(),
            layouts=layouts,
            nodes=nodes,
            warnings=self._problems.all,
        )

    def _sources(self, name: str) -> Graph | None:
        """The graph's sources alone, not checked against one another."""
        layouts = self._layouts(self._declared())
        drafts = list(self._section(NodeKind.SOURCE))
        self._judge(name, [(draft, self._scope(name, draft.name, layouts)) for draft in drafts])
        if self._problems.errors:
            return None
        nodes = {draft.name: _node(draft, stood_in=True) for draft in drafts}
        return Graph(name=name, path=self._path, layouts=layouts, nodes=nodes)

    def _name(self) -> str:
        entry = self._root.entries.get("name")
        place = entry.value if entry else Scalar(self._path.stem, 1, 1, plain=False)
        bound = Binder(self._environ, self._problems.reporter() if entry else self._no_name).value(
            GraphName, place, ("name",)
        )
        return self._path.stem if bound is FAILED else str(bound)

    def _no_name(self, place: Value, path: OptionPath, message: str, _hint: str, severity: Severity) -> None:
        message = f"is missing, and the file's name can't stand for it: {message}"
        self._problems.add(place, message, "write a line `name: …`", path=path, severity=severity)

    def _top(self, key: str, kind: type[Options]) -> None:
        """Read a section of the file that is one set of options."""
        if entry := self._root.entries.get(key):
            report = self._problems.reporter(prefix=(key,))
            self._tops[key] = bind_in_readings(self._environ, report, kind, entry.value)

    def _judge(self, name: str, scopes: list[tuple[Draft, Scope]]) -> None:
        """Ask for all mistakes that no single option shows; where values only stand in, for what is so with any."""

        def judge(index: int, problems: Problems) -> None:
            for key, bound in self._tops.items():
                self._check_top(key, bound[min(index, len(bound) - 1)], self._scope(name, key), problems)
            for draft, scope in scopes:
                draft.read(index)
                self._check(draft, scope, problems)
            if not self._only:
                enabled = [(draft, scope) for draft, scope in scopes if draft.enabled]
                for check in (check_claims, check_copies, check_circles, check_origins):
                    check(enabled, problems)

        read = [*self._tops.values(), *(draft.readings for draft, _ in scopes)]
        self._problems.add_common(judge, max((len(readings) for readings in read), default=1) or 1)

    def _check_top(self, key: str, bound: Bound[Any], scope: Scope, problems: Problems) -> None:
        report = problems.reporter(prefix=(key,))
        for finding in bound.options.check(scope) if bound.options else ():
            if not lacks(bound.stand_ins, finding.path):
                place = locate(self._root.entries[key].value, finding.path)
                report(place, finding.path, finding.message, finding.hint, finding.severity)

    def _declared(self) -> dict[str, LayoutOptions]:
        """The layouts as far as they can be read."""
        options: dict[str, LayoutOptions] = {}
        report = self._problems.reporter(prefix=("layouts",))
        for name, entry in self._mapping("layouts").entries.items():
            bound, sound = bind_readable(self._environ, report, LayoutOptions, entry.value, (name,))
            if not sound:
                self._broken.add(name)
            if bound is not None:
                options[name] = bound
        return options

    def _layouts(self, options: Mapping[str, LayoutOptions]) -> dict[str, Layout]:
        section = self._mapping("layouts")
        report = self._problems.reporter(prefix=("layouts",))
        layouts, findings = build_layouts(options, self._broken)
        for finding in findings:
            if finding.severity is Severity.ERROR:
                self._broken.add(str(finding.path[0]) if finding.path else "")
            if not self._is_consequence(section, finding):
                place = locate(section, finding.path)
                report(place, finding.path, finding.message, finding.hint, finding.severity)
        return layouts

    def _section(self, kind: NodeKind) -> Iterable[Draft]:
        for name, entry in self._mapping(kind.value).entries.items():
            place = _place(name, entry)
            if isinstance(entry.value, Record):
                draft = Draft(name=name, kind=kind, place=place, record=entry.value)
                self._read(draft)
            else:
                draft = Draft(name=name, kind=kind, place=place, record=Record({}, 0, 0), astray=True)
                hint = "write its options below it, at least `type:`"
                draft.tell(self._problems, place, "this node has no options", hint)
            yield draft

    def _mapping(self, key: str) -> Record:
        """A section of the file; nothing is an empty one."""
        entry = self._root.entries.get(key)
        if entry is not None and isinstance(entry.value, Record):
            return entry.value
        empty = entry is None or (isinstance(entry.value, Scalar) and resolve(entry.value.text) is None)
        if entry is not None and not empty:
            self._unread.add(key)
            self._problems.add(entry.value, "must be a mapping of names", "write one `name: …` a line", path=(key,))
        return Record({}, 0, 0)

    def _read(self, draft: Draft) -> None:
        """Fill in what the node says of itself."""
        entries = draft.record.entries
        self._find_operator(draft)
        binder = Binder(self._environ, self._problems.reporter(draft.name, draft.type))
        needed = True
        if enabled := entries.get("enabled"):
            found = binder.value(bool, enabled.value, ("enabled",))
            draft.enabled, needed = found is not False, found is True
        self._read_inputs(draft, binder)
        if draft.operator is None:
            return
        errors = self._problems.errors
        own = {key: entry for key, entry in entries.items() if key not in NODE_KEYS}
        draft.readings = bind_in_readings(
            self._environ,
            self._problems.reporter(draft.name, draft.type),
            draft.operator.options,
            Record(own, draft.place.line, draft.place.column),
            also=NODE_KEYS,
            need_variables=needed and self._needed,
        )
        if draft.readings[0].options is None and self._problems.errors == errors:
            draft.readings = (
                Bound(Options()),
            )  # disabled, and only a variable is missing: nobody asks for its options

    def _find_operator(self, draft: Draft) -> None:
        entry = draft.record.entries.get("type")
        allowed = names(draft.kind)
        if entry is None:
            hint = f"write `type: {draft.name}`" if draft.name in allowed else f"there are: {', '.join(allowed)}"
            draft.tell(self._problems, draft.place, "is required and missing", hint, path=("type",))
            return
        bound = Binder(self._environ, self._problems.reporter(draft.name)).value(str, entry.value, ("type",))
        if bound is FAILED:
            return
        draft.type = bound
        if bound in allowed:
            draft.operator = find(draft.kind, bound)
            return
        word = draft.kind.value.removesuffix("s")
        elsewhere = next((kind for kind in NodeKind if bound in names(kind)), None)
        similar = nearest(bound, allowed)
        hint = f"did you mean '{similar}'?" if similar else f"there are: {', '.join(allowed) or 'none'}"
        if elsewhere is not None:
            hint = f"it is a {elsewhere.value.removesuffix('s')}: declare this node under `{elsewhere}:`"
        self._problems.add(entry.value, f"there is no {word} of type '{bound}'", hint, path=("type",), node=draft.name)

    def _read_inputs(self, draft: Draft, binder: Binder) -> None:
        entry = draft.record.entries.get("from")
        if draft.kind in (NodeKind.SOURCE, NodeKind.SERVICE):
            if entry is not None:
                word = draft.kind.value.removesuffix("s")
                draft.tell(
                    self._problems, _place("from", entry), f"a {word} takes from nobody", "remove it", path=("from",)
                )
            return
        if entry is None:
            hint = "name the source or transform whose frames it takes"
            draft.tell(self._problems, draft.place, "is required and missing", hint, path=("from",))
            draft.astray = True
            return
        items = entry.value.items if isinstance(entry.value, Listing) else (entry.value,)
        if not items:
            draft.tell(self._problems, entry.value, "names no node", "name at least one", path=("from",))
        for item in items:
            name = binder.value(str, item, ("from",))
            if name is FAILED:
                draft.astray = True
                continue
            if name in [known for known, _ in draft.inputs]:
                draft.tell(self._problems, item, f"'{name}' is named twice", "name it once", path=("from",))
            else:
                draft.inputs.append((name, item))

    def _check(self, draft: Draft, scope: Scope, problems: Problems) -> None:
        """Ask the node's options, and those within them, for mistakes that no single option shows."""
        refused: list[OptionPath] = []
        for prefix, options in nested(draft.options):
            for finding in options.check(scope):
                found = replace(finding, path=(*prefix, *finding.path))
                if found.severity is Severity.ERROR:
                    refused.append(found.path)
                if not self._is_consequence(draft.record, found):
                    draft.find(problems, found)
        draft.sound, draft.refused = draft.options is not None and not refused, tuple(refused)

    def _is_consequence(self, record: Record, finding: Finding) -> bool:
        """Whether something is wrong only because the layout that it names, or all are; that has been told."""
        place = locate(record, finding.path)
        told = isinstance(place, Scalar) and ("layouts" in self._unread or place.text in self._broken)
        return told and "layout" in finding.message

    def _scope(self, name: str, node: str, layouts: Mapping[str, Layout] | None = None) -> Scope:
        return Scope(graph=name, node=node, layouts=layouts or {}, folder=self._path.parent)


def _place(name: str, entry: Entry) -> Scalar:
    return Scalar(name, entry.line, entry.column)


def _node(draft: Draft, *, stood_in: bool = False) -> Node:
    """A node; options of which some values only stand in are for checking, unless those are asked for."""
    operator: Any = draft.operator
    options = draft.options if stood_in or not draft.bound.stand_ins else None
    return Node(
        name=draft.name,
        kind=draft.kind,
        operator=operator,
        options=options or Options(),
        inputs=tuple(name for name, _ in draft.inputs),
        enabled=draft.enabled,
        line=draft.place.line,
    )
