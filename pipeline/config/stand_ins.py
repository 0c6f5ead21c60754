"""Values in place of those that are wrong or missing, so that what stands around them can be judged all the same."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, get_args, get_origin

import msgspec

from pipeline.config.convert import choices, is_options, members, shapes, unwrap, written
from pipeline.config.document import Entry, Listing, Record, Scalar, Value
from pipeline.units import Secret

__all__ = ["Reading", "default", "sample", "texts"]

_TEXTS = ("1", "1s", "1MiB", "true", "100", "name", "http://127.0.0.1", "1GiB", "1h", "false", "0", "127.0.0.1")


class Reading(enum.Enum):
    """What stands in for a value that can't be had. What is found in both readings is so whatever the value is."""

    ANY = "any value of its type"
    OTHER = "the option's default, or another value of its type"


def texts(hint: Any, reading: Reading | None) -> tuple[str, ...]:
    """Texts of which one is likely to be a value of the type."""
    allowed = [written(choice) for kind in _kinds(hint) for choice in choices(kind) or ()]
    # A secret is masked in the log from then on, unless it is that short.
    found = (*allowed, *_TEXTS) if Secret not in _kinds(hint) else ("1",)
    return found[::-1] if reading is Reading.OTHER else found


def sample(hint: Any, reading: Reading | None, fits: Callable[[Any, Value], bool]) -> Value | None:
    """Something that could stand in a file for a type, with an entry in lists and mappings.

    Args:
        hint: the type.
        reading: which of the values.
        fits: whether a value is of a type.

    Returns:
        The value, without a place; None where none is found.
    """
    base = min(_kinds(hint), key=lambda kind: "single value" not in shapes(kind), default=Any)
    inner = get_args(base)
    if "single value" in shapes(base):
        scalars = (Scalar(text, 0, 0) for text in texts(base, reading))
        return next((each for each in scalars if fits(hint, each)), None)
    if is_options(base):
        return _options(base, reading, fits)
    if "mapping" in shapes(base):
        key, value = (sample(each, reading, fits) for each in inner or (str, Any))
        return Record({key.text: Entry(value, 0, 0)} if isinstance(key, Scalar) and value is not None else {}, 0, 0)
    fixed = get_origin(base) is tuple and Ellipsis not in inner
    items = [sample(each, reading, fits) for each in (inner if fixed else inner[:1])]
    return Listing(tuple(item for item in items if item is not None), 0, 0)


def _options(base: Any, reading: Reading | None, fits: Callable[[Any, Value], bool]) -> Record:
    """Options with all that they can have; in the other reading, or where that doesn't fit, what they must have."""
    wanted: dict[str, Entry] = {}
    spare: dict[str, Entry] = {}
    for field in msgspec.structs.fields(base):
        if value := sample(field.type, reading, fits):
            (wanted if field.required else spare)[field.encode_name] = Entry(value, 0, 0)
    full = Record({**wanted, **spare}, 0, 0)
    return full if reading is not Reading.OTHER and fits(base, full) else Record(wanted, 0, 0)


def default(field: msgspec.structs.FieldInfo, otherwise: Any) -> Any:
    """What an option is where it is left out; something else where it can't be."""
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return otherwise if field.default is msgspec.NODEFAULT else field.default


def _kinds(hint: Any) -> list[Any]:
    """The alternatives of a type, without nothing."""
    kinds = [unwrap(member)[0] for member in members(unwrap(hint)[0])]
    return [kind for kind in kinds if kind is not type(None)]
