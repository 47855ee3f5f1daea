"""Models: how they do, what they cost, how they fail."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from opentelemetry.instrumentation.open_webui import names

from . import panels
from .frame import board, model_links
from .panels import COUNT, SECONDS, SHARE, USD, Board, Column, Grid, Levels
from .promql import ERROR, MODEL
from .queries import Queries

_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_COLOURS = {"p50": "green", "p95": "yellow", "p99": "red"}


def build(queries: Queries) -> Board:
    """The dashboard."""
    page = board(
        "models", queries, "How fast, how reliable and how dear each model is.",
        "source", "model", "task",
    )  # fmt: skip
    page.add(_table(queries).build())
    page.row("How long do people wait?")
    _over_time(page, queries)
    page.row("What goes wrong?")
    page.add(_errors_over_time(queries), _errors(queries).build())
    return page


def _table(q: Queries) -> Grid:
    return Grid(
        title="Which model does how well?",
        description=(
            "Times are of calls that succeeded, read from histogram buckets: right to about the next bucket. "
            "Tokens per second: written in a second of the whole call, waiting included. Cached: share of the "
            "input tokens that came from the provider's cache."
        ),
        rows={MODEL: "Model"},
        columns=[
            Column("Requests", f"{q.model_requests(MODEL)} > 0", width=95),
            Column("Failed", q.error_share(MODEL), SHARE, decimals=1, width=80),
            *(
                Column(
                    f"Duration {name}",
                    q.quantile(names.DURATION, share),
                    SECONDS,
                    decimals=2,
                    width=120,
                )
                for name, share in _SHARES.items()
            ),
            Column(
                "First chunk p95",
                q.quantile(names.FIRST_CHUNK, 0.95),
                SECONDS,
                decimals=2,
                width=130,
            ),
            Column("Tokens per second", q.output_speed(), COUNT, decimals=0, width=150),
            Column("Cost, USD", q.model_cost(), USD, decimals=4, width=100),
            Column("USD per 1,000 calls", q.cost_per_1000_requests(), USD, decimals=4, width=150),
            Column("Cached", q.cached_share(), SHARE, decimals=1, width=80),
        ],
        sort="Cost, USD",
        required="Requests",
        links={"Model": model_links(q)},
        levels={"Failed": Levels(0.05, 0.2)},
        height=9,
    )


def _over_time(page: Board, q: Queries) -> None:
    def of_all(metric: names.Metric) -> dict[str, str]:
        return {name: q.quantile_over_time(metric, share) for name, share in _SHARES.items()}

    lines, by_model = panels.lines_over_time, panels.of(MODEL)
    page.add(
        lines(
            "Duration, all chosen models", "Calls that succeeded. Diamonds are single calls: click one for its trace.",
            of_all(names.DURATION), SECONDS, exemplars=True, colours=_COLOURS,
        ),
        lines(
            "Time to first chunk, all chosen models",
            "Of streamed answers. Diamonds are single calls: click one for its trace.",
            of_all(names.FIRST_CHUNK), SECONDS, exemplars=True, colours=_COLOURS,
        ),
        lines(
            "Duration p95 by model", "The time within which 95 of 100 calls succeeded.",
            {by_model: q.quantile_over_time(names.DURATION, 0.95, MODEL)}, SECONDS,
        ),
        lines(
            "Tokens per second by model", "Output tokens written in a second of the whole call, waiting included.",
            {by_model: q.output_speed_over_time()}, COUNT,
        ),
    )  # fmt: skip


def _errors_over_time(q: Queries) -> timeseries.Panel:
    return panels.bars_over_time(
        "Failed calls by error", "The provider's status or code; cancelled: whoever waited gave up.",
        q.errors_over_time(), ERROR, COUNT, width=12,
    ).no_value("no failed calls").color_scheme(panels.shades("red"))  # fmt: skip


def _errors(q: Queries) -> Grid:
    return Grid(
        title="Failed calls by model and error",
        description="All failed calls of the time range.",
        rows={MODEL: "Model", ERROR: "Error"},
        columns=[Column("Failed calls", q.errors())],
        sort="Failed calls",
        links={"Model": model_links(q)},
        empty="no failed calls",
        width=12,
        height=8,
    )
