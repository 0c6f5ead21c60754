"""The log: one constant event with key-values a line, on stderr; readable on a terminal, JSON elsewhere.

Nothing secret passes: values under telling keys are masked, and so is the text of every revealed secret wherever it
stands. What libraries log takes the same way, at most one line a minute for each of their messages.
"""

from __future__ import annotations

import itertools
import json as json_text
import logging
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TextIO
from urllib.parse import quote

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from pipeline.errors import PipelineError, UsageError, nearest
from pipeline.lines import Lines, flush

__all__ = ["LEVELS", "Event", "configure", "hide", "mask", "recent"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

MASK = "***"

_TELLING = re.compile(
    r"passw(or)?d|passphrase|secret|token|authorization|credential|cookie|api_?key|private_?key", re.IGNORECASE
)
_USERINFO = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
# What stands for line breaks and terminal codes: their pictures, or the sign for what can't be shown.
_PICTURES = {
    **{code: 0x2400 + code for code in range(0x20)},
    0x7F: 0x2421,
    **dict.fromkeys((*range(0x80, 0xA0), 0x2028, 0x2029), 0xFFFD),
}
# A shorter secret is hidden only where it is the whole text: masking each "a" would leave no log.
_SHORTEST = 4
_QUIET_SECONDS = 60.0
_REMEMBERED = 256
# The lowest level that is heard of each library: our own parts say the same with node and advice. gmqtt warns once a
# publish while its socket is closed; uvicorn tells of every malformed request that anyone sends.
_FLOORS = {
    "asyncio": logging.WARNING,
    "gmqtt": logging.ERROR,
    "reactivex": logging.WARNING,
    "Rx": logging.WARNING,
    "s7commplus": logging.ERROR,
    "snap7": logging.ERROR,
    "uvicorn": logging.ERROR,
}

_RECENT = 1000
_TEXT = 2000  # characters of a text that are kept for the page

_hidden: set[str] = set()
_pattern: re.Pattern[str] | None = None


class Event(msgspec.Struct, gc=False):
    """One event of the log, for the page.

    Attributes:
        n: its number in this process, from 1.
        ts: seconds since 1970.
        level: one of `LEVELS`.
        event: what happened, a constant text.
        node: whose it is; empty for the engine's own.
        more: the other key-values.
    """

    n: int
    ts: float
    level: str
    event: str
    node: str
    more: dict[str, Any]


_numbers = itertools.count(1)
_events: deque[Event] = deque(maxlen=_RECENT)


def recent(after: int = 0) -> list[Event]:
    """The latest thousand events of this process, oldest first; only those with a number above `after`."""
    return [event for event in tuple(_events) if event.n > after]


def hide(text: str) -> None:
    """Mask this text from now on, wherever it appears in an event: plain, in a URL, in JSON, in a `repr`."""
    global _pattern  # noqa: PLW0603 - the log of a process is one, and so is what it must not say
    if not text or text in _hidden:
        return
    _hidden.add(text)
    forms = {
        form
        for secret in _hidden
        for form in (secret, quote(secret, safe=""), json_text.dumps(secret)[1:-1], repr(secret)[1:-1])
        if len(form) >= _SHORTEST
    }
    if forms:
        _pattern = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))


def configure(level: str = "", json: bool | None = None, stream: TextIO | None = None) -> None:
    """Set the log of this process up; called once at its start, again to change it.

    Args:
        level: `debug`, `info`, `warning`, `error` or `critical`; empty takes `LOG_LEVEL`, else `info`.
        json: JSON lines when True, readable when False; None decides by whether the stream is a terminal.
        stream: where lines go, stderr unless told.

    Raises:
        UsageError: there is no such level.
    """
    name = (level or os.environ.get("LOG_LEVEL") or "info").strip().lower()
    if name not in LEVELS:
        near = nearest(name, LEVELS)
        hint = f"did you mean '{near}'?" if near else "allowed: " + ", ".join(LEVELS)
        raise UsageError(f"LOG_LEVEL: '{name}' is not a level; {hint}")
    out = stream or sys.stderr
    terminal = out.isatty()
    as_json = not terminal if json is None else json
    colours = terminal and not os.environ.get("NO_COLOR") and sys.platform != "win32"
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time") if as_json else _local_time
    shared: list[Processor] = [structlog.stdlib.add_log_level, stamp, _errors, mask, _keep]
    last: list[Processor]
    last = [_order, structlog.processors.JSONRenderer(default=str)] if as_json else [_one_line, _readable(colours)]
    processors = [*shared, *last]
    flush()  # of what was set up before
    given_up = {"event": "lines of the log given up", "hint": "whoever reads stderr stood still, or its disk is full"}
    lines = Lines(out, lambda count: _line(processors, "warning", {**given_up, "lost": count}))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[name]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    _take_libraries(LEVELS[name], lines, processors)


class _Handler(logging.Handler):
    """Gives what libraries log to the same processors, at most once a minute for each of their messages."""

    def __init__(
        self, lines: Lines, processors: list[Processor], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._lines = lines
        self._processors = processors
        self._monotonic = monotonic
        self._spoken: dict[tuple[str, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        suppressed = self._suppressed(record)
        if suppressed is None:
            return
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library whose words don't fit their format must not fail by it
            text = str(record.msg)
        event: Any = {"event": text, "logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        if suppressed:
            event["suppressed"] = suppressed
        self._lines.msg(_line(self._processors, record.levelname.lower(), event))

    def _suppressed(self, record: logging.LogRecord) -> int | None:
        """How often this message was held back since it was last let through; None when it is held back now."""
        key, now = (record.name, str(record.msg)), self._monotonic()
        last, count = self._spoken.pop(key, (-_QUIET_SECONDS, 0))
        quiet = now - last < _QUIET_SECONDS
        self._spoken[key] = (last, count + 1) if quiet else (now, 0)
        if len(self._spoken) > _REMEMBERED:
            del self._spoken[next(iter(self._spoken))]
        return None if quiet else count


def _line(processors: list[Processor], level: str, event: Any) -> str:
    for processor in processors:
        event = processor(None, level, event)
    return str(event)


def _take_libraries(level: int, lines: Lines, processors: list[Processor]) -> None:
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        if isinstance(handler, _Handler):
            root.removeHandler(handler)
    root.addHandler(_Handler(lines, processors))
    root.setLevel(level)
    for name, floor in _FLOORS.items():
        logging.getLogger(name).setLevel(max(level, floor))


def _local_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The wall clock with milliseconds, as a person beside the machine reads it."""
    now = time.time()
    event["time"] = f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now % 1 * 1000):03d}"
    return event


def _errors(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A mistake of the user or the plant is one line, `error`; a traceback is for defects of the code."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, PipelineError):
        event.setdefault("error", " | ".join(str(error).splitlines()))
    elif isinstance(error, BaseException):
        event["exc_info"] = (type(error), error, error.__traceback__)
        return structlog.processors.format_exc_info(logger, method, event)
    return event


def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide what is secret by its key or by its text, at any depth."""
    return {key: _masked(key, value) for key, value in event.items()}


def _keep(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep a copy of the event for the page."""
    more = {
        key: value if isinstance(value, bool | int | float) else _text(value)[:_TEXT]
        for key, value in event.items()
        if key not in {"time", "level", "event", "node"} and value is not None
    }
    level, what, node = (str(event.get(key, ""))[:_TEXT] for key in ("level", "event", "node"))
    _events.append(Event(next(_numbers), time.time(), level, what, node, more))
    return event


def _text(value: object) -> str:
    """What people read: of several things a line each, not Python's way to write a list."""
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _masked(key: object, value: object) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(key, str) and _TELLING.search(key):
        return MASK if value else value
    if isinstance(value, Mapping):
        return {inner: _masked(inner, item) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(None, item) for item in value]
    return value if isinstance(value, int | float) else _masked_text(str(value))


def _masked_text(text: str) -> str:
    if text in _hidden:
        return MASK
    if "://" in text:
        text = _USERINFO.sub(rf"\1{MASK}@", text)
    return _pattern.sub(MASK, text) if _pattern is not None else text


def _order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Time, level and event first, so that JSON lines are read from the left."""
    return {**{key: event.pop(key) for key in ("time", "level", "event") if key in event}, **event}


def _one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """No terminal codes, and no line breaks but a traceback's: what a device sends must not forge a line."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = value.translate(_PICTURES if key != "exception" else {**_PICTURES, ord("\n"): "\n"})
    return event


def _readable(colours: bool) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=colours, exception_formatter=structlog.dev.plain_traceback, timestamp_key="time", sort_keys=False
    )
