"""SIGHUP and SIGUSR1 while a graph is still on its way: kept until somebody can take them, for each ends a process.

Imports nothing of the project, so that it can stand before what takes its time to import.
"""

from __future__ import annotations

import os
import signal

__all__ = ["hangup"]


class _Hangup:
    """What is known of the signals before the graph runs.

    Attributes:
        terminal: whether a terminal was there at the start, whose end sends SIGHUP too.
        came: whether SIGHUP came.
        asked: whether SIGUSR1 came.
    """

    def __init__(self) -> None:
        self.terminal = os.isatty(0)
        self.came = self.asked = False

    def hold(self) -> None:
        """Keep the signals from now on; on the main thread."""
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._note)
            signal.signal(signal.SIGUSR1, self._note)

    def _note(self, number: int, _: object) -> None:
        if number == signal.SIGHUP:
            self.came = True
        else:
            self.asked = True


hangup = _Hangup()
"""The one of this process."""
