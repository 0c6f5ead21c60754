"""What kind of export a file is, by what is in it; and who reads it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePath

from pipeline.errors import UsageError
from pipeline.importing.kepware import is_kepware, read_kepware
from pipeline.importing.node_red import read_flows
from pipeline.importing.openness import read_markup
from pipeline.importing.program import Program
from pipeline.importing.source_text import read_source
from pipeline.importing.symbol_table import has_header, is_asc, read_symbols

__all__ = ["is_configuration", "read_file"]

_LARGEST = 16 << 20
_SOURCE = re.compile(r"(?im)^[^\S\n]*(DATA_BLOCK|TYPE|FUNCTION_BLOCK|FUNCTION|ORGANIZATION_BLOCK)\b")
_SYMBOL = re.compile(
    r'^[^\n]*[,;\t][^\S\t]*"?(%|[MIQEATCZ][BWD]?\s*\d|P[IQEA]|CONSTANT|(DB|FB|FC|OB|UDT|SF[BC]|VAT)\s*\d)'
)
_KNOWN = (
    "sources of TIA Portal (.db, .udt, .scl) and STEP 7 (.awl), tag tables (.xml, .csv, .sdf, .asc), "
    "Kepware's .csv, Node-RED's .json, the first agent's config.yaml"
)
Reader = Callable[[str, PurePath, Program], None]


def is_configuration(file: Path) -> bool:
    """Whether it is the first agent's configuration, by its name."""
    return file.suffix.lower() in {".yaml", ".yml"}


def read_file(file: Path, program: Program) -> None:
    """Take over what a file declares.

    Raises:
        UsageError: it can't be read, or is none of the known kinds.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"'{file}' can't be read: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise UsageError(f"'{file}' is longer than {_LARGEST >> 20} MiB; is it the right file?")
    if data.startswith(b"PK"):
        hint = "save its sheet as CSV, or let TIA Portal export the table as .xml or .sdf"
        raise UsageError(f"'{file}' is a workbook or an archive; {hint}")
    text = _decode(data)
    _reader(text, file)(text, file, program)


def _decode(data: bytes) -> str:
    """Text by its byte order mark, else as UTF-8, else as Windows wrote it in the West."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _reader(text: str, file: Path) -> Reader:
    if text.lstrip().startswith("<"):
        return read_markup
    if text.lstrip().startswith(("[", "{")) and file.suffix.lower() in {".json", ".txt", ""}:
        return read_flows
    if is_kepware(text):
        return read_kepware
    if _SOURCE.search(text):
        return read_source
    if is_asc(text) or _SYMBOL.match(text) or has_header(text):
        return read_symbols
    raise UsageError(f"'{file}' is none of the files that can be imported: {_KNOWN}")
