"""Writes the raw bytes of blocks into another PLC, and only where its allow-list permits.

Ordering: a target range gets ever newer frames; one that still waits when a newer comes is given up. Delivery: the
latest only, never journaled; a frame that is older than `max_age` is not written, nor are bytes that were not all read.
Memory: one frame per block. Disconnects: connects again with back-off for ever; then the latest frame counts, if it is
young enough.

Each frame's range is read from the target first, and what differs is written: one PDU at a time, which the target takes
over in one piece. A block that needs several PDUs is cut between its fields; its pieces are not of one instant. With
`verify: true` it is read back, and written again at most `repeats` times. Transforms before a mirror may drop frames;
the bytes are those that were read.

`check` refuses what `allow` doesn't cover, two blocks in one range, and bytes that would go round in a circle. It can't
see other programs that write there, nor that two addresses are one PLC. The mirror takes one connection of the target.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from pipeline.actor import Mailbox
from pipeline.errors import Finding, Severity
from pipeline.frame import Extent
from pipeline.hosts import check_host
from pipeline.identifiers import TSAP
from pipeline.operator import Context, Copy, Flow, Forecast, Options, Overflow, RunSink, Scope, sink
from pipeline.retry import Retry
from pipeline.s7.mirror import Mirror, Partner
from pipeline.s7.route import Guards
from pipeline.s7.wire import Tsaps
from pipeline.units import Duration

if TYPE_CHECKING:
    from pipeline.diagnosis import Diagnosis, Situation
    from pipeline.testing.stage import Stage

__all__ = ["MirrorOptions", "TargetOptions", "TargetTsapOptions", "s7_mirror"]

_TYPES = {"pg": 1, "op": 2, "basic": 3}
_RANGE = re.compile(r"DB(\d{1,5})\.(\d{1,5})\.\.(\d{1,5})", re.IGNORECASE | re.ASCII)
_LAST = 65535


class TargetTsapOptions(Options, kw_only=True):
    """Raw TSAPs, for what is not a CPU in a rack (LOGO!, soft PLCs, CPs)."""

    local: Annotated[str, Meta(description="two hexadecimal bytes, as STEP 7 shows them: 10.00", **TSAP)]
    remote: Annotated[str, Meta(description="the target's: 03.01", **TSAP)]


class TargetOptions(Options, kw_only=True):
    """The PLC that is written to, and where in it."""

    address: Annotated[str, Meta(description="IP address or host name", min_length=1)]
    port: Annotated[int, Meta(description="TCP port", ge=1, le=65535)] = 102
    rack: Annotated[int, Meta(description="rack of the CPU", ge=0, le=7)] = 0
    slot: Annotated[int, Meta(description="slot of the CPU: S7-300 2, S7-1200/1500 1 or 0", ge=0, le=31)] = 1
    db: Annotated[int | None, Meta(description="data block; the source's own number unless told", ge=1, le=_LAST)] = (
        None
    )
    start: Annotated[
        int | None, Meta(description="first byte that is written; the source's own unless told", ge=0, le=_LAST)
    ] = None
    connection_type: Annotated[
        Literal["pg", "op", "basic"], Meta(description="which of the PLC's connections is taken: pg, op or basic")
    ] = "pg"
    tsap: Annotated[
        TargetTsapOptions | None, Meta(description="raw TSAPs instead of rack, slot and connection_type")
    ] = None
    timeout: Annotated[
        Duration, Meta(description="for connecting, and from a request to its complete answer", ge=0.05, le=60)
    ] = Duration(2)
    retry: Annotated[Retry, Meta(description="pauses between attempts to connect")] = Retry()

    @property
    def tsaps(self) -> Tsaps:
        """Whom the connection is between."""
        if self.tsap is not None:
            return Tsaps.parse(self.tsap.local, self.tsap.remote)
        return Tsaps.of(_TYPES[self.connection_type], self.rack, self.slot)

    @property
    def device(self) -> str:
        """As extents call it."""
        return f"{self.address.lower()}:{self.port}"

    def place(self, source: Extent) -> Extent:
        """Where a block's bytes go."""
        return Extent(
            device=self.device,
            plc=self.address,
            db=source.db if self.db is None else self.db,
            start=source.start if self.start is None else self.start,
            size=source.size,
            solid=source.solid,
        )


class MirrorOptions(Options, kw_only=True):
    """Options of `s7_mirror`."""

    target: Annotated[TargetOptions, Meta(description="the PLC that is written to, and where in it")]
    allow: Annotated[
        list[str], Meta(description="ranges that may be written, such as DB101.0..13: bytes 0 to 13", min_length=1)
    ]
    plc_id: Annotated[str, Meta(description="mirror only this one of the source's PLCs; empty: all")] = ""
    dbs: Annotated[list[int], Meta(description="mirror only these of the source's data blocks; empty: all")] = (
        msgspec.field(default_factory=list)
    )
    max_age: Annotated[Duration, Meta(description="a frame that was read longer ago is not written", gt=0)] = Duration(
        5
    )
    dry_run: Annotated[bool, Meta(description="connect and compare, but write nothing")] = False
    verify: Annotated[bool, Meta(description="read back what was written")] = False
    repeats: Annotated[
        int, Meta(description="with verify: how often to write again what reads back otherwise", ge=0, le=10)
    ] = 2

    def check(self, scope: Scope) -> Iterator[Finding]:
        """Ranges that are none, and a target that they don't reach."""
        del scope
        ranges = []
        for index, text in enumerate(self.allow):
            try:
                ranges.append(_parse(text, self.target.device))
            except ValueError as error:
                yield Finding(path=("allow", index), message=str(error))
        yield from check_host(self.target.address, ("target", "address"), "write it as 192.168.0.121")
        if self.target.db is not None and ranges and self.target.db not in {allowed.db for allowed in ranges}:
            message = f"DB{self.target.db} is not in `allow`, so nothing would be written"
            yield Finding(path=("target", "db"), message=message, hint=f"`allow` names {', '.join(map(str, ranges))}")
        if self.dry_run:
            yield Finding(
                path=("dry_run",),
                message="nothing is written",
                hint="remove dry_run once what it tells is right",
                severity=Severity.WARNING,
            )

    def ranges(self) -> list[Extent]:
        """What may be written; where one range begins right behind another they are one."""
        joined: list[Extent] = []
        ranges = [_parse(text, self.target.device) for text in self.allow]
        for each in sorted(ranges, key=lambda extent: (extent.db, extent.start)):
            last = joined[-1] if joined else None
            if last is not None and last.db == each.db and each.start <= last.start + last.size:
                size = max(last.size, each.start + each.size - last.start)
                joined[-1] = msgspec.structs.replace(last, size=size)
            else:
                joined.append(each)
        return joined

    def route(self, source: Extent) -> Extent | None:
        """Where a block's bytes go; None when it is not mirrored."""
        if (self.plc_id and source.plc != self.plc_id) or (self.dbs and source.db not in self.dbs):
            return None
        return self.target.place(source)


@sink(overflow=Overflow.DROP_OLDEST)
def s7_mirror(options: MirrorOptions, context: Context) -> RunSink:
    """A mirror into one PLC."""
    target = options.target
    partner = Partner(
        address=target.address,
        port=target.port,
        tsaps=target.tsaps,
        timeout=target.timeout,
        retry=target.retry,
    )
    guards = Guards(
        allow=options.ranges(),
        max_age=options.max_age,
        dry_run=options.dry_run,
        repeats=options.repeats if options.verify else None,
    )

    async def run(mailbox: Mailbox) -> None:
        await Mirror(context, partner, options.route, guards).run(mailbox)

    return run


@s7_mirror.diagnose
async def _diagnose(options: MirrorOptions, situation: Situation) -> AsyncIterator[Diagnosis]:
    from pipeline.s7.address import Area  # noqa: PLC0415 - a running graph needs none
    from pipeline.s7.browse_place import Access, Place  # noqa: PLC0415 - same
    from pipeline.s7.diagnosis import diagnose_plc  # noqa: PLC0415 - same
    from pipeline.s7.plan import Range  # noqa: PLC0415 - same

    target = options.target
    tsap = {"local": target.tsap.local, "remote": target.tsap.remote} if target.tsap else None
    place = Place(
        address=target.address,
        port=target.port,
        access=Access(rack=target.rack, slot=target.slot, connection_type=target.connection_type, tsap=tsap),
        timeout=target.timeout,
        declared=tuple(options.ranges()),
    )
    ranges = [Range(Area.DB.value, each.db, each.start, each.size) for each in options.ranges()]
    async for found in diagnose_plc(situation, place, ranges, target.timeout):
        yield found


@s7_mirror.writes
def _writes(options: MirrorOptions, _: Scope, incoming: Sequence[Extent]) -> Iterable[Copy | Finding]:
    copies = [(source, target) for source in incoming if (target := options.route(source)) is not None]
    if not copies:
        have = ", ".join(f"{extent.plc} {extent}" for extent in incoming) or "no blocks of an S7 source"
        message = "nothing that comes in would be mirrored"
        severity = Severity.ERROR if incoming else Severity.WARNING
        yield Finding(path=(), message=message, hint=f"what comes in: {have}", severity=severity)
    for source, target in copies:
        if any(allowed.covers(target) for allowed in options.ranges()):
            yield Copy(source=source, target=target, path=("target",))
        else:
            message = f"{source.plc} {source} would be written to {target}, which no range of `allow` covers"
            hint = f"if that is meant, allow it: {target}; to leave blocks out, use `plc_id` and `dbs`"
            yield Finding(path=("allow",), message=message, hint=hint)


@s7_mirror.stages
def _stages(options: MirrorOptions, _: Scope) -> Iterable[Stage]:
    from pipeline.testing.plc import PlcStage  # noqa: PLC0415 - a running graph needs none

    ranges = [(allowed.db, allowed.start + allowed.size) for allowed in options.ranges()]
    yield PlcStage(options.target.address, options.target.port, ranges=ranges)


@s7_mirror.predict
def _predict(options: MirrorOptions, _: Scope, inflow: Flow) -> Forecast:
    trips = 3 if options.verify else 2
    lines = (
        ("target", options.target.device),
        ("requests a second", f"{inflow.frames:.4g} to compare, at most {inflow.frames * trips:.4g} with writing"),
    )
    return Forecast(flow=inflow, lines=lines)


def _parse(text: str, device: str) -> Extent:
    """A range of an allow-list.

    Raises:
        ValueError: it is none; the message says how to write one.
    """
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a range; write DB101.0..13 for bytes 0 to 13 of DB101")
    db, first, last = (int(number) for number in match.groups())
    if not 1 <= db <= _LAST or last > _LAST or first > last:
        raise ValueError(
            f"'{text}' is not a range: blocks are 1 to {_LAST}, bytes 0 to {_LAST}, the first not above the last"
        )
    return Extent(device=device, db=db, start=first, size=last - first + 1)
