"""Usage: how much, by whom, from where. The page to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from grafana_foundation_sdk.builders import table

from . import panels
from .frame import bill_link, board, group_links, model_links, user_link
from .panels import COUNT, SHARE, USD, Board, Column, Grid
from .promql import GROUP, MODEL, RANKED_GROUP, SOURCE, STEP, TASK, USER_ID, USER_NAME, Window
from .queries import BEFORE, INPUT, OUTPUT, WHO, Queries

_NARROWED = "Narrowed by all dropdowns; a chosen group leaves only those who were its members."


def build(queries: Queries) -> Board:
    """The dashboard."""
    page = board(
        "usage", queries,
        "How much Open WebUI's users ask of models, who they are, and through which door they come.",
        "rank", "source", "group", "user", "model", "task",
    )  # fmt: skip
    _tiles(page, queries)
    page.row("Who, and what?")
    _rankings(page, queries)
    page.row("When, and from where?")
    _over_time(page, queries)
    return page


def _tiles(page: Board, q: Queries) -> None:
    tile = panels.tile
    page.add(
        tile("Requests", f"Calls to models, failed ones included. {_NARROWED}", {"Requests": q.requests()}, COUNT),
        tile(
            "Tokens in",
            f"Tokens that models were given, cached ones included. {_NARROWED}",
            {"Tokens in": q.tokens(only=[INPUT])}, COUNT,
        ),
        tile("Tokens out", f"Tokens that models wrote. {_NARROWED}", {"Tokens out": q.tokens(only=[OUTPUT])}, COUNT),
        tile(
            "Cost, USD",
            f"What the calls whose price is known cost, in US dollars. {_NARROWED}",
            {"Cost": q.cost()}, USD, decimals=2, empty="no priced usage",
        ),
        tile("Active users", f"People who called a model at least once. {_NARROWED}", {"Users": q.active_users()}, COUNT),
        tile(
            "Through the API",
            f"Share of the calls that came through the API, not the browser app. {_NARROWED}",
            {"API": q.api_share()}, SHARE, decimals=1,
        ),
        tile(
            "Change against the period before",
            "Growth against a period of the same length just before; minus is less. Empty where there was nothing before; too high where the data only begins there.",
            {
                "Requests": q.change(q.requests(), q.requests(window=BEFORE)),
                "Tokens in": q.change(q.tokens(only=[INPUT]), q.tokens(only=[INPUT], window=BEFORE)),
                "Tokens out": q.change(q.tokens(only=[OUTPUT]), q.tokens(only=[OUTPUT], window=BEFORE)),
                "Cost": q.change(q.cost(), q.cost(window=BEFORE)),
                "Active users": q.change(q.active_users(), q.active_users(BEFORE)),
            },
            SHARE, decimals=1, empty="nothing before", width=24, height=3,
        ),
    )  # fmt: skip


def _over_time(page: Board, q: Queries) -> None:
    step, smallest = (
        Window(STEP),
        "$sums" if q.reading.key == "recorded" else panels.EXPORT_INTERVAL,
    )
    ends, bars = "Each bar counts what came in the time that ends with it.", panels.bars_over_time
    page.add(
        bars(
            f"Over time: {_RANK} by model",
            f"The six models with most in the time range, and all others together. {ends} {_NARROWED}",
            q.top_models_over_time(), MODEL, COUNT, others=q.other_models_over_time(), step=smallest, width=12,
        ),
        bars(
            f"Over time: {_RANK} by group",
            f"The six groups with most in the time range, and all others together. A user in two groups counts in both. Not narrowed by user. {ends}",
            q.top_groups_over_time(RANKED_GROUP, step), GROUP, COUNT,
            others=q.other_groups_over_time(RANKED_GROUP, step), step=smallest, width=12,
        ),
    )  # fmt: skip
    for title, expr, unit in (
        ("Requests by source", q.requests(SOURCE, window=step), COUNT),
        ("Tokens by source", q.tokens(SOURCE, window=step), COUNT),
        ("Cost by source, USD", q.cost(SOURCE, window=step), USD),
    ):
        page.add(bars(title, f"{ends} {_NARROWED}", expr, SOURCE, unit, step=smallest))


def _rankings(page: Board, q: Queries) -> None:
    page.add(
        _top(
            "users", f"The ten who used most. Click a name for the user's own page. {_NARROWED}",
            q.top_users(), {WHO: "User", USER_ID: "ID"},
            links={"User": [user_link(q, "${__data.fields.ID}")]}, hidden=["ID"], dropped=[USER_NAME],
        ),
        _top(
            "groups",
            "A user in two groups counts in both: groups do not add up to the total. Not narrowed by user.",
            q.top_groups(), {GROUP: "Group"}, links={"Group": [bill_link(q), *group_links(q)]},
        ),
        _top("models", _NARROWED, q.top(MODEL), {MODEL: "Model"}, links={"Model": model_links(q)}),
        panels.ranking(
            f"What for? {_RANK} by task",
            f"chat is what people asked for; the others are Open WebUI's own tasks. {_NARROWED}",
            q.top(TASK), TASK, decimals=_CENTS, width=12, height=8,
        ),
        panels.ranking(
            f"From where? {_RANK} by source",
            f"ui: the browser app. api: any other client. background: nobody was waiting. {_NARROWED}",
            q.top(SOURCE), SOURCE, decimals=_CENTS, width=12, height=8,
        ),
    )  # fmt: skip


def _top(
    title: str, description: str, expr: str, rows: Mapping[str, str], **more: Any
) -> table.Panel:
    """The largest first, each with its bar, by what the dropdown "Rank by" says."""
    ranked = Column("Amount", expr, decimals=_CENTS, shown=_RANK, bar=True)
    return Grid(
        title=f"Top {title} by {_RANK}", description=description, rows=rows, columns=[ranked],
        empty=_NOTHING, width=8, height=12, **more,
    ).build()  # fmt: skip


_RANK: Final = "${rank:text}"
_CENTS: Final = 4
"""Of costs; counts have none."""
_NOTHING: Final = "no usage, or none with a known price"
