"""A graph's inside on the page: options and the file, without a single secret; samples as JSON and CSV."""

import json
from dataclasses import replace
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from pipeline import log
from pipeline.config import load_text
from pipeline.config.http import Http
from pipeline.operator import NodeKind, Options
from pipeline.units import Duration, Secret
from pipeline.web.app import make_app
from pipeline.web.history import History
from pipeline.web.inside import checked
from tests.parts.engine import data, make_graph, node
from tests.parts.web import LOOPBACK, NOW, Watched, ask

LITERAL = "s3nha-em-claro"
TEXT = f"""\
http: {{listen: "127.0.0.1:9108", token: {LITERAL}}}
services:
  broker: {{type: mqtt_broker, port: 1883}}
sources:
  press: {{type: s7, address: 127.0.0.1, every: 1s, tags: {{n: "DB1.DBW0:INT"}}}}
sinks:
  out:
    type: mqtt
    from: press
    host: broker.example
    username: edge
    password: "{LITERAL}"   # in clear
    journal: {{path: data/x}}
"""


class Sample(Options):
    """Options with everything that must be shown well, or not at all."""

    password: Annotated[Secret, Meta(description="x")]
    every: Annotated[Duration, Meta(description="x")] = Duration(1)
    headers: Annotated[dict[str, str], Meta(description="x")] = msgspec.field(default_factory=dict)
    kept: Annotated[int, Meta(description="x")] = 3


def test_a_nodes_options_are_those_that_are_set_and_no_secret():
    """As people write them; what is at its default is left out; telling keys are masked."""
    view = Watched()
    options = Sample(password=Secret(LITERAL), every=Duration(0.5), headers={"X-Api-Key": LITERAL, "X": "y"})
    view.graph = make_graph(replace(node(NodeKind.SINK, "broker", lambda *_: None, options=options), line=7))
    found = ask(view, "/api/node/broker").json()
    assert found["options"] == {"password": "***", "every": "500ms", "headers": {"X-Api-Key": "***", "X": "y"}}
    assert (found["section"], found["line"], found["actors"][0]["state"]) == ("sinks", 7, "running")
    assert ask(view, "/api/node/nobody").status_code == 404


def test_the_file_is_shown_with_predictions_and_warnings_and_without_secrets(tmp_path, monkeypatch):
    """As it is on disk now, each remark at its line."""
    # Other tests' secrets, such as `pass`, would be masked here too.
    monkeypatch.setattr(log, "_hidden", set())
    monkeypatch.setattr(log, "_pattern", None)
    file = tmp_path / "graph.yaml"
    file.write_text(TEXT, encoding="utf-8")
    graph = load_text(TEXT, file, {})
    found = checked(graph)
    assert found["good"]
    assert LITERAL not in json.dumps(found)
    assert "token: ***}" in found["text"]
    assert "word: ***   # in clear" in found["text"]
    assert {each["node"]: each["line"] for each in found["predictions"]}["out"] == 7
    assert any("in clear" in each["message"] for each in found["problems"])


def test_a_file_that_has_been_broken_since_says_what_is_wrong_with_it(tmp_path):
    """It would be refused at the next start: better known now; one that is gone is an error of its own."""
    file = tmp_path / "graph.yaml"
    file.write_text(TEXT, encoding="utf-8")
    view = Watched()
    view.graph = load_text(TEXT, file, {})
    file.write_text(TEXT.replace("type: s7,", "type: s8,"), encoding="utf-8")
    found = ask(view, "/api/config").json()
    assert not found["good"]
    assert [each["line"] for each in found["problems"] if each["severity"] == "error"] == [5]
    file.unlink()
    assert ask(view, "/api/config").status_code == 404


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("password: abc", "password: ***"),
        ('  "api_key": "x y"  # c', '  "api_key": ***  # c'),
        ("{username: u, password: p, qos: 1}", "{username: u, password: ***, qos: 1}"),
        ("password: ${MQTT_PASSWORD}", "password: ${MQTT_PASSWORD}"),
        ('password: "${MQTT_PASSWORD:-abc}"', 'password: "${MQTT_PASSWORD:-***}"'),
        ("password: {file: /run/secrets/x}", "password: {file: /run/secrets/x}"),
        ("users: {maria: abc}", "users: {***}"),
        ("users: {maria: abc,\n  ana: d}\nx: [", "users: {***\n}\nx: ["),
        ("users:\n  maria: abc  # c\n  ana: ${A}\nx: [", "users:\n  maria: ***  # c\n  ana: ${A}\nx: ["),
        ("token: >-\n  abc\n  d e\nx: [", "token: >-\n  ***\n  ***\nx: ["),
        ("topic: plc/x", "topic: plc/x"),
    ],
)
def test_what_follows_a_secrets_key_is_masked(tmp_path, monkeypatch, line, shown):
    """Also in a file that is broken, whose secrets nobody has read yet; references stay."""
    file = tmp_path / "graph.yaml"
    file.write_text(line, encoding="utf-8")
    monkeypatch.setattr(log, "_pattern", None)  # what other tests have hidden
    assert checked(replace(make_graph(), path=file))["text"] == shown


def charted(view):
    """An app with ten samples of the press."""
    history = History(view)
    for n in range(10):
        view.latest[view.press] = data(view.press, NOW + n, AI_Corrente=n / 2, **{"=cmd": n})
        history.sample()
    return make_app(LOOPBACK, view, loopback=True, history=history)


def test_series_are_found_by_words_of_block_and_name():
    """All words must be there, in any case."""
    app = charted(Watched())
    found = ask(app, "/api/series?q=PRESS1 corr").json()
    assert found["series"] == [
        {"id": "acme/press1/DB1|AI_Corrente", "block": "acme/press1/DB1", "name": "AI_Corrente", "unit": "A"}
    ]
    assert ask(app, "/api/series?q=nothing").json()["series"] == []


def test_samples_come_as_json_and_as_csv_that_no_spreadsheet_runs():
    """Times and values of what is asked for; a name that looks like a formula is text."""
    app = charted(Watched())
    query = f"s=acme/press1/DB1|AI_Corrente&from={NOW + 3}&to={NOW + 6}"
    (found,) = ask(app, f"/api/history?{query}").json()
    assert found["samples"] == [[NOW + 4, 2.0], [NOW + 5, 2.5]]
    answer = ask(app, "/api/history?s=acme/press1/DB1|=cmd&format=csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="test-')
    assert answer.text.splitlines()[:2] == [
        "time,block,name,value,unit",
        "2024-11-16T23:33:30.000Z,acme/press1/DB1,'=cmd,0,",
    ]
    assert ask(app, "/api/history?s=nobody|x&format=csv").text == "time,block,name,value,unit\n"
    assert ask(app, "/api/history?from=x").status_code == 400


def test_a_block_that_is_not_there_yet_keeps_no_other_from_being_shown():
    """After a restart a block comes with its first reading; a chart that remembers an old name shows the others."""
    app = charted(Watched())
    there, gone = ask(app, f"/api/history?s=acme/press1/DB1|AI_Corrente&s=acme/gone/DB9|x&from={NOW + 8}").json()
    assert there["samples"] == [[NOW + 9, 4.5]]
    assert gone == {
        "series": {"id": "acme/gone/DB9|x", "block": "acme/gone/DB9", "name": "x", "unit": ""},
        "samples": [],
    }


def test_long_lines_are_thinned_out_without_losing_a_peak():
    """A screen shows a few thousand points; the one spike of an hour is among them."""
    view = Watched()
    history = History(view)
    for n in range(9000):
        view.latest[view.press] = data(view.press, NOW + n, n=1000.0 if n == 4321 else 1.0)
        history.sample()
    (found,) = ask(make_app(LOOPBACK, view, loopback=True, history=history), "/api/history?s=acme/press1/DB1|n").json()
    assert len(found["samples"]) <= 3000
    assert [NOW + 4321, 1000.0] in found["samples"]


def test_changing_things_wants_a_login_and_no_foreign_page():
    """Dead letters are sent again only by who has logged in; all else is refused with what to do."""

    class Letters:
        """One letter."""

        async def requeue(self, ids):
            """Asked for."""
            return len(ids or [1, 2])

        async def dead(self, limit):
            """As many as asked for."""
            return list(range(limit))

    view = Watched()
    view.letters = {"broker": Letters()}
    view.details = {"broker": lambda: {"dead_letters": 2883}}
    http = Http(listen="127.0.0.1:0", token=Secret("t0ken-of-tests"))
    path, login = "/api/requeue/broker?id=1", {"Authorization": "Bearer t0ken-of-tests"}
    assert ask(view, path, method="POST").status_code == 403
    assert ask(view, path, method="POST", http=http).status_code == 401
    foreign = {**login, "Sec-Fetch-Site": "cross-site"}
    assert ask(view, path, method="POST", http=http, headers=foreign).status_code == 403
    assert ask(view, path, method="POST", http=http, headers=login).json() == {"requeued": 1, "remaining": 2883}
    assert ask(view, "/api/requeue/broker?id=x", method="POST", http=http, headers=login).status_code == 400
    assert ask(view, "/api/requeue/press", method="POST", http=http, headers=login).status_code == 404
    assert ask(view, path, http=http, headers=login).status_code == 405
    for query, count in (("", 200), ("?limit=25", 25), ("?limit=" + 5000 * "9", 2000), ("?limit=-1", 200)):
        assert len(ask(view, f"/api/dead/broker{query}").json()) == count
