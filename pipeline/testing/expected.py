"""What a test file expects: frames, messages, writes, metrics, states."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pipeline.actor import State
from pipeline.errors import Finding
from pipeline.operator import Options, Scope
from pipeline.units import Duration

__all__ = [
    "NODE",
    "Expected",
    "ExpectedFrame",
    "ExpectedMessage",
    "ExpectedMetric",
    "ExpectedState",
    "ExpectedWrite",
    "Moment",
    "check_hex",
]

NODE = "the node: press, or for one PLC of several press/press1, or its plc_id"
_SLACK = 1e-5


def check_hex(text: str, option: str) -> Iterator[Finding]:
    """What is wrong with hexadecimal text."""
    try:
        bytes.fromhex(text)
    except ValueError:
        hint = "two hexadecimal digits for each byte, with or without blanks: 13 96 00 28"
        yield Finding(path=(option,), message=f"'{text[:40]}' is not hexadecimal", hint=hint)


class Moment(Options):
    """When something is expected."""

    at: Annotated[Duration | None, Meta(description="it comes at this time", ge=0)] = None
    within: Annotated[Duration, Meta(description="so late it may be", ge=0)] = Duration(0.1)
    from_: Annotated[Duration | None, Meta(description="not before this time counts")] = msgspec.field(
        default=None, name="from"
    )
    until: Annotated[Duration | None, Meta(description="not from this time on counts")] = None
    count: Annotated[
        int | None, Meta(description="so many, no more and no fewer; left out: at least one; 0: none", ge=0)
    ] = None

    def check(self, scope: Scope) -> Iterator[Finding]:
        """A moment and a span at once, a span that ends before it begins."""
        del scope
        if self.at is not None and (self.from_ is not None or self.until is not None):
            hint = "`at` is one moment, `from` and `until` a span: write one of them"
            yield Finding(path=("at",), message="stands beside `from` or `until`", hint=hint)
        if self.from_ is not None and self.until is not None and self.until <= self.from_:
            yield Finding(path=("until",), message=f"must be after `from` ({self.from_}), got {self.until}")

    @property
    def span(self) -> tuple[float, float]:
        """First moment that counts, and the last; what is given comes a little early, and has its effect then."""
        if self.at is not None:
            return self.at - _SLACK, self.at + self.within + _SLACK
        return (self.from_ or 0.0) - _SLACK, math.inf if self.until is None else self.until - _SLACK

    def when(self) -> str:
        """In words: ` at 3s`, ` from 10s until 20s`."""
        if self.at is not None:
            return f" at {self.at}"
        parts = (("from", self.from_), ("until", self.until))
        return "".join(f" {word} {moment}" for word, moment in parts if moment is not None)


class ExpectedFrame(Moment):
    """A frame that leaves a source or transform, or reaches a sink."""

    node: Annotated[str, Meta(description=f"{NODE}; or the transform that gives it, or the sink that takes it")]
    kind: Annotated[Literal["", "data", "heartbeat", "failure"], Meta(description="of the frame")] = ""
    values: Annotated[dict[str, Any], Meta(description='values that it has; "*": any')] = msgspec.field(
        default_factory=dict
    )
    bad: Annotated[dict[str, str], Meta(description="values that are absent, with a part of the reason")] = (
        msgspec.field(default_factory=dict)
    )
    error: Annotated[str, Meta(description="reason of a failure")] = ""
    measurement: Annotated[str, Meta(description="its measurement")] = ""
    plc_id: Annotated[str, Meta(description="the PLC that it comes from")] = ""
    db: Annotated[int | None, Meta(description="the block that it comes from")] = None
    tags: Annotated[dict[str, str], Meta(description="its tags")] = msgspec.field(default_factory=dict)
    ts: Annotated[float | None, Meta(description="its time stamp, seconds since 1970")] = None
    exact: Annotated[bool, Meta(description="it has these values and no others")] = False


class ExpectedMessage(Moment):
    """A message that a broker or server gets."""

    node: Annotated[str, Meta(description="the sink; left out: any")] = ""
    topic: Annotated[str, Meta(description="MQTT topic, or a request's path; left out: any")] = ""
    payload: Annotated[
        Any, Meta(description='what its JSON has, "*" for any value; or a text that stands in it; left out: anything')
    ] = None
    exact: Annotated[bool, Meta(description="it has this and nothing else")] = False
    retain: Annotated[bool | None, Meta(description="the broker keeps it")] = None


class ExpectedWrite(Moment):
    """A write into a PLC."""

    node: Annotated[str, Meta(description="the sink; left out: any")] = ""
    db: Annotated[int | None, Meta(description="the block that is written; left out: any")] = None
    start: Annotated[int | None, Meta(description="its first byte; left out: any", ge=0)] = None
    bytes: Annotated[str, Meta(description="what is written, hexadecimal; left out: anything")] = ""

    def check(self, scope: Scope) -> Iterator[Finding]:
        """As for every moment, and hexadecimal text that is none."""
        yield from super().check(scope)
        yield from check_hex(self.bytes, "bytes")


class ExpectedMetric(Options):
    """A metric's value. Series that have these labels are added up."""

    name: Annotated[str, Meta(description="as /metrics shows it: plc_read_ok_total", min_length=1)]
    labels: Annotated[dict[str, str], Meta(description="labels that the series have")] = msgspec.field(
        default_factory=dict
    )
    at: Annotated[Duration | None, Meta(description="when; left out: at the end", ge=0)] = None
    value: Annotated[float | None, Meta(description="exactly this")] = None
    at_least: Annotated[float | None, Meta(description="this or more")] = None
    at_most: Annotated[float | None, Meta(description="this or less")] = None

    def check(self, scope: Scope) -> Iterator[Finding]:
        """Nothing to compare with."""
        del scope
        if self.value is None and self.at_least is None and self.at_most is None:
            yield Finding(path=(), message="expects nothing", hint="write value, at_least or at_most")


class ExpectedState(Options):
    """The state of a node."""

    node: Annotated[str, Meta(description=f"{NODE}; or a sink", min_length=1)]
    state: Annotated[State, Meta(description="what it is")]
    at: Annotated[Duration | None, Meta(description="when; left out: at the end", ge=0)] = None
    reason: Annotated[str, Meta(description="a text that stands in its reason")] = ""


class Expected(Options):
    """What must come of it."""

    frames: Annotated[list[ExpectedFrame], Meta(description="frames inside of the graph")] = msgspec.field(
        default_factory=list
    )
    published: Annotated[list[ExpectedMessage], Meta(description="messages at brokers and servers")] = msgspec.field(
        default_factory=list
    )
    writes: Annotated[list[ExpectedWrite], Meta(description="writes into PLCs")] = msgspec.field(default_factory=list)
    metrics: Annotated[list[ExpectedMetric], Meta(description="values of metrics")] = msgspec.field(
        default_factory=list
    )
    states: Annotated[list[ExpectedState], Meta(description="states of nodes")] = msgspec.field(default_factory=list)
    same_as: Annotated[
        str,
        Meta(description="file of JSON lines: the frames that sinks take, all of them, in order; beside the test file"),
    ] = ""
    error: Annotated[str, Meta(description="the graph ends by an error in which this stands")] = ""

    def check(self, scope: Scope) -> Iterator[Finding]:
        """A test that can't fail."""
        del scope
        if not any(getattr(self, field) for field in self.__struct_fields__):
            hint = "write frames, published, writes, metrics, states, same_as or error"
            yield Finding(path=(), message="expects nothing", hint=hint)
