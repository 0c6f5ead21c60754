"""`probe`: finds out what the bytes of a data block mean, from how they move."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shlex
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline import log
from pipeline.clock import Clock
from pipeline.commands.browse import graph_name, place_of, schema_line, write_new
from pipeline.errors import ReadError, UsageError
from pipeline.probing.analysis import analyse
from pipeline.probing.layout import Named, layout_lines, named
from pipeline.probing.report import as_object, as_table
from pipeline.probing.samples import Sample
from pipeline.probing.watch import block_size, watch
from pipeline.process import new_loop, stop_on_signals
from pipeline.s7.browse_graph import StarterBlock, starter_graph
from pipeline.s7.browse_line import Line
from pipeline.s7.browse_place import Place, access_options
from pipeline.units import Duration

__all__ = ["command"]

_RATE = 50.0
"""Requests a second at most: a block of many PDUs is not read faster."""
_AGAIN = 1.0
"""Seconds between two attempts to go on."""
_USUAL = "30s"
_LONGEST = 20_000
"""Samples that are kept: older ones say nothing new."""


@click.command(name="probe")
@click.argument("target", metavar="FILE|ADDRESS[:PORT]")
@click.argument("source", required=False)
@click.option("--plc", metavar="ID", help="Which PLC of the graph, by plc_id or address.")
@access_options
@click.option("--db", type=click.IntRange(1, 65535), required=True, help="The data block.")
@click.option("--size", type=click.IntRange(1, 65536), help="Bytes to look at; without it the whole block.")
@click.option("--every", default="500ms", show_default=True, metavar="DURATION", help="Time between two looks.")
@click.option("--for", "span", metavar="DURATION", help="How long to look; without a terminal 30s unless told.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object, for programs.")
@click.option("--table", "as_text", is_flag=True, help="As a table, also on a terminal.")
@click.option(
    "--export", type=click.Path(path_type=Path), help="Write a graph with the best guesses here; it must not be there."
)
@click.option("--layout-only", is_flag=True, help="Export the section `layouts:` alone, to paste into a graph.")
def command(
    *,
    target: str,
    source: str | None,
    plc: str | None,
    db: int,
    size: int | None,
    every: str,
    span: str | None,
    as_json: bool,
    as_text: bool,
    export: Path | None,
    layout_only: bool,
    **access: Any,
) -> None:
    """Find the fields of a data block whose source is lost: watch its bytes, and see what they may be.

    On a terminal: a live grid of the bytes, what each may be, keys to accept and name fields, and to export them.
    Otherwise it looks for a while and prints what it found. It only reads. The more values move, the surer it is.

    \b
    Examples:
      pipeline probe 192.168.0.121 --db 1
      pipeline probe configs/line1.yaml --db 1 --for 2m --table
      pipeline probe 192.168.0.121 --db 1 --for 5m --export press.yaml
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    log.configure(os.environ.get("LOG_LEVEL", "warning"))
    if export is not None and export.exists():
        raise UsageError(f"'{export}' is there already; name another file")
    if as_json and as_text:
        raise UsageError("--json and --table both want the output; choose one")
    place = place_of(target, source, plc, access)
    period, seconds = _duration("--every", every, 0.01, 3600), _duration("--for", span or _USUAL, 0.01, 7 * 86400)
    probe = _Probe(place, db, size, period, layout_only=layout_only)
    if os.isatty(0) and os.isatty(1) and not (as_json or as_text or export is not None):
        probe.interactively(seconds if span else math.inf)
        return
    samples = probe.collect(seconds)
    analysis = analyse(samples)
    if export is not None:
        fields = [named(each, analysis, samples) for each in analysis.chosen]
        write_new(probe.export(fields, export), export, probe.next_step(export))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(as_object(db, samples, analysis)), indent=2).decode())
    elif as_text or export is None:
        click.echo(f"DB{db} of {place}, {analysis.size} bytes")
        click.echo("\n".join(as_table(samples, analysis)))


class _Probe:
    """A block of a PLC that is looked at."""

    def __init__(self, place: Place, db: int, size: int | None, every: float, *, layout_only: bool) -> None:
        self._place = place
        self._db = db
        self._size = size
        self._every = every
        self._layout_only = layout_only

    def collect(self, seconds: float) -> list[Sample]:
        """Look for so long, or until Ctrl-C; what was seen before a connection was lost stays, and another is made.

        Raises:
            ReadError: the PLC can't be reached, or refuses, before anything was read.
        """
        samples: list[Sample] = []

        async def main() -> None:
            async with self._looking() as look:
                told = ""
                while True:
                    try:
                        async for sample in look():
                            samples.append(sample)
                            del samples[:-_LONGEST]
                            told = ""
                    except ReadError as error:
                        if not samples:
                            raise
                        if told != str(error):
                            told = str(error)
                            click.echo(f"warning: {told}; trying again until the time is over", err=True)
                    await asyncio.sleep(_AGAIN)

        with asyncio.Runner(loop_factory=new_loop()) as runner:
            runner.run(_for(seconds, main()))
        if not samples:
            raise UsageError("nothing was read in that time; look longer with --for")
        return samples

    def interactively(self, seconds: float) -> None:
        """Show the live grid until the user has enough."""
        from pipeline.probing.app import ProbeApp  # noqa: PLC0415 - only here is a terminal's library needed

        async def main() -> None:
            async with self._looking() as look:
                await ProbeApp(f"DB{self._db} of {self._place}", look, self._save, seconds).run_async()

        asyncio.run(main())

    @contextlib.asynccontextmanager
    async def _looking(self) -> AsyncIterator[Callable[[], AsyncIterator[Sample]]]:
        """Looks at the block, on a connection of their own; its size is known then."""
        clock = Clock(asyncio.get_running_loop())
        line = Line(clock, self._place, _RATE)
        try:
            self._size = await block_size(line, self._db, self._size)
            yield partial(watch, line, clock, self._db, self._size, self._every)
        finally:
            line.close()

    def export(self, fields: Sequence[Named], output: Path | None) -> str:
        """The text of a graph, or of its layouts alone."""
        size = self._size or max((field.reading.end for field in fields), default=1)
        block = StarterBlock(db=self._db, size=size, layout=layout_lines(fields))
        if self._layout_only:
            lines = [
                f"  db{self._db}:",
                f"    size: {size}",
                "    fields:",
                *(f"      {line}" for line in block.layout),
            ]
            return "\n".join(["layouts:", *lines]) + "\n"
        day = time.strftime("%Y-%m-%d")
        comments = [f"DB{self._db} of {self._place}, as it seemed on {day}: types and meanings are guesses."]
        return schema_line(output) + starter_graph(self._place, [block], comments, graph_name(output))

    def next_step(self, output: Path) -> str:
        """What to do with the file that `export` made."""
        if self._layout_only:
            layout = shlex.quote(str(output))
            return f"put it into a graph file, or: pipeline new graph --plc ADDRESS --db {self._db} --layout {layout}"
        return shlex.join(["pipeline", "check", str(output)])

    def _save(self, fields: Sequence[Named]) -> str:
        """Write the fields to a file that is not there yet; its name, or why it can't be written."""
        for number in range(1, 1000):
            path = Path(f"db{self._db}{f'-{number}' if number > 1 else ''}.yaml")
            try:
                with path.open("x", encoding="utf-8") as file:
                    file.write(self.export(fields, path))
            except FileExistsError:
                continue
            except OSError as error:
                return f"'{path}' can't be written: {error.strerror}"
            return f"{path} is written; next: {self.next_step(path)}"
        return "there are too many exports here already"


async def _for(seconds: float, main: Coroutine[Any, Any, None]) -> None:
    """Run for so long, or until a signal."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    stop_on_signals(loop, stop)
    loop.call_later(seconds, stop.set)
    task, over = loop.create_task(main), loop.create_task(stop.wait())
    await asyncio.wait((task, over), return_when=asyncio.FIRST_COMPLETED)
    for each in (task, over):
        each.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _duration(option: str, text: str, least: float, most: float) -> float:
    """A duration that an option gives.

    Raises:
        UsageError: it is none, or not within bounds.
    """
    try:
        seconds = Duration.parse(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error
    if not least <= seconds <= most:
        raise UsageError(f"{option}: must be {Duration(least)} to {Duration(most)}, got {text}")
    return seconds
