"""Alert rules, contact points and policies, as files that Grafana is provisioned with.

A rule's query has done the comparison, so Grafana asks only whether a row is more than 0.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.builders import alerting
from grafana_foundation_sdk.builders.expr import (
    ExprTypeThresholdConditions,
    ExprTypeThresholdConditionsEvaluator,
    TypeThreshold,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.alerting import RelativeTimeRange
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from grafana.flux import PLATFORM, Query
from grafana.rules import RULES, Alert

__all__ = ["provisioning"]

_FOLDER = "Retrofit alerts"
_WIDTH = 120
_HEADER = "# Made by infra/grafana/build.py; change that and run it.\n"


def provisioning() -> dict[str, str]:
    """Text by file name, below `provisioning/alerting`."""
    group = {
        "orgId": 1,
        "name": "retrofit",
        "folder": _FOLDER,
        "interval": "30s",
        "rules": [_rule(each) for each in RULES],
    }
    return {
        "rules.yaml": _yaml({"apiVersion": 1, "groups": [group]}),
        "contact-points.yaml": _yaml({"apiVersion": 1, "contactPoints": list(_contact_points())}),
        "policies.yaml": _yaml({"apiVersion": 1, "policies": [{"orgId": 1, **_plain(_policy().build())}]}),
    }


def _rule(alert: Alert) -> dict[str, Any]:
    """As the file has it: without folder and group, which stand around it."""
    asked = (
        alerting.Query("A")
        .datasource_uid(PLATFORM)
        .relative_time_range(RelativeTimeRange(600, 0))
        .model(Query(alert.flux))
    )
    positive = ExprTypeThresholdConditionsEvaluator().type("gt").params([0])
    threshold = (
        TypeThreshold()
        .ref_id("B")
        .expression("A")
        .datasource(DataSourceRef(type_val="__expr__", uid="__expr__"))
        .conditions([ExprTypeThresholdConditions().evaluator(positive)])
    )
    compared = (
        alerting.Query("B").datasource_uid("__expr__").relative_time_range(RelativeTimeRange(0, 0)).model(threshold)
    )
    made = (
        alerting.Rule(alert.title)
        .uid(f"retrofit-{alert.name}")
        .condition("B")
        .queries([asked, compared])
        .for_val(alert.after)
        .no_data_state("OK")
        .exec_err_state("Error")
        .labels({"severity": alert.severity})
        .annotations({"summary": alert.summary, "action": alert.action, "dashboard": f"/d/retrofit-{alert.board}"})
    )
    plain = _plain(made.build())
    for name in ("folderUID", "ruleGroup", "orgID"):
        plain.pop(name, None)
    plain["data"][0]["model"]["query"] = LiteralScalarString(plain["data"][0]["model"]["query"])
    return plain


def _contact_points() -> Iterator[dict[str, Any]]:
    """One each; ALERT_CONTACT names the one that is told. Grafana doesn't start where one of them is not whole."""
    point = alerting.ContactPoint
    made = {
        "email": point().type("email").settings({"addresses": "$ALERT_EMAIL"}),
        "webhook": point().type("webhook").settings({"url": "$ALERT_WEBHOOK_URL", "httpMethod": "POST"}),
        "telegram": point()
        .type("telegram")
        .settings({"bottoken": "$ALERT_TELEGRAM_TOKEN", "chatid": "$ALERT_TELEGRAM_CHAT"}),
    }
    for name, each in made.items():
        plain = _plain(each.uid(f"retrofit-{name}").build())
        yield {"orgId": 1, "name": name, "receivers": [{key: plain[key] for key in ("uid", "type", "settings")}]}


def _policy() -> alerting.NotificationPolicy:
    return (
        alerting.NotificationPolicy()
        .receiver("$ALERT_CONTACT")
        .group_by(["alertname", "tenant", "edge"])
        .group_wait("30s")
        .group_interval("5m")
        .repeat_interval("12h")
    )


def _plain(made: object) -> dict[str, Any]:
    """What the SDK has made, as the JSON it would write."""
    plain: dict[str, Any] = json.loads(json.dumps(made, cls=JSONEncoder))
    return plain


def _yaml(document: dict[str, Any]) -> str:
    writer, text = YAML(), io.StringIO()
    writer.width = _WIDTH
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.dump(document, text)
    return _HEADER + text.getvalue()
