"""`tap FILE NODE`: live frames of a running pipeline, through its HTTP interface."""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPException

import click

from pipeline import log
from pipeline.cli import graph_file
from pipeline.codecs import decode
from pipeline.columns import Columns
from pipeline.config import load
from pipeline.config.http import Http
from pipeline.errors import PartFailed, UsageError, nearest
from pipeline.expression import OF_FRAME, Expression
from pipeline.frame import Frame, Kind, Origin
from pipeline.graph import Graph
from pipeline.operator import NodeKind
from pipeline.table import Table

__all__ = ["command"]

Write = Callable[[bytes, Frame], bytes]
"""From a line as it came, and its frame, to what is shown."""

_TIMEOUT = 40.0
"""Seconds without any word: the other side says something every 15."""
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


@click.command(name="tap")
@click.argument("file")
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
def command(file: str, node: str, condition: str | None, form: str, count: int | None) -> None:
    """Show the live frames of a node of a running pipeline. FILE tells its address (http.listen) and its login.

    Of a sink it shows what that takes. A reader that is too slow loses frames, and is told; the pipeline loses none.

    \b
    Examples:
      pipeline tap configs/demo.yaml press
      pipeline tap configs/line1.yaml frames --filter 'AI_Corrente > 5 and maquina_ligada' --format csv
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    log.configure("warning")
    graph = load(graph_file(file), os.environ)
    if graph.http is None:
        raise UsageError(f"graph '{graph.name}' has no `http:` section, so nobody can look into it")
    have = [found.name for found in graph.running() if found.kind is not NodeKind.SERVICE]
    if node not in have:
        near = nearest(node, have)
        raise UsageError(
            f"graph '{graph.name}' has no node '{node}' with frames"
            + (f"; did you mean '{near}'?" if near else f"; it has {', '.join(have)}")
        )
    try:
        expression = Expression(condition) if condition else None
    except ValueError as error:
        raise UsageError(f"--filter: {error}") from error
    try:
        _show(_lines(graph, graph.http, node), expression, _writer(form), count)
    except KeyboardInterrupt:
        return


def _show(lines: Iterable[bytes], expression: Expression | None, write: Write, count: int | None) -> None:
    origins: dict[object, Origin] = {}
    checked = expression is None
    shown = 0
    for line in lines:
        if line.startswith(b'{"lost":'):
            lost = json.loads(line)["lost"]
            click.echo(f"warning: {lost} frames were not shown, since this reader was too slow", err=True)
            continue
        _, frame = decode(line, origins)
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
        table = Table()
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


def _lines(graph: Graph, http: Http, node: str) -> Iterator[bytes]:
    """The lines of the tap, without the empty ones, until the pipeline ends.

    Raises:
        UsageError: nothing answers there, or it doesn't let us in.
        PartFailed: the pipeline has gone silent.
    """
    host = _ANYWHERE.get(http.host, http.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{http.port}"
    request = urllib.request.Request(f"{url}/api/tap/{node}", headers=_login(http))  # noqa: S310 - made above
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT) as answer:
            for line in answer:
                if text := line.strip():
                    yield text
    except urllib.error.HTTPError as error:
        with error:
            raise UsageError(
                f"{url} answers {error.code}: {error.read(1000).decode(errors='replace').strip()}"
            ) from error
    except urllib.error.URLError as error:
        raise UsageError(
            f"no pipeline answers at {url}: {error.reason}; start it with `pipeline run {graph.path}`"
        ) from error
    except (OSError, HTTPException) as error:
        raise PartFailed(f"the connection to the pipeline at {url} was lost: {error}") from error


def _login(http: Http) -> dict[str, str]:
    if http.token:
        return {"Authorization": f"Bearer {http.token.reveal()}"}
    for user, password in http.users.items():
        pair = base64.b64encode(f"{user}:{password.reveal()}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    return {}
