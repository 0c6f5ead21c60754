"""The routes: what they answer, with which headers, in which state of the graph."""

import json

import pytest

from pipeline.actor import State
from pipeline.errors import Severity
from pipeline.frame import Frame
from pipeline.operator import NodeKind
from tests.parts.engine import data, origin
from tests.parts.web import NOW, Watched, ask


def test_the_latest_frames_are_as_on_the_wire_with_age_and_units():
    """One object a block in natural order, with the wire's names and types, and what a page needs beside."""
    view = Watched()
    tenth, second = origin("press10", units={}), origin("press2", units={})
    view.latest[tenth] = data(tenth, NOW - 60, n=1)
    view.latest[second] = data(second, NOW + 5, text='a"b<é')
    answer = ask(view, "/api/last")
    assert answer.headers["content-type"] == "application/json"
    first, two, ten = answer.json()
    assert first == {
        "ts": NOW - 0.5,
        "ip": "192.168.0.121",
        "db": 1,
        "tenant_id": "acme",
        "plc_id": "press1",
        "values": {"AI_Corrente": 4.25, "contador_bom": 5014, "maquina_ligada": True},
        "age_seconds": 0.5,
        "stale": False,
        "units": {"AI_Corrente": "A"},
    }
    assert (two["plc_id"], two["values"], two["age_seconds"]) == ("press2", {"text": 'a"b<é'}, 0.0)
    assert (ten["plc_id"], ten["stale"]) == ("press10", True)


def test_a_failing_block_keeps_its_last_values_and_says_why_and_what_to_do():
    """The failure stands beside the old values; a block never read shows the failure frame itself."""
    view = Watched()
    silent = origin("press9")
    view.become(
        "press/press1", State.BACKING_OFF, "refused: PUT/GET is not permitted; permit it in the CPU's protection"
    )
    view.failures = {
        view.press: Frame.failure(view.press, NOW, "refused"),
        silent: Frame.failure(silent, NOW, "timeout"),
    }
    one, nine = ask(view, "/api/last").json()
    assert one["values"]["contador_bom"] == 5014
    assert one["failing"] == {"error": "refused", "ts": NOW, "advice": view.actors["press/press1"].reason}
    assert nine["values"] == {"heartbeat": 1, "read_failed": True}
    assert nine["failing"]["error"] == nine["error"] == "timeout"


@pytest.mark.parametrize(
    ("period", "age", "stale"), [(1.0, 3.9, False), (1.0, 4.1, True), (60.0, 180, False), (None, 32, True)]
)
def test_a_block_is_stale_after_three_of_its_own_periods(period, age, stale):
    """The period is the one that the source declares; without it ten seconds."""
    view = Watched()
    if period:
        text = "time between two reads"
        labels = {"tenant": "acme", "plc": "press1", "db": "1"}
        view.metrics.gauge("plc_expected_interval_seconds", text, **labels).value = period
    view.wall = NOW - 0.5 + age
    assert ask(view, "/api/last").json()[0]["stale"] is stale


def test_the_graph_tells_nodes_states_counters_and_details():
    """What a tool needs to draw it; a detail that can't be read doesn't take the rest with it."""
    view = Watched()
    view.become("broker", State.DEGRADED, "window full")
    view.actors["broker"].drops["mailbox_full"] = 3
    view.actors["press/press1"].frames = 7
    view.details = {"broker": lambda: {"backlog": 7, "path": Severity.ERROR}, "frames": lambda: {"x": 1 / 0}}
    view.ports["press"].push(view.latest[view.press])
    answer = ask(view, "/api/graph").json()
    nodes = {found["name"]: found for found in answer["nodes"]}
    assert answer["edges"] == [["press", "frames"], ["frames", "broker"]]
    assert (nodes["press"]["section"], nodes["press"]["frames"], nodes["broker"]["from"]) == ("sources", 1, ["frames"])
    press = nodes["press"]["actors"][0]
    assert (press["name"], press["frames"], press["errors"]) == ("press/press1", 7, 0)
    broker = nodes["broker"]["actors"][0]
    assert (broker["state"], broker["reason"], broker["drops"]) == ("degraded", "window full", {"mailbox_full": 3})
    assert (broker["frames"], broker["errors"]) == (None, 1)
    assert broker["details"] == {"backlog": 7, "path": "error"}
    assert "ZeroDivisionError" in nodes["frames"]["actors"][0]["details"]["error"]


@pytest.mark.parametrize(
    ("name", "state", "ready", "told"),
    [
        ("press/press1", State.RUNNING, True, None),
        ("press/press1", State.BACKING_OFF, True, "backing_off: timeout"),
        ("press/press2", State.BACKING_OFF, False, "has not read yet: timeout"),
        ("broker", State.DEGRADED, True, "degraded: timeout"),
        ("broker", State.BACKING_OFF, False, "backing_off: timeout"),
    ],
)
def test_ready_means_every_source_has_read_and_every_sink_is_connected(name, state, ready, told):
    """A source that fails later doesn't make the graph unready, but is named; a lost receiver does; alive it is."""
    view = Watched()
    kind = NodeKind.SINK if name == "broker" else NodeKind.SOURCE
    view.become(name, state, "timeout" if told else "", kind)
    answer = ask(view, "/readyz")
    assert answer.status_code == (200 if ready else 503)
    assert answer.json() == {"ready": ready, "reasons": {name: told} if told else {}}
    assert ask(view, "/healthz").text == "ok\n"


def test_a_graph_whose_parts_have_not_been_made_yet_is_not_ready():
    """The page answers before the parts start; that must not look like success."""
    view = Watched()
    view.actors.clear()
    assert ask(view, "/readyz").json() == {"ready": False, "reasons": {"press": "not started", "broker": "not started"}}


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/api/last", "/api/graph", "/healthz", "/readyz", "/static/x/page.css"]
)
def test_every_route_takes_get_and_head_and_is_hardened(path):
    """No route takes another method; no answer may be framed, sniffed, kept, or run script from elsewhere."""
    view = Watched()
    full, head, post = (ask(view, path, method=method) for method in ("GET", "HEAD", "POST"))
    assert (full.status_code, head.status_code, post.status_code) == (200, 200, 405)
    assert (full.content != b"", head.content) == (True, b"")
    for answer in (full, head, post, ask(view, path + "/nothing")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] in {"no-store", "no-cache"}


@pytest.mark.parametrize(
    "path", ["/nothing", "/metrics/", "/static/", "/static/x/../app.py", "/static/x/%2e%2e%2fapp.py"]
)
def test_unknown_paths_are_not_found(path):
    """Nothing else of the disk or the app can be had, and nothing redirects to a host of the asker's choice."""
    assert ask(Watched(), path).status_code == 404


def test_static_files_are_kept_by_browsers_only_under_their_version():
    """The page names them with a version, so a new release is seen at once."""
    view = Watched()
    version = ask(view, "/").text.split("/static/")[1].split("/")[0]
    assert "immutable" in ask(view, f"/static/{version}/page.css").headers["cache-control"]
    assert ask(view, "/static/old/page.css").headers["cache-control"] == "no-cache"


def test_a_request_with_a_body_ends_its_connection_unread():
    """No route takes a body, so nobody can make us keep one."""
    answer = ask(Watched(), "/api/last", method="POST", content=b"x" * 100_000)
    assert (answer.status_code, answer.headers["connection"]) == (405, "close")


def test_odd_values_leave_valid_json():
    """A bad tag is named, a text of control characters is escaped."""
    view = Watched()
    view.latest[view.press] = view.latest[view.press].replace(values={"t": "\x00\u2028\n"}, bad={"AI": "no such block"})
    (found,) = json.loads(ask(view, "/api/last").content)
    assert (found["values"], found["bad"]) == ({"t": "\x00\u2028\n"}, {"AI": "no such block"})
