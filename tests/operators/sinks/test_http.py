"""The sink `http` against a scripted server: nothing is lost, batches are taken apart only where they must be."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop

from operators.sinks.http import HttpOptions, http
from pipeline.actor import Mailbox, State
from pipeline.clock import run_virtual
from pipeline.codecs import Envelope
from pipeline.config.loader import load_text
from pipeline.errors import ConfigurationError, Severity
from pipeline.journal.file import Store
from pipeline.journal.options import JournalOptions
from pipeline.operator import Flow, Overflow, Scope
from pipeline.posting.poster import Compression, Form
from pipeline.retry import Retry
from pipeline.tls import TlsOptions
from pipeline.units import Duration, Secret, Size
from tests.parts.engine import data, make_context, origin
from tests.parts.mosquitto import Authority
from tests.parts.receiver import Receiver
from tests.parts.stage import SinkStage
from tests.parts.waiting import eventually


class Stage(SinkStage):
    """A running sink and the server before it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, folder: Path, receiver: Receiver, given: dict[str, Any]
    ) -> None:
        journal = JournalOptions(path=str(folder / "journal"), **given.pop("journal", {}))
        options = HttpOptions(**{"url": f"http://127.0.0.1:{receiver.port}/in?a=1", "journal": journal, **given})
        super().__init__(loop, http, options, origin())
        self.receiver = receiver

    @property
    def dead(self) -> int:
        """Dead letters."""
        return self.context.details()["dead_letters"]

    async def all_arrive(self, *, without: set[int] = frozenset()) -> None:
        """Wait until every other frame has been taken and the sink has nothing left."""
        wanted = set(range(self.sent)) - without
        await eventually(lambda: set(self.receiver.numbers) == wanted, "all frames arrive", 900)
        await eventually(lambda: not self.context.details()["backlog_frames"], "all frames are acknowledged", 900)


Script = Callable[[Stage], Any]


def play(folder: Path, script: Script, receiver: Receiver | None = None, **options: Any) -> Receiver:
    """Run a script beside a sink in virtual time; then end the sink. The server."""
    scripted = receiver or Receiver()

    async def main(loop: Any) -> None:
        scripted.port = 80
        await scripted.listen(loop)
        running = Stage(loop, folder, scripted, options)
        try:
            await script(running)
        finally:
            await running.stop()
            scripted.kill()
            await asyncio.sleep(0.1)
        assert loop.connections == []

    run_virtual(main)
    return scripted


def play_for_real(folder: Path, script: Script, secure: ssl.SSLContext | None = None, **options: Any) -> None:
    """The same on the production's loop and real sockets."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        receiver = Receiver()
        await receiver.listen(loop, secure)
        given = {"retry": Retry(initial=Duration(0.05), max=Duration(0.2)), **options}
        given["url"] = f"{given.pop('scheme', 'https' if secure else 'http')}://localhost:{receiver.port}/in"
        running = Stage(loop, folder, receiver, given)
        try:
            await script(running)
        finally:
            await running.stop()
            receiver.kill()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize(
    ("form", "kind", "begins", "ends"),
    [
        (Form.LINES, "application/x-ndjson", b'{"ts":', b"}\n"),
        (Form.ARRAY, "application/json", b'[{"ts":', b"}]"),
        (Form.OBJECT, "application/json", b'{"ts":', b"}"),
    ],
)
def test_frames_are_posted_in_each_form(tmp_path, form, kind, begins, ends):
    """Body, headers and order are right; every frame comes once."""

    async def script(on: Stage) -> None:
        on.put(250)
        await on.all_arrive()
        assert on.state == (State.RUNNING, "")

    headers = {"X-Api-Key": Secret("key")}
    receiver = play(tmp_path, script, format=form, token=Secret("open sesame"), headers=headers)
    assert receiver.numbers == list(range(250))
    assert [frame["seq"] for frame in receiver.taken] == list(range(250))
    sizes = [len(post.frames) for post in receiver.posts]
    assert sizes == ([1] * 250 if form is Form.OBJECT else [100, 100, 50])
    post = receiver.posts[0]
    assert (post.path, post.headers["content-type"]) == ("/in?a=1", kind)
    assert (post.headers["authorization"], post.headers["x-api-key"]) == ("Bearer open sesame", "key")
    assert post.raw.startswith(begins)
    assert post.raw.endswith(ends)
    assert receiver.connections == 1
    assert receiver.most == 1


def test_a_quiet_sink_sees_whether_its_server_is_there(tmp_path):
    """Ready without a frame, and nothing is posted for it; a server that is away is told, and when it is back."""
    receiver = Receiver()

    async def script(on: Stage) -> None:
        await eventually(lambda: on.state == (State.RUNNING, ""), "reached")
        assert (receiver.posts, receiver.connections) == ([], 1)

    async def away(on: Stage) -> None:
        on.receiver.kill()
        await eventually(lambda: on.state[0] is State.BACKING_OFF, "noticed")
        assert "nothing listens there" in on.state[1]
        await on.receiver.listen(on.loop)
        await eventually(lambda: on.state == (State.RUNNING, ""), "reached", 120)
        on.put(3)
        await on.all_arrive()

    play(tmp_path / "a", script, receiver)
    play(tmp_path / "b", away)


def test_frames_that_come_while_the_server_is_looked_for_are_posted(tmp_path):
    """They wait for that, and no longer; also at the end."""

    async def script(on: Stage) -> None:
        await asyncio.sleep(0.001)
        on.put(3)
        await asyncio.sleep(0)

    assert play(tmp_path, script).numbers == [0, 1, 2]


def test_bodies_can_be_compressed(tmp_path):
    """Small ones on the loop, large ones by a thread; both are what the server unpacks."""

    async def script(on: Stage) -> None:
        on.put()
        on.put(500)
        await on.all_arrive()

    receiver = play(tmp_path, script, compression=Compression.GZIP, batch=400)
    assert {post.headers["content-encoding"] for post in receiver.posts} == {"gzip"}
    assert sum(len(post.raw) for post in receiver.posts) < 501 * 60


def test_a_body_has_no_more_bytes_than_told(tmp_path):
    """Longer frames go alone."""

    async def script(on: Stage) -> None:
        on.put(3, text="x" * 300)
        on.put(1, text="x" * 3000)
        on.put(3, text="x" * 300)
        await on.all_arrive()

    receiver = play(tmp_path, script, batch_bytes=Size(1024))
    assert [post.numbers for post in receiver.posts] == [[0, 1], [2], [3], [4, 5], [6]]


def test_frames_wait_for_others_as_long_as_told(tmp_path):
    """Ten frames a second and a linger of one second: about ten to a request, none waits longer."""

    async def script(on: Stage) -> None:
        await on.feed(100, 0.1)
        await on.all_arrive()

    receiver = play(tmp_path, script, linger=Duration(1))
    assert 9 <= len(receiver.posts) <= 11
    late = [post.at + 1_731_800_000 - frame["ts"] for post in receiver.posts for frame in post.frames]
    assert max(late) < 1.01


def test_the_envelope_of_the_first_system_has_no_stamps(tmp_path):
    """Its body is the frame alone."""

    async def script(on: Stage) -> None:
        on.put()
        await on.all_arrive()

    receiver = play(tmp_path, script, envelope=Envelope.SEED)
    assert set(receiver.taken[0]) == {"ts", "ip", "db", "tenant_id", "plc_id", "values"}


def test_a_server_that_comes_late_gets_everything(tmp_path):
    """Meanwhile the sink says why it waits; a batch tries first, then all goes."""

    async def script(on: Stage) -> None:
        on.receiver.kill()
        await on.feed(300, 1)
        state, reason = on.state
        assert state is State.BACKING_OFF
        assert reason.startswith("refused: 127.0.0.1:80: nothing listens there")
        await on.receiver.listen(on.loop)
        await on.all_arrive()
        await eventually(lambda: on.state == (State.RUNNING, ""), "well again")

    receiver = play(tmp_path, script)
    assert receiver.numbers == list(range(300))
    assert all(frame.get("replayed") for frame in receiver.taken[:250])


def test_a_full_disk_does_not_make_an_absent_server_look_connected(tmp_path, monkeypatch):
    """The sink waits for its server and says both; so it is not ready."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "append", full)

    async def script(on: Stage) -> None:
        on.receiver.kill()
        for _ in range(30):
            await on.feed(20, 0.1)
            state, reason = on.state
            assert state in {State.STARTING, State.BACKING_OFF}
        assert reason.startswith("refused: 127.0.0.1:80")
        assert "disk full" in reason
        await on.receiver.listen(on.loop)
        await on.all_arrive()

    play(tmp_path, script)


def test_cuts_lose_nothing(tmp_path):
    """Connections that break with requests under way: each frame is taken at least once, and in order."""
    receiver = Receiver()
    receiver.delay = 0.05

    async def script(on: Stage) -> None:
        for _ in range(20):
            await on.feed(60, 0.01)
            on.receiver.cut()
        await on.all_arrive()

    play(tmp_path, script, receiver)
    for lane in (True, False):
        seqs = dict.fromkeys(frame["seq"] for frame in receiver.taken if bool(frame.get("replayed")) is lane)
        assert list(seqs) == sorted(seqs)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (401, "token"),
        (403, "rights"),
        (404, "correct `url`"),
        (405, "POST"),
        (408, "in time"),
        (415, "format"),
        (429, "too many requests"),
        (500, "its log"),
        (503, "not available"),
        (302, "set url to https://elsewhere/in"),
    ],
)
def test_answers_that_are_not_the_frames_fault_keep_everything(tmp_path, status, word):
    """Backing off with what to do; nothing is given up, the order stays, the server is not hammered."""
    receiver = Receiver()
    said = (status, {"location": "https://elsewhere/in"} if status == 302 else {}, b"so  it\nis")
    failing = True
    receiver.answer = lambda _: said if failing else 200

    async def script(on: Stage) -> None:
        nonlocal failing
        await on.feed(300, 1)
        state, reason = on.state
        assert state is State.BACKING_OFF
        assert word in reason
        assert status == 302 or "so it is" in reason
        assert 10 < len(receiver.posts) < 30
        assert {post.path for post in receiver.posts} == {"/in?a=1"}
        failing = False
        await on.all_arrive()
        assert on.dead == 0
        assert on.context.metrics.value("edge_posts_total", node="node", status=str(status)) > 10

    play(tmp_path, script, receiver)
    assert receiver.numbers == list(range(300))


@pytest.mark.parametrize("date", [False, True])
def test_the_server_says_when_to_come_again(tmp_path, date):
    """Retry-After, in seconds or as a date, is longer than the pause that the sink would have made."""
    receiver = Receiver()
    when = format_datetime(datetime.fromtimestamp(1_731_800_000 + 120, UTC), usegmt=True)
    receiver.answer = lambda _: 204 if len(receiver.posts) > 1 else (429, {"Retry-After": when if date else "120"}, b"")

    async def script(on: Stage) -> None:
        on.put()
        await on.all_arrive()

    play(tmp_path, script, receiver)
    first, second = receiver.posts
    assert 119 <= second.at - first.at <= 125


@pytest.mark.parametrize("status", [400, 409, 413, 422, 499])
def test_only_the_frames_that_the_server_means_are_given_up(tmp_path, status):
    """Two bad ones among a hundred: found by halving, told with the server's words; all others are taken in order."""
    receiver = Receiver()
    bad = {17, 64}
    receiver.answer = lambda post: (status, {}, b"what is n?") if bad & set(post.numbers) else 204

    async def script(on: Stage) -> None:
        on.put(100)
        await on.all_arrive(without=bad)
        await eventually(lambda: on.dead == 2, "dead letters")
        state, reason = on.state
        assert state is State.DEGRADED
        assert f"{status} " in reason
        assert "what is n?" in reason
        assert on.context.actor.drops == {"refused": 2}
        await on.feed(70, 1)
        assert on.state == (State.RUNNING, "")

    play(tmp_path, script, receiver)
    assert receiver.numbers == [n for n in range(170) if n not in bad]
    assert len(receiver.posts) < 30 + 70


def test_a_batch_that_is_too_large_is_halved_until_it_fits(tmp_path):
    """413 for more than ten frames: nothing is given up."""
    receiver = Receiver()
    receiver.answer = lambda post: 413 if len(post.frames) > 10 else 200

    async def script(on: Stage) -> None:
        on.put(100)
        await on.all_arrive()
        assert on.dead == 0

    play(tmp_path, script, receiver)
    assert receiver.numbers == list(range(100))


def test_a_server_that_refuses_everything_does_not_eat_the_backlog(tmp_path):
    """After `breaker` refusals in a row sending pauses: one frame tries now and then."""
    receiver = Receiver()
    refusing = True
    receiver.answer = lambda _: 400 if refusing else 200

    async def script(on: Stage) -> None:
        nonlocal refusing
        on.put(1000)
        await asyncio.sleep(600)
        assert 100 <= on.dead < 300
        assert "sending is paused" in on.context.details()["trouble"]
        refusing = False
        await eventually(lambda: not on.context.details()["backlog_frames"], "the rest arrives", 600)
        assert len(receiver.numbers) + on.dead == 1000

    play(tmp_path, script, receiver, breaker=100)


@pytest.mark.parametrize("inflight", [1, 4])
def test_no_more_requests_are_under_way_than_told(tmp_path, inflight):
    """One by default; more use the time that answers take."""
    receiver = Receiver()
    receiver.delay = 1.0

    async def script(on: Stage) -> None:
        on.put()
        await on.all_arrive()
        on.put(1000)
        await on.all_arrive()

    play(tmp_path, script, receiver, inflight=inflight)
    assert receiver.most == inflight
    assert len(receiver.posts) == 11


def test_a_server_that_does_not_answer_is_left(tmp_path):
    """Slower than `timeout`: what it may have got is sent again, nothing is lost."""
    receiver = Receiver()
    receiver.delay = 30.0

    async def script(on: Stage) -> None:
        on.put(10)
        await asyncio.sleep(40)
        state, reason = on.state
        assert state is State.BACKING_OFF
        assert reason.startswith("timeout")
        receiver.delay = 0.0
        await on.all_arrive()

    play(tmp_path, script, receiver, timeout=Duration(10))
    assert receiver.posts[1].at - receiver.posts[0].at >= 10


def test_a_connection_that_the_server_closed_while_idle_is_no_failure(tmp_path):
    """The next request takes a new one; the state does not even flicker."""

    async def script(on: Stage) -> None:
        for _ in range(5):
            on.put()
            await on.all_arrive()
            on.receiver.cut()
            await asyncio.sleep(1)
        assert list(on.context.actor.last_errors) == []

    assert play(tmp_path, script).connections == 5


def test_a_token_that_was_changed_is_read_again(tmp_path):
    """After a refused login the file is read anew."""
    file = tmp_path / "token"
    file.write_text("old\n")
    receiver = Receiver()
    receiver.answer = lambda post: 200 if post.headers["authorization"] == "Bearer new" else 401

    async def script(on: Stage) -> None:
        on.put()
        await eventually(lambda: on.state[0] is State.BACKING_OFF, "refused")
        file.write_text("new\n")
        await on.all_arrive()
        file.unlink()

    play(tmp_path, script, receiver, token=Secret(file=file))


def test_a_secret_that_is_no_header_is_not_shown(tmp_path):
    """Which one, is said; what it is, is not."""
    file = tmp_path / "token"
    file.write_text("first\nsecond")

    async def script(on: Stage) -> None:
        on.put()
        await eventually(lambda: on.state[0] is State.BACKING_OFF, "refused")
        assert "characters that HTTP does not allow" in on.state[1]
        assert "second" not in on.state[1]

    play(tmp_path, script, token=Secret(file=file))


def test_a_secrets_file_that_is_missing_is_named(tmp_path):
    """Tried again until it is there."""
    file = tmp_path / "token"

    async def script(on: Stage) -> None:
        on.put()
        await eventually(lambda: on.state[0] is State.BACKING_OFF, "refused")
        assert str(file) in on.state[1]
        file.write_text("here")
        await on.all_arrive()

    play(tmp_path, script, token=Secret(file=file))


@pytest.mark.parametrize("mute", [False, True])
def test_stopping_takes_seconds_with_the_server_away_or_mute_and_loses_nothing(tmp_path, mute):
    """What is not taken is on disk; the next run delivers it, marked, and goes on behind it."""
    receiver, second = Receiver(), Receiver()

    async def script(on: Stage) -> None:
        await on.feed(5)
        await on.all_arrive()
        if mute:
            receiver.delay = 60.0
        else:
            receiver.kill()
        on.put(30)
        await asyncio.sleep(0.05)
        assert await on.stop() < 5

    async def later(on: Stage) -> None:
        on.sent = 35
        await on.feed(5)
        await eventually(lambda: second.numbers == list(range(5, 40)), "the rest arrives")

    play(tmp_path, script, receiver)
    play(tmp_path, later, second)
    assert [frame.get("replayed", False) for frame in second.taken][:30] == [True] * 30


def test_a_stop_posts_what_lingers_and_waits_for_answers(tmp_path):
    """Frames that wait for others leave at once at the end; nothing is left for the next run."""
    receiver = Receiver()
    receiver.delay = 1.0

    async def script(on: Stage) -> None:
        on.put(5)
        await asyncio.sleep(0.1)
        assert receiver.posts == []
        assert await on.stop() < 3
        assert on.context.details()["backlog_frames"] == 0

    play(tmp_path, script, receiver, linger=Duration(60))
    assert receiver.numbers == list(range(5))


def test_it_can_be_run_again_after_being_cancelled(tmp_path):
    """A supervisor's restart: the same sink, a new run, the same numbering."""

    async def main(loop: Any) -> None:
        receiver = Receiver()
        receiver.port = 80
        await receiver.listen(loop)
        context = make_context(loop)
        journal = JournalOptions(path=str(tmp_path / "journal"))
        run = http.build(HttpOptions(url="http://127.0.0.1/in", journal=journal), context)
        mailbox = Mailbox(loop, 1000, Overflow.DROP_NEWEST, context.actor.drop)
        here = origin()
        for n in range(3):
            task = asyncio.ensure_future(run(mailbox))
            mailbox.put(data(here, context.clock.wall(), n=n))
            await eventually(lambda n=n: receiver.numbers == list(range(n + 1)), "arrives")
            task.cancel()
            await asyncio.wait((task,))
        assert [frame["seq"] for frame in receiver.taken] == [0, 1, 2]
        receiver.kill()

    run_virtual(main)


def test_acknowledgements_are_counted_as_http(tmp_path):
    """The label that dashboards tell the sinks apart by."""

    async def script(on: Stage) -> None:
        on.put(7)
        await on.all_arrive()
        assert on.context.metrics.value("plc_publish_ok_total", mode="http", node="node") == 7

    play(tmp_path, script)


@pytest.mark.real("openssl")
def test_tls_with_certificates_on_both_sides(tmp_path):
    """A server that asks for our certificate, of an authority that only `ca_file` knows."""
    authority = Authority(tmp_path / "pki")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.issue("server", "DNS:localhost"))
    server.load_verify_locations(authority.ca_file)
    server.verify_mode = ssl.CERT_REQUIRED
    certificate, key = authority.issue("edge")

    async def script(on: Stage) -> None:
        await eventually(lambda: on.state[0] is State.RUNNING, "reached")
        on.put(300)
        await on.all_arrive()
        on.receiver.cut()
        on.put(300)
        await on.all_arrive()

    tls = TlsOptions(ca_file=str(authority.ca_file), cert_file=str(certificate), key_file=str(key))
    play_for_real(tmp_path, script, server, tls=tls)


@pytest.mark.real("openssl")
def test_a_server_that_is_not_trusted_gets_nothing(tmp_path):
    """Its authority is unknown: named with what to do, with nothing to send too, and not a byte of a frame is sent."""
    authority = Authority(tmp_path / "pki")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.issue("server", "DNS:localhost"))

    async def script(on: Stage) -> None:
        await eventually(lambda: on.state[0] is State.BACKING_OFF, "refused")
        on.put()
        await eventually(lambda: on.state[0] is State.BACKING_OFF, "refused")
        assert "authority is not known" in on.state[1]
        assert on.receiver.posts == []

    play_for_real(tmp_path, script, server)


def test_a_server_without_tls_is_named(tmp_path):
    """`url` says https, the port doesn't speak it."""

    async def script(on: Stage) -> None:
        on.put()
        await eventually(lambda: on.state[0] is State.BACKING_OFF, "refused")
        assert "without TLS write http://" in on.state[1]

    play_for_real(tmp_path, script, scheme="https")


def test_a_server_killed_and_started_again_and_again(tmp_path):
    """On real sockets and the production's loop: every frame is taken, each lane in order."""

    async def script(on: Stage) -> None:
        for _ in range(8):
            on.put(50)
            await eventually(lambda: on.receiver.numbers, "some arrive")
            on.receiver.kill()
            on.put(50)
            await eventually(lambda: on.state[0] is State.BACKING_OFF, "noticed")
            await on.receiver.listen(on.loop)
        await on.all_arrive()
        for lane in (True, False):
            seqs = dict.fromkeys(frame["seq"] for frame in on.receiver.taken if bool(frame.get("replayed")) is lane)
            assert list(seqs) == sorted(seqs)

    play_for_real(tmp_path, script, inflight=1, batch=20)


VARIABLES = {"TOKEN": "t", "BROKEN": "t\r\nX-Injected: 1"}
GRAPH = """
layouts:
  press: {fields: {n: INT @ 0}}
sources:
  press: {type: s7, address: 10.0.0.1, every: 1s, blocks: [{db: 1, layout: press}]}
sinks:
  post: {type: http, from: press, %s}
"""


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("url: 'http://127.0.0.1:8000/in'", []),
        ("url: 'https://server/in', token: '${TOKEN}'", []),
        ("batch: 5", ["url: is required and missing"]),
        ("url: server/in", ["write http://host/path"]),
        ("url: 'ftp://server/in'", ["write http://host/path"]),
        ("url: 'https://me:pw@server/in'", ["user and password in it would show"]),
        ("url: 'https://me:pw/x@server/in'", ["the port is not a number up to 65535"]),
        ("url: 'https://server/in#x'", ["what follows #"]),
        ("url: 'https://server/a b'", ["%20"]),
        ("url: 'https://server:99999/in'", ["url: can't be posted to"]),
        ("url: 'http://server/in'", ["warning: node 'post' (http): url: frames and token travel in clear"]),
        ("url: 'https://server/in', tls: {enabled: false}", ["tls.enabled: `url` says https"]),
        ("url: 'http://127.0.0.1/in', tls: {ca_file: ca.crt}", ["tls: `url` says http", "ca_file: there is no file"]),
        ("url: 'https://s/in', headers: {'a b': '${TOKEN}'}", ["'a b' is not a header's name"]),
        ("url: 'https://s/in', headers: {Content-Type: '${TOKEN}'}", ["set by the sink itself"]),
        ("url: 'https://s/in', token: '${TOKEN}', headers: {Authorization: '${TOKEN}'}", ["says the same as `token`"]),
        ("url: 'https://s/in', headers: {X-Key: clear}", ["warning: node 'post' (http): headers.X-Key: a secret"]),
        ("url: 'https://s/in', token: '${BROKEN}'", ["post' (http): token: holds a line break"]),
        ("url: 'https://s/in', headers: {X-Key: '${BROKEN}'}", ["post' (http): headers.X-Key: holds a line break"]),
        ("url: 'https://s/in', headers: {X-Key: ' ${TOKEN}'}", ["headers.X-Key: holds a line break"]),
        ("url: 'https://s/in', token: 'a\tb ${TOKEN}'", []),
        ("url: 'https://s/in', envelope: seed", ["warning: node 'post' (http): envelope: without seq"]),
        ("url: 'https://s/in', batch: 0", ["batch: must be >= 1"]),
        ("url: 'https://s/in', inflight: 99", ["inflight: must be <= 32"]),
        ("url: 'https://s/in', format: xml", ["format: "]),
        ("url: 'https://s/in', compresion: gzip", ["did you mean 'compression'?"]),
    ],
)
def test_mistakes_are_told_before_anything_connects(options, found):
    """Each with the option and what to do."""
    try:
        told = [str(each) for each in load_text(GRAPH % options, Path("g.yaml"), VARIABLES).warnings]
    except ConfigurationError as error:
        told = [str(each) for each in error.problems]
    assert len(told) == len(found), told
    assert "Injected" not in "".join(told)
    for line, part in zip(told, found, strict=True):
        assert part in line


def test_a_token_in_a_file_that_no_header_can_be_is_a_warning(tmp_path):
    """The file may be mended while frames wait; one that is not there yet has no value."""
    (tmp_path / "token").write_text("one\ntwo\n", encoding="utf-8")
    options = HttpOptions(url="https://s/in", token=Secret(file=tmp_path / "token"))
    (finding,) = options.check(Scope(graph="g", node="post"))
    assert (finding.path, finding.severity) == (("token",), Severity.WARNING)
    (tmp_path / "token").write_text("one\n", encoding="utf-8")
    assert not list(options.check(Scope(graph="g", node="post")))
    (tmp_path / "token").unlink()
    assert not list(options.check(Scope(graph="g", node="post")))


def test_two_sinks_with_one_journal_are_refused():
    """Each needs its own."""
    more = "  twin: {type: http, from: press, url: 'https://s/in', journal: {path: data/g/post}}\n"
    with pytest.raises(ConfigurationError, match="the journal"):
        load_text(GRAPH % "url: 'https://s/in'" + more, Path("g.yaml"), {})


def test_the_forecast_counts_requests_bytes_and_hours():
    """What lingers gathers; without that each frame may go alone."""
    scope = Scope(graph="g", node="post")
    flow = Flow(frames=50.0, size=200.0)

    def lines(**given: Any) -> dict[str, str]:
        return dict(http.forecast(HttpOptions(url="https://s/in", **given), scope, flow).lines)

    assert lines()["requests a second"] == "at most 50"
    assert lines(linger=Duration(1))["requests a second"] == "at most 1"
    assert lines(linger=Duration(60))["requests a second"] == "at most 0.5"
    assert lines()["journal headroom"].endswith("h without the receiver (max_size)")
