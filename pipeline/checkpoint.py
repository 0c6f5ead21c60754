"""Whether what a source has given is processed: taken by every sink behind it, and safe with those that keep a journal.

A source whose sender repeats what is not acknowledged (a broker's session) takes a checkpoint right after it has given
its frames, and acknowledges them once that has passed. Frames travel by plain calls, so what a source gave has reached
the mailboxes behind it when its call returns. What a transform holds back for later is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.actor import Mailbox
    from pipeline.operator import Context

__all__ = ["Checkpoint", "Keeper"]


class Keeper(Protocol):
    """A sink that keeps what it has taken, in the order of ordinals."""

    @property
    def taken(self) -> int:
        """The ordinal that the next frame will get."""

    @property
    def safe(self) -> int:
        """The ordinal below which every frame is acknowledged, on disk, or given up and counted."""


class _Gate:
    """One sink behind: first its mailbox hands over, then its keeper makes safe."""

    __slots__ = ("_context", "_drains", "_mailbox", "_position")

    def __init__(self, mailbox: Mailbox, context: Context) -> None:
        self._mailbox, self._context = mailbox, context
        self._drains = mailbox.drains if len(mailbox) else -1
        self._position = -1

    def passed(self) -> bool:
        if self._mailbox.drains <= self._drains:
            return False
        keeper = self._context.keeper
        if keeper is None:
            return True
        if self._position < 0:
            self._position = keeper.taken
        return keeper.safe >= self._position


class Checkpoint:
    """A moment in what a source has given."""

    def __init__(self, behind: Sequence[tuple[Mailbox, Context]]) -> None:
        """Take it now.

        Args:
            behind: mailbox and context of each sink that the source's frames may reach.
        """
        self._waiting = [_Gate(mailbox, context) for mailbox, context in behind]

    def __call__(self) -> bool:
        """Whether all that was given before is processed."""
        self._waiting = [gate for gate in self._waiting if not gate.passed()]
        return not self._waiting
