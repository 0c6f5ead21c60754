"""Where the members of standard-access blocks lie: the layouts that a program's data blocks amount to.

STEP 7's and TIA Portal's rules (S7-1200/1500 manual, "Data types", standard access): BOOLs fill a byte from bit 0 up;
types of one byte stand at the next byte; all others, arrays and records stand at even bytes; the end of a record, an
array or a text is filled up to an even byte; the elements of an array follow each other, BOOLs bit by bit, records at
even bytes. In arrays of several dimensions each row of BOOLs begins at a byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import PurePath

from pipeline.importing.program import (
    Bound,
    DataBlock,
    Member,
    Named,
    Program,
    Record,
    Shape,
    elementary,
    flat,
    key,
    plain,
)
from pipeline.s7.types import ALIASES, BLOCK_LIMIT

__all__ = ["PlacedBlock", "PlacedField", "PlacedLayout", "Places", "place_program"]

_OPAQUE = {"POINTER": 6, "ANY": 10, "BLOCK_FB": 2, "BLOCK_FC": 2, "BLOCK_DB": 2, "BLOCK_SDB": 2}
_OPAQUE |= dict.fromkeys(("IEC_TIMER", "TP_TIME", "TON_TIME", "TOF_TIME", "TONR_TIME"), 16)
_OPAQUE |= dict.fromkeys(("IEC_LTIMER", "TP_LTIME", "TON_LTIME", "TOF_LTIME", "TONR_LTIME"), 32)
_OPAQUE |= {"IEC_COUNTER": 6, "IEC_UCOUNTER": 6, "IEC_DCOUNTER": 12, "IEC_UDCOUNTER": 12}
"""Types that take room and are no value, with their bytes (S7-1200/1500 manual, "System data types")."""
_WORD, _BYTE = 16, 8
_DEEPEST = 31
_MOST = 20_000
"""Fields of all layouts: past that a graph file is longer than one may be."""
_NUMBER_OF_FILE = re.compile(r"\[DB(\d{1,5})\]", re.IGNORECASE)
_NUMBER_OF_NAME = re.compile(r"DB(\d{1,5})(?=$|[\W_])", re.IGNORECASE)


class _Unplaceable(Exception):
    """The size of a member is not known, so nobody knows where the next one begins."""


@dataclass(frozen=True, kw_only=True)
class PlacedField:
    """A field of a layout. `type` and `at` are as in a graph file, `title` is the name as the program would have it."""

    name: str
    title: str
    type: str
    at: str
    file: PurePath
    line: int
    comment: str = ""


@dataclass(kw_only=True)
class PlacedLayout:
    """A layout on its way.

    Attributes:
        name: in the graph.
        title: what the program calls it.
        fields: so far.
        size: in bytes.
        whole: False where only the first of its members have a place.
        names: of the fields.
        end: the bit behind the last field.
    """

    name: str
    title: str
    fields: list[PlacedField] = field(default_factory=list)
    size: int = 0
    whole: bool = True
    names: set[str] = field(default_factory=set)
    end: int = 0


@dataclass(frozen=True, kw_only=True)
class PlacedBlock:
    """A data block with its layout's name."""

    name: str
    number: int | None
    layout: str


@dataclass(frozen=True, kw_only=True)
class Places:
    """All layouts, inner ones first, and the blocks that have them."""

    layouts: Mapping[str, PlacedLayout]
    blocks: tuple[PlacedBlock, ...]
    first_index: int


def place_program(program: Program, *, all_types: bool = False) -> Places:
    """Give the members of all data blocks their places; tells in `program.remarks` what has none.

    Arrays that begin with index 0, or all with 1, stay arrays; the others are written out element by element, so that
    names have the program's own indices.

    Args:
        program: what was declared.
        all_types: also types that no block contains.
    """
    before = program.remarks
    found = []
    for first_index in (0, 1):
        program.remarks = dict(before)
        placer = _Placer(program, first_index)
        places = Places(layouts=placer.layouts, blocks=tuple(placer.blocks(all_types)), first_index=first_index)
        found.append((sum(len(layout.fields) for layout in placer.layouts.values()), places, program.remarks))
    _, places, program.remarks = min(found, key=lambda each: each[0])
    return places


class _Placer:
    """Makes layouts of records, inside out."""

    def __init__(self, program: Program, first_index: int) -> None:
        self.program = program
        self.first_index = first_index
        self.layouts: dict[str, PlacedLayout] = {}
        self._of_types: dict[int, PlacedLayout] = {}
        self._open: list[str] = []
        self._open_types: set[int] = set()
        self._file = PurePath()
        self._fields = 0

    def blocks(self, all_types: bool) -> Iterator[PlacedBlock]:
        seen: dict[int | str, DataBlock] = {}
        for block in self.program.numbered():
            self._file = block.file
            first = seen.setdefault(block.number or key(block.name), block)
            if first is not block:
                text = f"'{block.name}' is declared at {first.file.name}:{first.line} already; that one counts"
                self.program.tell(block.file, block.line, text)
                continue
            if self._is_optimised(block):
                symbol = f'"{block.name}"'
                self.program.tell(
                    block.file,
                    block.line,
                    f"{symbol} has optimised access, so no offsets: read it by name, with a source `s7plus` and "
                    f"`blocks: [{{symbol: '{symbol}'}}]`, or clear 'Optimized block access' in its attributes, "
                    "compile, download and export again",
                )
                continue
            layout = self._layout_of_block(block)
            if layout is not None and layout.fields:
                yield PlacedBlock(name=block.name, number=self._number(block), layout=layout.name)
            elif layout is not None:
                self.program.tell(block.file, block.line, f"'{block.name}' has no member with a known place; left out")
        if all_types:
            for named in self.program.types.values():
                if not named.optimised:
                    self._layout_of_type(named)

    def _is_optimised(self, block: DataBlock) -> bool:
        if block.optimised is None and not block.shape.record:
            named = self.program.find(block.shape.name)
            return named is not None and named.optimised
        return bool(block.optimised)

    def _number(self, block: DataBlock) -> int | None:
        if block.number:
            return block.number
        match = _NUMBER_OF_FILE.search(block.file.name) or _NUMBER_OF_NAME.match(block.name)
        if match and 0 < int(match[1]) < BLOCK_LIMIT:
            text = f"the number of '{block.name}' is not in the source; {match[1]} is taken from the name, look at it"
            self.program.tell(block.file, block.line, text)
            return int(match[1])
        return None

    def _layout_of_block(self, block: DataBlock) -> PlacedLayout | None:
        shape = block.shape
        if shape.record is None and not shape.bounds:
            named = self.program.find(shape.name)
            if named is None:
                text = f"'{block.name}' consists of '{shape.name}', which is not in these files; give its source too"
                self.program.tell(block.file, block.line, text)
                return None
            return self._layout_of_type(named)
        record = shape.record
        if record is None or shape.bounds:
            record = Record(members=(Member(name="THIS", shape=shape, line=block.line),), line=block.line)
        return self._layout(record, block.name, f"data block {block.name}")

    def _layout_of_type(self, named: Named) -> PlacedLayout:
        known = self._of_types.get(id(named))
        if known is None:
            outer, self._file = self._file, named.file
            self._open_types.add(id(named))
            known = self._layout(named.record, named.name, named.name)
            self._open_types.remove(id(named))
            self._file = outer
            self._of_types[id(named)] = known
        return known

    def _layout(self, record: Record, name: str, title: str) -> PlacedLayout:
        """A record's layout; named after what it is, anew where that name is taken."""
        layout = PlacedLayout(name=self._free(name), title=title)
        self._open.append(layout.name)
        bit, section, before = 0, 0, None
        for member in record.members:
            if before and not member.view_of and _is_odd(before.shape) and _is_small(member.shape):
                text = f"{member.name}: follows a text of odd length, which is taken to end at an even byte; look at it"
                self.program.tell(self._file, member.line, text)
            before = before if member.view_of else member
            if section not in {0, member.section}:
                bit = _up(bit, _WORD)
            section = member.section
            try:
                bit = self._member(layout, member, bit)
            except _Unplaceable as reason:
                text = f"{member.name}: {reason}; it and what follows in '{name}' have no sure place and are left out"
                self.program.tell(self._file, member.line, text)
                layout.whole = False
                break
        layout.size = _up(max(bit, layout.end), _WORD) // _BYTE
        self._open.pop()
        if layout.fields:
            self.layouts[layout.name] = layout
        return layout

    def _free(self, name: str) -> str:
        """A name that a layout may have, which none has yet."""
        base = re.sub(r"\W+", "_", name).strip("_") or "layout"
        base = f"t_{base}" if base[0].isdigit() or base.upper() in ALIASES else base
        taken = {*self.layouts, *self._open}
        return next(each for n in range(1, len(taken) + 2) if (each := base if n == 1 else f"{base}_{n}") not in taken)

    def _member(self, layout: PlacedLayout, member: Member, bit: int) -> int:
        """Place a member from this bit on; the bit behind it."""
        shape = member.shape
        if member.view_of:
            text = f"{member.name}: shows the bytes of {member.view_of} once more (AT); that one is read, this left out"
            self.program.tell(self._file, member.line, text)
            return bit
        if member.by_reference and (shape.bounds or not _by_value(shape)):
            self.program.tell(self._file, member.line, f"{member.name}: only a pointer to it is in the block; left out")
            return self._verified(member, _up(bit, _WORD)) + _OPAQUE["POINTER"] * _BYTE
        bounds = [(self._bound(first), self._bound(last)) for first, last in shape.bounds]
        if any(last < first for first, last in bounds):
            raise _Unplaceable("an array's last index is before its first")
        element, size, align = self._element(layout, member)
        start = self._verified(member, _up(bit, _WORD if bounds else align))
        stride = size if size < _WORD else _up(size, _WORD)
        counts = [last - first + 1 for first, last in bounds]
        last = counts[-1] if counts else 1
        row = _up(last * stride, _BYTE) if len(counts) > 1 else last * stride
        total = prod(counts[:-1]) * row
        if isinstance(element, PlacedLayout) and not element.whole and bounds:
            raise _Unplaceable(f"not all of '{element.title}' is known, so neither where its second begins")
        if start + total > BLOCK_LIMIT * _BYTE:
            raise _Unplaceable(f"a block ends at byte {BLOCK_LIMIT - 1}")
        if element is not None:
            kind = element.name if isinstance(element, PlacedLayout) else element
            self._emit(layout, member, kind, (start, stride, row), bounds)
        if isinstance(element, PlacedLayout) and not element.whole:
            raise _Unplaceable(f"not all of '{element.title}' is known")
        return _up(start + total, _WORD) if bounds else start + stride

    def _verified(self, member: Member, bit: int) -> int:
        """The place, compared with what the file says itself; that counts."""
        if member.bit is not None and member.bit != bit:
            said = f"{member.bit // _BYTE}.{member.bit % _BYTE}"
            ours = f"{bit // _BYTE}.{bit % _BYTE}"
            text = f"{member.name}: the file says it lies at {said}, the rules say {ours}; {said} is taken, look at it"
            self.program.tell(self._file, member.line, text)
            return member.bit
        return bit

    def _bound(self, bound: Bound) -> int:
        if isinstance(bound, int):
            return bound
        if bound.lower() in self.program.constants:
            return self.program.constants[bound.lower()]
        raise _Unplaceable(f"constant '{bound}' is not in these files: give the tag table with it too")

    def _element(self, layout: PlacedLayout, member: Member) -> tuple[str | PlacedLayout | None, int, int]:
        """A member's type (None: no value), the bits of one, and what it is aligned to."""
        shape = member.shape
        if shape.record is not None:
            return self._nested(self._layout(shape.record, f"{layout.name}_{member.name}", member.name))
        if not shape.quoted and (kind := elementary(shape.name)):
            length = (self._bound(shape.length) or 254) if kind.width else 0
            if kind.width and not 1 <= length <= kind.longest:
                raise _Unplaceable(f"{kind.name}[{length}]: the length must be 1 to {kind.longest}")
            if kind.is_bit:
                return kind.name, 1, 1
            bits = kind.extent(length) * _BYTE
            return (f"{kind.name}[{length}]" if kind.width else kind.name), bits, min(bits, _WORD)
        if not shape.quoted and shape.name.upper() in _OPAQUE:
            self.program.tell(self._file, member.line, f"{member.name}: {shape.name} is no value; left out")
            return None, _OPAQUE[shape.name.upper()] * _BYTE, _WORD
        named = self.program.find(shape.name)
        if named is None:
            raise _Unplaceable(f"its type '{shape.name}' is not in these files; give the source of it too")
        if len(self._open) > _DEEPEST or id(named) in self._open_types:
            raise _Unplaceable("types are nested too deeply, or contain themselves")
        return self._nested(self._layout_of_type(named))

    def _nested(self, inner: PlacedLayout) -> tuple[PlacedLayout | None, int, int]:
        if not inner.fields and not inner.whole:
            raise _Unplaceable(f"nothing of '{inner.title}' is known")
        return (inner if inner.fields else None), inner.size * _BYTE, _WORD

    def _emit(
        self,
        layout: PlacedLayout,
        member: Member,
        kind: str,
        steps: tuple[int, int, int],
        bounds: list[tuple[int, int]],
    ) -> None:
        """Write a member's fields: the innermost dimension as an array where its indices are ours.

        Args:
            layout: gets the fields.
            member: what they are of.
            kind: the type of one.
            steps: the bit at which the first lies, bits from one to the next, bits from one row to the next.
            bounds: first and last index of each dimension.
        """
        start, stride, row = steps
        is_bit, count, outer = kind == "BOOL", 1, bounds
        last = bounds[-1][1] - bounds[-1][0] + 1 if bounds else 1
        if bounds and bounds[-1][0] == self.first_index:
            outer, count = bounds[:-1], last
            kind = f"{kind}[{count}]"
        for n, indices in enumerate(product(*(range(first, last + 1) for first, last in outer))):
            self._fields += 1
            if self._fields > _MOST:
                raise _Unplaceable(f"more than {_MOST} fields do not fit into a graph file")
            bit = start + n * count // last * row + n * count % last * stride
            layout.end = bit + count * stride
            at = f"{bit // _BYTE}.{bit % _BYTE}" if is_bit else f"{bit // _BYTE}"
            name = "_".join([flat(member.name), *map(str, indices)])
            title = "_".join([member.name, *map(str, indices)])
            while name in layout.names:
                name += "_"
            layout.names.add(name)
            layout.fields.append(
                PlacedField(
                    name=name,
                    title=title,
                    type=kind,
                    at=at,
                    file=self._file,
                    line=member.line,
                    comment=plain(member.comment),
                )
            )


def _up(bit: int, align: int) -> int:
    return -(-bit // align) * align


def _is_odd(shape: Shape) -> bool:
    """Whether it is a text whose bytes are odd in number: sources differ on what follows it without alignment."""
    kind = None if shape.quoted or shape.bounds else elementary(shape.name)
    return kind is not None and kind.width == 1 and isinstance(shape.length, int) and shape.length % 2 == 1


def _is_small(shape: Shape) -> bool:
    """Whether it may stand at an odd byte."""
    kind = None if shape.quoted or shape.bounds else elementary(shape.name)
    return kind is not None and not kind.width and kind.size == 1


def _by_value(shape: Shape) -> bool:
    """Whether a parameter of that type is kept itself, not a pointer to it."""
    kind = None if shape.quoted or shape.record else elementary(shape.name)
    return kind is not None and not kind.width and kind.name not in {"DATE_AND_TIME", "DTL"}
