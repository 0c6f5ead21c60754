"""Keeps, drops and renames values of data frames.

A value stays when it matches a pattern of `keep` (without `keep`: always) and none of `drop`; then it gets its new
name, if `rename` has one. Heartbeats and failures always pass. So does a frame that names a bad value, whichever that
is: a fault is not selected away; a tag that is broken for good is taken out of the source. A data frame that has no
value left is dropped; the first one after a failure becomes a heartbeat, since the block is read again. Two values of
one name end the graph: the file is wrong, and one of them would be lost.

Ordering: kept. Delivery: what is not selected is dropped on purpose. Memory: one origin per block. Disconnects: the
failures pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from pipeline.errors import Finding, PartFailed, Severity
from pipeline.frame import Frame, Kind, Origin
from pipeline.framewise import Origins, Step, framewise
from pipeline.identifiers import check_name
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.patterns import chooser, matching, unmatched

__all__ = ["Select", "select"]

T = TypeVar("T")


class Select(Options):
    """Options of `select`."""

    keep: Annotated[list[str], Meta(description="patterns (AI_*) of the values that stay; empty: all")] = msgspec.field(
        default_factory=list
    )
    drop: Annotated[list[str], Meta(description="patterns of the values that go, of those kept")] = msgspec.field(
        default_factory=list
    )
    rename: Annotated[dict[str, str], Meta(description="new name by old name, of those that stay; no patterns")] = (
        msgspec.field(default_factory=dict)
    )

    def check(self, scope: Scope) -> Iterable[Finding]:  # noqa: ARG002 - the contract's argument
        """Names that are taken, reserved or empty, and a node that does nothing."""
        if not self.keep and not self.drop and not self.rename:
            yield Finding(path=(), message="selects nothing", hint="give keep, drop or rename")
        taken: dict[str, str] = {}
        for old, new in self.rename.items():
            path = ("rename", old)
            yield from check_name(new, path)
            if not new.strip():
                yield Finding(path=path, message="the new name is empty", hint="to leave a value out, use drop")
            elif taken.setdefault(new, old) != old:
                message = f"'{taken[new]}' gets the name '{new}' too"
                yield Finding(path=path, message=message, hint="give each its own")

    def chosen(self, names: Iterable[str]) -> dict[str, str]:
        """The new name of each of these that stays, by its old one."""
        kept = matching(self.keep or ["*"], names) - matching(self.drop, names)
        return {name: self.rename.get(name, name) for name in names if name in kept}


@transform
def select(options: Select, context: Context) -> Transform:
    """Give data frames the selected values under their new names."""
    keeps = chooser(dict.fromkeys(options.keep or ["*"], True))
    drops = chooser(dict.fromkeys(options.drop, True))

    def name_of(old: str) -> str | None:
        return options.rename.get(old, old) if keeps(old) and not drops(old) else None

    def with_units(origin: Origin) -> Origin:
        return origin.replace(units={options.rename.get(name, name): unit for name, unit in origin.units.items()})

    def start() -> Step:
        origins = Origins(with_units if options.rename else lambda origin: origin)
        failing: set[Origin] = set()

        def step(frame: Frame) -> Frame | None:
            origin = origins[frame.origin]
            if frame.kind is not Kind.DATA:
                if frame.kind is Kind.FAILURE:
                    failing.add(origin)
                return frame if origin is frame.origin else frame.replace(origin=origin)
            values = _renamed(frame.values, name_of, context.node)
            was_failing = origin in failing
            failing.discard(origin)
            if not values and not frame.bad:
                return Frame.heartbeat(origin, frame.ts) if was_failing else None
            # The name of a bad value that was dropped may now be another's.
            bad = frame.bad and {
                new: reason
                for name, reason in frame.bad.items()
                if (new := options.rename.get(name, name)) not in values
            }
            return frame.replace(origin=origin, values=values, bad=bad)

        return step

    return framewise(start)


@select.predict
def _predict(options: Select, _: Scope, inflow: Flow) -> Forecast:
    """The names that stay; a frame is as much shorter as it has fewer values."""
    warnings = [
        *unmatched(options.keep, inflow.names, ("keep",)),
        *unmatched(options.drop, inflow.names, ("drop",)),
        *unmatched(options.rename, inflow.names, ("rename",), keyed=True),
    ]
    chosen = options.chosen(sorted(inflow.names))
    for old, new in chosen.items():
        if new != old and new in chosen and chosen[new] == new:
            message = f"there is a value '{new}' already; where both are in one frame, the graph ends"
            warnings.append(
                Finding(path=("rename", old), message=message, hint="drop that one", severity=Severity.WARNING)
            )
    names = frozenset(chosen.values())
    share = len(names) / len(inflow.names) if inflow.names else 1.0
    flow = replace(inflow, size=inflow.size * share, names=names)
    return Forecast(flow=flow, warnings=tuple(warnings))


def _renamed(values: Mapping[str, T], name_of: Callable[[str], str | None], node: str) -> dict[str, T]:
    result: dict[str, T] = {}
    count = 0
    for old, value in values.items():
        name = name_of(old)
        if name is not None:
            result[name] = value
            count += 1
    if len(result) != count:
        raise _Collision(values, name_of, node)
    return result


class _Collision(PartFailed):
    """Two values of one frame got the same name."""

    def __init__(self, values: Iterable[str], name_of: Callable[[str], str | None], node: str) -> None:
        owners: dict[str | None, list[str]] = {}
        for old in values:
            owners.setdefault(name_of(old), []).append(old)
        clashes = [f"{' and '.join(old)} as '{new}'" for new, old in owners.items() if new is not None and len(old) > 1]
        super().__init__(f"node '{node}' (select): rename gives two values one name: {', '.join(clashes)}; drop one")
