"""`graph FILE`: the graph as text, Mermaid or DOT."""

from __future__ import annotations

import os

import click

from pipeline.cli import graph_file
from pipeline.config import load

__all__ = ["command"]


@click.command(name="graph")
@click.argument("file")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "dot"]),
    default="text",
    show_default=True,
    help="Notation.",
)
def command(file: str, form: str) -> None:
    """Draw a graph file.

    \b
    Examples:
      pipeline graph configs/line1.yaml
      pipeline graph configs/line1.yaml --format dot | dot -Tsvg > line1.svg
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    graph = load(graph_file(file), os.environ)
    click.echo({"text": graph.as_text, "mermaid": graph.as_mermaid, "dot": graph.as_dot}[form]())
