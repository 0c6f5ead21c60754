"""The sink `webhook` against a scripted server: each alert is told once, its end too, over restarts and outages."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from operators.sinks.webhook import WebhookOptions, webhook
from pipeline.actor import State
from pipeline.alerting import teller as teller_module
from pipeline.alerting.payloads import PayloadFormat
from pipeline.clock import VirtualLoop, run_virtual
from pipeline.frame import Frame, Origin
from pipeline.operator import Flow, NodeKind, Scope
from pipeline.units import Duration, Secret
from tests.parts.engine import data, origin
from tests.parts.receiver import Receiver
from tests.parts.stage import SinkStage
from tests.parts.stream import mistakes
from tests.parts.waiting import eventually

PATH = "/services/T000/B000/XXXX"
START = 1_731_800_000.0
LABELS = {"measurement": "insights", "tenant_id": "acme", "plc_id": "press1"}


class Stage(SinkStage):
    """A running sink and the server before it."""

    def __init__(self, loop: VirtualLoop, folder: Path, receiver: Receiver, given: dict[str, Any]) -> None:
        usual = {
            "url": Secret(f"http://127.0.0.1{PATH}"),
            "field": "status_calculado",
            "firing": ["ALTO", "CRITICO"],
            "cooldown": Duration(0),
            "repeat": Duration(0),
            "state": str(folder / "state.json"),
        }
        here = origin(db=None).replace(measurement="insights", ip="")
        super().__init__(loop, webhook, WebhookOptions(**usual | given), here)
        self.receiver = receiver

    def say(self, level: Any, *, age: float = 0.0, where: Origin | None = None, **values: Any) -> None:
        """A frame says the level."""
        ts = self.context.clock.wall() - age
        self.mailbox.put(data(where or self.here, ts, status_calculado=level, **values))

    async def keep(self, level: Any, seconds: float, every: float = 10.0) -> None:
        """Frames say the same level for so long."""
        for _ in range(int(seconds / every)):
            self.say(level)
            await asyncio.sleep(every)

    async def told(self, count: int) -> None:
        """Wait until so many notices have been taken."""
        await eventually(lambda: len(notices(self.receiver)) >= count, f"{count} notices", 900)


Script = Callable[[Stage], Coroutine[Any, Any, None]]


def play(folder: Path, script: Script, receiver: Receiver | None = None, **options: Any) -> Receiver:
    """Run a script beside a sink whose state is in `folder`; then end the sink. The server."""
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


def notices(receiver: Receiver) -> list[tuple[str, str]]:
    """Status and value of each alert that was taken, in order."""
    alerts = [alert for payload in receiver.taken for alert in payload["alerts"]]
    return [(alert["status"], alert["annotations"]["value"]) for alert in alerts]


def test_an_alert_is_told_once_and_its_end_once(tmp_path):
    """However often the level is repeated; heartbeats, failures and frames without the field say nothing."""

    async def script(on: Stage) -> None:
        await on.keep("Normal", 60)
        await on.keep("CRITICO", 600)
        on.mailbox.put(Frame.heartbeat(on.here, on.context.clock.wall()))
        on.mailbox.put(Frame.failure(on.here, on.context.clock.wall(), "timeout"))
        on.mailbox.put(data(on.here, on.context.clock.wall(), other="Normal"))
        await asyncio.sleep(60)
        assert on.context.details()["firing"] == 1
        await on.keep("Normal", 600)
        assert on.state == (State.RUNNING, "")
        assert on.context.details()["firing"] == 0

    receiver = play(tmp_path, script)
    assert notices(receiver) == [("firing", "CRITICO"), ("resolved", "Normal")]
    assert {post.path for post in receiver.posts} == {PATH}
    assert json.loads((tmp_path / "state.json").read_text()) == {"series": [], "outbox": []}


def test_alertmanagers_payload_is_complete(tmp_path):
    """Version 4: group, labels, annotations, moments, a fingerprint that stays."""
    options = {
        "alert": "TemperaturaCritica",
        "labels": {"severity": "critical"},
        "summary": "{alert}: {temperatura_c} C em {plc_id}",
        "annotations": {"hint": "desde {since}"},
        "link": "http://grafana/d/x?var-plc={plc_id}",
    }

    async def script(on: Stage) -> None:
        on.say("CRITICO", temperatura_c=31.5)
        await asyncio.sleep(60)
        on.say("Normal", temperatura_c=25)
        await on.told(2)

    firing, resolved = play(tmp_path, script, **options).taken
    labels = {"alertname": "TemperaturaCritica", "severity": "critical", **LABELS}
    annotations = {
        "summary": "TemperaturaCritica: 31.5 C em press1",
        "value": "CRITICO",
        "hint": "desde 2024-11-16T23:33:20.000Z",
    }
    (alert,) = firing.pop("alerts")
    assert firing == {
        "receiver": "node",
        "status": "firing",
        "groupLabels": {"alertname": "TemperaturaCritica"},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "version": "4",
        "groupKey": '{}:{alertname="TemperaturaCritica"}',
        "truncatedAlerts": 0,
    }
    (over,) = resolved["alerts"]
    assert (len(alert["fingerprint"]), over["fingerprint"]) == (16, alert.pop("fingerprint"))
    assert alert == {
        "status": "firing",
        "labels": labels,
        "annotations": annotations,
        "startsAt": "2024-11-16T23:33:20.000Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://grafana/d/x?var-plc=press1",
    }
    assert (resolved["status"], over["startsAt"]) == ("resolved", alert["startsAt"])
    assert over["endsAt"] == "2024-11-16T23:34:20.000Z"


@pytest.mark.parametrize(
    ("form", "template", "expected"),
    [
        (PayloadFormat.SLACK, {}, {"text": "status_calculado firing: status_calculado = CRITICO"}),
        (
            PayloadFormat.TEMPLATE,
            {"chat": 12, "text": "{plc_id} {value} {t} {none}", "list": [{"a": "{status}"}, True]},
            {"chat": 12, "text": "press1 CRITICO 31.5 ", "list": [{"a": "firing"}, True]},
        ),
    ],
)
def test_other_receivers_get_their_form(tmp_path, form, template, expected):
    """A text, or what the user has written, with names filled in however deep."""

    async def script(on: Stage) -> None:
        on.say("CRITICO", t=31.5)
        await eventually(lambda: on.receiver.taken, "told")

    assert play(tmp_path, script, format=form, template=template).taken == [expected]


def test_one_plain_object_and_grafanas_payload(tmp_path):
    """The one for own receivers; the other is Alertmanager's with title, state and message."""

    async def script(on: Stage) -> None:
        on.say("CRITICO", t=31.5)
        await eventually(lambda: on.receiver.taken, "told")

    (plain,) = play(tmp_path / "a", script, format=PayloadFormat.GENERIC, labels={"severity": "critical"}).taken
    assert (plain["alert"], plain["status"], plain["field"]) == ("status_calculado", "firing", "status_calculado")
    assert (plain["value"], plain["values"]) == ("CRITICO", {"status_calculado": "CRITICO", "t": 31.5})
    assert (plain["labels"], plain["until"]) == ({**LABELS, "severity": "critical"}, None)
    (grafana,) = play(tmp_path / "b", script, format=PayloadFormat.GRAFANA).taken
    assert (grafana["version"], grafana["state"]) == ("4", "alerting")
    assert grafana["title"] == "[FIRING:1] status_calculado"
    assert grafana["alerts"][0]["valueString"] == "[ status_calculado=CRITICO ]"
    assert grafana["alerts"][0]["values"] == {"t": 31.5}


@pytest.mark.parametrize(
    ("options", "levels", "expected"),
    [
        ({"firing": [2, 3]}, [1, 2, 2.0, 3, 1], [("firing", "2"), ("firing", "3"), ("resolved", "1")]),
        ({"firing": [True]}, [False, True, 1, False], [("firing", "true"), ("resolved", "1")]),
        ({"firing": ["CRITICO"]}, ["ALTO", "CRITICO", "ALTO"], [("firing", "CRITICO"), ("resolved", "ALTO")]),
        ({}, ["ALTO", "CRITICO", "ALTO"], [("firing", "ALTO"), ("firing", "CRITICO"), ("firing", "ALTO")]),
    ],
)
def test_levels_are_texts_numbers_or_booleans(tmp_path, options, levels, expected):
    """2 and 2.0 are one level, 1 and true are two; another firing level is told too."""

    async def script(on: Stage) -> None:
        for level in levels:
            on.say(level)
            await asyncio.sleep(10)

    assert notices(play(tmp_path, script, **options)) == expected


def test_what_does_not_last_is_not_told(tmp_path):
    """With `hold` a level must stay; it is told by the clock, also when no further frame comes."""

    async def script(on: Stage) -> None:
        on.say("CRITICO")
        await asyncio.sleep(20)
        on.say("Normal")
        await asyncio.sleep(100)
        assert on.receiver.posts == []
        on.say("CRITICO")
        await asyncio.sleep(29)
        assert on.receiver.posts == []
        await asyncio.sleep(3)
        assert notices(on.receiver) == [("firing", "CRITICO")]

    play(tmp_path, script, hold=Duration(30))


def test_a_series_that_flutters_is_told_once_in_the_cooldown(tmp_path):
    """After the first notice the next comes only when it still fires; what is worse, at once."""

    async def script(on: Stage) -> None:
        for _ in range(10):
            await on.keep("ALTO", 10)
            await on.keep("Normal", 10)
        assert notices(on.receiver) == [("firing", "ALTO"), ("resolved", "Normal")]
        await on.keep("ALTO", 120)
        assert notices(on.receiver)[2:] == [("firing", "ALTO")]
        on.say("CRITICO")
        await on.told(4)
        on.say("ALTO")
        await asyncio.sleep(10)
        assert notices(on.receiver)[3:] == [("firing", "CRITICO")]

    play(tmp_path, script, cooldown=Duration(300))


def test_each_level_must_last_before_it_is_told(tmp_path):
    """A worse one too; of a series that goes up and down all the time, the least that it has been at."""

    async def script(on: Stage) -> None:
        await on.keep("ALTO", 40)
        assert notices(on.receiver) == [("firing", "ALTO")]
        await on.keep("CRITICO", 20)
        await on.keep("ALTO", 20)
        assert len(on.receiver.taken) == 1
        await on.keep("CRITICO", 20)
        assert len(on.receiver.taken) == 1
        await on.keep("CRITICO", 20)
        assert notices(on.receiver)[1:] == [("firing", "CRITICO")]
        await on.keep("Normal", 600)
        for _ in range(3):
            await on.keep("ALTO", 10)
            await on.keep("CRITICO", 10)
        assert notices(on.receiver)[3:] == [("firing", "ALTO")]

    play(tmp_path, script, hold=Duration(30))


def test_the_cooldown_counts_from_the_end_too(tmp_path):
    """An alert that was long, and fires anew soon after its end."""

    async def script(on: Stage) -> None:
        await on.keep("CRITICO", 600)
        await on.keep("Normal", 60)
        await on.keep("CRITICO", 230)
        assert notices(on.receiver) == [("firing", "CRITICO"), ("resolved", "Normal")]
        await on.keep("CRITICO", 30)
        assert notices(on.receiver)[2:] == [("firing", "CRITICO")]

    play(tmp_path, script, cooldown=Duration(300))


def test_what_still_fires_is_told_again(tmp_path):
    """Every `repeat`, with the same beginning."""

    async def script(on: Stage) -> None:
        await on.keep("CRITICO", 3.5 * 3600, 60)

    receiver = play(tmp_path, script, repeat=Duration(3600))
    assert notices(receiver) == [("firing", "CRITICO")] * 4
    assert len({payload["alerts"][0]["startsAt"] for payload in receiver.taken}) == 1


def test_each_series_is_judged_by_itself(tmp_path):
    """By all tags, or by those that are named; what comes together is told together."""
    halls = [origin(f"press{n}", tags={"hall": f"h{n % 2}"}) for n in range(4)]

    async def script(on: Stage) -> None:
        for hall in halls:
            on.say("CRITICO", where=hall)
        await on.told(1)
        await asyncio.sleep(5)

    (together,) = play(tmp_path / "all", script).taken
    assert [alert["labels"]["plc_id"] for alert in together["alerts"]] == ["press0", "press1", "press2", "press3"]
    assert "plc_id" not in together["commonLabels"]
    (named,) = play(tmp_path / "named", script, series=["hall"]).taken
    assert [alert["labels"] for alert in named["alerts"]] == [
        {"alertname": "status_calculado", "hall": "h0"},
        {"alertname": "status_calculado", "hall": "h1"},
    ]


def test_old_frames_raise_no_alert(tmp_path):
    """A backlog tells of what is over; late frames don't overrule newer ones."""

    async def script(on: Stage) -> None:
        on.say("CRITICO", age=601)
        await asyncio.sleep(5)
        on.say("CRITICO")
        await on.told(1)
        on.say("Normal", age=60)
        await asyncio.sleep(5)
        assert on.context.actor.drops == {"too_old": 1}

    assert notices(play(tmp_path, script)) == [("firing", "CRITICO")]


def test_a_restart_neither_repeats_nor_forgets(tmp_path):
    """The end of what fired before it is told; what still fires is not told again; what began is held on."""

    async def fires(on: Stage) -> None:
        on.say("CRITICO")
        await on.told(1)

    async def still(on: Stage) -> None:
        await on.keep("CRITICO", 100)
        assert on.receiver.posts == []

    async def over(on: Stage) -> None:
        on.say("Normal")
        await on.told(1)

    assert notices(play(tmp_path, fires)) == [("firing", "CRITICO")]
    play(tmp_path, still)
    assert notices(play(tmp_path, over)) == [("resolved", "Normal")]


def test_what_nobody_has_taken_outlives_the_process(tmp_path):
    """The server is away: firing and its end wait on disk, and reach it in order after the next start."""

    async def away(on: Stage) -> None:
        on.receiver.kill()
        on.say("CRITICO")
        await asyncio.sleep(30)
        on.say("Normal")
        await asyncio.sleep(30)
        state, reason = on.state
        assert state is State.BACKING_OFF
        assert reason.startswith("refused: 127.0.0.1:80: nothing listens there")
        assert on.context.details()["waiting"] == 2
        assert on.context.keeper.safe == on.context.keeper.taken

    async def back(on: Stage) -> None:
        await on.told(2)

    play(tmp_path, away)
    assert notices(play(tmp_path, back)) == [("firing", "CRITICO"), ("resolved", "Normal")]


def test_a_notice_is_on_disk_before_it_is_sent(tmp_path):
    """So that a kill at any moment forgets nothing."""
    seen: list[dict[str, Any]] = []
    receiver = Receiver()

    def answer(_: Any) -> int:
        seen.append(json.loads((tmp_path / "state.json").read_text()))
        return 204

    receiver.answer = answer

    async def script(on: Stage) -> None:
        on.say("CRITICO")
        await on.told(1)

    play(tmp_path, script, receiver)
    assert [notice["value"] for notice in seen[0]["outbox"]] == ["CRITICO"]
    assert [series["announced"] for series in seen[0]["series"]] == ["CRITICO"]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_answers_that_are_not_the_notices_fault_keep_it(tmp_path, status):
    """Tried again with growing pauses."""
    receiver = Receiver()
    receiver.answer = lambda post: status if post.at < 100 else 204

    async def script(on: Stage) -> None:
        on.say("CRITICO")
        await asyncio.sleep(60)
        assert on.state[0] is State.BACKING_OFF
        assert str(status) in on.state[1]
        await on.told(1)
        await eventually(lambda: on.state == (State.RUNNING, ""), "well again")

    play(tmp_path, script, receiver)
    assert 3 < len(receiver.posts) < 20


def test_a_refused_notice_is_given_up_and_the_others_are_told(tmp_path):
    """The one that the server means is found among those of one request; it is logged and counted."""
    receiver = Receiver()
    receiver.answer = lambda post: 400 if b"press1" in post.raw else 204

    async def script(on: Stage) -> None:
        for n in range(3):
            on.say("CRITICO", where=origin(f"press{n}"))
        await on.told(2)
        await eventually(lambda: not on.context.details()["waiting"], "nothing waits")
        assert on.context.details()["refused"] == 1
        assert on.state[0] is State.DEGRADED
        await asyncio.sleep(90)
        assert on.state == (State.RUNNING, "")

    with capture_logs() as logs:
        play(tmp_path, script, receiver)
    assert [line["labels"]["plc_id"] for line in logs if line["event"] == "notice refused"] == ["press1"]


def test_the_address_is_a_secret(tmp_path):
    """Neither state, details nor log show more than the server, whatever that answers."""
    receiver = Receiver()
    receiver.answer = lambda post: (
        (404, {}, f"no hook {post.path}".encode()) if post.at < 10 else (302, {"location": f"http://b{PATH}"}, b"")
    )
    said: list[str] = []

    async def script(on: Stage) -> None:
        on.say("CRITICO")
        for _ in range(30):
            await asyncio.sleep(1)
            said.extend([str(on.state), str(on.context.details())])

    with capture_logs() as logs:
        play(tmp_path, script, receiver)
    said.append(str(logs))
    assert "http://127.0.0.1:80" in said[1]
    assert any("no hook ***" in each for each in said)
    assert not [each for each in said if "XXXX" in each]


def test_a_damaged_state_file_is_moved_aside(tmp_path):
    """Reported; the sink goes on as at its first start."""
    (tmp_path / "state.json").write_text("{")

    async def script(on: Stage) -> None:
        on.say("CRITICO")
        await on.told(1)

    with capture_logs() as logs:
        play(tmp_path, script)
    assert (tmp_path / "state.json.damaged").read_text() == "{"
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["state file replaced"]


def test_a_full_disk_silences_no_alert(tmp_path, monkeypatch):
    """It is told all the same, and the state says what a restart would cost."""
    disk = {"full": True}
    save = teller_module.save

    def full(path: Path, body: bytes) -> None:
        if disk["full"]:
            raise OSError(28, "No space left on device")
        save(path, body)

    monkeypatch.setattr(teller_module, "save", full)

    async def script(on: Stage) -> None:
        on.say("CRITICO")
        await on.told(1)
        await asyncio.sleep(5)
        assert on.state[0] is State.DEGRADED
        assert "No space left" in on.state[1]
        assert on.context.keeper.safe < on.context.keeper.taken
        disk["full"] = False
        await eventually(lambda: on.state == (State.RUNNING, ""), "well again")
        assert on.context.keeper.safe == on.context.keeper.taken

    play(tmp_path, script)


def test_memory_is_bounded(tmp_path, monkeypatch):
    """More series than allowed are passed over, more notices than fit push the oldest out; both are counted."""
    monkeypatch.setattr(teller_module, "OUTBOX", 5)

    async def script(on: Stage) -> None:
        on.receiver.kill()
        for n in range(20):
            on.say("CRITICO", where=origin(f"press{n}"))
        await asyncio.sleep(5)
        assert on.context.details()["waiting"] == 5
        assert on.context.actor.drops == {"too_many_series": 10, "outbox_full": 5}

    play(tmp_path, script, max_series=10)


def test_what_is_pushed_out_while_it_is_told_takes_nothing_untold_along(tmp_path, monkeypatch):
    """A slow server, and more notices than fit meanwhile: those that still wait are told."""
    monkeypatch.setattr(teller_module, "OUTBOX", 5)

    async def script(on: Stage) -> None:
        on.receiver.delay = 3.0
        for n in range(3):
            on.say(f"level{n}", where=origin(f"press{n}"))
        await asyncio.sleep(1)
        for n in range(3, 8):
            on.say(f"level{n}", where=origin(f"press{n}"))
        await on.told(8)

    receiver = play(tmp_path, script, firing=[f"level{n}" for n in range(8)])
    assert [value for _, value in notices(receiver)] == [f"level{n}" for n in range(8)]


def test_a_login_is_sent_and_its_missing_file_shows_before_the_first_alert(tmp_path):
    """Read anew until it is there."""
    token = tmp_path / "token"

    async def script(on: Stage) -> None:
        await eventually(lambda: on.state[0] is State.BACKING_OFF, "said")
        assert f"secret file '{token}' can't be read" in on.state[1]
        token.write_text("open sesame")
        await eventually(lambda: on.state[0] is State.RUNNING, "well")
        on.say("CRITICO")
        await on.told(1)

    receiver = play(tmp_path, script, token=Secret(file=token), headers={"X-Key": Secret("key")})
    headers = receiver.posts[0].headers
    assert (headers["authorization"], headers["x-key"]) == ("Bearer open sesame", "key")
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("url: '${U}', field: a", "firing: is required and missing"),
        ("url: '${U}', field: a, firing: []", "firing: must have at least 1"),
        ("url: '${U}', field: a, firing: [x], format: template", "template: is required with format: template"),
        ("url: '${U}', field: a, firing: [x], template: {a: b}", "template: is only for format: template"),
        ("url: '${U}', field: a, firing: [x], headers: {'a b': '${U}'}", "headers.a b: 'a b' is not a header's name"),
        ("url: '${U}', field: a, firing: [x], token: \"${U}\\n\"", "token: holds a line break"),
        ("url: '${BAD}', field: a, firing: [x]", "url: can't be posted to: write http://host/path"),
        ("url: '${PLAIN}', field: a, firing: [x]", "url: notices and secrets travel in clear"),
        ("url: '${U}', field: a, firing: [x], tls: {enabled: false}", "tls.enabled: `url` says https"),
        ("url: 'https://h/in-clear', field: a, firing: [x]", "url: a secret is written in clear"),
    ],
)
def test_mistakes_are_told_before_anything_connects(options, found):
    """Each with the option and what to do; the address is never in them."""
    variables = {"U": f"https://hooks.example{PATH}", "BAD": "ftp://XXXX", "PLAIN": f"http://hooks.example{PATH}"}
    told = mistakes(NodeKind.SINK, f"{{type: webhook, from: press, {options}}}", variables)
    assert any(found in each for each in told), told
    assert "XXXX" not in "".join(told)


def test_the_forecast_misses_the_field_and_the_claim_names_the_file():
    """What is judged must come; two sinks with one memory are refused."""
    options = WebhookOptions(url=Secret("https://h/x"), field="verdict", firing=["bad"])
    scope = Scope(graph="g", node="n")
    named = webhook.forecast(options, scope, Flow(frames=2, names=frozenset({"a"})))
    assert [warning.message for warning in named.warnings] == ["no frame has a value 'verdict'"]
    assert webhook.forecast(options, scope, Flow(frames=2, names=frozenset({"verdict"}))).warnings == ()
    assert webhook.forecast(options, scope, Flow(frames=2)).warnings == ()
    (claim,) = webhook.claimed(options, scope)
    assert (claim.what, Path(claim.key).name) == ("state file", "n.json")
