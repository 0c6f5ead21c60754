"""A running pipeline as its HTTP interface gives it: where it is, how to log in, what it answers.

Of a graph file only `http:` is read: what runs may have been started with variables that are not set here, and the file
may have been edited wrongly since.
"""

from __future__ import annotations

import base64
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from pipeline.cli import graph_file
from pipeline.config.bind import FAILED, Binder
from pipeline.config.document import Record, Value, decode, parse, read
from pipeline.config.http import Http
from pipeline.errors import PartFailed, UsageError
from pipeline.units import Secret

__all__ = ["Remote", "address_of", "find"]

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_EXAMPLE = "http://127.0.0.1:9108"
_URL = re.compile(r"https?://", re.IGNORECASE)
_BARE = re.compile(r"[\w.-]+:\d+|\[[\da-fA-F:]+\]:\d+|\d+(?:\.\d+){3}", re.ASCII)
"""An address as people write it in a hurry."""
_SECTION = re.compile(r"^http[ \t]*:.*(?:\n(?:[ \t#].*)?$)*", re.MULTILINE)
_TOKEN_USER = "token"  # noqa: S105 - the name that stands for a token's bearer
_SHOWN = 1000
"""Bytes of a refusal that are shown."""
_STREAM_TIMEOUT = 40.0
"""Seconds without any word: the other side of a stream says something every 15."""


class Remote:
    """A pipeline that runs somewhere.

    Attributes:
        url: its address, without a path.
        file: the graph file that named it; None where an address did.
    """

    def __init__(self, url: str, token: Secret, users: Mapping[str, Secret], file: Path | None = None) -> None:
        self.url = url
        self.file = file
        self._token = token
        self._users = users
        # No proxy: it is this machine or one in the plant. No redirect: it would carry the login elsewhere.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)

    def get(self, path: str, timeout: float = 10.0) -> bytes:
        """What it answers to one request.

        Args:
            path: with the query.
            timeout: seconds without any word.

        Raises:
            UsageError: nothing answers there, or it doesn't let us in.
            PartFailed: the answer ended before it was complete.
        """
        with self._open(path, timeout) as answer:
            return answer.read()

    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of an answer without an end, as they come; empty ones are left out.

        Raises:
            UsageError: nothing answers there, or it doesn't let us in.
            PartFailed: the pipeline has gone silent.
        """
        with self._open(path, _STREAM_TIMEOUT) as answer:
            for line in answer:
                if text := line.strip():
                    yield text

    def open(self, path: str, timeout: float) -> HTTPResponse:
        """Ask, and leave to the caller what comes of it.

        Raises:
            UsageError: the login can't be read.
            OSError: nothing answers there; a refusal is a `urllib.error.HTTPError`.
            HTTPException: what answers is no HTTP.
        """
        request = urllib.request.Request(f"{self.url}{path}", headers=self._login())  # noqa: S310 - checked in `find`
        answer: HTTPResponse = self._opener.open(request, timeout=timeout)
        return answer

    @contextmanager
    def _open(self, path: str, timeout: float) -> Iterator[HTTPResponse]:
        try:
            with self.open(path, timeout) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(_SHOWN).decode(errors="replace").strip()
            raise UsageError(f"{self.url} answers {error.code}: {_printable(text)}") from error
        except urllib.error.URLError as error:
            why = getattr(error.reason, "strerror", None) or error.reason
            raise UsageError(f"no pipeline answers at {self.url}: {why}; {self._advice()}") from error
        except (OSError, HTTPException) as error:
            detail = str(error) or type(error).__name__
            raise PartFailed(f"the connection to the pipeline at {self.url} was lost: {detail}") from error

    def _advice(self) -> str:
        return f"start it with `pipeline run {self.file}`" if self.file else "is this its http.listen?"

    def _login(self) -> dict[str, str]:
        # A token, too, goes as a password, which may have any letters; a header itself has only a few.
        logins = {_TOKEN_USER: self._token} if self._token else self._users
        try:
            for user, password in logins.items():
                pair = base64.b64encode(f"{user}:{password.reveal()}".encode()).decode()
                return {"Authorization": f"Basic {pair}"}
        except OSError as error:
            raise UsageError(f"the login can't be read from '{error.filename}': {error.strerror}") from error
        return {}


def find(where: str, token: str = "") -> Remote:
    """The pipeline that a user means.

    Args:
        where: its graph file, which tells address and login, or the address of its page.
        token: instead of the file's login; `@name` is a file that holds it.

    Raises:
        UsageError: there is no such file, it doesn't tell address or login, nobody can look into that graph, or the
            address is none.
    """
    given = Secret(file=Path(token[1:])) if token.startswith("@") else Secret(token)
    if _URL.match(where):
        return Remote(_address(where), given, {})
    if _BARE.fullmatch(where) and not Path(where).exists():
        raise UsageError(f"'{where}' is no graph file; if it is an address, write http://{where}")
    path = graph_file(where)
    entries = _section(path)
    url = _listening(path, entries.get("listen"))
    if given:
        return Remote(url, given, {}, path)
    wrong: list[str] = []
    token_found = _bound(Secret, entries.get("token"), wrong) or Secret()
    users = entries.get("users")
    people = users.entries.items() if isinstance(users, Record) else ()
    found = {name: _bound(Secret, entry.value, wrong) for name, entry in people}
    logins = {name: password for name, password in found.items() if password}
    if wrong and not token_found and not logins:
        raise UsageError(f"the login that {path} tells can't be read here: {wrong[0]}; give it by --token")
    return Remote(url, token_found, logins, path)


def _section(path: Path) -> dict[str, Value]:
    """What the file has below `http:`, by option; where the file can't be parsed, of these lines alone."""
    try:
        text, mishap = decode(read(path))
    except OSError as error:
        raise UsageError(f"'{path}' can't be read: {error.strerror or error}") from error
    elsewhere = f"name the pipeline by the address of its page, such as {_EXAMPLE}"
    if mishap is not None:
        raise UsageError(f"'{path}' can't be read: {mishap.message}; {elsewhere}")
    root = parse(text).root
    if not isinstance(root, Record) and (lines := _SECTION.search(text)):
        root = parse(lines[0]).root
    if not isinstance(root, Record):
        raise UsageError(f"'{path}' can't be understood: see `pipeline check {path}`; or {elsewhere}")
    if "http" not in root.entries:
        raise UsageError(f"graph file '{path}' has no `http:` section, so nobody can look into that graph")
    http = root.entries["http"].value
    return {name: entry.value for name, entry in http.entries.items()} if isinstance(http, Record) else {}


def _bound(kind: Any, value: Value | None, wrong: list[str]) -> Any:
    """An option as this type; None where it is left out, or `wrong` has got the reason."""
    if value is None:
        return None
    found = Binder(os.environ, lambda _place, _path, message, *_: wrong.append(message)).value(kind, value)
    return None if found is FAILED else found


def _address(text: str) -> str:
    """An address without path; those of the page, `http://host:9108/#log`, are taken too."""
    try:
        parts = urllib.parse.urlsplit(text)
        good = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"'{text.rpartition('@')[2]}' is no address of a page, such as {_EXAMPLE}")
    if "@" in parts.netloc:
        raise UsageError("a login doesn't belong into an address; use the option --token or PIPELINE_TOKEN")
    return f"{parts.scheme.lower()}://{parts.netloc}"


def _listening(path: Path, value: Value | None) -> str:
    wrong: list[str] = []
    bound = _bound(str, value, wrong)
    http = Http(listen=bound) if bound else Http()
    try:
        if not http.port:
            wrong.append("port 0 is a free one, which the log tells")
    except ValueError as error:
        wrong.append(str(error))
    if wrong:
        raise UsageError(f"where '{path}' runs is not known: http.listen: {wrong[0]}; name it by {_EXAMPLE}")
    return address_of(http)


def address_of(http: Http) -> str:
    """Where this machine finds what listens there."""
    host = _ANYWHERE.get(http.host, http.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{http.port}"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        """Leave the answer as it is: an error."""
