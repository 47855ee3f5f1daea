"""What is told of limits as metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from opentelemetry.instrumentation.open_webui import names
from opentelemetry.instrumentation.open_webui.host import limits_state
from opentelemetry.instrumentation.open_webui.limits.books import Books
from opentelemetry.instrumentation.open_webui.limits.budget import Budget
from opentelemetry.instrumentation.open_webui.limits.rules import parse
from unit.limits.calling import wanted

PLAIN: dict[str, Any] = {
    "name": "T", "everyone": True, "measure": "tokens", "amount": 1000, "per": "day",
}  # fmt: skip
POOL = {**PLAIN, "name": "P", "measure": "cost", "amount": "2.5", "share": "shared"}
BUDGET = {
    "name": "B",
    "group": "g",
    "measure": "cost",
    "amount": 9,
    "per": "month",
    "share": "shared",
}


class Shown:
    """Telemetry that remembers what it is to show."""

    def __init__(self) -> None:
        self.reads: dict[names.Metric, Callable[[], Any]] = {}

    def show(self, metric: names.Metric, read: Callable[[], Any], *, counts: bool) -> None:
        self.reads[metric] = read

    show_each = show


def of(limit: str, measure: str, name: str, value: bool) -> dict[str, Any]:
    return {
        "open_webui.limit.name": limit,
        "open_webui.limit.measure": measure,
        f"open_webui.limit.{name}": value,
    }


def test_limits_are_told_by_their_fullest_account() -> None:
    budget, shown = Budget(None), Shown()  # type: ignore[arg-type]
    limits_state.tell(budget, shown)  # type: ignore[arg-type]
    read = {metric: shown.reads[metric] for metric in shown.reads}
    assert read[names.USAGE_REFUSED]() == []
    budget.books = Books(time.time)
    budget.books.take_rules(parse({"limits": [PLAIN, POOL]}), {})
    assert read[names.USAGE_REFUSED]() == [
        (0, of("T", "tokens", "observed", False)),
        (0, of("P", "cost", "observed", False)),
    ]
    assert read[names.LIMIT_USED]() == []
    for user, used in (("ada", 300), ("bob", 700)):
        for account in budget.books.accounts_of(wanted(user)):
            account.looked_up(used if account.limit.name == "T" else 10**9, 0, False)
    assert read[names.LIMIT_USED]() == [
        (700.0, of("T", "tokens", "shared", False)),
        (1.0, of("P", "cost", "shared", True)),
    ]
    assert [value for value, _ in read[names.LIMIT_ALLOWED]()] == [1000.0, 2.5]
    budget.books.count_refusal("T", "tokens")
    assert read[names.USAGE_REFUSED]()[0][0] == 1
    assert read[names.LIMIT_UNCHECKED]() == 0
    # A limit that is taken away is told no more.
    budget.books.take_rules(parse({"limits": [POOL]}), {})
    assert len(read[names.LIMIT_USED]()) == 1


@pytest.mark.parametrize(
    ("changed", "group"),
    [
        ({}, "g"),
        ({"observe": True}, "g"),
        ({"share": "each"}, None),
        ({"measure": "tokens"}, None),
        ({"per": "week"}, None),
        ({"per": "5 hours"}, None),
        ({"models": ["gpt-*"]}, None),
        ({"source": "api"}, None),
    ],
)
def test_a_group_is_named_whose_budget_it_is(changed: dict[str, Any], group: str | None) -> None:
    budget, shown = Budget(None), Shown()  # type: ignore[arg-type]
    limits_state.tell(budget, shown)  # type: ignore[arg-type]
    budget.books = Books(time.time)
    budget.books.take_rules(parse({"limits": [{**BUDGET, **changed}]}), {})
    for account in budget.books.accounts_of(wanted("ada", groups=("g",))):
        account.looked_up(0, 0, False)
    for metric in (names.LIMIT_USED, names.LIMIT_ALLOWED):
        [(_, told)] = shown.reads[metric]()
        assert told.get(names.GROUP_NAME) == group
