"""OEE: the formula on numbers that can be checked by hand, and what is not known."""

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from reactivex import Subject

from operators.transforms import oee as module
from operators.transforms.oee import Count, Oee, oee
from pipeline.clock import Clock, run_virtual
from pipeline.effectiveness import Missing, Window
from pipeline.frame import Frame, Kind
from pipeline.operator import Flow, NodeKind, Scope
from pipeline.shifts import Shift, TimeOfDay, Weekdays
from pipeline.units import Duration
from tests.parts.engine import data, make_context, origin
from tests.parts.stream import END, mistakes, play, play_twice

PRESS, SAW = origin("press", tags={"area": "linha1"}), origin("saw")
ZONE = ZoneInfo("America/Sao_Paulo")
SIX = datetime(2026, 11, 23, 6, tzinfo=ZONE).timestamp()
HOUR = 3600.0
MORNING = Shift(
    start=TimeOfDay.parse("06:00"), end=TimeOfDay.parse("14:00"), days=Weekdays.parse("mon-fri"), name="manha"
)
SIGNALS = {"running": "on", "good": "g", "scrap": "s", "ideal_rate": 30.0}
IN_SHIFT = Oee(**SIGNALS, window=Window.SHIFT, shifts=[MORNING], timezone="America/Sao_Paulo", every=Duration(600))
ROLLING = Oee(**SIGNALS, window=Window.ROLLING, length=Duration(600), every=Duration(60))


def run(options, frames, begin, end, *, arrival=lambda ts: ts, ends=False):
    """Results of frames that come at their own time, from `begin` to `end` (seconds since 1970).

    Args:
        options: of the node.
        frames: in the order of their time.
        begin: of the process.
        end: of the process: it is killed.
        arrival: when a frame of that time comes.
        ends: the process ends in order.
    """

    async def main(loop):
        clock = Clock(loop, wall=lambda: begin + loop.time(), monotonic=loop.time)
        context = make_context(loop, kind=NodeKind.TRANSFORM, clock=clock)
        source = Subject()
        seen = []
        source.pipe(oee.build(options, context)).subscribe(seen.append)
        for frame in frames:
            loop.call_at(arrival(frame.ts) - begin, source.on_next, frame)
        await asyncio.sleep(end - begin + 0.5)
        if ends:
            source.on_completed()
        return seen

    return run_virtual(main)


def machine(begin, end, *, stops=(), block=PRESS, every=5.0, rate=27.0, yield_=0.98):
    """A press that runs but for its stops (from, to), and makes parts at that rate, of which so many are good."""
    frames, running_time = [], 0.0
    for n in range(int((end - begin) / every) + 1):
        ts = begin + n * every
        on = not any(start <= ts < stop for start, stop in stops)
        made = int(running_time / 60 * rate + 1e-6)
        good = int(made * yield_ + 1e-6)
        frames.append(data(block, ts=ts, on=on, g=good, s=made - good))
        running_time += every * on
    return frames


def finals(frames):
    """Results of whole windows."""
    return [frame for frame in frames if frame.values["final"]]


def test_the_example_of_the_documentation():
    """A shift of 480 min, 400 of them running at 27 of 30 parts a minute, 98 % good: the numbers stand in the docs."""
    frames = machine(SIX, SIX + 8 * HOUR, stops=[(SIX + 2 * HOUR, SIX + 2 * HOUR + 80 * 60)])
    seen = run(IN_SHIFT, frames, SIX, SIX + 9 * HOUR)
    (final,) = finals(seen)
    assert (final.ts, final.bad, final.kind) == (SIX + 8 * HOUR, None, Kind.DATA)
    values = dict(final.values)
    assert (values.pop("shift"), values.pop("final")) == ("manha", True)
    assert values == pytest.approx(
        {
            "availability": 400 / 480,
            "performance": 0.9,
            "quality": 0.98,
            "oee": 0.735,
            "coverage": 1.0,
            "good": 10584,
            "scrap": 216,
            "running_seconds": 400 * 60,
            "planned_seconds": 480 * 60,
        },
        rel=1e-3,
    )
    for number in ("400 / 480 = 0.8333", "10584 / 10800 = 0.98", "= 0.9,", "oee 0.735", "10584 good parts and 216"):
        assert number in " ".join(module.__doc__.split())
    assert len(seen) == 48
    assert {frame.origin for frame in seen} == {final.origin}
    assert (final.origin.measurement, final.origin.plc_id, final.origin.tags) == ("oee", "press", {"area": "linha1"})


def test_results_so_far_are_of_the_time_so_far():
    """Ten minutes after the beginning ten minutes are planned."""
    seen = run(IN_SHIFT, machine(SIX, SIX + HOUR), SIX, SIX + HOUR - 1)
    assert [frame.values["planned_seconds"] for frame in seen] == pytest.approx([600, 1200, 1800, 2400, 3000], abs=5)
    assert [frame.ts - SIX for frame in seen] == [frame.values["planned_seconds"] for frame in seen]
    assert seen[0].values["oee"] == pytest.approx(0.9 * 0.98, rel=0.01)


def test_only_planned_time_and_what_is_made_in_it_counts():
    """A press that runs from 04:00 to 16:00: the shift has its 8 hours, and outside there is no result."""
    begin, end = SIX - 2 * HOUR, SIX + 10 * HOUR
    seen = run(IN_SHIFT, machine(begin, end), begin, end)
    assert {SIX < frame.ts <= SIX + 8 * HOUR for frame in seen} == {True}
    (final,) = finals(seen)
    assert final.values["availability"] == pytest.approx(1)
    assert final.values["good"] + final.values["scrap"] == pytest.approx(8 * 60 * 27, abs=3)


def test_on_a_free_day_there_is_no_result():
    """Sunday."""
    begin = SIX - 24 * HOUR
    assert run(IN_SHIFT, machine(begin, begin + 2 * HOUR), begin, begin + 2 * HOUR) == []


def test_each_hour_begins_at_nothing():
    """And has a result at its end; the counters go on."""
    options = Oee(**SIGNALS, window=Window.HOUR, every=Duration(600))
    frames = machine(SIX, SIX + 3 * HOUR, stops=[(SIX + HOUR, SIX + 1.5 * HOUR)])
    seen = finals(run(options, frames, SIX, SIX + 3 * HOUR))
    assert [frame.ts - SIX for frame in seen] == [HOUR, 2 * HOUR, 3 * HOUR]
    assert [frame.values["availability"] for frame in seen] == pytest.approx([1, 0.5, 1], abs=0.01)
    assert [frame.values["good"] + frame.values["scrap"] for frame in seen] == pytest.approx([1620, 810, 1620], abs=5)
    assert "shift" not in seen[0].values


def test_a_rolling_window_forgets():
    """Ten minutes after a stop of five it is forgotten; there is no end, so no result of a whole window."""
    frames = machine(SIX, SIX + HOUR, stops=[(SIX + 600, SIX + 900)])
    seen = run(ROLLING, frames, SIX, SIX + HOUR)
    by_minute = {round((frame.ts - SIX) / 60): frame.values["availability"] for frame in seen}
    assert by_minute[9] == pytest.approx(1, abs=0.02)
    assert by_minute[15] == pytest.approx(0.5, abs=0.02)
    assert by_minute[26] == pytest.approx(1, abs=0.02)
    assert max(frame.values["planned_seconds"] for frame in seen) <= 600
    assert finals(seen) == []


@pytest.mark.parametrize(("missing", "availability"), [(Missing.STOPPED, 0.5), (Missing.EXCLUDED, 1.0)])
def test_time_without_data_is_said_and_never_runs(missing, availability):
    """Half an hour without a read in an hour: coverage is a half; parts of the gap are made, but make nobody faster."""
    options = Oee(**SIGNALS, missing=missing, every=Duration(600))
    frames = [each for each in machine(SIX, SIX + HOUR) if not SIX + 600 < each.ts < SIX + 600 + HOUR / 2]
    frames += [Frame.failure(PRESS, SIX + 601, "timeout")]
    (final,) = finals(run(options, frames, SIX, SIX + HOUR))
    values = final.values
    assert values["coverage"] == pytest.approx(0.5, abs=0.01)
    assert values["availability"] == pytest.approx(availability, abs=0.01)
    assert values["performance"] == pytest.approx(0.9, abs=0.01)
    assert values["good"] + values["scrap"] == pytest.approx(1620, abs=3)


def test_a_reading_stands_for_a_while_and_a_failure_ends_it_at_once():
    """The last one before silence for 10 s; one before a failure until the failure."""
    options = Oee(**SIGNALS, window=Window.HOUR, every=Duration(60), grace=Duration(0))
    silent = run(options, machine(SIX, SIX + 100), SIX, SIX + 300)
    assert silent[-1].values["running_seconds"] == pytest.approx(110)
    assert silent[-1].values["coverage"] == pytest.approx(110 / 300, rel=0.01)
    failed = run(options, [*machine(SIX, SIX + 100), Frame.failure(PRESS, SIX + 102, "x")], SIX, SIX + 300)
    assert failed[-1].values["running_seconds"] == pytest.approx(102)


def test_a_bad_running_bit_is_time_without_data():
    """Neither running nor stopped."""
    options = Oee(**SIGNALS, every=Duration(60), grace=Duration(0))
    frames = machine(SIX, SIX + 115)
    frames[12:] = [
        each.replace(values={"g": each.values["g"], "s": each.values["s"]}, bad={"on": "refused"})
        for each in frames[12:]
    ]
    last = run(options, frames, SIX, SIX + 121)[-1]
    assert last.values["running_seconds"] == pytest.approx(60)
    assert last.values["coverage"] == pytest.approx(0.5, abs=0.01)


def test_who_starts_in_the_middle_says_what_it_has_not_seen():
    """From 10:00 on: half of the shift is missing."""
    (final,) = finals(run(IN_SHIFT, machine(SIX + 4 * HOUR, SIX + 8 * HOUR), SIX + 4 * HOUR, SIX + 8 * HOUR))
    assert final.values["coverage"] == pytest.approx(0.5, abs=0.01)
    assert final.values["planned_seconds"] == 8 * HOUR


def test_factors_that_can_not_be_told_are_named():
    """A press that stands still has no performance and no quality; its effectiveness is 0."""
    frames = machine(SIX, SIX + HOUR, stops=[(SIX, SIX + HOUR + 1)])
    (final,) = finals(run(Oee(**SIGNALS), frames, SIX, SIX + HOUR))
    assert (final.values["availability"], final.values["oee"]) == (0, 0)
    assert final.bad == {"performance": "it did not run", "quality": "no parts were made"}
    excluded = Oee(**SIGNALS, missing=Missing.EXCLUDED, every=Duration(60))
    blind = [each.replace(values={}, bad={"on": "refused"}) for each in frames[1:]]
    last = run(excluded, [data(PRESS, ts=SIX, on=True, g=0, s=0), *blind], SIX + 0.0, SIX + 121)[-1]
    assert last.values["coverage"] == pytest.approx(5 / 120, rel=0.05)


def test_counters_go_through_overflow_and_reset():
    """An INT at its end, and a counter that is reset at noon: nothing is lost, nothing invented."""
    frames = machine(SIX, SIX + HOUR)
    turned = [
        each.replace(values={**each.values, "g": ((each.values["g"] + 32000 + 32768) % 65536) - 32768})
        for each in frames
    ]
    at_noon = frames[360].values["g"]
    reset = [
        each.replace(values={**each.values, "g": each.values["g"] - (at_noon if number >= 360 else 0)})
        for number, each in enumerate(frames)
    ]
    expected = finals(run(Oee(**SIGNALS), frames, SIX, SIX + HOUR))[0].values
    assert finals(run(Oee(**SIGNALS), turned, SIX, SIX + HOUR))[0].values == expected
    lost = expected["good"] - finals(run(Oee(**SIGNALS), reset, SIX, SIX + HOUR))[0].values["good"]
    assert lost == frames[360].values["g"] - frames[359].values["g"]


def test_pulses_count_parts_as_well():
    """A bit that is true for one reading with each part; 6 parts in a minute."""
    frames = [data(PRESS, ts=SIX + n, on=1, g=n % 10 == 5, s=False) for n in range(3601)]
    (final,) = finals(run(Oee(**SIGNALS), frames, SIX, SIX + HOUR))
    assert final.values["good"] == 360
    assert final.values["performance"] == pytest.approx(6 / 30)


@pytest.mark.parametrize(
    ("signals", "good", "quality"),
    [
        ({"good": "g"}, 98, 1.0),
        ({"total": "t", "scrap": "s"}, 98, 0.98),
        ({"total": Count(field="t")}, 100, 1.0),
        ({"good": Count(field="g", wrap="int", most=98), "scrap": "s"}, 98, 0.98),
    ],
)
def test_signals_by_their_meaning(signals, good, quality):
    """Good and scrap, or all and scrap, or one of them alone."""
    frames = [data(PRESS, ts=SIX, on=True, g=0, s=0, t=0), data(PRESS, ts=SIX + 5, on=True, g=98, s=2, t=100)]
    options = Oee(running="on", ideal_rate=30, every=Duration(60), **signals)
    last = run(options, frames, SIX, SIX + 61)[-1]
    assert (last.values["good"], last.values["quality"]) == (good, quality)


def test_each_machine_has_its_own_and_other_blocks_have_none():
    """A block without the running bit is no machine; heartbeats tell nothing."""
    frames = sorted(
        [
            *machine(SIX, SIX + HOUR),
            *machine(SIX, SIX + HOUR, block=SAW, stops=[(SIX, SIX + HOUR / 2)]),
            *[data(origin("x"), ts=SIX + n, temperature=5) for n in range(100)],
            *[Frame.heartbeat(PRESS, SIX + n * 30) for n in range(100)],
        ],
        key=lambda frame: frame.ts,
    )
    seen = finals(run(Oee(**SIGNALS), frames, SIX, SIX + HOUR))
    assert {frame.origin.plc_id: round(frame.values["availability"], 2) for frame in seen} == {"press": 1, "saw": 0.5}


def by_backlog(ts):
    """An outage from 600 s to 1200 s after six: what was made then comes at its end."""
    return SIX + 1200 + (ts - SIX) / 1e5 if SIX + 600 < ts <= SIX + 1200 else ts


def test_what_a_backlog_brings_counts_as_if_it_had_come_at_once():
    """By hand: always on at the ideal rate, so that every factor is 1; the results of the outage wait for it."""
    frames = machine(SIX, SIX + 1800, rate=30, yield_=1)
    seen = run(Oee(**SIGNALS), frames, SIX, SIX + 1800, arrival=by_backlog)
    for factor in ("availability", "performance", "coverage", "oee"):
        assert seen[-1].values[factor] == pytest.approx(1, abs=0.01)
    assert seen[-1].values["good"] == pytest.approx(900, abs=3)
    assert [frame for frame in seen if SIX + 600 < frame.ts < SIX + 1200] == []


def test_what_comes_after_its_grace_is_parts_and_nothing_more():
    """Nobody knows how long it ran for them, so it was not faster either."""
    frames = machine(SIX, SIX + 1800, rate=30, yield_=1)
    last = run(Oee(**SIGNALS, grace=Duration(0)), frames, SIX, SIX + 1800, arrival=by_backlog)[-1]
    assert last.values["coverage"] == pytest.approx(2 / 3, abs=0.01)
    assert last.values["good"] == pytest.approx(900, abs=3)
    assert last.values["performance"] == pytest.approx(1, abs=0.01)


def test_a_silent_machine_is_told_once_its_grace_is_over():
    """Not again and again what was told; then time without data counts. Heartbeats let time go on."""
    options = Oee(**SIGNALS, window=Window.DAY, grace=Duration(600))
    silent = run(options, machine(SIX, SIX + 100), SIX, SIX + 1200)
    assert [round(frame.ts - SIX) for frame in silent] == [60, 100, *range(120, 601, 60)]
    beating = [*machine(SIX, SIX + 100), *[Frame.heartbeat(PRESS, SIX + n * 30) for n in range(4, 40)]]
    assert len(run(options, beating, SIX, SIX + 1200)) > 18
    failed = [*machine(SIX, SIX + 100), Frame.failure(PRESS, SIX + 102, "timeout")]
    assert run(options, failed, SIX, SIX + 1200)[-1].ts == SIX + 1200


@pytest.mark.parametrize("ends", [True, False])
def test_a_process_that_starts_again_goes_on_with_its_windows(tmp_path, ends):
    """Killed or stopped after half of the shift, back a minute later: that minute is missing, its parts are not."""
    path = tmp_path / "data" / "oee.json"
    options = msgspec.structs.replace(IN_SHIFT, state=str(path), every=Duration(60))
    frames = machine(SIX, SIX + 8.1 * HOUR)
    half = [frame for frame in frames if frame.ts <= SIX + 4 * HOUR]
    rest = [frame for frame in frames if frame.ts >= SIX + 4 * HOUR + 60]
    run(options, half, SIX, half[-1].ts, ends=ends)
    again = [half[-10].replace(values={**half[-10].values, "g": 7})]  # what a broker brings a second time is known
    (final,) = finals(
        run(options, [*again, *rest], rest[0].ts - 1, SIX + 8.1 * HOUR, arrival=lambda ts: max(ts, rest[0].ts - 0.5))
    )
    (whole,) = finals(run(IN_SHIFT, frames, SIX, SIX + 8.1 * HOUR))
    assert final.values["coverage"] == pytest.approx(1 - 50 / (8 * HOUR), abs=1e-3)
    assert final.values["availability"] == pytest.approx(1 - 50 / (8 * HOUR), abs=1e-3)
    assert (final.values["good"], final.values["scrap"]) == (whole.values["good"], whole.values["scrap"])
    assert (final.origin.plc_id, final.origin.tags) == ("press", {"area": "linha1"})


@pytest.mark.parametrize(
    ("signals", "window"),
    [({"good": "g"}, Window.ROLLING), ({"good": "bit"}, Window.HOUR), ({"total": "g", "scrap": "s"}, Window.DAY)],
)
def test_all_that_is_known_outlives_a_restart(tmp_path, signals, window):
    """Pieces of a rolling window, bits that count: with no time in between the results are as if by one process."""
    options = Oee(running="on", ideal_rate=30, window=window, every=Duration(60), **signals)
    kept = msgspec.structs.replace(options, state=str(tmp_path / "oee.json"))
    frames = [
        frame.replace(values={**frame.values, "bit": n % 3 == 0})
        for n, frame in enumerate(machine(SIX, SIX + HOUR / 2, stops=[(SIX + 300, SIX + 700)]))
    ]
    expected = run(options, frames, SIX, SIX + HOUR / 2)[-1]
    run(kept, frames[:180], SIX, SIX + 900, ends=True)
    last = run(kept, frames[180:], SIX + 900, SIX + HOUR / 2)[-1]
    assert last.values == pytest.approx(expected.values, rel=0.01)


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff\xfe", b'{"options": "other", "machines": []}'])
def test_a_state_file_that_is_of_no_use_is_none(tmp_path, body):
    """Damaged, or of other options: windows begin anew, and the file is written again."""
    path = tmp_path / "oee.json"
    path.write_bytes(body)
    options = Oee(**SIGNALS, state=str(path), every=Duration(60))
    assert len(run(options, machine(SIX, SIX + 130), SIX, SIX + 130)) == 2
    assert b"press" in path.read_bytes()
    blocked = Oee(**SIGNALS, state=str(tmp_path), every=Duration(60))
    assert len(run(blocked, machine(SIX, SIX + 130), SIX, SIX + 130)) == 2


def test_late_frames_change_nothing_and_a_clock_that_jumps_a_month_begins_anew():
    """What came from a backlog is past; after the jump there is no endless row of empty windows."""
    frames = machine(SIX, SIX + 600)
    late = [data(PRESS, ts=SIX + 700 + n, on=True, g=10_000, s=0) for n in range(3)]
    script = [(frame.ts - SIX, frame) for frame in frames] + [
        (700 + n, frame.replace(ts=SIX + 100 + n)) for n, frame in enumerate(late)
    ]
    script.append((750, data(PRESS, ts=SIX + 40 * 24 * HOUR + 1800, on=True, g=1, s=0)))
    options = Oee(**SIGNALS, every=Duration(100_000))
    assert [frame for _, frame in play(oee, options, script) if frame.values["final"]] == []


def test_ends_pass_and_end_the_results():
    """Completion and error go through; disposal ends the ticks; a new subscriber knows nothing."""
    error = ValueError("x")
    begin = data(PRESS, ts=1_731_800_000, on=True, g=0, s=0)
    options = Oee(**SIGNALS, every=Duration(10), grace=Duration(0))
    assert play(oee, options, [(0, begin), (1, END)]) == [(1, END)]
    assert play(oee, options, [(0, begin), (1, error)]) == [(1, error)]
    assert [when for when, _ in play(oee, options, [(0.5, begin)], until=25)] == [10, 20]
    assert play_twice(oee, options, begin) == ([], [])


def test_a_graph_that_is_loaded_anew_goes_on_with_its_windows():
    """The first half hour by one graph, the second by the next: as if by one; other options begin anew."""
    options = Oee(**SIGNALS, every=Duration(600))
    frames = machine(SIX, SIX + HOUR)

    async def main(loop, after):
        clock = Clock(loop, wall=lambda: SIX + loop.time(), monotonic=loop.time)
        context = make_context(loop, kind=NodeKind.TRANSFORM, clock=clock)
        seen = []
        for each, part in ((options, frames[:360]), (after, frames[360:])):
            source = Subject()
            source.pipe(oee.build(each, context)).subscribe(seen.append)
            for frame in part:
                loop.call_at(frame.ts - SIX, source.on_next, frame)
            await asyncio.sleep(1799)
            source.on_completed()
        await asyncio.sleep(10)
        return seen

    once = finals(run(options, frames, SIX, SIX + HOUR))
    last = run_virtual(lambda loop: main(loop, options))[-1]
    assert last.values["good"] == pytest.approx(once[0].values["good"] * 50 / 60, rel=0.01)
    assert last.values["coverage"] == pytest.approx(1, abs=0.01)
    changed = run_virtual(lambda loop: main(loop, Oee(**SIGNALS, every=Duration(600), max_gap=Duration(11))))[-1]
    assert changed.values["coverage"] == pytest.approx(20 / 50, abs=0.01)


def test_the_forecast_counts_results_and_warns():
    """Two machines, a result a minute each; signals that don't come; frames too far apart."""
    inflow = Flow(frames=0.1, size=100, blocks=2, names=frozenset({"on", "g"}))
    forecast = oee.forecast(Oee(**SIGNALS), Scope(graph="g", node="n"), inflow)
    assert forecast.flow.frames == pytest.approx(2 / 60)
    assert {"oee", "availability", "coverage"} <= forecast.flow.names
    assert [finding.path for finding in forecast.warnings] == [("scrap",), ("max_gap",)]


BASE = "type: oee, from: press, running: on, ideal_rate: 30"


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{type: oee, from: press, good: g, ideal_rate: 30}", "running: is required and missing"),
        ("{type: oee, from: press, running: on, good: g}", "ideal_rate: is required and missing"),
        ("{type: oee, from: press, running: on, good: g, ideal_rate: 0}", "ideal_rate: must be > 0"),
        (f"{{{BASE}}}", "gives neither good nor total; give one of them"),
        (f"{{{BASE}, good: ''}}", "gives neither good nor total; give one of them"),
        (f"{{{BASE}, good: g, total: t}}", "gives both good and total"),
        (f"{{{BASE}, good: g, window: shift}}", "shifts: window: shift needs them"),
        (f"{{{BASE}, good: g, timezone: America/SaoPaulo}}", "timezone: unknown time zone 'America/SaoPaulo'"),
        (f"{{{BASE}, good: g, shifts: [{{from: 6h, to: 14:00}}]}}", "shifts[0].from: '6h' is no time of a day"),
        (f"{{{BASE}, good: g, shifts: [{{to: 14:00}}]}}", "shifts[0].from: is required and missing"),
        (
            f"{{{BASE}, good: g, shifts: [{{from: 06:00, to: 14:00, days: seg}}]}}",
            "shifts[0].days: 'seg' names no days",
        ),
        (
            f"{{{BASE}, good: g, shifts: [{{from: 06:00, to: 14:00}}, {{from: 13:00, to: 15:00}}]}}",
            "shifts[1]: is at the same time as shifts[0]",
        ),
        (f"{{{BASE}, good: {{wrap: int}}}}", "good.field: is required and missing"),
    ],
)
def test_bad_options_are_told(node, said):
    """Each mistake names node, option, what was found and what is allowed."""
    (problem,) = mistakes(NodeKind.TRANSFORM, node)
    assert problem.startswith("node 'node' (oee): ")
    assert said in problem


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (
            f"{{{BASE}, good: {{field: g, most: 20}}}}",
            "good.most: in a minute 30 parts may come, and no more than 20 are",
        ),
        ("{type: oee, from: press, running: on, ideal_rate: 1500, good: g}", "write good: {field: g, most: 3000}"),
    ],
)
def test_a_machine_that_is_faster_than_its_counter_is_believed_is_told(node, said):
    """As a warning: what it makes in an outage would not count."""
    (problem,) = mistakes(NodeKind.TRANSFORM, node)
    assert said in problem


def test_good_options_from_text():
    """What the documentation shows loads without a word."""
    node = f"""{{{BASE}, good: {{field: g, wrap: int}}, scrap: s, window: shift, timezone: America/Sao_Paulo,
    shifts: [{{name: A, days: mon-fri, from: 06:00, to: 14:00}}, {{days: "mon,tue", from: 22:00, to: 06:00}}]}}"""
    assert mistakes(NodeKind.TRANSFORM, node) == []
