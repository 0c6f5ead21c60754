"""What Grafana is provisioned with: made by its script, whole in itself, and as Grafana documents it."""

import re
import subprocess
import sys

import pytest
from grafana_foundation_sdk.models.dashboard import Dashboard
from ruamel.yaml import YAML

from tests.parts.grafana import BOARDS, board, names_in, panels, rules, variables
from tests.parts.platform import INFRA

GRAFANA = INFRA / "grafana"
PROVISIONING = GRAFANA / "provisioning"


def document(path):
    """A provisioning file."""
    return YAML(typ="safe").load((PROVISIONING / path).read_text(encoding="utf-8"))


def strings(value):
    """All texts in a document."""
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, str):
        yield value
    elif hasattr(value, "__iter__"):
        for each in value:
            yield from strings(each)


SOURCES = {each["uid"]: each["type"] for each in document("datasources/influxdb.yaml")["datasources"]}


def test_what_is_committed_is_what_the_script_makes():
    """It finds nothing to write."""
    script = [sys.executable, str(GRAFANA / "build.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_there_are_five_dashboards_with_uids_of_their_own():
    """Named after their files, in a folder that the provider reads, which Compose lays there."""
    assert BOARDS == ["debug", "edge", "fleet", "line", "sensors"]
    assert [board(name)["uid"] for name in BOARDS] == [f"retrofit-{name}" for name in BOARDS]
    (provider,) = document("dashboards/platform.yaml")["providers"]
    mount = f"./grafana/dashboards:{provider['options']['path']}:ro"
    assert mount in (INFRA / "compose.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_one_that_grafana_knows(name):
    """The SDK's types read it without losing a panel; ids are unique; the grid is full rows without an overlap."""
    made = Dashboard.from_json(board(name))
    assert made.schema_version >= 36
    assert len(made.panels) == len(board(name)["panels"])
    ids = [panel["id"] for panel in board(name)["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in board(name)["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_explains_itself(name):
    """Title, description, unit, thresholds, a known data source in each panel; low enough for a phone."""
    assert board(name)["description"]
    for panel in panels(name):
        title = panel["title"]
        assert 0 < len(title) <= 28, title
        assert panel["description"].endswith((".", "`.")), title
        assert panel["gridPos"]["h"] <= 10, title
        assert panel["gridPos"]["w"] in {6, 12, 24}, title
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], title
        assert defaults["thresholds"]["steps"][0]["value"] is None, title
        for reference in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert SOURCES[reference["uid"]] == reference["type"], title


@pytest.mark.parametrize("name", BOARDS)
def test_variables_are_there_and_used(name):
    """What a query names is defined, in an order in which it can be filled; what is defined is used."""
    known = variables(name)
    used = {each for panel in panels(name) for target in panel["targets"] for each in names_in(target["query"])}
    before: set[str] = {"bucket"} & set(known)
    for variable in known.values():
        if variable["type"] == "query":
            assert SOURCES[variable["datasource"]["uid"]] == variable["datasource"]["type"]
            asks = names_in(variable["query"]["query"])
            assert asks <= before, variable["name"]
            used |= asks
        before.add(variable["name"])
        assert variable["label"]
        assert variable["description"]
    assert used == set(known)
    shown = {each for panel in panels(name) for each in names_in(str(panel["fieldConfig"]))}
    assert shown <= set(known)


@pytest.mark.parametrize("name", BOARDS)
def test_links_lead_to_the_other_dashboards(name):
    """All of them, with time and variables; a link of a table gives a variable that its dashboard has."""
    links = board(name)["links"]
    assert {link["url"] for link in links} == {f"/d/retrofit-{other}" for other in BOARDS if other != name}
    assert all(link["includeVars"] and link["keepTime"] for link in links)
    for target, query in re.findall(r"/d/retrofit-(\w+)\?(\S+)'", str(board(name)["panels"])):
        given = re.findall(r"var-(\w+)=", query)
        assert set(given) == {"tenant", "plc"} <= set(variables(target)), "one name may be at two tenants"


def test_every_rule_is_whole():
    """Flux, then `> 0` of it; text, severity, a dashboard that exists; no `$`, which Grafana would replace."""
    assert set(rules()) == {
        f"retrofit-{name}"
        for name in (
            "silent",
            "backlog",
            "headroom",
            "latency",
            "degraded",
            "failing",
            "clock",
            "gap",
            "dropped",
            "refused",
            "backup",
        )
    }
    for uid, rule in rules().items():
        asked, compared = rule["data"]
        assert rule["condition"] == compared["refId"] == "B"
        assert asked["datasourceUid"] in SOURCES
        assert compared["model"]["expression"] == asked["refId"]
        assert compared["model"]["conditions"][0]["evaluator"] == {"type": "gt", "params": [0]}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["dashboard"].removeprefix("/d/retrofit-") in BOARDS
        assert rule["noDataState"] == "OK"
        assert not [text for text in strings(rule) if "$" in text], uid
        assert len(uid) <= 40


def test_contacts_come_from_the_environment_that_compose_gives():
    """Each variable has a default with which Grafana starts; the policy names a contact point that exists."""
    points = document("alerting/contact-points.yaml")["contactPoints"]
    (policy,) = document("alerting/policies.yaml")["policies"]
    used = {name for text in strings([points, policy]) for name in names_in(text)}
    assert used == {
        "ALERT_CONTACT",
        "ALERT_EMAIL",
        "ALERT_WEBHOOK_URL",
        "ALERT_TELEGRAM_TOKEN",
        "ALERT_TELEGRAM_CHAT",
    }
    compose = YAML(typ="safe").load((INFRA / "compose.yaml").read_text(encoding="utf-8"))
    given = compose["services"]["grafana"]["environment"]
    defaults = {name: re.fullmatch(rf"\$\{{{name}:-(.+)\}}", given[name])[1] for name in used}
    assert defaults["ALERT_CONTACT"] in {point["name"] for point in points}
    receivers = {point["name"]: {receiver["type"] for receiver in point["receivers"]} for point in points}
    assert receivers == {"email": {"email"}, "webhook": {"webhook"}, "telegram": {"telegram"}}
