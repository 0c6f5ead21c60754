"""`configs/demo.yaml` as a newcomer starts it: nothing but this project, and every part alive."""

import json
import signal
import socket
from dataclasses import replace

import pytest

from pipeline.clock import run_virtual
from pipeline.config import load
from pipeline.frame import Frame, Kind
from pipeline.operator import NodeKind
from tests.parts.engine import collector, node, run_graph
from tests.parts.line import ROOT
from tests.parts.waiting import free_port, wait_until

DEMO = ROOT / "configs" / "demo.yaml"


@pytest.fixture
def environment(data_dir):
    """Free ports, since the defaults may be taken here."""
    return {"DEMO_S7_PORT": str(free_port()), "DEMO_MQTT_PORT": str(free_port()), "DATA_DIR": str(data_dir)}


def test_the_demo_runs_and_stops_with_ctrl_c(line, environment):
    """Ready, frames acknowledged by the embedded broker, page and API filled; Ctrl-C gives exit 0."""
    pipeline = line(DEMO, environment)
    pipeline.wait_ready()
    wait_until(lambda: pipeline.metric("plc_publish_ok_total") >= 3, "three frames are acknowledged")
    status, page = pipeline.get("/")
    assert status == 200
    assert "<title>demo</title>" in page
    assert "contador_bom" in json.dumps(json.loads(pipeline.get("/api/last")[1]))
    assert pipeline.get("/healthz")[0] == 200
    pipeline.send(signal.SIGINT)
    wait_until(lambda: pipeline.exit_code is not None, "it ends")
    assert pipeline.exit_code == 0, pipeline.log
    assert "Traceback" not in pipeline.log


@pytest.mark.parametrize("variable", ["DEMO_S7_PORT", "DEMO_MQTT_PORT", "METRICS_PORT"])
def test_a_taken_port_names_the_variable_to_change(line, environment, variable):
    """One line says which port is taken and what to set; no stack trace, and the exit code is not 0."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        pipeline = line(DEMO, environment, **{variable: str(taken.getsockname()[1])})
        wait_until(lambda: pipeline.exit_code is not None, "it ends")
    assert pipeline.exit_code in {1, 2}
    assert variable in pipeline.log
    assert "Traceback" not in pipeline.log


def test_an_hour_of_the_demo_in_virtual_time():
    """PLC, source and heartbeat of the file, an hour long: a frame each second, a heartbeat each 30 s, none missing."""
    graph = load(DEMO, {})
    frames: list[Frame] = []
    kept = {name: each for name, each in graph.nodes.items() if name not in {"broker", "publish"}}
    end = node(NodeKind.SINK, "end", collector(frames), "frames")
    run_virtual(lambda loop: run_graph(loop, replace(graph, nodes={**kept, "end": end}), 3600.5))
    kinds = [frame.kind for frame in frames]
    assert (kinds.count(Kind.DATA), kinds.count(Kind.HEARTBEAT), kinds.count(Kind.FAILURE)) == (3601, 120, 0)
    counts = [frame.values["contador_bom"] for frame in frames if frame.kind is Kind.DATA]
    assert counts == sorted(counts)
    assert counts[-1] > 5500
