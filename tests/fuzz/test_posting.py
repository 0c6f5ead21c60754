"""What an HTTP server answers, damaged: an answer or a reason, within bounded memory and time."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import run_virtual
from pipeline.errors import LinkError
from pipeline.posting.answers import explain_answer, judge, reason_of, retry_after
from pipeline.posting.client import Access, Client, Url
from tests.parts.fuzzing import chunks, damaged, fuzzed, worded

GOOD = [
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 429 Slow\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 X\r\nRetry-After: Sun, 17 Nov 2024 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 301 Moved\r\nLocation: https://\xe9/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"y" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"z" * 9000,
]
CUTS = st.lists(st.integers(0, 1 << 16), max_size=6)


@fuzzed()
@given(st.lists(damaged(GOOD), min_size=1, max_size=3), CUTS, st.sampled_from(["keep", "close", "abort"]))
def test_a_damaged_answer_is_an_answer_or_a_reason(said, cuts, end):
    """Three posts over one client, whatever the one before has left on the connection."""
    answers = iter(said * 4)

    class Server(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, _):
            for piece in chunks(next(answers, b""), cuts):
                self.transport.write(piece)
            if end != "keep":
                getattr(self.transport, end)()

    async def main(loop):
        errors = []
        loop.set_exception_handler(lambda _, context: errors.append(context))
        await loop.create_server(Server, "server", 80)
        access = Access(
            url=Url.parse("http://server/in"), headers={}, tls=None, connections=2, timeout=5.0, wall=lambda: 1.7e9
        )
        client = Client(access)
        for _ in range(3):
            try:
                answer = await client.post(b"{}", {})
            except LinkError as error:
                worded(error)
            else:
                judge(answer.status)
                assert reason_of(answer).encode()
                worded(explain_answer(answer))
                assert len(answer.text) <= 200
                assert 0 <= answer.pause <= 3600
        await client.close()
        await asyncio.sleep(1)
        assert errors == []

    run_virtual(main)


DATES = ["Sun, 17 Nov 2024 00:00:00 GMT", "Sun, 17 Nov 2024 00:00:00 -0000", "17 Nov 24 99:99:99 +9999", "30", "1e9"]


@fuzzed()
@given(
    st.one_of(
        st.text(st.characters(max_codepoint=255)),
        st.builds(
            lambda date, at, more: date[:at] + more + date[at:], st.sampled_from(DATES), st.integers(0, 30), st.text()
        ),
    )
)
def test_any_retry_after_is_a_pause(text):
    """Dates of any form, numbers of any length."""
    assert 0 <= retry_after(text, 1.7e9) <= 3600
