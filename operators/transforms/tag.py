"""Adds fixed tags to all frames: the line, the hall, the shift group, whatever queries want to select by.

A tag that a block has already by that name gets the value given here. The frame's own fields (`tenant_id`, `plc_id`,
`ip`, `db` and others) are refused as names: they say where a frame comes from, and topics and access lists rely on it.

Ordering: kept. Delivery: every frame passes. Memory: one origin per block. Disconnects: failures and heartbeats are
tagged like data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

from msgspec import Meta

from pipeline.errors import Finding, Severity
from pipeline.frame import Frame
from pipeline.framewise import Origins, Step, framewise
from pipeline.operator import Context, Flow, Forecast, Options, Scope, Transform, transform
from pipeline.s7.wanted import check_fixed

__all__ = ["Tag", "tag"]


class Tag(Options):
    """Options of `tag`."""

    tags: Annotated[dict[str, str], Meta(description="the tags, name: value", min_length=1)]

    def check(self, scope: Scope) -> Iterable[Finding]:  # noqa: ARG002 - the contract's argument
        """Reserved and empty names."""
        yield from check_fixed(self.tags, ("tags",))
        for name, value in self.tags.items():
            if not name.strip() or not value.strip():
                yield Finding(
                    path=("tags", name),
                    message="a tag needs a name and a value, found nothing",
                    hint="write line: north",
                )


@transform
def tag(options: Tag, context: Context) -> Transform:  # noqa: ARG001 - every operator gets a context
    """Give frames the fixed tags."""

    def start() -> Step:
        origins = Origins(lambda origin: origin.replace(tags={**origin.tags, **options.tags}))

        def step(frame: Frame) -> Frame:
            return frame.replace(origin=origins[frame.origin])

        return step

    return framewise(start)


@tag.predict
def _predict(options: Tag, _: Scope, inflow: Flow) -> Forecast:
    """As many frames, each longer by its tags."""
    added = sum(len(f'"{name}":"{value}",'.encode()) for name, value in options.tags.items())
    flow = replace(inflow, size=inflow.size + added)
    clashes = check_fixed(options.tags, ("tags",), sorted(inflow.names))
    return Forecast(flow=flow, warnings=tuple(replace(each, severity=Severity.WARNING) for each in clashes))
