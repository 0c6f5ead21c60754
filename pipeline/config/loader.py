"""`load`: from a graph file to a checked `Graph`, or to all its mistakes at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from pipeline.config.bind import FAILED, Binder, Failed, OptionPath, nested
from pipeline.config.circles import check_circles
from pipeline.config.copies import check_copies
from pipeline.config.document import Entry, Listing, Record, Scalar, Value, decode, locate, parse, read, resolve
from pipeline.config.http import Http
from pipeline.config.layouts import Layout, LayoutOptions, build_layouts
from pipeline.config.origins import check_origins
from pipeline.config.partial import bind_readable
from pipeline.config.problems import Problems
from pipeline.config.recorder import RecorderOptions
from pipeline.config.wiring import Draft, check_claims, check_names, check_wiring, in_data_order
from pipeline.errors import ConfigurationError, Finding, Problem, Severity, nearest
from pipeline.graph import Graph, Node
from pipeline.identifiers import GRAPH_NAME
from pipeline.operator import NodeKind, Options, Scope, find, names

__all__ = ["NODE_KEYS", "TOP_KEYS", "GraphName", "load", "load_text"]

OptionsT = TypeVar("OptionsT", bound=Options)

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
    for mishap in parsed.mishaps:
        problems.mishap(mishap)
    graph = None
    if isinstance(parsed.root, Record):
        graph = _Loader(parsed.root, path, environ, problems, only).graph()
    elif parsed.root is not None:
        problems.add(parsed.root, "a graph file is made of `key: value` lines", f"its keys: {', '.join(TOP_KEYS)}")
    elif not parsed.mishaps:
        problems.add(None, "the file is empty", f"a graph has {', '.join(TOP_KEYS)}")
    if graph is None or problems.errors:
        raise ConfigurationError(problems.all)
    return graph


class _Loader:
    """Loads one document."""

    def __init__(self, root: Record, path: Path, environ: Mapping[str, str], problems: Problems, only: str) -> None:
        self._root = root
        self._path = path
        self._environ = environ
        self._problems = problems
        self._only = only
        self._needed = only or True  # which variables of an enabled source
        self._broken: set[str] = set()  # layouts that are declared and wrong

    def graph(self) -> Graph | None:
        """The graph, None when something is wrong."""
        for key, entry in self._root.entries.items():
            if key not in TOP_KEYS and not key.startswith("x-"):
                similar = nearest(key, TOP_KEYS)
                hint = f"did you mean '{similar}'?" if similar else f"allowed: {', '.join(TOP_KEYS)}"
                self._problems.add(_place(key, entry), f"unknown key '{key}'", hint)
        name = self._name()
        if self._only:
            return self._sources(name)
        http = self._top("http", Http, name)
        recorder = self._top("recorder", RecorderOptions, name) or RecorderOptions()
        layouts = self._layouts()
        drafts = check_names([d for kind in NodeKind for d in self._section(kind)], self._problems)
        check_wiring(drafts, self._problems)
        if not drafts and not self._problems.errors:
            self._problems.add(None, "the graph has no nodes", "declare them in sources, transforms and sinks")
        scopes = [(draft, self._scope(name, draft, layouts)) for draft in drafts.values()]
        for draft, scope in scopes:
            self._check(draft, scope)
        enabled = [(draft, scope) for draft, scope in scopes if draft.enabled]
        check_claims(enabled, self._problems)
        check_copies(enabled, self._problems)
        check_circles(enabled, self._problems)
        check_origins(enabled, self._problems)
        if self._problems.errors:
            return None
        nodes = {draft.name: _node(draft) for draft in in_data_order(drafts)}
        return Graph(
            name=name,
            path=self._path,
            http=http,
            recorder=recorder,
            layouts=layouts,
            nodes=nodes,
            warnings=self._problems.all,
        )

    def _sources(self, name: str) -> Graph | None:
        """The graph's sources alone, not checked against one another."""
        layouts = self._layouts()
        drafts = list(self._section(NodeKind.SOURCE))
        for draft in drafts:
            self._check(draft, self._scope(name, draft, layouts))
        if self._problems.errors:
            return None
        return Graph(name=name, path=self._path, layouts=layouts, nodes={draft.name: _node(draft) for draft in drafts})

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

    def _top(self, key: str, kind: type[OptionsT], name: str) -> OptionsT | None:
        """A section of the file that is one set of options; None when it is not there, or wrong."""
        entry = self._root.entries.get(key)
        if entry is None:
            return None
        report = self._problems.reporter(prefix=(key,))
        options: OptionsT | Failed = Binder(self._environ, report).value(kind, entry.value)
        if isinstance(options, Failed):
            return None
        for finding in options.check(Scope(graph=name, node=key, folder=self._path.parent)):
            report(locate(entry.value, finding.path), finding.path, finding.message, finding.hint, finding.severity)
        return options

    def _layouts(self) -> dict[str, Layout]:
        options: dict[str, LayoutOptions] = {}
        section = self._mapping("layouts")
        report = self._problems.reporter(prefix=("layouts",))
        for name, entry in section.entries.items():
            bound, sound = bind_readable(self._environ, report, LayoutOptions, entry.value, (name,))
            if not sound:
                self._broken.add(name)
            if bound is not None:
                options[name] = bound
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
                yield draft
            else:
                hint = "write its options below it, at least `type:`"
                self._problems.add(place, "this node has no options", hint, node=name)

    def _mapping(self, key: str) -> Record:
        """A section of the file; nothing is an empty one."""
        entry = self._root.entries.get(key)
        if entry is not None and isinstance(entry.value, Record):
            return entry.value
        empty = entry is None or (isinstance(entry.value, Scalar) and resolve(entry.value.text) is None)
        if entry is not None and not empty:
            self._problems.add(entry.value, "must be a mapping of names", "write one `name: …` a line", path=(key,))
        return Record({}, 0, 0)

    def _read(self, draft: Draft) -> None:
        """Fill in what the node says of itself."""
        entries = draft.record.entries
        self._find_operator(draft)
        binder = Binder(self._environ, self._problems.reporter(draft.name, draft.type))
        if enabled := entries.get("enabled"):
            draft.enabled = binder.value(bool, enabled.value, ("enabled",)) is not False
        self._read_inputs(draft, binder)
        if draft.operator is None:
            return
        errors = self._problems.errors
        report = self._problems.reporter(draft.name, draft.type)
        binder = Binder(self._environ, report, need_variables=draft.enabled and self._needed)
        own = {key: entry for key, entry in entries.items() if key not in NODE_KEYS}
        record = Record(own, draft.place.line, draft.place.column)
        options = binder.options(draft.operator.options, record, also=NODE_KEYS)
        draft.stand_ins = binder.stand_ins
        if options is not FAILED:
            draft.options = options
        elif self._problems.errors == errors:
            draft.options = Options()  # disabled, and only a variable is missing: nobody will ask for its options

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
            return
        items = entry.value.items if isinstance(entry.value, Listing) else (entry.value,)
        if not items:
            draft.tell(self._problems, entry.value, "names no node", "name at least one", path=("from",))
        for item in items:
            name = binder.value(str, item, ("from",))
            if name is FAILED:
                continue
            if name in [known for known, _ in draft.inputs]:
                draft.tell(self._problems, item, f"'{name}' is named twice", "name it once", path=("from",))
            else:
                draft.inputs.append((name, item))

    def _check(self, draft: Draft, scope: Scope) -> None:
        """Ask the node's options, and those within them, for mistakes that no single option shows."""
        errors = self._problems.errors
        for prefix, options in nested(draft.options):
            for finding in options.check(scope):
                path: OptionPath = (*prefix, *finding.path)
                if not _lacks(draft, path) and not self._is_consequence(draft.record, finding, prefix):
                    place = locate(draft.record, path) if path else draft.place
                    draft.tell(
                        self._problems, place, finding.message, finding.hint, path=path, severity=finding.severity
                    )
        draft.sound = draft.options is not None and self._problems.errors == errors
        if draft.stand_ins and draft.options is not None and not self._only:
            draft.options = Options()  # values that stand in are for checking only

    def _is_consequence(self, record: Record, finding: Finding, prefix: OptionPath = ()) -> bool:
        """Whether something is wrong only because the layout that it names is; that has been told."""
        place = locate(record, (*prefix, *finding.path))
        return isinstance(place, Scalar) and "layout" in finding.message and place.text in self._broken

    def _scope(self, name: str, draft: Draft, layouts: Mapping[str, Layout]) -> Scope:
        return Scope(graph=name, node=draft.name, layouts=layouts, folder=self._path.parent)


def _lacks(draft: Draft, path: OptionPath) -> bool:
    """Whether an option, one within it or one around it has a value that only stands in for a missing variable."""
    return any(lacking[: len(path)] == path[: len(lacking)] for lacking in draft.stand_ins)


def _place(name: str, entry: Entry) -> Scalar:
    return Scalar(name, entry.line, entry.column)


def _node(draft: Draft) -> Node:
    operator: Any = draft.operator
    return Node(
        name=draft.name,
        kind=draft.kind,
        operator=operator,
        options=draft.options or Options(),
        inputs=tuple(name for name, _ in draft.inputs),
        enabled=draft.enabled,
        line=draft.place.line,
    )
