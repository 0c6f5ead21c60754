"""A changed graph file in a running process: refused, or taken without a frame lost; in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from reactivex import operators as ops
from structlog.testing import capture_logs

from pipeline.actor import Mailbox
from pipeline.clock import Clock, VirtualLoop, run_virtual, virtual_clock
from pipeline.config import load_text
from pipeline.config.http import Http
from pipeline.errors import ConfigurationError, JournalLocked, PartFailed, Problem, UsageError
from pipeline.frame import Frame
from pipeline.graph import Graph
from pipeline.journal.folder import lock
from pipeline.journal.records import Record
from pipeline.journal.tools import add, summary
from pipeline.lifetime import Lifetime
from pipeline.operator import NodeKind
from tests.parts.broker import Broker, Published
from tests.parts.engine import collector, data, make_graph, node, origin
from tests.parts.line import ROOT
from tests.parts.plc import StrictPlc

LINE1 = (ROOT / "configs" / "line1.yaml").read_text(encoding="utf-8")
PRESS = origin()


def line1(folder: Path, **changes: str) -> Graph:
    """line1 with simulated addresses and without its page; `changes` are variables."""
    environment = {
        "PLC_IP": "10.0.0.1",
        "MQTT_BROKER": "broker",
        "TENANT_ID": "acme",
        "PLC_ID": "press1",
        "POLL_INTERVAL": "100ms",
        "DATA_DIR": str(folder),
    }
    return replace(load_text(LINE1, Path("line1.yaml"), environment | changes), http=None)


class Plant:
    """A PLC and a broker in memory, and line1 between them, whose file says what `graph` is."""

    def __init__(self, loop: VirtualLoop, folder: Path) -> None:
        self.loop = loop
        self.broker = Broker(delay=0.01)
        self.graph: Graph | Exception = line1(folder)
        self.clock = virtual_clock(loop)
        self.lifetime = Lifetime(line1(folder), self.clock, self.read)

    def read(self) -> Graph:
        """The file's graph, or what is wrong with it."""
        if isinstance(self.graph, Exception):
            raise self.graph
        return self.graph

    async def run(self, story: Callable[[], Any]) -> list[Published]:
        """Run the line while the story goes on; the frames that the broker has."""
        await self.broker.listen(self.loop)
        plc = StrictPlc({1: bytearray(14)}, host="10.0.0.1", port=102)
        await plc.power_on()
        running = self.loop.create_task(self.lifetime.run())
        await story()
        self.lifetime.stop()
        await running
        plc.close()
        return [message for message in self.broker.published if not message.topic.endswith("/status")]


def played(folder: Path, story: Callable[[Plant], Callable[[], Any]]) -> tuple[list[Published], list[Any]]:
    """What the broker got, and the log."""

    async def main(loop: VirtualLoop) -> list[Published]:
        plant = Plant(loop, folder)
        return await plant.run(story(plant))

    with capture_logs() as log:
        return run_virtual(main), log


def whole(frames: list[Published]) -> None:
    """No number is missing, none came twice, and there is one boot."""
    seqs = [frame.json["seq"] for frame in frames]
    assert Counter(seqs) == Counter(range(len(set(seqs))))
    assert len({frame.json["boot"] for frame in frames}) == 1


def events(log: list[Any], event: str) -> list[Any]:
    """The log's lines of this event."""
    return [line for line in log if line["event"] == event]


def test_a_good_file_starts_the_graph_anew_and_the_numbers_go_on(tmp_path: Path) -> None:
    """`boot` stays, `seq` has neither gap nor repetition, the new options count, and nothing is read in between."""

    def story(plant: Plant) -> Callable[[], Any]:
        async def play() -> None:
            await asyncio.sleep(5)
            plant.graph = line1(tmp_path, MQTT_TOPIC="new/{plc_id}", POLL_INTERVAL="200ms")
            plant.lifetime.reload()
            await asyncio.sleep(5)

        return play

    frames, log = played(tmp_path, story)
    whole(frames)
    assert [frame.json["seq"] for frame in frames] == list(range(len(frames))), "in order"
    assert not any(frame.json.get("replayed") for frame in frames), "everything was acknowledged in time"
    topics = Counter(frame.topic for frame in frames)
    assert set(topics) == {"plc/acme/press1", "new/press1"}
    assert 45 <= topics["plc/acme/press1"] <= 52
    assert 22 <= topics["new/press1"] <= 26
    assert len(events(log, "started")) == 2


def test_the_journal_goes_on_while_the_broker_is_away(tmp_path: Path) -> None:
    """What waited before the change is sent after it, marked as replayed, in its place; nothing is lost."""

    def story(plant: Plant) -> Callable[[], Any]:
        async def play() -> None:
            await asyncio.sleep(3)
            plant.broker.mute = True
            await asyncio.sleep(3)
            plant.lifetime.reload()
            await asyncio.sleep(3)
            plant.lifetime.reload()
            await asyncio.sleep(1)
            plant.broker.cut()
            plant.broker.mute = False
            await asyncio.sleep(30)

        return play

    frames, _ = played(tmp_path, story)
    arrived = {frame.json["seq"] for frame in frames}
    assert arrived == set(range(len(arrived)))
    assert len({(frame.json["seq"], frame.json["ts"]) for frame in frames}) == len(arrived), "a number is one frame"
    assert len({frame.json["boot"] for frame in frames}) == 1
    assert any(frame.json.get("replayed") for frame in frames)


def test_a_bad_file_is_refused_with_all_its_problems_and_nothing_else_happens(tmp_path: Path) -> None:
    """The running graph does not miss a tick; a good file afterwards is taken."""
    wrong = [Problem(file="line1.yaml", line=line, column=1, message=f"wrong {line}") for line in (3, 14)]

    def story(plant: Plant) -> Callable[[], Any]:
        async def play() -> None:
            await asyncio.sleep(2)
            plant.graph = ConfigurationError(wrong)
            plant.lifetime.reload()
            await asyncio.sleep(2)

        return play

    frames, log = played(tmp_path, story)
    whole(frames)
    ts = [frame.json["ts"] for frame in frames]
    assert all(later - earlier < 0.15 for earlier, later in pairwise(ts))
    (refusal,) = events(log, "graph file refused, the running graph goes on")
    assert refusal["problems"] == ["line1.yaml:3:1: wrong 3", "line1.yaml:14:1: wrong 14"]
    assert len(events(log, "started")) == 1


def record() -> Record:
    """A frame of another sink."""
    return Record(0, b"{}", "plc/acme/press1", 1, "full", "acme/press1", 1.7e9, b"{}")


@contextlib.contextmanager
def not_to_be_opened(folder: Path, why: str) -> Iterator[Path]:
    """A data folder whose journal can't be opened, and still can't at the end."""
    journal = folder / "line1" / "broker"
    if why == "locked":
        held = lock(journal)
        yield folder
        held.release()
    elif why == "foreign":
        add(str(journal), [record()], "mqtts://elsewhere:8883")
        yield folder
        assert summary(str(journal)).frames == 1
    elif why == "a file":
        folder.write_text("", encoding="utf-8")
        yield folder
    else:
        yield Path("/proc/nope/x")


@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("unwritable", "can't be written: .*name another path"),
        ("locked", "is open in another process; stop that one"),
        ("foreign", "holds frames for mqtts://elsewhere:8883, but the sink sends to mqtts://broker:8883"),
        ("a file", "a file is in the way"),
    ],
)
def test_a_journal_that_cant_be_opened_is_told_while_the_old_graph_goes_on(tmp_path: Path, why: str, told: str) -> None:
    """Refused before anything ends: not a tick is missed, and nothing is left on the disk."""
    with not_to_be_opened(tmp_path / "new", why) as folder:

        def story(plant: Plant) -> Callable[[], Any]:
            async def play() -> None:
                await asyncio.sleep(2)
                plant.graph = line1(folder)
                plant.lifetime.reload()
                await asyncio.sleep(2)

            return play

        frames, log = played(tmp_path / "old", story)
    whole(frames)
    assert all(later.json["ts"] - earlier.json["ts"] < 0.15 for earlier, later in pairwise(frames))
    (refusal,) = events(log, "graph file refused, the running graph goes on")
    (problem,) = refusal["problems"]
    assert re.search(rf"^line1.yaml:\d+: broker \(mqtt\): .*{told}", problem)
    assert len(events(log, "started")) == 1


def test_a_refused_journal_leaves_no_folder_behind(tmp_path: Path) -> None:
    """One sink's journal is good, the page's address is not: the folders made to look are gone again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        http = Http(listen=f"127.0.0.1:{taken.getsockname()[1]}")

        def story(plant: Plant) -> Callable[[], Any]:
            async def play() -> None:
                plant.graph = replace(line1(tmp_path / "new"), http=http)
                plant.lifetime.reload()
                await asyncio.sleep(2)

            return play

        _, log = played(tmp_path / "old", story)
    assert len(events(log, "graph file refused, the running graph goes on")) == 1
    assert not (tmp_path / "new").exists()


def test_another_broker_for_a_journal_with_a_backlog_is_refused(tmp_path: Path) -> None:
    """The running graph has the journal open; its frames would not go to the new receiver."""

    def story(plant: Plant) -> Callable[[], Any]:
        async def play() -> None:
            await asyncio.sleep(2)
            plant.broker.mute = True
            plant.broker.cut()
            await asyncio.sleep(5)
            plant.graph = line1(tmp_path, MQTT_BROKER="other")
            plant.lifetime.reload()
            await asyncio.sleep(1)
            plant.broker.mute = False
            await asyncio.sleep(30)

        return play

    frames, log = played(tmp_path, story)
    (refusal,) = events(log, "graph file refused, the running graph goes on")
    assert re.search(
        r"holds \d+ frames for mqtts://broker:8883, but the sink would send to mqtts://other", refusal["problems"][0]
    )
    assert len(events(log, "started")) == 1
    arrived = {frame.json["seq"] for frame in frames}
    assert arrived == set(range(len(arrived)))


def test_a_backlog_that_a_moved_journal_leaves_is_told(tmp_path: Path) -> None:
    """As many frames as the old folder has; they are sent when the path comes back. An empty one is not."""

    def story(plant: Plant) -> Callable[[], Any]:
        async def play() -> None:
            await asyncio.sleep(2)
            plant.graph = line1(tmp_path / "second")
            plant.lifetime.reload()
            await asyncio.sleep(2)
            plant.broker.mute = True
            plant.broker.cut()
            await asyncio.sleep(5)
            plant.graph = line1(tmp_path / "third")
            plant.lifetime.reload()
            await asyncio.sleep(5)
            left.append(summary(str(tmp_path / "second" / "line1" / "broker")).frames)
            plant.broker.mute = False
            plant.graph = line1(tmp_path / "second")
            plant.lifetime.reload()
            await asyncio.sleep(30)

        return play

    left: list[int] = []
    frames, log = played(tmp_path / "first", story)
    told = [line["problem"] for line in events(log, "journal left behind")]
    place = re.escape(str(tmp_path / "second" / "line1" / "broker"))
    assert left[0] > 20
    assert re.match(rf"{left[0]} frames for mqtts://broker:8883 stay in {place}; give a sink that path again", told[0])
    assert all("first" not in sentence.split("stay in")[1] for sentence in told)
    assert any(frame.json.get("replayed") for frame in frames)


def test_a_change_asked_for_before_anything_runs_is_taken(tmp_path: Path) -> None:
    """SIGHUP while the first graph still starts: the file as it is then counts."""

    async def main(loop: VirtualLoop) -> list[Published]:
        plant = Plant(loop, tmp_path)
        plant.graph = line1(tmp_path, MQTT_TOPIC="new/{plc_id}")
        plant.lifetime.reload()
        return await plant.run(functools.partial(asyncio.sleep, 5))

    with capture_logs() as log:
        frames = run_virtual(main)
    whole(frames)
    assert frames[-1].topic == "new/press1"
    assert len(events(log, "started")) == 2


def lived(graphs: list[Graph], seconds: float) -> tuple[float, list[Any]]:
    """Run the first graph, after ten seconds ask for the next; the loop's time at the end, and the log."""

    async def main(loop: VirtualLoop) -> float:
        lifetime = Lifetime(graphs[0], virtual_clock(loop), lambda: graphs[1])
        loop.call_later(10, lifetime.reload)
        loop.call_later(seconds, lifetime.stop)
        await lifetime.run()
        return loop.time()

    with capture_logs() as log:
        return run_virtual(main), log


def ticking(_: Any, context: Any) -> Any:
    """A source of one frame a second."""
    return context.ticks(1.0).pipe(ops.map(lambda n: data(PRESS, n=n)))


def failing(error: Exception, after: float = 0.0, times: int = 1000) -> Callable[..., Any]:
    """A sink that fails so many times."""
    left = iter(range(times))

    def build(*_: Any) -> Any:
        async def run(mailbox: Mailbox) -> None:
            if next(left, None) is not None:
                await asyncio.sleep(after)
                raise error
            await mailbox.consume(lambda _: None)

        return run

    return build


def test_a_changed_graph_that_fails_at_once_gives_its_place_back() -> None:
    """A journal of another receiver shows only when it is opened: the former graph comes back and runs on."""
    seen: list[Frame] = []
    good = make_graph(node(NodeKind.SOURCE, "press", ticking), node(NodeKind.SINK, "sink", collector(seen), "press"))
    bad = make_graph(
        node(NodeKind.SOURCE, "press", ticking),
        node(NodeKind.SINK, "sink", failing(PartFailed("holds frames for another")), "press"),
    )
    ended, log = lived([good, bad], 30.5)
    assert ended == pytest.approx(30.5, abs=1)
    assert len(seen) >= 30
    (back,) = events(log, "the changed graph failed, the former one comes back")
    assert back["error"] == "holds frames for another"


def test_a_changed_graph_with_a_defect_in_its_code_ends_no_running_graph() -> None:
    """Whether it shows while the file is checked or when the graph is built: the former one runs on."""
    seen: list[Frame] = []
    good = make_graph(node(NodeKind.SOURCE, "press", ticking), node(NodeKind.SINK, "sink", collector(seen), "press"))

    def broken(*_: Any) -> Any:
        raise KeyError("defect")

    bad = make_graph(node(NodeKind.SOURCE, "press", ticking), node(NodeKind.SINK, "sink", broken, "press"))
    ended, log = lived([good, bad], 30.5)
    assert ended == pytest.approx(30.5, abs=1)
    assert len(seen) >= 30
    (back,) = events(log, "the changed graph failed, the former one comes back")
    assert isinstance(back["exc_info"], KeyError)

    async def main(loop: VirtualLoop) -> float:
        lifetime = Lifetime(good, virtual_clock(loop), broken)
        loop.call_later(10, lifetime.reload)
        loop.call_later(20, lifetime.stop)
        await lifetime.run()
        return loop.time()

    with capture_logs() as log:
        assert run_virtual(main) == pytest.approx(20, abs=1)
    (refusal,) = events(log, "graph file refused, the running graph goes on")
    assert refusal["problems"] == ["KeyError('defect')"]
    assert isinstance(refusal["exc_info"], KeyError)


def test_a_graph_that_fails_later_ends_the_process_as_ever() -> None:
    """After its trial a changed graph is the graph."""
    seen: list[Frame] = []
    good = make_graph(node(NodeKind.SOURCE, "press", ticking), node(NodeKind.SINK, "sink", collector(seen), "press"))
    bad = make_graph(
        node(NodeKind.SOURCE, "press", ticking),
        node(NodeKind.SINK, "sink", failing(PartFailed("worn out"), after=60), "press"),
    )
    with pytest.raises(PartFailed, match="worn out"):
        lived([good, bad], 200)


def test_a_journal_that_the_former_graph_still_closes_is_waited_for() -> None:
    """A slow disk may hold its lock for a moment longer; that is no other process."""
    good = make_graph(node(NodeKind.SOURCE, "press", ticking), node(NodeKind.SINK, "sink", collector([]), "press"))
    slow = make_graph(
        node(NodeKind.SOURCE, "press", ticking),
        node(NodeKind.SINK, "sink", failing(JournalLocked("data/broker"), times=3), "press"),
    )
    _, log = lived([good, slow], 40)
    assert len(events(log, "started")) == 5
    assert not events(log, "the changed graph failed, the former one comes back")


def test_a_stop_during_a_change_wins() -> None:
    """The former graph is stopped once, and nothing starts after it."""
    graph = make_graph(node(NodeKind.SOURCE, "press", ticking), node(NodeKind.SINK, "sink", collector([]), "press"))

    async def main(loop: VirtualLoop) -> None:
        lifetime = Lifetime(graph, virtual_clock(loop), lambda: graph)
        loop.call_later(10, lifetime.reload)
        loop.call_later(10, lifetime.stop)
        await lifetime.run()

    with capture_logs() as log:
        run_virtual(main)
    assert len(events(log, "started")) == 1


def test_a_watched_file_counts_when_its_content_has_changed_and_stands_still(tmp_path: Path) -> None:
    """Touched, away or half written: no change. Changed and at rest: one."""
    file = tmp_path / "line.yaml"
    file.write_text("name: one", encoding="utf-8")
    reads: list[float] = []
    graph = make_graph(node(NodeKind.SOURCE, "press", ticking), node(NodeKind.SINK, "sink", collector([]), "press"))

    async def main(loop: VirtualLoop) -> None:
        def read() -> Graph:
            reads.append(loop.time())
            return graph

        lifetime = Lifetime(graph, virtual_clock(loop), read)
        watching = loop.create_task(lifetime.watch(file))
        loop.call_later(3.5, file.touch)
        loop.call_later(5.5, file.unlink)
        loop.call_later(7.5, file.write_text, "name: one")
        for at in (10.5, 11.5, 12.5):
            loop.call_later(at, file.write_text, f"name: two, written until {at}")
        loop.call_later(20, lifetime.stop)
        await lifetime.run()
        watching.cancel()

    run_virtual(main)
    assert reads == [pytest.approx(14, abs=0.1)]


def paged(listen: str, **options: Any) -> Graph:
    """A graph with a page."""
    graph = make_graph(node(NodeKind.SOURCE, "press", ticking), node(NodeKind.SINK, "sink", collector([]), "press"))
    return replace(graph, http=Http(listen=listen, **options))


# asyncio drops a connection that it accepts in the very turn in which its server closes, and warns of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_page_keeps_its_socket_and_a_taken_address_is_refused(port: int) -> None:
    """Nobody is turned away during the change; a new address that another program has leaves all as it was."""

    async def asked() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        try:
            return await reader.read()
        except ConnectionResetError:
            return b"cut"
        finally:
            writer.close()

    async def main(taken: int) -> list[Any]:
        loop = asyncio.get_running_loop()
        wanted = [paged(f"127.0.0.1:{port}", last_values=("AI_*",)), paged(f"127.0.0.1:{taken}")]
        lifetime = Lifetime(paged(f"127.0.0.1:{port}"), Clock(loop), lambda: wanted.pop(0))
        running = loop.create_task(lifetime.run())
        answers = []
        for _ in (1, 2):
            lifetime.reload()
            answers += [await asked() for _ in range(20)]
        lifetime.stop()
        await running
        return answers

    with socket.create_server(("127.0.0.1", 0)) as other, capture_logs() as log:
        answers = asyncio.run(main(other.getsockname()[1]))
    good = [answer for answer in answers if answer.endswith(b"ok\n")]
    assert len(good) >= 39, "one connection may be open at the moment of the change, and is cut then"
    assert len(events(log, "started")) == 2
    (refusal,) = events(log, "graph file refused, the running graph goes on")
    assert "another program has this port" in refusal["problems"][0]
    with socket.create_server(("127.0.0.1", port)):
        pass  # given back at the end


def test_an_address_of_the_same_port_says_that_it_is_ours(port: int) -> None:
    """Nobody looks for another program that isn't there."""
    first, second = paged(f"127.0.0.1:{port}"), paged(f"0.0.0.0:{port}", insecure=True)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        lifetime = Lifetime(first, Clock(loop), lambda: second)
        lifetime.reload()
        loop.call_later(1, lifetime.stop)
        await lifetime.run()

    with capture_logs() as log:
        asyncio.run(main())
    (refusal,) = events(log, "graph file refused, the running graph goes on")
    assert "has that port itself" in refusal["problems"][0]


def test_a_taken_address_at_the_first_start_is_told_before_anything_runs() -> None:
    """As ever: nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        graph = paged(f"127.0.0.1:{taken.getsockname()[1]}")

        async def main(loop: VirtualLoop) -> None:
            Lifetime(graph, virtual_clock(loop), lambda: graph)

        with pytest.raises(UsageError, match="METRICS_PORT"):
            run_virtual(main)
