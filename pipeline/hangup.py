"""SIGHUP while a graph is still on its way: kept until somebody can take it, for by itself it ends a process.

Imports nothing of the project, so that it can stand before what takes its time to import.
"""

from __future__ import annotations

import os
import signal

__all__ = ["hangup"]


class _Hangup:
    """What is known of the signal before the graph runs.

    Attributes:
        terminal: whether a terminal was there at the start, whose end sends the same signal.
        came: whether it came.
    """

    def __init__(self) -> None:
        self.terminal = os.isatty(0)
        self.came = False

    def hold(self) -> None:
        """Keep the signal from now on; on the main thread."""
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._note)

    def _note(self, *_: object) -> None:
        self.came = True


hangup = _Hangup()
"""The one of this process."""
