"""The nodes of a file before they are a graph: what ties them, and the mistakes that only show between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

from pipeline.config.bind import OptionPath
from pipeline.config.document import Record, Scalar, Value, locate
from pipeline.config.partial import Bound, lacks
from pipeline.config.problems import Problems
from pipeline.errors import Finding, Severity, nearest
from pipeline.operator import NodeKind, Operator, Options, Scope

__all__ = ["Draft", "check_claims", "check_names", "check_wiring", "cycle_of", "in_data_order"]

AnswerT = TypeVar("AnswerT")
KeyT = TypeVar("KeyT", bound=Hashable)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_NO_OUTPUT = (NodeKind.SINK, NodeKind.SERVICE)


@dataclass(kw_only=True)
class Draft:
    """A node as far as it could be read.

    Attributes:
        name: its key in the file.
        kind: its section.
        place: where its name stands.
        record: its options with their places.
        type: what its `type:` says, "" when nothing.
        operator: None when the type is unknown.
        readings: its options; two readings where values are wrong or lack a variable, none where they can't be read.
        inputs: the names after `from:`, with their places.
        enabled: whether it runs.
        astray: not all that it takes from is known.
        bound: the reading that is judged.
        refused: options that its own check refuses; nothing further is said of them.
        sound: its own check finds nothing wrong.
    """

    name: str
    kind: NodeKind
    place: Scalar
    record: Record
    type: str = ""
    operator: Operator[Any] | None = None
    readings: tuple[Bound[Options], ...] = ()
    inputs: list[tuple[str, Value]] = field(default_factory=list)
    enabled: bool = True
    astray: bool = False
    bound: Bound[Options] = field(default_factory=Bound)
    refused: tuple[OptionPath, ...] = ()
    sound: bool = False

    @property
    def options(self) -> Options | None:
        """Its options, None when they can't be read."""
        return self.bound.options

    def read(self, index: int) -> None:
        """Take the first or second reading of its options, where it has several."""
        self.bound = self.readings[min(index, len(self.readings) - 1)] if self.readings else Bound()
        self.refused, self.sound = (), False

    def ask(self, question: Callable[..., tuple[AnswerT, ...]], *arguments: Any) -> tuple[AnswerT, ...] | None:
        """What the operator says to a question about the options.

        Args:
            question: a method of `Operator`.
            arguments: its arguments behind the options.

        Returns:
            The answer; None where the options are wrong, and it can't be known.
        """
        if self.operator is None or self.options is None:
            return None
        try:
            return question(self.operator, self.options, *arguments)
        except Exception:
            if self.sound and not self.bound.stand_ins:
                raise
            return None

    def tell(
        self,
        problems: Problems,
        place: Value,
        message: str,
        hint: str = "",
        *,
        path: OptionPath = (),
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Add a problem of this node, unless it is of an option that is wrong anyway."""
        if not lacks((*self.bound.stand_ins, *self.refused), path):
            problems.add(place, message, hint, path=path, node=self.name, kind=self.type, severity=severity)

    def find(self, problems: Problems, finding: Finding) -> None:
        """Add what was found in its options."""
        place = locate(self.record, finding.path) if finding.path else self.place
        self.tell(problems, place, finding.message, finding.hint, path=finding.path, severity=finding.severity)


def check_names(drafts: list[Draft], problems: Problems) -> dict[str, Draft]:
    """The nodes by name; names that are no names, or stand in two sections, are told."""
    named: dict[str, Draft] = {}
    for draft in drafts:
        if not _NAME.fullmatch(draft.name):
            hint = "a letter, then up to 63 letters without accents, digits, _ or -"
            draft.tell(problems, draft.place, "this can't be a node's name", hint)
        if draft.name in named:
            other = named[draft.name]
            message = f"the name is also used in {other.kind}, line {other.place.line}"
            draft.tell(problems, draft.place, message, "give one of them another name")
        named.setdefault(draft.name, draft)
    return named


def check_wiring(named: Mapping[str, Draft], problems: Problems, *, complete: bool = True) -> None:
    """Every `from:` leads to a node with an output, none leads round in a circle, and no output is forgotten.

    Args:
        named: the nodes.
        problems: told of every mistake.
        complete: whether these are all nodes; else others may be in sections that can't be read.
    """
    for draft in named.values():
        _check_inputs(draft, named, problems, complete=complete)
    for cycle in _cycles(named):
        draft = named[cycle[0]]
        place = next(place for name, place in draft.inputs if name == cycle[-2])
        message = f"frames would go round in a circle: {' -> '.join(cycle)}"
        draft.tell(problems, place, message, "take one of these `from:` away", path=("from",))
    if problems.errors:
        return  # a node whose taker is misspelt is not forgotten
    takers: dict[str, list[Draft]] = {name: [] for name in named}
    for draft in named.values():
        for name, _ in draft.inputs:
            takers.get(name, []).append(draft)
    for draft in named.values():
        if draft.kind not in _NO_OUTPUT and draft.enabled and not any(taker.enabled for taker in takers[draft.name]):
            who = "only disabled nodes take" if takers[draft.name] else "nobody takes"
            hint = f"name it in the `from: {draft.name}` of another node, or remove it"
            draft.tell(problems, draft.place, f"{who} from this node", hint, severity=Severity.WARNING)


def _check_inputs(draft: Draft, named: Mapping[str, Draft], problems: Problems, *, complete: bool) -> None:
    for name, place in draft.inputs:
        giver = named.get(name)
        if giver is not None and giver.kind not in _NO_OUTPUT:
            continue
        draft.astray = True
        if giver is None and not complete:
            continue
        givers = [each for each, other in named.items() if other.kind not in _NO_OUTPUT and each != draft.name]
        if giver is None:
            similar = nearest(name, givers)
            hint = f"did you mean '{similar}'?" if similar else f"there are: {', '.join(givers) or 'none'}"
            draft.tell(problems, place, f"there is no node '{name}'", hint, path=("from",))
        else:
            word = giver.kind.value.removesuffix("s")
            hint = f"take from a source or transform: {', '.join(givers) or 'none'}"
            draft.tell(problems, place, f"'{name}' is a {word} and gives no frames", hint, path=("from",))
    known = [named[name] for name, _ in draft.inputs if name in named]
    if draft.enabled and known and not any(giver.enabled for giver in known):
        message = "takes only from disabled nodes, so nothing will arrive"
        hint = "enable one of them, or disable this one too"
        draft.tell(problems, draft.inputs[0][1], message, hint, path=("from",), severity=Severity.WARNING)


def _cycles(named: Mapping[str, Draft]) -> Iterator[list[str]]:
    """Cycles, each as names in the direction of the frames, the first in the file at both ends."""
    givers = {name: [giver for giver, _ in draft.inputs if giver in named] for name, draft in named.items()}
    while cycle := cycle_of(givers)[:-1]:
        first = min(range(len(cycle)), key=lambda index: list(named).index(cycle[index]))
        cycle = [*cycle[first:], *cycle[:first], cycle[first]]
        yield cycle
        givers[cycle[0]].remove(cycle[-2])


def cycle_of(givers: Mapping[KeyT, Iterable[KeyT]]) -> list[KeyT]:
    """A cycle from giver to taker, the first at both ends; empty without one.

    Args:
        givers: of each taker.
    """
    try:
        TopologicalSorter(givers).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def in_data_order(named: Mapping[str, Draft]) -> list[Draft]:
    """Services first, then each node after those that it takes from; otherwise as in the file."""
    ordered: dict[str, Draft] = {name: draft for name, draft in named.items() if draft.kind is NodeKind.SERVICE}
    waiting = [draft for name, draft in named.items() if name not in ordered]
    while waiting:
        ready = [draft for draft in waiting if all(name in ordered for name, _ in draft.inputs)]
        ordered.update((draft.name, draft) for draft in ready)
        waiting = [draft for draft in waiting if draft.name not in ordered]
    return list(ordered.values())


def check_claims(drafts: list[tuple[Draft, Scope]], problems: Problems) -> None:
    """What only one actor may have is claimed once. Nodes with mistakes are asked too, as far as they can tell."""
    first: dict[tuple[str, str], tuple[Draft, Value]] = {}
    for draft, scope in drafts:
        for claim in draft.ask(Operator.claimed, scope) or ():
            key = (claim.what, claim.key)
            if key not in first:
                first[key] = (draft, locate(draft.record, claim.path))
                continue
            other, where = first[key]
            who = "this node too" if other is draft else f"node '{other.name}' too"
            message = f"the {claim.what} '{claim.key}' is taken by {who} (line {where.line})"
            hint = "only one may have it: give each its own, or make the two one node"
            draft.find(problems, Finding(path=claim.path, message=message, hint=hint))
