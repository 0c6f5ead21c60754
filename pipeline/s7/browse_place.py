"""Where a PLC is that somebody wants to look at: one that a graph file names, or an address."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
import msgspec

from pipeline.errors import UsageError, nearest
from pipeline.frame import Extent
from pipeline.graph import Graph
from pipeline.hosts import is_host
from pipeline.operator import NodeKind, Scope
from pipeline.s7.wire import Tsaps
from pipeline.units import Duration

__all__ = ["Access", "Place", "access_options", "is_graph", "place_of_address", "place_of_graph"]

F = TypeVar("F", bound=Callable[..., object])

_TYPES = {"pg": 1, "op": 2, "basic": 3}
_ADDRESS = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
_TSAPS = re.compile(r"(?:(?P<local>[0-9A-Fa-f]{2}\.[0-9A-Fa-f]{2})/)?(?P<remote>[0-9A-Fa-f]{2}\.[0-9A-Fa-f]{2})")
_LOCAL = "01.00"
_LAST_PORT = 65535
_PORT = 102
_PLC = "s7"
"""The type of sources that read PLCs."""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection is asked for, named as the options of a source."""

    rack: int = 0
    slot: int = 1
    connection_type: Literal["pg", "op", "basic"] = "pg"
    tsap: dict[str, str] | None = None

    def tsaps(self) -> Tsaps:
        """Whom the connection is between."""
        if self.tsap is not None:
            return Tsaps.parse(self.tsap["local"], self.tsap["remote"])
        return Tsaps.of(_TYPES[self.connection_type], self.rack, self.slot)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A PLC and the way to it.

    Attributes:
        name: what people call it; "" where it has only an address.
        address: IP address or host name.
        port: TCP port.
        access: how a connection is asked for.
        timeout: seconds for connecting, and for each answer.
        timezone: where its clock runs; "" where nobody knows.
        declared: what a graph reads of it.
    """

    name: str = ""
    address: str
    port: int
    access: Access
    timeout: float = 2.0
    timezone: str = ""
    declared: tuple[Extent, ...] = ()

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.name} at {host}:{self.port}" if self.name else f"{host}:{self.port}"


def access_options(command: F) -> F:
    """The options of a command that connects to a PLC: they count for an address; a graph file has its own."""
    for option in (
        click.option("--timeout", metavar="DURATION", help="For connecting and for each answer.  [default: 2s]"),
        click.option(
            "--connection-type",
            type=click.Choice(list(_TYPES)),
            help="Which of the PLC's connections is taken.  [default: pg]",
        ),
        click.option("--tsap", metavar="[LOCAL/]REMOTE", help="Raw TSAPs instead of rack and slot: 10.00/03.01."),
        click.option(
            "--slot", type=click.IntRange(0, 31), help="Slot of the CPU: S7-300 2, S7-1200/1500 1 or 0.  [default: 1]"
        ),
        click.option("--rack", type=click.IntRange(0, 7), help="Rack of the CPU.  [default: 0]"),
    ):
        command = option(command)
    return command


def is_graph(text: str) -> bool:
    """Whether a command's argument names a graph file and not an address."""
    from pipeline.cli import shipped_graphs  # noqa: PLC0415 - the command line finds the commands

    path = Path(text)
    return path.suffix in {".yaml", ".yml"} or path.is_file() or text in shipped_graphs()


def place_of_address(
    text: str,
    *,
    rack: int | None = None,
    slot: int | None = None,
    tsap: str | None = None,
    connection_type: Literal["pg", "op", "basic"] | None = None,
    timeout: str | None = None,
) -> Place:
    """The PLC at `ADDRESS` or `ADDRESS:PORT`, an IPv6 address in brackets or alone.

    Raises:
        UsageError: it is no address, or an option is wrong.
    """
    match = _ADDRESS.fullmatch(text)
    host = text if match is None else match["six"] or match["host"]
    port = int(match["port"]) if match and match["port"] else _PORT
    if not is_host(host) or not 1 <= port <= _LAST_PORT:
        raise UsageError(f"'{text}' is neither a graph file nor an address; write 192.168.0.121 or 192.168.0.121:102")
    access = Access(rack=rack or 0, slot=1 if slot is None else slot, connection_type=connection_type or "pg")
    if tsap is not None:
        pair = _TSAPS.fullmatch(tsap)
        if pair is None or (rack, slot, connection_type) != (None, None, None):
            wrong = "goes without --rack, --slot and --connection-type" if pair else f"'{tsap}' is none"
            raise UsageError(f"--tsap: {wrong}; write the PLC's alone, 03.01, or both: 10.00/03.01")
        access = Access(tsap={"local": pair["local"] or _LOCAL, "remote": pair["remote"]})
    try:
        seconds = Duration.parse(timeout) if timeout else 2.0
    except ValueError as error:
        raise UsageError(f"--timeout: {error}; write 2s") from error
    if not 0.05 <= seconds <= 60:  # noqa: PLR2004 - as a source's
        raise UsageError(f"--timeout: must be 50ms to 60s, got {timeout}; 2s is usual")
    return Place(address=host, port=port, access=access, timeout=seconds)


def place_of_graph(graph: Graph, source: str | None, plc: str | None) -> Place:
    """The PLC that a graph means; it has to be only one, or told by source and name.

    Raises:
        UsageError: there is none, or several.
    """
    nodes = {node.name: node for node in graph.of(NodeKind.SOURCE) if node.operator.name == _PLC}
    if source is not None and source not in nodes:
        raise UsageError(f"graph '{graph.name}' has no S7 source '{source}'{_hint(source, list(nodes))}")
    found = [
        (node, each)
        for node in nodes.values()
        if (source is None or node.name == source) and hasattr(node.options, "each")
        for each in node.options.each()
        if plc is None or plc in {each.name, each.address}
    ]
    if len(found) != 1:
        every = [f"{node.name} --plc {each.name}" for node, each in found]
        if found:
            raise UsageError(f"which one? Say the source and the PLC: {'; '.join(every)}")
        known = [each.name for node in nodes.values() for each in getattr(node.options, "each", list)()]
        what = f"no PLC '{plc}'{_hint(plc, known)}" if plc and known else "no S7 source"
        raise UsageError(f"graph '{graph.name}' has {what}")
    node, each = found[0]
    options: Any = node.options
    scope = Scope(graph=graph.name, node=node.name, layouts=graph.layouts, folder=graph.path.parent)
    tsap = options.tsap and {"local": options.tsap.local, "remote": options.tsap.remote}
    access = Access(rack=each.rack, slot=each.slot, connection_type=options.connection_type, tsap=tsap)
    return Place(
        name=each.plc_id,
        address=each.address,
        port=each.port,
        access=access,
        timeout=options.timeout,
        timezone=options.timezone,
        declared=tuple(extent for extent in node.operator.extents(options, scope) if extent.plc == each.name),
    )


def _hint(found: str, known: list[str]) -> str:
    near = nearest(found, known)
    return f"; did you mean '{near}'?" if near else f"; it has {', '.join(known) or 'none'}"
