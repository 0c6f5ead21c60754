"""Values as people write them in graph files: `500ms`, `1GiB`, topics, and secrets that never show themselves."""

from __future__ import annotations

import errno
import math
import re
from pathlib import Path
from typing import Self

from pipeline.log import hide

__all__ = ["Duration", "Secret", "Size", "Topic"]

_DURATION = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("k", "M", "G", "T"), 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
}
# A bare one only: `${PLC_ID:-x}` has a default, so its author means the environment; `$${PLC_ID}` is literal text.
_OF_FRAME = re.compile(r"(?<!\$)\$\{(TENANT_ID|PLC_ID)\}")
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)")
_LARGEST = 1 << 63
"""Bytes from which on no file system counts."""


class Duration(float):
    """A time span in seconds, written `500ms`, `1s`, `1.5h`, `7d`, or joined: `1h30m`. Zero needs no unit."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a duration.

        Raises:
            ValueError: no number, no unit, or an unknown one; the message names what is allowed.
        """
        if text.strip() == "0":
            return cls(0.0)
        total, end = 0.0, 0
        text = text.strip()
        for match in _QUANTITY.finditer(text):
            if match.start() != end or match[2] not in _DURATION:
                break
            total += float(match[1]) * _DURATION[match[2]]
            end = match.end()
        if not text or end != len(text) or math.isinf(total):
            units = ", ".join(_DURATION)
            raise ValueError(f"'{text[:40]}' is not a duration; write a number and a unit ({units}): 500ms")
        return cls(total)

    def __str__(self) -> str:
        """The shortest way to write it with one unit: `1.5h`, `20ms`."""
        for unit in ("d", "h", "m", "s", "ms"):
            if self >= _DURATION[unit]:
                return f"{self / _DURATION[unit]:g}{unit}"
        return f"{self / 1e-6:g}us" if self else "0s"


class Size(int):
    """A number of bytes, written `64KiB`, `1GiB`, `500MB`. Zero needs no unit."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a size.

        Raises:
            ValueError: no number, no unit, an unknown one, or 8 EiB and more; the message names what is allowed.
        """
        if text.strip() == "0":
            return cls(0)
        match = _QUANTITY.fullmatch(text.strip())
        unit = {name.lower(): name for name in _SIZE}.get(match[2].lower()) if match else None
        if match is None or unit is None:
            raise ValueError(f"'{text[:40]}' is not a size; write a number and a unit ({', '.join(_SIZE)}): 64MiB")
        if float(match[1]) * _SIZE[unit] >= _LARGEST:
            raise ValueError(f"'{text[:40]}' is more than any disk holds; write a smaller one: 64MiB")
        return cls(float(match[1]) * _SIZE[unit])

    def __str__(self) -> str:
        """The shortest way to write it with one binary unit: `1.5GiB`."""
        for unit in ("TiB", "GiB", "MiB", "KiB"):
            if self >= _SIZE[unit]:
                return f"{self / _SIZE[unit]:.4g}{unit}"
        return f"{int(self)}B"


class Topic(str):
    """A topic template: `{tenant_id}`, `{plc_id}`, `{db}`, `{measurement}` and tags are filled from each frame."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a template; `${TENANT_ID}` and `${PLC_ID}` mean `{tenant_id}` and `{plc_id}`, never the environment."""
        return cls(_OF_FRAME.sub(lambda match: f"{{{match[1].lower()}}}", text))


class Secret:
    """A password or token: `***` everywhere, also in the log; `reveal()` reads it, from its file each time if any."""

    __slots__ = ("_file", "_text")

    def __init__(self, text: str = "", file: Path | None = None) -> None:
        hide(text)
        self._text = text
        self._file = file

    def __bool__(self) -> bool:
        """True when there is something to reveal."""
        return bool(self._text or self._file)

    def __eq__(self, other: object) -> bool:
        """Equal when made of the same text or file."""
        return isinstance(other, Secret) and (self._text, self._file) == (other._text, other._file)

    def __hash__(self) -> int:
        """By content, like `__eq__`."""
        return hash((self._text, self._file))

    def __repr__(self) -> str:
        """Never the secret."""
        return "***" if self else "''"

    @property
    def in_file(self) -> bool:
        """Whether it stands in a file, which may change."""
        return self._file is not None

    def reveal(self) -> str:
        """The secret itself; a file is read anew, so that a rotated secret counts from the next connection.

        Raises:
            OSError: its file can't be read, or is not UTF-8.
        """
        if self._file is not None:
            try:
                text = self._file.read_text(encoding="utf-8").strip()
            except UnicodeDecodeError:
                # Without Python's words, which show some of it.
                raise OSError(errno.EILSEQ, "is not UTF-8", str(self._file)) from None
            hide(text)
            return text
        return self._text
