"""The referee: subscribes at the broker, and compares what arrived with what the PLCs have answered."""

import math
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from tests.parts.counting_plc import MASK, Entry, Event
from tests.parts.mosquitto import PASSWORDS, Mosquitto
from tests.parts.waiting import wait_until

__all__ = ["Arrival", "Kill", "Referee", "Verdict", "judge", "recovery"]

_ON_THE_WIRE = 0.05
"""Seconds: an answer that came so shortly before its connection ended may not have been read."""
_PATIENCE = 1.0
"""Seconds without anything new after which nothing more is expected."""


class _Frame(msgspec.Struct):
    ts: float
    seq: int
    boot: str
    values: dict[str, Any]
    plc_id: str = ""
    replayed: bool = False


class Arrival(NamedTuple):
    """A frame as it arrived: `at` in monotonic seconds; `count` 0 for heartbeats and failures, -1 for a torn block."""

    at: float
    plc: int
    boot: str
    seq: int
    count: int
    replayed: bool
    ts: float


class Kill(NamedTuple):
    """A moment when a process lost its memory, and how many seconds of intake it was allowed to lose."""

    at: float
    window: float


class Referee:
    """`mosquitto_sub` with a persistent session of QoS 1: what it misses the broker keeps for it.

    Attributes:
        arrivals: all frames, in the order in which they came.
        statuses: payloads of the status topic.
        connections: how often it has subscribed.
    """

    def __init__(self, broker: Mosquitto) -> None:
        """Subscribe; returns when the broker has confirmed it."""
        self.arrivals: list[Arrival] = []
        self.statuses: list[dict[str, Any]] = []
        self.connections = 0
        command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.plain_port), "-q", "1", "-c", "-i", "referee"]
        command += ["-u", "monitor", "-P", PASSWORDS["monitor"], "-F", "%t %p", "-t", "plc/#"]
        self._command = [*command, "-t", "$SYS/broker/version"]
        self.come()

    def come(self) -> None:
        """Subscribe, or subscribe again after `leave`; returns when the broker has confirmed it."""
        before = self.connections
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._thread = threading.Thread(target=self._read, args=(self._process,), name="referee", daemon=True)
        self._thread.start()
        self.wait_connected(before)

    def wait_connected(self, before: int) -> None:
        """Return when there have been more connections than `before`."""
        wait_until(lambda: self.connections > before, "mosquitto_sub has subscribed")

    def leave(self) -> None:
        """Go away; the broker keeps the session."""
        self._process.kill()
        self._process.wait()
        self._thread.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def wait_silence(self) -> None:
        """Return when nothing has arrived for a while."""
        wait_until(lambda: not self.arrivals or time.monotonic() - self.arrivals[-1].at > _PATIENCE, "silence", 120)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        decode = msgspec.json.Decoder(_Frame).decode
        assert process.stdout is not None
        for line in process.stdout:
            now = time.monotonic()
            topic, _, body = line.partition(b" ")
            if topic.startswith(b"$SYS"):
                # Topics are subscribed in order, so the retained version comes when all of them are.
                self.connections += 1
            elif topic.endswith(b"/status"):
                self.statuses.append(msgspec.json.decode(body))
            else:
                frame = decode(body)
                plc = int(frame.plc_id.removeprefix("plc"))
                self.arrivals.append(
                    Arrival(now, plc, frame.boot, frame.seq, _count(frame.values), frame.replayed, frame.ts)
                )


def _count(values: Mapping[str, Any]) -> int:
    """The counter of a block, when its two ends fit together."""
    if "count" not in values:
        return 0
    count: int = values["count"]
    return count if count ^ MASK == values.get("check") else -1


@dataclass
class Verdict:
    """What became of the answered reads.

    Attributes:
        answered: reads that the PLCs answered well.
        delivered: of these, those that arrived.
        wire: answered within `_ON_THE_WIRE` before the connection ended, and perhaps never read.
        wire_age: seconds from the oldest of these to the end of its connection.
        hand: answered and lost in the memory of a killed process, within what its journal promises.
        hand_age: seconds between the oldest of these and its kill.
        dropped: given up with a counted reason.
        lost: all that is left: there must be none.
        gaps: holes in `seq`, which the receiver can see.
        twice: arrivals of a frame beyond its first.
        disorder: frames behind a later one of their PLC, boot and lane.
        again: frames that were refused, or asked for by hand, and came behind later ones of the replay lane.
        invented: arrivals that no answer stands behind, or that repeat another frame's answer.
        late: seconds from an answer to its arrival, the longest.
    """

    answered: int = 0
    delivered: int = 0
    wire: int = 0
    wire_age: float = 0.0
    hand: int = 0
    hand_age: float = 0.0
    dropped: int = 0
    lost: int = 0
    gaps: int = 0
    twice: int = 0
    disorder: int = 0
    again: int = 0
    invented: int = 0
    late: float = 0.0
    missing: list[tuple[int, int, float]] = field(default_factory=list)

    @property
    def proper(self) -> bool:
        """True when nothing is lost, disordered or invented; `twice` is what "at least once" allows."""
        return not (self.lost or self.disorder or self.invented)


def judge(
    truth: Iterable[Entry],
    arrivals: Sequence[Arrival],
    *,
    kills: Sequence[Kill] = (),
    dropped: int = 0,
    retried: bool = False,
) -> Verdict:
    """Compare.

    Args:
        truth: of the PLCs.
        arrivals: in the order in which they came.
        kills: see there.
        dropped: frames given up with a counted reason.
        retried: frames were refused or asked for again, and nobody waits for those: the replay lane has them later.
    """
    verdict = Verdict(dropped=dropped)
    good, event, over = _answers(truth)
    first: dict[tuple[int, int], Arrival] = {}
    _walk(arrivals, verdict, first, event)
    verdict.gaps = _gaps(arrivals)
    if not retried:
        verdict.disorder, verdict.again = verdict.disorder + verdict.again, 0
    for key, at in good.items():
        if (arrival := first.get(key)) is not None:
            verdict.delivered += 1
            verdict.late = max(verdict.late, arrival.at - at)
        elif over.get(key, math.inf) - at <= _ON_THE_WIRE:
            verdict.wire += 1
            verdict.wire_age = max(verdict.wire_age, over[key] - at)
        elif ages := [kill.at - at for kill in kills if 0 <= kill.at - at <= kill.window]:
            verdict.hand += 1
            verdict.hand_age = max(verdict.hand_age, min(ages))
        else:
            verdict.missing.append((*key, at))
    verdict.answered = len(good)
    verdict.lost = max(0, len(verdict.missing) - dropped)
    return verdict


def _answers(
    truth: Iterable[Entry],
) -> tuple[dict[tuple[int, int], float], dict[tuple[int, int], Event], dict[tuple[int, int], float]]:
    """When each good answer was given, what each answer was, and when the connection ended of which it was the last."""
    good: dict[tuple[int, int], float] = {}
    event: dict[tuple[int, int], Event] = {}
    over: dict[tuple[int, int], float] = {}
    for entry in truth:
        key = (entry.plc, entry.count)
        if entry.event is Event.LAST:
            over[key] = entry.at
            continue
        event[key] = entry.event
        if entry.event is Event.ANSWERED:
            good[key] = entry.at
    return good, event, over


def _walk(
    arrivals: Sequence[Arrival],
    verdict: Verdict,
    first: dict[tuple[int, int], Arrival],
    event: Mapping[tuple[int, int], Event],
) -> None:
    """Look at each arrival once, in order."""
    seen: set[tuple[int, str, int]] = set()
    latest: dict[tuple[int, str, bool], tuple[int, int]] = {}
    for arrival in arrivals:
        name = (arrival.plc, arrival.boot, arrival.seq)
        if name in seen:
            verdict.twice += 1
            continue
        seen.add(name)
        lane = (arrival.plc, arrival.boot, arrival.replayed)
        seq, count = latest.get(lane, (-1, 0))
        behind = arrival.seq < seq or 0 < arrival.count < count
        verdict.again += behind and arrival.replayed
        verdict.disorder += behind and not arrival.replayed
        latest[lane] = (max(seq, arrival.seq), max(count, arrival.count))
        if arrival.count:
            key = (arrival.plc, arrival.count)
            verdict.invented += key in first or event.get(key, Event.SPOILED) is Event.SPOILED
            first.setdefault(key, arrival)


def _gaps(arrivals: Iterable[Arrival]) -> int:
    numbers: dict[tuple[int, str], set[int]] = defaultdict(set)
    for arrival in arrivals:
        numbers[arrival.plc, arrival.boot].add(arrival.seq)
    return sum(max(found) + 1 - len(found) for found in numbers.values())


def recovery(truth: Iterable[Entry], arrivals: Sequence[Arrival], healed: Sequence[float]) -> float:
    """Seconds after a fault's end until all that was answered before had arrived and new frames came; the longest."""
    good = _answers(truth)[0]
    longest = 0.0
    for index, heal in enumerate(healed):
        until = healed[index + 1] if index + 1 < len(healed) else float("inf")
        here = [arrival for arrival in arrivals if heal < arrival.at < until and arrival.count > 0]
        fresh = [arrival.at for arrival in here if good.get((arrival.plc, arrival.count), 0.0) > heal]
        old = [arrival.at for arrival in here if good.get((arrival.plc, arrival.count), heal) < heal]
        if fresh:
            longest = max(longest, min(fresh) - heal, max(old, default=heal) - heal)
    return longest
