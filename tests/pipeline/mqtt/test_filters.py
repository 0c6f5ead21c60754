"""Topic filters and patterns."""

import pytest

from pipeline.mqtt.filters import TopicPattern, levels_of, matches


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/+", "a/", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/uptime", False),
        ("+/uptime", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
        ("$share/group/a/#", "a/b", True),
        ("+/+", "/a", True),
    ],
)
def test_filters_match_as_the_standard_says(topic_filter: str, topic: str, *, expected: bool) -> None:
    """Section 4.7: levels, wildcards, topics of the server, shared subscriptions."""
    assert matches(levels_of(topic_filter), topic) is expected


@pytest.mark.parametrize(
    ("pattern", "topic", "names"),
    [
        ("plc/{tenant_id}/{plc_id}", "plc/acme/press1", {"tenant_id": "acme", "plc_id": "press1"}),
        ("plc/{tenant_id}/{plc_id}", "plc/db1", {}),
        ("plc/{tenant_id}/{plc_id}", "mov/acme/press1", {}),
        ("+/{a}/#", "x/y/z/w", {"a": "y"}),
        ("+/{a}/#", "x", {}),
        ("", "x/y", {}),
    ],
)
def test_patterns_name_levels(pattern: str, topic: str, names: dict[str, str]) -> None:
    """Only topics of that shape have names."""
    assert TopicPattern(pattern).read(topic) == names
