"""InfluxDB 2's HTTP API, as far as the platform needs it, with nothing but the standard library."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode, urlsplit

__all__ = ["Api", "InfluxError", "Refused"]

_TIMEOUT = 30.0
_PAUSE = 0.5
_SHOWN = 300


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


class Api:
    """One server, asked with one token.

    Attributes:
        url: without a slash at its end.
    """

    def __init__(self, url: str, token: str) -> None:
        """Nothing is asked yet.

        Raises:
            InfluxError: no http:// or https:// address, or one with a password in it.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            raise InfluxError(f"INFLUX_URL is '{parts.scheme}://…'; write http://HOST:8086, without user and password")
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

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """What one call answers; {} where the answer is empty.

        Raises:
            InfluxError: no answer, or a refusal (`Refused`).
        """
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Token {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - checked above
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - checked above
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, f"{method} {path.partition('?')[0]}", _message(error.read())) from None
        except OSError as error:
            raise InfluxError(f"no answer from {self.url}: {getattr(error, 'reason', error)}") from None
        found: dict[str, Any] = json.loads(text) if text.strip() else {}
        return found


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text)["message"])[:_SHOWN]
    except (ValueError, KeyError, TypeError):
        return text.decode(errors="replace").strip()[:_SHOWN]
