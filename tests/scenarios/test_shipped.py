"""Shipped graphs that use transforms and files, each with a simulated PLC beside it: what their comments promise."""

import csv
import itertools
import json
import math
import signal
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from pipeline.clock import run_virtual
from pipeline.config import load_text
from pipeline.frame import Frame, Kind
from pipeline.operator import NodeKind
from tests.parts.engine import collector, node, run_graph
from tests.parts.line import ROOT
from tests.parts.waiting import free_port

ENVIRONMENT = {"PLC_IP": "127.0.0.1", "PLC_PORT": "1102", "MQTT_BROKER": "unused", "PLC_ID": "press1", "AREA": "linha2"}


def with_plc(name: str, db: int, layout: str, port: int = 1102) -> str:
    """A shipped graph's text with a PLC that makes parts, pauses and breaks down."""
    text = (ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
    return f"{text}\nservices:\n  plc: {{type: s7_simulator, port: {port}, dbs: [{{db: {db}, layout: {layout}}}]}}\n"


def test_an_hour_of_lean() -> None:
    """What was sent is never further from the PLC than the bands for longer than the pace; signs of life between."""
    graph = load_text(with_plc("lean", 1, "press"), Path("lean.yaml"), ENVIRONMENT)
    read: list[Frame] = []
    sent: list[Frame] = []
    kept = {name: each for name, each in graph.nodes.items() if name != "broker"}
    ends = {
        "read": node(NodeKind.SINK, "read", collector(read), "chosen"),
        "sent": node(NodeKind.SINK, "sent", collector(sent), "frames"),
    }
    run_virtual(lambda loop: run_graph(loop, replace(graph, nodes=kept | ends), 3600.5))
    data = [frame for frame in sent if frame.kind is Kind.DATA]
    assert len(read) == 3601
    assert len(data) < len(read) / 4
    assert {frame.kind for frame in sent} == {Kind.DATA, Kind.HEARTBEAT}
    assert len(sent) - len(data) == 120
    assert max(late.ts - early.ts for early, late in itertools.pairwise(data)) <= 66
    assert set(data[0].values) == {"maquina_ligada", "corrente", "vibracao", "contador_bom", "contador_ruim"}
    assert {(frame.origin.tags["area"], frame.origin.units["corrente"]) for frame in sent} == {("linha2", "A")}
    periods = [math.floor(frame.ts / 5) for frame in data]
    assert max(map(periods.count, periods)) <= 2  # a period's first frame is read up to a period before it is sent
    known = 0
    strayed: dict[str, float] = defaultdict(lambda: math.inf)
    for frame in read:
        while known + 1 < len(data) and data[known + 1].ts <= frame.ts:
            known += 1
        for name, value in frame.values.items():
            at = data[known].values[name]
            band = {"corrente": 0.5, "vibracao": max(0.2, abs(at) * 0.1)}.get(name, 0)
            strayed[name] = min(strayed[name], frame.ts) if abs(value - at) > band else math.inf
            assert frame.ts - strayed[name] <= 5.001, name


def test_the_exporter_writes_lines_and_rows(tmp_path: Path) -> None:
    """JSON lines for who reads it, CSV with all values on disk; SIGTERM ends it in order."""
    port = free_port()
    file = tmp_path / "exporter.yaml"
    file.write_text(with_plc("exporter", 500, "linha", port), encoding="utf-8")
    environment = {"PLC_IP": "127.0.0.1", "PLC_PORT": str(port), "POLL_INTERVAL": "50ms", "DATA_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), **environment},
    ) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest, log = process.communicate(timeout=20)
    assert process.returncode == 0, log.decode()
    lines = [json.loads(line) for line in rest.splitlines()]
    assert all("maquinas_4_contador_bom" in line["values"] and len(line["values"]) == 15 for line in lines)
    with (tmp_path / "exporter" / "127.0.0.1_s7_db500.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == len(lines) + 5
    assert (rows[0]["db"], rows[0]["area"], float(rows[0]["maquinas_0_sensores_2_valor"]) >= 0) == (
        "500",
        "linha1",
        True,
    )
    assert len(rows[0]) == 10 + 1 + 5 * (3 + 5 * 2 + 2)
