"""The sink `influx` on the real InfluxDB: points arrive as they were, once, and what it refuses stands alone."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from operators.sinks.influx import InfluxOptions, influx
from pipeline.actor import Mailbox, State
from pipeline.codecs import CODECS, decode
from pipeline.journal.options import JournalOptions
from pipeline.operator import Context, Overflow
from pipeline.retry import Retry
from pipeline.units import Duration, Secret
from tests.parts.engine import data, make_context, origin
from tests.parts.influxdb import InfluxDB
from tests.parts.waiting import eventually

pytestmark = [pytest.mark.real("influxdb"), pytest.mark.timeout(120)]

TOKEN = "operator-token-of-this-test"
ODD = 'say "x\\y", a=b\nand more'


@pytest.fixture
def database(tmp_path: Path) -> Iterator[InfluxDB]:
    """A server with organisation and bucket."""
    folder = tmp_path / "influx"
    folder.mkdir()
    with InfluxDB(folder) as server:
        server.set_up("planta", "processo", TOKEN)
        yield server


class Sink:
    """A running sink."""

    def __init__(self, context: Context, mailbox: Mailbox) -> None:
        self.context, self.mailbox = context, mailbox

    @property
    def state(self) -> tuple[State, str]:
        """What it says of itself."""
        return self.context.actor.state, self.context.actor.reason

    async def stored(self) -> None:
        """Wait until nothing is left to be written."""
        await eventually(lambda: not len(self.mailbox) and not self._left(), "stored", 60)

    def _left(self) -> int:
        details = self.context.details()
        return details["backlog_frames"] + details["in_flight"]


def play(database: InfluxDB, folder: Path, script: Callable[[Sink], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run a script beside a sink; then end the sink."""

    async def main() -> None:
        context = make_context(asyncio.get_running_loop())
        given = {"url": database.url, "org": "planta", "bucket": "processo", "token": Secret(TOKEN)} | options
        retry = Retry(initial=Duration(0.1), max=Duration(0.5))
        built = InfluxOptions(
            journal=JournalOptions(path=str(folder / "journal")), retry=retry, linger=Duration(0.05), **given
        )
        mailbox = Mailbox(context.clock.loop, 50_000, Overflow.DROP_NEWEST, context.actor.drop)
        task = asyncio.ensure_future(influx.build(built, context)(mailbox))
        try:
            await script(Sink(context, mailbox))
        finally:
            mailbox.close()
            await task

    asyncio.run(main())


def rows(database: InfluxDB, measurement: str) -> list[dict[str, Any]]:
    """All that is stored of a measurement, one row a field, ascending by time."""
    return database.query(
        f'from(bucket: "processo") |> range(start: 0) |> filter(fn: (r) => r._measurement == "{measurement}") '
        '|> map(fn: (r) => ({r with _value: string(v: r._value)})) |> group() |> sort(columns: ["_time", "_field"])',
        TOKEN,
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (State.RUNNING, "")),
        ({"token": Secret("wrong")}, (State.BACKING_OFF, "does not accept the token")),
        ({"bucket": "none"}, (State.BACKING_OFF, "no such organisation or bucket")),
    ],
)
def test_a_quiet_sink_knows_whether_it_could_write(database, tmp_path, options, expected):
    """Before the first point: a request without any is answered as one with points would be, and writes nothing."""

    async def script(sink: Sink) -> None:
        await eventually(lambda: sink.state[0] is expected[0], "told", 30)
        assert expected[1] in sink.state[1]

    play(database, tmp_path, script, **options)
    assert rows(database, "s7_db1") == []


def test_points_are_stored_as_they_were(database, tmp_path):
    """Escapes, types, milliseconds; twice the same frame is one point."""
    here = origin().replace(measurement="s7 odd,m", tags={"área, 1": "linha=1 ç", "path": "C:\\dados"})

    async def script(sink: Sink) -> None:
        now = round(sink.context.clock.wall()) - 0.877  # a query ends at this moment
        frame = data(here, now, **{"a b,c=d": 5, "text": ODD, "on": True, "real": 1e-7, "big": 2**53})
        body = CODECS["full"].stamp(CODECS["full"].encode(frame), 7, b"BOOT")
        for _ in range(2):
            sink.mailbox.put(decode(body, {})[1])
        await sink.stored()
        assert sink.state == (State.RUNNING, "")

    play(database, tmp_path, script)
    found = rows(database, "s7 odd,m")
    values = {row["_field"]: row["_value"] for row in found}
    assert values == {
        "a b,c=d": "5",
        "text": ODD,
        "on": "true",
        "real": "0.0000001",
        "big": "9007199254740992",
        "seq": "7",
        "boot": "BOOT",
    }
    assert len(found) == len(values)
    assert {row["_time"][-5:] for row in found} == {".123Z"}
    tags = {"ip": "192.168.0.121", "db": "1", "tenant_id": "acme", "plc_id": "press1"}
    assert {name: found[0][name] for name in (*tags, "área, 1", "path")} == {
        **tags,
        "área, 1": "linha=1 ç",
        "path": "C:\\dados",
    }


def test_a_field_of_another_type_stands_alone(database, tmp_path):
    """422 for one of five hundred: the others are stored, the culprit is with the dead letters."""

    async def script(sink: Sink) -> None:
        now, here = round(sink.context.clock.wall()), origin()
        sink.mailbox.put(data(here, now - 600, n=0.0))
        await sink.stored()
        for n in range(500):
            sink.mailbox.put(data(here, now - 500 + n, n="text" if n == 321 else n))
        await sink.stored()
        assert sink.context.details()["dead_letters"] == 1
        assert sink.state[0] is State.DEGRADED
        assert "type conflict" in sink.state[1]

    play(database, tmp_path, script)
    assert len([row for row in rows(database, "s7_db1") if row["_field"] == "n"]) == 500


@pytest.mark.parametrize(
    ("options", "words"),
    [({"token": Secret("wrong")}, "check token"), ({"bucket": "nowhere"}, "correct org and bucket")],
)
def test_what_is_set_wrongly_is_named_and_nothing_is_given_up(database, tmp_path, options, words):
    """The database's own words, and what to do; corrected, everything is stored."""

    async def wrong(sink: Sink) -> None:
        sink.mailbox.put(data(origin(), sink.context.clock.wall(), n=1))
        await eventually(lambda: sink.state[0] is State.BACKING_OFF, "refused")
        assert words in sink.state[1]

    async def right(sink: Sink) -> None:
        await eventually(lambda: sink.state[0] is State.RUNNING, "taken")

    play(database, tmp_path, wrong, **options)
    if "token" in options:
        play(database, tmp_path, right)
        assert [row["_value"] for row in rows(database, "s7_db1") if row["_field"] == "n"] == ["1"]


def test_a_database_that_goes_and_comes_back_gets_every_point_once(database, tmp_path):
    """Killed and started again in the stream."""
    sent = 0

    async def script(sink: Sink) -> None:
        nonlocal sent
        here, begin = origin(), round(sink.context.clock.wall()) - 3600

        async def feed(count: int) -> None:
            nonlocal sent
            for _ in range(count):
                sink.mailbox.put(data(here, begin + sent, n=sent))
                sent += 1
                await asyncio.sleep(0)

        for _ in range(2):
            await feed(300)
            await asyncio.to_thread(database.kill)
            await feed(300)
            await eventually(lambda: sink.state[0] is State.BACKING_OFF, "noticed")
            await asyncio.to_thread(database.start)
            await feed(300)
        await sink.stored()

    play(database, tmp_path, script)
    found = [row["_value"] for row in rows(database, "s7_db1") if row["_field"] == "n"]
    assert found == [str(n) for n in range(sent)]
