"""`top FILE|URL`: the overview of a running pipeline in a terminal, live, or once for scripts."""

from __future__ import annotations

import sys
import time

import click
import msgspec

from pipeline import log
from pipeline.errors import UsageError
from pipeline.terminal.overview import Watcher
from pipeline.terminal.remote import Remote, find
from pipeline.terminal.words import table
from pipeline.units import Duration

__all__ = ["command"]

_SHORTEST = 0.2


@click.command(name="top")
@click.argument("where", metavar="FILE|URL")
@click.option(
    "--token",
    envvar="PIPELINE_TOKEN",
    default="",
    metavar="TEXT|@FILE",
    help="Opens a protected page, instead of the login in FILE. "
    "Others on this machine see a command's arguments: better @FILE, or PIPELINE_TOKEN in the environment.",
)
@click.option("--every", default="1s", show_default=True, metavar="DURATION", help="Time between two looks.")
@click.option("--once", is_flag=True, help="Print one look as tables, and end; so it does without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one look as a JSON object, and end.")
def command(*, where: str, token: str, every: str, once: bool, as_json: bool) -> None:
    """Show what a running pipeline does: blocks, sinks with their backlogs, parts with their last errors, events.

    FILE tells its address (http.listen) and its login; a pipeline elsewhere is found by the address of its page.
    Of FILE only `http:` is read: it may be wrong elsewhere, and lack variables. Trouble comes first; ? tells the keys.

    \b
    Examples:
      pipeline top configs/demo.yaml
      pipeline top http://edge7.plant:9108 --token @token.txt
      pipeline top configs/line1.yaml --json | jq '.sinks[].backlog'
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    log.configure("warning")
    try:
        period = float(Duration.parse(every))
    except ValueError as error:
        raise UsageError(f"--every: {error}") from error
    if period < _SHORTEST:
        raise UsageError(f"--every {every}: not more often than every {Duration(_SHORTEST)}")
    remote = find(where, token)
    watcher = Watcher(remote)
    if sys.stdout.isatty() and not (once or as_json):
        _live(remote, watcher, period)
        return
    watcher.look()
    time.sleep(period)  # rates are between two looks
    overview = watcher.look()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(overview), indent=2).decode())
    else:
        click.echo("\n".join(table(overview)))


def _live(remote: Remote, watcher: Watcher, period: float) -> None:
    first = watcher.look()
    from pipeline.terminal.app import TopApp  # noqa: PLC0415 - only here is a terminal's library needed

    TopApp(remote.url, watcher.look, first, period).run()
