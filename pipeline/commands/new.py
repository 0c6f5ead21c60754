"""`new operator`, `new graph`: first files that are right, to go on from."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

import operators
from pipeline.commands.browse import graph_name, schema_line, write_new
from pipeline.config import load_text
from pipeline.errors import ConfigurationError, UsageError
from pipeline.operator import NodeKind
from pipeline.s7.browse_graph import StarterBlock, starter_graph
from pipeline.s7.browse_place import access_options, place_of_address
from pipeline.scaffold import Layouts, operator_files, package_files, read_layouts

__all__ = ["command"]

_KINDS = {kind.value.removesuffix("s"): kind for kind in NodeKind}
_LARGEST = 65_536
_MADE = (
    ("operators/README.md", ("pipeline", "operators", "--update")),
    ("configs/graph.schema.json", ("pipeline", "schema", "--shipped", "-o")),
    ("pipeline/ERRORS.md", ("pipeline.inventory",)),
)
"""What is made of all operators, with the module that makes it and its arguments; the last makes METRICS.md too."""


@click.group(name="new")
def command() -> None:
    """Write first files that are right: an operator with its test, a graph with comments.

    \b
    Examples:
      pipeline new operator sink my_sink
      pipeline new graph --plc 192.168.0.121 --db 1 --size 14 -o press.yaml
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped


@command.command(name="operator")
@click.argument("kind", type=click.Choice(list(_KINDS)))
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where; without it this folder, if it holds the project, else a new one named NAME.",
)
def operator_command(kind: str, name: str, folder: Path | None) -> None:
    """Write an operator and its test, which passes: replace what it does by what yours does.

    In a checkout of this project they go to `operators/` and `tests/operators/`, and what is made of the code is made
    anew: the reference of operators, metrics and messages, the schema for editors. Elsewhere they become a package of
    their own, which registers the operator once it is installed. Nothing of yours is written over.

    \b
    Examples:
      pipeline new operator transform smooth
      pipeline new operator sink my_sink --dir my_package
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    section = _KINDS[kind]
    in_project = ((folder or Path()) / "operators" / section).is_dir()
    root = folder or (Path() if in_project else Path(name))
    made = dict(operator_files(section, name, in_project=in_project))
    project = root / "pyproject.toml"
    if not in_project and not project.exists():
        made |= {path: text for path, text in package_files(section, name).items() if not (root / path).exists()}
    taken = [root / path for path in made if (root / path).exists()]
    if taken:
        raise UsageError(f"'{taken[0]}' is there already; choose another name, or remove it")
    for path, text in made.items():
        _write(root / path, text)
    test = next(root / path for path in made if path.name.startswith("test_"))
    if in_project:
        _update_pages(root)
        click.echo(f"next: python -m pytest {shlex.quote(str(test))}", err=True)
        return
    if Path("pyproject.toml") not in made:
        entry = f'"{section}.{name}" = "{name}:{name}"'
        click.echo(f'{project} needs, below [project.entry-points."pipeline.operators"]: {entry}', err=True)
    package, file = shlex.quote(str(root)), shlex.quote(str(test))
    click.echo(f"next: pip install -e {package}; python -m pytest {file}", err=True)


@command.command(name="graph")
@click.option("--plc", required=True, metavar="ADDRESS[:PORT]", help="The PLC.")
@access_options
@click.option(
    "--db", "dbs", type=click.IntRange(1, 65535), multiple=True, required=True, help="A data block; may be repeated."
)
@click.option("--size", type=click.IntRange(1, _LARGEST), help="Bytes of each block whose fields are not told.")
@click.option(
    "--layout",
    metavar="FILE[:NAME]",
    help="What is in each block: a file of fields, or one with `layouts:` and the name of one of them.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it here; it must not be there yet.")
def graph_command(
    *, plc: str, dbs: tuple[int, ...], size: int | None, layout: str | None, output: Path | None, **access: Any
) -> None:
    """Write a commented graph file that `check` accepts. Nothing is connected to: `browse` looks for itself.

    \b
    Examples:
      pipeline new graph --plc 192.168.0.121 --db 1 --size 14 -o press.yaml
      pipeline new graph --plc 192.168.0.121 --db 1 --layout fields.yaml
      pipeline new graph --plc 192.168.0.121 --db 500 --layout configs/db500.yaml:linha
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    if size is None and layout is None:
        raise UsageError("how long is the block? --size 14, or --layout FILE; `pipeline browse` finds it")
    place = place_of_address(plc, **access)
    found = _layouts(layout) if layout else Layouts()
    blocks = [StarterBlock(db=db, size=size or 0, layout=found.fields, name=found.name) for db in dict.fromkeys(dbs)]
    comments = [f"A first graph for the PLC {place}, written on {time.strftime('%Y-%m-%d')}."]
    text = starter_graph(place, blocks, comments, graph_name(output), found.lines)
    try:
        load_text(text, output or Path("new.yaml"), {})
    except ConfigurationError as error:
        raise UsageError(f"these layouts make no graph:\n{error}") from error
    write_new(schema_line(output) + text, output)


def _layouts(text: str) -> Layouts:
    path, _, name = text.rpartition(":")
    return read_layouts(Path(path), name) if path and not Path(text).exists() else read_layouts(Path(text))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"'{path}' can't be written: {error.strerror}; choose another folder with --dir") from error
    click.echo(f"{path} is written", err=True)


def _update_pages(root: Path) -> None:
    """Make anew what is made of the operators, where those of this project are meant: by a process that finds all."""
    if Path(operators.__file__).resolve().parent != (root / "operators").resolve():
        return
    for made, command in _MADE:
        page = root / made
        if not page.is_file():
            continue
        done = subprocess.run(  # noqa: S603 - this program
            [sys.executable, "-m", *command, *([str(page)] if command[-1].startswith("-") else [])],
            check=False,
            capture_output=True,
            text=True,
        )
        click.echo(done.stderr.strip() if done.returncode else f"{page} knows it now", err=True)
