"""`journal …`: looks into the store-and-forward logs and mends them.

Looking works beside a running pipeline; what changes a journal wants its pipeline stopped.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import click

from pipeline.errors import JournalError, UsageError
from pipeline.importing.queue import Dated, Malformed, read_queue
from pipeline.journal import tools as journal_tools
from pipeline.journal.folder import ASIDE
from pipeline.journal.records import Record
from pipeline.mqtt.topics import check_template
from pipeline.units import Duration, Size, Topic

__all__ = ["command"]

_DATABASE = "data.mdb"
_RECEIVER = re.compile(r"(mqtts?|https?)://([^\s/@:\[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}(/[^\s/]+)*")


def _time(text: str) -> float:
    """Seconds since 1970, from ISO 8601 text; without an offset it is this machine's local time."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is not a time; write it as 2026-11-20T06:00 or 2026-11-20T06:00:00Z"
        ) from None


def _duration(text: str) -> Duration:
    """A duration as in graph files."""
    try:
        return Duration.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _receiver(text: str) -> str:
    """Who a journal is for, in the words of its sink."""
    if not _RECEIVER.fullmatch(text):
        examples = "mqtts://host:8883, https://server:443, or of InfluxDB http://server:8086/org/bucket"
        raise click.BadParameter(f"'{text}' is not a receiver; write it as {examples}")
    return text


@click.group(name="journal")
def command() -> None:
    """Look into the journals of reliable sinks and mend them.

    PATH is a journal's folder, as the graph file's `journal: {path: …}` says.

    \b
    Examples:
      pipeline journal ls data                       every journal below a folder
      pipeline journal show data/line1/broker --dead what the broker refused, and why
      pipeline journal requeue data/line1/broker     send it again at the next start
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped


@command.command(name="ls")
@click.argument("folder", default="data")
def ls(folder: str) -> None:
    """List the journals below FOLDER with what waits in them.

    \b
    Example:
      pipeline journal ls data
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    if not Path(folder).is_dir():
        raise UsageError(f"there is no folder '{folder}'; name that of a journal, as `journal: {{path: …}}` has it")
    found = sorted(file.parent for file in Path(folder).rglob(_DATABASE) if not _aside(file))
    if not found:
        raise UsageError(f"there is no journal below '{folder}'; a graph's are in data/<graph>/<node> once it has run")
    for path in found:
        try:
            shown = journal_tools.summary(str(path))
        except JournalError as error:
            click.echo(f"{path}: {error}", err=True)
            continue
        oldest = f", oldest of {_when(shown.oldest)}" if shown.oldest else ""
        click.echo(f"{path}  for {shown.receiver or 'nobody yet'}")
        click.echo(
            f"  {shown.frames} frames wait{oldest}; {Size(shown.bytes)} on disk, {Size(shown.kept_bytes)} of it kept"
        )
        click.echo(f"  {shown.dead} dead letters" + (f"; moved aside: {', '.join(shown.aside)}" if shown.aside else ""))


@command.command(name="show")
@click.argument("path")
@click.option("--dead", is_flag=True, help="The dead letters: what was refused for good.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, oldest first.")
def show(path: str, dead: bool, limit: int) -> None:
    """Show frames of a journal.

    \b
    Examples:
      pipeline journal show data/line1/broker --limit 5
      pipeline journal show data/line1/broker --dead
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    for entry in journal_tools.records(path, dead=dead, limit=limit):
        reason = f"  refused {_when(entry.refused)}: {entry.reason}" if entry.reason else ""
        click.echo(f"{entry.id}  {entry.state}  {_when(entry.ts)}  {entry.topic}{reason}")
        click.echo(f"    {entry.body}")


@command.command(name="export")
@click.argument("path")
@click.option("--dead", is_flag=True, help="The dead letters.")
def export(path: str, dead: bool) -> None:
    """Write a journal's frames to standard output as JSON lines.

    \b
    Example:
      pipeline journal export data/line1/broker > frames.jsonl
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    out = sys.stdout.buffer
    for line in journal_tools.export(path, dead=dead):
        out.write(line)


@command.command(name="requeue")
@click.argument("path")
@click.argument("ids", nargs=-1, type=int)
def requeue(path: str, ids: tuple[int, ...]) -> None:
    """Send dead letters again at the next start: those of IDS, or all.

    \b
    Examples:
      pipeline journal requeue data/line1/broker
      pipeline journal requeue data/line1/broker 17 18
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    click.echo(f"{journal_tools.requeue(path, ids or None)} frames will be sent again")


@command.command(name="resend")
@click.argument("path")
@click.option("--from", "since", type=_time, metavar="TIME", required=True, help="Frames from this time on.")
@click.option("--to", "until", type=_time, metavar="TIME", required=True, help="And before this time.")
@click.option("--plc", default="", help="Only of this PLC, as TENANT/PLC.")
def resend(path: str, since: float, until: float, plc: str) -> None:
    """Send acknowledged frames again, which `keep_after_ack` has kept, marked as replayed.

    \b
    Example:
      pipeline journal resend data/line1/broker --from 2026-11-20T06:00 --to 2026-11-20T14:00
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    if since >= until:
        raise UsageError(f"--from {_when(since)} is not before --to {_when(until)}: give the earlier time first")
    count = journal_tools.resend(path, since, until, plc)
    click.echo(f"{count} frames will be sent again")
    if not count:
        for line in _kept(path):
            click.echo(line, err=True)


@command.command(name="prune")
@click.argument("path")
@click.option(
    "--older-than", type=_duration, metavar="DURATION", help="Frames written longer ago, acknowledged or not: 7d."
)
@click.option("--dead", is_flag=True, help="All dead letters.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def prune(path: str, older_than: Duration | None, dead: bool, yes: bool) -> None:
    """Delete frames for good.

    \b
    Examples:
      pipeline journal prune data/line1/broker --older-than 7d
      pipeline journal prune data/line1/broker --dead --yes
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    if older_than is None and not dead:
        raise UsageError("nothing is chosen; say what to delete: --older-than 7d, --dead, or both")
    if not yes:
        click.confirm(f"Delete frames of '{path}' for good?", abort=True)
    click.echo(f"{journal_tools.prune(path, older_than=older_than, dead=dead)} frames deleted")


@command.command(name="adopt")
@click.argument("path")
@click.argument("receiver", type=_receiver)
def adopt(path: str, receiver: str) -> None:
    """Let a journal's frames go to another RECEIVER, named as in the refusal.

    \b
    Example:
      pipeline journal adopt data/line1/broker mqtts://new-broker.plant:8883
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    before = journal_tools.adopt(path, receiver)
    click.echo(f"the frames of '{path}' were for {before or 'nobody'} and now go to {receiver}")


@command.command(name="import")
@click.argument("queue", type=click.Path(path_type=Path))
@click.argument("path")
@click.option(
    "--receiver",
    type=_receiver,
    metavar="RECEIVER",
    required=True,
    help="Who they are for: mqtts://host:8883, or https://server:443.",
)
@click.option(
    "--topic", default="plc/{tenant_id}/{plc_id}", show_default=True, help="Where they go; of an http sink its path."
)
def bring(queue: Path, path: str, receiver: str, topic: str) -> None:
    """Bring the events of an old agent's QUEUE (SQLite) into a journal; they are sent at the next start.

    They go behind what waits already, in their order, marked as replayed. QUEUE is only read: a second import would
    send them a second time.

    \b
    Example:
      pipeline journal import queue.sqlite data/line1/broker --receiver mqtts://broker.plant:8883
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    template = Topic.parse(topic)
    for finding in check_template(template, "topic"):
        raise UsageError(f"--topic: {finding.message}; {finding.hint}")
    events = read_queue(queue, template)
    first = next(events, None)
    if first is None:
        click.echo(f"'{queue}' holds no events")
        return
    malformed: list[Malformed] = []
    dated = 0

    def good() -> Iterator[Record]:
        nonlocal dated
        for event in chain((first,), events):
            if isinstance(event, Malformed):
                malformed.append(event)
            elif isinstance(event, Dated):
                dated += 1
                yield event.record
            else:
                yield event

    count = journal_tools.add(path, good(), receiver, room=queue.stat().st_size)
    for row in malformed:
        click.echo(f"row {row.id}: left out: {row.reason}", err=True)
    if dated:
        click.echo(f"{dated} without `ts` in the payload: sent with the row's own, when it was queued", err=True)
    left_out = f", {len(malformed)} rows could not be taken" if malformed else ""
    click.echo(f"{count} events of '{queue}' will be sent at the next start{left_out}")
    click.echo(f"'{queue}' was not changed: move it away, since a second import would send them again")


def _aside(file: Path) -> bool:
    return file.parent.name.startswith(ASIDE)


def _kept(path: str) -> Iterator[str]:
    """What could be sent again: of each PLC how many frames, from when to when."""
    times: dict[str, list[float]] = {}
    waiting = 0
    for entry in journal_tools.records(path):
        if entry.state == "kept":
            times.setdefault(entry.plc, []).append(entry.ts)
        else:
            waiting += 1
    if waiting:
        yield f"{waiting} frames of '{path}' wait to be sent already"
    elif not times:
        yield f"'{path}' keeps no acknowledged frames: `keep_after_ack` of the sink's journal says how long it does"
    for plc, found in sorted(times.items()):
        yield f"kept of {plc}: {len(found)} frames, from {_when(min(found))} to {_when(max(found))}"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
