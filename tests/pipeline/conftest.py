"""A command in this process; a pipeline's HTTP interface on a real socket, with a graph behind it that tests change."""

import asyncio
import threading

import pytest

from pipeline.cli import main
from pipeline.config.http import Http
from pipeline.units import Secret
from pipeline.web import server
from tests.parts.web import Watched


class Served:
    """A view behind a server in a thread of its own."""

    def __init__(self, token="", users=()):
        self.view = Watched()
        http = Http(listen="127.0.0.1:0", token=Secret(token), users={user: Secret(user) for user in users})
        sockets = server.bind(http)
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        begun = threading.Event()

        async def main():
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.ensure_future(server.serve(http, self.view, sockets=sockets))
            begun.set()
            await asyncio.wait([self._task])

        self._thread = threading.Thread(target=asyncio.run, args=(main(),))
        self._thread.start()
        begun.wait(10)

    def stop(self):
        """Answer no more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)


@pytest.fixture
def run(capfd):
    """Calls a command in this process; its exit code, output and errors."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out = capfd.readouterr()
        return end.value.code, out.out, out.err

    return run


@pytest.fixture
def served():
    """A pipeline without a login."""
    one = Served()
    yield one
    one.stop()


@pytest.fixture
def protected():
    """A pipeline that wants a token."""
    one = Served("open-sesame")
    yield one
    one.stop()
