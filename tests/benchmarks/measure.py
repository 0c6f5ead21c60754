"""What a process costs, as the kernel tells in `/proc`: CPU time, memory, bytes written; its children included."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

import psutil

__all__ = ["Usage", "Watch", "alone", "percentile"]


@dataclass(frozen=True)
class Usage:
    """What was used between two moments.

    Attributes:
        seconds: between them.
        cpu: seconds of user and system time.
        memory: resident bytes at the end.
        own: of them, without files mapped into memory, as the journal's are.
        written: bytes handed to the disk.
    """

    seconds: float
    cpu: float
    memory: int
    own: int
    written: int

    @property
    def share(self) -> float:
        """Percent of one core."""
        return 100 * self.cpu / self.seconds


class Watch:
    """Watches a process from now on."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._begin = time.monotonic()
        self._cpu, _, _, self._written = self._read()

    def _read(self) -> tuple[float, int, int, int]:
        cpu, memory, own, written = 0.0, 0, 0, 0
        for process in (self._process, *self._process.children(recursive=True)):
            with process.oneshot():
                times = process.cpu_times()
                cpu += times.user + times.system
                if process is self._process:
                    cpu += times.children_user + times.children_system
                resident = process.memory_info()
                memory += resident.rss
                own += resident.rss - resident.shared
                written += process.io_counters().write_bytes
        return cpu, memory, own, written

    def read(self) -> Usage:
        """What it has used since."""
        cpu, memory, own, written = self._read()
        return Usage(time.monotonic() - self._begin, cpu - self._cpu, memory, own, written - self._written)


@contextmanager
def alone(pid: int) -> Iterator[None]:
    """A core of its own for a child of this process, the others for this one and all its other children."""
    before = os.sched_getaffinity(0)
    *others, its = sorted(before)
    everybody = [psutil.Process(), *psutil.Process().children(recursive=True)]

    def give(process: psutil.Process, cores: set[int]) -> None:
        for thread in process.threads():
            os.sched_setaffinity(thread.id, cores)

    for process in everybody if others else ():
        give(process, {its} if process.pid == pid else set(others))
    try:
        yield
    finally:
        for process in everybody:
            if process.is_running():
                give(process, before)


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that so many percent of the values don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]
