"""InfluxDB 2's HTTP API, as far as the platform needs it, with nothing but the standard library."""

from __future__ import annotations

import csv
import http.client
import io
import json
import time
import urllib.error
import urllib.request
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote, urlencode, urlsplit

__all__ = ["Api", "InfluxError", "Refused"]

_TIMEOUT = 30.0
_PAUSE = 0.5
_SHOWN = 300
_PAGE = 100
"""As many as InfluxDB gives at once."""
_CHUNK = 1 << 18
_LONGEST = 1 << 24
"""Characters of one value: InfluxDB takes texts of 1 MiB, of which Python's reader would make an error."""
_LONG = 600.0
"""Seconds that a large file may keep silent; the server prepares a shard before it sends the first byte."""


class InfluxError(Exception):
    """What went wrong with InfluxDB, and what to do; never with a token in it."""


class Refused(InfluxError):
    """InfluxDB answered with an error.

    Attributes:
        status: HTTP's.
    """

    def __init__(self, status: int, what: str, text: str) -> None:
        """Build the message from what was asked and what was answered."""
        self.status = status
        super().__init__(f"InfluxDB refused {what}: {status} {text}")


class Source(Protocol):
    """Bytes to send: an open file, or a member of an archive."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, b"" at the end."""


class Api:
    """One server, asked with one token.

    Attributes:
        url: without a slash at its end.
    """

    def __init__(self, url: str, token: str) -> None:
        """Nothing is asked yet.

        Raises:
            InfluxError: no http:// or https:// address, or one with a password in it; a token that can't be sent.
        """
        try:
            parts = urlsplit(url)
            good = bool((parts.hostname or "").encode("idna")) and not parts.username
        except ValueError:
            good = False
        scheme = url.partition("://")[0].lower() if "://" in url else ""
        if not good or scheme not in {"http", "https"}:
            raise InfluxError(f"INFLUX_URL is '{scheme}://…'; write http://HOST:8086, without user and password")
        if not (token.isascii() and token.isprintable()):
            raise InfluxError("the token for InfluxDB has a letter that no token has; was its file or line damaged?")
        self.url = url.rstrip("/")
        self._token = token

    def with_token(self, token: str) -> Api:
        """The same server, asked with another token; "" asks without."""
        return Api(self.url, token)

    def wait(self, seconds: float) -> None:
        """Return when it answers that it is healthy.

        Raises:
            InfluxError: it did not within so many seconds.
        """
        over = time.monotonic() + seconds
        while True:
            try:
                if self.get("/health").get("status") == "pass":
                    return
                last = "it says that it is not healthy"
            except InfluxError as error:
                last = str(error)
            if time.monotonic() > over:
                raise InfluxError(f"no InfluxDB at {self.url} after {seconds:g} s: {last}")
            time.sleep(_PAUSE)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """What a GET answers.

        Raises:
            InfluxError: no answer, or a refusal (`Refused`).
        """
        return self.call("GET", path + ("?" + urlencode(query) if query else ""))

    def listed(self, path: str, **query: str) -> list[dict[str, Any]]:
        """All that a path such as `/api/v2/buckets` lists, page by page.

        Raises:
            InfluxError: no answer, or a refusal (`Refused`).
        """
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(path, **query, limit=str(_PAGE), offset=str(len(found)))[path.rpartition("/")[2]]
            found += page
            if len(page) < _PAGE:
                return found

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """What one call answers; {} where the answer is empty.

        Raises:
            InfluxError: no answer, or a refusal (`Refused`).
        """
        data = None if body is None else json.dumps(body).encode()
        with self._open(method, path, data) as answer:
            text = self._read(answer)
        found: dict[str, Any] = json.loads(text) if text.strip() else {}
        return found

    def fetch(self, path: str, to: BinaryIO) -> None:
        """Write what a GET answers into a file, piece by piece.

        Raises:
            InfluxError: no answer, a refusal (`Refused`), or one that broke off.
            OSError: the file can't be written.
        """
        with self._open("GET", path, timeout=_LONG) as answer:
            while chunk := self._read(answer, _CHUNK):
                to.write(chunk)

    def push(self, path: str, data: Source, size: int) -> dict[str, Any]:
        """POST a file's `size` bytes, piece by piece; what the server answers.

        Raises:
            InfluxError: no answer, or a refusal (`Refused`).
        """
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with self._open("POST", path, data, headers, _LONG) as answer:
            text = self._read(answer)
        found: dict[str, Any] = json.loads(text) if text.strip() else {}
        return found

    def write(self, lines: str, org: str, bucket: str) -> None:
        """Write line protocol with times in nanoseconds.

        Raises:
            InfluxError: no answer, or a refusal (`Refused`).
        """
        path = f"/api/v2/write?{urlencode({'org': org, 'bucket': bucket})}"
        with self._open("POST", path, lines.encode(), {"Content-Type": "text/plain; charset=utf-8"}):
            pass

    def query(self, flux: str, org: str, timeout: float = _TIMEOUT) -> list[dict[str, str]]:
        """The rows that a Flux query gives, of all its tables, values as text.

        Raises:
            InfluxError: no answer, a refusal (`Refused`), or a query that failed half way.
        """
        body = json.dumps({"query": flux, "dialect": {"annotations": [], "header": True}}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/csv"}
        with self._open("POST", f"/api/v2/query?org={quote(org, safe='')}", body, headers, timeout) as answer:
            text = self._read(answer).decode()
        rows = _rows(text)
        for row in rows:
            if {"error", "reference"} <= set(row):  # a query that fails late answers 200
                raise Refused(200, "a query", row["error"][:_SHOWN])
        return rows

    def _open(
        self,
        method: str,
        path: str,
        data: bytes | Source | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = _TIMEOUT,
    ) -> http.client.HTTPResponse:
        whole = {"Content-Type": "application/json", **(headers or {})}
        if self._token:
            whole["Authorization"] = f"Token {self._token}"
        request = urllib.request.Request(self.url + path, data, whole, method=method)  # noqa: S310 - checked above
        try:
            answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout)  # noqa: S310 - checked above
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, f"{method} {path.partition('?')[0]}", _message(error.read())) from None
        except (OSError, http.client.HTTPException) as error:
            raise InfluxError(f"no answer from {self.url}: {getattr(error, 'reason', error)}") from None
        return answer

    def _read(self, answer: http.client.HTTPResponse, size: int | None = None) -> bytes:
        try:
            return answer.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise InfluxError(f"the answer of {self.url} broke off: {error or type(error).__name__}") from None


def _rows(text: str) -> list[dict[str, str]]:
    """Tables with a line of names each, and an empty line between two; texts may have line ends, too."""
    csv.field_size_limit(_LONGEST)
    rows: list[dict[str, str]] = []
    names: list[str] = []
    plain = text.replace("\r\n", "\n").replace("\0", "\ufffd")  # Python 3.9 takes no byte 0
    for cells in csv.reader(io.StringIO(plain, newline="")):
        if cells and names:
            rows.append(dict(zip(names, cells)))
        else:
            names = cells
    return rows


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text)["message"])[:_SHOWN]
    except (ValueError, KeyError, TypeError):
        return text.decode(errors="replace").strip()[:_SHOWN]
