"""`test` as its user meets it: what passes, what fails and how it is told, and what is wrong with a test file."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pipeline.cli import main
from tests.parts.line import ROOT

GRAPH = """\
layouts:
  press: {size: 14, fields: {on: BOOL @ 0.0, current: REAL @ 2, parts: INT @ 12}}
sources:
  press:
    type: s7
    plcs:
      - {plc_id: one, address: "${PLC_IP}"}
      - {plc_id: two, address: 10.0.0.2}
    tenant_id: acme
    every: 1s
    blocks: [{db: 1, layout: press}, {db: 2, layout: press}]
    tags: {pressure: "DB3.DBD4:REAL", there: M10.3, count: C5}
transforms:
  beat: {type: heartbeat, from: press, every: 10s}
sinks:
  broker: {type: mqtt, from: beat, host: broker, tls: {enabled: false}, journal: {path: "${JOURNAL:-journal}"}}
  old: {type: mqtt, from: beat, host: old, protocol: 3.1.1, tls: {enabled: false}, topic: "old/{plc_id}"}
  copy: {type: s7_mirror, from: press, plc_id: one, dbs: [1], target: {address: 10.0.0.3}, allow: [DB1.0..13]}
  hook: {type: webhook, from: press, url: "https://alerts/x", field: on, firing: [true], state: "${STATE:-state.json}"}
"""
HEAD = "environment: {PLC_IP: 10.0.0.1}\ncases:\n"


@pytest.fixture
def tested(tmp_path, monkeypatch, capfd):
    """Runs test files beside the graph; exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "line.yaml").write_text(GRAPH)

    def run(text, *arguments, path="line.test.yaml"):
        (tmp_path / path).write_text(text)
        with pytest.raises(SystemExit) as end:
            main(["test", *(arguments or [path])])
        out = capfd.readouterr()
        return end.value.code, out.out, out.err

    return run


def case(given="", expect="", **more):
    """A test file of one case."""
    lines = [f"    {key.rstrip('_')}: {value}" for key, value in more.items()]
    return HEAD + "\n".join(["  it:", *lines, f"    given: [{given}]", f"    expect: {{{expect}}}", ""])


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        (
            "{at: 2s, node: one, db: 1, values: {parts: 7}}",
            (
                "frames: [{node: press, plc_id: one, db: 1, at: 2s, values: {parts: 7}, count: 1}, "
                "{node: press, plc_id: one, db: 2, at: 2s, values: {parts: 0}}, "
                "{node: press, plc_id: two, db: 1, at: 2s, values: {parts: 0}}, "
                "{node: press, plc_id: one, db: 1, at: 1s, values: {parts: 0}}]"
            ),
        ),
        (
            "{node: press/two, values: {pressure: 2.5, there: true, count: 12}}",
            (
                "frames: [{node: press, at: 0s, plc_id: two, measurement: s7_tags, exact: true, "
                "values: {pressure: 2.5, there: true, count: 12}}]"
            ),
        ),
        (
            "{node: one, db: 1, bytes: 01 00 41 48 00 00}, {node: one, db: 1, start: 12, bytes: FFFE}",
            (
                "frames: [{node: press, at: 0s, plc_id: one, db: 1, values: {on: true, current: 12.5, parts: -2}}], "
                "writes: [{node: copy, db: 1, start: 0, bytes: 01 00 41 48 00 00 00 00 00 00 00 00 FF FE, count: 1}]"
            ),
        ),
        (
            "{at: 2s, node: press/two, db: 1, values: {parts: 7}}",
            (
                "frames: [{node: press/two, db: 1, at: 2s, values: {parts: 7}, count: 1}, "
                "{node: two, db: 1, values: {parts: 7}, from: 2s}, {node: one, db: 1, values: {parts: 7}, count: 0}, "
                "{node: press/one, db: 1, at: 2s, values: {parts: 0}}, {node: beat, plc_id: two, values: {parts: 7}}]"
            ),
        ),
        (
            "{at: 3.5s, until: 9s, node: one, fault: timeout}",
            (
                "frames: [{node: press, plc_id: one, kind: failure, error: timeout, at: 6s, db: 1}], "
                "states: [{node: press/one, at: 8s, state: backing_off, reason: timeout}, "
                "{node: press/two, at: 8s, state: running}]"
            ),
        ),
        (
            "{at: 2.5s, node: one, fault: away}",
            (
                "frames: [{node: press, plc_id: one, db: 2, kind: failure, error: connection lost, at: 2.5s}, "
                "{node: press, plc_id: one, kind: data, from: 2.5s, count: 0}]"
            ),
        ),
        (
            "{at: 2.5s, until: 8.5s, node: one, db: 2, fault: access_denied}",
            (
                "frames: [{node: press, plc_id: one, db: 2, kind: failure, from: 3s, until: 4s}, "
                "{node: press, plc_id: one, db: 1, kind: data, from: 3s, until: 8s, count: 5}]"
            ),
        ),
        (
            "{node: one, db: 3, fault: missing}",
            "frames: [{node: press, plc_id: one, measurement: s7_tags, at: 1s, bad: {pressure: exist}}]",
        ),
        (
            "{at: 2.5s, until: 9.5s, node: broker, fault: away}",
            (
                "published: [{node: broker, topic: plc/acme/two, from: 2.5s, until: 9.5s, count: 0}, "
                "{node: broker, topic: plc/acme/two, payload: {db: 1, seq: 9}, count: 1}, "
                "{node: old, topic: old/two, from: 2.5s, until: 9.5s, payload: {db: 1, plc_id: two}, count: 7}]"
            ),
        ),
        (
            "{at: 2.5s, until: 30s, node: broker, fault: denied}",
            (
                "published: [{node: broker, topic: plc/acme/one, from: 2.5s, until: 30s, count: 0}], "
                "metrics: [{name: plc_publish_fail_total, at: 10s, labels: {node: broker}, at_least: 1}]"
            ),
        ),
        (
            "{node: one, db: 1, values: {on: true}}",
            "published: [{node: hook, topic: /x, at: 0s}, {node: old, topic: old/one, payload: {plc_id: '*'}}]",
        ),
        ("", "metrics: [{name: plc_read_ok_total, labels: {plc: one, db: '1'}, at: 5s, value: 6}]"),
    ],
)
def test_what_happens_is_seen(given, expect, tested):
    """Values, bytes, faults of PLCs and receivers; frames, messages, writes, metrics and states."""
    code, out, err = tested(case(given, expect, for_="40s"))
    assert (code, err) == (0, ""), out


@pytest.mark.parametrize(
    ("given", "expect", "told"),
    [
        (
            "{at: 2s, node: one, db: 1, values: {parts: 7}}",
            "frames: [{node: press, plc_id: one, db: 1, at: 2s, values: {parts: 8, current: 0}}]",
            ["line.test.yaml:6: frames of press at 2s", "values.parts: expected 8, got 7", "(press at 2.000 s"],
        ),
        (
            "",
            "frames: [{node: press, exact: true, values: {on: false}}]",
            ["values.current: expected nothing, got 0.0"],
        ),
        ("", "frames: [{node: press, at: 3.5s}]", ["it came at 0.000, 0.000", "not when it should"]),
        ("", "frames: [{node: press/two, db: 1, count: 3}]", ["frames of press/two", "count: expected 3, got 6"]),
        ("", "frames: [{node: press, db: 1, count: 3}]", ["count: expected 3, got 12"]),
        ("", "frames: [{node: press, values: {partz: 1}}]", ["values.partz: expected 1, got nothing"]),
        (
            "",
            "published: [{node: broker, topic: plc/acme/three}]",
            ['topic: expected "plc/acme/three", got "plc/acme/', "/status"],
        ),
        (
            "",
            "published: [{node: broker, topic: plc/acme/one, payload: {db: 1, values: {on: true}}}]",
            ["values.on: expected true, got false", "(plc/acme/one at 0.000 s; the nearest of"],
        ),
        ("", "published: [{payload: nonsense, at: 2s}]", ['expected "nonsense", got {']),
        ("", "writes: [{node: copy}]", ["nothing came; nothing came at all"]),
        ("", "metrics: [{name: plc_read_ok_totl, value: 1}]", ["no metric has this name"]),
        (
            "",
            "metrics: [{name: plc_read_ok_total, labels: {plc: x}, value: 1}]",
            ["no series has these labels", "plc=one"],
        ),
        ("", "metrics: [{name: plc_read_ok_total, at_most: 3}]", ["expected 3 or less, got"]),
        (
            "{node: broker, fault: away}",
            "states: [{node: broker, state: running}]",
            ['state: expected "running", got "backing_off"', "(reason: "],
        ),
        ("", "states: [{node: broker, state: running, reason: x}]", ['reason: expected "x", got ""']),
        ("", "error: no such thing", ['expected "no such thing", got nothing']),
    ],
)
def test_what_differs_is_told_field_by_field(given, expect, told, tested):
    """Where it was expected, what was, what came instead and when; the exit code says so."""
    code, out, err = tested(case(given, expect, for_="5s"))
    assert (code, err) == (1, "")
    assert out.startswith("FAIL line.test.yaml: it (")
    assert [text for text in told if text not in out] == [], out
    assert out.endswith("0 passed, 1 failed\n")


def test_the_nearest_frame_is_one_that_has_what_is_expected(tested, tmp_path):
    """Not that of the single tag, which differs in fewer fields and has nothing of it."""
    fields = ", ".join(f"z{number}: INT @ {2 * number}" for number in range(6))
    graph = f"""layouts: {{oven: {{fields: {{{fields}}}}}}}
sources:
  f: {{type: s7, address: 10.0.0.1, blocks: [{{db: 20, layout: oven}}], tags: {{on: M10.3}}, every: 1s}}
sinks: {{out: {{type: stdout, from: f}}}}
"""
    (tmp_path / "line.yaml").write_text(graph)
    given = "{at: 1s, node: f, db: 20, values: {z0: 50, z1: 7}}"
    code, out, _ = tested(case(given, "frames: [{node: f, at: 1s, exact: true, values: {z0: 51, z1: 7}}]", for_="2s"))
    assert code == 1
    assert "values.z0: expected 51, got 50" in out
    assert "values.z2: expected nothing, got 0" in out


def test_all_mistakes_of_a_file_are_told_at_once_by_line(tested):
    """Of form, of options, of what does not fit the graph; nothing is run."""
    text = """\
environment: {PLC_IP: 10.0.0.1}
casse: {}
cases:
  options:
    for: soon
    given:
      - {bytes: 01 0g, db: 1}
      - {fault: away, at: 5s, until: 3s}
      - {fault: gone}
      - {at: 1s}
    expect: {published: [{at: 3s, from: 2s}], metrics: [{name: x}]}
  graph:
    start: yesterday
    expect: {frames: [{node: press}]}
  fits:
    given:
      - {node: tree, values: {parts: 1}}
      - {node: one, values: {parts: 1}}
      - {node: one, db: 1, values: {partz: 1, parts: 99999}}
      - {node: press, db: 1, values: {parts: 1}}
      - {node: broker, values: {parts: 1}}
      - {node: broker, fault: put_get_off}
      - {node: one, db: 1, start: 13, bytes: 01 02}
      - {values: {parts: 1}}
    expect: {frames: [{node: pres}], published: [{node: press}], states: [{node: press/tow, state: running}]}
  unset:
    environment: {PLC_IP: ""}
    expect: {frames: [{node: press}], same_as: none.jsonl}
  variable:
    environment: {PLC_IP: "not an address"}
    expect: {frames: [{node: press}]}
  nothing: {expect: {}}
  late:
    for: 5s
    given:
      - {node: one, at: 6s, fault: timeout}
      - {node: one, at: 5s, until: 6s, fault: timeout}
    expect:
      frames: [{node: press, count: 0, from: 7s}, {node: press, at: 5s}]
      metrics: [{name: x, at: 8s, value: 1}]
"""
    code, out, err = tested(text)
    assert (code, out) == (2, "")
    lines = [int(found) for found in re.findall(r"^line\.test\.yaml:(\d+):", err, re.MULTILINE)]
    assert lines == sorted(lines)
    assert set(lines) == {2, 5, 7, 8, 9, 10, 11, 13, 17, 18, 19, 20, 21, 22, 23, 24, 25, 28, 29, 32, 36, 39, 40}
    assert lines.count(19) == 2
    assert lines.count(25) == 3
    for words in (
        "casse: unknown option; did you mean 'cases'?",
        "'01 0g' is not hexadecimal",
        "until: must be after `at` (5s), got 3s",
        "must be one of away, timeout",
        "gives nothing; write one of values, bytes, cpu, topic and fault",
        "'tree' is nothing that a test plays; there are: press",
        "'parts' is in several blocks: DB1, DB2; say which: db: 1",
        "the graph reads no value 'partz' of this PLC; did you mean 'parts'?",
        "parts (INT) must be what INT can hold, got 99999",
        "'press' is several devices; say which: press/one, press/two",
        "'broker' has no values; it has away",
        "reach to byte 14, and the graph knows 14 bytes of DB1",
        "which node is meant?",
        "'press/tow' is no node of which a test sees states; did you mean 'press/two'?",
        "there is no file 'none.jsonl' beside the test file",
        "given[0].at: is 6s, when the test is over: it takes 5s; make `for` longer, or leave it out",
        "frames[0].from: is 7s",
        "metrics[0].at: is 8s",
        "plcs[0].address",
        "problems, no test was run",
    ):
        assert words in err, words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file"),
        ("- 1\n", "a test file has `environment:` and `cases:`"),
        ("cases: {}\n", "cases: must have at least 1 entries"),
        ("environment: {}\n", "cases: is required and missing"),
        ("graph: none.yaml\ncases: {a: {expect: {frames: [{node: x}]}}}\n", "there is no graph file 'none.yaml'"),
        ("cases: {a: {expect: {frames: [{node: x}\n", "line.test.yaml:"),
    ],
)
def test_a_file_that_is_no_test_file_is_told(text, said, tested):
    """In a line, with what to write instead."""
    code, out, err = tested(text)
    assert (code, out) == (2, "")
    assert said in err or text == ""
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none"], "there is no graph file 'none'; shipped ones are"),
        (["other.yaml"], "'other.yaml' has no tests; write them into other.test.yaml beside it"),
        (["empty"], "'empty' has no tests"),
        (["-k", "nobody"], "no case has 'nobody' in its file or name; there are 1"),
        (["--junit", "none/x.xml"], "'none/x.xml' can't be written"),
    ],
)
def test_wrong_calls_are_told(arguments, said, tested, tmp_path):
    """What there is, and what to do."""
    (tmp_path / "other.yaml").write_text(GRAPH)
    (tmp_path / "empty").mkdir()
    code, _, err = tested(case("", "frames: [{node: press}]"), *arguments)
    assert code == 1
    assert said in err


def test_results_are_chosen_and_written_for_machines(tested, tmp_path):
    """A graph means its tests, a folder all; `-k` chooses; JUnit has each case, failures with their text."""
    text = HEAD + "".join(
        f"  {name}:\n    expect: {{frames: [{{node: press, values: {{parts: {parts}}}}}]}}\n"
        for name, parts in (("good <&>", 0), ("wrong <&>", 1))
    )
    assert tested(text, "line.yaml", "-k", "GOOD")[0] == 0
    code, out, _ = tested(text, ".", "line.test.yaml", "--junit", "x.xml")
    assert code == 1
    assert out.endswith("1 passed, 1 failed\n")
    (suite,) = ET.parse(tmp_path / "x.xml").getroot()  # noqa: S314 - we have written it
    assert {key: suite.attrib[key] for key in ("name", "tests", "failures")} == {
        "name": "line.test.yaml",
        "tests": "2",
        "failures": "1",
    }
    good, wrong = suite
    assert (good.attrib["name"], good.attrib["classname"], list(good)) == ("good <&>", "line.test", [])
    assert "values.parts: expected 1, got 0" in wrong[0].text


def test_a_wrong_file_stops_no_other(tested, tmp_path):
    """Its mistakes are told, the good ones run; the exit code and JUnit say that it was not run."""
    (tmp_path / "good.yaml").write_text(GRAPH)
    good = case("", "frames: [{node: press, values: {parts: 0}}]")
    (tmp_path / "good.test.yaml").write_text(good)
    wrong = "cases: {it: {expect: {frames: [{node: prass}]}}, two: {expact: 1}}\n"
    code, out, err = tested(wrong, ".", "--junit", "x.xml")
    assert (code, out.splitlines()[-1]) == (2, "1 passed, 1 test file wrong, not run")
    assert out.startswith("ok   good.test.yaml: it (")
    assert "expact: unknown option; did you mean 'expect'?" in err
    assert err.splitlines()[-1].endswith("; not run: line.test.yaml")
    suites = {suite.attrib["name"]: suite for suite in ET.parse(tmp_path / "x.xml").getroot()}  # noqa: S314 - ours
    assert [suites[name].attrib["errors"] for name in ("good.test.yaml", "line.test.yaml")] == ["0", "1"]
    (error,) = suites["line.test.yaml"].iter("error")
    assert error.attrib["message"] == error.text.splitlines()[0]
    assert "expact" in error.text
    code, out, err = tested(wrong, "--junit", "y.xml", "line.test.yaml")
    assert (code, out) == (2, "")
    assert err.endswith("no test was run\n")
    assert next(ET.parse(tmp_path / "y.xml").iter("error")).text == error.text  # noqa: S314 - ours
    (tmp_path / "good.test.yaml").write_text(good.replace("parts: 0", "parts: 1"))
    assert tested(wrong, ".")[0] == 2


def test_nothing_outside_counts_and_nothing_is_left(tested, tmp_path, monkeypatch):
    """The variables are those of the file; a second run gives the same; no file stays."""
    monkeypatch.setenv("PLC_IP", "")
    monkeypatch.setenv("JOURNAL", "elsewhere")
    text = case(
        "{at: 1s, until: 4s, node: broker, fault: away}",
        "published: [{payload: {plc_id: one, db: 1, values: {parts: 0}}, node: broker, count: 11}]",
        for_="10s",
    )
    assert tested(text)[0] == tested(text)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["line.test.yaml", "line.yaml"]


def test_a_file_outside_is_refused_and_a_journal_is_moved(tested, tmp_path):
    """A test of a plant's graph must not touch the plant's files."""
    text = case("", "frames: [{node: press}]")
    moved = text.replace("PLC_IP: 10.0.0.1", f"PLC_IP: 10.0.0.1, JOURNAL: {tmp_path}/journal")
    assert tested(moved)[0] == 0
    assert not (tmp_path / "journal").exists()
    code, out, _ = tested(text.replace("PLC_IP: 10.0.0.1", f"PLC_IP: 10.0.0.1, STATE: {tmp_path}/state.json"))
    assert code == 1
    assert f"'hook' would write to {tmp_path}/state.json; in its graph write the path with ${{DATA_DIR}}" in out
    assert not (tmp_path / "state.json").exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_graph_whose_password_stands_in_a_file_can_be_tested(there, tested, tmp_path):
    """Beside that file, and where only the plant has it."""
    login = "username: edge, password: {file: pw.txt}"
    (tmp_path / "line.yaml").write_text(GRAPH.replace("host: broker,", f"host: broker, {login},"))
    if there:
        (tmp_path / "pw.txt").write_text("sesame\n")
    expect = "published: [{node: broker, at: 1s, payload: {plc_id: one}}], states: [{node: broker, state: running}]"
    code, out, _ = tested(case("", expect, for_="5s"))
    assert code == 0, out


def test_the_example_of_the_help_and_of_the_readme_pass(tested, tmp_path):
    """What the documents show is what runs."""
    page = (ROOT / "pipeline" / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(environment:.+?)```", page, re.DOTALL)
    (tmp_path / "line1.yaml").write_text((ROOT / "configs" / "line1.yaml").read_text(encoding="utf-8"))
    assert tested(example, path="line1.test.yaml")[0] == 0
    helped = (ROOT / "pipeline" / "commands" / "test.py").read_text(encoding="utf-8")
    (block,) = re.findall(r"A test file:\n(.+?)\n\n", helped, re.DOTALL)
    text = "\n".join(line.removeprefix("      ") for line in block.splitlines())
    assert tested(text, path="line1.test.yaml")[0] == 0
    assert Path("line1.test.yaml").is_file()


def test_what_lacks_a_package_is_skipped_and_the_others_run(monkeypatch, capfd):
    """Without the extra the shipped graph that needs it can't be tested; that is told, and is no failure."""
    monkeypatch.setattr("operators.sources.s7plus.find_spec", lambda _: None)
    assert main_code("test", str(ROOT / "configs" / "s7plus.yaml"), str(ROOT / "configs" / "mirror.yaml")) == 0
    out, err = capfd.readouterr()
    assert "s7plus.test.yaml: skipped: the package s7commplus is not installed" in err
    assert "mirror.test.yaml" in out
    assert "s7plus" not in out


def main_code(*arguments):
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("3", "can't be run\n         'same.jsonl' is no file of frames: line 1 is no JSON object"),
        ('{"ts": "noon"}', 'frame 1: ts: expected "noon", got 1731800000.0'),
        ('{"ts": null}', "frame 1: ts: expected null, got 1731800000.0"),
        ("{}", "frame 1: ts: expected nothing, got 1731800000.0"),
    ],
)
def test_what_is_no_frame_in_a_file_of_frames_is_told_in_words(tested, tmp_path, line, said):
    """A line that somebody wrote by hand."""
    (tmp_path / "same.jsonl").write_text(f"{line}\n")
    code, out, _ = tested(case(expect="same_as: same.jsonl"))
    assert code == 1
    assert said in out
