"""`schema`: the JSON Schema of graph files, for completion and hover in editors."""

from __future__ import annotations

import json

import click

from pipeline.config.schema import schema

__all__ = ["command"]


@click.command(name="schema")
def command() -> None:
    """Print the JSON Schema of graph files.

    \b
    Example:
      pipeline schema > graph.schema.json
      # first line of a graph file:  # yaml-language-server: $schema=graph.schema.json
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    click.echo(json.dumps(schema(), indent=2))
