"""What benchmarks give: rows of figures with their marks, and the JSON file that keeps them."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["COMMITTED", "Figure", "Results", "Row", "Run", "Spread", "digest", "load", "save", "this_run"]

COMMITTED = Path(__file__).with_name("results.json")
_PACKAGES = ("gmqtt", "lmdb", "msgspec", "python-snap7", "reactivex", "uvloop")


class Spread(msgspec.Struct, frozen=True):
    """A median with the smallest and largest of its rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Of at least one value."""
        ordered = sorted(values)
        middle = len(ordered) // 2
        median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
        return cls(median, ordered[0], ordered[-1])


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measured value.

    Attributes:
        what: a key of `words.FIGURES`.
        value: the median of the rounds.
        unit: "x", "us", "ms", "%", "MB", "/s" or "".
        reach: the mark, None where the value is only shown.
        beyond: the farther mark.
        at_least: marks are lower bounds; upper ones otherwise.
    """

    what: str
    value: Spread
    unit: str = ""
    reach: float | None = None
    beyond: float | None = None
    at_least: bool = False

    def meets(self, mark: float | None) -> bool:
        """Whether the median is on the right side of a mark."""
        return mark is not None and (self.value.median >= mark if self.at_least else self.value.median <= mark)


class Run(msgspec.Struct, frozen=True):
    """Where and when something was measured."""

    commit: str
    when: str
    machine: str
    versions: dict[str, str]
    quick: bool


class Row(msgspec.Struct, frozen=True):
    """One benchmark.

    Attributes:
        name: of the benchmark.
        figures: the first ones are the result, the others explain it.
        rounds: how often each side was measured.
        void: why the row doesn't count; empty when it does.
        detail: everything else, for whoever wants to look: per round, per size.
        run: where and when.
    """

    name: str
    figures: list[Figure]
    rounds: int = 1
    void: str = ""
    detail: dict[str, Any] = {}
    run: Run | None = None


class Results(msgspec.Struct):
    """All rows, each the latest of its name."""

    rows: list[Row] = []

    def put(self, row: Row) -> None:
        """Add a row, or replace the one of its name."""
        names = [each.name for each in self.rows]
        if row.name in names:
            self.rows[names.index(row.name)] = row
        else:
            self.rows.append(row)


def load(file: Path) -> Results:
    """The rows in a file; none when there is no file."""
    return msgspec.json.decode(file.read_bytes(), type=Results) if file.exists() else Results()


def save(results: Results, file: Path) -> None:
    """Write the file, with sorted keys, so that a difference shows what has changed."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(results, order="sorted"), indent=1) + b"\n")


def digest(rows: list[Row]) -> str:
    """A name for these rows: another one when any figure in them changes."""
    return hashlib.sha256(msgspec.json.encode(rows, order="sorted")).hexdigest()[:16]


def this_run(*, quick: bool) -> Run:
    """Commit (with + when files are changed), time, machine and versions."""
    root = Path(__file__).parents[2]

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    commit = (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if git("status", "--porcelain") else "")
    versions = {name: version(name) for name in _PACKAGES}
    versions |= {"Python": platform.python_version(), "Mosquitto": _mosquitto(), "Telegraf": "1.39.0"}
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return Run(commit, when, _machine(), versions, quick)


def _machine() -> str:
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} x {model}, {platform.system()} {platform.release().partition('-')[0]}"


def _mosquitto() -> str:
    done = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0].removeprefix("mosquitto version ").strip()
