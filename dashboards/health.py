"""Truth and health: whether the numbers on the other pages can be relied on."""

from __future__ import annotations

from opentelemetry.instrumentation.open_webui import names

from . import panels
from .frame import board, model_links
from .panels import COUNT, SECONDS, SHARE, Board, Column, Grid, Levels
from .promql import MODEL, PROVIDER
from .queries import Queries

_NO_COLLECTOR = "no collector"
_NO_LEDGER = "no ledger"


def build(queries: Queries) -> Board:
    """The dashboard."""
    page = board(
        "health",
        queries,
        "What is estimated, unpriced, unknown, folded, late or lost.",
        since="now-24h",
    )
    _truth(page, queries)
    page.add(
        panels.alert_list(
            "Alerts",
            "Those of ours that fire, or are about to: docs/alerts.md says what to do. Needs the rules in prometheus/rules.",
            "OpenWebUI",
        )
    )
    page.row("Which calls?")
    _tables(page, queries)
    page.row("From Open WebUI to the collector")
    _exports(page, queries)
    page.row("The collector")
    _collector(page, queries)
    page.row("The ledger in a database of Open WebUI (LEDGER=true)")
    _ledger(page, queries)
    return page


def _truth(page: Board, q: Queries) -> None:
    tile = panels.tile
    page.add(
        tile(
            "Age of the newest data", "Since any Open WebUI was last heard of. More than a few minutes: telemetry is cut off.",
            {"Age": q.age()}, SECONDS, decimals=0, empty="none for a day", levels=Levels(300, 900),
        ),
        tile("Processes that report", "Workers and replicas of Open WebUI that are heard of now.", {"Processes": q.processes()}, COUNT, empty="none"),
        tile(
            "On unknown paths", "They are counted, with less detail. Some: a path is new in Open WebUI; please tell us.",
            {"Calls": q.no_unknown_calls()}, COUNT, levels=Levels(1, 100),
        ),
        tile(
            "Tokens estimated", "Share of the tokens that a provider did not report, so that they were estimated.",
            {"Share": q.estimated_share()}, SHARE, decimals=1, levels=Levels(0.05, 0.2),
        ),
        tile(
            "Calls without a price", "Share of the calls that used something and have no known price: cost is too low.",
            {"Share": q.unpriced_share()}, SHARE, decimals=1, levels=Levels(0.1, 0.5),
        ),
        tile(
            "Folded calls", "Calls of users beyond OTEL_PYTHON_OPEN_WEBUI_SERIES_LIMIT. Totals stay right; raise the limit.",
            {"Calls": q.folded_calls()}, COUNT, levels=Levels(1, 100),
        ),
        tile(
            "Lost on the way out", "Spans and events that Open WebUI could not export: their lines are missing in the ledger. Totals are not touched.",
            {"Items": q.dropped_items()}, COUNT, levels=Levels(1, 100),
        ),
    )  # fmt: skip


def _tables(page: Board, q: Queries) -> None:
    rows = {MODEL: "Model", PROVIDER: "Provider"}
    by = tuple(rows)
    page.add(
        Grid(
            title="Which models are estimated or unpriced?",
            description="Share of each model's tokens that is estimated, and of its calls that has no price.",
            rows=rows,
            columns=[
                Column("Tokens estimated", q.estimated_share(*by), SHARE, decimals=1),
                Column("Calls without a price", q.unpriced_share(*by), SHARE, decimals=1),
            ],
            sort="Calls without a price",
            links={"Model": model_links(q, of_sources=False)},
            width=14,
        ).build(),
        Grid(
            title="Calls on unknown paths",
            description="By model. The log of Open WebUI names the route, once.",
            rows=rows,
            columns=[Column("Calls", f"{q.unknown_calls(*by)} > 0")],
            sort="Calls",
            links={"Model": model_links(q, of_sources=False)},
            empty="none",
            width=10,
        ).build(),
    )


def _exports(page: Board, q: Queries) -> None:
    lines = panels.lines_over_time
    page.add(
        lines(
            "Failed exports", "Refused by the collector or not answered, tried again and given up. Of metrics nothing is lost by it: the next export tells the totals.",
            {"{{open_webui_signal}}": q.failed_exports()}, COUNT,
        ).min(0),
        lines(
            "Dropped data points, spans and events", "queue_full: they came faster than they could be exported. export_failed: their export was given up.",
            {"{{open_webui_signal}}: {{error_type}}": q.dropped()}, COUNT,
        ).min(0),
    )  # fmt: skip


def _collector(page: Board, q: Queries) -> None:
    lines = panels.lines_over_time
    lost = {
        verb: q.collector_lost(metric)
        for verb, metric in (
            ("refused", "receiver_refused"),
            ("not queued", "exporter_enqueue_failed"),
            ("failed to send", "exporter_send_failed"),
        )
    }
    page.add(
        lines(
            "How full are the queues?", "Share of each queue's capacity. Full: what comes next is lost.",
            {"{{exporter}}: {{data_type}}": q.queue_used()}, SHARE,
        ).no_value(_NO_COLLECTOR).min(0).axis_soft_max(1),
        lines(
            "Refused, not queued, and failed items",
            "Refused: Open WebUI tries again for a while. Not queued: lost. Failed to send: the back end refused it for good. Metric points, spans and events together.",
            lost, COUNT,
        ).no_value(_NO_COLLECTOR).min(0),
    )  # fmt: skip


def _ledger(page: Board, q: Queries) -> None:
    tile, lines = panels.tile, panels.lines_over_time
    page.add(
        tile(
            "Calls written to the ledger", "In the time range, by all processes.",
            {"Calls": q.booked(names.LEDGER_WRITTEN)}, COUNT, empty=_NO_LEDGER, width=5,
        ),
        tile(
            "Calls in memory for the ledger", "Ended, and not in the database yet. More than those of a moment: it is slow or away.",
            {"Calls": q.ledger_queue()}, COUNT, empty=_NO_LEDGER, levels=Levels(1_000, 50_000), width=5,
        ),
        tile(
            "Files of calls that wait", "For a database that is away, in DATA_DIR. They are written when it is back.",
            {"Files": q.ledger_files()}, COUNT, empty=_NO_LEDGER, levels=Levels(1, 100), width=5,
        ),
        tile(
            "Waiting for the ledger since", "How long the oldest call that is not in the database has waited.",
            {"Time": q.ledger_behind()}, SECONDS, decimals=0, empty=_NO_LEDGER, levels=Levels(60, 300), width=5,
        ),
        tile(
            "Lost for the ledger", "Calls for which there was no room while the database was away, or that it does not take.",
            {"Calls": q.booked(names.LEDGER_LOST)}, COUNT, empty=_NO_LEDGER, levels=Levels(1, 100),
        ),
        lines(
            "How many calls are written each second?", "Of each process; and those that were put in a file first.",
            {
                "{{instance}}": q.booked_each_second(names.LEDGER_WRITTEN),
                "{{instance}}, to a file": q.booked_each_second(names.LEDGER_SPOOLED),
            },
            COUNT,
        ).no_value(_NO_LEDGER).min(0),
        lines(
            "How long has the oldest call waited?", "Of each process. It grows while the database is away.",
            {"{{instance}}": q.ledger_behind("instance")}, SECONDS,
        ).no_value(_NO_LEDGER).min(0),
    )  # fmt: skip
