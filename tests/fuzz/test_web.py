"""Requests to the page, damaged, over real sockets: refused in order, never a 500, never an answer without a login."""

import asyncio
import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.http import Http
from pipeline.units import Secret
from pipeline.web import server
from tests.parts.fuzzing import chunks, damaged, fuzzed
from tests.parts.web import LOOPBACK, Watched

TOKEN = "t0ken-of-tests"
LOGIN = base64.b64encode(f"token:{TOKEN}".encode()).decode()
PATHS = ["/", "/metrics", "/api/last", "/api/graph", "/api/snapshot", "/healthz", "/readyz", "/static/x/page.css"]
PATHS += [
    "/api/tap/nobody",
    "/static/x/../app.py",
    "/static/x/%2e%2e/app.py",
    "//",
    "/healthz/",
    "/healthz/../metrics",
    "*",
]
PATHS += [
    "/api/live/x?w=0",
    "/api/history?s=a|b&from=nan",
    "/api/series?q=%00",
    "/api/config",
    "/api/node/x",
    "/api/dead/x",
]
PATHS += ["http://localhost/metrics", "/metrics?x=" + "y" * 3000, "/%00", "/%ff", "/é", "/healthz;/metrics", "/HEALTHZ"]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get", "PRI", "G\0T", ""]
HEADERS = [
    *(
        "Host: localhost",
        "Host: evil.example",
        "Host:",
        "host: localhost, evil",
        "Host: [::1]:9108",
        "Host: 127.0.0.1:1",
    ),
    *(
        "Content-Length: 0",
        "Content-Length: 5",
        "Content-Length: -1",
        "Content-Length: 5, 6",
        "Content-Length: 9" + "9" * 30,
    ),
    *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: x", "Expect: 100-continue"),
    *("Connection: close", "Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    *(
        "Authorization: Bearer",
        f"Authorization: Basic {LOGIN[:-3]}",
        "Authorization: Basic \xff\xfe",
        "Authorization: é é",
    ),
    *("Accept-Language: pt-BR;q=x, *;q=-1", "Accept-Language: " + "x-" * 2000, "Accept-Encoding: gzip", "Cookie: a=b"),
    *(
        "Sec-Fetch-Site: cross-site",
        "X: " + "y" * 20_000,
        " folded: x",
        "no colon",
        ": empty",
        "A\0: b",
        "Range: bytes=0-9",
    ),
]
BODIES = [
    "",
    "hello",
    "5\r\nhello\r\n0\r\n\r\n",
    "zz\r\n",
    "ffffffffffffffff\r\n",
    "5;" + "x" * 20_000,
    "0\r\nA: b\r\n\r\n",
]
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@pytest.fixture(scope="module")
def served():
    """A loop with two servers on it, one behind a login; a function that sends to one of them, and gives what came."""
    loop = asyncio.new_event_loop()
    errors = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    ports = {}
    tasks = []
    for name, http in (("open", LOOPBACK), ("closed", Http(listen="127.0.0.1:0", token=Secret(TOKEN)))):
        sockets = server.bind(http)
        ports[name] = sockets[0].getsockname()[1]
        tasks.append(loop.create_task(server.serve(http, Watched(), sockets=sockets)))

    async def exchange(name, pieces):
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[name])
        said = b""
        try:
            async with asyncio.timeout(20):
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0)
                writer.write_eof()
                said = await reader.read()
        except OSError:
            pass  # the server has cut it before all was sent
        writer.close()
        assert errors == []
        return said

    def send(name, pieces):
        said = loop.run_until_complete(exchange(name, pieces))
        healthy = loop.run_until_complete(exchange("open", [b"GET /healthz HTTP/1.0\r\n\r\n"]))
        assert healthy.endswith(b"\r\n\r\nok\n")
        return said

    yield send
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.wait(tasks))
    loop.close()


requests = st.builds(
    lambda method, path, version, headers, body: "\r\n".join(
        [f"{method} {path} HTTP/{version}", *headers, "", body]
    ).encode("latin-1"),
    st.sampled_from(METHODS),
    st.sampled_from(PATHS),
    st.sampled_from(["1.1", "1.1", "1.1", "1.0", "0.9", "2", "9.9", "x"]),
    st.lists(st.sampled_from(HEADERS), max_size=4).map(lambda more: ["Host: localhost", *more]),
    st.sampled_from(BODIES),
)
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
CUTS = st.lists(st.integers(0, 1 << 16), max_size=5)


@fuzzed()
@given(
    wire=st.one_of(st.lists(requests, min_size=1, max_size=3).map(b"".join), damaged([GET, GET + GET])),
    cuts=CUTS,
    name=st.sampled_from(["open", "closed"]),
)
def test_any_request_is_answered_in_order_or_refused(wire, cuts, name, served):
    """Methods, paths, versions, headers, sizes, chunks, pipelined; and afterwards the health check answers."""
    said = served(name, chunks(wire, cuts))
    found = [int(status) for status in STATUS.findall(said)]
    assert said == b"" or found
    # 503: not ready; 501 and 505 are the server's own.
    assert all(status < 500 or status in {501, 503, 505} for status in found)
    if name == "closed":
        assert b"plc_read_ok_total" not in said
        assert b"press1" not in said


@fuzzed(0.5)
@given(
    path=st.sampled_from(["/", "/metrics", "/api/last", "/api/graph", "/readyz", "/static/x/page.css"]),
    given_=st.one_of(
        damaged([f"Bearer {TOKEN}".encode(), f"Basic {LOGIN}".encode(), b"Basic " + base64.b64encode(b"token:")], 2),
        st.binary(max_size=40),
    ),
)
def test_no_damaged_login_opens_anything(path, given_, served):
    """Only the token itself does; too many wrong ones are told to wait."""
    given_ = given_.replace(b"\r", b"").replace(b"\n", b"").strip()
    said = served("closed", [b"GET %b HTTP/1.0\r\nAuthorization: %b\r\n\r\n" % (path.encode(), given_)])
    (status,) = STATUS.findall(said)[:1]
    assert status in {b"400", b"401", b"429"} or TOKEN.encode() in given_ or b64(given_) == b"token:" + TOKEN.encode()


def b64(given_):
    """What a Basic login says."""
    try:
        return base64.b64decode(given_.partition(b" ")[2].strip())
    except ValueError:
        return b""
