"""Addresses of the web: which can be posted to."""

import pytest

from pipeline.posting.client import Url


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "h;x", "h%20x"])
def test_a_host_that_nobody_could_be_asked_for_is_no_address(host):
    """It would end each attempt by an error of Python's own; it is not shown, since it may be part of a password."""
    with pytest.raises(ValueError, match="the host is neither a name nor an IP address") as caught:
        Url.parse(f"http://{host}/in")
    assert host not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("http://server/in?token=x", "http://server:80"),
        ("https://my_server.plant:8443", "https://my_server.plant:8443"),
        ("http://[::1]:81/", "http://[::1]:81"),
        ("http://192.0.2.1", "http://192.0.2.1:80"),
    ],
)
def test_an_address_names_its_server(text, server):
    """With the port that is meant, and no query."""
    assert Url.parse(text).server == server
    assert "token" not in str(Url.parse(text))
