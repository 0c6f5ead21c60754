"""What the charts show: the latest hours of every number, as samples in bounded memory, also while nobody looks.

Once a second the newest frame of each block is looked at; what it holds becomes one packed row of a few bytes a value.
The path of the frames is not touched. Graphs of more than four thousand values are sampled by turns: of twenty thousand
each has one sample in five seconds. Memory holds a shift of eight hours where that fits; else the latest part of it is
as dense as sampled, and the rest is thinned out.
"""

from __future__ import annotations

import contextlib
import math
import struct
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from pipeline.frame import Frame, Origin, Scalar
from pipeline.web.view import Running

__all__ = ["MEMORY", "SPAN", "History"]

SPAN = 8 * 3600.0
"""Seconds that are remembered."""
MEMORY = 48 * 2**20
"""Bytes that all rows may take."""

_VALUES_A_SECOND = 4000
_LAYOUTS = 64  # of one block whose names change; what comes later is not remembered
_HEAD = struct.Struct("<Hd")
_ROW = 48  # bytes that a row takes beside its content
_ABSENT = {"b": -1, "f": math.nan, "d": math.nan}


class _Layout:
    """How one block's rows are packed: number of the layout, time, then each value as bool, float or double."""

    def __init__(self, number: int, codes: Mapping[str, str], count: int) -> None:
        self.number = number
        self.codes = dict(codes)
        self.count = count
        packing = struct.Struct("<Hd" + "".join(self.codes.values()))
        self.pack = packing.pack
        self.size = packing.size
        self.readers: dict[str, tuple[struct.Struct, int]] = {}
        offset = _HEAD.size
        for name, code in self.codes.items():
            self.readers[name] = (struct.Struct("<" + code), offset)
            offset += self.readers[name][0].size
        self.pick = _picker(tuple(self.codes))
        floats = tuple(name for name, code in self.codes.items() if code == "f")
        self._floats = struct.Struct(f"<{len(floats)}f")
        self._pick_floats = _picker(floats)

    def holds(self, values: Mapping[str, Scalar]) -> bool:
        """Whether floats have all digits of the values that are packed so."""
        picked = self._pick_floats(values)
        return self._floats.unpack(self._floats.pack(*picked)) == picked


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, Scalar]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple(values[name] for name in names)


class _Ring:
    """The rows of one block: the latest as sampled, older ones thinned out."""

    def __init__(self) -> None:
        self.last: Frame | None = None
        self.seen = 0.0
        self.layouts = [_Layout(0, {}, 0)]
        self.fine: deque[bytes] = deque(maxlen=1)
        self.coarse: deque[bytes] = deque(maxlen=0)
        self._step = 0.0
        self._next = -math.inf

    @property
    def cost(self) -> int:
        """Bytes of one row."""
        return self.layouts[-1].size + _ROW

    def limit(self, fine: int, coarse: int, step: float) -> None:
        """Keep so many rows; what no longer fits is thinned out, not lost."""
        self._step = step
        rows = self.rows()
        self.fine = deque(rows, maxlen=fine)
        self.coarse = deque(maxlen=coarse)
        self._next = -math.inf
        for row in rows if coarse else ():
            self._thin(row)

    def take(self, frame: Frame) -> None:
        """Remember a frame."""
        self.last = frame
        layout = self.layouts[-1]
        values = frame.values
        row = None
        if len(values) == layout.count:
            with contextlib.suppress(KeyError, struct.error, OverflowError):
                row = layout.pack(layout.number, frame.ts, *layout.pick(values)) if layout.holds(values) else None
        if row is None:
            row = self._unlike(frame)
        self._put(row)
        if self._step:
            self._thin(row)

    def _put(self, row: bytes) -> None:
        """In its place: messages may overtake one another."""
        fine = self.fine
        if not fine or _time(fine[-1]) <= _time(row):
            fine.append(row)
        elif at := bisect_right(fine, _time(row), key=_time):
            if len(fine) == fine.maxlen:
                fine.popleft()
                at -= 1
            fine.insert(at, row)
        elif len(fine) != fine.maxlen:
            fine.appendleft(row)

    def _thin(self, row: bytes) -> None:
        ts = _time(row)
        if ts >= self._next:
            self.coarse.append(row)
            self._next = ts + self._step

    def forget(self, now: float) -> None:
        """What is later than now is of a clock that was ahead."""
        for rows in (self.fine, self.coarse):
            while rows and _time(rows[-1]) > now:
                rows.pop()
        self._next = -math.inf

    def _unlike(self, frame: Frame) -> bytes:
        """Pack a frame that is not like those before: values are absent, new, or of another type."""
        layout = self.layouts[-1]
        codes = dict(layout.codes)
        for name, value in frame.values.items():
            if (code := _code(value)) and not _fits(value, codes.get(name), exactly=True):
                codes[name] = code if name not in codes else "d"
        if len(self.layouts) == _LAYOUTS // 2:  # one after another has turned out to be more than a REAL
            codes = {name: "d" if code == "f" else code for name, code in codes.items()}
        if codes != layout.codes and len(self.layouts) < _LAYOUTS:
            layout = _Layout(len(self.layouts), codes, len(frame.values))
            self.layouts.append(layout)
        found = [
            value if _fits(value := frame.values.get(name, ""), code) else _ABSENT[code]
            for name, code in layout.codes.items()
        ]
        return layout.pack(layout.number, frame.ts, *found)

    def rows(self) -> list[bytes]:
        """All rows, oldest first."""
        fine = list(self.fine)
        if not fine:
            return list(self.coarse)
        begin = _time(fine[0])
        return [row for row in self.coarse if _time(row) < begin] + fine

    def read(self, row: bytes, name: str) -> float | None:
        """One value; None where it is absent."""
        layout = self.layouts[_HEAD.unpack_from(row)[0]]
        reader = layout.readers.get(name)
        if reader is None:
            return None
        value: float = reader[0].unpack_from(row, reader[1])[0]
        return None if not math.isfinite(value) or (value == -1 and layout.codes[name] == "b") else value


class History:
    """The samples of all blocks of a running graph.

    Attributes:
        period: seconds between two samples of one block.
        dense: seconds for which all samples are kept; older ones are thinned out.
    """

    def __init__(self, running: Running, *, memory: int = MEMORY, span: float = SPAN) -> None:
        """Prepare; `sample` is to be called once a second.

        Args:
            running: whose newest frames are looked at.
            memory: bytes that all rows may take.
            span: seconds that are remembered.
        """
        self.period = 1
        self.dense = span
        self._running = running
        self._memory = memory
        self._span = span
        self._turn = 0
        self._wall = -math.inf
        self._rings: dict[Origin, _Ring] = {}

    def sample(self, _: int = 0) -> None:
        """Look at the newest frames of those blocks whose turn it is."""
        self._turn += 1
        wall, self._wall = self._wall, self._running.clock.wall()
        if self._wall < wall:
            for each in self._rings.values():
                each.forget(self._wall)
        rings, turn, period = self._rings, self._turn, self.period
        before, moment = len(rings), self._running.clock.monotonic()
        for number, (origin, frame) in enumerate(self._running.latest.items()):
            if (number + turn) % period:
                continue
            ring = rings.get(origin)
            if ring is None:
                ring = rings[origin] = _Ring()
            if ring.last is not frame:
                layouts = len(ring.layouts)
                ring.take(frame)
                ring.seen = moment
                before -= layouts != len(ring.layouts)
        if before != len(rings):
            self._plan()

    def _plan(self) -> None:
        """Share the memory: as many rows for each block, whatever their size."""
        values = sum(len(ring.layouts[-1].codes) for ring in self._rings.values())
        self.period = max(1, math.ceil(values / _VALUES_A_SECOND))
        cost = sum(ring.cost for ring in self._rings.values())
        wanted = int(self._span / self.period)
        rows = min(wanted, max(2, self._memory // max(1, cost)))
        coarse = 0 if rows == wanted else rows // 2
        self.dense = (rows - coarse) * self.period
        for ring in self._rings.values():
            ring.limit(rows - coarse, coarse, self._span / coarse if coarse else 0.0)

    def age(self, frame: Frame) -> float:
        """Seconds since the time of a block's newest frame; where that is still to come, since it was seen here."""
        age = self._running.clock.wall() - frame.ts
        ring = self._rings.get(frame.origin) if age < 0 else None
        return self._running.clock.monotonic() - ring.seen if ring and ring.last is frame else max(0.0, age)

    def names(self, origin: Origin) -> list[str]:
        """The numbers of a block that are remembered."""
        ring = self._rings.get(origin)
        return list(ring.layouts[-1].codes) if ring else []

    def samples(
        self, origin: Origin, name: str, since: float = -math.inf, until: float = math.inf, latest: int = 0
    ) -> Iterator[tuple[float, float | None]]:
        """The samples of one number: time and value, oldest first.

        Args:
            origin: the block.
            name: the number's name.
            since: seconds since 1970; later samples only.
            until: seconds since 1970; earlier ones only.
            latest: so many of the newest; 0 for all.
        """
        ring = self._rings.get(origin)
        if ring is None or name not in ring.layouts[-1].codes:
            return
        rows = [ring.fine[index] for index in range(-min(latest, len(ring.fine)), 0)] if latest else ring.rows()
        for index in range(bisect_left(rows, math.nextafter(since, math.inf), key=_time), len(rows)):
            ts = _time(rows[index])
            if ts >= until:
                break
            yield ts, ring.read(rows[index], name)


def _time(row: bytes) -> float:
    ts: float = _HEAD.unpack_from(row)[1]
    return ts


def _code(value: Scalar) -> str:
    """How a value is packed: a REAL fits a float, counters need all their digits; "" for text."""
    if isinstance(value, bool):
        return "b"
    if isinstance(value, str):
        return ""
    return "f" if isinstance(value, float) and _fits(value, "f", exactly=True) else "d"


def _fits(value: Scalar, code: str | None, *, exactly: bool = False) -> bool:
    if code is None or isinstance(value, str):
        return False
    try:
        packed = struct.pack("<" + code, value)
    except (struct.error, OverflowError):
        return False
    return not exactly or code != "f" or math.isnan(value) or bool(struct.unpack("<f", packed)[0] == value)
