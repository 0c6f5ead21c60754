"""Panels and dashboards as this platform has them: short titles, a description each, units, widths that stack.

Grafana puts panels in one column on a phone, in the order of this grid, so what matters stands first and none is high.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from grafana_foundation_sdk.builders import common as commons
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import gauge, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)

from grafana.flux import PLATFORM, Query, source

__all__ = [
    "BOARDS",
    "FOUR",
    "HALF",
    "WHOLE",
    "Look",
    "Section",
    "bars",
    "board",
    "choice_variable",
    "columns",
    "dial",
    "like",
    "lines",
    "number",
    "query_variable",
    "rows",
    "states",
    "text_variable",
    "timeline",
]

FOUR, HALF, WHOLE = 6, 12, 24
"""Widths, of 24."""

BOARDS = {"fleet": "Fleet", "line": "Line", "edge": "Edge", "debug": "Debug", "sensors": "Sensors"}
"""Names of the dashboards by their file; the uid is `retrofit-` and the file's name."""

_GOOD, _WARN, _BAD, _PLAIN = "green", "orange", "red", "text"

Panel = TypeVar("Panel", gauge.Panel, stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel)

Section = tuple[str, list[Builder[models.Panel]]]
"""A row's heading, "" for none, and its panels."""


class Look(NamedTuple):
    """How a panel's values are shown.

    Attributes:
        unit: Grafana's id of it, such as `s`, `ms`, `percent`, `percentunit`, `amp`.
        steps: (value from which, colour); the first value is None.
        name: of a series, made of labels.
        least: the axis's lower end.
        most: its upper end.
        decimals: digits after the point.
        empty: what is shown where there is nothing.
    """

    unit: str = "short"
    steps: tuple[tuple[float | None, str], ...] = ((None, _GOOD),)
    name: str = ""
    least: float | None = None
    most: float | None = None
    decimals: int | None = None
    empty: str = "no data"


def _made(panel: Panel, title: str, text: str, queries: tuple[str, ...], *, look: Look, uid: str, width: int) -> Panel:
    panel.title(title).description(text).datasource(source(uid)).span(width).unit(look.unit).no_value(look.empty)
    steps = [models.Threshold(value=value, color=color) for value, color in look.steps]
    panel.thresholds(dashboards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    for number_, flux in enumerate(queries):
        panel.with_target(Query(flux, "ABCDEFGH"[number_], uid))
    if look.name:
        panel.display_name(look.name)
    if look.least is not None:
        panel.min(look.least)
    if look.most is not None:
        panel.max(look.most)
    if look.decimals is not None:
        panel.decimals(look.decimals)
    return panel


def number(title: str, text: str, *queries: str, look: Look, uid: str = PLATFORM, width: int = FOUR) -> stat.Panel:
    """The latest value, large, in the colour of its step; also where it is a text."""
    panel = _made(stat.Panel(), title, text, queries, look=look, uid=uid, width=width).height(4)
    reduce = commons.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields("/^(?!Time$)/")
    return panel.reduce_options(reduce).graph_mode(BigValueGraphMode.NONE)


def dial(title: str, text: str, *queries: str, look: Look, uid: str = PLATFORM, width: int = FOUR) -> gauge.Panel:
    """The latest value on a dial."""
    panel = _made(gauge.Panel(), title, text, queries, look=look, uid=uid, width=width).height(6)
    return panel.reduce_options(commons.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))


def lines(title: str, text: str, *queries: str, look: Look, uid: str = PLATFORM, width: int = HALF) -> timeseries.Panel:
    """Values over time; steps above the first are drawn as lines."""
    panel = _made(timeseries.Panel(), title, text, queries, look=look, uid=uid, width=width).height(8)
    if len(look.steps) > 1:
        panel.thresholds_style(commons.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.LINE))
    legend = commons.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    tooltip = commons.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    return (
        panel.legend(legend.show_legend(show_legend=True))
        .tooltip(tooltip)
        .show_points(VisibilityMode.AUTO)
        .line_width(1)
        .fill_opacity(8)
    )


def bars(title: str, text: str, *queries: str, look: Look, uid: str = PLATFORM, width: int = HALF) -> timeseries.Panel:
    """Amounts over time, stacked."""
    panel = lines(title, text, *queries, look=look, uid=uid, width=width).draw_style(GraphDrawStyle.BARS)
    return panel.fill_opacity(60).stacking(commons.StackingConfig().mode(StackingMode.NORMAL))


def rows(title: str, text: str, *queries: str, look: Look, uid: str = PLATFORM, width: int = WHOLE) -> table.Panel:
    """A table."""
    return (
        _made(table.Panel(), title, text, queries, look=look, uid=uid, width=width)
        .height(8)
        .filterable(filterable=True)
    )


def columns(panel: table.Panel, **kinds: tuple[str, str]) -> table.Panel:
    """Name a table's columns for people, and give them units.

    Args:
        panel: the table.
        kinds: (heading, unit) by the column's name.
    """
    for name, (heading, unit) in kinds.items():
        properties = [models.DynamicConfigValue("displayName", heading)]
        if unit:
            properties.append(models.DynamicConfigValue("unit", unit))
        panel.override_by_name(name, properties)
    return panel


def timeline(
    title: str, text: str, *queries: str, look: Look, uid: str = PLATFORM, width: int = WHOLE
) -> statetimeline.Panel:
    """States over time, one lane a series."""
    return (
        _made(statetimeline.Panel(), title, text, queries, look=look, uid=uid, width=width)
        .height(8)
        .show_value(VisibilityMode.AUTO)
    )


def states(**colors: str) -> list[models.ValueMapping]:
    """Texts and their colours, as a panel's mappings."""
    found = {text: models.ValueMappingResult(text=text, color=color) for text, color in colors.items()}
    return [models.ValueMap(options=found)]


def like(pattern: str, color: str) -> models.ValueMapping:
    """Texts that a regular expression describes whole, whatever their case, as they are, in a colour."""
    result = models.ValueMappingResult(color=color)
    return models.RegexMap(options=models.DashboardRegexMapOptions(pattern=f"/^({pattern})$/i", result=result))


def query_variable(
    name: str, label: str, flux: str, text: str, uid: str = PLATFORM, *, several: bool = True
) -> dashboards.QueryVariable:
    """A variable whose values InfluxDB knows; several of them or all, or one."""
    made = dashboards.QueryVariable(name).label(label).description(text).datasource(source(uid))
    made = made.query({"query": flux, "refId": name}).refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    if several:
        made = made.sort(models.VariableSort.ALPHABETICAL_ASC)
        everything = models.VariableOption(text="All", value="$__all", selected=True)
        made = made.multi(multi=True).include_all(include_all=True).all_value(".*").current(everything)
    return made


def text_variable(name: str, label: str, default: str, text: str) -> dashboards.TextBoxVariable:
    """A variable that is written by hand."""
    current = models.VariableOption(text=default, value=default, selected=True)
    return dashboards.TextBoxVariable(name).label(label).description(text).default_value(default).current(current)


def choice_variable(name: str, label: str, values: tuple[str, ...], text: str) -> dashboards.CustomVariable:
    """One of these; the first unless chosen."""
    current = models.VariableOption(text=values[0], value=values[0], selected=True)
    made = dashboards.CustomVariable(name).label(label).description(text).values(",".join(values)).current(current)
    return made.options([models.VariableOption(text=each, value=each, selected=each == values[0]) for each in values])


def board(
    name: str, text: str, start: str, variables: Iterable[Builder[models.VariableModel]], *sections: Section
) -> dashboards.Dashboard:
    """A dashboard with links to the others, which take the time and the variables along."""
    made = dashboards.Dashboard(BOARDS[name]).uid(f"retrofit-{name}").description(text).tags(["retrofit"]).readonly()
    made = made.time(start, "now").refresh("30s").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
    for other, title in BOARDS.items():
        if other != name:
            link = dashboards.DashboardLink(title).type(models.DashboardLinkType.LINK).url(f"/d/retrofit-{other}")
            made.link(link.include_vars(include_vars=True).keep_time(keep_time=True).tooltip(title))
    for variable in variables:
        made.with_variable(variable)
    for heading, panels in sections:
        if heading:
            made.with_row(dashboards.Row(heading))
        for panel in panels:
            made.with_panel(panel)
    return made
