"""`/metrics`: names and kinds are a contract, the text is what Prometheus and Telegraf read."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pipeline.actor import State
from pipeline.config.http import Http
from pipeline.metrics import Metrics
from pipeline.web.exposition import Exposition, text
from tests.parts.engine import data, origin
from tests.parts.web import NOW, Watched, ask

PRESS = {"tenant": "acme", "plc": "press1", "db": "1"}


def families(text):
    """Kind and samples by family name; fails on what Prometheus would refuse."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.name not in found, f"{family.name} comes twice"
        samples = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        assert len(samples) == len(set(samples)), f"a series of {family.name} comes twice"
        found[family.name] = (
            family.type,
            {key: sample.value for key, sample in zip(samples, family.samples, strict=True)},
        )
    return found


def series(text, name, /, **labels):
    """The value of one series, None when there is none."""
    for _, samples in families(text).values():
        if (name, tuple(sorted(labels.items()))) in samples:
            return samples[name, tuple(sorted(labels.items()))]
    return None


def test_names_and_kinds_are_the_contract():
    """What the seed's queries, dashboards and alerts rely on."""
    view = Watched()
    view.metrics.counter("plc_read_ok", "reads", **PRESS).n += 3
    view.metrics.gauge("plc_read_latency_ms", "latency", **PRESS).value = 8.25
    view.actors["broker"].drops["mailbox_full"] = 2
    answer = ask(view, "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "_created" not in answer.text
    kinds = {name: kind for name, (kind, _) in families(answer.text).items()}
    assert kinds == {
        "plc_read_ok": "counter",
        "plc_read_latency_ms": "gauge",
        "plc_last_value": "gauge",
        "edge_up": "gauge",
        "edge_log_lines_dropped": "counter",
        "edge_time_seconds": "gauge",
        "edge_node_state": "gauge",
        "edge_node_errors": "counter",
        "edge_frames": "counter",
        "edge_frames_dropped": "counter",
        "process_start_time_seconds": "gauge",
        "process_cpu_seconds": "counter",
        "process_resident_memory_bytes": "gauge",
        "process_virtual_memory_bytes": "gauge",
        "process_open_fds": "gauge",
        "process_max_fds": "gauge",
    }
    assert series(answer.text, "plc_read_ok_total", **PRESS) == 3
    assert series(answer.text, "edge_up") == 1
    assert series(answer.text, "edge_frames_dropped_total", node="broker", reason="mailbox_full") == 2


def test_only_the_metrics_that_are_asked_for_come():
    """As Prometheus' own libraries have it; unknown ones are nothing."""
    view = Watched()
    view.metrics.counter("plc_read_ok", "reads", **PRESS).n += 3
    asked = {"plc_read_ok_total": "plc_read_ok", "edge_up": "edge_up", "plc_last_value": "plc_last_value", "x": ""}
    for name, family in asked.items():
        assert list(families(ask(view, f"/metrics?name[]={name}").text)) == [family] * bool(family)
    both = ask(view, "/metrics?name[]=edge_up&name[]=plc_read_ok_total").text
    assert (series(both, "edge_up"), series(both, "plc_read_ok_total", **PRESS)) == (1, 3)


def test_the_last_values_are_numbers_with_the_labels_of_their_block():
    """True is 1; texts have no number; nothing else of the frame is shown."""
    view = Watched()
    view.latest[view.press] = data(view.press, a=True, b=False, c=-7, d=0.1, e="text", f=2**60)
    values = families(ask(view, "/metrics").text)["plc_last_value"][1]
    assert {dict(labels)["name"]: value for (_, labels), value in values.items()} == {
        "a": 1, "b": 0, "c": -7, "d": 0.1, "f": 2.0**60
    }  # fmt: skip
    assert all(dict(labels).items() >= PRESS.items() for _, labels in values)


def test_the_last_values_follow_their_frames():
    """No answer keeps old values, nor blocks that are gone."""
    view = Watched()
    exposition = Exposition(view)
    first = "".join(exposition.text())
    view.latest = {view.press: data(view.press, contador_bom=5015, neu=1)}
    second = "".join(exposition.text())
    assert series(first, "plc_last_value", name="contador_bom", **PRESS) == 5014
    assert series(second, "plc_last_value", name="contador_bom", **PRESS) == 5015
    assert series(second, "plc_last_value", name="AI_Corrente", **PRESS) is None
    view.latest = {}
    assert 'plc="press1"' not in "".join(exposition.text())


def test_any_name_of_a_value_comes_back_as_it_was():
    """Quotes, ends of lines of all kinds, and backslashes, as the library writes them."""
    names = ['a"b', "a\nb", "a\\b", "a\x85b", "a\u2028b", "a} 1"]
    view = Watched()
    view.latest = {view.press: data(view.press, **{name: number for number, name in enumerate(names)})}
    values = families(ask(view, "/metrics").text)["plc_last_value"][1]
    assert {dict(labels)["name"]: value for (_, labels), value in values.items()} == dict(
        zip(names, range(len(names)), strict=True)
    )


@pytest.mark.parametrize(
    ("patterns", "names"),
    [(("AI_*", "contador_?om"), {"AI_Corrente", "contador_bom"}), (("ai_*", "AI"), set()), ((), set())],
)
def test_patterns_choose_which_last_values_are_shown(patterns, names):
    """As in a shell, by the whole of the value's name, case and all."""
    http = Http(listen="127.0.0.1:0", last_values=patterns)
    values = families(ask(Watched(), "/metrics", http=http).text)["plc_last_value"][1]
    assert {dict(labels)["name"] for _, labels in values} == names


def test_blocks_that_share_tenant_plc_and_db_stay_apart():
    """Two stretches of one data block with one layout: a series that came twice would void the whole scrape."""
    view = Watched()
    origins = [origin(), origin(tags={"area": "linha1"}), origin(tags={"area": "linha1"}), origin(plc_id="")]
    view.latest = {each: data(each, NOW, n=number) for number, each in enumerate(origins)}
    values = families(ask(view, "/metrics").text)["plc_last_value"][1]
    assert sorted(values.values()) == [0, 1, 2, 3]
    assert {dict(labels).get("block") for _, labels in values} == {
        "s7_db1", "s7_db1 area=linha1", "s7_db1 area=linha1 #2", None
    }  # fmt: skip
    assert next(dict(labels)["plc"] for (_, labels), value in values.items() if value == 3) == "192.168.0.121"


def test_each_part_is_in_one_state():
    """A gauge a state, so that an alert can name the state."""
    view = Watched()
    view.become("broker", State.BACKING_OFF, "refused")
    values = families(ask(view, "/metrics").text)["edge_node_state"][1]
    broker = {dict(labels)["state"]: value for (_, labels), value in values.items() if dict(labels)["node"] == "broker"}
    assert broker == {state.value: float(state is State.BACKING_OFF) for state in State}


@given(
    st.dictionaries(st.sampled_from(["a", "b", "plc"]), st.text(max_size=20)),
    st.floats() | st.integers(-(2**70), 2**70),
)
def test_any_text_and_any_number_come_back_as_they_were(labels, value):
    """Hostile names can't break out of their quotes, and no digit is lost."""
    metrics = Metrics()
    metrics.gauge("some_gauge", 'help \\ with "quotes"\nand a line', **labels).value = value
    ((_, samples),) = families("".join(text(metrics))).values()
    ((_, read),) = samples
    assert dict(read) == {key: text for key, text in labels.items() if text}
    (back,) = samples.values()
    assert float(back) == float(value) or (math.isnan(back) and math.isnan(value))


def test_counters_gauges_histograms_and_readers_share_names_in_one_family():
    """Children and readers of one name are one family; a series that comes twice counts once."""
    metrics = Metrics()
    metrics.counter("frames", "frames", sink="a").n += 2
    metrics.read_counter("frames", "frames", lambda: [({"sink": "b"}, 3), ({"sink": "a"}, 99)])
    metrics.read_gauge("broken", "raises", lambda: [({}, 1 / 0)])
    times = metrics.histogram("took_seconds", "time", (0.1, 1.0), sink="a")
    for seconds in (0.05, 0.1, 0.5, 7):
        times.observe(seconds)
    answer = "".join(text(metrics))
    assert series(answer, "frames_total", sink="a") == 2
    assert series(answer, "frames_total", sink="b") == 3
    assert [series(answer, "took_seconds_bucket", sink="a", le=bound) for bound in ("0.1", "1.0", "+Inf")] == [2, 3, 4]
    assert (series(answer, "took_seconds_count", sink="a"), series(answer, "took_seconds_sum", sink="a")) == (4, 7.65)
    assert metrics.value("frames_total", sink="b") == 3
    assert metrics.value("frames_total", sink="c") is None
    with pytest.raises(ValueError, match="frames_total is a counter already"):
        metrics.gauge("frames_total", "no")


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 1000])
def test_a_big_family_comes_in_small_pieces_under_one_head(count):
    """No piece is long work, and together they are one valid text with each series once; an empty family has a head."""
    view = Watched()
    view.latest = {view.press: data(view.press, **{f"value_{number}": number for number in range(count)})}
    for number in range(count):
        view.metrics.histogram("took_seconds", "time", (0.5,), sink=str(number)).observe(number)
    pieces = list(Exposition(view).text())
    assert max(piece.count("\n") for piece in pieces) <= 102
    answer = "".join(pieces)
    values = families(answer)["plc_last_value"][1]
    assert sorted(values.values()) == list(range(count))
    assert len(families(answer).get("took_seconds", ("", ()))[1]) == 4 * count


def test_a_counter_and_a_gauge_of_one_stem_have_each_their_head():
    """`frames_total` and `frames` are two families, though the library calls both `frames`."""
    metrics = Metrics()
    metrics.counter("frames", "count").n += 4
    metrics.gauge("frames", "level").value = 5
    lines = "".join(text(metrics)).splitlines()
    assert [line for line in lines if not line.startswith("# HELP")] == [
        "# TYPE frames_total counter", "frames_total 4.0", "# TYPE frames gauge", "frames 5.0"
    ]  # fmt: skip


def test_an_empty_label_is_no_label():
    """Prometheus sees one series, so we count one, and both ways to ask find it."""
    metrics = Metrics()
    metrics.counter("reads", "reads", plc="a", db="").n += 1
    metrics.counter("reads", "reads", plc="a").n += 1
    assert series("".join(text(metrics)), "reads_total", plc="a") == 2
    assert metrics.value("reads_total", plc="a", db="") == metrics.value("reads_total", plc="a") == 2


def test_a_counter_asked_for_again_is_the_same():
    """Two parts that count one thing add up."""
    metrics = Metrics()
    metrics.counter("reads", "reads", plc="a", db="1").n += 1
    metrics.counter("reads", "reads", db="1", plc="a").n += 1
    assert metrics.value("reads_total", plc="a", db="1") == 2
