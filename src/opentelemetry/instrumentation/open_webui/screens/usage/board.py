"""The leaderboard: who used the most, as far as they wish to be on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ...ledger.reading import Sums
from . import shapes
from .amounts import amounts
from .answers import told
from .asking import Asked

OFF, ANONYMOUS, NAMED = "off", "anonymous", "named"
MOST_READ: Final = 300
"""Users of whom is looked up whether they wish to be on it."""


def leaderboard(
    asked: Asked,
    leaders: Sequence[tuple[str, Sums]],
    people: Mapping[str, tuple[str, bool]],
    you: str,
    mode: str,
    limit: int,
) -> shapes.Leaderboard:
    """Return the first places.

    Args:
        asked: What the leaders are of.
        leaders: Ids of users, who used the most first.
        people: Name, and the wish to be shown, of who is a user today.
        you: The id of who asks.
        mode: :data:`NAMED`, or without the names of others.
        limit: How many places.
    """
    shown = [(user, used) for user, used in leaders if people.get(user, ("", False))[1]]
    return {
        "period": told(asked.span),
        "source": asked.source,
        "mode": mode,
        "you_are_shown": people.get(you, ("", True))[1],
        "data": [
            _ranked(place, used, people[user][0], user == you, mode)
            for place, (user, used) in enumerate(shown[:limit], 1)
        ],
    }


def _ranked(place: int, used: Sums, name: str, is_you: bool, mode: str) -> shapes.Ranked:
    told = amounts(used)
    return {
        "rank": place,
        "user": name if is_you or mode == NAMED else None,
        "is_you": is_you,
        "requests": told["requests"],
        "messages": told["messages"],
        "tokens": told["tokens"],
    }
