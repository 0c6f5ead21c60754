"""The page in a real Chromium, on a real pipeline: what a user sees and does in each view, and what must never happen.

One line for all tests: a simulated press, a PLC where nobody is, and a server that refuses everything at first.
"""

import json
import re
import shutil
import signal
import time
from collections.abc import Iterator

import pytest

from tests.parts.line import Line
from tests.parts.needs import PARTS, missing
from tests.parts.receiver import ThreadedReceiver, receiver_thread
from tests.parts.waiting import free_port, wait_until

pytestmark = pytest.mark.real("chromium")

TOKEN = "t0ken-of-the-page"
SECRET = "segredo-do-servidor"
FIELDS = {
    "maquina_ligada": "BOOL @ 0.2",
    "AI_Corrente": {"type": "REAL", "at": 2, "unit": "A"},
    "AI_Vibracao": {"type": "REAL", "at": 6, "unit": "mm/s"},
    "contador_bom": "INT @ 10",
    "contador_ruim": "INT @ 12",
}


# The page is told what the test says by `tell`, and answered by the beginning of the path it asks for.
TOLD = """
const asked = window.fetch;
window.answers = ANSWERS;
window.fetch = (path, options) => {
  const known = Object.keys(answers).find((each) => String(path).startsWith(each));
  if (known) return Promise.resolve(Response.json(answers[known]));
  if (path !== "/api/live") return asked(path, options);
  const encoder = new TextEncoder();
  const start = (to) => (window.tell = (told) => to.enqueue(encoder.encode(`data: ${JSON.stringify(told)}\n\n`)));
  return Promise.resolve(new Response(new ReadableStream({ start })));
};
"""
NOW = float(int(time.time()))
SERIES = {"id": "acme/p/DB1|n", "block": "acme/p/DB1", "name": "n", "unit": ""}


@pytest.fixture(scope="module")
def receiver() -> Iterator[ThreadedReceiver]:
    """A server that takes nothing until a test says so."""
    with receiver_thread() as started:
        started.answer = lambda _: (400, {}, b"no such machine")
        yield started


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory, receiver) -> Iterator[Line]:
    """The line, as its user runs it."""
    folder = tmp_path_factory.mktemp("page")
    port, nobody = free_port(), free_port()
    document = {
        "name": "linha1",
        "http": {"listen": "127.0.0.1:${METRICS_PORT}", "token": "${EDGE_TOKEN}"},
        "layouts": {"press": {"size": 14, "fields": FIELDS}},
        "services": {
            "plc": {"type": "s7_simulator", "port": port, "dbs": [{"db": 1, "layout": "press", "process": "machine"}]}
        },
        "sources": {
            "press": {
                "type": "s7",
                "tenant_id": "acme",
                "every": "200ms",
                "plcs": [
                    {"plc_id": "press1", "address": "127.0.0.1", "port": port},
                    {"plc_id": "press2", "address": "127.0.0.1", "port": nobody},
                ],
                "blocks": [{"db": 1, "layout": "press"}],
            }
        },
        "transforms": {"frames": {"type": "heartbeat", "from": "press", "every": "30s"}},
        "sinks": {
            "server": {
                "type": "http",
                "from": "frames",
                "url": f"http://127.0.0.1:{receiver.port}/ingest",
                "token": SECRET,
                "journal": {"path": str(folder / "journal")},
            }
        },
    }
    file = folder / "graph.yaml"
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")  # JSON is YAML
    with Line(file, {"EDGE_TOKEN": TOKEN}, folder) as line:
        wait_until(lambda: line.get("/healthz")[0] == 200, "the page answers")
        yield line


@pytest.fixture(scope="module")
def browser(pipeline) -> Iterator[object]:
    """Debian's Chromium; after the line, since Playwright keeps a loop running on this thread."""
    probe, how = PARTS["chromium"]
    if why := probe():
        missing(why, how)
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - may be missing

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, pipeline):
    """Open pages by `visit("/#graph", locale="pt-BR")`; at the end none may have had an error or broken the policy."""
    contexts, wrong = [], []

    def start(path="/", *, unanswered="", refused=None, answers=None, **options):
        credentials = {"username": "token", "password": TOKEN}
        context = browser.new_context(http_credentials=credentials, **{"locale": "en-US", **options})
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.add_init_script("addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.blockedURI))")
        if answers:
            page.add_init_script(TOLD.replace("ANSWERS", json.dumps(answers)))
        if unanswered:
            page.route(unanswered, lambda _: None)
        if refused:
            page.route("**/api/live", lambda route: route.fulfill(status=refused[0], body=refused[1]))
        page.goto(pipeline.url + path)
        return page

    yield start
    for context in contexts:
        context.close()
    lost = re.compile(
        "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|ERR_FAILED|401|503"
    )
    assert [text for text in wrong if not lost.search(text)] == []


def until(page, condition):
    """Wait for a condition in the page; asked from outside, since its policy allows no `eval` inside."""
    wait_until(lambda: page.evaluate(condition), condition)


def moves(place):
    """Wait until the text at a place has changed."""
    before = place.text_content()
    wait_until(lambda: place.text_content() != before, f"it moves from {before}")


def test_the_overview_shows_values_that_move_and_says_what_to_do(visit):
    """A card a block: values with unit and sparkline; of the PLC that isn't there the reason and the advice."""
    page = visit()
    page.wait_for_selector("#block-0 tr >> text=AI_Corrente")
    row = page.locator("#block-0 tr", has_text="AI_Corrente")
    assert re.fullmatch(r"[\d.e-]+", row.locator(".value").text_content())
    assert row.locator(".unit").text_content() == "A"
    moves(page.locator("#block-0 tr", has_text="AI_Corrente").locator(".value"))
    until(page, "document.querySelector('#block-0 .spark path').getAttribute('d').length > 10")
    page.wait_for_selector("#block-1.failing .trouble >> text=nothing listens")
    assert page.text_content("#block-1 .age") == "never read"
    assert "acme/press2" in page.text_content(".attention")
    assert page.text_content("#health") != "All is well"
    page.get_by_role("button", name="failing 1").click()
    page.wait_for_selector("#block-0", state="hidden")


def test_the_first_look_shows_values_without_waiting_for_the_stream(visit):
    """The document brings them: no empty page, no "connecting", though the stream is never answered."""
    page = visit(unanswered="**/api/live")
    page.wait_for_selector("#block-0 tr >> text=AI_Corrente")
    assert re.search(r"\d", page.locator("#block-0 tr", has_text="AI_Corrente").locator(".value").text_content())
    assert "attention" in page.locator("#health").text_content()


def test_no_name_of_a_node_breaks_the_page(visit):
    """Not even those that a language has for itself."""
    blocks = [{"k": f"__proto__/DB{n}", "n": "__proto__", "s": "", "b": f"DB{n}", "r": 1} for n in (1, 2)]
    wrong = [["constructor", "backing_off", "broker away", []]]
    page = told(visit, "/", {}, blocks=blocks, states=[[1, "stale", ""]], troubles=wrong)
    page.wait_for_selector("#health:has-text('2 need attention')")
    assert page.locator(".attention summary a").all_text_contents() == ["__proto__ DB2", "constructor"]


def test_a_block_opens_whole_and_is_searched_and_closed_by_keyboard(visit):
    """Every value in a dialog that lives; Escape closes it; `/` goes to the search, digits to the views."""
    page = visit()
    page.wait_for_selector("#block-0 tr >> text=AI_Corrente")
    page.locator("#block-0 .title").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog tr >> text=contador_ruim")
    moves(page.locator("dialog tr", has_text="AI_Vibracao").locator(".value"))
    page.fill("dialog input", "contador")
    assert page.locator("dialog tbody tr:visible").count() == 2
    page.keyboard.press("Escape")  # clears the field, as browsers do
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("/")
    page.keyboard.type("vibra")
    until(page, "document.querySelectorAll('#block-0 tr').length === 1")
    assert "AI_Vibracao" in page.text_content("#block-0 tbody")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.wait_for_selector(".node >> text=frames")
    page.keyboard.press("1")
    page.locator("#block-0 .title").click()
    page.wait_for_selector("dialog tr >> text=contador_ruim")
    page.keyboard.press("2")
    page.wait_for_selector("dialog", state="detached")


def test_the_graph_shows_states_and_rates_and_a_node_its_inside(visit):
    """Rates on the edges; by click the options with secrets masked, counters, last errors, frames as they pass."""
    page = visit("/#graph")
    until(page, "/[1-9].*[/]s/.test(document.querySelector('.rate')?.textContent)")
    page.locator(".node", has_text="press").first.click()
    panel = page.locator(".panel")
    panel.locator("text=press2").first.wait_for()
    panel.locator(".errors >> text=nothing listens").first.wait_for()
    panel.locator(".frames code >> text=AI_Corrente").first.wait_for()
    assert panel.locator("dt", has_text="reads").count() == 1
    assert page.locator(".node[aria-expanded=true] strong").text_content() == "press"
    page.locator(".node", has_text="server").click()
    panel.locator("pre >> text=/ingest").wait_for()
    assert "token: ***" in panel.locator("pre").text_content().replace('"', "")
    assert SECRET not in page.content()
    page.keyboard.press("Escape")
    page.wait_for_selector(".panel", state="detached")
    assert "server" in page.evaluate("document.activeElement.textContent")


def test_the_panel_of_a_node_that_a_reload_removed_is_closed(visit):
    """What it told is no longer so."""
    node = {"name": "antes", "section": "sources", "type": "s7", "from": [], "enabled": True, "frames": 1, "actors": []}
    graph = {"name": "g", "boot": "b", "started": NOW, "now": NOW, "edges": []}
    page = told(visit, "/#graph?node=antes", {"/api/graph": graph | {"nodes": [node]}})
    page.wait_for_selector(".panel h2:has-text('antes')")
    page.evaluate("graph => answers['/api/graph'] = graph", graph | {"nodes": [node | {"name": "previa"}]})
    hello = page.evaluate("JSON.parse(document.getElementById('first').textContent).hello") | {"id": "y"}
    page.evaluate("told => tell(told)", {"hello": hello, "t": NOW})
    page.wait_for_selector(".node:has-text('previa')")
    page.wait_for_selector(".panel", state="detached")


def test_charts_show_picked_tags_live_and_zoom_and_give_csv(visit, pipeline):
    """Tags by search and keyboard, a panel a unit, the line goes on; dragging zooms; all samples as CSV."""
    page = visit("/#charts")
    page.locator(".chip.series").nth(2).wait_for()  # who has never picked any sees the first
    for name in ("maquina_ligada", "AI_Corrente", "AI_Vibracao"):
        page.get_by_role("button", name=f"Remove {name}").click()
    for name in ("AI_Corrente", "AI_Vibracao"):
        page.fill(".pick input", name)
        page.locator(".found [role=option]", has_text=name).wait_for()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_selector(f".chip.series >> text={name}")
    until(page, "document.querySelectorAll('.panels figure .u-over').length === 2")
    assert "s=acme" in page.url
    address = page.get_attribute("a[download]", "href")
    wait_until(lambda: len(page.request.get(pipeline.url + address).text().splitlines()) > 6, "samples come")
    lines = page.request.get(pipeline.url + address).text().splitlines()
    assert lines[0] == "time,block,name,value,unit"
    assert re.fullmatch(r"\d{4}-.*Z,acme/press1/DB1,AI_Corrente,[\d.e-]+,A", lines[1])
    page.fill(".pick input", "AI_Corrente")
    page.wait_for_selector(".found >> text=Nothing matches")  # what is picked is not offered again
    page.keyboard.press("Escape")
    box = page.locator(".u-over").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + 60, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Back to now").click()
    page.get_by_role("button", name="Back to now").wait_for(state="hidden")
    page.locator("figure").first.focus()
    page.keyboard.press("+")
    page.get_by_role("button", name="Back to now").wait_for()
    page.keyboard.press("0")
    page.get_by_role("button", name="Back to now").wait_for(state="hidden")
    page.get_by_role("button", name="Remove AI_Vibracao").click()
    until(page, "document.querySelectorAll('.panels figure').length === 1")
    page.reload()
    page.wait_for_selector(".panels .u-over")


def told(visit, path, answers, **first):
    """A page that is told what happens by the test, beginning with this."""
    page = visit(path, answers={"/api/live/": {"found": None}} | answers)
    until(page, "!!window.tell")
    hello = page.evaluate("JSON.parse(document.getElementById('first').textContent).hello") | {"id": "x"}
    page.evaluate("told => tell(told)", {"hello": hello, "t": NOW, "blocks": [], "states": []} | first)
    return page


def charted(visit, values):
    """A page with a chart of these values, one a second until now, that is told what happens by the test."""
    samples = [[NOW - len(values) + n, value] for n, value in enumerate(values, 1)]
    series = {"series": [SERIES], "more": False, "period": 1, "dense": 28800}
    answers = {
        "/api/series": series,
        "/api/history": [{"series": SERIES, "samples": samples}],
    }
    page = told(visit, f"/#charts?s={SERIES['id']}", answers)
    page.wait_for_selector(".panels .u-over")
    return page


def sampled(page, ts, value):
    """A new sample comes, and is in the history too."""
    page.evaluate("sample => answers['/api/history'][0].samples.push(sample)", [ts, value])
    page.evaluate("told => tell(told)", {"t": ts, "lines": [[SERIES["id"], [[ts, value]]]]})


def test_an_open_chart_follows_its_values_and_changes_how_it_draws_them(visit):
    """The legend tells the latest value without a mouse; what looked like a bit may turn out to be more."""
    page = charted(visit, [1, 0, 1])
    legend = page.locator(".chip.series output")
    page.wait_for_selector("figcaption:has-text('0/1')")
    wait_until(lambda: legend.text_content() == "1", "the latest value")
    sampled(page, NOW + 1, 37.5)
    page.wait_for_selector("figcaption:has-text('no unit')")
    wait_until(lambda: legend.text_content() == "37.5", "the latest value")
    sampled(page, NOW + 2, 123456789.123)
    wait_until(lambda: legend.text_content() == "123456789", "the legend follows")


def test_a_chart_goes_on_after_the_clock_was_set_back(visit):
    """What it has of the future is gone; what comes now is shown."""
    page = charted(visit, [7, 8, 9])
    legend = page.locator(".chip.series output")
    wait_until(lambda: legend.text_content() == "9", "the latest value")
    page.evaluate("told => tell(told)", {"t": NOW - 120})
    wait_until(lambda: not legend.text_content().isdigit(), "the future is forgotten")
    sampled(page, NOW - 118, 42)
    wait_until(lambda: legend.text_content() == "42", "the chart goes on")


def test_a_chart_shows_a_block_that_comes_after_the_page(visit):
    """As after a restart: its tag stays picked meanwhile."""
    page = charted(visit, [])
    block = {"k": SERIES["block"], "n": "acme/p", "s": "", "b": "DB1", "r": 1}
    page.evaluate("sample => answers['/api/history'][0].samples.push(sample)", [NOW, 42])
    page.evaluate("told => tell(told)", {"t": NOW, "blocks": [block], "states": [[0, "fresh", ""]]})
    wait_until(lambda: page.locator(".chip.series output").text_content() == "42", "the chart goes on")


def test_what_a_server_refused_is_listed_with_its_reason_and_sent_again(visit, receiver, pipeline):
    """Dead letters, one click, and they arrive; that somebody asked is in the log."""
    page = visit("/#journal")
    page.wait_for_selector(".letters .why >> text=400")
    assert "acme" in page.text_content(".letters tbody")
    page.locator(".letters summary").first.click()
    page.locator(".letters summary").first.focus()
    moves(page.locator(".figure", has_text="dead letters").locator("strong"))
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert page.locator(".letters details[open]").count() == 1
    receiver.answer = lambda _: 204
    before = len(receiver.taken)
    page.get_by_role("button", name="Send all again").click()
    page.wait_for_selector("#said >> text=sent again")
    wait_until(lambda: any(frame.get("replayed") for frame in receiver.taken[before:]), "they arrive")
    page.goto(pipeline.url + "/#log")
    page.wait_for_selector(".events >> text=dead letters requeued over HTTP")
    assert "token@127.0.0.1" in page.text_content(".events")


def test_the_log_is_filtered_by_node_level_and_words(visit):
    """Newest first; what does not match is not shown."""
    page = visit("/#log")
    page.wait_for_selector(".events li.warning")
    page.select_option("select[aria-label=Level]", "30")
    until(page, "![...document.querySelectorAll('.events li.info')].some(e => e.checkVisibility())")
    page.select_option("select[aria-label=Level]", "0")
    page.select_option("select[aria-label=Node]", "plc")
    shown = page.locator(".events li:visible .who")
    assert set(shown.all_text_contents()) == {"plc"}
    page.fill("input[type=search]", "no such words")
    page.wait_for_selector("text=Nothing matches.")


def test_the_file_is_shown_with_what_check_says_and_without_secrets(visit):
    """Predictions at their nodes, the warning of the literal secret at its line, the secret nowhere."""
    page = visit("/#config")
    page.wait_for_selector("text=This file is good.")
    page.wait_for_selector(".remark.prediction")
    assert "a secret is written in clear" in page.text_content(".remark.warning")
    assert SECRET not in page.content()
    assert TOKEN not in page.content()


def test_it_speaks_portuguese_and_remembers_the_choice(visit):
    """By the browser's language; the switch changes it for good; nothing stays in the other language."""
    page = visit(locale="pt-BR")
    page.wait_for_selector("#tabs >> text=Visão geral")
    page.wait_for_selector("#block-1 >> text=nunca lido")
    page.get_by_role("button", name="Idioma").click()
    page.wait_for_selector("#tabs >> text=Overview")
    page.reload()
    page.wait_for_selector("#tabs >> text=Overview")
    assert "lang" not in page.url


def test_the_theme_is_the_systems_until_somebody_chooses(visit):
    """Dark where the system is dark; the switch goes light, dark, automatic, and is kept."""
    page = visit(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Theme").click()
    until(page, f"{ground} !== '{dark}'")
    page.reload()
    assert page.evaluate(ground) != dark


@pytest.mark.parametrize("view", ["overview", "graph", "charts", "journal", "log", "config"])
def test_nothing_is_wider_than_a_phone(visit, view):
    """390 pixels: every view fits, without scrolling sideways."""
    page = visit(f"/#{view}", viewport={"width": 390, "height": 844}, is_mobile=True)
    page.wait_for_selector(f"#view.{view} > *", state="attached")
    until(page, "document.getElementById('health').textContent.includes('attention')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_wall_display_shows_values_only(visit):
    """No tabs, no tools, larger figures, a clock; Escape leaves it."""
    page = visit("/?kiosk", viewport={"width": 1920, "height": 1080})
    page.wait_for_selector("#block-0 tr >> text=AI_Corrente")
    assert page.locator("#tabs").is_hidden()
    assert page.locator("#tools time").is_visible()
    assert float(page.evaluate("parseFloat(getComputedStyle(document.querySelector('td.value')).fontSize)")) > 20
    assert page.evaluate("document.documentElement.scrollHeight") <= 1080
    page.keyboard.press("Escape")
    page.wait_for_selector("#tabs")
    page.get_by_role("button", name="Wall display").click()
    page.get_by_role("button", name="Leave the wall display").click()
    page.wait_for_selector("#tabs")


def test_who_is_refused_is_told_why_and_does_not_go_on_guessing(visit):
    """A login that is no longer good is asked for once, and to be given again; of a full house the page says so."""
    asked = []
    page = visit(refused=(401, "log in"))
    page.get_by_role("button", name="Log in again").wait_for()
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("dispatchEvent(new Event('visibilitychange'))")
    page.click("#tab-config")
    page.wait_for_selector("text=This file is good.")
    assert [url for url in asked if "/api/live" in url] == []
    page = visit(refused=(503, "16 pages are open already; close one"))
    page.wait_for_selector("#lost >> text=16 pages are open already; close one")


def test_a_page_that_nobody_sees_gives_its_connection_back(visit):
    """A browser has six for a host; when it is seen again, the values go on."""
    page = visit()
    page.wait_for_selector("#block-0 tr >> text=AI_Corrente")
    moves(page.locator("#block-0 tr", has_text="AI_Corrente").locator(".value"))
    ended = []
    page.on("requestfailed", lambda request: ended.append(request.url))
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    tell = "document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))"
    page.evaluate(hide % "true" + tell)
    wait_until(lambda: page.evaluate("1") and any(url.endswith("/api/live") for url in ended), "the stream is closed")
    assert page.locator("#lost").is_hidden()
    page.evaluate(hide % "false" + tell)
    moves(page.locator("#block-0 tr", has_text="AI_Corrente").locator(".value"))


def test_a_view_that_could_not_be_fetched_opens_at_the_next_try(visit):
    """What is shown stays as it is meanwhile, with a word of what happened."""
    page = visit()
    page.wait_for_selector("#block-0 tr >> text=AI_Corrente")
    page.route("**/config.js*", lambda route: route.abort())
    page.click("#tab-config")
    page.wait_for_selector("#said >> text=That did not work")
    assert page.locator("#block-0").is_visible()
    page.unroute("**/config.js*")
    page.click("#tab-overview")
    page.click("#tab-config")
    page.wait_for_selector("text=This file is good.")


def test_old_values_look_old_and_a_lost_connection_shows_and_heals(visit, pipeline):
    """While the process is stopped the page says so; when it goes on, so does the page, without a reload."""
    page = visit()
    page.wait_for_selector("#block-0 tr >> text=AI_Corrente")
    page.evaluate("window.kept = true")
    pipeline.send(signal.SIGSTOP)
    try:
        page.wait_for_selector("#lost:has-text('Connection to the pipeline lost')")
        assert "away" in page.get_attribute("body", "class")
    finally:
        pipeline.send(signal.SIGCONT)
    page.wait_for_selector("#lost", state="hidden")
    moves(page.locator("#block-0 tr", has_text="AI_Corrente").locator(".value"))
    assert page.evaluate("window.kept")
