"""`import FILE…`: makes a graph file of what other systems know: configurations, PLC programs, tag tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from pipeline.commands.browse import create, graph_name, schema_line
from pipeline.config import load_text
from pipeline.config.document import LONGEST, decode, read
from pipeline.config.interpolate import interpolate
from pipeline.errors import UsageError, nearest
from pipeline.importing.agent import read_agent
from pipeline.importing.graph_text import graph_text, queue_command
from pipeline.importing.line_text import layouts_text, line_text
from pipeline.importing.placement import place_program
from pipeline.importing.program import Program, key
from pipeline.importing.recognise import is_configuration, read_file
from pipeline.importing.settling import settle_layouts

__all__ = ["command", "samples"]

_COMMENT = re.compile(r"(?m)^ *#.*$")
_SAMPLES = {"HTTP_URL": "https://server.invalid/", "PLC_IP": "plc.invalid"}
"""What stands for variables that have to be set while the new graph is checked."""
_LAST_BLOCK = 65535


@click.command(name="import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The graph file; it must not be there yet.")
@click.option("--layouts", is_flag=True, help="The layouts alone, of all types and blocks.")
@click.option("--address", default="", help="Of the PLC; left out, PLC_IP has to be set.")
@click.option(
    "--db",
    "numbers",
    multiple=True,
    metavar="NAME=N",
    help="A block's number, where no file says it or another counts.",
)
def command(
    files: tuple[Path, ...], output: Path | None, layouts: bool, address: str, numbers: tuple[str, ...]
) -> None:
    """Make a graph file of sources and tag tables of a PLC, or of another system's configuration.

    Files are recognised by what is in them and belong together: give types, blocks and symbols of a PLC at once.

    \b
      .db .udt .scl   sources of TIA Portal, of blocks with standard access
      .awl            sources of STEP 7
      .xml .csv .sdf .asc   tag tables of TIA Portal and STEP 7; TIA's blocks as XML
      .csv            of Kepware
      .json           flows of Node-RED with `s7 endpoint`
      .yaml           the configuration of the first system's agent

    Secrets are not copied: they become variables. What could not be taken is listed by its line, here and at the head
    of the graph file.

    \b
    Examples:
      pipeline import Press.db Motor.udt --db Press=10 --address 192.168.0.121 -o line.yaml
      pipeline import Motor.udt --layouts
      pipeline import config.yaml -o line.yaml
      pipeline check line.yaml
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    if output is not None and output.exists():
        raise UsageError(f"'{output}' is there already; name another file")
    if any(is_configuration(file) for file in files):
        _import_configuration(files, output)
    else:
        _import_program(files, output, layouts, address, numbers)


def _import_program(
    files: Sequence[Path], output: Path | None, layouts: bool, address: str, numbers: Sequence[str]
) -> None:
    program = Program()
    for file in files:
        read_file(file, program)
    for number in numbers:
        _set_number(number, program)
    places = place_program(program, all_types=layouts)
    settle_layouts(places, program)
    for db, (table, line, name) in program.announced.items():
        if all(key(f"DB {block.number}") != db for block in places.blocks):
            program.tell(
                table, line, f"{name}: a data block; its fields are in its source, which is not among the files"
            )
    if layouts:
        text = layouts_text(program, places, files) if places.layouts else ""
    else:
        text = line_text(program, places, graph_name(output or files[0], "line"), files, address)
        text = text and schema_line(output) + text
    told = "\n".join(map(str, program.remarks))
    if not text:
        hint = "(`--layouts` gives the types alone)" if program.types and not layouts else ""
        raise UsageError("\n".join(part for part in (told, "there is nothing to read in these files", hint) if part))
    if len(text) > LONGEST:
        kib = f"{len(text) // 1024} KiB, and a graph file may have {LONGEST // 1024}"
        raise UsageError(f"what these files declare makes {kib}; take out what nobody needs, or import in parts")
    create(text, output)
    if told:
        click.echo(told, err=True)
    if not layouts:
        _check(text, output)


def _set_number(option: str, program: Program) -> None:
    name, _, number = option.rpartition("=")
    if not name or not number.isdecimal() or not 1 <= int(number) <= _LAST_BLOCK:
        raise UsageError(f"--db '{option}': write the block's name and its number: --db Press=10")
    known = [block.name for block in program.blocks]
    if key(name) not in map(key, known):
        likely = nearest(name, known)
        hint = f"did you mean {likely}?" if likely else f"there are: {', '.join(known) or 'none'}"
        raise UsageError(f"--db '{option}': no block has this name; {hint}")
    program.symbols[key(name)] = f"db{int(number)}"
    # Before the number that the file says, or the name: who gives another one knows better.
    program.blocks = [
        replace(block, number=int(number)) if key(block.name) == key(name) else block for block in program.blocks
    ]


def _import_configuration(files: Sequence[Path], output: Path | None) -> None:
    if len(files) > 1:
        raise UsageError(
            "a configuration of the agent is imported alone; import the other files by a call of their own"
        )
    config = files[0]
    agent, notes = read_agent(_read(config), config)
    name = graph_name(output or config, "line")
    text = schema_line(output) + graph_text(agent, name, config.name, notes)
    create(text, output)
    for note in notes:
        click.echo(f"{config}:{note.line}: {note.text}", err=True)
    _check(text, output)
    if queue := queue_command(agent, name):
        click.echo(f"what waits in its queue: pipeline {queue}", err=True)


def _check(text: str, output: Path | None) -> None:
    """Judge the new graph as `check` would, and say which variables it needs."""
    unset = list(dict.fromkeys(interpolate(_COMMENT.sub("", text), {}).missing))
    load_text(text, output or Path("the new graph"), dict(samples(unset)))
    if unset:
        click.echo(f"set before it runs: {', '.join(unset)}", err=True)


def samples(unset: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What stands for variables while a new graph is checked, by their names."""
    for n, name in enumerate(unset):
        yield name, str(_LAST_BLOCK - n) if name.startswith("DB_") else _SAMPLES.get(name, "sample")


def _read(config: Path) -> str:
    try:
        text, mishap = decode(read(config))
    except OSError as error:
        raise UsageError(f"'{config}' can't be read: {error.strerror}") from error
    if mishap is not None:
        raise UsageError(f"{config}:{mishap.line}: {mishap.message}; {mishap.hint}")
    return text
