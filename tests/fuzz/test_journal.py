"""Damaged journals: what is read is what was written, and opening always ends in a journal that takes frames."""

import contextlib
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.journal.journal import Journal
from pipeline.journal.options import JournalOptions
from pipeline.journal.records import Record, count_of, decode_batch, decode_header, encode_batch, find_batches
from pipeline.journal.work import Work
from tests.parts.fuzzing import damaged, fuzzed

WALL = 1_731_800_000.0


def record(n: int) -> Record:
    """A record with its ordinal in the body."""
    body = b'{"n":%d,"values":{"text":"%s"}}' % (n, b"x" * (n % 90))
    return Record(n, body, f"plc/acme/press{n % 3}", 1, "full", f"acme/press{n % 3}", WALL + n, body)


def same(found: Record) -> bool:
    """Whether a record is the one that was written under its ordinal."""
    wanted = record(found.n)
    return (found.body, found.topic, found.plc, found.ts) == (wanted.body, wanted.topic, wanted.plc, wanted.ts)


BATCHES = [
    encode_batch(start, [record(n) for n in range(start, start + count)], 5.0, WALL, compress=compress)
    for start, count, compress in ((0, 1, False), (7, 30, False), (7, 30, True), (2**40, 3, False))
]


@fuzzed()
@given(damaged([BATCHES[1], BATCHES[2], BATCHES[0] + BATCHES[3]]))
def test_a_damaged_batch_gives_only_what_was_written(data):
    """Each record has its checksum; what is missing is counted."""
    records, pieces, missing = decode_batch(7, data)
    assert all(found.body == record(int(found.body[5 : found.body.index(b",")])).body for found in records)
    assert missing >= 0
    assert count_of(data) >= 1
    if data in BATCHES:
        assert (len(records), pieces, missing) == (count_of(data), [], 0)
    for header, value in find_batches(b"PJ\x01" + data + BATCHES[0]):
        assert len(value) <= header.size


@fuzzed()
@given(st.binary(max_size=200).map(lambda tail: BATCHES[0][:4] + tail), st.integers(0, 2**32 - 1))
def test_any_header_is_read_or_refused(data, count):
    """A header with a right checksum may still lie about what follows."""
    with contextlib.suppress(ValueError):
        decode_header(data)
    lying = BATCHES[1][:4] + count.to_bytes(4, "big") + BATCHES[1][8:]
    assert count_of(lying) >= 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A journal of 600 frames, the first 200 acknowledged."""
    folder = tmp_path_factory.mktemp("whole")
    journal = Journal(JournalOptions(path=str(folder)), WALL)
    journal.claim("mqtts://broker:8883")
    for start in range(0, 600, 20):
        puts = [record(n) for n in range(start, start + 20)]
        journal.round(Work(age=1.0, wall=WALL, next=start + 20, puts=puts))
    journal.round(Work(age=2.0, wall=WALL, next=600, done=list(range(0, 200, 20))))
    journal.close(3.0)
    (folder / "clean").unlink()
    return folder


def everything(journal):
    """All records that wait."""
    found, start = [], 0
    while True:
        outcome = journal.round(Work(age=4.0, wall=WALL, next=600, read=(start, float("inf"))))
        assert outcome.error is None
        for loaded in outcome.loaded:
            found += loaded.records
            start = loaded.records[-1].n + 1
        if outcome.end:
            return found


@fuzzed(0.05)
@given(
    places=st.lists(
        st.tuples(st.one_of(st.integers(0, 3), st.integers(0, 60)), st.integers(0, 4095), st.binary(min_size=1)),
        max_size=4,
    ),
    cut=st.one_of(st.none(), st.none(), st.integers(0, 300_000)),
)
def test_a_damaged_file_is_opened_and_nothing_else_is_in_it(places, cut, whole, tmp_path_factory):
    """Bytes changed on any page, the end cut off: it heals, says so where frames are gone, and takes new ones."""
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray((whole / "data.mdb").read_bytes())
    for page, at, more in places:
        start = page * 4096 + at
        content[start : start + len(more)] = more[: max(len(content) - start, 0)]
    content = content if cut is None else content[:cut]
    (folder / "data.mdb").write_bytes(content)
    journal = Journal(JournalOptions(path=str(folder)), WALL)
    found = everything(journal)
    assert all(same(each) for each in found)
    numbers = [each.n for each in found]
    lost = set(range(200, 600)) - set(numbers)
    dead = journal.state.dead
    # An empty file is one that was made and never written, where no count stands beside it.
    assert not lost or not content or journal.found or dead
    following = max(journal.state.next, 600)
    outcome = journal.round(Work(age=5.0, wall=WALL, next=following + 1, puts=[record(following)]))
    assert outcome.error is None
    assert everything(journal)[-1].n == following
    journal.close(6.0)
    shutil.rmtree(folder)
