"""Whom a limit would refuse now, before it is made."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Connection
from typing_extensions import TypedDict

from ...ledger import reading
from ...ledger.periods import Period
from ...ledger.reading import Sums, Where
from ...ledger.sums import DAY_SECONDS
from ...limits.admin import number
from ...limits.binding import decide
from ...limits.rules import COST, GROUP, USER, Limit, Rules, limit_of
from ...limits.standing import last_groups
from ...limits.words import resets
from ...providers import DIRECT

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
    span, kind, name = limit.window.span(now), *limit.who
    where = Where(
        user_id=name if kind == USER else None,
        group=name if kind == GROUP else None,
        source=limit.source,
        imported=False,
    )
    by = ("provider", "picked", "model", *(() if limit.shared else ("user",)))
    # What a wrong clock has dated later than now counts, too.
    period = Period(span.start, span.end or int(now) + DAY_SECONDS)
    found: dict[str | None, int] = defaultdict(int)
    for (provider, picked, model, *user), sums in reading.sums(
        connection, period, where, by, now=now
    ).items():
        if _counts(limit, provider) and limit.is_of((picked, model)):
            found[user[0] if user else None] += _amount(sums, limit.measure)
    return dict(found)


def _counts(limit: Limit, provider: str) -> bool:
    return limit.direct or provider != DIRECT


def _amount(sums: Sums, measure: str) -> int:
    return {
        "requests": sums.calls,
        "tokens": sums.input + sums.output,
        "input_tokens": sums.input,
        "output_tokens": sums.output,
        COST: sums.cost,
    }[measure]


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
