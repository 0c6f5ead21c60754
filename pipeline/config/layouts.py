"""Layouts: records of named fields with their place in a block; they nest and repeat, and become flat leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pipeline.errors import Finding
from pipeline.operator import Options
from pipeline.s7.decode import Leaf

__all__ = ["RESERVED", "FieldOptions", "Layout", "LayoutOptions", "Naming", "build_layouts"]

RESERVED = frozenset(
    {"error", "seq", "boot", "bad", "heartbeat", "read_failed", "topic", "db", "ip", "tenant_id", "plc_id"}
)
"""Names that mean something else where frames are ingested: as a value they would overwrite or be overwritten."""


class Naming(Options):
    """How the flat names of nested fields are made: `maquinas_0_sensores_2_valor`."""

    separator: Annotated[str, Meta(description="What joins the parts of a flat name.", max_length=8)] = "_"
    first_index: Annotated[int, Meta(description="The index of an array's first element.", ge=0, le=1)] = 0


class FieldOptions(Options):
    """One field. The short form `INT @ 10` gives type and place only."""

    type: Annotated[str, Meta(description="An S7 type, or another layout's name: INT, REAL[5], STRING[20], sensor[5].")]
    at: Annotated[str, Meta(description="First byte, counted from 0; of a BOOL with its bit: 0.1.")]
    unit: Annotated[str, Meta(description="Shown beside the value: mm/s. Never on the wire.")] = ""
    scale: Annotated[float, Meta(description="The number read is multiplied by it.")] = 1.0
    offset: Annotated[float, Meta(description="Added after scaling.")] = 0.0
    description: Annotated[str, Meta(description="What it is, for people.")] = ""
    as_: Annotated[
        Literal["", "string"], Meta(description="string: an integer as decimal text, which keeps all digits past 2^53.")
    ] = msgspec.field(default="", name="as")
    charset: Annotated[str, Meta(description="How a text's bytes are read: latin-1, cp1252, utf-8.")] = "latin-1"


class LayoutOptions(Options):
    """A record of named fields."""

    size: Annotated[int | None, Meta(description="Bytes; left out, what the fields need.", ge=1, le=65536)] = None
    fields: Annotated[
        dict[str, FieldOptions | str], Meta(description="By name: `INT @ 10`, or {type: INT, at: 10, unit: A}.")
    ]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A checked layout.

    Attributes:
        name: its name in the graph.
        size: bytes of one.
    """

    name: str
    size: int

    def leaves(self, naming: Naming) -> tuple[Leaf, ...]:
        """Its scalars, flat, in the order of declaration."""
        raise NotImplementedError(naming)


def build_layouts(options: Mapping[str, LayoutOptions]) -> tuple[dict[str, Layout], list[Finding]]:
    """Check all layouts of a graph and build them."""
    raise NotImplementedError(options)
