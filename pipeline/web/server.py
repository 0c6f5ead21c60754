"""The HTTP server: uvicorn's protocol on the pipeline's own loop, without its server around it.

uvicorn's `Server` takes the signals, wakes ten times a second and ends only when its clients do. Its protocol class is
all that is needed, with limits added for who connects and sends nothing, or asks and reads nothing.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from h11 import IDLE, SEND_RESPONSE
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from pipeline.config.http import Http
from pipeline.errors import UsageError
from pipeline.web.access import is_loopback
from pipeline.web.app import LONGEST_HEAD, make_app
from pipeline.web.history import History
from pipeline.web.view import Running

__all__ = ["bind", "check_login", "serve", "url"]

_CONNECTIONS = 128  # file descriptors are shared with PLCs, broker and journal
_WAITING = 1024  # connections that the kernel keeps until they are accepted: a burst is not sent away
_REQUEST_SECONDS = 10.0
_STALL_SECONDS = 30.0
_KEEP_ALIVE_SECONDS = 15
_STOP_SECONDS = 0.5


def bind(http: Http) -> list[socket.socket]:
    """Take the address of `http.listen`, before anything else starts.

    Raises:
        UsageError: the address is taken, not this machine's, not allowed, or open to others without a login.
    """
    host, port = http.host, http.port
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(_refusal(http, f"'{host}' can't be resolved")) from error
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            sockets.append(_listening(family, kind, protocol, (address[0], port, *address[2:])))
        except OSError as error:
            if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT} and len(found) > 1:
                continue  # `localhost` also names ::1 where IPv6 is switched off
            for taken in sockets:
                taken.close()
            raise UsageError(_refusal(http, _reason(error))) from error
        port = port or sockets[0].getsockname()[1]
    if not sockets:
        raise UsageError(_refusal(http, f"'{host}' is not an address of this machine"))
    try:
        check_login(http, sockets)
    except UsageError:
        for taken in sockets:
            taken.close()
        raise
    return sockets


def check_login(http: Http, sockets: list[socket.socket]) -> None:
    """Judge who could connect to these sockets.

    Raises:
        UsageError: other machines, and nobody would have to log in.
    """
    if not (http.token or http.users or http.insecure or _private(sockets)):
        raise UsageError(
            f"http.listen: {http.listen} can be reached by other machines and nobody would have to log in; "
            "set http.token or http.users, listen on 127.0.0.1, or allow it with http.insecure: true"
        )


def url(sockets: list[socket.socket]) -> str:
    """Where the page is, for people."""
    host, port = sockets[0].getsockname()[:2]
    name = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


async def serve(
    http: Http,
    running: Running,
    ready: Callable[[str], None] = lambda _: None,
    sockets: list[socket.socket] | None = None,
) -> None:
    """Serve until cancelled, then stop within a second, whatever clients do.

    Args:
        http: the graph's `http:` section.
        running: what to show.
        ready: told the page's address once it answers.
        sockets: from `bind`; taken here when not given. They are closed at the end.

    Raises:
        UsageError: see `bind`.
    """
    sockets = bind(http) if sockets is None else sockets
    loop = asyncio.get_running_loop()
    history = History(running)
    config = uvicorn.Config(
        make_app(http, running, loopback=_private(sockets), history=history),
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        h11_max_incomplete_event_size=LONGEST_HEAD,
    )
    config.load()
    state = ServerState()
    servers: list[asyncio.Server] = []
    # Between the ticks of the sources, which read at full seconds.
    leave = running.clock.tick(1.0, history.sample, 0.5)
    try:
        for taken in sockets:
            server = await loop.create_server(lambda: _Protocol(config, state, {}, loop), sock=taken, backlog=_WAITING)
            servers.append(server)
        ready(url(sockets))
        await loop.create_future()
    finally:
        leave()
        for server in servers:
            server.close()
        for taken in sockets:
            taken.close()
        await _end(state)


class _Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, with an end to connections that keep us waiting."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.arrived = self.loop.time()
        self._asking = _Deadline(self.loop, _REQUEST_SECONDS, transport.abort)
        self._reading = _Deadline(self.loop, _STALL_SECONDS, self._give_up)
        self._asking.start()
        if len(self.connections) > _CONNECTIONS:
            # The oldest goes, not the newest: who fills the table must not keep the health check out.
            cast("_Protocol", min(self.connections, key=lambda other: cast("_Protocol", other).arrived)).abort()

    def data_received(self, data: bytes) -> None:
        if not self.flow.write_paused:
            self._reading.stop()
        super().data_received(data)
        if self.conn.their_state is IDLE:
            self._asking.start()
        else:
            self._asking.stop()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; within an answer that is under way nothing else may be said."""
        if self.conn.our_state in (IDLE, SEND_RESPONSE):
            if self.cycle is not None:
                # Its head was well: an answer is being made, and may not follow this one.
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            super().send_400_response(msg)
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._reading.start()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reading.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._asking.stop()
        super().connection_lost(exc)
        self._reading.stop()

    def abort(self) -> None:
        """Cut the connection, at once."""
        self.transport.abort()

    def _give_up(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()


class _Deadline:
    """A timer that one name starts and stops; starting it again leaves it as it is."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, action: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._action = action
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._fire)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._action()


async def _end(state: ServerState) -> None:
    """Answers under way get half a second, then every connection is cut."""
    for connection in tuple(state.connections):
        connection.shutdown()
    if state.tasks:
        await asyncio.wait(tuple(state.tasks), timeout=_STOP_SECONDS)
    for task in tuple(state.tasks):
        task.cancel()
    for connection in tuple(state.connections):
        connection.transport.abort()
    await asyncio.sleep(0)


def _listening(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    listening = socket.socket(family, kind, protocol)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where SO_REUSEADDR means stealing a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # Listening now and not later: on Linux only this finds out that another process has the port.
        listening.listen(_WAITING)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _private(sockets: list[socket.socket]) -> bool:
    return all(is_loopback(listening.getsockname()[0].partition("%")[0]) for listening in sockets)


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program has this port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this is not an address of this machine"
    if error.errno == errno.EACCES:
        return "ports below 1024 need special rights"
    return error.strerror or str(error)


def _refusal(http: Http, reason: str) -> str:
    return (
        f"http.listen: can't listen on {http.listen}: {reason}; "
        "choose another with http.listen in the graph file, or by the variables METRICS_HOST and METRICS_PORT"
    )
