"""The live grid, driven by its keys: cursor, candidates, accepting under a name, export, a PLC that goes away."""

import asyncio

from textual.widgets import DataTable, Input, Static

from pipeline.errors import ReadError
from pipeline.probing.app import ProbeApp
from pipeline.probing.grid import ByteGrid
from pipeline.probing.samples import Sample
from tests.pipeline.probing.streams import simulated


def play(script, samples, *, fails=0):
    """Run a script on an app that gets these samples, after so many failures."""
    saved = []
    left = [fails]

    async def watch():
        if left[0]:
            left[0] -= 1
            raise ReadError("timeout", "", "check the cable")
        for sample in samples:
            yield sample
        await asyncio.Event().wait()

    def save(fields):
        saved[:] = fields
        return "written"

    async def main():
        app = ProbeApp("DB1", watch, save, float("inf"))
        async with app.run_test(size=(140, 40)) as pilot:
            await until(pilot, lambda: app.analysis.size or fails)
            await script(app, pilot)
        return saved

    return asyncio.run(main())


async def until(pilot, condition):
    """Wait for what a thread of the app does."""
    async with asyncio.timeout(20):
        while not condition():
            await pilot.pause(0.01)


def idle(app):
    """Whether no analysis runs that could still change the candidates: only the look goes on."""
    return sum(worker.is_running for worker in app.workers) <= 1


def press_samples(leaves):
    """The simulated press."""
    return simulated(leaves, 14, 60)


def said(app, part):
    """The text of a part of the screen."""
    return str(app.query_one(part, Static).render())


def test_a_field_is_found_named_and_exported(press):
    """Cursor to byte 10, the best candidate, a name, export."""

    async def script(app, pilot):
        app.analyse()
        await until(pilot, lambda: len(app.analysis.chosen) >= 5 and idle(app))
        await pilot.press(*["right"] * 10)
        assert app.query_one(ByteGrid).cursor == 10
        await until(pilot, lambda: app.query_one(DataTable).row_count > 1)
        assert str(app.query_one(DataTable).get_row_at(0)[1]) == "INT"
        await pilot.press("enter")
        box = app.query_one("#name", Input)
        assert (box.has_focus, box.value) == (True, "counter_10")
        for wrong in (" ", "plc id", "_a"):
            box.value = wrong
            await pilot.press("enter")
            assert app.fields == {}
        box.value = "contador_bom"
        await pilot.press("enter")
        assert "contador_bom" in said(app, "#accepted")
        assert "field: contador_bom (INT @ 10)" in said(app, "#byte")
        await pilot.press("A", "e")
        await pilot.press("d")
        assert (10, 0) not in app.fields

    fields = play(script, press_samples(press))
    assert {field.name: field.reading.type for field in fields}["contador_bom"] == "INT"
    assert len(fields) >= 5


def test_another_candidate_takes_the_place_of_what_it_overlaps(press):
    """Tab goes to the candidates; the second one replaces the field that was accepted."""

    async def script(app, pilot):
        app.analyse()
        await until(pilot, lambda: len(app.analysis.chosen) >= 5 and idle(app))
        await pilot.press("A", "end", "home", *["right"] * 2, "tab", "down", "enter")
        other = app._candidate.reading
        assert other.type != "REAL"
        await pilot.press("enter")
        assert app.fields[2, 0].reading == other
        assert [field.reading.type for (byte, _), field in app.fields.items() if byte < 6].count("REAL") == 0

    play(script, press_samples(press))


def test_a_plc_that_goes_away_is_told_and_tried_again(press, monkeypatch):
    """The reason stands in the last line; then samples come."""
    monkeypatch.setattr("pipeline.probing.app._AGAIN", 0.05)

    async def script(app, pilot):
        await until(pilot, lambda: "check the cable" in said(app, "#status"))
        await until(pilot, lambda: app.samples)

    play(script, press_samples(press)[:3], fails=2)


def test_pause_forget_and_quit():
    """Space stops the samples, r drops them, e has nothing to export, q ends."""

    async def script(app, pilot):
        await pilot.press("space", "r", "e", "enter")
        assert app.samples == []
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)

    assert play(script, [Sample(0.0, bytes(4))]) == []
