"""`check FILE`: validates offline and predicts what the graph will do."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import click

from pipeline.cli import graph_file
from pipeline.config import fix, load
from pipeline.config.predict import forecast

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
    for node, prediction in forecast(graph):
        click.echo(f"{node.name} ({node.operator.name})")
        for name, value in prediction.lines:
            click.echo(f"  {name}: {value}")
        if prediction.flow.frames:
            click.echo(f"  frames: {prediction.flow.frames:.4g}/s of about {prediction.flow.size:.0f} bytes")
        for warning in prediction.warnings:
            click.echo(f"  warning: {warning.message}" + (f"; {warning.hint}" if warning.hint else ""))
    for problem in graph.warnings:
        click.echo(str(problem), err=True)
    count = len(graph.running())
    click.echo(f"{path}: good, {count} node{'s' if count != 1 else ''}, {len(graph.warnings)} warnings")


def _mend(path: Path) -> None:
    before = path.read_text(encoding="utf-8")
    after, done = fix.fix(before)
    if after == before:
        click.echo("nothing to mend")
        return
    click.echo(
        "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(path), f"{path} (mended)"))
    )
    path.write_text(after, encoding="utf-8")
    for line in done:
        click.echo(f"mended: {line}")
