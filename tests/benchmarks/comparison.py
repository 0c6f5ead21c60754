"""CPU per frame beside Telegraf: `frame`, `dense`, `wide`."""

from __future__ import annotations

from tests.benchmarks.loads import PRESS, REALS, Load
from tests.benchmarks.results import Figure, Row, Spread
from tests.benchmarks.stage import Effort, Measured, Stage, measure

__all__ = ["dense", "frame", "wide"]

DELIVERED = 0.99
"""Of the nominal frames, on both sides: less, and the comparison is void."""


def frame(effort: Effort) -> Row:
    """20 PLCs at 50 Hz."""
    return _compare("frame", Load(20, 50, PRESS), effort, seconds=20, reach=3, beyond=5)


def dense(effort: Effort) -> Row:
    """50 PLCs at 100 Hz."""
    return _compare("dense", Load(50, 100, PRESS), effort, seconds=15, reach=3, beyond=5)


def wide(effort: Effort) -> Row:
    """100 PLCs with 200 REALs at 1 Hz."""
    return _compare("wide", Load(100, 1, REALS[200]), effort, seconds=30, reach=6, beyond=10)


def _compare(name: str, load: Load, effort: Effort, *, seconds: float, reach: float, beyond: float) -> Row:
    ours: list[Measured] = []
    theirs: list[Measured] = []
    with Stage(load) as stage:
        for _ in range(effort.times(5)):
            with stage.subscribe() as subscriber, stage.pipeline() as line:
                ours.append(measure(line.pid, subscriber, load, effort.pick(seconds, 3), effort.pick(3, 1)))
            with stage.subscribe() as subscriber, stage.telegraf() as telegraf:
                theirs.append(measure(telegraf.pid, subscriber, load, effort.pick(seconds, 3), effort.pick(3, 1)))
    figures = [
        Figure(
            "ratio", Spread.of([b.cpu / a.cpu for a, b in zip(ours, theirs, strict=True)]), "x", reach, beyond, True
        ),
        Figure("cpu", Spread.of([each.cpu for each in ours]), "us"),
        Figure("telegraf_cpu", Spread.of([each.cpu for each in theirs]), "us"),
        Figure("delivered", Spread.of([100 * each.delivered for each in ours]), "%"),
        Figure("telegraf_delivered", Spread.of([100 * each.delivered for each in theirs]), "%"),
        Figure("memory", Spread.of([each.usage.memory / 1e6 for each in ours]), "MB"),
        Figure("telegraf_memory", Spread.of([each.usage.memory / 1e6 for each in theirs]), "MB"),
    ]
    return Row(name, figures, len(ours), _why_void(ours, theirs), {"size": [_size(ours), _size(theirs)]})


def _size(rounds: list[Measured]) -> float:
    """Mean bytes of a payload."""
    return round(sum(each.size for each in rounds) / max(1, sum(each.frames for each in rounds)), 1)


def _why_void(ours: list[Measured], theirs: list[Measured]) -> str:
    for who, rounds in (("the pipeline", ours), ("Telegraf", theirs)):
        share = sum(each.frames for each in rounds) / sum(each.nominal for each in rounds)
        if share < DELIVERED:
            return f"{who} delivered {share:.1%} of the frames"
    return ""
