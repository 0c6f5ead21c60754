"""`browse`: what a PLC says of itself, its data blocks, and what stands in the way of reading them."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline import log
from pipeline.cli import graph_file, shipped_file
from pipeline.clock import Clock
from pipeline.config import load
from pipeline.errors import UsageError
from pipeline.identifiers import unaccented
from pipeline.process import new_loop
from pipeline.s7.browse import Found, browse
from pipeline.s7.browse_blocks import parse_numbers
from pipeline.s7.browse_graph import StarterBlock, starter_graph
from pipeline.s7.browse_place import Place, access_options, is_graph, place_of_address, place_of_graph
from pipeline.s7.browse_text import advice, report
from pipeline.s7plus.browse_command import browse_symbols, symbol_options, take_symbol_options

__all__ = ["command", "create", "graph_name", "place_of", "schema_line", "write_new"]

_SCHEMA = "graph.schema.json"


@click.command(name="browse")
@click.argument("target", metavar="FILE|ADDRESS[:PORT]")
@click.argument("source", required=False)
@click.option("--plc", metavar="ID", help="Which PLC of the graph, by plc_id or address.")
@access_options
@symbol_options
@click.option(
    "--dbs",
    default="1-1000",
    show_default=True,
    metavar="NUMBERS",
    help="Blocks that are tried where the CPU lists none: 1-1000,2000.",
)
@click.option("--rate", type=click.IntRange(1, 1000), default=20, show_default=True, help="Requests a second, at most.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object, for programs.")
@click.option("--graph", "as_graph", is_flag=True, help="A first graph file of what was found, with comments.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write that graph here; it must not be there yet."
)
def command(
    *,
    target: str,
    source: str | None,
    plc: str | None,
    dbs: str,
    rate: int,
    as_json: bool,
    as_graph: bool,
    output: Path | None,
    s7plus: bool,
    **access: Any,
) -> None:
    """Look at a PLC: who it is, its state, clock, protection and connections, its data blocks and their lengths.

    It only reads, one request at a time. What the CPU does not tell is said, and found by reading where that can be.
    FILE is a graph file with the PLC in it; SOURCE and --plc choose where it has several.

    \b
    Examples:
      pipeline browse 192.168.0.121
      pipeline browse 192.168.0.121 --slot 2 --graph -o press.yaml
      pipeline browse configs/line1.yaml --json
      pipeline browse --s7plus 192.168.0.121 --tls --graph -o press.yaml
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    log.configure(os.environ.get("LOG_LEVEL", "warning"))
    if as_json and as_graph and output is None:
        raise UsageError("--json and --graph both want the output; write the graph to a file with -o")
    if output is not None and output.exists():
        raise UsageError(f"'{output}' is there already; name another file")
    symbols = take_symbol_options(access, wanted=s7plus)
    if s7plus:
        _browse_symbols(target, symbols, as_json, as_graph, output)
        return
    place = place_of(target, source, plc, access)
    try:
        numbers = parse_numbers(dbs)
    except ValueError as error:
        raise UsageError(f"--dbs: {error}; write numbers and ranges: 1,5,100-120") from error
    with asyncio.Runner(loop_factory=new_loop()) as runner, _progress() as progress:
        found = runner.run(browse(Clock(runner.get_loop()), place, numbers, rate=rate, progress=progress))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_told(found, place)), indent=2).decode())
    elif not as_graph or output is not None:
        click.echo("\n".join(report(found, str(place), place.declared)))
    if as_graph or output is not None:
        write_new(schema_line(output) + _graph(found, place, output), output)


def place_of(target: str, source: str | None, plc: str | None, access: dict[str, Any]) -> Place:
    """The PLC that a command's arguments name.

    Raises:
        UsageError: they name none, or several, or contradict each other.
        ConfigurationError: the graph file is wrong.
    """
    if is_graph(target):
        told = [f"--{name.replace('_', '-')}" for name, value in access.items() if value is not None]
        if told:
            raise UsageError(f"{', '.join(told)}: the graph file has these for its PLCs; change them there")
        return place_of_graph(load(graph_file(target), os.environ), source, plc)
    if source is not None and is_graph(source):
        raise UsageError(f"'{source}' stands where a source's name does; to write a graph there: -o, or --export")
    if source is not None or plc is not None:
        raise UsageError(
            f"'{target}' is an address and no graph file, so it has no sources to choose from; leave them out"
        )
    return place_of_address(target, **access)


def _browse_symbols(target: str, symbols: dict[str, Any], as_json: bool, as_graph: bool, output: Path | None) -> None:
    named = graph_name(output) if as_graph or output is not None else None
    told, graph = browse_symbols(target, symbols, as_json=as_json, graph=named)
    if as_json or not as_graph or output is not None:
        click.echo(told)
    if graph:
        write_new(schema_line(output) + graph, output)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Shows what is being done in the terminal's last line, and nothing where there is no terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    try:
        yield lambda what: click.echo(f"\r\x1b[Klooking at {what} …", nl=False, err=True)
    finally:
        click.echo("\r\x1b[K", nl=False, err=True)


def _told(found: Found, place: Place) -> dict[str, Any]:
    """What was found, as JSON has it."""
    told: dict[str, Any] = msgspec.to_builtins(found)
    told["dbs"] = [
        {"db": block.db, "size": block.size, "readable": block.readable}
        | ({} if block.readable else {"reason": block.reason})
        for block in found.dbs
    ]
    told["advice"] = list(advice(found, place.declared))
    return told


def _graph(found: Found, place: Place, output: Path | None) -> str:
    blocks = [StarterBlock(db=block.db, size=block.size) for block in found.dbs if block.readable and block.size]
    if not blocks:
        raise UsageError("no data block can be read, so there is nothing to put into a graph; see the report")
    who = found.identity.order_number if found.identity else ""
    comments = [
        f"A first graph for the PLC {place}{f' ({who})' if who else ''}, as found on {time.strftime('%Y-%m-%d')}."
    ]
    comments += [
        f"DB{block.db} is left out: {block.reason or 'it is empty'}."
        for block in found.dbs
        if not block.readable or not block.size
    ]
    return starter_graph(place, blocks, comments, graph_name(output))


def graph_name(file: Path | None, otherwise: str = "new") -> str:
    """A graph's name from its file's, where that can be one."""
    stem = unaccented(file.stem) if file else ""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", stem).lstrip("_.-")[:64] or otherwise


def schema_line(output: Path | None) -> str:
    """The first line of a graph file, by which editors find the schema: one near the file, or that of this program."""
    if output is None:
        return ""
    near = next((way for way in ("", "configs/", "../") if (output.parent / way / _SCHEMA).is_file()), None)
    place = f"{near}{_SCHEMA}" if near is not None else shipped_file(_SCHEMA).as_posix()
    return f"# yaml-language-server: $schema={place}\n"


def write_new(text: str, output: Path | None, then: str = "") -> None:
    """Write a text as `create` does, and say of a file what to do next: `then`; unless told, check it."""
    create(text, output)
    if output is not None:
        click.echo(f"{output} is written; next: {then or shlex.join(['pipeline', 'check', str(output)])}", err=True)


def create(text: str, output: Path | None) -> None:
    """Write a text to a new file, or to standard output.

    Raises:
        UsageError: the file is there already, or can't be written.
    """
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"'{output}' is there already; name another file") from error
    except OSError as error:
        raise UsageError(f"'{output}' can't be written: {error.strerror}; name a file that can be") from error
