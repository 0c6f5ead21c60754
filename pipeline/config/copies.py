"""What a graph writes into devices: every byte has one writer, and none comes back to where it was read.

Only this graph is seen: another process that writes the same bytes, or one PLC under two addresses, is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from pipeline.config.problems import Problems
from pipeline.config.wiring import Draft, cycle_of
from pipeline.errors import Finding
from pipeline.frame import Extent
from pipeline.operator import Copy, Operator, Scope

__all__ = ["check_copies", "upstream"]


def check_copies(drafts: list[tuple[Draft, Scope]], problems: Problems) -> None:
    """Ask what is read and what is written of it, and tell what must not be written.

    Args:
        drafts: the enabled nodes; those with mistakes are left out.
        problems: told of every mistake.
    """
    sound = {draft.name: (draft, scope) for draft, scope in drafts if draft.sound and not draft.bound.vague}
    reads = {name: draft.ask(Operator.extents, scope) for name, (draft, scope) in sound.items()}
    known = {draft.name: draft for draft, _ in drafts}
    written: list[tuple[Draft, Copy]] = []
    for draft, scope in sound.values():
        givers = upstream(draft, known)
        if any(reads.get(name) is None for name in givers) or any(known[name].astray for name in (draft.name, *givers)):
            continue  # what comes in can't be known before the mistakes there are mended
        incoming = [extent for name in givers for extent in reads[name] or ()]
        for found in draft.ask(Operator.copies, scope, incoming) or ():
            if isinstance(found, Finding):
                draft.find(problems, found)
            else:
                written.append((draft, found))
    _check_writers(written, problems)
    _check_circles(written, [extent for extents in reads.values() for extent in extents or ()], problems)


def upstream(draft: Draft, known: Mapping[str, Draft]) -> list[str]:
    """The nodes whose frames reach this one, itself left out, each once."""
    found: dict[str, None] = {}
    waiting = [name for name, _ in draft.inputs]
    while waiting:
        name = waiting.pop(0)
        if name in known and name not in found:
            found[name] = None
            waiting.extend(giver for giver, _ in known[name].inputs)
    return list(found)


def _check_writers(written: list[tuple[Draft, Copy]], problems: Problems) -> None:
    for index, (draft, copy) in enumerate(written):
        for other, before in written[:index]:
            if not copy.target.overlaps(before.target):
                continue
            who = "" if other is draft else f" by node '{other.name}' (line {other.place.line})"
            message = (
                f"{_named(copy.source)} would be written to {copy.target} of {copy.target.device}, "
                f"where {_named(before.source)} is written{who}"
            )
            hint = "a range has one writer: give each its own, or leave one out"
            draft.find(problems, Finding(path=copy.path, message=message, hint=hint))
            break


def _check_circles(written: list[tuple[Draft, Copy]], reads: list[Extent], problems: Problems) -> None:
    steps = [(draft, copy, extent) for draft, copy in written for extent in reads if copy.target.overlaps(extent)]
    givers: dict[Extent, set[Extent]] = {}
    for _, copy, extent in steps:
        givers.setdefault(extent, set()).add(copy.source)
    if circle := cycle_of(givers):
        pairs = set(pairwise(circle))
        # The writer that closes it: the last in the file.
        draft, copy = next((draft, copy) for draft, copy, extent in reversed(steps) if (copy.source, extent) in pairs)
        message = f"bytes would go round in a circle: {' -> '.join(map(_named, circle))}"
        hint = "what is written must not be read again: mirror in one direction, or into bytes that nobody mirrors"
        draft.find(problems, Finding(path=copy.path, message=message, hint=hint))


def _named(extent: Extent) -> str:
    return f"{extent.plc or extent.device} {extent}"
