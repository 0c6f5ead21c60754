"""`schema`: the JSON Schema of graph files, for completion and hover in editors."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.config.schema import schema, schema_of, schema_text
from pipeline.errors import UsageError
from pipeline.testing.options import Suite

__all__ = ["command"]


@click.command(name="schema")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it to this file."
)
@click.option("--shipped", is_flag=True, help="Only the operators of this project, without those of other packages.")
@click.option("--test", "of_tests", is_flag=True, help="The schema of test files, NAME.test.yaml.")
def command(*, output: Path | None, shipped: bool, of_tests: bool) -> None:
    """Tell editors which options there are: the JSON Schema of graph files, with the operators installed here.

    A graph file names the schema in its first line. Editors with the YAML language server (VS Code with the YAML
    extension of Red Hat, Neovim, Emacs, Kate) then complete options, show what they mean, and mark mistakes. Inside of
    braces they complete from an option's first letter on.

    \b
    Example:
      pipeline schema -o graph.schema.json
      # first line of a graph file:  # yaml-language-server: $schema=graph.schema.json
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    text = schema_text(schema_of(Suite, "Tests of a pipeline graph") if of_tests else schema(shipped=shipped))
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"'{output}' can't be written: {error.strerror}; name a file that can be") from error
