"""Messages that would go round in a circle outside of the graph: published where a source in front subscribes."""

from __future__ import annotations

from itertools import pairwise

from pipeline.config.problems import Problems
from pipeline.config.wiring import Draft, cycle_of
from pipeline.errors import Finding
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
    while cycle := cycle_of(givers):
        step = next((step for step in pairwise(cycle) if step in outside), None)
        if step is None:
            return  # a circle within the graph has been told, and must be mended first
        sink, source = step
        channel, other = outside[sink, source]
        message = f"publishes {channel} where node '{source}' subscribes {other}: {' -> '.join(cycle)}"
        hint = "frames would go round for ever; publish elsewhere, or subscribe to less"
        sound[sink][0].find(problems, Finding(path=channel.path, message=message, hint=hint))
        givers[source].discard(sink)
