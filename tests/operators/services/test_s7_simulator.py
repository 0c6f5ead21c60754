"""The simulated PLC as a service: it serves what its options say, alive, and goes without a trace."""

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest
from snap7.async_client import AsyncClient
from snap7.error import S7Error

from operators.services.s7_simulator import SimulatedBlock, SimulatorOptions, s7_simulator
from pipeline.clock import run_virtual
from pipeline.config.layouts import LayoutOptions, build_layouts
from pipeline.errors import PartFailed, Severity
from pipeline.operator import NodeKind, Scope
from pipeline.s7.process import Process
from tests.parts.engine import make_context
from tests.parts.waiting import free_port

LAYOUTS, _ = build_layouts(
    {"press": LayoutOptions(size=14, fields={"maquina_ligada": "BOOL @ 0.2", "contador_bom": "INT @ 10"})}
)


@contextlib.asynccontextmanager
async def running(options):
    """The service as the engine runs it: started, and cancelled at the end."""
    loop = asyncio.get_running_loop()
    context = make_context(loop, node="plc", kind=NodeKind.SERVICE)
    context.layouts = LAYOUTS
    ready = loop.create_future()
    task = loop.create_task(s7_simulator.build(options, context)(lambda: ready.set_result(None)))
    try:
        await asyncio.wait((ready, task), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield context
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def read(port, db=1, size=14):
    """One block by python-snap7's client."""
    client = AsyncClient()
    await client.connect("127.0.0.1", 0, 2, port)
    try:
        return bytes(await client.db_read(db, 0, size))
    finally:
        await client.disconnect()


def options(**changes):
    """A press, and a block without layout, on port 1102."""
    blocks = [SimulatedBlock(db=1, layout="press", values={"contador_bom": 5000}), SimulatedBlock(db=7, size=4)]
    return SimulatorOptions(**{"dbs": blocks, "port": 1102} | changes)


def course(seed=1):
    """What a client reads over a virtual minute."""

    async def main(_):
        seen = []
        async with running(options(seed=seed)) as context:
            for _ in range(60):
                seen.append(await read(1102))
                await asyncio.sleep(1)
            assert context.details()["reads"] == 60
            assert await read(1102, db=7, size=4) == bytes(4)
        return seen

    return run_virtual(main)


def test_blocks_live_the_same_way_for_the_same_seed():
    """Counters go on from their initial value; a minute is alike for one seed, and another for another."""
    seen = course()
    counts = [int.from_bytes(block[10:12], "big") for block in seen]
    assert counts == sorted(counts)
    assert 5000 <= counts[0] < counts[-1] < 5050
    assert seen == course()
    assert seen != course(seed=2)


def test_serves_on_a_real_port_and_leaves_it_free():
    """Two starts, one after the other, on one port: stopping frees it at once."""
    port = free_port()

    async def main():
        for _ in range(2):
            async with running(options(port=port)):
                assert len(await read(port)) == 14
                with pytest.raises(S7Error):
                    await read(port, db=99)
        with pytest.raises(OSError, match=r"(?i)connect"):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(main())


def test_a_taken_port_is_an_error_that_says_what_to_set():
    """No second server on one port, and the message names option and variable."""

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            async with running(options(port=taken.getsockname()[1])):
                pytest.fail("it started on a taken port")

    with pytest.raises(PartFailed, match=r"another program has it.*plc\.port.*DEMO_S7_PORT"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("block", "path", "message"),
    [
        ({"layout": "pres"}, ("layout",), "no layout 'pres'"),
        ({}, ("size",), "a block needs a layout or a size"),
        ({"layout": "press", "size": 4}, ("size",), "must be at least the layout's 14, got 4"),
        ({"layout": "press", "values": {"contador_bon": 1}}, ("values", "contador_bon"), "no field 'contador_bon'"),
        (
            {"layout": "press", "values": {"contador_bom": 99999}},
            ("values", "contador_bom"),
            "contador_bom (INT) must be what INT can hold, got 99999",
        ),
    ],
)
def test_wrong_blocks_are_found_offline(block, path, message):
    """Each mistake is told with its option's path."""
    wrong = SimulatedBlock(db=1, **block)
    (found,) = wrong.check(Scope(graph="g", node="plc", layouts=LAYOUTS, folder=Path()))
    assert (found.path, found.severity) == (path, Severity.ERROR)
    assert found.message.startswith(message)


@pytest.mark.parametrize("listen", ["0.0.0.0", "127.example.com"])  # noqa: S104 - the case
def test_a_block_twice_is_an_error_and_the_open_network_a_warning(listen):
    """S7 has no login: listening elsewhere than on loopback is said; a name is none of its addresses."""
    wrong = SimulatorOptions(dbs=[SimulatedBlock(db=1, size=1)] * 2, listen=listen)
    found = list(wrong.check(Scope(graph="g", node="plc")))
    assert [(each.path, each.severity) for each in found] == [
        (("dbs", 1, "db"), Severity.ERROR),
        (("listen",), Severity.WARNING),
    ]


def test_what_is_no_host_is_told_before_it_is_looked_up():
    """No name server could be asked for it."""
    found = list(options(listen="a..b").check(Scope(graph="g", node="plc", layouts=LAYOUTS)))
    assert [(each.path, each.severity) for each in found[:1]] == [(("listen",), Severity.ERROR)]


def test_two_simulators_on_one_port_collide():
    """The claim is what `check` compares."""
    claims = [
        s7_simulator.claimed(options(listen=listen), Scope(graph="g", node="n")) for listen in ("127.0.0.1", "::1")
    ]
    assert claims[0] == claims[1]
    assert Process("machine") is Process.MACHINE
