"""Tags of Kepware's S7 drivers, as its CSV export has them: address, type, scaling, unit, description.

The address says size and often the type (`DB1,REAL4`); where it says only a size (`DB1.DBW2`), the data type decides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from math import isfinite, prod
from pathlib import PurePath

from pipeline.importing.program import Program, Tag
from pipeline.importing.symbol_table import header_of, rows
from pipeline.s7.address import parse_address
from pipeline.units import Duration

__all__ = ["is_kepware", "read_kepware"]

_ADDRESS = re.compile(
    r"(?:(DB\d{1,5})[.,](?:DB)?|(?=[MIQEATCZ]))([A-Z]+?)(\d{1,6})(?:\.(\d{1,5}))?((?:\[\d{1,5}\]){0,2})",
    re.IGNORECASE,
)
_TYPES = {
    "boolean": "BOOL",
    "byte": "BYTE",
    "char": "SINT",
    "short": "INT",
    "word": "WORD",
    "long": "DINT",
    "dword": "DWORD",
    "llong": "LINT",
    "qword": "LWORD",
    "float": "REAL",
    "double": "LREAL",
}
"""What a tag is, by Kepware's data types in small letters."""
_SIZES = {"": "BOOL", "X": "BOOL", "B": "BYTE", "BYTE": "BYTE", "W": "WORD", "WORD": "WORD", "D": "DWORD"}
_SIZES |= {"DWORD": "DWORD", "LW": "LWORD", "LWORD": "LWORD"}
_LETTERS = {"C": "CHAR", "I": "INT", "DI": "DINT", "R": "REAL", "DT": "DATE_AND_TIME", "KT": "S5TIME"}
_WIDTHS = {"BOOL": 0, "BYTE": 1, "SINT": 1, "WORD": 2, "INT": 2, "DWORD": 4, "DINT": 4, "REAL": 4}
_WIDTHS |= {"LWORD": 8, "LINT": 8, "LREAL": 8}
_DECIMAL = {"bcd": 2, "lbcd": 4}
"""Data types of Kepware that no type here is, with their bytes."""
_TOLD = {"", "default", "string", "date"}
"""Data types that leave it to the address."""
_LINEAR = ("raw low", "raw high", "scaled low", "scaled high")


def is_kepware(text: str) -> bool:
    """Whether a CSV has Kepware's header."""
    first = text.lstrip().partition("\n")[0].lower()
    return "tag name" in first and "address" in first


def read_kepware(text: str, file: PurePath, program: Program) -> None:
    """Take over the tags.

    Raises:
        UsageError: it is no table.
    """
    columns: dict[str, int] = {}
    rates: Counter[int] = Counter()
    for line, cells in rows(text, file):
        if not columns or (cells and cells[0].lower() == "tag name"):
            columns = header_of(cells)
            continue
        told = {name: cells[n] for name, n in columns.items() if n < len(cells)}
        if not any(cells) or told.get("tag name", "").startswith("_"):  # Kepware's own
            continue
        try:
            tag = _tag(told, file, line, program)
        except ValueError as error:
            program.tell(file, line, f"{told.get('tag name', '')}: {error}; left out")
            continue
        program.tags.append(tag)
        if told.get("scan rate", "").isdecimal():
            rates[int(told["scan rate"][:9])] += 1
    _rate(rates, file, program)


def _rate(rates: Counter[int], file: PurePath, program: Program) -> None:
    """One period for all, since each source is a connection of its own."""
    if not rates:
        return
    usual, _ = rates.most_common(1)[0]
    program.every = min(max(usual / 1000, 0.01), 3600.0)
    if len(rates) > 1:
        others = ", ".join(f"{rate} ms" for rate in sorted(rates) if rate != usual)
        text = f"scan rates differ ({usual} ms, {others}): all are read every {Duration(program.every)}"
        program.tell(file, 1, text)


def _tag(told: Mapping[str, str], file: PurePath, line: int, program: Program) -> Tag:
    """One tag.

    Raises:
        ValueError: it can't be taken; says why.
    """
    name, kind = told.get("tag name", ""), told.get("data type", "")
    if told.get("client access", "").upper() in {"WO", "W"}:
        raise ValueError("it is only written")
    address = _address(told.get("address", ""), kind)
    scale, offset = _scaling(told, name, file, line, program)
    return Tag(
        name=name,
        address=address,
        file=file,
        line=line,
        comment=told.get("description", ""),
        unit=told.get("eng units", ""),
        scale=scale,
        offset=offset,
    )


def _address(text: str, kind: str) -> str:
    match = _ADDRESS.fullmatch(re.sub(r"\s", "", text))
    if match is None:
        raise ValueError(f"'{text}' is no address of an S7 PLC that can be read")
    block, letters, byte, extra, count = (part or "" for part in match.groups())
    letters = letters.upper()
    area, size = ("", letters) if block else (letters[0], letters[1:])
    if not block and letters in {"T", "C", "Z"}:
        return str(parse_address(f"{letters}{byte}"))
    wanted = _wanted(kind)
    found = _SIZES.get(size) or _LETTERS.get(size, size)
    if wanted and found != "REAL" and _WIDTHS[wanted] == _WIDTHS.get(found):
        found = wanted
    elif size in _SIZES and kind.lower() not in {"", "default", "boolean"} and not extra:
        raise ValueError(f"'{text}' and {kind} are of two sizes")
    if extra and found not in {"BOOL", "STRING"}:
        found = "BOOL"  # a bit of a byte, word or double word
    if found == "STRING":
        return _string(block, byte, extra)
    place = _bit(size, byte, extra) if found == "BOOL" else byte
    # Rows of columns lie one behind the other, as one array does.
    length = f"[{prod(map(int, re.findall(r'[0-9]+', count)))}]" if count else ""
    return str(parse_address(f"{block}:{place}:{found}{length}" if block else f"{area}{place}:{found}{length}"))


def _wanted(kind: str) -> str:
    """What the data type says; "" where the address has to."""
    name = kind.lower().removesuffix(" array")
    if width := _DECIMAL.get(name):
        raise ValueError(f"{kind}, {width} bytes of decimal digits, is none of the types that are read here")
    if name not in _TYPES and name not in _TOLD:
        raise ValueError(f"'{kind}' is none of Kepware's data types")
    return _TYPES.get(name, "")


def _string(block: str, byte: str, length: str) -> str:
    if not block:
        raise ValueError("a STRING lies in a data block")
    return str(parse_address(f"{block}:{byte}:STRING[{length or 254}]"))


def _bit(size: str, byte: str, bit: str) -> str:
    """Where a bit of a larger value lies: bits are counted from the lowest, and the last byte holds that one."""
    width = max(_WIDTHS.get(_SIZES.get(size, ""), 0), 1)
    number = int(bit or 0)
    if number >= width * 8:
        raise ValueError(f"bit {number} does not exist there")
    return f"{int(byte) + width - 1 - number // 8}.{number % 8}"


def _scaling(told: Mapping[str, str], name: str, file: PurePath, line: int, program: Program) -> tuple[float, float]:
    """Factor and offset; what else Kepware does to a value is told."""
    kind = told.get("scaling", "")
    scale, offset = 1.0, 0.0
    if kind.lower() == "linear":
        low, high, scaled_low, scaled_high = (_float(told.get(column, "")) for column in _LINEAR)
        if high == low or scaled_high == scaled_low:
            raise ValueError("its scaling has no range")
        scale = (scaled_high - scaled_low) / (high - low)
        offset = scaled_low - low * scale
    elif kind and kind.lower() != "none":
        program.tell(file, line, f"{name}: scaling '{kind}' is not linear; the raw value is read")
    if kind and any(told.get(column, "") == "1" for column in ("clamp low", "clamp high")):
        program.tell(file, line, f"{name}: is not clamped")
    if told.get("negate value", "") == "1":
        scale, offset = -scale, -offset
    return scale, offset


def _float(text: str) -> float:
    with suppress(ValueError):
        if isfinite(value := float(text)):
            return value
    raise ValueError(f"'{text}' is no number to scale by")
