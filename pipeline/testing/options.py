"""What a `*.test.yaml` file holds: the same kind of options as a graph file, with the same messages about mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pipeline.errors import Finding
from pipeline.operator import Options, Scope
from pipeline.testing.expected import NODE, Expected, check_hex
from pipeline.units import Duration

__all__ = ["Case", "Fault", "Given", "Head", "Suite"]

Environment = dict[str, str]
_ENVIRONMENT = Meta(description="the graph's variables; those of the process do not count")
_MARGIN = 1.0


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
    node: Annotated[str, Meta(description=f"{NODE}; left out where only one can be meant")] = ""
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
        told = [name for name in ("values", "bytes", "cpu", "topic", "fault") if getattr(self, name)]
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
        over = (given.until or 0.0 for given in self.given)
        return max((*(at for _, at in self.named()), *over), default=0.0) + _MARGIN

    def named(self) -> Iterator[tuple[tuple[str | int, ...], Duration]]:
        """Each moment at which something happens or is expected, with its place in the case."""
        for index, given in enumerate(self.given):
            yield ("given", index, "at"), given.at
        for section in ("frames", "published", "writes", "metrics", "states"):
            for index, entry in enumerate(getattr(self.expect, section)):
                for option in ("at", "from", "until"):
                    at = getattr(entry, "from_" if option == "from" else option, None)
                    if at is not None:
                        yield ("expect", section, index, option), at


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
