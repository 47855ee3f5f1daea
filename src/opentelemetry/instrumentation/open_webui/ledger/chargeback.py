"""Charging each call to one group, or to the groups of its user in equal parts.

A call counts in each group of its user, so that the sums of groups are more than the total. Here
they are the total, to the nano-dollar.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection

from ..names import NO_GROUP
from .periods import Period
from .reading import EVERYTHING, Sums, Where, sums

Rule = Callable[[Sequence[str], Sums], dict[str, Sums]]
"""Shares out what users of some groups (sorted, at least one) used."""


def split(groups: Sequence[str], used: Sums) -> dict[str, Sums]:
    """Charge all groups alike; what cannot be shared goes to the first ones of the alphabet."""
    shares = [divmod(amount, len(groups)) for amount in used.row()]
    return {
        name: Sums(*(share + (place < rest) for share, rest in shares))
        for place, name in enumerate(groups)
    }


def first(priorities: Sequence[str]) -> Rule:
    """Charge the group that is named first; if none is, the first one of the alphabet."""
    ranks = {name: rank for rank, name in enumerate(priorities)}

    def rule(groups: Sequence[str], used: Sums) -> dict[str, Sums]:
        return {min(groups, key=lambda name: (ranks.get(name, len(ranks)), name)): used}

    return rule


def charges(
    connection: Connection, period: Period, rule: Rule, where: Where = EVERYTHING
) -> dict[str, Sums]:
    """Return what each group is charged for a period, by name.

    Args:
        connection: The ledger's.
        period: When the calls began.
        rule: Who is charged.
        where: Which calls.
    """
    found = sums(connection, period, where, ("groups",))
    return shared({told: used for (told,), used in found.items()}, rule)


def shared(used_by: Mapping[str, Sums], rule: Rule) -> dict[str, Sums]:
    """Return the same of what was used by users of some groups, each a JSON array of names."""
    found: dict[str, Sums] = defaultdict(Sums)
    for told, used in used_by.items():
        groups = sorted(set(json.loads(told))) or [NO_GROUP]
        for name, share in rule(groups, used).items():
            found[name] += share
    return dict(found)


def unpriced(
    connection: Connection, period: Period, where: Where = EVERYTHING
) -> dict[tuple[str, str], Sums]:
    """Return what was used of models whose price is not known, by provider and model."""
    by_model = sums(connection, period, where, ("provider", "model"))
    return {key: used for key, used in by_model.items() if used.unpriced}
