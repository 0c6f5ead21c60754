"""`import CONFIG`: makes a graph file of what another system had for a configuration."""

from __future__ import annotations

import re
from pathlib import Path

import click

from pipeline.config import load_text
from pipeline.config.document import decode, read
from pipeline.config.interpolate import interpolate
from pipeline.errors import UsageError
from pipeline.importing.agent import read_agent
from pipeline.importing.graph_text import graph_text, queue_command

__all__ = ["command"]

_COMMENT = re.compile(r"(?m)^ *#.*$")
_SAMPLES = {"HTTP_URL": "https://server.invalid/"}
"""What stands for variables that have to be set while the new graph is checked."""


@click.command(name="import")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The graph file; it must not be there yet.")
def command(config: Path, output: Path | None) -> None:
    """Make a graph file from the config.yaml of the first system's agent.

    Addresses, blocks, topic and TLS are taken, layouts written out. Secrets are not copied: they become variables. What
    could not be taken is listed by its line, here and at the head of the graph file.

    \b
    Examples:
      pipeline import config.yaml -o line.yaml
      pipeline check line.yaml
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    if output is not None and output.exists():
        raise UsageError(f"'{output}' is there already; name another file")
    agent, notes = read_agent(_read(config), config)
    name = _name(output or config)
    text = graph_text(agent, name, config.name, notes)
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
    for note in notes:
        click.echo(f"{config}:{note.line}: {note.text}", err=True)
    unset = list(dict.fromkeys(interpolate(_COMMENT.sub("", text), {}).missing))
    load_text(text, output or Path("the new graph"), {name: _SAMPLES.get(name, "sample") for name in unset})
    if unset:
        click.echo(f"set before it runs: {', '.join(unset)}", err=True)
    if queue := queue_command(agent, name):
        click.echo(f"what waits in its queue: pipeline {queue}", err=True)


def _read(config: Path) -> str:
    try:
        text, mishap = decode(read(config))
    except OSError as error:
        raise UsageError(f"'{config}' can't be read: {error.strerror}") from error
    if mishap is not None:
        raise UsageError(f"{config}:{mishap.line}: {mishap.message}; {mishap.hint}")
    return text


def _write(output: Path, text: str) -> None:
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"'{output}' can't be written: {error.strerror}") from error


def _name(file: Path) -> str:
    """A graph's name from a file's."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", file.stem).lstrip("_.-")[:64] or "line"
