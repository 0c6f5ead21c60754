"""What a `*.test.yaml` file holds: the same kind of options as a graph file, with the same messages about mistakes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pipeline.actor import State
from pipeline.errors import Finding
from pipeline.operator import Options, Scope
from pipeline.units import Duration

__all__ = [
    "Case",
    "Expected",
    "ExpectedFrame",
    "ExpectedMessage",
    "ExpectedMetric",
    "ExpectedState",
    "ExpectedWrite",
    "Fault",
    "Given",
    "Head",
    "Moment",
    "Suite",
]

Environment = dict[str, str]
_ENVIRONMENT = Meta(description="the graph's variables; those of the process do not count")
_MARGIN = 1.0
_SLACK = 1e-5
_NODE = "the node: press, or for one PLC of several press/press1, or its plc_id"


class Fault(StrEnum):
    """What a device or receiver does wrong."""

    AWAY = "away"
    TIMEOUT = "timeout"
    PUT_GET_OFF = "put_get_off"
    ACCESS_DENIED = "access_denied"
    OUT_OF_RANGE = "out_of_range"
    MISSING = "missing"
    BUSY = "busy"
    DENIED = "denied"
    REJECTED = "rejected"
    NO_SUBSCRIBER = "no_subscriber"


class Given(Options):
    """Something that happens: values in a PLC, a message, a fault."""

    at: Annotated[Duration, Meta(description="when, counted from the start; a tick at the same time sees it", ge=0)] = (
        Duration(0)
    )
    node: Annotated[str, Meta(description=f"{_NODE}; left out where only one can be meant")] = ""
    values: Annotated[dict[str, Any], Meta(description="values by name, as the graph's frames have them")] = (
        msgspec.field(default_factory=dict)
    )
    db: Annotated[
        int | None, Meta(description="the block of values that several have; of `bytes`; of a fault of one block")
    ] = None
    start: Annotated[int, Meta(description="first byte of `bytes`", ge=0)] = 0
    bytes: Annotated[str, Meta(description="what stands in the block from there on, hexadecimal: 13 96 00 28")] = ""
    cpu: Annotated[Literal["", "RUN", "STOP"], Meta(description="the CPU's operating mode from now on")] = ""
    topic: Annotated[str, Meta(description="publish to this topic, for a source that subscribes")] = ""
    payload: Annotated[Any, Meta(description="of that message: a text, or what is sent as JSON")] = None
    fault: Annotated[
        Fault | None,
        Meta(
            description="away: nobody listens; timeout: no answer; of PLCs put_get_off, of one block access_denied, "
            "out_of_range, missing; of receivers busy, denied, rejected; of brokers no_subscriber"
        ),
    ] = None
    until: Annotated[Duration | None, Meta(description="when the fault is over; left out: it stays")] = None

    def check(self, scope: Scope) -> Iterator[Finding]:
        """Nothing given, two things at once, hexadecimal text that is none."""
        del scope
        told = [
            name
            for name, there in (
                ("values", self.values),
                ("bytes", self.bytes),
                ("cpu", self.cpu),
                ("topic", self.topic),
                ("fault", self.fault),
            )
            if there
        ]
        if len(told) != 1:
            message = f"gives {' and '.join(told)}" if told else "gives nothing"
            hint = "write one of values, bytes, cpu, topic and fault for each entry"
            yield Finding(path=(), message=message, hint=hint)
        if self.until is not None and self.fault is None:
            yield Finding(path=("until",), message="only a fault ends", hint="give what follows in an entry of its own")
        if self.until is not None and self.until <= self.at:
            yield Finding(path=("until",), message=f"must be after `at` ({self.at}), got {self.until}")
        if self.payload is not None and not self.topic:
            yield Finding(path=("payload",), message="needs a topic beside it")
        if self.bytes and self.db is None:
            yield Finding(path=("bytes",), message="of which block?", hint="name it: db: 1")
        yield from check_hex(self.bytes, "bytes")


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

    @property
    def latest(self) -> float:
        """The last moment that is named."""
        return max(0.0 if moment is None else moment for moment in (self.at, self.from_, self.until))

    def when(self) -> str:
        """In words: ` at 3s`, ` from 10s until 20s`."""
        if self.at is not None:
            return f" at {self.at}"
        parts = (("from", self.from_), ("until", self.until))
        return "".join(f" {word} {moment}" for word, moment in parts if moment is not None)


class ExpectedFrame(Moment):
    """A frame that leaves a source or transform, or reaches a sink."""

    node: Annotated[str, Meta(description="the source or transform that gives it, or the sink that takes it")]
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

    node: Annotated[str, Meta(description=f"{_NODE}; or a sink", min_length=1)]
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


class Case(Options):
    """One test: what is given, and what must come of it."""

    expect: Annotated[Expected, Meta(description="what must come of it")]
    given: Annotated[list[Given], Meta(description="what happens; a PLC's blocks are zero until told")] = msgspec.field(
        default_factory=list
    )
    recording: Annotated[str, Meta(description="file of `record`: its answers are the PLCs'; beside the test file")] = (
        ""
    )
    for_: Annotated[
        Duration | None,
        Meta(description="how long; left out: the recording's length, or 1 s longer than anything named here", gt=0),
    ] = msgspec.field(default=None, name="for")
    start: Annotated[str, Meta(description="date and time at its start: 2024-11-18T06:00:00-03:00")] = (
        "2024-11-16T23:33:20+00:00"
    )
    environment: Annotated[Environment, Meta(description="further variables, of this case alone")] = msgspec.field(
        default_factory=dict
    )

    def check(self, scope: Scope) -> Iterator[Finding]:
        """A start that is no moment, files that are not there, values for PLCs that a recording plays."""
        try:
            moment = datetime.fromisoformat(self.start)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            hint = "write it with its offset: 2024-11-18T06:00:00-03:00"
            yield Finding(path=("start",), message=f"'{self.start[:40]}' is not a moment", hint=hint)
        for path, name in ((("recording",), self.recording), (("expect", "same_as"), self.expect.same_as)):
            if name and not (scope.folder / name).is_file():
                yield Finding(path=path, message=f"there is no file '{name}' beside the test file")

    @property
    def wall(self) -> float:
        """Seconds since 1970 at its start."""
        return datetime.fromisoformat(self.start).timestamp()

    @property
    def seconds(self) -> float:
        """How long it lasts where no recording says so."""
        if self.for_ is not None:
            return self.for_
        expect = self.expect
        moments: Iterable[Moment] = (*expect.frames, *expect.published, *expect.writes)
        named = [
            *(moment.latest for moment in moments),
            *(metric.at or 0.0 for metric in expect.metrics),
            *(state.at or 0.0 for state in expect.states),
            *(max(given.at, given.until or 0.0) for given in self.given),
        ]
        return max(named, default=0.0) + _MARGIN


class Head(Options):
    """What all cases of a test file share."""

    graph: Annotated[
        str, Meta(description="the graph file; left out: the one beside it, line.yaml of line.test.yaml")
    ] = ""
    environment: Annotated[Environment, _ENVIRONMENT] = msgspec.field(default_factory=dict)

    def graph_path(self, path: Path) -> Path:
        """The graph file of the test file `path`."""
        return path.parent / (self.graph or path.name.replace(".test.", "."))


class Suite(Head):
    """A test file."""

    cases: Annotated[dict[str, Case], Meta(description="the tests, by name", min_length=1)]
