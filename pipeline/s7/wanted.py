"""What a source is told to read: the options of blocks and single tags, their mistakes, and the blocks they make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from msgspec import Meta

from pipeline.config.layouts import Layout, Naming
from pipeline.errors import Finding, nearest
from pipeline.hosts import check_host
from pipeline.identifiers import check_measurement, check_name, check_tag, is_readable
from pipeline.operator import Options
from pipeline.s7.address import ADDRESS_SCHEMA, Address, Area, parse_address
from pipeline.s7.decode import Leaf, leaves_of
from pipeline.s7.group import Block, Cell
from pipeline.s7.types import BLOCK_LIMIT, enum_mistake
from pipeline.units import Duration

__all__ = [
    "EVERY",
    "As",
    "BlockOptions",
    "CpuOptions",
    "Description",
    "FixedTags",
    "Offset",
    "Scale",
    "TagOptions",
    "Texts",
    "Unit",
    "Wanted",
    "check_blocks",
    "check_cpu",
    "check_fixed",
    "check_plcs",
    "check_tags",
    "check_timezone",
    "want_block",
    "want_tags",
]

EVERY = Meta(description="time between two reads, 10ms to 24h", ge=0.01, le=86400)
_TAGS_MEASUREMENT = "s7_tags"
_LAST_BLOCK = 65535

FixedTags = Annotated[dict[str, str], Meta(description="fixed tags of its frames, such as area: linha1")]
Unit = Annotated[str, Meta(description="shown beside the value: mm/s; never on the wire")]
Scale = Annotated[float, Meta(description="the number read is multiplied by it")]
Offset = Annotated[float, Meta(description="added after scaling")]
Description = Annotated[str, Meta(description="what it is, for people")]
As = Annotated[
    Literal["", "string"], Meta(description="string: an integer as decimal text, which keeps all digits past 2^53")
]
Texts = Annotated[dict[int, str], Meta(description="texts of its numbers: {0: parado, 1: rodando}")]


class BlockOptions(Options, kw_only=True):
    """A data block, or a part of it, that makes one frame."""

    db: Annotated[int, Meta(description="number of the data block", ge=1, le=_LAST_BLOCK)]
    layout: Annotated[str, Meta(description="name of the layout that says what its bytes are")]
    name: Annotated[str, Meta(description="what messages call it; db<n> unless told")] = ""
    measurement: Annotated[str, Meta(description="name in the time-series database; s7_db<n> unless told")] = ""
    tags: FixedTags = msgspec.field(default_factory=dict)
    start: Annotated[int, Meta(description="byte of the data block at which the layout begins", ge=0, le=65535)] = 0
    every: Annotated[Duration | None, EVERY] = None

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.name or (f"db{self.db}.{self.start}" if self.start else f"db{self.db}")

    @property
    def series(self) -> str:
        """Its measurement."""
        return self.measurement or f"s7_db{self.db}"


class TagOptions(Options, kw_only=True):
    """A single tag. The short form is its address alone."""

    short_form = ADDRESS_SCHEMA  # not annotated, since it is no option
    address: Annotated[
        str,
        Meta(
            description="where and what it is: DB2.DBD4:REAL, M10.3, IW4:INT, DB1:0:REAL[5]",
            extra_json_schema={**ADDRESS_SCHEMA, "pattern": rf"{ADDRESS_SCHEMA['pattern']}|\$\{{"},
        ),
    ]
    unit: Unit = ""
    scale: Scale = 1.0
    offset: Offset = 0.0
    description: Description = ""
    as_: As = msgspec.field(default="", name="as")
    enum: Texts = msgspec.field(default_factory=dict)


class CpuOptions(Options, kw_only=True):
    """Values that are the CPU's own."""

    state: Annotated[
        str, Meta(description="name of the value that is RUN, STOP, STARTUP, …; not asked unless told")
    ] = ""
    clock: Annotated[str, Meta(description="name of the value that is its date and time; not asked unless told")] = ""
    every: Annotated[Duration, Meta(description="time between two questions, 1s to 24h", ge=1, le=86400)] = Duration(10)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One frame's worth of reading, the same for every PLC of a source.

    Attributes:
        measurement: of its frames.
        db: the block's number; None for single tags.
        tags: of its frames.
        every: seconds between two reads.
        leaves: its values, with bytes counted within the block.
        block: what is read.
    """

    measurement: str
    db: int | None
    tags: Mapping[str, str]
    every: float
    leaves: tuple[Leaf, ...]
    block: Block

    @property
    def units(self) -> dict[str, str]:
        """Unit by value name."""
        return {leaf.name: leaf.unit for leaf in self.leaves if leaf.unit}


def want_block(options: BlockOptions, layout: Layout, naming: Naming, every: float, timezone: str = "") -> Wanted:
    """What reading this block means. `every` is the source's, in seconds, `timezone` that of its dates."""
    leaves = tuple(_with_zone(leaf, timezone) for leaf in layout.leaves(naming))
    cells: list[Cell] = []
    for leaf in sorted(leaves, key=lambda leaf: leaf.byte):
        last = cells[-1] if cells else None
        if last is not None and leaf.byte < last.offset + last.size:  # BOOLs of one byte
            end = max(last.offset + last.size, leaf.byte + leaf.size)
            cells[-1] = replace(last, size=end - last.offset)
        else:
            cells.append(Cell(leaf.byte, Area.DB.value, options.db, options.start + leaf.byte, leaf.size))
    return Wanted(
        measurement=options.series,
        db=options.db,
        tags=options.tags,
        every=options.every or every,
        leaves=leaves,
        block=Block(layout.size, tuple(cells), (Area.DB.value, options.db, options.start)),
    )


def want_tags(tags: Mapping[str, TagOptions | str], naming: Naming, every: float, timezone: str = "") -> Wanted:
    """What reading these single tags means: one frame, whose bytes are the tags' bytes one after the other."""
    leaves: list[Leaf] = []
    cells: list[Cell] = []
    size = 0
    for name, value in tags.items():
        options = _tag(value)
        address = parse_address(options.address)
        for leaf in leaves_of(name, address, naming.separator, naming.first_index):
            offset = leaf.byte - address.byte + size
            leaves.append(
                replace(
                    _with_zone(leaf, timezone),
                    byte=offset,
                    unit=options.unit,
                    scale=options.scale,
                    offset=options.offset,
                    description=options.description,
                    text=bool(options.as_),
                    enum=tuple(options.enum.items()),
                )
            )
            if not cells or cells[-1].offset < offset:
                cells.append(Cell(offset, address.area.value, address.db, leaf.byte, leaf.size))
        size += address.size
    block = Block(size, tuple(cells))
    return Wanted(measurement=_TAGS_MEASUREMENT, db=None, tags={}, every=every, leaves=tuple(leaves), block=block)


def check_blocks(blocks: Sequence[BlockOptions], layouts: Mapping[str, Layout], naming: Naming) -> Iterator[Finding]:
    """Mistakes in `blocks`."""
    titles: dict[str, int] = {}
    series: dict[tuple[str, int, frozenset[tuple[str, str]], str], int] = {}
    inner = {field.kind.name for each in layouts.values() for field in each.fields if isinstance(field.kind, Layout)}
    for index, options in enumerate(blocks):
        path = ("blocks", index)
        yield from check_measurement(options.measurement, (*path, "measurement"))
        if titles.setdefault(options.title, index) != index:
            where, also = f"blocks[{titles[options.title]}]", "name" if options.name else "db"
            hint = "give each its own `name`"
            yield Finding(path=(*path, also), message=f"'{options.title}' is also the name of {where}", hint=hint)
        layout = layouts.get(options.layout)
        if layout is None:
            likely = nearest(options.layout, layouts)
            hint = f"did you mean '{likely}'?" if likely else f"known are {', '.join(layouts) or 'none'}"
            yield Finding(path=(*path, "layout"), message=f"unknown layout '{options.layout}'", hint=hint)
            continue
        if options.start + layout.size > BLOCK_LIMIT:
            message = f"layout '{layout.name}' ({layout.size} bytes) from byte {options.start} leaves the block"
            yield Finding(path=(*path, "start"), message=message, hint=f"a block has at most {BLOCK_LIMIT} bytes")
        if naming != Naming() or layout.name in inner:  # the others are judged where they are declared
            for clash in layout.clashes(naming):
                yield replace(clash, path=(*path, "layout"))
        names = [leaf.name for leaf in layout.leaves(naming)]
        yield from check_fixed(options.tags, (*path, "tags"), names)
        for name in names:
            key = (options.series, options.db, frozenset(options.tags.items()), name)
            if series.setdefault(key, index) != index:
                message = f"'{name}' of {options.series} also comes from blocks[{series[key]}], with the same tags"
                yield Finding(path=path, message=message, hint="give one of them its own `measurement` or `tags`")
                break


def check_tags(tags: Mapping[str, TagOptions | str], naming: Naming) -> Iterator[Finding]:
    """Mistakes in `tags`."""
    owners: dict[str, str] = {}
    for tag, value in tags.items():
        options = _tag(value)
        path = ("tags", tag)
        place = path if isinstance(value, str) else (*path, "address")
        if not is_readable(tag):
            yield Finding(path=path, message=f"{tag!r} is no name for a value", hint="name it by letters and digits")
        try:
            address = parse_address(options.address)
        except ValueError as error:
            yield Finding(path=place, message=str(error))
            continue
        yield from _check_tag(tag, options, address)
        for leaf in leaves_of(tag, address, naming.separator, naming.first_index):
            name = leaf.name.replace(" ", "_")
            yield from check_name(leaf.name, path)
            if owners.setdefault(name, tag) != tag:
                yield Finding(path=path, message=f"'{name}' is also a value of tag '{owners[name]}'", hint="rename one")


def _check_tag(tag: str, options: TagOptions, address: Address) -> Iterator[Finding]:
    """Options of a tag that make no sense for what it is."""
    path = ("tags", tag)
    if (options.scale, options.offset) != (1.0, 0.0):
        if not address.type.is_number or options.as_ or options.enum:
            yield Finding(
                path=path, message=f"only numbers can be scaled, and '{tag}' is {address.type.name}", hint="remove it"
            )
        elif not (isfinite(options.scale) and isfinite(options.offset) and options.scale):
            yield Finding(
                path=path,
                message="scale and offset must be finite numbers, and scale not 0",
                hint="1 leaves a number as it is",
            )
    if options.as_ and not address.type.is_integer:
        yield Finding(
            path=path, message=f"only whole numbers can be given as text, not {address.type.name}", hint="remove it"
        )
    if options.enum and (mistake := enum_mistake(address.type, options.enum)):
        yield Finding(path=(*path, "enum"), message=mistake, hint="mend or remove it")
    elif options.enum and options.as_:
        yield Finding(
            path=(*path, "as"), message="it is given as the text of its number already", hint="keep `as` or `enum`"
        )


def check_cpu(options: CpuOptions) -> Iterator[Finding]:
    """Mistakes in `cpu`."""
    if not options.state and not options.clock:
        hint = "name the values: {state: cpu_state, clock: cpu_clock}"
        yield Finding(path=("cpu",), message="nothing of the CPU is asked for", hint=hint)
    elif options.state == options.clock:
        yield Finding(
            path=("cpu", "clock"), message=f"'{options.clock}' is also the name of the state", hint="choose another"
        )
    for option, name in (("state", options.state), ("clock", options.clock)):
        yield from check_name(name, ("cpu", option))
        if name and not is_readable(name):
            hint = "name it by letters and digits"
            yield Finding(path=("cpu", option), message=f"{name!r} is no name for a value", hint=hint)


def check_timezone(timezone: str) -> Iterator[Finding]:
    """A mistake in `timezone`."""
    try:
        ZoneInfo(timezone or "UTC")
    except (KeyError, ValueError, OSError):
        likely = nearest(timezone, available_timezones())
        hint = f"did you mean {likely}?" if likely else "write it as America/Sao_Paulo, Europe/Berlin or UTC"
        yield Finding(path=("timezone",), message=f"unknown time zone '{timezone}'", hint=hint)


def check_fixed(tags: Mapping[str, str], path: tuple[str | int, ...], names: Sequence[str] = ()) -> Iterator[Finding]:
    """Mistakes in fixed tags of frames that have values of these names."""
    for name, value in tags.items():
        yield from check_name(name, (*path, name))
        yield from check_tag(value, (*path, name))
        if name in names:
            message = f"'{name}' is also the name of a value, and a query could not tell them apart"
            yield Finding(path=(*path, name), message=message, hint="rename the tag")
        elif not is_readable(name):
            hint = "name it by letters and digits"
            yield Finding(path=(*path, name), message=f"{name!r} is no name for a tag", hint=hint)


def _tag(value: TagOptions | str) -> TagOptions:
    return TagOptions(address=value) if isinstance(value, str) else value


def _with_zone(leaf: Leaf, timezone: str) -> Leaf:
    return replace(leaf, timezone=timezone) if timezone and leaf.type.takes == "timezone" else leaf


def check_plcs(options: Any) -> Iterator[Finding]:
    """What is wrong with how a source names its PLCs: `address`, or a list `plcs`, each with a name of its own."""
    if options.plcs and options.address:
        yield Finding(path=("address",), message="a single PLC beside the list `plcs`", hint="write it into the list")
    if not options.plcs and not options.address:
        hint = "address: 192.168.0.121, or a list `plcs`"
        yield Finding(path=("address",), message="no PLC is named", hint=hint)
        return
    names: dict[str, int] = {}
    for index, plc in enumerate(options.each()):
        path: tuple[str | int, ...] = ("plcs", index) if options.plcs else ()
        wrong = list(check_host(plc.address, (*path, "address"), "write it as 192.168.0.121"))
        yield from wrong
        # A name that is a wrong address is not shown: it may hold a password.
        if not wrong and names.setdefault(plc.name, index) != index:
            message = f"'{plc.name}' is also the name of plcs[{names[plc.name]}]"
            option = "plc_id" if plc.plc_id else "address"
            yield Finding(path=(*path, option), message=message, hint="give each PLC its own `plc_id`")
        yield from check_fixed(plc.tags, (*path, "tags"))
