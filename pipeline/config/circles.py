"""Messages that would go round in a circle outside of the graph: published where a source in front subscribes."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from pipeline.config.document import locate
from pipeline.config.problems import Problems
from pipeline.config.wiring import Draft
from pipeline.operator import Operator, Scope

__all__ = ["check_circles"]


def check_circles(drafts: list[tuple[Draft, Scope]], problems: Problems) -> None:
    """Refuse a graph whose messages come back to it by a broker, through one sink or several.

    Args:
        drafts: the enabled nodes; those with mistakes are left out.
        problems: told of each circle.
    """
    sound = {draft.name: (draft, scope) for draft, scope in drafts if draft.sound}
    heard = {name: draft.ask(Operator.heard, scope) or () for name, (draft, scope) in sound.items()}
    said = {name: draft.ask(Operator.said, scope) or () for name, (draft, scope) in sound.items()}
    outside = {
        (sink, source): (channel, other)
        for sink, channels in said.items()
        for channel in channels
        for source, others in heard.items()
        for other in others
        if channel.meets(other)
    }
    givers = {name: {giver for giver, _ in draft.inputs} for name, (draft, _) in sound.items()}
    for sink, source in outside:
        givers[source].add(sink)
    while cycle := _cycle(givers):
        step = next((step for step in pairwise(cycle) if step in outside), None)
        if step is None:
            return  # a circle within the graph has been told, and must be mended first
        sink, source = step
        channel, other = outside[sink, source]
        draft = sound[sink][0]
        message = f"publishes {channel} where node '{source}' subscribes {other}: {' -> '.join(cycle)}"
        hint = "frames would go round for ever; publish elsewhere, or subscribe to less"
        draft.tell(problems, locate(draft.record, channel.path), message, hint, path=channel.path)
        givers[source].discard(sink)


def _cycle(givers: Mapping[str, set[str]]) -> list[str]:
    """A circle of nodes in the direction of the frames, the first at both ends; empty without one."""
    try:
        TopologicalSorter(givers).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []
