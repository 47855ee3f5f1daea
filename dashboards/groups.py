"""Groups and chargeback: what each group has to pay for."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, timeseries

from opentelemetry.instrumentation.open_webui import names

from . import panels
from .frame import board
from .panels import COUNT, SHARE, USD, Board, Column, Grid, Levels
from .promql import GROUP, MODEL, STEP, Window
from .queries import INPUT, OUTPUT, TOP, Queries

_NOTE = (
    "**A user in two groups counts in both.** So groups do not add up to the total: the true total, each call "
    "counted once, stands beside this. Costs are those of calls whose price is known. To export a table as CSV: "
    "its menu ⋮, *Inspect*, *Data*, *Download CSV*."
)
_MONTHS = (("Last month", "1M/M"), ("The month before last", "2M/M"), ("Three months ago", "3M/M"))


def build(queries: Queries) -> Board:
    """The dashboard."""
    page = board(
        "groups", queries,
        "What each group used and what it costs: this calendar month to date, and the months before.",
        "source", "group", "model", "task", "budget", since="now/M",
    )  # fmt: skip
    _head(page, queries)
    page.row("Month to date (or the chosen time range)")
    page.add(
        _groups(queries).build(), _budget(queries), _models(queries).build(), _per_day(queries)
    )
    for title, shift in _MONTHS:
        page.row(f"{title}: the whole calendar month")
        page.add(_groups(queries, title, shift).build(), _models(queries, title, shift).build())
    return page


def _head(page: Board, q: Queries) -> None:
    truth = "Each call counted once, whatever groups its user is in. Not narrowed by group."
    tokens = names.USAGE_TOKENS
    page.add(
        panels.note("How to read this", "What the numbers mean.", _NOTE),
        panels.tile("True total: requests", truth, {"Requests": q.true_total(names.USAGE_REQUESTS)}, COUNT, width=6),
        panels.tile("True total: tokens in", truth, {"Tokens in": q.true_total(tokens, INPUT)}, COUNT, width=6),
        panels.tile("True total: tokens out", truth, {"Tokens out": q.true_total(tokens, OUTPUT)}, COUNT, width=6),
        panels.tile(
            "True total: cost, USD", truth, {"Cost": q.true_total(names.USAGE_COST)}, USD,
            decimals=2, empty="no priced usage", width=6,
        ),
    )  # fmt: skip


def _columns(q: Queries, *by: str) -> list[Column]:
    return [
        Column("Cost, USD", q.group(names.GROUP_COST, *by), USD, decimals=4, width=95),
        Column("Requests", f"{q.group(names.GROUP_REQUESTS, *by)} > 0", width=85),
        Column("Tokens in", q.group(names.GROUP_TOKENS, *by, only=[INPUT]), width=105),
        Column("Tokens out", q.group(names.GROUP_TOKENS, *by, only=[OUTPUT]), width=105),
    ]


def _groups(q: Queries, when: str = "", shift: str = "") -> Grid:
    cost, *others = _columns(q, GROUP)
    used = Column("Of budget", q.budget_used(), SHARE, decimals=1, width=95)
    return Grid(
        title=f"{when}, by group" if when else "By group",
        description="Not to be added up: a user in two groups counts in both. (none): users in no group.",
        rows={GROUP: "Group"},
        columns=[cost, used, *others],
        sort="Cost, USD",
        levels={"Of budget": Levels(0.8, 1)},
        required="Requests",
        width=12,
        height=7 if shift else 9,
        shift=shift,
    )


def _models(q: Queries, when: str = "", shift: str = "") -> Grid:
    return Grid(
        title=f"{when}, by group and model" if when else "By group and model",
        description="Not to be added up over groups: a user in two groups counts in both.",
        rows={GROUP: "Group", MODEL: "Model"},
        columns=_columns(q, GROUP, MODEL),
        sort="Cost, USD",
        required="Requests",
        width=12,
        height=7 if shift else 9,
        shift=shift,
    )


def _budget(q: Queries) -> bargauge.Panel:
    panel = panels.ranking(
        "How much of its budget has each group used?",
        "Cost against the budget that you set above, for the ten groups that used most of it. 100 % is all of it.",
        f"sort_desc(topk({TOP}, {q.budget_used()}))", GROUP, SHARE, decimals=1, width=12, height=9,
    )  # fmt: skip
    return panel.max(1).thresholds(panels.thresholds(Levels(0.8, 1)))


def _per_day(q: Queries) -> timeseries.Panel:
    by_day = q.group(names.GROUP_COST, GROUP, window=Window(STEP, after=True))
    return panels.lines_over_time(
        "Cost of each day against the budget, USD",
        "Each point is the cost of the day that begins there, today's so far. Dashed: the budget of a group, divided by the days of the month.",
        {panels.of(GROUP): by_day, "Budget of a day": q.budget_of_a_day()},
        USD, step="1d", height=9,
    ).min(0).override_by_name("Budget of a day", [
        panels.fixed("red"),
        panels.setting("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
    ])  # fmt: skip
