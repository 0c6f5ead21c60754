"""`check --fix` mends what is mechanical and leaves every other byte alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.document import Listing, Record, parse
from pipeline.config.fix import fix
from pipeline.config.lexical import split

GOOD = """\
# a comment\t with a tab
name: line1   # kept as it is

sources:
  press:
    type: s7
    plcs: [{address: "${PLC_IP}", port: 102}]
    note: |
      text\twith a tab, and spaces   \n
      ${NOT} {a variable}
    quoted: "two
      lines   \n      of it's text"
    plain: it's a "plain" text # 'comment
    url: http://x:80/y#z
    "q": 'it''s'
    list:
    - a: 1
      b: [1,
        2]
    - ${FREE}
"""


@pytest.fixture
def operators():
    """The installed operators: what their options are called shows where a line belongs."""


def test_what_is_well_stays():
    """Comments, quotes, texts with tabs and trailing spaces inside of them, flow syntax over lines."""
    assert fix(GOOD) == (GOOD, [])


@pytest.mark.parametrize(
    ("before", "after", "done"),
    [
        ("a:\n\tb: 1\n\tc:\n\t\td: 2\n", "a:\n  b: 1\n  c:\n    d: 2\n", ["tab"] * 3),
        ("x:\n    y: 0\na:\n\tb: 1\n", "x:\n    y: 0\na:\n    b: 1\n", ["tab"]),
        ("a:\n\xa0\xa0b: '\xa0'\n", "a:\n  b: '\xa0'\n", ["non-breaking space replaced"]),
        ("a:\t1\t# x\ty\n", "a: 1 # x\ty\n", ["tab"]),
        ("a: 1  \nb: 2\t\r\n\r\n  \r\n", "a: 1\nb: 2\r\n\r\n\r\n", ["trailing", "tab", "trailing", "trailing"]),
        ("a:\n  b:1\n  c: 2\n", "a:\n  b: 1\n  c: 2\n", ["space put behind 'b:'"]),
        ("a: {b:1, c:x, d: 2}\n", "a: {b: 1, c: x, d: 2}\n", ["space put", "space put"]),
        ("a: {b: ${X}, c: [${Y}, d${Z}]} # ${C}\n", 'a: {b: "${X}", c: ["${Y}", "d${Z}"]} # ${C}\n', ["quotes"] * 3),
        ("a: {b: ${H:-h}:${P:-p/{q}}/x, c: 1}\n", 'a: {b: "${H:-h}:${P:-p/{q}}/x", c: 1}\n', ["quotes"]),
        ("a:\n  b: 1\n   c: 2\n   d: 3\n", "a:\n   b: 1\n   c: 2\n   d: 3\n", ["by 3 spaces instead of 2"]),
        ("a:\n- {b: 1}\n-{b: 2}\n", "a:\n- {b: 1}\n- {b: 2}\n", ["space put behind the dash"]),
        ("a:\n  - b: 1\n   c: 2\n", "a:\n  - b: 1\n    c: 2\n", ["by 4 spaces instead of 3"]),
        ("a:\n  b: 1\n c: 2 # x\n  d: 3\n", "a:\n  b: 1\n  c: 2 # x\n  d: 3\n", ["by 2 spaces instead of 1"]),
        ("a:\n  b: 1\n\tc:${X}\n d: {e: ${F}}  \n  g: 1\n", 'a:\n  b: 1\n  c: ${X}\n  d: {e: "${F}"}\n  g: 1\n', None),
    ],
)
def test_what_is_mended(before, after, done):
    """The text after it, and what is said of it."""
    text, said = fix(before)
    assert text == after
    if done is not None:
        assert [part in line for part, line in zip(done, said, strict=True)] == [True] * len(done), said
    assert parse(text).mishaps == []


@pytest.mark.parametrize(
    "text",
    [
        "a:\n  b:\n    c: 1\n   d: 2\n",  # which of two levels?
        "a:\n  b: 1\n c: 2\n",  # the same, at the end
        "a: 'it's'\n",
        'a: "b\nc: 1\n',
        "a: {b: 1\nc: 2\n",
        "a: {b: ${X:-'q'}}\n",  # quotes within
        'a: {b: "${X}", c: "${Y\n  d: "${Z}/e", f: 1}\n',  # a quote left open turns those below around
        "a: 1\na: 2\n",
        "- a:b\n",  # may be a text
        "a: b: c\n",
        "a: yes\n",
    ],
)
def test_what_is_in_doubt_stays(text):
    """A mending is never a guess."""
    assert fix(text) == (text, [])


LINE1 = Path(__file__).parents[3].joinpath("configs", "line1.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("white", ["\t", "\t\t"])
@pytest.mark.parametrize(
    "start", ["size: 14", "qos: 1", "type: s7\n", "contador_bom", "pecas_ruim", "fields:", "- {db: 1"]
)
def test_a_tab_gets_the_indentation_of_its_siblings(start, white):
    """One problem for one tab, which names the right number; the mended file is the one before."""
    spaces = LINE1[: LINE1.index(start)].rpartition("\n")[2]
    text = LINE1.replace(f"\n{spaces}{start}", f"\n{white}{start}", 1)
    (mishap,) = parse(text).mishaps
    assert LINE1.splitlines()[mishap.line - 1].lstrip().startswith(start.strip())
    assert mishap.hint.endswith(f": {len(spaces)}")
    assert fix(text)[0] == LINE1


@pytest.mark.parametrize("start", ["contador_ruim", "keep_after_ack", "allow"])
def test_a_tab_at_the_end_of_a_block_is_mended_as_the_file_is_right(start):
    """The lines around leave a doubt; in only one of the places such a name may stand."""
    spaces = LINE1[: LINE1.index(f" {start}:") + 1].rpartition("\n")[2]
    text = LINE1.replace(f"\n{spaces}{start}:", f"\n\t{start}:")
    (mishap,) = parse(text).mishaps
    assert " or " in mishap.hint
    assert fix(text)[0] == LINE1


FIELDS = "layouts:\n  l:\n    size: 8\n    fields:\n      a: REAL @ 0\n"


@pytest.mark.parametrize(
    ("tail", "mended"),
    [
        ("\tb: INT @ 2\n\tc: INT @ 9\n", "      b: INT @ 2\n      c: INT @ 9\n"),
        ("\tsize: 4\n", None),
        ("x-a:\n  b: 1\n\tc: 1\nx-d: 1\n", "x-a:\n  b: 1\n  c: 1\nx-d: 1\n"),
    ],
    ids=["fields that overlap and leave", "a name that fits nowhere", "at a margin"],
)
def test_tabs_in_doubt_are_mended_also_in_a_file_with_other_mistakes(tail, mended):
    """What stands where it may counts more than whether it is right there; without an answer the file stays."""
    assert fix(FIELDS + tail)[0] == FIELDS + (mended or tail)


def test_a_tab_in_doubt_hides_no_other_mistake(problems):
    """All tabs at once, and what is wrong wherever they belong."""
    told = problems(FIELDS + "\tb: INT @ 2\n    size: 9\nsinks:\n  s: {type: mqtt, hst: h}\n\tt: 1\n")
    assert [line.partition(":")[0] for line in told if "a tab stands here" in line] == ["6", "10"], told
    assert [line for line in told if "hst: unknown option" in line]


@pytest.mark.parametrize("spaces", [0, 1, 2, 3, 5, 6, 7])
@pytest.mark.parametrize("start", ["host:", "type: mqtt", "topic:", "from: frames", "size:", "password:"])
def test_the_odd_line_out_is_mended_and_no_other(start, spaces):
    """Indented too little or too much between siblings that agree."""
    before = LINE1[: LINE1.index(f" {start}") + 1].rpartition("\n")[2]
    text = LINE1.replace(f"\n{before}{start}", f"\n{' ' * spaces}{start}", 1)
    (mishap,) = parse(text).mishaps
    assert LINE1.splitlines()[mishap.line - 1].lstrip().startswith(start)
    assert fix(text)[0] == LINE1


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:- \t\n{}[],$\"'#|${}\r"), max_size=80))
def test_mending_keeps_every_line_and_is_done_once(text):
    """The number of lines and all letters stay, and a mended text is not mended again."""
    once, _ = fix(text)
    assert split(once)[1] == split(text)[1]
    bare = str.maketrans("", "", ' \t"')
    assert once.translate(bare) == text.translate(bare)
    assert fix(once)[0] == once


def _plain(value):
    """A value without its places."""
    if isinstance(value, Record):
        return {key: _plain(entry.value) for key, entry in value.entries.items()}
    return [_plain(item) for item in value.items] if isinstance(value, Listing) else value and (value.text, value.plain)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(GOOD)), st.text(alphabet=st.sampled_from(" \t\n:'\"{}-#$"), max_size=4), st.integers(0, 3))
def test_mending_never_changes_what_a_good_text_means(place, inserted, removed):
    """A shipped-looking file with a slip of the pen: if it still is YAML, it means the same after mending."""
    before = parse(GOOD[:place] + inserted + GOOD[place + removed :])
    if not before.mishaps:
        assert _plain(parse(fix(before.text)[0]).root) == _plain(before.root)


def test_what_the_parser_stops_at_is_told_beside_a_tab_in_doubt(problems):
    """A bracket that no reading of the tab makes right."""
    told = problems(FIELDS + "\tb: INT @ 4\nsinks:\n  s: {type: mqtt, host: h, topic: plc/{tenant}/x}\n")
    assert ["a tab stands here" in told[0], "a bracket stands inside" in told[1], len(told)] == [True, True, 2], told
