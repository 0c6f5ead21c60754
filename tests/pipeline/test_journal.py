"""The journal alone: what is committed survives, in order, whatever happens to the process or to the file."""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from unittest.mock import Mock

import lmdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.errors import JournalError, JournalForeign, JournalLocked, JournalUnwritable
from pipeline.journal import check as journal_check
from pipeline.journal import file as journal_file
from pipeline.journal import records
from pipeline.journal import tools as journal_tools
from pipeline.journal.file import State, Store
from pipeline.journal.folder import explain
from pipeline.journal.journal import Journal
from pipeline.journal.options import Compression, JournalOptions, WhenFull
from pipeline.journal.records import DeadLetter, Record
from pipeline.journal.work import Outcome, Work
from pipeline.units import Duration, Size

WALL = 1_731_800_000.0


def record(n, body=None, plc="acme/press1", topic="plc/acme/press1"):
    """A record with its ordinal in the body."""
    body = b'{"n":%d}' % n if body is None else body
    return Record(n, body, topic, 1, "full", plc, WALL + n / 1000, body)


def write(journal, numbers, age=1.0, **work):
    """Commit records of these ordinals as one round."""
    numbers = list(numbers)
    puts = [record(n) for n in numbers]
    outcome = journal.round(Work(age=age, wall=WALL + age, next=max(numbers, default=-1) + 1, puts=puts, **work))
    assert outcome.error is None
    return outcome


def read(journal, start=0, stop=float("inf")):
    """All records of a range, as a drain reads them: chunk by chunk."""
    found = []
    while True:
        outcome = journal.round(Work(age=1.0, wall=WALL, read=(start, stop)))
        assert outcome.error is None
        for loaded in outcome.loaded:
            found += loaded.records
            start = loaded.records[-1].n + 1
        if outcome.end:
            return found


def ordinals(journal):
    """The ordinals of everything that waits."""
    return [record.n for record in read(journal)]


@pytest.fixture
def folder(tmp_path):
    """Where the journal is."""
    return tmp_path / "data" / "broker"


def opened(folder, **options):
    """The journal, open."""
    return Journal(JournalOptions(path=str(folder), **options), WALL)


def test_committed_records_come_back_whole_and_in_order(folder):
    """Every field survives a clean end; ordinals go on behind those that were there."""
    journal = opened(folder, compression=Compression.ZSTD)
    journal.claim("mqtt://broker:1883")
    given_records = [
        record(n, body=os.urandom(n % 400), plc=f"acme/p{n % 3}", topic=f"t/{n % 5}") for n in range(0, 5000, 2)
    ]
    assert journal.round(Work(age=1.0, wall=WALL, next=5001, puts=given_records)).state.frames == 2500
    journal.close(2.0)
    journal = opened(folder)
    fields = ("n", "body", "topic", "qos", "codec", "plc", "ts", "plain")
    assert [[getattr(r, f) for f in fields] for r in read(journal)] == [
        [getattr(r, f) for f in fields] for r in given_records
    ]
    assert (journal.state.next, journal.state.age, journal.state.receiver) == (5001, 2.0, "mqtt://broker:1883")
    assert not journal.found
    journal.close(2.0)


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (999, 1001), (1500, 2500), (2999, 9999), (3000, 9999)])
def test_a_range_is_read_exactly(folder, start, stop):
    """Ranges may begin and end inside of batches."""
    journal = opened(folder)
    write(journal, range(3000))
    assert [r.n for r in read(journal, start, stop)] == list(range(start, min(stop, 3000)))
    journal.close(1.0)


def test_a_second_process_is_refused_and_readers_are_not(folder):
    """One journal, one writer; `ls` beside it works from another process."""
    journal = opened(folder)
    write(journal, range(10))
    with pytest.raises(JournalLocked, match="open in another process"):
        opened(folder)
    with pytest.raises(JournalLocked):
        journal_tools.prune(str(folder), dead=True)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        assert pool.apply(journal_tools.summary, (str(folder),)).frames == 10
    journal.close(1.0)
    opened(folder).close(1.0)


def test_paths_that_cannot_be_a_journal_say_what_to_do(tmp_path):
    """A file in the way, a folder that can't be made, no journal at all."""
    (tmp_path / "file").write_text("x")
    for path in ("file", "file/below"):
        with pytest.raises(JournalError, match="name another path"):
            opened(tmp_path / path)
    with pytest.raises(JournalUnwritable, match="name another path"):
        opened(Path("/proc/journal"))
    with pytest.raises(JournalError, match="no journal"):
        journal_tools.summary(str(tmp_path))


def test_another_receiver_is_refused_until_adopted(folder):
    """Frames for one broker don't go to another by accident; an empty journal goes anywhere."""
    journal = opened(folder)
    journal.claim("mqtt://old:1883")
    write(journal, range(3))
    with pytest.raises(JournalForeign, match=r"mqtt://old:1883.*journal adopt"):
        journal.claim("mqtt://new:1883")
    journal.close(1.0)
    assert journal_tools.adopt(str(folder), "mqtt://new:1883") == "mqtt://old:1883"
    journal = opened(folder)
    journal.claim("mqtt://new:1883")
    # One broker, whether the connection to it is encrypted or not; the journal has the latest name.
    journal.claim("mqtts://new:1883")
    assert journal.state.receiver == "mqtts://new:1883"
    journal.claim("mqtt://new:1883")
    with pytest.raises(JournalForeign):
        journal.claim("mqtts://new:8883")
    write(journal, (), done=[0])
    journal.claim("mqtt://third:1883")
    journal.close(1.0)


@pytest.mark.parametrize("when_full", list(WhenFull))
def test_the_size_limit_takes_the_oldest_only_where_told(folder, when_full):
    """With drop_oldest whole batches leave and are counted; those in memory are spared; other policies keep all."""
    journal = opened(folder, max_size=Size(256 * 1024), when_full=when_full)
    evicted, first = [], 0
    for number in range(40):
        body = os.urandom(1000)
        puts = [record(n, body=body) for n in range(first, first + 20)]
        work = Work(age=1.0, wall=WALL, next=first + 20, puts=puts, protected=frozenset({0}))
        evicted += journal.round(work).evicted
        first += 20
        if when_full is WhenFull.DROP_OLDEST and number > 20:
            assert journal.state.bytes <= 256 * 1024 + 2 * 24 * 1024
    left = ordinals(journal)
    if when_full is WhenFull.DROP_OLDEST:
        assert {reason for _, _, reason in evicted} == {"journal_full"}
        assert sum(count for _, count, _ in evicted) + len(left) == 800
        assert left[:20] == list(range(20))
        assert left[20:] == list(range(left[20], 800))
        assert (folder / "data.mdb").stat().st_size < 2 * 256 * 1024
    else:
        assert not evicted
        assert left == list(range(800))
    journal.close(1.0)


def test_age_counts_running_time_only(folder):
    """Eight days by the wall clock evict nothing; eight days of running do, and are counted."""
    journal = opened(folder)
    write(journal, range(5), age=10.0)
    journal.close(20.0)
    journal = opened(folder)
    assert journal.state.age == 20.0
    for wall in (WALL + 8 * 86400, 0.0):
        assert not journal.round(Work(age=30.0, wall=wall, limits=True)).evicted
    outcome = journal.round(Work(age=10.0 + 7 * 86400 + 1, wall=WALL, limits=True))
    assert outcome.evicted == [(0, 5, "too_old")]
    assert (outcome.state.frames, outcome.state.bytes, outcome.oldest) == (0, 0, None)
    journal.close(1.0)


def test_kept_batches_wait_for_resend_and_go_first(folder):
    """Acknowledged batches are not sent again, count in the size, leave by age or for room, and can be resent."""
    journal = opened(folder, keep_after_ack=Duration(100), max_size=Size(65536))
    write(journal, range(10), age=1.0)
    write(journal, range(10, 20), age=2.0, done=[0])
    assert ordinals(journal) == list(range(10, 20))
    assert journal.state.frames == 10
    assert 0 < journal.state.kept_bytes < journal.state.bytes
    journal.close(2.0)
    assert [e.state for e in journal_tools.records(str(folder))] == ["kept"] * 10 + ["waiting"] * 10
    assert journal_tools.resend(str(folder), WALL + 0.003, WALL + 0.006) == 3
    assert journal_tools.resend(str(folder), WALL, WALL + 1, plc="other/plc") == 0
    journal = opened(folder, keep_after_ack=Duration(100), max_size=Size(65536))
    assert [r.body for r in read(journal)][10:] == [b'{"n":%d}' % n for n in (3, 4, 5)]
    journal.round(Work(age=90.0, wall=WALL, limits=True))
    assert journal.state.kept_bytes
    journal.round(Work(age=103.0, wall=WALL, limits=True))
    assert journal.state.kept_bytes == 0
    assert journal.state.frames == 13
    journal.close(1.0)


def test_what_is_resent_is_kept_once(folder):
    """A frame that waits again is not kept beside it; sent, it is kept as before, and can be sent once more."""
    options = {"keep_after_ack": Duration(100), "compression": Compression.ZSTD}
    bodies = [b'{"n":%d}' % n for n in range(20)]
    journal = opened(folder, **options)
    write(journal, range(20), age=1.0)
    write(journal, (), age=2.0, done=[0])
    before = journal.state.bytes
    journal.close(2.0)
    for age in (3.0, 4.0):
        assert journal_tools.resend(str(folder), WALL + 0.003, WALL + 0.006) == 3
        assert journal_tools.resend(str(folder), WALL, WALL + 0.006) == 3
        assert journal_tools.resend(str(folder), WALL, WALL + 0.006) == 0
        states = [(entry.state, entry.body.encode()) for entry in journal_tools.records(str(folder))]
        assert sorted(body for _, body in states) == sorted(bodies)
        assert [body for state, body in states if state == "waiting"] == [bodies[n] for n in (3, 4, 5, 0, 1, 2)]
        journal = opened(folder, **options)
        assert journal.state.frames == 6
        batches = [found.n for found in read(journal) if found.body in {bodies[0], bodies[3]}]
        write(journal, (), age=age, done=batches)
        assert (journal.state.frames, journal.state.kept_bytes) == (0, journal.state.bytes)
        assert journal.state.bytes < 2 * before
        journal.close(age)
    assert not journal_check.check(folder)
    journal = opened(folder, **options)
    journal.round(Work(age=102.5, wall=WALL, limits=True))
    journal.close(102.5)
    assert sorted(entry.body.encode() for entry in journal_tools.records(str(folder))) == sorted(bodies[:6])


def test_dead_letters_are_listed_and_requeued(folder):
    """A refused record waits with its reason, comes back once behind the backlog, and can be deleted."""
    journal = opened(folder)
    refused = record(0)
    write(
        journal, range(1, 4), buried=[DeadLetter.of(refused, "too large", WALL), DeadLetter.of(refused, "again", WALL)]
    )
    journal.close(1.0)
    path = str(folder)
    assert [(e.id, e.reason, e.body) for e in journal_tools.records(path, dead=True)] == [
        (0, "too large", '{"n":0}'),
        (1, "again", '{"n":0}'),
    ]
    with pytest.raises(JournalError, match="no dead letter 7"):
        journal_tools.requeue(path, [7])
    assert journal_tools.requeue(path, [1, 1]) == 1
    assert [e.body for e in journal_tools.records(path)] == [f'{{"n":{n}}}' for n in (1, 2, 3, 0)]
    assert journal_tools.prune(path, dead=True) == 1
    assert b'"state":"waiting"' in next(journal_tools.export(path))
    assert journal_tools.prune(path, older_than=0, wall=WALL + 10) == 3
    assert journal_tools.summary(path).frames == 1


def test_dead_letters_are_bounded(folder, monkeypatch):
    """The oldest dead letters make room."""
    monkeypatch.setattr("pipeline.journal.file.DEAD_RECORDS", 100)
    journal = opened(folder)
    for start in range(0, 300, 50):
        write(journal, (), buried=[DeadLetter.of(record(n), "no", WALL) for n in range(start, start + 50)])
    assert journal.state.dead == 100
    journal.close(1.0)
    assert [e.id for e in journal_tools.records(str(folder), dead=True)] == list(range(200, 300))


def test_a_damaged_record_is_set_aside_and_the_rest_goes_on(folder):
    """A wrong CRC costs one record: counted once, its bytes kept, the others read."""
    journal = opened(folder)
    write(journal, range(2500))
    with journal.write() as (store, txn):
        key, value = next(store.read(txn, 0, 1))
        place = value.index(b'{"n":7}')
        txn.put(key.to_bytes(8, "big"), value[:place] + b"?" + value[place + 1 :], db=store._log)
    outcome = journal.round(Work(age=1.0, wall=WALL, read=(0, float("inf"))))
    assert outcome.damaged == 1
    assert ordinals(journal) == [n for n in range(2500) if n != 7]
    assert (journal.state.frames, journal.state.dead) == (2499, 1)
    journal.close(1.0)
    (entry,) = journal_tools.records(str(folder), dead=True)
    assert (entry.reason, entry.count) == ("damaged", 1)
    assert '?"n":7}' in entry.body
    with pytest.raises(JournalError, match="that can be sent again"):
        journal_tools.requeue(str(folder), [entry.id])


@settings(max_examples=300, deadline=None)
@given(
    size=st.integers(1, 60),
    compress=st.booleans(),
    hits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 10**6) | st.none(),
)
def test_damaged_bytes_never_become_a_record(size, compress, hits, cut):
    """Whatever happens to a batch's bytes, what is read of it was written, and decoding never raises."""
    written = {n: record(n, body=b"%d" % n * 9) for n in range(5, 5 + size)}
    value = bytearray(records.encode_batch(5, list(written.values()), 1.0, WALL, compress=compress))
    for place, change in hits:
        value[place % len(value)] ^= change
    if cut is not None:
        del value[cut % len(value) :]
    sound, damaged, missing = records.decode_batch(5, bytes(value))
    for found in sound:
        assert (found.body, found.topic, found.plc) == (written[found.n].body, "plc/acme/press1", "acme/press1")
    assert len(sound) == size or damaged or missing


def crash(folder, source):
    """Copy a journal as a killed process leaves it."""
    folder.mkdir(parents=True)
    shutil.copy(source / "data.mdb", folder / "data.mdb")


@pytest.mark.parametrize("damage", ["truncated", "bytes", "garbage", "empty"])
def test_a_damaged_file_is_moved_aside_and_what_is_readable_is_saved(folder, tmp_path, damage):
    """The process lives, says where the old file is, and goes on with what could be saved, in order."""
    journal = opened(tmp_path / "source")
    for start in range(0, 3000, 100):
        write(journal, range(start, start + 100))
    crash(folder, tmp_path / "source")
    journal.close(1.0)
    file = folder / "data.mdb"
    size = file.stat().st_size
    with file.open("r+b") as data:
        if damage == "truncated":
            data.truncate(size * 2 // 3)
        elif damage == "bytes":
            chance = random.Random(3)  # noqa: S311 - repeatable damage
            for _ in range(60):
                data.seek(chance.randrange(8192, size))
                data.write(bytes([chance.randrange(256)]) * 40)
        elif damage == "garbage":
            data.write(b"\xff" * size)
        else:
            data.truncate(0)
    journal = opened(folder)
    found = ordinals(journal)
    assert found == sorted(set(found))
    assert set(found) <= set(range(3000))
    assert bool(journal.found) == (damage != "empty")
    if damage in {"truncated", "bytes"}:
        assert len(found) >= 1000
    if journal.found:
        assert "damaged" in journal.found[0]
        assert list(folder.glob("damaged-20241116T*"))
    first = max(journal.state.next, 3000)
    write(journal, range(first, first + 5))
    assert ordinals(journal)[-5:] == list(range(first, first + 5))
    journal.close(1.0)
    journal = opened(folder)
    assert not journal.found
    journal.close(1.0)


@pytest.mark.parametrize("salvage", [journal_check._walk, journal_check._search])
def test_a_large_damaged_file_is_saved_as_far_as_it_can_be_read(folder, tmp_path, monkeypatch, salvage):
    """The new file may become as large as the old one, not only as large as a file is allowed to be from the start."""
    monkeypatch.setattr("pipeline.journal.file._SLACK", 256 * 1024)
    journal = opened(folder, max_size=Size(8 * 1024 * 1024))
    for start in range(0, 3000, 50):
        puts = [record(n, body=b"x" * 1000) for n in range(start, start + 50)]
        assert journal.round(Work(age=1.0, wall=WALL, next=start + 50, puts=puts)).error is None
    journal.close(1.0)
    (tmp_path / "new").mkdir()
    salvage(folder, tmp_path / "new")
    store = Store(tmp_path / "new", readonly=True)
    assert store.state.frames == 3000
    store.close()


@pytest.mark.parametrize(
    ("step", "answer", "words"),
    [
        ("walk", KeyboardInterrupt("stop"), "stop"),
        ("search", (-signal.SIGKILL, ""), "ended by signal 9"),
        ("search", (4, "mdb_put: No space left on device"), "disk full"),
    ],
)
def test_what_keeps_a_damaged_file_from_being_saved_costs_nothing(folder, monkeypatch, step, answer, words):
    """It stays in its place until all that can be read of it is in the new one."""
    journal = opened(folder)
    for start in range(0, 3000, 100):
        write(journal, range(start, start + 100))
    journal.close(1.0)
    with (folder / "data.mdb").open("r+b") as data:
        data.truncate((folder / "data.mdb").stat().st_size * 2 // 3)
    child = journal_check._child

    def interrupted(action, *folders, size):
        if action == step and isinstance(answer, BaseException):
            raise answer
        return answer if action == step else child(action, *folders, size=size)

    with monkeypatch.context() as patch:
        patch.setattr(journal_check, "_child", interrupted)
        with pytest.raises((JournalUnwritable, KeyboardInterrupt), match=words):
            opened(folder)
    assert not (folder / "salvage").exists()
    journal = opened(folder)
    assert "damaged" in journal.found[0]
    assert len(ordinals(journal)) >= 1000
    journal.close(1.0)


def test_counters_of_another_encoding_are_damage(tmp_path):
    """A receiver's name that is not UTF-8: the file is replaced, what can be read of it is saved."""
    journal = Journal(JournalOptions(path=str(tmp_path)), WALL)
    journal.claim("mqtts://broker:8883")
    write(journal, range(5))
    journal.close(1.0)
    data = tmp_path / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"mqtts://broker", b"mqtts://\xefroker"))
    journal = Journal(JournalOptions(path=str(tmp_path)), WALL)
    assert "damaged" in journal.found[0]
    assert ordinals(journal) == list(range(5))
    journal.close(2.0)


def test_a_newer_format_is_moved_aside_untouched(folder):
    """What a newer program wrote is not read, not deleted, and named."""
    journal = opened(folder)
    with journal.write() as (store, _):
        store.state.version = 9
    journal.close(1.0)
    before = (folder / "data.mdb").read_bytes()
    journal = opened(folder)
    assert "format 9" in journal.found[0]
    (aside,) = folder.glob("newer-*")
    assert (aside / "data.mdb").read_bytes() == before
    assert journal.state.frames == 0
    journal.close(1.0)


def test_only_an_unclean_end_is_checked_page_by_page(folder, monkeypatch):
    """After a clean end the look is a short one, unless somebody has touched the file since."""
    checked = []
    monkeypatch.setattr("pipeline.journal.check.check", lambda _, *, thorough: checked.append(thorough) or "")
    journal = opened(folder)
    write(journal, range(5))
    journal.close(1.0)
    opened(folder).close(1.0)
    os.utime(folder / "data.mdb", (1, 1))
    opened(folder).close(1.0)
    assert checked == [False, True]


def flip(folder, before, offset, mask):
    """Change a bit in every copy of something in the file; size and time stay as a clean end left them."""
    file = folder / "data.mdb"
    stat, content = file.stat(), bytearray(file.read_bytes())
    place, count = content.find(before), 0
    while place >= 0:
        content[place + len(before) + offset] ^= mask
        place, count = content.find(before, place + 1), count + 1
    assert count
    with file.open("r+b") as data:
        data.write(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize(
    ("before", "offset", "mask"),
    [
        (b"\xa8receiver", 9, 1),
        (b"\xa7version", 0, 2),
        (b"\xa3age\xcb", 1, 0x20),
        (b"\xa6frames", 2, 0x70),
        (b"\xa4next", 1, 0x10),
        (b"crc", -3, 1),
        (b"crc", 2, 1),
    ],
)
def test_one_wrong_bit_in_the_counters_costs_nothing(folder, before, offset, mask, clean):
    """Whatever it hits, the frames stay, go to the same receiver, are as old as they were, and are counted right."""
    journal = opened(folder)
    journal.claim("mqtt://broker:1883")
    for start in range(0, 3000, 300):
        write(journal, range(start, start + 300), age=20.0)
    before_damage = journal.state
    journal.close(21.0)
    flip(folder, before, offset, mask)
    if not clean:
        (folder / "clean").unlink()
    journal = opened(folder, max_age=Duration(60))
    journal.claim("mqtt://broker:1883")
    assert "counters were damaged; counted anew, 3000 frames" in " ".join(journal.found)
    assert not write(journal, (), age=journal.state.age, limits=True).evicted
    assert ordinals(journal) == list(range(3000))
    state = journal.state
    assert (state.frames, state.bytes, state.next, state.age) == (3000, before_damage.bytes, 3000, 20.0)
    assert (journal.lost, list(folder.glob("*-*"))) == (0, [])
    journal.close(22.0)
    journal = opened(folder)
    assert not journal.found
    journal.close(22.0)


def test_no_wrong_bit_in_the_counters_goes_unseen():
    """Every bit of the stored record, also of its checksum and of the names in it."""
    state = State(next=300, age=7.5, frames=200, bytes=70_000, receiver="mqtts://broker:8883")
    sound = journal_file._sealed(state)
    assert journal_file._unsealed(sound) == state
    for bit in range(8 * len(sound)):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="damaged counters"):
            journal_file._unsealed(bytes(damaged))


def test_counters_that_were_stored_without_a_checksum_are_read(folder):
    """A journal of an earlier version opens as it is, and one of this version could be read by that."""
    journal = opened(folder)
    write(journal, range(7))
    with journal.write() as (store, txn):
        stored = txn.get(b"state", db=store._state)
    assert msgspec.msgpack.decode(stored, type=State).frames == 7
    store = journal._store
    with store.env.begin(write=True) as txn:
        txn.put(b"state", msgspec.msgpack.encode(store.state), db=store._state)
    journal._store.close()
    journal._store = None
    journal.close(1.0)
    (folder / "frames").unlink()
    journal = opened(folder)
    assert not journal.found
    assert ordinals(journal) == list(range(7))
    assert journal.state.frames == 7
    journal.close(1.0)


def test_one_wrong_bit_in_a_batch_costs_a_record_at_most():
    """Anywhere: header, names, length of a record. Only its own bytes can cost a record, and only that one."""
    written = {n: record(n, topic=f"plc/{n % 2}") for n in range(5, 9)}
    value = records.encode_batch(5, list(written.values()), 1.0, WALL, compress=False)
    places = {value.index(r.plain) - 14 + offset for r in written.values() for offset in range(-4, 14 + len(r.plain))}
    for bit in range(8 * len(value)):
        damaged = bytearray(value)
        damaged[bit // 8] ^= 1 << bit % 8
        sound, _, missing = records.decode_batch(5, bytes(damaged))
        assert len(sound) + missing == records.count_of(bytes(damaged)) == 4
        assert missing == (bit // 8 in places), bit
        assert all((r.body, r.topic) == (written[r.n].body, written[r.n].topic) for r in sound)


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize(("bits", "hit", "lost"), [((11,), False, 0), ((11, 20, 30), False, 0), ((11, 20), True, 3)])
def test_a_damaged_header_loses_no_record(folder, clean, bits, hit, lost):
    """Records that are sound are read, the batch is made whole, and the count is right, also of what is lost."""
    journal = opened(folder)
    for start in range(0, 1000, 100):
        # Ordinals leave gaps where frames were acknowledged in time.
        write(journal, range(2 * start, 2 * start + 200, 2))
    journal.close(1.0)
    file = folder / "data.mdb"
    stat, content = file.stat(), bytearray(file.read_bytes())
    for key in (400, 600, 1200):
        place = content.index(b"PJ\x01\0" + (100).to_bytes(4, "big"), 8192)
        while content[place + 12 : place + 20] != key.to_bytes(8, "big"):
            place = content.index(b"PJ\x01\0", place + 1)
        for bit in bits:
            content[place + bit] ^= 1
        if hit:
            content[content.index(b'{"n":%d}' % (key + 10), place)] ^= 1
    file.write_bytes(content)
    if clean:
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    journal = opened(folder)
    outcome = journal.round(Work(age=1.0, wall=WALL, read=(0, float("inf"))))
    assert (outcome.damaged, journal.lost, journal.found) == (lost, 0, [])
    assert len(ordinals(journal)) == journal.state.frames == 1000 - lost
    assert sum(entry.count for entry in journal_tools_dead(journal)) == lost
    write(journal, (), done=list(range(0, 2000, 200)))
    assert (journal.state.frames, journal.state.bytes) == (0, 0)
    journal.close(1.0)


def journal_tools_dead(journal):
    """The dead letters of an open journal."""
    with journal.look() as (store, txn):
        return list(journal_tools.dead_entries(store, txn))


@pytest.mark.parametrize("damage", [b"hello world\n" * 1000, bytes(50_000), b"", 100, 4096, None])
def test_frames_lost_with_their_file_are_told_and_counted(folder, tmp_path, damage):
    """Whatever has become of it: how many were in it stands beside it."""
    journal = opened(tmp_path / "source")
    write(journal, range(3000))
    write(journal, range(3000, 3100), done=[0])
    waiting = journal.state.frames
    shutil.copytree(tmp_path / "source", folder)
    journal.close(1.0)
    file = folder / "data.mdb"
    if damage is None:
        file.unlink()
    elif isinstance(damage, int):
        os.truncate(file, damage)
    else:
        file.write_bytes(damage)
    journal = opened(folder)
    assert (journal.lost, journal.state.frames) == (waiting, 0)
    assert f"{waiting} " in journal.found[0]
    assert "lost" in journal.found[0]
    journal.close(1.0)
    journal = opened(folder)
    assert (journal.lost, journal.found) == (0, [])
    journal.close(1.0)


def test_what_cannot_be_known_of_a_loss_is_said(folder):
    """A journal of an earlier version has no count beside it."""
    folder.mkdir(parents=True)
    (folder / "data.mdb").write_bytes(b"hello")
    journal = opened(folder)
    assert "0 frames were saved, how many are lost can't be told" in journal.found[0]
    assert journal.lost == 0
    journal.close(1.0)


@pytest.mark.parametrize("other", [False, True])
def test_a_file_taken_away_while_it_is_open_is_written_anew(folder, tmp_path, other):
    """The open file still has everything: nothing is lost, it is said, and the lock holds in the new folder."""
    opened(tmp_path / "other").close(1.0)
    journal = opened(folder)
    journal.claim("mqtt://broker:1883")
    write(journal, range(2500))
    shutil.rmtree(folder)
    if other:
        shutil.copytree(tmp_path / "other", folder)
    outcome = write(journal, range(2500, 2600), done=[0])
    assert ("was replaced" if other else "was removed") in outcome.mended
    assert ordinals(journal) == list(range(1000, 2600))
    assert not write(journal, range(2600, 2700)).mended
    assert len(list(folder.glob("other-*"))) == other
    with pytest.raises(JournalLocked):
        opened(folder)
    shutil.rmtree(folder)
    assert journal.close(1.0) == 0
    journal = opened(folder)
    assert (ordinals(journal), journal.found) == (list(range(1000, 2700)), [])
    journal.close(1.0)


def test_what_cannot_be_written_anew_stays_until_it_can(folder):
    """A file stands where the folder was: an error; the frames stay with this process, and are counted at last."""
    journal = opened(folder)
    write(journal, range(10))
    shutil.rmtree(folder)
    folder.write_text("x")
    outcome = journal.round(Work(age=1.0, wall=WALL, next=11, puts=[record(10)]))
    assert isinstance(outcome.error, JournalError | OSError)
    assert outcome.unwritten
    folder.unlink()
    assert write(journal, [10]).mended
    assert ordinals(journal) == list(range(11))
    shutil.rmtree(folder)
    folder.write_text("x")
    assert journal.close(1.0) == 11


def test_a_file_cut_off_while_it_is_open_is_not_touched(folder):
    """Its map would end the process by a signal: it is closed, and opening it again heals it and counts the loss."""
    journal = opened(folder)
    write(journal, range(3000))
    os.truncate(folder / "data.mdb", 20_000)
    outcome = journal.round(Work(age=1.0, wall=WALL, next=3001, puts=[record(3000)], read=(0, float("inf"))))
    assert (outcome.broken, outcome.unwritten, outcome.unread) == (True, True, True)
    assert "cut off while it was open" in str(outcome.error)
    with pytest.raises(JournalError, match="cut off"), journal.look():
        pass
    journal.close(1.0)
    journal = opened(folder)
    assert journal.lost == 3000 - journal.state.frames
    assert f"{journal.lost} are lost" in journal.found[0]
    journal.close(1.0)


def test_wild_pages_behind_the_mark_of_a_clean_end_are_found(folder):
    """The mark speaks of size and time only: the file is looked through before this process maps it."""
    journal = opened(folder)
    for start in range(0, 3000, 100):
        write(journal, range(start, start + 100))
    journal.close(1.0)
    file = folder / "data.mdb"
    stat, content = file.stat(), bytearray(file.read_bytes())
    chance = random.Random(5)  # noqa: S311 - repeatable damage
    for page in range(2 * 4096, len(content), 4096):
        if content[page + 10] in {1, 2}:
            content[page + 16 : page + 60] = chance.randbytes(44)
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    journal = opened(folder)
    assert "damaged" in journal.found[0]
    assert ordinals(journal) == list(range(3000))
    journal.close(1.0)


@pytest.mark.parametrize("obstacle", ["lock file", "slow", "killed", "no memory"])
def test_what_keeps_a_journal_from_being_read_is_not_its_damage(folder, monkeypatch, obstacle):
    """It is left where it is, and is whole when the obstacle is gone."""
    journal = opened(folder)
    write(journal, range(10))
    journal.close(1.0)
    (folder / "lock.mdb").unlink()
    with monkeypatch.context() as patch:
        if obstacle == "lock file":
            (folder / "lock.mdb").mkdir()
        else:
            done = subprocess.CompletedProcess((), -signal.SIGKILL, "", "")
            end = {"killed": done, "slow": subprocess.TimeoutExpired("x", 1), "no memory": OSError(12, "no memory")}
            patch.setattr(subprocess, "run", Mock(side_effect=[end[obstacle]]))
        words = {"lock file": r"lock\.mdb'; remove it", "slow": "too slow", "killed": "signal 9", "no memory": "memory"}
        with pytest.raises(JournalUnwritable, match=words[obstacle]):
            opened(folder)
    if obstacle == "lock file":
        (folder / "lock.mdb").rmdir()
    journal = opened(folder)
    assert (ordinals(journal), journal.found) == (list(range(10)), [])
    journal.close(1.0)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (lmdb.DiskError("mdb_txn_commit: No space left on device"), "disk full"),
        (OSError(30, "Read-only file system"), "read-only file system"),
        (lmdb.PanicError("mdb_txn_begin: MDB_PANIC"), "MDB_PANIC"),
    ],
)
def test_a_failing_disk_is_an_answer_and_reading_goes_on(folder, monkeypatch, error, words):
    """Nothing is raised, the counters stay true, the same work succeeds when the disk is well again."""
    journal = opened(folder)
    write(journal, range(5))
    work = Work(age=2.0, wall=WALL, next=10, puts=[record(n) for n in range(5, 10)], done=[0], read=(0, float("inf")))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "append", Mock(side_effect=error))
        outcome = journal.round(work)
    assert outcome.unwritten
    assert words in explain(outcome.error, folder)
    assert [r.n for loaded in outcome.loaded for r in loaded.records] == list(range(5))
    assert outcome.state.frames == 5
    outcome = journal.round(work)
    assert outcome.error is None
    assert [r.n for loaded in outcome.loaded for r in loaded.records] == list(range(5, 10))
    journal.close(1.0)


def test_a_new_journal_has_all_its_tables_or_none(folder):
    """They come in one transaction, so that no power cut can leave some of them and look like damage."""
    folder.mkdir(parents=True)
    store = Store(folder)
    assert store.env.info()["last_txnid"] == 1
    store.close()


def test_a_map_that_is_too_small_grows(folder, monkeypatch):
    """The map begins small; a full one is no failure until it has reached its limit."""
    monkeypatch.setattr("pipeline.journal.file._FIRST_MAP", 256 * 1024)
    monkeypatch.setattr("pipeline.journal.file._SLACK", 0)
    journal = opened(folder, max_size=Size(1024 * 1024), when_full=WhenFull.DROP_NEWEST)
    body = os.urandom(4000)
    outcome = Outcome(State())
    written = 0
    while outcome.error is None:
        puts = [record(n, body=body) for n in range(written, written + 50)]
        outcome = journal.round(Work(age=1.0, wall=WALL, next=written + 50, puts=puts))
        written += 50
    assert isinstance(outcome.error, lmdb.MapFullError)
    assert written > 300
    assert ordinals(journal) == list(range(written - 50))
    assert write(journal, (), done=[0, 16, 32]).error is None
    journal.close(1.0)


class JournalAgainstModel(RuleBasedStateMachine):
    """A journal, killed and reopened at will, against a list."""

    @initialize(compress=st.booleans(), keep=st.booleans())
    def open(self, compress, keep):
        """Start empty."""
        self.root = Path(tempfile.mkdtemp())
        self.options = {
            "compression": Compression.ZSTD if compress else Compression.NONE,
            "keep_after_ack": Duration(1000) if keep else Duration(0),
        }
        self.lives = 0
        self.folder = self.root / "0"
        self.journal = opened(self.folder, **self.options)
        self.batches = {}
        self.next = 0

    @rule(count=st.integers(1, 1500), gap=st.integers(0, 3))
    def append(self, count, gap):
        """A commit of some records; ordinals may have gaps where frames were acknowledged in time."""
        numbers = list(range(self.next + gap, self.next + gap + count))
        written = write(self.journal, numbers).written
        assert sum(batch.count for batch in written) == count
        for batch in written:
            self.batches[batch.key] = numbers[: batch.count]
            numbers = numbers[batch.count :]
        self.next += gap + count

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def acknowledge(self, data):
        """Some batches are done."""
        done = data.draw(st.lists(st.sampled_from(sorted(self.batches)), unique=True, min_size=1, max_size=3))
        write(self.journal, (), done=done)
        for key in done:
            del self.batches[key]

    @rule(clean=st.booleans())
    def restart(self, clean):
        """The process ends, in order or not, and another one comes."""
        self.lives += 1
        after = self.root / str(self.lives)
        if clean:
            self.journal.close(1.0)
            self.journal = opened(self.folder, **self.options)
        else:
            crash(after, self.folder)
            self.journal.close(1.0)
            self.folder = after
            self.journal = opened(self.folder, **self.options)
        assert not self.journal.found
        assert self.journal.state.next >= max((n[-1] + 1 for n in self.batches.values()), default=0)
        self.next = self.journal.state.next

    @invariant()
    def agrees(self):
        """What waits is what was committed and not acknowledged, in order; the counters say so too."""
        expected = [n for key in sorted(self.batches) for n in self.batches[key]]
        assert ordinals(self.journal) == expected
        assert self.journal.state.frames == len(expected)

    def teardown(self):
        """Remove everything."""
        self.journal.close(1.0)
        shutil.rmtree(self.root)


JournalAgainstModel.TestCase.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
TestJournalAgainstModel = JournalAgainstModel.TestCase
