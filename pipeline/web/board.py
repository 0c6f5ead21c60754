"""The blocks as an open page follows them: in a fixed order, judged anew at most a few times a second.

Nothing here runs by itself: streams ask for it, so a graph nobody looks at costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipeline.frame import Frame, Origin
from pipeline.web.history import History
from pipeline.web.view import Running, in_order, is_stale, labels_of, periods, reader_of

__all__ = ["Board", "Place", "State", "title"]

State = tuple[str, str] | tuple[str, str, int]
"""How a block does, what to do about it, and of a `bad` one how many values can't be read."""

_AGAIN = 0.2
_PERIODS_EVERY = 10.0
_FOLLOWS = 2.0
_FRESH: State = ("fresh", "")
_STALE: State = ("stale", "")


class Place:
    """One block's place on the page.

    Attributes:
        number: its place in the order, from 0.
        key: its name in addresses, such as `acme/press1/DB1`; the same after a restart.
        origin: the block.
        frame: its newest data frame; None before the first.
        state: `fresh`, `bad` (some values can't be read), `stale`, `failing`, with what to do.
    """

    __slots__ = ("_counted", "_fullest", "_names", "_period", "frame", "key", "number", "origin", "state")

    def __init__(self, number: int, key: str, origin: Origin) -> None:
        self.number = number
        self.key = key
        self.origin = origin
        self.frame: Frame | None = None
        self.state = _FRESH
        self._names: dict[str, None] = {}
        self._counted = (-1, -1)
        self._fullest = 0
        self._period = math.nan

    def judge(self, age: float, frame: Frame | None, failure: Frame | None, advice: str) -> None:
        """See how it does now; `advice` is what its source says of its trouble."""
        self.frame = frame
        if failure is not None:
            self.state = ("failing", advice or failure.error or "")
        elif frame is not None and is_stale(age, self._period):
            self.state = _STALE
        elif frame is not None and frame.bad:
            # What a PLC's source says of one of its blocks begins with the block's name.
            self.state = ("bad", advice if f"{self.origin.measurement}:" in advice else "", len(frame.bad))
        else:
            self.state = _FRESH

    def expect(self, period: float) -> None:
        """Learn how often it is read, seconds."""
        self._period = period

    def names(self) -> dict[str, None]:
        """Its values in the order of its fullest frame, also those that are bad."""
        frame = self.frame
        if frame is not None and (counted := (len(frame.values), len(frame.bad or ()))) != self._counted:
            self._counted = counted
            came = dict.fromkeys((*frame.values, *(frame.bad or ())))
            self._names = {**came, **self._names} if counted[0] > self._fullest else {**self._names, **came}
            self._fullest = max(self._fullest, counted[0])
        return self._names

    def described(self) -> dict[str, object]:
        """What does not change."""
        origin = self.origin
        facts = ["" if origin.db is None else f"DB{origin.db}", origin.measurement, origin.ip]
        facts += [f"{key}={value}" for key, value in origin.tags.items()]
        return {"k": self.key, "n": title(origin), "s": " · ".join(filter(None, facts)), "b": facts[0] or facts[1]}


class Board:
    """All places.

    Attributes:
        version: grows when the places change.
        places: in the order of the page.
        shortest: seconds between two reads of the block that is read most often.
    """

    def __init__(self, running: Running, history: History) -> None:
        self.version = 0
        self.places: list[Place] = []
        self.shortest = math.inf
        self._running = running
        self._history = history
        self._known: set[Origin] = set()
        self._judged = -math.inf
        self._asked = -math.inf

    def find(self, key: str) -> Place | None:
        """The place of this name."""
        return next((place for place in self.places if place.key == key), None)

    def refresh(self) -> None:
        """Judge all places by what is known now; not twice within a moment, however many pages are open."""
        running = self._running
        moment = running.clock.monotonic()
        if moment - self._judged < _AGAIN:
            return
        follows = moment - self._judged < _FOLLOWS
        self._judged = moment
        latest, failures = running.latest, running.failures
        if not (latest.keys() <= self._known and failures.keys() <= self._known):
            self._arrange({**latest, **failures})
        if moment - self._asked >= _PERIODS_EVERY:
            self._asked = moment
            every = periods(running)
            self.shortest = math.inf
            for place in self.places:
                period = every(labels_of(place.origin))
                place.expect(period)
                self.shortest = min(self.shortest, period)
        for place in self.places:
            frame = latest.get(place.origin)
            if follows and frame is not place.frame and not (place.origin in failures or (frame and frame.bad)):
                # Without a look into the frame: of a hundred PLCs that is most of what a look costs.
                place.frame, place.state = frame, _FRESH
            else:
                reader = reader_of(running, place.origin)
                place.judge(
                    self._history.age(frame) if frame else 0.0,
                    frame,
                    failures.get(place.origin),
                    reader.reason if reader else "",
                )

    def _arrange(self, origins: Mapping[Origin, Frame]) -> None:
        self.version += 1
        self._known = set(origins)
        self._asked = -math.inf
        self.places = []
        taken: dict[str, int] = {}
        for number, origin in enumerate(in_order(origins)):
            key = "/".join(filter(None, (title(origin), f"DB{origin.db}" if origin.db is not None else "")))
            if origin.db is None and origin.measurement != key:
                key += f"/{origin.measurement}"
            taken[key] = taken.get(key, 0) + 1
            self.places.append(Place(number, key if taken[key] == 1 else f"{key}~{taken[key]}", origin))


def title(origin: Origin) -> str:
    """What a block's device is called; without PLC and address by what its messages carry: `device=press1`."""
    device = origin.plc_id or origin.ip or " ".join(origin.tags.values())
    return "/".join(filter(None, (origin.tenant_id, device))) or origin.measurement
