"""Dates, times and BCD: from what `struct` gives to a value, and back.

Dates are ISO 8601 texts: DATE `2024-02-29`; DATE_AND_TIME, DTL and LDT `2024-02-29T23:59:59.123` with 3, 9 and 9
decimals. A PLC's date has no zone: the text has no offset, unless the source names the zone in which the PLC's clock
runs (in the hour that a change from summer time repeats, the offset is the first one's). Durations and times of day
are integers: ms in S5TIME, TIMER and TIME_OF_DAY, ns in LTOD.

Sources: "Data types" of the SIMATIC S7-1200/1500 manual; for S5TIME, counters and timers "Ladder Logic for S7-300/400".
Each `read_…` raises ValueError with the reason for `bad`, each `write_…` with what the value would have to be.
"""

from __future__ import annotations

import re
import struct
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

__all__ = [
    "read_counter",
    "read_date",
    "read_date_and_time",
    "read_dtl",
    "read_ldt",
    "read_ltod",
    "read_s5time",
    "read_time_of_day",
    "write_counter",
    "write_date",
    "write_date_and_time",
    "write_dtl",
    "write_ldt",
    "write_ltod",
    "write_s5time",
    "write_time_of_day",
]

_BASES = (10, 100, 1000, 10_000)
_MOST = 999
_DAY_MS = 86_400_000
_DAY_NS = 86_400 * 10**9
_FIRST_DATE = date(1990, 1, 1)
_LAST_DATE = 0xFFFF
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a PLC's date has no zone
_DTL = struct.Struct(">HBBBBBBI")
_FIRST_DTL = 1970
_CENTURY = 90
_ISO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?", re.ASCII)
_WANTED = "a date and time without offset, such as 2024-02-29T23:59:59.123"


def read_s5time(raw: int, _: str) -> int:
    """S5TIME or a TIMER's rest, ms: three BCD digits, times the base in bits 12 and 13; bits 14 and 15 say nothing."""
    return _bcd(raw & 0xFFF, 3, raw) * _BASES[raw >> 12 & 3]


def write_s5time(value: Any, _: str, __: int) -> int:
    """The word of a duration in ms, in the finest base that can hold it."""
    for number, base in enumerate(_BASES):
        if isinstance(value, int) and value % base == 0 and 0 <= value // base <= _MOST:
            return number << 12 | _to_bcd(value // base)
    raise ValueError("0 to 9990000 ms, with three digits in steps of 10 ms, 100 ms, 1 s or 10 s")


def read_counter(raw: int, _: str) -> int:
    """A COUNTER's value: three BCD digits in bits 0 to 11; the others say nothing."""
    return _bcd(raw & 0xFFF, 3, raw)


def write_counter(value: Any, _: str, __: int) -> int:
    """The word of a COUNTER."""
    if not isinstance(value, int) or not 0 <= value <= _MOST:
        raise ValueError(f"0 to {_MOST}")
    return _to_bcd(value)


def read_time_of_day(raw: int, _: str) -> int:
    """TIME_OF_DAY, ms since midnight."""
    if raw >= _DAY_MS:
        raise ValueError(f"no time of day: {raw} ms")
    return raw


def write_time_of_day(value: Any, _: str, __: int) -> int:
    """The double word of a TIME_OF_DAY."""
    return _within(value, _DAY_MS)


def read_ltod(raw: int, _: str) -> int:
    """LTOD, ns since midnight."""
    if raw >= _DAY_NS:
        raise ValueError(f"no time of day: {raw} ns")
    return raw


def write_ltod(value: Any, _: str, __: int) -> int:
    """The eight bytes of an LTOD."""
    return _within(value, _DAY_NS)


def read_date(raw: int, _: str) -> str:
    """DATE: days since 1990-01-01."""
    return (_FIRST_DATE + timedelta(raw)).isoformat()


def write_date(value: Any, _: str, __: int) -> int:
    """The word of a DATE."""
    try:
        days = (date.fromisoformat(value) - _FIRST_DATE).days
    except (TypeError, ValueError):
        days = -1
    if not 0 <= days <= _LAST_DATE:
        raise ValueError("a date from 1990-01-01 to 2169-06-06")
    return days


def read_date_and_time(raw: bytes, zone: str) -> str:
    """DATE_AND_TIME: BCD, years 90 to 99 are of the last century; the weekday in the last digit says nothing more."""
    if not any(raw):
        raise ValueError("never set")
    year, month, day, hour, minute, second = (_bcd(byte, 2, raw) for byte in raw[:6])
    milliseconds = _bcd(raw[6], 2, raw) * 10 + _bcd(raw[7] >> 4, 1, raw)
    moment = _moment(year + (1900 if year >= _CENTURY else 2000), month, day, hour, minute, second)
    return _written(moment, f"{milliseconds:03}", zone)


def write_date_and_time(value: Any, _: str, __: int) -> bytes:
    """The eight bytes of a DATE_AND_TIME, weekday included (1 is Sunday)."""
    moment, fraction = _parse(value)
    if not 1900 + _CENTURY <= moment.year < 2000 + _CENTURY or fraction % 10**6:
        raise ValueError(f"{_WANTED}, from 1990 to 2089, in whole ms")
    milliseconds = fraction // 10**6
    parts = (moment.year % 100, moment.month, moment.day, moment.hour, moment.minute, moment.second, milliseconds // 10)
    return bytes([*map(_to_bcd, parts), milliseconds % 10 << 4 | _weekday(moment)])


def read_dtl(raw: bytes, zone: str) -> str:
    """DTL: binary parts, 12 bytes, the last four ns; the weekday in the middle says nothing more."""
    if not any(raw):
        raise ValueError("never set")
    year, month, day, _, hour, minute, second, fraction = _DTL.unpack(raw)
    if year < _FIRST_DTL or fraction >= 10**9:
        raise ValueError(f"no date and time: {raw.hex()}")
    return _written(_moment(year, month, day, hour, minute, second), f"{fraction:09}", zone)


def write_dtl(value: Any, _: str, __: int) -> bytes:
    """The twelve bytes of a DTL, weekday included (1 is Sunday)."""
    moment, fraction = _parse(value)
    if moment.year < _FIRST_DTL:
        raise ValueError(f"{_WANTED}, from 1970 on")
    date_parts = moment.year, moment.month, moment.day, _weekday(moment)
    return _DTL.pack(*date_parts, moment.hour, moment.minute, moment.second, fraction)


def read_ldt(raw: int, zone: str) -> str:
    """LDT: ns since 1970-01-01, up to 2262."""
    if raw < 0:
        raise ValueError(f"no date and time: {raw} ns")
    seconds, fraction = divmod(raw, 10**9)
    return _written(_EPOCH + timedelta(seconds=seconds), f"{fraction:09}", zone)


def write_ldt(value: Any, _: str, __: int) -> int:
    """The eight bytes of an LDT."""
    moment, fraction = _parse(value)
    nanoseconds = (moment - _EPOCH) // timedelta(seconds=1) * 10**9 + fraction
    if not 0 <= nanoseconds < 1 << 63:
        raise ValueError(f"{_WANTED}, from 1970 to 2262-04-11")
    return nanoseconds


def _bcd(raw: int, digits: int, whole: int | bytes) -> int:
    """A number of that many BCD digits, found in `whole`."""
    value = 0
    for shift in range(4 * digits - 4, -1, -4):
        digit = raw >> shift & 0xF
        if digit > 9:  # noqa: PLR2004 - the largest digit
            raise ValueError(f"not BCD: 0x{whole.hex() if isinstance(whole, bytes) else f'{whole:04x}'}")
        value = value * 10 + digit
    return value


def _to_bcd(number: int) -> int:
    return number // 100 << 8 | number // 10 % 10 << 4 | number % 10


def _within(value: Any, limit: int) -> int:
    if not isinstance(value, int) or not 0 <= value < limit:
        raise ValueError(f"0 to {limit - 1}")
    return value


def _moment(*parts: int) -> datetime:
    """The moment of year, month, day, hour, minute, second."""
    try:
        return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001 - six parts, and a PLC's date has no zone
    except ValueError:
        raise ValueError("no date and time: {}-{:02}-{:02} {:02}:{:02}:{:02}".format(*parts)) from None


def _written(moment: datetime, fraction: str, zone: str) -> str:
    text = (moment.replace(tzinfo=ZoneInfo(zone)) if zone else moment).isoformat()
    return f"{text[:19]}.{fraction}{text[19:]}"


def _parse(value: Any) -> tuple[datetime, int]:
    """A text as whole seconds and ns."""
    match = _ISO.fullmatch(value) if isinstance(value, str) else None
    try:
        return datetime.fromisoformat(match[1]), int((match[2] or "").ljust(9, "0"))  # type: ignore[index]  # see below
    except (TypeError, ValueError):  # no match is a TypeError
        raise ValueError(_WANTED) from None


def _weekday(moment: datetime) -> int:
    return moment.isoweekday() % 7 + 1
