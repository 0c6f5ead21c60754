"""`check FILE`: validates offline and predicts what the graph will do."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import click

from pipeline.cli import graph_file
from pipeline.config import fix, load
from pipeline.config.document import read
from pipeline.config.predict import forecast
from pipeline.config.problems import option_name
from pipeline.errors import Finding, Problem, UsageError
from pipeline.graph import Node
from pipeline.takeover import unwritable

__all__ = ["command"]


@click.command(name="check")
@click.argument("file")
@click.option(
    "--fix", "mend", is_flag=True, help="Mend what is mechanical (tabs, indentation, quotes); shows the difference."
)
def command(file: str, mend: bool) -> None:
    """Validate a graph file without connecting to anything, and predict load.

    \b
    Examples:
      pipeline check configs/line1.yaml
      pipeline check line.yaml --fix
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    path = graph_file(file)
    if mend:
        _mend(path)
    graph = load(path, os.environ)
    warnings = list(graph.warnings)
    for node, prediction in forecast(graph):
        click.echo(f"{node.name} ({node.operator.name})")
        for name, value in prediction.lines:
            click.echo(f"  {name}: {value}")
        if prediction.flow.frames:
            click.echo(f"  frames: {prediction.flow.frames:.4g}/s of about {prediction.flow.size:.0f} bytes")
        warnings += [_placed(path, node, warning) for warning in prediction.warnings]
    warnings += [_placed(path, node, warning) for node, warning in unwritable(graph)]
    for problem in warnings:
        click.echo(str(problem), err=True)
    click.echo(f"{path}: good; {_counted(len(graph.running()), 'node')}, {_counted(len(warnings), 'warning')}")


def _placed(path: Path, node: Node, warning: Finding) -> Problem:
    return Problem(
        file=str(path),
        line=node.line,
        column=1,
        node=node.name,
        kind=node.operator.name,
        option=option_name(warning.path),
        message=warning.message,
        hint=warning.hint,
        severity=warning.severity,
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _mend(path: Path) -> None:
    try:
        before = read(path).decode("utf-8")  # as bytes, so that line ends stay as they are
    except (OSError, UnicodeDecodeError):
        return  # `load` explains it
    after, done = fix.fix(before)
    if after == before:
        click.echo("nothing to mend")
        return
    click.echo(
        "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(path), f"{path} (mended)"))
    )
    _write(path, after.encode("utf-8"))
    for line in done:
        click.echo(f"mended: {line}")


def _write(path: Path, content: bytes) -> None:
    """Write over a file in place: emptied first, it would be lost where the disk is full."""
    try:
        with path.open("r+b") as file:
            file.write(content)
            file.truncate()
    except OSError as error:
        raise UsageError(f"'{path}' can't be written: {error.strerror}; nothing was mended") from error
