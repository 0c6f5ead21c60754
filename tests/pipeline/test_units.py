"""Durations, sizes and secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.units import Duration, Secret, Size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("1s", 1),
        ("1.5h", 5400),
        ("7d", 604800),
        ("1h30m", 5400),
        ("2 min", 120),
        ("10us", 1e-5),
        ("0", 0),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    """Units, fractions and joined units."""
    assert Duration.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "5 sec", "s", "1s2", "-1s", "1h nonsense", "1.s", "\u0661s"])
def test_what_is_no_duration_is_refused_with_the_units(text: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(ValueError, match="500ms"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64KiB", 65536), ("1GiB", 2**30), ("500MB", 500_000_000), ("1.5 MiB", 1572864), ("0", 0), ("3B", 3)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    """Binary and decimal units."""
    assert Size.parse(text) == size


@pytest.mark.parametrize("text", ["", "12", "1 gig", "-1MB", "1XB", "\u0661MB"])
def test_what_is_no_size_is_refused_with_the_units(text: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(ValueError, match="64MiB"):
        Size.parse(text)


@pytest.mark.parametrize("text", ["8388608TiB", "99999999999999999999999GiB", "9" * 400 + "B"])
def test_a_size_that_no_disk_has_is_refused(text: str) -> None:
    """From 8 EiB on."""
    assert Size.parse("8388607TiB")
    with pytest.raises(ValueError, match="more than any disk holds"):
        Size.parse(text)


@given(st.integers(1, 10**9))
def test_what_is_shown_reads_back_nearly(milliseconds: int) -> None:
    """`str()` of a duration is a duration again, within the digits shown."""
    duration = Duration(milliseconds / 1000)
    assert Duration.parse(str(duration)) == pytest.approx(duration, rel=1e-4)


def test_a_secret_never_shows_itself_and_follows_its_file(tmp_path: Path) -> None:
    """repr, str and format mask it; a changed file counts at the next reveal."""
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret!r} {secret} {[secret]}"
    file = tmp_path / "password"
    file.write_text("one\n")
    filed = Secret(file=file)
    assert filed.reveal() == "one"
    file.write_text("two\n")
    assert filed.reveal() == "two"
    assert not Secret()


def test_a_secret_file_of_another_encoding_is_an_error_that_shows_nothing_of_it(tmp_path: Path) -> None:
    """As for a file that is not there, so that whoever connects says it and tries again."""
    file = tmp_path / "password"
    file.write_bytes(b"caf\xe9")
    with pytest.raises(OSError, match=r"is not UTF-8: '.*password'") as raised:
        Secret(file=file).reveal()
    assert raised.value.__cause__ is None


def test_more_digits_than_a_number_can_have_are_refused() -> None:
    """An endless period would never tick, and an endless size not even be made."""
    for kind, unit in ((Duration, "s"), (Size, "B")):
        with pytest.raises(ValueError, match=r"^'9{40}' is (not a duration|more than)"):
            kind.parse("9" * 400 + unit)
