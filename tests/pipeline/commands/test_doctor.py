"""What `doctor` learns of a graph that runs on this machine, from its own page, and of a journal that is another's."""

import asyncio
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.commands import doctor
from pipeline.config.http import Http
from pipeline.units import Secret
from tests.parts.engine import make_graph
from tests.parts.line import ROOT
from tests.pipeline.conftest import Served


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nothing grows meanwhile."""
    monkeypatch.setattr(doctor, "_GROWTH_PAUSE", 0.0)


def findings(address, **login):
    """What is said of the graph that should run there: what, mark, found."""

    async def main():
        graph = replace(make_graph(), http=Http(listen=address, **login))
        return [(each.what, str(each.mark), each.found) async for _, each in doctor.diagnose(graph)][1:]

    return asyncio.run(main())


@pytest.mark.parametrize(
    "login",
    [{}, {"token": Secret("open-sesame")}, {"users": {"anna": Secret("anna")}}],
    ids=["nobody", "token", "user"],
)
def test_what_runs_is_asked_with_the_login_of_the_file_and_no_proxy(login, monkeypatch):
    """Its token, or one of its users; a proxy of this machine's environment knows nothing of it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    running = Served("open-sesame" if "token" in login else "", login.get("users", ()))
    try:
        told = [("running", "good", "it runs and is ready"), ("backlog", "good", "0 frames wait")]
        assert findings(running.url.removeprefix("http://"), **login) == told
        if login:
            assert findings(running.url.removeprefix("http://")) == [
                ("running", "warning", "it runs with another token")
            ]
    finally:
        running.stop()


def test_another_program_on_its_port_is_no_graph():
    """It answers, and not as HTTP has it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def answer():
            connection = other.accept()[0]
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        ((what, mark, found),) = findings(f"127.0.0.1:{port}")
        thread.join(10)
    assert (what, mark) == ("running", "note")
    assert found.startswith(f"the graph does not run at 127.0.0.1:{port}: ")


LOOK = """
import os, sys
from pathlib import Path
from pipeline.commands import doctor
os.getuid() or os.setuid(65534)
print(*(f"{each.mark}: {each.found}" for each in doctor._journal(Path(sys.argv[1]))), sep="\\n")
"""


@pytest.mark.parametrize("below", ["", "line1/broker"])
def test_a_journal_of_another_user_is_a_finding(below):
    """Its folder may not be entered, or not even be seen."""
    with tempfile.TemporaryDirectory() as folder:
        mine = Path(folder, "data")
        (mine / below).mkdir(parents=True)
        mine.chmod(0)
        Path(folder).chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", LOOK, mine / below], capture_output=True, text=True, check=False, cwd=ROOT
        )
        mine.chmod(0o700)
    assert done.stdout.startswith(f"problem: {mine} can't be written\n"), done.stderr
