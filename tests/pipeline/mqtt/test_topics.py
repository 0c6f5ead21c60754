"""Topics from templates: what each origin gets, what happens without a tenant, and what is told."""

from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from pipeline.config import load, load_text
from pipeline.errors import ConfigurationError, PartFailed
from pipeline.mqtt.topics import Fallback, Topics, check_template
from tests.parts.engine import PLANT, origin
from tests.parts.line import ROOT


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


def test_where_falling_back_is_refused_there_is_no_topic():
    """What only the frames show ends the sink: a tag that never came, a name that is none."""
    topics = Topics("{area}/{plc_id}", "broker", structlog.get_logger(), Fallback.REFUSE)
    assert topics.of(origin().replace(tags={"area": "linha1"})) == "linha1/press1"
    with pytest.raises(PartFailed, match="press1, which has no area"):
        topics.of(origin())


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [({"PLC_ID": ""}, ["plc_id"]), ({"TENANT_ID": "", "PLC_ID": ""}, ["tenant_id, plc_id"]), ({}, [])],
)
def test_a_shared_topic_that_is_refused_is_an_error_before_anything_starts(changes, lacking):
    """`configs/line1.yaml` of a tenant without its PLC's name; with `allow`, the default, it may run."""
    file = ROOT / "configs" / "line1.yaml"
    load(file, PLANT | changes)
    found: list[str] = []
    try:
        load(file, PLANT | changes | {"MQTT_FALLBACK": "refuse"})
    except ConfigurationError as error:
        found = [str(problem) for problem in error.problems]
    assert len(found) == len(lacking)
    assert all(f"192.0.2.10, which has no {lack}; set it" in text for lack, text in zip(lacking, found, strict=True))
    assert all("topic: 'plc/{tenant_id}/{plc_id}' can't be filled" in text and "plc/db1" in text for text in found)


def test_origins_reach_a_sink_through_transforms_and_from_each_plc_once():
    """Two PLCs without a name lack the same: one error; a field that a tag may fill is none."""
    text = (ROOT / "configs" / "line1.yaml").read_text(encoding="utf-8")
    second = '      - {address: "192.0.2.20"}\n      - {plc_id: named, address: "192.0.2.21"}\n    tenant_id:'
    text = text.replace("    tenant_id:", second)
    for topic, errors in (("plc/{tenant_id}/{plc_id}", 1), ("{area}/x", 0), ("fixed", 0)):
        environment = PLANT | {"PLC_ID": "", "MQTT_FALLBACK": "refuse", "MQTT_TOPIC": topic}
        if errors:
            with pytest.raises(ConfigurationError) as caught:
                load_text(text, Path("line1.yaml"), environment)
            assert len(caught.value.problems) == errors
        else:
            load_text(text, Path("line1.yaml"), environment)


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
        ("$SYS/{plc_id}", (), "the broker's own: it denies each message to $SYS/…"),
        ("$share/plc/{plc_id}", (), "the broker's own"),
        ("plc/{plc_id}/status", ("graph",), "unknown field {plc_id}"),
    ],
)
def test_templates_that_can_never_work_are_found_offline(template, known, message):
    """Whatever the frames are."""
    (finding,) = check_template(template, "topic", known)
    assert message in finding.message
    assert finding.path == ("topic",)
    for good in ("plc/{tenant_id}/{anything}", "$aws/rules/plc", "plc/$SYS"):
        assert not list(check_template(good, "topic"))
