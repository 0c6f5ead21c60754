"""The pages of metrics and errors: as committed they are what the code says, and what it really says is on them."""

import re
from functools import cache

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline import cli
from pipeline.advice import ADVICE
from pipeline.config import load_text
from pipeline.errors import ConfigurationError, JournalLocked, Problem
from pipeline.inventory import BEGIN, END, ERRORS, METRICS, counts, errors_page, metrics_page
from pipeline.mqtt.reasons import explain_refusal
from pipeline.reference import put
from pipeline.s7.wire import refused
from pipeline.sayings import Form, sayings
from tests.contract.test_schema import GOOD, WRONG
from tests.parts.line import Line
from tests.parts.waiting import free_port, wait_until

JOINS = ("; ", ": ", ", ", "? ")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@cache
def shapes():
    """What the page says is said, alone and with what to do, as patterns."""
    texts = {text for each in sayings() for text in (each.text, *(f"{each.text}{join}{each.hint}" for join in JOINS))}
    long_enough = [text for text in texts if len(text.replace("…", "")) > 5]
    return [re.compile(".*".join(map(re.escape, text.split("…"))), re.DOTALL) for text in long_enough]


def is_told(text):
    """Whether a message stands on the page of errors, but for what it is filled with."""
    return any(shape.fullmatch(text) for shape in shapes())


@pytest.mark.parametrize(("page", "made"), [(METRICS, metrics_page), (ERRORS, errors_page)])
def test_the_committed_pages_are_those_of_the_code(page, made):
    """Whoever adds a metric or an error runs the command."""
    text = page.read_text(encoding="utf-8")
    assert put(text, made(), BEGIN, END) == text, "run: python -m pipeline.inventory"


def test_every_metric_says_what_it_means():
    """With its labels, and a unit where its name has one."""
    assert [count.name for count in counts() if not count.text.strip("…")] == []
    by_name = {count.name: count for count in counts()}
    assert by_name["plc_read_ok_total"].labels == ("tenant", "plc", "db")
    assert (by_name["edge_backlog_bytes"].labels, by_name["edge_backlog_bytes"].unit) == (("node",), "bytes")


def test_what_the_demo_counts_is_on_the_page(tmp_path, data_dir):
    """Every series of a running graph, with labels that the page names; the page's example is one of them."""
    environment = {"DEMO_S7_PORT": str(free_port()), "DEMO_MQTT_PORT": str(free_port()), "DATA_DIR": str(data_dir)}
    with Line(METRICS.parent.parent / "configs" / "demo.yaml", environment, tmp_path) as line:
        line.wait_ready()
        wait_until(lambda: line.metric("plc_publish_ok_total") >= 1, "a frame is acknowledged")
        scraped = line.get("/metrics")[1]
    page = METRICS.read_text(encoding="utf-8")
    told = {count.name: {*count.labels, "le"} for count in counts()}
    seen = set()
    for family in text_string_to_metric_families(scraped):
        for sample in family.samples:
            seen.add((sample.name, *sorted(sample.labels.items())))
            name = re.sub("_(bucket|sum|count)$", "", sample.name) if family.type == "histogram" else sample.name
            assert f"`{name}`" in page
            assert name.startswith("process_") or set(sample.labels) <= told[name], sample
    example = next(body for language, body in BLOCK.findall(page) if not language)
    (shown,) = next(iter(text_string_to_metric_families(example))).samples
    assert (shown.name, *sorted(shown.labels.items())) in seen
    for expression in re.findall(r"\| `([^`]*[({][^`]*)` \|", page):
        names = set(re.findall(r"\b(?:plc|edge)_\w+", expression))
        assert {re.sub("_bucket$", "", name) for name in names} <= set(told), expression


def test_the_example_of_a_wrong_file_says_what_the_page_says(tmp_path, monkeypatch, capfd):
    """Word for word."""
    blocks = dict(BLOCK.findall(ERRORS.read_text(encoding="utf-8").partition(BEGIN)[0]))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "line.yaml").write_text(blocks["yaml"])
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", "line.yaml"])
    assert (ended.value.code, capfd.readouterr().err) == (1, blocks[""])


@pytest.mark.parametrize(("right", "wrong"), [(right, wrong) for right, wrong, _ in WRONG])
def test_mistakes_of_graph_files_are_on_the_page(right, wrong, tmp_path):
    """As they are really told."""
    with pytest.raises(ConfigurationError) as caught:
        load_text(GOOD.replace(right, wrong, 1), tmp_path / "line.yaml", {})
    problems: list[Problem] = caught.value.problems
    assert [problem.message for problem in problems if not is_told(problem.message)] == []


def test_every_row_says_what_to_do():
    """A hint in the code, which its user reads too; for a reason, and for a part of a message, in `pipeline.advice`."""
    rows = sayings()
    lacking = [f"{each.kind} ({each.where}): {each.text}" for each in rows if each.kind != Form.NOTE and not each.hint]
    assert lacking == [], "give the message a hint; where its user can't read one, give it to pipeline/advice.py"
    used = {(each.kind, each.text, each.hint) for each in rows}
    advised = {(kind, text, hint) for kind, texts in ADVICE.items() for text, hint in texts.items()}
    assert advised <= used, "pipeline/advice.py speaks of texts that nobody says"


@pytest.mark.parametrize(
    "line",
    [
        "layouts: {l: {size: 4, fields: {codigo: REAL @ 2}}}",
        "layouts: {l: {fields: {a: REAL @ 0, b: INT @ 2}}}",
        "layouts: {l: {fields: {a: BOOL @ 0, b: {type: REAL, at: 4, enum: {0: x}}, c: BYTE @ 8.1}}}",
        "layouts: {l: {fields: {a: {type: BYTE, at: 0, enum: {256: x}}, b: {type: l, at: 2, unit: A}}}}",
        "transforms: {t: {type: heartbeat, from: press, every: 1s}}",
        "transforms: {t: {type: tag, from: press, tags: {a: b}, enabled: false}, u: {type: tag, from: t, tags: {}}}",
        "name: a b",
    ],
)
def test_what_check_says_of_a_file_is_on_the_page_with_what_to_do(line, tmp_path):
    """Also what a message is made of by several parts: `nobody takes from this node`."""
    text = f"{line}\nsources: {{press: {{type: s7, address: a, every: 1s, tags: {{n: M0.0}}}}}}\n"
    text += "sinks: {out: {type: stdout, from: press}}\n"
    try:
        problems = load_text(text, tmp_path / "line.yaml", {}).warnings
    except ConfigurationError as error:
        problems = error.problems
    said = [f"{problem.message}; {problem.hint}" if problem.hint else problem.message for problem in problems]
    assert said
    assert [each for each in said if not is_told(each)] == []


def test_what_a_test_and_a_recording_say_is_on_the_page():
    """A node that is none, answers that nobody asked for, a number that differs."""
    assert is_told("'f/f2' is no node of which a test sees frames")
    assert is_told("1 recorded answers were not asked for: it read something else, or at other times")
    assert is_told("count: expected 2, got 3")


NOTED = {
    "Press.db": """\
DATA_BLOCK "Press"
{ S7_Optimized_Access := 'FALSE' }
VERSION : 0.1
  STRUCT
    "x.y" : Int;
    x_y : Int;
    p : Any;
    unknown : "Nobody";
    after : Int;
  END_STRUCT;
BEGIN
END_DATA_BLOCK
DATA_BLOCK "Fast"
{ S7_Optimized_Access := 'TRUE' }
  STRUCT
    a : Int;
  END_STRUCT;
BEGIN
END_DATA_BLOCK
""",
    "tags.csv": """\
Tag Name,Address,Data Type,Scaling,Raw Low,Raw High,Scaled Low,Scaled High,Clamp Low,Clamp High
Prensa.Corrente,"DB5,W10",BCD,,,,,,,
Raiz,"DB5,W12",Word,Square Root,0,100,0,10,0,0
Nada,"Q?",Word,,,,,,,
""",
    "flow.json": """\
[{"id": "e", "type": "s7 endpoint", "name": "plc", "transport": "mpi-s7", "vartable": []},
 {"id": "f", "type": "s7 endpoint", "transport": "iso-on-tcp", "address": "10.0.0.1", "cycletime": "1000",
  "vartable": [{"name": "a", "addr": "DB1,X"}]},
 {"id": "g", "type": "function"}]
""",
    "config.yaml": "source: {type: s7-1200, ip: a, timeout: soon, dbs: [{db: 1, foo: 1}]}\noutput: {mode: smoke}\n",
}


@pytest.mark.parametrize("name", NOTED)
def test_the_notes_of_an_import_are_on_the_page(name, tmp_path, monkeypatch, capsys):
    """What is really told of files that don't go over whole."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(NOTED[name])
    with pytest.raises(SystemExit):
        cli.main(["import", name, "-o", "line.yaml"])
    notes = re.findall(rf"^(?:error: )?{name}:\d+: (.*)$", capsys.readouterr().err, re.MULTILINE)
    assert len(notes) > 1
    assert [text for text in notes if not is_told(text) and not is_told(text.partition(": ")[2])] == []


def test_errors_of_parts_are_on_the_page():
    """A PLC that refuses, a broker that refuses, a locked journal."""
    assert is_told(f"{refused(0x8104).reason}; {refused(0x8104).advice}")
    assert is_told(str(explain_refusal(0x86)))
    assert is_told(str(JournalLocked("data/line/broker")))
    assert not is_told("something that nobody says")
