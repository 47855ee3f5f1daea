"""The tables that people ask for, drawn for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from demo.figures import BILLION, NOTHING, Amount, Figures, Key, Report, summed

AMOUNTS = ("requests", "failed", "input tokens", "output tokens", "cost in USD", "unpriced")
GAP = "  "


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first `texts` columns are words, the others numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    note: str = ""


def all_tables(report: Report) -> str:
    """All tables, one below the other."""
    tables = (
        by_user(report),
        by_group(report),
        by_model(report),
        by_source(report),
        by_task(report),
        ui_against_api(report),
    )
    return "\n\n".join(drawn(table) for table in tables)


def by_user(report: Report) -> Table:
    """Who used how much, and how much of it by API."""
    rows = [
        (
            report.names[user],
            ", ".join(report.groups_of(user)),
            *numbers(amount),
            share(api_only(report.users, user).tokens, amount.tokens),
        )
        for user, amount in summed(report.users, lambda key: key.who)
    ]
    total = report.total
    last = ("all", "", *numbers(total), share(api_only(report.users).tokens, total.tokens))
    return Table("By user", ("user", "groups", *AMOUNTS, "tokens by API"), [*rows, last], 2)


def by_group(report: Report) -> Table:
    """Which group used how much."""
    rows = [
        (group, str(sum(name == group for _, name in report.members)), *numbers(amount)[:-1])
        for group, amount in summed(report.groups, lambda key: key.who)
    ]
    return Table(
        "By group",
        # Calls without a price are told by user.
        ("group", "users", *AMOUNTS[:-1]),
        rows,
        note="Who is in two groups counts in both: groups are not to be added up.",
    )


def by_model(report: Report) -> Table:
    """What the provider was asked for, and what people had picked."""
    rows = [
        (model, picked, *numbers(amount))
        for (model, picked), amount in summed(report.users, lambda key: (key.model, key.picked))
    ]
    return Table("By model", ("requested model", "picked in Open WebUI", *AMOUNTS), rows, 2)


def by_source(report: Report) -> Table:
    """From where the calls came."""
    return with_share("By source", "source", summed(report.users, lambda key: key.source))


def by_task(report: Report) -> Table:
    """What the calls were for."""
    return with_share("By task", "task", summed(report.users, lambda key: key.task))


def with_share(title: str, label: str, sums: Iterable[tuple[str, Amount]]) -> Table:
    """A table by one tag with the share of all tokens."""
    found = list(sums)
    total = sum((amount for _, amount in found), NOTHING)
    rows = [(name, *numbers(amount), share(amount.tokens, total.tokens)) for name, amount in found]
    return Table(title, (label, *AMOUNTS, "of tokens"), rows)


def ui_against_api(report: Report) -> Table:
    """Who uses which model from where: requests and tokens side by side."""
    rows = []
    for (user, picked), amount in summed(report.users, lambda key: (key.who, key.picked)):
        sides = [one_side(report.users, user, picked, source) for source in ("ui", "api")]
        counts = [number(side.requests) for side in sides] + [number(side.tokens) for side in sides]
        name = report.names[user]
        rows.append((name, picked, *counts, share(sides[1].tokens, amount.tokens)))
    rows.sort(key=lambda row: row[0])
    header = (
        "user",
        "picked",
        "UI requests",
        "API requests",
        "UI tokens",
        "API tokens",
        "tokens by API",
    )
    return Table("UI against API: who uses which model from where", header, rows, 2)


def one_side(figures: Figures, user: str, picked: str, source: str) -> Amount:
    """What a user used of a picked model from one source."""
    return total_of(
        amount
        for key, amount in figures.items()
        if (key.who, key.picked, key.source) == (user, picked, source)
    )


def api_only(figures: Figures, user: str | None = None) -> Amount:
    """What came by API, of one user or of all."""

    def wanted(key: Key) -> bool:
        return key.source == "api" and user in (None, key.who)

    return total_of(amount for key, amount in figures.items() if wanted(key))


def total_of(amounts: Iterable[Amount]) -> Amount:
    """The sum."""
    return sum(amounts, NOTHING)


# --- drawing --------------------------------------------------------------------------------------


def numbers(amount: Amount) -> tuple[str, ...]:
    """The cells of `AMOUNTS`."""
    counts = (amount.requests, amount.failed, amount.input, amount.output)
    return (*map(number, counts), money(amount.cost), number(amount.unpriced))


def money(cost: int) -> str:
    """US dollars, to what a small day costs."""
    return f"{cost / BILLION:.5f}" if cost else "·"


def number(value: int) -> str:
    """With thousands separators; nothing stands out by a dot."""
    return f"{value:,}" if value else "·"


def share(part: int, whole: int) -> str:
    """A percentage."""
    return f"{part / whole:.0%}" if whole else "·"


def drawn(table: Table) -> str:
    """The table as text, aligned."""
    rows = [table.header, *table.rows]
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = [line(row, widths, table.texts) for row in rows]
    lines.insert(1, "─" * width(lines[0]))
    return "\n".join([table.title, "", *lines, *([table.note] if table.note else [])])


def line(row: Sequence[str], widths: Sequence[int], texts: int) -> str:
    """One row: words to the left, numbers to the right."""
    cells = []
    for index, (cell, size) in enumerate(zip(row, widths, strict=True)):
        space = " " * (size - width(cell))
        cells.append(cell + space if index < texts else space + cell)
    return GAP.join(cells)


def width(text: str) -> int:
    """Columns that a terminal takes for a text: names come in all scripts."""
    shown = (char for char in text if not unicodedata.combining(char))
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in shown)
