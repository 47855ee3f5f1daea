"""Usage: how much, by whom, from where. The page to begin with."""

from __future__ import annotations

from . import panels
from .frame import board, user_link
from .panels import COUNT, SHARE, USD, Board
from .promql import GROUP, MODEL, SOURCE, STEP, TASK, Window
from .queries import BEFORE, INPUT, OUTPUT, WHO, Queries

_NARROWED = "Narrowed by all dropdowns; a chosen group leaves only those who were its members."


def build(queries: Queries) -> Board:
    """The dashboard."""
    page = board(
        "usage", queries,
        "How much Open WebUI's users ask of models, who they are, and through which door they come.",
        "source", "group", "user", "model", "task",
    )  # fmt: skip
    _tiles(page, queries)
    page.row("When, and from where?")
    _over_time(page, queries)
    page.row("Who, and what?")
    _rankings(page, queries)
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
    step = Window(STEP)
    smallest = "$sums" if q.reading.key == "recorded" else panels.EXPORT_INTERVAL
    ends = "Each bar counts what came in the time that ends with it."
    for title, expr, unit in (
        ("Requests by source", q.requests(SOURCE, window=step), COUNT),
        ("Tokens by source", q.tokens(SOURCE, window=step), COUNT),
        ("Cost by source, USD", q.cost(SOURCE, window=step), USD),
    ):
        page.add(
            panels.bars_over_time(title, f"{ends} {_NARROWED}", expr, SOURCE, unit, step=smallest)
        )


def _rankings(page: Board, q: Queries) -> None:
    to_user = user_link(q, "${__field.labels.user_id}")
    page.add(
        panels.ranking(
            "Top users by tokens", f"Tokens in and out of the ten who used most. {_NARROWED}",
            q.top_users(), WHO, links=[to_user],
        ),
        panels.ranking(
            "Top groups by tokens",
            "Tokens in and out. A user in two groups counts in both: groups do not add up to the total. Not narrowed by user.",
            q.top_groups(), GROUP,
        ),
        panels.ranking(
            "Top models by tokens", f"Tokens in and out. {_NARROWED}", q.top(MODEL), MODEL
        ),
        panels.ranking(
            "What for? Tokens by task",
            f"chat is what people asked for; the others are Open WebUI's own tasks. {_NARROWED}",
            q.top(TASK), TASK, width=12, height=8,
        ),
        panels.ranking(
            "From where? Tokens by source",
            f"ui: the browser app. api: any other client. background: nobody was waiting. {_NARROWED}",
            q.top(SOURCE), SOURCE, width=12, height=8,
        ),
    )  # fmt: skip
