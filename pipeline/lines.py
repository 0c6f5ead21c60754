"""Lines written by a thread: whoever reads them slowly, or not at all, holds up nobody.

A terminal that is stopped by Ctrl-S, a pipe whose reader stands still and a full disk must not stop a pipeline. What
waits is bounded; what finds no room, or can't be written, is given up, counted, and told in one line when it goes on.
"""

from __future__ import annotations

import io
import select
import threading
from collections.abc import Callable
from typing import TextIO

__all__ = ["Lines", "dropped", "flush"]

_ROOM = 1 << 20
"""Bytes that wait while others are being written."""
_PATIENCE = 1.0
"""Seconds that the end of a process waits for what is still to be written."""


def dropped() -> int:
    """Lines of this process's log that nobody took in time, or that could not be written."""
    return _latest[-1].dropped if _latest else 0


def flush() -> None:
    """Wait until the log is written, at most for a second: before an end, and before other words on stderr."""
    for lines in _latest:
        lines.flush()


class Lines:
    """Writes lines to one stream, and never fails or holds up who logs.

    A stream that has no file behind it, as in a test, takes them at once.

    Attributes:
        dropped: lines that were given up.
    """

    def __init__(self, stream: TextIO, tell: Callable[[int], str]) -> None:
        """Make a writer; its thread begins with the first line.

        Args:
            stream: where lines go.
            tell: the line that says how many were given up.
        """
        self.dropped = 0
        self._stream = stream
        self._tell = tell
        buffer = getattr(stream, "buffer", None)
        raw = getattr(buffer, "raw", buffer)
        # Past the stream's own buffers: the end of the process would wait for a thread that stands in one of them.
        self._raw = raw if isinstance(raw, io.RawIOBase) else None
        self._changed = threading.Condition()
        self._waiting: list[str] = []
        self._size = 0
        self._full = False
        self._untold = 0
        self._writing = False
        self._thread: threading.Thread | None = None
        _latest[:] = [self]

    def msg(self, message: str) -> None:
        """Take a line, without its end."""
        if self._raw is None:
            try:
                self._stream.write(message + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                self._give_up()
            return
        with self._changed:
            self._full = self._full or self._size + len(message) > _ROOM
            if self._full:
                self._give_up()
                return
            self._waiting.append(message)
            self._size += len(message)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    log = debug = info = warning = warn = error = critical = fatal = exception = failure = err = msg

    def flush(self) -> None:
        """Wait until all is written, at most for a second."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._waiting or self._writing), _PATIENCE)

    def _give_up(self) -> None:
        self.dropped += 1
        self._untold += 1

    def _write(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                lines, self._waiting, self._size, self._full = self._waiting, [], 0, False
                self._writing, untold = True, self._untold
            failed = sum(not self._written(line) for line in lines)
            # What was given up came behind these.
            if untold and not failed and self._written(self._tell(untold)):
                with self._changed:
                    self._untold -= untold

    def _written(self, line: str) -> bool:
        """Whether a line could be written; the thread stands here while nobody reads."""
        assert self._raw is not None  # noqa: S101 - else there is no thread
        left = memoryview((line + "\n").encode(self._stream.encoding, "backslashreplace"))
        try:
            while left:
                count = self._raw.write(left)
                if count is None:  # somebody has set it not to block
                    select.select([], [self._raw], [])
                left = left[count or 0 :]
        except (OSError, ValueError):
            with self._changed:
                self._give_up()
            return False
        return True


_latest: list[Lines] = []
"""The log of this process, once it is set up."""
