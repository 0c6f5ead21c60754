"""Live frames over HTTP, and recordings on demand: what comes, what is lost, who may."""

import asyncio
import json

import pytest

from pipeline.config.http import Http
from pipeline.config.recorder import RecorderOptions
from pipeline.recording.flight import FlightRecorder
from pipeline.recording.format import read
from pipeline.units import Secret
from pipeline.web import server
from tests.parts.engine import data
from tests.parts.waiting import eventually
from tests.parts.web import LOOPBACK, Watched, ask

GET = "GET /api/tap/{} HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def tapped(port, node, limit=2**16):
    """A reader that has got the head, and its way out."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    writer.write(GET.format(node).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    return reader, writer


async def told(reader):
    """The next line that says something, out of the chunks."""
    while True:
        line = await reader.readline()
        assert line, "the tap has ended"
        if line.startswith(b"{"):
            return json.loads(line)


def on_a_server(main):
    """Run `main(view, port)` with a server around it."""

    async def run():
        view = Watched()
        sockets = server.bind(LOOPBACK)
        task = asyncio.create_task(server.serve(LOOPBACK, view, sockets=sockets))
        try:
            await main(view, sockets[0].getsockname()[1])
        finally:
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(run())


@pytest.mark.parametrize(("node", "port"), [("press", "press"), ("frames", "frames"), ("broker", "frames")])
def test_frames_come_as_on_the_wire_while_they_leave_the_node(node, port):
    """Of a sink those that it takes. The tap ends with the graph, and leaves nothing behind when its reader goes."""

    async def main(view, number):
        reader, writer = await tapped(number, node)
        await eventually(lambda: view.ports[port]._receivers, "the tap is connected")
        for n in range(3):
            view.ports[port].push(data(view.press, n=n))
        assert [(await told(reader))["values"]["n"] for _ in range(3)] == [0, 1, 2]
        other, leaving = await tapped(number, node)
        leaving.close()
        await eventually(lambda: len(view.ports[port]._receivers) == 1, "the one that went is forgotten")
        view.ports[port].complete()
        rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
        assert b"{" not in rest
        writer.close()
        del other

    on_a_server(main)


def test_who_reads_too_slowly_loses_frames_and_is_told_how_many():
    """The pipeline loses none and is not held up; what was kept comes in order."""

    async def main(view, number):
        reader, writer = await tapped(number, "press", limit=1000)
        await eventually(lambda: view.ports["press"]._receivers, "the tap is connected")
        for n in range(3000):
            view.ports["press"].push(data(view.press, n=n))
        seen = []
        while not seen or "lost" not in seen[-1]:
            seen.append(await told(reader))
        *frames, lost = seen
        assert [frame["values"]["n"] for frame in frames] == list(range(len(frames)))
        assert lost == {"lost": 2000}
        writer.close()

    on_a_server(main)


def test_readers_are_counted():
    """The seventeenth is told to come later."""

    async def main(_, number):
        taps = [await tapped(number, "press") for _ in range(16)]
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        writer.write(GET.format("press").encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 503")
        for _, each in [*taps, (reader, writer)]:
            each.close()

    on_a_server(main)


@pytest.mark.parametrize(("node", "hint"), [("pres", "did you mean 'press'?"), ("x", "it has press, frames, broker")])
def test_a_node_that_is_not_there_is_named(node, hint):
    """With the nearest one, or all."""
    answer = ask(Watched(), f"/api/tap/{node}")
    assert answer.status_code == 404
    assert hint in answer.text


LOGIN = {"Authorization": "Bearer sesame"}
GUARDED = Http(listen="127.0.0.1:0", token=Secret("sesame"))


def test_a_snapshot_is_refused_where_nobody_has_to_log_in():
    """It writes to the disk: the answer says what to set, and what can be done instead."""
    answer = ask(Watched(), "/api/snapshot", method="POST")
    assert answer.status_code == 403
    assert "set http.token or http.users" in answer.text
    assert "kill -USR1" in answer.text


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {}, 401),
        ("GET", LOGIN, 405),
        ("POST", {**LOGIN, "Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", {**LOGIN, "Origin": "http://evil.example:9108", "Host": "line:9108"}, 403),
        ("POST", {**LOGIN, "Origin": "null", "Host": "line:9108"}, 403),
        ("POST", {**LOGIN, "Origin": "http://line:9108", "Host": "line:9108"}, 409),
        ("POST", LOGIN, 409),
    ],
)
def test_a_snapshot_wants_a_login_and_no_foreign_page(method, headers, status):
    """409 where the recorder is switched off."""
    assert ask(Watched(), "/api/snapshot", method=method, headers=headers, http=GUARDED).status_code == status


def test_a_snapshot_tells_where_it_is(tmp_path):
    """201 and the path; 507 where it can't be written."""
    view = Watched()
    view.recorder = FlightRecorder(view.graph, view.clock, RecorderOptions(), tmp_path / "new", "01JD")
    view.recorder.witness("press/press1").answered(view.wall, b"asked", b"came")
    answer = ask(view, "/api/snapshot", method="POST", headers=LOGIN, http=GUARDED)
    assert answer.status_code == 201
    (record,) = read(tmp_path / "new" / answer.json()["recording"].rpartition("/")[2]).records
    assert record.answer == b"came"
    (tmp_path / "file").write_text("")
    view.recorder = FlightRecorder(view.graph, view.clock, RecorderOptions(), tmp_path / "file", "01JD")
    assert ask(view, "/api/snapshot", method="POST", headers=LOGIN, http=GUARDED).status_code == 507
