"""How much is used of the limits, and who was refused, told as metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from .. import bounds, names
from ..limits.accounts import Account
from ..limits.budget import Budget
from ..limits.rules import Rules, in_units
from ..telemetry.telemetry import Telemetry
from .presence import Checked

Number = tuple[float, Mapping[str, str | bool]]


def tell(budget: Budget, telemetry: Telemetry) -> None:
    """Show all of it, for as long as the process exports."""
    telemetry.show_each(names.USAGE_REFUSED, lambda: list(_refused(budget)), counts=True)
    telemetry.show(names.LIMIT_UNCHECKED, lambda: budget.unchecked, counts=True)
    telemetry.show_each(
        names.LIMIT_USED,
        lambda: [_number(one, one.used) for one in _fullest(budget)],
        counts=False,
    )
    telemetry.show_each(
        names.LIMIT_ALLOWED,
        lambda: [_number(one, one.allowed) for one in _fullest(budget)],
        counts=False,
    )


def checked(budget: Budget) -> Checked:
    """Return what a process tells of its limits."""
    rules = budget.books.rules
    refused = tuple(budget.books.refused.items())
    return Checked(
        on=True,
        where=budget.file or "the ledger",
        known=rules is not None,
        limits=len((rules or Rules()).limits),
        refused=sum(count for (_, _, observed), count in refused if not observed),
        unchecked=budget.unchecked,
        problem=bounds.text(budget.problem),
    )


def _refused(budget: Budget) -> Iterator[Number]:
    for (limit, measure, observed), count in tuple(budget.books.refused.items()):
        yield (
            count,
            {
                names.LIMIT_NAME: limit,
                names.LIMIT_MEASURE: measure,
                names.LIMIT_OBSERVED: observed,
            },
        )


def _fullest(budget: Budget) -> list[Account]:
    """Return one account of each limit: that of its pool, or of who has used most of it."""
    now, found = time.time(), dict[str, Account]()
    rules = budget.books.rules or Rules()
    in_force = {limit.id for limit in rules.limits}
    for account in budget.books.accounts():
        if not account.is_known or account.ends <= now or account.limit.id not in in_force:
            continue
        best = found.get(account.limit.id)
        if best is None or account.used > best.used:
            found[account.limit.id] = account
    return list(found.values())


def _number(account: Account, amount: int) -> Number:
    limit = account.limit
    told: dict[str, str | bool] = {
        names.LIMIT_NAME: limit.name,
        names.LIMIT_MEASURE: limit.measure,
        names.LIMIT_SHARED: limit.shared,
    }
    if limit.budget_of:
        told[names.GROUP_NAME] = limit.budget_of
    return float(in_units(amount, limit.measure)), told
