"""Where frames come from, as far as a graph file tells, judged by the sinks that name their receivers after it."""

from __future__ import annotations

from pipeline.config.copies import upstream
from pipeline.config.problems import Problems
from pipeline.config.wiring import Draft
from pipeline.operator import Operator, Scope

__all__ = ["check_origins"]


def check_origins(drafts: list[tuple[Draft, Scope]], problems: Problems) -> None:
    """Hand each sink the origins that reach it, and tell what it finds wrong.

    Args:
        drafts: the enabled nodes; of those with mistakes, what can be known.
        problems: told of every mistake.
    """
    known = {draft.name: draft for draft, _ in drafts}
    # Whose lists or mappings are wrong may have any tag.
    given = {draft.name: draft.ask(Operator.known_origins, scope) for draft, scope in drafts if not draft.bound.vague}
    for draft, scope in drafts:
        incoming = [origin for name in upstream(draft, known) for origin in given.get(name) or ()]
        for found in draft.ask(Operator.judged, scope, incoming) or ():
            draft.find(problems, found)
