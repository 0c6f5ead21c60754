"""`configs/line1.yaml` changed while it runs, on real parts: SIGHUP, `--watch`, and a terminal that is closed."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from tests.parts.line import ROOT, Line, frames_of, judge, line1_environment
from tests.parts.waiting import free_port, wait_until

LINE1 = (ROOT / "configs" / "line1.yaml").read_text(encoding="utf-8")
TOPIC = "plc/acme/press1"


@pytest.fixture
def file(tmp_path):
    """A copy of line1 that a test may change."""
    copy = tmp_path / "line1.yaml"
    copy.write_text(LINE1, encoding="utf-8")
    return copy


@pytest.mark.real("mosquitto", "openssl", "native_plc")
@pytest.mark.timeout(300)
def test_sighup_at_fifty_frames_a_second_leaves_no_gap(line, press, broker, data_dir, file):
    """Three changes and a mistake: one boot, every number once, live frames in order; the last will stays unsaid."""
    subscriber = broker.subscribe("plc/#")
    pipeline = line(file, line1_environment(press.port, broker, data_dir))
    pipeline.wait_ready()

    def more(count):
        seen = len(subscriber.on(TOPIC))
        wait_until(lambda: len(subscriber.on(TOPIC)) > seen + count, f"{count} more frames")

    def said(event):
        return pipeline.log.count(event)

    more(100)
    for text in (LINE1.replace("every: 30s", "every: 10s"), LINE1, LINE1.replace("max_age: 7d", "max_age: 6d")):
        started = said('"started"')
        file.write_text(text, encoding="utf-8")
        pipeline.send(signal.SIGHUP)
        wait_until(lambda started=started: said('"started"') > started, "the changed graph starts")
        pipeline.wait_ready()
        more(100)
    file.write_text(LINE1.replace("type: mqtt", "type: mqqt").replace("INT @ 10", "INTT @ 10"), encoding="utf-8")
    pipeline.send(signal.SIGHUP)
    wait_until(lambda: said("graph file refused"), "the mistake is told")
    refusal = next(json.loads(text) for text in pipeline.log.splitlines() if "graph file refused" in text)
    assert len(refusal["problems"]) == 2
    more(100)
    assert pipeline.terminate() == 0
    last = json.loads(subscriber.on("plc/acme/line1/status")[-1].body)
    wait_until(lambda: len(frames_of(subscriber.on(TOPIC))) > last["last_seq"]["acme/press1"], "all frames")
    verdict = judge(frames_of(subscriber.on(TOPIC)))
    assert (verdict.lost, verdict.twice, verdict.disorder) == ({}, 0, 0)
    assert len(verdict.highest) == 1, "one boot"
    states = [json.loads(message.body) for message in subscriber.on("plc/acme/line1/status")]
    assert [state["status"] for state in states if not state.get("clean", True)] == []


@pytest.mark.real("mosquitto", "openssl", "native_plc")
@pytest.mark.timeout(300)
def test_a_change_while_the_broker_is_dead_loses_nothing(line, press, broker, data_dir, file):
    """The backlog of before and after the change arrives whole, with one boot."""
    subscriber = broker.subscribe("plc/#")
    pipeline = line(file, line1_environment(press.port, broker, data_dir))
    pipeline.wait_ready()
    wait_until(lambda: len(subscriber.on(TOPIC)) > 50, "50 frames")
    broker.kill()
    wait_until(lambda: pipeline.metric("edge_backlog_size") > 50, "a backlog")
    pipeline.send(signal.SIGHUP)
    wait_until(lambda: pipeline.log.count('"started"') == 2, "the graph starts anew")
    wait_until(lambda: pipeline.metric("edge_backlog_size") > 100, "more backlog")
    broker.start()
    pipeline.wait_ready()
    wait_until(lambda: pipeline.metric("edge_backlog_size") < 20, "the backlog is sent")
    assert pipeline.terminate() == 0
    wait_until(lambda: judge(frames_of(list(subscriber.messages))).lost == {}, "no gap")
    assert len(judge(frames_of(subscriber.messages)).highest) == 1


@pytest.fixture
def demo():
    """Free ports for the demo, since the defaults may be taken here."""
    return {name: str(free_port()) for name in ("DEMO_S7_PORT", "DEMO_MQTT_PORT", "METRICS_PORT")}


def test_a_watched_demo_takes_a_change_by_itself(demo, tmp_path):
    """Services, simulated PLC and broker included, start anew; the page tells the new graph."""
    file = tmp_path / "demo.yaml"
    text = (ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    with Line(file, demo, tmp_path, options=["--watch"]) as pipeline:
        pipeline.wait_ready()
        boot = json.loads(pipeline.get("/api/graph")[1])["boot"]
        file.write_text(text.replace("name: demo", "name: changed"), encoding="utf-8")
        wait_until(lambda: '"name":"changed"' in pipeline.get("/api/graph")[1], "the change is taken")
        pipeline.wait_ready()
        assert json.loads(pipeline.get("/api/graph")[1])["boot"] == boot
        assert pipeline.terminate() == 0
        assert "Traceback" not in pipeline.log


def test_sighup_while_the_graph_still_starts_is_taken(demo, tmp_path):
    """It comes right after the file was read: the process goes on, and the file as it is by then counts."""
    file, log = tmp_path / "demo.yaml", tmp_path / "log"
    file.write_text((ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", _CHANGED_AFTER_READING, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **demo, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
        )
    try:
        wait_until(lambda: process.poll() is not None or log.read_bytes().count(b'"started"') == 2, "the change")
        process.terminate()
        assert process.wait(20) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    lines = [json.loads(text) for text in log.read_text().splitlines() if text.startswith("{")]
    assert [line["graph"] for line in lines if line["event"] == "started"] == ["demo", "changed"]
    assert [line["error"] for line in lines if line["event"] == "nothing recorded"] == [
        "the graph has no flight recorder that runs"
    ]


_CHANGED_AFTER_READING = """
import os, pathlib, signal, sys
import pipeline.config
from pipeline.cli import main

def load(path, environment, read=pipeline.config.load):
    graph = read(path, environment)
    text = path.read_text()
    if "name: demo" in text:
        path.write_text(text.replace("name: demo", "name: changed"))
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGUSR1)
    return graph

pipeline.config.load = load
main(["run", sys.argv[1]])
"""


def test_a_closed_terminal_ends_the_pipeline_in_order(demo, tmp_path):
    """The same signal, but nobody is there any more who could stop it."""
    log = tmp_path / "log"
    leader, follower = pty.openpty()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL, str(ROOT / "configs" / "demo.yaml")],
            stdin=follower,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={**os.environ, **demo, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
        )
    os.close(follower)
    try:
        wait_until(lambda: b"page" in log.read_bytes(), "the demo runs")
        os.close(leader)
        assert process.wait(20) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "stopped" in log.read_text()


_IN_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from pipeline.cli import main
main(["run", sys.argv[1]])
"""
