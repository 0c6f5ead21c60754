"""The page's frame: languages, themes, weight, and texts that stay text."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.actor import State
from pipeline.operator import NodeKind
from pipeline.web import page, words
from pipeline.web.page import VIEWS, language
from tests.parts.engine import data
from tests.parts.web import NOW, Watched, ask

STATIC = Path(page.__file__).parent / "static"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=y>&amp;"


class Reader(HTMLParser):
    """Elements and their text; each must be closed, in order."""

    VOID = frozenset({"meta", "link", "img"})

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


def test_nothing_that_a_file_names_becomes_markup_or_script():
    """The graph's name is text; no inline script or style is there, so that the policy can forbid them."""
    view = Watched()
    object.__setattr__(view.graph, "name", HOSTILE)
    reader = Reader(ask(view, "/").text)
    assert reader.open == []
    assert "".join(reader.words).count(HOSTILE) == 2
    scripts = [attributes for tag, attributes in reader.tags if tag == "script"]
    assert [script["type"] for script in scripts] == ["module", "application/json", "application/json"]
    assert not any(name.startswith("on") or name == "style" for _, attributes in reader.tags for name in attributes)


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
    answer = ask(Watched(), "/", headers={"Accept-Language": accepted})
    assert (answer.headers["content-language"], f'<html lang="{chosen}"' in answer.text) == (chosen, True)


def test_a_chosen_language_and_theme_are_kept():
    """By cookies, so that the first paint is right already; a strange one changes nothing."""
    view = Watched()
    answer = ask(view, "/?lang=pt-BR", headers={"Accept-Language": "en"})
    assert "Visão geral" in answer.text
    kept = answer.headers["set-cookie"]
    assert kept.startswith("lang=pt-BR;")
    assert "SameSite=strict" in kept
    again = ask(view, "/", headers={"Accept-Language": "en", "Cookie": "lang=pt-BR; theme=dark"})
    assert '<html lang="pt-BR">' in again.text
    assert 'dark.css" media="all"' in again.text
    odd = ask(view, "/?lang=<x>", headers={"Cookie": 'lang=<x>; theme="><x>'})
    assert '<html lang="en">' in odd.text
    assert "<x>" not in odd.text


def test_the_document_brings_the_latest_values_and_no_value_can_end_it():
    """What the stream would tell at first, without the past: there is nothing to wait for, and no stream to act on."""
    view = Watched()
    view.latest[view.press] = data(view.press, NOW, name="</script><b>", level=1.5)
    html = ask(view, "/").text
    (text,) = re.findall(r'<script type="application/json" id="first">(.*?)</script>', html)
    first = json.loads(text)
    assert (first["hello"]["id"], first["hello"]["boot"]) == ("", view.boot)
    assert [block["n"] for block in first["blocks"]] == ["acme/press1"]
    assert [(seen["n"], seen["v"], seen["sparks"]) for seen in first["seen"]] == [
        (["name", "level"], ["</script><b>", 1.5], {})
    ]
    assert "<b>" not in html


def test_every_text_of_the_page_has_its_portuguese():
    """Each text in the browser's part, each view, state and section is in the dictionary, and nothing unused is."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in STATIC.glob("*.js") if path.name != "uplot.js")
    used = set(re.findall(r'\bt\(\s*"([^"]+)"', code)) | set(re.findall(r'\bt\([^"()]*\? "([^"]+)" : "', code))
    used |= set(re.findall(r'\bt\([^"()]*\? "[^"]+" : "([^"]+)"', code)) | set(re.findall(r'number\("([^"]+)"', code))
    used |= set(re.findall(r'"([^"]+)"', code.split("const CHOICES = {")[1].split("}")[0]))
    used |= set(re.findall(r'said\(.*?, "([^"]+)", "([^"]+)"\)', code)[0])
    used |= set(re.findall(r'said\(total\("warning"\), "([^"]+)", "([^"]+)"\)', code)[0])
    used |= set(re.findall(r'\bt\("([^"]+)"\)', Path(page.__file__).read_text(encoding="utf-8")))
    constants = {state.value for state in State} | {kind.value for kind in NodeKind} | set(VIEWS)
    constants |= {"fresh", "bad", "failing", "stale", "all", "error", "warning", "critical"}
    constants |= {f"Theme: {theme}" for theme in ("automatic", "light", "dark")}
    known = set(words.WORDS["pt-BR"])
    assert used | constants <= known
    assert known - used - constants == words.DETAILS.keys() - used


def test_the_whole_page_weighs_at_most_150_kilobytes_and_needs_nobody_else():
    """The document in the language that has more words and all files as sent, before compression; no other host."""
    files = [path for path in STATIC.iterdir() if path.suffix in {".js", ".css", ".svg"}]
    paths = ["/", *(f"/static/x/{path.name}" for path in files)]
    asked = {"Accept-Language": "pt", "Accept-Encoding": "identity"}
    assert sum(len(ask(Watched(), path, headers=asked).content) for path in paths) <= 150_000
    for path in files:
        if path.name != "uplot.js":
            text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert "://" not in text, path.name
    assert "MIT" in (STATIC / "uplot.LICENSE").read_text(encoding="utf-8")


def test_the_dictionary_that_the_browser_gets_can_not_end_its_element():
    """`<` is escaped; what comes out is what is in the dictionary."""
    html = ask(Watched(), "/?lang=pt-BR").text
    text = html.split('<script type="application/json" id="words">')[1].split("</script>")[0]
    assert "<" not in text
    assert json.loads(text) == words.WORDS["pt-BR"]
