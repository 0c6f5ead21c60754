"""Conditions as people write them. How levels change is tested with `threshold`."""

import pytest

from pipeline.levels import Condition


@pytest.mark.parametrize(
    ("text", "true", "false"),
    [
        ("> 30", [30.5, 31], [30, -31]),
        (">=30", [30, 31], [29.9]),
        (" < -5 ", [-5.1], [-5, 0]),
        ("<= +.5", [0.5, 0], [0.6]),
        ("== 3", [3, 3.0], [3.1]),
        ("!= 0", [1, -1], [0]),
        ("< 5 or > 9", [4, 10], [5, 7, 9]),
        (">= 5 and <= 9", [5, 7, 9], [4, 10]),
        ("> 1e3", [1001], [1000]),
        ("== 1 or > 5 and < 7", [1, 6], [5, 7, 2]),
    ],
)
def test_a_condition_is_true_of_a_number_or_not(text, true, false):
    """`and` binds tighter than `or`."""
    condition = Condition.parse(text)
    assert [value for value in (*true, *false) if condition.holds(value)] == true
    assert str(condition) == text


@pytest.mark.parametrize("text", ["", "30", "> ", "= 30", "> 30 or", "> 30 and", "x > 30", "> nan", "> 1e400", "> 3 4"])
def test_what_is_no_condition_is_told(text):
    """With an example of one."""
    with pytest.raises(ValueError, match=r"is no condition; write a comparison with a number, such as \"> 30\""):
        Condition.parse(text)


@pytest.mark.parametrize(
    ("text", "value", "slack", "holds"),
    [
        ("> 30", 29, 2, True),
        ("> 30", 28, 2, False),
        (">= 30", 28, 2, True),
        ("< 5", 6.9, 2, True),
        ("== 3", 4, 2, False),
    ],
)
def test_slack_moves_limits_outwards(text, value, slack, holds):
    """For a level that holds already; equality has no outside."""
    assert Condition(text).holds(value, slack) is holds
