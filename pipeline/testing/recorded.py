"""Makes a test of a recording: the answers of its PLCs must give the same frames again. No secret is in its files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline import log
from pipeline.config.bind import OptionPath, fields
from pipeline.config.document import Listing, Record, Scalar, Value, decode, locate, parse, read
from pipeline.config.interpolate import escape
from pipeline.errors import UsageError
from pipeline.graph import Graph
from pipeline.operator import Options
from pipeline.units import Secret

__all__ = ["Asked", "without_secrets", "write_test"]

_VARIABLE = re.compile(r"\$\{\w+\}")
_QUOTED = re.compile(r"""\"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""")


class Asked(Mapping[str, str]):
    """An environment that remembers what was asked of it.

    Attributes:
        found: the variables that a graph has asked for and that are set.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.found: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        value = self._environ[name]
        if value:
            self.found[name] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


def write_test(path: Path, environment: Mapping[str, str], recording: str, frames: str) -> None:
    """Write the test file of a graph that was recorded. Secrets are not in it.

    Args:
        path: where: `graph.test.yaml` beside `graph.yaml`.
        environment: the variables that the graph has asked for.
        recording: file name of the answers, beside it.
        frames: file name of the frames that must come of them, beside it.

    Raises:
        OSError: it can't be written.
    """
    told = sorted(environment.items())
    shown = {name: _stand_in(value) if _is_secret(name, value) else value for name, value in told}
    lines = [
        f"# Recorded: these answers must give these frames. Run it: python -m pipeline test {path.parent}",
        "# Say below `expect` what else must come of them: published, metrics, states.",
        "",
        *(["environment:"] if shown else []),
        *(f"  {name}: {json.dumps(escape(value), ensure_ascii=False)}" for name, value in shown.items()),
        *([""] if shown else []),
        "cases:",
        "  as recorded:",
        f"    recording: {json.dumps(recording)}",
        "    expect:",
        f"      same_as: {json.dumps(frames)}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _is_secret(name: str, value: str) -> bool:
    """Whether the log would hide it, by its name or since an option that is a secret holds it."""
    masked = log.mask(None, "", {name: value})[name]
    return bool(value) and masked != value


def _stand_in(secret: str) -> str:
    """What stands where a secret stood: an address stays one, of the same host."""
    try:
        url = urlsplit(secret)
        port = "" if url.port is None else f":{url.port}"
    except ValueError:
        return "secret"
    if not url.scheme or not url.hostname:
        return "secret"
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{url.scheme}://{host}{port}/secret"


def without_secrets(graph: Graph) -> tuple[str, list[int]]:
    """The text of a graph's file with something else where a secret stands in clear, and the lines that differ.

    What a variable fills in stays: it isn't in the file.

    Raises:
        UsageError: the file can't be read any more, or a secret stands in it where it can't be taken out.
    """
    try:
        text, _ = decode(read(graph.path))
    except OSError as error:
        raise UsageError(f"'{graph.path}' can't be read: {error.strerror or error}") from error
    root = parse(text).root
    lines = text.split("\n")
    places = {} if root is None else {(place.line, place.column): place for place in _in_clear(root, graph)}
    for _, place in sorted(places.items(), reverse=True):
        row, start = place.line - 1, place.column - 1
        quoted = None if place.plain else _QUOTED.match(lines[row], start)
        end = start + len(place.text) if quoted is None else quoted.end()
        if quoted is None and lines[row][start:end] != place.text:
            where = f"{graph.path}:{place.line}"
            raise UsageError(f"{where}: a secret of several lines can't be left out: put it into a variable or a file")
        lines[row] = lines[row][:start] + json.dumps(_stand_in(place.text)) + lines[row][end:]
    return "\n".join(lines), sorted({line for line, _ in places})


def _in_clear(root: Value, graph: Graph) -> Iterator[Scalar]:
    """Where a secret stands that no variable fills in; of disabled nodes all whose key is that of one."""
    for node in graph.nodes.values():
        path = (node.kind.value, node.name)
        found = _secrets(node.options, path) if node.enabled else _telling(locate(root, path), path)
        yield from _literal(root, found)
    yield from _literal(root, _secrets(graph.http, ("http",)))


def _literal(root: Value, paths: Iterator[OptionPath]) -> Iterator[Scalar]:
    for path in paths:
        place = locate(root, path)
        if isinstance(place, Scalar) and re.search(r"\w", _VARIABLE.sub("", place.text)):
            yield place


def _secrets(value: Any, path: OptionPath) -> Iterator[OptionPath]:
    """Paths of the secrets within bound options."""
    if isinstance(value, Secret):
        if value and not value.in_file:
            yield path
    elif isinstance(value, Options):
        for field in fields(type(value)):
            yield from _secrets(getattr(value, field.name), (*path, field.encode_name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _secrets(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _secrets(item, (*path, index))


def _telling(value: Value, path: OptionPath) -> Iterator[OptionPath]:
    """Paths of what a telling key leads to."""
    if isinstance(value, Record):
        for key, entry in value.entries.items():
            inner = (*path, key)
            if isinstance(entry.value, Scalar) and _is_secret(key, entry.value.text):
                yield inner
            yield from _telling(entry.value, inner)
    elif isinstance(value, Listing):
        for index, item in enumerate(value.items):
            yield from _telling(item, (*path, index))
