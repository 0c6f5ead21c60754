"""Values that an S7 type can hold, for tests that try any of them."""

from datetime import datetime, timedelta

from hypothesis import strategies as st

from pipeline.s7.types import S7Type

_DECIMALS = {"DATE_AND_TIME": 3, "DTL": 9, "LDT": 9}
_FIRST = datetime(1990, 1, 1)  # noqa: DTZ001 - a PLC's date has no zone
_LAST = _FIRST.replace(year=2089, month=12, day=31)


def values(kind: S7Type, length: int = 0) -> st.SearchStrategy:
    """Values of one element, as the decoder gives them; `length` is a text's declared one."""
    if kind.is_bit:
        return st.booleans()
    if kind.value is float:
        return st.floats(allow_nan=False, allow_infinity=False, width=8 * kind.size)
    return _integers(kind) if kind.is_integer else _texts(kind, length)


def _integers(kind: S7Type) -> st.SearchStrategy:
    if kind.name in ("S5TIME", "TIMER"):
        bases = st.sampled_from([10, 100, 1000, 10_000])
        return st.builds(lambda base, digits: base * digits, bases, st.integers(0, 999))
    signed = kind.code.islower()
    bits = 8 * kind.size - signed
    most = {"COUNTER": 999, "TIME_OF_DAY": 86_399_999, "LTOD": 86_400 * 10**9 - 1}.get(kind.name, 2**bits - 1)
    return st.integers(-(2**bits) if signed else 0, most)


def _texts(kind: S7Type, length: int) -> st.SearchStrategy:
    if kind.name == "DATE":
        return st.integers(0, 65535).map(lambda days: (_FIRST + timedelta(days)).date().isoformat())
    if kind.name in _DECIMALS:
        return st.builds(
            lambda moment, fraction: f"{moment.replace(microsecond=0).isoformat()}.{fraction}",
            st.datetimes(_FIRST, _LAST),
            st.text("0123456789", min_size=_DECIMALS[kind.name], max_size=_DECIMALS[kind.name]),
        )
    wide = kind.name.startswith("W")
    characters = st.characters(max_codepoint=0xFFFF if wide else 0xFF, exclude_categories=["Cs"])
    return st.text(characters, min_size=not length, max_size=length or 1)
