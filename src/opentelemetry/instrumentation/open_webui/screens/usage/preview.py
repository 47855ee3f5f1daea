"""Whom a limit would refuse now, before it is made."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Connection
from typing_extensions import TypedDict

from ...ledger.periods import Period
from ...limits import holding
from ...limits.admin import number
from ...limits.binding import decide
from ...limits.rules import USER, Limit, Rules, limit_of
from ...limits.standing import last_groups
from ...limits.words import resets

MOST_SHOWN: Final = 20
# Of more than these it is not looked up whether another limit holds for them instead.
_MOST_CHECKED: Final = 500


class Refused(TypedDict):
    """Somebody whom a limit would refuse; nobody's name where a pool is used up."""

    user_id: str | None
    user: str | None
    used: int | float | None


class Preview(TypedDict):
    """Whom a limit would refuse now."""

    users: int
    refused: int
    data: list[Refused]
    resets_at: float


def preview(connection: Connection, rules: Rules, spec: Mapping[str, Any]) -> Preview:
    """Return whom a limit would refuse now, if it had counted from the beginning of its window.

    Args:
        connection: The ledger's. Blocks.
        rules: The limits that there are; one of the same name is replaced.
        spec: The limit, as ``docs/limits.md`` has it.

    Raises:
        RuleError: It says what it may not.
    """
    limit, now = limit_of(spec), time.time()
    used = _used(connection, limit, now)
    refused = [
        (user, amount)
        for user, amount in sorted(used.items(), key=lambda item: -item[1])
        if limit.amount is not None and amount >= max(limit.amount, 1)
    ]
    if not limit.shared:
        others = tuple(one for one in rules.limits if one.name != limit.name and one.id != limit.id)
        kept = Rules((*others, limit), rules.grants)
        refused = list(_held(connection, kept, limit, refused, now))
    return {
        "users": len(used),
        "refused": len(refused),
        "data": [
            {"user_id": user, "user": None, "used": number(amount, limit.measure)}
            for user, amount in refused[:MOST_SHOWN]
        ],
        "resets_at": resets(limit.window.span(now), now),
    }


def _used(connection: Connection, limit: Limit, now: float) -> dict[str | None, int]:
    """Return what was used in the limit's window: by each, or of all together by nobody."""
    span = limit.window.span(now)
    period = Period(span.start, holding.end_of(span, now))
    by = () if limit.shared else ("user",)
    found = holding.used_by(connection, limit, limit.who, period, now, by)
    return {next(iter(key), None): amount for key, amount in found.items()}


def _held(
    connection: Connection,
    rules: Rules,
    limit: Limit,
    refused: list[tuple[str | None, int]],
    now: float,
) -> Iterator[tuple[str | None, int]]:
    """Yield those for whom this limit holds, and no other one in its place."""
    for place, (user, amount) in enumerate(refused):
        if place >= _MOST_CHECKED or limit.who.kind == USER:
            yield user, amount
            continue
        groups = last_groups(connection, user or "")
        decisions = decide(rules, user or "", groups, now)
        allowed = [one.allowed for one in decisions if one.limit is limit and one.holds]
        if any(most is not None and amount >= most for most in allowed):
            yield user, amount
