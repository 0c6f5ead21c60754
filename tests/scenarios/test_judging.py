"""The shipped graphs that judge, in virtual time: verdicts recomputed by hand from the readings that they are about."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.clock import run_virtual
from pipeline.config import load_text
from pipeline.frame import Frame, Kind
from pipeline.messages import Series, read_mov
from pipeline.operator import Context, NodeKind
from tests.parts.engine import PLANT, collector, node, run_graph
from tests.parts.line import ROOT

BEGIN = 1_731_800_000
"""Where virtual wall time begins: Saturday, 20:33:20 in São Paulo; the shift ends at 22:00."""
SHIFT = (BEGIN - 9200, BEGIN + 5200)


def shipped(name: str, more: str = "", folder: str = "data") -> Any:
    """A shipped graph with its variables; what it remembers is in `folder`."""
    text = (ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
    variables = {**PLANT, "PLC_IP": "127.0.0.1", "PLC_PORT": "1102", "DATA_DIR": folder}
    return load_text(text + more, Path(f"{name}.yaml"), variables)


def readings(*messages: tuple[float, dict[str, Any]]) -> Callable[[Any, Context], Any]:
    """A source's factory: the sensors' messages at their times (s), time-stamped when they are sent."""

    def build(_: Any, context: Context) -> Any:
        read = read_mov(Series(100), "mov_dados")

        async def run(emit: Any) -> None:
            for when, message in messages:
                await context_sleep(context, when)
                frame = read(json.dumps(message).encode(), context.clock.wall())
                assert frame is not None
                emit(frame)
            await context.clock.loop.create_future()

        return context.observable(run)

    return build


async def context_sleep(context: Context, until: float) -> None:
    """Wait until a virtual time."""
    waiting = context.clock.loop.create_future()
    context.clock.loop.call_at(until, waiting.set_result, None)
    await waiting


def sensor(value: object, name: str = "temperatura_c", device: str = "sensor_01") -> dict[str, Any]:
    """A message as the sensors' documentation has it; its time is that of its arrival."""
    tags = {"dispositivo": device, "localizacao": "fabrica", "tipo": "temperatura", "cliente": "acme"}
    return {"tags": tags, "fields": {name: value, "umidade": 60.0}}


def test_the_analytics_judge_each_reading_and_repeat_what_stands() -> None:
    """CRITICO over 30, else Normal; each 10 s again, for five minutes; only the field, with the sensor's tags."""
    graph = shipped("analytics")
    seen: list[Frame] = []
    sources = {
        "sensors": node(
            NodeKind.SOURCE,
            "sensors",
            readings((1, sensor(28.5)), (2, sensor(30)), (3, sensor(30.1)), (4, sensor(12, "pressao", "sensor_02"))),
        ),
        "presses": node(NodeKind.SOURCE, "presses", readings()),
    }
    judging = {name: each for name, each in graph.nodes.items() if each.kind is NodeKind.TRANSFORM}
    stored = node(NodeKind.SINK, "stored", collector(seen), "sensors_judged", "presses_judged")
    run_virtual(lambda loop: run_graph(loop, replace(graph, nodes={**sources, **judging, "stored": stored}), 1000))
    assert {frame.kind for frame in seen} == {Kind.DATA}
    assert [(round(frame.ts - BEGIN, 3), frame.values) for frame in seen[:4]] == [
        (1, {"status_calculado": "Normal"}),
        (2, {"status_calculado": "Normal"}),
        (3, {"status_calculado": "CRITICO"}),
        (13, {"status_calculado": "CRITICO"}),
    ]
    again = [round(frame.ts - BEGIN) for frame in seen[3:]]
    assert again == list(range(13, 304, 10))
    (origin,) = {frame.origin for frame in seen}
    assert (origin.measurement, origin.db, origin.plc_id, origin.tags) == ("insights", None, "", sensor(0)["tags"])


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    """What `line1-oee` sends of a simulated press in an hour and a half, over the end of the shift."""
    service = "\nservices:\n  plc: {type: s7_simulator, port: 1102, dbs: [{db: 1, layout: press, process: machine, "
    folder = str(tmp_path_factory.mktemp("data"))
    graph = shipped("line1-oee", service + "values: {contador_bom: 32000}}]}\n", folder)
    sent: list[Frame] = []
    nodes = {name: each for name, each in graph.nodes.items() if name != "broker"}
    nodes["sent"] = node(NodeKind.SINK, "sent", collector(sent), "frames", "oee")
    run_virtual(lambda loop: run_graph(loop, replace(graph, nodes=nodes), 5400.5))
    return sent


def test_a_press_says_its_own_state_beside_its_data(evening: list[Frame]) -> None:
    """Rates are those of the counters, also over the end of an INT; power and verdicts are those of the readings."""
    data = [frame for frame in evening if frame.kind is Kind.DATA and frame.origin.measurement == "s7_db1"]
    assert len(data) == 5401
    assert all(frame.bad is None for frame in data)
    made = list(
        itertools.accumulate(
            (int(new.values["contador_bom"]) - int(old.values["contador_bom"])) % 32768
            for old, new in itertools.pairwise(data)
        )
    )
    assert data[0].values["contador_bom"] > data[-1].values["contador_bom"]
    for index in range(100, 5400, 97):
        rate = data[index + 1].values["contador_bom_per_min"]
        assert rate == pytest.approx(made[index] - made[index - 60], abs=1.5)
    for frame in data:
        assert frame.values["potencia"] == pytest.approx(frame.values["AI_Corrente"] * 380 * 1.732)
        assert ("AI_Corrente_score" in frame.values) is (frame.ts >= data[0].ts + 600)
    states = [frame.values["status_vibracao"] for frame in data]
    assert set(states) <= {"Normal", "ALERTA", "CRITICO"}
    assert states.count("Normal") > states.count("ALERTA") > 0
    assert all(
        state == "Normal"
        for frame, state in zip(data, states, strict=True)
        if float(frame.values["AI_Vibracao"]) < 4.5 - 0.3
    )


def test_its_oee_is_that_of_its_readings(evening: list[Frame]) -> None:
    """Once a minute, and at the end of the shift; what was before the start is missing, and so it says."""
    data = [frame for frame in evening if frame.kind is Kind.DATA and frame.origin.measurement == "s7_db1"]
    results = [frame for frame in evening if frame.origin.measurement == "oee"]
    final = results[-1]
    assert [frame.values["final"] for frame in results] == [False] * (len(results) - 1) + [True]
    assert len(results) in {86, 87, 88}
    assert (final.ts, final.values["shift"], final.origin.plc_id) == (SHIFT[1], "B", "press1")
    within = [frame for frame in data if frame.ts < SHIFT[1]]
    running = sum(later.ts - frame.ts for frame, later in itertools.pairwise(within) if frame.values["maquina_ligada"])
    good, scrap = (
        sum((int(new.values[name]) - int(old.values[name])) % 32768 for old, new in itertools.pairwise(within))
        for name in ("contador_bom", "contador_ruim")
    )
    expected = {
        "planned_seconds": 8 * 3600,
        "coverage": 5200 / (8 * 3600),
        "running_seconds": running,
        "good": good,
        "scrap": scrap,
        "availability": running / (8 * 3600),
        "performance": (good + scrap) / (running / 60 * 30),
        "quality": good / (good + scrap),
        "oee": running / (8 * 3600) * (good + scrap) / (running / 60 * 30) * good / (good + scrap),
    }
    assert {name: final.values[name] for name in expected} == pytest.approx(expected, rel=2e-3)
