"""Options and fixtures of the proof of delivery."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.delivery import report
from tests.scenarios.delivery.plant import Plant
from tests.scenarios.delivery.report import Row

_ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--full`: as often and as long as the figures are published; `--record`: publish them."""
    parser.addoption("--full", action="store_true", help="as often and as long as the published figures")
    parser.addoption("--record", action="store_true", help="write what was measured into tests/scenarios/RESULTS.md")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Publish."""
    rows = session.config.stash.get(_ROWS, [])
    if rows and session.config.getoption("--record", default=False):
        report.put(rows)


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether this is the long run."""
    return bool(request.config.getoption("--full", default=False))


@pytest.fixture
def row(request: pytest.FixtureRequest, full: bool) -> Callable[..., Row]:
    """Make a row by `row(group, title, …)`; it is published whatever becomes of the test."""

    def make(group: int, title: str, **fields: Any) -> Row:
        name = request.node.name.removeprefix("test_")
        made = Row(group, name, title, full=full, **fields)
        request.config.stash.setdefault(_ROWS, []).append(made)
        return made

    return make


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Callable[..., Plant]]:
    """Start plants by `plant(journal={…}, …)`; they end with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Plant(tmp_path, **options))


@pytest.fixture
def conclude(row: Callable[..., Row]) -> Callable[..., Row]:
    """End a scenario by `conclude(plant, group, title, …)`: finish, judge, publish, insist that nothing was lost.

    `retried`: see `judge`; `taken`: see `Plant.blame_broker`.
    """

    def end(
        plant: Plant, group: int, title: str, *, retried: bool = False, taken: Iterable[bytes] = (), **fields: Any
    ) -> Row:
        plant.finish()
        plant.blame_broker(taken)
        made = row(group, title, **fields)
        verdict = plant.verdict(retried=retried)
        made.take(verdict)
        made.dropped, made.recovered, made.rate = plant.dropped, plant.recovered(), plant.rate()
        assert verdict.proper, f"{verdict}\n{plant.line.log[-3000:]}"
        return made

    return end
