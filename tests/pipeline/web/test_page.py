"""The page: what a person reads on it, in two languages, whatever a device calls its tags."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.actor import State
from pipeline.frame import Frame
from pipeline.operator import NodeKind
from pipeline.web import page, words
from pipeline.web.page import language
from tests.parts.engine import data, origin
from tests.parts.web import NOW, Watched, ask


class Reader(HTMLParser):
    """Elements and their text; each must be closed, in order."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        """An element begins."""
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """The innermost one ends."""
        assert self.open.pop() == tag

    def handle_data(self, text):
        """What is read."""
        self.words.append(text)


def shown(view, chosen="en"):
    """What a browser shows of the page."""
    reader = Reader(ask(view, "/", headers={"Accept-Language": chosen}).text)
    assert reader.open == []
    return " ".join(" ".join(reader.words).split())


def test_values_stand_with_unit_and_age():
    """A card a block: who, which block, how old, what."""
    text = shown(Watched())
    for expected in (
        "acme/press1",
        "DB1 · s7_db1 · 192.168.0.121",
        "age 0.5 s",
        "AI_Corrente 4.25 A",
        "maquina_ligada true",
    ):
        assert expected in text
    assert "All is well." in text
    assert "press/press1" in text


def test_a_failing_block_says_what_is_wrong_and_what_to_do():
    """On top of the page and on its card, beside the values that are now old."""
    view = Watched()
    advice = "refused: PUT/GET communication is not permitted; permit it in the CPU's protection settings"
    view.become("press/press1", State.BACKING_OFF, advice)
    view.failures = {view.press: Frame.failure(view.press, NOW, "refused")}
    answer = ask(view, "/").text
    text = shown(view)
    assert 'class="card failing"' in answer
    assert text.count(f"acme/press1 fails: {advice}") == 1
    assert text.count(advice) == 3  # summary, card, part
    assert "AI_Corrente 4.25 A" in text


def test_a_stale_block_and_a_bad_tag_are_unmistakable():
    """Old values look old, absent ones have their reason."""
    view = Watched()
    view.latest[view.press] = data(view.press, NOW - 7200, n=1).replace(bad={"AI_Vibracao": "address out of range"})
    assert 'class="card stale"' in ask(view, "/").text
    text = shown(view)
    assert "acme/press1 is stale" in text
    assert "age 2 h 00 min" in text
    assert "AI_Vibracao address out of range" in text


def test_backlog_and_other_details_are_written_for_people():
    """Sizes and spans by the name's ending."""
    view = Watched()
    view.become("broker", State.BACKING_OFF, "refused: no broker at 10.0.0.1:8883", NodeKind.SINK)
    view.actors["broker"].drops["journal_full"] = 4
    told = {
        "backlog_frames": 7,
        "backlog_bytes": 2048,
        "oldest_age_seconds": 95.0,
        "headroom_seconds": math.inf,
        "modes": ["a"],
        "last_seq": {f"acme/press{n}": n for n in range(100)},
        "bad": {},
        "trouble": "",
    }
    view.details = {"broker": lambda: told}
    text = shown(view)
    for expected in (
        "waiting to retry broker",
        "backlog frames 7",
        "backlog bytes 2KiB",
        "oldest age 1 min 35 s",
        "headroom ∞",
        'modes ["a"]',
        "last seq acme/press0: 0, acme/press1: 1,",
        "acme/press7: 7, … (100)",
    ):
        assert expected in text
    assert "bad" not in text
    assert "trouble" not in text
    assert "quadros na fila 7" in shown(view, "pt")
    assert "4 dropped (journal_full)" in text


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=y>&amp;"


def test_nothing_that_a_device_or_file_names_becomes_markup():
    """Tags, texts, units, reasons, names: all of them are text."""
    view = Watched()
    evil = origin(HOSTILE, tags={HOSTILE: HOSTILE}, units={HOSTILE: HOSTILE})
    view.latest = {evil: data(evil, NOW, **{HOSTILE: HOSTILE}).replace(bad={HOSTILE + "2": HOSTILE})}
    view.failures = {evil: Frame.failure(evil, NOW, HOSTILE)}
    view.become(f"press/{HOSTILE}", State.BACKING_OFF, HOSTILE)
    view.actors["broker"].drops[HOSTILE] = 1
    view.details = {"broker": lambda: {HOSTILE: HOSTILE, HOSTILE + "3": [HOSTILE]}}
    view.boot = HOSTILE
    reader = Reader(ask(view, "/").text)
    assert reader.open == []
    assert "img" not in {tag for tag, _ in reader.tags}
    assert [attributes["src"][:18] for tag, attributes in reader.tags if tag == "script"] == ["/static/page.js?v="]
    assert not any(name.startswith("on") or name == "style" for _, attributes in reader.tags for name in attributes)
    assert "".join(reader.words).count(HOSTILE) >= 8


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt-BR"),
        ("en-US,en;q=0.9,pt;q=0.8", "en"),
        ("de,pt;q=0.3,en;q=0.2", "pt-BR"),
        ("en;q=0.1, pt", "pt-BR"),
        ("pt;q=0, en", "en"),
        ("", "en"),
        ("pt;q=x,*,;;,", "en"),
    ],
)
def test_the_language_is_the_one_that_the_browser_prefers(accepted, chosen):
    """Portuguese and English; English when in doubt."""
    assert language(accepted) == chosen


def test_the_page_speaks_portuguese():
    """The same facts, in the words of the person beside the machine."""
    view = Watched()
    answer = ask(view, "/", headers={"Accept-Language": "pt-BR"})
    assert answer.headers["content-language"] == "pt-BR"
    assert '<html lang="pt-BR">' in answer.text
    view.become("broker", State.BACKING_OFF, "refused", NodeKind.SINK)
    text = shown(view, "pt")
    for expected in (
        "Valores",
        "idade 0.5 s",
        "Requer atenção",
        "aguardando nova tentativa broker",
        "AI_Corrente 4.25 A",
    ):
        assert expected in text


def test_every_text_of_the_page_has_its_portuguese():
    """Each text in the page's code, each state and each section is in the dictionary, and nothing else is."""
    code = Path(page.__file__).read_text(encoding="utf-8")
    used = {first or second for first, second in re.findall(r"""\bt\((?:"([^"]+)"|'([^']+)')\)""", code)}
    constants = {state.value for state in State} | {kind.value for kind in NodeKind} | {"fresh", "failing", "stale"}
    assert used | constants == set(words.PORTUGUESE)


def test_the_page_works_without_a_block_and_without_parts():
    """Right after the start there is nothing yet."""
    view = Watched()
    view.latest = {}
    view.actors.clear()
    assert "No block has been read yet." in shown(view)
