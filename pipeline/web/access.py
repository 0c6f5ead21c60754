"""Who may look: anyone on loopback, elsewhere who has the token or is a user; guessing is slowed down."""

from __future__ import annotations

import base64
import hmac
import ipaddress
import math
from collections import deque
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.config.http import Http

__all__ = ["Guard", "is_loopback"]

_FAILURES = 10
_WINDOW = 60.0
_ADDRESSES = 1024
_OPEN_PATHS = {"/healthz"}
_TOKEN_USER = "token"  # noqa: S105 - the name to log in with where there is only a token
_IPV6_SITE = 64


def is_loopback(host: str) -> bool:
    """True for names and addresses that only this machine can reach, with or without a port: `localhost:9108`."""
    name = host.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


class Guard:
    """Stands before the app and lets through who may look.

    Without token and users it lets everyone through; on loopback only under a loopback name, so that a foreign web page
    whose name was rebound to 127.0.0.1 can't read the plant's values in somebody's browser.
    """

    def __init__(self, app: ASGIApp, http: Http, *, loopback: bool, monotonic: Callable[[], float]) -> None:
        """Make a guard.

        Args:
            app: what it guards.
            http: token and users.
            loopback: True when only this machine can reach the socket.
            monotonic: seconds that never jump.
        """
        self._app = app
        self._http = http
        self._loopback = loopback
        self._monotonic = monotonic
        self._failures: dict[str, deque[float]] = {}
        self._log = structlog.get_logger().bind(node="http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, 421 or 429, or hand the request on."""
        await (self._refusal(scope) or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if not (self._http.token or self._http.users):
            if self._loopback and not is_loopback(headers.get("host", "localhost")):
                return PlainTextResponse(
                    "this page answers on this machine's own names only: use http://localhost\n", 421
                )
            return None
        if scope["path"] in _OPEN_PATHS:
            return None
        address = _site((scope.get("client") or ("",))[0])
        wait = self._locked(address)
        if wait > 0:
            return PlainTextResponse(
                f"too many failed logins; try again in {wait} s\n", 429, {"Retry-After": str(wait)}
            )
        given = headers.get("authorization", "")
        if given and self._known(given):
            self._failures.pop(address, None)
            return None
        if given:
            self._failed(address)
        return PlainTextResponse(
            f"log in as one of http.users, or as user '{_TOKEN_USER}' with http.token as the password\n",
            401,
            {"WWW-Authenticate": 'Basic realm="pipeline", charset="UTF-8"'},
        )

    def _known(self, given: str) -> bool:
        scheme, _, rest = given.partition(" ")
        if scheme.lower() == "bearer":
            return self._is_token(rest.strip())
        if scheme.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
        except ValueError:  # not base64, or not UTF-8 in it
            return False
        if user == _TOKEN_USER and self._is_token(password):
            return True
        # Compared also for a user who is not there, so that the time taken does not tell who is.
        secret = self._http.users.get(user)
        return self._same(password, None if secret is None else secret.reveal) and secret is not None

    def _is_token(self, given: str) -> bool:
        return bool(self._http.token) and self._same(given, self._http.token.reveal)

    def _same(self, given: str, reveal: Callable[[], str] | None) -> bool:
        try:
            wanted = reveal() if reveal else ""
        except OSError as error:
            self._log.error("secret can't be read, nobody can log in with it", error=str(error))
            wanted = ""
        return hmac.compare_digest(given.encode(), wanted.encode()) and bool(wanted)

    def _locked(self, address: str) -> int:
        """Seconds until this address may try again, 0 when it may now."""
        times = self._failures.get(address)
        now = self._monotonic()
        while times and now - times[0] >= _WINDOW:
            times.popleft()
        return math.ceil(_WINDOW - (now - times[0])) if times and len(times) >= _FAILURES else 0

    def _failed(self, address: str) -> None:
        times = self._failures.pop(address, None) or deque(maxlen=_FAILURES)
        times.append(self._monotonic())
        self._failures[address] = times
        if len(self._failures) > _ADDRESSES:
            del self._failures[next(iter(self._failures))]
        if len(times) == _FAILURES:
            self._log.warning("too many failed logins, address locked for a minute", address=address)


def _site(address: str) -> str:
    """The address, of IPv6 its /64: one guesser has all the addresses of that."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(parsed), _IPV6_SITE), strict=False))
    return str(parsed)
