"""Reads data blocks and single tags of Siemens S7 PLCs at fixed periods: one connection and one actor for each PLC.

Ordering: frames of one PLC come in the order of their answers. Delivery: a read that fails gives one failure frame per
block when it begins to fail or fails otherwise; nothing is read again for a past tick. A tick that finds the previous
read still running, or no connection, is skipped and counted. A value that the PLC refuses is left out, named in `bad`,
and tried again after 10 s to 5 min; the others keep flowing. Memory: one answer per PLC. Disconnects: connects again
with back-off for ever, and a late answer is never taken for a current one. Nothing is ever written to a PLC.
"""

from __future__ import annotations

from asyncio import BaseProtocol
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta
from reactivex import Observable

from pipeline.codecs import FrameJson
from pipeline.config.layouts import Layout, Naming
from pipeline.errors import Finding, Severity
from pipeline.frame import Extent, Frame, Kind, Origin, Scalar
from pipeline.hosts import is_host
from pipeline.identifiers import IDENTIFIER, TSAP
from pipeline.operator import Claim, Context, Emit, Flow, Forecast, Options, Scope, source
from pipeline.recording.tape import Tape
from pipeline.retry import Retry
from pipeline.s7.cpu import CpuTags
from pipeline.s7.decode import Leaf, compile_decoder
from pipeline.s7.plan import plan
from pipeline.s7.poller import Polled, Poller, Target
from pipeline.s7.recorded import play
from pipeline.s7.wanted import (
    EVERY,
    BlockOptions,
    CpuOptions,
    TagOptions,
    Wanted,
    check_blocks,
    check_cpu,
    check_plcs,
    check_tags,
    check_timezone,
    want_block,
    want_tags,
)
from pipeline.s7.wire import Tsaps
from pipeline.units import Duration, Size

if TYPE_CHECKING:
    from pipeline.diagnosis import Diagnosis, Situation
    from pipeline.testing.stage import Stage

__all__ = ["S7", "PlcOptions", "TsapOptions", "s7"]

_TYPES = {"pg": 1, "op": 2, "basic": 3}
_CPU_MEASUREMENT = "s7_cpu"
_ROUND_TRIP = 0.005

TenantId = Annotated[str, Meta(description="customer or site; part of the topic", **IDENTIFIER)]
PlcId = Annotated[str, Meta(description="the PLC's name; part of the topic", **IDENTIFIER)]
Port = Annotated[int, Meta(description="TCP port", ge=1, le=65535)]
Rack = Annotated[int, Meta(description="rack of the CPU", ge=0, le=7)]
Slot = Annotated[int, Meta(description="slot of the CPU: S7-300 2, S7-1200/1500 1 or 0", ge=0, le=31)]


class PlcOptions(Options, kw_only=True):
    """One PLC."""

    plc_id: PlcId = ""
    address: Annotated[str, Meta(description="IP address or host name", min_length=1)]
    port: Port = 102
    rack: Rack = 0
    slot: Slot = 1
    tenant_id: Annotated[str, Meta(description="the source's `tenant_id` unless told", **IDENTIFIER)] = ""
    tags: Annotated[dict[str, str], Meta(description="fixed tags of all its frames")] = msgspec.field(
        default_factory=dict
    )

    @property
    def name(self) -> str:
        """What states and metrics call it."""
        return self.plc_id or self.address


class TsapOptions(Options, kw_only=True):
    """Raw TSAPs, for what is not a CPU in a rack (LOGO!, soft PLCs, CPs)."""

    local: Annotated[str, Meta(description="two hexadecimal bytes, as STEP 7 shows them: 10.00", **TSAP)]
    remote: Annotated[str, Meta(description="the PLC's: 03.01", **TSAP)]


class S7(Options, kw_only=True):
    """Options of `s7`. A single PLC may be written without the list `plcs`."""

    plcs: Annotated[list[PlcOptions], Meta(description="the PLCs; all are read alike")] = msgspec.field(
        default_factory=list
    )
    plc_id: PlcId = ""
    address: Annotated[str, Meta(description="of a single PLC: IP address or host name")] = ""
    port: Port = 102
    rack: Rack = 0
    slot: Slot = 1
    tenant_id: TenantId = ""
    every: Annotated[Duration, EVERY]
    phase: Annotated[Duration, Meta(description="how much later than the common ticks it reads", ge=0)] = Duration(0)
    blocks: Annotated[list[BlockOptions], Meta(description="what is read as whole blocks")] = msgspec.field(
        default_factory=list
    )
    tags: Annotated[
        dict[str, TagOptions | str], Meta(description="single tags by name; they join one frame, `s7_tags`")
    ] = msgspec.field(default_factory=dict)
    cpu: Annotated[
        CpuOptions | None, Meta(description="the CPU's own state and clock; they join one frame, `s7_cpu`")
    ] = None
    timezone: Annotated[
        str, Meta(description="where the PLC's clock runs: America/Sao_Paulo; without it dates have no offset")
    ] = ""
    naming: Annotated[Naming, Meta(description="how flat names are made")] = Naming()
    connection_type: Annotated[
        Literal["pg", "op", "basic"], Meta(description="which of the PLC's connections is taken: pg, op or basic")
    ] = "pg"
    connection: Annotated[Literal["persistent", "per_read"], Meta(description="kept open, or opened for each read")] = (
        "persistent"
    )
    tsap: Annotated[TsapOptions | None, Meta(description="raw TSAPs instead of rack, slot and connection_type")] = None
    timeout: Annotated[
        Duration, Meta(description="for connecting, and from a request to its complete answer", ge=0.05, le=60)
    ] = Duration(2)
    retry: Annotated[Retry, Meta(description="pauses between attempts to connect")] = Retry()

    def check(self, scope: Scope) -> Iterator[Finding]:
        """Mistakes of PLCs, blocks and tags."""
        yield from check_plcs(self)
        if not self.blocks and not self.tags and self.cpu is None:
            hint = "give `blocks` with layouts, or single `tags` with addresses"
            yield Finding(path=(), message="there is nothing to read", hint=hint)
        yield from check_blocks(self.blocks, scope.layouts, self.naming)
        yield from check_tags(self.tags, self.naming)
        yield from check_timezone(self.timezone)
        if self.cpu is not None:
            yield from check_cpu(self.cpu)

    def each(self) -> list[PlcOptions]:
        """The PLCs, however they are written."""
        if self.plcs:
            return self.plcs
        single = PlcOptions(plc_id=self.plc_id, address=self.address, port=self.port, rack=self.rack, slot=self.slot)
        return [single]

    def tsaps(self, plc: PlcOptions) -> Tsaps:
        """Whom a connection to this PLC is between."""
        if self.tsap is not None:
            return Tsaps.parse(self.tsap.local, self.tsap.remote)
        return Tsaps.of(_TYPES[self.connection_type], plc.rack, plc.slot)


@source
def s7(options: S7, context: Context) -> dict[str, Observable[Frame]]:
    """One stream of frames for each PLC."""
    wanted = _wanted(options, context.layouts)
    return {plc.name: _stream(options, plc, wanted, context.part(plc.name)) for plc in options.each()}


def _stream(options: S7, plc: PlcOptions, wanted: Sequence[Wanted], context: Context) -> Observable[Frame]:
    target = Target(
        name=plc.name,
        address=plc.address,
        port=plc.port,
        tsaps=options.tsaps(plc),
        timeout=options.timeout,
        persistent=options.connection == "persistent",
        retry=options.retry,
        phase=options.phase,
    )
    origins = [_origin(each, plc, options) for each in wanted]
    cpu = _cpu(options.cpu, options, plc) if options.cpu else None

    async def run(emit: Emit) -> None:
        groups: dict[float, list[Polled]] = {}
        for each, origin in zip(wanted, origins, strict=True):
            groups.setdefault(each.every, []).append(Polled(origin, each.block, each.leaves))
        await Poller(context, target, list(groups.items()), cpu=cpu).run(emit)

    return context.observable(run)


@s7.claims
def _claims(options: S7, _: Scope) -> Iterable[Claim]:
    for index, plc in enumerate(options.each()):
        tsap = options.tsap
        place = f"tsap {tsap.remote}" if tsap else f"{plc.rack}.{plc.slot}"
        path = ("plcs", index, "address") if options.plcs else ("address",)
        if is_host(plc.address):  # else it may hold a password, and claims are shown
            yield Claim(what="PLC connection", key=f"{plc.address.lower()}:{plc.port}/{place}", path=path)


@s7.plays
def _plays(options: S7, tape: Tape) -> Callable[[], BaseProtocol]:
    return play(tape, options.timeout)


@s7.stages
def _stages(options: S7, scope: Scope) -> Iterable[Stage]:
    from pipeline.testing.plc import PlcStage  # noqa: PLC0415 - a running graph needs none

    for plc in options.each():
        yield PlcStage(plc.address, plc.port, _wanted(options, scope.layouts), part=plc.name)


@s7.diagnose
async def _diagnose(options: S7, situation: Situation) -> AsyncIterator[Diagnosis]:
    from pipeline.s7.browse_place import Access, Place  # noqa: PLC0415 - a running graph needs none
    from pipeline.s7.diagnosis import diagnose_plc  # noqa: PLC0415 - same

    wanted = _wanted(options, situation.scope.layouts)
    ranges = [each for one in wanted for each in one.block.ranges()]
    tsap = {"local": options.tsap.local, "remote": options.tsap.remote} if options.tsap else None
    for plc in options.each():
        place = Place(
            name=plc.plc_id,
            address=plc.address,
            port=plc.port,
            access=Access(rack=plc.rack, slot=plc.slot, connection_type=options.connection_type, tsap=tsap),
            timeout=options.timeout,
            timezone=options.timezone,
            declared=tuple(extent for one in wanted if (extent := _extent(one, plc))),
        )
        async for each in diagnose_plc(situation, place, ranges, options.every):
            yield each


@s7.reads
def _reads(options: S7, scope: Scope) -> Iterable[Extent]:
    for plc in options.each():
        for wanted in _wanted(options, scope.layouts):
            if extent := _extent(wanted, plc):
                yield extent


@s7.origins
def _origins(options: S7, scope: Scope) -> Iterable[Origin]:
    wanted = _wanted(options, scope.layouts)
    for plc in options.each():
        yield from (_origin(each, plc, options) for each in wanted)
        if options.cpu is not None:
            yield _cpu(options.cpu, options, plc).origin


@s7.predict
def _predict(options: S7, scope: Scope, _: Flow) -> Forecast:
    """Round trips from the read plan, one request at a time: what a PLC grants in parallel shows only online."""
    plcs = options.each()
    groups: dict[float, list[Wanted]] = {}
    flow = Flow()
    for wanted in _wanted(options, scope.layouts):
        groups.setdefault(wanted.every, []).append(wanted)
        flow += Flow(
            frames=len(plcs) / wanted.every,
            size=_typical_size(wanted, _origin(wanted, plcs[0], options)),
            blocks=len(plcs),
            names=frozenset(leaf.name for leaf in wanted.leaves),
        )
    lines = [("connections", str(len(plcs)))]
    warnings: list[Finding] = []
    for every, group in groups.items():
        for pdu in (240, 480, 960):
            trips = len(plan([wanted_range for each in group for wanted_range in each.block.ranges()], pdu))
            busy = Duration(trips * _ROUND_TRIP)
            name = f"every {Duration(every)} at PDU {pdu}"
            lines.append(
                (name, f"{trips} request{'s' * (trips != 1)}, {busy} at a round trip of {Duration(_ROUND_TRIP)}")
            )
            if busy > every and pdu == 240:  # noqa: PLR2004 - what the smallest CPUs grant
                message = (
                    f"a read takes {busy} (PDU 240, round trip {Duration(_ROUND_TRIP)}), longer than {Duration(every)}"
                )
                hint = "ticks will be skipped: read less, or less often"
                warnings.append(Finding(path=("every",), message=message, hint=hint, severity=Severity.WARNING))
    if options.cpu is not None:
        flow += _cpu_flow(options.cpu, len(plcs), _cpu(options.cpu, options, plcs[0]).origin)
        asked = bool(options.cpu.state) + bool(options.cpu.clock)
        lines.append(("state and clock of the CPU", f"{asked} request{'s' * (asked != 1)} every {options.cpu.every}"))
    lines.append(("bytes a day", str(Size(flow.frames * flow.size * 86400))))
    return Forecast(flow=flow, lines=tuple(lines), warnings=tuple(warnings))


def _wanted(options: S7, layouts: Mapping[str, Layout]) -> list[Wanted]:
    wanted = [
        want_block(block, layouts[block.layout], options.naming, options.every, options.timezone)
        for block in options.blocks
        if block.layout in layouts
    ]
    if options.tags:
        wanted.append(want_tags(options.tags, options.naming, options.every, options.timezone))
    return wanted


def _origin(wanted: Wanted, plc: PlcOptions, options: S7) -> Origin:
    return Origin(
        measurement=wanted.measurement,
        ip=plc.address,
        db=wanted.db,
        tenant_id=plc.tenant_id or options.tenant_id,
        plc_id=plc.plc_id,
        tags={**plc.tags, **wanted.tags},
        units=wanted.units,
        extent=_extent(wanted, plc),
    )


def _extent(wanted: Wanted, plc: PlcOptions) -> Extent | None:
    """Where the bytes of a block lie; single tags lie nowhere together."""
    block = wanted.block
    if block.whole is None:
        return None
    _, db, start = block.whole
    solid = tuple((cell.offset, cell.size) for cell in block.cells)
    device = f"{plc.address.lower()}:{plc.port}"
    return Extent(device=device, plc=plc.name, db=db, start=start, size=block.size, solid=solid)


def _cpu(cpu: CpuOptions, options: S7, plc: PlcOptions) -> CpuTags:
    origin = Origin(
        measurement=_CPU_MEASUREMENT,
        ip=plc.address,
        tenant_id=plc.tenant_id or options.tenant_id,
        plc_id=plc.plc_id,
        tags=plc.tags,
    )
    return CpuTags(origin=origin, state=cpu.state, clock=cpu.clock, every=cpu.every, timezone=options.timezone)


def _typical_size(wanted: Wanted, origin: Origin) -> int:
    """Bytes of an encoded frame with everyday values: small whole numbers, and REALs with all their digits."""
    values, _ = compile_decoder(wanted.leaves)(b"\x42" * wanted.block.size)
    for leaf in wanted.leaves:
        if leaf.name not in values:
            values[leaf.name] = _typical_text(leaf)
        elif isinstance(values[leaf.name], int):
            values[leaf.name] = 1234 if leaf.size > 1 else 12
    return len(FrameJson().encode(Frame(Kind.DATA, 1.7e9, origin, values)))


def _cpu_flow(options: CpuOptions, plcs: int, origin: Origin) -> Flow:
    samples = ((options.state, "RUN"), (options.clock, "2024-02-29T23:59:59.123-03:00"))
    values = {name: text for name, text in samples if name}
    size = len(FrameJson().encode(Frame(Kind.DATA, 1.7e9, origin, values)))
    return Flow(frames=plcs / options.every, size=size, blocks=plcs, names=frozenset(values))


def _typical_text(leaf: Leaf) -> Scalar:
    """What stands for bytes that are no value: the longest text of an enum, half a STRING, a date, a number."""
    if leaf.enum:
        return max((text for _, text in leaf.enum), key=len)
    if leaf.type.is_number:
        return 1234
    return "x" * (leaf.length // 2 if leaf.type.width else len("2024-02-29T23:59:59.123"))
