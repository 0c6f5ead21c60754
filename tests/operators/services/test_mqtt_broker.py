"""The embedded broker: real clients on loopback, restarts, taken ports, and that nothing is left behind."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from operators.services.mqtt_broker import MqttBrokerOptions, mqtt_broker
from pipeline.errors import LinkError, PartFailed, PipelineError, Severity
from pipeline.mqtt.link import Access, Link
from pipeline.operator import NodeKind, Scope
from pipeline.units import Secret
from tests.parts.engine import make_context
from tests.parts.waiting import eventually, free_port


class Message:
    """What a link publishes."""

    n, topic, body, qos = 1, "plc/acme/press1", b"x" * 30_000, 1


def with_service(script: Callable[[asyncio.Task[None]], Awaitable[None]], **options: Any) -> None:
    """Run a script while the service runs; then end the service as the engine does."""

    async def main() -> None:
        context = make_context(asyncio.get_running_loop(), kind=NodeKind.SERVICE)
        started = asyncio.Event()
        task = asyncio.ensure_future(mqtt_broker.build(MqttBrokerOptions(**options), context)(started.set))
        waiting = asyncio.ensure_future(started.wait())
        await asyncio.wait({task, waiting}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        try:
            await script(task)
        finally:
            task.cancel()
            await asyncio.wait({task})

    asyncio.run(main())


async def publish(port: int, protocol: int, again: int = 5, **access: str) -> int:
    """Publish one message of QoS 1 and give the PUBACK's reason."""
    acks: list[Any] = []
    options = {"host": "127.0.0.1", "client_id": f"c{protocol}"} | access
    link = Link(Access(port=port, protocol=protocol, **options), acks.extend)
    try:
        await link.open(10)
    except LinkError as error:
        # rumqttd gives a connection's number on at once, and the end of the one before then ends the new one. Real
        # clients come back, as this one does.
        if error.reason != "lost" or again == 0:
            raise
        return await publish(port, protocol, again - 1, **access)
    link.publish([Message()], lambda _, reason: pytest.fail(reason))
    await eventually(lambda: acks, "PUBACK")
    await link.close(2)
    return acks[0][1]


@pytest.fixture
def children(monkeypatch):
    """The processes that the service has started, in order."""
    started: list[subprocess.Popen[bytes]] = []
    make = subprocess.Popen

    def remember(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(make(*args, **options))
        return started[-1]

    monkeypatch.setattr("operators.services.mqtt_broker.subprocess.Popen", remember)
    return started


def test_it_serves_both_versions_to_who_may_log_in(children):
    """MQTT 5 on `port`, 3.1.1 on `port_311`, one login for both; afterwards ports are free and no process is left."""
    ports = free_port(), free_port()

    async def script(task: asyncio.Task[None]) -> None:
        login = {"username": "edge", "password": 'p"ä😀\\'}
        assert await publish(ports[0], 5, **login) == 0
        assert await publish(ports[1], 4, **login) == 0
        with pytest.raises(LinkError):
            await publish(ports[0], 5, **login | {"password": "wrong"})
        with pytest.raises(LinkError):
            await publish(ports[0], 5)

    with_service(script, port=ports[0], port_311=ports[1], username="edge", password=Secret('p"ä😀\\'))
    assert all(child.returncode is not None for child in children)
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_taken_port_names_option_and_variable():
    """The error says which port, and what to set."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        async def script(task: asyncio.Task[None]) -> None:
            with pytest.raises(PartFailed, match=rf"127\.0\.0\.1:{port} .*node\.port.*DEMO_MQTT_PORT"):
                await task

        with_service(script, port=port)


def test_a_password_whose_file_is_missing_is_no_defect_of_the_code(tmp_path):
    """It names the file, and is tried again: somebody may put it there."""

    async def script(task: asyncio.Task[None]) -> None:
        with pytest.raises(PipelineError, match=f"password file '{tmp_path}/secret' can't be read") as caught:
            await task
        assert not caught.value.fatal

    with_service(script, port=free_port(), username="edge", password=Secret(file=tmp_path / "secret"))


def test_a_dead_broker_is_an_error_that_the_engine_repairs(children):
    """When the process dies the service fails, not for good; started again on the same port it serves again."""
    port = free_port()

    async def script(task: asyncio.Task[None]) -> None:
        children[0].kill()
        with pytest.raises(PipelineError, match="ended with code") as caught:
            await task
        assert not caught.value.fatal

    async def again(task: asyncio.Task[None]) -> None:
        assert await publish(port, 5) == 0

    with_service(script, port=port)
    with_service(again, port=port)


def test_signals_leave_it_alone_until_the_graph_has_ended(children):
    """A terminal's Ctrl-C and a service manager's SIGTERM reach all processes; the sinks still need the broker."""
    port = free_port()

    async def script(task: asyncio.Task[None]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            children[0].send_signal(number)
        assert await publish(port, 5) == 0

    with_service(script, port=port)


def test_options_that_expose_or_contradict_are_told():
    """Open to the network is a warning; half a login and one port for two are errors."""
    scope = Scope(graph="g", node="n")

    def findings(**options: Any) -> list[tuple[str | int, Severity]]:
        return [(found.path[0], found.severity) for found in MqttBrokerOptions(port=1, **options).check(scope)]

    assert findings() == []
    assert findings(listen="0.0.0.0") == [("listen", Severity.WARNING)]  # noqa: S104 - what is warned of
    assert findings(port_311=1) == [("port_311", Severity.ERROR)]
    assert findings(username="u") == [("username", Severity.ERROR)]
    options = MqttBrokerOptions(port=1883, port_311=1884)
    assert [claim.key for claim in mqtt_broker.claimed(options, scope)] == ["1883", "1884"]
