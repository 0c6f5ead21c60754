"""What a CPU's program declares: its blocks and their members, with type and address of each value.

Read from the CPU itself, once a connection and again when the program has changed. All types come in one answer, which
may have megabytes: it is parsed on an executor thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s7commplus import typeinfo
from s7commplus.client import _build_explore_request
from s7commplus.codec import parse_or_raise_for_return_value
from s7commplus.protocol import FunctionCode, Ids
from s7commplus.typeinfo import Node, NodeType, Softdatatype

from pipeline.errors import nearest
from pipeline.s7.types import TYPES, S7Type
from pipeline.s7plus.explain import explain
from pipeline.s7plus.link import Address, Link
from pipeline.s7plus.symbols import Path, Step, write_symbol

__all__ = ["Blocking", "Program", "Symbol", "has_changed", "read_program"]

Blocking = Callable[..., Awaitable[Any]]

_PATIENCE = 30.0
"""Seconds for the answer that holds all types."""
_TYPE_INFO = 1
_AREAS = (
    ("IArea", Ids.NATIVE_THE_I_AREA_RID, 0x90010000),
    ("QArea", Ids.NATIVE_THE_Q_AREA_RID, 0x90020000),
    ("MArea", Ids.NATIVE_THE_M_AREA_RID, 0x90030000),
)
"""Where PLC tags are: name, object and type information. They have no name in TIA Portal."""
_NAMES = {"BBOOL": "BOOL", "TIMEOFDAY": "TIME_OF_DAY", "DATEANDTIME": "DATE_AND_TIME"}
_DTL = ("YEAR", "MONTH", "DAY", "WEEKDAY", "HOUR", "MINUTE", "SECOND", "NANOSECOND")
_DTL_SIZES = (2, 1, 1, 1, 1, 1, 1, 4)
_USUAL = 254


@dataclass(frozen=True)
class Symbol:
    """A value that can be read.

    Attributes:
        path: from its block on.
        type_name: as STEP 7 writes it, in capitals.
        type: None for what has no value here, such as POINTER.
        length: declared length of a text, else 0.
        parts: where it is; a DTL is read by its eight members.
        sizes: bytes of each part.
        db: number of its block, None for a PLC tag.
    """

    path: Path
    type_name: str
    type: S7Type | None
    length: int
    parts: tuple[Address, ...]
    sizes: tuple[int, ...]
    db: int | None

    def __str__(self) -> str:
        return write_symbol(self.path)


@dataclass(frozen=True)
class Program:
    """What was found.

    Attributes:
        roots: blocks and areas by name, expanded.
        known: names of all blocks, also of those that were not asked for.
        signature: what identifies the blocks that were asked for.
        times: when each type that they use was changed, by its object.
    """

    roots: Mapping[str, Node]
    known: tuple[str, ...]
    signature: frozenset[tuple[str, int, int]]
    times: Mapping[int, bytes]

    def find(self, path: Path) -> list[Symbol]:
        """The values at or below a path, in the order of their declaration; a name alone may be a PLC tag.

        Raises:
            KeyError: there is nothing; the message says what is missing, and the nearest name.
        """
        name = str(path[0])
        if name in self.roots:
            return list(_below(self._walk(self.roots[name], path), path))
        for area, _, _ in _AREAS:
            for child in self.roots[area].children if area in self.roots else ():
                if child.name == name:
                    return list(_below(self._walk(self.roots[area], (area, *path)), path))
        tags = [child.name for area, _, _ in _AREAS if area in self.roots for child in self.roots[area].children]
        near = nearest(name, [*self.known, *tags])
        hint = f"; did you mean '{near}'?" if near else ""
        raise KeyError(f"the program has no block and no PLC tag '{name}'{hint}")

    def symbols(self) -> Iterator[Symbol]:
        """All values, block by block."""
        for name, root in self.roots.items():
            is_area = any(name == area for area, _, _ in _AREAS)
            yield from _below([root], () if is_area else (name,))

    def _walk(self, root: Node, path: Path) -> list[Node]:
        chain = [root]
        for depth, step in enumerate(path[1:], 1):
            label = step if isinstance(step, str) else f"[{','.join(map(str, step))}]"
            child = next((child for child in chain[-1].children if child.name == label), None)
            if child is None:
                near = nearest(label, [child.name for child in chain[-1].children])
                hint = f"; did you mean '{near}'?" if near else ""
                raise KeyError(f"'{write_symbol(path[:depth])}' has no member '{label}'{hint}")
            chain.append(child)
        return chain


async def read_program(link: Link, wanted: Collection[str] | None, blocking: Blocking) -> Program:
    """Ask for these blocks, for all of them when None.

    Raises:
        ReadError: the PLC did not answer, or not in a form that is understood.
    """
    blocks = await _blocks(link)
    asked = [block for block in blocks if block["number"] and (wanted is None or block["name"] in wanted)]
    tags = wanted is None or set(wanted) - {block["name"] for block in blocks}
    roots = [_root(name, area, kind) for name, area, kind in _AREAS] if tags else []
    for block in asked:
        (raw,) = await link.read(link.request([(block["rid"], (_TYPE_INFO,))]))
        if isinstance(raw, int) and link.is_locked:
            raise link.refusal(raw)
        if isinstance(raw, bytes) and len(raw) == 4 and any(raw):  # noqa: PLR2004 - else it is in load memory only
            roots.append(_root(block["name"], block["rid"], int.from_bytes(raw, "big")))
    answer = await link.ask(_explore(link, Ids.OBJECT_OMS_TYPE_INFO_CONTAINER, []), _PATIENCE)
    try:
        times = await blocking(_expand, answer, roots)
    except Exception as error:
        raise explain(error) from error
    names = tuple(block["name"] for block in blocks)
    return Program({root.name: root for root in roots}, names, _signature(blocks, wanted), times)


async def has_changed(link: Link, program: Program, wanted: Collection[str] | None) -> bool:
    """Whether blocks or types are others than those of `program`: one question, and one for each type."""
    blocks = await _blocks(link)
    if _signature(blocks, wanted) != program.signature:
        return True
    for kind, seen in program.times.items():
        if await link.ask(link._read_type_info_time(kind)) != seen:  # noqa: SLF001 - see `link`
            return True
    return False


async def _blocks(link: Link) -> list[dict[str, Any]]:
    """All data blocks; the package takes the bytes of a name for latin-1, which they are not always."""
    blocks = await link.ask(link.list_datablocks(), _PATIENCE)
    for block in blocks:
        with contextlib.suppress(UnicodeError):
            block["name"] = block["name"].encode("latin-1").decode("utf-8")
    return blocks


async def _explore(link: Link, target: int, attributes: Sequence[int]) -> bytes:
    payload = _build_explore_request(target, list(attributes))
    answer = await link._send_request(FunctionCode.EXPLORE, payload, integrity_tail=5, reassemble=True)  # noqa: SLF001 - see `link`
    parse_or_raise_for_return_value(answer, "the types of the program")
    return answer


def _root(name: str, area: int, kind: int) -> Node:
    return Node(node_type=NodeType.ROOT, name=name, access_id=area, relation_id=kind)


def _signature(blocks: Sequence[Mapping[str, Any]], wanted: Collection[str] | None) -> frozenset[tuple[str, int, int]]:
    return frozenset(
        (block["name"], block["number"], block["rid"]) for block in blocks if wanted is None or block["name"] in wanted
    )


def _expand(answer: bytes, roots: Sequence[Node]) -> dict[int, bytes]:
    """Give the roots their members; the times of the types that they use."""
    kinds = typeinfo.extract_type_info_objects(answer)
    typeinfo.build_tree(list(roots), kinds)
    used: set[int] = set()
    waiting = [root for root in roots if root.children]
    used.update(root.relation_id for root in waiting)
    while waiting:
        node = waiting.pop()
        if node.vte is not None and node.vte.offset_info.has_relation:
            used.add(node.vte.offset_info.relation_id)
        waiting.extend(node.children)
    attribute = Ids.VARIABLE_TYPE_STRUCT_MODIFICATION_TIME
    return {
        kind.relation_id: kind.attributes[attribute]
        for kind in kinds
        if kind.relation_id in used and attribute in kind.attributes
    }


def _below(chain: Sequence[Node], path: Path) -> Iterator[Symbol]:
    """The values at or below the last node of a chain that begins with a root; they are called by `path`."""
    root = chain[0]
    lids: tuple[int, ...] = ()
    for node in chain[1:]:
        lids += _ids(node)
    area = root.access_id
    db = area & 0xFFFF if area & 0xFFFF0000 == Ids.DB_ACCESS_AREA_BASE else None
    yield from _leaves(chain[-1], path, area, lids, db)


def _ids(node: Node) -> tuple[int, ...]:
    """What a node adds to an address: an element that is a record stands one level deeper."""
    return (node.access_id, 1) if node.node_type is NodeType.STRUCT_ARRAY else (node.access_id,)


def _leaves(node: Node, path: Path, area: int, lids: tuple[int, ...], db: int | None) -> Iterator[Symbol]:
    if tuple(child.name for child in node.children) == _DTL:
        parts = tuple((area, (*lids, *_ids(child))) for child in node.children)
        yield Symbol(path, "DTL", TYPES["DTL"], 0, parts, _DTL_SIZES, db)
    elif node.children:
        for child in node.children:
            yield from _leaves(child, (*path, _step(child)), area, (*lids, *_ids(child)), db)
    elif node.node_type is not NodeType.ROOT:
        yield _symbol(node, path, (area, lids), db)


def _symbol(node: Node, path: Path, address: Address, db: int | None) -> Symbol:
    try:
        code = Softdatatype(node.softdatatype).name
    except ValueError:
        code = f"type {node.softdatatype}"
    name = _NAMES.get(code, code)
    kind = TYPES.get(name) if typeinfo.is_softdatatype_supported(node.softdatatype) else None
    length = 0
    if kind is not None and kind.width:
        length = (node.vte.offset_info.unspecified1 if node.vte else 0) or _USUAL
    size = kind.extent(length) if kind else 0
    return Symbol(path, name, kind, length, (address,), (size,), db)


def _step(node: Node) -> Step:
    if node.node_type in {NodeType.ARRAY, NodeType.STRUCT_ARRAY}:
        return tuple(int(number) for number in node.name.strip("[]").split(","))
    return node.name
