"""Groups and chargeback: what each group has to pay for."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, stat, timeseries

from opentelemetry.instrumentation.open_webui import names

from . import panels
from .frame import MONTHS, board, group_links, model_links
from .panels import COUNT, SHARE, USD, Board, Column, Grid, Levels
from .promql import GROUP, LIMIT, LIMIT_MEASURE, MODEL, STEP, Month, Window
from .queries import ALL, INPUT, OUTPUT, TOP, Queries

_NOTE = (
    "**A user in two groups counts in both.** So groups do not add up to the total: the true total, each call "
    "counted once, stands beside them. Costs are those of calls whose price is known. **Months are whole calendar "
    "months of UTC**, by which providers bill, whatever the time range above: that in which it ends, and the three "
    "before. To export a table as CSV: its menu ⋮, *Inspect*, *Data*, *Download CSV*."
)
_TWICE = "Not to be added up over groups: a user in two groups counts in both. (none): users in no group."
_NEAR, _SPENT = 0.8, 1
_HEIGHT = 9


def build(queries: Queries) -> Board:
    """The dashboard."""
    page = board(
        "groups", queries,
        "What each group used and what it costs: this calendar month to date, and the months before.",
        "months", "source", "group", "model", "task", since="now/M", timezone="utc",
    )  # fmt: skip
    page.add(panels.note("How to read this", "What the numbers mean.", _NOTE, height=4))
    for month in MONTHS:
        _month(page, queries, month)
    page.row("Limits")
    page.add(_limits(queries).build())
    page.row("The chosen time range")
    page.add(
        _true_total(queries, "True total", ALL),
        _groups(queries).build(),
        _models(queries).build(),
        _per_day(queries),
    )
    return page


def _month(page: Board, q: Queries, month: Month) -> None:
    name = f"${{{month.start}:text}}"
    page.row(name)
    page.add(
        _true_total(q, f"{name}: true total", month.window),
        _bill(q, name, month).build(),
        _models(q, f"{name}, by", month).build(),
    )
    if not month.back:
        page.add(_budgets(q, name, month))


def _true_total(q: Queries, title: str, window: Window) -> stat.Panel:
    tokens = names.USAGE_TOKENS
    return panels.tile(
        title, "Each call counted once, whatever groups its user is in. Not narrowed by group.",
        {
            "Cost, USD": q.true_total(names.USAGE_COST, window=window),
            "Requests": q.true_total(names.USAGE_REQUESTS, window=window),
            "Tokens in": q.true_total(tokens, INPUT, window=window),
            "Tokens out": q.true_total(tokens, OUTPUT, window=window),
        },
        COUNT, width=24, height=3,
    ).override_by_name(
        "Cost, USD", [panels.setting("unit", USD), panels.setting("decimals", 2)]
    )  # fmt: skip


def _columns(q: Queries, *by: str, window: Window = ALL) -> list[Column]:
    tokens = names.GROUP_TOKENS
    return [
        Column("Cost, USD", q.group(names.GROUP_COST, *by, window=window), USD, decimals=4, width=95),
        Column("Requests", f"{q.group(names.GROUP_REQUESTS, *by, window=window)} > 0", width=78),
        Column("Tokens in", q.group(tokens, *by, only=[INPUT], window=window), width=92),
        Column("Tokens out", q.group(tokens, *by, only=[OUTPUT], window=window), width=92),
    ]  # fmt: skip


def _bill(q: Queries, name: str, month: Month) -> Grid:
    cost, *others = _columns(q, GROUP, window=month.window)
    return Grid(
        title=f"{name}, by group",
        description=(
            "Used and Left: of the group's budget, which its limit says (docs/limits.md), else prometheus/budgets.yaml. "
            f"{_TWICE}"
        ),
        rows={GROUP: "Group"},
        columns=[
            cost,
            Column("Used", q.budget_used(month), SHARE, decimals=1, width=70),
            Column("Left, USD", q.budget_left(month), USD, decimals=2, width=90),
            Column("Budget, USD", q.budget(month), USD, decimals=0, width=100),
            *others,
        ],
        sort="Cost, USD",
        levels={"Used": Levels(_NEAR, _SPENT)},
        required="Requests",
        links={"Group": group_links(q, month)},
        width=13,
        height=_HEIGHT,
    )


def _limits(q: Queries) -> Grid:
    return Grid(
        title="Limits",
        description=(
            "What Open WebUI enforces (docs/limits.md), of the hour, day, week or month that is running: of a shared "
            "limit what all have used, else what the one has who has used most. In requests, tokens or USD."
        ),
        rows={LIMIT: "Limit", LIMIT_MEASURE: "Measure"},
        columns=[
            Column("Share", q.limit_used(), SHARE, decimals=1, width=80),
            Column("Used", q.limit(names.LIMIT_USED), decimals=2, width=110),
            Column("Allowed", q.limit(names.LIMIT_ALLOWED), decimals=2, width=110),
            Column("Refused", q.limit_refused(), width=90),
        ],
        sort="Share",
        levels={"Share": Levels(_NEAR, _SPENT)},
        required="Allowed",
        empty="No limits are set, or nobody has called since.",
        height=7,
    )


def _groups(q: Queries) -> Grid:
    return Grid(
        title="By group",
        description=_TWICE,
        rows={GROUP: "Group"},
        columns=_columns(q, GROUP),
        sort="Cost, USD",
        required="Requests",
        links={"Group": group_links(q)},
        width=13,
        height=_HEIGHT,
    )


def _models(q: Queries, title: str = "By", month: Month | None = None) -> Grid:
    return Grid(
        title=f"{title} group and model",
        description=_TWICE,
        rows={GROUP: "Group", MODEL: "Model"},
        columns=_columns(q, GROUP, MODEL, window=month.window if month else ALL),
        sort="Cost, USD",
        required="Requests",
        links={"Group": group_links(q, month), "Model": model_links(q, month)},
        widths={"Group": 115},
        width=11,
        height=_HEIGHT,
    )


def _budgets(q: Queries, name: str, month: Month) -> bargauge.Panel:
    panel = panels.ranking(
        f"{name}: how much of its budget has each group used?",
        "Cost against each group's own budget, for the ten groups that used most of it. 100 % is all of it.",
        f"sort_desc(topk({TOP}, {q.budget_used(month)}))", GROUP, SHARE, decimals=1, width=24, height=_HEIGHT,
    )  # fmt: skip
    return panel.max(1).thresholds(panels.thresholds(Levels(_NEAR, _SPENT)))


def _per_day(q: Queries) -> timeseries.Panel:
    day = Window(STEP, after=True)
    return panels.bars_over_time(
        "Cost of each day by group, USD",
        "Each bar is the cost of the day (UTC) that begins there, today's so far: of the six groups that cost most in the time range, and of all others together.",
        q.top_groups_over_time(names.GROUP_COST, day), GROUP, USD,
        others=q.other_groups_over_time(names.GROUP_COST, day), step="1d", width=24, height=9,
    )  # fmt: skip
