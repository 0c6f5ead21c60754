"""Graph files of any content give a graph or a list of problems, and `check --fix` never a worse file."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import shipped_graphs
from pipeline.config import load, load_text
from pipeline.config.document import parse
from pipeline.config.fix import fix
from pipeline.config.lexical import split
from pipeline.config.predict import forecast
from pipeline.errors import ConfigurationError
from tests.parts.engine import PLANT
from tests.parts.fuzzing import damaged, fuzzed, rewritten

SHIPPED = [path.read_text(encoding="utf-8") for path in shipped_graphs().values()]
WORDS = sorted({word for text in SHIPPED for word in re.findall(r"[\w.:@\[\]]+", text)})
ODD = [
    *("", "~", "null", "true", "yes", "-1", "0", "1e999", ".inf", ".nan", "0x" + "f" * 40, "9" * 400, "1_000", "010"),
    *("[]", "{}", "[[]]", "{a: {b: c}}", "[1, [2", "}", "]", ":", "- ", "? ", "-{", "a:b", "'", '"', "'it''s", '"\\x"'),
    *("&a", "*a", "&a [*a]", "<<: *a", "!!binary x", "!!str", "!x y", "|", ">-", "|9", "%YAML 1.1", "---", "...", "#"),
    *(
        "${",
        "${}",
        "${A",
        "${BROKEN}",
        "${PLC_IP}",
        "${X:-${Y:-${Z}}}",
        "$${",
        "{tenant_id}",
        "plc/#",
        "+/x",
        "{",
        "\\",
    ),
    *("\t", "\0", "\ufeff", "\u2028", "\x85", "\xa0", "\r", "\r\n", "\x1b[2J", "\U0001f3ed", "é", "\x07", '"\\ud800"'),
    *("1s", "-1s", "1e9d", "0s", "1TiB", "-1KiB", "DB1.DBD4:REAL", "DB1,R4", "M10.3", "DB0:0:STRING[999]", "T99999"),
    *("REAL[1000000] @ 0", "BOOL @ 0.9", "press[100000] @ 0", "press @ 0", "STRING @ 65535", "REAL @ -4"),
    *("http://u:p@h/", "http://[::1", "0.0.0.0:99999", "[::]:0", "127.0.0.1:0", "/", "..", "\\\\x\\y", "x" * 300),
    *("(x)", "tag_+", "(a+)+$", "[", "2 * x", "x ** 9 ** 9", "__import__('os')", "()", "1 if 1 else", "f" * 70),
]
TEXTS = rewritten(SHIPPED, [*WORDS, *ODD])
FILE = Path("configs/line.yaml")


def printable(error: ConfigurationError, lines: int = 1 << 30) -> None:
    """There is a problem, each has its place in the file, and all can be written."""
    assert error.problems
    for problem in error.problems:
        assert 0 <= problem.line <= lines
        assert problem.message
    assert str(error).encode()


def judge(text: str) -> bool:
    """Whether the text is a good graph; what is good can be drawn and foretold, what is not is said in clean words."""
    try:
        graph = load_text(text, FILE, {**PLANT, "BROKEN": "caf\udce9"})
    except ConfigurationError as error:
        printable(error, len(split(text)[0]))
        return False
    for drawing in (graph.as_text(), graph.as_mermaid(), graph.as_dot()):
        assert drawing.encode()
    for _, prediction in forecast(graph):
        "\n".join(map(str, prediction.lines)).encode()
    return True


def content(text: str) -> list[str]:
    """Each line without what a mending may add or take."""
    return [re.sub(r'[ \t\xa0"]', "", line) for line in split(text)[0]]


def plain(value: object) -> object:
    """A document's values without places."""
    if hasattr(value, "entries"):
        return {key: plain(entry.value) for key, entry in value.entries.items()}
    return [plain(item) for item in value.items] if hasattr(value, "items") else (value.text, value.plain)


@fuzzed(0.5)
@given(TEXTS)
def test_a_text_is_a_graph_or_a_list_of_problems(text):
    """Shipped graphs with lines moved, doubled, indented, and odd words in them."""
    judge(text)


@fuzzed(0.3)
@given(
    st.one_of(st.text(), st.lists(st.sampled_from([*ODD, *WORDS, "\n", "\n  ", " ", ": "]), max_size=40).map("".join))
)
def test_any_text_is_read(text):
    """Soup of letters and of YAML's own signs."""
    judge(text)


@fuzzed(0.3)
@given(data=damaged([text.encode() for text in SHIPPED] + [text.encode("utf-16") for text in SHIPPED[:1]]))
def test_any_bytes_are_read(data, tmp_path_factory):
    """A file of another encoding, with NULs, with half a letter."""
    path = tmp_path_factory.getbasetemp() / "graph.yaml"
    path.write_bytes(data)
    try:
        load(path, PLANT)
    except ConfigurationError as error:
        printable(error)


@fuzzed(0.4)
@given(TEXTS)
def test_mending_loses_nothing_and_makes_nothing_worse(text):
    """All lines stay, with their words; what could be read gives the same values; a second mending does nothing."""
    mended, done = fix(text)
    assert content(mended) == content(text)
    assert split(mended)[1] == split(text)[1]
    assert bool(done) is (mended != text)
    assert fix(mended)[0] == mended
    before, after = parse(text), parse(mended)
    assert len(after.mishaps) <= len(before.mishaps)
    if before.root is not None:
        assert after.root is not None
        if not before.mishaps:
            assert plain(after.root) == plain(before.root)


def laughs(levels: int, width: int) -> str:
    """Aliases of aliases: `width ** levels` values in a few lines."""
    lines = ["x-0: &a0 [lol]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join([*lines, f"sources: {{p: {{type: s7, plcs: *a{levels - 1}, blocks: *a{levels - 1}}}}}", ""])


def merges(levels: int, width: int) -> str:
    """The same, by merge keys."""
    lines = ["x-0: &a0 {size: 1}"]
    lines += [f"x-{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * width)}], k{n}: *a{n - 1}}}" for n in range(1, levels)]
    return "\n".join([*lines, f"layouts: {{l: *a{levels - 1}}}", ""])


@pytest.mark.parametrize(
    "text",
    [
        laughs(60, 10),
        merges(60, 10),
        "a: " + "[" * 5000,
        "a: " + "{b: " * 5000,
        "- " * 5000 + "x",
        "".join(" " * depth + "a:\n" for depth in range(600)),
        "? " * 5000,
        "a: " + "x" * 3_000_000,
        "a: '" + "x\n  " * 10_000,
        "layouts:\n" + "  l: {size: 1}\n" * 1000,
        "sources:\n" + "".join(f"\tp{n}:\n\t\ttype: s7\n" for n in range(500)),
        "sources:\n" + "".join(f"  p{n}:{{type:s7}}\n" for n in range(500)),
        "sources: {" + ", ".join(f"p{n}: ${{X{n}}}" for n in range(500)) + "}\n",
        "name: " + "${A:-" * 3000 + "}" * 3000,
        "name: " + "${A:-{" * 3000,
        "&a " * 3000 + "x: *a",
        "a: &a {b: *a}\nsources: *a\n",
        "#" * 3_000_000,
        "\n" * 30_000,
        "transforms:\n" + "".join(f"  t{n}: {{type: heartbeat, from: t{n + 1}}}\n" for n in range(500)),
    ],
    ids=lambda text: re.sub(r"\s+", " ", text[:24]),
)
def test_size_and_depth_cost_neither_memory_nor_hours(text):
    """Billion laughs, brackets without end, megabytes of one scalar, thousands of mistakes of one kind."""
    assert not judge(text)
    fix(text)
