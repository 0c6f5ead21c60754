"""The one exception tree, and the two ways to speak of a mistake in a graph file.

PipelineError
├── ConfigurationError    every mistake of a graph file at once (exit 1)
├── UsageError            a command was called wrongly (exit 1)
├── PartFailed            a part failed for good (exit 2)
├── JournalError          the store-and-forward log
│   ├── JournalLocked     another process has it open
│   ├── JournalForeign    it belongs to another receiver, see `journal adopt`
│   └── JournalUnwritable the disk is full, read-only or broken
├── ReadError             a PLC did not give what was asked
│   └── Refused           it answered, and the answer is no: names the setting to change
└── LinkError             a receiver (broker, HTTP server) can't be reached or said no

Exceptions take data and build their own message.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "NOT_INSTALLED",
    "ConfigurationError",
    "Finding",
    "JournalError",
    "JournalForeign",
    "JournalLocked",
    "JournalUnwritable",
    "LinkError",
    "PartFailed",
    "PipelineError",
    "Problem",
    "ReadError",
    "Refused",
    "Severity",
    "UsageError",
    "nearest",
]


class Severity(StrEnum):
    """How much a problem matters: an error refuses the graph, a warning is shown and the graph runs."""

    ERROR = "error"
    WARNING = "warning"


def nearest(found: str, allowed: Iterable[str]) -> str:
    """The allowed name that looks most like `found`, or an empty string when none does."""
    names = {name.lower(): name for name in allowed}
    matches = difflib.get_close_matches(found.lower(), names, n=1, cutoff=0.6)
    return names[matches[0]] if matches else ""


_TOLD = 200
NOT_INSTALLED = "is not installed"
"""How a finding ends that says which package of an extra is missing."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A mistake in options, said by who knows the options but not the file.

    Attributes:
        path: the option's place inside the options, such as `("plcs", 0, "address")`; () is the whole node.
        message: what is wrong, without place: "width must be > 0, got -1".
        hint: what to do about it; may be empty.
        severity: an error refuses the graph, a warning does not.
    """

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A finding with its place in a file. `str()` gives the one line that a person reads.

    Attributes:
        file: the graph file as the user named it.
        line: counted from 1; 0 when the problem is of the whole file.
        column: counted from 1.
        node: the node's name, or "" outside of nodes.
        kind: the node's `type:`, or "".
        option: the option with dots and indices: `plcs[0].address`; or "".
        message: what is wrong and what was found.
        hint: what is allowed, the nearest valid name, what to do.
        severity: see `Severity`.
    """

    file: str
    line: int
    column: int
    message: str
    node: str = ""
    kind: str = ""
    option: str = ""
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        """`configs/line1.yaml:14:7: node 'smooth' (deadband): width: must be > 0, got -1; hint`."""
        parts = [f"{self.file}:{self.line}:{self.column}:" if self.line else f"{self.file}:"]
        if self.severity is Severity.WARNING:
            parts.append("warning:")
        if self.node:
            parts.append(f"node '{self.node}'" + (f" ({self.kind}):" if self.kind else ":"))
        if self.option:
            parts.append(f"{self.option}:")
        parts.append(self.message + (f"; {self.hint}" if self.hint else ""))
        return " ".join(parts)


class PipelineError(Exception):
    """Base of all errors that this project raises on purpose.

    Attributes:
        exit_code: what the command line returns.
        fatal: True where another attempt can't help: the engine stops the graph instead of backing off.
    """

    exit_code = 2
    fatal = False


class ConfigurationError(PipelineError):
    """All problems of a graph file, in the order of their lines; in words the first 200."""

    exit_code = 1
    fatal = True

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: (p.file, p.line, p.column))
        told = [str(problem) for problem in self.problems[:_TOLD]]
        if len(self.problems) > _TOLD:
            told.append(f"… and {len(self.problems) - _TOLD} more")
        super().__init__("\n".join(told))


class UsageError(PipelineError):
    """A command, option or environment is wrong; nothing was started."""

    exit_code = 1
    fatal = True


class PartFailed(PipelineError):
    """A part of a running graph failed for good, or frames could not be made safe."""

    fatal = True


class JournalError(PipelineError):
    """The store-and-forward log at `path` refused an operation."""


class JournalLocked(JournalError):
    """Another process has the journal open."""

    fatal = True

    def __init__(self, path: str) -> None:
        super().__init__(
            f"journal '{path}' is open in another process; stop that one, or give this sink a journal path of its own"
        )


class JournalForeign(JournalError):
    """The journal holds frames for another receiver than the sink is configured for."""

    fatal = True

    def __init__(self, path: str, stored: str, wanted: str) -> None:
        super().__init__(
            f"journal '{path}' holds frames for {stored}, but the sink sends to {wanted}; "
            f"run `pipeline journal adopt {path} {wanted}` to send them there, or set the sink back"
        )


class JournalUnwritable(JournalError):
    """The journal can't be written: full disk, read-only file system, broken medium."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"journal '{path}' can't be written: {reason}")


class _Explained(PipelineError):
    """What failed at another end of a line.

    Attributes:
        reason: a short constant, for frames, states and metrics.
        detail: what was seen; may be empty.
        advice: what to do, in one sentence; may be empty.
    """

    def __init__(self, reason: str, detail: str = "", advice: str = "") -> None:
        self.reason = reason
        self.detail = detail
        self.advice = advice
        super().__init__("; ".join(part for part in (f"{reason}: {detail}" if detail else reason, advice) if part))


class ReadError(_Explained):
    """A read failed.

    Its reasons, in frames and metrics: "timeout", "refused", "connection lost" and others.
    """


class Refused(ReadError):
    """The PLC answered, and the answer is no. `advice` names the setting to change."""


class LinkError(_Explained):
    """A receiver can't be reached or refused the connection.

    Its reasons: "name", "refused", "timeout", "tls", "login", "taken over", "lost" and others.
    """
