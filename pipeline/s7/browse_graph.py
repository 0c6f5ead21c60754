"""A first graph file for a PLC, with comments: its blocks, and the values on the screen. `check` accepts it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.config.interpolate import escape
from pipeline.s7.browse_place import Place

__all__ = ["StarterBlock", "quoted", "starter_graph", "starter_sinks"]

_SHOWN = 64
"""Bytes of a block whose fields nobody knows that are shown one by one."""


@dataclass(frozen=True, kw_only=True)
class StarterBlock:
    """A block of the new graph.

    Attributes:
        db: its number.
        size: bytes; 0 where its fields tell.
        layout: the lines of its layout's `fields:`, from the first field on, without indentation; () where nobody
            knows them.
        name: of a layout that is declared elsewhere; "" for one of its own, `db<number>`.
    """

    db: int
    size: int
    layout: Sequence[str] = ()
    name: str = ""

    @property
    def title(self) -> str:
        """The name of its layout."""
        return self.name or f"db{self.db}"


def starter_graph(
    place: Place,
    blocks: Sequence[StarterBlock],
    comments: Sequence[str] = (),
    name: str = "new",
    declared: Sequence[str] = (),
) -> str:
    """The text of a graph file.

    Args:
        place: the PLC.
        blocks: what it reads; at least one.
        comments: put at its head.
        name: the graph's.
        declared: lines of further layouts, as they stand below `layouts:`.
    """
    lines = [*(f"# {comment}".rstrip() for comment in comments)]
    lines += [
        "#",
        "#   python -m pipeline check FILE      what it would do, without doing it",
        "#   python -m pipeline FILE            the values on the screen",
        "",
        f"name: {name}",
        "",
        "# What the bytes of a block mean: name, type, first byte. `0.2` is bit 2 of byte 0.",
        "layouts:",
        *declared,
        *(line for block in blocks if not block.name for line in _layout(block)),
        "",
        "sources:",
        "  plc:",
        "    type: s7",
        f"    address: {quoted(place.address)}",
        f"    port: {place.port}",
        *_access(place),
        *(
            [f"    plc_id: {place.name}"]
            if place.name
            else ["    # plc_id: press1                 # part of topics and tags"]
        ),
        *([f"    timezone: {place.timezone}"] if place.timezone else []),
        "    every: 1s",
        "    blocks:",
        *(f"      - {{db: {block.db}, layout: {block.title}}}" for block in blocks),
        "",
        "transforms:",
        "  frames: {type: heartbeat, from: plc, every: 30s}   # silence means trouble",
        "",
        *starter_sinks(name),
    ]
    return "\n".join(lines) + "\n"


def starter_sinks(name: str) -> Iterator[str]:
    """The lines of the sinks of a first graph: the screen, and a broker to be filled in. `name` is the graph's."""
    yield "sinks:"
    yield "  screen: {type: stdout, from: frames}"
    yield ""
    yield "  # broker:                           # frames to a broker, none lost"
    yield "  #   type: mqtt"
    yield "  #   from: frames"
    yield '  #   host: "${MQTT_BROKER}"'
    yield "  #   topic: plc/{tenant_id}/{plc_id}"
    yield '  #   username: "${MQTT_USERNAME:-}"'
    yield '  #   password: "${MQTT_PASSWORD:-}"'
    yield f"  #   journal: {{path: data/{name}/broker}}"


def _layout(block: StarterBlock) -> Iterator[str]:
    yield f"  db{block.db}:"
    if block.size:
        yield f"    size: {block.size}"
    if block.layout:
        yield "    fields:"
        yield from (f"      {line}" for line in block.layout)
        return
    shown = min(block.size, _SHOWN)
    part = "" if shown == block.size else f" of {block.size}"
    yield f"    # Its fields are not known; `pipeline probe FILE --db {block.db}` helps to find them. Until then bytes:"
    yield f"    fields: {{byte: 'BYTE[{shown}] @ 0'}}   # {shown}{part}"


def _access(place: Place) -> Iterator[str]:
    access = place.access
    if access.tsap is not None:
        yield f"    tsap: {{local: '{access.tsap['local']}', remote: '{access.tsap['remote']}'}}"
        return
    yield f"    rack: {access.rack}"
    yield f"    slot: {access.slot}"
    if access.connection_type != "pg":
        yield f"    connection_type: {access.connection_type}"


def quoted(text: str) -> str:
    """A text as a YAML scalar in double quotes, in which `${` means nothing."""
    return json.dumps(escape(text), ensure_ascii=False)
