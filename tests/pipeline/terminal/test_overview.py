"""What a look makes of the pipeline's answers, for people and for scripts."""

import itertools
import json
from unittest.mock import Mock

import msgspec
import pytest

from pipeline.actor import State
from pipeline.commands import tap
from pipeline.errors import UsageError
from pipeline.frame import Origin
from pipeline.operator import NodeKind
from pipeline.terminal.overview import Watcher
from pipeline.terminal.remote import Remote, find
from tests.parts.engine import data, origin
from tests.parts.web import NOW
from tests.pipeline.conftest import Served

READ = {"tenant": "acme", "plc": "press1", "db": "1"}


def test_rates_and_latency_come_from_the_counters(served):
    """Between two looks; since the start where the block is read too seldom for that; a new process begins anew."""
    view = served.view
    reads = view.metrics.counter("plc_read_ok", "", **READ)
    view.metrics.gauge("plc_read_latency_ms", "", **READ).value = 3.5
    view.metrics.gauge("plc_expected_interval_seconds", "", **READ).value = 0.5
    acknowledged = view.metrics.counter("plc_publish_ok", "", mode="mqtt", node="broker")
    reads.n = 7200
    watcher = Watcher(find(served.url))
    (block,) = watcher.look().blocks
    assert (block.rate, block.latency_ms, block.every, block.state) == (2.0, 3.5, 0.5, "fresh")
    view.wall, reads.n, acknowledged.n = NOW + 10, 7240, 30
    later = watcher.look()
    assert (later.blocks[0].rate, later.sinks[0].rate) == (4.0, 3.0)
    view.boot, view.started, view.wall, reads.n = "01JD8Z00000000000000000NEW", NOW + 11, NOW + 12, 5
    assert watcher.look().blocks[0].rate == 5.0


def test_what_happens_between_looks_is_an_event(served):
    """Drops by reason, parts that recover, and what the parts remember from before."""
    view = served.view
    broker = view.become("broker", State.BACKING_OFF, "login: refused", NodeKind.SINK)
    watcher = Watcher(find(served.url))
    assert [(event.who, event.what, event.bad) for event in watcher.look().events] == [
        ("broker", "login: refused", True)
    ]
    broker.drops["full"] = 5
    view.wall += 1
    view.become("broker", State.RUNNING, "", NodeKind.SINK)
    happened = {(event.who, event.what) for event in watcher.look().events}
    assert {("broker", "running")} < happened
    broker.drops["full"] = 7
    assert ("broker", "2 frames given up: full") in {(event.who, event.what) for event in watcher.look().events}
    assert next(part for part in watcher.look().parts if part.name == "broker").drops == {"full": 7}


def test_a_look_for_scripts(protected, run, monkeypatch, tmp_path):
    """A table or JSON; the token comes from the option, a file or the environment, and is never told."""
    (tmp_path / "token").write_text("open-sesame\n")
    code, out, _ = run("top", protected.url, "--json", "--every", "200ms", "--token", f"@{tmp_path / 'token'}")
    found = json.loads(out)
    assert (code, found["graph"], found["blocks"][0]["values"]["contador_bom"]) == (0, "test", 5014)
    monkeypatch.setenv("PIPELINE_TOKEN", "open-sesame")
    protected.view.latest = {protected.view.press: data(protected.view.press, NOW - 60, name="a\x1b[2J")}
    code, out, _ = run("top", f"{protected.url}/#log", "--once", "--every", "200ms")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert ["acme/press1", "DB1", "stale", "1.0", "min"] in lines
    assert lines[0][0] == "test,"
    monkeypatch.setenv("PIPELINE_TOKEN", "wrong-guess")
    code, out, err = run("top", protected.url, "--once")
    assert (code, out) == (1, "")
    assert "answers 401: log in as one of http.users" in err
    assert "wrong-guess" not in err


@pytest.mark.parametrize("token", ["tok€n", "tokén", "a\rb", "a: b"])
def test_a_token_may_have_any_letters(token, run):
    """Those that no header has, too; a wrong one is refused by the pipeline, not by what asks."""
    served = Served(token)
    try:
        assert run("top", served.url, "--once", "--every", "200ms", "--token", token)[0] == 0
        code, _, err = run("top", served.url, "--once", "--token", f"{token}€\r")
        assert (code, "answers 401: log in as one of http.users" in err) == (1, True)
    finally:
        served.stop()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://127.0.0.1:1", "--once"], "no pipeline answers at http://127.0.0.1:1"),
        (["http://me:secret@127.0.0.1:1"], "a login doesn't belong into an address"),
        (["http://edge..plant:9108"], "'http://edge..plant:9108' is no address of a page"),
        (["http://:9108"], "'http://:9108' is no address of a page"),
        (["http://127.0.0.1:1", "--token", "@nowhere"], "the login can't be read from 'nowhere': No such file"),
        (["127.0.0.1:19381"], "is no graph file; if it is an address, write http://127.0.0.1:19381"),
        (["edge7.plant:9108"], "write http://edge7.plant:9108"),
        (["lime1.yaml"], "there is no graph file 'lime1.yaml'; did you mean 'line1'?"),
        (["demo", "--every", "1"], "--every: '1' is not a duration"),
        (["demo", "--every", "1ms"], "not more often than every 200ms"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments, words, run):
    """What, where, what to do."""
    code, out, err = run("top", *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert words in err
    assert "secret" not in err


def test_what_is_no_pipeline_is_told(served, monkeypatch):
    """Some other server that answers."""
    remote = find(served.url)
    monkeypatch.setattr(remote, "get", lambda _: b"<html>")
    with pytest.raises(UsageError, match="is no pipeline"):
        Watcher(remote).look()


def test_what_tells_no_frames_is_told(served, monkeypatch, run):
    """Some other server that answers to `tap`."""
    monkeypatch.setattr(Remote, "lines", lambda *_: iter([b"<html>"]))
    code, out, err = run("tap", served.url, "press")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"what answers at {served.url} is no pipeline: " in err


def test_a_tap_goes_on_with_the_graph_that_is_loaded_anew(run, monkeypatch):
    """The page ends, and is away meanwhile; one that does not come back is told, and is no good end."""
    away = UsageError("no pipeline answers")
    frame = b'{"ts":%d,"ip":"127.0.0.1","measurement":"press","values":{"n":1}}'
    script = iter([[frame % 1], [], [away], [frame % 2, frame % 3], *([away] for _ in range(99))])

    def lines(*_):
        for line in next(script):
            if line is away:
                raise away
            yield line

    monkeypatch.setattr(Remote, "lines", lines)
    monkeypatch.setattr(tap, "time", Mock(monotonic=itertools.count(step=0.4).__next__))
    code, out, err = run("tap", "http://127.0.0.1:9108", "press")
    assert [json.loads(line)["ts"] for line in out.splitlines()] == [1, 2, 3]
    told = "warning: the graph has ended, or is loaded anew; asking again for 30 s\n"
    assert (code, err) == (2, f"{told}{told}error: no more frames come: no pipeline answers\n")


def test_a_fleet_is_there_as_a_whole_and_by_plc(served):
    """The whole has the node's frames and says how many don't run; each PLC has its own, and what has gone wrong."""
    view = served.view
    dead = view.become("press/press2", State.BACKING_OFF, "refused")
    dead.drops["late"], view.actors["press/press1"].drops["late"] = 2, 1
    view.actors["press/press1"].frames, view.ports["press"].frames = 11, 12
    parts = {part.name: part for part in Watcher(find(served.url)).look().parts}
    assert list(parts)[:3] == ["press", "press/press1", "press/press2"]
    whole = parts["press"]
    assert (whole.state, whole.reason, whole.frames, whole.errors) == ("degraded", "1 of 2 not running", 12, 1)
    assert whole.drops == {"late": 3}
    assert [(parts[name].frames, parts[name].errors) for name in ("press/press1", "press/press2")] == [(11, 0), (0, 1)]


def test_a_plc_that_never_answered_has_no_latency(served):
    """The gauge is 0 before the first answer, which was no fast one."""
    served.view.metrics.gauge("plc_read_latency_ms", "", **READ)
    assert Watcher(find(served.url)).look().blocks[0].latency_ms is None


def test_no_two_blocks_have_one_name(served):
    """Sensors without a PLC are named by their tags, as on the page; blocks of one PLC that differ by tags, too."""
    sensors = [Origin(measurement="sens", tags={"device": name}) for name in ("d1", "d2")]
    lines = [origin("press9", tags={"line": name}) for name in ("a", "b")]
    elsewhere = [msgspec.structs.replace(origin("press8"), ip=ip) for ip in ("10.0.0.1", "10.0.0.2")]
    served.view.latest = {each: data(each, NOW, temp=1) for each in (*sensors, *lines, *elsewhere)}
    assert {(block.plc, block.block) for block in Watcher(find(served.url)).look().blocks} == {
        ("d1", "sens"),
        ("d2", "sens"),
        ("acme/press9", "DB1 line=a"),
        ("acme/press9", "DB1 line=b"),
        ("acme/press8", "DB1"),
        ("acme/press8", "DB1 ~2"),
    }


BROKEN = "sources:\n\t press: [\n"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ('http: {{listen: "{at}", token: "${{TOK}}"}}\n', ["--token", "open-sesame"]),
        ('http:\n  # where\n  listen: "{at}"\n\n  token: ${{TOK:-open-sesame}}\n' + BROKEN, []),
        (
            """http: {{listen: "{at}", users: {{ana: "${{TOK}}"}}, token: open-sesame}}
sources: {{press: {{type: s7, address: '${{PLC_IP}}', evry: 1s}}}}
""",
            [],
        ),
    ],
)
def test_a_file_that_would_not_start_here_leads_to_what_runs(text, rest, protected, run, tmp_path):
    """Variables that are set only for the service, a wrong edit, one that YAML can't read: only `http:` is needed."""
    file = tmp_path / "line.yaml"
    file.write_text(text.format(at=protected.url.removeprefix("http://")))
    code, out, err = run("top", file, "--once", "--every", "200ms", *rest)
    assert (code, err) == (0, "")
    assert out.startswith("test, up 1.0 h")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sources: {}\n", "has no `http:` section, so nobody can look into that graph"),
        ('http: {token: "${TOK}"}\n', "can't be read here: environment variable TOK is not set; give it by --token"),
        ('http: {listen: "${WHERE}"}\n', "http.listen: environment variable WHERE is not set; name it by http://"),
        ('http: {listen: "127.0.0.1:0"}\n', "http.listen: port 0 is a free one, which the log tells; name it by"),
        ("http: {listen: here}\n", "http.listen: 'here' is no address to listen on; name it by"),
        (BROKEN, "or name the pipeline by the address of its page"),
    ],
)
def test_a_file_that_leads_nowhere_says_what_would(text, words, run, tmp_path):
    """Another way to the pipeline: its address, or its token."""
    file = tmp_path / "line.yaml"
    file.write_text(text)
    code, out, err = run("top", file, "--once")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert words in err
