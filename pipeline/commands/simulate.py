"""`simulate [FILE]`: a simulated PLC with the data blocks that a graph reads, with living values."""

from __future__ import annotations

import os
from typing import Any, get_args, get_type_hints

import click

from pipeline import log
from pipeline.cli import graph_file
from pipeline.commands.run import run
from pipeline.config import load
from pipeline.errors import UsageError
from pipeline.graph import Graph, Node
from pipeline.operator import NodeKind, find

__all__ = ["command"]


@click.command(name="simulate")
@click.argument("file", default="demo")
@click.option(
    "--listen", default="127.0.0.1", show_default=True, help="Address to listen on; who reaches it may write."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=1102,
    show_default=True,
    help="TCP port; a real PLC's 102 needs root.",
)
@click.option(
    "--pdu", type=click.IntRange(112, 960), default=480, show_default=True, help="Longest PDU that it grants."
)
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same process.")
def command(file: str, listen: str, port: int, pdu: int, seed: int) -> None:
    """Play the PLC of a graph: all data blocks that its s7 sources read, until Ctrl-C.

    \b
    Examples:
      pipeline simulate                                  the press of the demo on port 1102
      pipeline simulate configs/db500.yaml --pdu 240     the machines of DB500, as a small PLC
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    log.configure(os.environ.get("LOG_LEVEL", "info"))
    graph = load(graph_file(file), os.environ, only="blocks")
    # Operators are met by their type and options alone: a command imports them no more than the engine does.
    simulator = find(NodeKind.SERVICE, "s7_simulator")
    simulated_block = get_args(get_type_hints(simulator.options)["dbs"])[0]
    blocks = {
        block.db: simulated_block(db=block.db, layout=block.layout)
        for node in graph.of(NodeKind.SOURCE)
        if node.operator.name == "s7"
        for block in getattr(node.options, "blocks", ())
    }
    if not blocks:
        raise UsageError(f"'{file}' reads no data block of an S7 PLC; there is nothing to simulate")
    options: dict[str, Any] = {"listen": listen, "port": port, "pdu": pdu, "seed": seed, "dbs": list(blocks.values())}
    plc = Node(name="plc", kind=NodeKind.SERVICE, operator=simulator, options=simulator.options(**options))
    run(Graph(name=f"simulated {graph.name}", path=graph.path, layouts=graph.layouts, nodes={"plc": plc}))
