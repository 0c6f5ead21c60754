"""The file of a recording: what was written comes back, as much of it as is whole."""

import os
import tracemalloc

import msgspec
import pytest
import zstandard

from pipeline.errors import UsageError
from pipeline.recording.format import Event, Header, Record, Writer, read

HEADER = Header(graph="line", boot="01JD", started=1.7e9, sources={"press": "s7"})
ENTRIES = [(n * 0.5, 1.7e9 + n * 0.5, "press/one", Event.ANSWERED, bytearray(b"asked"), bytes([n])) for n in range(9)]


def written(path):
    """A recording of three parts; where each ends."""
    writer = Writer(path, HEADER)
    ends = [path.stat().st_size]
    for at in (0, 3, 6):
        writer.write(ENTRIES[at : at + 3])
        ends.append(path.stat().st_size)
    writer.write([])
    writer.close()
    return ends


def test_what_was_written_comes_back(tmp_path):
    """Header and records; nothing is damaged."""
    written(tmp_path / "x.rec")
    recording = read(tmp_path / "x.rec")
    assert (recording.header, recording.damage) == (HEADER, "")
    assert recording.records == [Record(*entry[:4], bytes(entry[4]), entry[5]) for entry in ENTRIES]
    assert recording.end == 4.0


def test_after_an_unclean_end_every_whole_part_comes_back(tmp_path):
    """Cut at each byte behind the header, the file gives exactly the parts before the cut."""
    path, cut = tmp_path / "x.rec", tmp_path / "cut.rec"
    ends = written(path)
    content = path.read_bytes()
    for size in range(ends[0], ends[-1] + 1):
        cut.write_bytes(content[:size])
        recording = read(cut)
        assert len(recording.records) == 3 * (sum(end <= size for end in ends) - 1)
        assert bool(recording.damage) is (size not in ends)


def test_a_disk_that_takes_a_part_in_part_has_not_taken_it(tmp_path):
    """The kernel writes what still fits and says so in a number: that is no recording that was written."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = Writer(tmp_path / "x.rec", HEADER)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        with pytest.raises(OSError, match="File too large"):
            writer.write([(*ENTRIES[0][:5], os.urandom(20_000))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        writer.close()


def test_a_changed_byte_is_noticed(tmp_path):
    """Each part has a checksum: nothing wrong is given, and the place is named."""
    path = tmp_path / "x.rec"
    ends = written(path)
    content = bytearray(path.read_bytes())
    content[(ends[1] + ends[2]) // 2] ^= 0x10
    path.write_bytes(content)
    recording = read(path)
    assert recording.records == [Record(*entry[:4], bytes(entry[4]), entry[5]) for entry in ENTRIES[:3]]
    assert "from byte" in recording.damage


def test_a_recording_is_never_written_over(tmp_path):
    """Evidence stays."""
    written(tmp_path / "x.rec")
    with pytest.raises(FileExistsError):
        Writer(tmp_path / "x.rec", HEADER)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a recording"),
        (b"sources:\n  press: {}\n", "is not a recording"),
        (b"\x28\xb5\x2f\xfd\n", "is not a recording"),
        (msgspec.json.encode(HEADER).replace(b"line", b"l\xefne") + b"\n", "is not a recording"),
        (b'{"more":' + b"[" * 9000 + b"\n", "is not a recording"),
        (msgspec.json.encode(msgspec.structs.replace(HEADER, recording=9)) + b"\n", "format 9, this program reads 1"),
    ],
)
def test_what_is_no_recording_is_refused(content, words, tmp_path):
    """With what to do."""
    path = tmp_path / "x.rec"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    """As its user wrote it."""
    with pytest.raises(UsageError, match=r"x\.rec' can't be read: No such file"):
        read(tmp_path / "x.rec")


def test_a_part_that_would_fill_the_memory_is_damage(tmp_path, monkeypatch):
    """A few kilobytes unpack to gigabytes: it is given up on the way there."""
    monkeypatch.setattr("pipeline.recording.format._LONGEST_PART", 1 << 20)
    path = tmp_path / "x.rec"
    ends = written(path)
    with path.open("ab") as file:
        file.write(zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 28)))
    tracemalloc.start()
    recording = read(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(recording.records) == len(ENTRIES)
    assert "a part of more than 1 MiB" in recording.damage
    assert recording.damage.startswith(f"damaged from byte {ends[-1] - ends[0]} ")
    assert most < 1 << 28


def test_a_text_of_another_encoding_inside_of_a_part_is_damage(tmp_path):
    """The checksum is right, what is in it is not; the parts before it stay."""
    path = tmp_path / "x.rec"
    written(path)
    with path.open("ab") as file:
        part = msgspec.msgpack.encode([ENTRIES[0]]).replace(b"press/one", b"press/\xefne")
        file.write(zstandard.ZstdCompressor(write_checksum=True).compress(part))
    recording = read(path)
    assert len(recording.records) == len(ENTRIES)
    assert "can't decode byte 0xef" in recording.damage
