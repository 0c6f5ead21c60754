"""Runs an MQTT broker beside the graph (rumqttd, as PyPI `iotcore` ships it), for demos and for tests of other parts.

Clients of MQTT 5 connect to `port`; this broker has no listener for both versions, so older clients get `port_311`.
Messages pass between the two. Ordering: as each publisher sent them. Delivery: nothing is on disk, so sessions and
retained messages end with the graph. Memory: the latest 1 GiB of messages at most. On disconnect: clients may come back
at any time; who connects within milliseconds of another's farewell may be dropped once, since rumqttd gives its
connection numbers on at once. The broker is a child process; when it dies it is started again, and when this process
dies, however, it ends itself.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from pipeline.errors import Finding, PartFailed, PipelineError, Severity
from pipeline.hosts import check_host
from pipeline.operator import Claim, Context, Options, RunService, Scope, service
from pipeline.tls import is_loopback
from pipeline.units import Duration, Secret

__all__ = ["MqttBrokerOptions", "mqtt_broker"]

START_DEADLINE = Duration(10)
POLL = Duration(0.1)
# Signals of a terminal or a service manager reach the child too; it must outlive the sinks that still publish, so it
# ends with the pipe from its parent and with nothing else.
_CHILD = """
import logging, os, signal, sys, threading

def follow():
    sys.stdin.buffer.read()
    os._exit(0)

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
logging.disable()
threading.Thread(target=follow, daemon=True).start()
from iotcore.iotcore import IotCoreBroker
IotCoreBroker(config_path=sys.argv[1]).run_forever()
"""
_CONFIG = """
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
"""
_LISTENER = """
[{version}.1]
name = "{version}"
listen = {address}
next_connection_delay_ms = 1
[{version}.1.connections]
connection_timeout_ms = 10000
max_payload_size = 16777216
max_inflight_count = 100
"""


class MqttBrokerOptions(Options):
    """Options of `mqtt_broker`."""

    port: Annotated[int, Meta(description="TCP port for clients of MQTT 5", ge=1, le=65535)]
    listen: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port_311: Annotated[int, Meta(description="TCP port for clients of MQTT 3.1.1; 0: none", ge=0, le=65535)] = 0
    username: Annotated[str, Meta(description="the only user; empty: anybody")] = ""
    password: Annotated[Secret, Meta(description="that user's password")] = Secret()

    def check(self, scope: Scope) -> Iterable[Finding]:
        """Half a login, one port for two, and a broker for anybody on the network."""
        del scope
        if bool(self.username) != bool(self.password):
            yield Finding(path=("username",), message="username and password belong together", hint="set both or none")
        if self.port == self.port_311:
            yield Finding(path=("port_311",), message=f"port is {self.port} too", hint="choose another")
        if self.listen:  # else it listens everywhere
            yield from check_host(self.listen, ("listen",))
        if not self.username and not is_loopback(self.listen):
            yield Finding(
                path=("listen",),
                message=f"anybody who reaches {self.listen} may read and write",
                hint="set username and password, or listen on 127.0.0.1",
                severity=Severity.WARNING,
            )


@service
def mqtt_broker(options: MqttBrokerOptions, context: Context) -> RunService:
    """An embedded broker."""

    async def run(started: Callable[[], None]) -> None:
        ports = [port for port in (options.port, options.port_311) if port]
        for port, option in zip(ports, ("port", "port_311"), strict=False):
            _require_free(options.listen, port, f"{context.node}.{option}")
        with _broker(options) as (process, errors):
            over = context.clock.loop.time() + START_DEADLINE
            while not all([await _answers(options.listen, port) for port in ports]):
                if context.clock.loop.time() > over:
                    raise PipelineError(f"the broker did not listen within {START_DEADLINE}")
                await _alive(process, errors)
            context.log.info("broker listens", address=options.listen, port=options.port)
            started()
            while True:
                await _alive(process, errors)

    return run


@mqtt_broker.claims
def _claims(options: MqttBrokerOptions, _: Scope) -> Iterable[Claim]:
    for option, port in (("port", options.port), ("port_311", options.port_311)):
        if port:
            yield Claim(what="TCP port", key=str(port), path=(option,))


def _require_free(listen: str, port: int, option: str) -> None:
    try:
        socket.create_server((listen, port), family=_family(listen)).close()
    except OSError as error:
        raise PartFailed(
            f"can't listen on {listen}:{port} ({error.strerror}); set another port with {option}, "
            "where it comes from a variable by that one: DEMO_MQTT_PORT=11883"
        ) from error


def _family(listen: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in listen else socket.AF_INET


@contextmanager
def _broker(options: MqttBrokerOptions) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    with tempfile.TemporaryDirectory(prefix="mqtt_broker-") as folder:
        config, errors = Path(folder, "broker.toml"), Path(folder, "errors")
        config.write_text(_configure(options), encoding="utf-8")
        with errors.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 - this Python, and code that stands here
                [sys.executable, "-P", "-c", _CHILD, str(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            yield process, errors
        finally:
            process.kill()
            process.communicate()


def _configure(options: MqttBrokerOptions) -> str:
    host = f"[{options.listen}]" if ":" in options.listen else options.listen
    text = _CONFIG
    try:
        # JSON's strings are TOML's, but for letters written as two halves.
        user, password = (json.dumps(t, ensure_ascii=False) for t in (options.username, options.password.reveal()))
    except OSError as error:
        raise PipelineError(f"password file '{error.filename}' can't be read ({error.strerror})") from error
    for version, port in (("v5", options.port), ("v4", options.port_311)):
        if port:
            text += _LISTENER.format(version=version, address=json.dumps(f"{host}:{port}"))
            if options.username:
                text += f"auth = {{{user} = {password}}}\n"
    return text


async def _answers(listen: str, port: int) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen)  # noqa: S104 - where to look, not where to listen
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)
    except OSError:
        return False
    transport.abort()
    return True


async def _alive(process: subprocess.Popen[bytes], errors: Path) -> None:
    await asyncio.sleep(POLL)
    if process.poll() is not None:
        raise PipelineError(f"the broker's process ended with code {process.returncode} {_last_line(errors)}".strip())


def _last_line(file: Path) -> str:
    lines = file.read_text(errors="replace").strip().splitlines()
    return f"({lines[-1]})" if lines else ""
