"""What dashboards have in common: dropdowns, links to each other, and how they begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import quote_plus

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    CustomVariable,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    TextBoxVariable,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from .panels import METRICS, Board
from .promql import GROUP, MODEL, TASK, USER_ID, USER_NAME, Month, Recorded
from .queries import Queries

TAG: Final = "open-webui"
SCHEMA: Final = 39
"""Dashboard schema of Grafana 10.4; newer ones migrate it when they load it."""
ALL_SOURCES: Final = "All : .*,Both (UI and API) : ui|api,UI : ui,API : api,Background : background"
RANKS: Final = "cost in USD : cost,tokens : tokens,requests : requests"
PAGES: Final = {
    "usage": "Open WebUI: usage",
    "users": "Open WebUI: users",
    "user": "Open WebUI: one user",
    "groups": "Open WebUI: groups and chargeback",
    "models": "Open WebUI: models",
    "health": "Open WebUI: truth and health",
}
RECORDED_PAGES: Final = ("usage", "users", "groups")
"""Those that records make quick. The others ask little, or what is not recorded."""
MONTHS: Final = tuple(map(Month, range(4)))
"""This month and the three before."""
MONTH_LINKS: Final = {"This month": ("now/M", "now"), "Last month": ("now-1M/M", "now-1M/M")}
"""Time ranges that are one click away, as Grafana writes their beginning and end."""
OWN_VALUE: Final = "${__value.raw:percentencode}"
"""What a cell holds, for an address. Of what Grafana 10 knows, no other is encoded."""


def uid(page: str, queries: Queries) -> str:
    """The stable uid of a page. Links stay within a set, as only one may be there."""
    key = queries.reading.key
    return f"open-webui-{page}" if key == "exact" else f"open-webui-{page}-{key}"


def board(
    page: str, queries: Queries, description: str, *dropdowns: str,
    since: str = "now-7d", timezone: str = "browser",
) -> Board:  # fmt: skip
    """An empty dashboard with its dropdowns and its links.

    Args:
        page: Its key in ``PAGES``.
        queries: The questions, in the way of reading that it is for.
        description: What it is for.
        dropdowns: Which of those in ``_DROPDOWNS`` it has.
        since: Where its time range begins.
        timezone: In which time zone it shows times, as Grafana writes them.
    """
    made = Dashboard(PAGES[page] + queries.reading.title).uid(uid(page, queries))
    made = made.description(description).tags([TAG]).timezone(timezone).time(since, "now")
    of_records = [_sums()] if isinstance(queries.reading, Recorded) else []
    asked = [one for name in dropdowns for one in _DROPDOWNS[name](queries)]
    made = made.editable().variables([_metrics(), *of_records, *asked])
    made = made.tooltip(model.DashboardCursorSync.CROSSHAIR)
    made.build().schema_version = SCHEMA
    for happening in _happenings(queries):
        made = made.annotation(happening)
    for link in _links(page, queries):
        made = made.link(link)
    return Board(made)


def _links(page: str, queries: Queries) -> Iterator[DashboardLink]:
    for other, title in PAGES.items():
        if other not in (page, "user"):
            # One user chosen there would leave one row here.
            yield _to(other, title, queries, with_choices=page != "user")
    if page in ("usage", "users"):
        for title, (since, until) in MONTH_LINKS.items():
            url = f"/d/{uid(page, queries)}?from={quote_plus(since)}&to={quote_plus(until)}"
            yield _link(title, url, f"{title}, by the calendar").include_vars(True)


def user_link(queries: Queries, user_id: str) -> DashboardLink:
    """Leads from a row to that user.

    Args:
        queries: The questions, whose way of reading is kept.
        user_id: What Grafana puts the id in the place of, such as ``${__data.fields.user_id}``.
    """
    return _drill("What this user did", queries, "user", "user", user_id)


def group_links(queries: Queries, month: Month | None = None) -> list[DashboardLink]:
    """Lead from the cell with the name of a group to its members, and to what they used.

    Args:
        queries: The questions, whose way of reading is kept.
        month: Which month they are to show, if not the time range.
    """
    return [
        _drill("Who was in this group, and used how much?", queries, "users", "group", month=month),
        _drill("What this group used", queries, "usage", "group", month=month),
    ]


def model_links(
    queries: Queries, month: Month | None = None, *, of_sources: bool = True
) -> list[DashboardLink]:
    """Lead from the cell with the name of a model to how it did, and to who used it.

    Args:
        queries: The questions, whose way of reading is kept.
        month: Which month they are to show, if not the time range.
        of_sources: Whether the page has the dropdown "Source", whose choice is kept.
    """
    return [
        _drill(title, queries, page, "model", month=month, of_sources=of_sources)
        for title, page in (("Who used this model?", "users"), ("How this model did", "models"))
    ]


def bill_link(queries: Queries) -> DashboardLink:
    """Leads from the cell with the name of a group to what it has to pay for."""
    return _drill("What this group costs", queries, "groups", "group")


def _drill(
    title: str, queries: Queries, page: str, variable: str, value: str = OWN_VALUE,
    *, month: Month | None = None, of_sources: bool = True,
) -> DashboardLink:  # fmt: skip
    when = f"from=${{{month.start}:raw}}000&to=${{{month.end}:raw}}000" if month else _SAME_TIME
    url = f"/d/{uid(page, queries)}?var-{variable}={value}&{when}&${{datasource:queryparam}}"
    return DashboardLink(title).url(f"{url}&${{source:queryparam}}" if of_sources else url)


_SAME_TIME: Final = "${__url_time_range}"


def _to(page: str, title: str, queries: Queries, *, with_choices: bool) -> DashboardLink:
    short = title.removeprefix("Open WebUI: ").capitalize()
    link = _link(short, f"/d/{uid(page, queries)}", title)
    return link.icon("dashboard").keep_time(True).include_vars(with_choices)


def _link(title: str, url: str, tooltip: str) -> DashboardLink:
    link = DashboardLink(title).type(model.DashboardLinkType.LINK).url(url).tooltip(tooltip)
    # The SDK would have newer Grafanas hide it in a menu.
    link.build().placement = ""
    return link


def _happenings(queries: Queries) -> list[AnnotationQuery]:
    return [
        _marks("Restarts", "A process of Open WebUI began: {{job}}", "purple", queries.restarts()),
        _marks("Prices", "The price file was changed", "yellow", queries.price_changes()),
    ]


def _marks(name: str, title: str, colour: str, expr: str) -> AnnotationQuery:
    """Lines in graphs at the times that a query tells."""
    marks = AnnotationQuery().name(name).enable(True).icon_color(colour).datasource(METRICS)
    marks = marks.expr(expr).step("60s").title_format(title).use_value_for_time(True)
    marks.build().placement = ""
    return marks


def _metrics() -> DatasourceVariable:
    return (
        DatasourceVariable("datasource").label("Metrics").type("prometheus")
        .description("A Prometheus, or what speaks its language.")
        .current(model.VariableOption(text="default", value="default"))
    )  # fmt: skip


def _traces(_: Queries) -> DatasourceVariable:
    return (
        DatasourceVariable("traces").label("Traces").type("jaeger")
        .description("The Jaeger that has the traces of calls.")
        .current(model.VariableOption(text="default", value="default"))
    )  # fmt: skip


def _source(_: Queries) -> CustomVariable:
    return (
        CustomVariable("source").label("Source").values(ALL_SOURCES).allow_custom_value(False)
        .description("From where models were called: the browser app, the API, or nobody waiting.")
        .current(model.VariableOption(text="All", value=".*"))
    )  # fmt: skip


def _asked(name: str, title: str, description: str, query: str, regex: str) -> QueryVariable:
    return (
        QueryVariable(name).label(title).description(description).datasource(METRICS)
        .allow_custom_value(False)
        .query({"query": f"query_result({query})", "refId": f"variable-{name}"}).regex(regex)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    )  # fmt: skip


def _several(variable: QueryVariable) -> QueryVariable:
    everything = model.VariableOption(text="All", value="$__all")
    return variable.multi(True).include_all(True).all_value(".*").current(everything)


def _group(queries: Queries) -> QueryVariable:
    query = queries.seen_in_groups(GROUP)
    about = "Groups whose members called a model in the time range."
    return _several(_asked("group", "Group", about, query, _value_of(GROUP)))


def _model(queries: Queries) -> QueryVariable:
    about = "Models that were called in the time range."
    return _several(
        _asked("model", "Model", about, queries.seen_in_groups(MODEL), _value_of(MODEL))
    )


def _task(queries: Queries) -> QueryVariable:
    about = "What models were called for in the time range: chat, or one of Open WebUI's own tasks."
    return _several(_asked("task", "Task", about, queries.seen_in_groups(TASK), _value_of(TASK)))


def _rank(_: Queries) -> CustomVariable:
    return (
        CustomVariable("rank").label("Rank by").values(RANKS).allow_custom_value(False)
        .description("By what users, groups and models are ranked.")
        .current(model.VariableOption(text="cost in USD", value="cost"))
    )  # fmt: skip


def _hidden(name: str, about: str, query: str, regex: str) -> QueryVariable:
    """A variable for queries, not people. An address must not bring an old value."""
    variable = _asked(name, name, about, query, regex).hide(model.VariableHide.HIDE_VARIABLE)
    variable.build().skip_url_sync = True
    return variable


def _months(queries: Queries) -> Iterator[QueryVariable]:
    this, *earlier = MONTHS
    yield from _month(this, queries)
    about = "When the month after that in which the time range ends begins, in Unix time."
    yield _hidden(this.end, about, queries.next_month(), _NUMBER)
    for month in earlier:
        yield from _month(month, queries)


def _month(month: Month, queries: Queries) -> Iterator[QueryVariable]:
    about = f"A calendar month (UTC), {month.back} before that in which the time range ends"
    yield _hidden(month.start, f"{about}: when it began.", queries.month(month.back), _NAMED_MONTH)
    yield _hidden(month.days, f"{about}: how many days it has.", queries.days(month.back), _NUMBER)


_NAMED_MONTH: Final = '/="(?<text>[^"]*)"\\} (?<value>\\d+) /'
_NUMBER: Final = "/\\} (\\d+) /"


def _users(queries: Queries) -> QueryVariable:
    about = "Users, of the chosen groups, who called a model in the time range."
    return _several(_asked("user", "User", about, queries.seen_users(), _NAMED_USER))


def _one_user(queries: Queries) -> QueryVariable:
    about = "Whose usage this is: users who called a model in the time range."
    return _asked("user", "User", about, queries.seen_users(), _NAMED_USER)


def _service(_: Queries) -> TextBoxVariable:
    return (
        TextBoxVariable("service").label("Service").default_value("open-webui")
        .description("The service name (OTEL_SERVICE_NAME) under which Open WebUI's traces are.")
    )  # fmt: skip


def _sums() -> CustomVariable:
    return (
        CustomVariable("sums").label("Sums of").values("Hours : 1h,Days : 1d")
        .allow_custom_value(False)
        .description("Whether to add up the records of hours, or those of days for long ranges.")
        .current(model.VariableOption(text="Hours", value="1h"))
    )  # fmt: skip


def _value_of(name: str) -> str:
    """Takes the value out of what Grafana makes of a result: {name="value"} number time."""
    return f'/{name}="(?<text>.*)"\\}} /'


_NAMED_USER: Final = f'/{USER_ID}="(?<value>[^"]*)"(?:,{USER_NAME}="(?<text>.*)")?\\}} /'


def _one(
    make: Callable[[Queries], Builder[model.VariableModel]],
) -> Callable[[Queries], Iterator[Builder[model.VariableModel]]]:
    return lambda queries: iter([make(queries)])


_DROPDOWNS: Final[Mapping[str, Callable[[Queries], Iterator[Builder[model.VariableModel]]]]] = {
    "traces": _one(_traces),
    "rank": _one(_rank),
    "source": _one(_source),
    "group": _one(_group),
    "user": _one(_users),
    "one user": _one(_one_user),
    "model": _one(_model),
    "task": _one(_task),
    "service": _one(_service),
    "months": _months,
}
