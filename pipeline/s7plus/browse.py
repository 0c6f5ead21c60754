"""What symbols a CPU has: listed with types and comments, and written as a first graph file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec
from s7commplus.client import _build_explore_request
from s7commplus.protocol import FunctionCode, Ids

from pipeline.errors import ReadError
from pipeline.identifiers import RESERVED
from pipeline.s7.browse_graph import quoted
from pipeline.s7plus.comments import comments_of
from pipeline.s7plus.link import Door, Link, connect
from pipeline.s7plus.program import Blocking, Program, Symbol, read_program
from pipeline.s7plus.symbols import flat_name, parse_symbol, write_symbol

__all__ = ["Listed", "Listing", "symbol_graph", "symbol_report", "symbols"]

_PATIENCE = 30.0


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol.

    Attributes:
        symbol: as a graph file writes it.
        type: as STEP 7 writes it; of a text with its length.
        comment: "" where the CPU has none.
        db: number of its block, None for a PLC tag.
        readable: False for types that have no value here.
    """

    symbol: str
    type: str
    comment: str = ""
    db: int | None = None
    readable: bool = True


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        address: of the CPU, with its port.
        certificate: SHA-256 of its certificate, "" without TLS.
        access_level: 0 and 1 full, 2 read, 3 HMI, 4 none; None where it tells none.
        blocks: number by name, of data blocks that can be read.
        locked: data blocks that have no value to read: in load memory only, or not accessible from HMI.
        symbols: all of them, block by block.
    """

    address: str
    certificate: str
    access_level: int | None
    blocks: dict[str, int]
    locked: list[str]
    symbols: list[Listed]


async def symbols(door: Door, blocking: Blocking, only: Collection[str] | None = None) -> Listing:
    """All symbols of a CPU, or those of some blocks.

    Args:
        door: the CPU.
        blocking: runs a function on an executor thread.
        only: names of blocks; None for all.

    Raises:
        ReadError: it can't be reached, or doesn't tell.
    """
    link = await connect(door)
    try:
        program = await read_program(link, only, blocking)
        numbers = {name: number for name, number, _ in program.signature}
        blocks = {name: numbers[name] for name in program.roots if name in numbers}
        comments = {name: await _comments(link, number, blocking) for name, number in blocks.items()}
        found = await blocking(_listed, program, comments)
        certificate = link.peer_certificate_fingerprint()
        return Listing(
            address=f"{door.address}:{door.port}",
            certificate=certificate.hex() if certificate else "",
            access_level=link.protection_level,
            blocks=dict(sorted(blocks.items(), key=lambda block: block[1])),
            locked=sorted(numbers.keys() - blocks.keys()),
            symbols=found,
        )
    finally:
        await link.close()


async def _comments(link: Link, number: int, blocking: Blocking) -> dict[tuple[str, ...], str]:
    """The comments of a block; without them a list of symbols is still worth having."""
    wanted = [Ids.DATA_INTERFACE_INTERFACE_DESCRIPTION, Ids.DATA_INTERFACE_LINE_COMMENTS]
    payload = _build_explore_request(Ids.DB_ACCESS_AREA_BASE | number, list(wanted))
    asked = link._send_request(FunctionCode.EXPLORE, payload, integrity_tail=5, reassemble=True)  # noqa: SLF001 - see `link`
    found: dict[tuple[str, ...], str] = await blocking(comments_of, await link.ask(asked, _PATIENCE))
    return found


def _listed(program: Program, comments: dict[str, dict[tuple[str, ...], str]]) -> list[Listed]:
    return [
        Listed(
            symbol=write_symbol(symbol.path),
            type=_type(symbol),
            comment=comments.get(str(symbol.path[0]), {}).get(_names(symbol), ""),
            db=symbol.db,
            readable=symbol.type is not None,
        )
        for symbol in program.symbols()
    ]


def _names(symbol: Symbol) -> tuple[str, ...]:
    """The names below the block, without indices: elements share a comment."""
    return tuple(step for step in symbol.path[1:] if isinstance(step, str))


def _type(symbol: Symbol) -> str:
    return f"{symbol.type_name}[{symbol.length}]" if symbol.length else symbol.type_name


def symbol_report(found: Listing) -> list[str]:
    """The listing for people: a line each."""
    level = "not told" if found.access_level is None else str(found.access_level)
    lines = [f"{found.address}: {len(found.blocks)} data blocks, {len(found.symbols)} symbols, access level {level}"]
    if found.certificate:
        lines.append(f"certificate: {found.certificate}")
    width = max((len(each.symbol) for each in found.symbols), default=0)
    kinds = max((len(each.type) for each in found.symbols), default=0)
    for each in found.symbols:
        note = each.comment if each.readable else "has no value here"
        lines.append(f"  {each.symbol:<{width}}  {each.type:<{kinds}}  {note}".rstrip())
    lines += [f"no value to read: {name} (load memory only, or not accessible from HMI)" for name in found.locked]
    return [_line(line) for line in lines]


def symbol_graph(found: Listing, options: Sequence[str] = (), name: str = "new") -> str:
    """The text of a graph file that reads all blocks; `check` accepts it.

    Args:
        found: what there is.
        options: further lines of the source, without indentation: `tls: {fingerprint: …}`.
        name: the graph's.

    Raises:
        ReadError: there is nothing to read.
    """
    tags = [each for each in found.symbols if each.db is None and each.readable]
    if not found.blocks and not tags:
        raise ReadError("nothing to read", "the CPU shows no block and no PLC tag", "see the report")
    host, _, port = found.address.rpartition(":")
    lines = [
        f"# The symbols of the CPU at {found.address}. Remove what you don't need.",
        "#",
        "#   python -m pipeline check FILE      what it would do, without doing it",
        "#   python -m pipeline FILE            the values on the screen",
        "",
        f"name: {name}",
        "",
        "sources:",
        "  plc:",
        "    type: s7plus",
        f"    address: {quoted(host)}",
        f"    port: {port}",
        "    # plc_id: press1                 # part of topics and tags",
        *(f"    {option}" for option in options),
        "    every: 1s",
    ]
    lines += _reads(found, tags)
    lines += [
        "",
        "transforms:",
        "  frames: {type: heartbeat, from: plc, every: 30s}   # silence means trouble",
        "",
        "sinks:",
        "  screen: {type: stdout, from: frames}",
    ]
    return "\n".join(lines) + "\n"


def _reads(found: Listing, tags: Sequence[Listed]) -> Iterator[str]:
    """The lines of `blocks:` and `tags:`."""
    if found.blocks:
        yield "    blocks:"
    for block, number in found.blocks.items():
        yield f"      - {{symbol: {quoted(write_symbol((block,)))}, db: {number}}}"
        yield from (f"        # {_comment(each)}" for each in found.symbols if each.db == number)
    if tags:
        yield "    tags:"
    taken = set(RESERVED)
    for each in tags:
        name = flat_name(parse_symbol(each.symbol), "_")
        while name in taken:
            name += "_"
        taken.add(name)
        yield f"      {quoted(name)}: {quoted(each.symbol)}  # {each.type}"


def _comment(each: Listed) -> str:
    text = f"{each.symbol}: {each.type}{'' if each.readable else ', has no value here'}"
    return _line(f"{text}, {each.comment}" if each.comment else text)


def _line(text: str) -> str:
    """A text in one line that no terminal obeys; a CPU's names may have any letters."""
    return text if text.isprintable() else repr(text)[1:-1]
