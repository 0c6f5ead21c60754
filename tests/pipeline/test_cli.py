"""The command line as a user meets it: exit codes, one-line errors, every command's help."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from pipeline.cli import cli, main, shipped_graphs
from pipeline.clock import VirtualLoop, run_virtual
from pipeline.codecs import CODECS
from pipeline.delivery.delivery import Delivery
from pipeline.journal.journal import Journal
from pipeline.journal.options import JournalOptions
from pipeline.journal.records import Record
from pipeline.journal.work import Work
from pipeline.units import Duration
from tests.parts.engine import PLANT, data, make_context, origin
from tests.parts.waiting import eventually


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command in this process."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    out = capsys.readouterr()
    code = end.value.code
    assert isinstance(code, int)
    return code, out.out, out.err


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that line1 needs."""
    for name, value in PLANT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal with three waiting frames and a dead letter (n = 0)."""

    async def fill(loop: VirtualLoop) -> None:
        options = JournalOptions(path=str(tmp_path / "broker"), commit_interval=Duration(0))
        delivery = Delivery(
            make_context(loop), options, CODECS["full"], lambda _: ("plc/acme/press1", 1), "mqtts://broker:8883"
        )
        await delivery.open()
        delivery.connected(len, 100)
        delivery.accept([data(origin(), n=0)])
        await eventually(lambda: delivery.in_flight, "sent once it is on disk")
        delivery.refuse(0, "payload refused", permanent=True)
        delivery.accept([data(origin(), n=n) for n in range(1, 4)])
        assert await delivery.close(5) == 0

    run_virtual(fill)
    return tmp_path / "broker"


@pytest.mark.parametrize("name", cli.list_commands(cli.make_context("pipeline", ["--help"], resilient_parsing=True)))
def test_every_command_has_help_with_an_example_or_a_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` works and says what the command does."""
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: pipeline {name}")
    assert len(out.splitlines()[2].strip()) > 10


@pytest.mark.usefixtures("plant")
@pytest.mark.parametrize("name", list(shipped_graphs()))
def test_check_tells_what_a_shipped_graph_will_cost(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Good graphs exit 0 and end with a verdict; graphs that connect to PLCs tell how often."""
    code, out, _ = run(capsys, "check", name)
    assert code == 0
    assert ": good; " in out.splitlines()[-1]


def test_a_wrong_graph_exits_1_with_every_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each problem is a line that begins with file:line:column; no stack trace."""
    file = tmp_path / "bad.yaml"
    file.write_text("sources:\n  press: {type: s8, every: 1s}\nsinks:\n  out: {type: mqtt, from: pres, host: b}\n")
    for command in (["check", str(file)], [str(file)]):
        code, _, err = run(capsys, *command)
        assert code == 1
        assert f"{file}:2:17: node 'press': type: " in err
        assert "s7" in err
        assert f"{file}:4:27:" in err
        assert "Traceback" not in err


def test_mistakes_and_warnings_are_counted_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A warning alone would have refused nothing; a file's name that can't be a graph's is told as that."""
    path = tmp_path / "a b.yaml"
    path.write_text(
        "sources: {s: {type: s7, address: a, every: 1s, tags: {n: M0.0}, prot: 7}}\n"
        "sinks: {o: {type: mqtt, from: s, host: b, username: u, password: x}}\n"
    )
    code, _, err = run(capsys, "check", str(path))
    assert code == 1
    assert "name: is missing, and the file's name can't stand for it: must be a letter or digit, then" in err
    assert "got 'a b'; write a line `name: …`\n" in err
    assert "\n2 problems, 1 warning, nothing was started\n" in err


def test_a_shipped_graph_is_run_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pipeline line1` means `run configs/line1.yaml`, from any folder: here it is told what it lacks."""
    monkeypatch.chdir(tmp_path)
    for name in ("line1", "line1.yaml", "configs/line1.yaml"):
        code, _, err = run(capsys, name)
        assert code == 1
        assert "environment variable PLC_IP is not set" in err


def test_check_warns_of_what_the_start_would_miss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that are not there yet, and a topic's field that no block has a tag for: warnings with their places."""
    file = tmp_path / "line.yaml"
    file.write_text(
        "sources:\n"
        "  press: {type: s7, every: 1s, address: 10.0.0.1, plc_id: p, tags: {x: M0.0}}\n"
        "sinks:\n"
        "  broker:\n"
        "    {type: mqtt, from: press, host: h, username: u, topic: 'plc/{hall}/{plc_id}',\n"
        "     password: {file: /nowhere/password}, tls: {ca_file: /nowhere/ca.crt}, journal: {path: j}}\n"
    )
    code, out, err = run(capsys, "check", str(file))
    assert code == 0
    told = out + err
    for place, warning in (
        ("6:23", "password.file: there is no file '/nowhere/password' yet"),
        ("6:58", "tls.ca_file: there is no file '/nowhere/ca.crt' yet"),
        ("5:60", "topic: no tag 'hall' at p, block s7_tags; fields are tenant_id, plc_id, db, measurement and"),
    ):
        assert f"{place}: warning: node 'broker' (mqtt): {warning}" in told, told


def test_check_fix_mends_tabs_and_keeps_line_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The difference is shown, the file is mended in place, carriage returns survive."""
    file = tmp_path / "tabs.yaml"
    file.write_bytes(b"name: x\r\nservices:\r\n\tplc:\r\n\t\ttype: s7_simulator\r\n\t\tdbs: [{db: 1, size: 4}]\r\n")
    code, out, _ = run(capsys, "check", str(file), "--fix")
    assert code == 0
    assert "mended: " in out
    assert "-\tplc:" in out
    mended = file.read_bytes()
    assert b"\t" not in mended
    assert mended.count(b"\r\n") == 5


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["chekc", "x"], 1, "did you mean 'check'?"),
        (["dmo.yaml"], 1, "did you mean 'demo'?"),
        (["check", "nothing"], 1, "shipped ones are: "),
        (["operators", "mqt"], 1, "did you mean 'mqtt'?"),
        (["run"], 1, "Missing argument 'FILE'"),
        (["x" * 300], 1, "can't be read: File name too long"),
        (["check", "x" * 300], 1, "can't be read: File name too long"),
        (["journal", "ls", "x" * 300], 1, "xxx': File name too long"),
        (["journal", "ls", "/nowhere"], 1, "there is no folder '/nowhere'"),
        (["journal", "show", "/nowhere"], 2, "there is no journal in '/nowhere'"),
        (["journal", "prune", "/nowhere"], 1, "say what to delete"),
        (["journal", "adopt", "x", "broker.plant"], 1, "'broker.plant' is not a receiver; write it as mqtts://"),
        (["journal", "resend", "x", "--from", "yesterday", "--to", "2026-01-01"], 1, "'yesterday' is not a time"),
        (
            ["journal", "resend", "x", "--from", "2026-01-02T00:00Z", "--to", "2026-01-01T00:00Z"],
            1,
            "is not before --to 2026-01-01T",
        ),
    ],
)
def test_a_wrong_call_is_one_line_and_a_code(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong, the nearest right word, no stack trace."""
    got, _, err = run(capsys, *arguments)
    assert got == code
    assert said in err
    assert "Traceback" not in err


def test_a_terminal_that_lacks_letters_gets_escapes(plant: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file does on Windows."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "cp1252"))
    with pytest.raises(SystemExit) as ended:
        main(["graph", "line1"])
    sys.stdout.flush()
    assert ended.value.code == 0
    assert rb"\u2514\u2500 " in written.getvalue()


def test_schema_and_graph_write_what_tools_read(plant: None, capsys: pytest.CaptureFixture[str]) -> None:
    """The schema is JSON; the drawings name the nodes."""
    _, out, _ = run(capsys, "schema")
    assert json.loads(out)["$schema"].startswith("https://json-schema.org/")
    for form, mark in (("text", "press"), ("mermaid", "flowchart"), ("dot", "digraph")):
        code, out, _ = run(capsys, "graph", "line1", "--format", form)
        assert code == 0
        assert mark in out


def test_operators_tells_all_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The list has a line each; one operator shows behaviour and options."""
    _, out, _ = run(capsys, "operators")
    assert "  heartbeat " in out
    _, out, _ = run(capsys, "operators", "heartbeat")
    assert "every (" in out


def test_journal_commands_show_requeue_and_prune(
    journal: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead letter is listed with its reason and put back; pruning asks first."""
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    _, out, _ = run(capsys, "journal", "ls", str(journal.parent))
    assert "3 frames wait" in out
    assert "1 dead letters" in out
    _, out, _ = run(capsys, "journal", "show", str(journal), "--dead")
    assert "payload refused" in out
    assert '"n":0' in out
    _, out, _ = run(capsys, "journal", "requeue", str(journal))
    assert "1 frames will be sent again" in out
    _, out, _ = run(capsys, "journal", "export", str(journal))
    assert sorted(json.loads(json.loads(line)["body"])["seq"] for line in out.splitlines()) == [0, 1, 2, 3]
    code, _, _ = run(capsys, "journal", "prune", str(journal), "--older-than", "0")
    assert code == 1, "the answer was no"
    _, out, _ = run(capsys, "journal", "prune", str(journal), "--older-than", "0", "--yes")
    assert "4 frames deleted" in out
    _, out, _ = run(capsys, "journal", "adopt", str(journal), "mqtts://other:8883")
    assert "were for mqtts://broker:8883 and now go to mqtts://other:8883" in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_finds_no_room_is_one_line(
    journal: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is saved from a journal onto a full disk; at the end nothing is left that would fail again."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code, _, told = run(capsys, "journal", "export", str(journal))
    assert (code, told.count("\n")) == (1, 1)
    assert told.startswith("error: the output can't be written: No space left on device; make room")


def test_resend_of_nothing_says_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A PLC or a time that the journal does not keep; a journal that keeps nothing."""
    folder, ts = tmp_path / "broker", 1_767_225_600.0  # 2026-01-01T00:00:00Z
    journal = Journal(JournalOptions(path=str(folder), keep_after_ack=Duration(100)), ts)
    puts = [Record(n, b"{}", "t", 1, "full", "acme/press1", ts + n, b"{}") for n in range(3)]
    journal.round(Work(age=1.0, wall=ts, next=3, puts=puts))
    journal.close(1.0)
    window = ("--from", "2026-01-01T00:00Z", "--to", "2026-01-01T00:01Z")
    _, out, err = run(capsys, "journal", "resend", str(folder), *window)
    assert (out, err) == ("0 frames will be sent again\n", f"3 frames of '{folder}' wait to be sent already\n")
    journal = Journal(JournalOptions(path=str(folder), keep_after_ack=Duration(100)), ts)
    journal.round(Work(age=2.0, wall=ts, done=[0]))
    journal.close(2.0)
    kept = "kept of acme/press1: 3 frames, from 2026-01-01T00:00:00.000Z to 2026-01-01T00:00:02.000Z\n"
    for arguments in ((*window, "--plc", "acme/pres1"), ("--from", "2025-01-01T00:00Z", "--to", "2025-01-02T00:00Z")):
        code, out, err = run(capsys, "journal", "resend", str(folder), *arguments)
        assert (code, out, err) == (0, "0 frames will be sent again\n", kept)
    _, out, err = run(capsys, "journal", "resend", str(folder), *window, "--plc", "acme/press1")
    assert (out, err) == ("3 frames will be sent again\n", "")


def test_check_fix_keeps_the_file_where_it_can_not_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never emptied first, and the reason is one sentence."""
    file = tmp_path / "x.yaml"
    file.write_text("a:\n\tb: 1\n")
    whole = Path.open

    def full(path: Path, mode: str = "r", **more: object) -> object:
        if mode == "r+b":
            raise OSError(28, "No space left on device")
        assert "w" not in mode
        return whole(path, mode, **more)

    monkeypatch.setattr(Path, "open", full)
    code, _, err = run(capsys, "check", str(file), "--fix")
    assert code == 1
    assert "can't be written: No space left on device; nothing was mended" in err
    assert file.read_bytes() == b"a:\n\tb: 1\n"


@pytest.mark.parametrize("folder", ["/proc/nope", "taken/below"])
def test_check_warns_of_a_journal_that_cant_be_written_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    """With the place in the file; where it can be made nothing is said, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    for name, value in PLANT.items():
        monkeypatch.setenv(name, value)
    line1 = str(shipped_graphs()["line1"].resolve())
    (tmp_path / "taken").touch()
    code, _, told = run(capsys, "check", line1)
    assert (code, "can't be written" in told) == (0, False)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    monkeypatch.setenv("DATA_DIR", folder)
    code, _, told = run(capsys, "check", line1)
    assert code == 0
    assert "warning: node 'broker' (mqtt): journal.path: the journal '" in told
    assert "can't be written here: " in told
