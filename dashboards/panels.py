"""How an answer is drawn: the few kinds of panels that all dashboards are made of.

Title, description, unit and what is said when there is nothing are required arguments, so no panel
lacks one. Colours mean the same everywhere, and never say what the text beside them does not.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    prometheus,
    stat,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    FieldColor,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.dashboard import Panel as PanelBuilder
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from opentelemetry.instrumentation.open_webui import names

from .promql import SOURCE, TASK

METRICS: Final = shapes.DataSourceRef(type_val="prometheus", uid="${datasource}")
TRACES: Final = shapes.DataSourceRef(type_val="jaeger", uid="${traces}")

COUNT: Final = "locale"
"""Every digit, in groups of three: people check these numbers against bills."""
USD: Final = "prefix:$"
"""Every digit, too: Grafana's currency units would write $1.2K."""
SHORT: Final = "short"
SHARE: Final = "percentunit"
SECONDS: Final = "s"
TIME: Final = "dateTimeAsIso"
AGO: Final = "dateTimeFromNow"

NO_USAGE: Final = "no usage"
COLOURS: Final[Mapping[str, Mapping[str, str]]] = {
    SOURCE: {"ui": "blue", "api": "orange", "background": "purple"},
    # In none of the colours of sources.
    TASK: {
        names.CHAT_TASK: "green",
        "title_generation": "yellow",
        "tags_generation": "dark-yellow",
        "follow_up_generation": "light-green",
        "query_generation": "super-light-green",
        names.RETRIEVAL_TASK: "dark-green",
        names.UNKNOWN_TASK: "red",
    },
}
"""What values of a label look like, on all pages."""
NEUTRAL: Final = "text"
OTHERS: Final = "all others"
GREY: Final = "#8e8e8e"
BLUE: Final = "blue"
GOOD, WARN, BAD = "green", "yellow", "red"
EXPORT_INTERVAL: Final = "1m"
REFS: Final = string.ascii_uppercase


@dataclass
class Column:
    """One column of a table: a query, its heading, unit and decimals."""

    title: str
    expr: str
    unit: str = COUNT
    decimals: int | None = None
    width: int | None = None
    shown: str = ""
    """The heading that people see, where variables make it."""
    bar: bool = False
    """Whether a bar shows how large each value is beside the others."""


@dataclass
class Levels:
    """From which values on a number deserves a look, or action."""

    warn: float
    bad: float


def target(
    expr: str, ref: str = "A", legend: str = "", *, instant: bool = True
) -> prometheus.Dataquery:
    """One PromQL expression: at the end of the range, or at each step of it."""
    query = prometheus.Dataquery().expr(expr).ref_id(ref).datasource(METRICS)
    query = query.legend_format(legend or "__auto")
    return query.instant() if instant else query.range()


def tile(
    title: str, description: str, targets: Mapping[str, str], unit: str,
    *, decimals: int | None = None, empty: str = NO_USAGE, levels: Levels | None = None,
    width: int = 4, height: int = 4,
) -> stat.Panel:  # fmt: skip
    """A number, or a few with a name each."""
    panel = stat.Panel().title(title).description(description).datasource(METRICS)
    panel = panel.unit(unit).no_value(empty).span(width).height(height)
    panel = panel.graph_mode(shapes.BigValueGraphMode.NONE)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    several = len(targets) > 1
    mode = shapes.BigValueTextMode.VALUE_AND_NAME if several else shapes.BigValueTextMode.VALUE
    panel = panel.text_mode(mode).color_mode(shapes.BigValueColorMode.VALUE)
    panel = panel.thresholds(thresholds(levels)).color_scheme(by_thresholds())
    if decimals is not None:
        panel = panel.decimals(decimals)
    for ref, (name, expr) in zip(REFS, targets.items(), strict=False):
        panel = panel.with_target(target(expr, ref, name))
    return panel


def bars_over_time(
    title: str, description: str, expr: str, name: str, unit: str,
    *, others: str = "", step: str = EXPORT_INTERVAL, width: int = 8, height: int = 8,
) -> timeseries.Panel:  # fmt: skip
    """Amounts in time, one stacked bar for each step; `name` is the label that tells series apart.

    `others` is the sum of what `expr` leaves out, where they would be too many.
    """
    panel = _over_time(title, description, unit, step, width, height)
    # Few enough to be seen one by one.
    panel = panel.max_data_points(80)
    panel = panel.draw_style(shapes.GraphDrawStyle.BARS).fill_opacity(80).line_width(0)
    panel = panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    panel = panel.min(0)
    for value, colour in COLOURS.get(name, {}).items():
        panel = panel.override_by_name(value, [fixed(colour)])
    panel = panel.with_target(target(expr, legend=of(name), instant=False).interval(step))
    if others:
        panel = panel.with_target(target(others, "B", OTHERS, instant=False).interval(step))
        panel = panel.override_by_name(OTHERS, [fixed(GREY)])
    return panel


def lines_over_time(
    title: str, description: str, targets: Mapping[str, str], unit: str,
    *, step: str = EXPORT_INTERVAL, width: int = 12, height: int = 8, exemplars: bool = False,
    colours: Mapping[str, str] = MappingProxyType({}),
) -> timeseries.Panel:  # fmt: skip
    """Values in time, a line for each series; `targets` maps legends to expressions."""
    panel = _over_time(title, description, unit, step, width, height)
    panel = panel.line_width(2).fill_opacity(0).show_points(shapes.VisibilityMode.AUTO)
    for legend, colour in colours.items():
        panel = panel.override_by_name(legend, [fixed(colour)])
    for ref, (legend, expr) in zip(REFS, targets.items(), strict=False):
        query = target(expr, ref, legend, instant=False).interval(step)
        panel = panel.with_target(query.exemplar(exemplars))
    return panel


def ranking(
    title: str, description: str, expr: str, name: str, unit: str = COUNT,
    *, decimals: int | None = None, width: int = 8, height: int = 10,
) -> bargauge.Panel:  # fmt: skip
    """The largest first, each with its bar; `name` is the label that tells them apart."""
    panel = bargauge.Panel().title(title).description(description).datasource(METRICS)
    panel = panel.unit(unit).no_value(NO_USAGE).span(width).height(height).min(0)
    panel = panel.orientation(shapes.VizOrientation.HORIZONTAL)
    panel = panel.display_mode(shapes.BarGaugeDisplayMode.BASIC).show_unfilled(False)
    panel = panel.value_mode(shapes.BarGaugeValueMode.TEXT)
    panel = panel.name_placement(shapes.BarGaugeNamePlacement.LEFT)
    panel = panel.sizing(shapes.BarGaugeSizing.MANUAL).max_viz_height(30)
    # Grafana names bars only when there are several.
    panel = panel.display_name(f"${{__field.labels.{name}}}")
    panel = panel.text(common.VizTextDisplayOptions().value_size(16))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel = panel.thresholds(thresholds(None, base=BLUE)).color_scheme(by_thresholds())
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel.with_target(target(expr, legend=of(name)))


def of(name: str) -> str:
    """What Grafana puts the value of a label in the place of, in legends."""
    return f"{{{{{name}}}}}"


@dataclass
class Grid:
    """A table: rows by some labels, columns by queries; see ``build``."""

    title: str
    description: str
    rows: Mapping[str, str]
    """The labels that make a row, and their headings."""
    columns: Sequence[Column]
    sort: str = ""
    """The heading to sort by, largest first."""
    required: str = ""
    """A heading; rows without a value there are left out."""
    listed: Mapping[str, str] = field(default_factory=dict)
    """Labels of which a row has several, with the headings of the columns that list them."""
    lists: Sequence[str] = ()
    """The queries that these labels come from."""
    links: Mapping[str, Sequence[DashboardLink]] = field(default_factory=dict)
    hidden: Sequence[str] = ()
    """Headings that only links need."""
    dropped: Sequence[str] = ()
    """Labels of the answer that nobody needs."""
    widths: Mapping[str, int] = field(default_factory=dict)
    order: Sequence[str] = ()
    """Headings in another order than: rows, lists, columns."""
    width: int = 24
    height: int = 12
    empty: str = NO_USAGE
    """What is said in the place of rows."""
    levels: Mapping[str, Levels] = field(default_factory=dict)

    def build(self) -> table.Panel:
        """The panel."""
        panel = table.Panel().title(self.title).description(self.description).datasource(METRICS)
        panel = panel.unit(COUNT).no_value(self.empty).span(self.width).height(self.height)
        panel = panel.cell_height(shapes.TableCellHeight.SM).min_width(90)
        panel = panel.thresholds(thresholds(None)).color_scheme(by_thresholds())
        refs = self._refs()
        for ref, expr in zip(refs, [*self.lists, *(c.expr for c in self.columns)], strict=True):
            panel = panel.with_target(target(expr, ref).format(PromQueryFormat.TABLE))
        panel = panel.transformations(self._transformations(refs))
        if self.sort:
            by = common.TableSortByFieldState().display_name(self.sort).desc(True)
            panel = panel.sort_by([by])
        return self._with_overrides(panel)

    def _refs(self) -> list[str]:
        return list(REFS[: len(self.lists) + len(self.columns)])

    def _value(self, ref: str) -> str:
        return f"Value #{ref}" if len(self._refs()) > 1 else "Value"

    def _transformations(self, refs: Sequence[str]) -> list[model.DataTransformerConfig]:
        steps = [
            _list_values(ref, list(self.rows), name)
            for ref, name in zip(refs, self.listed, strict=False)
        ]
        headings = dict(self.rows)
        headings |= {_listed(name): heading for name, heading in self.listed.items()}
        own = refs[len(self.lists) :]
        headings |= {self._value(r): c.title for r, c in zip(own, self.columns, strict=True)}
        if len(refs) > 1:
            steps.append(_transformation("merge", {}))
        if self.required:
            [value] = [name for name, heading in headings.items() if heading == self.required]
            steps.append(_only_with(value))
        steps.append(_transformation("organize", self._organized(headings)))
        return steps

    def _organized(self, headings: dict[str, str]) -> dict[str, Any]:
        order = list(self.order) or list(headings.values())
        by_heading = {heading: name for name, heading in headings.items()}
        return {
            "excludeByName": dict.fromkeys(("Time", *self.dropped), True),
            "indexByName": {by_heading[heading]: place for place, heading in enumerate(order)},
            "renameByName": headings,
        }

    def _with_overrides(self, panel: table.Panel) -> table.Panel:
        changes: dict[str, list[model.DynamicConfigValue]] = {}
        for column in self.columns:
            changes[column.title] = _column_properties(column)
        for heading, links in self.links.items():
            built = [link.build() for link in links]
            changes.setdefault(heading, []).append(setting("links", built))
        for heading in self.hidden:
            changes.setdefault(heading, []).append(setting("custom.hidden", True))
        for heading, width in self.widths.items():
            changes.setdefault(heading, []).append(setting("custom.width", width))
        for heading, levels in self.levels.items():
            changes[heading] += [
                setting("thresholds", thresholds(levels).build()),
                setting("custom.cellOptions", {"type": "color-text"}),
            ]
        for heading, properties in changes.items():
            panel = panel.override_by_name(heading, properties)
        return panel


def note(
    title: str, description: str, markdown: str, *, width: int = 24, height: int = 3
) -> text.Panel:
    """Words."""
    panel = text.Panel().title(title).description(description).content(markdown)
    return panel.mode("markdown").span(width).height(height)  # type: ignore[arg-type]


def traces(title: str, description: str, tags: str, *, height: int = 10) -> table.Panel:
    """The latest traces with some tags, from Jaeger."""
    panel = table.Panel().title(title).description(description).datasource(TRACES)
    panel = panel.unit(SHORT).no_value("no calls").span(24).height(height)
    search = {
        "refId": "A", "datasource": {"type": TRACES.type_val, "uid": TRACES.uid},
        "queryType": "search", "service": "${service}", "tags": tags, "limit": 50,
    }  # fmt: skip
    return panel.with_target(_Raw(search))


def alert_list(title: str, description: str, name: str) -> PanelBuilder:
    """The alerts whose names have something in common, by Grafana's own list; beside a tile."""
    panel = PanelBuilder().type("alertlist").title(title).description(description)
    return panel.span(20).height(4).options(
        {
            "alertName": name, "viewMode": "list", "groupMode": "default", "groupBy": [],
            "maxItems": 50, "sortOrder": 3, "dashboardAlerts": False, "alertInstanceLabelFilter": "",
            "stateFilter": {
                "firing": True, "pending": True, "recovering": True,
                "noData": False, "normal": False, "error": True,
            },
        }
    )  # fmt: skip


class _Raw(Builder[Dataquery]):
    """A query of a data source for which the SDK has no builder."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def build(self) -> UnknownDataquery:
        return UnknownDataquery(self._data)


class Board:
    """A dashboard being filled: gives panels their ids."""

    def __init__(self, dashboard: Dashboard) -> None:
        self.dashboard = dashboard
        self._ids = 0

    def add(self, *panels: Any) -> None:
        """Add panels from left to right; a line that is full is followed by the next."""
        for panel in panels:
            self._ids += 1
            self.dashboard.with_panel(panel.id(self._ids))

    def row(self, title: str) -> None:
        """Begin a part with a heading."""
        self._ids += 1
        self.dashboard.with_row(Row(title).id(self._ids).collapsed(False))


def _over_time(
    title: str, description: str, unit: str, step: str, width: int, height: int
) -> timeseries.Panel:
    panel = timeseries.Panel().title(title).description(description).datasource(METRICS)
    panel = panel.unit(unit).no_value(NO_USAGE).span(width).height(height).interval(step)
    legend = common.VizLegendOptions().show_legend(True).placement(shapes.LegendPlacement.BOTTOM)
    panel = panel.legend(legend.display_mode(shapes.LegendDisplayMode.LIST).calcs([]))
    tooltip = common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI)
    return panel.tooltip(tooltip.sort(shapes.SortOrder.DESCENDING))


def thresholds(levels: Levels | None, base: str = NEUTRAL) -> ThresholdsConfig:
    """Neutral without levels; else green, yellow and red, which the number beside it bears out."""
    steps = [model.Threshold(value=None, color=base if levels is None else GOOD)]
    if levels is not None:
        steps += [
            model.Threshold(value=levels.warn, color=WARN),
            model.Threshold(value=levels.bad, color=BAD),
        ]
    return ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def by_thresholds() -> FieldColor:
    """Coloured by value."""
    return FieldColor().mode(model.FieldColorModeId.THRESHOLDS)


def shades(colour: str) -> FieldColor:
    """Lighter and darker, for each series another."""
    return FieldColor().mode(model.FieldColorModeId.SHADES).fixed_color(colour)


def fixed(colour: str) -> model.DynamicConfigValue:
    """Coloured by meaning."""
    return setting("color", {"mode": "fixed", "fixedColor": colour})


def setting(name: str, value: object) -> model.DynamicConfigValue:
    """One setting of a field, by its name in the JSON."""
    return model.DynamicConfigValue(id_val=name, value=value)


def _column_properties(column: Column) -> list[model.DynamicConfigValue]:
    found = [setting("unit", column.unit), setting("noValue", "-")]
    if column.decimals is not None:
        found.append(setting("decimals", column.decimals))
    if column.width is not None:
        found.append(setting("custom.width", column.width))
    if column.shown:
        found.append(setting("displayName", column.shown))
    if column.bar:
        found += [setting("custom.cellOptions", _BAR), setting("min", 0), fixed(BLUE)]
    return found


_BAR: Final = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}


def _transformation(name: str, options: dict[str, Any]) -> model.DataTransformerConfig:
    return model.DataTransformerConfig(id_val=name, options=options)


def _listed(name: str) -> str:
    return f"{name} (uniqueValues)"


def _list_values(ref: str, rows: Sequence[str], name: str) -> model.DataTransformerConfig:
    """Put all values that a label has in a row into one cell."""
    fields: dict[str, Any] = {row: {"aggregations": [], "operation": "groupby"} for row in rows}
    fields["Time"] = {"aggregations": [], "operation": "groupby"}
    fields[name] = {"aggregations": ["uniqueValues"], "operation": "aggregate"}
    step = _transformation("groupBy", {"fields": fields})
    step.filter_val = model.MatcherConfig(id_val="byRefId", options=ref)
    return step


def _only_with(value: str) -> model.DataTransformerConfig:
    there = {"fieldName": value, "config": {"id": "isNotNull", "options": {}}}
    return _transformation("filterByValue", {"type": "include", "match": "all", "filters": [there]})
