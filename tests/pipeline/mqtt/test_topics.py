"""Topics from templates: what each origin gets, what happens without a tenant, and what is told."""

import pytest
import structlog
from structlog.testing import capture_logs

from pipeline.mqtt.topics import Topics, check_template
from tests.parts.engine import origin


@pytest.mark.parametrize(
    ("template", "changes", "topic"),
    [
        ("plc/{tenant_id}/{plc_id}", {}, "plc/acme/press1"),
        ("plc/{tenant_id}/{plc_id}", {"plc_id": ""}, "plc/db1"),
        ("plc/{tenant_id}/{plc_id}", {"tenant_id": "", "db": None, "measurement": "s7_tags"}, "plc/tags"),
        ("plc/{tenant_id}/{plc_id}", {"tenant_id": "a/+"}, "plc/db1"),
        ("{area}/{measurement}/{db}", {"tags": {"area": "linha1"}}, "linha1/s7_db1/1"),
        ("{area}/{measurement}", {}, "plc/db1"),
        ("{plc_id}", {"tags": {"plc_id": "other"}}, "press1"),
        ("fixed", {}, "fixed"),
        ("x" * 65_530 + "{measurement}", {"measurement": "s7_db12"}, "plc/db1"),
    ],
)
def test_an_origin_gets_its_topic_or_the_fallback(template, changes, topic):
    """Fields of the frame win over tags; what is unset or unfit falls back to the block's number."""
    topics = Topics(template, "broker", structlog.get_logger())
    assert topics.of(origin().replace(**changes)) == topic


def test_each_topic_is_told_once():
    """The event is the one people search their logs for; a fallback also says which field is unset."""
    with capture_logs() as logs:
        topics = Topics("plc/{tenant_id}/{plc_id}", "broker", structlog.get_logger())
        good, bad, again = origin(), origin().replace(plc_id=""), origin()
        for each in (good, good, bad, again):
            topics.of(each)
    assert [(log["event"], log["topic"]) for log in logs] == [
        ("MQTT publish topic resolved to:", "plc/acme/press1"),
        ("MQTT topic falls back", "plc/db1"),
        ("MQTT publish topic resolved to:", "plc/db1"),
    ]
    assert logs[1]["unset"] == ["plc_id"]


def test_two_sinks_share_origins_but_not_topics():
    """The cache of an origin keeps them apart."""
    shared, log = origin(), structlog.get_logger()
    assert Topics("a/{plc_id}", "a", log).of(shared) == "a/press1"
    assert Topics("b/{plc_id}", "b", log).of(shared) == "b/press1"


@pytest.mark.parametrize(
    ("template", "known", "message"),
    [
        ("plc/{tenant_id", (), "braces"),
        ("plc/+/{plc_id}", (), "wildcard"),
        ("plc/#", (), "wildcard"),
        ("x" * 70_000, (), "too long"),
        ("plc/{plc_id}/status", ("graph",), "unknown field {plc_id}"),
    ],
)
def test_templates_that_can_never_work_are_found_offline(template, known, message):
    """Whatever the frames are."""
    (finding,) = check_template(template, "topic", known)
    assert message in finding.message
    assert finding.path == ("topic",)
    assert not list(check_template("plc/{tenant_id}/{anything}", "topic"))
