"""Transforms played in virtual time, and the mistakes of a node's options as its user reads them."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reactivex import Subject

from pipeline.clock import VirtualLoop, run_virtual
from pipeline.config import load_text
from pipeline.errors import ConfigurationError
from pipeline.frame import Frame
from pipeline.operator import NodeKind, Operator, Options
from tests.parts.engine import make_context

__all__ = ["END", "Event", "mistakes", "play", "play_twice"]

END = "completed"
"""Stands for completion in a script and in what came out."""

Event = Frame | Exception | str
GRAPH = """\
sources:
  press: {{type: s7, address: 192.0.2.1, every: 1s, tags: {{AI_Corrente: "DB1.DBD2:REAL"}}}}
transforms:
{transforms}
sinks:
{sinks}
"""


def play(
    operator: Operator[Any], options: Options, script: Sequence[tuple[float, Event]], until: float = 1000.0
) -> list[tuple[float, Event]]:
    """Give a transform frames, an error or the end at their times (s); what came out, until it was disposed."""

    async def main(loop: VirtualLoop) -> list[tuple[float, Event]]:
        frames: Subject[Frame] = Subject()
        seen: list[tuple[float, Event]] = []
        subscription = frames.pipe(operator.build(options, make_context(loop, kind=NodeKind.TRANSFORM))).subscribe(
            lambda frame: seen.append((round(loop.time(), 6), frame)),
            lambda error: seen.append((round(loop.time(), 6), error)),
            lambda: seen.append((round(loop.time(), 6), END)),
        )
        for when, event in script:
            loop.call_at(when, _send, frames, event)
        await asyncio.sleep(until)
        subscription.dispose()
        for _, event in script:
            _send(frames, event)
        await asyncio.sleep(1000)
        return seen

    return run_virtual(main)


def play_twice(operator: Operator[Any], options: Options, *frames: Frame) -> tuple[list[Frame], list[Frame]]:
    """What two subscribers of one transform get of these frames; the second comes once the first has seen them all."""

    async def main(loop: VirtualLoop) -> tuple[list[Frame], list[Frame]]:
        source: Subject[Frame] = Subject()
        piped = source.pipe(operator.build(options, make_context(loop, kind=NodeKind.TRANSFORM)))
        first: list[Frame] = []
        second: list[Frame] = []
        with piped.subscribe(first.append):
            for frame in frames:
                source.on_next(frame)
        with piped.subscribe(second.append):
            for frame in frames:
                source.on_next(frame)
        return first, second

    return run_virtual(main)


def _send(frames: Subject[Frame], event: Event) -> None:
    if isinstance(event, Frame):
        frames.on_next(event)
    elif isinstance(event, Exception):
        frames.on_error(event)
    else:
        frames.on_completed()


def mistakes(kind: NodeKind, node: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """What the loader says of a node written as `{type: …}`, which takes from an S7 source; without file and line."""
    taker = f"  node: {node}"
    plain = "  last: {type: mqtt, from: %s, host: 127.0.0.1, tls: {enabled: false}}"
    transform = kind is NodeKind.TRANSFORM
    text = GRAPH.format(
        transforms=taker if transform else "", sinks=plain % "node" if transform else f"{taker}\n{plain % 'press'}"
    )
    try:
        problems = list(load_text(text, Path("line.yaml"), environ or {}).warnings)
    except ConfigurationError as error:
        problems = error.problems
    return [str(problem).partition(": ")[2] for problem in problems]
