"""A running pipeline as its HTTP interface gives it: where it is, how to log in, what it answers."""

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
from pipeline.config import load
from pipeline.config.http import Http
from pipeline.errors import PartFailed, UsageError
from pipeline.graph import Graph
from pipeline.units import Secret

__all__ = ["Remote", "find"]

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_URL = re.compile(r"https?://", re.IGNORECASE)
_SHOWN = 1000
"""Bytes of a refusal that are shown."""
_STREAM_TIMEOUT = 40.0
"""Seconds without any word: the other side of a stream says something every 15."""


class Remote:
    """A pipeline that runs somewhere.

    Attributes:
        url: its address, without a path.
        graph: the graph of the file that named it; None where an address did.
    """

    def __init__(self, url: str, token: Secret, users: Mapping[str, Secret], graph: Graph | None = None) -> None:
        self.url = url
        self.graph = graph
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

    @contextmanager
    def _open(self, path: str, timeout: float) -> Iterator[HTTPResponse]:
        request = urllib.request.Request(f"{self.url}{path}", headers=self._login())  # noqa: S310 - checked in `find`
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(_SHOWN).decode(errors="replace").strip()
            raise UsageError(f"{self.url} answers {error.code}: {_printable(text)}") from error
        except urllib.error.URLError as error:
            raise UsageError(f"no pipeline answers at {self.url}: {error.reason}; {self._advice()}") from error
        except (OSError, HTTPException) as error:
            detail = str(error) or type(error).__name__
            raise PartFailed(f"the connection to the pipeline at {self.url} was lost: {detail}") from error

    def _advice(self) -> str:
        return f"start it with `pipeline run {self.graph.path}`" if self.graph else "is this its http.listen?"

    def _login(self) -> dict[str, str]:
        try:
            if self._token:
                return {"Authorization": f"Bearer {self._token.reveal()}"}
            for user, password in self._users.items():
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
        ConfigurationError: the file has mistakes.
        UsageError: there is no such file, nobody can look into that graph, or the address is none.
    """
    given = Secret(file=Path(token[1:])) if token.startswith("@") else Secret(token)
    if _URL.match(where):
        return Remote(_address(where), given, {})
    graph = load(graph_file(where), os.environ)
    if graph.http is None:
        raise UsageError(f"graph '{graph.name}' has no `http:` section, so nobody can look into it")
    return Remote(_listening(graph.http), given or graph.http.token, {} if given else graph.http.users, graph)


def _address(text: str) -> str:
    """An address without path; those of the page, `http://host:9108/#log`, are taken too."""
    try:
        parts = urllib.parse.urlsplit(text)
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"'{text.rpartition('@')[2]}' is no address of a page, such as http://127.0.0.1:9108")
    if "@" in parts.netloc:
        raise UsageError("a login doesn't belong into an address; use the option --token or PIPELINE_TOKEN")
    return f"{parts.scheme.lower()}://{parts.netloc}"


def _listening(http: Http) -> str:
    host = _ANYWHERE.get(http.host, http.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{http.port}"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        """Leave the answer as it is: an error."""
