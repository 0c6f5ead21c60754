"""Waiting for a condition with a deadline, for tests of real parts: they take their time, but not for ever."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["eventually", "free_port", "freeze", "wait_until"]

DEADLINE = 30.0
"""Seconds, generous: a busy machine is not a failure."""


def freeze(pid: int) -> None:
    """Stop a process where it is (SIGSTOP), and return when each of its threads stands still."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    wait_until(lambda: all(_state(each) == "T" for each in threads.iterdir()), f"process {pid} stands still")


def _state(thread: Path) -> str:
    try:
        return (thread / "stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return "T"  # it has ended


def wait_until(condition: Callable[[], object], what: str = "", deadline: float = DEADLINE) -> None:
    """Return once the condition holds.

    Raises:
        AssertionError: it did not hold within `deadline` seconds; `what` says which.
    """
    over = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < over, f"not within {deadline:g} s: {what or condition}"
        time.sleep(0.01)


async def eventually(condition: Callable[[], object], what: str = "", deadline: float = DEADLINE) -> None:
    """The same on a running loop, by its clock: on a virtual one it costs nothing."""
    loop = asyncio.get_running_loop()
    over = loop.time() + deadline
    while not condition():
        assert loop.time() < over, f"not within {deadline:g} s: {what or condition}"
        await asyncio.sleep(0.01)


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now; for parts that can't bind to 0 themselves."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
    return port
