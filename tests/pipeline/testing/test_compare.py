"""What is equal, and how a difference is told."""

import pytest

from pipeline.testing.compare import ABSENT, differences


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (5, 5),
        (5, 5.0),
        (12.3, 12.300000190734863),
        (26.25, 26.249998807907104),
        (16777216.6, 16777216.0),
        (1e-9, 1e-9),
        (1731800003.028, 1731800003.0279999),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}),
        ({"a": "*"}, {"a": False}),
        ([1, {"a": 1}], [1, {"a": 1, "b": 2}]),
        ("part", "a part of it"),
        (None, None),
    ],
)
def test_what_is_equal(expected, got):
    """Parts of mappings and of texts, REALs as people write them."""
    assert list(differences(expected, got)) == []


@pytest.mark.parametrize(
    ("expected", "got", "told"),
    [
        (5, 6, "expected 5, got 6"),
        (5001, 5000.9, "expected 5001, got 5000.9"),
        (10**9, 10**9 + 1, "expected 1000000000, got 1000000001"),
        (1731800003, 1731800004.0, "expected 1731800003, got 1731800004.0"),
        (1731800003.028, 1731800003.03, "expected 1731800003.028, got 1731800003.03"),
        (0, 1e-9, "expected 0, got 1e-09"),
        (1e300, 2e300, "expected 1e+300, got 2e+300"),
        (True, 1, "expected true, got 1"),
        (0, False, "expected 0, got false"),
        ("5", 5, 'expected "5", got 5'),
        ({"a": {"b": 1}}, {"a": {}}, "a.b: expected 1, got nothing"),
        ({"a": "part"}, {"a": "a part"}, 'a: expected "part", got "a part"'),
        ({"a": 1}, 5, 'expected {"a": 1}, got 5'),
        ({"a": "*"}, {}, 'a: expected "*", got nothing'),
        ([1], [1, 2], "expected [1], got [1, 2]"),
        ([{"a": 1}], [{"a": 2}], "[0].a: expected 1, got 2"),
        (None, ABSENT, "expected null, got nothing"),
        ("x", "y" * 300, f'expected "x", got "{"y" * 198}…'),
    ],
)
def test_what_is_told(expected, got, told):
    """The path, what was expected, what came, cut where it is long."""
    assert [str(found) for found in differences(expected, got)] == [told]


def test_exact_means_nothing_else():
    """Further keys and longer texts are told, at every depth."""
    found = differences({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}, exact=True)
    assert [str(each) for each in found] == ["a.c: expected nothing, got 2", "d: expected nothing, got 3"]
    assert list(differences("part", "a part", exact=True))
