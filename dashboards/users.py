"""Users: the leaderboard."""

from __future__ import annotations

from . import panels
from .frame import board, user_link
from .panels import COUNT, SHARE, TIME, USD, Board, Column, Grid
from .promql import GROUP, USER_ID, USER_NAME
from .queries import BEFORE, INPUT, OUTPUT, Queries


def build(queries: Queries) -> Board:
    """The dashboard."""
    page = board(
        "users", queries, "Everybody who called a model, with how much, from where, and at what cost.",
        "source", "group", "user", "model", "task",
    )  # fmt: skip
    q, tile = queries, panels.tile
    page.add(
        tile("Active users", "People who called a model at least once.", {"Users": q.active_users()}, COUNT, width=6),
        tile("Tokens of an active user", "On average, in and out.", {"Tokens": q.tokens_per_user()}, COUNT, decimals=0, width=6),
        tile(
            "Cost of an active user, USD", "On average, for the calls whose price is known.",
            {"Cost": q.cost_per_user()}, USD, decimals=2, empty="no priced usage", width=6,
        ),
        tile(
            "Share of the ten largest", "Which part of all tokens the ten people who used most have used.",
            {"Share": q.share_of_top_users()}, SHARE, decimals=1, width=6,
        ),
        _leaderboard(queries).build(),
    )  # fmt: skip
    return page


def _leaderboard(q: Queries) -> Grid:
    to_user = user_link(q, f"${{__data.fields.{_ID}}}")
    return Grid(
        title="Who uses how much?",
        description=(
            "Failed calls are requests, too. Groups: those of the time range. Change: requests against the "
            "period before. A user who was renamed has the newer name. Click a name for the user's own page."
        ),
        rows={USER_ID: _ID, USER_NAME: "User"},
        lists=[q.groups_of_users()],
        listed={GROUP: "Groups"},
        columns=[
            Column("Requests", f"{q.requests(USER_ID)} > 0", width=90),
            Column("Tokens in", q.tokens(USER_ID, only=[INPUT]), width=105),
            Column("Tokens out", q.tokens(USER_ID, only=[OUTPUT]), width=105),
            Column("Cost, USD", q.cost(USER_ID), USD, decimals=4, width=100),
            Column("By API", q.api_share(USER_ID), SHARE, decimals=0, width=80),
            Column("Last seen", q.last_seen_milliseconds(), TIME, width=160),
            Column(
                "Change", q.change(q.requests(USER_ID), q.requests(USER_ID, window=BEFORE)), SHARE,
                decimals=0, width=80,
            ),
        ],
        order=[
            "User", "Groups", "Requests", "Tokens in", "Tokens out", "Cost, USD", "By API",
            "Last seen", "Change", _ID,
        ],
        sort="Cost, USD",
        required="Requests",
        links={"User": [to_user], _ID: [to_user]},
        widths={"User": 170, "Groups": 165},
        height=22,
    )  # fmt: skip


_ID = "ID"
