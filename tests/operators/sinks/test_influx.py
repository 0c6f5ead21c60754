"""The sink `influx` against a scripted server that answers as InfluxDB does: every point once, culprits aside."""

import asyncio
import gzip
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from operators.sinks.influx import InfluxOptions, influx
from pipeline.actor import State
from pipeline.clock import VirtualLoop, run_virtual, virtual_clock
from pipeline.codecs import Envelope
from pipeline.diagnosis import Diagnosis, Mark, Situation
from pipeline.errors import Severity
from pipeline.frame import Frame, Stamp
from pipeline.journal import tools
from pipeline.journal.options import JournalOptions
from pipeline.operator import Flow, NodeKind, Scope
from pipeline.posting.poster import Compression
from pipeline.tls import TlsOptions
from pipeline.units import Duration, Secret
from tests.parts.engine import data, origin
from tests.parts.receiver import Receiver
from tests.parts.stage import SinkStage
from tests.parts.stream import mistakes
from tests.parts.waiting import eventually

TOO_OLD = (
    b'{"code":"unprocessable entity","message":"failure writing points to database: '
    b'partial write: points beyond retention policy dropped=1"}'
)


class Stage(SinkStage):
    """A running sink and the database before it."""

    def __init__(self, loop: VirtualLoop, folder: Path, receiver: Receiver, given: dict[str, Any]) -> None:
        given = {"url": "http://127.0.0.1", "org": "planta", "bucket": "processo", "token": Secret("write")} | given
        options = InfluxOptions(journal=JournalOptions(path=str(folder / "journal")), **given)
        super().__init__(loop, influx, options, origin(tags={"area": "linha1"}))
        self.receiver = receiver

    async def all_arrive(self, *, without: set[int] = frozenset()) -> None:
        """Wait until every other frame has been taken and the sink has nothing left."""
        wanted = set(range(self.sent)) - without
        await eventually(lambda: set(self.receiver.numbers) == wanted, "all points arrive", 900)
        await eventually(lambda: not self.context.details()["backlog_frames"], "all points are acknowledged", 900)


Script = Callable[[Stage], Coroutine[Any, Any, None]]


def play(folder: Path, script: Script, receiver: Receiver | None = None, **options: Any) -> Receiver:
    """Run a script beside a sink in virtual time; then end the sink. The server."""
    scripted = receiver or Receiver()

    async def main(loop: VirtualLoop) -> None:
        scripted.port = 80
        await scripted.listen(loop)
        stage = Stage(loop, folder, scripted, options)
        try:
            await script(stage)
        finally:
            await stage.stop()
            scripted.kill()
            await asyncio.sleep(0.1)

    run_virtual(main)
    return scripted


def test_frames_become_points(tmp_path):
    """Where, as whom, packed how; measurement, tags, fields and milliseconds; each point once and in order."""

    async def script(on: Stage) -> None:
        on.put(12_000)
        await on.all_arrive()
        assert on.state == (State.RUNNING, "")

    receiver = play(tmp_path, script)
    post = receiver.posts[0]
    assert post.path == "/api/v2/write?org=planta&bucket=processo&precision=ms"
    assert {name: post.headers[name] for name in ("authorization", "content-type", "content-encoding")} == {
        "authorization": "Token write",
        "content-type": "text/plain; charset=utf-8",
        "content-encoding": "gzip",
    }
    assert [len(each.frames) for each in receiver.posts] == [5000, 5000, 2000]
    assert receiver.numbers == list(range(12_000))
    point = receiver.taken[812]
    tags = {"area": "linha1", "db": "1", "ip": "192.168.0.121", "plc_id": "press1", "tenant_id": "acme"}
    assert (point["measurement"], point["tags"]) == ("s7_db1", tags)
    assert point["values"] == {"n": 812, "seq": 812, "boot": "01JD8Z0000000000000000BOOT"}
    assert ",seq=812i," in point["line"]
    assert point["ts"] == pytest.approx(1_731_800_000)


def test_a_quiet_sink_asks_whether_it_could_write(tmp_path):
    """Ready without a point; what is wrong shows before the first, and its end does; nothing else is asked then."""
    receiver = Receiver()
    receiver.answer = lambda post: 401 if post.at < 30 else 204

    async def script(on: Stage) -> None:
        await eventually(lambda: on.state[0] is State.BACKING_OFF, "refused")
        assert "check token" in on.state[1]
        await eventually(lambda: on.state == (State.RUNNING, ""), "well", 120)
        asked = len(on.receiver.posts)
        await asyncio.sleep(3600)
        assert len(on.receiver.posts) == asked
        on.put(3)
        await on.all_arrive()

    play(tmp_path, script, receiver)
    assert {post.raw for post in receiver.posts[:-1]} == {b""}
    assert receiver.posts[-1].numbers == [0, 1, 2]


def test_heartbeats_failures_and_frames_from_elsewhere_are_points_too(tmp_path):
    """A failure names its error; a frame that another process has numbered keeps its numbers."""

    async def script(on: Stage) -> None:
        now = on.context.clock.wall()
        on.mailbox.put(Frame.heartbeat(on.here, now))
        on.mailbox.put(Frame.failure(on.here, now + 1, "timeout"))
        on.mailbox.put(data(on.here, now + 2, n=0).replace(stamp=Stamp(70, "ELSEWHERE", replayed=True)))
        await eventually(lambda: len(on.receiver.taken) == 3, "three points")

    receiver = play(tmp_path, script)
    heartbeat, failure, other = (point["values"] for point in receiver.taken)
    assert (heartbeat["heartbeat"], heartbeat["seq"]) == (1, 0)
    assert (failure["read_failed"], failure["error"], failure["seq"]) == (True, "timeout", 1)
    assert other == {"n": 0, "seq": 70, "boot": "ELSEWHERE", "replayed": True}


@pytest.mark.parametrize("given", [Compression.NONE, Compression.GZIP])
def test_requests_can_be_packed_or_plain(tmp_path, given):
    """Large ones are packed by a thread; both are what the server reads. Without `seq` and `boot` if wanted."""

    async def script(on: Stage) -> None:
        on.put(1000)
        await on.all_arrive()

    receiver = play(tmp_path, script, compression=given, envelope=Envelope.SEED)
    raw = receiver.posts[0].raw
    text = gzip.decompress(raw) if given is Compression.GZIP else raw
    assert text.startswith(b"s7_db1,area=linha1,db=1,ip=192.168.0.121,plc_id=press1,tenant_id=acme n=0 17318000")
    assert text.count(b"\n") == 1000


UNWILLING = pytest.mark.parametrize(
    ("status", "word"),
    [(401, "check token"), (403, "right to write"), (404, "org and bucket"), (429, "rate"), (500, "failed"), (503, "")],
)


@UNWILLING
def test_the_doctor_takes_no_such_answer_for_the_right_to_write(status, word):
    """It posts no points: a database that would store some takes that, or calls it a bad request."""
    options = InfluxOptions(url="http://127.0.0.1", org="planta", bucket="processo", token=Secret("write"))

    async def main(loop: VirtualLoop) -> list[Diagnosis]:
        receiver = Receiver()
        receiver.port = 80
        receiver.answer = lambda _: status
        await receiver.listen(loop)
        situation = Situation(scope=Scope(graph="g", node="n"), clock=virtual_clock(loop))
        refused = [each async for each in influx.diagnosed(options, situation)]
        receiver.answer = lambda _: 400
        return [refused[-1], *[each async for each in influx.diagnosed(options, situation)]]

    refused, *good = run_virtual(main)
    assert refused.mark is Mark.PROBLEM
    assert word in f"{refused.found}; {refused.advice}"
    assert (good[-1].mark, good[-1].found) == (Mark.GOOD, "it may write to planta/processo")


@UNWILLING
def test_answers_that_are_not_the_points_fault_keep_everything(tmp_path, status, word):
    """Backing off with what to do; nothing is given up, the order stays."""
    receiver = Receiver()
    receiver.answer = lambda post: status if post.at < 90 else 204

    async def script(on: Stage) -> None:
        for _ in range(60):
            on.put(10)
            await asyncio.sleep(1)
        assert on.state[0] is State.BACKING_OFF
        assert word in on.state[1]
        await on.all_arrive()
        assert on.context.details()["dead_letters"] == 0

    play(tmp_path, script, receiver)
    assert receiver.numbers == list(range(600))
    assert len([post for post in receiver.posts if post.at < 90]) < 60
    assert all(point["values"]["replayed"] for point in receiver.taken[:500])


def test_the_database_says_when_to_come_again(tmp_path):
    """Retry-After is longer than the pause that the sink would have made."""
    receiver = Receiver()
    receiver.answer = lambda post: 204 if post.at > 60 else (429, {"retry-after": "61"}, b"limit exceeded")

    async def script(on: Stage) -> None:
        on.put(5)
        await on.all_arrive()

    play(tmp_path, script, receiver)
    assert len(receiver.posts) == 2


@pytest.mark.parametrize("status", [422, 400])
def test_only_the_points_that_are_meant_are_given_up(tmp_path, status):
    """A partial write names no point: they are found by halving, told with the database's words; others are stored."""
    culprits = {17, 800}
    receiver = Receiver()
    receiver.answer = lambda post: (status, {}, TOO_OLD) if culprits & set(post.numbers) else 204

    async def script(on: Stage) -> None:
        on.put(1000)
        await on.all_arrive(without=culprits)
        assert on.state[0] is State.DEGRADED
        assert "beyond retention" in on.state[1]

    play(tmp_path, script, receiver)
    assert sorted(receiver.numbers) == [n for n in range(1000) if n not in culprits]
    letters = list(tools.records(str(tmp_path / "journal"), dead=True))
    assert len(letters) == 2
    assert all("beyond retention" in str(letter) for letter in letters)


def test_a_frame_that_is_no_point_harms_nobody(tmp_path):
    """No field at all: counted, its neighbours are stored."""

    async def script(on: Stage) -> None:
        on.put()
        on.mailbox.put(data(on.here, on.context.clock.wall(), n=float("nan")))
        on.put()
        await on.all_arrive()
        assert on.context.actor.drops == {"not_encodable": 1}

    play(tmp_path, script, envelope=Envelope.SEED)


def test_a_token_that_was_changed_is_read_again(tmp_path):
    """After a refused login the file is read anew."""
    token = tmp_path / "token"
    token.write_text("old\n")
    receiver = Receiver()
    receiver.answer = lambda post: 204 if post.headers["authorization"] == "Token new" else 401

    async def script(on: Stage) -> None:
        on.put()
        await eventually(lambda: on.state[0] is State.BACKING_OFF, "refused")
        token.write_text("new\n")
        await on.all_arrive()

    play(tmp_path, script, receiver, token=Secret(file=token))
    assert {post.headers["authorization"] for post in receiver.posts} == {"Token old", "Token new"}


def test_what_is_not_stored_waits_on_disk_for_the_next_run(tmp_path):
    """The database is away; the next run writes the same points, marked as replayed, and goes on behind them."""

    async def away(on: Stage) -> None:
        on.receiver.kill()
        on.put(50)
        await asyncio.sleep(5)

    async def back(on: Stage) -> None:
        on.sent = 50
        on.put(10)
        await on.all_arrive()

    play(tmp_path, away)
    receiver = play(tmp_path, back)
    assert receiver.numbers == list(range(60))
    assert all(point["values"].get("replayed") for point in receiver.taken[:50])


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("url: 'ftp://x', org: o, bucket: b, token: ${T}", "url: can't be written to: write http://host/path"),
        ("url: 'http://127.0.0.1:8086/api/v2/write?org=o', org: o, bucket: b, token: ${T}", "url: names more than the"),
        ("url: 'http://127.0.0.1', org: o, bucket: b, token: '${E:-}'", "token: is empty; InfluxDB 2 writes nothing"),
        ("url: 'https://db', org: o, bucket: b, token: '${T} '", "token: holds a line break"),
        ("url: 'http://db.plant', org: o, bucket: b, token: ${T}", "url: points and token travel in clear"),
        ("url: 'https://db', org: o, bucket: b, token: ${T}, tls: {enabled: false}", "tls.enabled: `url` says https"),
        ("url: 'http://127.0.0.1', bucket: b, token: ${T}", "org: is required and missing"),
        ("url: 'http://127.0.0.1', org: o, bucket: b, token: ${T}, bukket: x", "bukket: unknown option; did you mean"),
    ],
)
def test_mistakes_are_told_before_anything_connects(options, found):
    """Each with the option and what to do."""
    options = options.replace("${T}", '"${T}"')
    told = mistakes(NodeKind.SINK, f"{{type: influx, from: press, {options}}}", {"T": "secret"})
    assert any(found in each for each in told), told
    assert "secret" not in "".join(told).replace("a secret", "")


def test_the_forecast_counts_requests_bytes_and_hours():
    """What lingers gathers."""
    options = InfluxOptions(url="http://127.0.0.1", org="o", bucket="b", token=Secret("t"), linger=Duration(2))
    forecast = influx.forecast(options, Scope(graph="g", node="n"), Flow(frames=10, size=150, blocks=1))
    lines = dict(forecast.lines)
    assert (lines["points a second"], lines["requests a second"]) == ("10", "at most 0.5")
    assert "h without the receiver" in lines["journal headroom"]
    assert [claim.what for claim in influx.claimed(options, Scope(graph="g", node="n"))] == ["journal"]


def test_plain_http_to_this_machine_is_no_warning():
    """A database beside the pipeline needs no TLS."""
    options = InfluxOptions(url="http://localhost:8086", org="o", bucket="b", token=Secret("t"), tls=TlsOptions())
    assert [each for each in options.check(Scope(graph="g", node="n")) if each.severity is not Severity.ERROR] == []


def test_posts_are_told_by_status(tmp_path):
    """What dashboards show: requests by answer, frames by mode."""

    async def script(on: Stage) -> None:
        on.put(3)
        await on.all_arrive()
        assert on.context.metrics.value("edge_posts_total", node="node", status="204") == 1
        assert on.context.metrics.value("plc_publish_ok_total", node="node", mode="influx") == 3

    assert play(tmp_path, script).numbers == [0, 1, 2]
