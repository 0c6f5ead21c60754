"""Notices as receivers want them: Alertmanager's webhook (version 4), Grafana's, Slack's, plain, or a template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pipeline.alerting.machine import Notice, Status, text_of

__all__ = ["PLAIN", "PayloadFormat", "Wording", "make_payload"]

NEVER = "0001-01-01T00:00:00Z"
"""How Alertmanager writes the end of what has not ended."""
PLAIN = frozenset({"alert", "field", "status", "value", "since", "until", "at", "fingerprint", "summary"})
"""What templates may name beside labels and values."""
_FIELD = re.compile(r"\{([^{}]+)\}")


class PayloadFormat(StrEnum):
    """What a request carries."""

    ALERTMANAGER = "alertmanager"
    GRAFANA = "grafana"
    GENERIC = "generic"
    SLACK = "slack"
    TEMPLATE = "template"


@dataclass(frozen=True, kw_only=True)
class Wording:
    """What is said beside the facts.

    Attributes:
        node: who tells.
        alert: the alert's name.
        field: the value that is judged.
        labels: further labels of each notice.
        summary: one sentence, with names in braces.
        annotations: more of them.
        link: where to look, with names in braces.
        template: the payload, where the user writes it.
    """

    node: str
    alert: str
    field: str
    labels: Mapping[str, str]
    summary: str
    annotations: Mapping[str, str]
    link: str
    template: Mapping[str, Any]


def make_payload(form: PayloadFormat, wording: Wording, notices: Sequence[Notice]) -> dict[str, Any]:
    """The body of one request, to be encoded as JSON; all but Alertmanager's and Grafana's form take one notice."""
    if form in {PayloadFormat.ALERTMANAGER, PayloadFormat.GRAFANA}:
        return _alertmanager(wording, notices, grafana=form is PayloadFormat.GRAFANA)
    names = _names(wording, notices[0])
    if form is PayloadFormat.SLACK:
        return {"text": names["summary"]}
    if form is PayloadFormat.TEMPLATE:
        return {key: _filled(value, names) for key, value in wording.template.items()}
    return _generic(wording, notices[0], names)


def _alertmanager(wording: Wording, notices: Sequence[Notice], *, grafana: bool) -> dict[str, Any]:
    """https://prometheus.io/docs/alerting/latest/configuration/#webhook_config; Grafana's has a few fields more."""
    alerts = [_alert(wording, notice) for notice in notices]
    status = str(Status.FIRING if any(notice.status is Status.FIRING for notice in notices) else Status.RESOLVED)
    payload: dict[str, Any] = {
        "receiver": wording.node,
        "status": status,
        "alerts": alerts,
        "groupLabels": {"alertname": wording.alert},
        "commonLabels": _common([alert["labels"] for alert in alerts]),
        "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
        "externalURL": "",
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{wording.alert}"}}',
        "truncatedAlerts": 0,
    }
    if grafana:
        summaries = [alert["annotations"]["summary"] for alert in alerts]
        payload |= {
            "orgId": 1,
            "title": f"[{status.upper()}:{len(alerts)}] {wording.alert}",
            "state": "alerting" if status == Status.FIRING else "ok",
            "message": "\n".join(summaries),
        }
        for alert, notice in zip(alerts, notices, strict=True):
            alert |= {"values": _numbers(notice), "valueString": f"[ {wording.field}={notice.value} ]"}
    return payload


def _alert(wording: Wording, notice: Notice) -> dict[str, Any]:
    names = _names(wording, notice)
    return {
        "status": str(notice.status),
        "labels": {"alertname": wording.alert, **notice.labels, **wording.labels},
        "annotations": {
            "summary": names["summary"],
            "value": notice.value,
            **{name: _filled(text, names) for name, text in wording.annotations.items()},
        },
        "startsAt": _moment(notice.since),
        "endsAt": _moment(notice.until) if notice.until else NEVER,
        "generatorURL": _filled(wording.link, names),
        "fingerprint": notice.fingerprint,
    }


def _generic(wording: Wording, notice: Notice, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "alert": wording.alert,
        "status": str(notice.status),
        "field": wording.field,
        "value": notice.value,
        "labels": {**notice.labels, **wording.labels},
        "values": notice.values,
        "since": _moment(notice.since),
        "until": _moment(notice.until) if notice.until else None,
        "at": _moment(notice.at),
        "fingerprint": notice.fingerprint,
        "summary": names["summary"],
        **({"link": _filled(wording.link, names)} if wording.link else {}),
        **{name: _filled(text, names) for name, text in wording.annotations.items()},
    }


def _names(wording: Wording, notice: Notice) -> dict[str, str]:
    """What names in braces mean; those of the notice itself win."""
    names = {name: text_of(value) for name, value in notice.values.items()}
    names |= {**notice.labels, **wording.labels}
    names |= {
        "alert": wording.alert,
        "field": wording.field,
        "status": str(notice.status),
        "value": notice.value,
        "since": _moment(notice.since),
        "until": _moment(notice.until) if notice.until else "",
        "at": _moment(notice.at),
        "fingerprint": notice.fingerprint,
    }
    names["summary"] = _filled(wording.summary, names)
    return names


def _filled(given: Any, names: Mapping[str, str]) -> Any:
    """Texts with their names filled in, however deep they stand; an unknown name is nothing."""
    if isinstance(given, str):
        return _FIELD.sub(lambda match: names.get(match[1], ""), given)
    if isinstance(given, Mapping):
        return {key: _filled(value, names) for key, value in given.items()}
    return [_filled(value, names) for value in given] if isinstance(given, list) else given


def _numbers(notice: Notice) -> dict[str, float]:
    return {
        name: value
        for name, value in notice.values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _common(several: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {name: text for name, text in several[0].items() if all(other.get(name) == text for other in several)}


def _moment(ts: float) -> str:
    return datetime.fromtimestamp(round(ts, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
