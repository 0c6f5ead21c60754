"""How far one process goes: `idle`, `fleet`, `top`."""

from __future__ import annotations

from tests.benchmarks.loads import MIXED, PRESS, Load
from tests.benchmarks.results import Figure, Row, Spread
from tests.benchmarks.stage import Effort, Measured, Stage, measure
from tests.parts.line import Line

__all__ = ["fleet", "idle", "top"]


def idle(effort: Effort) -> Row:
    """1 PLC at 1 Hz, everything on."""
    rounds: list[Measured] = []
    load = Load(1, 1, PRESS)
    with Stage(load) as stage:
        for _ in range(effort.times(3)):
            with stage.subscribe() as subscriber, stage.pipeline() as line:
                rounds.append(measure(line.pid, subscriber, load, effort.pick(60, 4), effort.pick(5, 1)))
    figures = [
        Figure("core", Spread.of([each.usage.share for each in rounds]), "%", 1),
        Figure("memory", Spread.of([each.usage.memory / 1e6 for each in rounds]), "MB", 60, 40),
    ]
    return Row("idle", figures, len(rounds))


def fleet(effort: Effort) -> Row:
    """10, 100, 500 and 1,000 PLCs with 50 mixed tags at 1 Hz."""
    sizes = (10, 50) if effort.quick else (10, 100, 500, 1000)
    found = {size: _fleet(Load(size, 1, MIXED), effort) for size in sizes}
    largest = found[sizes[-1]]
    figures = [
        Figure(
            "plcs",
            _one(max((size for size, each in found.items() if not each["skipped"]), default=0)),
            "",
            500,
            1000,
            True,
        ),
        Figure("skipped", _one(sum(each["skipped"] for each in found.values())), "", 0),
        Figure("core", _one(largest["core"]), "%"),
        Figure("memory", _one(largest["memory"]), "MB"),
        Figure("cpu", _one(largest["cpu"]), "us"),
        Figure(
            "memory_each", _one((largest["memory"] - found[sizes[0]]["memory"]) * 1e3 / (sizes[-1] - sizes[0])), "kB"
        ),
    ]
    return Row("fleet", figures, 1, detail={str(size): each for size, each in found.items()})


def _fleet(load: Load, effort: Effort) -> dict[str, float]:
    with Stage(load) as stage, stage.subscribe() as subscriber, stage.pipeline() as line:
        line.wait_ready()
        before = line.metric("edge_ticks_skipped_total")
        measured = measure(line.pid, subscriber, load, effort.pick(30, 3), effort.pick(5, 1))
        skipped = line.metric("edge_ticks_skipped_total") - before
    return {
        "core": measured.usage.share,
        "memory": measured.usage.memory / 1e6,
        "cpu": measured.cpu,
        "skipped": skipped + max(0, measured.nominal - measured.frames),
    }


def top(effort: Effort) -> Row:
    """As fast as it goes: more and more PLCs at 100 Hz, until no more frames come."""
    found: dict[int, Measured] = {}
    for plcs in (50,) if effort.quick else (120, 160, 200, 250, 300):
        load = Load(plcs, 100, PRESS)
        with Stage(load) as stage, stage.subscribe() as subscriber, stage.pipeline() as line:
            line.wait_ready()
            found[plcs] = measure(line.pid, subscriber, load, effort.pick(15, 3), effort.pick(3, 1))
            _check(line)
    rates = {plcs: each.frames / each.usage.seconds for plcs, each in found.items()}
    best = max(rates, key=lambda plcs: rates[plcs])
    figures = [
        Figure("rate", _one(rates[best]), "/s", 12_000, 25_000, True),
        Figure("core", _one(found[best].usage.share), "%"),
        Figure("cpu", _one(found[best].cpu), "us"),
        Figure("rate_of_core", _one(1e6 / found[best].cpu), "/s"),
        Figure("memory", _one(found[best].usage.memory / 1e6), "MB"),
    ]
    detail = {
        str(plcs): {"nominal": plcs * 100, "rate": rates[plcs], "core": each.usage.share, "cpu": each.cpu}
        for plcs, each in found.items()
    }
    return Row("top", figures, 1, detail=detail)


def _check(line: Line) -> None:
    """What was delivered must not have come at the price of a growing backlog."""
    dropped = line.metric("edge_frames_dropped_total")
    if dropped:
        raise AssertionError(f"{dropped:.0f} frames dropped")


def _one(value: float) -> Spread:
    return Spread(value, value, value)
