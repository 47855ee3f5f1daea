"""Which limits hold for somebody: the one rule for who is in several groups.

Of ``each`` limits for the same (measure, period, models, source), the one that names the user
holds, else the most generous of those that name a group of theirs, else that of everyone. Limits
that differ in one of these hold side by side, and those of a shared pool always do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from .rules import ALL_LIMITS, EVERYONE, GROUP, USER, Grant, Limit, Rules, Who

_RANK: Final = {USER: 0, GROUP: 1, EVERYONE: 2}


class Decision(NamedTuple):
    """What becomes of a limit for somebody, and why."""

    limit: Limit
    allowed: int | None
    """In the limit's measure, with all grants; ``None`` if unlimited."""
    holds: bool
    why: str

    @property
    def subject(self) -> Who | None:
        """Whose use counts in it, where that is not the user's own."""
        return self.limit.who if self.limit.shared else None


def decide(
    rules: Rules, user_id: str, groups: Sequence[str], now: float, *, user_only: bool = True
) -> list[Decision]:
    """Return what becomes of each limit that is for a user, in the order of the rules.

    Args:
        rules: All limits.
        user_id: Who.
        groups: The names of their groups.
        now: Unix time; grants that have ended count no more.
        user_only: Whether to leave out limits for others.
    """
    allowed = {
        limit.id: _allowed(limit, rules.grants, user_id, groups, now)
        for limit in rules.limits
        if limit.who.includes(user_id, groups)
    }
    winners: dict[tuple[object, ...], Limit] = {}
    for limit in rules.limits:
        if limit.id in allowed and not limit.shared:
            best = winners.get(_slot(limit))
            if best is None or _order(limit, allowed) < _order(best, allowed):
                winners[_slot(limit)] = limit
    return [
        _decision(limit, allowed, winners)
        for limit in rules.limits
        if limit.id in allowed or not user_only
    ]


def binding(rules: Rules, user_id: str, groups: Sequence[str], now: float) -> list[Decision]:
    """Return only those that hold and allow less than everything."""
    return [
        one for one in decide(rules, user_id, groups, now) if one.holds and one.allowed is not None
    ]


def pools(rules: Rules, now: float) -> list[tuple[Limit, Who, int]]:
    """Return the limits that are shared, whose use counts in each, and how much may be."""
    found = []
    for limit in rules.limits:
        allowed = _allowed(limit, rules.grants, "", (), now)
        if limit.shared and allowed is not None:
            found.append((limit, limit.who, allowed))
    return found


def _allowed(
    limit: Limit, grants: Iterable[Grant], user_id: str, groups: Sequence[str], now: float
) -> int | None:
    if limit.amount is None:
        return None
    return limit.amount + sum(
        grant.to(limit)
        for grant in grants
        if grant.until > now and _is_to(grant, limit, user_id, groups)
    )


def _is_to(grant: Grant, limit: Limit, user_id: str, groups: Sequence[str]) -> bool:
    if grant.limit not in (ALL_LIMITS, limit.name):
        return False
    # What one of many is granted must not make the pool of all of them larger.
    return grant.who == limit.who if limit.shared else grant.who.includes(user_id, groups)


def _slot(limit: Limit) -> tuple[object, ...]:
    window = (limit.window.per, limit.window.hours)
    return (limit.measure, *window, limit.models, limit.source, limit.observe, limit.direct)


def _order(limit: Limit, allowed: dict[str, int | None]) -> tuple[int, float]:
    amount = allowed[limit.id]
    return _RANK[limit.who.kind], -float("inf") if amount is None else -amount


def _decision(
    limit: Limit, allowed: dict[str, int | None], winners: dict[tuple[object, ...], Limit]
) -> Decision:
    if limit.id not in allowed:
        return Decision(limit, limit.amount, False, f"it is for {limit.who}")
    amount = allowed[limit.id]
    if limit.shared:
        return Decision(limit, amount, True, f"shared by {limit.who}: always holds")
    winner = winners[_slot(limit)]
    if winner is limit:
        return Decision(limit, amount, True, _WINS[limit.who.kind].format(limit.who.name))
    return Decision(limit, amount, False, _LOSES[winner.who.kind].format(winner.name))


_WINS: Final = {
    USER: "it names the user",
    GROUP: "the most generous of the user's groups, by {}",
    EVERYONE: "it is for everyone, and nothing names the user or a group of theirs",
}
_LOSES: Final = {
    USER: "{!r} names the user",
    GROUP: "{!r} is of a group, and the more generous",
    EVERYONE: "{!r} is the more generous",
}
