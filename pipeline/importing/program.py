"""What a PLC's program declares, whatever file says it: records, data blocks, tags; and what of it can't be taken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from pipeline.importing.section import Note
from pipeline.s7.address import parse_address
from pipeline.s7.types import ALIASES, S7Type, parse_type

__all__ = [
    "Bound",
    "DataBlock",
    "Member",
    "Named",
    "Program",
    "Record",
    "Remark",
    "Shape",
    "Station",
    "Tag",
    "address_of",
    "elementary",
    "flat",
    "key",
    "plain",
]

Bound = int | str
"""A number, or a constant's name."""

_SYSTEM = (
    (re.compile(r"HW_\w+|DB_(ANY|WWW|DYN)|PIP|RTM|PORT", re.IGNORECASE), "UINT"),
    (re.compile(r"OB_\w+", re.IGNORECASE), "INT"),
    (re.compile(r"CONN_(ANY|PRG|OUC)", re.IGNORECASE), "WORD"),
    (re.compile(r"EVENT_\w+|AOM_IDENT|CONN_R_ID", re.IGNORECASE), "DWORD"),
)
"""Types of TIA Portal that are numbers by another name."""
_PLACE = re.compile(
    r"(?:DB(?P<db>\d{1,5})\.DB|(?P<peripheral>P)?(?P<area>[MIQEACZT]))[XBWDL]?(?P<byte>\d{1,6})(?:\.(?P<bit>\d))?(?P<now>:P)?",
    re.IGNORECASE,
)
_WHOLE = re.compile(r"[-+]?\d{1,9}")
_READ = 20
"""How many notes of one kind about one file a person reads."""
_NUMBERED = re.compile(r"(DB|UDT|FB|SFB)\s*(\d{1,5})", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The type of a member.

    Attributes:
        name: an elementary type, or a declared one's name, without quotes; "" for a record written in place.
        length: of a text in characters; 0 where none is declared.
        bounds: first and last index of each dimension; () is no array.
        record: what is written in place.
        quoted: the name stood in quotes, so it is no elementary type.
    """

    name: str = ""
    length: Bound = 0
    bounds: tuple[tuple[Bound, Bound], ...] = ()
    record: Record | None = None
    quoted: bool = False


@dataclass(frozen=True, kw_only=True)
class Member:
    """A variable of a record.

    Attributes:
        name: without quotes.
        shape: its type.
        line: where it is declared.
        comment: what stands beside it.
        bit: its place as the file itself says it, in bits from the record's start; None where it does not.
        section: a number that grows with each section of a function block: sections begin at a word.
        by_reference: a parameter of which only a pointer is kept, unless it is elementary.
        view_of: the member whose bytes it shows once more (`AT`); "" for one with bytes of its own.
    """

    name: str
    shape: Shape
    line: int
    comment: str = ""
    bit: int | None = None
    section: int = 0
    by_reference: bool = False
    view_of: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Members in their order."""

    members: tuple[Member, ...]
    line: int


@dataclass(frozen=True, kw_only=True)
class Named:
    """A type or function block.

    Attributes:
        name: as declared.
        record: what it consists of.
        file: where it is declared.
        optimised: the file says that it has no offsets.
    """

    name: str
    record: Record
    file: PurePath
    optimised: bool = False


@dataclass(frozen=True, kw_only=True)
class DataBlock:
    """A data block.

    Attributes:
        name: as declared: `Press`, `DB 10`.
        shape: what it consists of: a record, a type, a function block, an array.
        file: where it is declared.
        line: same.
        number: of the block; None where the file does not say it.
        optimised: it has no offsets; None where the file does not say it.
    """

    name: str
    shape: Shape
    file: PurePath
    line: int
    number: int | None = None
    optimised: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Tag:
    """A single value. `address` is one that `parse_address` reads."""

    name: str
    address: str
    file: PurePath
    line: int
    comment: str = ""
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Station:
    """A PLC that a file names, with the tags read from it.

    `every` and `timeout` are in seconds; 0 where they are not told. `file` is None for the PLC that no file names.
    """

    name: str = ""
    file: PurePath | None = None
    line: int = 0
    address: str = ""
    port: int = 102
    rack: int = 0
    slot: int = 1
    tsap: tuple[str, str] | None = None
    every: float = 0.0
    timeout: float = 0.0
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, order=True)
class Remark:
    """A note with its file."""

    file: PurePath
    note: Note

    def __str__(self) -> str:
        """`Press.db:12: …`."""
        return f"{self.file}:{self.note.line}: {self.note.text}"


@dataclass(kw_only=True)
class Program:
    """What all files together say.

    Attributes:
        types: user-defined types and function blocks, by `key`.
        blocks: data blocks, in the order of the files.
        tags: of the one PLC that no file names.
        stations: PLCs that files name.
        constants: whole numbers by name in small letters, for bounds of arrays.
        symbols: what symbol tables call blocks and types: `press` is `db10`, both by `key`.
        announced: data blocks of symbol tables, by `key`: where, and their names.
        classic: it comes from STEP 7, where the CPU is in slot 2.
        every: seconds between two reads, 0 where no file says it.
        remarks: what was not taken, or taken otherwise; in order, each once.
    """

    types: dict[str, Named] = field(default_factory=dict)
    blocks: list[DataBlock] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    stations: list[Station] = field(default_factory=list)
    constants: dict[str, int] = field(default_factory=dict)
    symbols: dict[str, str] = field(default_factory=dict)
    announced: dict[str, tuple[PurePath, int, str]] = field(default_factory=dict)
    classic: bool = False
    every: float = 0.0
    remarks: dict[Remark, None] = field(default_factory=dict)

    def tell(self, file: PurePath, line: int, text: str) -> None:
        """Note something of a line, once."""
        self.remarks.setdefault(Remark(file, Note(line, plain(text))))

    def tell_each(self, file: PurePath, found: Sequence[tuple[int, str]]) -> None:
        """Note the same of many lines, in their order; where nobody would read them all, of the first ones."""
        for line, text in found[:_READ]:
            self.tell(file, line, text)
        if len(found) > _READ:
            line, text = found[_READ]
            more = f" (and so in {len(found) - _READ - 1} more places, up to line {found[-1][0]})"
            self.tell(file, line, text + more * (len(found) > _READ + 1))

    def add_constants(self, file: PurePath, found: Sequence[tuple[int, str, str]]) -> None:
        """Take a file's constants (line, name, value), which are no values of the PLC: whole ones may be bounds."""
        told = []
        for line, name, value in found:
            whole = _WHOLE.fullmatch(value) is not None
            if whole:
                self.constants.setdefault(name.strip().lower(), int(value))
            use = "it serves as a bound of arrays alone" if whole else "left out"
            told.append((line, f"{name}: is a constant, which is no value of the PLC; {use}"))
        self.tell_each(file, told)

    def add(self, tag: Tag, kind: str) -> None:
        """Take a tag of a declared type, at an address as programs write it; tells where it can't be read."""
        try:
            self.tags.append(replace(tag, address=address_of(tag.address, kind)))
        except ValueError as error:
            self.tell(tag.file, tag.line, f"{tag.name}: {error}; left out")

    def find(self, name: str) -> Named | None:
        """The type or function block of that name, or of what the symbol table calls so."""
        return self.types.get(key(name)) or self.types.get(self.symbols.get(key(name), ""))

    def numbered(self) -> Iterator[DataBlock]:
        """The data blocks, with their numbers where they or the symbol table have them."""
        for block in self.blocks:
            symbol = self.symbols.get(key(block.name), "")
            known = int(symbol[2:]) if re.fullmatch(r"db\d{1,5}", symbol) else None
            yield replace(block, number=block.number or known)


def key(name: str) -> str:
    """What a name is looked up by: names differ in more than their capitals, and `UDT 1` is `UDT1`."""
    match = _NUMBERED.fullmatch(name.strip())
    return f"{match[1]}{int(match[2])}".lower() if match else name.strip().lower()


def flat(name: str) -> str:
    """A name that a value may have: without dots, which mean a level below where frames are ingested."""
    return plain(name).replace(".", "_").replace("${", "$_{") or "unnamed"


def plain(text: str) -> str:
    """A text in one line, without what can't be printed."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def elementary(name: str) -> S7Type | None:
    """The S7 type of that name, or that a system type of TIA Portal is."""
    if name.upper() in ALIASES:
        return ALIASES[name.upper()]
    return next((ALIASES[kind] for pattern, kind in _SYSTEM if pattern.fullmatch(name)), None)


def address_of(place: str, kind: str) -> str:
    """Where a symbol lies, as `parse_address` reads it: `%MD20` and Real are `MD20:REAL`.

    Args:
        place: as TIA Portal or STEP 7 write it, German or English: `%I0.0`, `E      0.0`, `MW 20`, `T 5`.
        kind: the declared type.

    Raises:
        ValueError: it can't be read that way; says why.
    """
    match = _PLACE.fullmatch(re.sub(r"[\s%]", "", place))
    if match is None:
        raise ValueError(f"'{place.strip()}' is no address of a value")
    if match["peripheral"] or match["now"]:
        raise ValueError(f"'{place.strip()}' is the periphery itself, which can't be asked for; its process image can")
    if not match["db"] and match["area"].upper() in "CZT":
        return str(parse_address(f"{match['area']}{match['byte']}"))
    name, _, rest = kind.strip().partition("[")
    found = elementary(name)
    if found is None:
        raise ValueError(f"its type '{kind.strip()}' is none with a single value")
    told = f"{found.name}[{rest}" if rest else found.name
    parse_type(told)
    place = f"{match['byte']}.{match['bit'] or 0}" if found.is_bit else match["byte"]
    area = f"DB{match['db']}:" if match["db"] else match["area"]
    return str(parse_address(f"{area}{place}:{told}"))
