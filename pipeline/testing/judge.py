"""Judges what was seen of a case: each expectation that was not met, with what came instead."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pipeline.codecs import CODECS
from pipeline.errors import UsageError
from pipeline.testing.compare import ABSENT, Difference, differences, shown
from pipeline.testing.expected import (
    ExpectedFrame,
    ExpectedMessage,
    ExpectedMetric,
    ExpectedState,
    ExpectedWrite,
    Moment,
)
from pipeline.testing.load import Job
from pipeline.testing.run import Seen

__all__ = ["Failure", "judge"]

_SHOWN = 5
_REPLAYED = 0.002
"""Seconds by which time stamps of two replays may differ: those of frames that came too close are moved apart."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An expectation that was not met.

    Attributes:
        line: where it stands in the test file.
        what: which it is, in words.
        details: what was expected and what came.
    """

    line: int
    what: str
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Came:
    """Something that came.

    Attributes:
        at: seconds since the start.
        where: its topic, node or block, in words.
        content: what is compared.
    """

    at: float
    where: str
    content: Any


_Verdict = tuple[str, list[str]]
"""What is expected, in words, and what is wrong; nothing when it is met."""


def judge(job: Job, seen: Seen) -> list[Failure]:
    """All that is not as the case expects; nothing where it passes."""
    expect, found = job.case.expect, []
    sections: tuple[tuple[str, Sequence[Any], Callable[[Seen, Any, int], _Verdict]], ...] = (
        ("frames", expect.frames, partial(_frame, job.graph.nodes)),
        ("published", expect.published, _message),
        ("writes", expect.writes, _write),
        ("metrics", expect.metrics, _metric),
        ("states", expect.states, _state),
    )
    for section, entries, verdict in sections:
        for index, entry in enumerate(entries):
            what, details = verdict(seen, entry, index)
            if details:
                found.append(Failure(line=job.line(("expect", section, index)), what=what, details=details))
    if expect.same_as and (details := list(_same(job, seen))):
        found.append(Failure(line=job.line(("expect", "same_as")), what=f"as {expect.same_as}", details=details))
    return [*found, *_error(job, seen)]


def _error(job: Job, seen: Seen) -> Iterator[Failure]:
    expected = job.case.expect.error
    if expected and expected not in seen.error:
        details = [str(Difference(path="", expected=shown(expected), got=shown(seen.error or ABSENT)))]
        yield Failure(line=job.line(("expect", "error")), what="the graph ends by an error", details=details)
    elif seen.error and not expected:
        yield Failure(line=job.places.line, what="the graph ended by an error", details=[seen.error])


def _frame(nodes: Container[str], seen: Seen, expected: ExpectedFrame, _: int) -> _Verdict:
    name = expected.node
    mine = [f for f in seen.frames if (f.node == name if name in nodes else name in f.parts)]
    came = [_Came(at=f.at, where=name, content=f.json) for f in mine]
    wanted: dict[str, Any] = {
        name: getattr(expected, name)
        for name in ("kind", "values", "error", "measurement", "plc_id", "db", "tags", "ts")
        if getattr(expected, name) not in ("", None, {})
    }

    def compare(content: Any) -> list[Difference]:
        rest = {name: value for name, value in wanted.items() if name != "values"}
        values = differences(expected.values, content["values"], exact=expected.exact, path="values")
        told = content.get("bad", {})
        bad = [
            found
            for name, why in expected.bad.items()
            for found in differences(why, told.get(name, ABSENT), path=f"bad.{name}")
        ]
        return [*differences(rest, content), *(values if expected.values or expected.exact else ()), *bad]

    return _judged(expected, f"frames of {expected.node}", came, compare)


def _message(seen: Seen, expected: ExpectedMessage, _: int) -> _Verdict:
    came = [
        _Came(at=m.at - seen.begin, where=m.topic, content=(m.topic, _read(m.body), m.retain))
        for m in seen.messages.get(expected.node, [])
    ]
    if expected.topic and "?" not in expected.topic:
        came = [replace(each, content=(each.where.partition("?")[0], *each.content[1:])) for each in came]
    mine = [each for each in came if each.content[0] == expected.topic]

    def compare(content: Any) -> list[Difference]:
        topic, payload, retain = content
        found = [*differences(expected.topic, topic, exact=True, path="topic")] if expected.topic else []
        if expected.payload is not None:
            found += differences(expected.payload, payload, exact=expected.exact)
        if expected.retain is not None:
            found += differences(expected.retain, retain, path="retain")
        return found

    what = (
        f"published{f' by {expected.node}' if expected.node else ''}{f' on {expected.topic}' if expected.topic else ''}"
    )
    return _judged(expected, what, mine or came, compare)


def _write(seen: Seen, expected: ExpectedWrite, _: int) -> _Verdict:
    wanted: dict[str, Any] = {
        name: getattr(expected, name) for name in ("db", "start") if getattr(expected, name) is not None
    }
    if expected.bytes:
        wanted["bytes"] = bytes.fromhex(expected.bytes).hex(" ")
    came = [
        _Came(
            at=w.at - seen.begin,
            where=f"DB{w.db} from byte {w.start}",
            content={"db": w.db, "start": w.start, "bytes": w.data.hex(" ")},
        )
        for w in seen.writes.get(expected.node, [])
    ]
    what = f"written{f' by {expected.node}' if expected.node else ''}"
    return _judged(expected, what, came, lambda content: list(differences(wanted, content)))


def _judged(expected: Moment, what: str, came: list[_Came], compare: Callable[[Any], list[Difference]]) -> _Verdict:
    """Whether as many came in time as are expected."""
    first, last = expected.span
    what += expected.when()
    timely = [each for each in came if first <= each.at <= last]
    trials = [(each, compare(each.content)) for each in timely]
    good = [each for each, found in trials if not found]
    if expected.count is not None:
        if len(good) == expected.count:
            return what, []
        more = [f"{each.where} at {each.at:.3f} s: {shown(_content(each))}" for each in good[:_SHOWN]]
        return what, [f"count: expected {expected.count}, got {len(good)}", *more]
    if good:
        return what, []
    if trials:
        # The nearest has what is expected, with other values; then it is the one with the fewest differences.
        each, found = min(trials, key=lambda trial: (sum(each.is_missing for each in trial[1]), len(trial[1])))
        others = f"; the nearest of {len(trials)}" if len(trials) > 1 else ""
        return what, [*map(str, found), f"({each.where} at {each.at:.3f} s{others})"]
    met = [each for each in came if not compare(each.content)]
    if met:
        late = "" if expected.at is None else "; `within` says how late it may be"
        return what, [f"it came at {_times(met)}, not when it should{late}"]
    topics = ", ".join(dict.fromkeys(each.where for each in came))
    there = f"what came: {len(came)} ({topics}) at {_times(came)}" if came else "nothing came at all"
    return what, [f"nothing came{expected.when()}; {there}"]


def _times(came: Sequence[_Came]) -> str:
    told = ", ".join(f"{each.at:.3f}" for each in came[:_SHOWN])
    return f"{told}{', …' if len(came) > _SHOWN else ''} s"


def _content(came: _Came) -> Any:
    return came.content[1] if isinstance(came.content, tuple) else came.content


def _read(body: bytes) -> Any:
    """A payload's JSON, or its text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "backslashreplace")


def _metric(seen: Seen, expected: ExpectedMetric, index: int) -> _Verdict:
    labels = "".join(f" {name}={value}" for name, value in expected.labels.items())
    what = f"metric {expected.name}{labels}{'' if expected.at is None else f' at {expected.at}'}"
    if index not in seen.metrics:
        return what, ["the graph had ended before"]
    series = seen.metrics[index]
    if series is None:
        return what, ["no metric has this name; /metrics of the running graph shows all"]
    values = [value for found, value in series if expected.labels.items() <= found.items()]
    if series and not values:
        have = "; ".join(", ".join(f"{k}={v}" for k, v in found.items()) or "no labels" for found, _ in series)
        return what, [f"no series has these labels; there are: {have}"]
    got, details = sum(values), []
    if expected.value is not None:
        details += [str(found) for found in differences(expected.value, got)]
    if expected.at_least is not None and got < expected.at_least:
        details.append(f"expected {expected.at_least:g} or more, got {got:g}")
    if expected.at_most is not None and got > expected.at_most:
        details.append(f"expected {expected.at_most:g} or less, got {got:g}")
    return what, details


def _state(seen: Seen, expected: ExpectedState, index: int) -> _Verdict:
    what = f"state of {expected.node}{'' if expected.at is None else f' at {expected.at}'}"
    found = seen.states.get(index)
    if found is None:
        return what, ["the graph had ended before" if index not in seen.states else "it has none: it never ran"]
    state, reason = found
    details = [str(d) for d in differences(expected.state.value, state, exact=True, path="state")]
    if details and reason:
        details.append(f"(reason: {reason})")
    return what, [*details, *(str(d) for d in differences(expected.reason, reason, path="reason"))]


def _same(job: Job, seen: Seen) -> Iterator[str]:
    """Where the frames that sinks take differ from those of a file."""
    path = job.path.parent / job.case.expect.same_as
    try:
        lines = [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}' is no file of JSON lines: {error}") from error
    for number, line in enumerate(lines, 1):
        if not isinstance(line, dict):
            why = f"line {number} is no JSON object; `record --frames` writes one"
            raise UsageError(f"'{path}' is no file of frames: {why}")
    frames = [json.loads(CODECS["full"].encode(frame)) for frame in seen.taken]
    if len(lines) != len(frames):
        yield f"count: expected {len(lines)} frames, got {len(frames)}"
    for number, (line, frame) in enumerate(itertools.zip_longest(lines, frames, fillvalue=ABSENT), 1):
        if line is ABSENT or frame is ABSENT:
            where = "is missing" if frame is ABSENT else "is one too many"
            yield f"frame {number} {where}: {shown(line if frame is ABSENT else frame)}"
            return
        found = list(_frame_differences(line, frame))
        if found:
            yield from (f"frame {number}: {each}" for each in found)
            return


def _frame_differences(line: Any, frame: Any) -> Iterator[Difference]:
    ts = line.get("ts", ABSENT)
    if not (isinstance(ts, int | float) and abs(ts - frame["ts"]) <= _REPLAYED):
        yield Difference(path="ts", expected=shown(ts), got=shown(frame["ts"]))
    mine = {name: value for name, value in line.items() if name not in {"ts", "node"}}
    yield from differences(mine, {name: value for name, value in frame.items() if name != "ts"}, exact=True)
