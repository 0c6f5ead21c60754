"""Characters and texts: from the bytes that `struct` gives to a str, and back.

CHAR and STRING hold bytes, read by the field's charset; WCHAR and WSTRING hold UTF-16 (big-endian). A STRING begins
with two bytes, a WSTRING with two words: the declared maximum and the length in use, both in characters. Source:
"Data types" of the SIMATIC S7-1200/1500 manual.

Each `read_…` raises ValueError with the reason for `bad`, each `write_…` with what the value would have to be.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "read_char",
    "read_string",
    "read_wchar",
    "read_wstring",
    "write_char",
    "write_string",
    "write_wchar",
    "write_wstring",
]

_UTF16 = "utf-16-be"


def read_char(raw: bytes, charset: str) -> str:
    """One CHAR."""
    try:
        return raw.decode(charset)
    except UnicodeDecodeError as error:
        raise ValueError(f"not {charset}: byte 0x{raw[error.start]:02x}") from error


def read_string(raw: bytes, charset: str) -> str:
    """A STRING. A maximum of 0 is a text that the program never wrote; one longer than its maximum is none at all."""
    length, limit = raw[1], min(raw[0], len(raw) - 2)
    if length > limit:
        raise ValueError(f"string length {length} exceeds {limit}")
    return read_char(raw[2 : 2 + length], charset)


def read_wchar(raw: bytes, _: str) -> str:
    """One WCHAR, or what a WSTRING holds."""
    try:
        return raw.decode(_UTF16)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-16: half a surrogate pair, 0x{raw[error.start : error.start + 2].hex()}") from error


def read_wstring(raw: bytes, charset: str) -> str:
    """A WSTRING; see `read_string`."""
    length, limit = int.from_bytes(raw[2:4], "big"), min(int.from_bytes(raw[:2], "big"), len(raw) // 2 - 2)
    if length > limit:
        raise ValueError(f"string length {length} exceeds {limit}")
    return read_wchar(raw[4 : 4 + 2 * length], charset)


def write_char(value: Any, charset: str, _: int) -> bytes:
    """The byte of a CHAR."""
    raw = _encode(value, charset, charset)
    if len(raw) != 1:
        raise ValueError("one character")
    return raw


def write_string(value: Any, charset: str, length: int) -> bytes:
    """The bytes of a STRING[length]: maximum, length in use, characters, zeros to the end."""
    raw = _encode(value, charset, charset)
    if len(raw) > length:
        raise ValueError(f"at most {length} characters")
    return (bytes([length, len(raw)]) + raw).ljust(2 + length, b"\0")


def write_wchar(value: Any, _: str, __: int) -> bytes:
    """The word of a WCHAR."""
    raw = _encode(value, _UTF16, "UTF-16")
    if len(raw) != 2:  # noqa: PLR2004 - what is beyond U+FFFF takes two words
        raise ValueError("one character up to U+FFFF")
    return raw


def write_wstring(value: Any, _: str, length: int) -> bytes:
    """The bytes of a WSTRING[length]; a character beyond U+FFFF counts as two."""
    raw = _encode(value, _UTF16, "UTF-16")
    if len(raw) > 2 * length:
        raise ValueError(f"at most {length} characters")
    return (length.to_bytes(2, "big") + (len(raw) // 2).to_bytes(2, "big") + raw).ljust(4 + 2 * length, b"\0")


def _encode(value: Any, charset: str, name: str) -> bytes:
    if not isinstance(value, str):
        raise ValueError("text")  # noqa: TRY004 - one kind of error for every value that doesn't fit
    try:
        return value.encode(charset)
    except UnicodeEncodeError:
        raise ValueError(f"text in {name}") from None
