"""`configs/line1.yaml` from a C++ S7 server to Mosquitto with TLS and passwords, in good times and in bad ones."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from tests.parts.line import ROOT, frames_of, judge, line1_environment
from tests.parts.waiting import wait_until

pytestmark = [pytest.mark.real("mosquitto", "openssl", "native_plc"), pytest.mark.timeout(300)]

LINE1 = ROOT / "configs" / "line1.yaml"
TOPIC = "plc/acme/press1"


def write_ahead(folder: Path) -> Path:
    """line1 with every frame on disk before it is sent."""
    text = LINE1.read_text(encoding="utf-8")
    assert "commit_interval: 1s" in text
    file = folder / "line1.yaml"
    file.write_text(text.replace("commit_interval: 1s", "commit_interval: 0s"), encoding="utf-8")
    return file


def test_fifty_frames_a_second_as_promised(line, press, broker, data_dir):
    """Each tick is a frame or a counted skip; frames have the seed's fields in order, then seq and boot."""
    subscriber = broker.subscribe("plc/#")
    pipeline = line(LINE1, line1_environment(press.port, broker, data_dir))
    pipeline.wait_ready()
    wait_until(lambda: len(subscriber.on(TOPIC)) > 250, "250 frames")
    frames = frames_of(list(subscriber.on(TOPIC)))
    assert list(frames[0]) == ["ts", "ip", "db", "tenant_id", "plc_id", "values", "seq", "boot"]
    assert [frames[0][name] for name in ("ip", "db", "tenant_id", "plc_id")] == ["127.0.0.1", 1, "acme", "press1"]
    values = frames[0]["values"]
    assert values.pop("contador_bom") >= 5000
    assert values == {
        "pecas_ruim": False,
        "pecas_boas": True,
        "maquina_ligada": True,
        "AI_Corrente": 12.5,
        "AI_Vibracao": 2.25,
        "contador_ruim": 40,
    }
    data = [frame for frame in frames if "contador_bom" in frame["values"]]
    ticks = (data[-1]["ts"] - data[0]["ts"]) / 0.02
    skipped = pipeline.metric("edge_ticks_skipped_total")
    assert len(data) - 1 <= round(ticks) + 1
    assert round(ticks) <= len(data) + skipped
    counts = [frame["values"]["contador_bom"] for frame in data]
    assert all(later > earlier for earlier, later in pairwise(counts)), "stale values"
    assert judge(frames).lost == {}
    assert {message.qos for message in subscriber.on(TOPIC)} == {1}
    assert json.loads(subscriber.on("plc/acme/line1/status")[-1].body)["status"] == "online"


def test_five_kills_and_a_dead_broker_lose_nothing_that_is_on_disk_first(line, press, broker, data_dir, tmp_path):
    """`commit_interval: 0s`, 100 reads a second, kill -9 five times, the broker killed once: no boot has a gap."""
    subscriber = broker.subscribe("plc/#")
    pipeline = line(write_ahead(tmp_path), line1_environment(press.port, broker, data_dir, poll="10ms"))
    for round_ in range(5):
        pipeline.wait_ready()
        seen = len(subscriber.messages)
        wait_until(lambda seen=seen: len(subscriber.messages) > seen + 100, "100 more frames")
        if round_ == 2:
            broker.kill()
            backlog = pipeline.metric("edge_backlog_size")
            wait_until(lambda backlog=backlog: pipeline.metric("edge_backlog_size") > backlog + 100, "a backlog")
        pipeline.kill()
        if round_ == 2:
            broker.start()
        pipeline.start()
    pipeline.wait_ready()
    wait_until(lambda: pipeline.metric("edge_backlog_size") < 20, "the backlog is sent")
    assert pipeline.terminate() == 0
    last = json.loads(subscriber.on("plc/acme/line1/status")[-1].body)
    wait_until(lambda: judge(frames_of(list(subscriber.messages))).lost == {}, f"no gaps, the last is {last}")
    verdict = judge(frames_of(subscriber.messages))
    assert len(verdict.highest) == 6
    assert verdict.disorder == 0


def test_a_plc_that_is_off_at_first_and_then_goes_off_again(line, press, broker, data_dir):
    """It starts without the PLC, says so, takes it when it comes, survives its power cycle, invents nothing."""
    subscriber = broker.subscribe("plc/#")
    press.kill()
    pipeline = line(LINE1, line1_environment(press.port, broker, data_dir))
    wait_until(lambda: pipeline.get("/readyz")[0] == 503 and "press" in pipeline.get("/readyz")[1], "not ready")
    assert pipeline.get("/healthz")[0] == 200
    for _ in range(2):
        press.start()
        pipeline.wait_ready()
        seen = len(subscriber.on(TOPIC))
        wait_until(lambda seen=seen: len(subscriber.on(TOPIC)) > seen + 50, "data flow")
        press.kill()
        wait_until(lambda: "error" in frames_of(list(subscriber.on(TOPIC)))[-1], "the failure is told")
    failed = frames_of(subscriber.on(TOPIC))[-1]
    assert failed["values"] == {"heartbeat": 1, "read_failed": True}
    assert judge(frames_of(subscriber.on(TOPIC))).lost == {}


def test_a_clean_stop_loses_nothing_and_says_the_last_number(line, press, broker, data_dir):
    """SIGTERM: exit 0, every frame arrived, and the retained status has `offline` and the last seq."""
    subscriber = broker.subscribe("plc/#")
    pipeline = line(LINE1, line1_environment(press.port, broker, data_dir))
    pipeline.wait_ready()
    wait_until(lambda: len(subscriber.on(TOPIC)) > 50, "50 frames")
    assert pipeline.terminate() == 0
    status = "plc/acme/line1/status"
    wait_until(lambda: json.loads(subscriber.on(status)[-1].body)["status"] == "offline", "offline")
    verdict = judge(frames_of(subscriber.messages))
    assert verdict.lost == {}
    last = json.loads(subscriber.on(status)[-1].body)["last_seq"]
    assert last == {"acme/press1": verdict.highest["acme/press1", frames_of(subscriber.messages)[-1]["boot"]]}


def test_a_dead_broker_at_stop_is_no_reason_to_lose(line, press, broker, data_dir):
    """With the broker away SIGTERM still gives exit 0; the next start sends what was kept."""
    subscriber = broker.subscribe("plc/#")
    pipeline = line(LINE1, line1_environment(press.port, broker, data_dir))
    pipeline.wait_ready()
    wait_until(lambda: len(subscriber.on(TOPIC)) > 20, "frames")
    broker.kill()
    wait_until(lambda: pipeline.metric("edge_backlog_size") > 50, "a backlog")
    assert pipeline.terminate() == 0
    broker.start()
    pipeline.start()
    pipeline.wait_ready()
    wait_until(lambda: len(judge(frames_of(list(subscriber.messages))).highest) == 2, "both boots")
    wait_until(lambda: judge(frames_of(list(subscriber.messages))).lost == {}, "no gap")
