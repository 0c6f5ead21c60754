"""Plays a PLC: an S7 server on this machine whose data blocks live.

Ordering: answers leave in the order of their requests; all blocks move together, every `every`.
Delivery: none is promised; a simulated PLC keeps nothing, and each start begins anew, the same way for the same `seed`.
Memory: the blocks, and up to 64 kB for each of at most `max_clients` connections.
Disconnects: the client is forgotten; the process in the blocks goes on.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable
from random import Random
from typing import Annotated

from msgspec import Meta, field

from pipeline.config.layouts import Layout, Naming
from pipeline.errors import Finding, PartFailed, Severity, nearest
from pipeline.frame import Scalar
from pipeline.hosts import check_host
from pipeline.operator import Claim, Context, Options, RunService, Scope, service
from pipeline.s7.decode import Leaf
from pipeline.s7.encode import write
from pipeline.s7.process import Process, animate
from pipeline.s7.server import PlcServer
from pipeline.tls import is_loopback
from pipeline.units import Duration

__all__ = ["SimulatedBlock", "SimulatorOptions", "s7_simulator"]


class SimulatedBlock(Options):
    """One data block of the simulated PLC."""

    db: Annotated[int, Meta(description="the data block's number", ge=1, le=65535)]
    layout: Annotated[str, Meta(description="name of its layout; without one it is `size` zero bytes")] = ""
    size: Annotated[int, Meta(description="bytes, where they are not the layout's", ge=0, le=65536)] = 0
    process: Annotated[
        Process,
        Meta(
            description="what moves its values: `machine` makes parts, pauses and breaks down; `counter` adds 1 to "
            "each integer every tick; `none` leaves them"
        ),
    ] = Process.MACHINE
    values: Annotated[dict[str, Scalar], Meta(description="initial values by field name; others are zero")] = field(
        default_factory=dict
    )

    def layout_in(self, scope: Scope) -> Layout | None:
        """The layout that it names, None without one or when there is no such."""
        return scope.layouts.get(self.layout)

    def check(self, scope: Scope) -> Iterable[Finding]:
        """A known layout or a size, and initial values that fit."""
        layout = self.layout_in(scope)
        if self.layout and layout is None:
            likely = nearest(self.layout, scope.layouts)
            hint = f"did you mean {likely}?" if likely else f"known: {', '.join(scope.layouts) or 'none'}"
            yield Finding(path=("layout",), message=f"no layout '{self.layout}'", hint=hint)
            return
        if layout is None and not self.size:
            yield Finding(
                path=("size",), message="a block needs a layout or a size", hint="write `layout: name`, or `size: 14`"
            )
        if layout is not None and self.size and self.size < layout.size:
            yield Finding(
                path=("size",),
                message=f"must be at least the layout's {layout.size}, got {self.size}",
                hint="leave it out",
            )
        if layout is None or layout.sound:
            yield from self._check_values(_leaves(layout), layout.size if layout else 0)

    def _check_values(self, leaves: dict[str, Leaf], size: int) -> Iterable[Finding]:
        for name, value in self.values.items():
            if name not in leaves:
                likely = nearest(name, leaves)
                hint = f"did you mean {likely}?" if likely else ""
                yield Finding(path=("values", name), message=f"no field '{name}' in its layout", hint=hint)
                continue
            try:
                write(leaves[name], bytearray(size), value)
            except ValueError as error:
                yield Finding(path=("values", name), message=str(error))


class SimulatorOptions(Options):
    """A PLC that any S7 client can connect to, whatever rack and slot it names."""

    dbs: Annotated[list[SimulatedBlock], Meta(description="its data blocks", min_length=1)]
    port: Annotated[int, Meta(description="TCP port; 102, a real PLC's, is for root only", ge=1, le=65535)] = 1102
    listen: Annotated[str, Meta(description="address to listen on; who reaches it may read and write")] = "127.0.0.1"
    every: Annotated[Duration, Meta(description="how often its values move", gt=0)] = Duration(0.1)
    seed: Annotated[int, Meta(description="the same seed gives the same process")] = 1
    pdu: Annotated[int, Meta(description="longest PDU that it grants, in bytes", ge=112, le=960)] = 480
    jobs: Annotated[int, Meta(description="most parallel jobs (AmQ) that it grants", ge=1, le=255)] = 4
    max_clients: Annotated[int, Meta(description="connections that it holds at once", ge=1, le=10_000)] = 64

    def check(self, scope: Scope) -> Iterable[Finding]:  # noqa: ARG002 - the contract's argument
        """Block numbers that differ, and a word on listening to the world."""
        seen: set[int] = set()
        for index, block in enumerate(self.dbs):
            if block.db in seen:
                yield Finding(
                    path=("dbs", index, "db"), message=f"DB{block.db} is there twice", hint="give one another number"
                )
            seen.add(block.db)
        if self.listen:  # else it listens everywhere
            yield from check_host(self.listen, ("listen",))
        if not is_loopback(self.listen):
            yield Finding(
                path=("listen",),
                message=f"anybody who reaches {self.listen} may read and write: S7 knows no login",
                hint="listen on 127.0.0.1, or keep others away by a firewall",
                severity=Severity.WARNING,
            )


@service
def s7_simulator(options: SimulatorOptions, context: Context) -> RunService:
    """Serve the blocks and let their processes run."""

    async def run(started: Callable[[], None]) -> None:
        server = PlcServer(pdu=options.pdu, jobs=options.jobs, max_clients=options.max_clients)
        steps = [_open_block(server, block, options.seed, context) for block in options.dbs]

        def tick(missed: int) -> None:
            for step in steps:
                step(options.every * (1 + missed))

        try:
            await server.listen(options.listen, options.port)
        except OSError as error:
            raise _unusable(options, context, error) from None
        leave = context.clock.tick(options.every, tick)
        context.details = lambda: {
            "listen": f"{options.listen}:{options.port}",
            "connections": len(server.connections),
            "reads": server.reads,
        }
        try:
            context.log.info("simulated PLC listens", address=options.listen, port=options.port)
            started()
            await asyncio.Future()
        finally:
            leave()
            server.close()

    return run


@s7_simulator.claims
def _claims(options: SimulatorOptions, _: Scope) -> Iterable[Claim]:
    yield Claim(what="TCP port", key=str(options.port), path=("port",))


def _open_block(server: PlcServer, block: SimulatedBlock, seed: int, context: Context) -> Callable[[float], None]:
    layout = context.layouts[block.layout] if block.layout else None
    leaves = _leaves(layout)
    memory = bytearray(max(block.size, layout.size if layout else 0))
    for name, value in block.values.items():
        write(leaves[name], memory, value)
    server.register(block.db, memory)
    # A generator of its own for each block: another block in the file doesn't change this one's course.
    return animate(block.process, tuple(leaves.values()), memory, Random(f"{seed}/{block.db}"))  # noqa: S311 - a game


def _leaves(layout: Layout | None) -> dict[str, Leaf]:
    return {leaf.name: leaf for leaf in layout.leaves(Naming())} if layout else {}


def _unusable(options: SimulatorOptions, context: Context, error: OSError) -> PartFailed:
    reasons = {errno.EADDRINUSE: "another program has it", errno.EACCES: "ports below 1024 are for root"}
    reason = reasons.get(error.errno or 0, error.strerror or str(error))
    return PartFailed(
        f"can't listen on {options.listen}:{options.port} ({reason}); set another port with {context.node}.port, "
        "where it comes from a variable by that one: DEMO_S7_PORT=11102"
    )
