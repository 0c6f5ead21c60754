"""From a block's bytes to named values, by one function generated for each layout.

The loop over fields runs once, when the function is made: it becomes one precompiled `struct` whose pad bytes skip what
nobody asked for, and the copy of a dict that has all keys, which is filled. A healthy block costs no branch per field:
NaN and infinities show in a sum (`s * 0.0` is 0 only when all its terms are finite), and only then are they looked for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, isfinite, isnan
from typing import Any, cast

from pipeline.frame import Scalar
from pipeline.s7.address import Address
from pipeline.s7.types import S7Type

__all__ = ["Decoder", "Leaf", "compile_decoder", "leaves_of"]

Decoder = Callable[[bytes], tuple[dict[str, Scalar], dict[str, str] | None]]
"""From the bytes of the whole block to its values and, by name, why a value is absent (None when none is)."""

_NAMED = 64
"""Values up to which a name for each, stored one by one, is faster than places and one update (measured)."""

_RUN = 4
"""Neighbours in the unpacked tuple from which a slice is taken rather than each by its index."""


@dataclass(frozen=True)
class Leaf:
    """One scalar of a block.

    Attributes:
        name: flat, unique in its block.
        type: what stands there.
        byte: its first byte, counted from the block's start.
        bit: 0 to 7; 0 for all but BOOL.
        size: bytes that it takes.
        length: declared length of a text, else 0.
        unit: for people: "mm/s".
        scale: the number read is multiplied by it.
        offset: and this is added.
        description: for people.
        text: an integer is given as decimal text.
        charset: how a text's bytes are read.
        enum: the texts of its numbers, as pairs; empty when the number itself is the value.
        timezone: zone in which the PLC's clock runs, for dates; "" gives them without offset.
    """

    name: str
    type: S7Type
    byte: int
    bit: int
    size: int
    length: int = 0
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    description: str = ""
    text: bool = False
    charset: str = "latin-1"
    enum: tuple[tuple[int, str], ...] = ()
    timezone: str = ""

    @property
    def option(self) -> str:
        """What its type's converter takes."""
        return {"charset": self.charset, "timezone": self.timezone}.get(self.type.takes, "")

    @property
    def is_scaled(self) -> bool:
        """True when the value is not the number read."""
        return (self.scale, self.offset) != (1.0, 0.0)


def leaves_of(name: str, address: Address, separator: str = "_", first_index: int = 0) -> tuple[Leaf, ...]:
    """The leaf of a single tag, or one for each element when it is an array: `name_0`, `name_1`."""
    places = [address.type.place(address.byte, address.bit, index, address.length) for index in range(address.count)]
    size = address.type.extent(address.length)
    return tuple(
        Leaf(name if len(places) == 1 else f"{name}{separator}{index}", address.type, *place, size, address.length)
        for index, place in enumerate(places, first_index)
    )


class _Texts(dict[int, str]):
    """The texts of an enum; a number that has none says so."""

    def __missing__(self, number: int) -> str:
        raise ValueError(f"{number:d} has no text")


def compile_decoder(leaves: Sequence[Leaf]) -> Decoder:
    """Generate the function that decodes these leaves; they may overlap, and `values` keeps their order.

    The decoder takes the block's bytes from its start, at least as many as the last leaf needs (`struct.error`
    otherwise), so it is for complete blocks. REAL and LREAL that are NaN or infinite, bytes that are no text, date or
    BCD, and numbers without a text in their enum are absent from the values and named in `bad` with the reason.
    """
    patterns, slots = _plan(leaves)
    scope = _scope(leaves, patterns)
    few = len(leaves) <= _NAMED
    places = [f"t{index}" if few else f"t[{index}]" for index in range(len(slots))]
    row, bits = _row(leaves, slots) if few else (-1, {})
    lines = _name_bits([leaf for leaf in leaves if leaf.name not in bits], slots, scope) if few else []
    doubtful = any(leaf.enum or leaf.type.convert is not None for leaf in leaves)
    lines += ["bad = None"] if doubtful else []
    values: list[str] = []
    for number, leaf in enumerate(leaves):
        value = _expression(leaf, places[slots[_key(leaf)]], number, scope)
        if leaf.enum or leaf.type.convert is not None:
            lines += [
                f"try: v{number} = {value}",
                f"except ValueError as error: v{number} = None; bad = {{**(bad or {{}}), {leaf.name!r}: str(error)}}",
            ]
            value = f"v{number}"
        values.append(value)
    if few:
        stored = {leaf.name: value for leaf, value in zip(leaves, values, strict=True) if leaf.name not in bits}
        lines += [*_copy(row, bits, scope), *(f"values[{name!r}] = {value}" for name, value in stored.items())]
    else:
        lines += _update(leaves, values, slots)
    if strange := _strange(leaves, values, slots, places):
        known = "bad" if doubtful else None
        lines.append(f"if {strange}: return _without(values, _not_finite(values, {known}))")
    lines.append("return _without(values, bad)" if doubtful else "return values, None")
    targets = (["t"] if not few or "sum(t" in strange else []) + ([f"[{', '.join(places)}]"] if few else [])
    unpacked = " + ".join(f"_unpack{number}(data)" for number in range(len(patterns)))
    source = "".join(f" {line}\n" for line in (" = ".join((*targets, unpacked)), *lines))
    # Made of numbers and of names quoted by repr() only.
    exec(compile(f"def decode(data):\n{source}", "<decoder>", "exec"), scope)  # noqa: S102
    return cast("Decoder", scope["decode"])


def _scope(leaves: Sequence[Leaf], patterns: Sequence[str]) -> dict[str, Any]:
    """What the generated function calls."""
    names = tuple(leaf.name for leaf in leaves)
    unpacks = {f"_unpack{number}": struct.Struct(pattern).unpack_from for number, pattern in enumerate(patterns)}
    return {
        "_bits": _bits(tuple(range(8))),
        "_names": names,
        "_blank": dict.fromkeys(names),
        "_not_finite": _not_finite,
        "_without": _without,
        **unpacks,
    }


@cache
def _bits(wanted: tuple[int, ...]) -> tuple[tuple[bool, ...], ...]:
    """These bits of each byte there is."""
    return tuple(tuple(bool(byte >> bit & 1) for bit in wanted) for byte in range(256))


def _key(leaf: Leaf) -> tuple[int, str]:
    return leaf.byte, leaf.type.format(leaf.length)


def _plan(leaves: Sequence[Leaf]) -> tuple[list[str], Mapping[tuple[int, str], int]]:
    """The `struct` formats that together read every leaf, and where in their joined results each one is.

    One format is enough unless leaves overlap; bits of one byte share its place.
    """
    ends: list[int] = []
    formats: list[str] = []
    members: list[list[tuple[int, str]]] = []
    for byte, code in sorted({_key(leaf) for leaf in leaves}):
        number = next((number for number, end in enumerate(ends) if end <= byte), len(ends))
        if number == len(ends):
            ends.append(0)
            formats.append(">")
            members.append([])
        formats[number] += (f"{byte - ends[number]}x" if byte > ends[number] else "") + code
        ends[number] = byte + struct.calcsize(f">{code}")
        members[number].append((byte, code))
    joined = [key for group in members for key in group]
    return formats or [">"], {key: index for index, key in enumerate(joined)}


def _row(leaves: Sequence[Leaf], slots: Mapping[tuple[int, str], int]) -> tuple[int, dict[str, int]]:
    """The place of the byte of which the most bits are values as they are, and these by name."""
    plain = [leaf for leaf in leaves if leaf.type.is_bit and not leaf.enum]
    places = [slots[_key(leaf)] for leaf in plain]
    row = max(places, key=places.count, default=-1)
    return row, {leaf.name: leaf.bit for leaf, place in zip(plain, places, strict=True) if place == row}


def _name_bits(leaves: Sequence[Leaf], slots: Mapping[tuple[int, str], int], scope: dict[str, Any]) -> list[str]:
    """The lines that give each bit a name, `b<slot>_<bit>`: one look into a table for each byte."""
    wanted: dict[int, dict[int, None]] = {}
    for leaf in leaves:
        if leaf.type.is_bit:
            wanted.setdefault(slots[_key(leaf)], {})[leaf.bit] = None
    scope |= {f"_bits{slot}": _bits(tuple(bits)) for slot, bits in wanted.items()}
    return [f"[{', '.join(f'b{slot}_{bit}' for bit in bits)}] = _bits{slot}[t{slot}]" for slot, bits in wanted.items()]


def _copy(row: int, bits: Mapping[str, int], scope: dict[str, Any]) -> list[str]:
    """The lines that copy a dict with all keys, with the bits of one byte: one dict for each byte met."""
    if not bits:
        return ["values = _blank.copy()"]
    met: list[Any] = [None] * 256

    def meet(byte: int) -> dict[str, Scalar]:
        met[byte] = {**scope["_blank"], **{name: bool(byte >> bit & 1) for name, bit in bits.items()}}
        return dict(met[byte])

    scope |= {"_met": met, "_meet": meet}
    return [f"try: values = _met[t{row}].copy()", f"except AttributeError: values = _meet(t{row})"]


def _expression(leaf: Leaf, raw: str, number: int, scope: dict[str, Any]) -> str:
    """A leaf's value, of the expression of what stands there."""
    value = raw
    if leaf.type.convert is not None:
        scope[f"_convert{number}"] = leaf.type.convert
        value = f"_convert{number}({value}, {leaf.option!r})"
    if leaf.type.is_bit:
        value = f"{raw} & {1 << leaf.bit} != 0" if "[" in raw else f"b{raw[1:]}_{leaf.bit}"
    elif leaf.text:
        value = f"str({value})"
    else:
        value = f"{value} * {leaf.scale!r}" if leaf.scale != 1.0 else value
        value = f"{value} + {leaf.offset!r}" if leaf.offset else value
    if leaf.enum:
        scope[f"_texts{number}"] = _Texts(leaf.enum)
        value = f"_texts{number}[{value}]"
    return value


def _update(leaves: Sequence[Leaf], values: Sequence[str], slots: Mapping[tuple[int, str], int]) -> list[str]:
    """The lines that copy a dict which already has all keys, and update it by slices of what was unpacked."""
    places: list[tuple[str, int]] = []
    for leaf, value in zip(leaves, values, strict=True):
        index = slots[_key(leaf)]
        if leaf.type.is_bit and not leaf.enum:
            places.append((f"_bits[t[{index}]]", leaf.bit))
        else:
            places.append(("t", index) if value == f"t[{index}]" else (value, -1))
    parts = [
        f"*{source}[{start}:{stop}]" if stop - start >= _RUN else ", ".join(values[first : first + stop - start])
        for first, source, start, stop in _runs(places)
    ]
    # A single run needs no tuple of its own.
    joined = parts[0].removeprefix("*") if len(parts) == 1 and parts[0][0] == "*" else f"({', '.join(parts)},)"
    return ["values = _blank.copy()", f"values.update(zip(_names, {joined}))"]


def _runs(places: Sequence[tuple[str, int]]) -> Iterator[tuple[int, str, int, int]]:
    """Neighbours that can be had by one slice: (number of the first, what is sliced, start, stop)."""
    first = 0
    for number, (source, index) in enumerate(places):
        following = places[number + 1] if number + 1 < len(places) else None
        if following != (source, index + 1):
            yield first, source, places[first][1], index + 1
            first = number + 1


def _strange(
    leaves: Sequence[Leaf], values: Sequence[str], slots: Mapping[tuple[int, str], int], places: Sequence[str]
) -> str:
    """What is true when one of two sums is NaN or infinite, for these times 0 are NaN; empty when none may be."""
    plain = sorted({slots[_key(leaf)] for leaf in leaves if leaf.type.code in ("f", "d")})
    runs = list(_runs([("t", index) for index in plain]))
    if len(runs) > _RUN and all(leaf.type.convert is None for leaf in leaves):
        terms = ["sum(t)"]  # integers among them do no harm
    else:
        terms = [
            term
            for _, _, start, stop in runs
            for term in ([f"sum(t[{start}:{stop}])"] if stop - start >= _RUN else places[start:stop])
        ]
    scaled = [(leaf, value) for leaf, value in zip(leaves, values, strict=True) if _may_overflow(leaf)]
    terms += [value if leaf.type.convert is None else f"({value} or 0)" for leaf, value in scaled]
    while terms[2:]:  # a tree, since the compiler can't nest thousands of additions
        terms = ["(" + " + ".join(terms[i : i + 2]) + ")" for i in range(0, len(terms), 2)]
    return " != ".join([*(f"{term} * 0.0" for term in terms), "0.0"][:2]) if terms else ""


def _may_overflow(leaf: Leaf) -> bool:
    """True when scaling can make a finite number infinite."""
    if not leaf.is_scaled or not leaf.type.is_number or leaf.text:
        return False
    largest = {"f": 3.4028235e38, "d": inf}.get(leaf.type.code, 2.0**64)
    return not isfinite(largest * leaf.scale + abs(leaf.offset)) or not isfinite(
        largest * leaf.scale - abs(leaf.offset)
    )


def _without(values: dict[str, Scalar], bad: dict[str, str] | None) -> tuple[dict[str, Scalar], dict[str, str] | None]:
    for name in bad or ():
        del values[name]
    return values, bad


def _not_finite(values: Mapping[str, Scalar], bad: Mapping[str, str] | None) -> dict[str, str] | None:
    """`bad`, with what is not finite among the values; a sum may also be infinite though none of its terms is."""
    found = {
        name: "NaN" if isnan(value) else "infinite"
        for name, value in values.items()
        if isinstance(value, float) and not isfinite(value)
    }
    return {**(bad or {}), **found} or None
