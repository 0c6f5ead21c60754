"""Where frames come from, as far as a graph file tells, judged by the sinks that name their receivers after it."""

from __future__ import annotations

from pipeline.config.copies import upstream
from pipeline.config.document import locate
from pipeline.config.problems import Problems
from pipeline.config.wiring import Draft
from pipeline.operator import Scope

__all__ = ["check_origins"]


def check_origins(drafts: list[tuple[Draft, Scope]], problems: Problems) -> None:
    """Hand each sink the origins that reach it, and tell what it finds wrong.

    Args:
        drafts: the enabled nodes; those with mistakes are left out.
        problems: told of every mistake.
    """
    sound = {draft.name: (draft, scope) for draft, scope in drafts if draft.sound}
    known = {draft.name: draft for draft, _ in drafts}
    for draft, scope in sound.values():
        if not (draft.operator and draft.options):
            continue
        incoming = [
            origin
            for name in upstream(draft, known)
            if name in sound
            for giver, place in (sound[name],)
            if giver.operator and giver.options
            for origin in giver.operator.known_origins(giver.options, place)
        ]
        for found in draft.operator.judged(draft.options, scope, incoming):
            place_of = locate(draft.record, found.path) if found.path else draft.place
            draft.tell(problems, place_of, found.message, found.hint, path=found.path, severity=found.severity)
