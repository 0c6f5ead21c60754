"""`operators [NAME]`: what can be written after `type:`, and what each type's options are."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli import shipped_graphs
from pipeline.errors import UsageError, nearest
from pipeline.operator import NodeKind, Operator, find, names

__all__ = ["command"]


@click.command(name="operators")
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="The reference of all operators, as Markdown.")
@click.option(
    "--update",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Put that reference between its marks in a Markdown file.",
)
def command(name: str | None, *, markdown: bool, update: Path | None) -> None:
    """List the operators, or tell all of one.

    \b
    Examples:
      pipeline operators          all types with a line each
      pipeline operators mqtt     its behaviour and its options
      pipeline operators --update operators/README.md
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    if markdown or update is not None:
        _write_reference(update)
        return
    if name is None:
        for kind in NodeKind:
            click.echo(f"{kind}:")
            for type_name in names(kind):
                click.echo(f"  {type_name:<16} {find(kind, type_name).doc.splitlines()[0]}")
        return
    found = [find(kind, name) for kind in NodeKind if name in names(kind)]
    if not found:
        everything = [type_name for kind in NodeKind for type_name in names(kind)]
        near = nearest(name, everything)
        hint = f"did you mean '{near}'?" if near else f"there are: {', '.join(everything)}"
        raise UsageError(f"there is no operator '{name}'; {hint}")
    for operator in found:
        _tell(operator)


def _write_reference(update: Path | None) -> None:
    from pipeline.reference import put, reference  # noqa: PLC0415 - only this branch needs it

    made = reference(shipped_graphs().values())
    if update is None:
        click.echo(made)
        return
    try:
        update.write_text(put(update.read_text(encoding="utf-8"), made), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"'{update}' can't be written: {error.strerror}; name a page that is there and may be written"
        ) from error
    except ValueError as error:
        raise UsageError(f"'{update}': {error}") from error


def _tell(operator: Operator[object]) -> None:  # type: ignore[type-var]
    from pipeline.config.schema import describe  # noqa: PLC0415 - only this branch needs it

    click.echo(f"{operator.name} ({operator.kind.value[:-1]})\n\n{operator.doc}\n\nOptions:")
    for option in describe(operator.options):
        click.echo(f"  {option}")
