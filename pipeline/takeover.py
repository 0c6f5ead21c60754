"""What a graph needs of the disk before it may take the place of the one that runs, and what that one leaves there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.errors import Finding, JournalError, Severity, UsageError
from pipeline.graph import Graph, Node
from pipeline.journal.options import JournalClaim, same_receiver
from pipeline.journal.probe import obstacle, probe, waiting

__all__ = ["check_journals", "left_behind", "unwritable"]


def check_journals(graph: Graph, running: Graph, backlogs: Mapping[str, int]) -> None:
    """Look whether each sink of a graph could open its journal; blocking.

    Args:
        graph: what is to run.
        running: what runs in this process, with its journals open.
        backlogs: frames that wait in those, by the name of the sink.

    Raises:
        UsageError: a journal can't be opened; one line for each.
    """
    held = {claim.key: (node, claim) for node, claim in _journals(running)}
    problems = []
    for node, claim in _journals(graph):
        try:
            if claim.key in held:
                former, before = held[claim.key]
                _check_held(before, claim, backlogs.get(former.name, 0))
            else:
                probe(claim.folder, claim.receiver)
        except JournalError as error:
            problems.append(f"{graph.path}:{node.line}: {node.name} ({node.operator.name}): {error}")
    if problems:
        raise UsageError("\n".join(problems))


def left_behind(former: Graph, graph: Graph) -> Iterator[str]:
    """Sentences on the frames in journals of a graph that has ended, which no sink of the next one has; blocking."""
    taken = {claim.key for _, claim in _journals(graph)}
    for _, claim in _journals(former):
        if claim.key not in taken and (frames := waiting(claim.folder)):
            yield (
                f"{frames} frame{'' if frames == 1 else 's'} for {claim.receiver} stay in {claim.key}; "
                f"give a sink that path again to have them sent, or save them by `pipeline journal export {claim.key}`"
            )


def unwritable(graph: Graph) -> Iterator[tuple[Node, Finding]]:
    """Warnings for journals that this user can't write on this machine."""
    for node, claim in _journals(graph):
        if reason := obstacle(claim.folder):
            message = f"the journal '{claim.key}' can't be written here: {reason}"
            hint = "make the folder writable for this user, or name another path"
            yield node, Finding(path=claim.path, message=message, hint=hint, severity=Severity.WARNING)


def _journals(graph: Graph) -> Iterator[tuple[Node, JournalClaim]]:
    for node in graph.running():
        for claim in node.operator.claimed(node.options, graph.scope(node)):
            if isinstance(claim, JournalClaim):
                yield node, claim


def _check_held(before: JournalClaim, claim: JournalClaim, frames: int) -> None:
    if frames and not same_receiver(before.receiver, claim.receiver):
        raise JournalError(
            f"journal '{claim.key}' holds {frames} frames for {before.receiver}, but the sink would send to "
            f"{claim.receiver}; give it a journal path of its own, wait until they are sent, "
            f"or stop and run `pipeline journal adopt {claim.key} {claim.receiver}`"
        )
