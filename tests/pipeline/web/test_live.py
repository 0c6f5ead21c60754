"""The stream of a page: all of what is in sight at first, then what has changed, and nothing that nobody looks at."""

import asyncio
import json

import msgspec
import pytest
from starlette.datastructures import QueryParams

from pipeline.actor import State
from pipeline.frame import Frame
from pipeline.operator import NodeKind
from pipeline.web.app import make_app
from pipeline.web.board import Board
from pipeline.web.history import History
from pipeline.web.live import _Page
from tests.parts.engine import data, node, origin
from tests.parts.web import LOOPBACK, NOW, Watched, ask


class Looking:
    """A page on a view whose time the test moves."""

    def __init__(self):
        self.view = Watched()
        self.history = History(self.view)
        self.page = _Page(self.view, Board(self.view, self.history), self.history)

    def show(self, query):
        """The page says what it shows."""
        return self.page.show(QueryParams(query))

    def news(self, seconds=1.0):
        """What the page is told so much later; None for nothing."""
        self.view.wall += seconds
        self.view.time += seconds
        told = self.page.news()
        return None if told is None else json.loads(msgspec.json.encode(told, enc_hook=str))


def test_a_block_in_sight_is_told_whole_then_by_what_has_changed():
    """Names, units, values and sparklines at first; then numbers of values with the new ones; bad ones by reason."""
    look = Looking()
    first = look.news()
    assert first["blocks"] == [
        {"k": "acme/press1/DB1", "n": "acme/press1", "s": "DB1 · s7_db1 · 192.168.0.121", "b": "DB1", "r": 3}
    ]
    assert "seen" not in first
    look.history.sample()
    look.show("w=0")
    (seen,) = look.news()["seen"]
    assert (seen["n"], seen["v"]) == (["AI_Corrente", "contador_bom", "maquina_ligada"], [4.25, 5014, True])
    assert (seen["u"], seen["sparks"]) == (["A", "", ""], {"0": [4.25], "1": [5014], "2": [1]})
    assert look.news() is None
    frame = data(look.view.press, NOW + 3, AI_Corrente=4.5, maquina_ligada=True).replace(bad={"contador_bom": "gone"})
    look.view.latest[look.view.press] = frame
    (seen,) = look.news()["seen"]
    assert seen == {"i": 0, "ts": NOW + 3, "d": [0, 4.5, 1, None], "bad": {"1": "gone"}}


def test_a_block_with_values_that_cannot_be_read_is_not_well_and_shows_them_first():
    """A state of its own with their number and what its source says; on a card they come before the others."""
    look = Looking()
    full = {f"v{n}": float(n) for n in range(20)}
    look.view.latest[look.view.press] = data(look.view.press, NOW, **full)
    look.news()
    look.show("w=0&m=4")
    assert look.news()["seen"][0]["n"] == ["v0", "v1", "v2", "v3"]
    reason = f"{look.view.press.measurement}: 1 of 20 values can't be read"
    look.view.become("press/press1", State.DEGRADED, reason)
    del full["v9"]
    look.view.latest[look.view.press] = data(look.view.press, NOW + 2, **full).replace(bad={"v9": "out of range"})
    told = look.news()
    assert told["states"] == [[0, "bad", reason, 1]]
    assert (told["seen"][0]["n"], told["seen"][0]["bad"]) == (["v9", "v0", "v1", "v2"], {"0": "out of range"})
    look.view.latest[look.view.press] = data(look.view.press, NOW + 3, **full, v9=9.0)
    told = look.news()
    assert (told["states"], told["seen"][0]["n"]) == ([[0, "fresh", ""]], ["v0", "v1", "v2", "v3"])


def test_values_that_were_bad_at_first_stand_in_their_place_once_they_are_read():
    """The order is that of the fullest frame."""
    look = Looking()
    look.view.latest[look.view.press] = data(look.view.press, NOW, b=2).replace(bad={"a": "NaN"})
    look.news()
    look.view.latest[look.view.press] = data(look.view.press, NOW, a=1, b=2)
    look.news()
    look.show("w=0")
    assert look.news()["seen"][0]["n"] == ["a", "b"]


def test_an_integer_that_a_browser_can_not_hold_comes_as_text():
    """2**53 + 1 and -2**63 keep all digits, at first and as a change."""
    look = Looking()
    look.view.latest[look.view.press] = data(look.view.press, NOW, n=2**53 + 1)
    look.news()
    look.show("w=0")
    assert look.news()["seen"][0]["v"] == [["9007199254740993"]]
    look.view.latest[look.view.press] = data(look.view.press, NOW + 1, n=-(2**63))
    assert look.news()["seen"][0]["d"] == [0, ["-9223372036854775808"]]


def test_a_sparkline_is_broken_where_samples_are_missing():
    """A pause of many usual steps is an absent value."""
    look = Looking()
    for second in (0, 1, 2, 60, 61):
        look.view.latest[look.view.press] = data(look.view.press, NOW + second, n=second)
        look.history.sample()
    look.news()
    look.show("w=0")
    assert look.news()["seen"][0]["sparks"] == {"0": [0, 1, 2, None, 60, 61]}


def test_dead_letters_want_attention_though_the_sink_runs():
    """Also those that lay there before the start; gone when they are gone."""
    look = Looking()
    look.view.letters, look.view.details = {"broker": None}, {"broker": lambda: {"dead_letters": 2887}}
    assert look.news()["troubles"] == [["broker", "dead", 2887, []]]
    look.view.details = {"broker": lambda: {"dead_letters": 0}}
    assert look.news()["troubles"] == []


def test_the_inside_and_the_frames_of_a_node_come_with_the_stream_while_its_panel_is_open():
    """Its counters, at most six frames an event with at most a dozen values; nothing is connected afterwards."""
    look = Looking()
    for name, value in (("plc_read_ok", 7), ("plc_read_fail", 2)):
        look.view.metrics.counter(name, "", tenant="acme", plc="press1", db="1").n = value
    look.news()
    look.show("n=press")
    port = look.view.ports["press"]
    for n in range(9):
        port.push(data(look.view.press, NOW + n, **{f"v{i}": i + n for i in range(20)}))
    told = look.news()
    assert (told["node"]["name"], told["node"]["errors"]) == ("press", [])
    assert (told["node"]["counters"]["reads"], told["node"]["counters"]["read_failures"]) == (7, 2)
    assert [frame["v"][0] for frame in told["frames"]] == [["v0", n] for n in range(3, 9)]
    assert {(frame["of"], len(frame["v"]), frame["n"]) for frame in told["frames"]} == {("acme/press1 DB1", 12, 20)}
    assert look.news() is None
    look.show("")
    port.push(data(look.view.press, NOW, n=1))
    assert look.news() is None


def test_plcs_of_one_name_in_several_sources_are_told_apart():
    """Each with what its own source says of it, its own counters, and none hidden by the trouble of another."""
    look = Looking()
    silent = msgspec.structs.replace(look.view.press, tenant_id="norte")
    look.view.sources[silent] = "norte"
    look.view.failures[silent] = Frame.failure(silent, NOW, "refused")
    look.view.graph.nodes["norte"] = node(NodeKind.SOURCE, "norte", lambda *_: None)
    look.view.become("norte/press1", State.BACKING_OFF, "connection refused: correct the port")
    look.view.become("press/press1", State.DEGRADED, "s7_db7: object does not exist")
    for tenant, value in (("acme", 57), ("norte", 0)):
        look.view.metrics.counter("plc_read_ok", "", tenant=tenant, plc="press1", db="1").n = value
    look.show("n=norte")
    told = look.news()
    assert told["states"] == [[0, "fresh", ""], [1, "failing", "connection refused: correct the port"]]
    assert [(name, blocks) for name, _, _, blocks in told["troubles"]] == [("press/press1", [0]), ("norte/press1", [1])]
    assert told["node"]["counters"]["reads"] == 0
    assert ask(look.view, "/api/last").json()[1]["failing"]["advice"] == "connection refused: correct the port"


def test_states_are_told_when_they_change():
    """Fresh, stale after three periods, failing with what to do, well again; now and then that nothing is new."""
    look = Looking()
    assert look.news()["states"] == [[0, "fresh", ""]]
    assert look.news(60)["states"] == [[0, "stale", ""]]
    advice = "refused: permit PUT/GET in the CPU's protection settings"
    look.view.become("press/press1", State.BACKING_OFF, advice)
    look.view.failures[look.view.press] = Frame.failure(look.view.press, NOW, "refused")
    told = look.news()
    assert told["states"] == [[0, "failing", advice]]
    assert told["troubles"] == [["press/press1", "backing_off", advice, [0]]]
    look.view.failures.clear()
    look.view.latest[look.view.press] = data(look.view.press, look.view.wall, n=1)
    assert look.news()["states"] == [[0, "fresh", ""]]
    assert look.news(1) is None
    assert set(look.news(4)) == {"t"}


def test_a_silent_device_whose_clock_is_ahead_is_stale_all_the_same():
    """It would be fresh until its own time has come."""
    look = Looking()
    look.view.latest[look.view.press] = data(look.view.press, NOW + 10_800, n=1)
    look.history.sample()
    assert look.news()["states"] == [[0, "fresh", ""]]
    assert look.news(60)["states"] == [[0, "stale", ""]]
    look.view.latest[look.view.press] = data(look.view.press, NOW + 10_861, n=2)
    look.history.sample()
    assert look.news()["states"] == [[0, "fresh", ""]]


def test_a_search_finds_blocks_and_shows_the_values_that_match():
    """By the block's name or a value's; the block that is opened shows all it has."""
    look = Looking()
    other = origin("forno", units={})
    look.view.latest[other] = data(other, NOW, **{f"zona_{n}": n for n in range(50)})
    look.news()
    assert look.show("w=0,1&q=zona_4") == [0]
    (seen,) = [each for each in look.news()["seen"] if each["i"] == 0]
    assert seen["n"] == ["zona_4", *(f"zona_4{n}" for n in range(7))]
    assert seen["of"] == 50
    look.show("w=1&o=0&q=zona_4")
    (seen,) = [each for each in look.news()["seen"] if each["i"] == 0]
    assert len(seen["n"]) == 50
    assert look.show("q=nothing") == []
    assert look.show("w=0") is None


@pytest.mark.parametrize(
    "query",
    ["w=9", "w=-1,x,,٣", "o=" + 5000 * "9", "m=" + 5000 * "9", "c=a", "c=a|b|c", "c=acme/press1/DB1|n|x", "v=,,"],
)
def test_nonsense_is_shown_as_nothing(query):
    """Numbers out of range, other alphabets' digits, lines of no block."""
    look = Looking()
    look.news()
    assert look.show(query) is None
    assert "seen" not in (look.news() or {})


def test_nodes_and_lines_are_told_only_where_they_are_shown():
    """States with the parts together, counters of the port, what a sink tells; then only nodes that changed."""
    look = Looking()
    look.news()
    look.view.become("press/press2", State.BACKING_OFF, "timeout")
    look.view.details = {"broker": lambda: {"backlog_frames": 7}}
    look.view.metrics.counter("plc_publish_ok", "", mode="mqtt", node="broker").n = 12
    look.show("v=nodes&c=acme/press1/DB1|contador_bom|0")
    look.history.sample()
    told = look.news()
    nodes = {node["n"]: node for node in told["nodes"]}
    assert nodes["press"]["state"] == "backing_off"
    assert nodes["press"]["parts"] == {"running": 1, "backing_off": 1}
    assert (nodes["broker"]["details"], nodes["broker"]["acknowledged"]) == ({"backlog_frames": 7}, 12)
    assert told["lines"] == [["acme/press1/DB1|contador_bom", [[NOW - 0.5, 5014.0]]]]
    assert look.news() is None
    look.view.become("broker", State.DEGRADED, "slow", NodeKind.SINK)
    assert [node["n"] for node in look.news()["nodes"]] == ["broker"]


def test_the_stream_begins_with_what_a_page_must_know_and_ends_with_the_page():
    """Name, version, start, whether it may change things; a page that has gone can show nothing."""

    async def main():
        view = Watched()
        app = make_app(LOOPBACK, view, loopback=True)
        sent = asyncio.Queue()
        gone = asyncio.Event()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": "GET", "path": "/api/live", "query_string": b"", "headers": []}
        stream = asyncio.create_task(app(scope, receive, sent.put))
        assert (await sent.get())["status"] == 200
        body = (await sent.get())["body"].decode()
        hello = json.loads(body.split("data: ")[1])["hello"]
        assert (hello["graph"], hello["boot"], hello["login"]) == ("test", view.boot, False)
        assert json.loads((await sent.get())["body"].decode().removeprefix("data: "))["blocks"]
        gone.set()
        await stream
        return app, hello["id"]

    app, page = asyncio.run(main())
    assert ask(app, f"/api/live/{page}?w=0", method="POST").status_code == 404
