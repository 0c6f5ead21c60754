"""First files: an operator with its test, from templates; layouts that a graph takes from a file."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import keyword
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from pipeline.config.document import Record, decode, parse, read
from pipeline.errors import UsageError
from pipeline.operator import NodeKind, names

__all__ = ["Layouts", "operator_files", "package_files", "read_layouts"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PROJECT = """\
[build-system]
requires = ["hatchling>=1.24"]
build-backend = "hatchling.build"

[project]
name = "pipeline-{dashed}"
version = "0.1.0"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["retrofit-pipeline"]

[project.entry-points."pipeline.operators"]
"{kind}.{name}" = "{name}:{name}"

[tool.hatch.build.targets.wheel]
include = ["{name}.py"]

[tool.pytest.ini_options]
pythonpath = ["."]
"""


_README = """\
# pipeline-{dashed}

The {word} `{name}` for [retrofit-pipeline]: `type: {name}` in a graph file. `{name}.py` says what it does, its options,
what it promises; `pipeline operators {name}` shows that.

```sh
pip install -e .                 # from here on graphs may use it
python -m pytest                 # its tests
pipeline operators {name}        # its page
pipeline schema -o graph.schema.json   # what editors complete from, now with its options
```

How an operator is written: the guide in `operators/README.md` of retrofit-pipeline.
"""
_LONGEST = 41


def operator_files(kind: NodeKind, name: str, *, in_project: bool) -> Mapping[Path, str]:
    """The module of a new operator and its test, by their paths.

    Args:
        kind: its section.
        name: its `type:`.
        in_project: as in this project's tree; else a module and a test side by side.

    Raises:
        UsageError: the name can't be one, or is taken.
    """
    word = kind.value.removesuffix("s")
    _judge_form(name)
    if name in names(kind):
        raise UsageError(f"there is a {word} '{name}' already; choose another name")
    if not in_project:
        _judge_module(name, word)
    module = f"operators.{kind}.{name}" if in_project else name
    filled = {"name": name, "module": module, "class_name": "".join(part.capitalize() for part in name.split("_"))}
    folders = (Path("operators", kind), Path("tests", "operators", kind)) if in_project else (Path(), Path())
    templates = files("pipeline") / "templates"
    made = {
        folder / file: Template((templates / template).read_text(encoding="utf-8")).substitute(filled)
        for folder, file, template in (
            (folders[0], f"{name}.py", f"{word}.txt"),
            (folders[1], f"test_{name}.py", f"test_{word}.txt"),
        )
    }
    for path, text in made.items():
        _judge_use(text, filled, word, inner=path.name.startswith("test_"))
    return made


def _judge_form(name: str) -> None:
    """Refuse what is no name, each for its own reason."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' can't be a type: write a small letter, then small letters, digits and _")
    if len(name) > _LONGEST:
        raise UsageError(f"a type of {len(name)} characters is too long: {_LONGEST} at most")
    if name.startswith("test_") or name.endswith("_test"):
        raise UsageError(f"'{name}' can't be a type: pytest would take its module for tests; leave `test` out")
    if keyword.iskeyword(name):
        raise UsageError(f"'{name}' can't be a type: it is a word of Python itself; choose another, such as my_{name}")


def _judge_module(name: str, word: str) -> None:
    """Refuse the name of a module that is there already: a package's module stands beside all others."""
    try:
        found = importlib.util.find_spec(name)
    except ValueError:  # a module that was put there by hand
        found = None
    if name in sys.stdlib_module_names or (found is not None and found.origin is not None):
        raise UsageError(
            f"'{name}' can't be a type of a package of its own: Python has a module '{name}' already, and one of them "
            f"would not be found; choose another name, such as {name}_{word}"
        )


def _judge_use(text: str, filled: Mapping[str, str], word: str, *, inner: bool) -> None:
    """Refuse a name that a module means something else by: what it imports or defines, what Python has."""
    bound = Counter(_bound(ast.parse(text), inner=inner))
    name = filled["name"]
    for own in (name, filled["class_name"]):
        if bound[own] > 1 or hasattr(builtins, own):
            raise UsageError(
                f"'{name}' can't be a type: '{own}' means something else in its module; choose another name, such as "
                f"my_{name}_{word}"
            )


def _bound(tree: ast.Module, *, inner: bool) -> Iterator[str]:
    """The names that a module gives a meaning to, once for each time; `inner`: also inside of its functions."""
    for node in ast.walk(tree) if inner else tree.body:
        match node:
            case ast.Import(names=names_) | ast.ImportFrom(names=names_):
                yield from (alias.asname or alias.name for alias in names_)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name


def package_files(kind: NodeKind, name: str) -> Mapping[Path, str]:
    """What a package of one operator has beside it: the `pyproject.toml`, which registers it, and a page."""
    filled = {"dashed": name.replace("_", "-"), "kind": kind.value, "name": name, "word": kind.value.removesuffix("s")}
    return {Path("pyproject.toml"): _PROJECT.format(**filled), Path("README.md"): _README.format(**filled)}


@dataclass(frozen=True, kw_only=True)
class Layouts:
    """Layouts that were read from a file.

    Attributes:
        lines: as they stand below `layouts:`.
        name: the one that a block is of; "" where `fields` are its fields.
        fields: lines of the fields of a single layout.
    """

    lines: Sequence[str] = ()
    name: str = ""
    fields: Sequence[str] = ()


def read_layouts(path: Path, name: str = "") -> Layouts:
    """Read the layouts of a graph file, or a file of fields alone: one `name: TYPE @ byte` a line.

    Args:
        path: the file; comments stay.
        name: which layout is meant; "": the last one, after those that it is made of.

    Raises:
        UsageError: the file can't be read, or has no layouts.
    """
    try:
        text, mishap = decode(read(path))
    except OSError as error:
        raise UsageError(f"'{path}' can't be read: {error.strerror or error}") from error
    parsed = parse(text)
    mishaps = [mishap] if mishap else parsed.mishaps
    if mishaps:
        raise UsageError(f"{path}:{mishaps[0].line}: {mishaps[0].message}")
    root = parsed.root
    if not isinstance(root, Record) or not root.entries:
        raise UsageError(f"'{path}' has no layouts; write fields, one a line: contador_bom: INT @ 10")
    section = root.entries.get("layouts")
    if section is None:
        return Layouts(fields=_below(text, root, "fields") if "fields" in root.entries else text.splitlines())
    inner = section.value.entries if isinstance(section.value, Record) else {}
    if not inner or any(entry.line == section.line for entry in inner.values()):
        raise UsageError(
            f"{path}:{section.line}: the layouts stand in one line; write each on lines of its own below `layouts:`"
        )
    known = list(inner)
    if name and name not in known:
        raise UsageError(f"'{path}' has no layout '{name}'; it has {', '.join(known)}")
    lines = textwrap.indent("\n".join(_below(text, root, "layouts")), "  ").splitlines()
    return Layouts(lines=lines, name=name or known[-1])


def _below(text: str, root: Record, key: str) -> list[str]:
    """The lines below a key of the file, without their common margin."""
    lines = text.splitlines()
    start = root.entries[key].line
    later = [entry.line for entry in root.entries.values() if entry.line > start]
    end = min(later, default=len(lines) + 1) - 1
    found = textwrap.dedent("\n".join(lines[start:end])).rstrip().splitlines()
    while found and (not found[-1].strip() or found[-1].startswith("#")):
        found.pop()  # what stands before the next key is about that
    return found
