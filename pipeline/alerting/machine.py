"""Decides what is worth telling: ok, pending, firing, resolved, for each series by itself. It has no clock of its own.

Only what fires, is about to, or has fired within the cooldown takes memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from pipeline.frame import Scalar

__all__ = ["Machine", "Notice", "Rules", "Saved", "Status", "text_of"]


class Status(StrEnum):
    """What a notice says."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell.

    Attributes:
        status: firing, also when that is told again, or resolved.
        labels: what tells the series apart.
        value: the level that fires, as text; of a resolved one the level that it has now.
        values: the frame's values at that moment.
        since: seconds since 1970 when it began to fire, by the frame's time.
        until: when it ended, 0 while it fires.
        at: when this was decided.
    """

    status: Status
    labels: dict[str, str]
    value: str
    values: dict[str, Scalar]
    since: float
    until: float
    at: float

    @property
    def fingerprint(self) -> str:
        """Names the series: 16 hexadecimal digits, the same in all notices of it."""
        return hashlib.sha256(msgspec.json.encode(sorted(self.labels.items()))).hexdigest()[:16]


class _Series(msgspec.Struct):
    """What is known of one series that is not simply well.

    Attributes:
        labels: see `Notice`.
        value: the level now, as text.
        values: the values beside it.
        ts: time of the latest frame.
        fires: the level is one that fires.
        since: frame's time of the first that fired.
        noticed: wall clock when the level now was first seen, without another in between.
        reached: wall clock since when it has been at each firing level or a worse one.
        announced: the level that was told last, "" when nobody was told or the end was told too.
        told: wall clock of the latest notice, 0 without.
    """

    labels: dict[str, str]
    value: str = ""
    values: dict[str, Scalar] = {}
    ts: float = 0.0
    fires: bool = False
    since: float = 0.0
    noticed: float = 0.0
    reached: dict[str, float] = {}
    announced: str = ""
    told: float = 0.0


class Saved(msgspec.Struct):
    """What outlives a restart: the series, and notices that nobody has taken yet."""

    series: list[_Series] = []
    outbox: list[Notice] = []


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When something is told; times in seconds.

    Attributes:
        firing: levels that fire, as texts, the worst last.
        hold: a level must last this long before it is told; of one that goes up and down, the least it has been at.
        cooldown: pause after a notice, of firing or of its end, before the series may fire anew; a worse level than the
            one that was told does not wait for it.
        repeat: what still fires is told again after this; 0: never.
        limit: series at most.
    """

    firing: tuple[str, ...]
    hold: float
    cooldown: float
    repeat: float
    limit: int


class Machine:
    """All series of one sink.

    Attributes:
        version: grows with each change that must outlive a restart.
        full: frames that were passed over since there are too many series.
    """

    def __init__(self, rules: Rules, series: Iterable[_Series] = ()) -> None:
        """Begin where the last run ended.

        Args:
            rules: see there.
            series: what it has saved.
        """
        self.version = 0
        self.full = 0
        self._rules = rules
        self._series = {_key(each.labels): each for each in series}

    @property
    def series(self) -> list[_Series]:
        """What is to be saved."""
        return list(self._series.values())

    @property
    def firing(self) -> int:
        """Series whose firing was told, and not yet their end."""
        return sum(1 for each in self._series.values() if each.announced)

    def see(
        self, labels: Mapping[str, str], value: Scalar, values: Mapping[str, Scalar], ts: float, now: float
    ) -> Iterator[Notice]:
        """A frame says which level a series has.

        Args:
            labels: the series.
            value: its level.
            values: all values of the frame.
            ts: the frame's time.
            now: the wall clock.
        """
        key, text = _key(labels), text_of(value)
        fires = text in self._rules.firing
        series = self._series.get(key)
        if series is None:
            if not fires:
                return
            if len(self._series) >= self._rules.limit:
                self.full += 1
                return
            series = self._series[key] = _Series(labels=dict(labels))
        if ts < series.ts:
            return  # late: what came after it has been judged
        if fires and not series.fires:
            series.since = ts
        if (fires, text) != (series.fires, series.value):
            series.noticed = now
            upto = self._rules.firing[: self._rank(text) + 1]
            series.reached = {level: series.reached.get(level, now) for level in upto}
            self.version += 1
        series.fires, series.value, series.ts, series.values = fires, text, ts, dict(values)
        yield from self._settle(key, series, now)

    def pass_time(self, now: float) -> Iterator[Notice]:
        """What holds, cooldowns and repeats make due by now, wall clock."""
        for key, series in tuple(self._series.items()):
            yield from self._settle(key, series, now)

    def _settle(self, key: str, series: _Series, now: float) -> Iterator[Notice]:
        rules = self._rules
        # A clock that was set back must not silence anybody.
        series.told, series.noticed = min(series.told, now), min(series.noticed, now)
        series.reached = {level: min(since, now) for level, since in series.reached.items()}
        rested = not series.told or now - series.told >= rules.cooldown
        if series.fires:
            level = self._lasting(series, now)
            if level == series.announced:
                due = bool(level and rules.repeat) and now - series.told >= rules.repeat
            else:
                due = rested or (bool(series.announced) and self._rank(level) > self._rank(series.announced))
            if due:
                series.announced, series.told = level, now
                self.version += 1
                yield self._notice(Status.FIRING, level, series, now)
        elif series.announced:
            series.announced, series.told = "", now
            self.version += 1
            yield self._notice(Status.RESOLVED, series.value, series, now)
        elif rested:
            del self._series[key]
            self.version += 1

    def _lasting(self, series: _Series, now: float) -> str:
        """The level that has lasted; until the one now has, the worst it has been at least, or what was told."""
        hold = self._rules.hold
        if now - series.noticed >= hold:
            return series.value
        held = [level for level, since in series.reached.items() if now - since >= hold]
        return max((*held, series.announced), key=self._rank)

    def _rank(self, level: str) -> int:
        """How bad a level is; one that a changed graph does not know any more is the least."""
        return self._rules.firing.index(level) if level in self._rules.firing else -1

    def _notice(self, status: Status, level: str, series: _Series, now: float) -> Notice:
        return Notice(
            status=status,
            labels=series.labels,
            value=level,
            values=series.values,
            since=series.since,
            until=0.0 if status is Status.FIRING else series.ts,
            at=now,
        )


def text_of(value: Scalar) -> str:
    """A level as text: 2 and 2.0 are one, `true` is a boolean."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, int | float) else value


def _key(labels: Mapping[str, str]) -> str:
    return "\0".join(f"{name}\1{value}" for name, value in sorted(labels.items()))
