"""Where the answers of the page carry texts of the engine, so that they are said in the page's language.

What programs read stays English: `/api/graph`, `/api/last`, `/metrics`, `/readyz`, and names, values and options
everywhere. What is told is never changed in place: the engine and other pages have the same objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.journal.tools import Entry
from pipeline.log import Event
from pipeline.web.page import language
from pipeline.web.portuguese import Say, say, speaker

__all__ = ["Refusals", "checked", "language_of", "letters", "node", "say_in", "told"]

_LOGGED = {"reason", "error", "advice", "trouble", "state", "previous"}
"""Keys of the log whose values the engine words itself."""
_REFUSED = 400


def language_of(request: HTTPConnection) -> str:
    """The language of who asks: the one that is chosen, else the browser's."""
    return language(request.cookies.get("lang", ""), request.headers.get("accept-language", ""))


def say_in(request: HTTPConnection) -> Say:
    """How texts of the engine are said to who asks."""
    return speaker(language_of(request))


def told(news: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
    """An event of the stream."""
    if say is str:
        return news
    return {key: _PARTS[key](value, say) if key in _PARTS else value for key, value in news.items()}


def node(found: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """A node with its parts, or what has changed of it."""
    said = _text(dict(found), say, "about")
    for key in ("actors", "errors"):
        if key in found:
            said[key] = [_part(each, say) for each in found[key]]
    if "counters" in found:
        said["counters"] = _text(dict(found["counters"]), say, "trouble")
    return said


def letters(found: list[Entry], say: Say) -> list[Entry]:
    """Dead letters."""
    return found if say is str else [msgspec.structs.replace(each, reason=say(each.reason)) for each in found]


def checked(found: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """What `check` says of the graph file."""
    problems = [_text(dict(each), say, "message", "hint") for each in found["problems"]]
    predictions = [
        {**each, "lines": [[say(str(name)), say(str(value))] for name, value in each["lines"]]}
        for each in found["predictions"]
    ]
    return {**found, "problems": problems, "predictions": predictions}


class Refusals:
    """Says a refusal in plain text in the language of who asks; all other answers pass as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] != "http" or say_in(HTTPConnection(scope)) is not say:
            await self._app(scope, receive, send)
            return
        held: list[Message] = []

        async def spoken(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_refusal(message):
                held.append(message)
            elif held and not message.get("more_body"):
                start = held.pop()
                body = f"{say(message['body'].decode().rstrip())}\n".encode()
                headers = MutableHeaders(raw=list(start["headers"]))
                headers["content-length"] = str(len(body))
                await send({**start, "headers": headers.raw})
                await send({**message, "body": body})
            else:
                await send(message)

        await self._app(scope, receive, spoken)


def _is_refusal(start: Message) -> bool:
    return start["status"] >= _REFUSED and Headers(raw=start["headers"]).get("content-type", "").startswith(
        "text/plain"
    )


def _text(found: dict[str, Any], say: Say, *keys: str) -> dict[str, Any]:
    for key in keys:
        if isinstance(text := found.get(key), str):
            found[key] = say(text)
    return found


def _drops(drops: Mapping[str, int], say: Say) -> dict[str, int]:
    return {say(reason): count for reason, count in drops.items()}


def _part(found: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """A node's facts, one of its parts, or one of their errors."""
    said = _text(dict(found), say, "reason")
    if "drops" in said:
        said["drops"] = _drops(said["drops"], say)
    if "last_errors" in said:
        said["last_errors"] = [_text(dict(each), say, "reason") for each in said["last_errors"]]
    if isinstance(said.get("details"), Mapping):
        said["details"] = _text(dict(said["details"]), say, "trouble")
    return said


def _logged(event: Event, say: Say) -> dict[str, Any]:
    more = {
        say(key): say(value) if key in _LOGGED and isinstance(value, str) else value
        for key, value in event.more.items()
    }
    return {**msgspec.structs.asdict(event), "event": say(event.event), "more": more}


def _place(fact: list[Any], at: int, say: Say) -> list[Any]:
    return [say(each) if number == at and isinstance(each, str) else each for number, each in enumerate(fact)]


def _bad(sight: Mapping[str, Any], say: Say) -> dict[str, Any]:
    bad = sight.get("bad")
    return {**sight, "bad": {number: say(reason) for number, reason in bad.items()}} if bad else dict(sight)


_PARTS: Mapping[str, Callable[[Any, Say], object]] = {
    "states": lambda found, say: [_place(each, 2, say) for each in found],
    "seen": lambda found, say: [_bad(each, say) for each in found],
    "troubles": lambda found, say: [_place(each, 2, say) for each in found],
    "nodes": lambda found, say: [_part(each, say) for each in found],
    "log": lambda found, say: [_logged(each, say) for each in found],
    "frames": lambda found, say: [_text(dict(each), say, "e") for each in found],
    "node": node,
}
