"""The edge's alerts as Prometheus rules: judged by Prometheus' own tool."""

import subprocess

import pytest
from ruamel.yaml import YAML

from tests.parts.platform import INFRA

FOLDER = INFRA / "prometheus"


def document(name):
    """A file of the folder."""
    return YAML(typ="safe").load((FOLDER / name).read_text(encoding="utf-8"))


@pytest.mark.real("promtool")
@pytest.mark.parametrize(
    "command",
    [("check", "rules.yaml"), ("test", "rules_test.yaml"), ("test", "rules_slow_test.yaml")],
    ids=["check", "test", "slow"],
)
def test_promtool_is_content(command):
    """Syntax, and each alert's quiet and firing case."""
    verb, name = command
    done = subprocess.run(["promtool", verb, "rules", name], capture_output=True, text=True, check=False, cwd=FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_quiet_and_a_firing_case():
    """Both, for each."""
    alerts = {rule["alert"] for group in document("rules.yaml")["groups"] for rule in group["rules"]}
    cases = [case for test in document("rules_test.yaml")["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts
