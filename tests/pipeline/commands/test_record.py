"""`record`, `replay` and `tap` as their user meets them, on a simulated PLC."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.recording.format import read
from tests.parts.line import ROOT, Line
from tests.parts.receiver import receiver_thread
from tests.parts.waiting import free_port, wait_until

PAIR = ROOT / "tests" / "recordings" / "bad_day"
TEXT = """
http: {listen: "127.0.0.1:${METRICS_PORT:-9108}", token: sesame}
layouts:
  press: {size: 14, fields: {current: REAL @ 2, parts: INT @ 12}}
sources:
  press: {type: s7, address: 127.0.0.1, port: "${PLC_PORT}", every: 100ms, blocks: [{db: 1, layout: press}]}
sinks:
  out: {type: file, from: press, folder: out}
  copy: {type: s7_mirror, from: press, target: {address: 127.0.0.2}, allow: [DB1.0..13]}
"""


@pytest.fixture
def plc(strict_plc, monkeypatch):
    """A PLC whose port the graph finds in its environment."""
    started = strict_plc({1: bytearray(range(14))})
    monkeypatch.setenv("PLC_PORT", str(started.port))
    return started


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The graph, in the folder where commands run."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "line.yaml"
    path.write_text(TEXT)
    return path


@pytest.mark.usefixtures("plc")
def test_a_line_is_recorded_and_replayed(file, run):
    """The frames of the recording time are those of the replay; no sink has run."""
    code, _, err = run("record", file, "-o", "x.rec", "--for", "1s", "--frames", "f.jsonl")
    assert code == 0, err
    recording = read(Path("x.rec"))
    assert f"x.rec: {sum(record.event == 1 for record in recording.records)} answers" in err
    live = [json.loads(line) for line in Path("f.jsonl").read_text().splitlines()]
    assert {frame.pop("node") for frame in live} == {"press"}
    code, out, err = run("replay", "x.rec", file)
    again = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [(frame["ts"], frame["values"]) for frame in again] == [(frame["ts"], frame["values"]) for frame in live]
    code, out, _ = run("replay", "f.jsonl", file, "--node", "press", "--speed", "10")
    assert [json.loads(line) for line in out.splitlines()] == live
    assert not Path("out").exists()


@pytest.mark.usefixtures("plc")
def test_a_test_is_a_folder_that_replays_to_itself(file, run, monkeypatch):
    """Answers, graph, frames, and a test of them that needs no variable and fails when a value differs."""
    code, _, err = run("record", file, "--as-test", "case", "--for", "500ms")
    assert code == 0, err
    written = ["answers.rec", "frames.jsonl", "graph.test.yaml", "graph.yaml"]
    assert sorted(path.name for path in Path("case").iterdir()) == written
    _, out, _ = run("replay", "case/answers.rec", "case/graph.yaml")
    frames = Path("case/frames.jsonl")
    assert out == frames.read_text()
    assert out.count("\n") >= 3
    monkeypatch.delenv("PLC_PORT")
    code, out, err = run("test", "case")
    assert (code, err) == (0, ""), out
    frames.write_text(frames.read_text().replace("3085", "3086", 2).replace("3086", "3085", 1))
    code, out, _ = run("test", "case")
    assert code == 1
    assert "frame 2: values.parts: expected 3086, got 3085" in out


@pytest.mark.usefixtures("plc")
def test_a_test_that_was_recorded_holds_no_secret(file, run, monkeypatch):
    """Neither one that an option hides, nor one whose name tells it; other variables stand as they were."""
    sink = 'sinks:\n  web: {type: webhook, from: press, url: "${HOOK}", field: x, firing: [1]}\n'
    file.write_text(TEXT.partition("sinks:")[0].replace("sesame", '"${EDGE_TOKEN}"') + sink)
    monkeypatch.setenv("HOOK", "https://alerts.example/hush")
    monkeypatch.setenv("EDGE_TOKEN", "sesame-open")
    monkeypatch.setenv("UNASKED", "unasked")
    code, _, err = run("record", file, "--as-test", "case", "--for", "300ms")
    assert code == 0, err
    written = Path("case/graph.test.yaml").read_text()
    assert [word for word in ("hush", "sesame", "unasked") if word in written] == []
    assert f'PLC_PORT: "{os.environ["PLC_PORT"]}"' in written
    assert written.count(': "secret"') == 1
    assert 'HOOK: "https://alerts.example/secret"' in written
    assert run("check", "case/graph.yaml")[0] == 0
    assert run("test", "case")[0] == 0


CLEAR = """
  web:
    type: webhook
    from: press
    url: https://alerts.example:8443/segredo2?x=1  # the url
    field: x
    firing: [1]
    token: 'it''s segredo3'
    headers: {X-Line: "segredo4", X-Other: "${HEADER:-segredo5}"}
  broker: {type: mqtt, from: press, host: b, username: ana, password: segredo6, tls: {enabled: false}}
  off: {enabled: false, type: mqtt, from: press, host: "${UNSET}", username: ana, password: segredo7}
"""


@pytest.mark.usefixtures("plc")
def test_a_secret_that_stands_in_clear_is_not_copied(file, run, monkeypatch):
    """In any form of YAML, in an address, as a default, of a disabled node; the rest of the file stays, and it runs."""
    monkeypatch.setenv("HEADER", "segredo8")
    text = TEXT.partition("sinks:")[0] + "sinks:" + CLEAR
    file.write_text(text)
    code, _, err = run("record", file, "--as-test", "case", "--for", "300ms")
    assert code == 0, err
    old = text.split("\n")
    told = [number for number, line in enumerate(old, 1) if "segredo" in line or "sesame" in line]
    assert f"graph.yaml: no secret of the graph is in it; changed: line {', '.join(map(str, told))}" in err
    copied = Path("case/graph.yaml").read_text()
    assert "segredo" not in copied + Path("case/graph.test.yaml").read_text()
    assert "sesame" not in copied
    assert 'url: "https://alerts.example:8443/secret"  # the url' in copied
    new = copied.split("\n")
    assert [number for number, (a, b) in enumerate(zip(old, new, strict=True), 1) if a != b] == told
    assert run("test", "case")[0] == 0


@pytest.mark.usefixtures("plc")
def test_a_recording_that_is_there_becomes_a_test(file, run):
    """One of the flight recorder, from elsewhere; one whose recording was killed before its test was written."""
    run("record", file, "-o", "x.rec", "--for", "300ms")
    code, _, err = run("record", file, "--as-test", "case", "--from", "x.rec")
    assert code == 0, err
    written = ["answers.rec", "frames.jsonl", "graph.test.yaml", "graph.yaml"]
    assert sorted(path.name for path in Path("case").iterdir()) == written
    assert Path("case/answers.rec").read_bytes() == Path("x.rec").read_bytes()
    assert run("test", "case")[0] == 0
    Path("killed").mkdir()
    Path("killed/answers.rec").write_bytes(Path("x.rec").read_bytes() + b"torn")
    code, _, err = run("record", file, "--as-test", "killed", "--for", "300ms")
    assert code == 1
    assert "or make the test of it: --as-test killed --from killed/answers.rec" in err
    code, _, err = run("record", file, "--as-test", "killed", "--from", "killed/answers.rec")
    assert code == 0, err
    assert sorted(path.name for path in Path("killed").iterdir()) == written
    before = Path("killed/graph.test.yaml").read_bytes()
    code, _, err = run("record", file, "--as-test", "killed", "--from", "killed/answers.rec")
    assert (code, Path("killed/graph.test.yaml").read_bytes()) == (1, before)
    assert "'killed/graph.test.yaml' is there already, and is not written over; name another folder" in err


def test_a_replay_gives_a_named_sink_its_frames_and_no_other(plc, file, tmp_path, run):
    """The sink connects and writes for real; the mirror is refused, and the PLC is not asked."""
    run("record", file, "-o", "x.rec", "--for", "500ms")
    expected = run("replay", "x.rec", file)[1]
    reads = plc.reads
    assert run("replay", "x.rec", file, "--sink", "out")[0] == 0
    written = "".join(path.read_text() for path in sorted((tmp_path / "out").iterdir()))
    assert [json.loads(line)["ts"] for line in written.splitlines()] == [
        json.loads(line)["ts"] for line in expected.splitlines()
    ]
    code, out, err = run("replay", "x.rec", file, "--sink", "copy")
    assert (code, out) == (1, "")
    assert err.startswith("error: sink 'copy' writes into a PLC")
    assert plc.reads == reads


def test_a_replay_ends_when_the_receiver_has_all_of_it(file, run, monkeypatch):
    """One that is slow gets all; what one that is away did not get is told, and comes with the next replay."""
    monkeypatch.setenv("PLC_PORT", "102")
    frame = '{{"ts":{},"ip":"127.0.0.1","measurement":"press","values":{{"n":{}}},"node":"press"}}\n'
    Path("f.jsonl").write_text("".join(frame.format(1_731_800_000 + n / 100, n) for n in range(200)))
    file.write_text(TEXT + "  web: {type: http, from: press, url: 'http://127.0.0.1:${WEB}/in', batch: 10}\n")
    command = ("replay", "f.jsonl", str(file), "--sink", "web")
    with receiver_thread() as server:
        monkeypatch.setenv("WEB", str(server.port))
        server.answer = lambda _: 503
        away = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *command],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert away.stderr is not None
        told = next((line for line in away.stderr if "still wait" in line), "")
        assert told.startswith("200 frames still wait for sink 'web' (")
        away.send_signal(signal.SIGINT)
        assert (
            "error: sink 'web' has not got all: 200 frames wait in 'data/line-replay/web'; "
            "the next replay into it sends them first\n" in away.communicate(timeout=30)[1]
        )
        assert away.returncode == 2
        server.answer, server.delay = (lambda _: 204), 0.02
        assert run(*command) == (0, "", "")
        assert server.numbers == [*range(200), *range(200)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["record", "{file}"], "where to? Name the recording: -o line.rec"),
        (["record", "{file}", "-o", "{file}"], "is there already; a recording is never written over"),
        (["record", "{file}", "-o", "x.rec", "--for", "soon"], "--for: 'soon' is not a duration"),
        (["record", "{file}", "-o", "x.rec", "--frames", "{file}"], "' is there already, and is not written over"),
        (["record", "{file}", "-o", "x.rec", "--frames", "./x.rec"], "-o and --frames both name 'x.rec'; give each a"),
        (["record", "{file}", "-o", "x.rec", "--frames", "no/f"], "'no/f' can't be written: No such file or directory"),
        (["record", "{file}", "--as-test", "y", "--frames", "y/frames.jsonl"], "'y' gets the frames that are expected"),
        (["record", "{file}", "-o", "x.rec", "--as-test", "y"], "--as-test names the recording itself"),
        (
            ["record", "{file}", "--as-test", "{file}/x", "--for", "1s"],
            "line.yaml/x' can't be written: Not a directory",
        ),
        (["record", "{file}", "--as-test", "/proc/x", "--for", "1s"], "'/proc/x' can't be written: "),
        (["record", "{file}", "--from", "x.rec"], "give it --as-test DIR and nothing else"),
        (["record", "{file}", "--as-test", "y", "--from", "x.rec"], "recording 'x.rec' can't be read: No such file"),
        (["record", "{file}", "--as-test", "y", "--from", "{file}"], "is not a recording; `pipeline record FILE"),
        (["record", "{file}", "--as-test", "y", "--from", "{pair}", "--for", "1s"], "and nothing else"),
        (["replay", "x.rec", "{file}"], "'x.rec' can't be read: No such file"),
        (["replay", "{file}", "{file}"], "is not a recording; `pipeline record FILE -o line.yaml` makes one"),
        (["replay", "{pair}", "{file}", "--speed", "fast"], "--speed fast: write max, or how many times as fast"),
        (["replay", "{pair}", "{file}", "--sink", "ot"], "no enabled sink 'ot'; it has out, copy; did you mean 'out'?"),
        (["replay", "{pair}", "{file}", "--node", "pres"], "no source or transform 'pres'; did you mean 'press'?"),
        (["replay", "{pair}", "{file}", "--node", "press", "--sink", "out"], "--node chooses what is printed"),
        (["tap", "{file}", "press", "--filter", "a >"], "--filter: 'a >' is no expression"),
        (["tap", "{file}", "press"], "no pipeline answers at http://127.0.0.1:"),
    ],
)
@pytest.mark.usefixtures("plc")
def test_mistakes_are_told_in_a_line(arguments, words, file, run, monkeypatch):
    """What, where, what to do; nothing is left behind."""
    monkeypatch.setenv("METRICS_PORT", str(free_port()))
    filled = [argument.format(file=file, pair=PAIR / "answers.rec") for argument in arguments]
    code, out, err = run(*filled)
    assert (code, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1
    assert [path.name for path in file.parent.iterdir()] == ["line.yaml"]


@pytest.mark.usefixtures("plc")
def test_a_recording_of_no_time_is_none(file, run):
    """It does not say that it has made a file."""
    code, out, err = run("record", file, "-o", "x.rec", "--for", "0s")
    assert (code, out, err) == (2, "", "error: nothing came in that time, so there is no 'x.rec'; record for longer\n")
    assert not Path("x.rec").exists()


def test_a_plc_that_is_off_is_recorded_too(file, monkeypatch, run):
    """That it can't be reached is what there is to know."""
    monkeypatch.setenv("PLC_PORT", str(free_port()))
    code, _, err = run("record", file, "-o", "x.rec", "--for", "300ms")
    assert code == 0
    assert "x.rec: 0 answers" in err
    assert {record.event for record in read(Path("x.rec")).records} == {2}


def test_a_running_line_is_tapped_and_writes_what_it_remembers(plc, file, tmp_path):
    """Through its login, in each form; the flight recorder writes when the PLC goes, and its file can be replayed."""
    environment = {"PLC_PORT": str(plc.port), "DATA_DIR": "data"}
    text = TEXT.replace("  copy: ", "  # ")
    file.write_text(text)
    with Line(file, environment, tmp_path) as line:
        wait_until(lambda: "state=running" in line.log or '"running"' in line.log or line.exit_code is not None, "runs")
        wait_until((tmp_path / "out").exists, "frames are written")
        port = line.url.rpartition(":")[2]

        def command(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "pipeline", *arguments],
                env={**os.environ, **environment, "METRICS_PORT": port, "PYTHONPATH": str(ROOT)},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )

        json_lines = command("tap", str(file), "out", "--count", "2").stdout.splitlines()
        assert [set(json.loads(found)["values"]) for found in json_lines] == [{"current", "parts"}] * 2
        csv = command("tap", str(file), "press", "--count", "2", "--format", "csv", "--filter", "parts > 0").stdout
        assert [found.split(",")[-1] for found in csv.splitlines()] == ["parts", "3085", "3085"]
        table = command("tap", str(file), "press", "--count", "1", "--format", "table").stdout
        assert table.splitlines()[0].split() == ["time", "block", "current", "parts"]
        none = command("tap", str(file), "press", "--count", "1", "--filter", "parts > 0 or partz > 0").stderr
        assert "the first frame has no 'partz'; did you mean 'parts'?" in none
        file.write_text(text.replace("${PLC_PORT}", "${UNSET_HERE}"))
        assert (
            "no node 'pres' with frames runs in this graph; did you mean 'press'?"
            in command("tap", str(file), "pres").stderr
        )
        file.write_text(text)
        os.kill(line.pid, signal.SIGUSR1)
        folder = tmp_path / "data" / "line" / "recordings"
        wait_until(lambda: list(folder.glob("*.rec")), "it writes when asked")
        plc.fault = lambda _: [b""]
        wait_until(lambda: len(list(folder.glob("*.rec"))) == 2, "it writes when the source fails")
        latest = max(folder.glob("*.rec"))
        assert "press/127.0.0.1 left running: connection lost" in latest.read_bytes().partition(b"\n")[0].decode()
        replayed = command("replay", str(latest), str(file)).stdout.splitlines()
        assert len([found for found in replayed if '"parts":3085' in found]) >= 5
        assert '"error":"connection lost"' in replayed[-1]
