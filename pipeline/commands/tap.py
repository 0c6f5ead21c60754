"""`tap FILE|URL NODE`: live frames of a running pipeline, through its HTTP interface."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

import click

from pipeline import log
from pipeline.codecs import decode
from pipeline.columns import Columns
from pipeline.errors import PartFailed, UsageError, nearest
from pipeline.expression import OF_FRAME, Expression
from pipeline.frame import Frame, Kind, Origin
from pipeline.table import Table
from pipeline.terminal.remote import Remote, find

__all__ = ["command"]

Write = Callable[[bytes, Frame], bytes]
"""From a line as it came, and its frame, to what is shown."""

_AWAY = 30.0
"""Seconds that a pipeline may be away, which stops its graph and starts the next."""
_PAUSE = 0.2
_STOP = 10.0
"""Seconds that a graph never needs for its end: an empty stream that was there for longer is one of the next graph."""


@click.command(name="tap")
@click.argument("where", metavar="FILE|URL")
@click.argument("node")
@click.option("--filter", "condition", help="Only frames of which this is true: 'AI_Corrente > 5'.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "table", "json", "csv"]),
    default="auto",
    help="auto: a table on a terminal, else JSON lines.",
)
@click.option("--count", type=click.IntRange(1), help="End after so many frames.")
@click.option(
    "--token",
    envvar="PIPELINE_TOKEN",
    default="",
    metavar="TEXT|@FILE",
    help="Opens a protected page, instead of the login in FILE; better @FILE, or PIPELINE_TOKEN in the environment.",
)
def command(*, where: str, node: str, condition: str | None, form: str, count: int | None, token: str) -> None:
    """Show the live frames of a node of a running pipeline. FILE tells its address (http.listen) and its login.

    Of a sink it shows what that takes. A reader that is too slow loses frames, and is told; the pipeline loses none.
    When the graph is loaded anew, it goes on with the new one.

    \b
    Examples:
      pipeline tap configs/demo.yaml press
      pipeline tap http://edge7.plant:9108 press --token @token.txt
      pipeline tap configs/line1.yaml frames --filter 'AI_Corrente > 5 and maquina_ligada' --format csv
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    log.configure("warning")
    remote = find(where, token)
    try:
        expression = Expression(condition) if condition else None
    except ValueError as error:
        raise UsageError(f"--filter: {error}") from error
    try:
        _show(_frames(remote, node), expression, _writer(form), count)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # The reader has gone (`| head`). What Python flushes at its end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _frames(remote: Remote, node: str) -> Iterator[tuple[bytes, Frame]]:
    """The lines that come, each with the frame that it is; how many were lost is told."""
    origins: dict[object, Origin] = {}
    for line in _lines(remote, f"/api/tap/{quote(node, safe='')}"):
        if line.startswith(b'{"lost":'):
            lost = json.loads(line)["lost"]
            click.echo(f"warning: {lost} frames were not shown, since this reader was too slow", err=True)
            continue
        try:
            yield line, decode(line, origins)[1]
        except (ValueError, RecursionError) as error:
            raise UsageError(f"what answers at {remote.url} is no pipeline: {error}") from error


def _lines(remote: Remote, path: str) -> Iterator[bytes]:
    """The lines of a stream, and of those that follow it: it ends in order with the graph.

    Raises:
        UsageError: nothing answers there, or it doesn't let us in.
        PartFailed: the pipeline has gone silent, or does not come back.
    """
    yield from remote.lines(path)
    while True:
        click.echo(f"warning: the graph has ended, or is loaded anew; asking again for {_AWAY:g} s", err=True)
        until = time.monotonic() + _AWAY
        while True:
            asked, came = time.monotonic(), False
            wrong = UsageError(f"the node has ended; {remote.url} shows what runs")
            try:
                for line in remote.lines(path):
                    came = True
                    yield line
                if came or time.monotonic() - asked >= _STOP:
                    break
            except UsageError as error:
                wrong = error
            if time.monotonic() >= until:
                raise PartFailed(f"no more frames come: {wrong}")
            time.sleep(_PAUSE)


def _show(
    frames: Iterable[tuple[bytes, Frame]], expression: Expression | None, write: Write, count: int | None
) -> None:
    checked = expression is None
    shown = 0
    for line, frame in frames:
        if expression is not None:
            if not checked and frame.kind is Kind.DATA:
                checked = True
                _check_names(expression, frame)
            if not expression.matches(frame):
                continue
        sys.stdout.buffer.write(write(line, frame))
        sys.stdout.buffer.flush()
        shown += 1
        if shown == count:
            return


def _check_names(expression: Expression, frame: Frame) -> None:
    """Say of the first frame what the filter expects and it doesn't have; others may have it."""
    known = [*frame.values, *frame.origin.tags, *(frame.bad or ()), *OF_FRAME]
    for name in sorted(expression.names.difference(known)):
        near = nearest(name, known)
        hint = f"; did you mean '{near}'?" if near else ""
        click.echo(f"warning: --filter: the first frame has no '{name}'{hint}", err=True)


def _writer(form: str) -> Write:
    if form == "auto":
        form = "table" if sys.stdout.isatty() else "json"
    if form == "table":
        table = Table(colours=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
        return lambda _, frame: table.render(frame)
    if form == "json":
        return lambda line, _: line + b"\n"
    columns = Columns()
    begun = False

    def csv(_: bytes, frame: Frame) -> bytes:
        nonlocal begun
        head = b""
        if not begun or not columns.hold(frame):
            columns.add(frame)
            head, begun = columns.head(), True
        return head + columns.row(frame)

    return csv
