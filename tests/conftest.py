"""What all tests share: hypothesis profiles, parts of the system that may be missing, and fixtures that start them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

from tests.parts.native_plc import NativePlc
from tests.parts.needs import IN_CI, PARTS, missing
from tests.parts.plc import StrictPlc, plc_thread
from tests.parts.waiting import free_port

settings.register_profile("ci", derandomize=True, max_examples=200, deadline=None)
settings.register_profile("dev", max_examples=100, deadline=None)
settings.load_profile("ci" if IN_CI else "dev")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing before the first test, since time limits know nothing of compilers."""
    if not session.config.option.collectonly:
        for item in session.items:
            for mark in item.iter_markers("real"):
                for part in mark.args:
                    PARTS[part][0]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`@pytest.mark.real("mosquitto", …)`: skip where a part is missing, fail in CI."""
    for mark in item.iter_markers("real"):
        for part in mark.args:
            probe, how = PARTS[part]
            if why := probe():
                missing(why, how)


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """What a command that runs in this process sets for its log is over with its test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def native_plc() -> Iterator[Callable[..., NativePlc]]:
    """Start C++ S7 servers by `native_plc({1: bytes(14)}, …)`; they end with the test."""
    probe, how = PARTS["native_plc"]
    if why := probe():
        missing(why, how)
    with ExitStack() as stack:
        yield lambda blocks, **options: stack.enter_context(NativePlc(blocks, **options))


@pytest.fixture
def strict_plc() -> Iterator[Callable[..., StrictPlc]]:
    """Start PLCs that enforce PDU and jobs by `strict_plc({1: bytearray(14)}, pdu=112)`, each on its own thread."""

    def start(blocks: Mapping[int, bytearray], **options: Any) -> StrictPlc:
        return stack.enter_context(plc_thread(StrictPlc(dict(blocks), **options)))

    with ExitStack() as stack:
        yield start


@pytest.fixture
def port() -> int:
    """A free TCP port on loopback."""
    return free_port()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder for journals, empty."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder
