"""Writes a graph file for what a PLC's program declares: layouts, sources with blocks and tags, comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath

from pipeline.config.document import resolve
from pipeline.config.interpolate import escape
from pipeline.config.layouts import Naming
from pipeline.identifiers import unaccented
from pipeline.importing.placement import PlacedBlock, PlacedField, PlacedLayout, Places
from pipeline.importing.program import Program, Station, Tag, plain
from pipeline.importing.settling import settle_tags
from pipeline.s7.browse_graph import quoted, starter_sinks
from pipeline.units import Duration

__all__ = ["layouts_text", "line_text", "variable"]

_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def line_text(program: Program, places: Places, name: str, files: Sequence[PurePath], address: str = "") -> str:
    """The text of a graph file; "" where nothing can be read.

    Args:
        program: tags and stations, and the remarks that are put at the head.
        places: layouts and blocks.
        name: the graph's.
        files: what it was made from, for the first line.
        address: of the PLC that no file names; left out, PLC_IP has to be set.
    """
    naming = Naming(first_index=places.first_index)
    stations = list(program.stations)
    if places.blocks or program.tags:
        own = Station(
            address=address,
            slot=2 if program.classic else 1,
            every=program.every,
            tags=tuple(program.tags),
        )
        stations.insert(0, own)
    if not stations:
        return ""
    sources: list[str] = []
    names: list[str] = []
    for station in stations:
        here = station is stations[0] and bool(places.blocks)
        names.append(_free(station.name or "plc", names))
        if station.file and station.name != names[-1]:
            text = f"{station.name}: is called {names[-1]}, as the names of nodes and PLCs want it"
            program.tell(station.file, station.line, text)
        tags = settle_tags(station.tags, naming if here else Naming(), program)
        sources += _source(names[-1], station, places if here else None, tags)
    lines = [*_head(program, files), f"name: {name}", ""]
    if places.blocks:
        used = _used(places)
        lines += [*_layouts(places, (layout for layout in places.layouts.values() if layout.name in used)), ""]
    inlet = names[0] if len(names) == 1 else f"[{', '.join(names)}]"
    lines += ["sources:", *sources, "", "transforms:"]
    lines += [f"  frames: {{type: heartbeat, from: {inlet}, every: 30s}}   # silence means trouble", ""]
    return "\n".join([*lines, *starter_sinks(name)]) + "\n"


def layouts_text(program: Program, places: Places, files: Sequence[PurePath]) -> str:
    """The `layouts:` of a graph file alone."""
    return "\n".join([*_head(program, files), *_layouts(places, places.layouts.values())]) + "\n"


def _head(program: Program, files: Sequence[PurePath]) -> Iterator[str]:
    yield f"# Made from {', '.join(plain(file.name) for file in files)}."
    if program.remarks:
        yield "#"
        yield "# To look at, by file and line:"
        for remark in program.remarks:
            yield f"#   {plain(remark.file.name)}:{remark.note.line}: {remark.note.text}"
    yield ""


# layouts


def _used(places: Places) -> set[str]:
    """The layouts of the blocks, and all that these contain."""
    used: set[str] = set()
    waiting = [block.layout for block in places.blocks]
    while waiting:
        name = waiting.pop()
        if name in places.layouts and name not in used:
            used.add(name)
            waiting += [each.type.split("[")[0] for each in places.layouts[name].fields]
    return used


def _layouts(places: Places, layouts: Iterable[PlacedLayout]) -> Iterator[str]:
    if places.first_index:
        yield "# Arrays begin with 1 in the program: sources that read these need `naming: {first_index: 1}`."
    yield "layouts:"
    for layout in layouts:
        yield f"  {_key(layout.name)}:" + (f"   # {escape(plain(layout.title))}" if layout.title != layout.name else "")
        yield f"    size: {layout.size}" + ("" if layout.whole else "   # as far as it is known")
        yield "    fields:"
        width = min(max(len(_key(each.name)) for each in layout.fields) + 1, 40)
        for each in layout.fields:
            yield f"      {_key(each.name) + ':':<{width}} {_field(each)}"


def _field(each: PlacedField) -> str:
    if each.comment:
        return f"{{type: {_scalar(each.type)}, at: {each.at}, description: {quoted(each.comment)}}}"
    return f"{each.type} @ {each.at}"


# sources


def _source(name: str, station: Station, places: Places | None, tags: Mapping[str, Tag]) -> Iterator[str]:
    yield f"  {name}:"
    yield "    type: s7"
    yield f"    address: {quoted(station.address)}" if station.address else '    address: "${PLC_IP}"'
    yield f"    port: {station.port}"
    if station.tsap:
        yield f"    tsap: {{local: '{station.tsap[0]}', remote: '{station.tsap[1]}'}}"
    else:
        yield f"    rack: {station.rack}"
        yield f"    slot: {station.slot}                           # S7-1200 and S7-1500: 1; S7-300: 2"
    yield f"    plc_id: {quoted(name)}" if station.name else '    plc_id: "${PLC_ID:-}"'
    yield f"    every: {Duration(station.every or 1)}"
    if station.timeout:
        yield f"    timeout: {Duration(station.timeout)}"
    if places is not None and places.first_index:
        yield "    naming: {first_index: 1}          # as in the program"
    if places is not None:
        yield "    blocks:"
        for block in places.blocks:
            yield f"      - {{db: {_number(block)}, layout: {_key(block.layout)}}}   # {escape(plain(block.name))}"
    if tags:
        yield "    tags:"
        for key, tag in tags.items():
            yield f"      {_key(key)}: {_tag(tag)}"


def variable(block: PlacedBlock) -> str:
    """The variable that stands for a block's number where no file says it."""
    base = re.sub(r"[^A-Z0-9]+", "_", block.name.upper()).strip("_")
    return base if base.startswith("DB_") else f"DB_{base}"


def _number(block: PlacedBlock) -> str:
    return str(block.number) if block.number else f'"${{{variable(block)}}}"'


def _tag(tag: Tag) -> str:
    told = [f"unit: {quoted(plain(tag.unit))}"] if tag.unit else []
    told += [f"scale: {tag.scale!r}"] if tag.scale != 1 else []
    told += [f"offset: {tag.offset!r}"] if tag.offset else []
    told += [f"description: {quoted(plain(tag.comment))}"] if tag.comment else []
    address = quoted(tag.address)
    return f"{{{', '.join([f'address: {address}', *told])}}}" if told else address


def _free(name: str, taken: Sequence[str]) -> str:
    """A name for a node, which none has yet."""
    base = re.sub(r"[^A-Za-z0-9_-]+", "_", unaccented(name)).strip("_-")[:48] or "plc"
    base = base if base[0].isalpha() else f"plc_{base}"
    return next(each for n in range(1, len(taken) + 2) if (each := base if n == 1 else f"{base}_{n}") not in taken)


# scalars


def _key(name: str) -> str:
    """A name as a key: in quotes where YAML would take it for something else."""
    return name if _WORD.fullmatch(name) and resolve(name) == name else json.dumps(name, ensure_ascii=False)


def _scalar(text: str) -> str:
    """A text inside of {}: brackets want quotes there."""
    return text if _WORD.fullmatch(text) else quoted(text)
