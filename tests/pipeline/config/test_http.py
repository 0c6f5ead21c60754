"""`http:` says where the page listens, and lets nobody in from outside unasked."""

from __future__ import annotations

import pytest

from pipeline.config.http import Http
from pipeline.operator import Scope
from pipeline.units import Secret

SCOPE = Scope(graph="g", node="http")


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:9108", "127.0.0.1", 9108),
        ("[::1]:0", "::1", 0),
        ("::1:80", "::1", 80),
        ("localhost:1", "localhost", 1),
    ],
)
def test_loopback_needs_no_login(listen, host, port):
    """IPv4, IPv6 with and without brackets, and the name."""
    http = Http(listen=listen)
    assert (http.host, http.port, list(http.check(SCOPE))) == (host, port, [])


@pytest.mark.parametrize("listen", ["", "9108", ":9108", "host:", "host:x", "host:70000", "host", "a..b:1", "[x]:1"])
def test_what_is_no_address(listen):
    """It is told at the option."""
    assert [finding.path for finding in Http(listen=listen).check(SCOPE)] == [("listen",)]


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "192.168.0.5:1", "edge.local:1"])
def test_other_addresses_need_one(listen):
    """A token, a user, or the word that it is meant."""
    assert [finding.path for finding in Http(listen=listen).check(SCOPE)] == [("listen",)]
    for extra in ({"token": Secret("t")}, {"users": {"ana": Secret("p")}}, {"insecure": True}):
        assert list(Http(listen=listen, **extra).check(SCOPE)) == []
