"""Tables of symbols: TIA Portal's as CSV and `.sdf`, STEP 7's as `.sdf`, `.asc` and CSV.

TIA Portal writes nine columns into an `.sdf`, STEP 7 four; an `.asc` has columns behind the number 126, the first
of 24 letters. In tables with a header (the sheet `PLC Tags`, saved as CSV) columns are found by their names.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import PurePath

from pipeline.errors import UsageError
from pipeline.importing.program import Program, Tag, key

__all__ = ["has_header", "header_of", "is_asc", "read_symbols", "rows"]

_ASC = re.compile(
    r"\d{3},(?P<name>.{24}\s*?)\s?(?P<address>(?:DB\d+\.)?[A-Z]+\s*\d+(?:\.\d+)?)"
    r"(?:\s+(?P<type>(?:DB|UDT|S?F[BC]|OB|VAT|SDB)\s+\d+|[A-Z_]\w*))?(?P<comment>.*)"
)
_BLOCK = re.compile(r"(DB|UDT|FB|SFB)\s*\d{1,5}", re.IGNORECASE)
_NO_DATA = re.compile(r"(FC|OB|SFC|VAT|SDB)\s*\d{1,5}|OB_\w+|FB|FC", re.IGNORECASE)
_COLUMNS = {
    **dict.fromkeys(("name", "symbol"), "name"),
    **dict.fromkeys(("logical address", "address", "adresse", "operand"), "address"),
    **dict.fromkeys(("data type", "datatype", "type", "datentyp"), "type"),
    **dict.fromkeys(("comment", "kommentar"), "comment"),
    "value": "value",
}
"""What columns are called, in small letters."""
_OF_TIA = 7
"""Columns of an `.sdf` from which on it is one of TIA Portal."""


@dataclass(frozen=True)
class _Symbol:
    line: int
    name: str
    address: str
    type: str
    comment: str
    value: str = ""


def read_symbols(text: str, file: PurePath, program: Program) -> None:
    """Take over a table of symbols: tags, constants, and the numbers of blocks.

    Raises:
        UsageError: it is no table.
    """
    program.classic = program.classic or is_asc(text)
    found = _asc(text, file, program) if is_asc(text) else _table(text, file, program)
    constants = []
    for symbol in found:
        if not symbol.name and not symbol.address:
            continue
        if symbol.value or symbol.address.upper() == "CONSTANT":
            constants.append((symbol.line, symbol.name, symbol.value))
        elif _BLOCK.fullmatch(symbol.address):
            program.symbols.setdefault(key(symbol.name), key(symbol.address))
            if key(symbol.address).startswith("db"):
                program.announced.setdefault(key(symbol.address), (file, symbol.line, symbol.name))
        elif not _NO_DATA.fullmatch(symbol.address):
            tag = Tag(name=symbol.name, address=symbol.address, file=file, line=symbol.line, comment=symbol.comment)
            program.add(tag, symbol.type)
    program.add_constants(file, constants)


def is_asc(text: str) -> bool:
    """Whether it is STEP 7's table with columns of fixed width."""
    return _ASC.match(text.lstrip("\r\n")) is not None


def has_header(text: str) -> bool:
    """Whether the first line names columns of a table of symbols, or of constants."""
    cells = re.split(r"[,;\t]", text.lstrip("\r\n").partition("\n")[0])
    named = {_COLUMNS.get(cell.strip(' "\r').lower()) for cell in cells}
    return {"name", "address"} <= named or {"name", "type", "value"} <= named


def rows(text: str, file: PurePath) -> Iterator[tuple[int, list[str]]]:
    """Lines and cells of a CSV, whatever parts its cells.

    Raises:
        UsageError: it is none.
    """
    first = text.lstrip("\r\n").partition("\n")[0]
    parting = max(",;\t", key=first.count)
    reader = csv.reader(StringIO(text.replace("\0", "")), delimiter=parting, skipinitialspace=True)
    try:
        for cells in reader:
            yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise UsageError(f"{file}:{reader.line_num}: this can't be read as a table: {error}; export it anew") from error


def header_of(cells: list[str]) -> dict[str, int]:
    """Columns by their names in small letters."""
    return {cell.lower(): n for n, cell in enumerate(cells)}


def _asc(text: str, file: PurePath, program: Program) -> Iterator[_Symbol]:
    for line, row in enumerate(text.splitlines(), 1):
        if match := _ASC.match(row):
            yield _Symbol(line, **{name: cell.strip() for name, cell in match.groupdict("").items()})
        elif row.strip():
            program.tell(file, line, "this line has no name, address and type; left out")


def _table(text: str, file: PurePath, program: Program) -> Iterator[_Symbol]:
    columns: Mapping[str, int] | None = None
    for line, cells in rows(text, file):
        header = header_of(cells)
        named = {_COLUMNS[name]: n for name, n in header.items() if name in _COLUMNS}
        if "name" in named and named.keys() & {"address", "value"}:
            columns = named
        elif columns is not None:
            told = {name: cells[n] for name, n in columns.items() if n < len(cells)}
            yield _Symbol(line, **{"name": "", "address": "", "type": "", "comment": "", **told})
        elif len(cells) >= _OF_TIA:
            yield _Symbol(line, cells[0], cells[1], cells[2], cells[6], cells[7] if len(cells) > _OF_TIA else "")
        elif len(cells) >= 3:  # noqa: PLR2004 - name, address, type
            program.classic = True
            yield _Symbol(line, cells[0], cells[1], cells[2], cells[3] if len(cells) > 3 else "")  # noqa: PLR2004 - and the comment
        elif any(cells):
            program.tell(file, line, "this line has no name, address and type; left out")
