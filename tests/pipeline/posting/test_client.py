"""Addresses of the web: which can be posted to, and with what."""

import pytest

from pipeline.errors import LinkError
from pipeline.posting.client import Access, Client, Url


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


def test_a_token_with_letters_that_no_header_has_is_said_and_not_sent_as_another():
    """The server would refuse what was made of it, and nobody would see why; it is not shown."""

    def client(token):
        url = Url.parse("https://server/in")
        headers = {"Authorization": f"Bearer {token}"}
        return Client(Access(url=url, headers=headers, tls=None, connections=1, timeout=1.0, wall=lambda: 0.0))

    assert client("señha")._headers == [(b"Authorization", b"Bearer se\xf1ha")]
    with pytest.raises(LinkError, match="headers: one has characters that HTTP does not allow; correct") as caught:
        client("tok€n")
    assert "€" not in str(caught.value)
    assert caught.value.__cause__ is None
