"""Names of values chosen by patterns."""

import pytest

from pipeline.patterns import chooser, matching, unmatched

NAMES = ["AI_Corrente", "AI_Vibracao", "contador_bom", "maquinas_0_valor"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["AI_*"], {"AI_Corrente", "AI_Vibracao"}),
        (["ai_*"], set()),
        (["contador_bom", "maquinas_?_valor"], {"contador_bom", "maquinas_0_valor"}),
        (["[AB]I_C*"], {"AI_Corrente"}),
        (["AI_"], set()),
        (["*"], set(NAMES)),
        ([], set()),
    ],
)
def test_patterns_are_those_of_a_shell(patterns, expected):
    """Whole names, case matters, nothing matches without a pattern."""
    assert matching(patterns, NAMES) == expected


def test_the_first_pattern_that_matches_counts():
    """In the order of the file, so that an exception stands before the rule."""
    choose = chooser({"AI_Corrente": 1, "AI_*": 2})
    assert [choose(name) for name in NAMES] == [1, 2, None, None]
    assert chooser({"AI_*": 2, "AI_Corrente": 1})("AI_Corrente") == 2


def test_a_pattern_that_matches_nothing_is_told_with_the_nearest_name():
    """A misspelt one does nothing, silently, so it is a warning at its place; unknown names warn of nothing."""
    found = list(unmatched(["AI_*", "AI_Corente"], NAMES, ("keep",)))
    assert [(finding.path, finding.severity) for finding in found] == [(("keep", 1), "warning")]
    assert found[0].hint == "did you mean 'AI_Corrente'?"
    assert [finding.path for finding in unmatched({"x": 1}, NAMES, ("fields",), keyed=True)] == [("fields", "x")]
    assert list(unmatched(["AI_Corente"], [], ("keep",))) == []
