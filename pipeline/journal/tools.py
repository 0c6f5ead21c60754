"""What the command line does with a journal that no pipeline has open, or reads beside one that has.

`summary`, `records` and `export` read, also while a pipeline runs on the journal. `add`, `requeue`, `resend`, `prune`
and `adopt` change it and are refused with `JournalLocked` while another process has it open.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from pipeline.errors import JournalError, JournalLocked, JournalUnwritable
from pipeline.journal import check as journal_check
from pipeline.journal import folder as journal_folder
from pipeline.journal.file import Store
from pipeline.journal.journal import Journal
from pipeline.journal.options import JournalOptions
from pipeline.journal.records import DeadLetter, Record, decode_batch, decode_header, split
from pipeline.units import Size

__all__ = [
    "Entry",
    "Summary",
    "add",
    "adopt",
    "dead_entries",
    "export",
    "prune",
    "records",
    "requeue",
    "resend",
    "revived",
    "summary",
]

_CHUNK = 5000


class Summary(msgspec.Struct):
    """A journal at a glance.

    Attributes:
        path: its folder.
        receiver: who its frames are for.
        frames: unacknowledged frames on disk.
        bytes: disk space of all batches.
        kept_bytes: the part that acknowledged ones take.
        dead: dead letters.
        oldest: seconds since 1970 when the oldest unacknowledged batch was written; None without one.
        aside: names of what was moved aside, damaged or of a newer format.
    """

    path: str
    receiver: str
    frames: int
    bytes: int
    kept_bytes: int
    dead: int
    oldest: float | None
    aside: list[str]


class Entry(msgspec.Struct, omit_defaults=True):
    """One record, for people and for JSON lines.

    Attributes:
        id: names it: a dead letter's key, else the record's ordinal.
        state: "waiting", "kept" or "dead".
        plc: `tenant/plc`.
        topic: where to.
        qos: 0 or 1.
        ts: seconds since 1970 of the frame.
        body: as text; bytes that are no UTF-8 are escaped.
        reason: why it is dead.
        refused: seconds since 1970 when it was given up.
        count: frames in it, when a whole batch is damaged.
    """

    id: int
    state: str
    plc: str
    topic: str
    qos: int
    ts: float
    body: str
    reason: str = ""
    refused: float = 0.0
    count: int = 1


def summary(path: str) -> Summary:
    """A journal's counters.

    Raises:
        JournalError: there is none, or it is damaged.
    """
    with _reading(path) as (store, txn):
        state = store.state
        oldest = next(store.unacknowledged(txn), None)
        wall = oldest[1].wall if oldest else None
        folders = (entry.name for entry in Path(path).iterdir() if entry.is_dir())
        aside = sorted(name for name in folders if name.startswith(journal_folder.ASIDE))
        return Summary(path, state.receiver, state.frames, state.bytes, state.kept_bytes, state.dead, wall, aside)


def records(path: str, *, dead: bool = False, limit: int | None = None) -> Iterator[Entry]:
    """Records of a journal, oldest first: those in the log, or the dead letters.

    Raises:
        JournalError: there is none, or it is damaged.
    """
    with _reading(path) as (store, txn):
        found = dead_entries(store, txn) if dead else _logged(store, txn)
        yield from islice(found, limit)


def export(path: str, *, dead: bool = False) -> Iterator[bytes]:
    """Each record as one JSON line, with its line feed.

    Raises:
        JournalError: there is none, or it is damaged.
    """
    encode = msgspec.json.Encoder().encode
    for entry in records(path, dead=dead):
        yield encode(entry) + b"\n"


def requeue(path: str, ids: Iterable[int] | None = None) -> int:
    """Put dead letters behind the backlog, to be sent again; damaged ones can't be.

    Args:
        path: the journal's folder.
        ids: which; None for all.

    Returns:
        How many were put back.

    Raises:
        JournalLocked: a pipeline has it open.
        JournalError: there is none, or an id is unknown.
    """
    with _changing(path) as journal, journal.write() as (store, txn):
        letters = {key: letter for key, letter in store.dead_letters(txn) if letter.topic}
        keys = list(letters if ids is None else dict.fromkeys(ids))
        unknown = [key for key in keys if key not in letters]
        if unknown:
            raise JournalError(f"journal '{path}' has no dead letter {unknown[0]} that can be sent again")
        _append(store, txn, (revived(letters[key]) for key in keys))
        return store.forget(txn, keys)


def resend(path: str, since: float, until: float, plc: str = "") -> int:
    """Put kept frames behind the backlog, to be sent again, marked `replayed`; acknowledged, they are kept anew.

    Args:
        path: the journal's folder.
        since: frames from this time on, seconds since 1970.
        until: and before this time.
        plc: `tenant/plc`; empty for all.

    Returns:
        How many will be sent again.

    Raises:
        JournalLocked: a pipeline has it open.
        JournalError: there is none.
    """
    with _changing(path) as journal, journal.write() as (store, txn):
        kept = list(store.kept(txn))
        taken = (
            _take(store, txn, key, age, lambda record: since <= record.ts < until and plc in {"", record.plc})
            for key, age in kept
        )
        return _append(store, txn, chain.from_iterable(taken))


def prune(path: str, *, older_than: float | None = None, dead: bool = False, wall: float | None = None) -> int:
    """Delete records for good.

    Args:
        path: the journal's folder.
        older_than: batches written more than so many seconds ago by the wall clock, acknowledged or not.
        dead: all dead letters.
        wall: seconds since 1970 now; None for the machine's clock.

    Returns:
        How many records are gone.

    Raises:
        JournalLocked: a pipeline has it open.
        JournalError: there is none.
    """
    before = (time.time() if wall is None else wall) - (older_than or 0.0)
    with _changing(path) as journal, journal.write() as (store, txn):
        count = 0
        if older_than is not None:
            old = [key for key, value in store.read(txn, 0, float("inf"), kept=True) if _written(value) < before]
            count = sum(store.delete(txn, key) for key in old)
        if dead:
            count += store.forget(txn, [key for key, _ in store.dead_letters(txn)])
        return count


def adopt(path: str, receiver: str) -> str:
    """Give a journal to another receiver; who had it before.

    Raises:
        JournalLocked: a pipeline has it open.
        JournalError: there is none.
    """
    with _changing(path) as journal, journal.write() as (store, _):
        before = store.state.receiver
        store.state.receiver = receiver
        return before


def add(path: str, records: Iterable[Record], receiver: str, *, room: int = 0) -> int:
    """Put records behind the backlog: all, or none when anything fails. Makes the journal where there is none.

    Args:
        path: the journal's folder.
        records: in the order in which they are to be sent; their ordinals are given here.
        receiver: who they are for, as the sink says it: `mqtts://host:8883`.
        room: bytes that they may take, where that is more than a journal holds by itself.

    Returns:
        How many were put there.

    Raises:
        JournalLocked: a pipeline has it open.
        JournalForeign: it holds frames for another receiver.
        JournalError: it can't be written.
    """
    with _opened(path, room) as journal, journal.write() as (store, txn):
        journal.claim(receiver)
        return _append(store, txn, records)


def _logged(store: Store, txn: Any) -> Iterator[Entry]:
    kept = {key for key, _ in store.kept(txn)}
    for key, value in store.read(txn, 0, float("inf"), kept=True):
        state = "kept" if key in kept else "waiting"
        for record in decode_batch(key, value)[0]:
            yield Entry(record.n, state, record.plc, record.topic, record.qos, record.ts, _text(record.plain))


def dead_entries(store: Store, txn: Any) -> Iterator[Entry]:
    """The dead letters, oldest first."""
    for key, letter in store.dead_letters(txn):
        origin = (letter.plc, letter.topic, letter.qos, letter.ts)
        yield Entry(key, "dead", *origin, _text(letter.body), letter.reason, letter.wall, letter.count)


def _text(body: bytes) -> str:
    return body.decode("utf-8", errors="backslashreplace")


def _written(value: bytes) -> float:
    try:
        return decode_header(value).wall
    except ValueError:
        return 0.0


def revived(letter: DeadLetter) -> Record:
    """The record to send again; its ordinal is to be given."""
    return Record(0, letter.body, letter.topic, letter.qos, letter.codec, letter.plc, letter.ts, letter.body)


def _take(store: Store, txn: Any, key: int, age: float, wanted: Callable[[Record], bool]) -> list[Record]:
    """Take records out of a kept batch, since none may be there twice; the others stay kept since `age`."""
    value = store.get(txn, key) or b""
    found = decode_batch(key, value)[0]
    taken = [record for record in found if wanted(record)]
    if taken:
        store.delete(txn, key)
    if taken and (rest := [record for record in found if not wanted(record)]):
        header = store.header(value)
        store.insert(txn, key, rest, header.age, header.wall, compress=header.compressed)
        store.keep(txn, key, age)
    return taken


def _append(store: Store, txn: Any, records: Iterable[Record]) -> int:
    """Write records behind all others, some at a time; how many there were."""
    begin, rest = store.state.next, iter(records)
    while chunk := list(islice(rest, _CHUNK)):
        for n, record in enumerate(chunk, store.state.next):
            record.n = n
        for batch in split(chunk):
            store.append(txn, batch, store.state.age, time.time(), compress=False)
    return store.state.next - begin


def _existing(path: str) -> Path:
    folder = Path(path)
    if not (folder / "data.mdb").is_file():
        raise JournalError(f"there is no journal in '{path}'; name the folder that the sink's `journal: path:` names")
    return folder


@contextlib.contextmanager
def _reading(path: str) -> Iterator[tuple[Store, Any]]:
    folder = _existing(path)
    with contextlib.suppress(JournalLocked):
        # Nobody has it open, so nobody has checked it: a damaged file may not kill the reader.
        held = journal_folder.lock(folder)
        try:
            wrong = journal_check.check(folder, thorough=not journal_folder.marked(folder))
        except OSError as error:
            raise JournalError(f"journal '{path}' can't be read: {journal_folder.explain(error, folder)}") from error
        finally:
            held.release()
        if wrong:
            raise JournalError(f"journal '{path}' is damaged ({wrong}); the pipeline repairs it when it starts")
    try:
        store = Store(folder, readonly=True)
    except (lmdb.Error, OSError, ValueError) as error:
        raise JournalError(f"journal '{path}' can't be read: {journal_folder.explain(error, folder)}") from error
    try:
        with store.env.begin() as txn:
            yield store, txn
    finally:
        store.close()


@contextlib.contextmanager
def _changing(path: str) -> Iterator[Journal]:
    _existing(path)
    with _opened(path) as journal:
        yield journal


@contextlib.contextmanager
def _opened(path: str, room: int = 0) -> Iterator[Journal]:
    options = JournalOptions(path=path)
    journal = Journal(msgspec.structs.replace(options, max_size=Size(max(room, options.max_size))), time.time())
    try:
        journal.widen()
        yield journal
    except (lmdb.Error, OSError) as error:
        raise JournalUnwritable(path, journal_folder.explain(error, Path(path))) from error
    finally:
        journal.close(journal.state.age)
