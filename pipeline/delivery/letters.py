"""The dead letters of a delivery that runs: to be looked at, and sent again when their reason is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import lmdb

from pipeline.errors import JournalError
from pipeline.journal.folder import explain
from pipeline.journal.journal import Journal
from pipeline.journal.records import DeadLetter
from pipeline.journal.tools import Entry, dead_entries, revived

if TYPE_CHECKING:
    from pipeline.delivery.delivery import Delivery

__all__ = ["Letters"]

_AT_ONCE = 1000
_LOOK = 0.05
_PATIENCE = 30.0
_BOTH = "sent again, but also kept as dead letters"


class Letters:
    """What one receiver has refused for good. The journal's thread reads and writes; the loop never waits for it."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._under_way: set[int] = set()
        self._tasks: set[asyncio.Task[int]] = set()

    @property
    def backlog(self) -> int:
        """Frames of the same sink that wait on disk; those on their first flight may yet be acknowledged."""
        return min(self._delivery.backlog, self._delivery.commits.state.frames)

    @property
    def unacknowledged(self) -> int:
        """All frames of the same sink that its receiver does not have yet."""
        return self._delivery.unacknowledged

    @property
    def folder(self) -> str:
        """The journal's."""
        return self._delivery.options.path

    async def dead(self, limit: int) -> list[Entry]:
        """The oldest dead letters, so many at most.

        Raises:
            JournalError: the journal is not open, or can't be read.
        """

        def read(journal: Journal) -> list[Entry]:
            with journal.look() as (store, txn):
                return list(islice(dead_entries(store, txn), limit))

        return await self._delivery.commits.ask(read)

    async def requeue(self, ids: Iterable[int] | None = None) -> int:
        """Send dead letters again, behind what waits; a thousand at once. Damaged ones can't be.

        They are forgotten when they are acknowledged, or on disk as frames that wait: none is lost, whatever happens
        meanwhile. Whoever asks may go away; it is done all the same.

        Args:
            ids: which; None for all.

        Returns:
            How many are sent again.

        Raises:
            JournalError: the journal is not open, or can't be written now.
        """
        task = asyncio.get_running_loop().create_task(self._requeue(None if ids is None else set(ids)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _requeue(self, ids: set[int] | None) -> int:
        def read(journal: Journal) -> list[tuple[int, DeadLetter]]:
            with journal.look() as (store, txn):
                wanted = (
                    (key, letter)
                    for key, letter in store.dead_letters(txn)
                    if letter.topic and (ids is None or key in ids)
                )
                return list(islice(wanted, _AT_ONCE))

        found = await self._delivery.commits.ask(read)
        letters = {key: letter for key, letter in found if key not in self._under_way}
        self._under_way |= letters.keys()
        try:
            last = self._delivery.readmit([revived(letter) for letter in letters.values()])
            await self._safe(last)
            await self._delivery.commits.ask(lambda journal: _forget(journal, letters))
        finally:
            self._under_way -= letters.keys()
        self._delivery.commits.state.dead -= len(letters)
        return len(letters)

    async def _safe(self, last: int) -> None:
        """Wait until the records up to this ordinal are acknowledged or on disk."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE
        while self._delivery.safe <= last:
            if loop.time() >= deadline:
                raise JournalError(f"{_BOTH}: {self._delivery.trouble or 'the journal was not written in time'}")
            await asyncio.sleep(_LOOK)


def _forget(journal: Journal, keys: Iterable[int]) -> None:
    try:
        with journal.write() as (store, txn):
            store.forget(txn, keys)
    except (lmdb.Error, OSError) as error:
        raise JournalError(f"{_BOTH}: {explain(error, journal.folder)}") from error
