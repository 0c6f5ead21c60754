"""What a command that runs for a while needs of its process: a loop, and an end in order when it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

__all__ = ["new_loop", "stop_on_signals"]

_SECOND_SIGNAL = 130


def new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop where it exists; Windows has asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return uvloop.new_event_loop


def stop_on_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Set `stop` on SIGINT and SIGTERM; a second one ends the process at once."""

    def stopping() -> None:
        if stop.is_set():
            os._exit(_SECOND_SIGNAL)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stopping)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopping))
