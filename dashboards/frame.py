"""What dashboards have in common: dropdowns, links to each other, and how they begin."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import (
    CustomVariable,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    TextBoxVariable,
)
from grafana_foundation_sdk.models import dashboard as model

from .panels import METRICS, Board
from .promql import GROUP, MODEL, TASK, USER_ID, USER_NAME
from .queries import Queries

TAG: Final = "open-webui"
SCHEMA: Final = 39
"""Dashboard schema of Grafana 10.4; newer ones migrate it when they load it."""
ALL_SOURCES: Final = "All : .*,Both (UI and API) : ui|api,UI : ui,API : api,Background : background"
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


def uid(page: str, queries: Queries) -> str:
    """The stable uid of a page."""
    key = queries.reading.key
    if key == "exact" or (key == "recorded" and page not in RECORDED_PAGES):
        return f"open-webui-{page}"
    return f"open-webui-{page}-{key}"


def board(
    page: str, queries: Queries, description: str, *dropdowns: str, since: str = "now-7d"
) -> Board:
    """An empty dashboard with its dropdowns and its links.

    Args:
        page: Its key in ``PAGES``.
        queries: The questions, in the way of reading that it is for.
        description: What it is for.
        dropdowns: Which of those in ``_DROPDOWNS`` it has.
        since: Where its time range begins.
    """
    made = Dashboard(PAGES[page] + queries.reading.title).uid(uid(page, queries))
    made = made.description(description).tags([TAG]).timezone("browser").time(since, "now")
    of_records = [_sums()] if queries.reading.key == "recorded" else []
    asked = [_DROPDOWNS[name](queries) for name in dropdowns]
    made = made.editable().variables([_metrics(), *of_records, *asked])
    built = made.build()
    built.schema_version = SCHEMA
    for other, title in PAGES.items():
        if other not in (page, "user"):
            # One user chosen there would leave one row here.
            made = made.link(_to(other, title, queries, with_choices=page != "user"))
    return Board(made)


def user_link(queries: Queries, user_id: str) -> DashboardLink:
    """Leads from a row or a bar to that user.

    Args:
        queries: The questions, whose way of reading is kept.
        user_id: What Grafana puts the id in the place of, such as ``${__data.fields.user_id}``.
    """
    url = (
        f"/d/{uid('user', queries)}?var-user={user_id}"
        "&${__url_time_range}&${datasource:queryparam}"
    )
    return DashboardLink("What this user did").url(url)


def _to(page: str, title: str, queries: Queries, *, with_choices: bool) -> DashboardLink:
    short = title.removeprefix("Open WebUI: ").capitalize()
    link = DashboardLink(short).type(model.DashboardLinkType.LINK).url(f"/d/{uid(page, queries)}")
    link = link.icon("dashboard").keep_time(True).include_vars(with_choices).tooltip(title)
    # The SDK would have newer Grafanas hide it in a menu.
    link.build().placement = ""
    return link


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


def _budget(_: Queries) -> TextBoxVariable:
    return (
        TextBoxVariable("budget").label("Budget, USD").default_value("100")
        .description("What each group may cost in a calendar month, in US dollars.")
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

_DROPDOWNS = {
    "traces": _traces,
    "source": _source,
    "group": _group,
    "user": _users,
    "one user": _one_user,
    "model": _model,
    "task": _task,
    "service": _service,
    "budget": _budget,
}
