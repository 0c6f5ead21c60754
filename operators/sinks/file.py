"""Writes frames to files: JSON lines in one file, or CSV in one file a block. They rotate by size and by time.

The file that is written to is `frames.jsonl`, or `<tenant>_<plc>_<measurement>.csv`, with eight digits behind where two
blocks could get one name (letters beyond a to z, long names, names that end as numbers do); finished ones are numbered,
the highest is the newest: `frames-000007.jsonl`. A file that somebody takes away is made anew. CSV columns are stable:
a file's first frame gives them, values that are absent or bad are empty, a frame with a further name begins a new file.

Ordering: kept, in CSV within a block. Delivery: what is written survives a power cut as `sync` says; a kill loses what
waits in memory. Lines are whole: one that an end tore is cut off at the next start. Memory: 10,000 frames wait beside
those that are being written, then the oldest are dropped and counted. On disconnect, which here is a disk that is full
or away: the sink says so, tries again with back-off, and goes on by itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from pipeline.actor import Mailbox, State
from pipeline.codecs import FrameJson
from pipeline.columns import Columns
from pipeline.frame import Frame, Origin
from pipeline.metrics import Counter
from pipeline.operator import Claim, Context, Flow, Forecast, Options, Overflow, RunSink, Scope, sink
from pipeline.retry import Backoff, Retry
from pipeline.rotation import RotatingFile, Rotation, Sync
from pipeline.units import Duration, Size

__all__ = ["File", "Format", "file"]

_LONGEST = 200
"""Characters of a name; file systems take 255 bytes."""
_FINISHED = re.compile(r"-\d{6,}$")


class Format(StrEnum):
    """What a line is."""

    JSON = "json"
    CSV = "csv"


class File(Options):
    """Options of `file`."""

    folder: Annotated[Path, Meta(description="where the files are; made when it is missing")]
    format: Annotated[Format, Meta(description="json: lines of JSON, one file; csv: one file for each block")] = (
        Format.JSON
    )
    max_size: Annotated[Size, Meta(description="a file that would grow beyond this is finished", ge=4096)] = Size(
        64 * 1024**2
    )
    every: Annotated[
        Duration, Meta(description="a file holds one such period of UTC: 1d, from midnight; 0s: of any time", ge=0)
    ] = Duration(86400)
    keep: Annotated[int, Meta(description="finished files that stay, in CSV for each block; older ones go", ge=1)] = 30
    sync: Annotated[
        Sync, Meta(description="what is forced to the medium: none, finished files (rotate), each batch (wears flash)")
    ] = Sync.ROTATE
    retry: Annotated[Retry, Meta(description="pauses between attempts to write to a disk that is full or away")] = (
        Retry(max=Duration(10))
    )


@sink(capacity=10_000, overflow=Overflow.DROP_OLDEST)
def file(options: File, context: Context) -> RunSink:
    """A writer of files."""

    async def run(mailbox: Mailbox) -> None:
        written = context.metrics.counter(
            "plc_publish_ok", "frames given to the receiver", mode="file", node=context.node
        )
        writer = _Writer(options, context.clock.wall, written)
        context.details = lambda: {"folder": str(options.folder), "frames": int(written.n)}
        if await _written([], writer, options, context, mailbox):
            async for frames in mailbox.batches():
                if not await _written(frames, writer, options, context, mailbox):
                    break

    return run


@file.claims
def _claims(options: File, _: Scope) -> Iterable[Claim]:
    yield Claim(what="folder", key=str(options.folder.resolve()), path=("folder",))


@file.predict
def _predict(options: File, _: Scope, inflow: Flow) -> Forecast:
    """How much disk it takes at most, and for how long that lasts where sizes are known."""
    series = inflow.blocks if options.format is Format.CSV else 1
    most = Size(series * (options.keep + 1) * options.max_size)
    lines = [("disk space at most", str(most))] if series else []
    rate = inflow.frames * inflow.size
    if rate and options.format is Format.JSON:
        lines.append(("bytes a day", str(Size(rate * 86400))))
        held = min(most / rate, (options.keep + 1) * options.every) if options.every else most / rate
        lines.append(("holds the last", f"{held / 86400:.3g} days"))
    return Forecast(flow=inflow, lines=tuple(lines))


async def _written(frames: list[Frame], writer: _Writer, options: File, context: Context, mailbox: Mailbox) -> bool:
    """Write frames, however long the disk needs; False when the graph ends before it can."""
    backoff = Backoff(options.retry)
    actor = context.actor
    while True:
        last = mailbox.closed
        try:
            await context.blocking(writer.write, frames)
        except (FileExistsError, NotADirectoryError):
            text = "a file is in the way of that folder; frames wait; move it away, it goes on by itself"
            actor.become(State.DEGRADED, f"'{options.folder}' can't be written: {text}")
        except OSError as error:
            advice = "frames wait; free space or mend the disk, it goes on by itself"
            actor.become(State.DEGRADED, f"'{options.folder}' can't be written: {error.strerror}; {advice}")
        else:
            actor.become(State.RUNNING)
            return True
        if last:
            lost = len(frames) + len(mailbox)
            actor.drop("stopped", len(frames))  # the engine counts what waits in the mailbox
            context.log.error("the graph ends before its frames could be written", lost=lost, reason=actor.reason)
            return False
        await mailbox.closed_within(backoff.fail())


class _Writer:
    """All files of a sink. Its methods block and run on a thread."""

    def __init__(self, options: File, wall: Callable[[], float], written: Counter) -> None:
        self._written = written
        self._folder = options.folder
        self._json = options.format is Format.JSON
        self._rotation = Rotation(max_size=options.max_size, every=options.every, keep=options.keep, sync=options.sync)
        self._wall = wall
        self._paths: dict[Origin, Path] = {}
        self._files: dict[Path, RotatingFile] = {}
        self._columns: dict[Path, Columns] = {}

    def write(self, frames: list[Frame]) -> None:
        """Write frames and take them out of the list.

        Raises:
            OSError: those that are left in the list are not written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        groups: dict[Path, list[Frame]] = {}
        for frame in frames:
            groups.setdefault(self._path(frame.origin), []).append(frame)
        try:
            for path, group in groups.items():
                while group:
                    count = self._append(path, group)
                    self._written.n += count
                    del group[:count]
        finally:
            frames[:] = [frame for group in groups.values() for frame in group]

    def _path(self, origin: Origin) -> Path:
        path = self._paths.get(origin)
        if path is None:
            path = self._paths[origin] = self._folder / ("frames.jsonl" if self._json else f"{_series(origin)}.csv")
        return path

    def _append(self, path: Path, frames: list[Frame]) -> int:
        """Write the first of these frames, as many as belong into one file."""
        target = self._files.get(path)
        if target is None:
            target = self._files[path] = RotatingFile(path, self._rotation, self._wall)
        if self._json:
            return target.append([FrameJson().encode(frame) + b"\n" for frame in frames])
        columns = self._columns.get(path)
        if columns is None:
            columns = self._columns[path] = Columns(target.head())
        columns.add(frames[0])
        rows = []
        for frame in frames:
            if not columns.hold(frame):
                break
            rows.append(columns.row(frame))
        return target.append(rows, columns.head())


def _series(origin: Origin) -> str:
    """The name of a block's files: no two blocks have one, and it is no name of a finished file of another block."""
    whole = "_".join(filter(None, (origin.tenant_id, origin.plc_id or origin.ip, origin.measurement)))
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", whole)
    if plain == whole and len(plain) <= _LONGEST and not _FINISHED.search(plain):
        return plain
    return f"{plain[:_LONGEST]}~{hashlib.blake2s(whole.encode(), digest_size=4).hexdigest()}"
