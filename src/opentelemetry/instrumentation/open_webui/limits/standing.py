"""How somebody stands: what holds for them, why, what was used and what is left."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from ..ledger.schema import call_time, calls, memberships, standings, users
from . import holding, words
from .accounts import Account, opened
from .binding import Decision, decide
from .rules import USER, Rules, Who


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit, and how somebody stands to it. Amounts are in its measure; of costs, nano-USD."""

    decision: Decision
    account: Account
    used: int
    now: float

    @property
    def left(self) -> int | None:
        """What may still be used; ``None`` if that is unlimited."""
        allowed = self.decision.allowed
        return None if allowed is None else max(0, allowed - self.used)

    @property
    def resets_at(self) -> float:
        """When something is back (Unix time)."""
        return words.resets(self.account.span, self.now)

    @property
    def warns(self) -> bool:
        """Whether so much is used that people are to be warned."""
        allowed = self.decision.allowed
        return allowed is not None and self.used >= self.decision.limit.warns_from(allowed)


def standings_of(
    connection: Connection,
    rules: Rules,
    since: Mapping[str, int],
    user_id: str,
    groups: Sequence[str],
    now: float,
    *,
    all_limits: bool = False,
) -> list[Standing]:
    """Return how a user stands.

    Args:
        connection: Of the ledger's database. Blocks.
        rules: All limits.
        since: When each was first seen (Unix time), by id.
        user_id: Who.
        groups: The names of their groups.
        now: Unix time.
        all_limits: Whether to return also those that do not hold for them.
    """
    decisions = decide(rules, user_id, groups, now, user_only=not all_limits)
    return [
        _standing(connection, one, since, user_id, now)
        for one in decisions
        if one.holds or all_limits
    ]


def pool(
    connection: Connection, decision: Decision, since: Mapping[str, int], now: float
) -> Standing:
    """Return how all whom a shared limit is for stand together."""
    return _standing(connection, decision, since, "", now)


def _standing(
    connection: Connection, decision: Decision, since: Mapping[str, int], user_id: str, now: float
) -> Standing:
    limit = decision.limit
    who = decision.subject or Who(USER, user_id)
    account = opened(limit, who, limit.window.span(now), now, since.get(limit.id, int(now)))
    return Standing(decision, account, holding.used(connection, account, now), now)


def last_groups(connection: Connection, user_id: str) -> tuple[str, ...]:
    """Return the groups of a user at their last call."""
    query = (
        select(memberships.c.groups)
        .join(standings, standings.c.membership_no == memberships.c.no)
        .join(calls, calls.c.standing_no == standings.c.no)
        .join(users, users.c.no == calls.c.user_no)
        .where(users.c.user_id == user_id)
        .order_by(call_time.desc(), calls.c.id.desc())
        .limit(1)
    )
    found = connection.execute(query).scalar()
    names: Iterable[str] = () if found is None else json.loads(found)
    return tuple(names)
