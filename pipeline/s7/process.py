"""What happens in a simulated PLC: processes that move the values of a block, the same way each time for one seed."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from enum import StrEnum
from random import Random

from pipeline.frame import Scalar
from pipeline.s7.decode import Leaf
from pipeline.s7.encode import write

__all__ = ["Machine", "Process", "animate"]

Step = Callable[[float], None]
"""Let that many seconds pass; the block is changed in place."""

_LOUD = 7.1
"""mm/s: vibration at which ISO 10816-1 calls a small machine (class II) unacceptable; there it stops."""
_INSTANCE = re.compile(r".*?_\d+_")


class Process(StrEnum):
    """What moves a block's values."""

    MACHINE = "machine"
    COUNTER = "counter"
    NONE = "none"


class Machine:
    """A machine that makes parts: it runs and pauses, its load wanders, and now and then a bearing goes bad.

    Attributes:
        on: it runs.
        good: good parts made.
        bad: parts of the scrap.
        last_good: the last part was a good one.
        fresh: the last part was made within half a stroke.
        current: A.
        vibration: mm/s.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._stroke = random.uniform(1.5, 2.5)
        self._phase = 0.5
        self._left = random.uniform(40, 120)
        self._load = 0.7
        self._wear = 0.0
        self.on = True
        self.good = self.bad = 0
        self.last_good = True
        self.current, self.vibration = 0.0, 0.2

    @property
    def fresh(self) -> bool:
        """Long enough to be seen by who looks once a second."""
        return self.on and self._phase < 0.5  # noqa: PLR2004 - half a stroke

    def step(self, seconds: float) -> None:
        """Let time pass."""
        random = self._random
        self._left -= seconds
        if self._left <= 0:
            self.on = not self.on
            self._left = random.uniform(40, 120) if self.on else random.uniform(8, 20)
        self._load = _wander(random, self._load, 0.7, 0.05, seconds)
        self._vibrate(seconds)
        if self.on:
            self._work(seconds)
        stroke = 1.3 if self.fresh else 1.0
        self.current = 4 + 12 * max(self._load, 0.1) * stroke + random.gauss(0, 0.15) if self.on else 0.0

    def _vibrate(self, seconds: float) -> None:
        """A heavy frame follows what shakes it within some seconds; too much stops the machine for repair."""
        target = 1.5 + self._load + 6 * self._wear if self.on else 0.2
        swing = self._random.gauss(0, 0.05)
        self.vibration = max(0.0, self.vibration + (target - self.vibration) * min(1.0, seconds) + swing)
        if self.on and self.vibration > _LOUD:
            self.on, self._wear, self._left = False, 0.0, self._random.uniform(10, 20)

    def _work(self, seconds: float) -> None:
        if self._wear:
            self._wear += seconds / 25
        elif self._random.random() < seconds / 90:
            self._wear = 0.01
        self._phase += seconds / self._stroke
        while self._phase >= 1:
            self._phase -= 1
            self.last_good = self._random.random() > 0.02 + 0.5 * self._wear
            self.good += self.last_good
            self.bad += not self.last_good


_Reading = Callable[[Machine], bool | int | float]
_BITS: tuple[tuple[str, _Reading], ...] = (
    ("ligad|status|running", lambda machine: machine.on),
    ("boa|bom|good", lambda machine: machine.fresh and machine.last_good),
    ("ruim|bad|scrap", lambda machine: machine.fresh and not machine.last_good),
)
_COUNTS: tuple[tuple[str, _Reading], ...] = (
    ("ruim|bad|scrap", lambda machine: machine.bad),
    ("boa|bom|good", lambda machine: machine.good),
    ("", lambda machine: machine.good + machine.bad),
)
_REALS: tuple[tuple[str, _Reading], ...] = (
    ("corrente|current", lambda machine: machine.current),
    ("vibra", lambda machine: machine.vibration),
)


def animate(process: Process, leaves: Sequence[Leaf], block: bytearray, random: Random) -> Step:
    """Make the function that lets a process act on a block.

    Args:
        process: `machine` reads from each field's name and type what it may mean, and gives each element of an array
            of records a machine of its own: counters count parts, bits pulse or tell that it runs, REALs follow current
            or vibration, or wander. `counter` adds 1 to every integer at each step. `none` leaves all as it is.
        leaves: the block's fields.
        block: its memory; what stands there is where counters go on from.
        random: all chance comes from here.
    """
    if process is Process.NONE:
        return lambda _: None
    if process is Process.COUNTER:
        return _counter(leaves, block)
    machines: dict[str, Machine] = {}
    sources: list[tuple[Leaf, Callable[[float], Scalar]]] = []
    for leaf in leaves:
        instance = match[0] if (match := _INSTANCE.match(leaf.name)) else ""
        machine = machines.setdefault(instance, Machine(random))
        source = _source(leaf, leaf.name[len(instance) :].lower(), machine, block, random)
        if source is not None:
            sources.append((leaf, source))

    def step(seconds: float) -> None:
        for machine in machines.values():
            machine.step(seconds)
        for leaf, source in sources:
            write(leaf, block, source(seconds))

    return step


def _source(
    leaf: Leaf, name: str, machine: Machine, block: bytearray, random: Random
) -> Callable[[float], Scalar] | None:
    """What a field shows; None for texts, dates, BCD and enums, which stay as they are."""
    if leaf.enum or leaf.type.convert is not None:
        return None
    if leaf.type.is_bit:
        shown = _find(_BITS, name)
        return (lambda _: bool(shown(machine))) if shown else _toggle(random)
    if leaf.type.is_integer:
        counted = _find(_COUNTS, name) or _COUNTS[-1][1]
        continued = _count(leaf, block)
        return lambda _: continued(int(counted(machine)))
    if leaf.type.is_number:
        measured = _find(_REALS, name)
        return (lambda _: float(measured(machine))) if measured else _drift(random)
    return None


def _find(table: tuple[tuple[str, _Reading], ...], name: str) -> _Reading | None:
    return next((reading for words, reading in table if re.search(words, name)), None)


def _counter(leaves: Sequence[Leaf], block: bytearray) -> Step:
    counts = [
        (leaf, _count(leaf, block))
        for leaf in leaves
        if leaf.type.is_integer and not leaf.enum and leaf.type.convert is None
    ]
    total = 0

    def step(_: float) -> None:
        nonlocal total
        total += 1
        for leaf, value in counts:
            write(leaf, block, value(total))

    return step


def _count(leaf: Leaf, block: bytearray) -> Callable[[int], Scalar]:
    """From a number of events to the field's value: on from what stands there, and after the type's largest from 0."""
    first = struct.unpack_from(f">{leaf.type.code}", block, leaf.byte)[0]
    limit = 1 << (8 * leaf.type.size - leaf.type.code.islower())

    def value(events: int) -> Scalar:
        scaled = (first + events) % limit * leaf.scale + leaf.offset
        return str(int(scaled)) if leaf.text else scaled

    return value


def _toggle(random: Random) -> Callable[[float], Scalar]:
    on, left = False, random.uniform(2, 20)

    def value(seconds: float) -> Scalar:
        nonlocal on, left
        left -= seconds
        if left <= 0:
            on, left = not on, random.uniform(2, 20)
        return on

    return value


def _drift(random: Random) -> Callable[[float], Scalar]:
    middle = current = random.uniform(20, 80)

    def value(seconds: float) -> Scalar:
        nonlocal current
        current = _wander(random, current, middle, 2.0, seconds)
        return current

    return value


def _wander(random: Random, value: float, middle: float, spread: float, seconds: float) -> float:
    """A random walk that is drawn back to the middle within about ten seconds (Ornstein-Uhlenbeck)."""
    pull = min(1.0, seconds / 10)
    return value + (middle - value) * pull + random.gauss(0, spread) * math.sqrt(pull)
