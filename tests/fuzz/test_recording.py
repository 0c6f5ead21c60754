"""Damaged recordings: what is read is what was written, within bounded memory; others are refused in words."""

import json

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import run_virtual
from pipeline.errors import ReadError, UsageError
from pipeline.recording.format import Event, Header, Record, Writer, read
from pipeline.recording.tape import Tape, WallClock
from tests.parts.fuzzing import damaged, fuzzed, worded

HEADER = Header(graph="line", boot="01JD", started=1.7e9, sources={"press": "s7"})
ENTRIES = [(n * 0.5, 1.7e9 + n * 0.5, "press/one", Event.ANSWERED, b"asked", bytes([n]) * 40) for n in range(9)]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a recording of three parts."""
    path = tmp_path_factory.mktemp("good") / "x.rec"
    writer = Writer(path, HEADER)
    for at in (0, 3, 6):
        writer.write(ENTRIES[at : at + 3])
    writer.close()
    return path.read_bytes()


@fuzzed()
@given(data=st.data())
def test_a_damaged_file_gives_only_what_was_written(data, good, tmp_path_factory):
    """Whole parts with right checksums come back, in any number; the rest is told as damage, or the file refused."""
    path = tmp_path_factory.getbasetemp() / "x.rec"
    path.write_bytes(data.draw(damaged([good, good[:120] + good])))
    try:
        recording = read(path)
    except UsageError as error:
        worded(error, "x.rec")
    else:
        wanted = [Record(*entry) for entry in ENTRIES]
        assert all(record in wanted for record in recording.records)
        assert recording.end >= recording.header.begin


parts = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(), st.text(max_size=9), st.binary(max_size=9)),
    lambda inner: st.lists(inner, max_size=7),
    max_leaves=20,
)


@fuzzed()
@given(part=parts)
def test_a_part_of_something_else_is_damage(part, tmp_path_factory):
    """Its checksum is right, and what is in it is no record."""
    path = tmp_path_factory.getbasetemp() / "other.rec"
    body = zstandard.ZstdCompressor(write_checksum=True).compress(msgspec.msgpack.encode(part))
    path.write_bytes(msgspec.json.encode(HEADER) + b"\n" + body)
    recording = read(path)
    assert all(isinstance(record, Record) for record in recording.records)
    assert recording.damage or isinstance(part, list)


records = st.builds(
    Record,
    at=st.floats(-1e9, 1e9),
    wall=st.floats(0, 4e9),
    actor=st.just("press/one"),
    event=st.sampled_from(Event),
    asked=st.sampled_from([b"", b"a", b"b"]),
    answer=st.one_of(st.binary(max_size=9), st.just(json.dumps(["timeout", "", ""]).encode()), st.just(b'["a", 1]')),
)


@fuzzed(0.5)
@given(st.lists(records, max_size=8))
def test_any_tape_plays(tape):
    """Records of a stranger, in any order: each question ends with an answer, a reason, or nothing."""

    async def main(loop):
        errors, given_ = [], []
        loop.set_exception_handler(lambda _, context: errors.append(context))
        player = Tape(tape, loop, WallClock(loop, 1.7e9))
        player.index(lambda asked: asked)
        for question in (b"a", b"b", b"a"):
            try:
                await player.admit()
                player.connected(lambda error: given_.append(error.reason))
                player.ask(question, lambda answer: bool(given_.append(answer)) or True)
            except ReadError as error:
                given_.append(error.reason)
        assert errors == []

    run_virtual(main)
