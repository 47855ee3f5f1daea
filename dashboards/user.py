"""User: what one person did."""

from __future__ import annotations

from dataclasses import replace

from . import panels
from .frame import board, model_links
from .panels import AGO, COUNT, USD, Board, Column, Grid, Levels
from .promql import ERROR, MODEL, SOURCE, TASK
from .queries import INPUT, OUTPUT, Queries


def build(queries: Queries) -> Board:
    """The dashboard."""
    queries = replace(queries, of_groups=False)
    page = board(
        "user", queries, "One person's usage by model, source and task, their errors, and their latest calls.",
        "one user", "source", "model", "task", "traces", "service",
    )  # fmt: skip
    _tiles(page, queries)
    page.row("When, and what?")
    _over_time(page, queries)
    page.row("In numbers")
    page.add(_table(queries).build(), _errors(queries).build())
    page.row("Latest calls")
    page.add(
        panels.traces(
            "Latest calls",
            "Traces that hold a call of this user, from Jaeger. Not narrowed by source, model or task.",
            'user.id="${user:raw}"',
        )
    )
    return page


def _tiles(page: Board, q: Queries) -> None:
    tile = panels.tile
    page.add(
        tile("Requests", "Calls to models, failed ones included.", {"Requests": q.requests()}, COUNT),
        tile("Tokens in", "Tokens that models were given, cached ones included.", {"Tokens in": q.tokens(only=[INPUT])}, COUNT),
        tile("Tokens out", "Tokens that models wrote.", {"Tokens out": q.tokens(only=[OUTPUT])}, COUNT),
        tile(
            "Cost, USD", "What the calls whose price is known cost, in US dollars.",
            {"Cost": q.cost()}, USD, decimals=4, empty="no priced usage",
        ),
        tile("Failed calls", "Calls that ended with an error or were given up.", {"Failed": q.no_failures()}, COUNT, levels=Levels(1, 10)),
        tile("Last seen", "The end of this user's last call.", {"Last seen": q.last_seen_milliseconds()}, AGO),
    )  # fmt: skip


def _over_time(page: Board, q: Queries) -> None:
    for by, title in ((MODEL, "model"), (SOURCE, "source"), (TASK, "task")):
        expr = q.tokens_over_time(by)
        about = "Tokens in and out. Each bar counts what came in the time that ends with it."
        page.add(panels.bars_over_time(f"Tokens by {title}", about, expr, by, COUNT))


def _table(q: Queries) -> Grid:
    by = (MODEL, SOURCE, TASK)
    return Grid(
        title="Usage by model, source and task",
        description="All calls of this user in the time range.",
        rows={MODEL: "Model", SOURCE: "Source", TASK: "Task"},
        columns=[
            Column("Requests", f"{q.requests(*by)} > 0", width=95),
            Column("Tokens in", q.tokens(*by, only=[INPUT]), width=115),
            Column("Tokens out", q.tokens(*by, only=[OUTPUT]), width=115),
            Column("Cost, USD", q.cost(*by), USD, decimals=4, width=100),
        ],
        sort="Cost, USD",
        required="Requests",
        links={"Model": model_links(q)},
        widths={"Source": 110},
        width=16,
        height=9,
    )


def _errors(q: Queries) -> Grid:
    return Grid(
        title="Errors",
        description="Calls that failed: the provider's status or code, or cancelled when the user gave up waiting.",
        rows={MODEL: "Model", ERROR: "Error"},
        columns=[Column("Failed calls", q.failures(MODEL, ERROR))],
        sort="Failed calls",
        links={"Model": model_links(q)},
        empty="no failed calls",
        width=8,
        height=9,
    )
