"""Makes a test of a recording: the answers of its PLCs must give the same frames again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline import log
from pipeline.config.interpolate import escape

__all__ = ["Asked", "write_test"]


class Asked(Mapping[str, str]):
    """An environment that remembers what was asked of it.

    Attributes:
        found: the variables that a graph has asked for and that are set.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.found: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        value = self._environ[name]
        if value:
            self.found[name] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


def write_test(path: Path, environment: Mapping[str, str], recording: str, frames: str) -> None:
    """Write the test file of a graph that was recorded. Secrets are not in it.

    Args:
        path: where: `graph.test.yaml` beside `graph.yaml`.
        environment: the variables that the graph has asked for.
        recording: file name of the answers, beside it.
        frames: file name of the frames that must come of them, beside it.

    Raises:
        OSError: it can't be written.
    """
    shown = {name: "secret" if _is_secret(name, value) else value for name, value in sorted(environment.items())}
    lines = [
        f"# Recorded: these answers must give these frames. Run it: python -m pipeline test {path.parent}",
        "# Say below `expect` what else must come of them: published, metrics, states.",
        "",
        *(["environment:"] if shown else []),
        *(f"  {name}: {json.dumps(escape(value), ensure_ascii=False)}" for name, value in shown.items()),
        *([""] if shown else []),
        "cases:",
        "  as recorded:",
        f"    recording: {json.dumps(recording)}",
        "    expect:",
        f"      same_as: {json.dumps(frames)}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _is_secret(name: str, value: str) -> bool:
    """Whether the log would hide it, by its name or since an option that is a secret holds it."""
    masked = log.mask(None, "", {name: value})[name]
    return bool(value) and masked != value
