"""What a source of symbols is told to read: the options of blocks and single tags, and their mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.errors import Finding
from pipeline.identifiers import check_measurement, check_name, is_readable
from pipeline.operator import Options
from pipeline.s7.types import S7Type, enum_mistake
from pipeline.s7.wanted import EVERY, As, Description, FixedTags, Offset, Scale, Texts, Unit, check_fixed
from pipeline.s7plus.symbols import Path, parse_symbol
from pipeline.units import Duration

__all__ = [
    "SymbolBlockOptions",
    "SymbolNaming",
    "SymbolOptions",
    "WantedSymbols",
    "check_symbol_blocks",
    "check_symbol_tags",
    "treatment_mistake",
    "want_symbol_block",
    "want_symbol_tags",
]

_TAGS_MEASUREMENT = "s7_tags"
_UNFIT = re.compile(r"\W+")


class SymbolOptions(Options, kw_only=True):
    """A single symbol. The short form is the symbol alone."""

    symbol: Annotated[str, Meta(description='as in TIA Portal: DB_Press.Temperatura, "DB Press".sensores[3].valor')]
    unit: Unit = ""
    scale: Scale = 1.0
    offset: Offset = 0.0
    description: Description = ""
    as_: As = msgspec.field(default="", name="as")
    enum: Texts = msgspec.field(default_factory=dict)


class SymbolBlockOptions(Options, kw_only=True):
    """A data block, or a record inside one: all its values make one frame."""

    symbol: Annotated[str, Meta(description='the block, or what is in it: DB_Press, "DB Linha".maquinas[1]')]
    name: Annotated[str, Meta(description="what messages call it; its symbol unless told")] = ""
    db: Annotated[int | None, Meta(description="its number, as frames carry it; none unless told", ge=1, le=65535)] = (
        None
    )
    measurement: Annotated[str, Meta(description="name in the time-series database; s7_<symbol> unless told")] = ""
    tags: FixedTags = msgspec.field(default_factory=dict)
    every: Annotated[Duration | None, EVERY] = None

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.name or self.symbol

    @property
    def series(self) -> str:
        """Its measurement."""
        return self.measurement or f"s7_{_UNFIT.sub('_', self.symbol).strip('_')}"


class SymbolNaming(Options, kw_only=True):
    """How the flat names of a block's values are made: `maquinas_0_sensores_2_valor`; indices are the program's."""

    separator: Annotated[str, Meta(description="what joins the parts of a flat name", max_length=8)] = "_"


@dataclass(frozen=True, kw_only=True)
class WantedSymbols:
    """One frame's worth of symbols, the same for every PLC of a source.

    Attributes:
        measurement: of its frames.
        db: as frames carry it.
        tags: of its frames.
        every: seconds between two reads.
        paths: (name, path, options): with name "" all values below the path are named after what follows it.
        separator: joins the parts of such names.
        timezone: where the PLC's clock runs, for dates; "" gives them without offset.
    """

    measurement: str
    db: int | None
    tags: Mapping[str, str]
    every: float
    paths: tuple[tuple[str, Path, SymbolOptions], ...]
    separator: str
    timezone: str

    @property
    def units(self) -> dict[str, str]:
        """Unit by value name."""
        return {name: options.unit for name, _, options in self.paths if options.unit}

    @property
    def roots(self) -> set[str]:
        """The blocks that it needs."""
        return {str(path[0]) for _, path, _ in self.paths}


def want_symbol_block(options: SymbolBlockOptions, separator: str, every: float, timezone: str) -> WantedSymbols:
    """What reading this block means."""
    return WantedSymbols(
        measurement=options.series,
        db=options.db,
        tags=options.tags,
        every=options.every or every,
        paths=(("", parse_symbol(options.symbol), SymbolOptions(symbol=options.symbol)),),
        separator=separator,
        timezone=timezone,
    )


def want_symbol_tags(
    tags: Mapping[str, SymbolOptions | str], separator: str, every: float, timezone: str
) -> WantedSymbols:
    """What reading these single symbols means: one frame."""
    chosen = {name: _options(value) for name, value in tags.items()}
    return WantedSymbols(
        measurement=_TAGS_MEASUREMENT,
        db=None,
        tags={},
        every=every,
        paths=tuple((name, parse_symbol(options.symbol), options) for name, options in chosen.items()),
        separator=separator,
        timezone=timezone,
    )


def check_symbol_blocks(blocks: Sequence[SymbolBlockOptions]) -> Iterator[Finding]:
    """Mistakes in `blocks`."""
    titles: dict[str, int] = {}
    series: dict[tuple[str, int | None, frozenset[tuple[str, str]]], int] = {}
    for index, options in enumerate(blocks):
        path = ("blocks", index)
        yield from _check_path(options.symbol, (*path, "symbol"))
        yield from check_measurement(options.measurement, (*path, "measurement"))
        yield from check_fixed(options.tags, (*path, "tags"))
        if titles.setdefault(options.title, index) != index:
            message = f"'{options.title}' is also the name of blocks[{titles[options.title]}]"
            also = "name" if options.name else "symbol"
            yield Finding(path=(*path, also), message=message, hint="give each its own `name`")
            continue
        key = (options.series, options.db, frozenset(options.tags.items()))
        if series.setdefault(key, index) != index:
            message = f"its frames look like those of blocks[{series[key]}]: {options.series}, with the same tags"
            yield Finding(path=path, message=message, hint="give one of them its own `measurement` or `tags`")


def check_symbol_tags(tags: Mapping[str, SymbolOptions | str]) -> Iterator[Finding]:
    """Mistakes in `tags`."""
    owners: dict[str, str] = {}
    for tag, value in tags.items():
        options = _options(value)
        path = ("tags", tag)
        yield from _check_path(options.symbol, path if isinstance(value, str) else (*path, "symbol"))
        name = tag.replace(" ", "_")
        yield from check_name(tag, path)
        if not is_readable(tag):
            yield Finding(path=path, message=f"{tag!r} is no name for a value", hint="name it by letters and digits")
        elif owners.setdefault(name, tag) != tag:
            yield Finding(path=path, message=f"'{name}' is also a value of tag '{owners[name]}'", hint="rename one")
        if not (isfinite(options.scale) and isfinite(options.offset) and options.scale):
            yield Finding(
                path=path,
                message="scale and offset must be finite numbers, and scale not 0",
                hint="1 leaves a number as it is",
            )
        elif (options.as_ or options.enum) and (options.scale, options.offset) != (1.0, 0.0):
            yield Finding(path=path, message="what is given as a text can't be scaled", hint="remove one of the two")
        if options.enum and options.as_:
            yield Finding(
                path=(*path, "as"), message="it is given as the text of its number already", hint="keep `as` or `enum`"
            )


def treatment_mistake(options: SymbolOptions, kind: S7Type) -> str:
    """Why a symbol's options make no sense for the type that the program gives it, "" when they do."""
    if (options.scale, options.offset) != (1.0, 0.0) and not kind.is_number:
        return f"only numbers can be scaled, not {kind.name}"
    if options.as_ and not kind.is_integer:
        return f"only whole numbers can be given as text, not {kind.name}"
    return enum_mistake(kind, options.enum) if options.enum else ""


def _check_path(symbol: str, path: tuple[str | int, ...]) -> Iterator[Finding]:
    try:
        parse_symbol(symbol)
    except ValueError as error:
        yield Finding(path=path, message=str(error))


def _options(value: SymbolOptions | str) -> SymbolOptions:
    return SymbolOptions(symbol=value) if isinstance(value, str) else value
