"""Layouts: records of named fields with their place in a block; they nest and repeat, and become flat leaves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta

from pipeline.errors import Finding, nearest
from pipeline.identifiers import check_name, is_readable
from pipeline.operator import Options
from pipeline.s7.decode import Leaf
from pipeline.s7.types import ALIASES, BLOCK_LIMIT, TYPES, S7Type, enum_mistake, parse_type, split_type

__all__ = ["Field", "FieldOptions", "Layout", "LayoutOptions", "Naming", "build_layouts"]

_AT = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?", re.ASCII)
_LAST_BIT = 7
_DEEPEST = 32


class Naming(Options, kw_only=True):
    """How the flat names of nested fields are made: `maquinas_0_sensores_2_valor`."""

    separator: Annotated[str, Meta(description="What joins the parts of a flat name.", max_length=8)] = "_"
    first_index: Annotated[int, Meta(description="The index of an array's first element.", ge=0)] = 0


class FieldOptions(Options, kw_only=True):
    """One field. The short form `INT @ 10` gives type and place only."""

    # Not annotated, since it is no option.
    short_form = MappingProxyType(
        {
            "pattern": r"^[^@]*[^@\s][^@]*@\s*[0-9]{1,9}(?:\.[0-9]{1,9})?\s*$",
            "patternErrorMessage": "A field has a type and its first byte: INT @ 10, BOOL @ 0.1.",
        }
    )
    type: Annotated[
        str,
        Meta(
            description="An S7 type, or another layout's name: INT, REAL[5], STRING[20], sensor[5].",
            extra_json_schema={"anyOf": [{"enum": list(TYPES)}, {"type": "string"}]},
        ),
    ]
    at: Annotated[
        str,
        Meta(
            description="First byte, counted from 0; of a BOOL with its bit: 0.1.",
            extra_json_schema={"pattern": rf"^\s*{_AT.pattern}\s*$|\$\{{"},
        ),
    ]
    unit: Annotated[str, Meta(description="Shown beside the value: mm/s. Never on the wire.")] = ""
    scale: Annotated[float, Meta(description="The number read is multiplied by it.")] = 1.0
    offset: Annotated[float, Meta(description="Added after scaling.")] = 0.0
    description: Annotated[str, Meta(description="What it is, for people.")] = ""
    as_: Annotated[
        Literal["", "string"], Meta(description="string: an integer as decimal text, which keeps all digits past 2^53.")
    ] = msgspec.field(default="", name="as")
    enum: Annotated[dict[int, str], Meta(description="Texts of its numbers: {0: parado, 1: rodando}.")] = msgspec.field(
        default_factory=dict
    )
    charset: Annotated[str, Meta(description="How a text's bytes are read: latin-1, cp1252, utf-8.")] = "latin-1"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the short form: `INT @ 10`, `BOOL @ 0.1`, `sensor[5] @ 2`.

        Raises:
            ValueError: it has no place, or no type.
        """
        kind, _, place = (part.strip() for part in text.partition("@"))
        if not kind or not place:
            raise ValueError(f"'{text}' is no field; write a type and its first byte: INT @ 10, BOOL @ 0.1")
        return cls(type=kind, at=place)


class LayoutOptions(Options, kw_only=True):
    """A record of named fields."""

    size: Annotated[
        Annotated[int, Meta(ge=1, le=BLOCK_LIMIT)] | None, Meta(description="Bytes; left out, what the fields need.")
    ] = None
    fields: Annotated[
        dict[str, FieldOptions | str], Meta(description="By name: `INT @ 10`, or {type: INT, at: 10, unit: A}.")
    ]


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field with its place, counted from its layout's start.

    Attributes:
        name: inside its layout.
        options: as declared.
        kind: an S7 type, or the layout it consists of.
        count: elements; 0 is no array.
        byte: first byte.
        bit: 0 to 7; 0 for all but BOOL.
        length: declared length of a text, else 0.
    """

    name: str
    options: FieldOptions
    kind: S7Type | Layout
    count: int
    byte: int
    bit: int
    length: int

    @property
    def bits(self) -> tuple[int, int]:
        """First bit, and the one after its last, counted from the layout's start."""
        begin, count = self.byte * 8 + self.bit, max(self.count, 1)
        if isinstance(self.kind, Layout):
            return begin, begin + (self.kind.stride * (count - 1) + self.kind.size) * 8
        return begin, begin + (count if self.kind.is_bit else self.kind.span(0, count, self.length) * 8)

    @property
    def range(self) -> str:
        """Its place in words: `bytes 10 to 11`, `bit 0.1`."""
        begin, end = self.bits
        if isinstance(self.kind, S7Type) and self.kind.is_bit:
            first, last, what = f"{begin // 8}.{begin % 8}", f"{(end - 1) // 8}.{(end - 1) % 8}", "bit"
        else:
            first, last, what = f"{begin // 8}", f"{(end - 1) // 8}", "byte"
        return f"{what} {first}" if first == last else f"{what}s {first} to {last}"

    def leaves(self, naming: Naming, base: int) -> Iterator[Leaf]:
        """Its scalars, named from this field on, when its layout begins at byte `base`."""
        options = self.options
        for index in range(max(self.count, 1)):
            name = f"{self.name}{naming.separator}{naming.first_index + index}" if self.count else self.name
            if isinstance(self.kind, Layout):
                for leaf in self.kind.scalars(naming, base + self.byte + index * self.kind.stride):
                    yield replace(leaf, name=f"{name}{naming.separator}{leaf.name}")
                continue
            byte, bit = self.kind.place(base + self.byte, self.bit, index, self.length)
            yield Leaf(
                name=name,
                type=self.kind,
                byte=byte,
                bit=bit,
                size=self.kind.extent(self.length),
                length=self.length,
                unit=options.unit,
                scale=options.scale,
                offset=options.offset,
                description=options.description,
                text=bool(options.as_),
                charset=options.charset,
                enum=tuple(options.enum.items()),
            )


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A record of fields.

    Attributes:
        name: its name in the graph.
        size: bytes of one, as declared or as the fields need.
        stride: bytes from one to the next in an array; without declared size the next even number, as STEP 7 does.
        fields: in the order of declaration.
        sound: False when something in it is wrong; then it has no leaves.
        depth: layouts from this one to the innermost.
    """

    name: str
    size: int
    stride: int
    fields: tuple[Field, ...] = ()
    sound: bool = True
    depth: int = 1

    def leaves(self, naming: Naming) -> tuple[Leaf, ...]:
        """Its scalars, flat, in the order of declaration; bytes are counted from the layout's start."""
        return tuple(self.scalars(naming, 0))

    def scalars(self, naming: Naming, base: int) -> Iterator[Leaf]:
        """As `leaves`, for a layout that begins at byte `base`."""
        if self.sound:
            for field in self.fields:
                yield from field.leaves(naming, base)

    def clashes(self, naming: Naming) -> list[Finding]:
        """Fields with flat names that another scalar has too, or that the platform's ingest reserves or does not store.

        It matters for layouts of whole blocks, with the naming used there. Blanks count as underscores, since the
        ingest makes them so.
        """
        findings: list[Finding] = []
        owners: dict[str, str] = {}
        for field in self.fields if self.sound else ():
            path = (self.name, "fields", field.name)
            found: list[Finding] = []
            for leaf in field.leaves(naming, 0):
                name = leaf.name.replace(" ", "_")
                found += check_name(leaf.name, path)
                if name in owners:
                    reason = f"'{name}' would name two values of '{self.name}': rename this or '{owners[name]}'"
                    found.append(Finding(path=path, message=reason))
                owners.setdefault(name, field.name)
            findings += sorted(found, key=lambda each: each.severity)[:1]  # a mistake before a warning
        return findings


def build_layouts(
    options: Mapping[str, LayoutOptions], broken: Iterable[str] = ()
) -> tuple[dict[str, Layout], list[Finding]]:
    """Check all layouts of a graph and build them.

    Every layout is in the result, so that what names it can be judged; one with a mistake is not `sound`. Paths of
    findings start with the layout's name: ("press", "fields", "contador_bom"). Flat names are judged for layouts
    that no other contains, with the default naming; `Layout.clashes` does it for another.

    Args:
        options: as declared.
        broken: names of layouts of whose declaration not all could be read; what could is in `options`.
    """
    builder = _Builder(options, broken)
    for name in options:
        builder.build(name)
    kinds = [field.kind for layout in builder.built.values() for field in layout.fields]
    nested = {kind.name for kind in kinds if isinstance(kind, Layout)}
    for name, layout in builder.built.items():
        if name not in nested:
            builder.findings += layout.clashes(Naming())
    return builder.built, builder.findings


class _Builder:
    """Builds layouts inside out, and collects every mistake on the way."""

    def __init__(self, options: Mapping[str, LayoutOptions], broken: Iterable[str]) -> None:
        self.options = options
        self._broken = frozenset(broken)
        self.built = {name: Layout(name=name, size=0, stride=0, sound=False) for name in self._broken - options.keys()}
        self.findings: list[Finding] = []
        self._open: list[str] = []

    def build(self, name: str) -> Layout:
        """The layout of that name, with all it contains."""
        if name in self.built:
            return self.built[name]
        options, before = self.options[name], len(self.findings)
        self._open.append(name)
        if name.upper() in ALIASES:
            self._add((name,), f"'{name}' is the name of an S7 type", "choose another name for the layout")
        fields = [field for key, value in options.fields.items() if (field := self._field(name, key, value))]
        if not options.fields and name not in self._broken:
            self._add((name, "fields"), "a layout needs at least one field", "write one: contador_bom: INT @ 10")
        self._judge_places(name, options.size, fields)
        self._open.pop()
        size = options.size or max((-(-field.bits[1] // 8) for field in fields), default=0)
        inner = [field.kind for field in fields if isinstance(field.kind, Layout)]
        self.built[name] = Layout(
            name=name,
            size=size,
            stride=options.size or size + size % 2,
            fields=tuple(fields),
            sound=name not in self._broken and len(self.findings) == before and all(layout.sound for layout in inner),
            depth=1 + max((layout.depth for layout in inner), default=0),
        )
        return self.built[name]

    def _add(self, path: tuple[str, ...], message: str, hint: str = "") -> None:
        self.findings.append(Finding(path=path, message=message, hint=hint))

    def _field(self, layout: str, name: str, value: FieldOptions | str) -> Field | None:
        """One field, or None when it has no type or no place."""
        path = (layout, "fields", name)
        if not is_readable(name):
            self._add(path, f"{name!r} is no name for a field", "write one of letters, without tabs and line ends")
        short = isinstance(value, str)
        try:
            options = FieldOptions.parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self._add(path, str(error))
            return None
        try:
            kind, count, length = self._kind(options.type)
        except ValueError as error:
            self._add(path if short else (*path, "type"), str(error))
            return None
        for option, message in _misfits(options, kind):
            self._add((*path, option), message)
        try:
            byte, bit = _place(options.at, kind)
        except ValueError as error:
            self._add(path if short else (*path, "at"), str(error))
            return None
        return Field(name=name, options=options, kind=kind, count=count, byte=byte, bit=bit, length=length)

    def _kind(self, text: str) -> tuple[S7Type | Layout, int, int]:
        """What a field's type names: a layout or an S7 type, its elements (0: no array), a text's length."""
        name, numbers = split_type(text)
        if name not in self.options and name not in self.built:
            try:
                return parse_type(text)
            except ValueError:
                if name.upper() in ALIASES:
                    raise
                known = [*self.options, *TYPES]
                likely = nearest(name, [*self.options, *ALIASES])
                raise ValueError(
                    f"unknown type or layout '{name}'; "
                    + (f"did you mean {likely}?" if likely else f"known are {', '.join(known)}")
                ) from None
        if name in self._open:
            circle = [*self._open[self._open.index(name) :], name]
            raise ValueError(f"layout '{name}' contains itself: {' > '.join(circle)}; take one of these fields away")
        if len(numbers) > 1 or 0 in numbers:
            raise ValueError(
                f"'{text}': an array of layouts has one dimension and at least one element; write {name}[5]"
            )
        if len(self._open) >= _DEEPEST or self.build(name).depth >= _DEEPEST:
            raise ValueError(f"layouts are nested deeper than {_DEEPEST}")
        return self.build(name), numbers[0] if numbers else 0, 0

    def _judge_places(self, layout: str, size: int | None, fields: Sequence[Field]) -> None:
        """Find fields that leave the layout, and fields that overlap."""
        furthest: Field | None = None
        for field in sorted(fields, key=lambda field: field.bits):
            if field.bits[0] == field.bits[1]:
                continue  # a record of which nothing could be read, which has been told
            path = (layout, "fields", field.name)
            end = -(-field.bits[1] // 8)
            if end > (size or BLOCK_LIMIT):
                room = f"layout '{layout}' has {size} bytes" if size else f"a block has at most {BLOCK_LIMIT} bytes"
                hint = f"`size:` would have to be {end} at least" if size and end <= BLOCK_LIMIT else ""
                self._add(path, f"'{field.name}' ({field.range}) leaves its layout: {room}", hint)
            if furthest and field.bits[0] < furthest.bits[1]:
                other = f"'{furthest.name}' ({furthest.range})"
                self._add(
                    path, f"'{field.name}' ({field.range}) overlaps {other}", "set right one of their `at:`, or a type"
                )
            if furthest is None or field.bits[1] > furthest.bits[1]:
                furthest = field


def _place(at: str, kind: S7Type | Layout) -> tuple[int, int]:
    """Byte and bit from `at`, which is kept as text: as a number, 0.10 would become bit 1.

    Raises:
        ValueError: it is no place, or not one where such a type can begin.
    """
    match = _AT.fullmatch(at.strip())
    if match is None:
        raise ValueError(f"'{at}' is no place; write the first byte, counted from 0, and for a BOOL its bit: 10, 0.1")
    byte, bit = int(match[1]), int(match[2] or 0)
    if isinstance(kind, S7Type) and kind.is_bit:
        if match[2] is None:
            raise ValueError(f"a BOOL needs its bit; write {byte}.0 to {byte}.7")
        if bit > _LAST_BIT:
            raise ValueError(f"bit {bit} of '{at}' does not exist; a byte has bits 0 to {_LAST_BIT}")
    elif bit:
        raise ValueError(f"'{at}' has a bit, but {kind.name} begins at a whole byte; write {byte}")
    return byte, bit


def _misfits(options: FieldOptions, kind: S7Type | Layout) -> Iterator[tuple[str, str]]:
    """Options that make no sense for what the field is, as (option, message)."""
    plain = FieldOptions(type="", at="")
    told = {
        name
        for name in ("unit", "scale", "offset", "as", "enum", "charset")
        if _option(options, name) != _option(plain, name)
    }
    if isinstance(kind, Layout):
        for name in sorted(told):
            yield name, f"belongs to the fields of layout '{kind.name}', not to the whole; write it there"
        return
    for name in sorted(told & {"scale", "offset"}):
        if not kind.is_number:
            yield name, f"only numbers can be scaled, and '{options.type}' is none; remove it, or set the type right"
        elif options.as_ or options.enum:
            yield name, "a number that is given as text can't be scaled; remove it, or `as` and `enum`"
        elif not isfinite(_option(options, name)) or (name, options.scale) == ("scale", 0):
            yield name, "must be a finite number, and scale not 0; 1 leaves a number as it is"
    yield from _text_misfits(options, kind)
    if "charset" in told and kind.takes != "charset":
        yield "charset", f"only CHAR and STRING have a charset, not '{options.type}'; remove it"
    elif "charset" in told and not _is_charset(options.charset):
        yield "charset", f"unknown charset '{options.charset}'; use latin-1, cp1252 or utf-8"


def _text_misfits(options: FieldOptions, kind: S7Type) -> Iterator[tuple[str, str]]:
    if options.as_ and not kind.is_integer:
        yield "as", f"only whole numbers can be given as text, and '{options.type}' is none; remove it"
    if options.enum and (mistake := enum_mistake(kind, options.enum)):
        yield "enum", f"{mistake}; mend or remove it"
    elif options.enum and options.as_:
        yield "as", "it is given as the text of its number already; keep `as` or `enum`"


def _option(options: FieldOptions, name: str) -> Any:
    return getattr(options, "as_" if name == "as" else name)


def _is_charset(name: str) -> bool:
    try:
        b"A".decode(name)  # the name is looked up only when there is something to decode
    except (LookupError, ValueError):
        return False
    return True
