"""The log: readable or JSON, one line an event, and no secret in any form."""

import io
import json
import logging
import os
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from pipeline import lines, log
from pipeline.errors import ConfigurationError, Problem, ReadError, UsageError
from pipeline.units import Secret


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """Yes."""
        return True


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """The process's log, as it was before."""
    root, handlers, level = logging.getLogger(), list(logging.getLogger().handlers), logging.getLogger().level
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    monkeypatch.setattr(log, "_hidden", set())
    monkeypatch.setattr(log, "_pattern", None)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def logged(speak, stream=None, **options):
    """What a function that logs leaves in the stream."""
    stream = stream or io.StringIO()
    log.configure(stream=stream, **options)
    speak(structlog.get_logger().bind(node="press/press1"))
    return stream.getvalue()


def test_json_lines_begin_with_time_level_and_event():
    """One object a line, UTC, the node beside: what a log collector reads."""
    line = json.loads(logged(lambda it: it.info("MQTT publish topic resolved to:", topic="plc/acme/press1")))
    assert list(line) == ["time", "level", "event", "node", "topic"]
    assert line["time"].endswith("Z")
    assert (line["level"], line["event"]) == ("info", "MQTT publish topic resolved to:")
    assert (line["node"], line["topic"]) == ("press/press1", "plc/acme/press1")


@pytest.mark.parametrize(
    ("stream", "options", "is_json", "coloured"),
    [
        (io.StringIO, {}, True, False),
        (Terminal, {}, False, True),
        (Terminal, {"json": True}, True, False),
        (io.StringIO, {"json": False}, False, False),
    ],
)
def test_readable_on_a_terminal_and_json_elsewhere(stream, options, is_json, coloured, monkeypatch):
    """Unless told otherwise; colours only on a terminal."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = logged(lambda it: it.warning("skipped", count=3), stream(), **options)
    assert text.startswith("{") is is_json
    assert ("\x1b[" in text) is coloured
    assert "skipped" in text


def test_no_color_is_respected(monkeypatch):
    """The common variable."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in logged(lambda it: it.error("x"), Terminal())


@pytest.mark.parametrize(
    ("given_", "variable", "lines"), [("", "", 3), ("debug", "", 4), ("", "warning", 2), ("ERROR", "debug", 1)]
)
def test_the_level_is_the_options_then_the_variables_then_info(given_, variable, lines, monkeypatch):
    """An argument counts more than LOG_LEVEL."""
    monkeypatch.setenv("LOG_LEVEL", variable)

    def speak(it):
        for level in ("debug", "info", "warning", "error"):
            getattr(it, level)("event")

    assert logged(speak, level=given_).count("\n") == lines


def test_an_unknown_level_names_the_nearest():
    """A user's mistake."""
    with pytest.raises(UsageError, match="'debgu' is not a level; did you mean 'debug'"):
        log.configure("debgu")
    with pytest.raises(UsageError, match="allowed: debug, info, warning, error, critical"):
        log.configure("42")


@pytest.mark.parametrize("json_", [True, False])
def test_secrets_are_masked_by_key_and_by_text(json_):
    """At any depth, in objects that only show themselves when printed, in URLs, in tracebacks, in library messages."""
    secret = Secret('gehe"im\\ 7é')

    def speak(it):
        it.info(f"said {secret.reveal()}", password="hunter2", pin=secret.reveal(), secret=secret)
        it.info(
            "deep", options={"mqtt": [{"api_key": "k3y-text", "user": "ana"}, (secret.reveal() + "!",)]}, token=12345
        )
        it.info(
            "object",
            error=ValueError(secret.reveal()),
            url=f"mqtt://ana:{quote('pl@in')}@h:1",
            form=quote(secret.reveal()),
        )
        it.info("as text", json=json.dumps({"p": secret.reveal()}), repr=repr({"p": secret.reveal()}))
        it.error("defect", exc_info=RuntimeError(secret.reveal()))
        logging.getLogger("asyncio").error("%s and Authorization", secret.reveal())

    text = logged(speak, json=json_)
    for forbidden in ("gehe", "hunter2", "k3y-text", "12345", "pl%40in"):
        assert forbidden not in text
    assert text.count("***") >= 12
    assert "ana" in text


def test_a_short_secret_hides_itself_alone_and_an_empty_one_nothing():
    """Masking each `a` would leave no log."""
    for text in ("a", ""):
        log.hide(text)
    assert json.loads(logged(lambda it: it.info("a path", one="a", other="a b", none="")))["one"] == "***"
    assert json.loads(logged(lambda it: it.info("a path", one="a", other="a b", none="")))["other"] == "a b"


@given(st.text(min_size=4), st.booleans())
def test_no_text_of_a_secret_survives_anywhere(secret, json_):
    """Whatever characters it has, beside whatever it stands."""
    log.hide(secret)
    stream = io.StringIO()
    log.configure(json=json_, stream=stream)
    structlog.get_logger().info("event", value=f"é{secret}\n", deep=[{"x": secret}])
    for line in stream.getvalue().splitlines()[:1] if json_ else []:
        found = json.loads(line)
        assert found["value"] == "é***\n"
        assert found["deep"] == [{"x": "***"}]


def test_a_mistake_of_plant_or_user_is_one_line_and_a_defect_has_its_traceback():
    """Also one with many problems."""

    def speak(it):
        for error in (
            ReadError("timeout", "no answer in 2 s", "check the cable"),
            ConfigurationError([Problem(file="a.yaml", line=n, column=1, message="wrong") for n in (1, 2)]),
            ZeroDivisionError("defect"),
        ):
            it.error("failed", exc_info=error)

    read, configuration, defect = map(json.loads, logged(speak).splitlines())
    assert read["error"] == "timeout: no answer in 2 s; check the cable"
    assert configuration["error"] == "a.yaml:1:1: wrong | a.yaml:2:1: wrong"
    assert "exception" not in read.keys() | configuration.keys()
    assert defect["exception"] == "ZeroDivisionError: defect"


def test_what_a_device_sends_can_not_forge_a_line_or_colour_the_terminal():
    """Control characters are shown as escapes."""
    text = logged(
        lambda it: it.warning("refused", reason="x\n12:00:00 [info] all is well\x1b[2J\x9b1m\u2028"), json=False
    )
    assert text.count("\n") == 1
    assert "x\u240a12:00:00 [info] all is well\u241b[2J\ufffd1m\ufffd" in text
    text = logged(lambda it: it.error("failed", exc_info=ValueError("no: \x1b[2J")), json=False)
    assert text.endswith("\nValueError: no: \u241b[2J\n")


def test_a_log_that_can_not_be_written_does_not_stop_who_logs():
    """A closed pipe, a full disk."""

    class Broken(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    logged(lambda it: it.error("lost"), Broken())
    closed = io.StringIO()
    log.configure(stream=closed)
    closed.close()
    structlog.get_logger().error("lost")


def test_libraries_speak_through_the_same_log_and_each_thing_once_a_minute():
    """A broken link says one thing a publish; the count of what was held back comes with the next one."""
    stream, now = io.StringIO(), 0.0
    log.configure(stream=stream)
    (handler,) = (each for each in logging.getLogger().handlers if isinstance(each, log._Handler))
    handler._monotonic = lambda: now
    gmqtt = logging.getLogger("gmqtt.mqtt.protocol")
    for _ in range(1000):
        gmqtt.error("[TRYING WRITE TO CLOSED SOCKET] %s", _)
        gmqtt.warning("noise")
    now = 60.0
    gmqtt.error("[TRYING WRITE TO CLOSED SOCKET] %s", "again")
    for number in range(1000):
        gmqtt.error(f"other {number}")
    first, again, *_ = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["logger"]) == ("[TRYING WRITE TO CLOSED SOCKET] 0", "gmqtt.mqtt.protocol")
    assert (again["suppressed"], "suppressed" in first) == (999, False)
    assert len(handler._spoken) <= 256


def test_a_library_that_formats_its_words_wrongly_does_not_fail_by_it():
    """They are told as they are."""
    stream = io.StringIO()
    log.configure(stream=stream)
    (handler,) = (each for each in logging.getLogger().handlers if isinstance(each, log._Handler))
    handler.emit(logging.LogRecord("library", logging.WARNING, "", 0, "%d items", ("some",), None))
    assert json.loads(stream.getvalue())["event"] == "%d items"


def test_configuring_twice_leaves_one_handler():
    """Also after a change of level no line comes twice."""
    stream = io.StringIO()
    log.configure(stream=stream)
    log.configure(stream=stream)
    logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=OSError("no route"))
    (line,) = stream.getvalue().splitlines()
    assert "OSError: no route" in json.loads(line)["exception"]


def test_the_latest_events_are_kept_for_the_page_without_secrets():
    """Numbered, with level, node and the rest; only those after a number; a secret is masked there too."""
    out = io.StringIO()
    log.configure("info", json=True, stream=out)
    before = log.recent()[-1].n if log.recent() else 0
    structlog.get_logger().bind(node="broker").warning("login failed", password="hunter22", attempts=3, of=["a", "b"])
    structlog.get_logger().debug("not heard")
    (event,) = log.recent(before)
    assert (event.level, event.event, event.node) == ("warning", "login failed", "broker")
    assert event.more == {"password": "***", "attempts": 3, "of": "a\nb"}
    assert log.recent(event.n) == []


@pytest.fixture
def pipe():
    """A log that goes into a pipe, with the end where it is read."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="ascii") as here:
        with os.fdopen(reading, "rb") as there:
            log.configure(json=True, stream=here)
            yield there
        lines.flush()  # the reader has gone, so whoever stood still goes on


def test_a_reader_that_stands_still_holds_up_nobody_and_is_told_what_it_missed(pipe):
    """What waits is bounded; the rest is counted, and told in its place when it goes on."""
    log_ = structlog.get_logger()
    before = lines.dropped()
    for number in range(10_000):
        log_.info("é", number=number, text="x" * 300)
    lost = lines.dropped() - before
    assert 1_000 < lost < 9_000
    numbers = []
    for event in map(json.loads, pipe):
        if event["event"] != "é":
            break
        numbers.append(event["number"])
    assert numbers == list(range(10_000 - lost))
    assert (event["event"], event["lost"], event["level"]) == ("lines of the log given up", lost, "warning")
    log_.info("on")
    assert json.loads(pipe.readline())["event"] == "on"


def test_at_the_end_the_last_lines_are_written_or_waited_for_only_for_a_moment(pipe, monkeypatch):
    """In order, before other words; with a reader that stands still the end comes all the same."""
    log_ = structlog.get_logger()
    for number in range(3):
        log_.info("last", number=number)
    lines.flush()
    assert [json.loads(line)["number"] for line in pipe.read1().splitlines()] == [0, 1, 2]
    monkeypatch.setattr(lines, "_PATIENCE", 0.01)
    log_.info("x" * (1 << 18))
    lines.flush()
    assert lines._latest[-1]._writing
