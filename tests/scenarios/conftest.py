"""Parts of the scenarios: a Mosquitto with TLS and passwords, a C++ PLC that counts, lines as processes."""

import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.parts.line import Line
from tests.parts.mosquitto import Mosquitto, mosquitto
from tests.parts.native_plc import NativePlc

PRESS = struct.pack(">BxffHH", 0b110, 12.5, 2.25, 5000, 40)
"""A press that runs and has just made a good part, as `configs/line1.yaml` lays it out."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Mosquitto on loopback."""
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    with mosquitto(folder) as started:
        yield started


@pytest.fixture
def press(native_plc: Callable[..., NativePlc]) -> NativePlc:
    """A C++ S7 server with the press in DB1; contador_bom goes up by one every 5 ms."""
    return native_plc({1: PRESS}, counter=(1, 10), tick=0.005)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Callable[..., Line]]:
    """Start pipelines by `line(file, environment, NAME=…)`; whatever is left of them ends with the test."""

    def start(file: Path, environment: dict[str, str], **more: str) -> Line:
        return stack.enter_context(Line(file, environment | more, tmp_path))

    with ExitStack() as stack:
        yield start
