"""The live overview, driven by its keys, on a real HTTP interface."""

import asyncio

from textual.widgets import DataTable, Footer, Input, Static
from textual.widgets._footer import FooterKey

from pipeline.actor import State
from pipeline.frame import Frame
from pipeline.operator import NodeKind
from pipeline.terminal.app import TopApp
from pipeline.terminal.overview import Watcher
from pipeline.terminal.remote import find
from tests.parts.engine import data, origin
from tests.parts.waiting import free_port
from tests.parts.web import NOW


def play(script, served, size=(140, 40)):
    """Run a script on the app."""

    async def main():
        remote = find(served.url)
        watcher = Watcher(remote)
        app = TopApp(served.url, watcher.look, watcher.look(), 0.2)
        app.remote = remote
        async with app.run_test(size=size) as pilot:
            await script(app, pilot)
            app.workers.cancel_all()  # as where it is quit: a look that comes now would find no screen

    asyncio.run(main())


async def until(pilot, condition):
    """Wait for what the next looks bring."""
    async with asyncio.timeout(20):
        while not condition():
            await pilot.pause(0.01)


def rows(app, name):
    """A table's rows as texts."""
    table = app.screen.query_one(f"#{name}", DataTable)
    return [[str(cell) for cell in table.get_row_at(number)] for number in range(table.row_count)]


def said(app, part):
    """The text of a part of the screen."""
    return str(app.screen.query_one(f"#{part}", Static).render())


def test_the_overview_follows_the_pipeline(served):
    """A block that fails, a sink that backs off with its backlog, and what has happened, with the newest first."""
    served.view.details = {"broker": lambda: {"backlog_frames": 12, "backlog_bytes": 2048, "in_flight": 3}}

    async def script(app, pilot):
        assert [row[:3] for row in rows(app, "blocks")] == [["acme/press1", "DB1", "fresh"]]
        assert rows(app, "sinks")[0][4:6] == ["12", "2.0 KiB"]
        view = served.view
        view.become("press/press1", State.BACKING_OFF, "timeout; check the cable")
        view.failures = {view.press: Frame.failure(view.press, NOW, "timeout")}
        await until(pilot, lambda: rows(app, "blocks")[0][2] == "failing")
        assert rows(app, "blocks")[0][-1] == "timeout; check the cable"
        assert "1 not fresh" in said(app, "said")
        assert "acme/press1 DB1  failing: timeout; check the cable" in said(app, "happened")
        assert next(row for row in rows(app, "parts") if row[0] == "press/press1")[2] == "backing_off"
        view.failures = {}
        view.become("press/press1", State.RUNNING)
        await until(pilot, lambda: said(app, "happened").splitlines()[0].endswith(("DB1  fresh", "press1  running")))

    play(script, served)


def test_rows_are_sorted_and_filtered(served):
    """Trouble comes first; key s sorts by PLC, then by age; what is written after / chooses rows; Escape shows all."""
    view = served.view
    old, dead = origin("press2"), origin("press10")
    view.latest |= {old: data(old, NOW - 100, parts=1), dead: data(dead, NOW - 1, parts=1)}
    view.failures = {dead: Frame.failure(dead, NOW, "refused")}

    async def script(app, pilot):
        def plcs():
            return [row[0].removeprefix("acme/") for row in rows(app, "blocks")]

        assert plcs() == ["press10", "press2", "press1"]
        await pilot.press("s")
        assert plcs() == ["press1", "press2", "press10"]
        await pilot.press("s")
        assert plcs() == ["press2", "press10", "press1"]
        await pilot.press("slash", *"stale")
        await until(pilot, lambda: plcs() == ["press2"])
        await pilot.press("enter")
        assert not app.query_one("#filter", Input).has_class("asking")
        await pilot.press("escape")
        await until(pilot, lambda: len(plcs()) == 3)

    play(script, served)


def test_long_names_leave_room_for_the_state(served):
    """Of each the end is shown, where names differ; the whole name is that of the closer look."""
    long = [origin(f"{'p' * 60}-{n}") for n in (1, 2)]
    served.view.latest = {each: data(each, NOW - 100, parts=1) for each in long}

    async def script(app, pilot):
        shown = rows(app, "blocks")
        assert [row[0][-3:] for row in shown] == ["p-1", "p-2"]
        assert all(row[0].startswith("…") and len(row[0]) == 40 for row in shown)
        assert [row[2] for row in shown] == ["stale", "stale"]
        await pilot.press("enter")
        await until(pilot, lambda: said(app, "whose") == f"acme/{'p' * 60}-1 DB1")

    play(script, served, size=(120, 40))


def test_a_block_and_a_part_are_looked_at_closer(served):
    """Enter shows values with unit and quality, live; of a part its details. Escape goes back."""
    view = served.view
    waits = {"backlog_oldest_age_seconds": 9.597, "journal_bytes": 2048}
    view.details = {"broker": lambda: {"broker": "10.0.0.9:8883", "last_seq": {"acme/press1": 7}, **waits}}

    async def script(app, pilot):
        await pilot.press("enter")
        assert ["AI_Corrente", "4.25", "A", "good"] in rows(app, "values")
        bad = data(view.press, NOW - 0.1, contador_bom=5015, maquina_ligada=False)
        view.latest = {view.press: bad.replace(bad={"AI_Corrente": "not a number"})}
        await until(pilot, lambda: ["AI_Corrente", "", "A", "bad: not a number"] in rows(app, "values"))
        assert ["maquina_ligada", "false", "", "good"] in rows(app, "values")
        await pilot.press("s", "escape", "tab", "enter")
        assert app.sorted_by == "trouble"
        assert said(app, "whose") == "broker"
        found = rows(app, "values")
        assert ["last_seq acme/press1", "7"] in found
        assert found[-2:] == [["backlog_oldest_age", "9.6 s"], ["journal", "2.0 KiB"]]
        await pilot.press("escape", "space")
        assert "paused" in said(app, "said")
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)

    play(script, served)


def test_a_lost_connection_shows_and_heals(served, monkeypatch):
    """The reason stands where the summary was, nothing is fresh, all grows older; then it all comes back."""
    monkeypatch.setattr("pipeline.terminal.app._LONGEST_PAUSE", 0.1)

    async def script(app, pilot):
        app.remote.url = f"http://127.0.0.1:{free_port()}"
        await until(pilot, lambda: ": no pipeline answers at http://127.0.0.1" in said(app, "said"))
        assert said(app, "said").startswith("without connection for ")
        assert app.screen.has_class("lost")
        assert [row[2] for name in ("blocks", "sinks") for row in rows(app, name)] == ["unknown", "unknown"]
        assert "top  no pipeline answers at" in said(app, "happened")
        before = float(rows(app, "blocks")[0][3].removesuffix(" s"))
        await until(pilot, lambda: float(rows(app, "blocks")[0][3].removesuffix(" s")) > before)
        served.view.become("broker", State.BACKING_OFF, "refused", NodeKind.SINK)
        app.remote.url = served.url
        await until(pilot, lambda: rows(app, "sinks")[0][2] == "backing_off")
        assert not app.screen.has_class("lost")
        assert "top  the connection is back" in said(app, "happened")

    play(script, served)


def test_a_small_terminal_shows_one_table_whole(served):
    """Blocks with the worst first, then by Tab the others; the keys fit; what has gone wrong stays in sight."""
    view = served.view
    fleet = [origin(f"f{number}") for number in range(30)]
    view.latest = {plc: data(plc, NOW, parts=1) for plc in fleet}
    view.failures = {fleet[29]: Frame.failure(fleet[29], NOW, "refused")}
    view.become("broker", State.BACKING_OFF, "login: refused", NodeKind.SINK)

    async def script(app, pilot):
        def heights():
            return [app.query_one(f"#{name}").size.height for name in ("blocks", "sinks", "parts")]

        await until(pilot, lambda: heights()[0] >= 8 and heights()[1:] == [0, 0])
        assert rows(app, "blocks")[0][:3] == ["acme/f29", "DB1", "failing"]
        assert "broker  login: refused" in said(app, "happened")
        await pilot.press("tab", "tab")
        await until(pilot, lambda: heights()[2] >= 8 and heights()[:2] == [0, 0])
        assert next(row[:1] + row[2:3] for row in rows(app, "parts")) == ["broker", "backing_off"]
        footer = app.query_one(Footer)
        await until(pilot, lambda: any(key.description == "quit" for key in footer.query(FooterKey)))
        assert all(key.region.right <= 60 for key in footer.query(FooterKey))
        await pilot.press("question_mark")
        assert "headroom" in str(app.screen.query_one(Static).render())
        await pilot.press("escape")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: min(heights()) >= 2 and heights()[0] >= 8)

    play(script, served, (60, 16))


def test_long_texts_are_wrapped(served):
    """Of a reason and an error that don't fit beside their names nothing is cut."""
    reason = "connection refused; the host is there, but nothing listens on this port: correct `address` or `port`"
    view = served.view
    view.become("press/press1", State.BACKING_OFF, reason)
    view.failures = {view.press: Frame.failure(view.press, NOW, "refused")}

    async def script(app, pilot):
        def told(name):
            return next(row[1] for row in rows(app, "values") if row[0] == name).splitlines()

        await pilot.press("enter")
        assert " ".join(told("(error)")) == reason
        await pilot.press("escape", "tab", "tab", "enter")
        assert said(app, "whose") == "press/press1"
        assert " ".join(told("reason")) == reason
        assert " ".join(told("last error")).endswith(f"ago: {reason}")
        assert max(map(len, told("last error"))) <= 66
        assert all(line for line in told("reason"))
        table = app.screen.query_one("#values", DataTable)
        assert table.virtual_size.width <= 80
        assert [row.height for row in table.rows.values() if row.height > 1] == [2, 2]

    play(script, served, (80, 24))
