"""What HTTP servers say: which answers speak of the frames, how long to wait, and failures in plain words."""

import errno
import socket

import pytest

from pipeline.posting.answers import (
    LONGEST_PAUSE,
    Answer,
    Verdict,
    explain_answer,
    explain_failure,
    judge,
    reason_of,
    retry_after,
)

NOW = 1_731_800_000.0


def test_only_success_is_taken_and_only_a_4xx_can_be_the_frames_fault():
    """Every status has one verdict; what is tried again is explained."""
    for status in range(200, 600):
        verdict = judge(status)
        assert (verdict is Verdict.TAKEN) == (status < 300)
        assert verdict is not Verdict.UNFIT or 400 <= status < 500
        if verdict is Verdict.LATER:
            assert str(status) in str(explain_answer(Answer(status=status)))


@pytest.mark.parametrize("status", [400, 402, 406, 409, 412, 413, 414, 416, 422, 424, 431, 451, 499])
def test_these_speak_of_the_frames(status):
    """The reason that dead letters carry has the server's words."""
    assert judge(status) is Verdict.UNFIT
    assert reason_of(Answer(status=status, text="why")).startswith(f"{status} ")
    assert reason_of(Answer(status=status, text="why")).endswith(": why")


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 502, 503, 504, 599, 301, 307])
def test_these_are_always_tried_again(status):
    """Whatever the frames are."""
    assert judge(status) is Verdict.LATER


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ("", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("soon", 0.0),
        ("999999", LONGEST_PAUSE),
        ("Sat, 16 Nov 2024 23:34:50 GMT", 90.0),
        ("Sat, 16 Nov 2024 23:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_PAUSE),
        ("\u00b2", 0.0),
    ],
)
def test_how_long_a_server_wants_us_to_wait(text, pause):
    """Seconds or a date; nonsense is no pause, a week is cut."""
    assert retry_after(text, NOW) == pause


def caused(error, cause):
    """An error that came from another one."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason", "part"),
    [
        (socket.gaierror(-2, "Name or service not known"), "name", "'server' can't be resolved"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "refused", "nothing listens there"),
        (TimeoutError(), "timeout", "raise timeout"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "unreachable", "No route to host"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "lost", "https://"),
        (RuntimeError("Server disconnected"), "lost", "closed the connection"),
        (caused(RuntimeError("outer"), ConnectionRefusedError(errno.ECONNREFUSED, "refused")), "refused", "server:80"),
        (
            caused(OSError("all failed"), ExceptionGroup("both", [ConnectionRefusedError(errno.ECONNREFUSED, "no")])),
            "refused",
            "is the server running?",
        ),
    ],
)
def test_failures_are_explained(error, reason, part):
    """By what they came from, with what to do."""
    found = explain_failure(error, "server", 80)
    assert found.reason == reason
    assert part in str(found)


def test_a_redirect_names_its_target():
    """It is not followed, but may be what `url` should say."""
    assert "set url to https://b/" in str(explain_answer(Answer(status=308, location="https://b/")))
    assert "correct `url`" in str(explain_answer(Answer(status=308)))
