"""What the types of options mean in a file: how they are written, what converts to them, which bounds they keep."""

from __future__ import annotations

import enum
import math
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from pipeline.config.document import Listing, Plain, Record, Scalar, Value, resolve
from pipeline.errors import nearest
from pipeline.units import Duration, Secret, Size, Topic

__all__ = [
    "MismatchError",
    "Text",
    "bounds",
    "choices",
    "convert",
    "expected",
    "expected_of",
    "is_options",
    "is_union",
    "members",
    "pattern_words",
    "rank",
    "shape",
    "shapes",
    "unwrap",
    "written",
]


class MismatchError(ValueError):
    """A scalar that isn't of the wanted type."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class Text:
    """A scalar with its variables filled in.

    Attributes:
        text: the text.
        value: what it means: a plain scalar by YAML's rules; quoted and substituted ones are text.
        loose: substituted, so it may convert.
        clear: nothing of it came from the environment.
    """

    text: str
    value: Plain
    loose: bool
    clear: bool

    def __str__(self) -> str:
        """As a message names it."""
        if self.value is None:
            return "nothing"
        if isinstance(self.value, bool):
            return f"{str(self.value).lower()}"
        if isinstance(self.value, str):
            return f"the text '{self.text[:80]}'" if self.text else "an empty text"
        return f"the number {self.text[:80]}"


def unwrap(hint: Any) -> tuple[Any, tuple[msgspec.Meta, ...]]:
    """A type without `Annotated`, and its `Meta`s."""
    if get_origin(hint) is Annotated:
        base, *extras = get_args(hint)
        inner, metas = unwrap(base)
        return inner, (*metas, *(extra for extra in extras if isinstance(extra, msgspec.Meta)))
    return hint, ()


def is_union(base: Any) -> bool:
    """Whether a type is `A | B` or `Optional`."""
    return get_origin(base) in (Union, types.UnionType)


def is_options(base: Any) -> bool:
    """Whether a type is an options class."""
    return isinstance(base, type) and issubclass(base, msgspec.Struct)


def members(base: Any) -> tuple[Any, ...]:
    """The alternatives of a union; a type that is none is its only one."""
    return get_args(base) if is_union(base) else (base,)


def shape(value: Value) -> str:
    """What a value is in YAML."""
    return {Scalar: "single value", Listing: "list", Record: "mapping"}[type(value)]


@cache
def shapes(base: Any) -> frozenset[str]:
    """In which of YAML's shapes a type may be written."""
    origin = get_origin(base) or base
    if base is Any:
        return frozenset({"single value", "list", "mapping"})
    if is_union(base):
        return frozenset(found for member in members(base) for found in shapes(unwrap(member)[0]))
    if base is Secret:
        return frozenset({"single value", "mapping"})
    if is_options(base) or origin in (dict, Mapping):
        return frozenset({"mapping"})
    return frozenset({"list" if origin in (list, tuple, set, frozenset, Sequence, AbstractSet) else "single value"})


_ORDER = {type(None): 0, bool: 1, int: 2, float: 3, str: 9}


def rank(base: Any) -> int:
    """Specific types are tried before text, which takes anything."""
    return _ORDER.get(base, 8 if isinstance(base, type) and issubclass(base, PurePath) else 4)


def choices(base: Any) -> list[Any] | None:
    """The allowed values of an enum or Literal, None for other types."""
    if get_origin(base) is Literal:
        return list(get_args(base))
    return list(base) if isinstance(base, type) and issubclass(base, enum.Enum) else None


def written(choice: Any) -> str:
    """A choice as it stands in a file."""
    return str(choice.value if isinstance(choice, enum.Enum) else choice)


_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Duration: "a duration such as 500ms",
    Size: "a size such as 64MiB",
    Topic: "a topic",
    Secret: "a secret",
    type(None): "nothing",
}


def expected(base: Any) -> str:
    """A type as a message names it."""
    base, _ = unwrap(base)
    if is_union(base):
        return expected_of(members(base))
    if (allowed := choices(base)) is not None:
        return "one of " + ", ".join(written(choice) or '""' for choice in allowed)
    if isinstance(base, type) and issubclass(base, PurePath):
        return "a path"
    if base in _NAMES:
        return _NAMES[base]
    return "a " + " or a ".join(sorted(shapes(base)))


def expected_of(types_: Iterable[Any]) -> str:
    """Alternatives as a message names them."""
    return " or ".join(dict.fromkeys(expected(base) for base in types_ if base is not type(None)))


def convert(base: Any, text: Text) -> Any:
    """A scalar as a type.

    Raises:
        MismatchError: it isn't one; the message says what was found and what is allowed.
    """
    if base is Any:
        return text.value
    if base is type(None):
        if text.value is None or (text.loose and not text.text):
            return None
        raise MismatchError(f"must be nothing, found {text}")
    if text.value is None:
        raise MismatchError("has no value", f"write {expected(base)}, or remove the line")
    if choices(base) is not None:
        return _choose(base, text)
    return _number(base, text) if base in (bool, int, float) else _text(base, text)


def _text(base: Any, text: Text) -> Any:
    """A text as it stands, or as its type reads it; a plain number is taken as written: `at: 0.10`."""
    if "\0" in text.text:
        raise MismatchError("has a NUL character, which no path or name can have", "take the \\0 out")
    if hasattr(base, "parse"):
        try:
            parsed = base.parse(text.text)
        except (ValueError, OverflowError) as error:
            raise MismatchError(str(error)) from error
        if not isinstance(parsed, float) or math.isfinite(parsed):
            return parsed
    elif base is str or (text.text and isinstance(base, type) and issubclass(base, PurePath)):
        return base(text.text)
    raise MismatchError(f"must be {expected(base)}, found {text}")


def _choose(base: Any, text: Text) -> Any:
    allowed = choices(base) or []
    for choice in allowed:
        if written(choice) == text.text:
            return choice
    similar = nearest(text.text, [written(choice) for choice in allowed])
    raise MismatchError(f"must be {expected(base)}, found {text}", f"did you mean '{similar}'?" if similar else "")


_SWITCH = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def _number(base: Any, text: Text) -> Any:
    """True or false, a whole number, a number. Only what came from a variable converts from text."""
    stripped = text.text.strip()
    meant = resolve(stripped) if isinstance(text.value, str) else text.value
    if base is bool:
        switch = _SWITCH.get(stripped.lower())
        if isinstance(text.value, bool) or (text.loose and switch is not None):
            return text.value if isinstance(text.value, bool) else switch
        hint = f"write {str(switch).lower()} without quotes" if switch is not None and not text.loose else ""
        raise MismatchError(f"must be true or false, found {text}", hint)
    fits = isinstance(meant, int if base is int else (int, float)) and not isinstance(meant, bool)
    if fits and (text.loose or not isinstance(text.value, str)):
        number = _finite(base, meant)
        if number is not None:
            return number
    hint = f"write it without quotes: {stripped}" if fits and isinstance(text.value, str) else ""
    raise MismatchError(f"must be {expected(base)}, found {text}", hint)


def _finite(base: Any, number: Any) -> Any:
    """The number as an int or float, None when a float can't hold it."""
    try:
        converted = base(number)
    except OverflowError:
        return None
    return converted if base is int or math.isfinite(converted) else None


def pattern_words(meta: msgspec.Meta) -> str:
    """What a text must be by a type's pattern: in words where its `Meta` has them, which editors show too."""
    return str((meta.extra_json_schema or {}).get("patternErrorMessage", f"must match {meta.pattern}"))


def bounds(value: Any, meta: msgspec.Meta) -> Iterator[str]:
    """What of a type's `Meta` bounds a value breaks, in words."""

    def say(bound: Any) -> str:
        return str(type(value)(bound)) if isinstance(value, Duration | Size) else str(bound)

    if isinstance(value, int | float) and not isinstance(value, bool):
        for sign, bound, holds in (
            (">", meta.gt, meta.gt is None or value > meta.gt),
            (">=", meta.ge, meta.ge is None or value >= meta.ge),
            ("<", meta.lt, meta.lt is None or value < meta.lt),
            ("<=", meta.le, meta.le is None or value <= meta.le),
        ):
            if not holds:
                yield f"must be {sign} {say(bound)}, got {value}"
        if meta.multiple_of is not None and value % meta.multiple_of:
            yield f"must be a multiple of {say(meta.multiple_of)}, got {value}"
    if isinstance(value, str) and meta.pattern is not None and not re.search(meta.pattern, value):
        yield f"{pattern_words(meta)}, got '{value[:80]}'"
    if isinstance(value, str | list | tuple | dict | set | frozenset):
        unit = "characters" if isinstance(value, str) else "entries"
        if meta.min_length is not None and len(value) < meta.min_length:
            yield f"must have at least {meta.min_length} {unit}, has {len(value)}"
        if meta.max_length is not None and len(value) > meta.max_length:
            yield f"must have at most {meta.max_length} {unit}, has {len(value)}"
