"""Whether a full journal, or one whose disk fails, takes another frame; and when the sources have to pause."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.delivery.commits import Commits
from pipeline.delivery.ledger import Ledger
from pipeline.journal.options import JournalOptions, WhenFull

__all__ = ["Admission"]

_PAUSE_AT = 0.95
_RESUME_AT = 0.9
_GIVE_UP = 256


class Admission:
    """The policy `when_full` of one delivery. With `drop_oldest` the disk's limits are the journal's own business.

    Attributes:
        guarded: `admit` must be asked for each frame.
    """

    def __init__(
        self,
        options: JournalOptions,
        ledger: Ledger,
        commits: Commits,
        *,
        drop: Callable[[str, int, int], None],
        pause: Callable[[bool], object],
    ) -> None:
        """Take everything, until told otherwise.

        Args:
            options: the journal's.
            ledger: the records.
            commits: knows the disk.
            drop: told reason, number of frames, and how many of them had been accepted before.
            pause: told True when the sources have to stop, False when they may go on.
        """
        self.guarded = False
        self._options = options
        self._ledger = ledger
        self._commits = commits
        self._drop = drop
        self._pause = pause
        self._paused = False

    def review(self) -> None:
        """Look at disk and memory, after each round."""
        options, fullness = self._options, self._fullness()
        keeps = options.when_full is not WhenFull.DROP_OLDEST
        self.guarded = bool(self._commits.trouble) or (keeps and fullness >= 1.0)
        if options.when_full is WhenFull.PAUSE and (fullness >= _PAUSE_AT or fullness < _RESUME_AT):
            self._set_paused(fullness >= _PAUSE_AT)

    def admit(self, *, live: bool) -> bool:
        """Whether a frame may be taken, or room is made for it; counts what is given up.

        Args:
            live: it is sent at once, not behind a backlog that would grow.
        """
        policy, commits = self._options.when_full, self._commits
        if commits.trouble:
            if policy is WhenFull.PAUSE and len(self._ledger.pending) >= _PAUSE_AT * commits.memory_records:
                self._set_paused(True)
            if len(self._ledger.pending) >= commits.memory_records and not self._make_room():
                self._drop("journal_unwritable", 1, 0)
                return False
        if policy is not WhenFull.DROP_OLDEST and not live and commits.state.bytes >= self._options.max_size:
            self._drop("journal_full", 1, 0)
            return False
        return True

    def resume(self) -> None:
        """Let the sources go on, whatever the disk says."""
        self._set_paused(False)

    def _fullness(self) -> float:
        commits = self._commits
        fullness = commits.state.bytes / self._options.max_size
        if commits.trouble:
            fullness = max(fullness, len(self._ledger.pending) / max(1, commits.memory_records))
        return fullness

    def _make_room(self) -> bool:
        if self._options.when_full is not WhenFull.DROP_OLDEST:
            return False
        # Several at once: taking the first of a dict again and again is slow.
        given_up = self._ledger.give_up(min(_GIVE_UP, max(1, self._commits.memory_records // 4)))
        if given_up:
            self._drop("journal_unwritable", given_up, given_up)
        return bool(given_up)

    def _set_paused(self, paused: bool) -> None:
        if paused != self._paused:
            self._paused = paused
            self._pause(paused)
