"""A replay gives what was there when it was recorded: values, time stamps, failures, isolated tags."""

import random
import time
from pathlib import Path

import msgspec
import pytest

from pipeline.config import load, load_text
from pipeline.errors import UsageError
from pipeline.frame import Kind
from pipeline.recording.format import Recording, read
from pipeline.recording.replay import outlets, play_frames, play_recording
from tests.parts.recording import TEXT, a_bad_day, a_quiet_day, graph, lines, recorded

PAIRS = sorted((Path(__file__).parents[2] / "recordings").iterdir())


def played(recording, inputs=("press",), onto=None, **options):
    """The frames of a replay, and what the user is told."""
    seen = []
    told = play_recording(onto or graph(), recording, seen.extend, inputs=inputs, **options)
    return seen, told


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Half a minute of nothing but values: the frames that the source gave, and the recording's path."""
    path = tmp_path_factory.mktemp("quiet") / "x.rec"
    return lines(recorded(path, a_quiet_day)), path


@pytest.mark.parametrize("folder", PAIRS, ids=lambda folder: folder.name)
def test_a_shipped_recording_gives_its_expected_frames(folder):
    """What `record --as-test` writes: answers, graph, frames."""
    loaded = load(folder / "graph.yaml", {})
    frames, told = played(read(folder / "answers.rec"), outlets(loaded), loaded)
    assert told == []
    assert lines(frames) == (folder / "frames.jsonl").read_text().splitlines()


@pytest.mark.parametrize("seed", range(8))
def test_a_bad_day_is_replayed_frame_by_frame(seed, tmp_path):
    """Power off and on, silence, garbage, a refused tag: every frame comes again, in order, with its time stamp."""
    random.seed(seed)  # of the pauses between attempts to connect
    live = recorded(tmp_path / "x.rec", a_bad_day)
    random.seed(seed + 1)
    frames, told = played(read(tmp_path / "x.rec"))
    assert {frame.error for frame in live if frame.error} >= {"connection lost", "timeout", "invalid answer"}
    assert lines(frames) == lines(live)
    assert told == []


def test_transforms_run_and_a_frame_is_given_once(quiet):
    """Heartbeats come from the graph's own transform; what reaches two sinks comes once."""
    live, path = quiet
    frames, _ = played(read(path), outlets(graph()))
    kinds = [frame.kind for frame in frames]
    assert kinds.count(Kind.DATA) == len(live)
    assert kinds.count(Kind.HEARTBEAT) > 0
    assert outlets(graph()) == ["press", "beat"]


def test_what_the_running_graph_remembers_is_neither_used_nor_touched(quiet, tmp_path):
    """Its state file stays as it is, and nothing of it is in the results."""
    _, path = quiet
    file = tmp_path / "oee.json"
    file.write_text("of the running graph")
    oee = f"  oee: {{type: oee, from: press, running: on, good: parts, ideal_rate: 30, state: {file}}}\n"
    played(read(path), ["press", "oee"], load_text(TEXT.replace("transforms:\n", f"transforms:\n{oee}"), Path("x"), {}))
    assert file.read_text() == "of the running graph"
    assert [each.name for each in tmp_path.iterdir()] == ["oee.json"]


def test_a_middle_piece_is_replayed_as_the_whole_would_be(quiet):
    """The flight recorder's files begin anywhere: the connection stands, and no answer is lost or doubled."""
    live, path = quiet
    whole = read(path)
    begin = 12.34
    lines_before = {record.actor: record for record in whole.records if record.event == 0}
    piece = [*lines_before.values(), *(record for record in whole.records if record.at >= begin)]
    header = msgspec.structs.replace(whole.header, begin=begin)
    frames, told = played(Recording(header, piece, ""))
    late = [line for line in live if float(line[6:].partition(",")[0]) >= whole.header.started + begin]
    assert sorted(lines(frames)) == sorted(late)
    assert told == []


def test_a_graph_that_reads_otherwise_is_told_and_gets_nothing_invented(quiet):
    """Another block is no block that the recording has: it is refused, the rest flows."""
    _, path = quiet
    other = load_text(TEXT.replace("{db: 2,", "{db: 7,"), Path("line.yaml"), {})
    frames, told = played(read(path), onto=other)
    assert [frame.error for frame in frames if frame.error] == ["object does not exist"] * 2
    assert {frame.origin.db for frame in frames if frame.kind is Kind.DATA} == {1, None}
    assert len(told) == 2
    assert "are not in the recording" in told[0]
    assert "were not asked for" in told[1]


def test_another_graph_is_refused(quiet):
    """Its sources have other names."""
    _, path = quiet
    text = (
        TEXT.replace("press:\n    type", "saw:\n    type").replace("from: press", "from: saw").replace("press]", "saw]")
    )
    other = load_text(text, Path("line.yaml"), {})
    with pytest.raises(UsageError, match=r"the recording is of press, the graph's sources are saw"):
        played(read(path), onto=other)


def test_what_is_left_of_a_damaged_recording_is_replayed(quiet, tmp_path):
    """Up to the first part that is not whole."""
    live, path = quiet
    cut = tmp_path / "cut.rec"
    cut.write_bytes(path.read_bytes()[:-7])
    recording = read(cut)
    assert "it ends inside of a part" in recording.damage
    frames, _ = played(recording)
    assert lines(frames) == live[: len(frames)]
    assert len(live) - 12 < len(frames) < len(live)


def test_a_recording_that_is_damaged_from_its_beginning_on_says_so(quiet, tmp_path):
    """It is not the graph that is wrong."""
    _, path = quiet
    cut = tmp_path / "cut.rec"
    content = path.read_bytes()
    cut.write_bytes(content[: content.index(b"\n") + 30])
    with pytest.raises(UsageError, match="nothing of the recording can be read: it ends inside of a part, 29 bytes"):
        played(read(cut))


def test_time_passes_as_fast_as_told(quiet):
    """The loop waits for real: a recording of 30 s at 300 times the speed takes a tenth of a second or more."""
    live, path = quiet
    began = time.monotonic()
    frames, _ = played(read(path), speed=300)
    assert time.monotonic() - began >= 0.1
    assert sorted(lines(frames)) == sorted(live)


def test_frames_are_replayed_through_the_transforms(quiet, tmp_path):
    """JSON lines with the node that they left, as `record --frames` writes them."""
    live, _ = quiet
    path = tmp_path / "frames.jsonl"
    path.write_text("".join(f'{line[:-1]},"node":"press"}}\n' for line in live))
    seen = []
    assert play_frames(graph(), path, seen.extend, inputs=["beat"]) == []
    assert lines([frame for frame in seen if frame.kind is Kind.DATA]) == live
    assert any(frame.kind is Kind.HEARTBEAT for frame in seen)


def test_an_editor_may_have_saved_the_frames(quiet, tmp_path):
    """A mark at the beginning, other line ends, empty lines: the frames are the same."""
    live, _ = quiet
    path = tmp_path / "frames.jsonl"
    text = "\r\n".join(f'{line[:-1]},"node":"press"}}' for line in live)
    path.write_text(f"\ufeff\n{text}\r\n\n", encoding="utf-8", newline="")
    seen = []
    assert play_frames(graph(), path, seen.extend, inputs=["press"]) == []
    assert lines(seen) == live


@pytest.mark.parametrize(("line", "words"), [("{}", "1: not a frame"), ("no", "1: not a frame")])
def test_a_line_that_is_no_frame_is_named(line, words, tmp_path):
    """With its number."""
    path = tmp_path / "frames.jsonl"
    path.write_text(line)
    with pytest.raises(UsageError, match=words):
        play_frames(graph(), path, len, inputs=["press"])
