"""The server on real sockets: taken ports, clients that misbehave, an end within a second."""

import asyncio
import contextlib
import signal
import socket
import time

import pytest

from pipeline.config.http import Http
from pipeline.errors import UsageError
from pipeline.frame import Frame, Kind
from pipeline.units import Secret
from pipeline.web import server, sliced
from tests.parts.engine import origin
from tests.parts.waiting import eventually
from tests.parts.web import LOOPBACK, NOW, Watched

GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.asynccontextmanager
async def serving(view=None, http=LOOPBACK):
    """A server on a free port; gives the port."""
    sockets = server.bind(http)
    port = sockets[0].getsockname()[1]
    ready = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(server.serve(http, view or Watched(), ready.set_result, sockets))
    assert await ready == f"http://127.0.0.1:{port}/"
    try:
        yield port
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def connected(port):
    """A client's two ends."""
    return await asyncio.open_connection("127.0.0.1", port)


async def answer(port, request=GET % b"/healthz"):
    """Status line of the answer to one request on a connection of its own."""
    reader, writer = await connected(port)
    writer.write(request)
    status = await reader.readline()
    writer.close()
    return status


def test_it_serves_and_stops_while_clients_hold_connections_open():
    """An idle one, one in the middle of a request, one that reads nothing: all are gone, and so is the port."""
    view = Watched()
    for number in range(200):
        where = origin(plc_id=f"press{number}")
        view.latest[where] = Frame(Kind.DATA, NOW, where, {f"tag_{n}": n for n in range(200)})

    async def main():
        async with serving(view) as port:
            assert await answer(port) == b"HTTP/1.1 200 OK\r\n"
            idle, half, greedy = [await connected(port) for _ in range(3)]
            idle[1].write(GET % b"/healthz")
            await idle[0].readuntil(b"ok\n")
            half[1].write(b"GET /healthz HT")
            greedy[1].write(GET % b"/api/last" * 20)
            await greedy[0].readexactly(100)
            began = time.monotonic()
        assert time.monotonic() - began < 1.0
        with pytest.raises(ConnectionRefusedError):
            await connected(port)
        assert await idle[0].read() == b""
        for _, writer in (idle, half, greedy):
            writer.close()

    asyncio.run(main())


def test_a_taken_port_is_a_clear_error_before_anything_starts():
    """It names the address, the option and the variable to change."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(UsageError, match=rf"{listen}: another program has this port; .*http\.listen.*METRICS_PORT"):
            server.bind(Http(listen=listen))


@pytest.mark.parametrize(
    ("listen", "reason"),
    [("192.0.2.1:9108", "not an address of this machine"), ("no.such.name.invalid:9108", "can't be resolved")],
)
def test_an_address_of_somebody_else_is_a_clear_error(listen, reason):
    """A plain sentence, not an errno."""
    with pytest.raises(UsageError, match=reason):
        server.bind(Http(listen=listen, insecure=True))


@pytest.mark.parametrize(
    ("more", "opens"),
    [
        ({}, False),
        ({"insecure": True}, True),
        ({"token": Secret("t0ken-of-tests")}, True),
        ({"users": {"a": Secret("pass")}}, True),
    ],
)
def test_where_others_can_connect_somebody_must_have_decided_who_may(more, opens):
    """A token, users, or `insecure: true`; otherwise the port is not opened."""
    http = Http(listen="0.0.0.0:0", **more)
    if opens:
        for taken in server.bind(http):
            taken.close()
    else:
        with pytest.raises(UsageError, match=r"set http\.token or http\.users"):
            server.bind(http)


def test_localhost_means_all_of_its_addresses_on_one_port():
    """IPv4 and, where it is there, IPv6: the browser chooses."""
    sockets = server.bind(Http(listen="localhost:0"))
    assert len({taken.getsockname()[1] for taken in sockets}) == 1
    assert any(taken.getsockname()[0] == "127.0.0.1" for taken in sockets)
    for taken in sockets:
        taken.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000, b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.0\r\n\r\n", b"200"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n\r\nabc", b"405"),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"421"),
    ],
)
def test_requests_that_are_too_long_or_wrong_are_refused_and_the_next_one_is_served(request_, status):
    """Heads over 16 KiB, TLS to the plain port, a body that nobody wants."""

    async def main():
        async with serving() as port:
            assert (await answer(port, request_)).split()[1] == status
            assert (await answer(port)).split()[1] == b"200"

    asyncio.run(main())


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: local", GET % b"/healthz" + b"GET"])
def test_a_client_that_does_not_finish_its_request_is_cut_off(begin, monkeypatch):
    """One that sends nothing, half a head, or half a second one."""
    monkeypatch.setattr(server, "_REQUEST_SECONDS", 0.1)
    monkeypatch.setattr(server, "_KEEP_ALIVE_SECONDS", 0.1)

    async def main():
        async with serving() as port:
            reader, writer = await connected(port)
            writer.write(begin)
            with contextlib.suppress(ConnectionResetError):
                async with asyncio.timeout(30):
                    await reader.read()
            writer.close()

    asyncio.run(main())


def test_a_client_that_does_not_read_its_answers_is_cut_off(monkeypatch):
    """Its answers must not pile up in memory, nor wait for ever."""
    monkeypatch.setattr(server, "_STALL_SECONDS", 0.1)
    view = Watched()
    view.latest[view.press] = view.latest[view.press].replace(values={f"tag_{n}": n for n in range(200_000)})

    async def main():
        async with serving(view) as port:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.setblocking(False)
                client.send(GET % b"/api/last" * 20)
                await eventually(lambda: is_cut(client), "the server gave up")

    def is_cut(client):
        try:
            client.send(GET % b"/healthz")
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False

    asyncio.run(main())


def test_a_crowd_of_idle_clients_does_not_keep_a_new_one_out(monkeypatch):
    """The oldest connection gives way."""
    monkeypatch.setattr(server, "_CONNECTIONS", 4)

    async def main():
        async with serving() as port:
            crowd = [await connected(port) for _ in range(8)]
            assert (await answer(port)).split()[1] == b"200"
            with contextlib.suppress(ConnectionResetError):
                assert await crowd[0][0].read() == b""
            for _, writer in crowd:
                writer.close()

    asyncio.run(main())


def test_the_loop_is_not_held_by_a_scrape_of_twenty_thousand_series():
    """While it is written other work has its turns: at least one for each slice."""
    view = Watched()
    for number in range(100):
        where = origin(plc_id=f"press{number}")
        view.latest[where] = Frame(Kind.DATA, NOW, where, {f"tag_{n}": n * 1.5 for n in range(200)})
    turns = 0

    async def main():
        async def count():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with serving(view) as port:
            reader, writer = await connected(port)
            counter = asyncio.create_task(count())
            writer.write(GET.replace(b"1.1", b"1.0") % b"/metrics")
            text = await reader.read()
            counter.cancel()
            writer.close()
        assert text.count(b"plc_last_value{") == 20_003
        assert turns > 5

    asyncio.run(main())


def test_what_is_no_request_within_an_answer_ends_the_connection():
    """A body goes wrong while the answer is under way: no second answer into the first, no error in the loop."""

    async def main():
        wrong = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
        async with serving() as port:
            reader, writer = await connected(port)
            writer.write(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            writer.write(b"no length\r\n")
            rest = await asyncio.wait_for(reader.read(), 10)
            assert b"HTTP/1.1 400" not in rest
            writer.close()
        assert wrong == []

    asyncio.run(main())


def test_a_body_that_goes_wrong_before_the_answer_gets_one_answer(caplog):
    """Its head is well and its first chunk is none: 400, and no second answer behind it, which would be an error."""

    async def main():
        async with serving() as port:
            wrong = b"POST /api/live/abc HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n"
            said = await answer(port, wrong)
            assert said.count(b"HTTP/1.1 ") == 1
            assert said.split()[1] == b"400"
            assert (await answer(port)).split()[1] == b"200"

    asyncio.run(main())
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_signals_and_library_logs_are_left_alone(capfd):
    """The pipeline has its own; uvicorn must not take Ctrl-C, nor write a line a request."""
    before = signal.getsignal(signal.SIGINT)

    async def main():
        async with serving() as port:
            await answer(port)
            await answer(port, b"nonsense\r\n\r\n")
            return signal.getsignal(signal.SIGINT)

    with asyncio.Runner() as runner:
        runner.get_loop()
        during = runner.run(main())
    assert getattr(during, "__func__", during) is not getattr(server.uvicorn.Server, "handle_exit", None)
    assert signal.getsignal(signal.SIGINT) is before
    assert "GET" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "begin",
    [b"GET /healthz HTTP/1.1\r\nX: ", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"],
)
def test_a_client_that_drips_is_cut_off_all_the_same(begin, monkeypatch):
    """A byte now and then buys no time: the deadline is the request's, not the byte's; a body is not waited for."""
    monkeypatch.setattr(server, "_REQUEST_SECONDS", 0.3)

    async def main():
        async with serving() as port:
            reader, writer = await connected(port)
            writer.write(begin)
            ended = asyncio.create_task(reader.read())
            async with asyncio.timeout(30):
                while not ended.done():
                    writer.write(b"x")
                    await asyncio.wait([ended], timeout=0.02)
            with contextlib.suppress(ConnectionError):
                await ended
            writer.close()
            assert (await answer(port)).split()[1] == b"200"

    asyncio.run(main())


def test_however_many_ask_for_long_answers_the_loop_has_its_turn_after_each_slice():
    """A dozen scrapes at once: between two turns of the loop no more is made than for one."""
    view = Watched()
    view.latest[view.press] = view.latest[view.press].replace(values={f"tag_{n}": n * 1.5 for n in range(2_000)})
    made, most = 0, 0

    async def main():
        nonlocal most

        async def count():
            nonlocal made, most
            while True:
                most, made = max(most, made), 0
                await asyncio.sleep(0)

        def noted(pieces):
            nonlocal made
            for part in slices(pieces):
                made += 1
                yield part

        slices = sliced._slices
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sliced, "_slices", noted)
            async with serving(view) as port:
                counter = asyncio.create_task(count())
                texts = await asyncio.gather(*(scraped(port) for _ in range(12)))
                counter.cancel()
        assert all(text.count(b"plc_last_value{") == 2_000 for text in texts)
        assert 1 <= most <= 2

    async def scraped(port):
        reader, writer = await connected(port)
        writer.write(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        text = await reader.read()
        writer.close()
        return text

    asyncio.run(main())
