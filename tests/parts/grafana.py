"""What Grafana does to a query before InfluxDB sees it, so that panels and rules run without a Grafana.

for query in panel_queries(board("line")):
    rows = influx.query(rendered(query.flux, values, start, stop), token)
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from tests.parts.platform import INFRA

__all__ = [
    "BOARDS",
    "PanelQuery",
    "at",
    "board",
    "names_in",
    "panel_queries",
    "panels",
    "rendered",
    "rules",
    "variables",
]

_GRAFANA = INFRA / "grafana"
BOARDS = sorted(file.stem for file in (_GRAFANA / "dashboards").glob("*.json"))
"""The dashboards by the names of their files."""
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)")
_SPECIAL = re.compile(r"[\\^$*+?.()|[\]{}/]")


class PanelQuery(NamedTuple):
    """One query of one panel.

    Attributes:
        board: the dashboard's file.
        panel: its title.
        uid: of the data source.
        flux: as the file has it.
        kind: the panel's type.
        labels: that the series' names are made of.
    """

    board: str
    panel: str
    uid: str
    flux: str
    kind: str = ""
    labels: frozenset[str] = frozenset()


def board(name: str) -> dict[str, Any]:
    """A dashboard as it is committed."""
    found: dict[str, Any] = json.loads((_GRAFANA / "dashboards" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def panels(name: str) -> list[dict[str, Any]]:
    """Its panels, without the rows between them."""
    return [panel for panel in board(name)["panels"] if panel["type"] != "row"]


def panel_queries() -> Iterator[PanelQuery]:
    """All queries of all panels."""
    for name in BOARDS:
        for panel in panels(name):
            labels = frozenset(
                re.findall(r"__field\.labels\.(\w+)", panel["fieldConfig"]["defaults"].get("displayName", ""))
            )
            for target in panel["targets"]:
                uid, flux = target["datasource"]["uid"], target["query"]
                yield PanelQuery(name, panel["title"], uid, flux, panel["type"], labels)


def variables(name: str) -> dict[str, dict[str, Any]]:
    """A dashboard's variables by name."""
    return {each["name"]: each for each in board(name)["templating"]["list"]}


def rules() -> dict[str, dict[str, Any]]:
    """The alert rules by uid."""
    file = _GRAFANA / "provisioning" / "alerting" / "rules.yaml"
    groups = YAML(typ="safe").load(file.read_text(encoding="utf-8"))["groups"]
    return {rule["uid"]: rule for group in groups for rule in group["rules"]}


def names_in(text: str) -> set[str]:
    """Variables that a text uses, without Grafana's own."""
    return {name for whole, _, bare in _VARIABLE.findall(text) if not (name := whole or bare).startswith("__")}


def rendered(
    flux: str,
    values: Mapping[str, str | Sequence[str]],
    start: float,
    stop: float,
    *,
    window: str = "10s",
    bucket: str = "",
) -> str:
    """The query that InfluxDB gets.

    Args:
        flux: as a panel or rule has it.
        values: of the variables: a text as it is chosen, `.*` for all, several as a sequence.
        start: of the range, seconds since 1970.
        stop: its end.
        window: what `v.windowPeriod` is.
        bucket: the data source's own.
    """

    def one(match: re.Match[str]) -> str:
        value = values[match[1] or match[3]]
        if match[2] != "regex" or value == ".*":
            assert isinstance(value, str), f"{match[0]} can't take several"
            return value
        several = [value] if isinstance(value, str) else value
        escaped = [_SPECIAL.sub(r"\\\g<0>", each) for each in several]
        return escaped[0] if isinstance(value, str) else f"({'|'.join(escaped)})"

    text = _VARIABLE.sub(one, flux)
    macros = {
        "timeRangeStart": at(start),
        "timeRangeStop": at(stop),
        "windowPeriod": window,
        "defaultBucket": f'"{bucket}"',
    }
    for name, value in macros.items():
        text = text.replace(f"v.{name}", value)
    return text


def at(seconds: float) -> str:
    """A time as Flux writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
