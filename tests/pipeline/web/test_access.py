"""Who may look: logins, guessing, foreign pages under a rebound name."""

import base64

import pytest

from pipeline.config.http import Http
from pipeline.units import Secret
from pipeline.web.access import is_loopback
from pipeline.web.app import make_app
from tests.parts.web import Watched, ask

CLOSED = Http(listen="127.0.0.1:0", token=Secret("t0ken-of-tests"), users={"ana": Secret("çãé:x")})


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a login as browsers send it."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer t0ken-of-tests"}, 200),
        ({"Authorization": "bearer  t0ken-of-tests"}, 200),
        ({"Authorization": "Bearer t0ken-of-test"}, 401),
        ({"Authorization": "Bearer "}, 401),
        (basic("ana", "çãé:x"), 200),
        (basic("token", "t0ken-of-tests"), 200),
        (basic("ana", ""), 401),
        (basic("ana", "t0ken-of-tests"), 401),
        (basic("nobody", ""), 401),
        ({"Authorization": "Basic %%%"}, 401),
        ({"Authorization": b"Basic \xff\xfe"}, 401),
        ({"Authorization": "Digest x"}, 401),
    ],
)
def test_a_token_or_a_user_with_password_opens_the_page(headers, status):
    """Bearer for machines, Basic for browsers; with only a token people log in as `token`."""
    answer = ask(Watched(), "/metrics", http=CLOSED, headers=headers)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_empty_or_missing_secret_opens_nothing(tmp_path):
    """A secret file that is empty or away locks out; it must not let an empty password in."""
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for file in (empty, tmp_path / "missing"):
        http = Http(listen="127.0.0.1:0", token=Secret(file=file))
        for headers in ({"Authorization": "Bearer "}, basic("token", "")):
            assert ask(Watched(), "/", http=http, headers=headers).status_code == 401


def test_a_rotated_secret_counts_at_once(tmp_path):
    """The file is read at each login."""
    file = tmp_path / "token"
    http = Http(listen="127.0.0.1:0", token=Secret(file=file))
    for text in ("first-token", "second-token"):
        file.write_text(f"{text}\n")
        assert ask(Watched(), "/", http=http, headers={"Authorization": f"Bearer {text}"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/last", "/api/graph", "/readyz", "/static/x/page.css", "/nothing"])
def test_only_the_health_check_needs_no_login(path):
    """A container asks /healthz without knowing a secret; it tells nothing else."""
    assert ask(Watched(), path, http=CLOSED).status_code == 401
    assert ask(Watched(), "/healthz", http=CLOSED).status_code == 200


def test_ten_wrong_logins_lock_an_address_for_a_minute():
    """Also the right login waits then; other addresses don't; a browser's first try without login is no failure."""
    view = Watched()
    app = make_app(CLOSED, view, loopback=False)
    good, wrong = basic("ana", "çãé:x"), basic("ana", "guess")
    assert [ask(app, "/", headers={}).status_code for _ in range(20)] == [401] * 20
    assert [ask(app, "/", headers=wrong).status_code for _ in range(11)] == [401] * 10 + [429]
    locked = ask(app, "/", headers=good)
    assert (locked.status_code, locked.headers["retry-after"]) == (429, "60")
    assert ask(app, "/", headers=good, address="10.0.0.9").status_code == 200
    view.time += 59.9
    assert ask(app, "/", headers=good).status_code == 429
    view.time += 0.2
    assert ask(app, "/", headers=good).status_code == 200
    assert [ask(app, "/", headers=wrong).status_code for _ in range(10)] == [401] * 10


def test_a_guesser_with_many_addresses_is_one_by_ipv6_and_never_fills_the_memory():
    """One /64 is one guesser; of the others the oldest is forgotten."""
    view = Watched()
    app = make_app(CLOSED, view, loopback=False)
    wrong = basic("ana", "guess")
    for number in range(10):
        ask(app, "/", headers=wrong, address=f"2001:db8::{number:x}")
    assert ask(app, "/", headers=wrong, address="2001:db8::ffff").status_code == 429
    assert ask(app, "/", headers=wrong, address="2001:db8:0:1::1").status_code == 401
    guard = app._app._app
    for number in range(1100):
        guard._failed(f"10.0.{number >> 8}.{number & 255}")
    assert len(guard._failures) <= 1024


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9108", 200),
        ("127.0.0.1", 200),
        ("[::1]:9108", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:80", 421),
    ],
)
def test_on_loopback_without_login_only_loopback_names_are_answered(host, status):
    """A foreign web page whose name was rebound to 127.0.0.1 gets nothing."""
    assert ask(Watched(), "/api/last", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("127.8.9.1", True),
        ("::1", True),
        ("LOCALHOST", True),
        ("a.localhost", True),
        ("192.0.2.1", False),
        ("::", False),
        ("", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host, private):
    """Names and addresses, not prefixes of text."""
    assert is_loopback(host) is private
